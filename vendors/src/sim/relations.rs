//! The platform's static relations of A and X and the callees named for them, as data over a
//! millisecond clock. Numbers are in E.164 with `+`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// One A has so many X at most.
pub const PER_A_MAX: usize = 5;
/// All relations together; a bound of the simulator, not of a vendor.
const ALL_MAX: usize = 1_000_000;

/// X is A's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// A.
    pub a: String,
    /// X.
    pub x: String,
    /// Whether A sees who calls X, and not X.
    pub caller_shown: bool,
    /// 0 both ways, 1 only A calls, 2 only others call.
    pub direction: u8,
    /// Minutes, 0 for no limit.
    pub max_duration_min: u64,
    /// Echoed in queries.
    pub user_data: String,
    /// Whether calls are recorded.
    pub recorded: bool,
    /// Unix milliseconds.
    pub since_ms: u64,
    /// The last one that was named, ended or not.
    pub callee: Option<Callee>,
}

impl Relation {
    /// The callee of A's calls at this time.
    pub fn callee(&self, now_ms: u64) -> Option<&Callee> {
        self.callee
            .as_ref()
            .filter(|callee| callee.until_ms > now_ms)
    }
}

/// Where A's calls to X go for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callee {
    /// B.
    pub b: String,
    /// Unix milliseconds.
    pub until_ms: u64,
}

/// Why a relation cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// X is this A's already.
    Exists,
    /// X is another A's.
    OtherA,
    /// A has [`PER_A_MAX`] X, or the table is full.
    Full,
}

/// All relations of one application.
#[derive(Debug)]
pub struct Relations {
    prefix: String,
    serial: u64,
    /// Serial → relation, in the order of making.
    rows: BTreeMap<u64, (String, Relation)>,
    serials: HashMap<String, u64>,
    by_x: HashMap<String, u64>,
    by_a: HashMap<String, BTreeSet<u64>>,
}

impl Relations {
    /// An empty table; ids begin with `prefix`, which should differ from run to run.
    pub fn new(prefix: String) -> Relations {
        Relations {
            prefix,
            serial: 0,
            rows: BTreeMap::new(),
            serials: HashMap::new(),
            by_x: HashMap::new(),
            by_a: HashMap::new(),
        }
    }

    /// Makes a relation and returns its id.
    ///
    /// # Errors
    /// When X is taken or A has enough.
    pub fn insert(&mut self, relation: Relation) -> Result<String, Conflict> {
        if let Some((_, other)) = self.of_x(&relation.x) {
            return Err(if other.a == relation.a {
                Conflict::Exists
            } else {
                Conflict::OtherA
            });
        }
        let of_a = self.by_a.get(&relation.a).map_or(0, BTreeSet::len);
        if of_a >= PER_A_MAX || self.rows.len() >= ALL_MAX {
            return Err(Conflict::Full);
        }
        self.serial += 1;
        let id = format!("{}-{:08}", self.prefix, self.serial);
        self.serials.insert(id.clone(), self.serial);
        self.by_x.insert(relation.x.clone(), self.serial);
        let of_a = self.by_a.entry(relation.a.clone()).or_default();
        of_a.insert(self.serial);
        self.rows.insert(self.serial, (id.clone(), relation));
        Ok(id)
    }

    /// Takes a relation out.
    pub fn remove(&mut self, id: &str) -> Option<Relation> {
        let serial = self.serials.remove(id)?;
        let (_, relation) = self.rows.remove(&serial)?;
        self.by_x.remove(&relation.x);
        if let Some(of_a) = self.by_a.get_mut(&relation.a) {
            of_a.remove(&serial);
            if of_a.is_empty() {
                self.by_a.remove(&relation.a);
            }
        }
        Some(relation)
    }

    /// Names the callee of a relation; the one named before is gone. The relation as it is now.
    pub fn name(&mut self, id: &str, callee: Callee) -> Option<&Relation> {
        let (_, relation) = self.rows.get_mut(self.serials.get(id)?)?;
        relation.callee = Some(callee);
        Some(relation)
    }

    /// A relation by id.
    pub fn get(&self, id: &str) -> Option<&Relation> {
        let (_, relation) = self.rows.get(self.serials.get(id)?)?;
        Some(relation)
    }

    /// The relation of X, with its id.
    pub fn of_x(&self, x: &str) -> Option<(&str, &Relation)> {
        let (id, relation) = self.rows.get(self.by_x.get(x)?)?;
        Some((id, relation))
    }

    /// The relations of A, oldest first.
    pub fn of_a(&self, a: &str) -> impl Iterator<Item = (&str, &Relation)> {
        let serials = self.by_a.get(a).into_iter().flatten();
        serials.filter_map(|serial| {
            let (id, relation) = self.rows.get(serial)?;
            Some((id.as_str(), relation))
        })
    }

    /// All relations, oldest first.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Relation)> {
        self.rows
            .values()
            .map(|(id, relation)| (id.as_str(), relation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(a: &str, x: &str) -> Relation {
        Relation {
            a: a.into(),
            x: x.into(),
            caller_shown: false,
            direction: 0,
            max_duration_min: 0,
            user_data: String::new(),
            recorded: false,
            since_ms: 0,
            callee: None,
        }
    }

    #[test]
    fn an_x_is_given_once_and_an_a_has_five() {
        let mut relations = Relations::new("t".into());
        for (a, x, expected) in [
            ("a", "x1", None),
            ("a", "x1", Some(Conflict::Exists)),
            ("b", "x1", Some(Conflict::OtherA)),
            ("a", "x2", None),
            ("a", "x3", None),
            ("a", "x4", None),
            ("a", "x5", None),
            ("a", "x6", Some(Conflict::Full)),
            ("b", "x6", None),
        ] {
            let result = relations.insert(relation(a, x));
            assert_eq!(result.err(), expected, "{a} {x}");
        }
        assert_eq!(relations.of_a("a").count(), PER_A_MAX);
    }

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let mut relations = Relations::new("t".into());
        let id = relations.insert(relation("a", "x")).unwrap();
        assert!(relations.remove(&id).is_some() && relations.remove(&id).is_none());
        assert!(relations.by_x.is_empty() && relations.by_a.is_empty());
        assert!(relations.rows.is_empty() && relations.serials.is_empty());
        assert_ne!(relations.insert(relation("a", "x")).unwrap(), id);
    }

    #[test]
    fn the_last_callee_named_counts_until_its_end() {
        let mut relations = Relations::new("t".into());
        let id = relations.insert(relation("a", "x")).unwrap();
        for (b, until_ms) in [("b1", 100), ("b2", 50)] {
            let callee = Callee {
                b: b.into(),
                until_ms,
            };
            relations.name(&id, callee).unwrap();
        }
        let relation = relations.get(&id).unwrap();
        assert_eq!(
            relation.callee(49).map(|callee| callee.b.as_str()),
            Some("b2")
        );
        assert_eq!(relation.callee(50), None);
    }
}
