//! The state behind the consensus: decodes commands, applies them, shows the result, hands effects out.

use crate::codec;
use crate::command::{Biller, Command, Effect, Reply};
use crate::raft::batch::Batch;
use crate::raft::machine::{Driver, Freeze, Thaw};
use crate::state::State;
use crate::wal::record::LogId;
use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// Applied entries whose effects may wait for their receiver.
const EFFECTS_MAX: usize = 4096;

/// A replicated state. Cloning must be cheap: it is done after every batch of applied entries.
pub trait Machine: Clone + Send + Sync + Serialize + DeserializeOwned + 'static {
    /// What changes it.
    type Command: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What the proposer gets.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
    /// What nodes must do.
    type Effect: Send + Sync + 'static;
    /// Lent to each application; a pure function of its arguments, alike on all nodes.
    type Context: ?Sized + Send + Sync + 'static;

    /// The state before the first command.
    fn initial() -> Self;
    /// Applies one command. `at`: the leader's clock, milliseconds since 1970, which may step back between leaders;
    /// `seed`: another one for each command.
    fn apply_one(
        &mut self,
        at: u64,
        seed: u64,
        command: &Self::Command,
        context: &Self::Context,
    ) -> (Self::Reply, Vec<Self::Effect>);
    /// Who votes from here on in the log.
    fn set_voters(&mut self, voters: BTreeSet<u64>);
}

impl Machine for State {
    type Command = Command;
    type Reply = Reply;
    type Effect = Effect;
    type Context = dyn Biller;

    fn initial() -> Self {
        State::new()
    }

    fn apply_one(
        &mut self,
        at: u64,
        seed: u64,
        command: &Command,
        biller: &dyn Biller,
    ) -> (Reply, Vec<Effect>) {
        self.apply(at, seed, command, biller)
    }

    fn set_voters(&mut self, voters: BTreeSet<u64>) {
        State::set_voters(self, voters);
    }
}

/// Effects of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied<E> {
    /// The entry.
    pub index: u64,
    /// The leader's clock in it.
    pub at: u64,
    /// The leader that appended it.
    pub leader: u64,
    /// In the order of its commands.
    pub effects: Vec<E>,
}

/// Receives the effects of applied entries.
pub struct EffectReceiver<E>(mpsc::Receiver<Applied<E>>);

impl<E> EffectReceiver<E> {
    /// The next entry's effects; `None` when the node has stopped.
    pub async fn recv(&mut self) -> Option<Applied<E>> {
        self.0.recv().await
    }

    /// The next entry's effects, if they are there.
    pub fn try_recv(&mut self) -> Option<Applied<E>> {
        self.0.try_recv().ok()
    }
}

#[derive(Default)]
struct Flags {
    /// The restart's replay is over.
    live: AtomicBool,
    /// Somebody receives.
    taken: AtomicBool,
}

/// The receiving end, until it is taken.
pub(crate) struct Outlet<E> {
    receiver: Mutex<Option<mpsc::Receiver<Applied<E>>>>,
    flags: Arc<Flags>,
}

impl<E> Outlet<E> {
    pub(crate) fn take(&self) -> Option<EffectReceiver<E>> {
        let receiver = self
            .receiver
            .lock()
            .expect("no code panics while it holds this")
            .take()?;
        self.flags.taken.store(true, Ordering::Release);
        Some(EffectReceiver(receiver))
    }

    /// Called when the replay is over.
    pub(crate) fn live(&self) -> Box<dyn FnOnce() + Send> {
        let flags = self.flags.clone();
        Box::new(move || flags.live.store(true, Ordering::Release))
    }
}

/// The state and its surroundings.
pub(crate) struct Applier<M: Machine> {
    state: M,
    context: Arc<M::Context>,
    shown: Arc<ArcSwap<M>>,
    pending: Vec<Applied<M::Effect>>,
    sender: mpsc::Sender<Applied<M::Effect>>,
    flags: Arc<Flags>,
}

/// The applying end and the end that effects come out of.
pub(crate) fn pair<M: Machine>(
    context: Arc<M::Context>,
    shown: Arc<ArcSwap<M>>,
) -> (Applier<M>, Outlet<M::Effect>) {
    let (sender, receiver) = mpsc::channel(EFFECTS_MAX);
    let flags = Arc::new(Flags::default());
    let outlet = Outlet {
        receiver: Mutex::new(Some(receiver)),
        flags: flags.clone(),
    };
    (
        Applier {
            state: M::initial(),
            context,
            shown,
            pending: Vec::new(),
            sender,
            flags,
        },
        outlet,
    )
}

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// A seed for the `nth` command of an entry (SplitMix64's step).
fn seed_of(seed: u64, nth: u64) -> u64 {
    let mut z = seed.wrapping_add((nth + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl<M: Machine> Driver for Applier<M> {
    fn apply(&mut self, id: LogId, batch: Batch, answer: bool) -> io::Result<Vec<Bytes>> {
        let mut replies = Vec::with_capacity(if answer { batch.commands.len() } else { 0 });
        let mut effects = Vec::new();
        for (nth, bytes) in (0..).zip(&batch.commands) {
            // A committed command that cannot be read was written by a newer release: to skip it would let the
            // states of the nodes part.
            let command: M::Command = codec::decode(bytes)
                .map_err(|error| invalid(format!("command {nth} of entry {id}: {error}")))?;
            let (reply, more) =
                self.state
                    .apply_one(batch.at, seed_of(batch.seed, nth), &command, &self.context);
            effects.extend(more);
            if answer {
                replies.push(codec::encode(&reply).map_err(invalid)?.into());
            }
        }
        if !effects.is_empty() && self.flags.live.load(Ordering::Acquire) {
            self.pending.push(Applied {
                index: id.index,
                at: batch.at,
                leader: id.node,
                effects,
            });
        }
        Ok(replies)
    }

    fn set_voters(&mut self, voters: BTreeSet<u64>) {
        self.state.set_voters(voters);
    }

    fn publish(&mut self) {
        self.shown.store(Arc::new(self.state.clone()));
    }

    fn deliver(&mut self) -> Option<BoxFuture<'_, ()>> {
        if self.pending.is_empty() {
            return None;
        }
        Some(Box::pin(async {
            for applied in self.pending.drain(..) {
                if !self.flags.taken.load(Ordering::Acquire) {
                    if self.sender.try_send(applied).is_err() {
                        crate::metrics::effects_dropped();
                    }
                } else if self.sender.send(applied).await.is_err() {
                    // The receiver is gone: the process is stopping.
                }
            }
        }))
    }

    fn freeze(&self) -> Freeze {
        let state = self.state.clone();
        Box::new(move |mut out| {
            codec::encode_to(&state, &mut out)
                .map(|_| ())
                .map_err(invalid)
        })
    }

    fn thaw(&self) -> Thaw {
        Box::new(|bytes| {
            let state: M = codec::decode(bytes).map_err(invalid)?;
            Ok(Box::new(state))
        })
    }

    fn replace(&mut self, state: Box<dyn Any + Send>) {
        // The box was made by `thaw` above.
        if let Ok(state) = state.downcast::<M>() {
            self.state = *state;
        }
    }
}
