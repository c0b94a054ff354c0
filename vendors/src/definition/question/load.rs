//! `bind = "local"` and `[questions.NAME]` of a definition.

use super::{Form, QUESTION_BODY_MAX, Question};
use crate::definition::bodies::{BODIES, fields};
use crate::definition::callback::{Common, Loader, Reply, over, pointers, reply, unused};
use crate::definition::compile::{CALLEE, Compiler, Shared, Speech};
use crate::definition::program::{BodyKind, Program};
use crate::definition::source::{Item, Table};
use crate::definition::value::{Kind, Node};

/// Most questions one definition has.
const QUESTIONS_MAX: usize = 10;

/// Where bindings are kept: at the platform, or with us alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::definition) enum Wanted {
    /// The platform is asked to bind.
    Platform,
    /// The platform asks us.
    Local,
}

impl Wanted {
    /// Reads `bind`.
    pub(in crate::definition) fn read(item: Option<Item<'_>>) -> Wanted {
        let words = [("platform", Wanted::Platform), ("local", Wanted::Local)];
        let wanted = item.and_then(|item| item.choose(&words));
        wanted.unwrap_or(Wanted::Platform)
    }
}

/// Tells of every table of a definition that speaks of requests, where none is ever sent.
///
/// `common` are the keys of what all requests have.
pub(in crate::definition) fn nothing_is_sent(root: &Table<'_>, common: &[&'static str]) {
    let requests = [
        "base_url",
        "operations",
        "answer",
        "rules",
        "variant",
        "variants",
    ];
    let common = common.iter().copied().filter(|key| *key != "steps");
    for key in requests.into_iter().chain(common) {
        if let Some(item) = root.clone().take(key) {
            let said = format!("`{key}` has no use: with `bind = \"local\"` nothing is sent");
            root.source.mistake(item.at, said);
        }
    }
}

/// Reads them all.
pub(in crate::definition) fn questions<'s>(
    item: Option<Item<'s>>,
    common: &Common<'s>,
    wanted: Wanted,
    shared: &'s Shared<'s>,
) -> Vec<Question> {
    let source = shared.source;
    match (item, wanted) {
        (None, Wanted::Local) => {
            let said = "there is no `questions.NAME`: how does the platform ask?";
            source.mistake(0, said);
        }
        (Some(item), Wanted::Platform) => {
            let said = "only a platform with `bind = \"local\"` asks questions";
            source.mistake(item.at, said);
        }
        _ => {}
    }
    let tables = item.and_then(|item| item.table());
    let items = tables.map(Table::rest).unwrap_or_default();
    if let Some(item) = items.get(QUESTIONS_MAX) {
        source.mistake(item.at, format!("more than {QUESTIONS_MAX} questions"));
    }
    let mut questions = Vec::new();
    for item in items.iter().take(QUESTIONS_MAX) {
        if let Some(table) = item.table() {
            let loader = Loader {
                item: *item,
                handle: &[],
                shared,
            };
            questions.extend(question(&loader, table, common));
        }
    }
    questions
}

fn question<'s>(
    loader: &Loader<'s, '_>,
    mut table: Table<'s>,
    common: &Common<'s>,
) -> Option<Question> {
    let help = table.need("help").and_then(|item| item.text());
    let own = table.table("steps").map(Table::rest).unwrap_or_default();
    let door = loader.door(&mut table, common, &own, QUESTION_BODY_MAX);
    let steps = over(&own, &common.steps);
    let within = table.take("within_ms").map(|item| within(loader, &item));
    let (a, x) = (pointers(table.need("a")), pointers(table.need("x")));
    let call_id = pointers(table.take("call_id"));
    let digits = pointers(table.take("digits"));
    let connect = table.need("connect");
    let connect = connect.and_then(|item| form(loader, &item, &steps, true));
    let refuse = table.need("refuse");
    let refuse = refuse.and_then(|item| form(loader, &item, &steps, false));
    let forbidden = Reply {
        status: 403,
        content_type: String::new(),
        body: String::new(),
    };
    let refuse_proof = table.take("refuse_proof").or(common.refuse);
    let refuse_proof = refuse_proof.map_or(Some(forbidden), |item| reply(&item));
    table.finish(&[
        "help",
        "method",
        "body",
        "steps",
        "auth",
        "within_ms",
        "a",
        "x",
        "call_id",
        "digits",
        "connect",
        "refuse",
        "refuse_proof",
    ]);
    unused(&own, loader.shared);
    let door = door?;
    Some(Question {
        name: door.name.clone(),
        help: help?.text.to_owned(),
        method: door.method,
        door,
        within,
        a,
        x,
        call_id,
        digits,
        connect: connect?,
        refuse: refuse?,
        refuse_proof: refuse_proof?,
    })
}

/// A number of milliseconds, mostly a parameter; neither steps nor the question are there.
fn within<'s>(loader: &Loader<'s, '_>, item: &Item<'s>) -> Node {
    let scope = loader.scope(Vec::new(), Speech::Push);
    let (node, known) = Compiler::new(scope).item(item);
    let constant = matches!(node, Node::Integer(ms) if ms > 0);
    let fits = constant || matches!(node, Node::Param(_)) && !known.optional;
    if !fits || !matches!(known.kind, Kind::Integer | Kind::Any) {
        item.wrong("must be milliseconds: a number, or a parameter that is one and always there");
    }
    node
}

/// `{ status = 200, type = "…", send = "json", body = { … } }`.
fn form<'s>(
    loader: &Loader<'s, '_>,
    item: &Item<'s>,
    steps: &[Item<'s>],
    found: bool,
) -> Option<Form> {
    let mut table = item.table()?;
    let status = table.take("status");
    let status_is = status.map_or(Some(200), |item| item.integer::<u16>());
    if let (Some(item), Some(false)) = (status, status_is.map(|s| (200..=599).contains(&s))) {
        item.wrong("must be an HTTP status from 200 to 599");
    }
    let content_type = table.text("type");
    if let Some(text) = content_type.filter(|text| text.text.chars().any(char::is_control)) {
        text.wrong(0, "is no content type");
    }
    let send = table.take("send").and_then(|item| item.choose(&BODIES));
    let body = table.table("body");
    table.finish(&["status", "type", "send", "body"]);
    let kind = match (&body, send) {
        (None, _) => BodyKind::None,
        (Some(_), send) => send.unwrap_or(BodyKind::Json { spaced: false }),
    };
    let usual = match kind {
        BodyKind::None => "",
        BodyKind::Form => "application/x-www-form-urlencoded",
        BodyKind::Json { .. } => "application/json;charset=UTF-8",
    };
    let scope = loader.scope(steps.to_vec(), Speech::Answer { found });
    let mut compiler = Compiler::new(scope);
    let items = body.map(Table::rest).unwrap_or_default();
    if kind == BodyKind::Form
        && let Some(item) = items.iter().find(|item| item.is_table())
    {
        let said = "a form has no nested fields; put objects in a list to send them as JSON";
        item.source.mistake(item.at, said);
    }
    // `body` is the question's, so no field is made of its own body.
    let (fields, known) = fields(&mut compiler, &items, 0, 0);
    if found && !known.iter().any(|known| known.reads & CALLEE != 0) {
        let said = "the answer never says `b`: whom does the platform call?";
        item.source.mistake(item.at, said);
    }
    let mut program = Program::of_steps(compiler.finish());
    program.body = kind;
    program.fields = fields;
    Some(Form {
        status: status_is?,
        content_type: content_type.map_or(usual, |text| text.text).to_owned(),
        program,
    })
}
