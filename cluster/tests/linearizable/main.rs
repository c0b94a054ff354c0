//! Reserve and free through three real nodes, while the leader changes and dies, seen from the callers' clocks: the
//! history is linearizable.
//!
//! Nine callers, three at each node, take pairs out of a pool too small for them, so that refusals for want of
//! numbers are as common as pairs. Each call's A (`End`) and X (`Unbound`) come back by commands of their own, in
//! either order or side by side. A call whose outcome the caller does not learn, because it was impatient or its node
//! died, is asked for again at a living node with the same bytes, as the switch does: the operation lasts from the
//! first asking to the first answer. A few releases are never asked for again.

mod orders;
mod pool;
#[path = "../state/world.rs"]
#[allow(dead_code)]
mod world;

use pool::{Deed, Moment, Op, Pool, check};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tandem_cluster::command::*;
use tandem_cluster::entity::*;
use tandem_cluster::handle::{Cluster, Config, Member, ProposeError, Role};
use tandem_cluster::state::testing::PerPeriod;
use tempfile::TempDir;

const CALLERS: usize = 9;
const A_NUMBERS: usize = 3;
const X_NUMBERS: usize = 3;
const LINES: u32 = 2;
const CALLEES: usize = 5;
/// Operations of one history, each an asking and an answer.
const OPERATIONS: usize = 20_000;
/// A slow machine ends earlier, with as many as it got; `HISTORY_SECONDS` gives it longer.
const LONGEST: Duration = Duration::from_secs(20);
const OPERATIONS_LEAST: usize = 200;
/// Releases that are not asked for again when their outcome is not known.
const LEFT_OPEN: usize = 2;

struct Switches {
    nodes: Mutex<Vec<Option<Cluster>>>,
    configs: Vec<Config>,
    _dirs: Vec<TempDir>,
}

impl Switches {
    async fn start(entries_per_s: u32) -> Switches {
        let listeners: Vec<_> = (0..3)
            .map(|_| TcpListener::bind("127.0.0.1:0").expect("binds"))
            .collect();
        let addresses: Vec<SocketAddr> = listeners
            .iter()
            .map(|listener| listener.local_addr().expect("is bound"))
            .collect();
        drop(listeners);
        let dirs: Vec<_> = (0..3)
            .map(|_| tempfile::tempdir().expect("temporary directory"))
            .collect();
        let members: Vec<Member> = (1..)
            .zip(&addresses)
            .map(|(id, address)| Member {
                id,
                address: address.to_string(),
            })
            .collect();
        let configs = (1..)
            .zip(&dirs)
            .zip(&addresses)
            .map(|((id, dir), address)| {
                let mut config = Config::new(id, "history", dir.path(), *address, members.clone());
                config.entries_per_s = entries_per_s;
                config
            })
            .collect();
        let switches = Switches {
            nodes: Mutex::new(vec![None, None, None]),
            configs,
            _dirs: dirs,
        };
        for at in 0..3 {
            switches.up(at).await;
        }
        switches
    }

    async fn up(&self, at: usize) {
        let begun = Instant::now();
        let node = loop {
            match Cluster::start(self.configs[at].clone(), Arc::new(PerPeriod)).await {
                Ok(node) => break node,
                // A killed node holds its folder until its threads have noticed.
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(10), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        self.nodes.lock().expect("no panic")[at] = Some(node);
    }

    fn kill(&self, at: usize) {
        if let Some(node) = self.nodes.lock().expect("no panic")[at].take() {
            node.kill();
        }
    }

    /// The node at home, or the next one that is up.
    fn node(&self, home: usize) -> Cluster {
        let nodes = self.nodes.lock().expect("no panic");
        let up = (0..3).find_map(|step| nodes[(home + step) % 3].clone());
        up.expect("two are always up")
    }

    async fn leader(&self) -> usize {
        let begun = Instant::now();
        loop {
            let leader = self
                .nodes
                .lock()
                .expect("no panic")
                .iter()
                .position(|node| {
                    node.as_ref()
                        .is_some_and(|node| node.standing().borrow().role == Role::Leader)
                });
            if let Some(leader) = leader {
                return leader;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "no leader");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn apply(&self, command: Command) -> Reply {
        self.node(0).propose(command).await.expect("is applied")
    }
}

/// What the callers share.
struct Scene {
    switches: Switches,
    begun: Instant,
    epoch: Epoch,
    gateway: Id,
    a_names: Vec<String>,
    x_names: Vec<String>,
    history: Mutex<Vec<Op>>,
    calls: AtomicU32,
    repeats: AtomicUsize,
    left_open: AtomicUsize,
    /// When the callers stop, however many operations there were.
    longest: Duration,
    /// Least and most of wall clock minus monotonic clock, in nanoseconds since 1970.
    clocks: (AtomicU64, AtomicU64),
}

fn xorshift(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed >> 11
}

impl Scene {
    async fn set(entries_per_s: u32, rest_ms: u32) -> Scene {
        let switches = Switches::start(entries_per_s).await;
        let claim = Claim {
            access_name: "dev-1".into(),
            node: 1,
            boot: 1,
            address: "127.0.0.1:80".into(),
            version: "test".into(),
            // Nobody reports this tenure's end, whatever becomes of the nodes.
            lease_ms: 60_000,
        };
        let Reply::Claimed { epoch } = switches.apply(Command::Claim(claim)).await else {
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
            match switches.apply(Command::Put(put)).await {
                Reply::Row { id, .. } => id,
                other => panic!("not put: {other:?}"),
            }
        };
        let customer = put(world::account("c1", "g")).await;
        put(world::rate("g", "", 100, 60)).await;
        let Entity::Interface(interface) = world::interface("hz") else {
            unreachable!("an interface is one")
        };
        let interface = put(Entity::Interface(Interface {
            pair_rest_ms: rest_ms,
            ..interface
        }))
        .await;
        let group = put(Entity::AGroup(AGroup { name: "ga".into() })).await;
        let a_names: Vec<String> = (0..A_NUMBERS).map(|n| format!("0210000{n}")).collect();
        let x_names: Vec<String> = (0..X_NUMBERS).map(|n| format!("1700000{n}")).collect();
        for name in &a_names {
            let Entity::ANumber(a) = world::a_number(group, name) else {
                unreachable!("an A number is one")
            };
            put(Entity::ANumber(ANumber {
                line_limit: LINES,
                ..a
            }))
            .await;
        }
        for name in &x_names {
            let Entity::XNumber(x) = world::x_number(interface, name) else {
                unreachable!("an X number is one")
            };
            put(Entity::XNumber(XNumber {
                line_limit: LINES,
                ..x
            }))
            .await;
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
        Scene {
            switches,
            begun: Instant::now(),
            epoch,
            gateway,
            a_names,
            x_names,
            history: Mutex::new(Vec::new()),
            calls: AtomicU32::new(0),
            repeats: AtomicUsize::new(0),
            left_open: AtomicUsize::new(0),
            longest: std::env::var("HISTORY_SECONDS")
                .ok()
                .and_then(|seconds| Some(Duration::from_secs(seconds.parse().ok()?)))
                .unwrap_or(LONGEST),
            clocks: (AtomicU64::new(u64::MAX), AtomicU64::new(0)),
        }
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

    fn operations(&self) -> usize {
        self.history.lock().expect("no panic").len()
    }

    fn over(&self) -> bool {
        self.operations() >= OPERATIONS || self.begun.elapsed() > self.longest
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

    /// Asks until there is an answer. `give_up`: after an outcome that is not known, `None` is the answer.
    async fn ask(
        &self,
        home: usize,
        command: &Command,
        seed: &mut u64,
        give_up: impl Fn() -> bool,
    ) -> Option<Reply> {
        let mut patience = match xorshift(seed) % 150 {
            0 => Duration::from_millis(1),
            _ => Duration::from_secs(5),
        };
        loop {
            let node = self.switches.node(home);
            match node.propose_within(command.clone(), patience).await {
                Ok(reply) => return Some(reply),
                Err(ProposeError::Unknown(_) | ProposeError::Stopped) => {
                    self.repeats.fetch_add(1, Ordering::Relaxed);
                    if give_up() {
                        return None;
                    }
                }
                Err(error) => panic!("{command:?}: {error}"),
            }
            patience = Duration::from_secs(5);
            tokio::time::sleep(Duration::from_millis(10 + xorshift(seed) % 150)).await;
        }
    }

    /// Gives one side back.
    async fn free(&self, home: usize, command: Command, deed: Deed, mut seed: u64) {
        let give_up = || {
            self.left_open
                .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    (left < LEFT_OPEN).then_some(left + 1)
                })
                .is_ok()
        };
        let invoked = self.now();
        let reply = self.ask(home, &command, &mut seed, give_up).await;
        let returned = reply.map(|reply| {
            assert_eq!(reply, Reply::Done, "{command:?}");
            self.now()
        });
        self.enter(invoked, returned, deed);
    }

    /// One caller, until the history is long enough.
    async fn calls(&self, home: usize, mut seed: u64) {
        while !self.over() {
            let call = CallId::new(self.epoch, self.calls.fetch_add(1, Ordering::Relaxed) + 1);
            let b = xorshift(&mut seed) as usize % CALLEES;
            let reserve = Command::Reserve(Reserve {
                call,
                gateway: self.gateway,
                caller_access: "05718512345".into(),
                caller: "05718512345".into(),
                callee_access: format!("138{b}"),
                callee: format!("138{b}"),
                started_at: 1_700_000_000_000,
                remote: "127.0.0.1:5060".parse().expect("address"),
                sip_call_id: format!("c{}", call.0),
            });
            let end = Command::End(End {
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
            });
            let invoked = self.now();
            let reply = self.ask(home, &reserve, &mut seed, || false).await;
            let returned = Some(self.now());
            let lease = match reply {
                Some(Reply::Reserved(attempt)) => attempt.lease.expect("the gateway is AXB"),
                Some(Reply::Refused(Refusal::NoAxbNumber)) => {
                    self.enter(invoked, returned, Deed::Refused { b });
                    // Its record waits for its end; it holds nothing.
                    self.switches.node(home).submit(end);
                    tokio::time::sleep(Duration::from_millis(xorshift(&mut seed) % 4)).await;
                    continue;
                }
                other => panic!("neither numbers nor a refusal for want of them: {other:?}"),
            };
            let place = |names: &[String], name: &str| {
                names.iter().position(|known| known == name).expect("ours")
            };
            let (a, x) = (
                place(&self.a_names, &lease.a),
                place(&self.x_names, &lease.x),
            );
            let of = self.enter(invoked, returned, Deed::Take { a, x, b });
            tokio::time::sleep(Duration::from_millis(xorshift(&mut seed) % 6)).await;
            let unbound = Command::Unbound(Unbound {
                binding: lease.binding,
                epoch: self.epoch,
                missing: false,
            });
            let way = xorshift(&mut seed) % 3;
            let end = self.free(home, end, Deed::FreeA { of }, xorshift(&mut seed) | 1);
            let unbound = self.free(home, unbound, Deed::FreeX { of }, xorshift(&mut seed) | 1);
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
    }

    /// Hands leadership on, kills the leader, starts it again, hands leadership on, and so forth; all the while the
    /// records of ended calls are taken away.
    async fn trouble(&self) -> (u32, u32) {
        let (mut handed_on, mut killed) = (0, 0);
        let mut next = OPERATIONS / 8;
        while !self.over() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let node = self.switches.node(0);
            let upto = node.state().outbox_last();
            for node_id in 1..=3 {
                node.submit(Command::Stored {
                    node: node_id,
                    upto,
                });
            }
            // By operations on a fast machine, by time on a slow one.
            let part = self.begun.elapsed().as_secs_f64() / self.longest.as_secs_f64();
            let due = (OPERATIONS as f64 * part) as usize;
            if self.operations().max(due) < next {
                continue;
            }
            next += OPERATIONS / 4;
            let leader = self.switches.leader().await;
            if handed_on <= killed {
                handed_on += 1;
                let to = (leader as u64 + 1) % 3 + 1;
                let node = self.switches.node(leader);
                node.transfer_leader(to).await.expect("begins");
            } else {
                killed += 1;
                self.switches.kill(leader);
                tokio::time::sleep(Duration::from_millis(700)).await;
                self.switches.up(leader).await;
            }
        }
        (handed_on, killed)
    }
}

/// Runs a scene to its end and checks what its callers saw.
async fn a_history_is_linearizable(entries_per_s: u32, rest_ms: u32) {
    let scene = Arc::new(Scene::set(entries_per_s, rest_ms).await);
    let callers: Vec<_> = (0..CALLERS)
        .map(|n| {
            let scene = scene.clone();
            tokio::spawn(async move { scene.calls(n % 3, 7 + n as u64 * 0x1234_5677).await })
        })
        .collect();
    let (handed_on, killed) = scene.trouble().await;
    for caller in callers {
        caller.await.expect("does not panic");
    }
    let took = scene.begun.elapsed();
    let left_open = scene.left_open.load(Ordering::Relaxed);
    let node = scene.switches.node(0);
    node.caught_up(Duration::from_secs(20))
        .await
        .expect("catches up");
    let held = node.state().bindings().count();
    assert!(
        held <= left_open,
        "{held} bindings are left and {left_open} releases unanswered"
    );

    let mut history = std::mem::take(&mut *scene.history.lock().expect("no panic"));
    let drift = scene.clocks.1.load(Ordering::Relaxed) - scene.clocks.0.load(Ordering::Relaxed);
    let pool = Pool {
        a_lines: vec![LINES as u8; A_NUMBERS],
        x_lines: vec![LINES as u8; X_NUMBERS],
        callees: CALLEES,
        rest: u64::from(rest_ms) * 1_000_000,
        // The log counts whole milliseconds, by the wall clock.
        slack: 2_000_000 + drift,
    };
    let checking = Instant::now();
    let effort = check(&pool, &history).unwrap_or_else(|broken| panic!("{broken}"));
    let count = |what: fn(&Deed) -> bool| history.iter().filter(|op| what(&op.deed)).count();
    let taken = count(|deed| matches!(deed, Deed::Take { .. }));
    let refused = count(|deed| matches!(deed, Deed::Refused { .. }));
    println!(
        "rest {rest_ms} ms: {} operations in {took:.1?}, {taken} taken, {refused} refused, {} outcomes not known at \
         first, {left_open} never, leadership handed on {handed_on} times, leader killed {killed} times, clocks \
         {drift} ns apart; checked in {:.1?}: {effort:?}",
        history.len(),
        scene.repeats.load(Ordering::Relaxed),
        checking.elapsed(),
    );
    assert!(history.len() >= OPERATIONS_LEAST, "too few operations");
    assert!(
        taken > history.len() / 100 && refused > history.len() / 100,
        "both are seen"
    );
    assert!(handed_on > 0 && killed > 0, "there was trouble");

    // The same history with one answer made wrong is not accepted.
    let twice = given_twice(&history).expect("a pair is held while somebody else is refused");
    assert!(check(&pool, &twice).is_err(), "a pair given twice");
    let last = history.iter().filter_map(|op| op.returned).max();
    let later = last.expect("there are answers") + pool.rest + 2 * pool.slack;
    history.push(Op {
        invoked: later,
        returned: Some(later + 1),
        deed: Deed::Refused { b: 0 },
    });
    assert!(check(&pool, &history).is_err(), "refused for no reason");
}

/// Makes a refusal the gift of a pair that somebody surely held all the while.
fn given_twice(history: &[Op]) -> Option<Vec<Op>> {
    let refused: Vec<usize> = (0..history.len())
        .filter(|at| matches!(history[*at].deed, Deed::Refused { .. }))
        .collect();
    for (freed, op) in history.iter().enumerate() {
        let Deed::FreeX { of } = op.deed else {
            continue;
        };
        let Deed::Take { a, x, .. } = history[of].deed else {
            continue;
        };
        let held_from = history[of].returned?;
        let within = refused.iter().find(|at| {
            history[**at].invoked > held_from
                && history[**at]
                    .returned
                    .is_some_and(|answer| answer < history[freed].invoked)
        });
        if let Some(at) = within {
            let mut wrong = history.to_vec();
            wrong[*at].deed = Deed::Take { a, x, b: 0 };
            return Some(wrong);
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn numbers_without_rest_are_given_as_if_by_one_hand() {
    a_history_is_linearizable(200, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn numbers_that_rest_are_given_as_if_by_one_hand() {
    a_history_is_linearizable(1_000_000, 25).await;
}
