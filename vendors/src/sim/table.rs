//! The platform's bindings and its conflict rules, as data over a millisecond clock. Numbers are
//! in E.164 with `+`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

/// One X carries so many bindings at most.
pub const PER_X_MAX: usize = 5000;
/// All X together; a bound of the simulator, not of a vendor.
const ALL_MAX: usize = 1_000_000;

/// One binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its place in the order of making.
    pub serial: u64,
    /// A.
    pub a: String,
    /// X.
    pub x: String,
    /// B.
    pub b: String,
    /// 0 both ways, 1 only A to B, 2 only B to A.
    pub direction: u8,
    /// Minutes, 0 for no limit.
    pub max_duration_min: u64,
    /// Echoed in queries.
    pub user_data: String,
    /// Unix milliseconds.
    pub since_ms: u64,
    /// Unix milliseconds; `None`: never.
    pub expires_ms: Option<u64>,
}

/// Why a binding cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// A or B appears on X already, as either end.
    Number,
    /// X carries [`PER_X_MAX`] bindings, or the table is full.
    Full,
}

/// All bindings of one application.
#[derive(Debug)]
pub struct Table {
    prefix: String,
    serial: u64,
    rows: HashMap<String, Row>,
    /// (X, A or B) → id: each number appears once per X.
    users: HashMap<(String, String), String>,
    /// X → serial → id, in the order of making.
    by_x: HashMap<String, BTreeMap<u64, String>>,
    expiries: BinaryHeap<Reverse<(u64, String)>>,
}

impl Table {
    /// An empty table; ids begin with `prefix`, which should differ from run to run.
    pub fn new(prefix: String) -> Table {
        Table {
            prefix,
            serial: 0,
            rows: HashMap::new(),
            users: HashMap::new(),
            by_x: HashMap::new(),
            expiries: BinaryHeap::new(),
        }
    }

    /// Drops what has expired. Call before anything else at a new time.
    pub fn expire(&mut self, now_ms: u64) {
        while let Some(Reverse((due_ms, _))) = self.expiries.peek() {
            if *due_ms > now_ms {
                return;
            }
            if let Some(Reverse((due_ms, id))) = self.expiries.pop() {
                // A changed lifetime leaves its old entry behind.
                if self
                    .rows
                    .get(&id)
                    .is_some_and(|r| r.expires_ms == Some(due_ms))
                {
                    self.remove(&id);
                }
            }
        }
    }

    /// Makes a binding; `serial` of the row is filled in here. Returns its id.
    ///
    /// # Errors
    /// When a number is taken on X or X is full.
    pub fn insert(&mut self, mut row: Row) -> Result<String, Conflict> {
        if self.taken(&row.x, &row.a, None) || self.taken(&row.x, &row.b, None) {
            return Err(Conflict::Number);
        }
        let on_x = self.by_x.get(&row.x).map_or(0, BTreeMap::len);
        if on_x >= PER_X_MAX || self.rows.len() >= ALL_MAX {
            return Err(Conflict::Full);
        }
        self.serial += 1;
        row.serial = self.serial;
        let id = format!("{}-{:08}", self.prefix, self.serial);
        self.link(&id, &row);
        self.rows.insert(id.clone(), row);
        Ok(id)
    }

    /// Replaces numbers or lifetime of a binding, keeping its id.
    ///
    /// # Errors
    /// When a new number is taken on X; nothing has changed then.
    pub fn replace(&mut self, id: &str, row: Row) -> Result<(), Conflict> {
        if self.taken(&row.x, &row.a, Some(id)) || self.taken(&row.x, &row.b, Some(id)) {
            return Err(Conflict::Number);
        }
        if self.remove(id).is_some() {
            self.link(id, &row);
            self.rows.insert(id.to_owned(), row);
        }
        Ok(())
    }

    /// Takes a binding out.
    pub fn remove(&mut self, id: &str) -> Option<Row> {
        let row = self.rows.remove(id)?;
        for user in [&row.a, &row.b] {
            self.users.remove(&(row.x.clone(), user.clone()));
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

    /// All bindings, oldest first.
    pub fn all(&self) -> Vec<(&str, &Row)> {
        let mut all: Vec<_> = self.rows.iter().map(|(id, r)| (id.as_str(), r)).collect();
        all.sort_by_key(|(_, row)| row.serial);
        all
    }

    fn taken(&self, x: &str, user: &str, except: Option<&str>) -> bool {
        self.find(x, user).is_some_and(|(id, _)| Some(id) != except)
    }

    fn link(&mut self, id: &str, row: &Row) {
        for user in [&row.a, &row.b] {
            self.users
                .insert((row.x.clone(), user.clone()), id.to_owned());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(a: &str, x: &str, b: &str, expires_ms: Option<u64>) -> Row {
        Row {
            serial: 0,
            a: a.into(),
            x: x.into(),
            b: b.into(),
            direction: 0,
            max_duration_min: 0,
            user_data: String::new(),
            since_ms: 0,
            expires_ms,
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
