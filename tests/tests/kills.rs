//! Nodes killed one after another under a load of held calls: no answered call is lost, and new ones go on.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};
use tandem_tests::Switch;
use tandem_tests::checks::{Load, balances, balances_fell, nothing_left};
use tandem_tests::crowd::{self, Call, Crowd, Share};
use tandem_tests::rerate::Tariff;
use tandem_tests::switch::NODES;
use tandem_tests::wait::epoch_secs;
use tandem_tests::wire::Wire;

/// Calls a second offered to each node.
const RATE: u32 = 10;
/// Seconds that each call is held at least.
const HOLD_SECS: u32 = 62;
/// Load before the first kill, so that there are calls to be carried on.
const BEFORE: Duration = Duration::from_secs(15);
/// From one kill to the next.
const APART: Duration = Duration::from_secs(10);
/// How long after a kill calls are placed by hand, one every [`PROBE`] at each living node.
const PROBED: Duration = Duration::from_millis(2_500);
const PROBE: Duration = Duration::from_millis(100);
/// Longest from a dead node's last renewal until another one has its calls.
const UNSEEN_SECS: f64 = 8.0;
const X_LIMIT: usize = 60;

/// A kill, and what new calls met after it.
#[derive(Debug)]
struct Kill {
    victim: u8,
    led: bool,
    /// Seconds since 1970.
    at: f64,
    /// Answered calls that it took down.
    carried: u64,
    /// Calls placed by hand afterwards.
    placed: usize,
    refused: usize,
    /// From the kill to the first answer of such a call, in ms, by node.
    answers: BTreeMap<u8, f64>,
    /// From the kill to the node's return, in ms.
    ready_ms: f64,
}

impl Kill {
    fn next_ms(&self) -> f64 {
        self.answers.values().copied().fold(f64::INFINITY, f64::min)
    }
}

/// A call placed by hand: at which node, and when after the kill it was answered, or why it was not.
type Probe = (u8, Result<Duration, String>);

/// Places calls at these nodes from now on, each on a thread of its own: none waits for an earlier one.
fn probes(nodes: Vec<(u8, SocketAddr)>, first_callee: u64) -> JoinHandle<Vec<Probe>> {
    spawn(move || {
        let began = Instant::now();
        let mut callees = first_callee..;
        let mut placed = Vec::new();
        while began.elapsed() < PROBED {
            for (node, at) in nodes.clone() {
                let callee = callees.next().expect("numbers without end").to_string();
                placed.push(spawn(move || {
                    let offset = began.elapsed();
                    let timing = Wire::udp(at).place_call(&callee);
                    (node, timing.map(|timing| offset + timing.answered))
                }));
            }
            sleep(PROBE);
        }
        let join = |thread: JoinHandle<Probe>| thread.join().expect("it does not panic");
        placed.into_iter().map(join).collect()
    })
}

#[track_caller]
fn kill(switch: &mut Switch, victim: u8, leader: u8, count: usize) -> Kill {
    let status = switch.api(victim).try_status();
    let carried = status.ok().and_then(|s| s["answered_calls"].as_u64());
    let living = (1..=NODES).filter(|node| *node != victim);
    let living = living.map(|node| (node, switch.sip(node))).collect();
    let (at, began) = (epoch_secs(), Instant::now());
    switch.kill(victim);
    // Callees that begin with 136 answer at once.
    let probing = probes(living, 13_600_000_000 + count as u64 * 1_000);
    // Half of the dead come back before the others have taken their calls, half after that.
    if count % 2 == 1 {
        sleep(Duration::from_secs(5));
    }
    switch.restart(victim);
    let ready_ms = began.elapsed().as_secs_f64() * 1_000.0;
    let probes = probing.join().expect("it does not panic");
    let mut kill = Kill {
        victim,
        led: victim == leader,
        at,
        carried: carried.unwrap_or(0),
        placed: probes.len(),
        refused: 0,
        answers: BTreeMap::new(),
        ready_ms,
    };
    for (node, answered) in probes {
        match answered {
            Ok(after) => {
                let first = kill.answers.entry(node).or_insert(f64::INFINITY);
                *first = first.min(after.as_secs_f64() * 1_000.0);
            }
            Err(why) => {
                println!("kill {}: a call at node {node}: {why}", count + 1);
                kill.refused += 1;
            }
        }
    }
    kill
}

/// Calls in set-up at a moment, and how many of them were answered in the end.
#[derive(Clone, Copy, Debug, Default)]
struct SetUp {
    all: usize,
    answered: usize,
}

/// Those at the node that died, and those elsewhere.
fn in_set_up(calls: &[Call], kill: &Kill) -> [SetUp; 2] {
    let mut counts = [SetUp::default(); 2];
    for call in calls {
        if let Some(node) = call.set_up_at(kill.at) {
            let count = &mut counts[usize::from(node != kill.victim)];
            count.all += 1;
            count.answered += usize::from(call.answered.is_some());
        }
    }
    counts
}

/// Prints what happened at each kill, and answers what became of calls in set-up at all of them.
fn tell(history: &[Kill], calls: &[Call]) -> [SetUp; 2] {
    println!(
        "kill  node  role      calls  back after ms  next call ms  at the other ms  by hand  set-up there  elsewhere"
    );
    let mut sums = [SetUp::default(); 2];
    for (number, kill) in history.iter().enumerate() {
        let counts = in_set_up(calls, kill);
        for (sum, count) in sums.iter_mut().zip(counts) {
            sum.all += count.all;
            sum.answered += count.answered;
        }
        let [there, elsewhere] = counts.map(|c| format!("{}/{}", c.answered, c.all));
        println!(
            "{:>4}  {:>4}  {:<8}  {:>5}  {:>13.0}  {:>12.0}  {:>15.0}  {:>7}  {:>12}  {:>9}",
            number + 1,
            kill.victim,
            if kill.led { "leader" } else { "follower" },
            kill.carried,
            kill.ready_ms,
            kill.next_ms(),
            kill.answers.values().copied().fold(0.0, f64::max),
            format!("{}/{}", kill.placed - kill.refused, kill.placed),
            there,
            elsewhere,
        );
    }
    for (led, role) in [(true, "leader"), (false, "follower")] {
        let of_role = history.iter().filter(|kill| kill.led == led);
        let mut times: Vec<f64> = of_role.map(Kill::next_ms).collect();
        times.sort_by(f64::total_cmp);
        let (middle, worst) = (times.get(times.len() / 2), times.last());
        println!("{role}: median and worst ms to the next call: {middle:.0?} {worst:.0?}");
    }
    println!("in set-up there and elsewhere: {sums:?}");
    sums
}

fn kills_lose_nothing(kills: usize, delay: Option<u32>) {
    let mut switch = Switch::start();
    switch.make_room(20, X_LIMIT);
    switch.api(1).unbind_delay(delay);
    switch.states_agree(Duration::from_secs(5));
    let tariff = Tariff::read(&switch.api(1));
    let before = balances(&switch.api(1));

    let mut crowd = Crowd::gather(switch.dir(), Ipv4Addr::LOCALHOST, switch.phone_port());
    let secs = BEFORE.as_secs() + APART.as_secs() * kills as u64;
    for first in 0..NODES {
        let order = (0..NODES).map(|n| (first + n) % NODES + 1);
        crowd.join(&Share {
            port: switch.own_port(),
            nodes: order.map(|node| (node, switch.sip(node))).collect(),
            calls: RATE as usize * secs as usize,
            rate: RATE,
            hold_secs: HOLD_SECS,
        });
    }
    sleep(BEFORE);

    let mut history: Vec<Kill> = Vec::new();
    let mut turn = 0;
    for count in 0..kills {
        let began = Instant::now();
        let leader = switch.leader();
        // Every third is the leader, whoever that is; in between the followers take turns.
        let victim = if count % 3 == 0 {
            leader
        } else {
            let mut next = (1..=NODES).map(|step| (turn + step - 1) % NODES + 1);
            turn = next
                .find(|node| *node != leader)
                .expect("there are followers");
            turn
        };
        let kill = kill(&mut switch, victim, leader, count);
        println!("{kill:?}");
        history.push(kill);
        sleep(APART.saturating_sub(began.elapsed()));
    }
    let calls = crowd.disperse(Duration::from_secs(180));
    let set_up = tell(&history, &calls);
    nothing_left(&switch, Duration::from_secs(30));

    let load = Load::export(&switch);
    let found = crowd::none_lost(&calls, &load, UNSEEN_SECS);
    println!("{found:#?}");
    let log = switch.platform_log();
    log.never_doubled(X_LIMIT);
    crowd::each_bound_once(&load, &log.lives());
    load.prices_hold(&tariff);
    balances_fell(&switch, &before, &load);

    let leaders = history.iter().filter(|kill| kill.led).count();
    assert!(
        leaders * 4 >= kills,
        "the leader was killed {leaders} times"
    );
    assert!(
        found.answered >= kills * 250,
        "{} answered calls",
        found.answered
    );
    for kill in &history {
        // The aim is a second; a machine that is busy may take longer, and what is printed tells.
        assert!(kill.next_ms() <= 5_000.0, "no new call for long: {kill:?}");
    }
    for SetUp { all, answered } in set_up {
        assert!(answered * 100 >= all * 99, "{answered} of {all} in set-up");
    }
}

#[test]
fn twenty_kills_lose_no_answered_call() {
    kills_lose_nothing(20, None);
}

#[test]
fn kills_lose_no_answered_call_whose_binding_was_released_long_before() {
    kills_lose_nothing(4, Some(1));
}
