//! The simulator without sockets, threads, clock and chance of its own, for simulations of the
//! whole switch under one seed: the same table, the same dialect, the same faults.

use std::collections::BTreeMap;

use super::faults::{Faults, Gate};
use super::http::{Next, decide};
use super::huawei::Huawei;
use super::log::{Line, Log};
use super::sip::Route;
use super::vendor::{Answer, Call};
use super::{Binding, Counter, Credentials, Platform, bindings_at, carrier};

/// The word of the one vendor.
const WORD: &str = "huawei";

/// One application at Huawei's platform, the reference.
#[derive(Debug)]
pub struct Model(Platform);

/// What a request meets. Its effect has taken place already.
#[derive(Clone, Debug, PartialEq)]
pub enum Answered {
    /// This answer, so many milliseconds later.
    After(u64, Answer),
    /// A cut connection, so many milliseconds later.
    Cut(u64),
}

impl Model {
    /// An application without bindings; `run` tells its ids from those of other runs.
    pub fn new(credentials: Credentials, run: u32) -> Model {
        let counter = Counter {
            vendor: Box::new(Huawei::numbered(credentials, run)),
            gate: Gate::default(),
            desk: None,
        };
        Model(Platform {
            vendors: BTreeMap::from([(WORD, counter)]),
            asking: BTreeMap::new(),
            log: Log::here(),
        })
    }

    /// Serves a request at a time in Unix milliseconds; `rolls` are two uniform draws from 0 to 1,
    /// by which the faults that happen sometimes happen.
    pub fn ask(&mut self, call: &Call, now_ms: u64, rolls: [f64; 2]) -> Answered {
        match decide(&mut self.0, WORD, call, now_ms, rolls) {
            Some(Next::Answer { answer, after_ms }) => Answered::After(after_ms, answer),
            Some(Next::Cut { after_ms }) => Answered::Cut(after_ms),
            None => unreachable!("the one vendor is there"),
        }
    }

    /// Where a call from one number to another goes.
    pub fn route(&mut self, from: &str, x: &str, now_ms: u64) -> Option<Route> {
        carrier(&mut self.0, from, x, now_ms).map(|(_, found)| found.route)
    }

    /// The live bindings and relations, oldest first.
    pub fn bindings(&mut self, now_ms: u64) -> Vec<Binding> {
        bindings_at(&mut self.0, now_ms)
    }

    /// Replaces the faults.
    pub fn set_faults(&mut self, faults: Faults) {
        if let Some(gate) = self.0.gate(WORD) {
            gate.set(faults);
        }
    }

    /// A line for each request since they were last taken.
    pub fn take_lines(&mut self) -> Vec<Line> {
        self.0.log.take()
    }
}
