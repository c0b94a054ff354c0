//! The answering side of the consensus, a function per kind of connection. Each returns when the connection ends.

use super::snapshot::{Store, Unfinished};
use super::types;
use super::{Raft, wire};
use crate::beside::beside;
use crate::codec;
use crate::link::{ANSWER_LIMIT, Connection, Frame, LinkError, kind};
use crate::wal::DiskFile;
use crate::wal::record::{BadRecord, Vote};
use bytes::Bytes;
use futures::{FutureExt, SinkExt, StreamExt, stream};
use openraft::type_config::alias::SnapshotOf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// While a snapshot is being installed its sender hears of it so often.
const WORD_EVERY: Duration = Duration::from_millis(500);
/// Largest snapshot taken from a peer.
const SNAPSHOT_MAX: u64 = 16 << 30;

impl From<BadRecord> for LinkError {
    fn from(BadRecord(what): BadRecord) -> Self {
        LinkError::Protocol(what)
    }
}

fn stopped(_: impl std::fmt::Display) -> LinkError {
    LinkError::Protocol("this node is stopping")
}

/// Streams of entries: requests go in as they come, answers go out in order. Ends after the first refusal, for what
/// follows it in the pipeline has become meaningless.
pub(crate) async fn appends(
    raft: &Raft,
    connection: Connection,
    touch: impl Fn() + Send + 'static,
) -> Result<(), LinkError> {
    let Connection {
        reader, mut writer, ..
    } = connection;
    let requests = stream::unfold(reader, move |mut reader| {
        touch();
        async move {
            match reader.next().await {
                Some(Ok(Frame {
                    kind: kind::APPEND,
                    body,
                })) => match wire::take_append(&body) {
                    Ok(append) => Some((append, reader)),
                    Err(error) => {
                        tracing::warn!(%error, "append cannot be read, closing the connection");
                        None
                    }
                },
                _ => None,
            }
        }
    });
    // The library polls its input once more after the end, and we may poll its answers so.
    let mut answers = std::pin::pin!(raft.stream_append(requests.fuse()).fuse());
    while let Some(answer) = answers.next().await {
        let mut next = Some(answer);
        while let Some(answer) = next.take() {
            let appended = answer.map_err(stopped)?;
            writer
                .feed(Frame::new(
                    kind::APPEND_ANSWER,
                    wire::put_appended(&appended),
                ))
                .await?;
            next = answers.next().now_or_never().flatten();
        }
        timeout(ANSWER_LIMIT, writer.flush())
            .await
            .map_err(|_| LinkError::Protocol("peer reads no answers"))??;
    }
    Ok(())
}

/// Votes, heartbeats and transfers, one after another.
pub(crate) async fn control(
    raft: &Raft,
    mut connection: Connection,
    touch: impl Fn(),
) -> Result<(), LinkError> {
    let unread = |_| LinkError::Protocol("vote cannot be read");
    while let Some(frame) = connection.reader.next().await {
        let frame = frame?;
        touch();
        let answer = match frame.kind {
            kind::APPEND => {
                let append = wire::take_append(&frame.body)?;
                let previous = append.prev_log_id;
                let last = append.entries.last().map(|entry| entry.log_id).or(previous);
                let appended = raft.append_entries(append).await.map_err(stopped)?;
                // A request without a previous entry cannot conflict.
                Frame::new(
                    kind::APPEND_ANSWER,
                    wire::put_appended(&appended.into_stream_result(previous, last)),
                )
            }
            kind::VOTE => {
                let vote: wire::Vote = codec::decode(&frame.body).map_err(unread)?;
                let voted = raft.vote(vote.request()).await.map_err(stopped)?;
                Frame::new(kind::VOTE_ANSWER, wire::put(&wire::Voted::new(&voted)))
            }
            kind::PRE_VOTE => {
                let vote: wire::Vote = codec::decode(&frame.body).map_err(unread)?;
                let voted = raft.pre_vote(vote.request()).await.map_err(stopped)?;
                Frame::new(kind::VOTE_ANSWER, wire::put(&wire::Voted::new(&voted)))
            }
            kind::TRANSFER => {
                let transfer: wire::Transfer = codec::decode(&frame.body).map_err(unread)?;
                let outcome = raft
                    .handle_transfer_leader(transfer.request())
                    .await
                    .map_err(stopped)?;
                Frame::new(
                    kind::TRANSFER_ANSWER,
                    wire::put(&wire::transferred(&outcome)),
                )
            }
            _ => return Err(LinkError::Protocol("unknown kind of frame")),
        };
        connection.writer.send(answer).await?;
    }
    Ok(())
}

/// Snapshots: a beginning, parts, an end; then it is installed and answered.
pub(crate) async fn snapshots(
    raft: &Raft,
    store: &Arc<Store>,
    mut connection: Connection,
    touch: impl Fn(),
) -> Result<(), LinkError> {
    while let Some(frame) = connection.reader.next().await {
        let frame = frame?;
        touch();
        if frame.kind != kind::SNAPSHOT {
            return Err(LinkError::Protocol("no snapshot begins"));
        }
        let begin: wire::SnapshotBegin = codec::decode(&frame.body)
            .map_err(|_| LinkError::Protocol("snapshot's beginning cannot be read"))?;
        if begin.bytes > SNAPSHOT_MAX {
            return Err(LinkError::Protocol("snapshot is larger than the cap"));
        }
        let (file, path) = store.temporary()?;
        let mut left = begin.bytes;
        loop {
            let part = timeout(ANSWER_LIMIT * 10, connection.next())
                .await
                .map_err(|_| LinkError::Protocol("snapshot stalls"))??;
            touch();
            match part.kind {
                kind::SNAPSHOT_PART if part.body.len() as u64 <= left => {
                    let (file, offset) = (file.clone(), begin.bytes - left);
                    left -= part.body.len() as u64;
                    beside(move || file.write_at(offset, &part.body)).await??;
                }
                kind::SNAPSHOT_END if left == 0 => break,
                _ => return Err(LinkError::Protocol("snapshot is not as long as announced")),
            }
        }
        // A task of its own: what is half installed must not lose its file when the connection ends.
        let installing = install(raft.clone(), store.clone(), file, path, begin);
        let mut installing = tokio::spawn(installing);
        let vote = loop {
            match timeout(WORD_EVERY, &mut installing).await {
                Ok(installed) => break installed.map_err(stopped)??,
                Err(_) => {
                    let wait = Frame::new(kind::SNAPSHOT_WAIT, Bytes::new());
                    connection.writer.send(wait).await?;
                }
            }
        };
        connection
            .writer
            .send(Frame::new(kind::SNAPSHOT_ANSWER, wire::put(&vote)))
            .await?;
    }
    Ok(())
}

/// Puts a snapshot that was received whole in place of the state; answers our vote.
async fn install(
    raft: Raft,
    store: Arc<Store>,
    file: Arc<dyn DiskFile>,
    path: Unfinished,
    begin: wire::SnapshotBegin,
) -> Result<Vote, LinkError> {
    let (snapshot, unfinished) = beside(move || {
        file.sync()?;
        store.received(&path).map(|snapshot| (snapshot, path))
    })
    .await??;
    let meta = openraft::type_config::alias::SnapshotMetaOf::<types::TypeConfig> {
        last_log_id: begin.last.as_ref().map(types::from_log_id),
        last_membership: types::from_members(&begin.members)?,
    };
    let snapshot = SnapshotOf::<types::TypeConfig, _> { meta, snapshot };
    let installed = raft
        .install_full_snapshot(types::from_vote(&begin.vote), snapshot)
        .await
        .map_err(stopped)?;
    drop(unfinished);
    Ok(types::to_vote(&installed.vote))
}
