//! `[callbacks.NAME]` of a definition, and `[callback]`, which they have in common.

use super::door::{Auth, Door, Moment};
use super::event::{KindOf, Mapping, Notation, Pointer};
use super::received::Body;
use super::{CALLBACK_BODY_MAX, CALLBACK_ROWS_MAX, Callback, EventKind, Reply};
use crate::definition::answer::Place;
use crate::definition::clock::Format;
use crate::definition::compile::{Compiler, SUFFIX, Scope, Shared, Speech};
use crate::definition::program::Program;
use crate::definition::rules;
use crate::definition::source::{Item, Str, Table, options};
use crate::definition::value::{Kind, Node};
use crate::description::Form;
use crate::exchange::{Method, Op};

/// Most pushes one definition has.
const CALLBACKS_MAX: usize = 20;
/// Longest literal answer, in bytes.
const REPLY_MAX: usize = 1_024;

const METHODS: [(&str, Method); 2] = [("POST", Method::Post), ("GET", Method::Get)];

const BODIES: [(&str, Body); 3] = [
    ("json", Body::Json),
    ("form", Body::Form),
    ("query", Body::Query),
];

/// What stands in `[callback]`: for every call-back and question that does not say it itself.
pub(in crate::definition) struct Common<'s> {
    method: Option<Item<'s>>,
    body: Option<Item<'s>>,
    auth: Option<Item<'s>>,
    reply: Option<Item<'s>>,
    pub(in crate::definition) refuse: Option<Item<'s>>,
    /// Its own.
    own: Vec<Item<'s>>,
    /// Those, then those of the definition.
    pub(in crate::definition) steps: Vec<Item<'s>>,
}

impl<'s> Common<'s> {
    /// Reads it; `steps` are those of the definition.
    pub(in crate::definition) fn read(item: Option<Item<'s>>, steps: &[Item<'s>]) -> Common<'s> {
        let mut table = item.and_then(|item| item.table());
        let mut take = |key: &str| table.as_mut().and_then(|table| table.take(key));
        let own = take("steps").and_then(|item| item.table());
        let own = own.map(Table::rest).unwrap_or_default();
        let common = Common {
            method: take("method"),
            body: take("body"),
            auth: take("auth"),
            reply: take("reply"),
            refuse: take("refuse"),
            steps: over(&own, steps),
            own,
        };
        if let Some(table) = table {
            table.finish(&["method", "body", "auth", "reply", "refuse", "steps"]);
        }
        common
    }

    /// Tells of steps that nothing has needed.
    pub(in crate::definition) fn finish(&self, shared: &Shared<'s>) {
        unused(&self.own, shared);
    }
}

/// Steps, and below them those of other names.
pub(in crate::definition) fn over<'s>(own: &[Item<'s>], under: &[Item<'s>]) -> Vec<Item<'s>> {
    let hidden = |step: &Item<'s>| own.iter().any(|other| other.key == step.key);
    let rest = under.iter().filter(|step| !hidden(step));
    own.iter().chain(rest).copied().collect()
}

/// Reads them all; `handle` are the names of what a bind captures.
pub(in crate::definition) fn callbacks<'s>(
    item: Option<Item<'s>>,
    common: &Common<'s>,
    handle: &[String],
    shared: &'s Shared<'s>,
) -> Vec<Callback> {
    let tables = item.and_then(|item| item.table());
    let items = tables.map(Table::rest).unwrap_or_default();
    if let Some(item) = items.get(CALLBACKS_MAX) {
        let said = format!("more than {CALLBACKS_MAX} call-backs");
        shared.source.mistake(item.at, said);
    }
    let mut callbacks = Vec::new();
    for item in items.iter().take(CALLBACKS_MAX) {
        if let Some(table) = item.table() {
            let loader = Loader {
                item: *item,
                handle,
                shared,
            };
            callbacks.extend(loader.callback(table, common));
        }
    }
    callbacks
}

/// Steps that nothing needs are misspelt somewhere.
pub(in crate::definition) fn unused(steps: &[Item<'_>], shared: &Shared<'_>) {
    if shared.source.is_clean() {
        let used = shared.used_steps.borrow();
        for step in steps.iter().filter(|step| !used.contains(&step.at)) {
            let said = format!("step `{}` is needed by nothing", step.key);
            shared.source.mistake(step.at, said);
        }
    }
}

/// One call-back or question.
pub(in crate::definition) struct Loader<'s, 'h> {
    pub(in crate::definition) item: Item<'s>,
    /// What a bind captures.
    pub(in crate::definition) handle: &'h [String],
    pub(in crate::definition) shared: &'s Shared<'s>,
}

impl<'s> Loader<'s, '_> {
    /// Name, method, body and proofs; `own` are its own steps.
    pub(in crate::definition) fn door(
        &self,
        table: &mut Table<'s>,
        common: &Common<'s>,
        own: &[Item<'s>],
        bytes_max: usize,
    ) -> Option<Door> {
        let source = self.shared.source;
        let name = self.item.key;
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 32 || !name.chars().all(fits) {
            source.mistake(self.item.at, "must be 1 to 32 of a-z, 0-9, - and _");
        }
        let method = table.take("method").or(common.method);
        let method = method.map_or(Some(Method::Post), |item| item.choose(&METHODS));
        let mut need = |key: &str, common: Option<Item<'s>>| match table.take(key).or(common) {
            None => table.need(key),
            found => found,
        };
        let body = need("body", common.body).and_then(|item| item.choose(&BODIES));
        let proofs = need("auth", common.auth);
        let scope = self.scope(over(own, &common.steps), Speech::Push);
        let mut compiler = Compiler::new(scope);
        let mut has_suffix = false;
        let mut auth = Vec::new();
        for item in proofs.map_or_else(Vec::new, |item| item.list()) {
            if let Some(table) = item.table() {
                auth.extend(self.auth(table, &mut compiler, &mut has_suffix));
            }
        }
        Some(Door {
            name: name.to_owned(),
            method: method?,
            body: body?,
            bytes_max,
            program: Program::of_steps(compiler.finish()),
            auth,
            has_suffix,
        })
    }

    /// What expressions about it may speak of.
    pub(in crate::definition) fn scope(&self, steps: Vec<Item<'s>>, speech: Speech) -> Scope<'s> {
        Scope {
            shared: self.shared,
            op: Op::Bind,
            action: false,
            handle: Vec::new(),
            steps,
            headers: Vec::new(),
            path: None,
            body: true,
            speech,
        }
    }

    fn callback(&self, mut table: Table<'s>, common: &Common<'s>) -> Option<Callback> {
        let help = table.need("help").and_then(|item| item.text());
        let own = table.table("steps").map(Table::rest).unwrap_or_default();
        let door = self.door(&mut table, common, &own, CALLBACK_BODY_MAX);
        let rows = table.text("rows").and_then(pointer);
        let rows_max = table.take("rows_max");
        let rows_most = rows_max.and_then(|item| item.integer::<usize>());
        if rows_most.is_some_and(|most| !(1..=CALLBACK_ROWS_MAX).contains(&most))
            && let Some(item) = rows_max
        {
            item.wrong(format!("must be 1 to {CALLBACK_ROWS_MAX}"));
        }
        let mapping = self.mapping(&mut table);
        let ok = Reply::plain(200);
        let success = table.take("reply").or(common.reply);
        let success = success.map_or(Some(ok), |item| reply(&item));
        let no = Reply::plain(403);
        let refuse = table.take("refuse").or(common.refuse);
        let refuse = refuse.map_or(Some(no), |item| reply(&item));
        table.finish(&KEYS);
        unused(&own, self.shared);
        let door = door?;
        Some(Callback {
            name: door.name.clone(),
            help: help?.text.to_owned(),
            method: door.method,
            door,
            rows,
            rows_max: rows_most.unwrap_or(100),
            mapping: mapping?,
            reply: success?,
            refuse: refuse?,
        })
    }

    /// One row of `auth`.
    fn auth(
        &self,
        mut table: Table<'s>,
        compiler: &mut Compiler<'s>,
        has_suffix: &mut bool,
    ) -> Option<Auth> {
        let at = table.at;
        let mut value = |item: Item<'s>| {
            let (node, known) = compiler.item(&item);
            if !known.kind.is_textual() {
                item.wrong(format!("{} cannot be compared", known.kind.words()));
            }
            *has_suffix |= known.reads & SUFFIX != 0;
            (item, node, known)
        };
        let expected = table.need("expected").map(&mut value);
        let given = table.need("given").map(&mut value);
        let list = table.text("list").and_then(|text| {
            let mut chars = text.text.chars();
            let (first, rest) = (chars.next(), chars.next());
            if first.is_none() || rest.is_some() {
                text.wrong(0, "must be the one character between the values");
            }
            first
        });
        let moment = table.take("at").map(&mut value);
        let skew = table.take("skew_s").map(&mut value);
        let notation = self.notation(&mut table);
        table.finish(&[
            "expected", "given", "list", "at", "skew_s", "format", "zone",
        ]);
        // A constant would let in whoever has read the definition.
        if let Some((item, Node::Text(_) | Node::Integer(_) | Node::Flag(_), _)) = &expected {
            item.wrong("must be made of a parameter: a constant is no proof");
        }
        let moment = match (moment, skew, notation) {
            (None, None, None) => None,
            (Some((_, at, _)), Some((item, skew_s, known)), Some(notation)) => {
                if !matches!(known.kind, Kind::Integer | Kind::Any) {
                    item.wrong("must be a number of seconds");
                }
                let moment = Moment {
                    at,
                    notation,
                    skew_s,
                };
                Some(moment)
            }
            _ => {
                let said = "`at`, `format` and `skew_s` belong together";
                self.shared.source.mistake(at, said);
                None
            }
        };
        Some(Auth {
            expected: expected?.1,
            given: given?.1,
            list,
            moment,
        })
    }

    /// `format` and `zone`.
    fn notation(&self, table: &mut Table<'s>) -> Option<Notation> {
        let zone = table.text("zone");
        let format = table.text("format");
        let Some(format) = format else {
            if let Some(zone) = zone {
                zone.wrong(0, "needs `format` beside it");
            }
            return None;
        };
        let plain = match format.text {
            "unix" => Some(Notation::Unix),
            "unix_ms" => Some(Notation::UnixMs),
            _ => None,
        };
        if plain.is_some() {
            if let Some(zone) = zone {
                zone.wrong(0, "Unix time has no zone");
            }
            return plain;
        }
        let of = |zone: &str, place: Str<'s>| match Format::new(format.text, zone) {
            Ok(format) => Some(format),
            Err(said) => {
                place.wrong(0, said);
                None
            }
        };
        let Some(zone) = zone else {
            format.wrong(0, "needs `zone` beside it: `utc` or like `+08:00`");
            return None;
        };
        let param = zone.text.strip_prefix("{param.");
        let Some(param) = param.and_then(|rest| rest.strip_suffix('}')) else {
            return of(zone.text, zone).map(Notation::Local);
        };
        let params = self.shared.params;
        let Some(index) = params.iter().position(|known| known.name == param) else {
            zone.wrong(0, format!("no parameter `{param}`"));
            return None;
        };
        self.shared.used_params.borrow_mut().insert(index);
        match &params[index].form {
            Form::Choice { words } if params[index].default.is_some() => {
                let one = |word: &String| Some((word.as_str().into(), of(word, zone)?));
                let formats: Option<Vec<_>> = words.iter().map(one).collect();
                Some(Notation::Zoned(index, formats?))
            }
            _ => {
                zone.wrong(0, "must be a choice of zones with a default");
                None
            }
        }
    }

    fn mapping(&self, table: &mut Table<'s>) -> Option<Mapping> {
        let source = self.shared.source;
        let kind = table.need("kind").and_then(|item| kind(&item));
        let mut keep = Vec::new();
        for item in table.table("keep").map(Table::rest).unwrap_or_default() {
            match item.key.strip_prefix('/') {
                Some(steps) => {
                    let steps: Box<[Box<str>]> = steps.split('/').map(Into::into).collect();
                    keep.push((Pointer(steps), rules::words(&item)));
                }
                None => source.mistake(item.at, "must be a JSON pointer in the record"),
            }
        }
        let mut key = Vec::new();
        if let Some(item) = table.need("key") {
            // A part may stand at one of several places.
            let parts = item.list();
            if parts.is_empty() {
                item.wrong("`key` is empty: what is the same when a push is repeated");
            }
            key.extend(parts.into_iter().map(|part| pointers(Some(part))));
        }
        let mut handle = Vec::new();
        for item in table.table("handle").map(Table::rest).unwrap_or_default() {
            if !self.handle.iter().any(|name| name == item.key) {
                let names: Vec<&str> = self.handle.iter().map(String::as_str).collect();
                let captured = options(&names);
                let said = format!("no handle `{}` is captured, {captured}", item.key);
                source.mistake(item.at, said);
            }
            handle.push((item.key.into(), pointers(Some(item))));
        }
        let mut times = table.table("times");
        let notation = times.as_mut().and_then(|times| self.notation(times));
        let mut time = |name: &str| times.as_mut().and_then(|times| times.take(name));
        let (at, started, ringing) = (time("at"), time("started"), time("ringing"));
        let (answered, ended) = (time("answered"), time("ended"));
        let never = time("answered_at_end_is_never").and_then(|item| item.flag());
        if notation.is_none()
            && let Some(item) = [at, started, ringing, answered, ended]
                .into_iter()
                .flatten()
                .next()
        {
            source.mistake(item.at, "a time needs `format` beside it");
        }
        if let Some(times) = times {
            times.finish(&[
                "format",
                "zone",
                "at",
                "started",
                "ringing",
                "answered",
                "ended",
                "answered_at_end_is_never",
            ]);
        }
        let mut field = |name: &str| pointers(table.take(name));
        let (call_id, own_id) = (field("call_id"), field("own_id"));
        let (a, x, b) = (field("a"), field("x"), field("b"));
        let (duration, cause) = (field("duration"), field("cause"));
        let (recording, cost) = (field("recording"), field("cost"));
        let unit = table.take("duration_unit");
        let duration_unit = unit
            .and_then(|item| item.choose(&[("s", 1_000), ("ms", 1)]))
            .unwrap_or(1_000);
        Some(Mapping {
            kind: kind?,
            keep,
            key,
            call_id,
            own_id,
            handle,
            a,
            x,
            b,
            notation,
            at: pointers(at),
            started: pointers(started),
            ringing: pointers(ringing),
            answered: pointers(answered),
            ended: pointers(ended),
            answered_at_end_is_never: never.unwrap_or(false),
            duration,
            duration_unit,
            cause,
            recording,
            cost,
        })
    }
}

const KEYS: [&str; 24] = [
    "help",
    "method",
    "body",
    "rows",
    "rows_max",
    "steps",
    "auth",
    "kind",
    "keep",
    "key",
    "call_id",
    "own_id",
    "handle",
    "a",
    "x",
    "b",
    "times",
    "duration",
    "duration_unit",
    "cause",
    "recording",
    "cost",
    "reply",
    "refuse",
];

/// `"bill"`, or `{ field = "/eventType", words = { answer = "answered" }, other = "ignored" }`.
fn kind(item: &Item<'_>) -> Option<KindOf> {
    if !item.is_table() {
        return item.choose(&EventKind::WORDS).map(KindOf::Always);
    }
    let ignored = [("ignored", None)];
    let known = EventKind::WORDS.map(|(word, kind)| (word, Some(kind)));
    let known: Vec<_> = known.into_iter().chain(ignored).collect();
    let mut table = item.table()?;
    let places = pointers(table.need("field"));
    let mut words = Vec::new();
    let named = table.need("words").and_then(|item| item.table());
    for item in named.map(Table::rest).unwrap_or_default() {
        if let Some(kind) = item.choose(&known) {
            words.push((item.key.into(), kind));
        }
    }
    let other = table.take("other").and_then(|item| item.choose(&known));
    table.finish(&["field", "words", "other"]);
    Some(KindOf::Field {
        places,
        words,
        other: other.unwrap_or(Some(EventKind::Other)),
    })
}

/// A JSON pointer in a record, or in the whole push.
fn pointer(text: Str<'_>) -> Option<Pointer> {
    if !text.text.starts_with('/') {
        text.wrong(0, "must be a JSON pointer like `/data/id`");
        return None;
    }
    match rules::place(text) {
        Place::Pointer(steps) => Some(Pointer(steps)),
        _ => None,
    }
}

/// One or several.
pub(in crate::definition) fn pointers(item: Option<Item<'_>>) -> Vec<Pointer> {
    let Some(item) = item else {
        return Vec::new();
    };
    let list = item.list();
    if list.is_empty() {
        item.wrong(format!("`{}` is empty", item.key));
    }
    let texts = list.iter().filter_map(Item::text);
    texts.filter_map(pointer).collect()
}

/// `{ status = 200, type = "application/json", body = "…" }`.
pub(in crate::definition) fn reply(item: &Item<'_>) -> Option<Reply> {
    let mut table = item.table()?;
    let status = table.need("status");
    let status_is = status.and_then(|item| item.integer::<u16>());
    if let (Some(item), Some(false)) = (status, status_is.map(|s| (200..=599).contains(&s))) {
        item.wrong("must be an HTTP status from 200 to 599");
    }
    let plain = |text: Option<Str<'_>>| {
        let Some(text) = text else {
            return String::new();
        };
        if text.text.len() > REPLY_MAX {
            text.wrong(0, format!("longer than {REPLY_MAX} bytes"));
        }
        text.text.to_owned()
    };
    let kind = table.text("type");
    if let Some(text) = kind.filter(|text| text.text.chars().any(char::is_control)) {
        text.wrong(0, "is no content type");
    }
    let (content_type, body) = (plain(kind), plain(table.text("body")));
    table.finish(&["status", "type", "body"]);
    Some(Reply {
        status: status_is?,
        content_type,
        body,
    })
}
