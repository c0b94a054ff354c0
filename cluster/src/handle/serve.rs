//! What nodes ask each other beside the consensus, and how this node answers.
//!
//! A question is `[tag u8] content`. Answers to forwarded batches: `[index u64]` and the list of replies.

use super::Role;
use super::confirm::{self, Rank};
use super::core::{Shared, Standing};
use crate::level::Level;
use crate::link::Channel;
use crate::link::{
    ANSWER_LIMIT, Connection, Frame, Hello, LinkError, Listener, Response, Socket, accept,
    outdated, response, take_request,
};
use crate::raft::batch::{put_list, take_list};
use crate::raft::snapshot::Store;
use crate::raft::{Raft, serve};
use crate::wal::record::Cursor;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, SinkExt, StreamExt};
use openraft::async_runtime::watch::WatchReceiver;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

const FORWARD: u8 = 1;
const READ_INDEX: u8 = 2;
const PING: u8 = 3;
const PEER: u8 = 4;
const ABOUT: u8 = 5;
const VOTE: u8 = 6;

/// Questions of one node answered at once.
const ANSWERING_MAX: usize = 64;
/// Largest question or answer between handlers.
pub(crate) const PEER_BYTES: usize = 1 << 20;
/// Connections held open by others, at most.
const CONNECTIONS_MAX: usize = 256;

/// Asks the leader to propose commands.
pub(crate) fn forward<'a>(commands: impl Iterator<Item = &'a Bytes> + Clone) -> Bytes {
    let mut out = vec![FORWARD];
    put_list(commands, &mut out);
    out.into()
}

pub(crate) fn put_forwarded(index: u64, replies: &[Bytes]) -> Bytes {
    let mut out = index.to_le_bytes().to_vec();
    put_list(replies.iter(), &mut out);
    out.into()
}

/// Reads the leader's answer.
pub(crate) fn take_forwarded(answer: &Bytes) -> Option<(u64, Vec<Bytes>)> {
    let index = take_index(answer)?;
    Some((index, take_list(&answer.slice(8..)).ok()?))
}

/// Asks the leader how far a reader must have applied.
pub(crate) fn read_index() -> Bytes {
    Bytes::from_static(&[READ_INDEX])
}

/// Asks a node how far it has applied, and what its clock shows.
pub(crate) fn ping() -> Bytes {
    Bytes::from_static(&[PING])
}

/// Asks a node how much log it has.
pub(crate) fn about() -> Bytes {
    Bytes::from_static(&[ABOUT])
}

/// Asks a node for its vote.
pub(crate) fn vote() -> Bytes {
    Bytes::from_static(&[VOTE])
}

/// Answers with a vote: `[term u64][node u64]`.
pub(crate) fn put_vote((term, node): Rank) -> Bytes {
    [term.to_le_bytes(), node.to_le_bytes()].concat().into()
}

/// Reads a vote.
pub(crate) fn take_vote(answer: &[u8]) -> Option<Rank> {
    let mut answer = Cursor(answer);
    Some((answer.u64().ok()?, answer.u64().ok()?))
}

/// Answers a ping: `[applied u64][clock u64][level u8]`. What a newer release adds stands behind that, and who does not
/// know it does not read it.
pub(crate) fn pong(applied: u64, wall_ms: u64, spoken: Level) -> Bytes {
    let mut out = Vec::with_capacity(17);
    out.extend_from_slice(&applied.to_le_bytes());
    out.extend_from_slice(&wall_ms.to_le_bytes());
    out.push(spoken);
    out.into()
}

/// The level in the answer to a ping: the highest one that the node speaks.
pub(crate) fn take_level(answer: &[u8]) -> Option<Level> {
    answer.get(16).copied()
}

/// The clock in the answer to a ping, milliseconds since 1970.
pub(crate) fn take_clock(answer: &[u8]) -> Option<u64> {
    Cursor(answer.get(8..)?).u64().ok()
}

/// An index in an answer.
pub(crate) fn take_index(answer: &[u8]) -> Option<u64> {
    Cursor(answer).u64().ok()
}

/// Asks a node's handler.
pub(crate) fn peer(question: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(1 + question.len());
    out.push(PEER);
    out.extend_from_slice(question);
    out.into()
}

/// Everything a connection may need.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) raft: Raft,
    pub(crate) store: Arc<Store>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) standing: watch::Receiver<Standing>,
}

impl Server {
    /// Accepts connections until the runtime stops.
    pub(crate) async fn listen(self, mut listener: Listener) {
        let slots = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((socket, from)) => {
                    let server = self.clone();
                    tokio::spawn(async move {
                        if let Err(error) = server.connection(socket).await {
                            match error {
                                LinkError::Rejected { reason, .. } => {
                                    tracing::warn!(%from, reason, "rejected a node's connection");
                                }
                                LinkError::Protocol(_) => {
                                    tracing::info!(%from, %error, "closed a node's connection")
                                }
                                error => {
                                    tracing::debug!(%from, %error, "a node's connection ended")
                                }
                            }
                        }
                        drop(slot);
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: wait for some to come back.
                    tracing::warn!(%error, "cannot accept a node's connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn connection(self, socket: Socket) -> Result<(), LinkError> {
        let (mut connection, Hello { from, channel, .. }) =
            accept(socket, &self.shared.roster).await?;
        let shared = self.shared.clone();
        let touch = move || shared.touch(from);
        touch();
        let mut renewed = connection.renewed.take();
        let serving = async {
            match channel {
                Channel::Append => serve::appends(&self.raft, connection, touch).await,
                Channel::Control => serve::control(&self.raft, connection, touch).await,
                Channel::Snapshot => {
                    serve::snapshots(&self.raft, &self.store, connection, touch).await
                }
                Channel::Request => self.requests(from, connection).await,
            }
        };
        tokio::select! {
            served = serving => served,
            // The other side makes it anew, and asks again what was not answered.
            () = outdated(&mut renewed) => Ok(()),
        }
    }

    /// Answers questions as their answers become ready.
    async fn requests(&self, from: u64, mut connection: Connection) -> Result<(), LinkError> {
        let mut answers: FuturesUnordered<BoxFuture<'_, (u64, Response)>> = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some((id, answer)) = answers.next() => {
                    let mut next = Some((id, answer));
                    let sending = async {
                        while let Some((id, answer)) = next.take() {
                            connection.writer.feed(response(id, answer)).await?;
                            next = answers.next().now_or_never().flatten();
                        }
                        connection.writer.flush().await
                    };
                    timeout(ANSWER_LIMIT, sending).await.map_err(|_| LinkError::Protocol("peer reads no answers"))??;
                }
                frame = connection.reader.next(), if answers.len() < ANSWERING_MAX => {
                    let Some(frame) = frame else { return Ok(()) };
                    let frame: Frame = frame?;
                    if self.shared.roster.is_former(from) {
                        // It learns that it was removed when it dials again.
                        return Err(LinkError::Protocol("node was removed"));
                    }
                    self.shared.touch(from);
                    let (id, question) = take_request(&frame)?;
                    answers.push(Box::pin(async move { (id, self.answer(from, question).await) }));
                }
            }
        }
    }

    async fn answer(&self, from: u64, question: Bytes) -> Response {
        let tag = question.first().copied();
        let content = question.slice(question.len().min(1)..);
        match tag {
            Some(FORWARD) => {
                let commands = take_list(&content).map_err(|error| error.to_string())?;
                if self.standing.borrow().role != Role::Leader {
                    return Err("not leader".into());
                }
                let replies = self
                    .shared
                    .queue
                    .forwarded(commands)
                    .map_err(|error| error.to_string())?;
                let (index, replies) = replies
                    .await
                    .map_err(|_| "leader is stopping".to_owned())??;
                Ok(put_forwarded(index, &replies))
            }
            Some(READ_INDEX) => {
                let index = confirm::read_index(&self.raft, &self.shared).await;
                let index = index.map_err(|error| error.to_string())?;
                Ok(Bytes::copy_from_slice(&index.to_le_bytes()))
            }
            Some(VOTE) => {
                let vote = confirm::voted(&self.raft).await;
                vote.map(put_vote).map_err(|error| error.to_string())
            }
            Some(PING) => Ok(pong(
                *self.shared.progress.applied.borrow(),
                (self.shared.wall)(),
                self.shared.progress.spoken,
            )),
            Some(ABOUT) => {
                let last = self.raft.metrics().borrow_watched().last_log_index;
                let entries = last.map_or(0, |index| index + 1);
                Ok(Bytes::copy_from_slice(&entries.to_le_bytes()))
            }
            Some(PEER) => {
                let handler = self
                    .shared
                    .handler()
                    .ok_or("node answers no questions yet")?;
                // A task of its own: a handler that panics takes only its answer along.
                let answer = tokio::spawn(async move { handler(from, content).await });
                let answer = answer.await.map_err(|_| "handler failed".to_owned())??;
                match answer.len() <= PEER_BYTES {
                    true => Ok(answer),
                    false => Err("answer is too large".into()),
                }
            }
            _ => Err("unknown question".into()),
        }
    }
}
