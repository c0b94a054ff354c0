//! The actor around a relation: carries out what the machine decides, and ends when nothing is left to ask.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tandem_cluster::command::{AxOutcome, AxResult, Command};
use tandem_cluster::entity::{AxBinding, Id};
use tandem_cluster::state::AxRow;
use tandem_ops::log::mask_numbers;
use tandem_vendors::Client;
use tandem_vendors::outcome::{AxBind, BindOutcome, Class, Failure, QueryOutcome, UnbindOutcome};

use super::machine::{Action, Event, Machine, Wish};
use super::own_id;
use crate::core::{Core, ERROR_MAX};

/// One relation about which this node asks the platform.
pub struct AxActor {
    core: Arc<Core>,
    machine: Machine,
    first: Vec<Action>,
    id: Id,
    epoch: u32,
    entity: AxBinding,
    timer: Option<SpawnHandle>,
}

/// What others tell a relation.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub enum Order {
    /// Its row wants this.
    Wished(Wish, u32),
    /// An operator dropped it.
    Forced,
}

/// Does what the row of a relation wants, if it is this tenure's to do.
pub fn look(core: &Arc<Core>, epoch: u32, relation: Id) {
    let state = core.cluster.state();
    let Some(row) = state.ax_row(relation) else {
        return;
    };
    let Some((wish, asked)) = Wish::of(&row).filter(|_| row.live.owner == Some(epoch)) else {
        return;
    };
    match core.relations.get(relation) {
        // Wishes come from people, one at a time.
        Some(actor) => actor.do_send(Order::Wished(wish, asked)),
        None => {
            let (machine, first) = Machine::new(row.entity.x_number.clone(), wish, asked);
            AxActor::launch(Arc::clone(core), machine, first, epoch, row);
        }
    }
}

/// Sends the one request that a dropped relation still gets.
pub fn farewell(core: &Arc<Core>, epoch: u32, gone: AxRow) {
    match core.relations.get(gone.id) {
        Some(actor) => actor.do_send(Order::Forced),
        None => {
            let (machine, first) = Machine::farewell(&gone);
            AxActor::launch(Arc::clone(core), machine, first, epoch, gone);
        }
    }
}

impl AxActor {
    fn launch(core: Arc<Core>, machine: Machine, first: Vec<Action>, epoch: u32, row: AxRow) {
        let registry = Arc::clone(&core);
        let id = row.id;
        let actor = AxActor {
            core,
            machine,
            first,
            id,
            epoch,
            entity: row.entity,
            timer: None,
        };
        registry.relations.insert(id, actor.start());
    }

    fn feed(&mut self, event: Event, ctx: &mut Context<Self>) {
        for action in self.machine.on(event, self.core.clock.now()) {
            self.perform(action, ctx);
        }
    }

    fn perform(&mut self, action: Action, ctx: &mut Context<Self>) {
        match action {
            Action::Bind => {
                let numbers = self.numbers(None);
                self.exchange(ctx, async move |client| {
                    Event::BindDone(match client {
                        Ok(client) => client.ax_bind(&numbers).await,
                        Err(failure) => BindOutcome::Failed(failure),
                    })
                });
            }
            Action::Query => {
                let numbers = self.numbers(None);
                self.exchange(ctx, async move |client| {
                    Event::QueryDone(match client {
                        Ok(client) => client.ax_query(&numbers).await,
                        Err(failure) => QueryOutcome::Failed(failure),
                    })
                });
            }
            Action::Unbind { x, handle } => {
                let numbers = self.numbers(Some(x));
                self.exchange(ctx, async move |client| {
                    Event::UnbindDone(match client {
                        Ok(client) => client.ax_unbind(&handle, &numbers).await,
                        Err(failure) => UnbindOutcome::Failed(failure),
                    })
                });
            }
            Action::NoteBound { asked, handle, raw } => {
                tracing::info!(
                    relation = self.id,
                    interface = self.entity.interface,
                    "ax bound"
                );
                // Who knows an end is the row; platforms of the types built in keep a relation for ever.
                let expires_at = None;
                self.tell(
                    asked,
                    AxResult::Bound {
                        handle,
                        expires_at,
                        raw,
                    },
                );
            }
            Action::NoteUnbound { asked, missing } => {
                tracing::info!(
                    relation = self.id,
                    interface = self.entity.interface,
                    missing,
                    "ax released"
                );
                if missing {
                    metrics::counter!("tandem_node_ax_missing_total").increment(1);
                }
                self.tell(asked, AxResult::Unbound { missing });
            }
            Action::NoteFailed {
                asked,
                mut error,
                unknown,
            } => {
                let shown = mask_numbers(&error);
                tracing::warn!(relation = self.id, interface = self.entity.interface, error = %shown, "ax request failed");
                self.core
                    .note_interface_error(self.entity.interface, error.clone());
                error.truncate(error.floor_char_boundary(ERROR_MAX));
                self.tell(asked, AxResult::Failed { error, unknown });
            }
            Action::Arm(at) => {
                if let Some(timer) = self.timer.take() {
                    ctx.cancel_future(timer);
                }
                let wait = Duration::from_millis(at.saturating_sub(self.core.clock.mono()));
                self.timer = Some(ctx.run_later(wait, |actor, ctx| {
                    actor.timer = None;
                    actor.feed(Event::Timer, ctx);
                }));
            }
            Action::Finish => ctx.stop(),
        }
    }

    /// One request to the platform; its outcome comes back as an event.
    fn exchange<F, R>(&mut self, ctx: &mut Context<Self>, send: F)
    where
        F: FnOnce(Result<Client, Failure>) -> R + 'static,
        R: Future<Output = Event> + 'static,
    {
        let state = self.core.cluster.state();
        let interface = self.entity.interface;
        let client = match self.entity.params.is_empty() {
            true => self.core.platforms.client(&state, interface),
            false => (self.core.platforms).special(&state, interface, &self.entity.params),
        };
        let client = client.map_err(|why| Failure::new(Class::Config, "interface", why));
        ctx.spawn(
            send(client)
                .into_actor(self)
                .map(|event, actor, ctx| actor.feed(event, ctx)),
        );
    }

    fn numbers(&self, x: Option<String>) -> AxBind {
        AxBind {
            a: self.entity.a_number.clone(),
            x: x.unwrap_or_else(|| self.entity.x_number.clone()),
            own_id: own_id(self.id),
        }
    }

    fn tell(&self, asked: u32, result: AxResult) {
        self.core.submit(Command::AxOutcome(AxOutcome {
            ax: self.id,
            // What the platform said stays true when the tenure it was asked under is over.
            epoch: self.core.epoch().unwrap_or(self.epoch),
            asked,
            result,
        }));
    }
}

impl Actor for AxActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        for action in std::mem::take(&mut self.first) {
            self.perform(action, ctx);
        }
    }

    fn stopped(&mut self, ctx: &mut Context<Self>) {
        self.core.relations.remove(self.id, &ctx.address());
        // A wish that arrived with the last breath.
        let epoch = self.core.epoch();
        let state = self.core.cluster.state();
        let newer = state
            .ax_live(self.id)
            .is_some_and(|live| live.asked > self.machine.asked());
        if let Some(epoch) = epoch.filter(|_| newer) {
            look(&self.core, epoch, self.id);
        }
    }
}

impl Handler<Order> for AxActor {
    type Result = ();

    fn handle(&mut self, order: Order, ctx: &mut Context<Self>) {
        let event = match order {
            Order::Wished(wish, asked) => Event::Wished(wish, asked),
            Order::Forced => Event::Forced,
        };
        self.feed(event, ctx);
    }
}
