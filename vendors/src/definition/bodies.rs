//! Fields of a query or a body, of what is sent and of what is answered.

use super::compile::{Compiler, Known};
use super::program::{BodyKind, Entry, Field};
use super::source::{Item, Table};
use super::value::{Kind, Node};

/// How deep a body may nest.
const DEPTH_MAX: usize = 6;

/// The words for how it is written.
pub(super) const BODIES: [(&str, BodyKind); 3] = [
    ("form", BodyKind::Form),
    ("json", BodyKind::Json { spaced: false }),
    ("json spaced", BodyKind::Json { spaced: true }),
];

/// Whether any of them reads this.
pub(super) fn reads(fields: &[Known], what: u8) -> bool {
    fields.iter().any(|known| known.reads & what != 0)
}

/// Fields of a query or body; `own` is the mark of what depends on the rest of it.
pub(super) fn fields<'s>(
    compiler: &mut Compiler<'s>,
    items: &[Item<'s>],
    own: u8,
    depth: usize,
) -> (Vec<Field>, Vec<Known>) {
    let mut fields = Vec::new();
    let mut all = Vec::new();
    for item in items {
        let (entry, known) = entry(compiler, item, depth);
        fields.push(Field {
            name: item.key.into(),
            late: reads(&known, own),
            entry,
        });
        all.extend(known);
    }
    (fields, all)
}

fn entry<'s>(compiler: &mut Compiler<'s>, item: &Item<'s>, depth: usize) -> (Entry, Vec<Known>) {
    if depth > DEPTH_MAX {
        item.wrong(format!("nested deeper than {DEPTH_MAX}"));
        return (Entry::Node(Node::Absent), Vec::new());
    }
    if item.is_table() {
        let inner = item.table().map(Table::rest).unwrap_or_default();
        let mut known = Vec::new();
        let mut members = Vec::new();
        for item in &inner {
            let (entry, more) = entry(compiler, item, depth + 1);
            known.extend(more);
            members.push(Field {
                name: item.key.into(),
                late: false,
                entry,
            });
        }
        return (Entry::Object(members), known);
    }
    if item.is_list() {
        let mut known = Vec::new();
        let mut list = Vec::new();
        for item in item.list() {
            let (entry, more) = entry(compiler, &item, depth + 1);
            known.extend(more);
            list.push(entry);
        }
        return (Entry::List(list), known);
    }
    let (node, known) = compiler.item(item);
    if !matches!(
        known.kind,
        Kind::Any | Kind::Text | Kind::Integer | Kind::Flag | Kind::Fields
    ) {
        item.wrong(format!("{} is no field", known.kind.words()));
    }
    (Entry::Node(node), vec![known])
}
