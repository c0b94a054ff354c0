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
mod random;
mod random_edits;
mod records;
mod rules;
mod steps;
mod world;
