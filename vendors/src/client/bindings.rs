//! AXB bindings: asked for, released, and looked for at the platform.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Client, RATE_LIMIT, local};
use crate::definition::Values;
use crate::exchange::Op;
use crate::outcome::{
    Bind, BindOutcome, Class, Failure, Handle, Held, Outcome, Page, QueryOutcome, SetCalleeOutcome,
    UnbindOutcome,
};

/// The most bindings that [`Client::held_on`] lists; Huawei allows no more on one X.
pub const HELD_MAX: usize = 5_000;
/// How often [`Client::unbind`] asks a platform that counts equal binds.
pub const COUNT_MAX: u32 = 16;
/// Records that [`Client::query`] asks for one by one, where a platform lists ids alone.
pub const DETAILS_MAX: usize = 100;
/// How often [`Client::held_on`] waits for our own rate limit before it gives up; each wait is at
/// most a second.
const RATE_WAITS_MAX: u32 = 60;

impl Client {
    /// Asks the platform to join A, X and B. After a failure whose class [`Class::may_hold`], the
    /// platform may hold the binding.
    ///
    /// A platform that asks us stores nothing ([`Client::is_asked`]): this is bound at once then,
    /// as what follows is done at once, and nothing is sent.
    pub async fn bind(&self, bind: &Bind) -> BindOutcome {
        if self.is_asked() {
            return local::bound(&bind.own_id, &bind.x);
        }
        let values = triple(bind, None);
        self.ask(Op::Bind, &values, |plan, response| {
            plan.read_bind(Op::Bind, response, &values)
        })
        .await
    }

    /// Asks the platform to release one binding. `numbers` serve vendors whose bindings have no
    /// id; a vendor with ids never unbinds by numbers. Where a platform counts equal binds it is
    /// asked until none is left, at most [`COUNT_MAX`] times.
    pub async fn unbind(&self, handle: &Handle, numbers: &Bind) -> UnbindOutcome {
        if self.is_asked() {
            return UnbindOutcome::Released;
        }
        let values = triple(numbers, Some(handle));
        for _ in 0..COUNT_MAX {
            let Counted { outcome, left } = self
                .ask(Op::Unbind, &values, |plan, response| {
                    let (outcome, left, auth) = plan.read_unbind(Op::Unbind, response, &values);
                    (Counted { outcome, left }, auth)
                })
                .await;
            if outcome != UnbindOutcome::Released || left == 0 {
                return outcome;
            }
        }
        let text = format!("still bound after {COUNT_MAX} unbinds");
        UnbindOutcome::Failed(Failure::new(Class::Unknown, "too_many", text))
    }

    /// Asks the platform to keep a binding for another lifetime from now on, where it can be asked.
    ///
    /// # Errors
    /// Why it will not; `NotFound` when it has no such binding (any more). After a failure whose
    /// class [`Class::may_hold`] it may have done it all the same, which does no harm.
    pub async fn modify(&self, handle: &Handle, numbers: &Bind) -> Result<(), Failure> {
        let values = triple(numbers, Some(handle));
        let outcome: SetCalleeOutcome = self
            .ask(Op::Modify, &values, |plan, response| {
                plan.read_done(Op::Modify, response, &values)
            })
            .await;
        outcome
            .failure()
            .map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// Whether the platform can be asked for this at all.
    pub fn can(&self, op: Op) -> bool {
        self.inner.plan.has(op)
    }

    /// Asks what the platform holds for X with A and B. An empty A or B widens the question, and
    /// then the answer may be the first page only: all of X is [`Client::held_on`]. The way to
    /// learn what became of a bind that was lost; after a time-out ask twice with a pause, since
    /// the lost request may still be on its way.
    pub async fn query(&self, numbers: &Bind) -> QueryOutcome {
        if self.is_asked() {
            return QueryOutcome::None;
        }
        let values = triple(numbers, None);
        let outcome = self
            .ask(Op::Query, &values, |plan, response| {
                plan.read_query(Op::Query, response, &values)
            })
            .await;
        match outcome {
            QueryOutcome::Found(held) if self.inner.plan.has(Op::QueryDetail) => {
                self.details(held, &values).await
            }
            outcome => outcome,
        }
    }

    /// The numbers of records that a platform has named by their ids alone, one request each.
    /// Records that are gone meanwhile, or are not what was asked for, are left out.
    pub(super) async fn details(&self, ids: Vec<Held>, asked: &Values<'_>) -> QueryOutcome {
        if ids.len() > DETAILS_MAX {
            let text = format!("more than {DETAILS_MAX} bindings to be asked for one by one");
            return QueryOutcome::Failed(Failure::new(Class::Unknown, "too_many", text));
        }
        let mut found = Vec::new();
        for id in &ids {
            let values = Values {
                handle: Some(&id.handle),
                ..*asked
            };
            let detail: QueryOutcome = self
                .ask(Op::QueryDetail, &values, |plan, response| {
                    plan.read_query(Op::QueryDetail, response, &values)
                })
                .await;
            match detail {
                QueryOutcome::Found(held) => found.extend(held),
                QueryOutcome::None => {}
                QueryOutcome::Failed(failure) => return QueryOutcome::Failed(failure),
            }
        }
        if found.is_empty() {
            QueryOutcome::None
        } else {
            QueryOutcome::Found(found)
        }
    }

    /// Asks for every AXB binding that the platform holds on X, all pages of at most [`HELD_MAX`];
    /// more are the failure `too_many`. Static relations are none of them: see
    /// [`Client::ax_query`].
    ///
    /// One request a page, each within `timeout_ms`; a page that our own rate limit holds back
    /// waits for it. The list is no snapshot: a binding released meanwhile may hide another one
    /// that moves to a page already read, so confirm with [`Client::query`] that one is missing
    /// before acting on it.
    pub async fn held_on(&self, x: &str) -> QueryOutcome {
        if self.is_asked() {
            return QueryOutcome::None;
        }
        let mut held: Vec<Held> = Vec::new();
        let mut seen: BTreeSet<Handle> = BTreeSet::new();
        let mut rows = 0;
        for number in 1.. {
            let page = match self.page(x, number).await {
                Ok(page) => page,
                Err(failure) => return QueryOutcome::Failed(failure),
            };
            rows += page.rows;
            if rows > HELD_MAX || page.total.is_some_and(|total| total > HELD_MAX) {
                let text = format!("more than {HELD_MAX} bindings on one x");
                return QueryOutcome::Failed(Failure::new(Class::Permanent, "too_many", text));
            }
            let before = held.len();
            for one in page.held {
                if seen.insert(one.handle.clone()) {
                    held.push(one);
                }
            }
            if page.rows > 0 && held.len() == before {
                let text = format!("page {number} repeats earlier ones or has no ids");
                return QueryOutcome::Failed(Failure::new(Class::Unknown, "unreadable", text));
            }
            let last = match page.total {
                Some(total) => rows >= total,
                None => page.rows < self.inner.plan.page_rows(),
            };
            if last || page.rows == 0 {
                break;
            }
        }
        if held.is_empty() {
            QueryOutcome::None
        } else {
            QueryOutcome::Found(held)
        }
    }

    /// One page of a list, after waiting for our own rate limit where needed.
    async fn page(&self, x: &str, page: u32) -> Result<Page, Failure> {
        let mut waits = 0;
        let values = Values {
            x,
            page,
            ..Values::default()
        };
        loop {
            let page: Result<Page, Failure> = self
                .ask(Op::XQuery, &values, |plan, response| {
                    plan.read_page(Op::XQuery, response, &values)
                })
                .await;
            match page {
                Err(failure) if failure.code == RATE_LIMIT && waits < RATE_WAITS_MAX => {
                    waits += 1;
                    let wait_ms = failure.wait_ms.unwrap_or(1).clamp(1, 1_000);
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                }
                page => return page,
            }
        }
    }
}

/// An unbind at a platform that may count.
struct Counted {
    outcome: UnbindOutcome,
    left: u32,
}

impl Outcome for Counted {
    fn failed(failure: Failure) -> Counted {
        Counted {
            outcome: UnbindOutcome::Failed(failure),
            left: 0,
        }
    }

    fn failure(&self) -> Option<&Failure> {
        self.outcome.failure()
    }

    fn word(&self) -> &'static str {
        self.outcome.word()
    }
}

fn triple<'a>(numbers: &'a Bind, handle: Option<&'a Handle>) -> Values<'a> {
    Values {
        a: &numbers.a,
        x: &numbers.x,
        b: &numbers.b,
        own_id: &numbers.own_id,
        handle,
        page: 0,
    }
}
