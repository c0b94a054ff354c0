//! The asking side of the consensus: appends as a pipeline, votes, snapshots, transfers.

use super::snapshot::SnapshotFile;
use super::types::{self, LogId, TypeConfig, Vote};
use super::wire;
use crate::codec;
use crate::link::{
    ANSWER_LIMIT, Channel, Connection, Dialer, Frame, LinkError, Roster, kind, outdated,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, SinkExt, Stream, StreamExt};
use openraft::OptionalSend;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::impls::BasicNode;
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

type Rpc<T> = Result<T, RPCError<TypeConfig>>;
type Append = AppendEntriesRequest<TypeConfig>;
type Appended = StreamAppendResult<TypeConfig>;

/// Appends that may be on their way to one follower.
const PIPELINE: usize = 64;
/// Word of a commit alone waits so long for entries to travel with: it spares two messages and two wake-ups for each
/// follower and entry. What the proposer gets does not wait for it; only the followers' own states lag by as much.
const COMMIT_WAIT: Duration = Duration::from_millis(20);
/// Part of a snapshot in one frame.
const PART_BYTES: usize = 1 << 20;
/// Longest time a peer may take to install a snapshot it has received.
const INSTALL_LIMIT: Duration = Duration::from_secs(60);
/// It says all the while that it is at it, and counts as gone when it has said nothing for so long: a machine that lost
/// its power would otherwise get nothing until the whole limit is over, long after it is back.
const INSTALL_SILENCE: Duration = Duration::from_secs(3);

/// Makes a [`Network`] for each peer and purpose. Where a peer is, the roster knows: what this node's configuration
/// says counts beside what the log remembers, so that a cluster may move while it is down.
pub(crate) struct Networks {
    pub(crate) roster: Arc<Roster>,
}

impl Networks {
    fn network(&self, target: u64, channel: Channel) -> Network {
        Network {
            dialer: Dialer::new(self.roster.clone(), target),
            channel,
            connection: None,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Networks {
    type Network = Network;

    async fn new_client(&mut self, target: u64, _: &BasicNode) -> Network {
        self.network(target, Channel::Append)
    }

    async fn new_heartbeat_client(&mut self, target: u64, _: &BasicNode) -> Network {
        self.network(target, Channel::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, _: &BasicNode) -> Network {
        self.network(target, Channel::Snapshot)
    }
}

/// Asks one peer.
pub(crate) struct Network {
    dialer: Dialer,
    /// What streams of appends travel on.
    channel: Channel,
    /// Kept between streams that ended with nothing owed.
    connection: Option<Connection>,
}

/// A peer that cannot be reached is asked again after the library's back-off, one that failed otherwise at once.
fn unreachable(error: LinkError) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::new(&error))
}

fn failed(error: impl Into<LinkError>) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::new(&error.into()))
}

impl Network {
    /// One question on a control connection of its own: votes are rare.
    async fn ask(&self, kind: u8, body: Vec<u8>, answer: u8) -> Rpc<Bytes> {
        let mut connection = self
            .dialer
            .dial(Channel::Control)
            .await
            .map_err(unreachable)?;
        let frame = connection
            .ask(self.dialer.node, Frame::new(kind, body))
            .await
            .map_err(unreachable)?;
        match frame.kind == answer {
            true => Ok(frame.body),
            false => Err(failed(LinkError::Protocol("answer of another kind"))),
        }
    }

    async fn ask_vote(
        &self,
        kind: u8,
        request: VoteRequest<TypeConfig>,
    ) -> Rpc<VoteResponse<TypeConfig>> {
        let body = self
            .ask(
                kind,
                wire::put(&wire::Vote::new(&request)),
                kind::VOTE_ANSWER,
            )
            .await?;
        let voted: wire::Voted = codec::decode(&body)
            .map_err(|_| failed(LinkError::Protocol("vote's answer cannot be read")))?;
        Ok(voted.response())
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotFile>,
    ) -> Rpc<Vote> {
        let node = self.dialer.node;
        let mut connection = self
            .dialer
            .dial(Channel::Snapshot)
            .await
            .map_err(unreachable)?;
        let file = snapshot.snapshot;
        let begin = wire::SnapshotBegin {
            vote: types::to_vote(&vote),
            last: snapshot.meta.last_log_id.as_ref().map(types::to_log_id),
            members: types::to_members(&snapshot.meta.last_membership),
            bytes: file.bytes,
        };
        tracing::info!(peer = node, bytes = file.bytes, "sending a snapshot");
        let mut next = Frame::new(kind::SNAPSHOT, wire::put(&begin));
        let mut offset = 0;
        loop {
            let last = next.kind == kind::SNAPSHOT_END;
            timeout(ANSWER_LIMIT, connection.writer.send(next))
                .await
                .map_err(|_| unreachable(LinkError::Overdue { node }))?
                .map_err(failed)?;
            if last {
                break;
            }
            let part = (file.bytes - offset).min(PART_BYTES as u64) as usize;
            next = match part {
                0 => Frame::new(kind::SNAPSHOT_END, Bytes::new()),
                _ => {
                    let mut bytes = vec![0; part];
                    file.read_at(offset, &mut bytes).map_err(failed)?;
                    Frame::new(kind::SNAPSHOT_PART, bytes)
                }
            };
            offset += part as u64;
        }
        let installed = async {
            loop {
                match timeout(INSTALL_SILENCE, connection.next()).await {
                    Ok(Ok(word)) if word.kind == kind::SNAPSHOT_WAIT => {}
                    Ok(answer) => return answer.map_err(failed),
                    Err(_) => return Err(unreachable(LinkError::Overdue { node })),
                }
            }
        };
        let answer = timeout(INSTALL_LIMIT, installed)
            .await
            .map_err(|_| unreachable(LinkError::Overdue { node }))??;
        match (answer.kind, codec::decode(&answer.body)) {
            (kind::SNAPSHOT_ANSWER, Ok(vote)) => Ok(types::from_vote(&vote)),
            _ => Err(failed(LinkError::Protocol(
                "snapshot's answer cannot be read",
            ))),
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Network {
    type SnapshotData = SnapshotFile;

    /// Only streams are used.
    async fn append_entries(
        &mut self,
        rpc: Append,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<TypeConfig>> {
        let input = Box::pin(futures::stream::once(async { rpc }));
        let mut output = self.stream_append(input, option).await?;
        match output.next().await {
            Some(appended) => appended.map(AppendEntriesResponse::from),
            None => Err(failed(LinkError::Protocol("no answer to an append"))),
        }
    }

    /// A stream of its own for each call, on a connection that outlives it.
    ///
    /// The first request is polled before anything is dialled: the library sleeps its back-off inside that poll, and
    /// an error before it would be repeated at once, without end.
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Rpc<BoxStream<'s, Rpc<Appended>>>>
    where
        S: Stream<Item = Append> + OptionalSend + Unpin + 'static,
    {
        let session = Session {
            network: self,
            input: Some(input),
            connection: None,
            owed: VecDeque::new(),
            held: None,
            last_sent: None,
            answered: false,
            alarm: Box::pin(sleep_until(Instant::now() + ANSWER_LIMIT)),
        };
        let output = futures::stream::unfold(Some(session), |session| async move {
            let mut session = session?;
            match session.step().await {
                Ok(Some(appended)) => {
                    let more = appended.is_ok().then_some(session);
                    Some((Ok(appended), more))
                }
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        let output: BoxStream<'s, Rpc<Appended>> = Box::pin(output);
        Box::pin(std::future::ready(Ok(output)))
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        _: RPCOption,
    ) -> Rpc<VoteResponse<TypeConfig>> {
        self.ask_vote(kind::VOTE, rpc).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        _: RPCOption,
    ) -> Rpc<VoteResponse<TypeConfig>> {
        self.ask_vote(kind::PRE_VOTE, rpc).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(vote, snapshot) => Ok(SnapshotResponse::new(sent?)),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        _: RPCOption,
    ) -> Rpc<TransferLeaderResponse<TypeConfig>> {
        let body = wire::put(&wire::Transfer::new(&req));
        let answer = self
            .ask(kind::TRANSFER, body, kind::TRANSFER_ANSWER)
            .await?;
        let outcome: wire::Transferred = codec::decode(&answer)
            .map_err(|_| failed(LinkError::Protocol("transfer's answer cannot be read")))?;
        match outcome {
            Ok(()) => Ok(Ok(())),
            Err(reason) => Err(RPCError::Network(NetworkError::from_string(reason))),
        }
    }
}

/// One stream of appends.
struct Session<'s, S> {
    network: &'s mut Network,
    /// `None` when the library has nothing more to send.
    input: Option<S>,
    connection: Option<Connection>,
    /// When each frame was sent that is not answered yet.
    owed: VecDeque<Instant>,
    /// Word of a commit that waits for company, and until when. It needs no answer of its own: the library goes by
    /// the entries an answer names, not by the number of answers.
    held: Option<(Append, Instant)>,
    /// Last entry sent.
    last_sent: Option<LogId>,
    /// The peer has taken something in this stream.
    answered: bool,
    /// Rings when the oldest frame owed may be overdue, or when the held word has waited long enough.
    alarm: Pin<Box<Sleep>>,
}

impl<S: Stream<Item = Append> + Unpin> Session<'_, S> {
    /// The next answer; `None` at the orderly end.
    async fn step(&mut self) -> Rpc<Option<Appended>> {
        if self.connection.is_none() {
            let Some(first) = self.next_input().await else {
                return Ok(None);
            };
            // A connection kept from an earlier stream may be dead by now: then it has something to read.
            let mut kept = self.network.connection.take();
            if kept.as_mut().is_some_and(|kept| {
                kept.is_outdated() || kept.reader.next().now_or_never().is_some()
            }) {
                kept = None;
            }
            let connection = match kept {
                Some(kept) => kept,
                None => self
                    .network
                    .dialer
                    .dial(self.network.channel)
                    .await
                    .map_err(unreachable)?,
            };
            self.connection = Some(connection);
            self.send(first).await?;
        }
        loop {
            if self.input.is_none() {
                self.send_held().await?;
            }
            let node = self.network.dialer.node;
            let Some(connection) = &mut self.connection else {
                return Err(failed(LinkError::Protocol("stream goes on after its end")));
            };
            if self.input.is_none() && self.owed.is_empty() {
                self.network.connection = self.connection.take();
                return Ok(None);
            }
            let (input, more) = (&mut self.input, self.owed.len() < PIPELINE);
            let input = async {
                match input {
                    Some(input) if more => input.next().await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                frame = connection.reader.next() => {
                    let frame = match frame {
                        Some(frame) => frame.map_err(failed)?,
                        None => return Err(failed(LinkError::Protocol("peer closed the stream"))),
                    };
                    if frame.kind != kind::APPEND_ANSWER || self.owed.pop_front().is_none() {
                        return Err(failed(LinkError::Protocol("not an answer to an append")));
                    }
                    let appended = wire::take_appended(&frame.body)
                        .map_err(|_| failed(LinkError::Protocol("append's answer cannot be read")))?;
                    self.answered = true;
                    return Ok(Some(appended));
                }
                () = outdated(&mut connection.renewed) => {
                    return Err(failed(LinkError::Protocol("certificates have changed")));
                }
                request = input => match request {
                    Some(request) => self.send(request).await?,
                    None => self.input = None,
                },
                () = self.alarm.as_mut(), if !self.owed.is_empty() || self.held.is_some() => {
                    let now = Instant::now();
                    if self.owed.front().is_some_and(|since| now >= *since + ANSWER_LIMIT) {
                        return Err(unreachable(LinkError::Overdue { node }));
                    }
                    if self.held.as_ref().is_some_and(|(_, until)| now >= *until) {
                        self.send_held().await?;
                    }
                    self.set_alarm();
                }
            }
        }
    }

    fn set_alarm(&mut self) {
        let owed = self.owed.front().map(|since| *since + ANSWER_LIMIT);
        let held = self.held.as_ref().map(|(_, until)| *until);
        let at = owed
            .into_iter()
            .chain(held)
            .min()
            .unwrap_or_else(|| Instant::now() + ANSWER_LIMIT);
        // A timer that rings too early costs less than one set anew for each frame.
        if at < self.alarm.deadline() || self.alarm.is_elapsed() {
            self.alarm.as_mut().reset(at);
        }
    }

    async fn next_input(&mut self) -> Option<Append> {
        let next = match &mut self.input {
            Some(input) => input.next().await,
            None => None,
        };
        if next.is_none() {
            self.input = None;
        }
        next
    }

    /// Whether a request only says that what was sent before is now committed, and may wait.
    fn may_wait(&self, append: &Append) -> bool {
        append.entries.is_empty()
            && self.answered
            && self.network.channel == Channel::Append
            && append.prev_log_id == self.last_sent
    }

    async fn send_held(&mut self) -> Rpc<()> {
        match self.held.take() {
            Some((append, _)) => self.send_all(append).await,
            None => Ok(()),
        }
    }

    /// Sends a request, with it what else the library has ready; or holds it back.
    async fn send(&mut self, append: Append) -> Rpc<()> {
        let held = self.held.take();
        if self.may_wait(&append) {
            let until = held.map_or_else(|| Instant::now() + COMMIT_WAIT, |(_, until)| until);
            self.held = Some((append, until));
            self.set_alarm();
            return Ok(());
        }
        // One that begins where the held one stands says all that it said, and newer.
        if let Some((held, _)) = held.filter(|(held, _)| held.prev_log_id != append.prev_log_id) {
            self.send_all(held).await?;
        }
        self.send_all(append).await
    }

    async fn send_all(&mut self, first: Append) -> Rpc<()> {
        let node = self.network.dialer.node;
        let Some(connection) = &mut self.connection else {
            return Err(failed(LinkError::Protocol("nothing to send on")));
        };
        let mut next = Some(first);
        let sending = async {
            while let Some(append) = next.take() {
                connection
                    .writer
                    .feed(Frame::new(kind::APPEND, wire::put_append(&append)))
                    .await?;
                self.last_sent = append
                    .entries
                    .last()
                    .map(|entry| entry.log_id)
                    .or(append.prev_log_id);
                self.owed.push_back(Instant::now());
                if self.owed.len() < PIPELINE
                    && let Some(input) = &mut self.input
                {
                    match input.next().now_or_never() {
                        Some(None) => self.input = None,
                        Some(ready) => next = ready,
                        None => {}
                    }
                }
            }
            connection.writer.flush().await
        };
        timeout(ANSWER_LIMIT, sending)
            .await
            .map_err(|_| unreachable(LinkError::Overdue { node }))?
            .map_err(failed)?;
        self.set_alarm();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
