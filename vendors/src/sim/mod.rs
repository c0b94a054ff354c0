//! The platform simulator: the HTTP side of every supported vendor and a SIP side that turns a call
//! A→X into a call X→B. Tests, the demo and development clusters use it; so may anybody who wants
//! to try a switch against a platform.
//!
//! It shares no code with the client where they could agree on a mistake: signatures are parsed
//! and recomputed in [`auth`] and each file of [`dialects`], requests are validated against the
//! vendor's tables in [`huawei`] and there, and SIP is relayed by a small rewriting proxy ([`sip`]) that is not the switch's own
//! stack. Only the notation of numbers ([`crate::numbers`]) is common.
//!
//! ```text
//! http.rs ──▶ vendor.rs: huawei (auth.rs) ──▶ faults.rs ──▶ table.rs, relations.rs ◀── sip/driver.rs ◀── sip/proxy.rs
//! (actix)                dialects, common                     └──▶ log.rs               (a thread)
//!                                                                  push/ (a thread) ◀─────┘
//! ```
//! Vendors that tell their customers of calls do so in [`push`], if they are given an address, and
//! those that store nothing ask them in [`asking`].
//!
//! Each vendor is served below its word, over its own paths:
//!
//! | prefix | paths behind it |
//! |---|---|
//! | `/huawei` | `/rest/caas/relationnumber/partners/v1.0` (AXB), `/rest/provision/caas/privatenumber/v1.0` (AX), `/rest/caas/privatenumber/calleenumber/v1.0` (the callee of A's next call) |
//! | `/aliyun`, `/tencent`, `/volcengine` | `/`, the operation by its name |
//! | `/twilio` | `/v1/Services/{service}/Sessions…` |
//! | `/plivo` | `/v1/Account/{account}/Masking/Session/…` |
//! | `/mode101` | `/v2/axb/…`, `/v2/ax/…` |
//! | `/ungcloud` | `/api/v1/axb/…`, `/api/v1/ax/…` |
//! | `/vcc` | `/api/v1/bind/axb/{action}/{customer}` |
//! | `/nxcloud` | `/v1/api/pns/`, the operation in a header |
//! | `/baidu` | `/cloud/api/v1/axb/…` |
//! | `/cloopen` | `/2013-12-26/Accounts/{account}/nme/axb/{operator}/{operation}` |
//! | `/winnerlook` | `/voice/1.0.0/{function}/{application}/{signature}` |
//! | `/mixcom` | `/virtual/axbBind`, `/virtual/unAxbBind` |
//! | `/itniotech` | `/number/pns/bind`, `/number/pns/unbind` |
//! | `/yiketong` | `/number/axb/binding`, `/number/axb/unbinding`, `/monitor/axb/utilization` |
//! | `/china-broadnet`, `/china-mobile-hdh`, `/jumdata` | paths that are each deployment's; see the heads of their files in [`dialects`] |
//!
//! A vendor whose configuration names an address is served there too, without the prefix: its own
//! clients can often be given a host and no path.
//!
//! Control, for callers on the loopback interface only: `GET /_sim/bindings`, `GET /_sim/calls`,
//! `GET /_sim/callbacks` (by vendor, [`Callbacks`]), `GET`, `PUT` and `DELETE /_sim/faults`. A PUT replaces all faults of its vendor (fields left out
//! are off); without `vendor` it speaks of every vendor. DELETE ends all faults and lifts the
//! blocks on addresses that failed to authenticate.
//!
//! A binding takes effect, and its line is in the log, before the answer is sent and before any
//! `latency_ms` passes: a client that gave up early finds its binding made.

pub mod asking;
pub mod auth;
pub mod common;
mod config;
pub mod dialects;
mod faults;
mod http;
pub mod huawei;
mod log;
mod model;
pub mod push;
pub mod relations;
pub mod sip;
pub mod table;
pub mod vendor;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use thiserror::Error;

pub use asking::Asking;
pub use config::{Config, Credentials, Mode};
pub use faults::Faults;
pub use log::Line;
pub use model::{Answered, Model};
pub use push::Callbacks;
pub use sip::Calls;

use common::Booth;
use huawei::Huawei;
use push::{Newsroom, Teller};
use sip::{Counters, Phones, Route};
use vendor::{Carrier, Vendor};

/// Why the simulator does not start.
#[derive(Debug, Error)]
pub enum SimError {
    /// An address cannot be listened on.
    #[error("cannot listen on {what} {address}")]
    Listen {
        /// `http` or `sip`.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The log cannot be written.
    #[error("cannot write log \"{}\"", path.display())]
    Log {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A section of the configuration names no vendor that is simulated.
    #[error("no simulated vendor is called \"{0}\"")]
    UnknownVendor(String),
    /// Call-backs are configured for a vendor that has none.
    #[error("vendor \"{0}\" has a callback_url and pushes nothing")]
    NoCallbacks(&'static str),
    /// Call-backs cannot be sent to where they should go.
    #[error("callback_url \"{url}\" of \"{vendor}\" is no http address")]
    CallbackUrl {
        /// Whose.
        vendor: &'static str,
        /// What it says.
        url: String,
    },
    /// Nobody can be asked there.
    #[error("callback_urls of \"{vendor}\" has \"{url}\", which is no http address")]
    AskUrl {
        /// Who asks.
        vendor: &'static str,
        /// What it says.
        url: String,
    },
    /// A thread could not be made.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

/// A running simulator. Stops when dropped.
#[derive(Debug)]
pub struct Sim {
    http: SocketAddr,
    sip: SocketAddr,
    shared: Arc<Shared>,
    server: Option<http::Server>,
    proxy: Option<sip::Driver>,
    /// Where some vendor has an address for its call-backs.
    push: Option<push::Driver>,
    /// Where some vendor asks.
    ask: Option<asking::Driver>,
}

/// What both sides work on.
#[derive(Debug)]
struct Shared {
    platform: Mutex<Platform>,
    calls: Arc<Counters>,
}

/// The vendors' state and the log they write, under one lock so that the log's order is the order
/// of effects.
#[derive(Debug)]
struct Platform {
    /// By their words.
    vendors: BTreeMap<&'static str, Counter>,
    /// By the words of vendors that ask.
    asking: BTreeMap<&'static str, asking::Desk>,
    log: log::Log,
}

impl Platform {
    /// What a vendor does wrong, by its word.
    fn gate(&mut self, word: &str) -> Option<&mut faults::Gate> {
        match self.vendors.get_mut(word) {
            Some(counter) => Some(&mut counter.gate),
            None => self.asking.get_mut(word).map(|desk| &mut desk.gate),
        }
    }

    /// The same of all of them.
    fn gates(&mut self) -> impl Iterator<Item = (&'static str, &mut faults::Gate)> {
        let vendors = self.vendors.iter_mut();
        let vendors = vendors.map(|(word, counter)| (*word, &mut counter.gate));
        let asking = self.asking.iter_mut();
        vendors.chain(asking.map(|(word, desk)| (*word, &mut desk.gate)))
    }
}

/// One vendor's, with what it does wrong on request.
#[derive(Debug)]
struct Counter {
    vendor: Box<dyn Vendor>,
    gate: faults::Gate,
    /// Who is told of its calls, if anybody.
    desk: Option<push::Desk>,
}

/// The vendors that can be simulated, by their words.
pub fn vendors() -> impl Iterator<Item = &'static str> {
    let others = dialects::ALL.iter().map(|dialect| dialect.word);
    ["huawei"].into_iter().chain(others)
}

/// A vendor without bindings under the word that is its own.
fn open(name: &str, credentials: &Credentials) -> Result<(&'static str, Counter), SimError> {
    let word = vendors().find(|known| *known == name);
    let word = word.ok_or_else(|| SimError::UnknownVendor(name.to_owned()))?;
    let dialect = dialects::ALL.iter().find(|dialect| dialect.word == word);
    let vendor: Box<dyn Vendor> = match dialect {
        Some(dialect) => Box::new(Booth::new(dialect, credentials.clone())),
        None => Box::new(Huawei::new(credentials.clone())),
    };
    let gate = faults::Gate::default();
    let desk = push::Desk::open(word, credentials)?;
    Ok((word, Counter { vendor, gate, desk }))
}

impl Shared {
    fn platform(&self) -> MutexGuard<'_, Platform> {
        // A panic in a handler leaves at worst one half-made binding in a simulator.
        self.platform.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A live binding or relation as the simulator holds it; numbers in our notation.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Binding {
    /// The vendor's word.
    pub vendor: String,
    /// Whether it is a binding of A, X and B or a relation of A and X.
    pub mode: Mode,
    /// The vendor's id.
    pub bind_id: String,
    /// A.
    #[serde(rename = "A")]
    pub a: String,
    /// X.
    #[serde(rename = "X")]
    pub x: String,
    /// B; of a relation the callee named for it, empty when there is none now.
    #[serde(rename = "B")]
    pub b: String,
    /// Unix seconds with milliseconds when it was made.
    pub since: f64,
    /// Unix seconds with milliseconds when it ends by itself.
    pub expires: Option<f64>,
    /// Unix seconds with milliseconds when the callee of a relation is forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callee_until: Option<f64>,
}

/// Starts a simulator on threads of its own; works with and without any async runtime around it.
///
/// # Errors
/// When an address is taken, the log cannot be opened or a vendor is unknown.
pub fn spawn(config: &Config) -> Result<Sim, SimError> {
    let mut vendors = BTreeMap::new();
    let mut alone = Vec::new();
    for (name, credentials) in &config.vendors {
        let (word, counter) = open(name, credentials)?;
        alone.extend(credentials.http.map(|address| (word, address)));
        vendors.insert(word, counter);
    }
    let log = match &config.log {
        Some(path) => log::Log::open(path).map_err(|source| SimError::Log {
            path: path.clone(),
            source,
        })?,
        None => log::Log::nowhere(),
    };
    let calls = Arc::new(Counters::default());
    let shared = Arc::new(Shared {
        platform: Mutex::new(Platform {
            vendors,
            asking: asking::Desk::open(&config.asking)?,
            log,
        }),
        calls: calls.clone(),
    });
    let told = {
        let platform = shared.platform();
        platform
            .vendors
            .values()
            .any(|counter| counter.desk.is_some())
    };
    let (push, listener) = if told {
        let (driver, post) = push::Driver::spawn(shared.clone())?;
        (Some(driver), Some(listener(shared.clone(), post)))
    } else {
        (None, None)
    };
    let (ask, hold) = if config.asking.is_empty() {
        (None, None)
    } else {
        let (driver, hold) = asking::Driver::spawn(shared.clone())?;
        (Some(driver), Some(hold))
    };
    let proxy = {
        let shared = shared.clone();
        sip::Driver::spawn(
            config.sip,
            Phones {
                callee: config.callee_phone,
                a: config.ax_incoming.unwrap_or(config.callee_phone),
            },
            config.calls_max,
            calls,
            move |from, x| {
                carrier(&mut shared.platform(), from, x, now_ms()).map(|(_, found)| found.route)
            },
            listener,
            hold,
        )?
    };
    let server = http::Server::spawn(config.http, &alone, config.workers, shared.clone())?;
    let (http, sip) = (server.address(), proxy.address());
    tracing::info!(%http, %sip, "platform simulator started");
    Ok(Sim {
        http,
        sip,
        shared,
        server: Some(server),
        proxy: Some(proxy),
        push,
        ask,
    })
}

/// Like [`spawn`], for callers inside an async runtime of any kind.
///
/// # Errors
/// As [`spawn`].
pub async fn start(config: Config) -> Result<Sim, SimError> {
    // Binding two sockets and starting two threads blocks for well under a millisecond.
    spawn(&config)
}

/// What carries a call to X, and at which vendor: a binding or relation of the caller at any vendor
/// comes before a relation of somebody else.
fn carrier(
    platform: &mut Platform,
    from: &str,
    x: &str,
    now_ms: u64,
) -> Option<(&'static str, Carrier)> {
    let mut incoming = None;
    for (word, counter) in &mut platform.vendors {
        match counter.vendor.carrier(from, x, now_ms) {
            Some(found) if matches!(found.route, Route::Out(_)) => return Some((word, found)),
            found => incoming = incoming.or(found.map(|found| (*word, found))),
        }
    }
    incoming
}

impl push::Vendors for Platform {
    fn carrier(&mut self, from: &str, x: &str, now_ms: u64) -> Option<(Teller, Carrier)> {
        let (word, found) = carrier(self, from, x, now_ms)?;
        let desk = self.vendors.get(word)?.desk.as_ref()?;
        Some((desk.teller.clone(), found))
    }

    fn faults(&self, word: &str) -> Faults {
        let counter = self.vendors.get(word);
        counter.map_or_else(Faults::default, |counter| counter.gate.faults.clone())
    }
}

/// What hears of the steps of calls and hands over what is to be pushed.
fn listener(shared: Arc<Shared>, post: push::Post) -> sip::Listener {
    let mut newsroom = Newsroom::new(rand::random());
    Box::new(move |note| {
        let now_ms = now_ms();
        let letters = {
            let platform = &mut *shared.platform();
            let letters = newsroom.on(note, now_ms, platform);
            for (_, letter) in &letters {
                let counter = platform.vendors.get_mut(letter.vendor());
                if let Some(desk) = counter.and_then(|counter| counter.desk.as_mut()) {
                    desk.counts.made += 1;
                }
            }
            letters
        };
        for (due_ms, letter) in letters {
            if let Err(letter) = post.send(due_ms, letter) {
                shared.never_pushed(&letter);
            }
        }
    })
}

impl Sim {
    /// Where HTTP is listened on.
    pub fn http_addr(&self) -> SocketAddr {
        self.http
    }

    /// Where a vendor with an address of its own is served without a prefix before its paths.
    pub fn alone_addr(&self, vendor: impl Display) -> Option<SocketAddr> {
        let server = self.server.as_ref()?;
        server.alone(vendor.to_string().as_str())
    }

    /// Where SIP over UDP is listened on.
    pub fn sip_addr(&self) -> SocketAddr {
        self.sip
    }

    /// The base URL of a vendor by its word, for `Interface::base_url`.
    pub fn base_url(&self, vendor: impl Display) -> String {
        format!("http://{}/{vendor}", self.http)
    }

    /// The live bindings and relations of all vendors, oldest first.
    pub fn bindings(&self) -> Vec<Binding> {
        bindings(&self.shared)
    }

    /// Replaces the faults of one vendor by its word; of one that is not configured, does nothing.
    pub fn set_faults(&self, vendor: impl Display, faults: Faults) {
        let mut platform = self.shared.platform();
        if let Some(gate) = platform.gate(vendor.to_string().as_str()) {
            gate.set(faults);
        }
    }

    /// Ends all faults and lifts all blocks.
    pub fn clear_faults(&self) {
        clear_faults(&self.shared);
    }

    /// What the SIP side has carried so far.
    pub fn calls(&self) -> Calls {
        self.shared.calls.read()
    }

    /// What became of the call-backs so far, of those vendors that have an address for them.
    pub fn callbacks(&self) -> BTreeMap<&'static str, Callbacks> {
        callbacks(&self.shared)
    }

    /// Closes both sides and waits for their threads; the next start may use the same addresses.
    pub fn stop(mut self) {
        self.close();
    }

    fn close(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
        if let Some(proxy) = self.proxy.take() {
            proxy.stop();
        }
        // The proxy's thread held the only way to these.
        if let Some(push) = self.push.take() {
            push.stop();
        }
        if let Some(ask) = self.ask.take() {
            ask.stop();
        }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.close();
    }
}

fn clear_faults(shared: &Shared) {
    let mut platform = shared.platform();
    platform
        .gates()
        .for_each(|(_, gate)| gate.set(Faults::default()));
    for counter in platform.vendors.values_mut() {
        counter.vendor.lift_blocks();
    }
}

fn callbacks(shared: &Shared) -> BTreeMap<&'static str, Callbacks> {
    let platform = shared.platform();
    let counters = platform.vendors.iter();
    let desks = counters.filter_map(|(word, counter)| Some((*word, counter.desk.as_ref()?)));
    desks.map(|(word, desk)| (word, desk.counts)).collect()
}

fn bindings(shared: &Shared) -> Vec<Binding> {
    bindings_at(&mut shared.platform(), now_ms())
}

fn bindings_at(platform: &mut Platform, now_ms: u64) -> Vec<Binding> {
    let counters = platform.vendors.values_mut();
    let mut all: Vec<Binding> = counters
        .flat_map(|counter| counter.vendor.bindings(now_ms))
        .collect();
    all.sort_by(|one, other| one.since.total_cmp(&other.since));
    all
}

/// Unix milliseconds.
fn now_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Unix seconds with milliseconds, exact for any time of this age.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds since 1970 stay below 2^53"
)]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}
