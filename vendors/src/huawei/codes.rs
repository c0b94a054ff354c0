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

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use crate::interface::Vendor;
    use crate::outcome::{Class, Service};

    /// Every code, what the trade calls it, and what the switch makes of it: whether a bind tries
    /// another X or only another gateway, whether the platform may hold something afterwards,
    /// whether it stays so until somebody acts, and whether unbind and query take it as "nothing
    /// there".
    const TABLE: &str = "
code     kind         class           bind goes on with  may hold  lasting  nothing there
1010002  invalid      permanent       another gateway    -         lasting  -
1010010  throttled    throttled       another gateway    -         -        -
1010001  timeout      unknown         another gateway    may hold  -        -
1020002  timeout      unknown         another gateway    may hold  -        -
1010029  unavailable  vendor_down     another gateway    -         -        -
1010040  auth         config          another gateway    -         lasting  -
1011001  not_found    x_unusable      another x          -         lasting  -
1011004  not_found    x_unusable      another x          -         lasting  -
1012001  not_found    x_unusable      another x          -         lasting  -
1011005  number_busy  x_conflict      another x          -         -        -
1012010  number_busy  x_conflict      another x          -         -        -
1012007  not_found    not_found       another x          -         lasting  gone
1016001  not_found    not_found       another x          -         lasting  gone
1016002  exists       already_bound   another x          may hold  -        -
1012006  exhausted    pool_exhausted  another gateway    -         -        -
1012008  exhausted    pool_exhausted  another gateway    -         -        -
1020001  invalid      permanent       another gateway    -         lasting  -
1020150  auth         config          another gateway    -         lasting  -
1020166  auth         config          another gateway    -         lasting  -
1020176  unavailable  vendor_down     another gateway    -         -        -
1023006  auth         config          another gateway    -         lasting  -
1023099  auth         config          another gateway    -         lasting  -
7654321  invalid      permanent       another gateway    -         lasting  -
(500)    timeout      unknown         another gateway    may hold  -        -
(429)    throttled    throttled       another gateway    -         -        -
(404)    auth         config          another gateway    -         lasting  -
(401)    auth         config          another gateway    -         lasting  -
";

    fn yes(holds: bool, word: &'static str) -> &'static str {
        if holds { word } else { "-" }
    }

    #[test]
    fn every_code_is_told_apart_as_the_table_says() {
        let (head, rows) = TABLE.trim_start().split_once('\n').unwrap();
        let mut table = format!("\n{head}\n");
        for row in rows.lines() {
            let code = row.split(' ').next().unwrap();
            let status = code
                .strip_prefix('(')
                .map(|rest| rest.trim_end_matches(')'));
            let verdict = match status {
                Some(status) => super::super::DESCRIPTION.verdict(status.parse().unwrap(), None),
                None => super::super::DESCRIPTION.verdict(403, Some(code)),
            };
            let class = verdict.class;
            let next = match class.other_x() {
                Service::Number => "another x",
                Service::Platform => "another gateway",
            };
            let line = format!(
                "{code:<9}{:<13}{:<16}{next:<19}{:<10}{:<9}{}",
                class.kind().word(),
                class.word(),
                yes(class.may_hold(), "may hold"),
                yes(class.lasting(), "lasting"),
                yes(verdict.gone, "gone"),
            );
            writeln!(table, "{line}").unwrap();
        }
        assert_eq!(table, TABLE);
    }

    #[test]
    fn the_table_speaks_of_every_code_that_is_known() {
        for code in super::CODES {
            let word = match code.code {
                super::CodeMatch::Is(word)
                | super::CodeMatch::Gone(word)
                | super::CodeMatch::Prefix(word) => word,
            };
            assert!(TABLE.contains(&format!("\n{word}")), "{word}");
            assert!(!code.meaning.is_empty(), "{word}");
        }
    }

    #[test]
    fn every_word_of_the_trade_is_some_class_of_a_platform_that_tells_them_all_apart() {
        let kinds: Vec<_> = Class::ALL.iter().map(|class| class.kind().word()).collect();
        for word in [
            "exists",
            "not_found",
            "number_busy",
            "exhausted",
            "auth",
            "throttled",
            "unavailable",
            "timeout",
        ] {
            assert!(kinds.contains(&word), "{word}");
        }
    }

    #[test]
    fn what_the_platform_lets_the_pool_do() {
        let policy = serde_json::to_value(Vendor::Huawei.policy()).unwrap();
        let expected = serde_json::json!({
            "ax": true,
            "set_callee": true,
            "query": true,
            "conflict": "x_callee",
            "pair_rest_ms": 2000,
        });
        assert_eq!(policy, expected);
    }

    #[test]
    fn a_form_can_be_made_of_the_schema() {
        for vendor in Vendor::ALL {
            let schema = serde_json::to_value(vendor.schema()).unwrap();
            assert_eq!(schema["name"], vendor.to_string());
            let id = u32::try_from(schema["id"].as_u64().unwrap()).unwrap();
            assert_eq!(Vendor::numbered(id), Some(vendor));
            for param in schema["params"].as_array().unwrap() {
                let help = param["help"].as_str().unwrap();
                assert!(!help.is_empty() && help.len() < 120, "{param}");
            }
        }
        let schema = serde_json::to_value(Vendor::Huawei.schema()).unwrap();
        let urls: Vec<_> = schema["urls"]
            .as_array()
            .unwrap()
            .iter()
            .map(|url| url["name"].as_str().unwrap())
            .collect();
        let expected = [
            "bind",
            "unbind",
            "query",
            "ax_bind",
            "ax_unbind",
            "ax_query",
            "set_callee",
        ];
        assert_eq!(urls, expected);
        let param = |name: &str| {
            let params = schema["params"].as_array().unwrap();
            params.iter().find(|p| p["name"] == name).unwrap().clone()
        };
        assert_eq!(
            param("app_secret"),
            serde_json::json!({
                "name": "app_secret",
                "form": {"kind": "text", "bytes_max": 256},
                "default": null,
                "required": true,
                "secret": true,
                "help": "APP_Secret of the application",
            })
        );
        assert_eq!(
            param("expiration")["form"],
            serde_json::json!({
                "kind": "number", "min": 0, "max": 7_776_000,
                "warn_below": {"least": 7200, "why": "longer calls lose their binding early"},
            })
        );
        assert_eq!(
            param("ax_callee_num_display")["form"],
            serde_json::json!({"kind": "choice", "words": ["0", "1"]})
        );
    }
}
