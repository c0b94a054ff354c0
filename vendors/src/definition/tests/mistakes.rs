//! Definitions with mistakes: each is told with its line and column and names the culprit.

use super::super::Definition;

const GOOD: &str = r#"name = "demo"
title = "Demo platform"
id = 900
base_url = "https://demo.example"
source = "made up"

[params.key]
text = 32
required = true
help = "the key"

[params.secret]
text = 32
required = true
secret = true
help = "the secret"

[params.mode]
choice = ["one", "two"]
default = "one"
help = "how"

[params.tone]
text = 32
help = "a file"

[steps]
text = '{method}{path}{nonce}{param.secret}{param.mode}'
sign = '{text | md5 | hex}'

[operations.bind]
method = "POST"
path = "/bind"
send = "json"
headers = { Sign = "{sign}", Key = "{param.key}" }
body = { a = "{a | e164}", x = "{x | e164}", b = "{b | e164}", tone = "{param.tone}" }
answer = { handle.id = "/data/id", x = "/data/x" }

[operations.unbind]
method = "DELETE"
path = "/bind/{handle.id}"
headers = { Sign = "{sign}" }

[answer]
code = "/code"
text = "/message"
success = { status = 200, code = 0 }

[[rules]]
code = [404, "5*"]
class = "gone"
means = "does not exist"

[policy]
conflict = "pair"
pair_rest_ms = 1000
recover = ["wait"]
"#;

/// `line:column: text` of every mistake after a part of the good definition was replaced.
fn told(old: &str, new: &str) -> Vec<String> {
    assert!(GOOD.contains(old), "{old}");
    let text = GOOD.replacen(old, new, 1);
    match Definition::parse(&text) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_good_one_is_taken() {
    assert_eq!(told("", ""), [""; 0]);
}

#[test]
fn each_mistake_is_told_with_its_place() {
    let mut missed = Vec::new();
    for (old, new, said) in [
        ("id = 900", "id = ", "3:6: "),
        ("id = 900", "id = 900\nid = 901", "4:1: duplicate key"),
        ("id = 900", "id = -1", "3:6: `id` must be a whole number"),
        ("title =", "titel =", "2:1: `titel` is not known here"),
        (
            "name = \"demo\"",
            "name = \"De mo\"",
            "1:9: must be 1 to 32",
        ),
        (
            "| md5",
            "| md6",
            "29:17: no function `md6`, known are: e164",
        ),
        ("| md5", "| MD5", "29:17: no function `MD5`; there is `md5`"),
        (
            "{text | md5",
            "{txt | md5",
            "29:10: `txt` is no value and no step",
        ),
        (
            "{param.secret}",
            "{param.secrets}",
            "28:31: no parameter `secrets`, known are: key, secret",
        ),
        (
            "{param.secret}",
            "{param.tone}",
            "may be absent here; end it with",
        ),
        (
            "{param.secret}",
            "{a}",
            "a phone number (write it with e164",
        ),
        ("{param.secret}", "{now}", "a moment (write it with unix"),
        ("{param.secret}", "{page}", "there is no `page` in `bind`"),
        ("{param.secret}", "{sign}", "`sign` is made of itself"),
        (
            "{param.secret}",
            "",
            "parameter `secret` is needed by nothing",
        ),
        (
            "sign = '",
            "rest = 'x'\nsign = '",
            "29:1: step `rest` is needed by nothing",
        ),
        (
            "| hex}'",
            "}'",
            "bytes (write them with hex or base64) is no header",
        ),
        ("| hex}'", "| join(\"\", \"\")}'", "`join` takes fields"),
        ("| hex}'", "| hex(\"x\")}'", "is written `hex()`"),
        (
            "{nonce}",
            "{nonce | cut(0)}",
            "must be a whole number from 1 to 4096",
        ),
        (
            "{param.mode}",
            "{param.mode | match(\"one\": \"x\", \"too\": \"y\")}",
            "it is never \"too\", known are: one, two",
        ),
        (
            "{param.mode}",
            "{param.mode | match(\"one\": \"x\")}",
            "may be absent here",
        ),
        (
            "{param.mode}",
            "{param.mode | match(\"one\": \"x\", \"two\": \"y\", else: \"z\")}",
            "`else` is never reached",
        ),
        (
            "{param.mode}",
            "{param.mode | or(\"x\")}",
            "it is never absent",
        ),
        ("{nonce}", "{now | time(\"x\")}", "holds none of YYYY"),
        ("{nonce}", "{nonce", "28:29: `{` is not expected here"),
        (
            "/bind/{handle.id}",
            "/bind/{handle.sub}",
            "41:16: no handle `sub` is captured, known are: id",
        ),
        (
            "path = \"/bind\"\n",
            "path = \"bind\"\n",
            "33:9: must begin with `/`",
        ),
        (
            "method = \"POST\"",
            "method = \"PATCH\"",
            "32:10: \"PATCH\" is not known, known are: GET",
        ),
        ("send = \"json\"\n", "", "there is a body but no `send`"),
        (
            "answer = { handle.id = \"/data/id\", x",
            "answer = { x",
            "`handle` is missing",
        ),
        (
            "handle.id = \"/data/id\"",
            "handle.id = { from = \"/data/id\", optional = true }",
            "one value that is always there",
        ),
        ("\"/data/id\"", "\"data/id\"", "must be a JSON pointer"),
        (
            "[operations.unbind]",
            "[operations.unbnd]",
            "no operation `unbnd`",
        ),
        (
            "code = [404, \"5*\"]",
            "code = 0\nstatus = 200",
            "is never reached: it speaks of success",
        ),
        (
            "class = \"gone\"",
            "class = \"gon\"",
            "51:9: \"gon\" is not known",
        ),
        ("code = \"/code\"\n", "", "`code` is missing"),
        (
            "means = \"does not exist\"",
            "means = \"x\"\n\n[[rules]]\ncode = [7, 501]\nclass = \"permanent\"\nmeans = \"y\"",
            "code 501 is never reached",
        ),
        (
            "recover = [\"wait\"]",
            "recover = [\"query\"]",
            "there is no `operations.query`",
        ),
        (
            "recover = [\"wait\"]",
            "recover = [\"wait\", \"numbers\"]",
            "is never reached: `wait`",
        ),
        (
            "recover = [\"wait\"]",
            "recover = [\"wait\"]\nretry.bind = { unknown = 1 }",
            "might bind twice: `recover` has no `repeat`",
        ),
        (
            "conflict = \"pair\"",
            "conflict = \"pears\"",
            "55:12: \"pears\" is not known",
        ),
        (
            "default = \"one\"",
            "default = \"three\"",
            "the default \"three\" is none of one, two",
        ),
        (
            "text = 32\nhelp = \"a file\"",
            "text = 32\nneeds = \"flag\"\nhelp = \"a file\"",
            "no parameter `flag`",
        ),
        (
            "text = 32\nhelp = \"a file\"",
            "help = \"a file\"",
            "needs one of text = BYTES",
        ),
        ("help = \"a file\"", "", "`help` is missing"),
        (
            "[steps]",
            "variant = \"mode\"\n[steps]",
            "`variant` is not known here",
        ),
    ] {
        let told = told(old, new);
        if !told.iter().any(|line| line.contains(said)) {
            missed.push(format!("{said}: {told:#?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn places_inside_escaped_and_long_texts_are_right() {
    let line = "text = \"\\\"\\u53f7{txt}\"";
    assert!(
        told(
            "text = '{method}{path}{nonce}{param.secret}{param.mode}'",
            line
        )[0]
        .starts_with("28:18: `txt`")
    );
    let long = "text = '''\n{method}\n  {nonce | uuuid}'''";
    let found = told(
        "text = '{method}{path}{nonce}{param.secret}{param.mode}'",
        long,
    );
    assert!(
        found[0].starts_with("30:12: no function `uuuid`"),
        "{found:?}"
    );
}

#[test]
fn damaged_definitions_are_read_without_panic() {
    crate::damage::damaged(&[GOOD.as_bytes()], 3_000, |bytes| {
        if let Ok(text) = std::str::from_utf8(bytes) {
            let _ = Definition::parse(text);
        }
    });
}

#[test]
fn a_definition_has_bounds() {
    let many: String = (0..300)
        .map(|n| format!("[params.p{n}]\ntext = 1\nhelp = 'x'\n"))
        .collect();
    assert!(Definition::parse(&format!("{GOOD}{many}")).is_err());
    let deep = format!("x = {}1{}", "[".repeat(500), "]".repeat(500));
    assert!(Definition::parse(&deep).is_err());
    assert!(Definition::parse(&" ".repeat(super::super::FILE_MAX + 1)).is_err());
    assert!(Definition::parse("").unwrap_err().len() > 4);
}
