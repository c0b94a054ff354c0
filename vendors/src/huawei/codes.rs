//! Result codes, from the vendor's FAQ and reference pages. What a class means for the next step is
//! said at [`Class`].

use crate::description::{Auth, Code, CodeMatch};
use crate::outcome::Class;

const fn code(code: &'static str, class: Class, meaning: &'static str) -> Code {
    Code {
        code: CodeMatch::Is(code),
        class,
        wait_ms: None,
        auth: Auth::Fine,
        meaning,
    }
}

/// First match wins; codes that are not here are judged by HTTP status.
pub(super) const CODES: &[Code] = &[
    code("1010002", Class::Permanent, "invalid request"),
    Code {
        wait_ms: Some(60_000),
        ..code(
            "1010010",
            Class::Throttled,
            "flow control limit of the platform",
        )
    },
    code("1010001", Class::Unknown, "internal error"),
    code("1020002", Class::Unknown, "internal error"),
    code("1010029", Class::VendorDown, "account frozen"),
    code(
        "1010040",
        Class::Config,
        "application belongs to another mode",
    ),
    code(
        "1011001",
        Class::XUnusable,
        "x does not exist in this application",
    ),
    code(
        "1011004",
        Class::XUnusable,
        "x does not belong to this application",
    ),
    code(
        "1012001",
        Class::XUnusable,
        "x does not belong to this application",
    ),
    code("1011005", Class::XConflict, "x is allocated to another a"),
    code(
        "1012010",
        Class::XConflict,
        "x has a binding with this a or b already",
    ),
    Code {
        code: CodeMatch::Gone("1012007"),
        ..code("", Class::NotFound, "binding or x does not exist")
    },
    Code {
        code: CodeMatch::Gone("1016001"),
        ..code("", Class::NotFound, "record does not exist")
    },
    code("1016002", Class::AlreadyBound, "this record exists already"),
    code(
        "1012006",
        Class::PoolExhausted,
        "no number left in the city",
    ),
    code(
        "1012008",
        Class::PoolExhausted,
        "no number left in the city",
    ),
    code("1020001", Class::Permanent, "parameter error"),
    Code {
        auth: Auth::Refused,
        ..code("1020150", Class::Config, "app_key unknown or invalid")
    },
    code(
        "1020166",
        Class::Config,
        "our address is not in the allow list",
    ),
    Code {
        wait_ms: Some(1_800_000),
        auth: Auth::Blocked,
        ..code(
            "1020176",
            Class::VendorDown,
            "our address is blocked after failed authentications",
        )
    },
    Code {
        code: CodeMatch::Prefix("1023"),
        auth: Auth::Refused,
        ..code("", Class::Config, "authentication headers refused")
    },
];
