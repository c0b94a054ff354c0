//! True histories with one thing in them made wrong.

use crate::pool::{Deed, Moment, Number, Op};

/// Makes a refusal the gift of a pair that somebody surely held all the while.
pub fn given_twice(history: &[Op]) -> Option<Vec<Op>> {
    let refused: Vec<usize> = (0..history.len())
        .filter(|at| matches!(history[*at].deed, Deed::Refused { .. }))
        .collect();
    for (freed, op) in history.iter().enumerate() {
        let Deed::FreeX { of } = op.deed else {
            continue;
        };
        let Deed::Take { a, x, .. } = history[of].deed else {
            continue;
        };
        let held_from = history[of].returned?;
        let within = refused.iter().find(|at| {
            history[**at].invoked > held_from
                && history[**at]
                    .returned
                    .is_some_and(|answer| answer < history[freed].invoked)
        });
        if let Some(at) = within {
            let mut wrong = history.to_vec();
            wrong[*at].deed = Deed::Take { a, x, b: 0 };
            return Some(wrong);
        }
    }
    None
}

/// Leaves out the release of a pair that was given again later.
pub fn lost_release(history: &[Op]) -> Option<Vec<Op>> {
    let freed = (0..history.len()).find(|freed| {
        let Deed::FreeX { of } = history[*freed].deed else {
            return false;
        };
        let Deed::Take { a, x, .. } = history[of].deed else {
            return false;
        };
        history.iter().any(|again| {
            matches!(again.deed, Deed::Take { a: its_a, x: its_x, .. } if (its_a, its_x) == (a, x))
                && again.invoked > history[*freed].invoked
        })
    })?;
    let behind = |of: usize| of - usize::from(of > freed);
    let left = history.iter().enumerate().filter(|(at, _)| *at != freed);
    let left = left.map(|(_, op)| Op {
        deed: match op.deed {
            Deed::FreeA { of } => Deed::FreeA { of: behind(of) },
            Deed::FreeX { of } => Deed::FreeX { of: behind(of) },
            other => other,
        },
        ..*op
    });
    Some(left.collect())
}

/// Shows somebody who looked at a number what was there before its last change, long over.
pub fn stale_look(history: &[Op]) -> Option<Vec<Op>> {
    // How an operation changes the number.
    let change = |op: &Op, number: Number| -> i8 {
        let touches = |of: usize| match (history[of].deed, number) {
            (Deed::Take { a, .. }, Number::A(number)) => a == number,
            (Deed::Take { x, .. }, Number::X(number)) => x == number,
            _ => false,
        };
        match (op.deed, number) {
            (Deed::Take { a, .. }, Number::A(number)) => i8::from(a == number),
            (Deed::Take { x, .. }, Number::X(number)) => i8::from(x == number),
            (Deed::FreeA { of }, Number::A(_)) | (Deed::FreeX { of }, Number::X(_)) => {
                -i8::from(touches(of))
            }
            _ => 0,
        }
    };
    history.iter().enumerate().find_map(|(at, look)| {
        let Deed::Seen { number, lines } = look.deed else {
            return None;
        };
        let changes: Vec<(&Op, i8)> = history
            .iter()
            .map(|op| (op, change(op, number)))
            .filter(|(op, change)| {
                *change != 0 && op.invoked < look.returned.unwrap_or(Moment::MAX)
            })
            .collect();
        let over = |op: &Op| op.returned.is_some_and(|returned| returned < look.invoked);
        let (last, change) = changes.iter().max_by_key(|(op, _)| op.returned)?;
        let all_over = changes.iter().all(|(op, _)| over(op));
        // Nothing else was going on beside the last change, so what was there before it is known.
        let alone = changes
            .iter()
            .all(|(op, _)| std::ptr::eq(*op, *last) || op.returned < Some(last.invoked));
        (all_over && alone).then(|| {
            let mut wrong = history.to_vec();
            wrong[at].deed = Deed::Seen {
                number,
                lines: lines
                    .checked_add_signed(-change)
                    .expect("it was held or free"),
            };
            wrong
        })
    })
}

/// Adds a refusal at a time at which everything has been given back.
pub fn refused_for_nothing(history: &[Op], after: Moment) -> Option<Vec<Op>> {
    let last = history.iter().filter_map(|op| op.returned).max()?;
    let mut wrong = history.to_vec();
    wrong.push(Op {
        invoked: last + after,
        returned: Some(last + after + 1),
        deed: Deed::Refused { b: 0 },
    });
    Some(wrong)
}
