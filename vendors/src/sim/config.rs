//! What a simulator is started with.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::asking::Asking;
use super::table::Scope;
use crate::numbers::{from_e164, to_e164};

/// The configuration, as a TOML file or made by a program. Port 0 takes a free port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// Where SIP over UDP is served.
    pub sip: SocketAddr,
    /// Where calls to B are sent, over UDP.
    pub callee_phone: SocketAddr,
    /// Where calls to the A of a relation are sent, over UDP; absent: to `callee_phone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ax_incoming: Option<SocketAddr>,
    /// One JSON line per request is appended here; absent: nowhere.
    #[serde(default)]
    pub log: Option<PathBuf>,
    /// Threads that serve HTTP, 1 to 64.
    #[serde(default = "workers")]
    pub workers: usize,
    /// Calls the SIP side remembers at once; more are answered 503.
    #[serde(default = "calls_max")]
    pub calls_max: usize,
    /// The vendors that are simulated, by their word (`huawei`); others answer 404.
    #[serde(default)]
    pub vendors: BTreeMap<String, Credentials>,
    /// The vendors that store nothing and ask, by their word (`infobip`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub asking: BTreeMap<String, Asking>,
}

fn workers() -> usize {
    1
}

fn calls_max() -> usize {
    100_000
}

/// A way in which a vendor joins numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A, X and B for a while.
    Axb,
    /// A and X for good.
    Ax,
}

/// One application at one vendor, and how strict the vendor is with it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The application's key.
    pub app_key: String,
    /// Its secret.
    pub app_secret: String,
    /// The X numbers it owns, in our notation; empty with an empty `x_prefix`: every X.
    #[serde(default)]
    pub x_numbers: Vec<String>,
    /// Every X that begins so, in our notation, is owned too.
    #[serde(default)]
    pub x_prefix: String,
    /// What it may ask for; default: `axb` and `ax`. Anything else is answered as the vendor
    /// answers an application of another mode.
    #[serde(default = "modes")]
    pub modes: BTreeSet<Mode>,
    /// Tolerated difference between the clocks, in seconds; absent: the vendor's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew_s: Option<u64>,
    /// Failed authentications of one address within a minute that block it; 0: never.
    #[serde(default = "auth_failures_max")]
    pub auth_failures_max: u32,
    /// For how long, in seconds.
    #[serde(default = "block_s")]
    pub block_s: u64,
    /// The pool, service, application or customer beside the key that requests must name; empty:
    /// any.
    #[serde(default)]
    pub pool: String,
    /// The company that requests must name, for the vendors that sign it; empty: none is demanded.
    #[serde(default)]
    pub company: String,
    /// Which bindings may stand side by side on one X; absent: the vendor's rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// This vendor alone is served here too, without a prefix before its paths, for those who can
    /// name a host but no path. Port 0 takes a free port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<SocketAddr>,
    /// Where calls are told, before the `/events` and `/bills` that are put behind it: an `http:`
    /// address; empty: nowhere. Only for vendors that push ([`super::push`]).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub callback_url: String,
    /// The end of that address, for vendors that prove themselves by nothing else.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub callback_secret: String,
    /// What a minute lasts of the times after which a vendor tells again what was not
    /// acknowledged, in milliseconds, 1 to 60,000.
    #[serde(default = "callback_minute_ms")]
    pub callback_minute_ms: u64,
}

fn callback_minute_ms() -> u64 {
    1000
}

fn modes() -> BTreeSet<Mode> {
    BTreeSet::from([Mode::Axb, Mode::Ax])
}

fn auth_failures_max() -> u32 {
    20
}

fn block_s() -> u64 {
    1800
}

impl Credentials {
    /// An application that owns every X.
    pub fn new(app_key: &str, app_secret: &str) -> Credentials {
        Credentials {
            app_key: app_key.to_owned(),
            app_secret: app_secret.to_owned(),
            x_numbers: Vec::new(),
            x_prefix: String::new(),
            modes: modes(),
            skew_s: None,
            auth_failures_max: auth_failures_max(),
            block_s: block_s(),
            pool: String::new(),
            company: String::new(),
            scope: None,
            http: None,
            callback_url: String::new(),
            callback_secret: String::new(),
            callback_minute_ms: callback_minute_ms(),
        }
    }
}

impl Credentials {
    /// Whether an X (E.164) is the application's.
    pub(super) fn owns(&self, x: &str) -> bool {
        let any = self.x_numbers.is_empty() && self.x_prefix.is_empty();
        any || (!self.x_prefix.is_empty() && from_e164(x).starts_with(self.x_prefix.as_str()))
            || self.x_numbers.iter().any(|own| to_e164(own) == x)
    }

    /// The X that the platform may choose from, in E.164.
    pub(super) fn listed_x(&self) -> impl Iterator<Item = String> {
        self.x_numbers.iter().map(|x| to_e164(x))
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("app_key", &self.app_key)
            .field("app_secret", &"***")
            .field("x_numbers", &self.x_numbers.len())
            .field("x_prefix", &self.x_prefix)
            .field("callback_url", &self.callback_url)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// A simulator of one Huawei application.
    pub fn huawei(
        http: SocketAddr,
        sip: SocketAddr,
        callee_phone: SocketAddr,
        credentials: Credentials,
    ) -> Config {
        Config::of(http, sip, callee_phone, ["huawei"], &credentials)
    }

    /// A simulator of these vendors, by their words, each with the same credentials; all of them
    /// with [`super::vendors`].
    pub fn of(
        http: SocketAddr,
        sip: SocketAddr,
        callee_phone: SocketAddr,
        vendors: impl IntoIterator<Item = &'static str>,
        credentials: &Credentials,
    ) -> Config {
        let vendors = vendors.into_iter();
        Config {
            http,
            sip,
            callee_phone,
            ax_incoming: None,
            log: None,
            workers: workers(),
            calls_max: calls_max(),
            vendors: vendors
                .map(|word| (word.to_owned(), credentials.clone()))
                .collect(),
            asking: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_file_is_read_with_defaults() {
        let config: Config = toml::from_str(
            r#"
            http = "127.0.0.1:15080"
            sip = "127.0.0.1:15060"
            callee_phone = "127.0.0.1:15040"
            [vendors.huawei]
            app_key = "k"
            app_secret = "s"
            "#,
        )
        .unwrap();
        assert_eq!(config.vendors["huawei"].skew_s, None);
        assert_eq!(config.vendors["huawei"].modes.len(), 2);
        assert_eq!((config.workers, config.ax_incoming), (1, None));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let any = "127.0.0.1:1".parse().unwrap();
        let mut credentials = Credentials::new("k", "s");
        credentials.modes = BTreeSet::from([Mode::Ax]);
        let mut config = Config::huawei(any, any, any, credentials);
        for ax_incoming in [None, Some(any)] {
            config.ax_incoming = ax_incoming;
            let text = toml::to_string(&config).unwrap();
            assert_eq!(toml::from_str::<Config>(&text).unwrap(), config, "{text}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_and_named() {
        let error = toml::from_str::<Config>("htpp = \"127.0.0.1:1\"").unwrap_err();
        assert!(error.to_string().contains("htpp"));
    }
}
