//! A configured connection to one platform, and whether it can work.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::definition::{Catalogue, Definition};
use crate::description::Schema;
use crate::exchange::Op;
use crate::policy::{Handling, Policy};

/// A platform that this room speaks to: the name of a definition that is built in or was loaded
/// when the process began ([`Catalogue::install`]).
#[derive(Clone, Copy)]
pub struct Vendor(&'static Definition);

impl Vendor {
    /// Every vendor in the order of their numbers, for lists and help.
    pub fn all() -> Vec<Vendor> {
        Catalogue::current().all().into_iter().map(Vendor).collect()
    }

    /// The vendor of a configuration word, such as `huawei`.
    pub fn named(word: &str) -> Option<Vendor> {
        Catalogue::current().named(word).map(Vendor)
    }

    /// The vendor of a type's number.
    pub fn numbered(id: u32) -> Option<Vendor> {
        Vendor::all().into_iter().find(|v| v.0.id == id)
    }

    /// Huawei Cloud PrivateNumber, the one that samples and tests are made with.
    pub fn huawei() -> Vendor {
        Vendor::named("huawei").expect("it is built in")
    }

    /// One that is in no catalogue.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of(definition: &'static Definition) -> Vendor {
        Vendor(definition)
    }

    /// The word in configuration.
    pub fn name(self) -> &'static str {
        &self.0.name
    }

    /// What it can do and how its numbers may be combined.
    pub fn policy(self) -> Policy {
        self.0.policy
    }

    /// How it wants to be treated when things go wrong.
    pub fn handling(self) -> &'static Handling {
        &self.0.handling
    }

    /// What a form for an interface of it needs.
    pub fn schema(self) -> Schema<'static> {
        self.0.schema()
    }

    /// Everything that is known of it.
    pub fn describe(self) -> &'static Definition {
        self.0
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name)
    }
}

impl fmt::Debug for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name)
    }
}

impl PartialEq for Vendor {
    fn eq(&self, other: &Vendor) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Vendor {}

impl Serialize for Vendor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.name)
    }
}

impl<'de> Deserialize<'de> for Vendor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Vendor, D::Error> {
        let word = String::deserialize(deserializer)?;
        Vendor::named(&word)
            .ok_or_else(|| D::Error::custom(format!("`{word}` is no platform's type")))
    }
}

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

/// One thing an operator should know about an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The field, as `params.expiration`.
    pub field: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong; reads on from the field's name.
    pub text: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It works, but somebody should know.
    Warning,
    /// It cannot work; [`crate::Client::new`] refuses it.
    Error,
}

impl Finding {
    /// A finding that refuses the interface.
    pub fn error(field: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding {
            field: field.into(),
            severity: Severity::Error,
            text: text.into(),
        }
    }

    /// A finding that only tells.
    pub fn warning(field: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding {
            field: field.into(),
            severity: Severity::Warning,
            text: text.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.text)
    }
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

    /// Everything that is wrong or doubtful, errors first.
    pub fn check(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        let description = self.vendor.describe();
        if self.name.is_empty() || self.name.len() > 64 {
            found.push(Finding::error("name", "must have 1 to 64 bytes"));
        }
        for op in self.urls.keys() {
            if !description.operations.iter().any(|o| o.op.url_key() == op) {
                let field = format!("urls.{op}");
                found.push(Finding::error(field, "is no operation of this vendor"));
            }
        }
        if description.policy.asks && !self.base_url.is_empty() {
            let text = "has no effect: the platform asks, and nothing is sent to it";
            found.push(Finding::warning("base_url", text));
        }
        for operation in &description.operations {
            let key = operation.op.url_key();
            let field = if self.urls.contains_key(key) {
                format!("urls.{key}")
            } else {
                "base_url".to_owned()
            };
            let url = self.url(operation.op);
            let replaced = self.urls.contains_key(key);
            if let Some(text) = description
                .check_url(self, operation.op)
                .filter(|_| replaced)
            {
                let finding = Finding::error(field, text);
                if !found.contains(&finding) {
                    found.push(finding);
                }
            } else if let Some(text) = url_mistake(&filled(&url)) {
                let finding = Finding::error(field, format!("\"{}\" {text}", shown(&url)));
                if !found.iter().any(|f| f.field == finding.field) {
                    found.push(finding);
                }
            } else if url.starts_with("http:") && !is_local(&url) {
                let finding = Finding::warning(field, "sends credentials unencrypted");
                if !found.contains(&finding) {
                    found.push(finding);
                }
            }
        }
        for (name, value) in &self.params {
            match description.param(name) {
                Some(param) => found.extend(param.check(value)),
                None => found.push(Finding::error(
                    format!("params.{name}"),
                    format!("is no parameter of {}", description.name),
                )),
            }
        }
        for param in &description.params {
            if param.required && !self.params.contains_key(&param.name) {
                let field = format!("params.{}", param.name);
                found.push(Finding::error(field, "is missing"));
            }
        }
        for (field, value, min, max) in [
            ("timeout_ms", self.timeout_ms, 50, 60_000),
            ("connect_timeout_ms", self.connect_timeout_ms, 10, 60_000),
            ("idle_ms", self.idle_ms, 0, 3_600_000),
            ("in_flight_max", u64::from(self.in_flight_max), 1, 10_000),
            (
                "response_bytes_max",
                u64::try_from(self.response_bytes_max).unwrap_or(u64::MAX),
                256,
                1_048_576,
            ),
            (
                "rate_per_s",
                u64::from(self.rate_per_s.unwrap_or(1)),
                1,
                1_000_000,
            ),
            ("breaker.refused_ms", self.breaker.refused_ms, 0, 86_400_000),
            ("breaker.blocked_ms", self.breaker.blocked_ms, 0, 86_400_000),
            ("breaker.probe_ms", self.breaker.probe_ms, 0, 86_400_000),
        ] {
            if value < min || value > max {
                let text = format!("{value} is not between {min} and {max}");
                found.push(Finding::error(field, text));
            }
        }
        if self.connect_timeout_ms >= self.timeout_ms {
            found.push(Finding::warning(
                "connect_timeout_ms",
                "is not below timeout_ms, so a dead platform looks like an unknown outcome",
            ));
        }
        if let (Some(ours), Some(below)) = (self.rate_per_s, self.rate_limit())
            && ours > below
        {
            let text = format!("{ours} is not below the vendor's own limit, {below} is kept to");
            found.push(Finding::warning("rate_per_s", text));
        }
        if let Some(proxy) = &self.proxy
            && let Some(text) = proxy_mistake(proxy)
        {
            found.push(Finding::error("proxy", text));
        }
        if !self.tls_verify {
            let text = "is off: anybody on the way can read and change requests";
            found.push(Finding::warning("tls_verify", text));
        }
        if let Some(pem) = &self.ca_pem
            && !pem.contains("-----BEGIN CERTIFICATE-----")
        {
            found.push(Finding::error("ca_pem", "holds no PEM certificate"));
        }
        found.extend(description.check(self));
        found.sort_by_key(|f| f.severity == Severity::Warning);
        found
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

/// What is wrong with a proxy's address as text. Its words never hold the address, which may hold a
/// password.
fn proxy_mistake(proxy: &str) -> Option<&'static str> {
    let Some(rest) = proxy.strip_prefix("http://") else {
        return Some("does not begin with http://");
    };
    if !rest.bytes().all(|b| b.is_ascii_graphic()) {
        return Some("holds a character that must be percent-encoded");
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (credentials, host) = match rest.rsplit_once('@') {
        Some((credentials, host)) => (Some(credentials), host),
        None => (None, rest),
    };
    if credentials.is_some_and(|both| !both.contains(':')) {
        return Some("names a user without a password");
    }
    if host.is_empty() || host.starts_with(':') {
        return Some("has no host");
    }
    if host.contains(['/', '?', '#']) || credentials.is_some_and(|c| c.contains(['/', '?', '#'])) {
        return Some("must be a host and a port only, other characters percent-encoded");
    }
    None
}

/// What is wrong with a URL as text; the client's own parser has the last word.
fn url_mistake(url: &str) -> Option<&'static str> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Some("is no URL");
    };
    if scheme != "https" && scheme != "http" {
        return Some("is neither http nor https");
    }
    if rest.is_empty() || rest.starts_with('/') || rest.starts_with(':') {
        return Some("has no host");
    }
    if rest.contains(['?', '#']) {
        return Some("must have no query");
    }
    if rest
        .split('/')
        .next()
        .is_some_and(|host| host.contains('@'))
    {
        return Some("must hold no credentials");
    }
    if !url.bytes().all(|b| b.is_ascii_graphic()) {
        return Some("holds a character that must be percent-encoded");
    }
    None
}

/// A URL with something in its holes.
fn filled(url: &str) -> String {
    let mut out = String::with_capacity(url.len());
    let mut rest = url;
    while let Some((before, hole)) = rest.split_once('{') {
        out.push_str(before);
        out.push('0');
        rest = hole.split_once('}').map_or("", |(_, after)| after);
    }
    out + rest
}

fn is_local(url: &str) -> bool {
    let host = url.split_once("://").map_or("", |(_, rest)| rest);
    ["127.", "localhost", "[::1]"]
        .iter()
        .any(|local| host.starts_with(local))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Interface {
        Interface::new(1, "hz-1", Vendor::huawei(), "http://127.0.0.1:15080/huawei")
            .with("app_key", "key")
            .with("app_secret", "hush-hush")
    }

    /// `field severity-letter` of every finding.
    fn found(interface: &Interface) -> Vec<String> {
        interface
            .check()
            .iter()
            .map(|f| match f.severity {
                Severity::Error => format!("{} E", f.field),
                Severity::Warning => format!("{} W", f.field),
            })
            .collect()
    }

    #[test]
    fn a_sound_interface_has_no_findings() {
        assert_eq!(found(&good()), [""; 0]);
    }

    #[test]
    fn each_mistake_is_found_and_named() {
        type Change = fn(&mut Interface);
        let cases: &[(&str, Change)] = &[
            ("params.app_key E", |i| {
                i.params.remove("app_key");
            }),
            ("params.app_secret E", |i| {
                i.params.insert("app_secret".into(), String::new());
            }),
            ("params.app_sekret E", |i| {
                i.params.insert("app_sekret".into(), "x".into());
            }),
            ("params.expiration W", |i| {
                i.params.insert("expiration".into(), "7199".into());
            }),
            ("params.expiration E", |i| {
                i.params.insert("expiration".into(), "7776001".into());
            }),
            ("params.expiration E", |i| {
                i.params.insert("expiration".into(), "soon".into());
            }),
            ("params.scheme E", |i| {
                i.params.insert("scheme".into(), "basic".into());
            }),
            ("params.last_min_voice E", |i| {
                i.params.insert("last_min_voice".into(), "hint.wav".into());
            }),
            ("params.ax_last_min_voice E", |i| {
                i.params.insert("ax_last_min_voice".into(), "x".into());
            }),
            ("params.ax_call_direction E", |i| {
                i.params.insert("ax_call_direction".into(), "3".into());
            }),
            ("params.ax_call_direction W", |i| {
                i.params.insert("ax_call_direction".into(), "2".into());
            }),
            ("params.callee_duration E", |i| {
                i.params.insert("callee_duration".into(), "0".into());
            }),
            ("params.callee_duration W", |i| {
                i.params.insert("callee_duration".into(), "9".into());
            }),
            ("urls.x_query E", |i| {
                i.urls.insert("x_query".into(), "/x".into());
            }),
            ("urls.set_callee E", |i| {
                i.urls.insert("set_callee".into(), "host/x".into());
            }),
            ("urls.rebind E", |i| {
                i.urls.insert("rebind".into(), "/x".into());
            }),
            ("urls.bind E", |i| {
                i.urls.insert("bind".into(), "ftp://x".into());
            }),
            ("base_url E", |i| i.base_url = "127.0.0.1:80".into()),
            ("base_url E", |i| i.base_url = "http://u:p@host".into()),
            ("base_url W", |i| i.base_url = "http://example.net".into()),
            ("timeout_ms E", |i| {
                i.timeout_ms = 60_001;
            }),
            ("connect_timeout_ms W", |i| i.connect_timeout_ms = 3_000),
            ("rate_per_s E", |i| i.rate_per_s = Some(0)),
            ("in_flight_max E", |i| i.in_flight_max = 0),
            ("tls_verify W", |i| i.tls_verify = false),
            ("proxy E", |i| i.proxy = Some("10.0.0.1:3128".into())),
            ("proxy E", |i| i.proxy = Some("https://10.0.0.1".into())),
            ("proxy E", |i| i.proxy = Some("http://".into())),
            ("proxy E", |i| i.proxy = Some("http://u@10.0.0.1".into())),
            ("proxy E", |i| {
                i.proxy = Some("http://u:p/w@10.0.0.1".into())
            }),
            ("proxy E", |i| i.proxy = Some("http://10.0.0.1/path".into())),
            ("proxy E", |i| i.proxy = Some("http://10.0.0.1 ".into())),
            ("ca_pem E", |i| i.ca_pem = Some("no".into())),
            ("name E", |i| i.name = String::new()),
        ];
        for (expected, change) in cases {
            let mut interface = good();
            change(&mut interface);
            assert_eq!(found(&interface), [*expected]);
        }
    }

    #[test]
    fn no_secret_is_shown_by_debug_or_by_a_finding() {
        let interface = good().with("app_sekret", "hush-hush");
        assert!(!format!("{interface:?}").contains("hush"));
        assert!(!format!("{:?}", interface.check()).contains("hush"));
        for base in ["http://u:hush@host", "http://host?token=hush", "u:hush@h/x"] {
            let mut interface = good();
            interface.base_url = base.to_owned();
            let found = format!("{:?}", interface.check());
            assert!(
                found.contains("base_url") && !found.contains("hush"),
                "{found}"
            );
        }
    }

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        let mut interface = good();
        for (proxy, shown) in [
            ("http://10.0.0.1:3128", "http://10.0.0.1:3128"),
            ("http://u:hush@10.0.0.1:3128", "http://…@10.0.0.1:3128"),
            ("http://u:hu%40sh@proxy/", "http://…@proxy/"),
        ] {
            interface.proxy = Some(proxy.to_owned());
            assert_eq!(found(&interface), [""; 0], "{proxy}");
            assert_eq!(interface.proxy_shown().as_deref(), Some(shown));
            let debug = format!("{interface:?}");
            assert!(
                !debug.contains("hush") && !debug.contains("hu%40sh"),
                "{debug}"
            );
        }
        interface.proxy = Some("socks://u:hush@10.0.0.1".to_owned());
        assert!(!format!("{:?}", interface.check()).contains("hush"));
    }

    #[test]
    fn the_rate_stays_below_the_vendors_own_limit() {
        // Alibaba's is 5,000 an account.
        let mut interface = Interface::new(1, "ali", Vendor::named("aliyun").unwrap(), "");
        for (configured, kept) in [
            (None, Some(4_500)),
            (Some(10), Some(10)),
            (Some(4_500), Some(4_500)),
            (Some(6_000), Some(4_500)),
        ] {
            interface.rate_per_s = configured;
            assert_eq!(interface.rate_limit(), kept, "{configured:?}");
            let warned = found(&interface).contains(&"rate_per_s W".to_owned());
            assert_eq!(warned, configured > kept, "{configured:?}");
        }
        assert_eq!(good().rate_limit(), None);
    }

    #[test]
    fn operations_go_to_the_vendor_the_base_url_or_their_own_url() {
        let path = "/rest/caas/relationnumber/partners/v1.0";
        let mut interface = good();
        assert_eq!(
            interface.url(Op::Bind),
            format!("http://127.0.0.1:15080/huawei{path}")
        );
        interface.urls.insert("unbind".into(), "/other".into());
        assert_eq!(
            interface.url(Op::Unbind),
            "http://127.0.0.1:15080/huawei/other"
        );
        interface.urls.insert("query".into(), "https://h/q".into());
        assert_eq!(interface.url(Op::Query), "https://h/q");
        assert_eq!(interface.url(Op::XQuery), "https://h/q");
        interface.urls.insert("ax_bind".into(), "/ax".into());
        assert_eq!(
            interface.url(Op::AxBind),
            "http://127.0.0.1:15080/huawei/ax"
        );
        assert_eq!(
            interface.url(Op::AxUnbind),
            "http://127.0.0.1:15080/huawei/rest/provision/caas/privatenumber/v1.0"
        );
        interface.base_url = String::new();
        assert_eq!(
            interface.url(Op::Bind),
            format!("https://rtcpns.cn-north-1.myhuaweicloud.com{path}")
        );
    }

    #[test]
    fn expiration_has_a_default_and_zero_means_for_ever() {
        assert_eq!(good().expiration_s(), Some(7200));
        assert_eq!(good().with("expiration", "0").expiration_s(), None);
        assert_eq!(good().with("expiration", "90").expiration_s(), Some(90));
    }
}
