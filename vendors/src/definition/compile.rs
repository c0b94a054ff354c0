//! Expressions become trees that are evaluated without looking a name up, and every name, kind and
//! argument is checked on the way.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::callback;
use super::clock::Format;
use super::digest::Hash;
use super::expr::{Arg, Expr, Kind as Form, Piece, Template};
use super::functions::{ANY, FUNCTIONS};
use super::program::{Slot, code_of, said};
use super::source::{Item, Source, Str, options};
use super::value::{Func, Kind, Node, Part};
use crate::description::{Form as ParamForm, Param};
use crate::exchange::Op;

/// The expression reads the query's other fields.
pub(super) const QUERY: u8 = 1;
/// The expression reads the body's other fields.
pub(super) const BODY: u8 = 2;
/// The expression reads what follows a call-back's name in its path.
pub(super) const SUFFIX: u8 = 4;

/// Expressions of one program; more is no request any more.
const NODES_MAX: usize = 4_096;
/// Steps one program may have.
const SLOTS_MAX: usize = 64;

const ROOTS: [&str; 14] = [
    "a", "x", "b", "own_id", "page", "offset", "action", "now", "nonce", "method", "host", "path",
    "query", "body",
];

/// What is known of an expression.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) kind: Kind,
    /// Whether it may be absent.
    pub(super) optional: bool,
    /// [`QUERY`] and [`BODY`].
    pub(super) reads: u8,
    /// The only texts it can be.
    words: Option<Vec<String>>,
}

impl Known {
    pub(super) fn of(kind: Kind) -> Known {
        Known {
            kind,
            optional: false,
            reads: 0,
            words: None,
        }
    }

    pub(super) fn optional(mut self) -> Known {
        self.optional = true;
        self
    }

    pub(super) fn reading(mut self, what: u8) -> Known {
        self.reads |= what;
        self
    }

    fn turned(&self, kind: Kind) -> Known {
        Known {
            kind,
            words: None,
            ..self.clone()
        }
    }

    fn also(mut self, other: &Known) -> Known {
        self.reads |= other.reads;
        self
    }
}

/// What the whole definition has, and what of it was used.
pub(super) struct Shared<'s> {
    pub(super) source: &'s Source<'s>,
    pub(super) params: &'s [Param],
    pub(super) used_params: RefCell<BTreeSet<usize>>,
    /// Where the steps stand that some operation needs.
    pub(super) used_steps: RefCell<BTreeSet<usize>>,
}

/// What the expressions of one operation may speak of.
pub(super) struct Scope<'s> {
    pub(super) shared: &'s Shared<'s>,
    pub(super) op: Op,
    pub(super) action: bool,
    /// What the operation that binds captures.
    pub(super) handle: Vec<&'s str>,
    pub(super) steps: Vec<Item<'s>>,
    pub(super) headers: Vec<Item<'s>>,
    /// Of the operation; absent where there is none to speak of.
    pub(super) path: Option<Str<'s>>,
    pub(super) body: bool,
    /// Whether they speak of a push that we receive instead.
    pub(super) received: bool,
}

/// The compiler of one operation.
pub(super) struct Compiler<'s> {
    scope: Scope<'s>,
    slots: Vec<Progress>,
    nodes: usize,
    /// Whether the path is being compiled: it may not speak of itself.
    in_path: bool,
}

struct Progress {
    name: String,
    done: Option<(Node, Known)>,
}

type Compiled = (Node, Known);

fn broken() -> Compiled {
    (Node::Absent, Known::of(Kind::Any))
}

impl<'s> Compiler<'s> {
    pub(super) fn new(scope: Scope<'s>) -> Compiler<'s> {
        Compiler {
            scope,
            slots: Vec::new(),
            nodes: 0,
            in_path: false,
        }
    }

    /// The slots, once everything is compiled.
    pub(super) fn finish(self) -> Vec<Slot> {
        self.slots
            .into_iter()
            .map(|slot| Slot {
                name: slot.name.into(),
                node: slot.done.map_or(Node::Absent, |(node, _)| node),
            })
            .collect()
    }

    /// A compiler that knows the steps of a finished program by name, for one more path.
    pub(super) fn resume(scope: Scope<'s>, slots: &[Slot]) -> Compiler<'s> {
        let known = |slot: &Slot| Progress {
            name: slot.name.to_string(),
            done: Some((slot.node.clone(), Known::of(Kind::Text))),
        };
        Compiler {
            slots: slots.iter().map(known).collect(),
            ..Compiler::new(scope)
        }
    }

    /// Text, a whole number or a flag as a value.
    pub(super) fn item(&mut self, item: &Item<'s>) -> Compiled {
        if let Some(text) = item.as_text() {
            return self.text(text);
        }
        if let Some(integer) = item.as_integer() {
            return (Node::Integer(integer), Known::of(Kind::Integer));
        }
        if let Some(flag) = item.as_flag() {
            return (Node::Flag(flag), Known::of(Kind::Flag));
        }
        item.wrong(format!("`{}` must be text, an integer or a flag", item.key));
        broken()
    }

    /// Text with holes. One hole alone keeps its kind and may be absent.
    pub(super) fn text(&mut self, text: Str<'s>) -> Compiled {
        match parsed(text) {
            None => broken(),
            Some(template) => self.template(&template, text, false),
        }
    }

    /// The path, in which a hole that is absent makes the request impossible.
    pub(super) fn path(&mut self, text: Str<'s>) -> Compiled {
        let Some(template) = parsed(text) else {
            return broken();
        };
        self.in_path = true;
        let compiled = self.template(&template, text, true);
        self.in_path = false;
        compiled
    }

    fn template(&mut self, template: &Template, text: Str<'s>, path: bool) -> Compiled {
        if let [Piece::Hole(expr)] = &template.pieces[..] {
            let (node, known) = self.expr(expr, text);
            if path && !known.kind.is_textual() {
                text.wrong(
                    expr.at,
                    format!("{} cannot stand in a path", known.kind.words()),
                );
            }
            return (node, known);
        }
        let mut nodes = Vec::new();
        let mut whole = Known::of(Kind::Text);
        for piece in &template.pieces {
            match piece {
                Piece::Literal(literal) => nodes.push(Node::Text(literal.as_str().into())),
                Piece::Hole(expr) => {
                    let (node, known) = self.expr(expr, text);
                    if !known.kind.is_textual() {
                        let text_of = format!("{} cannot stand in text", known.kind.words());
                        text.wrong(expr.at, text_of);
                    } else if known.optional && !path {
                        text.wrong(
                            expr.at,
                            "may be absent here; end it with `| or(…)` or `| need`",
                        );
                    }
                    whole = whole.also(&known);
                    nodes.push(node);
                }
            }
        }
        match <[Node; 1]>::try_from(nodes) {
            Ok([node]) => (node, whole),
            Err(nodes) => (Node::Concat(nodes.into()), whole),
        }
    }

    pub(super) fn expr(&mut self, expr: &Expr, text: Str<'s>) -> Compiled {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            text.wrong(
                expr.at,
                format!("more than {NODES_MAX} expressions in one operation"),
            );
            return broken();
        }
        match &expr.kind {
            Form::Text(literal) => {
                let mut known = Known::of(Kind::Text);
                known.words = Some(vec![literal.clone()]);
                (Node::Text(literal.as_str().into()), known)
            }
            Form::Integer(integer) => (Node::Integer(*integer), Known::of(Kind::Integer)),
            Form::Name(names) => self.name(names, expr.at, text),
            Form::Call(name, args) if name == "fields" => self.fields(args, text),
            Form::Call(name, _) => {
                let hint = if FUNCTIONS.iter().any(|f| f.name == name) {
                    format!("`{name}` needs a value before it: `value | {name}`")
                } else {
                    format!("`{name}` makes no value; only `fields` does")
                };
                text.wrong(expr.at, hint);
                broken()
            }
            Form::Pipe(value, name, args) => self.pipe(value, name, args, expr.at, text),
        }
    }

    fn name(&mut self, names: &[String], at: usize, text: Str<'s>) -> Compiled {
        if self.scope.received
            && let Some(found) = callback::given(names)
        {
            return found;
        }
        match names {
            [name] => self.root(name, at, text),
            [of, name] if of == "param" => {
                let params = self.scope.shared.params;
                let Some(index) = params.iter().position(|param| param.name == *name) else {
                    let known: Vec<_> = params.iter().map(|param| param.name.as_str()).collect();
                    let said = format!("no parameter `{name}`, {}", options(&known));
                    text.wrong(at, said);
                    return broken();
                };
                self.scope.shared.used_params.borrow_mut().insert(index);
                let param = &params[index];
                let mut known = Known::of(Kind::Text);
                match &param.form {
                    ParamForm::Number { .. } => known.kind = Kind::Integer,
                    ParamForm::Choice { words } => known.words = Some(words.clone()),
                    ParamForm::Text { .. } => {}
                }
                known.optional = !param.required && param.default.is_none();
                (Node::Param(index), known)
            }
            [of, name] if of == "handle" => {
                if !self.scope.handle.contains(&name.as_str()) {
                    let captured = options(&self.scope.handle);
                    let said = format!("no handle `{name}` is captured, {captured}");
                    text.wrong(at, said);
                    return broken();
                }
                let node = Node::Handle(name.as_str().into());
                (node, Known::of(Kind::Text).optional())
            }
            [of, name] if of == "header" => self.header(name, at, text),
            _ => {
                let said = format!(
                    "`{}` is not known; with a dot there are param.NAME, handle.NAME and header.NAME",
                    names.join(".")
                );
                text.wrong(at, said);
                broken()
            }
        }
    }

    fn root(&mut self, name: &str, at: usize, text: Str<'s>) -> Compiled {
        let has = |names: &[&str]| names.contains(&name) && !self.scope.received;
        let asked = match self.scope.op {
            Op::XQuery => has(&["x", "page", "offset"]),
            Op::AxQuery | Op::AxBind | Op::AxUnbind | Op::ClearCallee => has(&["a", "x", "own_id"]),
            _ => has(&["a", "x", "b", "own_id"]),
        };
        // A question may leave a number out, which widens it.
        let optional = match self.scope.op {
            Op::Query | Op::QueryDetail => has(&["a", "b"]),
            Op::AxQuery => true,
            _ => false,
        };
        let number = |node: Node| {
            let known = Known::of(Kind::Number);
            if optional {
                return (node, known.optional());
            }
            let need = Func::Need {
                code: code_of(&node),
                what: said(&node).into(),
            };
            (Node::Call(need, Box::new(node)), known)
        };
        match name {
            "a" if asked => number(Node::A),
            "x" if asked => number(Node::X),
            "b" if asked => number(Node::B),
            "own_id" if asked => (Node::OwnId, Known::of(Kind::Text).optional()),
            "offset" if asked => (Node::Offset, Known::of(Kind::Integer)),
            "page" if asked => (Node::Page, Known::of(Kind::Integer)),
            "action" if self.scope.action => (Node::Action, Known::of(Kind::Text)),
            "now" => (Node::Now, Known::of(Kind::Time)),
            "nonce" if !self.scope.received => (Node::Nonce, Known::of(Kind::Text)),
            "method" => (Node::Method, Known::of(Kind::Text)),
            "host" => (Node::Host, Known::of(Kind::Text)),
            "path" if self.in_path => {
                text.wrong(at, "`path` is made of itself");
                broken()
            }
            "path" => self.whole_path(),
            "query" => {
                let mut known = Known::of(Kind::Fields);
                known.reads = QUERY;
                (Node::Query, known)
            }
            "body" => {
                let mut known = Known::of(Kind::Text);
                known.reads = BODY;
                (Node::Body, known)
            }
            name if self
                .slots
                .iter()
                .any(|slot| slot.name == name && slot.done.is_some()) =>
            {
                let index = self.slots.iter().position(|slot| slot.name == name);
                let index = index.expect("the guard has found it");
                let known = self.slots[index]
                    .done
                    .as_ref()
                    .map(|(_, known)| known.clone());
                (
                    Node::Slot(index),
                    known.expect("the guard says that it is done"),
                )
            }
            name if self.scope.steps.iter().any(|step| step.key == name) => {
                self.step(name, at, text)
            }
            name if self.scope.received => {
                let mut known: Vec<&str> = callback::ROOTS.to_vec();
                known.extend(self.scope.steps.iter().map(|step| step.key));
                let said = format!(
                    "a call-back has no value and no step `{name}`, {}",
                    options(&known)
                );
                text.wrong(at, said);
                broken()
            }
            name if ROOTS.contains(&name) => {
                let said = format!("there is no `{name}` in `{}`", self.scope.op.word());
                text.wrong(at, said);
                broken()
            }
            name => {
                let mut known: Vec<&str> = ROOTS.to_vec();
                known.extend(self.scope.steps.iter().map(|step| step.key));
                text.wrong(
                    at,
                    format!("`{name}` is no value and no step, {}", options(&known)),
                );
                broken()
            }
        }
    }

    /// The path as a value. Compiled once more, so that a circle is found.
    fn whole_path(&mut self) -> Compiled {
        if let Some(path) = self.scope.path {
            let _ = self.path(path);
        }
        (Node::Path, Known::of(Kind::Text))
    }

    fn step(&mut self, name: &str, at: usize, text: Str<'s>) -> Compiled {
        let found = self.scope.steps.iter().find(|step| step.key == name);
        let Some(step) = found.copied() else {
            return broken();
        };
        self.scope.shared.used_steps.borrow_mut().insert(step.at);
        self.slot(name, &step, at, text)
    }

    fn header(&mut self, name: &str, at: usize, text: Str<'s>) -> Compiled {
        let same = |item: &&Item<'s>| item.key.eq_ignore_ascii_case(name);
        let Some(item) = self.scope.headers.iter().find(same).copied() else {
            let known: Vec<&str> = self.scope.headers.iter().map(|header| header.key).collect();
            text.wrong(at, format!("no header `{name}`, {}", options(&known)));
            return broken();
        };
        self.slot(&format!("header.{}", item.key), &item, at, text)
    }

    /// A step's or a header's value, compiled when it is first spoken of.
    fn slot(&mut self, name: &str, item: &Item<'s>, at: usize, text: Str<'s>) -> Compiled {
        if let Some(index) = self.slots.iter().position(|slot| slot.name == name) {
            return match &self.slots[index].done {
                Some((_, known)) => (Node::Slot(index), known.clone()),
                None => {
                    text.wrong(at, format!("`{name}` is made of itself"));
                    broken()
                }
            };
        }
        let index = self.slots.len();
        if index >= SLOTS_MAX {
            text.wrong(at, format!("more than {SLOTS_MAX} steps in one operation"));
            return broken();
        }
        self.slots.push(Progress {
            name: name.to_owned(),
            done: None,
        });
        let (node, known) = self.item(item);
        self.slots[index].done = Some((node, known.clone()));
        (Node::Slot(index), known)
    }

    /// The value of a header that is sent, by the slot that others read.
    pub(super) fn sent_header(&mut self, item: &Item<'s>) -> Compiled {
        match self
            .slots
            .iter()
            .position(|slot| slot.name == format!("header.{}", item.key))
        {
            Some(index) => {
                let known = self.slots[index]
                    .done
                    .as_ref()
                    .map(|(_, known)| known.clone());
                (
                    Node::Slot(index),
                    known.unwrap_or_else(|| Known::of(Kind::Any)),
                )
            }
            None => self.item(item),
        }
    }

    fn fields(&mut self, args: &[Arg], text: Str<'s>) -> Compiled {
        let mut parts = Vec::new();
        let mut whole = Known::of(Kind::Fields);
        for arg in args {
            let name = match (&arg.label, &arg.value.kind) {
                (Some(label), _) => Some(label.clone()),
                (None, Form::Name(names)) if names.len() == 2 => Some(names[1].clone()),
                (None, Form::Name(names)) if names.len() == 1 && names[0] == "body" => {
                    if !self.scope.body {
                        continue;
                    }
                    whole.reads |= BODY;
                    parts.push(Part::All(Node::BodyFields));
                    continue;
                }
                _ => None,
            };
            let (node, known) = self.expr(&arg.value, text);
            whole = whole.also(&known);
            match (name, known.kind) {
                (Some(name), Kind::Any | Kind::Text | Kind::Integer | Kind::Flag) => {
                    parts.push(Part::Named(name.into(), node));
                }
                (None, Kind::Any | Kind::Fields) => parts.push(Part::All(node)),
                (None, Kind::Text | Kind::Integer | Kind::Flag) => {
                    text.wrong(arg.at, "a single value needs its name: `\"name\": value`");
                }
                (_, kind) => {
                    text.wrong(arg.at, format!("{} is no field", kind.words()));
                }
            }
        }
        (Node::Fields(parts.into()), whole)
    }

    fn pipe(
        &mut self,
        value: &Expr,
        name: &str,
        args: &[Arg],
        at: usize,
        text: Str<'s>,
    ) -> Compiled {
        let Some(function) = FUNCTIONS.iter().find(|function| function.name == name) else {
            text.wrong(at, format!("no function `{name}`{}", near(name)));
            return broken();
        };
        let (node, known) = self.expr(value, text);
        let fits = known.kind == Kind::Any || function.takes.contains(&known.kind);
        if !fits {
            let wanted: Vec<_> = function.takes.iter().map(|kind| kind.words()).collect();
            let got = known.kind.words();
            text.wrong(
                at,
                format!("`{name}` takes {}, not {got}", wanted.join(", ")),
            );
            return broken();
        }
        if function.takes.len() == ANY.len() || name == "match" {
            return self.choice(name, (node, known), args, at, text);
        }
        if matches!(name, "plus" | "at_least" | "at_most") || name.starts_with("hmac_") {
            return self.with(name, (node, known), args, at, text);
        }
        let mut fixed = Fixed {
            name,
            args,
            at,
            text,
            next: 0,
            failed: false,
        };
        let (func, kind) = plain(name, &mut fixed, known.kind);
        fixed.finish();
        let mut turned = known.turned(kind);
        turned.optional |= matches!(func, Func::Quoted(_));
        (Node::Call(func, Box::new(node)), turned)
    }

    /// Functions with one worked-out argument.
    fn with(
        &mut self,
        name: &str,
        (node, known): Compiled,
        args: &[Arg],
        at: usize,
        text: Str<'s>,
    ) -> Compiled {
        let [
            Arg {
                value,
                label: None,
                at: arg_at,
            },
        ] = args
        else {
            text.wrong(at, format!("`{name}` takes one argument"));
            return broken();
        };
        let (second, second_known) = self.expr(value, text);
        let (func, wanted, kind): (_, &[Kind], _) = match name {
            "hmac_md5" => (
                Func::Mac(Hash::Md5),
                &[Kind::Text, Kind::Bytes],
                Kind::Bytes,
            ),
            "hmac_sha1" => (
                Func::Mac(Hash::Sha1),
                &[Kind::Text, Kind::Bytes],
                Kind::Bytes,
            ),
            "hmac_sha256" => (
                Func::Mac(Hash::Sha256),
                &[Kind::Text, Kind::Bytes],
                Kind::Bytes,
            ),
            "hmac_sm3" => (
                Func::Mac(Hash::Sm3),
                &[Kind::Text, Kind::Bytes],
                Kind::Bytes,
            ),
            "plus" => (Func::Plus, &[Kind::Integer], Kind::Time),
            "at_least" => (Func::AtLeast, &[Kind::Integer], Kind::Integer),
            _ => (Func::AtMost, &[Kind::Integer], Kind::Integer),
        };
        if second_known.kind != Kind::Any && !wanted.contains(&second_known.kind) {
            let wanted: Vec<_> = wanted.iter().map(|kind| kind.words()).collect();
            text.wrong(
                *arg_at,
                format!("`{name}` wants {} here", wanted.join(" or ")),
            );
        } else if second_known.optional {
            text.wrong(
                *arg_at,
                "may be absent here; end it with `| or(…)` or `| need`",
            );
        }
        let known = known.turned(kind).also(&second_known);
        (Node::With(func, Box::new(node), Box::new(second)), known)
    }

    /// Functions that decide whether or which value it is.
    fn choice(
        &mut self,
        name: &str,
        (node, known): Compiled,
        args: &[Arg],
        at: usize,
        text: Str<'s>,
    ) -> Compiled {
        match (name, args) {
            ("need", []) => {
                let func = Func::Need {
                    code: code_of(&node),
                    what: said(&node).into(),
                };
                let mut needed = known;
                needed.optional = false;
                (Node::Call(func, Box::new(node)), needed)
            }
            (
                "or",
                [
                    Arg {
                        value,
                        label: None,
                        at: arg_at,
                    },
                ],
            ) => {
                let (other, other_known) = self.expr(value, text);
                let mut either = known.clone().also(&other_known);
                either.optional = other_known.optional;
                either.words = match (known.words, other_known.words) {
                    (Some(mut words), Some(more)) => {
                        words.extend(more);
                        Some(words)
                    }
                    _ => None,
                };
                if known.kind == Kind::Any {
                    return broken();
                }
                if !known.optional {
                    text.wrong(at, "it is never absent, so `or` has no use");
                }
                // Text stands in for what is written as text.
                let textual = either.kind.is_textual() && other_known.kind.is_textual();
                if other_known.kind != either.kind && other_known.kind != Kind::Any {
                    if textual {
                        either.kind = Kind::Text;
                    } else {
                        let said = format!("is not {}", either.kind.words());
                        text.wrong(*arg_at, said);
                    }
                }
                (
                    Node::With(Func::Or, Box::new(node), Box::new(other)),
                    either,
                )
            }
            (
                "unless",
                [
                    Arg {
                        value,
                        label: None,
                        at: arg_at,
                    },
                ],
            ) => {
                let (other, other_known) = self.expr(value, text);
                if !other_known.optional && other_known.kind != Kind::Any {
                    text.wrong(*arg_at, "is never absent, so this would always be");
                }
                let known = known.optional().also(&other_known);
                (Node::Unless(Box::new(node), Box::new(other)), known)
            }
            (
                "when",
                [
                    Arg {
                        value, label: None, ..
                    },
                    words @ ..,
                ],
            ) if !words.is_empty() => {
                let (subject, subject_known) = self.expr(value, text);
                let words: Vec<Box<str>> = words
                    .iter()
                    .filter_map(|arg| self.word(arg, &subject_known, text))
                    .map(Into::into)
                    .collect();
                let node = Node::When {
                    value: Box::new(node),
                    subject: Box::new(subject),
                    words: words.into(),
                };
                (node, known.optional().also(&subject_known))
            }
            ("match", args) if !args.is_empty() => self.matching((node, known), args, text),
            _ => {
                let function = FUNCTIONS.iter().find(|function| function.name == name);
                let form = function.map_or("", |function| function.args);
                text.wrong(at, format!("is written `{name}({form})`"));
                broken()
            }
        }
    }

    fn matching(&mut self, (subject, known): Compiled, args: &[Arg], text: Str<'s>) -> Compiled {
        let mut branches: Vec<(Box<str>, Node)> = Vec::new();
        let mut other = None;
        let mut whole: Option<Known> = None;
        for arg in args {
            let (node, branch) = self.expr(&arg.value, text);
            whole = Some(match whole {
                None => branch,
                Some(mut whole) => {
                    if whole.kind != branch.kind
                        && whole.kind != Kind::Any
                        && branch.kind != Kind::Any
                    {
                        text.wrong(arg.at, "is of another kind than the first one");
                    }
                    whole.optional |= branch.optional;
                    whole.words = match (whole.words.take(), &branch.words) {
                        (Some(mut words), Some(more)) => {
                            words.extend(more.iter().cloned());
                            Some(words)
                        }
                        _ => None,
                    };
                    whole.also(&branch)
                }
            });
            match &arg.label {
                None => text.wrong(arg.at, "needs its word before it: `\"word\": value`"),
                Some(word) if word == "else" => other = Some(Box::new(node)),
                Some(word) => {
                    if branches.iter().any(|(before, _)| **before == **word) {
                        text.wrong(arg.at, format!("\"{word}\" is matched above already"));
                    }
                    not_among(word, &known, arg.at, text);
                    branches.push((word.as_str().into(), node));
                }
            }
        }
        let mut whole = whole.unwrap_or_else(|| Known::of(Kind::Any)).also(&known);
        let matched = |word: &String| branches.iter().any(|(branch, _)| **branch == **word);
        let all = known
            .words
            .as_ref()
            .is_some_and(|words| words.iter().all(matched));
        if all && other.is_some() && !known.optional {
            let at = args.last().map_or(0, |arg| arg.at);
            text.wrong(at, "`else` is never reached, every word is matched");
        }
        whole.optional |= (!all || known.optional) && other.is_none();
        let node = Node::Match {
            subject: Box::new(subject),
            branches: branches.into(),
            other,
        };
        (node, whole)
    }

    /// A literal word that the subject can be.
    fn word(&self, arg: &Arg, subject: &Known, text: Str<'s>) -> Option<String> {
        match (&arg.label, &arg.value.kind) {
            (None, Form::Text(word)) => {
                not_among(word, subject, arg.at, text);
                Some(word.clone())
            }
            _ => {
                text.wrong(arg.at, "must be a text in quotes");
                None
            }
        }
    }
}

fn parsed(text: Str<'_>) -> Option<Template> {
    match Template::parse(text.text) {
        Ok(template) => Some(template),
        Err((at, said)) => {
            text.wrong(at, said);
            None
        }
    }
}

fn not_among(word: &str, subject: &Known, at: usize, text: Str<'_>) {
    if let Some(words) = &subject.words
        && !words.iter().any(|known| known == word)
    {
        let known: Vec<_> = words.iter().map(String::as_str).collect();
        text.wrong(at, format!("it is never \"{word}\", {}", options(&known)));
    }
}

/// `; there is …` for a name that nearly is a function's.
fn near(name: &str) -> String {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['_', '-'], "");
    let close = FUNCTIONS.iter().find(|f| plain(f.name) == plain(name));
    match close {
        Some(function) => format!("; there is `{}`", function.name),
        None => {
            let names: Vec<_> = FUNCTIONS.iter().map(|f| f.name).collect();
            format!(", {}", options(&names))
        }
    }
}

/// The fixed arguments of a function: texts and whole numbers as they stand.
struct Fixed<'f, 's> {
    name: &'f str,
    args: &'f [Arg],
    at: usize,
    text: Str<'s>,
    next: usize,
    failed: bool,
}

impl Fixed<'_, '_> {
    fn argument(&mut self) -> Option<&Arg> {
        let arg = self.args.get(self.next);
        self.next += 1;
        arg
    }

    fn optional(&mut self) -> Option<Box<str>> {
        let arg = self.argument()?;
        if let (None, Form::Text(text)) = (&arg.label, &arg.value.kind) {
            return Some(text.as_str().into());
        }
        let at = arg.at;
        self.text.wrong(at, "must be a text in quotes");
        self.failed = true;
        None
    }

    fn word(&mut self) -> Box<str> {
        if self.args.len() <= self.next {
            self.missing();
        }
        self.optional().unwrap_or_default()
    }

    fn words(&mut self) -> Box<[Box<str>]> {
        let mut words = vec![self.word()];
        while self.next < self.args.len() {
            words.extend(self.optional());
        }
        words.into()
    }

    fn integer(&mut self, most: usize) -> usize {
        let Some(arg) = self.argument() else {
            self.missing();
            return 0;
        };
        if let (None, Form::Integer(integer)) = (&arg.label, &arg.value.kind)
            && let Ok(integer) = usize::try_from(*integer)
            && (1..=most).contains(&integer)
        {
            return integer;
        }
        let at = arg.at;
        self.text
            .wrong(at, format!("must be a whole number from 1 to {most}"));
        self.failed = true;
        0
    }

    fn missing(&mut self) {
        if !std::mem::replace(&mut self.failed, true) {
            let function = FUNCTIONS.iter().find(|function| function.name == self.name);
            let form = function.map_or("", |function| function.args);
            let said = format!("is written `{}({form})`", self.name);
            self.text.wrong(self.at, said);
        }
    }

    /// The one word that an optional argument may be.
    fn marked(&mut self, mark: &str) -> bool {
        let at = self.args.get(self.next).map(|arg| arg.at);
        match (self.optional(), at) {
            (Some(word), _) if *word == *mark => true,
            (Some(_), Some(at)) => {
                self.text.wrong(at, format!("can only be \"{mark}\""));
                false
            }
            _ => false,
        }
    }

    fn finish(mut self) {
        if self.next < self.args.len() {
            self.missing();
        }
    }
}

/// A function of fixed arguments, and the kind it makes.
fn plain(name: &str, fixed: &mut Fixed<'_, '_>, from: Kind) -> (Func, Kind) {
    let same = if from == Kind::Fields {
        Kind::Fields
    } else {
        Kind::Text
    };
    match name {
        "e164" => (Func::E164, Kind::Text),
        "national" => (
            Func::National {
                bare: fixed.marked("bare"),
            },
            Kind::Text,
        ),
        "number" => {
            let prefix = fixed.word();
            let zero = fixed.marked("zero");
            (Func::Number { prefix, zero }, Kind::Text)
        }
        "text" => (Func::Text, Kind::Text),
        "int" => (Func::Integer, Kind::Integer),
        "flag" => (Func::Flag, Kind::Flag),
        "words" => (Func::Words(fixed.word(), fixed.word()), Kind::Text),
        "upper" => (Func::Upper, Kind::Text),
        "lower" => (Func::Lower, Kind::Text),
        "strip" => (Func::Strip(fixed.word()), same),
        "cut" => (Func::Cut(fixed.integer(4_096)), Kind::Text),
        "replace" => {
            let (old, new) = (fixed.word(), fixed.word());
            (Func::Replace(old, new), Kind::Text)
        }
        "percent" => (Func::Percent(fixed.optional().unwrap_or_default()), same),
        "form" => (Func::Form, same),
        "json" => (Func::Json, Kind::Text),
        "base64" => (Func::Base64, Kind::Text),
        "hex" => (Func::Hex, Kind::Text),
        "md5" => (Func::Digest(Hash::Md5), Kind::Bytes),
        "sha1" => (Func::Digest(Hash::Sha1), Kind::Bytes),
        "sha256" => (Func::Digest(Hash::Sha256), Kind::Bytes),
        "sm3" => (Func::Digest(Hash::Sm3), Kind::Bytes),
        "unix" => (Func::Unix, Kind::Integer),
        "unix_ms" => (Func::UnixMs, Kind::Integer),
        "time" => {
            let at = fixed.args.first().map_or(fixed.at, |arg| arg.at);
            let format = fixed.word();
            let zone = fixed.optional().unwrap_or_else(|| "utc".into());
            match Format::new(&format, &zone) {
                Ok(format) => (Func::Clock(format), Kind::Text),
                Err(said) => {
                    if !fixed.failed {
                        fixed.text.wrong(at, said);
                    }
                    (Func::Text, Kind::Text)
                }
            }
        }
        "digits" => (Func::Digits(fixed.integer(32)), Kind::Text),
        "uuid" => (Func::Uuid, Kind::Text),
        "quoted" => (Func::Quoted(fixed.word()), Kind::Text),
        "sort" => (Func::Sort, Kind::Fields),
        "without" => (Func::Without(fixed.words()), Kind::Fields),
        "only" => (Func::Only(fixed.words()), Kind::Fields),
        "lift" => (Func::Lift(fixed.word()), Kind::Fields),
        "filled" => (Func::Filled, Kind::Fields),
        "lower_names" => (Func::LowerNames, Kind::Fields),
        "replace_names" => {
            let (old, new) = (fixed.word(), fixed.word());
            (Func::ReplaceNames(old, new), Kind::Fields)
        }
        "join" => {
            let (pair, item) = (fixed.word(), fixed.word());
            (Func::Join(pair, item), Kind::Text)
        }
        // The last one of the list.
        _ => (Func::Names(fixed.word()), Kind::Text),
    }
}
