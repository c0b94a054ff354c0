//! A cluster for one test: three nodes and the platform simulator as `tandem dev` starts them, on ports of its own.

use crate::api::Api;
use crate::http;
use crate::operated::{self, Operated};
use crate::platform::{Log, Platform};
use crate::process;
use crate::records::{self, Record};
use crate::seed::Seed;
use crate::wait::eventually;
use serde_json::{Value, json};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// Nodes of every test cluster.
pub const NODES: u8 = 3;

/// Nodes that a cluster may grow to.
const NODES_MAX: u8 = 9;

/// A running cluster; everything it started is killed when it is dropped.
#[derive(Debug)]
pub struct Switch {
    base: u16,
    dir: tempfile::TempDir,
    dev: Child,
    restarted: Vec<Child>,
    token: String,
    next_port: AtomicU16,
}

impl Switch {
    /// Three fresh nodes with the sample configuration, ready to take calls.
    #[track_caller]
    pub fn start() -> Switch {
        Switch::begin(None, &[])
    }

    /// The same, of nodes that speak no higher level than this.
    #[track_caller]
    pub fn at_level(level: u8) -> Switch {
        Switch::begin(None, &["--max-level", &level.to_string()])
    }

    /// Three fresh nodes with a configuration of the test's own, ready to take calls.
    #[track_caller]
    pub fn seeded(seed: &Seed) -> Switch {
        Switch::begin(Some(seed), &[])
    }

    #[track_caller]
    fn begin(seed: Option<&Seed>, more: &[&str]) -> Switch {
        // `TANDEM_TEST_KEEP` leaves what the test wrote for somebody to look at.
        let dir = tempfile::Builder::new()
            .disable_cleanup(std::env::var_os("TANDEM_TEST_KEEP").is_some())
            .tempdir()
            .expect("a directory for the cluster");
        let base = free_base();
        let log = File::create(dir.path().join("dev.log")).expect("a file for the output");
        let errors = log.try_clone().expect("a second handle");
        let data = dir.path().join("data");
        let mut dev = Command::new(binary());
        dev.args([
            "dev",
            "--nodes",
            &NODES.to_string(),
            "--base-port",
            &base.to_string(),
            "--fresh",
            "--data-dir",
        ])
        .arg(&data)
        .args(more);
        if let Some(seed) = seed {
            let path = dir.path().join("seed.toml");
            std::fs::write(&path, seed.text(base)).expect("the seed can be written");
            dev.arg("--config").arg(path);
        }
        let dev = dev
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("the binary was just built");
        let mut switch = Switch {
            base,
            dir,
            dev,
            restarted: Vec::new(),
            token: String::new(),
            next_port: AtomicU16::new(base + 1),
        };
        switch.token = eventually("the administrator's token", Duration::from_secs(30), || {
            switch.dev_runs()?;
            let token = std::fs::read_to_string(data.join("admin.token"))
                .map_err(|e| format!("admin.token: {e}"))?;
            match token.trim() {
                "" => Err("admin.token: still empty".to_owned()),
                _ => Ok(token),
            }
        })
        .trim()
        .to_owned();
        for node in 1..=NODES {
            switch.wait_ready(node);
        }
        eventually("the simulator", Duration::from_secs(30), || {
            http::request(switch.platform().at, "GET", "/_sim/bindings", None, None).map(drop)
        });
        // `dev` says where everything is once it has loaded the configuration, and every node must have heard of it.
        eventually("the configuration", Duration::from_secs(30), || {
            switch.dev_runs()?;
            let told =
                std::fs::read_to_string(switch.dir.path().join("dev.log")).unwrap_or_default();
            if !told.contains("node 1") {
                return Err(told);
            }
            let last = switch
                .api(1)
                .try_call("GET", "mapping-gateways?limit=10", None)?;
            for node in 2..=NODES {
                let here = switch
                    .api(node)
                    .try_call("GET", "mapping-gateways?limit=10", None)?;
                if here.body != last.body || !here.body.contains("\"name\"") {
                    return Err(here.body);
                }
            }
            Ok(())
        });
        switch
    }

    fn dev_runs(&self) -> Result<(), String> {
        assert!(process::alive(self.dev.id()), "`tandem dev` ended");
        Ok(())
    }

    /// Waits until `/readyz` of the node says so.
    #[track_caller]
    pub fn wait_ready(&self, node: u8) {
        eventually(
            &format!("node {node} is ready"),
            Duration::from_secs(60),
            || {
                let response =
                    http::request(self.api(node).at, "GET", "/readyz?verbose", None, None)?;
                if response.status == 200 {
                    Ok(())
                } else {
                    Err(response.body)
                }
            },
        );
    }

    /// Where SIP of node n listens, UDP and TCP.
    pub fn sip(&self, node: u8) -> SocketAddr {
        self.at(100 * u16::from(node) + 60)
    }

    /// The port that the platform sends callees' calls to.
    pub fn phone_port(&self) -> u16 {
        self.base + 40
    }

    /// The port that the `plain` routing gateway sends calls to (callees starting with 9).
    pub fn plain_port(&self) -> u16 {
        self.base + 50
    }

    /// A port of this test's own for a customer.
    pub fn own_port(&self) -> u16 {
        loop {
            let next = self.next_port.fetch_add(1, Ordering::Relaxed);
            // Below the phone's port, then beyond the nodes' ports.
            let port = if next < self.base + 40 {
                next
            } else {
                next + 360
            };
            assert!(
                next < self.base + 200,
                "a test uses at most 199 ports of its own"
            );
            if is_free(port) {
                return port;
            }
        }
    }

    /// The admin API of node n.
    pub fn api(&self, node: u8) -> Api {
        Api::new(self.at(100 * u16::from(node) + 80), &self.token)
    }

    /// The simulator's control side.
    pub fn platform(&self) -> Platform {
        Platform { at: self.at(80) }
    }

    /// The simulator's log so far.
    #[track_caller]
    pub fn platform_log(&self) -> Log {
        Log::read(&self.data().join("vendor-sim.jsonl"))
    }

    fn at(&self, offset: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.base + offset))
    }

    /// The test's directory, for SIPp's files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Process id of node n.
    #[track_caller]
    pub fn pid(&self, node: u8) -> u32 {
        let path = self.data().join(format!("n{node}/pid"));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        text.trim()
            .parse()
            .unwrap_or_else(|_| panic!("{}: {text:?}", path.display()))
    }

    /// Kills node n with SIGKILL and sees it gone.
    #[track_caller]
    pub fn kill(&self, node: u8) {
        let pid = self.pid(node);
        assert!(process::signal(pid, "KILL"), "node {node} was not running");
        assert!(
            process::gone(pid, Duration::from_secs(5)),
            "node {node} does not die"
        );
    }

    /// Starts node n again on its old data, and waits until it is ready.
    #[track_caller]
    pub fn restart(&mut self, node: u8) {
        self.start_node(node);
        self.wait_ready(node);
    }

    /// Starts all nodes again at once, and waits until they are ready: alone none of them is.
    #[track_caller]
    pub fn restart_all(&mut self) {
        for node in 1..=NODES {
            self.start_node(node);
        }
        for node in 1..=NODES {
            self.wait_ready(node);
        }
    }

    /// Starts a new node, which waits to be added, and answers where its links arrive.
    #[track_caller]
    pub fn join(&mut self, node: u8) -> SocketAddr {
        self.join_with(node, &[])
    }

    /// The same with further options.
    #[track_caller]
    pub fn join_with(&mut self, node: u8, more: &[&str]) -> SocketAddr {
        self.spawn_node_with(node, &[&["--join"], more].concat());
        eventually("the new node answers", Duration::from_secs(60), || {
            let livez = http::request(self.api(node).at, "GET", "/livez", None, None)?;
            if livez.status == 200 {
                Ok(())
            } else {
                Err(livez.body)
            }
        });
        self.links(node)
    }

    /// Where the links of node n arrive, as it was made.
    pub fn links(&self, node: u8) -> SocketAddr {
        self.at(100 * u16::from(node) + 70)
    }

    fn node_file(&self, node: u8) -> PathBuf {
        self.data().join(format!("n{node}/node.toml"))
    }

    /// Changes a text in the file of node n, which must hold it; it is read when the node starts.
    #[track_caller]
    pub fn change_config(&self, node: u8, from: &str, to: &str) {
        let path = self.node_file(node);
        let text = std::fs::read_to_string(&path).expect("`dev` wrote it");
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replacen(from, to, 1)).expect("it can be written");
    }

    /// Runs node n until it ends by itself: its exit code, and what it said.
    #[track_caller]
    pub fn serve(&self, node: u8) -> (Option<i32>, String) {
        let mut command = Command::new(binary());
        command
            .args(["serve", "--config"])
            .arg(self.node_file(node));
        let output = command.stdin(Stdio::null()).output();
        let output = output.expect("the binary is there");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    }

    /// Starts node n again on its old data, and does not wait.
    #[track_caller]
    pub fn start_node(&mut self, node: u8) {
        self.spawn_node_with(node, &[]);
    }

    #[track_caller]
    fn spawn_node_with(&mut self, node: u8, more: &[&str]) {
        let log = File::create(self.dir.path().join(format!("dev-node-{node}.log")))
            .expect("a file for the output");
        let errors = log.try_clone().expect("a second handle");
        let child = Command::new(binary())
            .args([
                "dev",
                "--nodes",
                &NODES.to_string(),
                "--base-port",
                &self.base.to_string(),
                "--data-dir",
            ])
            .arg(self.data())
            .args(["node", &node.to_string()])
            .args(more)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("the binary is there");
        self.restarted.push(child);
    }

    /// Where the simulator takes calls.
    pub fn platform_sip(&self) -> SocketAddr {
        self.at(60)
    }

    /// Starts the simulator again, empty, with one more line in its file.
    #[track_caller]
    pub fn restart_platform(&mut self, line: &str) {
        let (path, pid_file) = (
            self.data().join("vendor-sim.toml"),
            self.data().join("vendor-sim.pid"),
        );
        let text = std::fs::read_to_string(&path).expect("`dev` wrote it");
        std::fs::write(&path, format!("{line}\n{text}")).expect("it can be written");
        let pid = std::fs::read_to_string(pid_file).expect("`dev` wrote it");
        let pid = pid.trim().parse().expect("a process id");
        process::signal(pid, "KILL");
        assert!(
            process::gone(pid, Duration::from_secs(5)),
            "the simulator does not die"
        );
        let child = Command::new(binary())
            .args(["vendor-sim", "--config"])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary is there");
        self.restarted.push(child);
        eventually("the simulator", Duration::from_secs(10), || {
            http::request(self.platform().at, "GET", "/_sim/bindings", None, None).map(drop)
        });
    }

    /// `GET /api/v1/cluster`, asked of node n.
    #[track_caller]
    pub fn cluster(&self, node: u8) -> Value {
        self.api(node).get("cluster")
    }

    /// The node that leads.
    #[track_caller]
    pub fn leader(&self) -> u8 {
        eventually("a leader", Duration::from_secs(10), || {
            let cluster = self.cluster(1);
            let name = cluster["leader"]
                .as_str()
                .and_then(|name| name.strip_prefix("dev-"));
            name.and_then(|n| n.parse().ok())
                .ok_or_else(|| cluster.to_string())
        })
    }

    /// Waits until every counter of `status` that is 0 in rest is 0 on these nodes.
    #[track_caller]
    pub fn comes_to_rest(&self, nodes: &[u8], limit: Duration) {
        operated::comes_to_rest(self, nodes, limit);
    }

    /// Waits until all nodes show one `state_hash` at one `applied`, and asserts that none ever shows another hash for
    /// an index that was seen before.
    #[track_caller]
    pub fn states_agree(&self, limit: Duration) {
        operated::states_agree(self, limit);
    }

    /// Runs a client command of the binary against node n.
    #[track_caller]
    pub fn client(&self, node: u8, args: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command
            .args(args)
            .env("TANDEM_SERVER", format!("http://{}", self.api(node).at))
            .env("TANDEM_TOKEN", &self.token);
        command
            .stdin(Stdio::null())
            .output()
            .expect("the binary is there")
    }

    /// Runs a client command that must succeed, and answers what it printed.
    #[track_caller]
    pub fn cli(&self, node: u8, args: &[&str]) -> String {
        let output = self.client(node, args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "tandem {args:?}: {} {errors}",
            output.status
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// CDRs as node n exports them.
    #[track_caller]
    pub fn cdrs(&self, node: u8) -> Vec<Record> {
        records::read(&self.export(node, "cdr"))
    }

    /// AXB CDRs as node n exports them.
    #[track_caller]
    pub fn axb_cdrs(&self, node: u8) -> Vec<Record> {
        records::read(&self.export(node, "axb-cdr"))
    }

    /// The text of `tandem cdr export` or `tandem axb-cdr export` for all of the test's time.
    #[track_caller]
    pub fn export(&self, node: u8, what: &str) -> String {
        let span = [
            "--since",
            "2020-01-01T00:00:00Z",
            "--until",
            "2100-01-01T00:00:00Z",
            "-o",
            "jsonl",
        ];
        let mut args = vec![what, "export"];
        args.extend(span);
        self.cli(node, &args)
    }

    /// Gives every A and X number these limits, and takes away the bounds that a load does not want to meet: gateway
    /// capacities and credit.
    #[track_caller]
    pub fn make_room(&self, a_limit: usize, x_limit: usize) {
        let api = self.api(1);
        api.change_all("a-numbers", &json!({ "line_limit": a_limit }));
        api.change_all("x-numbers", &json!({ "line_limit": x_limit }));
        api.change_all("mapping-gateways", &json!({ "capacity": 100_000 }));
        api.change_all("routing-gateways", &json!({ "capacity": 100_000 }));
        api.change_all("accounts", &json!({ "limit_money": "1000000" }));
    }

    /// What node n has logged.
    pub fn node_log(&self, node: u8) -> String {
        std::fs::read_to_string(self.data().join(format!("n{node}/log"))).unwrap_or_default()
    }

    fn logs(&self) -> String {
        let mut text = String::new();
        let mut paths = vec![self.dir.path().join("dev.log")];
        paths.extend((1..=NODES).map(|n| self.dir.path().join(format!("dev-node-{n}.log"))));
        paths.extend((1..=NODES).map(|n| self.data().join(format!("n{n}/log"))));
        for path in paths.iter().filter(|path| path.exists()) {
            text.push_str(&log_end(path));
        }
        text
    }
}

/// The end of a log, for a test that fails.
pub(crate) fn log_end(path: &Path) -> String {
    let whole = std::fs::read_to_string(path).unwrap_or_default();
    // What the consensus library says about itself, or hundreds of calls that were taken over, would push all else out.
    let noise = [" openraft::", "taken over", "taken up"];
    let lines: Vec<&str> = whole
        .lines()
        .filter(|line| !noise.iter().any(|noise| line.contains(noise)))
        .collect();
    let tail = lines[lines.len().saturating_sub(12)..].join("\n");
    format!("---- {} (end)\n{tail}\n", path.display())
}

impl Operated for Switch {
    fn api(&self, node: u8) -> Api {
        Switch::api(self, node)
    }

    fn export(&self, node: u8, what: &str) -> String {
        Switch::export(self, node, what)
    }

    fn platform(&self) -> Platform {
        Switch::platform(self)
    }

    fn platform_log(&self) -> Log {
        Switch::platform_log(self)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        let mut pids: Vec<u32> = Vec::new();
        for child in self.restarted.iter().chain([&self.dev]) {
            pids.extend(process::descendants(child.id()));
            pids.push(child.id());
        }
        // A node whose parent died first is nobody's descendant any more.
        for node in 1..=NODES_MAX {
            let text = std::fs::read_to_string(self.data().join(format!("n{node}/pid")))
                .unwrap_or_default();
            pids.extend(
                text.trim()
                    .parse::<u32>()
                    .ok()
                    .filter(|pid| self.owns(*pid)),
            );
        }
        for pid in pids {
            process::signal(pid, "KILL");
        }
        for child in self.restarted.iter_mut().chain([&mut self.dev]) {
            // Reaped so that ports and files are free when the next test starts.
            let _ = child.wait();
        }
    }
}

impl Switch {
    /// Whether the process still is one of ours: a process id alone may have been given to another program.
    fn owns(&self, pid: u32) -> bool {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("tandem")
    }
}

/// The release binary: `TANDEM_BIN`, or else built now, so that no test ever runs yesterday's.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("TANDEM_BIN") {
            return PathBuf::from(path);
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .current_dir(&root)
            .args([
                "build",
                "--release",
                "--quiet",
                "--package",
                "tandem-node",
                "--bin",
                "tandem",
            ])
            .status()
            .expect("cargo starts");
        assert!(built.success(), "the release binary does not build");
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        target.join("release/tandem")
    })
}

/// A base port below the range that the kernel gives to outgoing connections, with all ports that `dev` needs free.
pub fn free_base() -> u16 {
    let mut seed = std::process::id() ^ now_nanos();
    for _ in 0..200 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let base = 11_000 + u16::try_from(seed >> 16 & 0x7fff).expect("fifteen bits") % 500 * 40;
        let mut needed = vec![base + 40, base + 50, base + 60, base + 80];
        for node in 1..=u16::from(NODES) {
            needed.extend([60, 61, 70, 80].map(|offset| base + 100 * node + offset));
        }
        if needed.into_iter().chain(base + 1..base + 6).all(is_free) {
            return base;
        }
    }
    panic!("no free range of ports between 11000 and 31400");
}

/// A free port for a program that stands alone.
pub fn free_port() -> u16 {
    let mut seed = std::process::id() ^ now_nanos();
    loop {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let port = 11_000 + u16::try_from(seed >> 16 & 0x3fff).expect("fourteen bits");
        if is_free(port) {
            return port;
        }
    }
}

fn now_nanos() -> u32 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.subsec_nanos())
}

fn is_free(port: u16) -> bool {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
        && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
