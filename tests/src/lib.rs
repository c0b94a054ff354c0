//! The switch seen from outside.
//!
//! In goes the release binary, driven as an operator would: its command line, its admin API, its ports and files. On
//! its two sides stand programs that nobody here wrote: SIPp as a customer that places calls and as the phone that
//! rings. Out comes what can be seen there: SIPp's own counts and logs, the log of the platform simulator, the records
//! that each node exports, `/metrics`, `/proc`.
//!
//! This crate links no other room and repeats no arithmetic of theirs: [`rerate`] prices calls from the text of the
//! domain page alone, [`platform`] checks limits on the simulator's log alone.
//!
//! Start reading at [`switch`] (a cluster for one test), then [`sipp`] (the two sides), then any file of `tests/`.

pub mod apart;
pub mod api;
pub mod checks;
pub mod crowd;
pub mod ends;
pub mod foreign;
pub mod http;
pub mod neighbours;
pub mod operated;
pub mod platform;
pub mod process;
pub mod records;
pub mod rerate;
pub mod seed;
pub mod sipp;
pub mod switch;
pub mod talk;
pub mod wait;
pub mod wire;

pub use api::Api;
pub use operated::Operated;
pub use seed::Seed;
pub use sipp::{Finished, Sipp};
pub use switch::Switch;
pub use talk::{Outcome, Talk};
pub use wait::eventually;
