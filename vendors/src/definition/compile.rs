//! Expressions become trees that are evaluated without looking a name up, and every name, kind and
//! argument is checked on the way.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::callback;
use super::expr::{Arg, Expr, Kind as Form, Piece, Template};
use super::functions::FUNCTIONS;
use super::program::{Slot, code_of, said};
use super::question;
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
/// The expression says who is called, in an answer to a question.
pub(super) const CALLEE: u8 = 8;

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
    pub(super) words: Option<Vec<String>>,
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

    pub(super) fn turned(&self, kind: Kind) -> Known {
        Known {
            kind,
            words: None,
            ..self.clone()
        }
    }

    pub(super) fn also(mut self, other: &Known) -> Known {
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
    pub(super) speech: Speech,
}

/// Of what expressions speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speech {
    /// Of a request that we make.
    Request,
    /// Of a push that we receive.
    Push,
    /// Of our answer to a question; `found` where we know the callee.
    Answer { found: bool },
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

pub(super) type Compiled = (Node, Known);

pub(super) fn broken() -> Compiled {
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
        if let Speech::Answer { found } = self.scope.speech
            && let Some(known) = question::given(names, found)
        {
            return known;
        }
        if self.scope.speech != Speech::Request
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
        let has = |names: &[&str]| names.contains(&name) && self.scope.speech == Speech::Request;
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
            "nonce" if self.scope.speech != Speech::Push => (Node::Nonce, Known::of(Kind::Text)),
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
            name if self.scope.speech != Speech::Request => {
                let mut known: Vec<&str> = callback::ROOTS.to_vec();
                let what = match self.scope.speech {
                    Speech::Answer { found } => {
                        known.extend(question::roots(found));
                        "an answer"
                    }
                    _ => "a call-back",
                };
                known.extend(self.scope.steps.iter().map(|step| step.key));
                let said = format!(
                    "{what} has no value and no step `{name}`, {}",
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
