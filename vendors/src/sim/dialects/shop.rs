//! A vendor's counter for tests, asked behind the signature.

use std::net::IpAddr;

use serde_json::Value;

use super::super::Credentials;
use super::super::common::{Booth, Call};
use super::super::sip::Route;
use super::super::vendor::{Answer, Vendor};
use super::ALL;

pub(super) const NOW_MS: u64 = 1_716_193_800_000;

/// A vendor's counter with four X of its own.
pub(super) struct Shop {
    pub(super) booth: Booth,
    pub(super) now_ms: u64,
    pub(super) other_x: Option<&'static str>,
}

/// What is sent, before it is signed.
pub(super) struct Said<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: String,
}

pub(super) fn json_body(method: &'static str, target: &str, body: &Value) -> Said<'static> {
    Said {
        method,
        target: target.to_owned().leak(),
        headers: &[("content-type", "application/json;charset=utf-8")],
        body: body.to_string(),
    }
}

impl Shop {
    pub(super) fn open(word: &str) -> Shop {
        let mut credentials = Credentials::new("key", "secret");
        credentials.x_numbers = ["17000000000", "17000000001", "17000000002", "02131000000"]
            .map(str::to_owned)
            .into();
        let dialect = ALL.into_iter().find(|dialect| dialect.word == word);
        Shop {
            booth: Booth::new(dialect.unwrap(), credentials),
            now_ms: NOW_MS,
            other_x: None,
        }
    }

    pub(super) fn later(&mut self, seconds: u64) {
        self.now_ms += seconds * 1000;
    }

    pub(super) fn ask(&mut self, said: &Said) -> (Answer, Value) {
        let (path, query) = said.target.split_once('?').unwrap_or((said.target, ""));
        let call = Call {
            method: said.method,
            path,
            query,
            headers: said.headers,
            body: said.body.as_bytes(),
            peer: IpAddr::from([127, 0, 0, 1]),
        };
        assert_ne!(
            self.booth.op(&call),
            "other",
            "{} {}",
            said.method,
            said.target
        );
        let answer = self.booth.serve(&call, self.now_ms, self.other_x);
        assert_eq!(answer.entries.len(), 1);
        let body = serde_json::from_str(&answer.body).unwrap_or(Value::Null);
        (answer, body)
    }

    /// Asks and compares the code; the body.
    #[track_caller]
    pub(super) fn expect(&mut self, said: &Said, code: &str) -> Value {
        let (answer, body) = self.ask(said);
        assert_eq!(answer.code, code, "{} {}: {body}", said.target, said.body);
        body
    }

    pub(super) fn held(&mut self) -> Vec<String> {
        let all = self.booth.bindings(self.now_ms).into_iter();
        all.map(|held| format!("{} {} {}", held.a, held.x, held.b))
            .collect()
    }

    pub(super) fn callee(&mut self, a: &str, x: &str) -> Option<String> {
        match self.booth.route(a, x, self.now_ms)? {
            Route::Out(b) => Some(b),
            Route::In { a, .. } => panic!("rings {a}"),
        }
    }
}
