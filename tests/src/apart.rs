//! A cluster whose nodes are machines of their own as far as the network goes: a namespace each, joined by a bridge at
//! which the test itself stands. Made and removed by the test, also when it fails; what a test that was killed has left is
//! removed by the next one. Needs root.
//!
//! Links are cut by a wrong entry in a node's own table of neighbours: what it sends to that address goes to nobody, as
//! from a broken cable, and what it is sent still arrives. No packet filter is needed for that.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::api::Api;
use crate::http;
use crate::operated::Operated;
use crate::platform::{Log, Platform};
use crate::process::{self, Guarded};
use crate::records::{self, Record};
use crate::seed::Seed;
use crate::switch::{binary, log_end};
use crate::wait::eventually;

/// How the names of all that is made begin; the process id of the test follows.
const TAG: &str = "tdm";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const NODES: u8 = 3;
/// The port of every node's SIP, and of the shared address.
const SIP: u16 = 5_060;
/// Where the routing gateway of callees that begin with 9 sends calls.
const CARRIER: u16 = 6_050;
/// The simulator's ports at the test's own address, and that of the phone behind it.
const PLATFORM_HTTP: u16 = 15_080;
/// It is controlled from loopback alone.
const CONTROL: u16 = 15_081;
const PLATFORM_SIP: u16 = 15_060;
const PHONE: u16 = 15_040;
/// Nobody's.
const NOWHERE: &str = "02:00:00:00:00:fe";
/// A disk that a test can fill.
const SMALL_DISK: &str = "192m";

/// Three nodes and an address that floats among them.
#[derive(Debug)]
pub struct Apart {
    dir: tempfile::TempDir,
    /// In the names of interfaces and namespaces.
    tag: String,
    /// The first three octets.
    net: [u8; 3],
    nodes: Vec<Guarded>,
    platform: Option<Guarded>,
    /// The node whose disk can be filled.
    small: Option<u8>,
}

impl Apart {
    /// Three ready nodes; nobody has the shared address yet.
    #[track_caller]
    pub fn start() -> Apart {
        let mut apart = Apart::empty();
        apart.join();
        apart.begin();
        apart.configure(&apart.plain());
        apart
    }

    /// Three ready nodes and the platform simulator at the test's own address; node `small` has a disk that can be
    /// filled.
    #[track_caller]
    pub fn with_platform(small: u8) -> Apart {
        let mut apart = Apart::empty();
        apart.join();
        let disk = apart.dir.path().join(format!("n{small}"));
        std::fs::create_dir(&disk).expect("a directory");
        let disk = disk.display();
        let tag = &apart.tag;
        run(
            "mount",
            &format!("-t tmpfs -o size={SMALL_DISK} {tag} {disk}"),
        );
        apart.small = Some(small);
        apart.start_platform();
        apart.begin();
        apart.configure(&apart.behind_platform());
        apart
    }

    #[track_caller]
    fn empty() -> Apart {
        sweep();
        let pid = std::process::id();
        let keep = std::env::var_os("TANDEM_TEST_KEEP").is_some();
        let dir = tempfile::Builder::new().disable_cleanup(keep).tempdir();
        Apart {
            dir: dir.expect("a directory"),
            tag: format!("{TAG}{pid}"),
            net: [10, 100 + (pid % 100) as u8, (pid / 100 % 250) as u8],
            nodes: Vec::new(),
            platform: None,
            small: None,
        }
    }

    #[track_caller]
    fn begin(&mut self) {
        let token = self.dir.path().join("token");
        std::fs::write(token, TOKEN).expect("a token file");
        for node in 1..=NODES {
            self.node_file(node);
            let child = self.spawn(node);
            self.nodes.push(child);
        }
        for node in 1..=NODES {
            self.wait_ready(node);
        }
    }

    #[track_caller]
    fn spawn(&self, node: u8) -> Guarded {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log(node))
            .expect("a file");
        let errors = log.try_clone().expect("a second handle");
        let child = Command::new("ip")
            .args(["netns", "exec", &self.space(node)])
            .arg(binary())
            .args(["serve", "--config"])
            .arg(self.file(node))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn();
        Guarded(child.expect("iproute2 is there"))
    }

    #[track_caller]
    fn start_platform(&mut self) {
        let (own, dir) = (self.own(), self.dir.path());
        let text = format!(
            "http = \"127.0.0.1:{CONTROL}\"\nsip = \"{own}:{PLATFORM_SIP}\"\ncallee_phone = \"{own}:{PHONE}\"\n\
             log = \"{}\"\n[vendors.huawei]\napp_key = \"sample-app-key\"\napp_secret = \"sample-app-secret\"\nhttp = \"{own}:{PLATFORM_HTTP}\"\n",
            dir.join("vendor-sim.jsonl").display()
        );
        let file = dir.join("vendor-sim.toml");
        std::fs::write(&file, text).expect("a file");
        let child = Command::new(binary())
            .args(["vendor-sim", "--config"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.platform = Some(Guarded(child.expect("the binary is there")));
        eventually("the simulator", Duration::from_secs(10), || {
            http::request(self.platform().at, "GET", "/_sim/bindings", None, None).map(drop)
        });
    }

    fn join(&self) {
        let bridge = &self.tag;
        let own = self.own();
        ip(&format!("link add {bridge} type bridge"));
        ip(&format!("addr add {own}/24 dev {bridge}"));
        ip(&format!("link set {bridge} up"));
        for node in 1..=NODES {
            let (space, port, address) = (self.space(node), self.port(node), self.ip(node));
            ip(&format!("netns add {space}"));
            ip(&format!(
                "link add {port} type veth peer name eth0 netns {space}"
            ));
            ip(&format!("link set {port} master {bridge} up"));
            ip(&format!("-n {space} addr add {address}/24 dev eth0"));
            ip(&format!("-n {space} link set lo up"));
            ip(&format!("-n {space} link set eth0 up"));
        }
    }

    fn file(&self, node: u8) -> PathBuf {
        self.dir.path().join(format!("n{node}.toml"))
    }

    fn node_file(&self, node: u8) {
        let dir = self.dir.path();
        let peers: Vec<String> = (1..=NODES)
            .map(|id| format!("{{ id = {id}, address = \"{}:5070\" }}", self.ip(id)))
            .collect();
        let text = format!(
            "[node]\nid = {node}\naccess_name = \"n{node}\"\ndata_dir = \"{dir}/n{node}\"\n\
             [sip]\nudp = [\"{ip}:{SIP}\"]\ntcp = [\"{ip}:{SIP}\"]\nshards = 1\n\
             [sip.shared]\nudp = [\"{shared}\"]\ntcp = [\"{shared}\"]\n\
             [cluster]\nid = \"apart\"\nlisten = \"{ip}:5070\"\npeers = [{peers}]\n\
             [admin]\nlisten = \"{ip}:5080\"\ntoken_file = \"{dir}/token\"\n",
            dir = dir.display(),
            ip = self.ip(node),
            shared = self.shared(),
            peers = peers.join(", "),
        );
        std::fs::write(self.file(node), text).expect("a node file");
    }

    fn plain(&self) -> Seed {
        Seed::new()
            .table(
                "mapping_gateways",
                &format!("name = \"customer\"\nremote_ips = [\"{}\"]\naccount = \"c1\"\ncapacity = 100000\nallow_axb = true", self.own()),
            )
            .table(
                "routing_gateways",
                &format!(
                    "name = \"plain\"\nprefixes = [\"9\"]\nremote_ip = \"{}\"\nsignal_port = {CARRIER}\ncapacity = 1000",
                    self.own()
                ),
            )
    }

    fn behind_platform(&self) -> Seed {
        self.plain()
            .interface("huawei-sim", "")
            .x("huawei-sim", "17000000000..17000000099", "line_limit = 40")
            .a("ga", "02100000000..02100000199", "line_limit = 20")
            .axb_gateway("platform", "13", "ga", "huawei-sim", "")
    }

    #[track_caller]
    fn configure(&self, seed: &Seed) {
        let path = self.dir.path().join("seed.toml");
        let own = self.own().to_string();
        // At an address of its own a vendor is served without a prefix.
        let text = seed.text(15_000).replace("127.0.0.1", &own);
        let text = text.replace("/huawei\"", "\"");
        std::fs::write(&path, text).expect("a file");
        self.cli(1, &["seed", "apply", &path.display().to_string()]);
        // Every node must have heard of it.
        for node in 1..=NODES {
            eventually("the configuration", Duration::from_secs(10), || {
                let rows = self
                    .api(node)
                    .try_call("GET", "routing-gateways?limit=10", None)?;
                match rows.body.contains("\"plain\"") {
                    true => Ok(()),
                    false => Err(rows.body),
                }
            });
        }
    }

    #[track_caller]
    fn cli(&self, node: u8, args: &[&str]) -> String {
        let output = Command::new(binary())
            .args(args)
            .env("TANDEM_SERVER", format!("http://{}", self.api(node).at))
            .env("TANDEM_TOKEN", TOKEN)
            .stdin(Stdio::null())
            .output()
            .expect("the binary is there");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tandem {args:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until `/readyz` of the node says so.
    #[track_caller]
    pub fn wait_ready(&self, node: u8) {
        let ready = || match http::request(self.api(node).at, "GET", "/readyz", None, None)? {
            answer if answer.status == 200 => Ok(()),
            answer => Err(answer.body),
        };
        eventually(
            &format!("node {node} is ready"),
            Duration::from_secs(60),
            ready,
        );
    }

    /// Waits until `/readyz` of the node says no, and why.
    #[track_caller]
    pub fn wait_unready(&self, node: u8, why: &str, limit: Duration) {
        eventually(&format!("node {node} is not ready"), limit, || {
            let at = self.api(node).at;
            match http::request(at, "GET", "/readyz?verbose", None, None)? {
                answer if answer.status == 503 && answer.body.contains(why) => Ok(()),
                answer => Err(answer.body),
            }
        });
    }

    fn log(&self, node: u8) -> PathBuf {
        self.dir.path().join(format!("n{node}.log"))
    }

    fn space(&self, node: u8) -> String {
        format!("{}-{node}", self.tag)
    }

    fn port(&self, node: u8) -> String {
        format!("{}v{node}", self.tag)
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.net;
        Ipv4Addr::new(a, b, c, last)
    }

    fn ip(&self, node: u8) -> Ipv4Addr {
        self.address(node)
    }

    /// The test's own address.
    pub fn own(&self) -> Ipv4Addr {
        self.address(254)
    }

    /// Where the carrier's callee must answer.
    pub fn carrier(&self) -> SocketAddr {
        (self.own(), CARRIER).into()
    }

    /// SIP of node n at its own address.
    pub fn sip(&self, node: u8) -> SocketAddr {
        (self.ip(node), SIP).into()
    }

    /// SIP of whoever has the shared address.
    pub fn shared(&self) -> SocketAddr {
        (self.address(100), SIP).into()
    }

    /// The admin API of node n.
    pub fn api(&self, node: u8) -> Api {
        Api::new((self.ip(node), 5_080).into(), TOKEN)
    }

    /// Moves the shared address, as a VRRP daemon does, and waits until all nodes know.
    #[track_caller]
    pub fn move_to(&self, from: Option<u8>, to: u8) {
        if let Some(from) = from {
            self.take_from(from);
        }
        self.give_to(to);
        for node in 1..=NODES {
            self.sees(node, node == to);
        }
        // Until the new holder's word has come around.
        std::thread::sleep(Duration::from_millis(700));
    }

    /// The same from a node that is dead.
    #[track_caller]
    pub fn hand_over(&self, dead: u8, to: u8) {
        self.take_from(dead);
        self.give_to(to);
        self.sees(to, true);
    }

    fn take_from(&self, node: u8) {
        let (space, shared) = (self.space(node), self.shared().ip());
        ip(&format!("-n {space} addr del {shared}/32 dev eth0"));
    }

    fn give_to(&self, node: u8) {
        let (space, shared) = (self.space(node), self.shared().ip());
        ip(&format!("-n {space} addr add {shared}/32 dev eth0"));
        // Instead of the gratuitous ARP.
        ip(&format!("neigh flush to {shared}"));
        for node in 1..=NODES {
            ip(&format!("-n {} neigh flush to {shared}", self.space(node)));
        }
    }

    #[track_caller]
    fn sees(&self, node: u8, has: bool) {
        let wanted = format!("tandem_node_shared_addresses {}", u8::from(has));
        eventually("the address is seen", Duration::from_secs(5), || {
            let text = self.api(node).metrics();
            let seen = text.lines().any(|line| line == wanted);
            seen.then_some(())
                .ok_or_else(|| format!("node {node}: no {wanted}"))
        });
    }

    /// Kills node n, which keeps its addresses.
    #[track_caller]
    pub fn kill(&self, node: u8) {
        let pid = self.nodes[usize::from(node) - 1].id();
        assert!(process::signal(pid, "KILL"), "node {node} was not running");
    }

    /// Its process; `ip netns exec` has become it.
    pub fn pid(&self, node: u8) -> u32 {
        self.nodes[usize::from(node) - 1].id()
    }

    /// Starts node n again, which is dead, and does not wait.
    #[track_caller]
    pub fn start_again(&mut self, node: u8) {
        let child = self.spawn(node);
        // Drops the dead one, which reaps it.
        self.nodes[usize::from(node) - 1] = child;
    }

    /// What node `from` sends to node `to` arrives nowhere from now on.
    #[track_caller]
    pub fn cut(&self, from: u8, to: u8) {
        let (space, address) = (self.space(from), self.ip(to));
        ip(&format!(
            "-n {space} neigh replace {address} lladdr {NOWHERE} dev eth0 nud permanent"
        ));
    }

    /// It arrives again.
    #[track_caller]
    pub fn mend(&self, from: u8, to: u8) {
        let (space, address) = (self.space(from), self.ip(to));
        ip(&format!("-n {space} neigh del {address} dev eth0"));
    }

    /// Takes every byte of the small disk.
    #[track_caller]
    pub fn fill_disk(&self) {
        let mut file = std::fs::File::create(self.filler()).expect("a file");
        let piece = vec![0; 65_536];
        while file.write_all(&piece).is_ok() {}
        // The rest that is smaller than a piece.
        while file.write_all(&piece[..512]).is_ok() {}
    }

    /// And gives them back.
    #[track_caller]
    pub fn free_disk(&self) {
        std::fs::remove_file(self.filler()).expect("it is full");
    }

    fn filler(&self) -> PathBuf {
        let small = self.small.expect("a node has a small disk");
        self.dir.path().join(format!("n{small}/filler"))
    }

    /// The test's directory, for SIPp's files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The port of the phone behind the platform, at the test's own address.
    pub fn phone_port(&self) -> u16 {
        PHONE
    }

    /// CDRs as node n exports them.
    #[track_caller]
    pub fn cdrs(&self, node: u8) -> Vec<Record> {
        records::read(&self.export(node, "cdr"))
    }
}

impl Operated for Apart {
    fn api(&self, node: u8) -> Api {
        Apart::api(self, node)
    }

    fn export(&self, node: u8, what: &str) -> String {
        let span = [
            "--since",
            "2020-01-01T00:00:00Z",
            "--until",
            "2100-01-01T00:00:00Z",
        ];
        let args = [&[what, "export", "-o", "jsonl"][..], &span].concat();
        self.cli(node, &args)
    }

    fn platform(&self) -> Platform {
        Platform {
            at: (Ipv4Addr::LOCALHOST, CONTROL).into(),
        }
    }

    fn platform_log(&self) -> Log {
        Log::read(&self.dir.path().join("vendor-sim.jsonl"))
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        for node in &self.nodes {
            // A stopped process would not hear of anything else.
            process::signal(node.id(), "CONT");
        }
        self.nodes.clear();
        if std::thread::panicking() {
            for node in 1..=NODES {
                eprint!("{}", log_end(&self.log(node)));
            }
        }
        for node in 1..=NODES {
            quietly("ip", &format!("netns del {}", self.space(node)));
            quietly("ip", &format!("link del {}", self.port(node)));
        }
        quietly("ip", &format!("link del {}", self.tag));
        if let Some(small) = self.small {
            let disk = self.dir.path().join(format!("n{small}"));
            quietly("umount", &format!("-l {}", disk.display()));
        }
    }
}

/// Removes what tests have left that were killed before they could: their processes, namespaces, interfaces, and the
/// directories with the mounted disks.
fn sweep() {
    let names = |dir: &str| -> Vec<String> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| left_behind(name)).collect()
    };
    for space in names("/run/netns") {
        let pids = Command::new("ip").args(["netns", "pids", &space]).output();
        let pids = pids.map(|output| output.stdout).unwrap_or_default();
        for pid in String::from_utf8_lossy(&pids).split_whitespace() {
            if let Ok(pid) = pid.parse() {
                process::signal(pid, "KILL");
            }
        }
        quietly("ip", &format!("netns del {space}"));
    }
    for interface in names("/sys/class/net") {
        quietly("ip", &format!("link del {interface}"));
    }
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    for mount in mounts.lines() {
        let mut words = mount.split(' ');
        if let (Some(tag), Some(disk)) = (words.next(), words.next())
            && left_behind(tag)
        {
            let dir = Path::new(disk).parent().expect("it was mounted within one");
            for pid in process::working_on(dir) {
                process::signal(pid, "KILL");
            }
            quietly("umount", &format!("-l {disk}"));
            // Whoever keeps what tests wrote keeps this.
            if std::env::var_os("TANDEM_TEST_KEEP").is_none() {
                let _ = std::fs::remove_dir_all(dir);
            }
        }
    }
}

/// Whether a name is that of a thing whose test is no more.
fn left_behind(name: &str) -> bool {
    let rest = name.strip_prefix(TAG).unwrap_or_default();
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let pid = rest[..digits].parse();
    pid.is_ok_and(|pid: u32| !process::alive(pid))
}

/// Runs a program and does not mind: what was never made need not go.
fn quietly(program: &str, args: &str) {
    let mut command = Command::new(program);
    command.args(args.split(' ')).stderr(Stdio::null());
    let _ = command.status();
}

#[track_caller]
fn ip(args: &str) {
    run("ip", args);
}

#[track_caller]
fn run(program: &str, args: &str) {
    let output = Command::new(program).args(args.split(' ')).output();
    let output = output.unwrap_or_else(|e| panic!("{program}: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {args}: {errors} (needs root)"
    );
}
