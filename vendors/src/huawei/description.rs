//! Huawei as data: operations, parameters, codes.

use super::codes::CODES;
use crate::description::{Description, Form, Operation, Param, WarnBelow};
use crate::exchange::{Method, Op};
use crate::policy::{Conflict, Policy};

const PATH: &str = "/rest/caas/relationnumber/partners/v1.0";
const AX_PATH: &str = "/rest/provision/caas/privatenumber/v1.0";
const CALLEE_PATH: &str = "/rest/caas/privatenumber/calleenumber/v1.0";

const fn operation(op: Op, method: Method, path: &'static str) -> Operation {
    Operation { op, method, path }
}

const fn text(name: &'static str, bytes_max: usize, help: &'static str) -> Param {
    Param {
        name,
        form: Form::Text { bytes_max },
        default: None,
        required: false,
        secret: false,
        help,
    }
}

const fn choice(
    name: &'static str,
    words: &'static [&'static str],
    default: Option<&'static str>,
    help: &'static str,
) -> Param {
    Param {
        name,
        form: Form::Choice { words },
        default,
        required: false,
        secret: false,
        help,
    }
}

/// Minutes after which the platform ends an answered call.
const fn minutes(name: &'static str) -> Param {
    Param {
        name,
        form: Form::Number {
            min: 0,
            max: 1440,
            warn_below: None,
        },
        default: None,
        required: false,
        secret: false,
        help: "minutes after which the platform ends an answered call; 0: never",
    }
}

/// Huawei Cloud PrivateNumber, AXB and AX mode.
pub static DESCRIPTION: Description = Description {
    id: 1,
    name: "huawei",
    title: "Huawei Cloud PrivateNumber",
    base_url: "https://rtcpns.cn-north-1.myhuaweicloud.com",
    operations: &[
        operation(Op::Bind, Method::Post, PATH),
        operation(Op::Unbind, Method::Delete, PATH),
        operation(Op::Query, Method::Get, PATH),
        operation(Op::XQuery, Method::Get, PATH),
        operation(Op::AxBind, Method::Post, AX_PATH),
        operation(Op::AxUnbind, Method::Delete, AX_PATH),
        operation(Op::AxQuery, Method::Get, AX_PATH),
        operation(Op::SetCallee, Method::Put, CALLEE_PATH),
    ],
    params: &[
        Param {
            required: true,
            ..text("app_key", 128, "APP_Key of the application")
        },
        Param {
            required: true,
            secret: true,
            ..text("app_secret", 256, "APP_Secret of the application")
        },
        choice(
            "scheme",
            &["AKSK", "WSSE"],
            Some("AKSK"),
            "generation of the signature headers",
        ),
        choice(
            "digest",
            &["hmac-sha256", "sha256"],
            None,
            "how the password digest is made; default: hmac-sha256 for AKSK, sha256 for WSSE",
        ),
        Param {
            name: "expiration",
            form: Form::Number {
                min: 0,
                max: 7_776_000,
                warn_below: Some(WarnBelow {
                    least: 7200,
                    why: "longer calls lose their binding early",
                }),
            },
            default: Some("7200"),
            required: false,
            secret: false,
            help: "seconds the platform keeps a binding by itself; 0: for ever",
        },
        choice(
            "call_direction",
            &["0", "1", "2"],
            None,
            "0 both ways, 1 only A to B, 2 only B to A; default: the platform's, which is 0",
        ),
        choice("record_flag", &["true", "false"], None, "record calls"),
        text(
            "record_hint_tone",
            128,
            "announcement that the call is recorded",
        ),
        minutes("max_duration"),
        text(
            "last_min_voice",
            128,
            "announcement one minute before the end",
        ),
        choice(
            "private_sms",
            &["true", "false"],
            None,
            "carry text messages too",
        ),
        text(
            "caller_hint_tone",
            128,
            "announcement to the caller before the call",
        ),
        text(
            "callee_hint_tone",
            128,
            "announcement to the callee before the call",
        ),
        choice(
            "user_data",
            &["true", "false"],
            Some("false"),
            "send our own id as userData; the vendor must have enabled it",
        ),
        choice(
            "ax_callee_num_display",
            &["0", "1"],
            Some("0"),
            "ax: what A is shown when somebody calls X: 0 X, 1 the real caller",
        ),
        choice(
            "ax_call_direction",
            &["0", "1", "2"],
            None,
            "ax: 0 both ways, 1 only A calls X, 2 only others call X; default: the platform's, which is 0",
        ),
        choice(
            "ax_record_flag",
            &["true", "false"],
            None,
            "ax: record calls",
        ),
        text(
            "ax_record_hint_tone",
            128,
            "ax: announcement that the call is recorded",
        ),
        minutes("ax_max_duration"),
        text(
            "ax_last_min_voice",
            128,
            "ax: announcement one minute before the end",
        ),
        choice(
            "ax_private_sms",
            &["true", "false"],
            None,
            "ax: carry text messages too",
        ),
        text(
            "ax_caller_hint_tone",
            128,
            "ax: announcement to A before a call to X",
        ),
        text(
            "ax_callee_hint_tone",
            128,
            "ax: announcement to others before a call to X",
        ),
        Param {
            name: "callee_duration",
            // The vendor names no upper bound.
            form: Form::Number {
                min: 1,
                max: 86_400,
                warn_below: Some(WarnBelow {
                    least: 10,
                    why: "a call that is set up slowly finds its callee gone",
                }),
            },
            default: Some("60"),
            required: false,
            secret: false,
            help: "ax: seconds for which a named callee waits for A's call",
        },
    ],
    codes: CODES,
    success: "0",
    policy: Policy {
        ax: true,
        set_callee: true,
        query: true,
        // privatenumber_02_0001 and 02_0002: one X carries up to 5,000 bindings, but each user
        // number appears once per X, as either end.
        conflict: Conflict::XCallee,
        // No page says how fast a released number can be bound again ("immediately", by the FAQ);
        // the general rest of DOMAIN §4.2.
        pair_rest_ms: 2000,
    },
};
