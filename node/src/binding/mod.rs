//! One binding at a platform: the pure machine and the actor around it.

pub mod actor;
pub mod machine;
