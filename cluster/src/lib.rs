//! One state on three or more nodes.
//!
//! Commands go in ([`command::Command`]); the same state on every node, a reply to the proposer and effects come out.
//! The pure part is [`state`]: `State::apply(at, seed, command, biller)` decides everything, with time and
//! randomness taken from the log entry, so that all nodes choose alike. Around it stand the log on disk, the
//! consensus and the links between nodes. This room knows no SIP, no platform's HTTP, no price arithmetic (that is
//! lent to it as [`command::Biller`]) and no actor.
//!
//! Start reading at [`command`], then [`state`].

pub mod backup;
mod beside;
pub mod codec;
pub mod command;
pub mod dial_rules;
pub mod entity;
pub mod frozen;
pub mod handle;
pub mod level;
pub mod link;
pub mod metrics;
mod raft;
pub mod regions;
pub mod state;
pub mod wal;
