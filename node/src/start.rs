//! One node from start to stop, top to bottom; it stops in the opposite order.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tandem_billing::Store;
use tandem_cluster::command::{Epoch, Refusal};
use tandem_cluster::handle::{self, Cluster};
use tandem_cluster::level::SPOKEN;
use tandem_ops::api::{Access, Token};
use tandem_ops::switch::Switch;
use tandem_sip::transport::{Listen, Transport};
use tandem_vendors::definition::{Catalogue, CatalogueError};
use tokio::sync::{oneshot, watch};

use crate::biller::Arithmetic;
use crate::config::{Config, ConfigError};
use crate::core::{Core, Surroundings};
use crate::parts::{self, Feeds, Parts};
use crate::switch::Process;

/// Why a node did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The node file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Logging.
    #[error("log filter `{0}` cannot be read")]
    Log(String),
    /// Metrics.
    #[error("metrics cannot be set up")]
    Metrics(#[source] Box<dyn std::error::Error>),
    /// The token file.
    #[error("token file `{0}` cannot be read")]
    Token(String, #[source] std::io::Error),
    /// Log, snapshots or links.
    #[error("cluster does not start")]
    Cluster(#[from] handle::StartError),
    /// Records.
    #[error("call records cannot be opened")]
    Store(#[from] tandem_billing::store::StoreError),
    /// SIP listeners.
    #[error("sip does not start")]
    Sip(#[from] tandem_sip::transport::BindError),
    /// Definitions of platforms.
    #[error(transparent)]
    Vendors(#[from] CatalogueError),
    /// Admin listener.
    #[error("admin api does not start")]
    Admin(#[from] tandem_ops::api::ServeError),
    /// Another live node has the access name.
    #[error("access name `{name}` is held by the node at {address} for another {left_ms} ms")]
    ClaimHeld {
        /// The name.
        name: String,
        /// Who.
        address: String,
        /// Of its lease.
        left_ms: u64,
    },
    /// The cluster does not take this node (any more).
    #[error("{0}")]
    Expelled(String),
    /// The log cannot be written or the state not kept any more.
    #[error("node has failed, its answered calls are left to the others: {0}")]
    Failed(String),
    /// A thread did not come up.
    #[error("{0}")]
    Internal(&'static str),
}

impl ServeError {
    /// Exit code, as `tandem`'s help lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            ServeError::Config(_)
            | ServeError::Log(_)
            | ServeError::Vendors(_)
            | ServeError::Cluster(handle::StartError::Config(_)) => 2,
            ServeError::ClaimHeld { .. }
            | ServeError::Expelled(_)
            | ServeError::Cluster(handle::StartError::Expelled(_)) => 4,
            ServeError::Cluster(error) if error.is_for_good() => 8,
            _ => 1,
        }
    }

    /// What an operator can do about it where that is not plain from the error.
    fn advice(&self) -> Option<&'static str> {
        match self {
            ServeError::Cluster(handle::StartError::Log(error)) if error.is_damage() => Some(
                "what this node has promised the others cannot be told any more: remove it from the cluster, and add it \
                 again under a new id with an empty data directory",
            ),
            _ => None,
        }
    }
}

/// `tandem serve`: runs one node until it is told to stop.
pub fn serve(path: &Path) -> ExitCode {
    match run(path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Mistakes of definitions are as many lines as there are.
            if let ServeError::Vendors(error @ CatalogueError::Wrong(_)) = &error {
                eprintln!("{error}");
            } else {
                let advice = error.advice().map(|advice| format!("; {advice}"));
                eprintln!("tandem: {}{}", chain(&error), advice.unwrap_or_default());
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// The error and what caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text.replace('\n', " ")
}

fn run(path: &Path) -> Result<(), ServeError> {
    let config = Config::load(path)?;
    if let Some(folder) = &config.vendors.definitions {
        Catalogue::with_folder(folder)?.install()?;
    }
    let format = if config.log.json {
        tandem_ops::log::Format::Json
    } else {
        tandem_ops::log::Format::Text
    };
    tandem_ops::log::init(format, &config.log.filter)
        .map_err(|_| ServeError::Log(config.log.filter.clone()))?;
    let metrics =
        tandem_ops::metrics::install().map_err(|error| ServeError::Metrics(Box::new(error)))?;
    describe_metrics();
    System::new().block_on(live(config, metrics))
}

async fn live(config: Config, metrics: tandem_ops::metrics::Metrics) -> Result<(), ServeError> {
    let name = config.node.access_name.clone();
    tracing::info!(
        node = config.node.id,
        name,
        version = env!("CARGO_PKG_VERSION"),
        "node starts"
    );

    let token = std::fs::read_to_string(&config.admin.token_file).map_err(|source| {
        ServeError::Token(config.admin.token_file.display().to_string(), source)
    })?;
    // Listeners first: an occupied port must be told before anything is written.
    free_port(config.admin.listen)?;
    let (feeds, arrivals) = parts::feeds(&config);
    let arbiters: Vec<Arbiter> = feeds.iter().map(|_| Arbiter::new()).collect();
    let transport = listen(&config, feeds.clone(), &arbiters).await?;
    tracing::info!(udp = ?config.sip.udp, tcp = ?config.sip.tcp, shards = config.shards(), "sip listens");

    let around = Surroundings::of_machine();
    let cluster = Cluster::start(cluster_config(&config), Arc::new(Arithmetic)).await?;
    let effects = cluster
        .effects()
        .ok_or(ServeError::Internal("effects are taken already"))?;
    tracing::info!(listen = %config.cluster.listen, "links listen");
    if config.cluster.has_plain_links() {
        tracing::warn!(
            "links between nodes are in the clear: anybody on the way can read and change them"
        );
    }
    let store = Arc::new(Store::open(config.node.data_dir.join("records")).await?);
    tracing::info!(last = store.last(), "records open");

    let core = Core::new(config, around, cluster.clone());
    let mut parts = Parts::put_together(&core, &store, transport.clone(), feeds);
    parts.start_shards(arrivals, |shard, start| {
        // A thread that has ended by now is missed by readiness: its shard never opens.
        arbiters[shard].spawn_fn(start);
    });
    let switch: Arc<dyn Switch> = Arc::new(Process::new(Arc::clone(&core), Arc::clone(&store)));
    parts.answer_peers(&store, Some(Arc::clone(&switch)));
    let admin = tandem_ops::api::Config {
        listen: core.config.admin.listen,
        tokens: vec![Token::new("admin", Access::Admin, token.trim())],
        workers: 1,
        public_url: core.config.callbacks.public_url.clone(),
    };
    let admin = tandem_ops::api::start(admin, switch, metrics)?;

    let claimed = parts.claim(effects);
    let outcome = until_told(claimed, cluster.expelled(), &name, &cluster).await;
    if let Err(error @ ServeError::Failed(_)) = &outcome {
        // As when the machine dies: nothing is said to far ends whose calls other nodes take over.
        tracing::error!("{error}");
        transport.close();
        return outcome;
    }

    tracing::info!("node stops");
    parts.leave().await;
    admin.stop().await;
    transport.close();
    drop(parts);
    for arbiter in arbiters {
        arbiter.stop();
    }
    cluster.shutdown().await;
    tracing::info!("node has stopped");
    outcome
}

/// An admin port that is in use is told at once; the API itself opens it last, when it can answer.
fn free_port(listen: SocketAddr) -> Result<(), ServeError> {
    match std::net::TcpListener::bind(listen) {
        Ok(_) => Ok(()),
        Err(source) => Err(tandem_ops::api::ServeError::Listen { listen, source }.into()),
    }
}

/// What the cluster of this node is told.
pub fn cluster_config(config: &Config) -> handle::Config {
    let peers = config.cluster.peers.iter();
    let peers = peers.map(|peer| handle::Member {
        id: peer.id,
        address: peer.address.clone(),
    });
    let [shortest, longest] = config.cluster.election_ms;
    handle::Config {
        join: config.cluster.join,
        level_max: config.cluster.max_level.unwrap_or(SPOKEN),
        tls: config
            .cluster
            .tls
            .as_ref()
            .map(|tls| tandem_cluster::link::Files {
                ca: tls.ca.clone(),
                certificate: tls.certificate.clone(),
                key: tls.key.clone(),
            }),
        timings: handle::Timings {
            heartbeat: Duration::from_millis(config.cluster.heartbeat_ms),
            election_min: Duration::from_millis(shortest),
            election_max: Duration::from_millis(longest),
        },
        ..handle::Config::new(
            config.node.id,
            config.cluster.id.clone(),
            config.node.data_dir.join("raft"),
            config.cluster.listen,
            peers.collect(),
        )
    }
}

/// Opens the SIP listeners. With a single signalling thread they live on it, so that a message needs no other thread on
/// its way to the call; with several they live here, and each message goes to the thread of its Call-ID.
async fn listen(
    config: &Config,
    feeds: Feeds,
    arbiters: &[Arbiter],
) -> Result<Transport, ServeError> {
    let listen = Listen {
        udp: config.sip.udp.clone(),
        tcp: config.sip.tcp.clone(),
        udp_shared: config.sip.shared.udp.clone(),
        tcp_shared: config.sip.shared.tcp.clone(),
        ..Listen::default()
    };
    let [arbiter] = arbiters else {
        return Ok(Transport::bind(&listen, feeds)?);
    };
    let (tell, told) = oneshot::channel();
    arbiter.spawn(async move {
        // Nobody listens only when the start was given up meanwhile.
        let _ = tell.send(Transport::bind(&listen, feeds));
    });
    let bound = told
        .await
        .map_err(|_| ServeError::Internal("a signalling thread did not start"))?;
    Ok(bound?)
}

/// Waits for a signal, or for the news that this node may not serve.
async fn until_told(
    claimed: oneshot::Receiver<Result<Epoch, Refusal>>,
    mut expelled: watch::Receiver<Option<String>>,
    name: &str,
    cluster: &Cluster,
) -> Result<(), ServeError> {
    let failed = async {
        let mut standing = cluster.standing();
        // An error says that the cluster's runtime is gone.
        let _ = standing
            .wait_for(|standing| standing.role == handle::Role::Stopped)
            .await;
        let why = cluster.status().stopped;
        ServeError::Failed(why.unwrap_or_else(|| "cluster node has stopped".to_owned()))
    };
    let refused = async {
        match claimed.await {
            Ok(Err(Refusal::ClaimHeld { address, left_ms })) => ServeError::ClaimHeld {
                name: name.to_owned(),
                address,
                left_ms,
            },
            // Granted, or not yet possible: serve on.
            _ => futures::future::pending().await,
        }
    };
    let out = async {
        match expelled.wait_for(Option::is_some).await {
            Ok(reason) => ServeError::Expelled(reason.clone().unwrap_or_default()),
            // The cluster's own end is told elsewhere.
            Err(_) => futures::future::pending().await,
        }
    };
    tokio::select! {
        error = refused => Err(error),
        error = out => Err(error),
        error = failed => Err(error),
        () = signalled() => Ok(()),
    }
}

/// SIGTERM or SIGINT.
pub async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    match (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        // Without handlers the signals' own effect ends the process.
        _ => futures::future::pending().await,
    }
}

fn describe_metrics() {
    crate::metrics::describe();
    tandem_sip::metrics::describe();
    tandem_cluster::metrics::describe();
    tandem_vendors::metrics::describe();
    tandem_billing::metrics::describe();
}
