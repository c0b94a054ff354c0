//! AX relations: given and taken, their next callee named, and looked for at the platform.

use super::{Client, local};
use crate::definition::Values;
use crate::exchange::Op;
use crate::outcome::{
    AxBind, BindOutcome, Class, Failure, Handle, Outcome, QueryOutcome, SetCalleeOutcome,
    UnbindOutcome,
};

impl Client {
    /// Asks the platform to give X to A for good. That A has X already is success here: a relation
    /// has no other key than its numbers, so it is looked up and adopted, whoever made it (a second
    /// request, and another `timeout_ms` at most). If that fails the failure's class is
    /// `AlreadyBound`, and [`Client::ax_query`] can be asked again.
    ///
    /// After a failure whose class [`Class::may_hold`] the platform may hold the relation; `x` of
    /// the outcome may differ from the X asked for.
    pub async fn ax_bind(&self, bind: &AxBind) -> BindOutcome {
        if self.is_asked() {
            return local::bound(&bind.own_id, &bind.x);
        }
        let values = pair(bind, None);
        let outcome: BindOutcome = self
            .ask(Op::AxBind, &values, |plan, response| {
                plan.read_bind(Op::AxBind, response, &values)
            })
            .await;
        match outcome {
            BindOutcome::Failed(failure) if failure.class == Class::AlreadyBound => {
                self.adopt(bind, failure).await
            }
            outcome => outcome,
        }
    }

    async fn adopt(&self, bind: &AxBind, refusal: Failure) -> BindOutcome {
        match self.ax_query(bind).await {
            QueryOutcome::Found(mut held) => {
                let held = held.swap_remove(0);
                BindOutcome::Bound {
                    handle: held.handle,
                    x: held.x,
                    raw: format!("{refusal}, adopted"),
                }
            }
            QueryOutcome::None => BindOutcome::Failed(refusal),
            QueryOutcome::Failed(why) => {
                let text = format!("{}; query: {why}", refusal.text);
                BindOutcome::Failed(Failure::new(refusal.class, refusal.code, text))
            }
        }
    }

    /// Asks the platform to take X from A. By the handle, or by the numbers when it is empty.
    pub async fn ax_unbind(&self, handle: &Handle, numbers: &AxBind) -> UnbindOutcome {
        if self.is_asked() {
            return UnbindOutcome::Released;
        }
        let values = pair(numbers, Some(handle));
        self.ask(Op::AxUnbind, &values, |plan, response| {
            let (outcome, _, auth) = plan.read_unbind(Op::AxUnbind, response, &values);
            (outcome, auth)
        })
        .await
    }

    /// Names the callee of A's next call to X, for the relation of the handle, or for X when it is
    /// empty. The platform keeps one callee per X, the last one named, for `callee_duration`
    /// seconds; nothing takes it back. So calls on one X are serial from here until the platform
    /// has taken the INVITE (DOMAIN §5).
    ///
    /// A request that was lost may still arrive: after a failure whose class [`Class::may_hold`]
    /// leave X alone for `timeout_ms`, or the late one names the next call's callee. `NotFound`
    /// means that the platform has no such relation.
    pub async fn set_callee(&self, handle: &Handle, numbers: &AxBind, b: &str) -> SetCalleeOutcome {
        if self.is_asked() {
            return SetCalleeOutcome::Set;
        }
        let values = Values {
            b,
            ..pair(numbers, Some(handle))
        };
        self.ask(Op::SetCallee, &values, |plan, response| {
            plan.read_done(Op::SetCallee, response, &values)
        })
        .await
    }

    /// Takes back the callee that [`Client::set_callee`] named, where the platform has a way; none
    /// named is no failure of ours but may be one of the platform's.
    ///
    /// # Errors
    /// Why not. The callee ends by itself and the next one overwrites it, so nothing is lost.
    pub async fn clear_callee(&self, handle: &Handle, numbers: &AxBind) -> Result<(), Failure> {
        let values = pair(numbers, Some(handle));
        let outcome: SetCalleeOutcome = self
            .ask(Op::ClearCallee, &values, |plan, response| {
                plan.read_done(Op::ClearCallee, response, &values)
            })
            .await;
        outcome
            .failure()
            .map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// Asks whether the platform has given X to A. An empty A asks to whom X is given, an empty X
    /// what is given to A. `b` of what is found is empty.
    pub async fn ax_query(&self, numbers: &AxBind) -> QueryOutcome {
        if self.is_asked() {
            return QueryOutcome::None;
        }
        let values = pair(numbers, None);
        let outcome = self
            .ask(Op::AxQuery, &values, |plan, response| {
                plan.read_query(Op::AxQuery, response, &values)
            })
            .await;
        match outcome {
            QueryOutcome::Found(held) if self.inner.plan.has(Op::QueryDetail) => {
                let mut outcome = self.details(held, &values).await;
                if let QueryOutcome::Found(held) = &mut outcome {
                    held.iter_mut().for_each(|held| held.b.clear());
                }
                outcome
            }
            outcome => outcome,
        }
    }
}

fn pair<'a>(numbers: &'a AxBind, handle: Option<&'a Handle>) -> Values<'a> {
    Values {
        a: &numbers.a,
        x: &numbers.x,
        b: "",
        own_id: &numbers.own_id,
        handle,
        page: 0,
    }
}
