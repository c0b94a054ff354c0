//! Checking the AKSK and WSSE headers, written from the vendor's text and not from the client's
//! signer. Pure: the clock comes in.
//!
//! Codes up to 1023009 are the vendor's; the vendor's page goes on "and following" without naming
//! them, so 1023010 to 1023016 are this simulator's choice within that family.

use std::collections::HashMap;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::Credentials;
use super::common::nonces::Nonces;
use super::common::times;
use super::vendor::header;

/// Tolerated difference between the clocks unless configured, in seconds.
const SKEW_S: u64 = 300;
/// Addresses with failures remembered at most.
const FAILING_MAX: usize = 10_000;
/// Failures are counted over so long.
const FAILURES_MS: u64 = 60_000;

/// A refusal: code, HTTP status, text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub &'static str, pub u16, pub &'static str);

/// The memory that authentication needs.
#[derive(Debug)]
pub struct Gatekeeper {
    credentials: Credentials,
    skew_s: u64,
    nonces: Nonces,
    failing: HashMap<IpAddr, Failing>,
}

#[derive(Debug, Default)]
struct Failing {
    since_ms: u64,
    failures: u32,
    blocked_until_ms: u64,
}

impl Gatekeeper {
    /// One that has seen nobody.
    pub fn new(credentials: Credentials) -> Gatekeeper {
        Gatekeeper {
            skew_s: credentials.skew_s.unwrap_or(SKEW_S),
            credentials,
            nonces: Nonces::default(),
            failing: HashMap::new(),
        }
    }

    /// Forgets all failures and blocks.
    pub fn lift_blocks(&mut self) {
        self.failing.clear();
    }

    /// Checks a request's headers (names in lower case) at a time in Unix milliseconds.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub fn check(
        &mut self,
        headers: &[(&str, &str)],
        peer: IpAddr,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        if self
            .failing
            .get(&peer)
            .is_some_and(|f| now_ms < f.blocked_until_ms)
        {
            let text = "too many failed authentications, address is blocked for 30 minutes";
            return Err(Refusal("1020176", 403, text));
        }
        let checked = self.credentials_of(headers, now_ms);
        if checked.is_err() {
            self.failed(peer, now_ms);
        }
        checked
    }

    fn credentials_of(&mut self, headers: &[(&str, &str)], now_ms: u64) -> Result<(), Refusal> {
        let authorization = header(headers, "authorization").ok_or(Refusal(
            "1023006",
            400,
            "Authorization missing",
        ))?;
        let (scheme, fields) = authorization.split_once(' ').unwrap_or((authorization, ""));
        let fields = quoted_fields(fields).ok_or(Refusal("1023010", 400, "bad Authorization"))?;
        let field = |name| fields.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        let realm = field("realm").ok_or(Refusal("1023007", 400, "no realm"))?;
        let profile = field("profile").ok_or(Refusal("1023008", 400, "no profile"))?;
        if realm != "SDP" {
            return Err(Refusal("1023009", 400, "realm is not SDP"));
        }
        if profile != "UsernameToken" || field("type") != Some("Appkey") || fields.len() != 3 {
            return Err(Refusal("1023011", 400, "profile or type is wrong"));
        }
        let token_header = match scheme {
            "AKSK" => "x-aksk",
            "WSSE" => "x-wsse",
            _ => return Err(Refusal("1023012", 400, "neither AKSK nor WSSE")),
        };
        let token = header(headers, token_header).ok_or(Refusal(
            "1023013",
            400,
            "X-AKSK or X-WSSE missing",
        ))?;
        let token = token
            .strip_prefix("UsernameToken ")
            .and_then(quoted_fields)
            .filter(|fields| {
                let names: Vec<_> = fields.iter().map(|(n, _)| *n).collect();
                names == ["Username", "PasswordDigest", "Nonce", "Created"]
            })
            .ok_or(Refusal("1023014", 400, "bad UsernameToken"))?;
        let [key, digest, nonce, created] = [token[0].1, token[1].1, token[2].1, token[3].1];
        if nonce.is_empty()
            || nonce.len() > 128
            || !nonce.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            return Err(Refusal(
                "1023015",
                400,
                "Nonce is not 1 to 128 letters and digits",
            ));
        }
        let created_s = times::read(created, times::ISO);
        let created_s = created_s.ok_or(Refusal("1023015", 400, "Created is no UTC time"))?;
        if (created_s * 1000).abs_diff(now_ms) > self.skew_s * 1000 {
            return Err(Refusal("1023016", 403, "Created is too far from our clock"));
        }
        if key != self.credentials.app_key {
            return Err(Refusal("1020150", 403, "app_key unknown or invalid"));
        }
        let secret = self.credentials.app_secret.as_bytes();
        let expected = if scheme == "AKSK" {
            let mut mac =
                Hmac::<Sha256>::new_from_slice(secret).expect("hmac takes a key of any length");
            mac.update(format!("{nonce}{created}").as_bytes());
            STANDARD.encode(mac.finalize().into_bytes())
        } else {
            let text = [nonce.as_bytes(), created.as_bytes(), secret].concat();
            STANDARD.encode(Sha256::digest(text))
        };
        if digest != expected {
            return Err(Refusal("1020150", 403, "PasswordDigest does not match"));
        }
        // For as long as its time could still be accepted.
        let keep_ms = self.skew_s * 2000 + 1000;
        if !self.nonces.first_use(nonce, now_ms, keep_ms) {
            return Err(Refusal("1023016", 403, "Nonce was used before"));
        }
        Ok(())
    }

    fn failed(&mut self, peer: IpAddr, now_ms: u64) {
        let most = self.credentials.auth_failures_max;
        if most == 0 {
            return;
        }
        if self.failing.len() >= FAILING_MAX {
            self.failing
                .retain(|_, f| now_ms < f.since_ms + FAILURES_MS || now_ms < f.blocked_until_ms);
            if self.failing.len() >= FAILING_MAX {
                return;
            }
        }
        let failing = self.failing.entry(peer).or_default();
        if now_ms >= failing.since_ms + FAILURES_MS {
            failing.since_ms = now_ms;
            failing.failures = 0;
        }
        failing.failures += 1;
        if failing.failures >= most {
            failing.blocked_until_ms = now_ms + self.credentials.block_s * 1000;
        }
    }
}

/// `a="1",b="2"` with an optional space after each comma.
fn quoted_fields(mut text: &str) -> Option<Vec<(&str, &str)>> {
    let mut fields = Vec::new();
    loop {
        let (name, rest) = text.split_once("=\"")?;
        let (value, rest) = rest.split_once('"')?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphabetic()) || fields.len() == 8 {
            return None;
        }
        fields.push((name, value));
        if rest.is_empty() {
            return Some(fields);
        }
        text = rest.strip_prefix(',')?;
        text = text.strip_prefix(' ').unwrap_or(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_716_193_800_000;
    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn keeper() -> Gatekeeper {
        Gatekeeper::new(Credentials::new(
            "a1testAppKey0000000000000000",
            "cfc8testAppSecret0000000000",
        ))
    }

    /// Authorization and token of a vector file.
    fn vector(text: &str) -> Vec<(String, String)> {
        let file: serde_json::Value = serde_json::from_str(text).unwrap();
        let headers = file["cases"][0]["request"]["headers"].as_object().unwrap();
        headers
            .iter()
            .map(|(n, v)| (n.to_lowercase(), v.as_str().unwrap().to_owned()))
            .collect()
    }

    fn aksk() -> Vec<(String, String)> {
        vector(include_str!("../../tests/vectors/huawei-aksk.json"))
    }

    fn check(keeper: &mut Gatekeeper, headers: &[(String, String)], now_ms: u64) -> &'static str {
        let headers: Vec<_> = headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        match keeper.check(&headers, PEER, now_ms) {
            Ok(()) => "0",
            Err(Refusal(code, _, _)) => code,
        }
    }

    #[test]
    fn the_published_vectors_are_accepted() {
        let wsse = vector(include_str!("../../tests/vectors/huawei-wsse.json"));
        for headers in [aksk(), wsse] {
            assert_eq!(check(&mut keeper(), &headers, NOW_MS), "0");
        }
    }

    #[test]
    fn a_space_after_the_commas_is_tolerated() {
        let mut headers = aksk();
        for (_, value) in &mut headers {
            *value = value.replace("\",", "\", ");
        }
        assert_eq!(check(&mut keeper(), &headers, NOW_MS), "0");
    }

    #[test]
    fn every_change_of_the_headers_is_refused() {
        for (header, from, to, code) in [
            ("authorization", "realm=\"SDP\",", "", "1023007"),
            ("authorization", "profile=\"UsernameToken\",", "", "1023008"),
            ("authorization", "SDP", "sdp", "1023009"),
            ("authorization", "Appkey", "AppKey", "1023011"),
            ("authorization", "AKSK", "Basic", "1023012"),
            ("authorization", "AKSK", "WSSE", "1023013"),
            ("authorization", "\"SDP\"", "SDP", "1023010"),
            ("x-aksk", "UsernameToken ", "", "1023014"),
            ("x-aksk", "Nonce", "nonce", "1023014"),
            ("x-aksk", "\"66C9", "\"66-9", "1023015"),
            ("x-aksk", "2024-05-20T", "2024-05-20 ", "1023015"),
            ("x-aksk", "a1test", "a2test", "1020150"),
            ("x-aksk", "J+de", "J+dE", "1020150"),
            ("x-aksk", "\"66C9", "\"76C9", "1020150"),
            ("x-aksk", "08:30:00", "08:30:01", "1020150"),
        ] {
            let mut headers = aksk();
            let (_, value) = headers.iter_mut().find(|(n, _)| n == header).unwrap();
            assert!(value.contains(from), "{from}");
            *value = value.replacen(from, to, 1);
            assert_eq!(check(&mut keeper(), &headers, NOW_MS), code, "{from} {to}");
        }
        let mut headers = aksk();
        headers.retain(|(n, _)| n != "authorization");
        assert_eq!(check(&mut keeper(), &headers, NOW_MS), "1023006");
        let mut headers = aksk();
        headers.push(headers.iter().find(|(n, _)| n == "x-aksk").unwrap().clone());
        assert_eq!(check(&mut keeper(), &headers, NOW_MS), "1023013");
    }

    #[test]
    fn clocks_may_differ_by_five_minutes_and_not_more() {
        for (now_ms, code) in [
            (NOW_MS + 300_000, "0"),
            (NOW_MS + 300_001, "1023016"),
            (NOW_MS - 300_000, "0"),
            (NOW_MS - 300_001, "1023016"),
        ] {
            assert_eq!(check(&mut keeper(), &aksk(), now_ms), code);
        }
    }

    #[test]
    fn a_nonce_is_good_for_one_request() {
        let mut keeper = keeper();
        assert_eq!(check(&mut keeper, &aksk(), NOW_MS), "0");
        assert_eq!(check(&mut keeper, &aksk(), NOW_MS + 299_000), "1023016");
    }

    #[test]
    fn an_address_that_fails_too_often_is_blocked_until_lifted() {
        let mut keeper = keeper();
        for _ in 0..20 {
            assert_eq!(check(&mut keeper, &[], NOW_MS), "1023006");
        }
        assert_eq!(check(&mut keeper, &aksk(), NOW_MS), "1020176");
        keeper.lift_blocks();
        assert_eq!(check(&mut keeper, &aksk(), NOW_MS), "0");
    }
}
