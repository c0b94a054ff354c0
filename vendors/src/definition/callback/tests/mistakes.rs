//! Definitions whose call-backs have mistakes: each is told with its line and column.

use crate::definition::Definition;

/// A definition with one call-back.
const GOOD: &str = r#"name = "demo"
title = "Demo platform"
id = 900
base_url = "https://demo.example"
source = "made up"

[params.secret]
text = 32
required = true
secret = true
help = "the secret"

[params.zone]
choice = ["utc", "+08:00"]
default = "utc"
help = "the zone"

[operations.bind]
method = "POST"
path = "/bind"
send = "json"
body = { a = "{a | e164}", x = "{x | e164}", b = "{b | e164}", secret = "{param.secret}" }
answer = { handle.id = "/data/id" }

[operations.unbind]
method = "DELETE"
path = "/bind/{handle.id}"

[answer]
code = "/code"
success = { status = 200, code = 0 }

[policy]
conflict = "pair"
pair_rest_ms = 1000
recover = ["wait"]

[callback.steps]
text = "{method}{url}{path}{query | join(\"\", \"\")}{body}{param.secret}"

[callbacks.events]
help = "all events"
body = "json"
auth = { given = "{header.Sign}", expected = "{text | md5 | hex}" }
kind = { field = "/type", words = { a = "answered", s = "ignored" } }
key = ["/id", "/type"]
handle.id = "/bind"
times = { format = "YYYYMMDDhhmmss", zone = "{param.zone}", at = "/at" }
cost = "/fee"
"#;

#[test]
fn a_definition_of_call_backs_is_compiled() {
    let definition = Definition::parse(GOOD).unwrap();
    assert_eq!(definition.callbacks.len(), 1);
    assert_eq!(definition.callbacks[0].name, "events");
    assert_eq!(definition.callbacks[0].reply().status, 200);
}

#[test]
fn mistakes_in_call_backs_are_told_with_their_place() {
    for (line, instead, said) in [
        (
            "key = [\"/id\", \"/type\"]",
            "key = [\"id\"]",
            "46:9: must be a JSON pointer like `/data/id`",
        ),
        (
            "key = [\"/id\", \"/type\"]",
            "key = []",
            "46:7: `key` is empty: what is the same when a push is repeated",
        ),
        (
            "key = [\"/id\", \"/type\"]",
            "key = [[\"/id\"], []]",
            "46:17: `key` is empty",
        ),
        ("key = [\"/id\", \"/type\"]", "", "41:12: `key` is missing"),
        (
            "handle.id = \"/bind\"",
            "handle.no = \"/bind\"",
            "47:8: no handle `no` is captured, known are: id",
        ),
        (
            "{header.Sign}",
            "{header.Sign | sha1}",
            "44:18: bytes (write them with hex or base64) cannot be compared",
        ),
        (
            "{text | md5 | hex}",
            "secret",
            "44:46: must be made of a parameter: a constant is no proof",
        ),
        (
            "{text | md5 | hex}",
            "{nonce}",
            "44:48: a call-back has no value and no step `nonce`, known are: method, url, bare_url, host, path, suffix, query, body, now, text",
        ),
        (
            "{text | md5 | hex}",
            "{a}",
            "44:48: a call-back has no value and no step `a`, known are: method, url, bare_url, host, path, suffix, query, body, now, text",
        ),
        (
            "{text | md5 | hex}",
            "{header.A}{param.secret}",
            "44:48: may be absent here; end it with `| or(…)` or `| need`",
        ),
        (
            "{text | md5 | hex}",
            "{param.secret}",
            "39:1: step `text` is needed by nothing",
        ),
        ("auth = {", "auht = {", "41:12: `auth` is missing"),
        (
            "words = { a = \"answered\"",
            "words = { a = \"anwsered\"",
            "45:41: \"anwsered\" is not known, known are: started, ringing, answered, ended, bill, recording, other, ignored",
        ),
        (
            "at = \"/at\"",
            "att = \"/at\"",
            "48:61: `att` is not known here, known are: format, zone, at, started, ringing, answered, ended, answered_at_end_is_never",
        ),
        (
            "zone = \"{param.zone}\"",
            "zone = \"{param.secret}\"",
            "48:46: must be a choice of zones with a default",
        ),
        (
            "zone = \"{param.zone}\"",
            "zone = \"cst\"",
            "48:46: a zone is `utc` or like `+08:00`",
        ),
        (
            "format = \"YYYYMMDDhhmmss\", zone = \"{param.zone}\", ",
            "",
            "48:11: a time needs `format` beside it",
        ),
        (
            "cost = \"/fee\"",
            "reply = { status = 99 }",
            "49:20: must be an HTTP status from 200 to 599",
        ),
        (
            "cost = \"/fee\"",
            "rows_max = 5000",
            "49:12: must be 1 to 1000",
        ),
        (
            "expected = ",
            "skew_s = 5, expected = ",
            "44:1: `at`, `format` and `skew_s` belong together",
        ),
        (
            "[callbacks.events]",
            "[callbacks.\"Ev ents\"]",
            "41:12: must be 1 to 32 of a-z, 0-9, - and _",
        ),
    ] {
        assert!(GOOD.contains(line), "{line}");
        let text = GOOD.replacen(line, instead, 1);
        let mistakes = Definition::parse(&text).expect_err(instead);
        assert_eq!(mistakes[0].to_string(), said, "{instead}");
    }
}
