//! What nodes ask of each other beside the consensus: questions of the admin API, and records that one has missed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tandem_billing::pump::Keep;
use tandem_cluster::handle::Cluster;
use tandem_ops::switch::{self, Query, Switch};

use crate::codec;
use crate::core::Core;
use crate::strays::Errand;
use crate::strays::post::Post;

/// Wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Wait for an answer that needs work on a disk.
const WORK_WITHIN: Duration = Duration::from_secs(30);
/// Wait for the counters of a node.
const STATUS_WITHIN: Duration = Duration::from_millis(600);
/// Bytes of a part of a copied state: an answer may have 1 MiB.
const PART_BYTES: usize = 768 << 10;
/// Largest state copied.
const COPY_MAX: u64 = tandem_cluster::codec::LIMIT_BYTES as u64;

/// A question to another node. Variants are append-only, and their bytes are frozen: what is added to one is a variant
/// of its own, asked of nodes only when the cluster is at its level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    /// A [`Query`] of the admin API, as JSON: these grow with every release.
    Ops(String),
    /// Stored records, both ends included.
    Records {
        /// First.
        from: u64,
        /// Last.
        to: u64,
    },
    /// Messages of calls, to be carried out in order.
    Errands(Vec<Errand>),
    /// A part of the state at a mark, encoded.
    Copy {
        /// The mark.
        mark: u64,
        /// Bytes before the part.
        offset: u64,
    },
}

/// The answer. Likewise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// To `Ops`, as JSON.
    Ops(String),
    /// To `Records`, in order.
    Records(Vec<(u64, Vec<u8>)>),
    /// To `Errands`.
    Done,
    /// To `Copy`.
    Copy(Part),
}

/// A part of an encoded state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Index after the last entry in the state.
    pub upto: u64,
    /// Bytes of the whole.
    pub total: u64,
    /// These bytes of it.
    pub bytes: Vec<u8>,
}

/// The state at a mark as it is read by another node, part by part. One is kept at a time.
pub struct Copies {
    cluster: Cluster,
    last: tokio::sync::Mutex<Option<Encoded>>,
}

struct Encoded {
    mark: u64,
    upto: u64,
    bytes: Bytes,
}

impl Copies {
    /// Lends out what this node keeps.
    pub fn new(cluster: Cluster) -> Self {
        Copies {
            cluster,
            last: tokio::sync::Mutex::default(),
        }
    }

    async fn part(&self, mark: u64, offset: u64) -> Result<Part, String> {
        let mut last = self.last.lock().await;
        if last.as_ref().is_none_or(|kept| kept.mark != mark) {
            let (state, upto) = self
                .cluster
                .marked(mark, ANSWER_WITHIN)
                .await
                .map_err(|_| "no state is kept under that mark".to_owned())?;
            let encoded =
                tokio::task::spawn_blocking(move || tandem_cluster::codec::encode(&*state)).await;
            let bytes = encoded
                .map_err(|error| error.to_string())?
                .map_err(|error| error.to_string())?;
            *last = Some(Encoded {
                mark,
                upto,
                bytes: bytes.into(),
            });
        }
        let Some(Encoded { upto, bytes, .. }) = &*last else {
            return Err("no state is kept under that mark".to_owned());
        };
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let end = bytes.len().min(start + PART_BYTES);
        let part = Part {
            upto: *upto,
            total: bytes.len() as u64,
            bytes: bytes[start..end].to_vec(),
        };
        if end == bytes.len() {
            *last = None;
        }
        Ok(part)
    }
}

/// Answers a question that came over a link; those of the admin API only with a `switch`.
pub async fn answer<K: Keep>(
    from: u64,
    question: Bytes,
    post: Arc<Post>,
    switch: Option<Arc<dyn Switch>>,
    store: Arc<K>,
    copies: Arc<Copies>,
) -> Result<Bytes, String> {
    let answer = match codec::decode(&question) {
        None => return Err("question not understood".to_owned()),
        Some(Ask::Ops(query)) => {
            let Some(switch) = switch else {
                return Err("node has no admin api".to_owned());
            };
            let answer = match serde_json::from_str(&query) {
                Ok(query) => switch::answer(switch.as_ref(), query).await,
                Err(error) => switch::Answer::Failed(format!(
                    "its release does not know that question: {error}"
                )),
            };
            Answer::Ops(serde_json::to_string(&answer).map_err(|error| error.to_string())?)
        }
        Some(Ask::Records { from, to }) => match store.records(from, to).await {
            Ok(rows) => Answer::Records(
                rows.into_iter()
                    .map(|(seq, row)| (seq, row.to_vec()))
                    .collect(),
            ),
            Err(error) => return Err(error.to_string()),
        },
        Some(Ask::Errands(errands)) => {
            post.deliver(from, errands);
            Answer::Done
        }
        Some(Ask::Copy { mark, offset }) => Answer::Copy(copies.part(mark, offset).await?),
    };
    Ok(codec::encode(&answer).into())
}

/// Asks one node a question of the admin API; `None` when it does not answer.
pub async fn query(core: &Core, node: u64, query: Query) -> Option<switch::Answer> {
    let limit = match query {
        Query::Snapshot
        | Query::ChangeMembers(_)
        | Query::Digest { .. }
        | Query::CopyState { .. } => WORK_WITHIN,
        // A person waits for it, and a node that is stopped or cut off says nothing at all.
        Query::Status => STATUS_WITHIN,
        _ => ANSWER_WITHIN,
    };
    let question = match serde_json::to_string(&query) {
        Ok(question) => Ask::Ops(question),
        Err(error) => return Some(switch::Answer::Failed(error.to_string())),
    };
    let Answer::Ops(answer) = ask(core, node, &question, limit).await? else {
        return None;
    };
    let unread = |error: serde_json::Error| switch::Answer::Failed(error.to_string());
    Some(serde_json::from_str(&answer).unwrap_or_else(unread))
}

/// Gives one node messages to carry out, and has them back when it does not answer that it did.
pub async fn errands(
    core: &Core,
    node: u64,
    errands: Vec<Errand>,
    limit: Duration,
) -> Result<(), Vec<Errand>> {
    match ask(core, node, &Ask::Errands(errands.clone()), limit).await {
        Some(Answer::Done) => Ok(()),
        _ => Err(errands),
    }
}

/// The whole state that another node keeps under a mark, encoded, and the index after the last entry in it.
pub async fn copy(core: &Core, node: u64, mark: u64) -> Result<(Bytes, u64), String> {
    let mut whole = Vec::new();
    loop {
        let offset = whole.len() as u64;
        let answer = ask(core, node, &Ask::Copy { mark, offset }, WORK_WITHIN).await;
        let Some(Answer::Copy(part)) = answer else {
            return Err(format!("node {node} gives no copy of its state"));
        };
        if part.total > COPY_MAX {
            return Err(format!(
                "state of {} bytes is too large to copy",
                part.total
            ));
        }
        whole.extend_from_slice(&part.bytes);
        if whole.len() as u64 >= part.total {
            return Ok((whole.into(), part.upto));
        }
        if part.bytes.is_empty() {
            return Err(format!("node {node} stopped copying its state"));
        }
    }
}

/// Asks one node for stored records.
pub async fn records(core: &Core, node: u64, from: u64, to: u64) -> Option<Vec<(u64, Bytes)>> {
    match ask(core, node, &Ask::Records { from, to }, WORK_WITHIN).await? {
        Answer::Records(rows) => Some(
            rows.into_iter()
                .map(|(seq, row)| (seq, Bytes::from(row)))
                .collect(),
        ),
        _ => None,
    }
}

async fn ask(core: &Core, node: u64, ask: &Ask, limit: Duration) -> Option<Answer> {
    match core
        .cluster
        .peer_request(node, codec::encode(ask).into(), limit)
        .await
    {
        Ok(bytes) => codec::decode(&bytes),
        Err(error) => {
            tracing::debug!(node, %error, "peer does not answer");
            None
        }
    }
}
