//! The replicated state, seen through its commands.

mod admission;
mod ax;
mod bindings;
mod claims;
mod edits;
mod histories;
mod imports;
mod ledger;
mod money;
mod numbers;
mod operators;
mod random;
mod random_edits;
mod records;
mod rules;
mod scenario;
mod steps;
mod world;
