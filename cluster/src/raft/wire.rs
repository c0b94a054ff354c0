//! What nodes of the consensus say to each other, as bodies of frames.

use super::types::{self, Members, TypeConfig};
use crate::codec;
use crate::wal::record::{self as own, BadRecord, Cursor};
use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, VoteRequest, VoteResponse,
};
use openraft::raft::{TransferLeaderRequest, TransferLeaderResponse};
use serde::{Deserialize, Serialize};

type Append = AppendEntriesRequest<TypeConfig>;
type Appended = StreamAppendResult<TypeConfig>;

/// Appends: `vote, maybe previous, maybe committed, count u32`, then entries as on disk, each behind its length.
pub(crate) fn put_append(append: &Append) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    own::put_vote(&types::to_vote(&append.vote), &mut out);
    own::put_maybe_log_id(
        append.prev_log_id.as_ref().map(types::to_log_id).as_ref(),
        &mut out,
    );
    own::put_maybe_log_id(
        append.leader_commit.as_ref().map(types::to_log_id).as_ref(),
        &mut out,
    );
    out.extend_from_slice(&(append.entries.len() as u32).to_le_bytes());
    for entry in &append.entries {
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        types::to_entry(entry.clone()).put(&mut out);
        let length = (out.len() - at - 4) as u32;
        out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }
    out
}

/// Reads what [`put_append`] wrote; payloads share `body`.
pub(crate) fn take_append(body: &Bytes) -> Result<Append, BadRecord> {
    let mut cursor = Cursor(body);
    let vote = types::from_vote(&cursor.vote()?);
    let prev_log_id = cursor.maybe_log_id()?.as_ref().map(types::from_log_id);
    let leader_commit = cursor.maybe_log_id()?.as_ref().map(types::from_log_id);
    let count = cursor.u32()? as usize;
    let mut entries = Vec::with_capacity(count.min(4096));
    for _ in 0..count {
        let length = cursor.u32()? as usize;
        let bytes = body.slice_ref(cursor.take(length)?);
        entries.push(types::from_entry(own::Entry::take(&bytes)?)?);
    }
    match cursor.0.is_empty() {
        true => Ok(Append {
            vote,
            prev_log_id,
            entries,
            leader_commit,
        }),
        false => Err(BadRecord("bytes left over behind an append")),
    }
}

const ACCEPTED: u8 = 0;
const CONFLICT: u8 = 1;
const HIGHER_VOTE: u8 = 2;

pub(crate) fn put_appended(appended: &Appended) -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    match appended {
        Ok(id) => {
            out.push(ACCEPTED);
            own::put_maybe_log_id(id.as_ref().map(types::to_log_id).as_ref(), &mut out);
        }
        Err(StreamAppendError::Conflict(id)) => {
            out.push(CONFLICT);
            own::put_log_id(&types::to_log_id(id), &mut out);
        }
        Err(StreamAppendError::HigherVote(vote)) => {
            out.push(HIGHER_VOTE);
            own::put_vote(&types::to_vote(vote), &mut out);
        }
    }
    out
}

pub(crate) fn take_appended(body: &[u8]) -> Result<Appended, BadRecord> {
    let mut cursor = Cursor(body);
    match cursor.u8()? {
        ACCEPTED => Ok(Ok(cursor.maybe_log_id()?.as_ref().map(types::from_log_id))),
        CONFLICT => Ok(Err(StreamAppendError::Conflict(types::from_log_id(
            &cursor.log_id()?,
        )))),
        HIGHER_VOTE => Ok(Err(StreamAppendError::HigherVote(types::from_vote(
            &cursor.vote()?,
        )))),
        _ => Err(BadRecord("unknown answer to an append")),
    }
}

/// Asks for a vote, or whether there would be one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Vote {
    vote: own::Vote,
    last: Option<own::LogId>,
    transfer: bool,
}

impl Vote {
    pub(crate) fn new(request: &VoteRequest<TypeConfig>) -> Self {
        Vote {
            vote: types::to_vote(&request.vote),
            last: request.last_log_id.as_ref().map(types::to_log_id),
            transfer: request.leadership_transfer,
        }
    }

    pub(crate) fn request(&self) -> VoteRequest<TypeConfig> {
        let last = self.last.as_ref().map(types::from_log_id);
        let mut request = VoteRequest::new(types::from_vote(&self.vote), last);
        request.leadership_transfer = self.transfer;
        request
    }
}

/// The answer to a [`Vote`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Voted {
    vote: own::Vote,
    granted: bool,
    last: Option<own::LogId>,
}

impl Voted {
    pub(crate) fn new(response: &VoteResponse<TypeConfig>) -> Self {
        Voted {
            vote: types::to_vote(&response.vote),
            granted: response.vote_granted,
            last: response.last_log_id.as_ref().map(types::to_log_id),
        }
    }

    pub(crate) fn response(&self) -> VoteResponse<TypeConfig> {
        let last = self.last.as_ref().map(types::from_log_id);
        VoteResponse::new(types::from_vote(&self.vote), last, self.granted)
    }
}

/// A leader hands over.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Transfer {
    from: own::Vote,
    to: u64,
    last: Option<own::LogId>,
}

impl Transfer {
    pub(crate) fn new(request: &TransferLeaderRequest<TypeConfig>) -> Self {
        Transfer {
            from: types::to_vote(request.from_leader()),
            to: *request.to_node_id(),
            last: request.last_log_id().map(types::to_log_id),
        }
    }

    pub(crate) fn request(&self) -> TransferLeaderRequest<TypeConfig> {
        let last = self.last.as_ref().map(types::from_log_id);
        TransferLeaderRequest::new(types::from_vote(&self.from), self.to, last)
    }
}

/// Whether a [`Transfer`] was taken up; if not, why.
pub(crate) type Transferred = Result<(), String>;

pub(crate) fn transferred(response: &TransferLeaderResponse<TypeConfig>) -> Transferred {
    response.clone().map_err(|error| error.to_string())
}

/// A snapshot is coming: `bytes` in parts, then an end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotBegin {
    /// Leader's vote.
    pub(crate) vote: own::Vote,
    /// Last entry in it.
    pub(crate) last: Option<own::LogId>,
    /// Members.
    pub(crate) members: Members,
    /// Length of the file.
    pub(crate) bytes: u64,
}

pub(crate) fn put<T: Serialize>(message: &T) -> Vec<u8> {
    codec::encode(message).expect("numbers and strings always encode")
}
