//! The replicated state's own cost: one whole AXB call (reserve, bound, answered, unbound, end) by the number of
//! numbers and of live bindings. It must grow with neither.
//!
//! A clone of the state is kept for readers and replaced after every so many commands: never, after each one (the worst
//! case for shared maps), after 16 (5 ms at 600 calls/s), after 1,000 (5 ms at full speed). The cases take turns in
//! short rounds and the quickest round counts: what else runs on the machine only adds.
//!
//! `cargo bench -p tandem-cluster --bench state [-- rounds [numbers live]]`; with one case only, a tool that counts
//! instructions in `Bench::cycle` shows what of a difference is work and what is the distance to memory.

#[path = "sample.rs"]
mod sample;

use std::collections::{BTreeMap, BTreeSet};
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
            bench.reserve();
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

    /// One call from admission to its record. A function of its own for tools that look for its name.
    #[inline(never)]
    fn cycle(&mut self) {
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
            answered_at: self.at,
            pdd_ms: 900,
            dialogs: vec![7; 2_000],
            codec: "PCMA".into(),
        }));
        self.apply(&Command::Unbound(Unbound {
            binding,
            epoch: 1,
            missing: false,
        }));
        self.apply(&Command::End(End {
            call,
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
}

/// Calls in one round of a case.
const ROUND: u32 = 500;
/// Calls before the first round: pairs come to rest and wake by then, and ended calls are remembered.
const WARM: u32 = 70_000;

fn main() {
    let given: Vec<u32> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let rounds = given.first().map_or(25, |rounds| (*rounds).max(1));
    // A hundred A and a hundred X make ten thousand pairs, so they cannot carry 50,000 bindings.
    let sizes = match given[..] {
        [_, numbers, live] => vec![(numbers, live)],
        _ => [100u32, 10_000, 100_000]
            .into_iter()
            .flat_map(|numbers| {
                let most = numbers.saturating_mul(numbers) / 2;
                [(numbers, 0), (numbers, most.min(50_000))]
            })
            .collect(),
    };
    let mut benches: Vec<(u32, u32, Bench)> = sizes
        .into_iter()
        .map(|(numbers, live)| (numbers, live, Bench::new(numbers, live)))
        .collect();
    for (_, _, bench) in &mut benches {
        (0..WARM).for_each(|_| bench.cycle());
    }
    let keeps = [0, 1, 16, 1_000];
    let mut took = vec![[const { Vec::new() }; 4]; benches.len()];
    for _ in 0..rounds {
        for ((_, _, bench), took) in benches.iter_mut().zip(&mut took) {
            for (keep, took) in keeps.into_iter().zip(took) {
                (bench.keep, bench.kept) = (keep, None);
                bench.cycle();
                let begun = Instant::now();
                (0..ROUND).for_each(|_| bench.cycle());
                took.push(begun.elapsed());
            }
        }
    }
    println!("us a call (5 commands), clone kept: never, each, 16, 1,000 commands");
    for ((numbers, live, bench), took) in benches.iter().zip(&took) {
        let us = took.each_ref().map(|took: &Vec<Duration>| {
            let quickest = took.iter().min().expect("one round at least");
            quickest.as_secs_f64() * 1e6 / f64::from(ROUND)
        });
        let begun = Instant::now();
        black_box(bench.state.hash());
        println!(
            "{numbers:7} numbers, {live:6} bindings: {:6.2} {:6.2} {:6.2} {:6.2} · hash {:6.1?}",
            us[0],
            us[1],
            us[2],
            us[3],
            begun.elapsed()
        );
    }
}
