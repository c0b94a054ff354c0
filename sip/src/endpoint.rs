//! One shard of the signalling core: transactions, dialogs and legs over one timing wheel.

mod config;

pub use config::{Admission, Advertised, Config, Counts, Output};
