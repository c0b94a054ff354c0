//! The one sender for all vendors: a pooled HTTP session per interface, bounded in time, size, rate
//! and number of requests under way. It builds nothing and reads nothing itself, and it never
//! repeats a request: whoever holds the binding decides, and each attempt is signed anew.
//!
//! What is asked lies beside it, a file a matter: AXB bindings, AX relations. The session itself,
//! bytes and time-outs, is `http`.

mod bindings;
mod http;
mod local;
mod push;
mod relations;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::Rng;
use thiserror::Error;

pub use self::bindings::{COUNT_MAX, DETAILS_MAX, HELD_MAX};
use crate::breaker::{self, Breaker};
use crate::bucket::Bucket;
use crate::definition::{Plan, Values};
use crate::description::Auth;
use crate::exchange::{Attempt, Op, Request, Response};
use crate::interface::{Finding, Interface, Severity};
use crate::metrics;
use crate::outcome::{Class, Failure, Outcome};

/// The code of a failure by our own rate limit.
const RATE_LIMIT: &str = "rate_limit";

/// Why an interface cannot be used at all.
#[derive(Debug, Error)]
pub enum InterfaceError {
    /// [`Interface::check`] found errors.
    #[error("interface \"{name}\" cannot work: {}", list(.mistakes))]
    Mistakes {
        /// The interface.
        name: String,
        /// The errors, without the warnings.
        mistakes: Vec<Finding>,
    },
    /// No HTTP session could be made of it: bad PEM, or no trusted roots on this machine.
    #[error("interface \"{name}\" gets no http session")]
    Session {
        /// The interface.
        name: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
}

fn list(mistakes: &[Finding]) -> String {
    let texts: Vec<_> = mistakes.iter().map(Finding::to_string).collect();
    texts.join("; ")
}

/// The session of one interface; cheap to clone, all clones share it. Make one per interface and
/// node, and a new one when the interface changes.
///
/// Every call needs a tokio runtime with time and I/O, takes at most `timeout_ms`, and may be
/// dropped at any moment (the platform may then hold what was asked, as after a time-out).
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    plan: Plan,
    http: reqwest::Client,
    response_bytes_max: usize,
    in_flight: AtomicU32,
    in_flight_max: u32,
    born: Instant,
    gate: Mutex<Gate>,
}

struct Gate {
    breaker: Breaker,
    bucket: Option<Bucket>,
}

impl Client {
    /// The session of an interface. Nothing is sent yet.
    ///
    /// # Errors
    /// When the interface cannot work; warnings of [`Interface::check`] are no reason.
    pub fn new(interface: &Interface) -> Result<Client, InterfaceError> {
        let mut mistakes = interface.check();
        mistakes.retain(|f| f.severity == Severity::Error);
        if !mistakes.is_empty() {
            let name = interface.name.clone();
            return Err(InterfaceError::Mistakes { name, mistakes });
        }
        let http = http::session(interface).map_err(|source| InterfaceError::Session {
            name: interface.name.clone(),
            source,
        })?;
        let rate_per_s = interface
            .rate_per_s
            .or(interface.vendor.handling().rate_per_s);
        metrics::breaker(&interface.name, false);
        Ok(Client {
            inner: Arc::new(Inner {
                name: interface.name.clone(),
                plan: Plan::new(interface),
                http,
                response_bytes_max: interface.response_bytes_max,
                in_flight: AtomicU32::new(0),
                in_flight_max: interface.in_flight_max,
                born: Instant::now(),
                gate: Mutex::new(Gate {
                    breaker: Breaker::new(interface.breaker, interface.timeout_ms),
                    bucket: rate_per_s.map(|rate| Bucket::new(rate, 0)),
                }),
            }),
        })
    }

    /// One request and its answer, or why there is none; counted either way.
    async fn ask<T: Outcome>(
        &self,
        op: Op,
        values: &Values<'_>,
        read: impl FnOnce(&Plan, &Response) -> (T, Auth),
    ) -> T {
        let plan = &self.inner.plan;
        let exchanged = self
            .exchange(op, |attempt| plan.build(op, values, attempt))
            .await;
        let (outcome, sent_for) = match exchanged {
            Ok((response, sent_for)) => {
                let (outcome, auth) = read(plan, &response);
                self.note(breaker::Result::Answered(auth));
                (outcome, Some(sent_for))
            }
            Err((failure, sent_for)) => (T::failed(failure), sent_for),
        };
        metrics::request(&self.inner.name, op, outcome.word(), sent_for);
        outcome
    }

    /// Whether the circuit breaker holds requests back now.
    pub fn breaker_open(&self) -> bool {
        self.gate(|gate, _| gate.breaker.is_open())
    }

    /// Builds, admits and sends one request. The time is absent when nothing was sent.
    async fn exchange(
        &self,
        op: Op,
        build: impl FnOnce(&Attempt) -> Result<Request, Failure>,
    ) -> Result<(Response, Duration), (Failure, Option<Duration>)> {
        let request = build(&attempt()).map_err(|failure| (failure, None))?;
        let _place = self.enter().map_err(|failure| (failure, None))?;
        let started = Instant::now();
        match http::send(&self.inner, request).await {
            Ok(response) => Ok((response, started.elapsed())),
            Err(failure) => {
                let result = match failure.class {
                    Class::NotSent => breaker::Result::ConnectFailed,
                    _ => breaker::Result::Lost,
                };
                self.note(result);
                tracing::debug!(
                    interface = %self.inner.name, op = op.word(), code = %failure.code,
                    class = %failure.class, "request to platform failed"
                );
                Err((failure, Some(started.elapsed())))
            }
        }
    }

    /// A place among the requests under way, if breaker and rate limit allow one.
    fn enter(&self) -> Result<Place<'_>, Failure> {
        let place = Place(&self.inner.in_flight);
        if self.inner.in_flight.fetch_add(1, Ordering::Relaxed) >= self.inner.in_flight_max {
            let text = "too many requests under way";
            return Err(Failure::new(Class::Throttled, "in_flight", text));
        }
        self.gate(|gate, now_ms| {
            // The rate comes first: a breaker that let its probe pass must see it sent.
            if let Some(bucket) = &mut gate.bucket
                && let Err(wait_ms) = bucket.take(now_ms)
            {
                let failure = Failure::new(Class::Throttled, RATE_LIMIT, "our own rate limit");
                return Err(failure.wait(wait_ms));
            }
            if let Err((why, wait_ms)) = gate.breaker.admit(now_ms) {
                let failure = Failure::new(Class::VendorDown, "breaker", why.words());
                return Err(failure.wait(wait_ms));
            }
            Ok(place)
        })
    }

    fn note(&self, result: breaker::Result) {
        let (before, after) = self.gate(|gate, now_ms| {
            let before = gate.breaker.is_open();
            gate.breaker.note(result, now_ms);
            (before, gate.breaker.is_open())
        });
        if before != after {
            metrics::breaker(&self.inner.name, after);
            if after {
                tracing::warn!(interface = %self.inner.name, ?result, "breaker opened");
            } else {
                tracing::info!(interface = %self.inner.name, "breaker closed");
            }
        }
    }

    fn gate<T>(&self, with: impl FnOnce(&mut Gate, u64) -> T) -> T {
        let now_ms = u64::try_from(self.inner.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Breaker and bucket are valid after every statement, so a panic elsewhere spoils nothing.
        let mut gate = self
            .inner
            .gate
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        with(&mut gate, now_ms)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("interface", &self.inner.name)
            .field("in_flight", &self.inner.in_flight)
            .finish_non_exhaustive()
    }
}

/// Gives the place among the requests under way back, also when the request is dropped.
struct Place<'a>(&'a AtomicU32);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn attempt() -> Attempt {
    let nonce: [u8; 16] = rand::rng().random();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Attempt {
        now_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        nonce: hex::encode_upper(nonce),
    }
}
