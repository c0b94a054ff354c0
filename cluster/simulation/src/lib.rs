//! A world in one thread: machines with clocks and disks of their own, and a network between them, all made up from a
//! seed. The switch's real code runs on them; a run can be repeated exactly, to the last message.
//!
//! - [`world`]: the machines and their time. Each has a runtime of its own, whose clock is stopped and moved on by the
//!   world, so a machine can be killed, paused, and given a clock that runs fast or steps.
//! - [`net`]: connections between machines: slow, cut in one direction or both, broken.
//! - The disks are [`tandem_cluster::wal::SimDisk`]: a loss of power takes what was not synced.
//! - [`entropy`]: what the process takes for randomness of the system is drawn from the seed. This is what makes hash
//!   maps, `select!` and the libraries' own generators do the same thing twice.
//! - [`runner`]: a process a seed, many of them, and how to repeat one.
//! - [`trace`]: everything that happened, as text and as a hash.
//!
//! What this never does: decide what is right. A scenario lays the faults and checks the outcome; the cluster's is the
//! program `simulate` of this package.

pub mod entropy;
pub mod net;
pub mod runner;
pub mod trace;
pub mod world;

pub use net::SimNet;
pub use world::{Death, World};
