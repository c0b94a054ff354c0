//! `[params.NAME]`: what an operator fills in for each interface.

use super::load::ENTRIES_MAX;
use super::source::{Item, Source, Table};
use crate::description::{Form, Note, Param, WarnBelow};
use crate::interface::Severity;

/// All of them, in the order of the text.
pub(super) fn params<'s>(item: Option<Item<'s>>, source: &'s Source<'s>) -> Vec<Param> {
    let mut params = Vec::new();
    let entries = item
        .and_then(|item| item.table())
        .map(Table::rest)
        .unwrap_or_default();
    for item in &entries {
        if let Some(table) = item.table() {
            params.push(param(item, table));
        }
    }
    if params.len() > ENTRIES_MAX {
        source.mistake(0, format!("more than {ENTRIES_MAX} parameters"));
    }
    for param in &params {
        for note in &param.notes {
            if let Some(other) = note.other()
                && !params.iter().any(|known| known.name == other)
            {
                source.mistake(param.at, format!("no parameter `{other}`"));
            }
        }
    }
    params
}

fn param<'s>(item: &Item<'s>, mut table: Table<'s>) -> Param {
    let source = item.source;
    let help = table
        .need("help")
        .and_then(|item| item.text())
        .map_or("", |text| text.text);
    let text = table.integer::<u32>("text");
    let number = table.take("number");
    let choice = table.take("choice");
    let warn_below = table.table("warn_below").map(|mut low| {
        let least = low.integer::<u64>("least").unwrap_or(0);
        let why = low.text("why").map_or("", |text| text.text).to_owned();
        low.finish(&["least", "why"]);
        WarnBelow { least, why }
    });
    let form = match (text, number, choice) {
        (Some(bytes_max), None, None) => Form::Text {
            bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX).min(4_096),
        },
        (None, Some(range), None) => {
            let bounds: Vec<u64> = range.list().iter().filter_map(Item::integer).collect();
            let (min, max) = match bounds[..] {
                [min, max] if min <= max => (min, max),
                _ => {
                    range.wrong("must be [smallest, largest]");
                    (0, 0)
                }
            };
            Form::Number {
                min,
                max,
                warn_below,
            }
        }
        (None, None, Some(words)) => Form::Choice {
            words: words
                .list()
                .iter()
                .filter_map(|word| word.text())
                .map(|word| word.text.to_owned())
                .collect(),
        },
        _ => {
            let said = format!(
                "`{}` needs one of text = BYTES, number = [MIN, MAX], choice = [WORDS]",
                item.key
            );
            source.mistake(item.at, said);
            Form::Text { bytes_max: 0 }
        }
    };
    let default = table.take("default");
    let required = table.flag("required");
    let secret = table.flag("secret");
    let mut notes = Vec::new();
    if let Some(needs) = table.text("needs") {
        notes.push(Note::Needs(needs.text.to_owned()));
    }
    for item in table
        .table("only_with")
        .map(Table::rest)
        .unwrap_or_default()
    {
        if let Some(word) = item.text() {
            notes.push(Note::OnlyWith(item.key.to_owned(), word.text.to_owned()));
        }
    }
    for item in table.table("warn").map(Table::rest).unwrap_or_default() {
        if let Some(said) = item.text() {
            notes.push(Note::Warn(item.key.to_owned(), said.text.to_owned()));
        }
    }
    table.finish(&[
        "help",
        "text",
        "number",
        "choice",
        "warn_below",
        "default",
        "required",
        "secret",
        "needs",
        "only_with",
        "warn",
    ]);
    let param = Param {
        name: item.key.to_owned(),
        form,
        default: default
            .and_then(|item| item.text())
            .map(|text| text.text.to_owned()),
        required,
        secret,
        help: help.to_owned(),
        notes,
        at: item.at,
    };
    if let (Some(value), Some(default)) = (&param.default, default)
        && let Some(finding) = param.check(value)
        && finding.severity == Severity::Error
    {
        default.wrong(format!("the default {}", finding.text));
    }
    param
}
