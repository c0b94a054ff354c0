//! A process in memory, for tests: a real state that applies what is proposed at once, a real store of records.

use crate::exchange::{Exchange, Health, OnNode, Side, Trial, Tried, Untried};
use crate::membership::{Change, Member, Progress as Step, Unchanged};
use crate::platform::{Known, PlatformReply, PlatformRequest};
use crate::reconciliation::{
    Difference, Kind, Outcome, Progress, ProgressTo, Reconciliation, Subject,
};
use crate::switch::{
    Answer, AskError, Check, Digest, Failed, NodeStatus, Query, RaftStatus, Role, Switch,
    Unavailable, answer,
};
use crate::types::{
    Finding, Form, InterfaceType, Severity, TypeParam, TypePolicy, TypeUrl, Types, WarnBelow,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::io::Seek;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tandem_billing::Store;
use tandem_billing::usage::{self, Usage};
use tandem_cluster::backup::{self, About, Writer};
use tandem_cluster::command::{Borrow, CallId, Claim, Command, Epoch, Reply, Reserve, Unbound};
use tandem_cluster::entity::{Conflict, Entity, Id, Interface, Millis, Table};
use tandem_cluster::state::State;
use tandem_cluster::state::explain::{Explanation, Question};
use tandem_cluster::state::testing::PerPeriod;

/// 2025-11-21T22:00:00Z.
pub const NOW: Millis = 1_763_762_400_000;

/// A lone node, `dev-1`, that leads a cluster whose other node, `dev-2`, is down.
pub struct Fake {
    state: Mutex<Arc<State>>,
    entries: AtomicU64,
    store: Arc<Store>,
    /// Calls that were told to end.
    pub hung_up: Mutex<Vec<CallId>>,
    /// What platforms asked.
    pub platform_requests: Mutex<Vec<PlatformRequest>>,
    /// Proposals find no quorum.
    pub no_quorum: AtomicBool,
    /// Steps made of adding a node.
    steps: AtomicU64,
    _dir: tempfile::TempDir,
}

impl Fake {
    /// With both devices claimed and nothing configured.
    pub async fn new() -> Arc<Fake> {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Store::open(dir.path()).await.expect("a store"));
        let fake = Arc::new(Fake {
            state: Mutex::default(),
            entries: AtomicU64::new(0),
            store,
            hung_up: Mutex::default(),
            platform_requests: Mutex::default(),
            no_quorum: AtomicBool::new(false),
            steps: AtomicU64::new(0),
            _dir: dir,
        });
        for (node, name) in [(1, "dev-1"), (2, "dev-2")] {
            let claim = Claim {
                access_name: name.into(),
                node,
                boot: node,
                address: format!("127.0.0.1:15{node}80"),
                version: "0.1.0".into(),
                lease_ms: 3_000,
            };
            assert!(matches!(
                fake.apply(Command::Claim(claim)),
                Reply::Claimed { .. }
            ));
        }
        fake
    }

    /// Applies a command now.
    pub fn apply(&self, command: Command) -> Reply {
        let entry = self.entries.fetch_add(1, Ordering::Relaxed) + 1;
        let mut state = self.state.lock().expect("no test panics with it");
        let mut next = State::clone(&state);
        let (reply, _) = next.apply(NOW, entry, &command, &PerPeriod);
        next.check().expect("the state holds its invariants");
        *state = Arc::new(next);
        reply
    }

    /// Admits a call of the sample configuration, of `dev-1`.
    pub fn call(&self, count: u32, callee: &str) -> CallId {
        let state = self.state();
        let call = CallId::new(
            state
                .device("dev-1")
                .and_then(|device| device.epoch)
                .expect("claimed"),
            count,
        );
        let source: SocketAddr = "127.0.0.1:5060".parse().expect("an address");
        let gateway = state
            .mapping_gateway_for(source.ip())
            .expect("the sample is loaded")
            .id;
        let reply = self.apply(Command::Reserve(Reserve {
            call,
            gateway,
            caller_access: "057112345678".into(),
            caller: "057112345678".into(),
            callee_access: callee.into(),
            callee: callee.into(),
            started_at: NOW,
            remote: source,
            sip_call_id: format!("call-{count}@customer"),
        }));
        assert!(matches!(reply, Reply::Reserved(_)), "{reply:?}");
        call
    }

    /// Stores the records of `count` ended AXB calls, one a second from [`NOW`] on.
    pub async fn records(&self, count: u64) {
        let row = |number: u64| {
            let started_ms = NOW + number * 1_000;
            let usage = Usage {
                call: number,
                flow_no: number,
                node: "dev-1".into(),
                callee: "13812341234".into(),
                caller: "057112345678".into(),
                caller_gateway: "customer".into(),
                callee_gateway: "platform".into(),
                started_ms,
                ended_ms: started_ms,
                axb: Some(usage::AxbUsage {
                    a: "02100000001".into(),
                    x: "17000000001".into(),
                    ..Default::default()
                }),
                ..Usage::default()
            };
            (number, usage::close(&usage).record)
        };
        let rows: Vec<_> = (1..=count).map(row).collect();
        self.store.append(&rows).await.expect("stored");
    }
}

/// What the process adds to an interface's row: here every type has AX relations.
fn with_type_rules(mut command: Command) -> Command {
    if let Command::Put(put) = &mut command
        && let Entity::Interface(interface) = &mut put.entity
    {
        interface.type_rules.ax = true;
    }
    command
}

impl Switch for Fake {
    fn name(&self) -> String {
        "dev-1".into()
    }

    fn now(&self) -> Millis {
        NOW
    }

    fn state_at(&self) -> (Arc<State>, u64) {
        let state = self.state.lock().expect("no test panics with it").clone();
        (state, self.entries.load(Ordering::Relaxed))
    }

    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Reply, Unavailable>> {
        async move {
            if self.no_quorum.load(Ordering::Relaxed) {
                return Err(Unavailable("no quorum".into()));
            }
            Ok(self.apply(with_type_rules(command)))
        }
        .boxed()
    }

    fn current(&self) -> BoxFuture<'_, bool> {
        std::future::ready(!self.no_quorum.load(Ordering::Relaxed)).boxed()
    }

    fn marked(&self, _mark: u64) -> BoxFuture<'_, Result<Digest, Failed>> {
        async move {
            let (state, applied) = self.state_at();
            Ok(Digest::of(&state, applied))
        }
        .boxed()
    }

    fn copy_state(&self, _mark: u64, _from: u64) -> BoxFuture<'_, Result<u64, Failed>> {
        async move { Err(Failed("there is no other node".into())) }.boxed()
    }

    fn raft(&self) -> RaftStatus {
        RaftStatus {
            node: 1,
            leader: Some(1),
            term: 4,
            role: Role::Leader,
            applied: self.entries.load(Ordering::Relaxed),
            voters: vec![1, 2],
            members: [1, 2]
                .map(|node| Member {
                    node,
                    address: format!("127.0.0.1:15{node}70"),
                    voter: true,
                    alive: node == 1,
                    applied: None,
                    level: (node == 1).then_some(2),
                })
                .into(),
            former: vec![3],
            level: 1,
            level_held: self.state().levels().held,
            plain_links: false,
        }
    }

    fn local(&self) -> NodeStatus {
        let (state, raft) = (self.state(), self.raft());
        let counts = state.counts();
        let fault = self
            .no_quorum
            .load(Ordering::Relaxed)
            .then(|| "no leader for 3 s".to_owned());
        NodeStatus {
            calls: counts.calls,
            bindings: counts.bindings,
            reserved: counts.reserved_money,
            applied: raft.applied,
            state_hash: state.hash(),
            name: self.name(),
            node: 1,
            version: "0.1.0".into(),
            checks: vec![
                Check {
                    name: "claim".into(),
                    fault: None,
                },
                Check {
                    name: "quorum".into(),
                    fault,
                },
            ],
            raft,
            ..NodeStatus::default()
        }
    }

    fn types(&self) -> &dyn Types {
        &FakeTypes
    }

    fn store(&self) -> Arc<Store> {
        self.store.clone()
    }

    fn hang_up(&self, call: CallId) -> bool {
        self.hung_up
            .lock()
            .expect("no test panics with it")
            .push(call);
        true
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<u64, Failed>> {
        async { Ok(self.entries.load(Ordering::Relaxed)) }.boxed()
    }

    fn backup(&self, records: bool) -> BoxFuture<'_, Result<std::fs::File, Failed>> {
        let (state, applied) = self.state_at();
        let failed = |error: &dyn std::fmt::Display| Failed(error.to_string());
        let written = || {
            let about = About {
                format: backup::FORMAT,
                level: state.level(),
                cluster: "fake".into(),
                version: "0.1.0".into(),
                at: NOW,
                applied,
                state_hash: state.hash(),
                recorded: 0,
                records,
            };
            let file = tempfile::tempfile().map_err(|error| failed(&error))?;
            let mut writer = Writer::new(file, &about).map_err(|error| failed(&error))?;
            writer.state(&*state).map_err(|error| failed(&error))?;
            let mut file = writer.finish().map_err(|error| failed(&error))?;
            file.rewind().map_err(|error| failed(&error))?;
            Ok(file)
        };
        std::future::ready(written()).boxed()
    }

    fn transfer_leader(&self, to: u64) -> BoxFuture<'_, Result<(), Failed>> {
        async move { Err(Failed(format!("raft node {to} is behind"))) }.boxed()
    }

    /// Node 4 needs two steps, node 3 was there before; node 2 cannot be spared.
    fn change_members_here(&self, change: Change) -> BoxFuture<'_, Result<Step, Unchanged>> {
        let refused = |text: &str| Err(Unchanged::Refused(text.into()));
        let outcome = match change {
            Change::Add { node: 3, .. } => refused("node 3 was a member once"),
            Change::Add { .. } => {
                let voter = self.steps.fetch_add(1, Ordering::Relaxed) > 0;
                let holds = if voter { 700 } else { 20 };
                Ok(Step {
                    changed: true,
                    voter,
                    holds,
                    of: 700,
                })
            }
            Change::Remove { node: 2, force } if !force => refused("no quorum without node 2"),
            Change::Remove { node: 1 | 2, .. } => Ok(Step {
                changed: true,
                ..Step::default()
            }),
            Change::Move { node: 1 | 2, .. } => Ok(Step {
                changed: true,
                ..Step::default()
            }),
            Change::Move { node, .. } | Change::Remove { node, .. } => {
                Err(Unchanged::NotFound(format!("no member {node}")))
            }
        };
        async move { outcome }.boxed()
    }

    fn change_members(&self, change: Change) -> BoxFuture<'_, Result<Step, Unchanged>> {
        self.change_members_here(change)
    }

    fn epoch(&self) -> Option<Epoch> {
        self.state().device("dev-1").and_then(|device| device.epoch)
    }

    /// Two numbers asked about, one binding that only the platform holds.
    fn reconcile(
        &self,
        interface: Id,
        apply: bool,
        progress: ProgressTo,
    ) -> BoxFuture<'_, Result<Reconciliation, Failed>> {
        async move {
            let state = self.state();
            let row = state
                .interface(interface)
                .ok_or_else(|| Failed(format!("no interface {interface}")))?;
            for asked in 1..=2 {
                progress(Progress { asked, of: 2 });
            }
            Ok(Reconciliation {
                interface: row.entity.name.clone(),
                node: self.name(),
                apply,
                asked: 2,
                agreed: 3,
                differences: vec![Difference {
                    kind: Kind::OnlyThere,
                    subject: Subject::Binding(None),
                    a: "02100000007".into(),
                    x: "17000000001".into(),
                    b: "13800000000".into(),
                    outcome: if apply {
                        Outcome::Cleared
                    } else {
                        Outcome::Shown
                    },
                    note: "no row of ours".into(),
                }],
                more: 0,
                unasked: Vec::new(),
            })
        }
        .boxed()
    }

    /// One exchange, a refused bind.
    fn interface(&self, interface: Id, exchanges: bool) -> OnNode {
        let state = self.state();
        let known = state.interface(interface).is_some();
        let exchange = Exchange {
            number: 7,
            at: NOW,
            op: "bind".into(),
            outcome: "config".into(),
            code: "1020150".into(),
            text: "refused".into(),
            sent: true,
            took_us: 12_500,
            http: "HTTP/1.1".into(),
            request: Side {
                line: "POST http://h/".into(),
                ..Side::default()
            },
            answer: Some(Side {
                line: "401".into(),
                ..Side::default()
            }),
            ..Exchange::default()
        };
        OnNode {
            health: known.then(|| Health {
                clock_offset_ms: -61_000,
                rate_milli: Some(3_333),
                ..Health::default()
            }),
            exchanges: if exchanges {
                vec![exchange]
            } else {
                Vec::new()
            },
        }
    }

    /// Takes a pair and gives it back: a platform that binds everything, unless B is `13800000000`.
    fn try_interface(&self, trial: Trial) -> BoxFuture<'_, Result<Tried, Untried>> {
        async move {
            if self.no_quorum.load(Ordering::Relaxed) {
                return Err(Untried::Unavailable(Unavailable("no quorum".into())));
            }
            let epoch = self.epoch().expect("claimed");
            let reply = self.apply(Command::Borrow(Borrow {
                epoch,
                interface: trial.interface,
                a: trial.a,
                x: trial.x,
                b: trial.b,
                actor: trial.actor,
            }));
            let lease = match reply {
                Reply::Lent(lease) => lease,
                Reply::Refused(refusal) => return Err(Untried::Refused(refusal)),
                other => panic!("{other:?}"),
            };
            let passed = lease.b_submitted != "13800000000";
            if passed {
                self.apply(Command::Unbound(Unbound {
                    binding: lease.binding,
                    epoch,
                    missing: false,
                }));
            }
            let exchanges = self.interface(trial.interface, true).exchanges;
            Ok(Tried {
                interface: "huawei-sim".into(),
                node: self.name(),
                a: lease.a,
                x: lease.x,
                b: lease.b_submitted,
                binding: lease.binding,
                passed,
                left: !passed,
                verdict: "told by a fake".into(),
                steps: exchanges.into_iter().map(Arc::new).collect(),
                ..Tried::default()
            })
        }
        .boxed()
    }

    fn explain(&self, question: &Question) -> Option<Explanation> {
        self.state().explain(question, &PerPeriod)
    }

    /// Every interface has the address `bills`.
    fn platform_known(&self, interface: &str, name: &str) -> Known {
        match (self.state().find(Table::Interfaces, interface), name) {
            (None, _) => Known::Nothing,
            (Some(_), "bills") => Known::Address,
            (Some(_), _) => Known::Interface,
        }
    }

    fn platform_refusal(&self, _: &str, name: &str, status: u16) -> Option<PlatformReply> {
        (name == "bills").then(|| PlatformReply {
            content_type: "application/json".into(),
            body: r#"{"resultCode":"1"}"#.into(),
            ..PlatformReply::plain(status, "refused")
        })
    }

    fn platform_request(&self, request: PlatformRequest) -> BoxFuture<'_, PlatformReply> {
        let mut requests = self
            .platform_requests
            .lock()
            .expect("no test panics with it");
        requests.push(request);
        let reply = PlatformReply {
            content_type: "application/json".into(),
            body: r#"{"resultCode":"0"}"#.into(),
            ..PlatformReply::plain(200, "stored")
        };
        async move { reply }.boxed()
    }

    fn ask(&self, node: &str, query: Query) -> BoxFuture<'_, Result<Answer, AskError>> {
        let node = node.to_owned();
        async move {
            match node.as_str() {
                "dev-1" => Ok(answer(self, query).await),
                "dev-2" => Err(AskError::Silent(node)),
                _ => Err(AskError::Unknown(node)),
            }
        }
        .boxed()
    }
}

/// Two platforms: `huawei`, and `lone`, which carries one binding per X.
pub struct FakeTypes;

impl Types for FakeTypes {
    fn all(&self) -> Vec<InterfaceType> {
        let of = |id, name: &str, conflict| InterfaceType {
            id,
            name: name.into(),
            title: format!("Platform {id}"),
            base_url: format!("https://{name}.invalid"),
            urls: vec![TypeUrl {
                name: "bind".into(),
                method: "POST".into(),
                path: "/bind".into(),
            }],
            params: vec![
                text("app_key", false),
                text("app_secret", true),
                TypeParam {
                    name: "expiration".into(),
                    form: Form::Number {
                        min: 0,
                        max: 7_776_000,
                        warn_below: Some(WarnBelow {
                            least: 7_200,
                            why: "long calls outlive it".into(),
                        }),
                    },
                    default: Some("7200".into()),
                    required: false,
                    secret: false,
                    help: "seconds until the platform forgets".into(),
                },
                TypeParam {
                    form: Form::Choice {
                        words: vec!["aksk".into(), "wsse".into()],
                    },
                    default: Some("aksk".into()),
                    ..text("scheme", false)
                },
            ],
            policy: TypePolicy {
                ax: true,
                set_callee: true,
                query: true,
                conflict,
                pair_rest_ms: 2_000,
            },
        };
        vec![
            of(1, "huawei", Conflict::XCallee),
            of(2, "lone", Conflict::XExclusive),
        ]
    }

    /// Knows the type, its parameters' names and the warning about a short `expiration`.
    fn check(&self, interface: &Interface) -> Vec<Finding> {
        let finding = |severity, field: String, text: String| Finding {
            field,
            severity,
            text,
        };
        let Some(known) = self.find(&interface.kind) else {
            let text = format!("`{}` is no type", interface.kind);
            return vec![finding(Severity::Error, "type".into(), text)];
        };
        let mut found = Vec::new();
        for (name, value) in &interface.params {
            let field = || format!("params.{name}");
            match known.params.iter().find(|param| param.name == *name) {
                None => {
                    let text = format!("is no parameter of {}", known.name);
                    found.push(finding(Severity::Error, field(), text));
                }
                Some(param) => {
                    if let Form::Number {
                        warn_below: Some(low),
                        ..
                    } = &param.form
                        && value.parse().is_ok_and(|value: u64| value < low.least)
                    {
                        let text = format!("\"{value}\" is below {}: {}", low.least, low.why);
                        found.push(finding(Severity::Warning, field(), text));
                    }
                }
            }
        }
        found.sort_by_key(|finding| finding.severity == Severity::Warning);
        found
    }
}

fn text(name: &str, secret: bool) -> TypeParam {
    TypeParam {
        name: name.into(),
        form: Form::Text { bytes_max: 256 },
        default: None,
        required: secret,
        secret,
        help: format!("the {name}"),
    }
}
