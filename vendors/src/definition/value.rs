//! What expressions are made of and worked out to.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::callback::Given;
use super::clock::Format;
use super::digest::Hash;

/// The kind of a value, known when a definition is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of a mistake that is told already.
    Any,
    Text,
    Bytes,
    Integer,
    Flag,
    Time,
    Number,
    Fields,
}

impl Kind {
    /// For people.
    pub(super) fn words(self) -> &'static str {
        match self {
            Kind::Any => "anything",
            Kind::Text => "text",
            Kind::Bytes => "bytes (write them with hex or base64)",
            Kind::Integer => "an integer",
            Kind::Flag => "true or false",
            Kind::Time => "a moment (write it with unix, unix_ms or time)",
            Kind::Number => "a phone number (write it with e164, national or number)",
            Kind::Fields => "fields (write them with join, names or json)",
        }
    }

    /// Whether it may stand among other text.
    pub(super) fn is_textual(self) -> bool {
        matches!(self, Kind::Any | Kind::Text | Kind::Integer | Kind::Flag)
    }
}

/// A value of an attempt. Borrows from the definition, the interface and what is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Absent,
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    Integer(i64),
    Flag(bool),
    /// Unix milliseconds.
    Time(u64),
    Fields(Vec<Member<'a>>),
}

/// One of several fields that are signed or sent together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) value: Value<'a>,
}

impl<'a> Value<'a> {
    /// Its bytes, as a digest takes them.
    pub(super) fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Value::Bytes(bytes) => Cow::Borrowed(bytes),
            Value::Text(text) => Cow::Borrowed(text.as_bytes()),
            other => Cow::Owned(other.text().into_owned().into_bytes()),
        }
    }

    /// Its text; fields are written as JSON, what is absent as nothing.
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Value::Text(text) => Cow::Borrowed(text),
            other => {
                let mut out = String::new();
                other.write(&mut out);
                Cow::Owned(out)
            }
        }
    }

    /// The same value with everything its own, to be kept.
    pub(super) fn into_owned(self) -> Value<'static> {
        match self {
            Value::Absent => Value::Absent,
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.into_owned())),
            Value::Integer(integer) => Value::Integer(integer),
            Value::Flag(flag) => Value::Flag(flag),
            Value::Time(unix_ms) => Value::Time(unix_ms),
            Value::Fields(fields) => Value::Fields(
                fields
                    .into_iter()
                    .map(|field| Member {
                        name: Cow::Owned(field.name.into_owned()),
                        value: field.value.into_owned(),
                    })
                    .collect(),
            ),
        }
    }

    /// The same value, borrowed.
    pub(super) fn borrowed(&self) -> Value<'_> {
        match self {
            Value::Absent => Value::Absent,
            Value::Text(text) => Value::Text(Cow::Borrowed(text)),
            Value::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
            Value::Integer(integer) => Value::Integer(*integer),
            Value::Flag(flag) => Value::Flag(*flag),
            Value::Time(unix_ms) => Value::Time(*unix_ms),
            Value::Fields(fields) => Value::Fields(
                fields
                    .iter()
                    .map(|field| Member {
                        name: Cow::Borrowed(&*field.name),
                        value: field.value.borrowed(),
                    })
                    .collect(),
            ),
        }
    }

    pub(super) fn into_text(self) -> Cow<'a, str> {
        match self {
            Value::Text(text) => text,
            other => Cow::Owned(other.text().into_owned()),
        }
    }

    /// Appends [`Value::text`].
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Value::Absent => {}
            Value::Text(text) => out.push_str(text),
            Value::Bytes(bytes) => out.push_str(&hex::encode(bytes)),
            Value::Integer(integer) => {
                let _ = write!(out, "{integer}");
            }
            Value::Flag(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Value::Time(unix_ms) => {
                let _ = write!(out, "{unix_ms}");
            }
            Value::Fields(_) => self.json(out, false),
        }
    }

    /// Appends it as JSON; `spaced` puts a space after commas and colons.
    pub(super) fn json(&self, out: &mut String, spaced: bool) {
        match self {
            Value::Absent => out.push_str("null"),
            Value::Integer(_) | Value::Flag(_) => self.write(out),
            Value::Fields(fields) => {
                let (comma, colon) = if spaced { (", ", ": ") } else { (",", ":") };
                out.push('{');
                for (index, field) in fields.iter().enumerate() {
                    if index > 0 {
                        out.push_str(comma);
                    }
                    quote(&field.name, out);
                    out.push_str(colon);
                    field.value.json(out, spaced);
                }
                out.push('}');
            }
            other => quote(&other.text(), out),
        }
    }
}

/// Appends text as a JSON string.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[plain..at]);
        if escape.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
        plain = at + 1;
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Absent,
    Text(Box<str>),
    Integer(i64),
    Flag(bool),
    A,
    X,
    B,
    OwnId,
    Page,
    /// Rows on the pages before this one.
    Offset,
    Action,
    Now,
    Nonce,
    Method,
    Host,
    Path,
    /// The body's text without what depends on it.
    Body,
    /// The query's fields without what depends on them.
    Query,
    /// The body's fields without what depends on them.
    BodyFields,
    /// Index into the definition's parameters.
    Param(usize),
    Handle(Box<str>),
    /// Index into the program's slots: a step or a header.
    Slot(usize),
    Concat(Box<[Node]>),
    Call(Func, Box<Node>),
    /// A function with a second value: a key, a default, a bound.
    With(Func, Box<Node>, Box<Node>),
    Match {
        subject: Box<Node>,
        branches: Box<[(Box<str>, Node)]>,
        other: Option<Box<Node>>,
    },
    /// The value while the subject is one of the words.
    When {
        value: Box<Node>,
        subject: Box<Node>,
        words: Box<[Box<str>]>,
    },
    /// The value while the other one is absent.
    Unless(Box<Node>, Box<Node>),
    Fields(Box<[Part]>),
    /// Of a push that we received.
    Given(Given),
}

/// Where fields come from.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Named(Box<str>, Node),
    All(Node),
}

/// A function, its fixed arguments read.
#[derive(Clone, Debug)]
pub(super) enum Func {
    E164,
    National {
        bare: bool,
    },
    Number {
        prefix: Box<str>,
        zero: bool,
    },
    Upper,
    Lower,
    Strip(Box<str>),
    Cut(usize),
    Replace(Box<str>, Box<str>),
    Integer,
    Flag,
    Text,
    Words(Box<str>, Box<str>),
    Percent(Box<str>),
    Form,
    Json,
    Base64,
    Hex,
    Digest(Hash),
    Mac(Hash),
    Unix,
    UnixMs,
    Clock(Format),
    Plus,
    AtLeast,
    AtMost,
    Digits(usize),
    Quoted(Box<str>),
    Uuid,
    Sort,
    Without(Box<[Box<str>]>),
    Only(Box<[Box<str>]>),
    Lift(Box<str>),
    Filled,
    LowerNames,
    ReplaceNames(Box<str>, Box<str>),
    Join(Box<str>, Box<str>),
    Names(Box<str>),
    Or,
    /// The word of the failure when the value is absent.
    Need {
        code: &'static str,
        what: Box<str>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_written_as_serde_json_writes_it() {
        for text in ["", "a\"b\\c\n\r\t\u{1}\u{1f}é号\u{7f}/", "\u{8}\u{c}x"] {
            let mut out = String::new();
            Value::Text(text.into()).json(&mut out, false);
            let back: String = serde_json::from_str(&out).unwrap();
            assert_eq!(back, text);
        }
        let fields = Value::Fields(vec![
            Member {
                name: "a".into(),
                value: Value::Integer(-1),
            },
            Member {
                name: "b".into(),
                value: Value::Flag(true),
            },
            Member {
                name: "c".into(),
                value: Value::Fields(Vec::new()),
            },
        ]);
        let mut out = String::new();
        fields.json(&mut out, true);
        assert_eq!(out, r#"{"a": -1, "b": true, "c": {}}"#);
    }
}
