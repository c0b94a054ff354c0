//! A definition's text becomes a [`Definition`]: every table read, every expression compiled, every
//! mistake gathered with its place.

use std::cell::RefCell;
use std::collections::BTreeSet;

use toml::de::DeTable;

use super::bodies::{BODIES, fields, reads};
use super::callback;
use super::compile::{BODY, Compiler, QUERY, Scope, Shared, Speech};
use super::params::params;
use super::policies::policies;
use super::program::{BodyKind, Program};
use super::question::{self, Wanted};
use super::rules;
use super::source::{Item, Mistake, Source, Str, Table, options};
use super::{Definition, Operation, Variant};
use crate::description::Form;
use crate::exchange::{Method, Op};

/// Largest definition, in bytes.
pub const FILE_MAX: usize = 262_144;
/// Parameters, variants, headers, fields of one table.
pub(super) const ENTRIES_MAX: usize = 200;

/// The operations by the name of their table.
pub(super) const OPS: [(&str, Op); 11] = [
    ("bind", Op::Bind),
    ("unbind", Op::Unbind),
    ("query", Op::Query),
    ("query_detail", Op::QueryDetail),
    ("x_query", Op::XQuery),
    ("modify", Op::Modify),
    ("ax_bind", Op::AxBind),
    ("ax_unbind", Op::AxUnbind),
    ("ax_query", Op::AxQuery),
    ("set_callee", Op::SetCallee),
    ("clear_callee", Op::ClearCallee),
];

const METHODS: [(&str, Method); 4] = [
    ("GET", Method::Get),
    ("POST", Method::Post),
    ("PUT", Method::Put),
    ("DELETE", Method::Delete),
];

/// Reads a definition.
pub(super) fn load(text: &str) -> Result<Definition, Vec<Mistake>> {
    let source = Source::new(text);
    if text.len() > FILE_MAX {
        source.mistake(0, format!("longer than {FILE_MAX} bytes"));
        return Err(source.mistakes());
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            let said: Vec<_> = error.message().lines().collect();
            source.mistake(at, said.join(", "));
        }
        return Err(source.mistakes());
    }
    let root = Table::new(&source, document.get_ref(), 0);
    match definition(root, &source) {
        Some(definition) if source.is_clean() => Ok(definition),
        _ => Err(source.mistakes()),
    }
}

/// What stands at the top level and in each variant.
#[derive(Default, Clone)]
struct Common<'s> {
    headers: Vec<Item<'s>>,
    query: Vec<Item<'s>>,
    head: Vec<Item<'s>>,
    tail: Vec<Item<'s>>,
    steps: Vec<Item<'s>>,
    send: Option<BodyKind>,
    query_plus: Option<bool>,
}

impl<'s> Common<'s> {
    const KEYS: [&'static str; 7] = [
        "headers",
        "query",
        "body_head",
        "body_tail",
        "steps",
        "send",
        "query_plus",
    ];

    fn take(table: &mut Table<'s>) -> Common<'s> {
        let mut rest = |key| {
            let entries = table.table(key).map(Table::rest).unwrap_or_default();
            if entries.len() > ENTRIES_MAX {
                table.source.mistake(
                    table.at,
                    format!("`{key}` has more than {ENTRIES_MAX} entries"),
                );
            }
            entries
        };
        let (headers, query, head, tail, steps) = (
            rest("headers"),
            rest("query"),
            rest("body_head"),
            rest("body_tail"),
            rest("steps"),
        );
        Common {
            headers,
            query,
            head,
            tail,
            steps,
            send: table.take("send").and_then(|item| item.choose(&BODIES)),
            query_plus: table.take("query_plus").and_then(|item| item.flag()),
        }
    }

    /// The entries of both; one of `over` replaces one of the same name.
    fn merged(&self, over: &Common<'s>) -> Common<'s> {
        Common {
            headers: replaced(&self.headers, &over.headers),
            query: replaced(&self.query, &over.query),
            head: replaced(&self.head, &over.head),
            tail: replaced(&self.tail, &over.tail),
            steps: replaced(&self.steps, &over.steps),
            send: over.send.or(self.send),
            query_plus: over.query_plus.or(self.query_plus),
        }
    }
}

fn replaced<'s>(under: &[Item<'s>], over: &[Item<'s>]) -> Vec<Item<'s>> {
    let same = |one: &Item<'s>, other: &Item<'s>| one.key.eq_ignore_ascii_case(other.key);
    let mut items: Vec<Item<'s>> = under
        .iter()
        .map(|item| *over.iter().find(|other| same(item, other)).unwrap_or(item))
        .collect();
    let new = over
        .iter()
        .filter(|item| !under.iter().any(|other| same(item, other)));
    items.extend(new);
    items
}

/// One operation's table, taken apart.
struct Draft<'s> {
    op: Op,
    at: usize,
    method: Method,
    action: Option<Str<'s>>,
    path: Str<'s>,
    common: Common<'s>,
    fields: Option<Vec<Item<'s>>>,
    table: Table<'s>,
}

fn definition<'s>(mut root: Table<'s>, source: &'s Source<'s>) -> Option<Definition> {
    let name = root.need("name").and_then(|item| item.text()).map(named);
    let title = root.need("title").and_then(|item| item.text());
    let id = root.need("id").and_then(|item| item.integer::<u32>());
    let wanted = Wanted::read(root.take("bind"));
    if wanted == Wanted::Local {
        question::nothing_is_sent(&root, &Common::KEYS);
    }
    let base_url = match wanted {
        Wanted::Platform => root.need("base_url").and_then(|item| item.text()),
        Wanted::Local => None,
    };
    let source_of = root.text("source");
    let params = params(root.take("params"), source);
    let variant_of = root.text("variant");
    let variant_tables = root.table("variants").map(Table::rest).unwrap_or_default();
    let common = Common::take(&mut root);
    let operations = match wanted {
        Wanted::Platform => root.need("operations").and_then(|item| item.table()),
        Wanted::Local => None,
    };
    let answer = root.take("answer");
    let rules = root.take("rules");
    let policy = root.take("policy");
    let (push, pushes) = (root.take("callback"), root.take("callbacks"));
    let asked = root.take("questions");
    let mut known = vec![
        "name",
        "title",
        "id",
        "base_url",
        "source",
        "params",
        "variant",
        "variants",
        "operations",
        "answer",
        "rules",
        "policy",
        "callback",
        "callbacks",
        "bind",
        "questions",
    ];
    known.extend(Common::KEYS);
    root.finish(&known);

    let shared = Shared {
        source,
        params: &params,
        used_params: RefCell::default(),
        used_steps: RefCell::default(),
    };
    let variants = variants(variant_of, variant_tables, &shared);
    let drafts = drafts(operations);
    let (answer, rules) = match wanted {
        Wanted::Platform => {
            let answer = rules::answer(answer, source);
            let rules = rules::rules(rules, &shared, &answer);
            (answer, rules)
        }
        Wanted::Local => (rules::no_answer(), Vec::new()),
    };
    let mut compiled = Vec::new();
    for draft in &drafts {
        let handle = handle_names(draft.op, &drafts);
        let mut programs = Vec::new();
        for (_, variant) in &variants {
            let under = common.merged(variant);
            programs.push(program(draft, &under, handle.clone(), &shared));
        }
        // What is captured speaks of what was asked for, not of how it was signed.
        let scope = || scope(draft, &Common::default(), handle.clone(), &shared);
        let mut table = draft.table.clone();
        let (answer, captures) = rules::captures(
            table.table("answer"),
            draft.op,
            &answer,
            draft.at,
            source,
            &mut Compiler::new(scope()),
        );
        let page_rows = table.integer::<u32>("page_rows");
        for program in &mut programs {
            program.page_rows = page_rows.unwrap_or(1).max(1);
        }
        if draft.op == Op::XQuery && page_rows.is_none() {
            source.mistake(
                draft.at,
                "`page_rows` is missing: how many rows one page has",
            );
        }
        table.finish(&[
            "method",
            "path",
            "action",
            "headers",
            "query",
            "body",
            "body_head",
            "body_tail",
            "steps",
            "send",
            "query_plus",
            "answer",
            "page_rows",
        ]);
        compiled.push(Operation {
            op: draft.op,
            method: draft.method,
            path: draft.path.text.to_owned(),
            programs,
            answer,
            captures,
            page_rows: page_rows.unwrap_or(1).max(1),
        });
    }
    let has = |op: Op| compiled.iter().any(|operation| operation.op == op);
    for (op, needs) in [
        (Op::Bind, Op::Unbind),
        (Op::AxBind, Op::AxUnbind),
        (Op::SetCallee, Op::AxBind),
        (Op::XQuery, Op::Query),
        (Op::QueryDetail, Op::Query),
    ] {
        if let Some(draft) = drafts.iter().find(|draft| draft.op == op)
            && !has(needs)
        {
            let said = format!("there is `{}` but no `{}`", op.word(), needs.word());
            source.mistake(draft.at, said);
        }
    }
    if wanted == Wanted::Platform && !has(Op::Bind) && !has(Op::AxBind) {
        source.mistake(
            0,
            "there is neither `operations.bind` nor `operations.ax_bind`",
        );
    }
    let pushed = callback::Common::read(push, &common.steps);
    let callbacks = callback::callbacks(pushes, &pushed, &captured(&compiled), &shared);
    let questions = question::questions(asked, &pushed, wanted, &shared);
    pushed.finish(&shared);
    if let (Some(push), None, None) = (push, pushes, asked) {
        let said = "there is no `callbacks.NAME` or `questions.NAME` that this is common to";
        source.mistake(push.at, said);
    }
    if let (Some(asked), Some(twice)) = (
        asked,
        questions
            .iter()
            .find(|question| callbacks.iter().any(|known| known.name == question.name)),
    ) {
        let said = format!("`{}` is a call-back and a question", twice.name);
        source.mistake(asked.at, said);
    }
    unused(&shared, &common, &variants, &drafts, variant_of);
    let (policy, handling) = policies(policy, source, &compiled, wanted);
    let variant = variant_of.and_then(|of| {
        let param = params.iter().position(|param| param.name == of.text)?;
        let words = variants.iter().map(|(word, _)| word.to_string()).collect();
        Some(Variant { param, words })
    });
    Some(Definition {
        id: id?,
        name: name?,
        title: title?.text.to_owned(),
        base_url: match wanted {
            Wanted::Platform => base_url?.text.trim_end_matches('/').to_owned(),
            Wanted::Local => String::new(),
        },
        source: source_of
            .map(|text| text.text.to_owned())
            .unwrap_or_default(),
        params,
        policy,
        handling,
        operations: compiled,
        callbacks,
        questions,
        variant,
        rules,
    })
}

/// A name that can stand in configuration, in paths and in metrics.
fn named(name: Str<'_>) -> String {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.text.is_empty() || name.text.len() > 32 || !name.text.chars().all(fits) {
        name.wrong(0, "must be 1 to 32 of a-z, 0-9, - and _");
    }
    name.text.to_owned()
}

fn variants<'s>(
    of: Option<Str<'s>>,
    tables: Vec<Item<'s>>,
    shared: &Shared<'s>,
) -> Vec<(&'s str, Common<'s>)> {
    let mut variants = Vec::new();
    for item in &tables {
        if let Some(mut table) = item.table() {
            variants.push((item.key, Common::take(&mut table)));
            table.finish(&Common::KEYS);
        }
    }
    let Some(of) = of else {
        if let Some(first) = tables.first() {
            let said = "`variant` must name the parameter that chooses among these";
            shared.source.mistake(first.at, said);
        }
        return vec![("", Common::default())];
    };
    let Some(index) = shared.params.iter().position(|param| param.name == of.text) else {
        of.wrong(0, format!("no parameter `{}`", of.text));
        return vec![("", Common::default())];
    };
    shared.used_params.borrow_mut().insert(index);
    let param = &shared.params[index];
    let words = match &param.form {
        Form::Choice { words } if param.required || param.default.is_some() => words.as_slice(),
        _ => {
            of.wrong(0, "must be a choice that is required or has a default");
            return vec![("", Common::default())];
        }
    };
    for item in &tables {
        if !words.iter().any(|word| word == item.key) {
            let said = format!("`{}` is never \"{}\"", of.text, item.key);
            shared.source.mistake(item.at, said);
        }
    }
    for word in words {
        if !variants.iter().any(|(known, _)| known == word) {
            of.wrong(0, format!("there is no `variants.{word}`"));
        }
    }
    // In the order of the words, as the index is found by the word.
    variants.sort_by_key(|(name, _)| words.iter().position(|word| word == name));
    variants
}

fn drafts(operations: Option<Table<'_>>) -> Vec<Draft<'_>> {
    let mut drafts = Vec::new();
    let Some(operations) = operations else {
        return drafts;
    };
    for item in operations.rest() {
        let Some((_, op)) = OPS.iter().find(|(name, _)| *name == item.key) else {
            let names: Vec<_> = OPS.iter().map(|(name, _)| *name).collect();
            let said = format!("no operation `{}`, {}", item.key, options(&names));
            item.source.mistake(item.at, said);
            continue;
        };
        let Some(mut table) = item.table() else {
            continue;
        };
        let method = table.need("method").and_then(|item| item.choose(&METHODS));
        let path = table.need("path").and_then(|item| item.text());
        let action = table.text("action");
        let common = Common::take(&mut table);
        let fields = table.table("body").map(Table::rest);
        let (Some(method), Some(path)) = (method, path) else {
            continue;
        };
        if !path.text.starts_with('/') {
            path.wrong(0, "must begin with `/`");
        }
        drafts.push(Draft {
            op: *op,
            at: item.at,
            method,
            action,
            path,
            common,
            fields,
            table,
        });
    }
    drafts
}

/// What the operation captures that makes what this one speaks of.
fn handle_names<'s>(op: Op, drafts: &[Draft<'s>]) -> Vec<&'s str> {
    let by = match op {
        Op::Unbind | Op::Modify => Op::Bind,
        Op::QueryDetail => Op::Query,
        Op::AxUnbind | Op::SetCallee | Op::ClearCallee => Op::AxBind,
        _ => return Vec::new(),
    };
    let Some(draft) = drafts.iter().find(|draft| draft.op == by) else {
        return Vec::new();
    };
    let mut table = draft.table.clone();
    let mut answer = table
        .take("answer")
        .filter(Item::is_table)
        .and_then(|item| item.table());
    let handle = answer.as_mut().and_then(|answer| answer.take("handle"));
    let handle = handle.filter(Item::is_table).and_then(|item| item.table());
    handle.map_or_else(Vec::new, |table| {
        table.rest().iter().map(|item| item.key).collect()
    })
}

fn scope<'s>(
    draft: &Draft<'s>,
    common: &Common<'s>,
    handle: Vec<&'s str>,
    shared: &'s Shared<'s>,
) -> Scope<'s> {
    Scope {
        shared,
        op: draft.op,
        action: draft.action.is_some(),
        handle,
        steps: common.steps.clone(),
        headers: common.headers.clone(),
        path: Some(draft.path),
        body: draft.fields.is_some(),
        speech: Speech::Request,
    }
}

fn program<'s>(
    draft: &Draft<'s>,
    under: &Common<'s>,
    handle: Vec<&'s str>,
    shared: &'s Shared<'s>,
) -> Program {
    let common = under.merged(&draft.common);
    let source = shared.source;
    for step in &common.steps {
        if step.is_table() || step.is_list() {
            step.wrong(format!("step `{}` must be text", step.key));
        }
    }
    let mut compiler = Compiler::new(scope(draft, &common, handle, shared));
    let (path, _) = compiler.path(draft.path);
    let query = fields(&mut compiler, &common.query, QUERY, 0);
    let body = match (&draft.fields, common.send) {
        (None, _) => BodyKind::None,
        (Some(_), Some(send)) => send,
        (Some(_), None) => {
            source.mistake(
                draft.at,
                "there is a body but no `send` says how it is written",
            );
            BodyKind::None
        }
    };
    let mut items: Vec<Item<'s>> = Vec::new();
    if let Some(own) = &draft.fields {
        items.extend(&common.head);
        items.extend(own);
        items.extend(&common.tail);
        for (index, item) in items.iter().enumerate() {
            if items[..index].iter().any(|before| before.key == item.key) {
                source.mistake(item.at, format!("field `{}` is there already", item.key));
            }
        }
    }
    let body_fields = fields(&mut compiler, &items, BODY, 0);
    if body == BodyKind::Form
        && let Some(at) = items
            .iter()
            .find(|item| item.is_table())
            .map(|item| item.at)
    {
        source.mistake(
            at,
            "a form has no nested fields; put objects in a list to send them as JSON",
        );
    }
    let mut headers = Vec::new();
    for item in &common.headers {
        // An empty one takes back what stands above.
        if item.as_text().is_some_and(|text| text.text.is_empty()) {
            continue;
        }
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if item.key.is_empty() || !item.key.bytes().all(legal) {
            source.mistake(item.at, format!("`{}` is no header's name", item.key));
        }
        let (node, known) = compiler.sent_header(item);
        if !known.kind.is_textual() {
            item.wrong(format!("{} is no header", known.kind.words()));
        }
        headers.push((item.key.into(), node));
    }
    if reads(&query.1, BODY) && reads(&body_fields.1, QUERY) {
        source.mistake(draft.at, "query and body are made of each other");
    }
    Program {
        method: draft.method,
        action: draft.action.map_or("", |action| action.text).into(),
        page_rows: 1,
        path,
        headers,
        query: query.0,
        query_plus: common.query_plus.unwrap_or(false),
        body,
        fields: body_fields.0,
        slots: compiler.finish(),
    }
}

/// The names of what identifies a binding of either kind.
fn captured(operations: &[Operation]) -> Vec<String> {
    let binds = operations
        .iter()
        .filter(|operation| matches!(operation.op, Op::Bind | Op::AxBind));
    let handle = binds.flat_map(|operation| &operation.captures.handle);
    handle.map(|capture| capture.name.to_string()).collect()
}

/// Steps and parameters that nothing needs are misspelt somewhere.
fn unused<'s>(
    shared: &Shared<'s>,
    common: &Common<'s>,
    variants: &[(&'s str, Common<'s>)],
    drafts: &[Draft<'s>],
    variant_of: Option<Str<'s>>,
) {
    if !shared.source.is_clean() {
        return;
    }
    let used: BTreeSet<usize> = shared.used_steps.borrow().clone();
    let steps = common.steps.iter();
    let steps = steps.chain(variants.iter().flat_map(|(_, variant)| &variant.steps));
    for step in steps.chain(drafts.iter().flat_map(|draft| &draft.common.steps)) {
        if !used.contains(&step.at) {
            let said = format!("step `{}` is needed by nothing", step.key);
            shared.source.mistake(step.at, said);
        }
    }
    let used = shared.used_params.borrow();
    for (index, param) in shared.params.iter().enumerate() {
        let chooses = variant_of.is_some_and(|of| of.text == param.name);
        if !used.contains(&index) && !chooses {
            let said = format!("parameter `{}` is needed by nothing", param.name);
            shared.source.mistake(param.at, said);
        }
    }
}
