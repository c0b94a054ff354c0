//! The one sender for all vendors: a pooled HTTP session per interface, bounded in time, size, rate
//! and number of requests under way. It builds nothing and reads nothing itself, and it never
//! repeats a request: whoever holds the binding decides, and each attempt is signed anew.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use rand::Rng;
use thiserror::Error;

use crate::breaker::{self, Breaker};
use crate::bucket::Bucket;
use crate::definition::{Plan, Values};
use crate::description::Auth;
use crate::exchange::{Attempt, Method, Op, Request, Response};
use crate::interface::{Finding, Interface, Severity};
use crate::metrics;
use crate::outcome::{
    AxBind, Bind, BindOutcome, Class, Failure, Handle, Held, Outcome, Page, QueryOutcome,
    SetCalleeOutcome, UnbindOutcome,
};

/// The most bindings that [`Client::held_on`] lists; Huawei allows no more on one X.
pub const HELD_MAX: usize = 5_000;
/// How often [`Client::unbind`] asks a platform that counts equal binds.
pub const COUNT_MAX: u32 = 16;
/// Records that [`Client::query`] asks for one by one, where a platform lists ids alone.
pub const DETAILS_MAX: usize = 100;
/// How often [`Client::held_on`] waits for our own rate limit before it gives up; each wait is at
/// most a second.
const RATE_WAITS_MAX: u32 = 60;
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
        let http = session(interface).map_err(|source| InterfaceError::Session {
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

    /// Asks the platform to join A, X and B. After a failure whose class [`Class::may_hold`], the
    /// platform may hold the binding.
    pub async fn bind(&self, bind: &Bind) -> BindOutcome {
        let values = triple(bind, None);
        self.ask(Op::Bind, &values, |plan, response| {
            plan.read_bind(Op::Bind, response, &values)
        })
        .await
    }

    /// Asks the platform to release one binding. `numbers` serve vendors whose bindings have no
    /// id; a vendor with ids never unbinds by numbers. Where a platform counts equal binds it is
    /// asked until none is left, at most [`COUNT_MAX`] times.
    pub async fn unbind(&self, handle: &Handle, numbers: &Bind) -> UnbindOutcome {
        let values = triple(numbers, Some(handle));
        for _ in 0..COUNT_MAX {
            let Counted { outcome, left } = self
                .ask(Op::Unbind, &values, |plan, response| {
                    let (outcome, left, auth) = plan.read_unbind(Op::Unbind, response, &values);
                    (Counted { outcome, left }, auth)
                })
                .await;
            if outcome != UnbindOutcome::Released || left == 0 {
                return outcome;
            }
        }
        let text = format!("still bound after {COUNT_MAX} unbinds");
        UnbindOutcome::Failed(Failure::new(Class::Unknown, "too_many", text))
    }

    /// Asks what the platform holds for X with A and B. An empty A or B widens the question, and
    /// then the answer may be the first page only: all of X is [`Client::held_on`]. The way to
    /// learn what became of a bind that was lost; after a time-out ask twice with a pause, since
    /// the lost request may still be on its way.
    pub async fn query(&self, numbers: &Bind) -> QueryOutcome {
        let values = triple(numbers, None);
        let outcome = self
            .ask(Op::Query, &values, |plan, response| {
                plan.read_query(Op::Query, response, &values)
            })
            .await;
        match outcome {
            QueryOutcome::Found(held) if self.inner.plan.has(Op::QueryDetail) => {
                self.details(held, &values).await
            }
            outcome => outcome,
        }
    }

    /// The numbers of records that a platform has named by their ids alone, one request each.
    /// Records that are gone meanwhile, or are not what was asked for, are left out.
    async fn details(&self, ids: Vec<Held>, asked: &Values<'_>) -> QueryOutcome {
        if ids.len() > DETAILS_MAX {
            let text = format!("more than {DETAILS_MAX} bindings to be asked for one by one");
            return QueryOutcome::Failed(Failure::new(Class::Unknown, "too_many", text));
        }
        let mut found = Vec::new();
        for id in &ids {
            let values = Values {
                handle: Some(&id.handle),
                ..*asked
            };
            let detail: QueryOutcome = self
                .ask(Op::QueryDetail, &values, |plan, response| {
                    plan.read_query(Op::QueryDetail, response, &values)
                })
                .await;
            match detail {
                QueryOutcome::Found(held) => found.extend(held),
                QueryOutcome::None => {}
                QueryOutcome::Failed(failure) => return QueryOutcome::Failed(failure),
            }
        }
        if found.is_empty() {
            QueryOutcome::None
        } else {
            QueryOutcome::Found(found)
        }
    }

    /// Asks the platform to give X to A for good. That A has X already is success here: a relation
    /// has no other key than its numbers, so it is looked up and adopted, whoever made it (a second
    /// request, and another `timeout_ms` at most). If that fails the failure's class is
    /// `AlreadyBound`, and [`Client::ax_query`] can be asked again.
    ///
    /// After a failure whose class [`Class::may_hold`] the platform may hold the relation; `x` of
    /// the outcome may differ from the X asked for.
    pub async fn ax_bind(&self, bind: &AxBind) -> BindOutcome {
        let values = pair(bind, None);
        let outcome: BindOutcome = self
            .ask(Op::AxBind, &values, |plan, response| {
                plan.read_bind(Op::AxBind, response, &values)
            })
            .await;
        match outcome {
            BindOutcome::Failed(failure) if failure.class == Class::AlreadyBound => {
                self.adopt(bind, failure).await
            }
            outcome => outcome,
        }
    }

    async fn adopt(&self, bind: &AxBind, refusal: Failure) -> BindOutcome {
        match self.ax_query(bind).await {
            QueryOutcome::Found(mut held) => {
                let held = held.swap_remove(0);
                BindOutcome::Bound {
                    handle: held.handle,
                    x: held.x,
                    raw: format!("{refusal}, adopted"),
                }
            }
            QueryOutcome::None => BindOutcome::Failed(refusal),
            QueryOutcome::Failed(why) => {
                let text = format!("{}; query: {why}", refusal.text);
                BindOutcome::Failed(Failure::new(refusal.class, refusal.code, text))
            }
        }
    }

    /// Asks the platform to take X from A. By the handle, or by the numbers when it is empty.
    pub async fn ax_unbind(&self, handle: &Handle, numbers: &AxBind) -> UnbindOutcome {
        let values = pair(numbers, Some(handle));
        self.ask(Op::AxUnbind, &values, |plan, response| {
            let (outcome, _, auth) = plan.read_unbind(Op::AxUnbind, response, &values);
            (outcome, auth)
        })
        .await
    }

    /// Names the callee of A's next call to X, for the relation of the handle, or for X when it is
    /// empty. The platform keeps one callee per X, the last one named, for `callee_duration`
    /// seconds; nothing takes it back. So calls on one X are serial from here until the platform
    /// has taken the INVITE (DOMAIN §5).
    ///
    /// A request that was lost may still arrive: after a failure whose class [`Class::may_hold`]
    /// leave X alone for `timeout_ms`, or the late one names the next call's callee. `NotFound`
    /// means that the platform has no such relation.
    pub async fn set_callee(&self, handle: &Handle, numbers: &AxBind, b: &str) -> SetCalleeOutcome {
        let values = Values {
            b,
            ..pair(numbers, Some(handle))
        };
        self.ask(Op::SetCallee, &values, |plan, response| {
            plan.read_done(Op::SetCallee, response, &values)
        })
        .await
    }

    /// Asks whether the platform has given X to A. An empty A asks to whom X is given, an empty X
    /// what is given to A. `b` of what is found is empty.
    pub async fn ax_query(&self, numbers: &AxBind) -> QueryOutcome {
        let values = pair(numbers, None);
        let outcome = self
            .ask(Op::AxQuery, &values, |plan, response| {
                plan.read_query(Op::AxQuery, response, &values)
            })
            .await;
        match outcome {
            QueryOutcome::Found(held) if self.inner.plan.has(Op::QueryDetail) => {
                let mut outcome = self.details(held, &values).await;
                if let QueryOutcome::Found(held) = &mut outcome {
                    held.iter_mut().for_each(|held| held.b.clear());
                }
                outcome
            }
            outcome => outcome,
        }
    }

    /// Asks for every AXB binding that the platform holds on X, all pages of at most [`HELD_MAX`];
    /// more are the failure `too_many`. Static relations are none of them: see
    /// [`Client::ax_query`].
    ///
    /// One request a page, each within `timeout_ms`; a page that our own rate limit holds back
    /// waits for it. The list is no snapshot: a binding released meanwhile may hide another one
    /// that moves to a page already read, so confirm with [`Client::query`] that one is missing
    /// before acting on it.
    pub async fn held_on(&self, x: &str) -> QueryOutcome {
        let mut held: Vec<Held> = Vec::new();
        let mut seen: BTreeSet<Handle> = BTreeSet::new();
        let mut rows = 0;
        for number in 1.. {
            let page = match self.page(x, number).await {
                Ok(page) => page,
                Err(failure) => return QueryOutcome::Failed(failure),
            };
            rows += page.rows;
            if rows > HELD_MAX || page.total.is_some_and(|total| total > HELD_MAX) {
                let text = format!("more than {HELD_MAX} bindings on one x");
                return QueryOutcome::Failed(Failure::new(Class::Permanent, "too_many", text));
            }
            let before = held.len();
            for one in page.held {
                if seen.insert(one.handle.clone()) {
                    held.push(one);
                }
            }
            if page.rows > 0 && held.len() == before {
                let text = format!("page {number} repeats earlier ones or has no ids");
                return QueryOutcome::Failed(Failure::new(Class::Unknown, "unreadable", text));
            }
            let last = match page.total {
                Some(total) => rows >= total,
                None => page.rows < self.inner.plan.page_rows(),
            };
            if last || page.rows == 0 {
                break;
            }
        }
        if held.is_empty() {
            QueryOutcome::None
        } else {
            QueryOutcome::Found(held)
        }
    }

    /// One page of a list, after waiting for our own rate limit where needed.
    async fn page(&self, x: &str, page: u32) -> Result<Page, Failure> {
        let mut waits = 0;
        let values = Values {
            x,
            page,
            ..Values::default()
        };
        loop {
            let page: Result<Page, Failure> = self
                .ask(Op::XQuery, &values, |plan, response| {
                    plan.read_page(Op::XQuery, response, &values)
                })
                .await;
            match page {
                Err(failure) if failure.code == RATE_LIMIT && waits < RATE_WAITS_MAX => {
                    waits += 1;
                    let wait_ms = failure.wait_ms.unwrap_or(1).clamp(1, 1_000);
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                }
                page => return page,
            }
        }
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
        match self.send(request).await {
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

    async fn send(&self, request: Request) -> Result<Response, Failure> {
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut builder = self.inner.http.request(method, &request.url);
        for (name, value) in request.headers {
            builder = builder.header(&*name, value);
        }
        if !request.body.is_empty() {
            builder = builder.body(request.body);
        }
        let mut response = builder.send().await.map_err(classify)?;
        let status = response.status().as_u16();
        let most = self.inner.response_bytes_max;
        let too_large = || {
            let text = format!("http {status} with more than {most} bytes");
            Failure::new(Class::Unknown, "too_large", text)
        };
        if response
            .content_length()
            .is_some_and(|length| length > most as u64)
        {
            return Err(too_large());
        }
        let headers = self.inner.plan.answer_headers().iter().filter_map(|name| {
            let value = response.headers().get(&**name)?.to_str().ok()?;
            Some((Arc::clone(name), value.to_owned()))
        });
        let headers = headers.collect();
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(classify)? {
            if body.len() + chunk.len() > most {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        let body: Bytes = body.freeze();
        Ok(Response {
            status,
            headers,
            body,
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

/// An unbind at a platform that may count.
struct Counted {
    outcome: UnbindOutcome,
    left: u32,
}

impl Outcome for Counted {
    fn failed(failure: Failure) -> Counted {
        Counted {
            outcome: UnbindOutcome::Failed(failure),
            left: 0,
        }
    }

    fn word(&self) -> &'static str {
        self.outcome.word()
    }
}

fn triple<'a>(numbers: &'a Bind, handle: Option<&'a Handle>) -> Values<'a> {
    Values {
        a: &numbers.a,
        x: &numbers.x,
        b: &numbers.b,
        own_id: &numbers.own_id,
        handle,
        page: 0,
    }
}

fn pair<'a>(numbers: &'a AxBind, handle: Option<&'a Handle>) -> Values<'a> {
    Values {
        a: &numbers.a,
        x: &numbers.x,
        b: "",
        own_id: &numbers.own_id,
        handle,
        page: 0,
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

fn session(interface: &Interface) -> reqwest::Result<reqwest::Client> {
    // The session builder wants a provider even for plain http. A program that installed its own
    // keeps it; losing the race to another thread means that there is one now.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("tandem/", env!("CARGO_PKG_VERSION")))
        .timeout(Duration::from_millis(interface.timeout_ms))
        .connect_timeout(Duration::from_millis(interface.connect_timeout_ms))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .tcp_nodelay(true)
        .referer(false);
    builder = match interface.idle_ms {
        0 => builder.pool_max_idle_per_host(0),
        idle_ms => builder
            .pool_idle_timeout(Duration::from_millis(idle_ms))
            .pool_max_idle_per_host(usize::try_from(interface.in_flight_max).unwrap_or(1000)),
    };
    let operations = &interface.vendor.describe().operations;
    let any_tls = operations
        .iter()
        .any(|operation| interface.url(operation.op).starts_with("https:"));
    if let Some(pem) = &interface.ca_pem {
        builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem.as_bytes())?);
    } else if !any_tls {
        // A machine without certificates must still reach a platform over plain http.
        builder = builder.tls_certs_only([]);
    }
    if !interface.tls_verify {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    builder.build()
}

/// A sending error as a failure. Only an error while connecting proves that nothing was applied.
fn classify(error: reqwest::Error) -> Failure {
    // The URL holds numbers.
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    let (class, code) = if error.is_connect() {
        (Class::NotSent, "connect")
    } else if error.is_builder() {
        (Class::Config, "url")
    } else if error.is_timeout() {
        (Class::Unknown, "timeout")
    } else {
        (Class::Unknown, "reset")
    };
    Failure::new(class, code, text)
}
