//! Checking the AKSK and WSSE headers, written from the vendor's text and not from the client's
//! signer. Pure: the clock comes in.
//!
//! Codes up to 1023009 are the vendor's; the vendor's page goes on "and following" without naming
//! them, so 1023010 to 1023016 are this simulator's choice within that family.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::Credentials;

/// Nonces remembered at most; the oldest go first.
const NONCES_MAX: usize = 1_000_000;
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
    seen: HashSet<[u8; 16]>,
    seen_order: VecDeque<(u64, [u8; 16])>,
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
            credentials,
            seen: HashSet::new(),
            seen_order: VecDeque::new(),
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
        let authorization = only(headers, "authorization").ok_or(Refusal(
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
        let token = only(headers, token_header).ok_or(Refusal(
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
        let created_ms =
            unix_ms(created).ok_or(Refusal("1023015", 400, "Created is no UTC time"))?;
        if created_ms.abs_diff(now_ms) > self.credentials.skew_s * 1000 {
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
        if !self.first_use(nonce, now_ms) {
            return Err(Refusal("1023016", 403, "Nonce was used before"));
        }
        Ok(())
    }

    /// Remembers a nonce for as long as its time could still be accepted.
    fn first_use(&mut self, nonce: &str, now_ms: u64) -> bool {
        let keep_ms = self.credentials.skew_s * 2000 + 1000;
        while let Some((at_ms, oldest)) = self.seen_order.front() {
            if at_ms + keep_ms > now_ms && self.seen_order.len() < NONCES_MAX {
                break;
            }
            self.seen.remove(oldest);
            self.seen_order.pop_front();
        }
        let mut mark = [0; 16];
        mark.copy_from_slice(&Sha256::digest(nonce.as_bytes())[..16]);
        if !self.seen.insert(mark) {
            return false;
        }
        self.seen_order.push_back((now_ms, mark));
        true
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

/// A header that must be there exactly once.
fn only<'a>(headers: &[(&str, &'a str)], name: &str) -> Option<&'a str> {
    let mut values = headers.iter().filter(|(n, _)| *n == name).map(|(_, v)| *v);
    let first = values.next()?;
    values.next().is_none().then_some(first)
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

/// Unix milliseconds of `YYYY-MM-DDThh:mm:ssZ`, by counting days year by year.
fn unix_ms(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let shape = b"dddd-dd-ddTdd:dd:ddZ";
    if bytes.len() != shape.len() {
        return None;
    }
    let fits = bytes.iter().zip(shape).all(|(b, s)| match s {
        b'd' => b.is_ascii_digit(),
        other => b == other,
    });
    if !fits {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = |y: u64| (y.is_multiple_of(4) && !y.is_multiple_of(100)) || y.is_multiple_of(400);
    let february = if leap(year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let in_month = *months.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    if year < 1970 || day == 0 || day > in_month || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut days: u64 = (1970..year).map(|y| if leap(y) { 366 } else { 365 }).sum();
    days += months
        .iter()
        .take(usize::try_from(month - 1).ok()?)
        .sum::<u64>()
        + day
        - 1;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
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
        vector(include_str!("../huawei/vectors/huawei-aksk.json"))
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
        let wsse = vector(include_str!("../huawei/vectors/huawei-wsse.json"));
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
    fn nonces_are_forgotten_when_their_time_has_passed() {
        let mut keeper = keeper();
        for n in 0..10 {
            assert!(keeper.first_use(&n.to_string(), NOW_MS));
        }
        assert!(keeper.first_use("later", NOW_MS + 601_000));
        assert_eq!((keeper.seen.len(), keeper.seen_order.len()), (1, 1));
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

    #[test]
    fn times_are_read_and_nonsense_is_not() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T00:00:00Z", Some(951_782_400_000)),
            ("2024-05-20T08:30:00Z", Some(NOW_MS)),
            ("2023-02-29T00:00:00Z", None),
            ("2024-13-01T00:00:00Z", None),
            ("2024-00-01T00:00:00Z", None),
            ("2024-05-20T24:00:00Z", None),
            ("2024-05-20T08:30:00+", None),
            ("", None),
            ("2024-05-2é08:30:00Z", None),
        ] {
            assert_eq!(unix_ms(text), ms, "{text}");
        }
    }
}
