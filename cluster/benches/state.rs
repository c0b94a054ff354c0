//! The replicated state's own cost: one whole AXB call (reserve, bound, answered, unbound, end) by the number of
//! numbers and of live bindings. It must grow with neither.
//!
//! A clone of the state is kept for readers: never, or one taken before the round and replaced after each command (the
//! worst case for shared parts), after 16 (5 ms at 600 calls/s), or not before the next round (25 ms at full speed).
//! The last column frees not the call just made but the oldest of those that live, whose record no cache remembers.
//!
//! The cases take turns. In its turn each first makes so many calls untimed that the caches are its own again, then
//! rounds of each kind, and the quickest round of all turns counts: what else runs on the machine only adds. Beside
//! them stands the bare minimum: as many touches of random numbers as a call cannot do without, each waiting for the
//! one before it, in flat tables of the same sizes.
//!
//! `cargo bench -p tandem-cluster --bench state [-- turns [numbers live [kind]]]`; with one case and kind (from 0) only,
//! a tool that counts instructions or cache misses in `Bench::round` shows what of a difference is work and what is
//! the distance to memory.

#[path = "sample.rs"]
mod sample;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hint::black_box;
use std::time::{Duration, Instant};
use tandem_cluster::command::*;
use tandem_cluster::entity::*;
use tandem_cluster::state::State;
use tandem_cluster::state::testing::PerPeriod;

struct Bench {
    state: State,
    kept: Option<State>,
    /// A clone is taken after so many commands; 0: never.
    keep: u32,
    unkept: u32,
    at: Millis,
    calls: u32,
    seed: u64,
    /// Calls that live beside the one that is made and ended, the oldest first.
    live: VecDeque<(CallId, BindingId)>,
}

impl Bench {
    fn new(numbers: u32, live: u32) -> Self {
        let state = State::new();
        let mut bench = Bench {
            state,
            kept: None,
            keep: 0,
            unkept: 0,
            at: 1_700_000_000_000,
            calls: 0,
            seed: 1,
            live: VecDeque::new(),
        };
        bench.apply(&Command::Claim(Claim {
            access_name: "n1".into(),
            node: 1,
            boot: 1,
            address: "10.0.0.1:80".into(),
            version: "1".into(),
            lease_ms: 60_000,
        }));
        bench.state.set_voters(BTreeSet::from([1]));
        sample::entities(numbers, live, |entity| bench.put(entity));
        for _ in 0..live {
            let call = bench.make();
            bench.live.push_back(call);
        }
        bench
    }

    fn apply(&mut self, command: &Command) -> Reply {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let (reply, effects) = self.state.apply(self.at, self.seed, command, &PerPeriod);
        black_box(effects);
        self.unkept += 1;
        if self.keep > 0 && self.unkept >= self.keep {
            self.unkept = 0;
            self.kept = Some(self.state.clone());
        }
        reply
    }

    fn put(&mut self, entity: Entity) {
        self.seed += 1;
        let request = self.seed;
        let put = Put {
            request,
            actor: "op".into(),
            id: None,
            version: None,
            memo: String::new(),
            entity,
        };
        let reply = self.apply(&Command::Put(put));
        assert!(matches!(reply, Reply::Row { .. }), "{reply:?}");
    }

    fn reserve(&mut self) -> (CallId, Lease) {
        self.calls += 1;
        let call = CallId::new(1, self.calls);
        let callee = format!("138{:08}", self.calls);
        let reply = self.apply(&Command::Reserve(Reserve {
            call,
            gateway: 1,
            caller_access: "05718512345".into(),
            caller: "05718512345".into(),
            callee_access: callee.clone(),
            callee,
            started_at: self.at,
            remote: "10.2.0.1:5060".parse().expect("address"),
            sip_call_id: "3848276298220188511@atlanta.example.com".into(),
        }));
        match reply {
            Reply::Reserved(attempt) => (call, attempt.lease.expect("AXB")),
            other => panic!("{other:?}"),
        }
    }

    /// A call from admission to its answer.
    fn make(&mut self) -> (CallId, BindingId) {
        self.at += 2;
        let (call, lease) = self.reserve();
        let binding = lease.binding;
        self.apply(&Command::Bound(Bound {
            binding,
            epoch: 1,
            handle: BTreeMap::from([("subscriptionId".into(), "efw89efwf7fea9f7e9f".into())]),
            x: lease.x,
            expires_at: None,
            raw: String::new(),
        }));
        self.apply(&Command::Answered(Answered {
            call,
            epoch: call.epoch(),
            answered_at: self.at,
            pdd_ms: 900,
            dialogs: vec![7; 2_000],
            codec: "PCMA".into(),
        }));
        (call, binding)
    }

    /// From its release to its record.
    fn free(&mut self, (call, binding): (CallId, BindingId)) {
        self.apply(&Command::Unbound(Unbound {
            binding,
            epoch: 1,
            missing: false,
        }));
        self.apply(&Command::End(End {
            call,
            epoch: call.epoch(),
            ended_at: self.at + 1_000,
            answered_at: None,
            pdd_ms: None,
            codec: String::new(),
            reason: EndReason {
                key: "normal".into(),
                sip: None,
                q850: None,
            },
            by: EndedBy::Caller,
        }));
        if self.calls.is_multiple_of(64) {
            self.apply(&Command::Stored {
                node: 1,
                upto: self.state.outbox_last(),
            });
        }
    }

    fn calls(&mut self, calls: u32, mode: Mode) {
        for _ in 0..calls {
            let made = self.make();
            let freed = if mode.oldest {
                self.live.push_back(made);
                self.live.pop_front()
            } else {
                Some(made)
            };
            self.free(freed.expect("one is there: the one just made"));
        }
    }

    /// The timed calls. A function of its own for tools that look for its name.
    #[inline(never)]
    fn round(&mut self, mode: Mode) -> Duration {
        let begun = Instant::now();
        if mode.clones {
            self.kept = Some(self.state.clone());
        }
        (self.keep, self.unkept) = (mode.keep, 0);
        self.calls(ROUND, mode);
        let took = begun.elapsed();
        (self.keep, self.kept) = (0, None);
        took
    }
}

/// How calls are made and what readers do meanwhile.
#[derive(Clone, Copy)]
struct Mode {
    /// A clone is kept from the beginning of the round,
    clones: bool,
    /// and replaced after so many commands; 0: never.
    keep: u32,
    /// The oldest live call is freed.
    oldest: bool,
}

const MODES: [Mode; 5] = [
    mode(false, 0, false),
    mode(true, 1, false),
    mode(true, 16, false),
    mode(true, 0, false),
    mode(false, 0, true),
];

const fn mode(clones: bool, keep: u32, oldest: bool) -> Mode {
    Mode {
        clones,
        keep,
        oldest,
    }
}

/// Random touches in flat tables: an A, an X, a pair and an (X,B') written when they are taken.
struct Bare {
    tables: [Vec<Place>; 4],
    last: u64,
}

/// Half a cache line.
#[derive(Clone, Default)]
#[repr(align(32))]
struct Place(u64);

impl Bare {
    fn new(numbers: u32, live: u32) -> Self {
        // As many pairs rest as calls are made in the interface's 2 s.
        let pairs = (live + 1_000).next_power_of_two();
        let table = |places: u32| vec![Place::default(); places as usize];
        Bare {
            tables: [numbers, numbers, pairs, pairs].map(table),
            last: 1,
        }
    }

    #[inline(never)]
    fn round(&mut self) -> Duration {
        let begun = Instant::now();
        for _ in 0..ROUND {
            for table in &mut self.tables {
                let mixed = (self.last ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let chosen = (mixed >> 32) as usize % table.len();
                let place = &mut table[chosen];
                place.0 = place.0.wrapping_add(mixed);
                // The next one cannot begin before this one is there.
                self.last = place.0;
            }
        }
        begun.elapsed()
    }
}

/// Calls in one round.
const ROUND: u32 = 128;
/// Rounds of each kind in one turn.
const ROUNDS: u32 = 20;
/// Calls at the beginning of a turn that are not timed.
const WARM: u32 = 20_000;
/// Calls before the first turn: pairs come to rest and wake by then, and as many ended calls as may be are remembered.
const FIRST_WARM: u32 = 70_000;

struct Case {
    numbers: u32,
    live: u32,
    bench: Bench,
    bare: Bare,
    /// The quickest round so far of each kind and of the bare minimum.
    best: [Duration; MODES.len()],
    best_bare: Duration,
}

impl Case {
    fn new((numbers, live): (u32, u32)) -> Self {
        let mut bench = Bench::new(numbers, live);
        bench.calls(FIRST_WARM, MODES[0]);
        Case {
            numbers,
            live,
            bench,
            bare: Bare::new(numbers, live),
            best: [Duration::MAX; MODES.len()],
            best_bare: Duration::MAX,
        }
    }

    fn turn(&mut self, kind: Option<usize>) {
        self.bench.calls(WARM, MODES[0]);
        for (at, (mode, best)) in MODES.into_iter().zip(&mut self.best).enumerate() {
            if kind.is_some_and(|kind| kind != at) {
                continue;
            }
            for _ in 0..ROUNDS {
                *best = self.bench.round(mode).min(*best);
            }
        }
        for _ in 0..WARM / ROUND {
            self.bare.round();
        }
        for _ in 0..ROUNDS {
            self.best_bare = self.bare.round().min(self.best_bare);
        }
    }
}

fn us(round: Duration) -> f64 {
    round.as_secs_f64() * 1e6 / f64::from(ROUND)
}

fn main() {
    let given: Vec<u32> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let turns = given.first().map_or(5, |turns| (*turns).max(1));
    // A hundred A and a hundred X make ten thousand pairs, so they cannot carry 50,000 bindings.
    let sizes = match given[..] {
        [_, numbers, live, ..] => vec![(numbers, live)],
        _ => [100u32, 10_000, 100_000]
            .into_iter()
            .flat_map(|numbers| {
                let most = numbers.saturating_mul(numbers) / 2;
                [(numbers, 0), (numbers, most.min(50_000))]
            })
            .collect(),
    };
    let mut cases: Vec<Case> = sizes.into_iter().map(Case::new).collect();
    let kind = given.get(3).map(|kind| *kind as usize);
    for _ in 0..turns {
        cases.iter_mut().for_each(|case| case.turn(kind));
    }
    println!(
        "us a call (5 commands): no clone, one each command, each 16, each round; oldest freed"
    );
    let first = cases.first().map_or(1.0, |case| us(case.best[0]));
    for case in &cases {
        let [never, each, some, once, oldest] = case.best.map(us);
        let begun = Instant::now();
        black_box(case.bench.state.hash());
        println!(
            "{:7} numbers, {:6} bindings: {never:6.2} {each:6.2} {some:6.2} {once:6.2} {oldest:6.2} \
             · {:.2} of the first · bare {:.2} · hash {:6.1?}",
            case.numbers,
            case.live,
            never / first,
            us(case.best_bare),
            begun.elapsed()
        );
    }
}
