//! The callers: what they ask the nodes, and the history of what they were told.

use crate::breach::Breach;
use crate::links::Links;
use crate::nodes;
use crate::pool::{Deed, Moment, Number, Op};
use crate::process::{Answer, Orders, Process, Question};
use crate::world;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tandem_cluster::codec;
use tandem_cluster::command::*;
use tandem_cluster::entity::*;
use tandem_cluster::state::State;
use tempfile::TempDir;

pub const A_NUMBERS: usize = 4;
pub const X_NUMBERS: usize = 4;
pub const LINES: u32 = 2;
pub const CALLEES: usize = 5;
/// How long a caller waits before he asks elsewhere.
const PATIENCE: Duration = Duration::from_millis(1_200);
/// How long setting up and the last questions may take.
const LIMIT: Duration = Duration::from_secs(30);

/// What a history is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Nodes: one, or [`NODES`](crate::links::NODES).
    pub nodes: usize,
    pub callers: usize,
    /// Operations, each an asking and an answer, after which the callers stop.
    pub operations: usize,
    /// They stop then at the latest.
    pub longest: Duration,
    /// How long a pair rests after its release.
    pub rest_ms: u32,
    pub entries_per_s: u32,
    /// One asking in so many is given a few milliseconds only.
    pub impatient_in: u64,
    /// Operations without an answer that are never asked for again, of either kind: each may hold a line for good.
    pub left_open: usize,
    pub breach: Option<Breach>,
    pub seed: u64,
}

/// The nodes, each up or down, and the links between them.
pub struct Nodes {
    processes: Vec<Mutex<Option<Arc<Process>>>>,
    orders: Vec<Orders>,
    pub links: Arc<Links>,
    _dirs: Vec<TempDir>,
}

impl Nodes {
    async fn start(plan: &Plan) -> Nodes {
        let behind = nodes::free_addresses(plan.nodes);
        let links = Links::start(&behind).await;
        let dirs: Vec<_> = (0..plan.nodes)
            .map(|_| tempfile::tempdir().expect("temporary directory"))
            .collect();
        let orders = (1..).zip(&dirs).zip(&behind).map(|((id, dir), listen)| {
            let addresses = links.addresses.clone();
            Orders {
                id,
                dir: dir.path().to_path_buf(),
                listen: *listen,
                addresses,
                entries_per_s: plan.entries_per_s,
                breach: plan.breach,
            }
        });
        let started = Nodes {
            processes: (0..plan.nodes).map(|_| Mutex::default()).collect(),
            orders: orders.collect(),
            links,
            _dirs: dirs,
        };
        for at in 0..plan.nodes {
            started.up(at).await;
        }
        started
    }

    /// Starts a node.
    pub async fn up(&self, at: usize) {
        let process = Process::start(crate::NODE_PROCESS, &self.orders[at]).await;
        *self.processes[at].lock().expect("no panic") = Some(Arc::new(process));
    }

    /// Kills a node.
    pub fn kill(&self, at: usize) {
        if let Some(process) = self.processes[at].lock().expect("no panic").take() {
            process.kill();
        }
    }

    pub fn count(&self) -> usize {
        self.processes.len()
    }

    /// A node, if it is up.
    pub fn node(&self, at: usize) -> Option<Arc<Process>> {
        self.processes[at].lock().expect("no panic").clone()
    }

    /// The node that leads, as far as it knows; of two that believe so the one of the later term.
    pub async fn leader(&self) -> usize {
        let begun = Instant::now();
        loop {
            let mut leading = None;
            for at in 0..self.count() {
                let Some(node) = self.node(at) else { continue };
                let standing = node.ask(Question::Standing, Duration::from_millis(500));
                if let Some(Answer::Standing {
                    leads: true, term, ..
                }) = standing.await
                {
                    leading = leading.max(Some((term, at)));
                }
            }
            if let Some((_, at)) = leading {
                return at;
            }
            assert!(begun.elapsed() < LIMIT, "no leader");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The state of every node, once all have applied the same: alike, or the test has failed.
    pub async fn agree(&self) -> State {
        let begun = Instant::now();
        loop {
            let mut states: Vec<(u64, State)> = Vec::new();
            for at in 0..self.count() {
                let node = self.node(at).expect("all are up");
                let before = applied(&node).await;
                if let Some(Answer::State(bytes)) = node.ask(Question::State, LIMIT).await
                    && before.is_some()
                    && before == applied(&node).await
                {
                    let state = codec::decode(&bytes).expect("a state");
                    states.extend(before.map(|before| (before, state)));
                }
            }
            if states.len() == self.count() && states.iter().all(|(at, _)| *at == states[0].0) {
                let (_, first) = states.pop().expect("there are nodes");
                assert!(
                    states.iter().all(|(_, state)| *state == first),
                    "states part at the same index"
                );
                return first;
            }
            assert!(begun.elapsed() < LIMIT, "nodes do not come together");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn applied(node: &Process) -> Option<u64> {
    match node.ask(Question::Standing, LIMIT).await {
        Some(Answer::Standing { applied, .. }) => Some(applied),
        _ => None,
    }
}

/// How often what happened.
#[derive(Debug, Default)]
pub struct Counts {
    /// Askings whose outcome the caller did not learn and that he asked again.
    pub repeated: AtomicUsize,
    /// The same, never asked again.
    pub open_takings: AtomicUsize,
    pub open_releases: AtomicUsize,
    /// Looks that were not answered.
    pub lost_looks: AtomicUsize,
}

/// What the callers share.
pub struct Scene {
    pub plan: Plan,
    pub nodes: Nodes,
    pub begun: Instant,
    pub history: Mutex<Vec<Op>>,
    pub counts: Counts,
    /// Takings that were given up: the call, its callee, and when it was asked for.
    given_up: Mutex<BTreeMap<CallId, (usize, Moment)>>,
    epoch: Epoch,
    gateway: Id,
    a_names: Vec<String>,
    x_names: Vec<String>,
    calls: AtomicU32,
    /// Least and most of wall clock minus monotonic clock, in nanoseconds since 1970.
    clocks: (AtomicU64, AtomicU64),
}

/// The next of a row of random numbers.
pub fn xorshift(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed >> 11
}

impl Scene {
    /// Starts the nodes and enters what they need to know.
    pub async fn set(plan: Plan) -> Scene {
        let mut scene = Scene {
            nodes: Nodes::start(&plan).await,
            begun: Instant::now(),
            history: Mutex::default(),
            counts: Counts::default(),
            given_up: Mutex::default(),
            epoch: 0,
            gateway: 0,
            a_names: (0..A_NUMBERS).map(|n| format!("0210000{n}")).collect(),
            x_names: (0..X_NUMBERS).map(|n| format!("1700000{n}")).collect(),
            calls: AtomicU32::new(0),
            clocks: (AtomicU64::new(u64::MAX), AtomicU64::new(0)),
            plan,
        };
        scene.enter_configuration().await;
        scene.begun = Instant::now();
        scene
    }

    async fn apply(&self, command: Command) -> Reply {
        let node = self.nodes.node(0).expect("is up");
        let propose = Question::Propose(Box::new(command), LIMIT.as_millis() as u64);
        match node.ask(propose, LIMIT).await {
            Some(Answer::Reply(reply)) => reply,
            other => panic!("not applied: {other:?}"),
        }
    }

    async fn enter_configuration(&mut self) {
        let claim = Claim {
            access_name: "dev-1".into(),
            node: 1,
            boot: 1,
            address: "127.0.0.1:80".into(),
            version: "test".into(),
            // Nobody reports this tenure's end, whatever becomes of the nodes.
            lease_ms: 60_000,
        };
        let Reply::Claimed { epoch } = self.apply(Command::Claim(claim)).await else {
            panic!("not claimed");
        };
        let mut request = 0;
        let mut put = async |entity| {
            request += 1;
            let put = Put {
                request,
                actor: "test".into(),
                id: None,
                version: None,
                memo: String::new(),
                entity,
            };
            match self.apply(Command::Put(put)).await {
                Reply::Row { id, .. } => id,
                other => panic!("not put: {other:?}"),
            }
        };
        let customer = put(world::account("c1", "g")).await;
        put(world::rate("g", "", 100, 60)).await;
        let Entity::Interface(mut interface) = world::interface("hz") else {
            unreachable!("an interface is one")
        };
        interface.pair_rest_ms = self.plan.rest_ms;
        let interface = put(Entity::Interface(interface)).await;
        let group = put(Entity::AGroup(AGroup { name: "ga".into() })).await;
        for name in &self.a_names {
            let Entity::ANumber(mut a) = world::a_number(group, name) else {
                unreachable!("an A number is one")
            };
            a.line_limit = LINES;
            put(Entity::ANumber(a)).await;
        }
        for name in &self.x_names {
            let Entity::XNumber(mut x) = world::x_number(interface, name) else {
                unreachable!("an X number is one")
            };
            x.line_limit = LINES;
            put(Entity::XNumber(x)).await;
        }
        put(Entity::RoutingGateway(RoutingGateway {
            axb: Some(AxbRoute {
                a_group: group,
                interface,
                callee_rules: String::new(),
                account: None,
                rate_on_submitted: false,
            }),
            ..world::routing("platform")
        }))
        .await;
        let gateway = put(Entity::MappingGateway(world::mapping("customer", customer))).await;
        (self.epoch, self.gateway) = (epoch, gateway);
    }

    fn now(&self) -> Moment {
        let monotonic = self.begun.elapsed().as_nanos() as u64;
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos() as u64);
        self.clocks.0.fetch_min(wall - monotonic, Ordering::Relaxed);
        self.clocks.1.fetch_max(wall - monotonic, Ordering::Relaxed);
        monotonic
    }

    /// How far the wall clock and the monotonic one went apart, in nanoseconds.
    pub fn drift(&self) -> u64 {
        self.clocks.1.load(Ordering::Relaxed) - self.clocks.0.load(Ordering::Relaxed)
    }

    pub fn operations(&self) -> usize {
        self.history.lock().expect("no panic").len()
    }

    pub fn over(&self) -> bool {
        self.operations() >= self.plan.operations || self.begun.elapsed() > self.plan.longest
    }

    /// Enters an operation; returns its place in the history.
    fn enter(&self, invoked: Moment, returned: Option<Moment>, deed: Deed) -> usize {
        let mut history = self.history.lock().expect("no panic");
        history.push(Op {
            invoked,
            returned,
            deed,
        });
        history.len() - 1
    }

    /// Asks a node, and the next one when it does not answer in time, until there is an answer. `give_up`: after an
    /// outcome that is not known, `None` is the answer.
    async fn ask(
        &self,
        caller: &mut Caller,
        command: &Command,
        give_up: impl Fn() -> bool,
    ) -> Option<Reply> {
        let mut patience = match xorshift(&mut caller.seed) % self.plan.impatient_in {
            0 => Duration::from_millis(1 + xorshift(&mut caller.seed) % 20),
            _ => PATIENCE,
        };
        loop {
            if let Some(node) = self.nodes.node(caller.at) {
                let again = Box::new(command.clone());
                let propose = Question::Propose(again, patience.as_millis() as u64);
                match node.ask(propose, patience).await {
                    Some(Answer::Reply(reply)) => return Some(reply),
                    Some(Answer::Unknown) | None => {
                        self.counts.repeated.fetch_add(1, Ordering::Relaxed);
                        if give_up() {
                            return None;
                        }
                    }
                    Some(other) => panic!("{command:?}: {other:?}"),
                }
            }
            patience = PATIENCE;
            caller.at = (caller.at + 1) % self.nodes.count();
            let pause = 5 + xorshift(&mut caller.seed) % 50;
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Whether one more operation may stay without an answer.
    fn leave_open(&self, count: &AtomicUsize) -> bool {
        let one_more = |left: usize| (left < self.plan.left_open).then_some(left + 1);
        count
            .try_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
    }

    /// Gives one side back.
    async fn free(&self, mut caller: Caller, command: Command, deed: Deed) {
        let give_up = || self.leave_open(&self.counts.open_releases);
        let invoked = self.now();
        let reply = self.ask(&mut caller, &command, give_up).await;
        let returned = reply.map(|reply| {
            assert_eq!(reply, Reply::Done, "{command:?}");
            self.now()
        });
        self.enter(invoked, returned, deed);
    }

    /// Looks at one number.
    async fn look(&self, caller: &mut Caller) {
        let pick = xorshift(&mut caller.seed) as usize;
        let (number, name) = match pick % 2 {
            0 => {
                let a = pick / 2 % A_NUMBERS;
                (Number::A(a), format!("ga/{}", self.a_names[a]))
            }
            _ => {
                let x = pick / 2 % X_NUMBERS;
                (Number::X(x), self.x_names[x].clone())
            }
        };
        // Any node may be asked, not only the one that gave the numbers.
        let at = pick / 16 % self.nodes.count();
        let Some(node) = self.nodes.node(at) else {
            return;
        };
        let invoked = self.now();
        let look = Question::Look(number, name, PATIENCE.as_millis() as u64);
        match node.ask(look, PATIENCE).await {
            Some(Answer::Lines(lines)) => {
                self.enter(invoked, Some(self.now()), Deed::Seen { number, lines });
            }
            Some(Answer::Unknown) | None => {
                self.counts.lost_looks.fetch_add(1, Ordering::Relaxed);
            }
            Some(other) => panic!("{other:?}"),
        }
    }

    /// One caller, until the history is long enough.
    pub async fn calls(&self, mut caller: Caller) {
        while !self.over() {
            self.call(&mut caller).await;
        }
    }

    async fn call(&self, caller: &mut Caller) {
        let call = CallId::new(self.epoch, self.calls.fetch_add(1, Ordering::Relaxed) + 1);
        let b = xorshift(&mut caller.seed) as usize % CALLEES;
        let reserve = Command::Reserve(self.asking(call, b));
        let end = Command::End(ending(call));
        let invoked = self.now();
        let give_up = || self.leave_open(&self.counts.open_takings);
        let reply = self.ask(caller, &reserve, give_up).await;
        let returned = Some(self.now());
        let lease = match reply {
            None => {
                let mut given_up = self.given_up.lock().expect("no panic");
                given_up.insert(call, (b, invoked));
                return;
            }
            Some(Reply::Reserved(attempt)) => attempt.lease.expect("the gateway is AXB"),
            Some(Reply::Refused(Refusal::NoAxbNumber)) => {
                self.enter(invoked, returned, Deed::Refused { b });
                // Its record waits for its end; it holds nothing.
                self.ask(caller, &end, || true).await;
                return;
            }
            other => panic!("neither numbers nor a refusal for want of them: {other:?}"),
        };
        let (a, x) = self.places(&lease.a, &lease.x);
        let of = self.enter(invoked, returned, Deed::Take { a, x, b });
        if xorshift(&mut caller.seed).is_multiple_of(3) {
            self.look(caller).await;
        }
        let unbound = Command::Unbound(Unbound {
            binding: lease.binding,
            epoch: self.epoch,
            missing: false,
        });
        let way = xorshift(&mut caller.seed) % 3;
        let end = self.free(caller.like(), end, Deed::FreeA { of });
        let unbound = self.free(caller.like(), unbound, Deed::FreeX { of });
        match way {
            0 => {
                end.await;
                unbound.await;
            }
            1 => {
                unbound.await;
                end.await;
            }
            _ => {
                tokio::join!(end, unbound);
            }
        }
    }

    fn places(&self, a: &str, x: &str) -> (usize, usize) {
        let place = |names: &[String], name: &str| {
            names.iter().position(|known| known == name).expect("ours")
        };
        (place(&self.a_names, a), place(&self.x_names, x))
    }

    fn asking(&self, call: CallId, b: usize) -> Reserve {
        Reserve {
            call,
            gateway: self.gateway,
            caller_access: "05718512345".into(),
            caller: "05718512345".into(),
            callee_access: format!("138{b}"),
            callee: format!("138{b}"),
            started_at: 1_700_000_000_000,
            remote: "127.0.0.1:5060".parse().expect("address"),
            sip_call_id: format!("c{}", call.0),
        }
    }

    /// Enters the takings that were given up and took effect, as the state at the end tells. Those that were refused or
    /// never arrived changed nothing. Then compares what is held at the end with what the history leaves open.
    pub fn enter_given_up(&self, state: &State) {
        let given_up = std::mem::take(&mut *self.given_up.lock().expect("no panic"));
        let mut unexpected = 0;
        for binding in state.bindings() {
            let Some((b, invoked)) = given_up.get(&binding.call) else {
                unexpected += 1;
                continue;
            };
            let (a, x) = self.places(&binding.a, &binding.x);
            self.enter(*invoked, None, Deed::Take { a, x, b: *b });
        }
        let open = self.counts.open_releases.load(Ordering::Relaxed);
        assert!(
            unexpected <= open,
            "{unexpected} bindings are left that nobody asked for in vain, and {open} releases are unanswered"
        );
    }
}

/// One who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The node he asks, until it lets him down.
    pub at: usize,
    pub seed: u64,
}

impl Caller {
    /// Another one at the same node.
    fn like(&mut self) -> Caller {
        Caller {
            at: self.at,
            seed: xorshift(&mut self.seed) | 1,
        }
    }
}

fn ending(call: CallId) -> End {
    End {
        call,
        epoch: call.epoch(),
        ended_at: 1_700_000_000_000,
        answered_at: None,
        pdd_ms: None,
        codec: String::new(),
        reason: EndReason {
            key: "normal".into(),
            sip: None,
            q850: None,
        },
        by: EndedBy::Caller,
    }
}
