//! The actor around a binding: carries out what the machine decides.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use tandem_cluster::command::{Bound, Command, Lease, Reply, UnbindFailed, Unbound};
use tandem_cluster::entity::Millis;
use tandem_cluster::state::Binding as Row;
use tandem_ops::log::mask_numbers;
use tandem_vendors::Client;
use tandem_vendors::client::Tap;
use tandem_vendors::outcome::{
    Bind, BindOutcome, Class, Failure, Handle, QueryOutcome, UnbindOutcome,
};

use tokio::sync::mpsc::UnboundedSender;

use super::machine::{Action, Event, Machine, Recover};
use crate::call::actor::{CallActor, FromBinding};
use crate::core::{Core, ERROR_MAX};
use crate::platforms;

/// One binding on the node that looks after it.
pub struct BindingActor {
    core: Arc<Core>,
    machine: Machine,
    first: Vec<Action>,
    id: u64,
    epoch: u32,
    interface: u32,
    numbers: Bind,
    hears: Hears,
    /// Hears of every exchange with the platform.
    tap: Option<Tap>,
    timer: Option<SpawnHandle>,
    timed: bool,
}

/// Who is told what becomes of a binding.
enum Hears {
    /// Nobody: it is only looked after until it is gone.
    Nobody,
    /// The call that asked, and which of its attempts.
    Call(Addr<CallActor>, u16),
    /// Who tries an interface.
    Trial(UnboundedSender<News>),
}

/// What becomes of the binding of a trial.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// The platform has it, on this X when it differs from the X asked for.
    Bound(Option<String>),
    /// It was not bound, or nobody knows.
    Failed,
    /// The platform did not let it go; this is tried again.
    NotReleased,
    /// Nothing is left of it at the platform.
    Gone,
}

/// What others tell a binding.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub enum Order {
    /// Release it now.
    Release,
    /// Release it at this wall time, or at call end.
    ReleaseAt(Option<Millis>),
    /// Its row is gone.
    Forced,
    /// The tenure is over: another node looks after it.
    Abandon,
}

impl BindingActor {
    /// Asks the platform for a lease's binding and tells the call what came of it.
    pub fn ask(
        core: Arc<Core>,
        epoch: u32,
        lease: &Lease,
        call: Addr<CallActor>,
        attempt: u16,
    ) -> Addr<Self> {
        Self::of_lease(core, epoch, lease, Hears::Call(call, attempt), None)
    }

    /// Asks the platform for the binding of a trial, which is looked after like any other until it is gone. It waits
    /// for [`Order::Release`].
    pub fn trial(
        core: Arc<Core>,
        epoch: u32,
        lease: &Lease,
        news: UnboundedSender<News>,
        tap: Tap,
    ) -> Addr<Self> {
        Self::of_lease(core, epoch, lease, Hears::Trial(news), Some(tap))
    }

    /// Looks after a binding of another tenure.
    pub fn adopt(core: Arc<Core>, epoch: u32, row: &Row) -> Addr<Self> {
        let recover = recover(&core, row.interface);
        let begun = Machine::adopt(row, recover, core.clock.now());
        Self::of_row(core, epoch, row, begun)
    }

    /// Sends the one request that a dropped row still gets.
    pub fn farewell(core: Arc<Core>, epoch: u32, row: &Row) -> Addr<Self> {
        let begun = Machine::farewell(row, recover(&core, row.interface));
        Self::of_row(core, epoch, row, begun)
    }

    fn of_lease(
        core: Arc<Core>,
        epoch: u32,
        lease: &Lease,
        hears: Hears,
        tap: Option<Tap>,
    ) -> Addr<Self> {
        let recover = recover(&core, lease.interface);
        let (machine, first) = Machine::ask(lease.x.clone(), recover, core.clock.now());
        BindingActor {
            core,
            machine,
            first,
            id: lease.binding,
            epoch,
            interface: lease.interface,
            numbers: numbers_of_lease(lease),
            hears,
            tap,
            timer: None,
            timed: false,
        }
        .launch()
    }

    fn of_row(
        core: Arc<Core>,
        epoch: u32,
        row: &Row,
        (machine, first): (Machine, Vec<Action>),
    ) -> Addr<Self> {
        BindingActor {
            core,
            machine,
            first,
            id: row.id,
            epoch,
            interface: row.interface,
            numbers: numbers_of(row),
            hears: Hears::Nobody,
            tap: None,
            timer: None,
            timed: false,
        }
        .launch()
    }

    /// Starts it, found from now on by its id.
    fn launch(self) -> Addr<Self> {
        let (core, id) = (Arc::clone(&self.core), self.id);
        let addr = self.start();
        core.bindings.insert(id, addr.clone());
        addr
    }

    fn feed(&mut self, event: Event, ctx: &mut Context<Self>) {
        for action in self.machine.on(event, self.core.clock.now()) {
            self.perform(action, ctx);
        }
        self.count_timer(self.machine.is_timed());
    }

    fn perform(&mut self, action: Action, ctx: &mut Context<Self>) {
        match action {
            Action::Bind => {
                let numbers = self.numbers.clone();
                self.exchange(ctx, async move |client| {
                    Event::BindDone(match client {
                        Ok(client) => client.bind(&numbers).await,
                        Err(why) => {
                            BindOutcome::Failed(Failure::new(Class::Config, "interface", why))
                        }
                    })
                });
            }
            Action::Query => {
                let numbers = self.numbers.clone();
                self.exchange(ctx, async move |client| {
                    Event::QueryDone(match client {
                        Ok(client) => client.query(&numbers).await,
                        Err(why) => {
                            QueryOutcome::Failed(Failure::new(Class::Config, "interface", why))
                        }
                    })
                });
            }
            Action::Unbind(handle) => {
                let numbers = self.numbers.clone();
                self.exchange(ctx, async move |client| {
                    Event::UnbindDone(match client {
                        Ok(client) => client.unbind(&handle, &numbers).await,
                        Err(why) => {
                            UnbindOutcome::Failed(Failure::new(Class::Config, "interface", why))
                        }
                    })
                });
            }
            Action::Book { x, handle, raw } => {
                let command = self.bound(x, handle, raw);
                let cluster = self.core.cluster.clone();
                let booked =
                    async move { matches!(cluster.propose(command).await, Ok(Reply::Done)) };
                ctx.spawn(
                    booked
                        .into_actor(self)
                        .map(|booked, actor, ctx| actor.feed(Event::Booked(booked), ctx)),
                );
            }
            Action::NoteBound { x, handle, raw } => self.core.submit(self.bound(x, handle, raw)),
            Action::TellBound { x } => {
                if let Some(x) = &x {
                    self.numbers.x.clone_from(x);
                }
                match &self.hears {
                    Hears::Call(call, attempt) => tell(
                        call,
                        FromBinding::Bound {
                            attempt: *attempt,
                            x,
                        },
                    ),
                    _ => self.news(News::Bound(x)),
                }
            }
            Action::TellFailed(failure) => match &self.hears {
                Hears::Call(call, attempt) => {
                    tell(
                        call,
                        FromBinding::Failed {
                            attempt: *attempt,
                            failure,
                        },
                    );
                }
                _ => self.news(News::Failed),
            },
            Action::NoteUnbound { missing } => {
                self.news(News::Gone);
                if missing {
                    metrics::counter!("tandem_node_bindings_missing_total").increment(1);
                }
                self.core.submit(Command::Unbound(Unbound {
                    binding: self.id,
                    epoch: self.epoch(),
                    missing,
                }));
            }
            Action::NoteUnbindFailed(error) => {
                self.news(News::NotReleased);
                let shown = mask_numbers(&error);
                tracing::warn!(binding = self.id, interface = self.interface, error = %shown, "unbind failed");
                self.core
                    .note_interface_error(self.interface, error.clone());
                let error = cut(error);
                self.core.submit(Command::UnbindFailed(UnbindFailed {
                    binding: self.id,
                    epoch: self.epoch(),
                    error,
                }));
            }
            Action::NoteError(error) => {
                let shown = mask_numbers(&error);
                tracing::warn!(binding = self.id, interface = self.interface, error = %shown, "bind failed");
                self.core.note_interface_error(self.interface, error);
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
        F: FnOnce(Result<Client, String>) -> R + 'static,
        R: Future<Output = Event> + 'static,
    {
        let client = self
            .core
            .platforms
            .client(&self.core.tables(), self.interface);
        let client = match &self.tap {
            Some(tap) => client.map(|client| client.tapped(Arc::clone(tap))),
            None => client,
        };
        ctx.spawn(
            send(client)
                .into_actor(self)
                .map(|event, actor, ctx| actor.feed(event, ctx)),
        );
    }

    fn bound(&self, x: String, handle: Handle, raw: String) -> Command {
        let state = self.core.tables();
        let lifetime = state
            .interface(self.interface)
            .and_then(|row| platforms::lifetime_ms(&row.entity));
        let expires_at = lifetime.map(|ms| self.core.clock.now().wall + ms);
        Command::Bound(Bound {
            binding: self.id,
            epoch: self.epoch(),
            handle,
            x,
            expires_at,
            raw,
        })
    }

    fn news(&self, news: News) {
        if let Hears::Trial(trial) = &self.hears {
            // Who tries may have gone; the binding is cleared all the same.
            let _ = trial.send(news);
        }
    }

    /// The node's present tenure: what a binding has to say stays true when the one it began under is over.
    fn epoch(&self) -> u32 {
        self.core.epoch().unwrap_or(self.epoch)
    }

    fn count_timer(&mut self, timed: bool) {
        match (self.timed, timed) {
            (false, true) => drop(self.core.figures.timers.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.core.figures.timers.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
        self.timed = timed;
    }
}

fn tell(call: &Addr<CallActor>, message: FromBinding) {
    // One message per binding, so the unbounded way is bounded by the calls.
    call.do_send(message);
}

/// How the interface's platform is cleared of a lost bind.
fn recover(core: &Core, interface: u32) -> Recover {
    let state = core.tables();
    match state.interface(interface) {
        Some(row) => platforms::recover(&row.entity),
        // The row is dropped with its last binding; nobody can be asked then.
        None => Recover {
            means: Vec::new(),
            lapses_ms: None,
            retry: Vec::new(),
        },
    }
}

impl Actor for BindingActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        for action in std::mem::take(&mut self.first) {
            self.perform(action, ctx);
        }
        self.count_timer(self.machine.is_timed());
    }

    fn stopped(&mut self, ctx: &mut Context<Self>) {
        self.count_timer(false);
        self.core.bindings.remove(self.id, &ctx.address());
    }
}

impl Handler<Order> for BindingActor {
    type Result = ();

    fn handle(&mut self, order: Order, ctx: &mut Context<Self>) {
        let event = match order {
            Order::Release => Event::Release,
            Order::ReleaseAt(at) => Event::ReleaseAt(at),
            Order::Forced => Event::Forced,
            Order::Abandon => return ctx.stop(),
        };
        self.feed(event, ctx);
    }
}

fn numbers_of_lease(lease: &Lease) -> Bind {
    Bind {
        a: lease.a.clone(),
        x: lease.x.clone(),
        b: lease.b_submitted.clone(),
        own_id: lease.binding.to_string(),
    }
}

fn numbers_of(row: &Row) -> Bind {
    Bind {
        a: row.a.clone(),
        x: row.x.clone(),
        b: row.b_submitted.clone(),
        own_id: row.id.to_string(),
    }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(ERROR_MAX));
    text
}
