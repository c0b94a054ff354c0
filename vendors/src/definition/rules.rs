//! The tables that say what answers mean and what is taken from them.

use std::ops::RangeInclusive;

use super::answer::{Answer, Outcome, Place, Rule, Test, Wait, Words};
use super::compile::{Compiler, Shared};
use super::load::OPS;
use super::read::{Capture, Captures, From};
use super::source::{Item, Source, Str, Table, options};
use crate::description::Auth;
use crate::exchange::Op;
use crate::outcome::Class;

/// Most rows of the table of rules.
const RULES_MAX: usize = 300;

const OUTCOMES: [(&str, Outcome); 12] = [
    ("ok", Outcome::Success),
    ("gone", Outcome::Gone),
    ("x_conflict", Outcome::Class(Class::XConflict)),
    ("x_unusable", Outcome::Class(Class::XUnusable)),
    ("pool_exhausted", Outcome::Class(Class::PoolExhausted)),
    ("already_bound", Outcome::Class(Class::AlreadyBound)),
    ("throttled", Outcome::Class(Class::Throttled)),
    ("unknown", Outcome::Class(Class::Unknown)),
    ("permanent", Outcome::Class(Class::Permanent)),
    ("config", Outcome::Class(Class::Config)),
    ("vendor_down", Outcome::Class(Class::VendorDown)),
    ("not_found", Outcome::Class(Class::NotFound)),
];

/// A failure class by its word, the key of an entry.
pub(super) fn class_named(item: &Item<'_>) -> Option<Class> {
    let found = Class::ALL
        .into_iter()
        .find(|class| class.word() == item.key);
    if found.is_none() {
        let words: Vec<_> = Class::ALL.iter().map(|class| class.word()).collect();
        let said = format!("no class `{}`, {}", item.key, options(&words));
        item.source.mistake(item.at, said);
    }
    found
}

/// A class that an entry names.
fn class(item: Option<Item<'_>>) -> Option<Class> {
    let item = item?;
    match item.choose(&OUTCOMES) {
        Some(Outcome::Class(class)) => Some(class),
        Some(_) => {
            item.wrong("must be the class of a failure");
            None
        }
        None => None,
    }
}

/// `/data/id`, `header.NAME` or `body`.
pub(super) fn place(text: Str<'_>) -> Place {
    if text.text.is_empty() {
        return Place::Pointer([].into());
    }
    if let Some(rest) = text.text.strip_prefix('/') {
        let steps: Vec<Box<str>> = rest
            .split('/')
            .map(|step| step.replace("~1", "/").replace("~0", "~").into())
            .collect();
        if steps.len() > 16 {
            text.wrong(0, "goes deeper than 16 steps");
        }
        return Place::Pointer(steps.into());
    }
    if let Some(name) = text.text.strip_prefix("header.")
        && !name.is_empty()
    {
        return Place::Header(name.to_ascii_lowercase().into());
    }
    if text.text != "body" {
        text.wrong(
            0,
            "must be a JSON pointer like `/data/id`, `header.NAME` or `body`",
        );
    }
    Place::Body
}

fn places(item: Option<Item<'_>>) -> Vec<Place> {
    item.map_or_else(Vec::new, |item| {
        let list = item.list();
        list.iter().filter_map(Item::text).map(place).collect()
    })
}

/// Texts and whole numbers and flags, as text.
pub(super) fn words(item: &Item<'_>) -> Box<[Box<str>]> {
    let mut words: Vec<Box<str>> = Vec::new();
    for item in item.list() {
        let word = if let Some(integer) = item.as_integer() {
            integer.to_string()
        } else if let Some(flag) = item.as_flag() {
            flag.to_string()
        } else if let Some(text) = item.text() {
            text.text.to_owned()
        } else {
            continue;
        };
        if words.iter().any(|before| **before == *word) {
            item.wrong(format!("\"{word}\" is in the list already"));
        }
        words.push(word.into());
    }
    if words.is_empty() {
        item.wrong(format!("`{}` is empty", item.key));
    }
    words.into()
}

/// `200`, `"200..299"` or a list of them.
fn statuses(item: &Item<'_>) -> Box<[RangeInclusive<u16>]> {
    let parse = |item: Item<'_>| {
        let one = |text: &str| {
            text.trim()
                .parse::<u16>()
                .ok()
                .filter(|n| (100..=599).contains(n))
        };
        let range = if let Some(status) = item.as_integer() {
            one(&status.to_string()).map(|status| status..=status)
        } else {
            item.as_text().and_then(|text| {
                let (low, high) = text.text.split_once("..").unwrap_or((text.text, text.text));
                Some(one(low)?..=one(high)?)
            })
        };
        if range.is_none() {
            item.wrong("must be an HTTP status or a range like \"200..299\"");
        }
        range
    };
    item.list().into_iter().filter_map(parse).collect()
}

const TESTS: [&str; 7] = [
    "status", "code", "field", "is", "contains", "present", "absent",
];

/// The tests that stand side by side in one table; all must hold.
fn tests(table: &mut Table<'_>) -> Vec<Test> {
    let mut tests = Vec::new();
    if let Some(item) = table.take("status") {
        tests.push(Test::Status(statuses(&item)));
    }
    if let Some(item) = table.take("code") {
        tests.push(Test::Code(Words::Is(words(&item))));
    }
    let field = table.text("field");
    let is = table.take("is").map(|item| Words::Is(words(&item)));
    let contains = table
        .take("contains")
        .map(|item| Words::Contains(words(&item)));
    match (field, is, contains) {
        (None, None, None) => {}
        (Some(field), is, contains) if is.is_some() || contains.is_some() => {
            let place = place(field);
            tests.extend(
                [is, contains]
                    .into_iter()
                    .flatten()
                    .map(|words| Test::Field(place.clone(), words)),
            );
        }
        (Some(field), ..) => field.wrong(0, "needs `is` or `contains` beside it"),
        (None, ..) => table
            .source
            .mistake(table.at, "`is` and `contains` need `field` beside them"),
    }
    for (key, test) in [
        ("present", Test::Present as fn(Place) -> Test),
        ("absent", Test::Absent),
    ] {
        if let Some(item) = table.take(key) {
            tests.extend(places(Some(item)).into_iter().map(test));
        }
    }
    tests
}

/// A list of tables of tests, or one.
fn all_tests(item: Option<Item<'_>>) -> Vec<Test> {
    let mut all = Vec::new();
    for item in item.map_or_else(Vec::new, |item| item.list()) {
        let Some(mut table) = item.table() else {
            continue;
        };
        let tests = tests(&mut table);
        table.finish(&TESTS);
        if tests.is_empty() {
            item.wrong("tests nothing");
        }
        all.extend(tests);
    }
    all
}

/// Of a platform that is never asked anything.
pub(super) fn no_answer() -> Answer {
    Answer {
        success: Vec::new(),
        code: Vec::new(),
        text: Vec::new(),
        unknown: None,
        unparsable: Class::Unknown,
    }
}

/// `[answer]`.
pub(super) fn answer(item: Option<Item<'_>>, source: &Source<'_>) -> Answer {
    let mut answer = no_answer();
    let Some(item) = item else {
        source.mistake(0, "`answer` is missing: what success looks like");
        return answer;
    };
    let Some(mut table) = item.table() else {
        return answer;
    };
    answer.code = places(table.need("code"));
    answer.text = places(table.take("text"));
    answer.success = all_tests(table.need("success"));
    answer.unknown = class(table.take("unknown_code"));
    answer.unparsable = class(table.take("unparsable")).unwrap_or(Class::Unknown);
    table.finish(&["code", "text", "success", "unknown_code", "unparsable"]);
    answer
}

/// `[[rules]]`.
pub(super) fn rules(item: Option<Item<'_>>, shared: &Shared<'_>, answer: &Answer) -> Vec<Rule> {
    let source = shared.source;
    let mut rules: Vec<Rule> = Vec::new();
    let items = item.map_or_else(Vec::new, |item| item.list());
    if items.len() > RULES_MAX {
        source.mistake(0, format!("more than {RULES_MAX} rules"));
    }
    for item in items.iter().take(RULES_MAX) {
        let Some(mut table) = item.table() else {
            continue;
        };
        let ops = table.take("ops").map_or_else(Vec::new, |item| {
            item.list()
                .iter()
                .filter_map(|item| item.choose(&OPS))
                .collect()
        });
        let mut tests = tests(&mut table);
        tests.extend(all_tests(table.take("and")));
        if let Some(name) = table.text("code_param") {
            match shared
                .params
                .iter()
                .position(|param| param.name == name.text)
            {
                Some(index) => {
                    shared.used_params.borrow_mut().insert(index);
                    tests.push(Test::CodeParam(index));
                }
                None => name.wrong(0, format!("no parameter `{}`", name.text)),
            }
        }
        let outcome = table.need("class").and_then(|item| item.choose(&OUTCOMES));
        let wait = wait(&mut table);
        let auth = table
            .take("auth")
            .and_then(|item| item.choose(&[("refused", Auth::Refused), ("blocked", Auth::Blocked)]))
            .unwrap_or(Auth::Fine);
        let means = table.text("means");
        table.finish(&[
            "status",
            "code",
            "code_param",
            "field",
            "is",
            "contains",
            "present",
            "absent",
            "and",
            "ops",
            "class",
            "wait_ms",
            "wait",
            "auth",
            "means",
        ]);
        if means.is_none_or(|means| means.text.is_empty()) {
            source.mistake(item.at, "a rule says in `means` what it is about");
        }
        if tests.is_empty() {
            source.mistake(item.at, "a rule without a test takes every answer");
        }
        let rule = Rule {
            ops,
            tests,
            outcome: outcome.unwrap_or(Outcome::Gone),
            wait,
            auth,
            means: means.map_or("", |means| means.text).into(),
        };
        if let Some(said) = unreachable(&rule, &rules, answer) {
            source.mistake(item.at, said);
        }
        rules.push(rule);
    }
    rules
}

fn wait(table: &mut Table<'_>) -> Wait {
    let constant = table.integer::<u64>("wait_ms");
    let told = table.table("wait").map(|mut wait| {
        let from = wait.need("from").and_then(|item| item.text()).map(place);
        let unit = wait
            .need("unit")
            .and_then(|item| item.choose(&[("ms", 1), ("s", 1_000)]));
        wait.finish(&["from", "unit"]);
        (from.unwrap_or(Place::Body), unit.unwrap_or(1))
    });
    match (constant, told) {
        (Some(_), Some(_)) => {
            table
                .source
                .mistake(table.at, "`wait_ms` and `wait` exclude each other");
            Wait::None
        }
        (Some(ms), None) => Wait::Ms(ms),
        (None, Some((place, unit))) => Wait::Told(place, unit),
        (None, None) => Wait::None,
    }
}

/// Why a rule can never be the first that holds.
fn unreachable(rule: &Rule, before: &[Rule], answer: &Answer) -> Option<String> {
    let wider = |earlier: &Rule| {
        earlier.ops.is_empty()
            || (!rule.ops.is_empty() && rule.ops.iter().all(|op| earlier.ops.contains(op)))
    };
    let mut gone: Vec<&str> = Vec::new();
    for earlier in before.iter().filter(|earlier| wider(earlier)) {
        // Each of the earlier rule's tests is implied by one of this rule's.
        let implied = |test: &Test| rule.tests.iter().any(|own| implies(own, test));
        if earlier.tests.iter().all(implied) {
            return Some("is never reached: an earlier rule takes all of it".to_owned());
        }
        if let ([Test::Code(Words::Is(words))], Some(own)) = (&earlier.tests[..], codes(rule)) {
            gone.extend(
                own.iter()
                    .filter(|code| taken(code, words))
                    .map(|code| &**code),
            );
        }
    }
    if let Some(code) = gone.first() {
        return Some(format!(
            "code {code} is never reached: an earlier rule takes it"
        ));
    }
    if answer
        .success
        .iter()
        .all(|test| rule.tests.iter().any(|own| implies(own, test)))
        && !answer.success.is_empty()
    {
        return Some("is never reached: it speaks of success".to_owned());
    }
    None
}

fn codes(rule: &Rule) -> Option<&[Box<str>]> {
    rule.tests.iter().find_map(|test| match test {
        Test::Code(Words::Is(words)) => Some(&**words),
        _ => None,
    })
}

/// Whether one of these words takes a code.
fn taken(code: &str, words: &[Box<str>]) -> bool {
    words.iter().any(|word| match word.strip_suffix('*') {
        Some(start) => code.starts_with(start),
        None => **word == *code,
    })
}

/// Whether the second test holds wherever the first one does.
fn implies(one: &Test, other: &Test) -> bool {
    match (one, other) {
        (Test::Status(own), Test::Status(ranges)) => own.iter().all(|own| {
            ranges
                .iter()
                .any(|range| range.contains(own.start()) && range.contains(own.end()))
        }),
        (Test::Code(Words::Is(own)), Test::Code(Words::Is(words))) => {
            own.iter().all(|code| taken(code, words))
        }
        (Test::Field(place, Words::Is(own)), Test::Field(other, Words::Is(words))) => {
            place == other && own.iter().all(|word| taken(word, words))
        }
        (Test::Field(place, _), Test::Present(other)) => place == other,
        (one, other) => one == other,
    }
}

/// `[operations.NAME.answer]`: what success looks like there, and what is taken from it.
pub(super) fn captures<'s>(
    table: Option<Table<'s>>,
    op: Op,
    answer: &Answer,
    at: usize,
    source: &'s Source<'s>,
    compiler: &mut Compiler<'s>,
) -> (Answer, Captures) {
    let mut answer = answer.clone();
    let mut captures = Captures::default();
    let binds = matches!(op, Op::Bind | Op::AxBind);
    let lists = matches!(op, Op::Query | Op::XQuery | Op::AxQuery | Op::QueryDetail);
    let Some(mut table) = table else {
        if binds || lists {
            let said = format!("`{}` needs an `answer` that captures a handle", op.word());
            source.mistake(at, said);
        }
        return (answer, captures);
    };
    if let Some(item) = table.take("success") {
        answer.success = all_tests(Some(item));
    }
    if let Some(item) = table.take("code") {
        answer.code = places(Some(item));
    }
    if binds || lists {
        let handle = table.need("handle").and_then(|item| item.table());
        for item in handle.map(Table::rest).unwrap_or_default() {
            captures.handle.extend(capture(&item, compiler));
        }
        if captures.handle.iter().all(|capture| capture.optional) {
            let said = "the handle needs one value that is always there, or nobody knows the binding again";
            source.mistake(table.at, said);
        }
        captures.x = places(table.take("x"));
    }
    if lists {
        captures.a = places(table.take("a"));
        captures.b = places(table.take("b"));
        captures.rows = table.text("rows").map(place);
        captures.total = table.text("total").map(place);
        captures.split = table.text("split").map(|between| between.text.into());
        captures.only_asked = table.flag("only_asked");
        for item in table.table("keep").map(Table::rest).unwrap_or_default() {
            let steps = item.key.strip_prefix('/');
            let Some(steps) = steps else {
                source.mistake(item.at, "must be a JSON pointer in the record");
                continue;
            };
            let steps: Vec<Box<str>> = steps.split('/').map(Into::into).collect();
            captures
                .keep
                .push((Place::Pointer(steps.into()), words(&item)));
        }
    }
    if matches!(op, Op::Unbind | Op::AxUnbind) {
        captures.left = table.text("left").map(place);
    }
    let known: &[&str] = if lists {
        &[
            "success",
            "code",
            "handle",
            "a",
            "x",
            "b",
            "rows",
            "split",
            "total",
            "only_asked",
            "keep",
        ]
    } else if binds {
        &["success", "code", "handle", "x"]
    } else {
        &["success", "code", "left"]
    };
    table.finish(known);
    (answer, captures)
}

/// `id = "/data/id"`, a list of such places, `id = { from = "/data/id", optional = true }`, or what
/// was asked for: `x = "{x | national}"`.
fn capture<'s>(item: &Item<'s>, compiler: &mut Compiler<'s>) -> Option<Capture> {
    let (from, optional) = if item.is_table() {
        let mut table = item.table()?;
        let from = table.need("from");
        let optional = table.flag("optional");
        table.finish(&["from", "optional"]);
        (from?, optional)
    } else {
        (*item, false)
    };
    let asked = from.as_text().filter(|text| text.text.starts_with('{'));
    let from = if let Some(text) = asked {
        let (node, known) = compiler.text(text);
        if !known.kind.is_textual() {
            text.wrong(0, format!("{} cannot be kept", known.kind.words()));
        }
        From::Asked(node)
    } else {
        From::Places(places(Some(from)))
    };
    Some(Capture {
        name: item.key.into(),
        from,
        optional,
    })
}
