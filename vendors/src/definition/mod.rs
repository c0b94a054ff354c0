//! A vendor as one TOML file: what can be asked of it, how a request is made and signed, what its
//! answers mean, and how it wants to be treated. `docs/vendors.md` of `tandem-ops` explains the
//! notation to people who write one.
//!
//! In goes a definition's text, once, when it is loaded: [`Definition::parse`] checks every name,
//! kind and rule and compiles the expressions into trees, and every mistake is told with its line
//! and column. Then, for each interface, a [`Plan`] reads the parameters, and for each attempt it
//! builds a [`Request`] and reads the [`Response`]. Clock and nonce come in with [`Attempt`]; this
//! module sends nothing, waits for nothing and remembers nothing.
//!
//! Where to start reading: [`Definition`], [`Plan`], `load.rs` (tables), `compile.rs` (names and
//! kinds), `program.rs` (evaluation), `answer.rs` (rules).

mod answer;
mod arguments;
mod bodies;
mod callback;
mod catalogue;
mod clock;
mod compile;
mod digest;
mod expr;
mod functions;
mod load;
mod params;
mod pipes;
mod policies;
mod program;
mod question;
mod read;
mod rules;
mod source;
mod value;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

use std::cell::RefCell;
use std::sync::Arc;

pub use answer::RuleShown;
pub use callback::{
    CALLBACK_BODY_MAX, CALLBACK_KEY_MAX, CALLBACK_ROWS_MAX, CallEvent, Callback, CallbackError,
    CallbackRequest, EventKind, Receipt, Reply,
};
pub use catalogue::{Catalogue, CatalogueError, FileMistakes, read_file};
pub use functions::{FUNCTIONS, Function};
pub use load::FILE_MAX;
pub use program::{OUTPUT_MAX, Values};
pub use question::{Asked, Callee, QUESTION_BODY_MAX, Question};
pub use source::Mistake;

use answer::{Answer, Place, Rule, Test, Wait};
use compile::{Compiler, Scope, Shared, Speech};
use program::{Bound, Eval, Program, Target, unbuildable};
use read::{Captures, Reader};
use source::{Source, Str};
use value::Node;

use crate::description::{Auth, Form, Param, Schema, Url};
use crate::exchange::{Attempt, Method, Op, Request, Response};
use crate::interface::{Finding, Interface};
use crate::outcome::{BindOutcome, Failure, Page, QueryOutcome, SetCalleeOutcome, UnbindOutcome};
use crate::policy::{Handling, Policy};

/// One vendor's interface, checked and compiled.
#[derive(Debug)]
pub struct Definition {
    /// The number of the type, never used again for another one.
    pub id: u32,
    /// The word in configuration and in the simulator's paths.
    pub name: String,
    /// The name for people.
    pub title: String,
    /// The base URL used when the interface names none; empty when the vendor has no public one.
    pub base_url: String,
    /// Where the facts come from.
    pub source: String,
    /// Every parameter it knows, in the order in which they are best asked for.
    pub params: Vec<Param>,
    /// What it can do and how its numbers may be combined.
    pub policy: Policy,
    /// How it wants to be treated when things go wrong.
    pub handling: Handling,
    /// What can be asked of it.
    pub operations: Vec<Operation>,
    /// What it pushes to us.
    pub callbacks: Vec<Callback>,
    /// What it asks us for each call, where it stores nothing itself.
    pub questions: Vec<Question>,
    variant: Option<Variant>,
    rules: Vec<Rule>,
}

/// One thing that can be asked of a vendor.
#[derive(Debug)]
pub struct Operation {
    /// Which.
    pub op: Op,
    /// HTTP method.
    pub method: Method,
    /// Path below the base URL as the definition has it, holes included.
    pub path: String,
    /// One for each variant.
    programs: Vec<Program>,
    answer: Answer,
    captures: Captures,
    page_rows: u32,
}

/// The parameter that chooses among the ways to sign.
#[derive(Debug)]
struct Variant {
    param: usize,
    words: Vec<String>,
}

impl Definition {
    /// Reads a definition.
    ///
    /// # Errors
    /// Every mistake, at most 50, in the order of the text.
    pub fn parse(text: &str) -> Result<Definition, Vec<Mistake>> {
        load::load(text)
    }

    /// The operation, if the vendor has it.
    pub fn operation(&self, op: Op) -> Option<&Operation> {
        self.operations.iter().find(|o| o.op == op)
    }

    /// What answers mean that are no success, as people read it; the first that holds wins.
    pub fn rules(&self) -> Vec<RuleShown> {
        let shown = |rule: &Rule| rule.shown(&self.params);
        self.rules.iter().map(shown).collect()
    }

    /// The parameter's description, `None` for an unknown name.
    pub fn param(&self, name: &str) -> Option<&Param> {
        self.params.iter().find(|p| p.name == name)
    }

    /// What people are shown of it.
    pub fn schema(&self) -> Schema<'_> {
        let mut urls: Vec<Url<'_>> = Vec::new();
        for operation in &self.operations {
            let name = operation.op.url_key();
            if urls.iter().all(|url| url.name != name) {
                urls.push(Url {
                    name,
                    method: operation.method.word(),
                    path: &operation.path,
                });
            }
        }
        Schema {
            id: self.id,
            name: &self.name,
            title: &self.title,
            base_url: &self.base_url,
            urls,
            params: &self.params,
            policy: self.policy,
        }
    }

    /// What only the definition can say about an interface's parameters.
    pub(crate) fn check(&self, interface: &Interface) -> Vec<Finding> {
        let mut found = Vec::new();
        for param in &self.params {
            found.extend(param.check_notes(interface));
        }
        found
    }

    /// What is wrong with an address that replaces an operation's own.
    pub(crate) fn check_url(&self, interface: &Interface, op: Op) -> Option<String> {
        let operation = self.operation(op)?;
        self.target(interface, operation, 0).err()
    }

    /// The parameters of an interface, each read once.
    fn bound(&self, interface: &Interface) -> Vec<Bound> {
        let bound = |param: &Param| match (interface.param(&param.name), &param.form) {
            (None | Some(""), _) => Bound::Absent,
            (Some(text), Form::Number { .. }) => text.parse().map_or(Bound::Absent, Bound::Integer),
            (Some(text), _) => Bound::Text(text.to_owned()),
        };
        self.params.iter().map(bound).collect()
    }

    /// Where an operation of an interface goes, or what is wrong with the address.
    fn target(
        &self,
        interface: &Interface,
        operation: &Operation,
        variant: usize,
    ) -> Result<Target, String> {
        let base = match interface.base_url.trim_end_matches('/') {
            "" => &self.base_url,
            base => base,
        };
        let (prefix, path) = match interface.urls.get(operation.op.url_key()) {
            None => (base, None),
            Some(path) if path.starts_with('/') => (base, Some(path.as_str())),
            Some(whole) => {
                let host = whole.find("://").map_or(0, |at| at + 3);
                let end = whole[host..].find('/').map_or(whole.len(), |at| host + at);
                let path = if end == whole.len() {
                    "/"
                } else {
                    &whole[end..]
                };
                (&whole[..end], Some(path))
            }
        };
        let path = match path {
            None => None,
            Some(path) => Some(self.path(path, operation, variant)?),
        };
        Ok(Target {
            prefix: prefix.to_owned(),
            host: host(prefix),
            path,
        })
    }

    /// A path that an operator wrote; it may have the holes that the definition's own has.
    fn path(&self, path: &str, operation: &Operation, variant: usize) -> Result<Node, String> {
        let source = Source::new(path);
        let shared = Shared {
            source: &source,
            params: &self.params,
            used_params: RefCell::default(),
            used_steps: RefCell::default(),
        };
        let by = match operation.op {
            Op::AxUnbind | Op::SetCallee | Op::ClearCallee => Op::AxBind,
            Op::QueryDetail => Op::Query,
            _ => Op::Bind,
        };
        let captured = self
            .operation(by)
            .map(|operation| &operation.captures.handle);
        let handle = captured.into_iter().flatten().map(|capture| &*capture.name);
        let program = operation
            .programs
            .get(variant)
            .ok_or("has no such variant")?;
        let scope = Scope {
            shared: &shared,
            op: operation.op,
            action: !program.action.is_empty(),
            handle: handle.collect(),
            steps: Vec::new(),
            headers: Vec::new(),
            path: None,
            body: false,
            speech: Speech::Request,
        };
        let (node, _) = Compiler::resume(scope, &program.slots).path(Str::whole(&source));
        match source.mistakes().first() {
            Some(mistake) => Err(format!("column {}: {}", mistake.column, mistake.text)),
            None if operation.path.contains('{') && !path.contains('{') => {
                Err(format!("must have the holes of `{}`", operation.path))
            }
            None => Ok(node),
        }
    }

    /// Headers of answers that some rule or capture reads, in lower case.
    fn answer_headers(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = Vec::new();
        let mut note = |place: &Place| {
            if let Place::Header(name) = place
                && !names.contains(name)
            {
                names.push(Arc::clone(name));
            }
        };
        let tests = |tests: &[Test], note: &mut dyn FnMut(&Place)| {
            for test in tests {
                match test {
                    Test::Field(place, _) | Test::Present(place) | Test::Absent(place) => {
                        note(place);
                    }
                    Test::Status(_) | Test::Code(_) | Test::CodeParam(_) => {}
                }
            }
        };
        for operation in &self.operations {
            tests(&operation.answer.success, &mut note);
            operation.answer.code.iter().for_each(&mut note);
            operation.answer.text.iter().for_each(&mut note);
        }
        for rule in &self.rules {
            tests(&rule.tests, &mut note);
            if let Wait::Told(place, _) = &rule.wait {
                note(place);
            }
        }
        names
    }
}

/// The host and port of a URL without the port that its scheme has anyway.
fn host(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split('/').next().unwrap_or_default();
    let usual = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    host.strip_suffix(usual).unwrap_or(host).to_owned()
}

/// A definition for one interface: its parameters read, its addresses known.
#[derive(Clone, Debug)]
pub struct Plan {
    definition: &'static Definition,
    variant: usize,
    params: Vec<Bound>,
    /// Beside the definition's operations.
    targets: Vec<Target>,
    answer_headers: Vec<Arc<str>>,
}

/// A target for expressions that speak of no request.
static NOWHERE: Target = Target {
    prefix: String::new(),
    host: String::new(),
    path: None,
};

impl Plan {
    /// Reads an interface that [`Interface::check`] found free of errors.
    pub fn new(interface: &Interface) -> Plan {
        let definition = interface.vendor.describe();
        let params = definition.bound(interface);
        let variant = definition.variant.as_ref().and_then(|variant| {
            let chosen = match &params[variant.param] {
                Bound::Text(word) => word.as_str(),
                _ => return None,
            };
            variant.words.iter().position(|word| word == chosen)
        });
        let variant = variant.unwrap_or(0);
        let target = |operation: &Operation| {
            let target = definition.target(interface, operation, variant);
            target.unwrap_or_else(|_| NOWHERE.clone())
        };
        Plan {
            variant,
            params,
            targets: definition.operations.iter().map(target).collect(),
            answer_headers: definition.answer_headers(),
            definition,
        }
    }

    /// The headers of answers that are read, in lower case; the sender may drop all others.
    pub fn answer_headers(&self) -> &[Arc<str>] {
        &self.answer_headers
    }

    /// Whether the vendor has the operation.
    pub fn has(&self, op: Op) -> bool {
        self.definition.operation(op).is_some()
    }

    /// Every name under which something is captured, for samples of requests.
    pub(crate) fn handle_names(&self) -> impl Iterator<Item = &str> {
        let operations = self.definition.operations.iter();
        let captures = operations.flat_map(|operation| &operation.captures.handle);
        captures.map(|capture| &*capture.name)
    }

    /// How many rows one page of all bindings on X has.
    pub fn page_rows(&self) -> usize {
        let operation = self.definition.operation(Op::XQuery);
        operation.map_or(1, |operation| operation.page_rows as usize)
    }

    fn operation(&self, op: Op) -> Result<(&'static Operation, &Target), Failure> {
        let mut all = self.definition.operations.iter().zip(&self.targets);
        all.find(|(operation, _)| operation.op == op)
            .ok_or_else(|| {
                let said = format!("{} has no {}", self.definition.name, op.word());
                unbuildable("operation", said)
            })
    }

    /// The signed request of one attempt.
    ///
    /// # Errors
    /// `Permanent` when the vendor has no such operation, a number is malformed or missing, the
    /// handle lacks what names the binding, or the request grows beyond [`OUTPUT_MAX`].
    pub fn build(
        &self,
        op: Op,
        values: &Values<'_>,
        attempt: &Attempt,
    ) -> Result<Request, Failure> {
        let (operation, target) = self.operation(op)?;
        if op == Op::AxQuery && values.a.is_empty() && values.x.is_empty() {
            return Err(unbuildable("number", "neither a nor x is given"));
        }
        let program = &operation.programs[self.variant];
        let eval = Eval::new(program, &self.params, target, values, attempt);
        let mut url = String::with_capacity(256);
        url.push_str(&target.prefix);
        url.push_str(eval.path()?);
        eval.write_query(&mut url)?;
        let mut headers = Vec::with_capacity(program.headers.len());
        for (name, node) in &program.headers {
            match eval.value(node)? {
                value::Value::Absent => {}
                value => {
                    let text = value.into_text().into_owned();
                    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
                        let said = format!("header {name} would hold a control character");
                        return Err(unbuildable("value", said));
                    }
                    headers.push((Arc::clone(name), text));
                }
            }
        }
        Ok(Request {
            method: program.method,
            url,
            headers,
            body: eval.body()?,
        })
    }

    /// The steps of an attempt by name, bytes in hexadecimal: how a signature came about. They hold
    /// secrets.
    ///
    /// # Errors
    /// As [`Plan::build`].
    pub fn steps(
        &self,
        op: Op,
        values: &Values<'_>,
        attempt: &Attempt,
    ) -> Result<Vec<(String, String)>, Failure> {
        let (operation, target) = self.operation(op)?;
        let program = &operation.programs[self.variant];
        let eval = Eval::new(program, &self.params, target, values, attempt);
        let step = |(index, slot): (usize, &program::Slot)| {
            Ok((slot.name.to_string(), eval.slot(index)?.text().into_owned()))
        };
        program.slots.iter().enumerate().map(step).collect()
    }

    fn read<T>(
        &self,
        op: Op,
        values: &Values<'_>,
        missing: impl FnOnce(Failure) -> T,
        read: impl FnOnce(Reader<'_>) -> T,
    ) -> T {
        let (operation, target) = match self.operation(op) {
            Ok(found) => found,
            Err(failure) => return missing(failure),
        };
        // Nothing that is captured depends on the moment.
        let attempt = Attempt {
            now_ms: 0,
            nonce: String::new(),
        };
        let program = &operation.programs[self.variant];
        read(Reader {
            op,
            answer: &operation.answer,
            rules: &self.definition.rules,
            params: &self.params,
            captures: &operation.captures,
            asked: Eval::new(program, &self.params, target, values, &attempt),
            values,
        })
    }

    /// Reads the answer to a bind of either kind. The second value says what the answer tells about
    /// our credentials.
    pub fn read_bind(
        &self,
        op: Op,
        response: &Response,
        values: &Values<'_>,
    ) -> (BindOutcome, Auth) {
        let missing = |failure| (BindOutcome::Failed(failure), Auth::Fine);
        self.read(op, values, missing, |reader| reader.bind(response))
    }

    /// Reads the answer to an unbind of either kind. The second value says how often the same must
    /// be unbound again, where a platform counts.
    pub fn read_unbind(
        &self,
        op: Op,
        response: &Response,
        values: &Values<'_>,
    ) -> (UnbindOutcome, u32, Auth) {
        let missing = |failure| (UnbindOutcome::Failed(failure), 0, Auth::Fine);
        self.read(op, values, missing, |reader| reader.unbind(response))
    }

    /// Reads the answer to an operation that only succeeds or fails: naming a callee and taking it
    /// back, changing a binding.
    pub fn read_done(
        &self,
        op: Op,
        response: &Response,
        values: &Values<'_>,
    ) -> (SetCalleeOutcome, Auth) {
        let missing = |failure| (SetCalleeOutcome::Failed(failure), Auth::Fine);
        self.read(op, values, missing, |reader| reader.set_callee(response))
    }

    /// Reads the answer to a query. Records without an id are left out; a record that names no
    /// number of a kind gets the one that was asked for.
    pub fn read_query(
        &self,
        op: Op,
        response: &Response,
        values: &Values<'_>,
    ) -> (QueryOutcome, Auth) {
        let missing = |failure| (QueryOutcome::Failed(failure), Auth::Fine);
        self.read(op, values, missing, |reader| reader.query(response))
    }

    /// Reads one page of the answer to a query for all of X. "No such record" is an empty page.
    pub fn read_page(
        &self,
        op: Op,
        response: &Response,
        values: &Values<'_>,
    ) -> (Result<Page, Failure>, Auth) {
        let missing = |failure| (Err(failure), Auth::Fine);
        self.read(op, values, missing, |reader| reader.page(response))
    }
}
