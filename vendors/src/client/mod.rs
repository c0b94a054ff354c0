//! The one sender for all vendors: a pooled HTTP session per interface, bounded in time, size, rate
//! and number of requests under way. It builds nothing and reads nothing itself, and it never
//! repeats a request: whoever holds the binding decides, and each attempt is signed anew, by the
//! platform's clock as far as its answers have told it.
//!
//! What is asked lies beside it, a file a matter: AXB bindings, AX relations. The session itself,
//! bytes and time-outs, is `http`; what is remembered of exchanges, `record`.

mod bindings;
mod http;
mod local;
mod outside;
mod push;
mod record;
mod relations;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::Rng;
use thiserror::Error;
use tokio::time::Instant;

pub use self::bindings::{COUNT_MAX, DETAILS_MAX, HELD_MAX};
use self::http::Session;
pub use self::outside::{Carried, Carrying, Lost, Outside};
pub use self::record::Tap;
use self::record::{Dated, Seen};
use crate::breaker::{self, Breaker};
use crate::bucket::Bucket;
use crate::definition::{Plan, Values};
use crate::description::Auth;
use crate::exchange::{Attempt, Op, Request, Response};
use crate::interface::{Finding, Interface, Severity};
use crate::journal::Journal;
use crate::mask::Masker;
use crate::metrics;
use crate::outcome::{Class, Failure, Outcome};
use crate::skew::{GRAIN_MS, Skew};

/// The code of a failure by our own rate limit.
const RATE_LIMIT: &str = "rate_limit";
/// A request that is refused while its date is in question is sent so many times more: a clock that has jumped is believed
/// when a second answer says the same.
const REDATED_MAX: u32 = 2;

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
/// node, and a new one when the interface changes ([`Client::renewed`]).
///
/// Every call needs a tokio runtime with time and I/O, takes at most `timeout_ms` for each request
/// it sends (one, and up to two more while the platform refuses it for its date), and may be
/// dropped at any moment (the platform may then hold what was asked, as after a time-out).
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    /// Hears of every exchange of this clone.
    tap: Option<Tap>,
}

struct Inner {
    name: String,
    plan: Plan,
    session: Session,
    /// Without its password.
    proxy: Option<String>,
    response_bytes_max: usize,
    in_flight: AtomicU32,
    in_flight_max: u32,
    rate_per_s: Option<u32>,
    /// How many nodes share the rate.
    nodes: AtomicU32,
    born: Instant,
    gate: Mutex<Gate>,
    masker: Masker,
    /// Outlives the client when its interface is edited.
    journal: Arc<Mutex<Journal>>,
}

struct Gate {
    breaker: Breaker,
    bucket: Option<Bucket>,
    skew: Skew,
}

/// How an interface does on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Why the circuit breaker holds requests back, if it does.
    pub breaker: Option<&'static str>,
    /// What is added to our clock in its requests, in milliseconds.
    pub clock_offset_ms: i64,
    /// Requests under way.
    pub in_flight: u32,
    /// This node's share of the rate limit in thousandths of a request a second.
    pub rate_milli: Option<u64>,
}

impl Client {
    /// The session of an interface. Nothing is sent yet.
    ///
    /// # Errors
    /// When the interface cannot work; warnings of [`Interface::check`] are no reason.
    pub fn new(interface: &Interface) -> Result<Client, InterfaceError> {
        Client::made(interface, http::session(interface), Arc::default())
    }

    /// The session of an interface in another world than this machine's. Proxy, certificates and
    /// what else there is to a connection are the other world's matter.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn through(
        interface: &Interface,
        outside: Arc<dyn Outside>,
    ) -> Result<Client, InterfaceError> {
        let session = Session::lent(interface, outside);
        Client::made(interface, Ok(session), Arc::default())
    }

    /// The session of the same interface after an edit: what was written of its exchanges stays.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn renewed(&self, interface: &Interface) -> Result<Client, InterfaceError> {
        let session = match &self.inner.session {
            Session::Pooled(_) => http::session(interface),
            Session::Lent { outside, .. } => Ok(Session::lent(interface, Arc::clone(outside))),
        };
        let client = Client::made(interface, session, Arc::clone(&self.inner.journal))?;
        client.share(self.inner.nodes.load(Ordering::Relaxed));
        Ok(client)
    }

    fn made(
        interface: &Interface,
        session: reqwest::Result<Session>,
        journal: Arc<Mutex<Journal>>,
    ) -> Result<Client, InterfaceError> {
        let mut mistakes = interface.check();
        mistakes.retain(|f| f.severity == Severity::Error);
        if !mistakes.is_empty() {
            let name = interface.name.clone();
            return Err(InterfaceError::Mistakes { name, mistakes });
        }
        let session = session.map_err(|source| InterfaceError::Session {
            name: interface.name.clone(),
            source,
        })?;
        let rate_per_s = interface.rate_limit();
        metrics::breaker(&interface.name, false);
        metrics::clock(&interface.name, 0);
        if !interface.tls_verify {
            tracing::warn!(
                interface = %interface.name,
                "certificate of the platform is not verified: anybody on the way can read and change requests"
            );
        }
        Ok(Client {
            inner: Arc::new(Inner {
                name: interface.name.clone(),
                plan: Plan::new(interface),
                session,
                proxy: interface.proxy_shown(),
                response_bytes_max: interface.response_bytes_max,
                in_flight: AtomicU32::new(0),
                in_flight_max: interface.in_flight_max,
                rate_per_s,
                nodes: AtomicU32::new(1),
                born: Instant::now(),
                gate: Mutex::new(Gate {
                    breaker: Breaker::new(interface.breaker, interface.timeout_ms),
                    bucket: rate_per_s.map(|rate| Bucket::new(rate, 1, 0)),
                    skew: Skew::default(),
                }),
                masker: Masker::new(interface),
                journal,
            }),
            tap: None,
        })
    }

    /// So many nodes share the interface's rate, this one among them.
    pub fn share(&self, nodes: u32) {
        let nodes = nodes.max(1);
        if self.inner.nodes.swap(nodes, Ordering::Relaxed) == nodes {
            return;
        }
        let Some(rate) = self.inner.rate_per_s else {
            return;
        };
        self.gate(|gate, now_ms| {
            if let Some(bucket) = &mut gate.bucket {
                bucket.share(rate, nodes, now_ms);
            }
        });
    }

    /// How the interface does on this node, now.
    pub fn health(&self) -> Health {
        let nodes = u64::from(self.inner.nodes.load(Ordering::Relaxed));
        let rate = self.inner.rate_per_s.map(u64::from);
        self.gate(|gate, _| Health {
            breaker: gate.breaker.why().map(breaker::Why::words),
            clock_offset_ms: gate.skew.offset_ms(),
            in_flight: self.inner.in_flight.load(Ordering::Relaxed),
            rate_milli: rate.map(|rate| rate * 1_000 / nodes),
        })
    }

    /// One request and its answer, or why there is none; sent again when it was refused for its date alone, as far as
    /// anybody can tell: the refusal says what time it is at the platform, and what was refused has changed nothing.
    async fn ask<T: Outcome>(
        &self,
        op: Op,
        values: &Values<'_>,
        read: impl Fn(&Plan, &Response) -> (T, Auth),
    ) -> T {
        for _ in 0..REDATED_MAX {
            let (outcome, misdated) = self.ask_once(op, values, &read, true).await;
            if !misdated {
                return outcome;
            }
        }
        self.ask_once(op, values, &read, false).await.0
    }

    /// One request and its answer, counted either way, and whether it may have been refused for its date alone.
    async fn ask_once<T: Outcome>(
        &self,
        op: Op,
        values: &Values<'_>,
        read: impl Fn(&Plan, &Response) -> (T, Auth),
        again: bool,
    ) -> (T, bool) {
        let plan = &self.inner.plan;
        let mut seen = Seen::default();
        let exchanged = self
            .exchange(op, &mut seen, |attempt| plan.build(op, values, attempt))
            .await;
        let mut misdated = false;
        let outcome = match exchanged {
            Ok(response) => {
                let (outcome, auth) = read(plan, &response);
                misdated = auth == Auth::Refused
                    && match seen.dated {
                        Dated::Well => false,
                        Dated::Wrongly => true,
                        Dated::Doubtfully => again,
                    };
                // Then it says nothing of our credentials: the next one tells.
                let auth = if misdated { Auth::Fine } else { auth };
                self.note(breaker::Result::Answered(auth));
                seen.body = Some(response.body);
                outcome
            }
            Err(failure) => T::failed(failure),
        };
        metrics::request(&self.inner.name, op, outcome.word(), seen.took);
        self.record(op, &outcome, seen);
        (outcome, misdated)
    }

    /// Whether the circuit breaker holds requests back now.
    pub fn breaker_open(&self) -> bool {
        self.gate(|gate, _| gate.breaker.is_open())
    }

    /// Builds, admits and sends one request, and notes in `seen` what became of it on the way.
    async fn exchange(
        &self,
        op: Op,
        seen: &mut Seen,
        build: impl FnOnce(&Attempt) -> Result<Request, Failure>,
    ) -> Result<Response, Failure> {
        let offset_ms = self.gate(|gate, _| gate.skew.offset_ms());
        seen.clock_offset_ms = offset_ms;
        let session = &self.inner.session;
        seen.at_ms = session.wall_ms();
        let attempt = Attempt {
            now_ms: seen.at_ms.saturating_add_signed(offset_ms),
            nonce: hex::encode_upper(session.nonce()),
        };
        let request = seen.request.insert(build(&attempt)?);
        let _place = self.enter()?;
        let started = Instant::now();
        let sent = http::send(&self.inner, request, &mut seen.head).await;
        seen.took = Some(started.elapsed());
        if let Some(head) = &seen.head
            && let Some(date_ms) = head.date_ms()
        {
            seen.dated = self.note_clock(date_ms, seen.at_ms, head.read_ms);
        }
        if let Err(failure) = &sent {
            let result = match failure.class {
                Class::NotSent => breaker::Result::ConnectFailed,
                _ => breaker::Result::Lost,
            };
            self.note(result);
            tracing::debug!(
                interface = %self.inner.name, op = op.word(), code = %failure.code,
                class = %failure.class, "request to platform failed"
            );
        }
        sent
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

    /// What an answer tells about the platform's clock, and so of the date of its request.
    fn note_clock(&self, date_ms: u64, sent_ms: u64, read_ms: u64) -> Dated {
        let (before, after, contested) = self.gate(|gate, _| {
            let before = gate.skew.offset_ms();
            gate.skew.note(date_ms, sent_ms, read_ms);
            (before, gate.skew.offset_ms(), gate.skew.is_contested())
        });
        if before != after {
            metrics::clock(&self.inner.name, after);
            // It moves a little with every answer that makes it finer; that is no news.
            if (before == 0) != (after == 0) {
                tracing::warn!(
                    interface = %self.inner.name, offset_ms = after,
                    "clock of the platform differs from ours; requests are dated by it"
                );
            }
        }
        if before.abs_diff(after) > GRAIN_MS.unsigned_abs() {
            Dated::Wrongly
        } else if contested {
            Dated::Doubtfully
        } else {
            Dated::Well
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

/// Our clock, in milliseconds since 1970.
fn wall_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

fn nonce() -> [u8; 16] {
    rand::rng().random()
}
