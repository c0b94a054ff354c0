//! The replicated state, seen through its commands.

mod admission;
mod ax;
mod bindings;
mod claims;
mod edits;
mod explain;
mod frozen;
mod histories;
mod imports;
mod ledger;
mod levels;
mod money;
mod numbers;
mod numbers_domain;
mod operators;
mod random;
mod random_edits;
mod random_world;
mod records;
mod rules;
mod scenario;
mod steps;
mod trials;
mod world;
