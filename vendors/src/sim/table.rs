//! A platform's bindings and its conflict rules, as data over a millisecond clock. Numbers are in
//! E.164 with `+`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One X carries so many bindings at most.
pub const PER_X_MAX: usize = 5000;
/// All X together; a bound of the simulator, not of a vendor.
const ALL_MAX: usize = 1_000_000;

/// Which bindings may not stand side by side on one X.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Two of one A.
    Pair,
    /// Two in which a number appears, as A or as B.
    #[default]
    User,
    /// Any two.
    Exclusive,
}

/// One binding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Its place in the order of making.
    pub serial: u64,
    /// A.
    pub a: String,
    /// X.
    pub x: String,
    /// B; empty where X is given to A and no callee is named.
    pub b: String,
    /// Whether X is given to A alone, whoever B is.
    pub fixed: bool,
    /// Unix milliseconds when B is forgotten, where X is given to A; `None`: never.
    pub callee_until_ms: Option<u64>,
    /// Whether A sees who calls X, and not X, where X is given to A.
    pub caller_shown: bool,
    /// The ids that those who asked gave it.
    pub own_ids: Vec<String>,
    /// How often it must be ended, less one.
    pub more_refs: u32,
    /// 0 both ways, 1 only A to B, 2 only B to A.
    pub direction: u8,
    /// Minutes, 0 for no limit.
    pub max_duration_min: u64,
    /// Echoed in queries.
    pub user_data: String,
    /// Whether calls are recorded.
    pub recorded: bool,
    /// What else the vendor's answers repeat.
    pub note: Value,
    /// Unix milliseconds.
    pub since_ms: u64,
    /// Unix milliseconds; `None`: never.
    pub expires_ms: Option<u64>,
}

impl Row {
    /// B at this time, if there is one.
    pub fn callee(&self, now_ms: u64) -> Option<&str> {
        let named = !self.b.is_empty() && self.callee_until_ms.is_none_or(|until| until > now_ms);
        named.then_some(self.b.as_str())
    }
}

/// Why a binding cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// These very numbers are bound under this id.
    Same(String),
    /// A appears on X already.
    A,
    /// B appears on X already.
    B,
    /// X is taken as a whole.
    X,
    /// X carries [`PER_X_MAX`] bindings, or the table is full.
    Full,
}

/// Makes the id of the binding of a serial number.
type Ids = Box<dyn Fn(u64) -> String + Send>;

/// All bindings of one application.
pub struct Table {
    scope: Scope,
    ids: Ids,
    serial: u64,
    rows: HashMap<String, Row>,
    /// (X, A or B) → id: where the scope is narrower, the latest.
    users: HashMap<(String, String), String>,
    /// X → serial → id, in the order of making.
    by_x: HashMap<String, BTreeMap<u64, String>>,
    /// Own id → id.
    by_own: HashMap<String, String>,
    expiries: BinaryHeap<Reverse<(u64, String)>>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("scope", &self.scope)
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}

impl Table {
    /// An empty table in which a number appears once per X; ids begin with `prefix`, which should
    /// differ from run to run.
    pub fn new(prefix: String) -> Table {
        Table::with(
            Scope::User,
            Box::new(move |serial| format!("{prefix}-{serial:08}")),
        )
    }

    /// An empty table with a rule and ids of its own.
    pub fn with(scope: Scope, ids: Ids) -> Table {
        Table {
            scope,
            ids,
            serial: 0,
            rows: HashMap::new(),
            users: HashMap::new(),
            by_x: HashMap::new(),
            by_own: HashMap::new(),
            expiries: BinaryHeap::new(),
        }
    }

    /// Takes out what has expired, and returns it. Call before anything else at a new time.
    pub fn expire(&mut self, now_ms: u64) -> Vec<(String, Row)> {
        let mut expired = Vec::new();
        while let Some(Reverse((due_ms, _))) = self.expiries.peek() {
            if *due_ms > now_ms {
                break;
            }
            if let Some(Reverse((due_ms, id))) = self.expiries.pop() {
                // A changed lifetime leaves its old entry behind.
                let due = self
                    .rows
                    .get(&id)
                    .is_some_and(|r| r.expires_ms == Some(due_ms));
                if let Some(row) = due.then(|| self.remove(&id)).flatten() {
                    expired.push((id, row));
                }
            }
        }
        expired
    }

    /// Makes a binding; `serial` of the row is filled in here. Returns its id.
    ///
    /// # Errors
    /// When a number is taken on X or X is full.
    pub fn insert(&mut self, mut row: Row) -> Result<String, Conflict> {
        if let Some(conflict) = self.refusal(&row, None) {
            return Err(conflict);
        }
        self.serial += 1;
        row.serial = self.serial;
        let id = (self.ids)(self.serial);
        self.link(&id, &row);
        self.rows.insert(id.clone(), row);
        Ok(id)
    }

    /// Replaces what a binding says, keeping its id.
    ///
    /// # Errors
    /// When a new number is taken on X; nothing has changed then.
    pub fn replace(&mut self, id: &str, row: Row) -> Result<(), Conflict> {
        if let Some(conflict) = self.refusal(&row, Some(id)) {
            return Err(conflict);
        }
        if self.remove(id).is_some() {
            self.link(id, &row);
            self.rows.insert(id.to_owned(), row);
        }
        Ok(())
    }

    /// Why a binding cannot be beside all others but the one of this id.
    pub fn refusal(&self, row: &Row, except: Option<&str>) -> Option<Conflict> {
        let on_x = self.by_x.get(&row.x);
        let others = on_x.into_iter().flat_map(BTreeMap::values);
        let other = others.map(String::as_str).find(|id| Some(*id) != except);
        if let Some((id, other)) = other.and_then(|id| Some((id, self.rows.get(id)?)))
            && (self.scope == Scope::Exclusive || row.fixed || other.fixed)
        {
            let same = (&other.a, &other.b, other.fixed) == (&row.a, &row.b, row.fixed);
            return Some(if same {
                Conflict::Same(id.to_owned())
            } else {
                Conflict::X
            });
        }
        for user in users_of(self.scope, row) {
            let taken = if *user == row.a {
                Conflict::A
            } else {
                Conflict::B
            };
            let found = self
                .find(&row.x, user)
                .filter(|(id, _)| Some(*id) != except);
            if let Some((id, other)) = found {
                let same = other.a == row.a && other.b == row.b;
                return Some(if same {
                    Conflict::Same(id.to_owned())
                } else {
                    taken
                });
            }
        }
        let full = on_x.map_or(0, BTreeMap::len) >= PER_X_MAX || self.rows.len() >= ALL_MAX;
        (full && except.is_none()).then_some(Conflict::Full)
    }

    /// Takes a binding out.
    pub fn remove(&mut self, id: &str) -> Option<Row> {
        let row = self.rows.remove(id)?;
        for user in users_of(self.scope, &row) {
            self.users.remove(&(row.x.clone(), user.clone()));
        }
        for own in &row.own_ids {
            self.by_own.remove(own);
        }
        if let Some(ids) = self.by_x.get_mut(&row.x) {
            ids.remove(&row.serial);
            if ids.is_empty() {
                self.by_x.remove(&row.x);
            }
        }
        Some(row)
    }

    /// A binding by id.
    pub fn get(&self, id: &str) -> Option<&Row> {
        self.rows.get(id)
    }

    /// The bindings on X, oldest first.
    pub fn on_x(&self, x: &str) -> Vec<(&str, &Row)> {
        let ids = self.by_x.get(x).into_iter().flat_map(BTreeMap::values);
        ids.filter_map(|id| Some((id.as_str(), self.rows.get(id)?)))
            .collect()
    }

    /// The binding in which a number appears on X, as A or as B.
    pub fn find(&self, x: &str, user: &str) -> Option<(&str, &Row)> {
        let id = self.users.get(&(x.to_owned(), user.to_owned()))?;
        Some((id, self.rows.get(id)?))
    }

    /// A binding that suits, looked for among all.
    pub fn find_row(&self, suits: impl Fn(&Row) -> bool) -> Option<(String, Row)> {
        let found = self.rows.iter().find(|(_, row)| suits(row));
        found.map(|(id, row)| (id.clone(), row.clone()))
    }

    /// All bindings, oldest first.
    pub fn all(&self) -> Vec<(&str, &Row)> {
        let mut all: Vec<_> = self.rows.iter().map(|(id, r)| (id.as_str(), r)).collect();
        all.sort_by_key(|(_, row)| row.serial);
        all
    }

    /// The binding with an own id.
    pub fn own(&self, own: &str) -> Option<(&str, &Row)> {
        let id = self.by_own.get(own)?;
        Some((id, self.rows.get(id)?))
    }

    fn link(&mut self, id: &str, row: &Row) {
        for user in users_of(self.scope, row) {
            self.users
                .insert((row.x.clone(), user.clone()), id.to_owned());
        }
        for own in &row.own_ids {
            self.by_own.insert(own.clone(), id.to_owned());
        }
        self.by_x
            .entry(row.x.clone())
            .or_default()
            .insert(row.serial, id.to_owned());
        if let Some(due_ms) = row.expires_ms {
            self.expiries.push(Reverse((due_ms, id.to_owned())));
        }
    }
}

/// The numbers that a binding keeps for itself on its X.
fn users_of(scope: Scope, row: &Row) -> impl Iterator<Item = &String> {
    let b = (scope != Scope::Pair).then_some(&row.b);
    let users = std::iter::once(&row.a).chain(b);
    users.filter(|user| !user.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(a: &str, x: &str, b: &str, expires_ms: Option<u64>) -> Row {
        Row {
            a: a.into(),
            x: x.into(),
            b: b.into(),
            expires_ms,
            ..Row::default()
        }
    }

    #[test]
    fn a_number_appears_once_per_x_as_either_end() {
        let mut table = Table::new("t".into());
        table.insert(row("a", "x", "b", None)).unwrap();
        for (a, x, b, fits) in [
            ("a", "x", "c", false),
            ("c", "x", "a", false),
            ("b", "x", "c", false),
            ("c", "x", "b", false),
            ("a", "y", "b", true),
            ("c", "x", "d", true),
        ] {
            assert_eq!(
                table.insert(row(a, x, b, None)).is_ok(),
                fits,
                "{a} {x} {b}"
            );
        }
    }

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let mut table = Table::new("t".into());
        let id = table.insert(row("a", "x", "b", Some(10))).unwrap();
        assert!(table.remove(&id).is_some() && table.remove(&id).is_none());
        assert!(table.users.is_empty() && table.by_x.is_empty());
        table.expire(10);
        assert!(table.expiries.is_empty());
    }

    #[test]
    fn a_binding_ends_at_its_time_and_not_at_a_time_it_had_before() {
        let mut table = Table::new("t".into());
        let id = table.insert(row("a", "x", "b", Some(10))).unwrap();
        let longer = Row {
            expires_ms: Some(20),
            ..table.get(&id).unwrap().clone()
        };
        table.replace(&id, longer).unwrap();
        table.expire(19);
        assert!(table.get(&id).is_some());
        table.expire(20);
        assert!(table.get(&id).is_none() && table.find("x", "a").is_none());
    }

    #[test]
    fn one_x_carries_five_thousand() {
        let mut table = Table::new("t".into());
        for n in 0..PER_X_MAX {
            let row = row(&format!("a{n}"), "x", &format!("b{n}"), None);
            table.insert(row).unwrap();
        }
        assert_eq!(table.insert(row("a", "x", "b", None)), Err(Conflict::Full));
        assert_eq!(table.on_x("x").len(), PER_X_MAX);
    }
}
