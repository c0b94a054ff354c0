//! The gate that vendors have alike: a key that is known, a time near our clock, a signature that
//! is right. What is signed, and where it stands, is each vendor's own.

use std::borrow::Cow;

use super::crypt::from_base64;
use super::{Call, Desk, Refused};

/// A vendor's words for who is not let in: for a key that is unknown, a time that is none or too
/// far from our clock, and a signature that does not match.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// Codes of the three.
    pub codes: [&'static str; 3],
    /// What the vendor calls the three.
    pub names: [&'static str; 3],
}

/// What somebody says who wants to be let in.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// His key.
    pub key: &'a str,
    /// His time, Unix milliseconds; `None` where he says none that can be read.
    pub at_ms: Option<u64>,
    /// His signature.
    pub sign: &'a str,
}

impl Gate {
    /// One code for all three.
    pub const fn of(code: &'static str, names: [&'static str; 3]) -> Gate {
        let codes = [code; 3];
        Gate { codes, names }
    }

    /// The refusal of what is not there or cannot be read.
    pub fn refuse(&self, text: impl Into<Cow<'static, str>>) -> Refused {
        Refused::new(self.codes[2], text)
    }

    /// The refusal of a signature.
    pub fn mismatch(&self) -> Refused {
        self.refuse(format!("{} does not match", self.names[2]))
    }

    /// Lets in who has the key, the time and the signature that `wanted` makes with the secret.
    ///
    /// # Errors
    /// What is wrong first, in this order.
    pub fn pass(
        &self,
        desk: &Desk,
        now_ms: u64,
        claim: Claim,
        wanted: impl FnOnce(&str) -> String,
    ) -> Result<(), Refused> {
        let ([key, late, _], [key_name, time_name, _]) = (self.codes, self.names);
        if claim.key != desk.credentials.app_key {
            return Err(Refused::new(key, format!("{key_name} is unknown")));
        }
        if !claim.at_ms.is_some_and(|at_ms| desk.in_time(at_ms, now_ms)) {
            let text = format!("{time_name} is too far from our clock");
            return Err(Refused::new(late, text));
        }
        if wanted(&desk.credentials.app_secret) != claim.sign {
            return Err(self.mismatch());
        }
        Ok(())
    }
}

/// Unix seconds as milliseconds.
pub fn seconds(text: &str) -> Option<u64> {
    let at_s: u64 = text.parse().ok()?;
    Some(at_s.saturating_mul(1000))
}

/// Name and time of an `Authorization` that is base64 of `name:time`, without a scheme.
///
/// # Errors
/// When it is none.
pub fn basic(call: &Call, gate: &Gate) -> Result<(String, String), Refused> {
    let text = call.header("authorization").and_then(from_base64);
    let text = text.ok_or_else(|| gate.refuse("Authorization is no base64"))?;
    let parts = text.split_once(':');
    let (name, at) = parts.ok_or_else(|| gate.refuse("Authorization has no time"))?;
    Ok((name.to_owned(), at.to_owned()))
}

/// The value of a name in a list like `name=value, name=value`.
pub fn listed<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    let mut items = list
        .split(',')
        .filter_map(|item| item.trim().split_once('='));
    items
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Credentials;
    use crate::sim::dialects::ALL;

    #[test]
    fn what_is_wrong_first_is_said() {
        let gate = Gate::of("1", ["key", "ts", "sign"]);
        let desk = Desk::new(ALL[0], Credentials::new("k", "s"));
        let now_ms = 1_000_000_000;
        for (key, at_ms, sign, expected) in [
            ("k", Some(now_ms), "ws", None),
            ("K", None, "", Some("key is unknown")),
            ("k", None, "", Some("ts is too far from our clock")),
            ("k", Some(0), "", Some("ts is too far from our clock")),
            ("k", Some(now_ms), "wS", Some("sign does not match")),
        ] {
            let claim = Claim { key, at_ms, sign };
            let passed = gate.pass(&desk, now_ms, claim, |secret| format!("w{secret}"));
            let said = passed.err().map(|refused| refused.text);
            assert_eq!(said.as_deref(), expected);
        }
    }

    #[test]
    fn a_list_is_read_by_name() {
        let list = "Credential=a/b, SignedHeaders=x;y,Signature=00";
        assert_eq!(listed(list, "SignedHeaders"), Some("x;y"));
        assert_eq!(listed(list, "signature"), None);
    }
}
