//! Huawei Cloud PrivateNumber, AXB mode: one POST binds, one DELETE by subscription id unbinds, one
//! GET by X, A and B tells what is bound. Source: the vendor's API reference `privatenumber_02_0001`
//! to `02_0022` and its FAQ; what those leave open is a parameter.
//!
//! Two traps shape this module. DELETE with only `relationNum` releases *every* binding on that X,
//! so an unbind without a subscription id is refused here and never sent. And binding is not
//! idempotent: the same triple again answers 1012010, so recovery is a query.
//!
//! Everything here is pure: the clock and the nonce come in with [`Attempt`].

mod codes;
mod description;
mod read;
mod sign;
#[cfg(test)]
mod vectors;

pub use description::DESCRIPTION;
pub use read::{read_bind, read_query, read_unbind};
pub use sign::{Digest, Scheme, Signer};

use serde::Serialize;

use crate::exchange::{Attempt, Op, Request, percent};
use crate::interface::{Finding, Interface};
use crate::numbers::to_e164;
use crate::outcome::{Bind, Class, Failure, Handle};

/// The name under which a handle keeps the platform's id.
pub const SUBSCRIPTION_ID: &str = "subscriptionId";

/// Everything an interface says about requests, read once.
#[derive(Clone)]
pub struct Huawei {
    signer: Signer,
    bind_url: String,
    unbind_url: String,
    query_url: String,
    call_direction: Option<u8>,
    expiration_s: u64,
    record_flag: Option<String>,
    record_hint_tone: Option<String>,
    max_duration_min: Option<u64>,
    last_min_voice: Option<String>,
    private_sms: Option<String>,
    pre_voice: Option<PreVoice>,
    user_data: bool,
}

/// The bind body; the order of the fields is the order on the wire.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BindBody<'a> {
    relation_num: String,
    caller_num: String,
    callee_num: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_direction: Option<u8>,
    duration: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_flag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_hint_tone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_min_voice: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_sms: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pre_voice: Option<&'a PreVoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_data: Option<&'a str>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct PreVoice {
    #[serde(skip_serializing_if = "Option::is_none")]
    caller_hint_tone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callee_hint_tone: Option<String>,
}

impl Huawei {
    /// Reads an interface that [`Interface::check`] found free of errors.
    pub fn new(interface: &Interface) -> Huawei {
        let text = |name: &str| interface.param(name).map(str::to_owned);
        let number = |name: &str| interface.param(name).and_then(|v| v.parse::<u64>().ok());
        let scheme = Scheme::of(interface.param("scheme"));
        let pre_voice = PreVoice {
            caller_hint_tone: text("caller_hint_tone"),
            callee_hint_tone: text("callee_hint_tone"),
        };
        let any_tone = pre_voice.caller_hint_tone.is_some() || pre_voice.callee_hint_tone.is_some();
        Huawei {
            signer: Signer::new(
                text("app_key").unwrap_or_default(),
                text("app_secret").unwrap_or_default(),
                scheme,
                Digest::of(interface.param("digest"), scheme),
            ),
            bind_url: interface.url(Op::Bind),
            unbind_url: interface.url(Op::Unbind),
            query_url: interface.url(Op::Query),
            call_direction: number("call_direction").and_then(|n| u8::try_from(n).ok()),
            expiration_s: interface.expiration_s().unwrap_or(0),
            record_flag: text("record_flag"),
            record_hint_tone: text("record_hint_tone"),
            max_duration_min: number("max_duration"),
            last_min_voice: text("last_min_voice"),
            private_sms: text("private_sms"),
            pre_voice: any_tone.then_some(pre_voice),
            user_data: interface.param("user_data") == Some("true"),
        }
    }

    /// The request that binds.
    ///
    /// # Errors
    /// `Permanent` when a number is empty or holds anything but digits after an optional `+`.
    pub fn bind(&self, bind: &Bind, attempt: &Attempt) -> Result<Request, Failure> {
        let body = BindBody {
            relation_num: platform_number("x", &bind.x)?,
            caller_num: platform_number("a", &bind.a)?,
            callee_num: platform_number("b", &bind.b)?,
            call_direction: self.call_direction,
            duration: self.expiration_s,
            record_flag: self.record_flag.as_deref(),
            record_hint_tone: self.record_hint_tone.as_deref(),
            max_duration: self.max_duration_min,
            last_min_voice: self.last_min_voice.as_deref(),
            private_sms: self.private_sms.as_deref(),
            pre_voice: self.pre_voice.as_ref(),
            user_data: (self.user_data && !bind.own_id.is_empty()).then_some(&bind.own_id),
        };
        let body = serde_json::to_string(&body).expect("a struct of texts and numbers is JSON");
        Ok(self.request(Op::Bind, self.bind_url.clone(), body, attempt))
    }

    /// The request that releases one binding, by its subscription id alone.
    ///
    /// # Errors
    /// `Permanent` when the handle has no subscription id: by X alone the platform would release
    /// the bindings of every other call on that X.
    pub fn unbind(&self, handle: &Handle, attempt: &Attempt) -> Result<Request, Failure> {
        let id = handle.get(SUBSCRIPTION_ID).filter(|id| !id.is_empty());
        let Some(id) = id else {
            let text = "handle without subscriptionId cannot be unbound";
            return Err(Failure::new(Class::Permanent, "handle", text));
        };
        let url = format!("{}?subscriptionId={}", self.unbind_url, percent(id));
        Ok(self.request(Op::Unbind, url, String::new(), attempt))
    }

    /// The request that asks for the binding of X with A and B; an empty A or B is left out, which
    /// widens the answer to X+A, X+B or all of X.
    ///
    /// # Errors
    /// `Permanent` when a number is malformed.
    pub fn query(&self, numbers: &Bind, attempt: &Attempt) -> Result<Request, Failure> {
        let mut url = format!(
            "{}?relationNum={}",
            self.query_url,
            percent(&platform_number("x", &numbers.x)?)
        );
        for (field, which, number) in [
            ("callerNum", "a", &numbers.a),
            ("calleeNum", "b", &numbers.b),
        ] {
            if !number.is_empty() {
                url.push('&');
                url.push_str(field);
                url.push('=');
                url.push_str(&percent(&platform_number(which, number)?));
            }
        }
        Ok(self.request(Op::Query, url, String::new(), attempt))
    }

    fn request(&self, op: Op, url: String, body: String, attempt: &Attempt) -> Request {
        let operation = DESCRIPTION
            .operation(op)
            .expect("the description lists every operation");
        let [authorization, token] = self.signer.headers(attempt);
        let content_type = ("Content-Type", "application/json;charset=UTF-8".to_owned());
        Request {
            method: operation.method,
            url,
            headers: vec![content_type, authorization, token],
            body,
        }
    }
}

/// What only this vendor can say about an interface.
pub fn check(interface: &Interface) -> Vec<Finding> {
    let mut found = Vec::new();
    let params = &interface.params;
    if params.contains_key("last_min_voice") && !params.contains_key("max_duration") {
        let text = "has no effect without params.max_duration, and the platform refuses it";
        found.push(Finding::error("params.last_min_voice", text));
    }
    if params.contains_key("record_hint_tone") && interface.param("record_flag") != Some("true") {
        let text = "has no effect unless params.record_flag is true";
        found.push(Finding::warning("params.record_hint_tone", text));
    }
    if params.get("expiration").is_some_and(|value| value == "0") {
        // The table of forms has already warned that it is below 7200.
        let text = "0 means for ever: a lost unbind is then never cleaned up by the platform";
        found.push(Finding::warning("params.expiration", text));
    }
    found
}

fn platform_number(which: &str, number: &str) -> Result<String, Failure> {
    let e164 = to_e164(number);
    let digits = e164.strip_prefix('+').unwrap_or("");
    if digits.is_empty() || digits.len() > 30 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        let text = format!("{which} number is not made of digits");
        return Err(Failure::new(Class::Permanent, "number", text));
    }
    Ok(e164)
}
