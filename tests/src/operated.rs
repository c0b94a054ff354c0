//! What an operator sees of a cluster of three nodes, wherever its nodes run.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::Api;
use crate::platform::{Log, Platform};
use crate::switch::NODES;
use crate::wait::eventually;

/// The counters of `status` that are 0 when nothing is going on.
pub const IDLE: [&str; 8] = [
    "calls",
    "answered_calls",
    "bindings",
    "x_in_use",
    "a_in_use",
    "timers",
    "reserved",
    "outbox",
];

/// A cluster with its platform simulator, from outside.
pub trait Operated {
    /// The admin API of node n.
    fn api(&self, node: u8) -> Api;

    /// The text of `tandem cdr export` or `tandem axb-cdr export` for all of the test's time, asked of node n.
    fn export(&self, node: u8, what: &str) -> String;

    /// The simulator's control side.
    fn platform(&self) -> Platform;

    /// The simulator's log so far.
    fn platform_log(&self) -> Log;
}

/// Waits until every counter of `status` that is 0 in rest is 0 on these nodes.
#[track_caller]
pub fn comes_to_rest(switch: &impl Operated, nodes: &[u8], limit: Duration) {
    eventually("the switch comes to rest", limit, || {
        for node in nodes {
            let status = switch.api(*node).try_status()?;
            for counter in IDLE {
                let value = &status[counter];
                let zero = value.as_f64() == Some(0.0)
                    || value.as_str().and_then(|v| v.parse().ok()) == Some(0.0);
                if !zero {
                    return Err(format!("node {node}: {counter} is {value} in {status}"));
                }
            }
        }
        Ok(())
    });
}

/// Waits until all nodes show one `state_hash` at one `applied`, and asserts that none ever shows another hash for an
/// index that was seen before.
#[track_caller]
pub fn states_agree(switch: &impl Operated, limit: Duration) {
    let mut seen: BTreeMap<u64, Vec<(u8, String)>> = BTreeMap::new();
    eventually("one state on all nodes", limit, || {
        for node in 1..=NODES {
            let status = switch.api(node).try_status()?;
            let applied = status["applied"]
                .as_u64()
                .ok_or_else(|| status.to_string())?;
            let hash = status["state_hash"].to_string();
            let at = seen.entry(applied).or_default();
            if let Some((other, differs)) = at.iter().find(|(_, known)| *known != hash) {
                panic!("nodes {other} and {node} differ at {applied}: {differs} and {hash}");
            }
            if at.iter().all(|(known, _)| *known != node) {
                at.push((node, hash));
            }
            if at.len() == usize::from(NODES) {
                return Ok(());
            }
        }
        Err(format!("{seen:?}"))
    });
}
