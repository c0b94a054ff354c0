//! What people and Prometheus see of the switch.
//!
//! In go requests of the admin API, lines typed at a terminal and seed files; out come commands for the cluster, rows
//! as JSON, tables on a terminal, metrics and log lines. This room decides nothing about calls, numbers or money: it
//! turns what people write into [`tandem_cluster::command::Command`]s and shows what the state and the store of
//! records hold.
//!
//! Start reading at [`switch`], the one thing it needs from the process.

pub mod api;
pub mod cli;
pub mod dto;
pub mod exchange;
#[cfg(test)]
mod fake;
mod gauges;
pub mod import;
pub mod log;
pub mod membership;
pub mod metrics;
pub mod plan;
pub mod platform;
pub mod reconciliation;
mod rows;
pub mod seed;
pub mod sheet;
pub mod switch;
pub mod types;
mod warnings;
