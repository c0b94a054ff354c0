//! Number platforms ("X platforms"): a wanted binding goes in, a signed HTTP request goes out, and
//! its response comes back as bound, released, found or a classified [`Failure`]. The other half of
//! the room is [`sim`], a simulator of those platforms for tests, demo and development.
//!
//! This room never chooses numbers, never sends a request twice, never remembers a binding between
//! two requests and never decides what a failure means for a call: it names the [`Class`] and the
//! caller decides.
//! It knows no other room.
//!
//! Where to start reading: [`Interface`] (what is configured), [`Client`] (what is called),
//! [`definition`] (a vendor as one file: how requests are made and signed, what answers mean; all
//! pure), [`client`] (the one sender for all vendors).

pub mod breaker;
pub mod bucket;
pub mod client;
pub mod definition;
pub mod description;
pub mod exchange;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod interface;
pub mod journal;
pub mod mask;
pub mod metrics;
pub mod numbers;
pub mod outcome;
pub mod policy;
pub mod sim;
pub mod skew;

#[cfg(test)]
mod damage;

pub use client::{Client, InterfaceError};
pub use definition::{Catalogue, Definition};
pub use interface::{Finding, HttpVersion, Interface, Severity, Vendor};
pub use outcome::{
    AxBind, Bind, BindOutcome, Class, Failure, Handle, Held, Kind, QueryOutcome, Service,
    SetCalleeOutcome, UnbindOutcome,
};
pub use policy::{Conflict, Handling, Policy, Recovery, Retry};
