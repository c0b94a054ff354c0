//! Huawei as data: operations, parameters, codes.

use super::codes::CODES;
use crate::description::{Description, Form, Operation, Param};
use crate::exchange::{Method, Op};

const PATH: &str = "/rest/caas/relationnumber/partners/v1.0";

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
        form: Form::Choice(words),
        default,
        required: false,
        secret: false,
        help,
    }
}

/// Huawei Cloud PrivateNumber, AXB mode.
pub static DESCRIPTION: Description = Description {
    name: "huawei",
    base_url: "https://rtcpns.cn-north-1.myhuaweicloud.com",
    operations: &[
        Operation {
            op: Op::Bind,
            method: Method::Post,
            path: PATH,
        },
        Operation {
            op: Op::Unbind,
            method: Method::Delete,
            path: PATH,
        },
        Operation {
            op: Op::Query,
            method: Method::Get,
            path: PATH,
        },
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
                warn_below: Some((7200, "longer calls lose their binding early")),
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
        Param {
            name: "max_duration",
            form: Form::Number {
                min: 0,
                max: 1440,
                warn_below: None,
            },
            default: None,
            required: false,
            secret: false,
            help: "minutes after which the platform ends an answered call; 0: never",
        },
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
    ],
    codes: CODES,
    success: "0",
};
