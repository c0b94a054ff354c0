//! One node's cluster, a platform simulator and the actors between them, without SIP: what is asked of the platform,
//! seen from the platform.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use serde_json::json;
use tandem_billing::Store;
use tandem_cluster::command::{
    AskAx, AxDeed, Bound, CallId, Claim, Command, Epoch, Put, Reply, Reserve, Unbound,
};
use tandem_cluster::entity::{AxBinding, Entity, Id, Table};
use tandem_cluster::handle::{self, Cluster};
use tandem_cluster::state::AxPhase;
use tandem_ops::platform::PlatformRequest;
use tandem_ops::reconciliation::{Kind, Outcome, Progress, Reconciliation};
use tandem_ops::switch::Switch;
use tandem_vendors::outcome::{AxBind, Bind, BindOutcome};
use tandem_vendors::sim::{self, Credentials, Mode, Sim};
use tandem_vendors::{Client, Vendor};
use tokio::sync::{oneshot, watch};

use crate::biller::Arithmetic;
use crate::config;
use crate::core::{Core, Surroundings};
use crate::device::DeviceActor;
use crate::parts::route_effects;
use crate::switch::Process;

struct World {
    core: Arc<Core>,
    switch: Process,
    sim: Sim,
    epoch: Epoch,
    interface: Id,
    _dir: tempfile::TempDir,
}

impl World {
    /// With the sample configuration. `device`: with the actor that does what entries ask for.
    async fn new(device: bool) -> World {
        let dir = tempfile::tempdir().expect("a directory");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let secret = Credentials::new("sample-app-key", "sample-app-secret");
        let sim = sim::spawn(&sim::Config::huawei(any, any, any, secret)).expect("a simulator");
        let listen = std::net::TcpListener::bind(any)
            .and_then(|free| free.local_addr())
            .expect("a port");
        let member = handle::Member {
            id: 1,
            address: listen.to_string(),
        };
        let raft = dir.path().join("raft");
        let cluster = handle::Config::new(1, "t", raft, listen, vec![member]);
        let cluster = Cluster::start(cluster, Arc::new(Arithmetic))
            .await
            .expect("a cluster");
        let store = Store::open(dir.path().join("records")).await;
        let store = Arc::new(store.expect("a store"));
        let config = config::Config {
            node: config::Node {
                id: 1,
                access_name: "n1".into(),
                data_dir: dir.path().into(),
                lease_ms: 60_000,
            },
            sip: config::Sip {
                udp: vec![any],
                tcp: vec![],
                shards: Some(1),
                advertised: None,
                shared: config::Shared::default(),
            },
            cluster: config::Cluster {
                id: "t".into(),
                listen,
                peers: vec![],
                join: false,
                tls: None,
                max_level: None,
                heartbeat_ms: 50,
                election_ms: [150, 300],
            },
            admin: config::Admin {
                listen: any,
                token_file: dir.path().join("token"),
            },
            log: config::Log::default(),
            limits: config::Limits::default(),
            vendors: config::Vendors::default(),
            callbacks: config::Callbacks::default(),
        };
        let core = Core::new(config, Surroundings::of_machine(), cluster.clone());
        let epoch = match device {
            true => {
                let effects = cluster.effects().expect("taken once");
                let (first, claimed) = oneshot::channel();
                let device = DeviceActor::new(Arc::clone(&core), first).start();
                let (head, _) = watch::channel(0);
                actix::spawn(route_effects(Arc::clone(&core), effects, device, head));
                claimed.await.expect("an answer").expect("a claim")
            }
            false => claim(&core).await,
        };
        let switch = Process::new(Arc::clone(&core), store);
        let platform = sim.base_url(Vendor::huawei());
        let sample = tandem_ops::seed::sample(15_000)
            .replace("http://127.0.0.1:15080/huawei", &platform)
            .replace("unbind_delay_secs = 5", "timeout_ms = 500");
        let seed = tandem_ops::seed::parse(&sample).expect("the sample");
        let report = tandem_ops::seed::apply(&switch, "test", &seed).await;
        assert_eq!(report.failed, [""; 0]);
        let again = tandem_ops::seed::apply(&switch, "test", &seed).await;
        assert_eq!((again.made, again.changed), (0, 0));
        let found = switch.state().find(Table::Interfaces, "huawei-sim");
        World {
            interface: found.expect("in the sample"),
            core,
            switch,
            sim,
            epoch,
            _dir: dir,
        }
    }

    fn client(&self) -> Client {
        let state = self.switch.state();
        let client = self.core.platforms.client(&state, self.interface);
        client.expect("a client")
    }

    async fn propose(&self, command: Command) -> Reply {
        self.switch.propose(command).await.expect("a quorum of one")
    }

    /// An (A,X) of ours that the platform is yet to hear of.
    async fn relation(&self, a: &str, x: &str) -> Id {
        let put = Command::Put(Put {
            request: rand::random(),
            actor: "test".into(),
            id: None,
            version: None,
            memo: String::new(),
            entity: Entity::AxBinding(AxBinding {
                interface: self.interface,
                x_number: x.into(),
                a_number: a.into(),
                params: Default::default(),
                expires_at: None,
            }),
        });
        match self.propose(put).await {
            Reply::Row { id, .. } => id,
            reply => panic!("{reply:?}"),
        }
    }

    async fn ask(&self, ax: Id, deed: AxDeed) {
        let ask = Command::AskAx(AskAx {
            ax,
            deed,
            owner: self.epoch,
            actor: "test".into(),
        });
        assert_eq!(self.propose(ask).await, Reply::Done);
    }

    fn phase(&self, ax: Id) -> AxPhase {
        let state = self.switch.state();
        state.ax_live(ax).map(|live| live.phase).unwrap_or_default()
    }

    #[track_caller]
    fn holds(&self, want: &[(Mode, &str, &str)]) {
        let mut held: Vec<_> = self.sim.bindings();
        held.sort_by(|one, other| (&one.x, &one.a).cmp(&(&other.x, &other.a)));
        let held: Vec<_> = held
            .iter()
            .map(|one| (one.mode, one.a.as_str(), one.x.as_str()))
            .collect();
        assert_eq!(held, want);
    }

    async fn until(&self, what: &str, is: impl Fn(&World) -> bool) {
        for _ in 0..400 {
            if is(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{what} does not come");
    }

    async fn faults(&self, faults: serde_json::Value) {
        let url = format!("http://{}/_sim/faults", self.sim.http_addr());
        // Lost to the platform's client is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build();
        let put = http.expect("a client").put(url).json(&faults).send().await;
        assert!(put.expect("an answer").status().is_success());
    }

    async fn reconcile(&self, apply: bool) -> Reconciliation {
        let seen = Arc::new(std::sync::Mutex::new(Progress::default()));
        let told = Arc::clone(&seen);
        let progress = Arc::new(move |progress| *told.lock().expect("no panic") = progress);
        let result = self.switch.reconcile(self.interface, apply, progress).await;
        let end = Progress {
            asked: 100,
            of: 100,
        };
        assert_eq!(*seen.lock().expect("no panic"), end);
        result.expect("compared")
    }
}

async fn claim(core: &Core) -> Epoch {
    let claim = Command::Claim(Claim {
        access_name: "n1".into(),
        node: 1,
        boot: 1,
        address: "here".into(),
        version: "1".into(),
        lease_ms: 60_000,
    });
    match core.cluster.propose(claim).await {
        Ok(Reply::Claimed { epoch }) => {
            core.set_epoch(Some(epoch));
            core.hold_until(u64::MAX);
            epoch
        }
        other => panic!("{other:?}"),
    }
}

fn run(story: impl Future<Output = ()>) {
    System::new().block_on(story);
}

/// Kind, row, what was done.
fn lines(result: &Reconciliation) -> Vec<String> {
    let line = |one: &tandem_ops::reconciliation::Difference| {
        let Outcome::Shown = one.outcome else {
            return format!("{:?} {} {}: {:?}", one.kind, one.a, one.x, one.outcome);
        };
        format!("{:?} {} {}", one.kind, one.a, one.x)
    };
    result.differences.iter().map(line).collect()
}

#[test]
fn a_relation_is_bound_released_and_dropped_as_operators_ask() {
    run(async {
        let world = World::new(true).await;
        let ax = world.relation("02100000001", "17000000001").await;
        let held = [(Mode::Ax, "02100000001", "17000000001")];

        world.ask(ax, AxDeed::Bind).await;
        world
            .until("bound", |world| world.phase(ax) == AxPhase::Bound)
            .await;
        world.holds(&held);

        world.ask(ax, AxDeed::Unbind).await;
        world
            .until("unbound", |world| world.phase(ax) == AxPhase::Unbound)
            .await;
        world.holds(&[]);

        // The pair rests for two seconds.
        tokio::time::sleep(Duration::from_millis(2_200)).await;
        world.ask(ax, AxDeed::Bind).await;
        world
            .until("bound again", |world| world.phase(ax) == AxPhase::Bound)
            .await;
        world.ask(ax, AxDeed::ForceUnbind).await;
        assert_eq!(world.phase(ax), AxPhase::Unbound);
        world
            .until("the last request", |world| world.sim.bindings().is_empty())
            .await;
        world
            .until("the actor's end", |world| world.core.relations.is_empty())
            .await;
    });
}

#[test]
fn a_lost_bind_is_found_and_a_release_goes_on_until_the_platform_answers() {
    run(async {
        let world = World::new(true).await;
        let ax = world.relation("02100000001", "17000000001").await;
        world
            .faults(json!({"vendor": "huawei", "drop_reply_rate": 1.0}))
            .await;
        world.ask(ax, AxDeed::Bind).await;
        world
            .until("the bind's effect", |world| {
                !world.sim.bindings().is_empty()
            })
            .await;
        // The bind's answer is lost, and then so are those of the looks: the row says that it may stand.
        world
            .until("the error", |world| world.phase(ax) == AxPhase::Error)
            .await;
        world
            .faults(json!({"vendor": "huawei", "drop_reply_rate": 0.0}))
            .await;
        world.ask(ax, AxDeed::Bind).await;
        world
            .until("adopted", |world| world.phase(ax) == AxPhase::Bound)
            .await;
        world.holds(&[(Mode::Ax, "02100000001", "17000000001")]);

        world
            .faults(json!({"vendor": "huawei", "down": true}))
            .await;
        world.ask(ax, AxDeed::Unbind).await;
        let failed = |world: &World| {
            let state = world.switch.state();
            let live = state.ax_live(ax).expect("a row");
            live.phase == AxPhase::Unbinding && live.last_error.is_some()
        };
        world.until("a failed release", failed).await;
        world
            .faults(json!({"vendor": "huawei", "down": false}))
            .await;
        world
            .until("the release", |world| world.phase(ax) == AxPhase::Unbound)
            .await;
        world.holds(&[]);
    });
}

#[test]
fn a_comparison_clears_both_sides_and_leaves_alone_what_is_under_way() {
    run(async {
        let world = World::new(false).await;
        let client = world.client();
        // Somebody's binding that we know nothing of, and a relation whose row is unbound.
        let strange = Bind {
            a: "02100000150".into(),
            x: "17000000050".into(),
            b: "13900000009".into(),
            own_id: "1".into(),
        };
        let bound = client.bind(&strange).await;
        assert!(matches!(bound, BindOutcome::Bound { .. }));
        world.relation("02100000003", "17000000003").await;
        let relation = AxBind {
            a: "02100000003".into(),
            x: "17000000003".into(),
            own_id: "2".into(),
        };
        let bound = client.ax_bind(&relation).await;
        assert!(matches!(bound, BindOutcome::Bound { .. }));
        // A row that the platform knows nothing of, and one whose bind is under way.
        let (lost, lost_a, lost_x) = world.reserve(1).await;
        world.reserve(2).await;
        let confirmed = Command::Bound(Bound {
            binding: lost,
            epoch: world.epoch,
            handle: [("subscriptionId".to_owned(), "gone".to_owned())].into(),
            x: lost_x.clone(),
            expires_at: None,
            raw: String::new(),
        });
        assert_eq!(world.propose(confirmed).await, Reply::Done);

        // Bound a moment ago: too new to be missed.
        let result = world.reconcile(false).await;
        assert_eq!(result.count(Kind::OnlyHere), 0);
        assert_eq!(result.count(Kind::InFlight), 1);
        assert_eq!(result.count(Kind::OnlyThere), 2);

        tokio::time::sleep(Duration::from_millis(5_000)).await;
        let epoch = world.epoch;
        world.propose(Command::KeepAlive { epoch }).await;
        let mut want = [
            "OnlyThere 02100000003 17000000003".to_owned(),
            "OnlyThere 02100000150 17000000050".to_owned(),
            format!("OnlyHere {lost_a} {lost_x}"),
        ];
        want.sort();
        let mut found = lines(&world.reconcile(false).await);
        found.sort();
        assert_eq!(found, want, "only shown");
        assert_eq!(world.sim.bindings().len(), 2);

        let mut found = lines(&world.reconcile(true).await);
        found.sort();
        assert_eq!(found, want.map(|line| format!("{line}: Cleared")));
        world.holds(&[]);
        assert!(world.switch.state().binding(lost).is_none());
        assert_eq!(world.reconcile(true).await.differences, []);
    });
}

impl World {
    /// Numbers of ours for a call, and nobody who binds them.
    async fn reserve(&self, count: u32) -> (u64, String, String) {
        let state = self.switch.state();
        let source: SocketAddr = "127.0.0.1:5060".parse().expect("an address");
        let gateway = state.mapping_gateway_for(source.ip()).expect("the sample");
        let callee = format!("1390000000{count}");
        let reserve = Command::Reserve(Reserve {
            call: CallId::new(self.epoch, count),
            gateway: gateway.id,
            caller_access: "057112345678".into(),
            caller: "057112345678".into(),
            callee_access: callee.clone(),
            callee,
            started_at: self.core.clock.now().wall,
            remote: source,
            sip_call_id: count.to_string(),
        });
        match self.propose(reserve).await {
            Reply::Reserved(attempt) => {
                let lease = attempt.lease.expect("an AXB attempt");
                (lease.binding, lease.a, lease.x)
            }
            reply => panic!("{reply:?}"),
        }
    }
}

/// A platform that asks, one A, one X, and the way to it for callees of 139.
const ASKS: &str = r#"
[[interfaces]]
name = "asks"
type = "infobip"
params = { api_id = "i", api_secret = "s", refuse_file_id = "f", callback_token = "hush" }

[[x_numbers]]
interface = "asks"
number = "16700000000"
line_limit = 5

[[a_groups]]
name = "gb"

[[a_numbers]]
group = "gb"
number = "02200000000"
line_limit = 5

[[routing_gateways]]
name = "asks"
prefixes = ["139"]
remote_ip = "127.0.0.1"
signal_port = 15060
capacity = 100
clearing_account = "landing"
axb_enabled = true
a_group = "gb"
interface = "asks"
axb_account = "axb"
"#;

/// What the platform is told when `from` calls `to`, and the word for it.
async fn question(switch: &Process, from: &str, to: &str) -> (serde_json::Value, &'static str) {
    let request = PlatformRequest {
        interface: "asks".into(),
        name: "callback".into(),
        suffix: "hush".into(),
        method: "POST".into(),
        url: "http://127.0.0.1/callbacks/asks/callback/hush".into(),
        headers: Vec::new(),
        body: json!({ "from": from, "to": to, "correlationId": "c" })
            .to_string()
            .into(),
    };
    let reply = switch.platform_request(request).await;
    let body = serde_json::from_slice(&reply.body).unwrap_or_default();
    (body, reply.result)
}

#[test]
fn a_question_is_answered_by_what_is_bound_when_it_comes() {
    run(async {
        let world = World::new(false).await;
        let seed = tandem_ops::seed::parse(ASKS).expect("sound");
        let report = tandem_ops::seed::apply(&world.switch, "test", &seed).await;
        assert_eq!(report.failed, [""; 0]);
        let (a, x) = ("862200000000", "8616700000000");

        let (body, word) = question(&world.switch, a, x).await;
        assert_eq!((&body["command"], word), (&json!("audio"), "nobody"));
        let (binding, ..) = world.reserve(1).await;
        let dial = json!({
            "command": "dial", "phoneNumber": "8613900000001", "callerId": x,
            "clientReferenceId": binding.to_string(),
        });
        // Many at once wait for one look at the leader.
        let asks = (0..50).map(|_| question(&world.switch, a, x));
        for (body, word) in futures::future::join_all(asks).await {
            assert_eq!((body, word), (dial.clone(), "connected"));
        }
        // B calls X back, and reaches A.
        let (body, word) = question(&world.switch, "8613900000001", x).await;
        assert_eq!((&body["phoneNumber"], word), (&json!(a), "called_back"));

        let unbound = Command::Unbound(Unbound {
            epoch: world.epoch,
            binding,
            missing: false,
        });
        assert_eq!(world.propose(unbound).await, Reply::Done);
        for from in [a, "8613900000001"] {
            let (_, word) = question(&world.switch, from, x).await;
            assert_eq!(word, "nobody", "{from}");
        }
    });
}
