//! What nodes ask of each other beside the consensus: questions of the admin API, and records that one has missed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tandem_billing::Store;
use tandem_ops::switch::{self, Query, Switch};

use crate::codec;
use crate::core::Core;
use crate::strays::Errand;
use crate::strays::post::Post;

/// Wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Wait for an answer that needs work on a disk.
const WORK_WITHIN: Duration = Duration::from_secs(30);

/// A question to another node. Variants are append-only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Ask {
    /// Of the admin API.
    Ops(Query),
    /// Stored records, both ends included.
    Records {
        /// First.
        from: u64,
        /// Last.
        to: u64,
    },
    /// Messages of calls, to be carried out in order.
    Errands(Vec<Errand>),
}

/// The answer. Variants are append-only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// To `Ops`.
    Ops(switch::Answer),
    /// To `Records`, in order.
    Records(Vec<(u64, Vec<u8>)>),
    /// To `Errands`.
    Done,
}

/// Answers a question that came over a link.
pub async fn answer(
    from: u64,
    question: Bytes,
    post: Arc<Post>,
    switch: Arc<dyn Switch>,
    store: Arc<Store>,
) -> Result<Bytes, String> {
    let answer = match codec::decode(&question) {
        None => return Err("question not understood".to_owned()),
        Some(Ask::Ops(query)) => Answer::Ops(switch::answer(switch.as_ref(), query).await),
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
    };
    Ok(codec::encode(&answer).into())
}

/// Asks one node a question of the admin API; `None` when it does not answer.
pub async fn query(core: &Core, node: u64, query: Query) -> Option<switch::Answer> {
    let limit = match query {
        Query::Snapshot | Query::ChangeMembers(_) => WORK_WITHIN,
        _ => ANSWER_WITHIN,
    };
    match ask(core, node, &Ask::Ops(query), limit).await? {
        Answer::Ops(answer) => Some(answer),
        _ => None,
    }
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
