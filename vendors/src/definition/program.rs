//! One operation, compiled: what is evaluated for every request.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

use super::callback::{Given, Received};
use super::functions::{apply, apply_with};
use super::value::{Member, Node, Part, Value};
use crate::exchange::{Attempt, Method, percent};
use crate::outcome::{Class, Failure, Handle};

/// Longest text that a definition may make of anything, in bytes.
pub const OUTPUT_MAX: usize = 65_536;

/// Everything that one operation needs to be built, for one variant of its definition.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) method: Method,
    pub(super) action: Box<str>,
    /// Of a list that comes in pages.
    pub(super) page_rows: u32,
    pub(super) path: Node,
    pub(super) slots: Vec<Slot>,
    pub(super) headers: Vec<(Arc<str>, Node)>,
    pub(super) query: Vec<Field>,
    pub(super) query_plus: bool,
    pub(super) body: BodyKind,
    pub(super) fields: Vec<Field>,
}

impl Program {
    /// Only steps, for what is received.
    pub(super) fn of_steps(slots: Vec<Slot>) -> Program {
        Program {
            method: Method::Post,
            action: "".into(),
            page_rows: 1,
            path: Node::Absent,
            slots,
            headers: Vec::new(),
            query: Vec::new(),
            query_plus: false,
            body: BodyKind::None,
            fields: Vec::new(),
        }
    }
}

/// A step or a header that others speak of; evaluated once for each attempt.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) name: Box<str>,
    pub(super) node: Node,
}

/// A field of a query or a body.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: Box<str>,
    pub(super) entry: Entry,
    /// Whether it depends on the rest of its own query or body, as a signature does.
    pub(super) late: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Entry {
    Node(Node),
    Object(Vec<Field>),
    List(Vec<Entry>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyKind {
    None,
    Form,
    Json { spaced: bool },
}

/// What is asked for. An empty number or text is absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values<'a> {
    /// Our outbound number.
    pub a: &'a str,
    /// The platform's number.
    pub x: &'a str,
    /// The callee.
    pub b: &'a str,
    /// Our own id.
    pub own_id: &'a str,
    /// What was captured when it was bound.
    pub handle: Option<&'a Handle>,
    /// The page of a list, counted from 1.
    pub page: u32,
}

/// A parameter of an interface, read once.
#[derive(Clone, Debug)]
pub(super) enum Bound {
    Absent,
    Text(String),
    Integer(i64),
}

/// Where an operation of one interface goes.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Scheme, host, port and the path of the base URL.
    pub(super) prefix: String,
    /// As the Host header has it.
    pub(super) host: String,
    /// Replaces the program's path.
    pub(super) path: Option<Node>,
}

/// One attempt under way. Everything is evaluated when it is first needed and kept.
pub(super) struct Eval<'a> {
    program: &'a Program,
    params: &'a [Bound],
    target: &'a Target,
    values: &'a Values<'a>,
    attempt: &'a Attempt,
    slots: Vec<OnceCell<Value<'static>>>,
    path: OnceCell<String>,
    early_body: OnceCell<String>,
    received: Option<&'a Received<'a>>,
}

/// A failure that a request cannot be built.
pub(super) fn unbuildable(code: &'static str, text: impl Into<String>) -> Failure {
    Failure::new(Class::Permanent, code, text)
}

impl<'a> Eval<'a> {
    pub(super) fn new(
        program: &'a Program,
        params: &'a [Bound],
        target: &'a Target,
        values: &'a Values<'a>,
        attempt: &'a Attempt,
    ) -> Eval<'a> {
        Eval {
            program,
            params,
            target,
            values,
            attempt,
            slots: vec![OnceCell::new(); program.slots.len()],
            path: OnceCell::new(),
            early_body: OnceCell::new(),
            received: None,
        }
    }

    /// The same for a push, which values of a request stand for then.
    pub(super) fn receiving(mut self, received: &'a Received<'a>) -> Eval<'a> {
        self.received = Some(received);
        self
    }

    pub(super) fn slot(&self, index: usize) -> Result<&Value<'static>, Failure> {
        let cell = &self.slots[index];
        if let Some(value) = cell.get() {
            return Ok(value);
        }
        let value = self.value(&self.program.slots[index].node)?.into_owned();
        Ok(cell.get_or_init(|| value))
    }

    /// The path, holes percent-encoded.
    pub(super) fn path(&self) -> Result<&str, Failure> {
        if let Some(path) = self.path.get() {
            return Ok(path);
        }
        let node = self.target.path.as_ref().unwrap_or(&self.program.path);
        let mut path = String::new();
        let pieces = match node {
            Node::Concat(pieces) => pieces,
            node => std::slice::from_ref(node),
        };
        for piece in pieces {
            match piece {
                Node::Text(text) => path.push_str(text),
                piece => match self.value(piece)? {
                    Value::Absent => {
                        let text = format!("{} is missing for the path", said(piece));
                        return Err(unbuildable(code_of(piece), text));
                    }
                    value => path.push_str(&percent(&value.text())),
                },
            }
        }
        Ok(self.path.get_or_init(|| path))
    }

    fn early_body(&self) -> Result<&str, Failure> {
        if let Some(body) = self.early_body.get() {
            return Ok(body);
        }
        let mut body = String::new();
        self.write_body(&mut body, false)?;
        Ok(self.early_body.get_or_init(|| body))
    }

    /// The whole body. What was signed is what is sent: without fields that depend on the rest it
    /// is the same text.
    pub(super) fn body(self) -> Result<String, Failure> {
        if self.program.body == BodyKind::None {
            return Ok(String::new());
        }
        if !self.program.fields.iter().any(|field| field.late) {
            self.early_body()?;
            return Ok(self.early_body.into_inner().unwrap_or_default());
        }
        let mut body = String::new();
        self.write_body(&mut body, true)?;
        Ok(body)
    }

    fn write_body(&self, out: &mut String, late: bool) -> Result<(), Failure> {
        let fields = &self.program.fields;
        match self.program.body {
            BodyKind::None => {}
            BodyKind::Json { spaced } => {
                self.object(fields, late, spaced, out)?;
            }
            BodyKind::Form => self.pairs(fields, late, true, out)?,
        }
        bounded(out.len())
    }

    /// Appends the whole query with its `?`, if there is any.
    pub(super) fn write_query(&self, out: &mut String) -> Result<(), Failure> {
        if self.program.query.is_empty() {
            return Ok(());
        }
        let start = out.len();
        out.push('?');
        self.pairs(&self.program.query, true, self.program.query_plus, out)?;
        if out.len() == start + 1 {
            out.truncate(start);
        }
        bounded(out.len())
    }

    /// Appends `name=value` joined with `&`; a list repeats its name.
    fn pairs(
        &self,
        fields: &[Field],
        late: bool,
        plus: bool,
        out: &mut String,
    ) -> Result<(), Failure> {
        let mut first = true;
        let mut pair = |name: &str, value: &str, out: &mut String| {
            if !std::mem::take(&mut first) {
                out.push('&');
            }
            encode(name, plus, out);
            out.push('=');
            encode(value, plus, out);
        };
        for field in fields.iter().filter(|field| late || !field.late) {
            let entries = match &field.entry {
                Entry::List(list) => list.as_slice(),
                entry => std::slice::from_ref(entry),
            };
            for entry in entries {
                match entry {
                    Entry::Node(node) => match self.value(node)? {
                        Value::Absent => {}
                        value => pair(&field.name, &value.text(), out),
                    },
                    entry => {
                        let mut json = String::new();
                        // The objects of the one platform that has such fields come with spaces.
                        if self.entry(entry, true, &mut json)? {
                            pair(&field.name, &json, out);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Appends an object as JSON; false when nothing in it is present.
    fn object(
        &self,
        fields: &[Field],
        late: bool,
        spaced: bool,
        out: &mut String,
    ) -> Result<bool, Failure> {
        let (comma, colon) = if spaced { (", ", ": ") } else { (",", ":") };
        out.push('{');
        let mut any = false;
        for field in fields.iter().filter(|field| late || !field.late) {
            let start = out.len();
            if any {
                out.push_str(comma);
            }
            Value::Text(Cow::Borrowed(&*field.name)).json(out, spaced);
            out.push_str(colon);
            if self.entry(&field.entry, spaced, out)? {
                any = true;
            } else {
                out.truncate(start);
            }
        }
        out.push('}');
        Ok(any)
    }

    /// Appends one entry as JSON; false when it is absent, and then what was appended is not valid.
    fn entry(&self, entry: &Entry, spaced: bool, out: &mut String) -> Result<bool, Failure> {
        match entry {
            Entry::Node(node) => {
                let value = self.value(node)?;
                if value == Value::Absent {
                    return Ok(false);
                }
                value.json(out, spaced);
                Ok(true)
            }
            Entry::Object(fields) => self.object(fields, true, spaced, out),
            Entry::List(list) => {
                out.push('[');
                let mut any = false;
                for entry in list {
                    let start = out.len();
                    if any {
                        out.push_str(if spaced { ", " } else { "," });
                    }
                    if self.entry(entry, spaced, out)? {
                        any = true;
                    } else {
                        out.truncate(start);
                    }
                }
                out.push(']');
                Ok(any)
            }
        }
    }

    fn members<'s>(&'s self, fields: &'s [Field], late: bool) -> Result<Vec<Member<'s>>, Failure> {
        let mut members = Vec::with_capacity(fields.len());
        for field in fields.iter().filter(|field| late || !field.late) {
            let value = match &field.entry {
                Entry::Node(node) => self.value(node)?,
                Entry::Object(fields) => match self.members(fields, true)? {
                    members if members.is_empty() => Value::Absent,
                    members => Value::Fields(members),
                },
                // The compiler lets no list near fields that are signed.
                Entry::List(_) => Value::Absent,
            };
            if value != Value::Absent {
                let name = Cow::Borrowed(&*field.name);
                members.push(Member { name, value });
            }
        }
        Ok(members)
    }

    /// Works an expression out.
    pub(super) fn value<'s>(&'s self, node: &'s Node) -> Result<Value<'s>, Failure> {
        if let Some(value) = self.received.and_then(|received| received.value(node)) {
            return Ok(value);
        }
        let text = |text: &'s str| match text {
            "" => Value::Absent,
            text => Value::Text(Cow::Borrowed(text)),
        };
        Ok(match node {
            // Without a push there is nothing of it.
            Node::Absent | Node::Given(_) => Value::Absent,
            Node::Text(text) => Value::Text(Cow::Borrowed(text)),
            Node::Integer(integer) => Value::Integer(*integer),
            Node::Flag(flag) => Value::Flag(*flag),
            Node::A => text(self.values.a),
            Node::X => text(self.values.x),
            Node::B => text(self.values.b),
            Node::OwnId => text(self.values.own_id),
            Node::Page => Value::Integer(i64::from(self.values.page)),
            Node::Offset => {
                let before = self.values.page.saturating_sub(1);
                Value::Integer(i64::from(before) * i64::from(self.program.page_rows))
            }
            Node::Action => text(&self.program.action),
            Node::Now => Value::Time(self.attempt.now_ms),
            Node::Nonce => text(&self.attempt.nonce),
            Node::Method => text(self.program.method.word()),
            Node::Host => text(&self.target.host),
            Node::Path => text(self.path()?),
            Node::Body => Value::Text(Cow::Borrowed(self.early_body()?)),
            Node::Query => Value::Fields(self.members(&self.program.query, false)?),
            Node::BodyFields => Value::Fields(self.members(&self.program.fields, false)?),
            Node::Param(index) => match &self.params[*index] {
                Bound::Absent => Value::Absent,
                Bound::Text(text) => Value::Text(Cow::Borrowed(text)),
                Bound::Integer(integer) => Value::Integer(*integer),
            },
            Node::Handle(name) => {
                let value = self.values.handle.and_then(|handle| handle.get(&**name));
                value.map_or(Value::Absent, |value| text(value))
            }
            Node::Slot(index) => self.slot(*index)?.borrowed(),
            Node::Concat(pieces) => {
                let mut out = String::with_capacity(64);
                for piece in pieces {
                    self.value(piece)?.write(&mut out);
                }
                bounded(out.len())?;
                Value::Text(Cow::Owned(out))
            }
            Node::Call(func, value) => {
                // A number's notation says which number is malformed.
                let value = apply(func, self.value(value)?, || said(value))?;
                return fitting(value);
            }
            Node::With(func, value, second) => {
                let value = self.value(value)?;
                return fitting(apply_with(func, value, || self.value(second))?);
            }
            Node::Match {
                subject,
                branches,
                other,
            } => {
                let subject = self.value(subject)?;
                let subject = subject.text();
                let branch = branches.iter().find(|(word, _)| **word == *subject);
                match (branch, other) {
                    (Some((_, node)), _) => self.value(node)?,
                    (None, Some(node)) => self.value(node)?,
                    (None, None) => Value::Absent,
                }
            }
            Node::When {
                value,
                subject,
                words,
            } => {
                let subject = self.value(subject)?;
                let subject = subject.text();
                if words.iter().any(|word| **word == *subject) {
                    self.value(value)?
                } else {
                    Value::Absent
                }
            }
            Node::Unless(value, other) => match self.value(other)? {
                Value::Absent => self.value(value)?,
                _ => Value::Absent,
            },
            Node::Fields(parts) => {
                let mut members = Vec::new();
                for part in parts {
                    match part {
                        Part::All(node) => {
                            if let Value::Fields(more) = self.value(node)? {
                                members.extend(more);
                            }
                        }
                        Part::Named(name, node) => match self.value(node)? {
                            Value::Absent => {}
                            value => members.push(Member {
                                name: Cow::Borrowed(&**name),
                                value,
                            }),
                        },
                    }
                }
                Value::Fields(members)
            }
        })
    }
}

fn bounded(length: usize) -> Result<(), Failure> {
    if length > OUTPUT_MAX {
        let text = format!("the request grows beyond {OUTPUT_MAX} bytes");
        return Err(unbuildable("too_large", text));
    }
    Ok(())
}

fn fitting(value: Value<'_>) -> Result<Value<'_>, Failure> {
    match &value {
        Value::Text(text) => bounded(text.len())?,
        Value::Bytes(bytes) => bounded(bytes.len())?,
        _ => {}
    }
    Ok(value)
}

/// What an expression speaks of, for people.
pub(super) fn said(node: &Node) -> String {
    match node {
        Node::A => "a".to_owned(),
        Node::X => "x".to_owned(),
        Node::B => "b".to_owned(),
        Node::OwnId => "own_id".to_owned(),
        Node::Handle(name) => format!("handle.{name}"),
        Node::Given(Given::Header(name)) => format!("header {name}"),
        Node::Given(Given::Query(name)) => format!("query field {name}"),
        Node::Given(Given::Body(name)) => format!("body field {name}"),
        Node::Given(Given::CallId) => "call_id".to_owned(),
        Node::Given(Given::Digits) => "digits".to_owned(),
        Node::Given(Given::LimitS) => "limit_s".to_owned(),
        Node::Call(_, value) | Node::With(_, value, _) | Node::Unless(value, _) => said(value),
        Node::When { value, .. } => said(value),
        _ => "a value".to_owned(),
    }
}

/// The failure's word when what an expression speaks of is missing.
pub(super) fn code_of(node: &Node) -> &'static str {
    match node {
        Node::A | Node::X | Node::B => "number",
        Node::Handle(_) => "handle",
        Node::Call(_, value) | Node::With(_, value, _) | Node::Unless(value, _) => code_of(value),
        Node::When { value, .. } => code_of(value),
        _ => "value",
    }
}

/// Appends text percent-encoded; `plus` writes a space as `+`.
pub(super) fn encode(text: &str, plus: bool, out: &mut String) {
    if text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        out.push_str(text);
        return;
    }
    let encoded = percent(text);
    if plus && encoded.contains("%20") {
        out.push_str(&encoded.replace("%20", "+"));
    } else {
        out.push_str(&encoded);
    }
}
