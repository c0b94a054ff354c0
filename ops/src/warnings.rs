//! What works, or will, but not as its operator may think. Stored nowhere: made anew whenever a row is shown.
//!
//! Each warning is one line that begins with the field and holds no secret.

use crate::dto::{Dto, Fault};
use crate::types::{Severity, Types};
use std::collections::{BTreeMap, BTreeSet};
use tandem_cluster::entity::{self, Conflict, Entity, Table};
use tandem_cluster::regions::{Regions, area_code};
use tandem_cluster::state::State;

/// Entries of a list that a warning repeats.
const NAMED_MAX: usize = 5;

/// Tables whose rows have `warnings`.
pub fn has(table: Table) -> bool {
    matches!(
        table,
        Table::Interfaces | Table::XNumbers | Table::AxBindings
    )
}

/// Refuses an interface that cannot work; the fault names the first field that keeps it from that. Other rows pass.
pub fn refuse(types: &dyn Types, row: &Entity) -> Result<(), Fault> {
    let Entity::Interface(interface) = row else {
        return Ok(());
    };
    types
        .check(interface)
        .into_iter()
        .find(|finding| finding.severity == Severity::Error)
        .map_or(Ok(()), |finding| {
            Err(Fault::new(finding.field, finding.text))
        })
}

/// Finds warnings of many rows.
pub struct Warner<'s> {
    types: &'s dyn Types,
    state: &'s State,
    exclusive: BTreeSet<String>,
}

impl<'s> Warner<'s> {
    /// Of rows of this state.
    pub fn new(types: &'s dyn Types, state: &'s State) -> Self {
        Warner {
            types,
            state,
            exclusive: exclusive(types),
        }
    }

    /// Of one row, in the order in which they matter.
    pub fn of(&self, row: &Entity) -> Vec<String> {
        match row {
            Entity::Interface(row) => interface(self.types, row),
            Entity::XNumber(row) => {
                let kind = self
                    .state
                    .interface(row.interface)
                    .map(|interface| &*interface.entity.kind)
                    .filter(|kind| self.exclusive.contains(*kind));
                x_number(row, kind, self.state.regions())
            }
            Entity::AxBinding(row) => {
                let listed = self
                    .state
                    .find(Table::XNumbers, &row.x_number)
                    .and_then(|id| self.state.x(id))
                    .is_some_and(|x| x.entity.interface == row.interface);
                ax_binding(listed)
            }
            _ => Vec::new(),
        }
    }
}

/// Finds warnings of the rows of a file, as far as the file alone tells.
pub struct FileWarner<'f> {
    types: &'f dyn Types,
    exclusive: BTreeSet<String>,
    /// Interfaces of the file and their types.
    kinds: BTreeMap<&'f str, &'f str>,
    /// X numbers of the file and their interfaces.
    x_numbers: BTreeMap<&'f str, &'f str>,
}

impl<'f> FileWarner<'f> {
    /// Of a file with these rows.
    pub fn new(types: &'f dyn Types, rows: impl Iterator<Item = &'f Dto>) -> Self {
        let mut warner = FileWarner {
            types,
            exclusive: exclusive(types),
            kinds: BTreeMap::new(),
            x_numbers: BTreeMap::new(),
        };
        for row in rows {
            match row {
                Dto::Interface(row) => {
                    warner.kinds.insert(&row.name, &row.kind);
                }
                Dto::XNumber(row) => {
                    warner.x_numbers.insert(&row.number, &row.interface);
                }
                _ => {}
            }
        }
        warner
    }

    /// Of one of its rows, which is `entity` for the cluster.
    pub fn of(&self, row: &Dto, entity: &Entity) -> Vec<String> {
        match (row, entity) {
            (_, Entity::Interface(entity)) => interface(self.types, entity),
            (Dto::XNumber(row), Entity::XNumber(entity)) => {
                let kind = self.kinds.get(&*row.interface).copied();
                let kind = kind.filter(|kind| self.exclusive.contains(*kind));
                // The cluster may have loaded a table that the file does not know.
                x_number(entity, kind, &Regions::default())
            }
            (Dto::AxBinding(row), _) => {
                // A file without X numbers takes them to be in the cluster already.
                let listed = self.x_numbers.is_empty()
                    || self.x_numbers.get(&*row.x_number) == Some(&&*row.interface);
                ax_binding(listed)
            }
            _ => Vec::new(),
        }
    }
}

fn exclusive(types: &dyn Types) -> BTreeSet<String> {
    types
        .all()
        .into_iter()
        .filter(|known| known.policy.conflict == Conflict::XExclusive)
        .map(|known| known.name)
        .collect()
}

/// What the type finds. A row that cannot work is refused when it is written, but a later version of this program may
/// find more than the one that took it.
fn interface(types: &dyn Types, row: &entity::Interface) -> Vec<String> {
    types
        .check(row)
        .into_iter()
        .map(|finding| format!("`{}` {}", finding.field, finding.text))
        .collect()
}

/// `exclusive`: the type of its interface, where that carries one binding per X.
fn x_number(row: &entity::XNumber, exclusive: Option<&str>, regions: &Regions) -> Vec<String> {
    let mut found = Vec::new();
    let nowhere = |entry: &String| {
        let code = entry.strip_prefix('@').and_then(area_code);
        code.is_some_and(|code| {
            let fixed = regions.find(&format!("0{code}"));
            let here = fixed.is_some_and(|region| region.area_code == code)
                || regions
                    .areas()
                    .binary_search_by(|area| (*area.code).cmp(code))
                    .is_ok();
            !here
        })
    };
    if !row.callers.is_empty() && row.callers.iter().all(nowhere) {
        let who = match row.allow_other_callers {
            true => "it serves other callers only",
            false => "this X can be used by nobody",
        };
        let entries = row.callers.iter().take(NAMED_MAX).cloned();
        found.push(format!(
            "`callers` names no region that any number is known to belong to ({}): {who}",
            entries.collect::<Vec<_>>().join(", ")
        ));
    }
    if row.callers.is_empty() && !row.allow_other_callers {
        found.push(
            "`callers` is empty and `allow_other_callers` is off: this X can be used by nobody"
                .to_owned(),
        );
    }
    if let Some(kind) = exclusive
        && row.line_limit > 1
    {
        found.push(format!(
            "`line_limit` is {}, and a platform of type `{kind}` carries one binding per X: one is all it will get",
            row.line_limit
        ));
    }
    found
}

/// `listed`: its X is in the interface's list.
fn ax_binding(listed: bool) -> Vec<String> {
    if listed {
        return Vec::new();
    }
    vec![
        "`x_number` is not in the X numbers of the interface: incoming calls only, no call goes out over it"
            .to_owned(),
    ]
}
