//! What the log carries. Beside it in `command/`: the commands of a call, replies and effects, and
//! what a call is charged for.
//!
//! Commands are idempotent by the ids they carry, so a proposer whose answer was lost proposes the same bytes again
//! and gets the same reply. Variants are append-only: their order is their encoding.

mod calls;
mod reply;
mod usage;

pub use calls::{
    Answered, Borrow, Bound, End, EndReason, EndedBy, Failure, Keep, Next, Renew, Reserve,
    UnbindFailed, Unbound,
};
pub use reply::{Attempt, AxLease, Credit, Effect, Lease, Refusal, Reply};
pub use usage::{AxbUsage, Biller, Closing, Rated, Slice, Usage};

use crate::codec;
use crate::entity::{Entity, Id, Micros, Millis, Table};
use crate::level::{self, Level};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// One tenure of an access name. Given by the state, rises with every claim, never reused.
pub type Epoch = u32;
/// A live or just released binding; given by the state, never reused.
pub type BindingId = u64;

/// A call: the epoch of the node that took it in the upper half, that node's counter in the lower. Who runs it now
/// says [`Call::owner`](crate::state::Call::owner).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallId(pub u64);

impl CallId {
    /// The `count`-th call of a tenure.
    pub fn new(epoch: Epoch, count: u32) -> Self {
        CallId(u64::from(epoch) << 32 | u64::from(count))
    }
    /// The tenure that took the call.
    pub fn epoch(self) -> Epoch {
        (self.0 >> 32) as Epoch
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// Everything that changes the replicated state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Admit a call, pick its gateway and numbers. Answers `Reserved` or `Refused`.
    Reserve(Reserve),
    /// The present attempt failed: free what it held and pick another. Answers `Reserved` or `Refused`.
    Next(Next),
    /// The platform confirmed a binding. Answers `Done`, or `Refused` when the X it named is not ours or is full.
    Bound(Bound),
    /// The callee answered. Answers `Answered`.
    Answered(Answered),
    /// The credit slice is running out. Answers `Renewed`.
    Renew(Renew),
    /// The platform let a binding go (or never had it). Answers `Done`.
    Unbound(Unbound),
    /// The platform did not let go; the row stays, with the error. Answers `Done`.
    UnbindFailed(UnbindFailed),
    /// The call is over: free, charge, record. Answers `Done`.
    End(End),
    /// Claim an access name. Answers `Claimed` or `Refused`.
    Claim(Claim),
    /// Renew a claim's lease. Answers `Done` or `Refused(StaleEpoch)`.
    KeepAlive {
        /// The tenure.
        epoch: Epoch,
    },
    /// Give a claim up at an orderly stop; what the tenure still owns is handed over. Answers `Done`.
    Resign {
        /// The tenure.
        epoch: Epoch,
    },
    /// The leader saw a lease run out. Answers `Done`; refused while the lease lives.
    NodeDown {
        /// The tenure.
        epoch: Epoch,
    },
    /// Make or change a row. Answers `Row` or `Refused`.
    Put(Put),
    /// Remove a row. Answers `Done` or `Refused`.
    Remove(Remove),
    /// Move money. Answers `Balance` or `Refused`.
    Pay(Payment),
    /// A node has stored the outbox up to this number. Answers `Done`.
    Stored {
        /// The raft node.
        node: u64,
        /// Last number stored.
        upto: u64,
    },
    /// An operator asks the platform to release a binding (row goes on its success). Answers `Done` or `Refused`.
    AskUnbind {
        /// Which.
        binding: BindingId,
        /// Who asked.
        actor: String,
    },
    /// An operator drops a binding whatever the platform says. Answers `Done` or `Refused`.
    ForceUnbind {
        /// Which.
        binding: BindingId,
        /// Who asked.
        actor: String,
    },
    /// An operator relabels a device or changes its settings. Answers `Done` or `Refused`.
    Device {
        /// Its access name.
        access_name: String,
        /// 标识
        label: Option<String>,
        /// 补充设置 to be changed ([`crate::state::settings`]); an empty value takes one back, others stay.
        settings: Option<BTreeMap<String, String>>,
        /// Takes no new calls.
        draining: Option<bool>,
        /// Who asked.
        actor: String,
    },
    /// An interface's last error, for people; reported at most once a second an interface.
    InterfaceError {
        /// Which.
        interface: Id,
        /// Short text, at most 500 bytes.
        text: String,
    },
    /// Makes or changes many rows of one table: all of them or none. Answers `Rows` or `Refused`; an `Invalid` names
    /// the row as `rows[17].number`.
    PutMany(PutMany),
    /// Loads a part of the region table. Answers `Done` or `Refused`.
    Regions(RegionEdit),
    /// An operator wants a static relation bound or released. Answers `Done` or `Refused`; `owner` asks the platform.
    AskAx(AskAx),
    /// What the platform made of it. Answers `Done` or `Refused`.
    AxOutcome(AxOutcome),
    /// The platform accepted (18x or 2xx) the INVITE of an outgoing AX call: the next call on that X may set its
    /// callee. Answers `Done`.
    AxAccepted {
        /// The call.
        call: CallId,
        /// The tenure that runs it.
        epoch: Epoch,
        /// Its attempt.
        attempt: u16,
    },
    /// An operator wants an interface tried: takes a pair for it without a call. Answers `Lent` or `Refused`.
    Borrow(Borrow),
    /// What a platform pushed of calls and bills, on its way into every node's records. Answers `Done`, or `Refused`
    /// when the outbox is too full for anything but the records of calls.
    PlatformEvents {
        /// Encoded by the proposer, opaque here: 1 to [`EVENTS_MAX`], of at most [`EVENT_BYTES_MAX`] each.
        events: Vec<Vec<u8>>,
    },
    /// An operator changed who belongs to the cluster, for the audit: the change itself is an entry of the consensus.
    /// Answers `Done`.
    NoteMember {
        /// Which node.
        node: u64,
        /// What.
        deed: MemberDeed,
        /// Address or node replaced, for people.
        detail: String,
        /// Who asked.
        actor: String,
    },
    /// The session of an answered call has changed: what another node needs to carry it on is replaced. Answers
    /// `Done`, or `Refused`.
    Keep(Keep),
    /// Every node keeps its state as it is behind this entry for a while, so that nodes can be compared at the same
    /// entry under any load. Changes nothing. Answers `Done`.
    Mark {
        /// Random; by which the kept state is found.
        id: u64,
    },
    /// An operator holds the cluster at the [level](crate::level) it is at, so that nodes can go back to the release
    /// before, or lets it rise. Answers `Done`.
    HoldLevel {
        /// It stays.
        hold: bool,
        /// Who asked.
        actor: String,
    },
    /// Every member speaks a higher level: the cluster is at that one from here on. Answers `Done`, or
    /// `Refused(LevelHeld)`. Of the level that it raises to.
    Raise(Raise),
    /// Claims an access name, and says which level the node speaks. Answers `Claimed` or `Refused`. Of level 2.
    ClaimAt(ClaimAt),
}

/// Tags of commands that are not of the first level.
const RAISE: u32 = 31;
const CLAIM_AT: u32 = 32;

impl Command {
    /// The lowest level that reads this encoded command.
    pub fn needs(encoded: &[u8]) -> Level {
        match codec::decode_front::<u32>(encoded) {
            // Its level stands first.
            Ok(RAISE) => {
                codec::decode_front(encoded).map_or(Level::MAX, |(_, level): (u32, Level)| level)
            }
            Ok(CLAIM_AT) => 2,
            _ => level::FIRST,
        }
    }
}

/// Raises the cluster's level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raise {
    /// To this one; first, so that it can be read by a release that does not speak it.
    pub level: Level,
    /// Which level each member speaks; at most [`RAISE_MAX`].
    pub members: Vec<(u64, Level)>,
}

/// Members named in a [`Raise`], at most.
pub const RAISE_MAX: usize = 64;

/// A [`Claim`] of a node that says what it speaks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClaimAt {
    /// The claim.
    pub claim: Claim,
    /// The highest level that the node speaks.
    pub level: Level,
}

/// What was done to a member of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberDeed {
    /// It follows, without a vote.
    Add,
    /// It votes.
    Vote,
    /// It is out.
    Remove,
    /// It has another address.
    Move,
}

/// Bytes of [`Answered::dialogs`], at most.
pub const DIALOGS_MAX: usize = 16 * 1_024;

/// Events of one [`Command::PlatformEvents`], at most: with the bytes of each they stay below a command's 1 MiB.
pub const EVENTS_MAX: usize = 100;
/// Bytes of one event, at most.
pub const EVENT_BYTES_MAX: usize = 8 * 1_024;

/// Rows of one command of [`Command::PutMany`], at most.
pub const PUT_MANY_MAX: usize = 2_000;
/// Rows of one part of a region table, at most.
pub const REGION_ROWS_MAX: usize = 20_000;

/// Many rows of one table, as if put one after another, save that no row may come twice.
///
/// The whole command must stay below the 1 MiB that one command may have: 2,000 A or X numbers take some 100 KB, while
/// rows with long lists or parameters fit by the hundred. Who imports cuts by bytes as well as by rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PutMany {
    /// As in [`Put`].
    pub request: u64,
    /// Who edits, for the audit: one line for the whole command.
    pub actor: String,
    /// 1 to [`PUT_MANY_MAX`], all of the same table.
    pub rows: Vec<PutRow>,
}

/// One row of many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PutRow {
    /// Row to change; `None` makes one.
    pub id: Option<Id>,
    /// Version seen; `None` overwrites.
    pub version: Option<u32>,
    /// 备注
    pub memo: String,
    /// The row.
    pub entity: Entity,
}

/// A part of a table of mobile prefixes. Parts of one import gather aside, and the last one puts all of them in force
/// at once; a new import drops what an unfinished one gathered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegionEdit {
    /// As in [`Put`].
    pub request: u64,
    /// Who edits.
    pub actor: String,
    /// Random, the same for all parts of an import.
    pub import: u64,
    /// Counts from 0.
    pub part: u32,
    /// This is the last part.
    pub last: bool,
    /// The import replaces the whole table; otherwise its rows are added to what is there.
    pub replace: bool,
    /// At most [`REGION_ROWS_MAX`]; with names of up to 12 Chinese characters so many stay below a command's 1 MiB.
    pub rows: Vec<RegionRow>,
}

/// 手机地区: where the mobile numbers of one prefix belong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionRow {
    /// The first seven digits, 1,300,000 to 1,999,999.
    pub mobile_prefix: u32,
    /// With or without the leading 0; empty removes the prefix.
    pub area_code: String,
    /// For people, at most 96 bytes.
    pub area_name: String,
}

/// What is wanted of a static relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AxDeed {
    /// AX 绑定
    Bind,
    /// 解除绑定: bound no more once the platform says so.
    Unbind,
    /// 强制解绑: unbound at once; one best-effort request still goes out.
    ForceUnbind,
}

/// An operator's wish.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AskAx {
    /// Which row.
    pub ax: Id,
    /// What.
    pub deed: AxDeed,
    /// The tenure that asks the platform.
    pub owner: Epoch,
    /// Who asked.
    pub actor: String,
}

/// What became of a wish.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AxOutcome {
    /// Which row.
    pub ax: Id,
    /// Owner's tenure.
    pub epoch: Epoch,
    /// What it answers: [`AxLive::asked`](crate::state::AxLive::asked) of the row when the platform was asked.
    pub asked: u32,
    /// The platform's answer.
    pub result: AxResult,
}

/// The platform's answer about a static relation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AxResult {
    /// It stands.
    Bound {
        /// Named values that the unbind needs.
        handle: BTreeMap<String, String>,
        /// When the platform would drop it by itself.
        expires_at: Option<Millis>,
        /// The reply, cut to 2 KB.
        raw: String,
    },
    /// It is gone.
    Unbound {
        /// The platform said that it had none.
        missing: bool,
    },
    /// It did not work.
    Failed {
        /// What the platform or the network said, at most 500 bytes.
        error: String,
        /// Whether the platform may have done it all the same.
        unknown: bool,
    },
}

/// Claims an access name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// 接入名称
    pub access_name: String,
    /// The raft node that claims.
    pub node: u64,
    /// Random for each start of the process. The same node with another boot supersedes its own old claim at once:
    /// the lock on its data directory proves that the older process is gone.
    pub boot: u64,
    /// 接入地址: where its admin API listens.
    pub address: String,
    /// Its version.
    pub version: String,
    /// Lease, 1,000 to 60,000 ms.
    pub lease_ms: u32,
}

/// Makes (`id` none) or changes a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Put {
    /// Random; a repeat within the last 4,096 edits gets the first reply again.
    pub request: u64,
    /// Who edits, for the audit.
    pub actor: String,
    /// Row to change; `None` makes one.
    pub id: Option<Id>,
    /// Version seen; `None` overwrites.
    pub version: Option<u32>,
    /// 备注
    pub memo: String,
    /// The row.
    pub entity: Entity,
}

/// Removes a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remove {
    /// As in [`Put`].
    pub request: u64,
    /// Who.
    pub actor: String,
    /// Which table.
    pub table: Table,
    /// Which row.
    pub id: Id,
    /// Version seen; `None` removes whatever is there.
    pub version: Option<u32>,
}

/// 缴费记录.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Payment {
    /// As in [`Put`].
    pub request: u64,
    /// Who.
    pub actor: String,
    /// Whose money.
    pub account: Id,
    /// What is added; negative takes away.
    pub amount: Micros,
    /// 备注
    pub memo: String,
}
