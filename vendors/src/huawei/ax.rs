//! AX mode: X is given to one A for good, and anybody who calls X reaches A. For the other way
//! round the callee of A's next call is named first (`privatenumber_02_0010` to `02_0015`).
//!
//! The platform keeps one named callee per X: naming another overwrites it, nothing clears it, and
//! it ends by itself after `callee_duration`. A relation has no lifetime of its own.

use serde::Serialize;

use super::{Extras, Huawei, direction, id, json, platform_number, text};
use crate::exchange::{Attempt, Op, Request, percent};
use crate::interface::Interface;
use crate::outcome::{AxBind, Class, Failure, Handle};

/// What an interface says about AX mode.
#[derive(Clone)]
pub(super) struct Settings {
    bind_url: String,
    unbind_url: String,
    query_url: String,
    callee_url: String,
    callee_num_display: Option<String>,
    call_direction: Option<u8>,
    extras: Extras,
    callee_duration_s: Option<u64>,
}

/// The bind body; the order of the fields is the order on the wire.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BindBody<'a> {
    orig_num: String,
    private_num: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    callee_num_display: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_direction: Option<u8>,
    #[serde(flatten)]
    extras: &'a Extras,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_data: Option<&'a str>,
}

/// The body that names a callee, for the relation of an id or of an X.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CalleeBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_num: Option<String>,
    callee_num: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_data: Option<&'a str>,
}

impl Settings {
    pub(super) fn read(interface: &Interface) -> Settings {
        Settings {
            bind_url: interface.url(Op::AxBind),
            unbind_url: interface.url(Op::AxUnbind),
            query_url: interface.url(Op::AxQuery),
            callee_url: interface.url(Op::SetCallee),
            callee_num_display: text(interface, "ax_callee_num_display"),
            call_direction: direction(interface, "ax_call_direction"),
            extras: Extras::read(interface, "ax_"),
            callee_duration_s: interface
                .param("callee_duration")
                .and_then(|seconds| seconds.parse().ok()),
        }
    }
}

impl Huawei {
    /// The request that gives X to A.
    ///
    /// # Errors
    /// `Permanent` when a number is empty or holds anything but digits after an optional `+`.
    pub fn ax_bind(&self, bind: &AxBind, attempt: &Attempt) -> Result<Request, Failure> {
        let body = BindBody {
            orig_num: platform_number("a", &bind.a)?,
            private_num: platform_number("x", &bind.x)?,
            callee_num_display: self.ax.callee_num_display.as_deref(),
            call_direction: self.ax.call_direction,
            extras: &self.ax.extras,
            user_data: self.user_data(&bind.own_id),
        };
        Ok(self.request(Op::AxBind, self.ax.bind_url.clone(), json(&body), attempt))
    }

    /// The request that takes X from A: by the id of the handle, or by both numbers when it has
    /// none, which is just as exact since a relation has no other key.
    ///
    /// # Errors
    /// `Permanent` when there is no id and a number is malformed.
    pub fn ax_unbind(
        &self,
        handle: &Handle,
        numbers: &AxBind,
        attempt: &Attempt,
    ) -> Result<Request, Failure> {
        let which = match id(handle) {
            Some(id) => format!("subscriptionId={}", percent(id)),
            None => format!(
                "origNum={}&privateNum={}",
                percent(&platform_number("a", &numbers.a)?),
                percent(&platform_number("x", &numbers.x)?)
            ),
        };
        let url = format!("{}?{which}", self.ax.unbind_url);
        Ok(self.request(Op::AxUnbind, url, String::new(), attempt))
    }

    /// The request that names the callee of A's next call to X, by the id of the handle, or by X
    /// when it has none.
    ///
    /// # Errors
    /// `Permanent` when a number is malformed.
    pub fn set_callee(
        &self,
        handle: &Handle,
        numbers: &AxBind,
        b: &str,
        attempt: &Attempt,
    ) -> Result<Request, Failure> {
        let subscription_id = id(handle);
        let private_num = match subscription_id {
            Some(_) => None,
            None => Some(platform_number("x", &numbers.x)?),
        };
        let body = CalleeBody {
            subscription_id,
            private_num,
            callee_num: platform_number("b", b)?,
            duration: self.ax.callee_duration_s,
            user_data: self.user_data(&numbers.own_id),
        };
        let url = self.ax.callee_url.clone();
        Ok(self.request(Op::SetCallee, url, json(&body), attempt))
    }

    /// The request that asks to whom X is given; with an empty X, what is given to A. The vendor
    /// describes one number a question, and X alone is exact, since it has one A at most.
    ///
    /// # Errors
    /// `Permanent` when both numbers are empty, or the one that is asked for is malformed.
    pub fn ax_query(&self, numbers: &AxBind, attempt: &Attempt) -> Result<Request, Failure> {
        let (field, number) = if numbers.x.is_empty() {
            if numbers.a.is_empty() {
                let text = "neither a nor x is given";
                return Err(Failure::new(Class::Permanent, "number", text));
            }
            ("origNum", platform_number("a", &numbers.a)?)
        } else {
            ("privateNum", platform_number("x", &numbers.x)?)
        };
        let url = format!("{}?{field}={}", self.ax.query_url, percent(&number));
        Ok(self.request(Op::AxQuery, url, String::new(), attempt))
    }
}
