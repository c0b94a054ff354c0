//! The published and captured signature vectors against the verifiers: accepted as they are, and
//! refused with one bit of the secret, one byte of the body, one parameter or the time changed.

use std::net::IpAddr;

use serde_json::Value;

use super::super::Credentials;
use super::super::common::times::{self, BEIJING_S};
use super::super::common::{Call, Desk, Dialect};
use super::ALL;

/// A vector file and what its signature covers.
struct Vectors {
    word: &'static str,
    text: &'static str,
    /// The body as it is sent.
    body: bool,
    /// The query.
    query: bool,
    /// A point in time, from which clocks may be so many seconds away.
    skew_s: Option<u64>,
    /// A nonce, good for one request.
    nonce: bool,
}

macro_rules! vectors {
    ($word:literal, $file:literal, body: $body:literal, query: $query:literal, skew_s: $skew:expr, nonce: $nonce:literal) => {
        Vectors {
            word: $word,
            text: include_str!(concat!("../../../tests/vectors/", $file)),
            body: $body,
            query: $query,
            skew_s: $skew,
            nonce: $nonce,
        }
    };
}

#[rustfmt::skip]
const FILES: &[Vectors] = &[
    vectors!("aliyun", "aliyun-rpc-hmac-sha1.json", body: false, query: true, skew_s: Some(900), nonce: true),
    vectors!("aliyun", "aliyun-rpc-hmac-sha1-tea.json", body: false, query: true, skew_s: Some(900), nonce: true),
    vectors!("aliyun", "aliyun-acs3-hmac-sha256.json", body: true, query: true, skew_s: Some(900), nonce: true),
    vectors!("aliyun", "aliyun-acs3-hmac-sm3.json", body: true, query: true, skew_s: Some(900), nonce: true),
    vectors!("aliyun", "aliyun-acs3-minimal.json", body: true, query: true, skew_s: Some(900), nonce: true),
    vectors!("tencent", "tencent-tc3-hmac-sha256.json", body: true, query: true, skew_s: Some(300), nonce: false),
    vectors!("tencent", "tencent-v1-hmac-sha1.json", body: true, query: false, skew_s: Some(300), nonce: false),
    vectors!("tencent", "tencent-v1-hmac-sha256.json", body: true, query: false, skew_s: Some(300), nonce: false),
    vectors!("volcengine", "volcengine-hmac-sha256.json", body: true, query: true, skew_s: Some(900), nonce: false),
    vectors!("twilio", "twilio-proxy-basic.json", body: false, query: false, skew_s: None, nonce: false),
    vectors!("plivo", "plivo-masking-basic.json", body: false, query: false, skew_s: None, nonce: false),
];

/// A request out of a vector file, its parts free to be changed.
#[derive(Clone)]
struct Sent {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Sent {
    fn of(request: &Value) -> Sent {
        let text = |name: &str| request[name].as_str().unwrap_or("").to_owned();
        let target = text("target");
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let headers = request["headers"].as_object().unwrap();
        Sent {
            method: text("method"),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: headers
                .iter()
                .map(|(n, v)| (n.to_lowercase(), v.as_str().unwrap().to_owned()))
                .collect(),
            body: text("body"),
        }
    }

    fn accepted(&self, desk: &mut Desk, dialect: &Dialect, now_ms: u64) -> Result<(), String> {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        let call = Call {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &headers,
            body: self.body.as_bytes(),
            peer: IpAddr::from([127, 0, 0, 1]),
        };
        (dialect.authenticate)(desk, &call, now_ms)
            .map_err(|refused| format!("{} {}", refused.code, refused.text))
    }
}

/// Unix milliseconds of a vector's clock in any of its notations.
fn clock_ms(text: &str) -> u64 {
    if let Some(at_s) = times::read(text, times::ISO) {
        return at_s * 1000;
    }
    match text.len() {
        10 => text.parse::<u64>().unwrap() * 1000,
        13 => text.parse().unwrap(),
        _ => (times::read(&text[..14], times::DIGITS).unwrap() - BEIJING_S) * 1000,
    }
}

/// The same text with the lowest bit of its last letter or digit turned.
fn one_bit_off(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let last = bytes.iter().rposition(u8::is_ascii_alphanumeric).unwrap();
    bytes[last] ^= 1;
    String::from_utf8(bytes).unwrap()
}

/// Runs `with` on every case: its name, its dialect, its credentials, the request and the time.
fn every_case(with: impl Fn(&Vectors, &str, &Dialect, &Credentials, &Sent, u64)) {
    for file in FILES {
        let dialect = ALL.into_iter().find(|d| d.word == file.word).unwrap();
        let value: Value = serde_json::from_str(file.text).unwrap();
        for case in value["cases"].as_array().unwrap() {
            let credentials = match &case["credentials"] {
                Value::Null => &value["credentials"],
                own => own,
            };
            let text = |name: &str| credentials[name].as_str().unwrap_or("");
            let sent = Sent::of(&case["request"]);
            let own_clock = sent.headers.iter().find(|(name, _)| name == "ts");
            let now_ms = match own_clock.map(|(_, at)| at.as_str()) {
                Some(at) => clock_ms(at),
                None => value["clock"].as_str().map_or(0, clock_ms),
            };
            let credentials = Credentials::new(text("key"), text("secret"));
            let name = format!("{} {}", value["recipe"], case["name"]);
            with(file, &name, dialect, &credentials, &sent, now_ms);
        }
    }
}

fn desk(dialect: &Dialect, credentials: &Credentials) -> Desk {
    Desk::new(dialect, credentials.clone())
}

#[test]
fn every_vector_is_accepted() {
    every_case(|_, name, dialect, credentials, sent, now_ms| {
        let mut desk = desk(dialect, credentials);
        assert_eq!(sent.accepted(&mut desk, dialect, now_ms), Ok(()), "{name}");
    });
}

#[test]
fn one_bit_of_key_or_secret_is_refused() {
    every_case(|_, name, dialect, credentials, sent, now_ms| {
        for part in ["secret", "key"] {
            let mut other = credentials.clone();
            let text = if part == "key" {
                &mut other.app_key
            } else {
                &mut other.app_secret
            };
            *text = one_bit_off(text);
            let mut desk = desk(dialect, &other);
            let result = sent.accepted(&mut desk, dialect, now_ms);
            assert!(result.is_err(), "{name} with another {part}");
        }
    });
}

#[test]
fn one_byte_of_what_is_signed_is_refused() {
    every_case(|file, name, dialect, credentials, sent, now_ms| {
        let refused = |other: &Sent, what: &str| {
            let mut desk = desk(dialect, credentials);
            let result = other.accepted(&mut desk, dialect, now_ms);
            assert!(result.is_err(), "{name}: {what}");
        };
        if file.body && !sent.body.is_empty() {
            // Every byte, one at a time.
            for at in 0..sent.body.len() {
                let mut bytes = sent.body.clone().into_bytes();
                bytes[at] ^= 1;
                if let Ok(body) = String::from_utf8(bytes) {
                    let other = Sent {
                        body,
                        ..sent.clone()
                    };
                    refused(&other, &format!("byte {at} of the body"));
                }
            }
        }
        if file.query && !sent.query.is_empty() {
            for at in 0..sent.query.len() {
                let mut bytes = sent.query.clone().into_bytes();
                // The case of a percent-encoding means nothing; nor does an escaped letter.
                if !bytes[at].is_ascii_digit() || sent.query[..at].ends_with('%') {
                    continue;
                }
                bytes[at] ^= 1;
                let query = String::from_utf8(bytes).unwrap();
                let other = Sent {
                    query,
                    ..sent.clone()
                };
                refused(&other, &format!("byte {at} of the query"));
            }
            let mut other = sent.clone();
            other.query += "&Added=1";
            refused(&other, "a parameter more");
        }
        for (at, (header, value)) in sent.headers.iter().enumerate() {
            let signed = header.starts_with("x-acs-") && file.body || header == "authorization";
            if signed {
                let mut other = sent.clone();
                other.headers[at].1 = one_bit_off(value);
                refused(&other, header);
                let mut other = sent.clone();
                other.headers.remove(at);
                refused(&other, &format!("no {header}"));
            }
        }
    });
}

#[test]
fn clocks_may_differ_so_much_and_not_more() {
    every_case(|file, name, dialect, credentials, sent, now_ms| {
        let Some(skew_s) = file.skew_s else {
            return;
        };
        for (away_ms, fits) in [(skew_s * 1000 - 1000, true), (skew_s * 1000 + 1000, false)] {
            for at_ms in [now_ms + away_ms, now_ms - away_ms] {
                let result = sent.accepted(&mut desk(dialect, credentials), dialect, at_ms);
                assert_eq!(result.is_ok(), fits, "{name} {away_ms} ms away: {result:?}");
            }
        }
    });
}

#[test]
fn a_nonce_is_good_for_one_request() {
    every_case(|file, name, dialect, credentials, sent, now_ms| {
        let mut desk = desk(dialect, credentials);
        assert_eq!(sent.accepted(&mut desk, dialect, now_ms), Ok(()), "{name}");
        let again = sent.accepted(&mut desk, dialect, now_ms + 1000);
        assert_eq!(again.is_err(), file.nonce, "{name}: {again:?}");
    });
}
