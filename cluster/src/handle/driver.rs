//! The state behind the consensus: decodes commands, applies them, shows the result, hands effects out.

use super::board::Board;
use super::effects::{self, Applied, Inlet, Outlet};
use crate::codec;
use crate::command::{Biller, Command, Effect, Raise, Reply};
use crate::level::{FIRST, Level, Levels};
use crate::raft::batch::Batch;
use crate::raft::machine::{Driver, Freeze, Thaw};
use crate::state::State;
use crate::wal::record::LogId;
use bytes::Bytes;
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

/// A replicated state. Cloning must be cheap: readers are given clones, some hundred a second.
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
    /// Where this state has the cluster's level.
    fn levels(&self) -> Levels {
        Levels::default()
    }
    /// The lowest level that reads this encoded command.
    fn needs(_encoded: &[u8]) -> Level {
        FIRST
    }
    /// The command that raises the cluster's level, told which level each member speaks; `None` where that never rises.
    fn raise(_to: Level, _members: Vec<(u64, Level)>) -> Option<Self::Command> {
        None
    }
    /// Whether this effect is of the one kind of which only the latest counts. Such are held back for up to 20 ms, to
    /// spare their receiver those between.
    fn only_latest(_effect: &Self::Effect) -> bool {
        false
    }
    /// The id of a mark, if this command is one: the state behind its entry is then kept for a while, see
    /// [`Handle::marked`](super::Handle::marked).
    fn mark(_command: &Self::Command) -> Option<u64> {
        None
    }
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

    fn levels(&self) -> Levels {
        State::levels(self)
    }

    fn needs(encoded: &[u8]) -> Level {
        Command::needs(encoded)
    }

    fn raise(level: Level, members: Vec<(u64, Level)>) -> Option<Command> {
        Some(Command::Raise(Raise { level, members }))
    }

    fn only_latest(effect: &Effect) -> bool {
        matches!(effect, Effect::Outbox { .. })
    }

    fn mark(command: &Command) -> Option<u64> {
        match command {
            Command::Mark { id } => Some(*id),
            _ => None,
        }
    }
}

/// The state and its surroundings.
pub(crate) struct Applier<M: Machine> {
    board: Arc<Board<M>>,
    context: Arc<M::Context>,
    pending: Vec<Applied<M::Effect>>,
    inlet: Inlet<M::Effect>,
}

/// The applying end and the end that effects come out of.
pub(crate) fn pair<M: Machine>(
    context: Arc<M::Context>,
    board: Arc<Board<M>>,
) -> (Applier<M>, Outlet<M::Effect>) {
    let shown = board.clone();
    let (inlet, outlet) = effects::channel(Arc::new(move |index| shown.show_upto(index + 1)));
    let applier = Applier {
        board,
        context,
        pending: Vec::new(),
        inlet,
    };
    (applier, outlet)
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

impl<M: Machine> Applier<M> {
    /// A committed command. One that cannot be read was written by a newer release: to skip it would let the states of
    /// the nodes part.
    fn command(id: LogId, nth: u64, bytes: &Bytes) -> io::Result<M::Command> {
        codec::decode(bytes)
            .map_err(|error| invalid(format!("command {nth} of entry {id}: {error}")))
    }
}

impl<M: Machine> Driver for Applier<M> {
    fn apply(&mut self, id: LogId, batch: Batch, answer: bool) -> io::Result<Vec<Bytes>> {
        let mut replies = Vec::with_capacity(if answer { batch.commands.len() } else { 0 });
        let mut effects = Vec::new();
        let mut mark = None;
        let mut live = self.board.live();
        for (nth, bytes) in (0..).zip(&batch.commands) {
            let command = Self::command(id, nth, bytes)?;
            mark = M::mark(&command).or(mark);
            let (reply, more) =
                live.state
                    .apply_one(batch.at, seed_of(batch.seed, nth), &command, &self.context);
            effects.extend(more);
            if answer {
                replies.push(codec::encode(&reply).map_err(invalid)?.into());
            }
        }
        live.upto = id.index + 1;
        if let Some(mark) = mark {
            self.board.mark(mark, live.state.clone(), live.upto);
        }
        drop(live);
        if !effects.is_empty() && self.inlet.is_live() {
            self.pending.push(Applied {
                index: id.index,
                at: batch.at,
                leader: id.node,
                effects,
            });
        }
        Ok(replies)
    }

    fn levels(&self) -> Levels {
        self.board.live().state.levels()
    }

    fn set_voters(&mut self, voters: BTreeSet<u64>) {
        self.board.live().state.set_voters(voters);
    }

    fn applied(&mut self, upto: u64) {
        self.board.applied(upto);
    }

    fn deliver(&mut self) -> Option<BoxFuture<'_, ()>> {
        let lazy = |applied: &Applied<M::Effect>| applied.effects.iter().all(M::only_latest);
        if self.pending.iter().all(lazy) {
            if let Some(applied) = self.pending.pop() {
                self.inlet.hold(applied);
            }
            self.pending.clear();
            return None;
        }
        Some(Box::pin(async {
            for applied in self.pending.drain(..) {
                self.inlet.send(applied).await;
            }
        }))
    }

    fn freeze(&self) -> Freeze {
        let state = self.board.live().state.clone();
        Box::new(move |mut out| {
            let written = codec::encode_to(&state, &mut out);
            written.map(|_| ()).map_err(|error| match error.io() {
                // What the disk says is told from what the state says: a full one is waited for.
                Some(kind) => io::Error::new(kind, error),
                None => invalid(error),
            })
        })
    }

    fn thaw(&self) -> Thaw {
        Box::new(|bytes| {
            let state: M = codec::decode(bytes).map_err(invalid)?;
            Ok(Box::new(state))
        })
    }

    fn replay(&self, state: &mut (dyn Any + Send), id: LogId, batch: Batch) -> io::Result<()> {
        let state = state
            .downcast_mut::<M>()
            .ok_or_else(|| invalid("state of another type"))?;
        for (nth, bytes) in (0..).zip(&batch.commands) {
            let command = Self::command(id, nth, bytes)?;
            // Replies and effects were given when the entry was applied first.
            state.apply_one(batch.at, seed_of(batch.seed, nth), &command, &self.context);
        }
        Ok(())
    }

    fn replay_voters(&self, state: &mut (dyn Any + Send), voters: BTreeSet<u64>) {
        if let Some(state) = state.downcast_mut::<M>() {
            state.set_voters(voters);
        }
    }

    fn replace(&mut self, state: Box<dyn Any + Send>, upto: u64) {
        // The box was made by `thaw` above.
        if let Ok(state) = state.downcast::<M>() {
            self.board.replace(*state, upto);
        }
    }
}
