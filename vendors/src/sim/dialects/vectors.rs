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
    vectors!("mode101", "mode101-md5.json", body: true, query: false, skew_s: Some(300), nonce: false),
    vectors!("vcc", "vcc-md5.json", body: true, query: false, skew_s: Some(300), nonce: false),
    vectors!("nxcloud", "nxcloud-md5.json", body: true, query: false, skew_s: Some(60), nonce: false),
    vectors!("winnerlook", "winnerlook-md5.json", body: false, query: false, skew_s: Some(300), nonce: false),
    vectors!("cloopen", "cloopen-md5.json", body: false, query: true, skew_s: Some(300), nonce: false),
    vectors!("baidu", "baidu-bce-auth-v1.json", body: false, query: true, skew_s: None, nonce: false),
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

/// A request without a vector's own: what a recipe alone says of it.
fn recipe(headers: &[(&str, &str)], method: &str, path: &str, body: &str) -> Sent {
    let headers = headers
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
    Sent {
        method: method.to_owned(),
        path: path.to_owned(),
        query: String::new(),
        headers: headers.collect(),
        body: body.to_owned(),
    }
}

/// The requests that are put together from the vectors of bare recipes: dialect, key, secret,
/// request, the time in Unix milliseconds, and whether the body is signed.
fn recipes() -> Vec<(&'static str, String, String, Sent, u64, bool)> {
    let file = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let json = ("content-type", "application/json");
    let mut all = Vec::new();

    let hdh = file(include_str!("../../../tests/vectors/hdh-eopauth-md5.json"));
    let authorization = text(&hdh["cases"][0]["derived"]["authorization"]);
    let headers = [("authorization", authorization.as_str())];
    let sent = recipe(&headers, "POST", "/axb/binding", "{}");
    let (key, secret) = (
        text(&hdh["credentials"]["key"]),
        text(&hdh["credentials"]["secret"]),
    );
    all.push((
        "china-mobile-hdh",
        key,
        secret,
        sent,
        1_716_193_800_000,
        false,
    ));

    let jumdata = file(include_str!("../../../tests/vectors/jumdata-sha256.json"));
    let body = jumdata["cases"][0]["params"].to_string();
    let sent = recipe(&[json], "POST", "/axb/bind", &body);
    let credentials = &jumdata["credentials"];
    let (key, secret) = (text(&credentials["key"]), text(&credentials["secret"]));
    all.push(("jumdata", key, secret, sent, 1_716_193_800_123, true));

    let broadnet = file(include_str!(
        "../../../tests/vectors/broadnet-hmac-sha256.json"
    ));
    let derived = &broadnet["cases"][0]["derived"];
    // The vector's own text of `extra`, for the order of its members is signed.
    let signed = text(&derived["string_to_sign"]);
    let extra = &signed[signed.find('{').unwrap()..=signed.find('}').unwrap()];
    let mut fields = broadnet["cases"][0]["body_without_sign"].clone();
    fields["sign"] = derived["signature"].clone();
    fields["extra"] = "HERE".into();
    let body = fields.to_string().replace("\"HERE\"", extra);
    let headers = [json, ("x-app-id", "app"), ("x-app-bizid", "1")];
    let sent = recipe(&headers, "POST", "/axb/binding", &body);
    let secret = text(&broadnet["credentials"]["secret"]);
    all.push(("china-broadnet", "app".into(), secret, sent, 0, true));
    all
}

#[test]
fn the_bare_recipes_are_accepted_as_they_are_and_in_no_other_way() {
    for (word, key, secret, sent, now_ms, body) in recipes() {
        let dialect = ALL.into_iter().find(|d| d.word == word).unwrap();
        let accepted = |sent: &Sent, key: &str, secret: &str| {
            let mut desk = desk(dialect, &Credentials::new(key, secret));
            sent.accepted(&mut desk, dialect, now_ms)
        };
        assert_eq!(accepted(&sent, &key, &secret), Ok(()), "{word}");
        assert!(
            accepted(&sent, &one_bit_off(&key), &secret).is_err(),
            "{word}"
        );
        assert!(
            accepted(&sent, &key, &one_bit_off(&secret)).is_err(),
            "{word}"
        );
        if !body {
            let mut other = sent.clone();
            other.headers[0].1 = sent.headers[0].1.replace("2AB7", "3AB7");
            assert!(accepted(&other, &key, &secret).is_err(), "{word}");
            continue;
        }
        for at in 0..sent.body.len() {
            let mut bytes = sent.body.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(body) = String::from_utf8(bytes) {
                let other = Sent {
                    body,
                    ..sent.clone()
                };
                assert!(accepted(&other, &key, &secret).is_err(), "{word} byte {at}");
            }
        }
    }
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
            // Every byte, one at a time, but for a name whose members are signed without it.
            let unsigned = sent.body.find("\"extra\"").map(|at| at + 1..at + 6);
            for at in 0..sent.body.len() {
                if unsigned.as_ref().is_some_and(|name| name.contains(&at)) {
                    continue;
                }
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
        if file.word == "winnerlook" {
            let path = one_bit_off(&sent.path);
            refused(
                &Sent {
                    path,
                    ..sent.clone()
                },
                "the path",
            );
        }
        for (at, (header, value)) in sent.headers.iter().enumerate() {
            let signed = header.starts_with("x-acs-") && file.body
                || ["authorization", "msgdgt", "ts", "appkey", "sign"].contains(&header.as_str())
                || ["accesskey", "action", "biztype", "x-bce-date"].contains(&header.as_str());
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
