//! What befalls nodes and links while the callers call.

use crate::callers::{Scene, xorshift};
use crate::links::NODES;
use crate::process::Question;
use std::collections::BTreeMap;
use std::time::Duration;

/// What may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL, and a start after a while.
    KillLeader,
    KillFollower,
    /// All at once.
    KillAll,
    /// SIGSTOP, and SIGCONT after a while.
    PauseLeader,
    PauseFollower,
    /// No link to the others, in either direction.
    CutOffLeader,
    CutOffFollower,
    /// It hears the others and they do not hear it.
    MuteLeader,
    /// The others hear it and it hears nobody.
    DeafLeader,
    /// One direction between two nodes.
    CutOneWay,
    /// All links at once.
    Slow,
    /// Leadership goes to another node, in order.
    HandOn,
}

pub const EVERYTHING: &[Fault] = &[
    Fault::KillLeader,
    Fault::CutOneWay,
    Fault::PauseFollower,
    Fault::CutOffLeader,
    Fault::HandOn,
    Fault::PauseLeader,
    Fault::MuteLeader,
    Fault::KillFollower,
    Fault::Slow,
    Fault::CutOffFollower,
    Fault::KillAll,
    Fault::DeafLeader,
];

/// Lets them happen one after the other, in rounds, until the callers are through; all is well in the end. Tells how
/// often each did.
pub async fn befalls(scene: &Scene, faults: &[Fault], mut seed: u64) -> BTreeMap<Fault, u32> {
    let mut counts = BTreeMap::new();
    for fault in faults.iter().cycle() {
        pause(&mut seed, 200, 800).await;
        if scene.over() {
            break;
        }
        happens(scene, *fault, &mut seed).await;
        *counts.entry(*fault).or_insert(0) += 1;
    }
    counts
}

/// Waits for so many milliseconds.
async fn pause(seed: &mut u64, least: u64, most: u64) {
    let ms = least + xorshift(seed) % (most - least);
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

async fn happens(scene: &Scene, fault: Fault, seed: &mut u64) {
    let nodes = &scene.nodes;
    let leader = nodes.leader().await;
    let follower = (leader + 1 + (xorshift(seed) % 2) as usize) % NODES;
    let tear = xorshift(seed).is_multiple_of(2);
    let all = || (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to)));
    match fault {
        Fault::KillLeader | Fault::KillFollower => {
            let at = match fault {
                Fault::KillLeader => leader,
                _ => follower,
            };
            nodes.kill(at);
            pause(seed, 100, 1_500).await;
            nodes.up(at).await;
        }
        Fault::KillAll => {
            (0..NODES).for_each(|at| nodes.kill(at));
            futures::future::join_all((0..NODES).map(|at| nodes.up(at))).await;
        }
        Fault::PauseLeader | Fault::PauseFollower => {
            let at = match fault {
                Fault::PauseLeader => leader,
                _ => follower,
            };
            let node = nodes.node(at).expect("only trouble takes nodes down");
            node.signal("STOP");
            pause(seed, 300, 2_000).await;
            node.signal("CONT");
        }
        Fault::CutOffLeader | Fault::CutOffFollower => {
            let at = match fault {
                Fault::CutOffLeader => leader,
                _ => follower,
            };
            let cut = all().filter(|(from, to)| (*from == at) != (*to == at));
            cut.for_each(|(from, to)| nodes.links.cut(from, to));
            pause(seed, 300, 2_000).await;
            nodes.links.heal(tear);
        }
        Fault::MuteLeader => {
            (0..NODES).for_each(|to| nodes.links.cut(leader, to));
            pause(seed, 300, 2_000).await;
            nodes.links.heal(tear);
        }
        Fault::DeafLeader => {
            (0..NODES).for_each(|from| nodes.links.cut(from, leader));
            pause(seed, 300, 2_000).await;
            nodes.links.heal(tear);
        }
        Fault::CutOneWay => {
            let from = (xorshift(seed) % 3) as usize;
            nodes.links.cut(from, (from + 1) % NODES);
            pause(seed, 300, 2_000).await;
            nodes.links.heal(tear);
        }
        Fault::Slow => {
            let delay = Duration::from_millis(3 + xorshift(seed) % 40);
            all().for_each(|(from, to)| nodes.links.slow(from, to, delay));
            pause(seed, 300, 2_000).await;
            nodes.links.heal(false);
        }
        Fault::HandOn => {
            let to = Question::HandOn(follower as u64 + 1);
            let node = nodes.node(leader).expect("only trouble takes nodes down");
            // Whether it comes to it is no matter here.
            let _ = node.ask(to, Duration::from_secs(1)).await;
        }
    }
}
