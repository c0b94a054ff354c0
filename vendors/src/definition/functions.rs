//! The functions that values are piped through: their list for the compiler and for people, and
//! what they do.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::program::{encode, unbuildable};
use super::value::{Func, Kind, Member, Value};
use crate::numbers::{from_e164, to_e164};
use crate::outcome::Failure;

/// A function as the notation has it.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// Its arguments as they are written, empty when it takes none.
    pub args: &'static str,
    /// What goes in and what comes out, for people.
    pub turns: &'static str,
    /// One line.
    pub help: &'static str,
    pub(super) takes: &'static [Kind],
}

const fn function(
    name: &'static str,
    args: &'static str,
    turns: &'static str,
    takes: &'static [Kind],
    help: &'static str,
) -> Function {
    Function {
        name,
        args,
        turns,
        help,
        takes,
    }
}

const NUMBER: &[Kind] = &[Kind::Number];
const TEXT: &[Kind] = &[Kind::Text, Kind::Integer, Kind::Flag];
const WRITTEN: &[Kind] = &[Kind::Text, Kind::Integer, Kind::Flag, Kind::Fields];
const DATA: &[Kind] = &[Kind::Text, Kind::Integer, Kind::Flag, Kind::Bytes];
const BYTES: &[Kind] = &[Kind::Bytes, Kind::Text];
const TIME: &[Kind] = &[Kind::Time];
const INTEGER: &[Kind] = &[Kind::Integer];
const FIELDS: &[Kind] = &[Kind::Fields];
pub(super) const ANY: &[Kind] = &[
    Kind::Text,
    Kind::Integer,
    Kind::Flag,
    Kind::Bytes,
    Kind::Time,
    Kind::Number,
    Kind::Fields,
];

/// Every function there is, as the reference lists them.
pub const FUNCTIONS: &[Function] = &[
    function(
        "e164",
        "",
        "number → text",
        NUMBER,
        "`+8613…`, landlines without the zero of the area code",
    ),
    function(
        "national",
        "[\"bare\"]",
        "number → text",
        NUMBER,
        "`139…`, `021…`; `bare`: landlines without the zero; other countries keep their `+`",
    ),
    function(
        "number",
        "PREFIX [, \"zero\"]",
        "number → text",
        NUMBER,
        "the prefix before the national digits, `zero`: landlines with theirs; `number(\"0086\")`",
    ),
    function(
        "text",
        "",
        "integer, flag → text",
        TEXT,
        "the same as text, which JSON puts in quotes",
    ),
    function(
        "int",
        "",
        "text → integer",
        TEXT,
        "a whole number, which JSON writes without quotes",
    ),
    function(
        "flag",
        "",
        "text → flag",
        TEXT,
        "`true` or `1` and `false` or `0`, which JSON writes without quotes",
    ),
    function(
        "words",
        "TRUE, FALSE",
        "flag → text",
        &[Kind::Flag],
        "one of two texts",
    ),
    function(
        "upper",
        "",
        "text → text",
        TEXT,
        "ASCII letters in upper case",
    ),
    function(
        "lower",
        "",
        "text → text",
        TEXT,
        "ASCII letters in lower case",
    ),
    function(
        "strip",
        "CHARS",
        "text, fields → the same",
        WRITTEN,
        "without these characters; of fields, without them in every value",
    ),
    function("cut", "N", "text → text", TEXT, "the first N characters"),
    function(
        "replace",
        "OLD, NEW",
        "text → text",
        TEXT,
        "every OLD replaced",
    ),
    function(
        "percent",
        "[KEEP]",
        "text, fields → the same",
        WRITTEN,
        "percent-encoded as in RFC 3986, these characters kept; of fields, names and values",
    ),
    function(
        "form",
        "",
        "text, fields → the same",
        WRITTEN,
        "percent-encoded with `+` for a space; of fields, names and values",
    ),
    function(
        "json",
        "",
        "anything → text",
        WRITTEN,
        "as JSON without spaces",
    ),
    function(
        "base64",
        "",
        "bytes, text → text",
        BYTES,
        "base64 with padding",
    ),
    function(
        "hex",
        "",
        "bytes, text → text",
        BYTES,
        "hexadecimal, lower case",
    ),
    function("md5", "", "text, bytes → bytes", DATA, "MD5"),
    function("sha1", "", "text, bytes → bytes", DATA, "SHA-1"),
    function("sha256", "", "text, bytes → bytes", DATA, "SHA-256"),
    function("sm3", "", "text, bytes → bytes", DATA, "SM3 of GB/T 32905"),
    function(
        "hmac_md5",
        "KEY",
        "text, bytes → bytes",
        DATA,
        "HMAC with MD5; the key is text, or the bytes of an earlier step",
    ),
    function(
        "hmac_sha1",
        "KEY",
        "text, bytes → bytes",
        DATA,
        "HMAC with SHA-1",
    ),
    function(
        "hmac_sha256",
        "KEY",
        "text, bytes → bytes",
        DATA,
        "HMAC with SHA-256",
    ),
    function(
        "hmac_sm3",
        "KEY",
        "text, bytes → bytes",
        DATA,
        "HMAC with SM3",
    ),
    function("unix", "", "moment → integer", TIME, "Unix seconds"),
    function("unix_ms", "", "moment → integer", TIME, "Unix milliseconds"),
    function(
        "time",
        "FORMAT [, ZONE]",
        "moment → text",
        TIME,
        "of `YYYY MM DD hh mm ss SSS` and other characters as they are; zone `utc` or like `+08:00`",
    ),
    function(
        "plus",
        "SECONDS",
        "moment → moment",
        TIME,
        "so many seconds later",
    ),
    function(
        "at_least",
        "N",
        "integer → integer",
        INTEGER,
        "N when it is smaller",
    ),
    function(
        "at_most",
        "N",
        "integer → integer",
        INTEGER,
        "N when it is larger",
    ),
    function(
        "digits",
        "N",
        "text → text",
        TEXT,
        "at most N decimal digits made of hexadecimal ones, for a nonce",
    ),
    function(
        "uuid",
        "",
        "text → text",
        TEXT,
        "32 hexadecimal digits with the dashes of a UUID, lower case",
    ),
    function(
        "quoted",
        "NAME",
        "text → text",
        TEXT,
        "what stands in quotes after `NAME=`, as header fields have it; absent when nothing does",
    ),
    function(
        "or",
        "VALUE",
        "anything → the same",
        ANY,
        "VALUE when it is absent",
    ),
    function(
        "need",
        "",
        "anything → the same",
        ANY,
        "no request is made when it is absent",
    ),
    function(
        "when",
        "SUBJECT, WORD …",
        "anything → the same",
        ANY,
        "absent unless SUBJECT is one of the words",
    ),
    function(
        "unless",
        "VALUE",
        "anything → the same",
        ANY,
        "absent where VALUE is present",
    ),
    function(
        "match",
        "WORD: VALUE … [, else: VALUE]",
        "text → anything",
        TEXT,
        "the value beside the word it is",
    ),
    function(
        "sort",
        "",
        "fields → fields",
        FIELDS,
        "by name, byte by byte",
    ),
    function(
        "without",
        "NAME …",
        "fields → fields",
        FIELDS,
        "all but these",
    ),
    function("only", "NAME …", "fields → fields", FIELDS, "these alone"),
    function(
        "lift",
        "NAME",
        "fields → fields",
        FIELDS,
        "the members of a nested field in its place",
    ),
    function(
        "filled",
        "",
        "fields → fields",
        FIELDS,
        "without empty values",
    ),
    function(
        "lower_names",
        "",
        "fields → fields",
        FIELDS,
        "names in lower case",
    ),
    function(
        "replace_names",
        "OLD, NEW",
        "fields → fields",
        FIELDS,
        "every OLD in the names replaced",
    ),
    function(
        "join",
        "PAIR, ITEM",
        "fields → text",
        FIELDS,
        "`join(\"=\", \"&\")`: PAIR between name and value, ITEM between fields; a nested field as its JSON",
    ),
    function(
        "names",
        "ITEM",
        "fields → text",
        FIELDS,
        "the names alone, ITEM between them",
    ),
];

/// What a function makes of a value; what is absent stays absent.
pub(super) fn apply<'s>(
    func: &Func,
    value: Value<'s>,
    said: impl Fn() -> String,
) -> Result<Value<'s>, Failure> {
    if value == Value::Absent {
        return match func {
            Func::Need { code, what } => Err(unbuildable(code, format!("{what} is missing"))),
            _ => Ok(Value::Absent),
        };
    }
    let owned = |text: String| Ok(Value::Text(Cow::Owned(text)));
    match func {
        Func::E164 => owned(number(&value.text(), said)?),
        Func::National { bare } => {
            let e164 = number(&value.text(), said)?;
            match e164.strip_prefix("+86") {
                Some(national) if *bare => owned(national.to_owned()),
                _ => owned(from_e164(&e164)),
            }
        }
        Func::Number { prefix, zero } => {
            let e164 = number(&value.text(), said)?;
            owned(match e164.strip_prefix("+86") {
                Some(_) if *zero => format!("{prefix}{}", from_e164(&e164)),
                Some(national) => format!("{prefix}{national}"),
                None => {
                    let abroad = prefix.strip_suffix("86").unwrap_or(prefix);
                    format!("{abroad}{}", e164.trim_start_matches('+'))
                }
            })
        }
        Func::Upper => owned(value.text().to_ascii_uppercase()),
        Func::Lower => owned(value.text().to_ascii_lowercase()),
        Func::Strip(chars) => Ok(values(value, |text| {
            text.replace(|c| chars.contains(c), "")
        })),
        Func::Cut(most) => {
            let text = value.into_text();
            match text.char_indices().nth(*most) {
                Some((end, _)) => owned(text[..end].to_owned()),
                None => Ok(Value::Text(text)),
            }
        }
        Func::Replace(old, new) => owned(value.text().replace(&**old, new)),
        Func::Integer => match value.text().parse() {
            Ok(integer) => Ok(Value::Integer(integer)),
            Err(_) => Err(unbuildable("value", "a parameter is no whole number")),
        },
        Func::Flag => match &*value.text() {
            "true" | "1" => Ok(Value::Flag(true)),
            "false" | "0" => Ok(Value::Flag(false)),
            _ => Err(unbuildable(
                "value",
                "a parameter is neither true nor false",
            )),
        },
        Func::Text => Ok(Value::Text(value.into_text())),
        Func::Words(yes, no) => {
            let word = if value == Value::Flag(true) { yes } else { no };
            owned(word.to_string())
        }
        Func::Percent(keep) => Ok(encoded(value, |text| percent_but(text, keep))),
        Func::Form => Ok(encoded(value, |text| {
            let mut out = String::new();
            encode(text, true, &mut out);
            out
        })),
        Func::Json => {
            let mut out = String::new();
            value.json(&mut out, false);
            owned(out)
        }
        Func::Base64 => owned(STANDARD.encode(value.bytes())),
        Func::Hex => owned(hex::encode(value.bytes())),
        Func::Digest(hash) => Ok(Value::Bytes(hash.digest(&value.bytes()).into())),
        Func::Unix => Ok(match value {
            Value::Time(unix_ms) => Value::Integer(signed(unix_ms / 1000)),
            other => other,
        }),
        Func::UnixMs => Ok(match value {
            Value::Time(unix_ms) => Value::Integer(signed(unix_ms)),
            other => other,
        }),
        Func::Clock(format) => match value {
            Value::Time(unix_ms) => owned(format.write(unix_ms)),
            other => Ok(other),
        },
        Func::Digits(most) => owned(
            value
                .text()
                .bytes()
                .filter_map(|byte| match byte {
                    b'0'..=b'9' => Some(char::from(byte)),
                    b'a'..=b'f' => Some(char::from(byte - b'a' + b'0')),
                    b'A'..=b'F' => Some(char::from(byte - b'A' + b'0')),
                    _ => None,
                })
                .take(*most)
                .collect(),
        ),
        Func::Uuid => {
            let hex = value.text().to_ascii_lowercase();
            let mut out = String::with_capacity(36);
            for (index, digit) in hex.chars().enumerate() {
                if matches!(index, 8 | 12 | 16 | 20) {
                    out.push('-');
                }
                out.push(digit);
            }
            owned(out)
        }
        Func::Quoted(name) => match quoted(&value.text(), name) {
            Some(found) => owned(found.to_owned()),
            None => Ok(Value::Absent),
        },
        Func::Join(pair, item) => {
            let mut out = String::with_capacity(256);
            for (index, field) in fields(value).iter().enumerate() {
                if index > 0 {
                    out.push_str(item);
                }
                out.push_str(&field.name);
                out.push_str(pair);
                field.value.write(&mut out);
            }
            owned(out)
        }
        Func::Names(item) => {
            let fields = fields(value);
            let names: Vec<&str> = fields.iter().map(|field| &*field.name).collect();
            owned(names.join(item))
        }
        Func::Sort
        | Func::Without(_)
        | Func::Only(_)
        | Func::Lift(_)
        | Func::Filled
        | Func::LowerNames
        | Func::ReplaceNames(..) => Ok(Value::Fields(choose(func, fields(value)))),
        Func::Need { .. } | Func::Mac(_) | Func::Plus | Func::AtLeast | Func::AtMost | Func::Or => {
            Ok(value)
        }
    }
}

/// What a function makes of a value and a second one, which is worked out only when it is needed.
pub(super) fn apply_with<'s>(
    func: &Func,
    value: Value<'s>,
    second: impl FnOnce() -> Result<Value<'s>, Failure>,
) -> Result<Value<'s>, Failure> {
    match (func, value) {
        (Func::Or, Value::Absent) => second(),
        (_, Value::Absent) => Ok(Value::Absent),
        (Func::Mac(hash), value) => {
            let key = second()?;
            Ok(Value::Bytes(hash.mac(&key.bytes(), &value.bytes()).into()))
        }
        (Func::Plus, Value::Time(unix_ms)) => Ok(match second()? {
            Value::Integer(seconds) => {
                Value::Time(unix_ms.saturating_add_signed(seconds.saturating_mul(1000)))
            }
            _ => Value::Absent,
        }),
        (Func::AtLeast, Value::Integer(integer)) => Ok(match second()? {
            Value::Integer(least) => Value::Integer(integer.max(least)),
            _ => Value::Integer(integer),
        }),
        (Func::AtMost, Value::Integer(integer)) => Ok(match second()? {
            Value::Integer(most) => Value::Integer(integer.min(most)),
            _ => Value::Integer(integer),
        }),
        (_, value) => Ok(value),
    }
}

fn choose<'s>(func: &Func, mut fields: Vec<Member<'s>>) -> Vec<Member<'s>> {
    let listed = |names: &[Box<str>], field: &Member<'_>| names.iter().any(|n| **n == *field.name);
    match func {
        Func::Sort => fields.sort_by(|one, other| one.name.cmp(&other.name)),
        Func::Without(names) => fields.retain(|field| !listed(names, field)),
        Func::Only(names) => fields.retain(|field| listed(names, field)),
        Func::Filled => fields.retain(|field| field.value != Value::Text(Cow::Borrowed(""))),
        Func::LowerNames => {
            for field in &mut fields {
                field.name = Cow::Owned(field.name.to_ascii_lowercase());
            }
        }
        Func::ReplaceNames(old, new) => {
            for field in &mut fields {
                field.name = Cow::Owned(field.name.replace(&**old, new));
            }
        }
        Func::Lift(name) => {
            if let Some(at) = fields.iter().position(|field| *field.name == **name)
                && let Value::Fields(inner) =
                    std::mem::replace(&mut fields[at].value, Value::Absent)
            {
                fields.splice(at..=at, inner);
            }
        }
        _ => {}
    }
    fields
}

fn fields(value: Value<'_>) -> Vec<Member<'_>> {
    match value {
        Value::Fields(fields) => fields,
        _ => Vec::new(),
    }
}

/// Changes a text, or the values of fields.
fn values<'s>(value: Value<'s>, change: impl Fn(&str) -> String) -> Value<'s> {
    match value {
        Value::Fields(mut fields) => {
            for field in &mut fields {
                field.value = Value::Text(Cow::Owned(change(&field.value.text())));
            }
            Value::Fields(fields)
        }
        value => Value::Text(Cow::Owned(change(&value.text()))),
    }
}

/// Changes a text, or the names and values of fields.
fn encoded<'s>(value: Value<'s>, change: impl Fn(&str) -> String) -> Value<'s> {
    let mut value = values(value, &change);
    if let Value::Fields(fields) = &mut value {
        for field in fields {
            field.name = Cow::Owned(change(&field.name));
        }
    }
    value
}

fn percent_but(text: &str, keep: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(at) = rest.find(|c| keep.contains(c)) {
        encode(&rest[..at], false, &mut out);
        let end = at + rest[at..].chars().next().map_or(1, char::len_utf8);
        out.push_str(&rest[at..end]);
        rest = &rest[end..];
    }
    encode(rest, false, &mut out);
    out
}

/// The value of a `name="value"` that begins a text or stands behind a space or a comma.
fn quoted<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut from = 0;
    loop {
        let at = from + text[from..].find(name)?;
        from = at + name.len();
        let begins = text[..at].ends_with([' ', ',']) || at == 0;
        if let Some(rest) = text[from..].strip_prefix("=\"")
            && begins
        {
            return rest.split_once('"').map(|(value, _)| value);
        }
    }
}

/// The E.164 form of a stored number, if it is one.
fn number(stored: &str, said: impl Fn() -> String) -> Result<String, Failure> {
    let e164 = to_e164(stored);
    let digits = e164.strip_prefix('+').unwrap_or("");
    if digits.is_empty() || digits.len() > 30 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        let text = format!("{} number is not made of digits", said());
        return Err(unbuildable("number", text));
    }
    Ok(e164)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
