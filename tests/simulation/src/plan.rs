//! What a seed means: how many nodes, who calls whom and when, and what goes wrong meanwhile.

use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tandem_vendors::sim::Faults;

use crate::draw::seed_for;
use crate::net::{FAIR, Weather};
use crate::process::sip_of;
use crate::setup::{Setup, UNIT};
use crate::{callee, caller};

/// Calls begin within so long.
pub const LOAD_MS: u64 = 24_000;

/// Something that is done to the world.
#[derive(Clone, Debug)]
pub enum Deed {
    /// A node dies: its machine resets its connections, or is silent as one without power.
    Kill {
        node: usize,
        silent: bool,
    },
    /// Every node dies, and what was not synced is lost.
    KillAll,
    /// A node starts again.
    Start {
        node: usize,
    },
    Pause {
        node: usize,
    },
    Resume {
        node: usize,
    },
    /// No link between a node and the others works, in one direction or both.
    Cut {
        node: usize,
        inwards: bool,
        outwards: bool,
        cut: bool,
    },
    /// Datagrams fare so.
    Weather(Weather),
    /// Links between nodes are slow.
    Slow(u64),
    /// A node does not reach the platform.
    Away {
        node: usize,
        cut: bool,
    },
    Platform(Faults),
    /// The disk of a node's records is full.
    Full {
        node: usize,
        full: bool,
    },
}

/// What is done, by when.
pub type Deeds = Vec<(u64, Deed)>;

/// Which kinds of faults a run has.
#[derive(Clone, Copy, Debug)]
pub struct Kinds {
    pub kills: bool,
    pub pauses: bool,
    pub cuts: bool,
    pub weather: bool,
    pub platform: bool,
    pub records: bool,
}

/// A seed, spelled out.
pub struct Plan {
    pub nodes: u64,
    pub setup: Setup,
    /// When each call begins, from the load's beginning.
    pub calls: Vec<(u64, caller::Plan, callee::Plan)>,
    /// From the load's beginning.
    pub deeds: Deeds,
    /// A node whose machine's clock is wrong, and by how many milliseconds. Of all clocks one may be.
    pub off: Option<(u64, i64)>,
}

/// Where a customer calls from.
pub fn customer(nth: usize) -> SocketAddr {
    SocketAddr::from(([10, 1, 0, 1 + nth as u8], 5_060))
}

impl Plan {
    /// What a seed means. A calm one has no faults.
    pub fn of(seed: u64, calm: bool) -> Plan {
        let mut rng = StdRng::seed_from_u64(seed_for(seed, 3));
        let nodes = if rng.random_bool(0.12) { 5 } else { 3 };
        let x_limit = if rng.random_bool(0.5) { 1 } else { 3 };
        let setup = Setup {
            a_numbers: 60,
            x_numbers: 60 / x_limit as usize,
            x_limit,
            unbind_delay_secs: [None, Some(0), Some(2)][rng.random_range(0..3)],
            money: 100_000 * UNIT,
            customers: [0, 1].map(|nth| customer(nth).ip().to_string()),
            timeout_ms: 2_000,
        };
        let count = rng.random_range(16..=32);
        let calls = (0..count).map(|key| call(&mut rng, key, nodes)).collect();
        let mut on = |share: f64| !calm & rng.random_bool(share);
        let kinds = Kinds {
            kills: on(0.7),
            pauses: on(0.4),
            cuts: on(0.4),
            weather: on(0.4),
            platform: on(0.4),
            records: on(0.2),
        };
        let deeds = deeds(&mut rng, nodes as usize, kinds);
        let off = (
            rng.random_range(1..=nodes),
            rng.random_range(-3_600_000..=3_600_000),
        );
        let off = (!calm && rng.random_bool(0.3)).then_some(off);
        Plan {
            nodes,
            setup,
            calls,
            deeds,
            off,
        }
    }
}

/// A call that is answered if all is well, to be placed after the healing.
pub fn last_call(key: usize, node: u64) -> (caller::Plan, callee::Plan) {
    let caller = caller::Plan {
        key,
        at: customer(0),
        from: format!("0755{key:07}"),
        callee: format!("139{key:08}"),
        nodes: vec![sip_of(node)],
        hold_ms: Some(2_000),
        patience_ms: 20_000,
        takes_update: true,
        turns_to_others: false,
    };
    let callee = callee::Plan {
        ring_ms: 50,
        decide_ms: 300,
        answers: "200 OK",
        hold_ms: None,
        takes_update: true,
    };
    (caller, callee)
}

fn call(rng: &mut StdRng, key: usize, nodes: u64) -> (u64, caller::Plan, callee::Plan) {
    let mut order: Vec<SocketAddr> = (1..=nodes).map(sip_of).collect();
    order.shuffle(rng);
    let hold_ms = rng.random_range(1_000..18_000);
    let caller_ends = rng.random_bool(0.6);
    let prefix = if rng.random_bool(0.8) { "139" } else { "138" };
    let answers = if rng.random_bool(0.9) {
        "200 OK"
    } else {
        "486 Busy Here"
    };
    let impatient = rng.random_bool(0.1);
    let caller = caller::Plan {
        key,
        at: customer(key % 2),
        from: format!("0755{key:07}"),
        callee: format!("{prefix}{key:08}"),
        nodes: order,
        hold_ms: caller_ends.then_some(hold_ms),
        patience_ms: match impatient {
            true => rng.random_range(100..3_000),
            false => rng.random_range(12_000..20_000),
        },
        takes_update: rng.random_bool(0.5),
        turns_to_others: rng.random_bool(0.5),
    };
    let callee = callee::Plan {
        ring_ms: rng.random_range(10..500),
        decide_ms: rng.random_range(200..4_000),
        answers,
        hold_ms: (!caller_ends).then_some(hold_ms),
        takes_update: rng.random_bool(0.5),
    };
    (rng.random_range(0..LOAD_MS), caller, callee)
}

fn deeds(rng: &mut StdRng, nodes: usize, kinds: Kinds) -> Deeds {
    let mut deeds = Deeds::new();
    // What is done to nodes, one after the other: a majority is left most of the time.
    let mut choices = Vec::new();
    choices.extend(kinds.kills.then_some(0));
    choices.extend(kinds.kills.then_some(0));
    choices.extend(kinds.pauses.then_some(1));
    choices.extend(kinds.cuts.then_some(2));
    let mut at = rng.random_range(500..6_000);
    while at < LOAD_MS && !choices.is_empty() {
        let node = rng.random_range(0..nodes);
        let last = rng.random_range(300..9_000);
        match choices[rng.random_range(0..choices.len())] {
            0 if rng.random_bool(0.08) => {
                deeds.push((at, Deed::KillAll));
                deeds.extend((0..nodes).map(|node| {
                    let up = at + rng.random_range(200..3_000);
                    (up, Deed::Start { node })
                }));
                at += 3_000;
            }
            0 => {
                let silent = rng.random_bool(0.5);
                deeds.push((at, Deed::Kill { node, silent }));
                deeds.push((at + last, Deed::Start { node }));
            }
            1 => {
                deeds.push((at, Deed::Pause { node }));
                deeds.push((at + last, Deed::Resume { node }));
            }
            _ => {
                let way = rng.random_range(0..3);
                let cut = |cut| Deed::Cut {
                    node,
                    inwards: way != 1,
                    outwards: way != 2,
                    cut,
                };
                deeds.push((at, cut(true)));
                deeds.push((at + last, cut(false)));
            }
        }
        at += last + rng.random_range(200..6_000);
    }
    let mut spells =
        |rng: &mut StdRng, on: bool, make: &mut dyn FnMut(&mut StdRng) -> (Deed, Deed)| {
            let mut at = rng.random_range(500..8_000);
            while on && at < LOAD_MS {
                let (begin, end) = make(rng);
                let last = rng.random_range(500..8_000);
                deeds.push((at, begin));
                deeds.push((at + last, end));
                at += last + rng.random_range(500..8_000);
            }
        };
    spells(rng, kinds.weather, &mut |rng| match rng.random_bool(0.3) {
        true => (Deed::Slow(rng.random_range(10..80)), Deed::Slow(3)),
        false => {
            let weather = Weather {
                loss: rng.random_range(0.0..0.3),
                twice: rng.random_range(0.0..0.2),
                slow_ms: rng.random_range(4..200),
            };
            (Deed::Weather(weather), Deed::Weather(FAIR))
        }
    });
    spells(rng, kinds.platform, &mut |rng| {
        let node = rng.random_range(0..nodes);
        let mut faults = Faults::default();
        match rng.random_range(0..6) {
            0 => faults.down = true,
            1 => faults.error_rate = rng.random_range(0.1..1.0),
            2 => faults.drop_reply_rate = rng.random_range(0.1..1.0),
            3 => faults.latency_ms = rng.random_range(200..4_000),
            4 => faults.throttle_per_s = rng.random_range(1..5),
            _ => {
                return (
                    Deed::Away { node, cut: true },
                    Deed::Away { node, cut: false },
                );
            }
        }
        (Deed::Platform(faults), Deed::Platform(Faults::default()))
    });
    spells(rng, kinds.records, &mut |rng| {
        let node = rng.random_range(0..nodes);
        (
            Deed::Full { node, full: true },
            Deed::Full { node, full: false },
        )
    });
    deeds.sort_by_key(|(at, _)| *at);
    deeds
}
