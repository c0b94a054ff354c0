//! One call: the pure machine, the actor around it, and the words for its end.

pub mod actor;
pub mod legs;
pub mod machine;
pub mod reason;
mod words;
