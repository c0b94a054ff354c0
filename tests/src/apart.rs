//! A cluster whose nodes are machines of their own as far as the network goes: a namespace each, joined by a bridge at
//! which the test itself stands. Made and removed by the test; needs root.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::api::Api;
use crate::http;
use crate::process::{self, Guarded};
use crate::records::{self, Record};
use crate::seed::Seed;
use crate::switch::binary;
use crate::wait::eventually;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const NODES: u8 = 3;
/// The port of every node's SIP, and of the shared address.
const SIP: u16 = 5_060;
/// Where the routing gateway of callees that begin with 9 sends calls.
const CARRIER: u16 = 6_050;

/// Three nodes and an address that floats among them.
#[derive(Debug)]
pub struct Apart {
    dir: tempfile::TempDir,
    /// In the names of interfaces and namespaces.
    tag: String,
    /// The first three octets.
    net: [u8; 3],
    nodes: Vec<Guarded>,
}

impl Apart {
    /// Three ready nodes; nobody has the shared address yet.
    #[track_caller]
    pub fn start() -> Apart {
        let pid = std::process::id();
        let net = [10, 100 + (pid % 100) as u8, (pid / 100 % 250) as u8];
        let mut apart = Apart {
            dir: tempfile::tempdir().expect("a directory"),
            tag: format!("t{pid}"),
            net,
            nodes: Vec::new(),
        };
        apart.join();
        for node in 1..=NODES {
            let file = apart.node_file(node);
            let log = std::fs::File::create(apart.log(node)).expect("a file");
            let errors = log.try_clone().expect("a second handle");
            let child = Command::new("ip")
                .args(["netns", "exec", &apart.space(node)])
                .arg(binary())
                .args(["serve", "--config"])
                .arg(file)
                .stdin(Stdio::null())
                .stdout(log)
                .stderr(errors)
                .spawn()
                .expect("iproute2 is there");
            apart.nodes.push(Guarded(child));
        }
        for node in 1..=NODES {
            apart.wait_ready(node);
        }
        apart.configure();
        apart
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

    fn node_file(&self, node: u8) -> PathBuf {
        let dir = self.dir.path();
        std::fs::write(dir.join("token"), TOKEN).expect("a token file");
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
        let path = dir.join(format!("n{node}.toml"));
        std::fs::write(&path, text).expect("a node file");
        path
    }

    #[track_caller]
    fn configure(&self) {
        let seed = Seed::new()
            .table(
                "mapping_gateways",
                &format!("name = \"customer\"\nremote_ips = [\"{}\"]\naccount = \"c1\"\ncapacity = 1000", self.own()),
            )
            .table(
                "routing_gateways",
                &format!(
                    "name = \"plain\"\nprefixes = [\"9\"]\nremote_ip = \"{}\"\nsignal_port = {CARRIER}\ncapacity = 1000",
                    self.own()
                ),
            );
        let path = self.dir.path().join("seed.toml");
        std::fs::write(&path, seed.text(15_000)).expect("a file");
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

    #[track_caller]
    fn wait_ready(&self, node: u8) {
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

    /// CDRs as node n exports them.
    #[track_caller]
    pub fn cdrs(&self, node: u8) -> Vec<Record> {
        let span = [
            "--since",
            "2020-01-01T00:00:00Z",
            "--until",
            "2100-01-01T00:00:00Z",
        ];
        let args = [&["cdr", "export", "-o", "jsonl"][..], &span].concat();
        records::read(&self.cli(node, &args))
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.nodes.clear();
        if std::thread::panicking() {
            for node in 1..=NODES {
                let text = std::fs::read_to_string(self.log(node)).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let tail = lines[lines.len().saturating_sub(25)..].join("\n");
                eprintln!("---- node {node} (end)\n{tail}");
            }
        }
        let quietly = |args: String| {
            let mut command = Command::new("ip");
            command.args(args.split(' ')).stderr(Stdio::null());
            // What was never made need not go.
            let _ = command.status();
        };
        for node in 1..=NODES {
            quietly(format!("netns del {}", self.space(node)));
            quietly(format!("link del {}", self.port(node)));
        }
        quietly(format!("link del {}", self.tag));
    }
}

#[track_caller]
fn ip(args: &str) {
    let output = Command::new("ip").args(args.split(' ')).output();
    let output = output.expect("iproute2 is there");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {args}: {errors} (needs root)");
}
