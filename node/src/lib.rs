//! One process of the switch: configuration, start and stop, the call machine and its actors.
//!
//! This room joins the others: legs of `tandem-sip`, numbers and tenures of `tandem-cluster`, requests to platforms of
//! `tandem-vendors`, prices and records of `tandem-billing`, the admin API of `tandem-ops`. It converts between their
//! types at its border ([`biller`], [`platforms`], [`shard`]) and decides nothing that two nodes must agree on.
//!
//! Start reading at [`call::machine`] (the life of a call) and [`binding::machine`] (of a binding), then [`start`],
//! which shows the whole process from top to bottom.

pub mod ax;
pub mod backup;
pub mod barrier;
pub mod biller;
pub mod binding;
pub mod call;
pub mod callbacks;
pub mod chance;
pub mod check;
pub mod clock;
pub mod codec;
pub mod config;
pub mod core;
pub mod demo;
pub mod dev;
pub mod device;
#[cfg(test)]
mod frozen;
pub mod handover;
pub mod members;
pub mod metrics;
pub mod outbox;
mod pace;
pub mod parts;
pub mod pause;
pub mod peer;
pub mod platforms;
pub mod pool;
pub mod questions;
pub mod reconcile;
pub mod shard;
pub mod start;
pub mod strays;
pub mod switch;
pub mod trial;
pub mod types;
pub mod vendor;
#[cfg(test)]
mod world;
