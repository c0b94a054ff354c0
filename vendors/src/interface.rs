//! A configured connection to one platform, and whether it can work.

mod check;
mod vendor;

pub use check::{Finding, Severity};
pub use vendor::Vendor;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::exchange::Op;

/// One configured connection. Plain data; a changed interface needs a new [`crate::Client`].
/// `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Our id.
    pub id: u32,
    /// Unique name; a metric label.
    pub name: String,
    /// Which platform.
    pub vendor: Vendor,
    /// Scheme, host, port and an optional path prefix, without a slash at the end. Empty: the
    /// vendor's public address.
    #[serde(default)]
    pub base_url: String,
    /// Replaces the URL of single operations (`bind`, `unbind`, `query`, `ax_bind`, `ax_unbind`,
    /// `set_callee`, `ax_query`): a whole URL, or a path that begins with `/` and goes below
    /// `base_url`.
    #[serde(default)]
    pub urls: BTreeMap<String, String>,
    /// The vendor's parameters; [`Definition::params`] names them.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// From the first byte sent to the last byte read, connecting included; 50 to 60,000.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// TCP and TLS together; 10 to 60,000. A connection that is not made in time surely carried
    /// nothing, so keep it well below `timeout_ms`.
    #[serde(default = "connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// How long an unused connection is kept, in milliseconds; 0 closes after each request. Keep
    /// it below the platform's own idle limit, or a bind may race with its closing.
    #[serde(default = "idle_ms")]
    pub idle_ms: u64,
    /// Requests under way at once; more are refused as throttled. 1 to 10,000.
    #[serde(default = "in_flight_max")]
    pub in_flight_max: u32,
    /// Longest answer read, in bytes; 256 to 1,048,576.
    #[serde(default = "response_bytes_max")]
    pub response_bytes_max: usize,
    /// Whether the platform's certificate is verified. Switch it off in a laboratory only.
    #[serde(default = "yes")]
    pub tls_verify: bool,
    /// PEM certificates trusted instead of the machine's own roots.
    #[serde(default)]
    pub ca_pem: Option<String>,
    /// Requests a second, all operations and all nodes together; `None`: what the vendor's
    /// definition names, or unlimited. A burst of one second's worth passes at once. See
    /// [`Interface::rate_limit`].
    #[serde(default)]
    pub rate_per_s: Option<u32>,
    /// A forward proxy to go through, `http://[user:password@]host[:port]`; https is tunnelled with
    /// CONNECT. `None`: none, whatever the process's environment says.
    #[serde(default)]
    pub proxy: Option<String>,
    /// Which versions of HTTP are spoken.
    #[serde(default)]
    pub http_version: HttpVersion,
    /// When and for how long to stay away from the platform.
    #[serde(default)]
    pub breaker: Breaker,
}

/// Which versions of HTTP an interface speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpVersion {
    /// 2 where the platform offers it over TLS (ALPN), else 1.1.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// 1.1 only, each request under way on a connection of its own.
    #[serde(rename = "1")]
    One,
    /// 2 only; without TLS the platform must expect it ("prior knowledge").
    #[serde(rename = "2")]
    Two,
}

impl HttpVersion {
    /// The word in configuration.
    pub fn word(self) -> &'static str {
        match self {
            HttpVersion::Auto => "auto",
            HttpVersion::One => "1",
            HttpVersion::Two => "2",
        }
    }
}

/// When the circuit breaker opens and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// After the platform refused our credentials, in milliseconds. Then one request probes.
    pub refused_ms: u64,
    /// After the platform said that our address is blocked, in milliseconds.
    pub blocked_ms: u64,
    /// Consecutive failures to connect that open it; 0: never.
    pub connect_failures: u32,
    /// How long after those, in milliseconds. Then one request probes.
    pub probe_ms: u64,
}

impl Default for Breaker {
    fn default() -> Breaker {
        Breaker {
            refused_ms: 60_000,
            blocked_ms: 1_800_000,
            connect_failures: 5,
            probe_ms: 1_000,
        }
    }
}

fn timeout_ms() -> u64 {
    3_000
}

fn connect_timeout_ms() -> u64 {
    1_000
}

fn idle_ms() -> u64 {
    // Common servers close after five seconds.
    4_000
}

fn in_flight_max() -> u32 {
    1_000
}

fn response_bytes_max() -> usize {
    65_536
}

fn yes() -> bool {
    true
}

impl Interface {
    /// An interface with every limit at its default.
    pub fn new(id: u32, name: &str, vendor: Vendor, base_url: &str) -> Interface {
        Interface {
            id,
            name: name.to_owned(),
            vendor,
            base_url: base_url.to_owned(),
            urls: BTreeMap::new(),
            params: BTreeMap::new(),
            timeout_ms: timeout_ms(),
            connect_timeout_ms: connect_timeout_ms(),
            idle_ms: idle_ms(),
            in_flight_max: in_flight_max(),
            response_bytes_max: response_bytes_max(),
            tls_verify: true,
            ca_pem: None,
            rate_per_s: None,
            proxy: None,
            http_version: HttpVersion::Auto,
            breaker: vendor.handling().breaker,
        }
    }

    /// The same interface with one more parameter.
    pub fn with(mut self, param: &str, value: &str) -> Interface {
        self.params.insert(param.to_owned(), value.to_owned());
        self
    }

    /// The parameter's value, or the vendor's default for it.
    pub fn param(&self, name: &str) -> Option<&str> {
        match self.params.get(name) {
            Some(value) => Some(value),
            None => self.vendor.describe().param(name)?.default.as_deref(),
        }
    }

    /// Where an operation is sent, without a query.
    pub fn url(&self, op: Op) -> String {
        let description = self.vendor.describe();
        let base = match self.base_url.trim_end_matches('/') {
            "" => &description.base_url,
            base => base,
        };
        match self.urls.get(op.url_key()) {
            Some(path) if path.starts_with('/') => format!("{base}{path}"),
            Some(whole) => whole.clone(),
            None => {
                let path = description.operation(op).map_or("", |o| &o.path);
                format!("{base}{path}")
            }
        }
    }

    /// How many seconds the platform is told to keep a binding; `None`: for ever. Add it to the
    /// time of creation for a binding's `expires_at`.
    pub fn expiration_s(&self) -> Option<u64> {
        match self.param("expiration")?.parse() {
            Ok(0) | Err(_) => None,
            Ok(seconds) => Some(seconds),
        }
    }

    /// Requests a second of all nodes together: what is configured, but never as much as the
    /// vendor's own limit, of which a tenth is left to whoever else uses the account. `None`:
    /// unlimited.
    pub fn rate_limit(&self) -> Option<u32> {
        let vendors = self.vendor.handling().rate_per_s;
        let below = vendors.map(|rate| (rate - rate.div_ceil(10)).max(1));
        match (self.rate_per_s, below) {
            (Some(ours), Some(below)) => Some(ours.min(below)),
            (ours, below) => ours.or(below),
        }
    }

    /// The proxy as it may be shown, without its password.
    pub fn proxy_shown(&self) -> Option<String> {
        self.proxy.as_deref().map(shown)
    }

    /// A parameter as it may be shown: secrets are masked.
    fn shown(&self, name: &str, value: &str) -> String {
        match self.vendor.describe().param(name) {
            Some(param) if !param.secret => value.to_owned(),
            // An unknown name may be a misspelt secret.
            _ => "***".to_owned(),
        }
    }
}

impl fmt::Debug for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let params: BTreeMap<_, _> = self
            .params
            .iter()
            .map(|(name, value)| (name, self.shown(name, value)))
            .collect();
        f.debug_struct("Interface")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("vendor", &self.vendor)
            .field("base_url", &self.base_url)
            .field("urls", &self.urls)
            .field("params", &params)
            .field("timeout_ms", &self.timeout_ms)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("tls_verify", &self.tls_verify)
            .field("rate_per_s", &self.rate_per_s)
            .field("proxy", &self.proxy_shown())
            .field("http_version", &self.http_version)
            .finish_non_exhaustive()
    }
}

/// A URL as it may be shown: neither credentials nor a query, which may be a token.
fn shown(url: &str) -> String {
    let head = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = head.split_once("://").unwrap_or(("", head));
    let scheme = match scheme {
        "" => String::new(),
        scheme => format!("{scheme}://"),
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}…@{host}"),
        None => format!("{scheme}{rest}"),
    }
}

#[cfg(test)]
mod tests;
