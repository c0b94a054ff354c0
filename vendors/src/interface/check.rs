//! Whether an interface can work, and what an operator should know of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Interface, shown};

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
