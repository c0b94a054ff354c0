//! Huawei Cloud PrivateNumber. AXB mode: one POST binds, one DELETE by subscription id unbinds, one
//! GET by X, A and B tells what is bound. AX mode ([`ax`]) has the same three on another path, and
//! a PUT that names the callee of A's next call. Source: the vendor's API reference
//! `privatenumber_02_0001` to `02_0022` and its FAQ; what those leave open is a parameter.
//!
//! Two traps shape this module. In AXB mode DELETE with only `relationNum` releases *every* binding
//! on that X, so an unbind without a subscription id is refused here and never sent. And binding is
//! not idempotent: the same triple again answers 1012010, so recovery is a query.
//!
//! By the FAQ an application belongs to one mode and is answered 1010040 in the other; an operator
//! whose application serves one mode makes an interface for each.
//!
//! Everything here is pure: the clock and the nonce come in with [`Attempt`].

mod ax;
mod codes;
mod description;
mod read;
mod sign;
#[cfg(test)]
mod vectors;

pub use description::DESCRIPTION;
pub use read::{
    read_ax_bind, read_ax_query, read_bind, read_page, read_query, read_set_callee, read_unbind,
};
pub use sign::{Digest, Scheme, Signer};

use serde::Serialize;

use crate::exchange::{Attempt, Op, Request, percent};
use crate::interface::{Finding, Interface};
use crate::numbers::to_e164;
use crate::outcome::{Bind, Class, Failure, Handle};

/// The name under which a handle keeps the platform's id.
pub const SUBSCRIPTION_ID: &str = "subscriptionId";

/// Rows asked for at once by [`Huawei::page`]: the most the vendor gives.
pub const PAGE_ROWS: u32 = 100;

/// Everything an interface says about requests, read once.
#[derive(Clone)]
pub struct Huawei {
    signer: Signer,
    bind_url: String,
    unbind_url: String,
    query_url: String,
    call_direction: Option<u8>,
    expiration_s: u64,
    extras: Extras,
    user_data: bool,
    ax: ax::Settings,
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
    #[serde(flatten)]
    extras: &'a Extras,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_data: Option<&'a str>,
}

/// What both kinds of binding may carry beside their numbers.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Extras {
    #[serde(skip_serializing_if = "Option::is_none")]
    record_flag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_hint_tone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_min_voice: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_sms: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pre_voice: Option<PreVoice>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct PreVoice {
    #[serde(skip_serializing_if = "Option::is_none")]
    caller_hint_tone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callee_hint_tone: Option<String>,
}

impl Extras {
    /// Those of the parameters whose names begin with `prefix`.
    fn read(interface: &Interface, prefix: &str) -> Extras {
        let text = |name: &str| text(interface, &format!("{prefix}{name}"));
        let pre_voice = PreVoice {
            caller_hint_tone: text("caller_hint_tone"),
            callee_hint_tone: text("callee_hint_tone"),
        };
        let any_tone = pre_voice.caller_hint_tone.is_some() || pre_voice.callee_hint_tone.is_some();
        Extras {
            record_flag: text("record_flag"),
            record_hint_tone: text("record_hint_tone"),
            max_duration: text("max_duration").and_then(|minutes| minutes.parse().ok()),
            last_min_voice: text("last_min_voice"),
            private_sms: text("private_sms"),
            pre_voice: any_tone.then_some(pre_voice),
        }
    }
}

impl Huawei {
    /// Reads an interface that [`Interface::check`] found free of errors.
    pub fn new(interface: &Interface) -> Huawei {
        let scheme = Scheme::of(interface.param("scheme"));
        Huawei {
            signer: Signer::new(
                text(interface, "app_key").unwrap_or_default(),
                text(interface, "app_secret").unwrap_or_default(),
                scheme,
                Digest::of(interface.param("digest"), scheme),
            ),
            bind_url: interface.url(Op::Bind),
            unbind_url: interface.url(Op::Unbind),
            query_url: interface.url(Op::Query),
            call_direction: direction(interface, "call_direction"),
            expiration_s: interface.expiration_s().unwrap_or(0),
            extras: Extras::read(interface, ""),
            user_data: interface.param("user_data") == Some("true"),
            ax: ax::Settings::read(interface),
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
            extras: &self.extras,
            user_data: self.user_data(&bind.own_id),
        };
        Ok(self.request(Op::Bind, self.bind_url.clone(), json(&body), attempt))
    }

    /// The request that releases one binding, by its subscription id alone.
    ///
    /// # Errors
    /// `Permanent` when the handle has no subscription id: by X alone the platform would release
    /// the bindings of every other call on that X.
    pub fn unbind(&self, handle: &Handle, attempt: &Attempt) -> Result<Request, Failure> {
        let Some(id) = id(handle) else {
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

    /// The request for one page of all bindings on X; pages count from 1.
    ///
    /// # Errors
    /// `Permanent` when the number is malformed.
    pub fn page(&self, x: &str, page: u32, attempt: &Attempt) -> Result<Request, Failure> {
        let url = format!(
            "{}?relationNum={}&pageIndex={page}&pageSize={PAGE_ROWS}",
            self.query_url,
            percent(&platform_number("x", x)?)
        );
        Ok(self.request(Op::XQuery, url, String::new(), attempt))
    }

    /// Our own id, where the interface asks for it.
    fn user_data<'a>(&self, own_id: &'a str) -> Option<&'a str> {
        (self.user_data && !own_id.is_empty()).then_some(own_id)
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
    for prefix in ["", "ax_"] {
        let last_min_voice = format!("{prefix}last_min_voice");
        let max_duration = format!("{prefix}max_duration");
        if params.contains_key(&last_min_voice) && !params.contains_key(&max_duration) {
            let text =
                format!("has no effect without params.{max_duration}, and the platform refuses it");
            found.push(Finding::error(format!("params.{last_min_voice}"), text));
        }
        let tone = format!("{prefix}record_hint_tone");
        let flag = format!("{prefix}record_flag");
        if params.contains_key(&tone) && interface.param(&flag) != Some("true") {
            let text = format!("has no effect unless params.{flag} is true");
            found.push(Finding::warning(format!("params.{tone}"), text));
        }
    }
    if interface.param("ax_call_direction") == Some("2") {
        let text = "2 lets nobody call out over ax";
        found.push(Finding::warning("params.ax_call_direction", text));
    }
    if params.get("expiration").is_some_and(|value| value == "0") {
        // The table of forms has already warned that it is below 7200.
        let text = "0 means for ever: a lost unbind is then never cleaned up by the platform";
        found.push(Finding::warning("params.expiration", text));
    }
    found
}

/// The subscription id of a handle that has one.
fn id(handle: &Handle) -> Option<&str> {
    let id = handle.get(SUBSCRIPTION_ID)?;
    (!id.is_empty()).then_some(id)
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("a struct of texts and numbers is JSON")
}

fn text(interface: &Interface, name: &str) -> Option<String> {
    interface.param(name).map(str::to_owned)
}

fn direction(interface: &Interface, name: &str) -> Option<u8> {
    interface.param(name)?.parse().ok()
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
