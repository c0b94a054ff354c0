//! What every draw and every release asks of an A or X number, beside each other on one cache line.
//!
//! A draw among a hundred thousand numbers meets one that nobody has touched for long, so its cost is the number of
//! places in memory that it looks at. A row and its texts lie in four of them; here the number, its limit and its use
//! lie in one, and all numbers together in a few megabytes. The row is looked at only for what few numbers have: a list
//! of callers.

use super::digits::Digits;
use super::paged::{Paged, Slot};
use crate::entity::{ANumber, Id, XNumber};

/// A number in brief.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(align(32))]
pub(super) struct Brief {
    pub(super) number: Digits,
    /// Group of an A, interface of an X; 0 while there is no row.
    pub(super) pool: Id,
    /// 线路上限
    pub(super) limit: u32,
    /// Calls on an A, bindings and outgoing AX calls on an X.
    pub(super) used: u32,
    /// An operator has taken it out of use.
    pub(super) disabled: bool,
    /// Takes callers that it does not name.
    pub(super) open: bool,
    /// Has a list of callers.
    pub(super) named: bool,
}

const _: () = assert!(size_of::<Brief>() == 32, "one more cache line a draw");

impl Slot for Brief {
    const EMPTY: Self = Brief {
        number: Digits::NONE,
        pool: 0,
        limit: 0,
        used: 0,
        disabled: false,
        open: false,
        named: false,
    };

    fn is_empty(&self) -> bool {
        self.pool == 0 && self.used == 0
    }
}

impl From<&ANumber> for Brief {
    fn from(a: &ANumber) -> Self {
        Brief {
            number: Digits::from(&*a.number),
            pool: a.group,
            limit: a.line_limit,
            ..Brief::EMPTY
        }
    }
}

impl From<&XNumber> for Brief {
    fn from(x: &XNumber) -> Self {
        Brief {
            number: Digits::from(&*x.number),
            pool: x.interface,
            limit: x.line_limit,
            used: 0,
            disabled: x.disabled,
            open: x.allow_other_callers,
            named: !x.callers.is_empty(),
        }
    }
}

/// All A or all X numbers, by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Briefs {
    rows: Paged<Brief, 128>,
    in_use: usize,
}

impl Briefs {
    /// The number of a row, if there is one.
    pub(super) fn get(&self, id: Id) -> Option<&Brief> {
        self.rows.slot(id.into()).filter(|brief| brief.pool != 0)
    }

    /// Live use of a row.
    pub(super) fn used(&self, id: Id) -> u32 {
        self.rows.slot(id.into()).map_or(0, |brief| brief.used)
    }

    /// Rows in use.
    pub(super) fn in_use(&self) -> usize {
        self.in_use
    }

    /// Enters what a row says or takes it out; what stands on it stays counted.
    pub(super) fn enter(&mut self, id: Id, row: Option<Brief>) {
        self.rows.change(id.into(), |brief| {
            let used = brief.used;
            *brief = row.unwrap_or(Brief::EMPTY);
            brief.used = used;
        });
    }

    /// Counts one more or one less on a row.
    pub(super) fn count(&mut self, id: Id, up: bool) {
        let (before, after) = self.rows.change(id.into(), |brief| {
            let before = brief.used;
            brief.used = if up {
                before.saturating_add(1)
            } else {
                before.saturating_sub(1)
            };
            (before, brief.used)
        });
        match (before, after) {
            (0, 1..) => self.in_use += 1,
            (1.., 0) => self.in_use -= 1,
            _ => {}
        }
    }
}
