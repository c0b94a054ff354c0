//! The consensus library behind a wall: nothing outside this folder names its types.
//!
//! What lies on disk and what travels are our own types ([`crate::wal::record`], [`wire`]); [`types`] converts. The
//! library is given a log ([`store`]), a state machine that keeps the state behind a [`machine::Driver`], and a
//! network ([`network`] asks, [`serve`] answers). Entries carry a [`batch`] of commands that the leader encoded once;
//! those bytes go unchanged to its disk and to the followers.

pub(crate) mod batch;
#[cfg(test)]
mod frozen;
pub(crate) mod machine;
pub(crate) mod network;
pub(crate) mod serve;
pub(crate) mod snapshot;
pub(crate) mod store;
#[cfg(test)]
mod tests;
pub(crate) mod time;
pub(crate) mod types;
pub(crate) mod wire;

pub(crate) use types::{Payload, TypeConfig};

/// The library's handle.
pub(crate) type Raft = openraft::Raft<TypeConfig, machine::StateMachine>;
