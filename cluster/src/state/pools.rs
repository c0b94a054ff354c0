//! The pools that a draw is made from: what is free, by group, by interface and by caller.

use super::Content;
use super::bits::Ids;
use super::briefs::Brief;
use super::index::Index;
use crate::entity::{ANumber, Conflict, Id, Interface, Row, XNumber};
use crate::regions::area_code;
use imbl::OrdMap;
use std::sync::Arc;

/// The X numbers of one interface that can take one more binding.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct XPool {
    /// Rows of the interface, free or not.
    pub(super) members: u32,
    pub(super) free: Arc<Ids>,
    /// Free and open to every caller.
    pub(super) open: Arc<Ids>,
    /// Free, by exact caller.
    pub(super) exact: OrdMap<Arc<str>, Arc<Ids>>,
    /// Free, by caller prefix.
    pub(super) prefix: OrdMap<Arc<str>, Arc<Ids>>,
    /// Free, by the caller's area.
    pub(super) region: OrdMap<Arc<str>, Arc<Ids>>,
}

/// The A numbers of one group.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct APool {
    pub(super) members: u32,
    pub(super) free: Arc<Ids>,
}

/// One entry of an X number's caller list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallerEntry<'a> {
    Exact(&'a str),
    Prefix(&'a str),
    /// The area code without its leading 0: `@0571` and `@571` are one.
    Region(&'a str),
}

impl<'a> CallerEntry<'a> {
    pub(super) fn read(text: &'a str) -> Self {
        if let Some(area) = text.strip_prefix('@') {
            // What is no area code stays as it is, and no number has it.
            CallerEntry::Region(area_code(area).unwrap_or(area))
        } else if let Some(prefix) = text.strip_suffix('*') {
            CallerEntry::Prefix(prefix)
        } else {
            CallerEntry::Exact(text)
        }
    }
}

impl Index {
    /// Counts the row in its pool, or takes it out with all its entries.
    pub(super) fn x_row(&mut self, row: &Row<XNumber>, present: bool) {
        if !present && self.x_is_free(row.id) {
            self.x_free(row.id, &row.entity.callers, false);
        }
        self.x_briefs
            .enter(row.id, present.then(|| (&row.entity).into()));
        let pool = Arc::make_mut(self.x_pools.entry(row.entity.interface).or_default());
        pool.members = if present {
            pool.members + 1
        } else {
            pool.members.saturating_sub(1)
        };
        if pool.members == 0 {
            self.x_pools.remove(&row.entity.interface);
        }
    }

    pub(super) fn a_row(&mut self, row: &Row<ANumber>, present: bool) {
        let pool = Arc::make_mut(self.a_pools.entry(row.entity.group).or_default());
        if !present {
            Arc::make_mut(&mut pool.free).set(row.id, false);
        }
        self.a_briefs
            .enter(row.id, present.then(|| (&row.entity).into()));
        pool.members = if present {
            pool.members + 1
        } else {
            pool.members.saturating_sub(1)
        };
        if pool.members == 0 {
            self.a_pools.remove(&row.entity.group);
        }
    }

    /// Puts the X into the free sets or takes it out, after its row or its use changed.
    pub(super) fn x_refresh(&mut self, content: &Content, id: Id) {
        let Some(x) = self.x_briefs.get(id) else {
            return;
        };
        let free = !x.disabled
            && x.used < self.x_limit(x)
            && !content.leaving_x.contains(&id)
            && !self.x_orphans.contains_key(&id);
        if self.x_is_free(id) == free {
            return;
        }
        // Most rows name no callers, and then the row is not even touched.
        let row = x.named.then(|| content.x_numbers.get(&id)).flatten();
        let callers = row.map_or(&[][..], |row| &row.entity.callers);
        self.x_free(id, callers, free);
    }

    /// How many bindings an X may carry.
    pub(super) fn x_limit(&self, x: &Brief) -> u32 {
        if self.exclusive.contains(&x.pool) {
            x.limit.min(1)
        } else {
            x.limit
        }
    }

    pub(super) fn interface(&mut self, row: &Row<Interface>, present: bool) {
        if present && row.entity.type_rules.conflict == Conflict::XExclusive {
            self.exclusive.insert(row.id);
        } else {
            self.exclusive.remove(&row.id);
        }
    }

    fn x_is_free(&self, id: Id) -> bool {
        let pool = self
            .x_briefs
            .get(id)
            .and_then(|x| self.x_pools.get(&x.pool));
        pool.is_some_and(|pool| pool.free.contains(id))
    }

    /// Puts the X into the free sets of its interface and of the callers that it names, or takes it out.
    fn x_free(&mut self, id: Id, callers: &[String], free: bool) {
        let Some(x) = self.x_briefs.get(id) else {
            return;
        };
        let Some(pool) = self.x_pools.get_mut(&x.pool) else {
            return;
        };
        let pool = Arc::make_mut(pool);
        Arc::make_mut(&mut pool.free).set(id, free);
        if x.open {
            Arc::make_mut(&mut pool.open).set(id, free);
        }
        for entry in callers {
            match CallerEntry::read(entry) {
                CallerEntry::Exact(key) => set_member(&mut pool.exact, key, id, free),
                CallerEntry::Prefix(key) => set_member(&mut pool.prefix, key, id, free),
                CallerEntry::Region(key) => set_member(&mut pool.region, key, id, free),
            }
        }
    }

    /// Puts the A into the free set or takes it out, after its row or its use changed.
    pub(super) fn a_refresh(&mut self, content: &Content, id: Id) {
        let Some(a) = self.a_briefs.get(id) else {
            return;
        };
        let free = a.used < a.limit && !content.leaving_a.contains(&id);
        if let Some(pool) = self.a_pools.get_mut(&a.pool)
            && pool.free.contains(id) != free
        {
            let pool = Arc::make_mut(pool);
            Arc::make_mut(&mut pool.free).set(id, free);
        }
    }
}

fn set_member(sets: &mut OrdMap<Arc<str>, Arc<Ids>>, key: &str, id: Id, member: bool) {
    match sets.get_mut(key) {
        Some(ids) => {
            if ids.contains(id) != member {
                Arc::make_mut(ids).set(id, member);
            }
            if ids.is_empty() {
                sets.remove(key);
            }
        }
        None if member => {
            let mut ids = Ids::default();
            ids.set(id, true);
            sets.insert(Arc::from(key), Arc::new(ids));
        }
        None => {}
    }
}
