//! Pairs at rest, in the order in which they wake.
//!
//! Log time never steps back, so pairs that rest equally long wake in the order in which they came: a queue for each
//! length of rest, of which there are as many as interfaces have settings.

use super::digits::Digits;
use crate::entity::{Id, Millis};
use imbl::{OrdMap, Vector};
use serde::{Deserialize, Serialize};

/// A pair (A,X) that rests after its release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rest {
    pub(super) until: Millis,
    pub(super) a: Digits,
    pub(super) x: Id,
}

/// All of them; each pair at most once, but for rests that are over and not yet taken out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Rests(OrdMap<u32, Vector<Rest>>);

impl Rests {
    pub(super) fn len(&self) -> usize {
        self.0.values().map(Vector::len).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Rest> {
        self.0.values().flatten()
    }

    /// Adds a pair that rests from `at` on.
    pub(super) fn push(&mut self, at: Millis, rest_ms: u32, a: Digits, x: Id) -> Millis {
        let until = at.saturating_add(Millis::from(rest_ms));
        let queue = self.0.entry(rest_ms).or_default();
        queue.push_back(Rest { until, a, x });
        until
    }

    fn first_queue(&self) -> Option<(u32, &Rest)> {
        let fronts = self
            .0
            .iter()
            .filter_map(|(rest_ms, queue)| Some((*rest_ms, queue.front()?)));
        fronts.min_by_key(|(_, rest)| rest.until)
    }

    /// The one that wakes first.
    pub(super) fn first(&self) -> Option<&Rest> {
        self.first_queue().map(|(_, rest)| rest)
    }

    /// Takes it out.
    pub(super) fn pop(&mut self) -> Option<Rest> {
        let (rest_ms, _) = self.first_queue()?;
        let queue = self.0.get_mut(&rest_ms)?;
        let rest = queue.pop_front();
        if queue.is_empty() {
            self.0.remove(&rest_ms);
        }
        rest
    }

    /// Takes out a pair that is leased again before it was woken: rare, so it is looked for.
    pub(super) fn remove(&mut self, until: Millis, a: &Digits, x: Id) {
        let found = self.0.iter().find_map(|(rest_ms, queue)| {
            let from = queue
                .binary_search_by(|rest| rest.until.cmp(&until).then(std::cmp::Ordering::Greater));
            let from = from.unwrap_or_else(|from| from);
            let alike = queue
                .focus()
                .narrow(from..)
                .into_iter()
                .take_while(|rest| rest.until == until)
                .position(|rest| rest.a == *a && rest.x == x);
            Some((*rest_ms, from + alike?))
        });
        let Some((rest_ms, at)) = found else { return };
        if let Some(queue) = self.0.get_mut(&rest_ms) {
            queue.remove(at);
            if queue.is_empty() {
                self.0.remove(&rest_ms);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_wake_by_their_moment_whatever_their_length_of_rest() {
        let mut rests = Rests::default();
        for (at, rest_ms, x) in [
            (0, 300, 1),
            (50, 100, 2),
            (60, 300, 3),
            (60, 300, 4),
            (250, 50, 5),
        ] {
            rests.push(at, rest_ms, Digits::from("1"), x);
        }
        rests.remove(360, &Digits::from("1"), 4);
        rests.remove(360, &Digits::from("2"), 3);
        assert_eq!(rests.len(), 4);
        let woken: Vec<(Millis, Id)> = std::iter::from_fn(|| rests.pop())
            .map(|rest| (rest.until, rest.x))
            .collect();
        assert_eq!(woken, [(150, 2), (300, 5), (300, 1), (360, 3)]);
        assert_eq!(rests, Rests::default(), "empty queues are not kept");
    }
}
