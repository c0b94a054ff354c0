//! `tandem dev`: a cluster on this machine, each node a process of its own, with the platform simulator and the sample
//! configuration.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tandem_cluster::level::{FIRST, Level, SPOKEN};

use crate::config;
use crate::start::{chain, signalled};

/// Nodes of a dev cluster, at most.
pub const NODES_MAX: u64 = 9;
/// The simulator's application, known to the sample configuration.
const APP_KEY: &str = "sample-app-key";
const APP_SECRET: &str = "sample-app-secret";
/// A node must be ready within this time.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// A node that was told to stop is killed after this time.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// Options of `tandem dev`.
#[derive(Clone, Debug, Args)]
pub struct DevArgs {
    /// Nodes to start, 1 to 9.
    #[arg(long, default_value_t = 3, global = true, value_parser = clap::value_parser!(u64).range(1..=NODES_MAX))]
    pub nodes: u64,
    /// Ports are counted from here.
    #[arg(long, default_value_t = 15_000, global = true, value_parser = clap::value_parser!(u16).range(1_024..=64_000))]
    pub base_port: u16,
    /// Where everything is kept.
    #[arg(long, default_value = ".tandem-dev", global = true)]
    pub data_dir: PathBuf,
    /// Begin with an empty data directory.
    #[arg(long)]
    pub fresh: bool,
    /// Seed file instead of the sample configuration.
    #[arg(long, value_name = "SEED.toml")]
    pub config: Option<PathBuf>,
    /// Start no platform simulator.
    #[arg(long)]
    pub no_sim: bool,
    /// Highest level that new nodes speak, to rehearse an upgrade.
    #[arg(long, global = true, hide = true, value_parser = clap::value_parser!(u8).range(i64::from(FIRST)..=i64::from(SPOKEN)))]
    pub max_level: Option<Level>,
    /// One node alone.
    #[command(subcommand)]
    pub one: Option<One>,
}

/// `tandem dev node N`.
#[derive(Clone, Debug, Subcommand)]
pub enum One {
    /// Start one node of the cluster again, or a new one.
    Node {
        /// Its number, from 1.
        #[arg(value_parser = clap::value_parser!(u64).range(1..=NODES_MAX))]
        n: u64,
        /// A new node, which waits until `cluster add` takes it in.
        #[arg(long)]
        join: bool,
    },
}

/// Why a dev cluster does not come up.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// A file or directory.
    #[error("`{path}` cannot be written")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A process did not start.
    #[error("`{what}` cannot be started")]
    Spawn {
        /// Which.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// A process ended before it was ready.
    #[error("{what} has ended: {line}")]
    Ended {
        /// Which.
        what: String,
        /// Last line of its log.
        line: String,
    },
    /// A process is not ready in time.
    #[error("{what} is not ready after {} s, see `{log}`", READY_WITHIN.as_secs())]
    Slow {
        /// Which.
        what: String,
        /// Its log.
        log: PathBuf,
    },
    /// The seed file.
    #[error("seed `{0}` cannot be read")]
    Seed(PathBuf, #[source] io::Error),
    /// The cluster refused the seed.
    #[error("seed refused: {0}")]
    Refused(String),
    /// A port is in use.
    #[error("port {port} is in use")]
    Port {
        /// Which.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// This node runs.
    #[error("node {0} runs already, with pid {1}")]
    Running(u64, i32),
    /// No such node.
    #[error("no node {0} in `{1}`")]
    NoNode(u64, PathBuf),
    /// There was one.
    #[error("node {0} cannot join anew: `{1}` is there already")]
    Exists(u64, PathBuf),
}

/// A running dev cluster; what it started is stopped when it is dropped.
pub struct Cluster {
    dir: PathBuf,
    base: u16,
    nodes: u64,
    max_level: Option<Level>,
    token: String,
    children: Vec<(String, Child)>,
    http: reqwest::Client,
}

/// `tandem dev`.
pub fn run(args: &DevArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(foreground(args)),
        Err(source) => Err(DevError::Spawn {
            what: "runtime".to_owned(),
            source,
        }),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tandem: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

async fn foreground(args: &DevArgs) -> Result<(), DevError> {
    match args.one {
        Some(One::Node { n, join: true }) => return join(args, n).await,
        Some(One::Node { n, .. }) => return start_again(args, n).await,
        None => {}
    }
    let mut cluster = Cluster::start(args).await?;
    cluster.describe();
    cluster.stay().await;
    eprintln!("stopping");
    cluster.stop();
    Ok(())
}

/// `tandem dev node N`: the process goes on by itself.
async fn start_again(args: &DevArgs, n: u64) -> Result<(), DevError> {
    let dir = node_dir(&args.data_dir, n);
    if !dir.join("node.toml").exists() {
        return Err(DevError::NoNode(n, args.data_dir.clone()));
    }
    if let Some(pid) = running(&dir) {
        return Err(DevError::Running(n, pid.as_raw_nonzero().get()));
    }
    let mut child = spawn_node(&dir)?;
    println!("node {n}: pid {}", child.id());
    let address = admin_address(&dir, args.base_port, n);
    await_ready(
        &client(),
        address,
        &format!("node {n}"),
        &mut child,
        &dir.join("log"),
    )
    .await
}

/// `tandem dev node N --join`: likewise.
async fn join(args: &DevArgs, n: u64) -> Result<(), DevError> {
    let dir = node_dir(&args.data_dir, n);
    if dir.exists() {
        return Err(DevError::Exists(n, dir));
    }
    make_dir(&dir)?;
    let absolute = |path: PathBuf| {
        path.canonicalize()
            .map_err(|source| DevError::File { path, source })
    };
    let (top, dir) = (absolute(args.data_dir.clone())?, absolute(dir)?);
    let mut config = node_config(&top, args.base_port, n, Vec::new());
    config.cluster.join = true;
    config.cluster.max_level = args.max_level;
    write_config(&dir, &config)?;
    let mut child = spawn_node(&dir)?;
    println!("node {n}: pid {}", child.id());
    let (what, log) = (format!("node {n}"), dir.join("log"));
    let admin = config.admin.listen;
    await_answer(&client(), admin, "livez", &what, &mut child, &log).await?;
    println!(
        "try     tandem cluster add --id {n} --address {}",
        config.cluster.listen
    );
    Ok(())
}

impl Cluster {
    /// Starts the processes and loads the configuration.
    pub async fn start(args: &DevArgs) -> Result<Self, DevError> {
        let dir = args.data_dir.clone();
        if args.fresh && dir.exists() {
            fs::remove_dir_all(&dir).map_err(|source| DevError::File {
                path: dir.clone(),
                source,
            })?;
        }
        check_ports(args)?;
        make_dir(&dir)?;
        let dir = dir
            .canonicalize()
            .map_err(|source| DevError::File { path: dir, source })?;
        let token = administrators_token(&dir)?;
        let mut cluster = Cluster {
            dir,
            base: args.base_port,
            nodes: args.nodes,
            max_level: args.max_level,
            token,
            children: Vec::new(),
            http: client(),
        };
        if !args.no_sim {
            cluster.start_simulator(args.config.is_none())?;
        }
        for n in 1..=args.nodes {
            cluster.start_node(n)?;
        }
        for n in 1..=args.nodes {
            cluster.await_node(n).await?;
        }
        cluster.load(args).await?;
        Ok(cluster)
    }

    /// `told`: the sample's interface hears of its calls, at the first node.
    fn start_simulator(&mut self, told: bool) -> Result<(), DevError> {
        let secret = tandem_vendors::sim::Credentials::new(APP_KEY, APP_SECRET);
        let mut config = tandem_vendors::sim::Config::of(
            local(self.base, 80),
            local(self.base, 60),
            local(self.base, 40),
            tandem_vendors::sim::vendors(),
            &secret,
        );
        for (vendor, application) in &mut config.vendors {
            // Some platforms choose X themselves: out of the numbers of the sample, which must not
            // forbid the numbers that an operator adds.
            if vendor == "huawei" && told {
                let node = local(self.base, port_of(1, 80));
                application.callback_url = format!("http://{node}/callbacks/huawei-sim");
            } else if vendor != "huawei" {
                application.x_numbers = (0..100).map(|n| format!("170000000{n:02}")).collect();
                application.x_prefix = "1".to_owned();
            }
        }
        // Platforms that ask ask an interface of their own name, if there is one.
        for (vendor, x_prefix) in [("china-unicom-x", "166"), ("infobip", "167")] {
            let url = |n| {
                let address = local(self.base, port_of(n, 80));
                format!("http://{address}/callbacks/{vendor}")
            };
            let urls: Vec<_> = (1..=self.nodes.min(2)).map(url).collect();
            let asking = tandem_vendors::sim::Asking::new(APP_KEY, APP_SECRET, x_prefix, &urls);
            config.asking.insert(vendor.to_owned(), asking);
        }
        config.log = Some(self.dir.join("vendor-sim.jsonl"));
        let path = self.dir.join("vendor-sim.toml");
        let text = toml::to_string(&config).expect("plain data");
        write(&path, &text, 0o600)?;
        let child = spawn("vendor-sim", &path, &self.dir.join("vendor-sim.log"))?;
        write(
            &self.dir.join("vendor-sim.pid"),
            &child.id().to_string(),
            0o644,
        )?;
        self.children.push(("vendor-sim".to_owned(), child));
        Ok(())
    }

    fn start_node(&mut self, n: u64) -> Result<(), DevError> {
        let dir = node_dir(&self.dir, n);
        make_dir(&dir)?;
        let peers = (1..=self.nodes).map(|id| config::Peer {
            id,
            address: local(self.base, port_of(id, 70)).to_string(),
        });
        let mut config = node_config(&self.dir, self.base, n, peers.collect());
        config.cluster.max_level = self.max_level;
        write_config(&dir, &config)?;
        let child = spawn_node(&dir)?;
        self.children.push((format!("node {n}"), child));
        Ok(())
    }

    async fn await_node(&mut self, n: u64) -> Result<(), DevError> {
        let (what, log) = (format!("node {n}"), node_dir(&self.dir, n).join("log"));
        let address = local(self.base, port_of(n, 80));
        let http = self.http.clone();
        match self.children.iter_mut().find(|(name, _)| *name == what) {
            Some((_, child)) => await_ready(&http, address, &what, child, &log).await,
            None => Ok(()),
        }
    }

    /// Loads the sample configuration or the one asked for. Rows that stand already are left alone.
    async fn load(&self, args: &DevArgs) -> Result<(), DevError> {
        let seed = match &args.config {
            Some(path) => {
                fs::read_to_string(path).map_err(|source| DevError::Seed(path.clone(), source))?
            }
            None => tandem_ops::seed::sample(self.base),
        };
        let response = self
            .http
            .post(format!("{}/api/v1/seed", self.url(1)))
            .bearer_auth(&self.token)
            .header("Content-Type", "application/toml")
            .timeout(Duration::from_secs(60))
            .body(seed)
            .send()
            .await
            .map_err(|error| DevError::Refused(chain(&error)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        Err(DevError::Refused(format!(
            "{status} {}",
            response.text().await.unwrap_or_default()
        )))
    }

    /// Base of a node's admin API.
    pub fn url(&self, n: u64) -> String {
        format!("http://{}", local(self.base, port_of(n, 80)))
    }

    /// The administrator's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Where things are kept.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// SIP address of a node.
    pub fn sip(&self, n: u64) -> SocketAddr {
        local(self.base, port_of(n, 60))
    }

    /// Number of nodes.
    pub fn nodes(&self) -> u64 {
        self.nodes
    }

    /// Where the simulator sends the callees' calls.
    pub fn phone(&self) -> SocketAddr {
        local(self.base, 40)
    }

    fn describe(&self) {
        for n in 1..=self.nodes {
            let pid = self
                .children
                .iter()
                .find(|(name, _)| *name == format!("node {n}"))
                .map_or(0, |(_, c)| c.id());
            println!(
                "node {n}  pid {pid:<8} sip {}  admin {}",
                self.sip(n),
                self.url(n)
            );
        }
        if let Some((_, sim)) = self.children.iter().find(|(name, _)| name == "vendor-sim") {
            println!(
                "platform  pid {:<8} sip {}  http://{}",
                sim.id(),
                local(self.base, 60),
                local(self.base, 80)
            );
        }
        println!("data      {}", self.dir.display());
        println!("token     {}", self.dir.join("admin.token").display());
        println!(
            "try       tandem --server {} --token-file {} cluster status",
            self.url(1),
            self.dir.join("admin.token").display()
        );
    }

    /// Until Ctrl-C; tells of every process that ends meanwhile.
    pub async fn stay(&mut self) {
        let told = signalled();
        tokio::pin!(told);
        loop {
            tokio::select! {
                () = &mut told => return,
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
            }
            self.children
                .retain_mut(|(name, child)| match child.try_wait() {
                    Ok(Some(status)) => {
                        eprintln!("{name} has ended: {status}");
                        false
                    }
                    _ => true,
                });
        }
    }

    /// Stops everything in order: nodes, then the simulator; nodes that were started again or joined as well.
    pub fn stop(&mut self) {
        let mut pids: Vec<Pid> = (1..=NODES_MAX)
            .rev()
            .filter_map(|n| running(&node_dir(&self.dir, n)))
            .collect();
        for pid in &pids {
            // Gone by itself is as good.
            let _ = kill_process(*pid, Signal::TERM);
        }
        let until = Instant::now() + STOP_WITHIN;
        while !pids.is_empty() && Instant::now() < until {
            for (_, child) in &mut self.children {
                // Takes the ended child out of the process table.
                let _ = child.try_wait();
            }
            pids.retain(|pid| test_kill_process(*pid).is_ok());
            std::thread::sleep(Duration::from_millis(20));
        }
        for pid in pids {
            let _ = kill_process(pid, Signal::KILL);
        }
        for (_, child) in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.children.clear();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.children.is_empty() {
            self.stop();
        }
    }
}

/// What a node's file says.
fn node_config(top: &Path, base: u16, n: u64, peers: Vec<config::Peer>) -> config::Config {
    let dir = node_dir(top, n);
    let sip = local(base, port_of(n, 60));
    config::Config {
        node: config::Node {
            id: n,
            access_name: format!("dev-{n}"),
            data_dir: dir.join("data"),
            lease_ms: 3_000,
        },
        sip: config::Sip {
            udp: vec![sip],
            tcp: vec![sip],
            shards: Some(1),
            advertised: None,
            shared: config::Shared::default(),
        },
        cluster: config::Cluster {
            id: "dev".to_owned(),
            listen: local(base, port_of(n, 70)),
            peers,
            join: false,
            tls: None,
            max_level: None,
            heartbeat_ms: 50,
            election_ms: [150, 300],
        },
        admin: config::Admin {
            listen: local(base, port_of(n, 80)),
            token_file: top.join("admin.token"),
        },
        log: config::Log::default(),
        limits: config::Limits::default(),
        vendors: config::Vendors::default(),
        callbacks: config::Callbacks::default(),
    }
}

fn write_config(dir: &Path, config: &config::Config) -> Result<(), DevError> {
    let text = toml::to_string(config).expect("plain data");
    write(&dir.join("node.toml"), &text, 0o644)
}

/// Port offset of node n.
fn port_of(n: u64, offset: u16) -> u16 {
    u16::try_from(n).expect("at most 9 nodes") * 100 + offset
}

fn local(base: u16, offset: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, base + offset))
}

fn node_dir(dir: &Path, n: u64) -> PathBuf {
    dir.join(format!("n{n}"))
}

fn admin_address(dir: &Path, base: u16, n: u64) -> SocketAddr {
    match config::Config::load(&dir.join("node.toml")) {
        Ok(config) => config.admin.listen,
        Err(_) => local(base, port_of(n, 80)),
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()
        .expect("needs no file and no network")
}

/// An occupied port is told before anything is written.
fn check_ports(args: &DevArgs) -> Result<(), DevError> {
    let nodes = (1..=args.nodes).flat_map(|n| [60, 70, 80].map(|offset| port_of(n, offset)));
    let simulator = if args.no_sim { &[][..] } else { &[80] };
    for offset in nodes.chain(simulator.iter().copied()) {
        let address = local(args.base_port, offset);
        std::net::TcpListener::bind(address).map_err(|source| DevError::Port {
            port: address.port(),
            source,
        })?;
    }
    Ok(())
}

fn administrators_token(dir: &Path) -> Result<String, DevError> {
    let path = dir.join("admin.token");
    if let Ok(token) = fs::read_to_string(&path) {
        return Ok(token.trim().to_owned());
    }
    let token: String = (0..4)
        .map(|_| format!("{:016x}", rand::random::<u64>()))
        .collect();
    write(&path, &token, 0o600)?;
    Ok(token)
}

fn make_dir(path: &Path) -> Result<(), DevError> {
    fs::create_dir_all(path).map_err(|source| DevError::File {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), DevError> {
    let fault = |source| DevError::File {
        path: path.to_owned(),
        source,
    };
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .map_err(fault)?;
    io::Write::write_all(&mut file, text.as_bytes()).map_err(fault)
}

fn spawn_node(dir: &Path) -> Result<Child, DevError> {
    let child = spawn("serve", &dir.join("node.toml"), &dir.join("log"))?;
    write(&dir.join("pid"), &child.id().to_string(), 0o644)?;
    Ok(child)
}

/// This program again, with its output in a file and out of reach of the terminal's Ctrl-C: it is stopped in order.
fn spawn(command: &str, config: &Path, log: &Path) -> Result<Child, DevError> {
    let fault = |source| DevError::Spawn {
        what: command.to_owned(),
        source,
    };
    let file = File::options()
        .append(true)
        .create(true)
        .open(log)
        .map_err(|source| DevError::File {
            path: log.to_owned(),
            source,
        })?;
    Command::new(std::env::current_exe().map_err(fault)?)
        .arg(command)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(file.try_clone().map_err(fault)?)
        .stderr(file)
        .process_group(0)
        .spawn()
        .map_err(fault)
}

/// The live process of a node's directory.
fn running(dir: &Path) -> Option<Pid> {
    let pid = fs::read_to_string(dir.join("pid"))
        .ok()?
        .trim()
        .parse()
        .ok()
        .and_then(Pid::from_raw)?;
    // A pid that was given to another process since does not count.
    let words = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
    let wanted = dir.join("node.toml");
    let ours = words
        .split(|byte| *byte == 0)
        .any(|word| Path::new(std::str::from_utf8(word).unwrap_or("")) == wanted);
    ours.then_some(pid)
}

async fn await_ready(
    http: &reqwest::Client,
    admin: SocketAddr,
    what: &str,
    child: &mut Child,
    log: &Path,
) -> Result<(), DevError> {
    await_answer(http, admin, "readyz", what, child, log).await
}

/// Waits until a path of the admin API answers with success.
async fn await_answer(
    http: &reqwest::Client,
    admin: SocketAddr,
    path: &str,
    what: &str,
    child: &mut Child,
    log: &Path,
) -> Result<(), DevError> {
    let until = Instant::now() + READY_WITHIN;
    while Instant::now() < until {
        if let Ok(Some(_)) = child.try_wait() {
            let text = fs::read_to_string(log).unwrap_or_default();
            let line = text.lines().last().unwrap_or("without a word").to_owned();
            return Err(DevError::Ended {
                what: what.to_owned(),
                line,
            });
        }
        let answer = http.get(format!("http://{admin}/{path}")).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(DevError::Slow {
        what: what.to_owned(),
        log: log.to_owned(),
    })
}
