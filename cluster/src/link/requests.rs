//! The client of the request connection: many questions at once, each with an answer in time or an error.

use super::connection::{Connection, Dialer, outdated};
use super::frame::{Frame, kind};
use super::{ANSWER_LIMIT, Channel, LinkError};
use crate::wal::record::{BadRecord, Cursor};
use bytes::{BufMut, Bytes, BytesMut};
use futures::{FutureExt, SinkExt, StreamExt};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Questions that may wait for a connection or an answer.
const WAITING_MAX: usize = 1024;
/// After a failed dial questions are answered with an error at once for this long.
const REST: Duration = Duration::from_millis(100);

/// Why a question has no answer. The other side may have acted on it all the same, unless it was never sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It was not sent: the node cannot be reached or too many wait.
    #[error("node {0} cannot be reached")]
    NotSent(u64),
    /// No answer came; whether the other side acted is not known.
    #[error("node {0} gave no answer")]
    NoAnswer(u64),
    /// The other side refused, with its reason.
    #[error("node {node} refused: {reason}")]
    Refused {
        /// Which.
        node: u64,
        /// Why.
        reason: String,
    },
}

/// A question on its way.
pub(crate) struct Ask {
    /// What is asked: read by the other side.
    pub(crate) body: Bytes,
    /// Longest wait for the answer, at most.
    pub(crate) limit: Duration,
    answer: oneshot::Sender<Result<Bytes, RequestError>>,
}

/// The other side's answer to a question.
pub(crate) type Response = Result<Bytes, String>;

/// A handle to one peer's request connection. The connection is made when there is something to ask.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) node: u64,
    asks: mpsc::Sender<Ask>,
}

impl Peer {
    /// Starts the task that keeps the connection.
    pub(crate) fn start(dialer: Dialer) -> Peer {
        let (asks, queue) = mpsc::channel(WAITING_MAX);
        let node = dialer.node;
        tokio::spawn(
            Keeper {
                dialer,
                queue,
                last: 0,
                rest_until: None,
            }
            .run(),
        );
        Peer { node, asks }
    }

    /// Asks and waits for the answer, at most `limit`.
    pub(crate) async fn ask(&self, body: Bytes, limit: Duration) -> Result<Bytes, RequestError> {
        let (answer, reply) = oneshot::channel();
        if self
            .asks
            .try_send(Ask {
                body,
                limit,
                answer,
            })
            .is_err()
        {
            return Err(RequestError::NotSent(self.node));
        }
        reply
            .await
            .unwrap_or(Err(RequestError::NoAnswer(self.node)))
    }
}

struct Keeper {
    dialer: Dialer,
    queue: mpsc::Receiver<Ask>,
    last: u64,
    rest_until: Option<Instant>,
}

struct Pending {
    answer: oneshot::Sender<Result<Bytes, RequestError>>,
    deadline: Instant,
}

impl Keeper {
    /// Ends with the last handle.
    async fn run(mut self) {
        while let Some(ask) = self.queue.recv().await {
            let node = self.dialer.node;
            if self.rest_until.is_some_and(|until| Instant::now() < until) {
                let _ = ask.answer.send(Err(RequestError::NotSent(node)));
                continue;
            }
            match self.dialer.dial(Channel::Request).await {
                Ok(connection) => {
                    self.rest_until = None;
                    let mut pending = BTreeMap::new();
                    let ended = self.serve(connection, ask, &mut pending).await;
                    for (_, waiting) in pending {
                        let _ = waiting.answer.send(Err(RequestError::NoAnswer(node)));
                    }
                    match ended {
                        Ok(()) => return,
                        Err(error) => tracing::debug!(peer = node, %error, "request link ended"),
                    }
                }
                Err(error) => {
                    tracing::debug!(peer = node, %error, "request link cannot be made");
                    let _ = ask.answer.send(Err(RequestError::NotSent(node)));
                    self.rest_until = Some(Instant::now() + REST);
                }
            }
        }
    }

    async fn serve(
        &mut self,
        mut connection: Connection,
        first: Ask,
        pending: &mut BTreeMap<u64, Pending>,
    ) -> Result<(), LinkError> {
        let node = self.dialer.node;
        self.send(&mut connection, first, pending).await?;
        connection.writer.flush().await?;
        let mut tick = interval(ANSWER_LIMIT / 4);
        // Looked at only while something is owed: what was missed before does not matter.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // With other certificates in force nothing more is asked here; what was asked is still answered.
        let mut last = false;
        loop {
            if last && pending.is_empty() {
                return Err(LinkError::Protocol("certificates have changed"));
            }
            tokio::select! {
                biased;
                frame = connection.reader.next() => {
                    let Some(frame) = frame else { return Err(LinkError::Protocol("peer closed")) };
                    let frame = frame?;
                    let (id, response) = take_response(&frame).ok_or(LinkError::Protocol("no response"))?;
                    if let Some(waiting) = pending.remove(&id) {
                        let outcome = response.map_err(|reason| RequestError::Refused { node, reason });
                        let _ = waiting.answer.send(outcome);
                    }
                }
                () = outdated(&mut connection.renewed), if !last => last = true,
                ask = self.queue.recv(), if !last => {
                    let Some(ask) = ask else { return Ok(()) };
                    self.send(&mut connection, ask, pending).await?;
                    // What else waits goes out in the same write.
                    while let Some(Some(ask)) = self.queue.recv().now_or_never() {
                        self.send(&mut connection, ask, pending).await?;
                    }
                    connection.writer.flush().await?;
                }
                _ = tick.tick(), if !pending.is_empty() => {
                    let now = Instant::now();
                    let late: Vec<u64> =
                        pending.iter().filter(|(_, p)| p.deadline <= now).map(|(id, _)| *id).collect();
                    for id in late {
                        if let Some(waiting) = pending.remove(&id) {
                            let _ = waiting.answer.send(Err(RequestError::NoAnswer(node)));
                        }
                    }
                }
            }
        }
    }

    async fn send(
        &mut self,
        connection: &mut Connection,
        ask: Ask,
        pending: &mut BTreeMap<u64, Pending>,
    ) -> Result<(), LinkError> {
        if pending.len() >= WAITING_MAX {
            let _ = ask
                .answer
                .send(Err(RequestError::NotSent(self.dialer.node)));
            return Ok(());
        }
        self.last += 1;
        pending.insert(
            self.last,
            Pending {
                answer: ask.answer,
                deadline: Instant::now() + ask.limit,
            },
        );
        let mut body = BytesMut::with_capacity(8 + ask.body.len());
        body.put_u64_le(self.last);
        body.put_slice(&ask.body);
        // A peer that does not read must not hold us for ever.
        match tokio::time::timeout(
            ANSWER_LIMIT,
            connection.writer.feed(Frame::new(kind::REQUEST, body)),
        )
        .await
        {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(LinkError::Overdue {
                node: self.dialer.node,
            }),
        }
    }
}

const OK: u8 = 0;
const REFUSED: u8 = 1;

fn take_response(frame: &Frame) -> Option<(u64, Response)> {
    if frame.kind != kind::RESPONSE {
        return None;
    }
    let mut cursor = Cursor(&frame.body);
    let id = cursor.u64().ok()?;
    let tag = cursor.u8().ok()?;
    let rest = frame.body.slice(9..);
    match tag {
        OK => Some((id, Ok(rest))),
        REFUSED => Some((
            id,
            Err(String::from_utf8_lossy(&rest).chars().take(500).collect()),
        )),
        _ => None,
    }
}

/// The id and content of a question.
pub(crate) fn take_request(frame: &Frame) -> Result<(u64, Bytes), BadRecord> {
    if frame.kind != kind::REQUEST {
        return Err(BadRecord("no request"));
    }
    let id = Cursor(&frame.body).u64()?;
    Ok((id, frame.body.slice(8..)))
}

/// The frame that answers question `id`.
pub(crate) fn response(id: u64, response: Response) -> Frame {
    let (tag, content) = match response {
        Ok(content) => (OK, content),
        Err(reason) => (REFUSED, Bytes::from(reason)),
    };
    let mut body = BytesMut::with_capacity(9 + content.len());
    body.put_u64_le(id);
    body.put_u8(tag);
    body.put_slice(&content);
    Frame::new(kind::RESPONSE, body)
}
