//! The rows that commands make: calls, bindings, devices, tenures, and what is kept for people.

use crate::command::{
    Attempt, AxDeed, AxbUsage, BindingId, CallId, Credit, Epoch, MemberDeed, Rated, Refusal,
    Reserve,
};
use crate::entity::{AxBinding, Entity, FeeRate, Id, Micros, Millis, Row, Table};
use crate::level::Level;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A binding on its way: from reservation to the platform's release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Its id.
    pub id: BindingId,
    /// The call that leased it, or [`NO_CALL`].
    pub call: CallId,
    /// The tenure that looks after it.
    pub owner: Epoch,
    /// Whose X.
    pub interface: Id,
    /// A group the A was taken from.
    pub a_group: Id,
    /// A row.
    pub a_id: Id,
    /// X row.
    pub x_id: Id,
    /// A
    pub a: String,
    /// X
    pub x: String,
    /// B
    pub b: String,
    /// B'
    pub b_submitted: String,
    /// Reservation time.
    pub created_at: Millis,
    /// When the platform confirmed it; `None` while that is not known.
    pub bound_at: Option<Millis>,
    /// When the platform would drop it.
    pub expires_at: Option<Millis>,
    /// When we release it; `None` while that is not known.
    pub unbind_at: Option<Millis>,
    /// Where it stands.
    pub phase: Phase,
    /// The platform's named values.
    pub handle: BTreeMap<String, String>,
    /// The platform's reply to the bind, cut.
    pub raw: String,
    /// 上次错误
    pub last_error: Option<String>,
}

/// In place of the call of a binding that was made to try its interface.
pub const NO_CALL: CallId = CallId(0);

/// Life of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reserved; the bind is being sent: an intent until it is confirmed.
    Binding,
    /// The platform confirmed.
    Bound,
    /// To be released now. An empty `handle` means that the bind's answer never came.
    Unbinding,
    /// The bind's outcome is unknown: X is quarantined until the platform or an operator says that it is gone.
    Orphan,
}

/// Life of a static relation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AxPhase {
    /// Not at the platform.
    #[default]
    Unbound,
    /// The bind is being sent: an intent until it is confirmed.
    Binding,
    /// The platform confirmed.
    Bound,
    /// The unbind is being sent or tried again.
    Unbinding,
    /// The bind did not work; whether the platform holds it all the same says [`AxLive::maybe_held`]. Nothing is
    /// leased over it.
    Error,
}

/// What lives on a static relation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxLive {
    /// Where it stands.
    pub phase: AxPhase,
    /// Counts what was asked of the platform; an outcome says which of them it answers.
    pub asked: u32,
    /// A bind has failed in such a way that the platform may have done it all the same. Cleared by what is sure.
    pub maybe_held: bool,
    /// The tenure that asks the platform; `None` while nothing is being asked.
    pub owner: Option<Epoch>,
    /// 绑定时间
    pub bound_at: Option<Millis>,
    /// When the platform drops it by itself.
    pub expires_at: Option<Millis>,
    /// The platform's named values.
    pub handle: BTreeMap<String, String>,
    /// The platform's reply to the bind, cut.
    pub raw: String,
    /// 上次错误
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<Millis>,
}

/// A static relation, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxRow {
    /// Its row.
    pub id: Id,
    /// What operators wrote.
    pub entity: AxBinding,
    /// What lives on it.
    pub live: AxLive,
}

/// 状态 of an X number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum XState {
    /// In use for new calls.
    Active,
    /// A bind on it has an unknown outcome; nothing new until that is cleared.
    Quarantined,
    /// Taken out of use by an operator, or removed while bindings still stand on it.
    Disabled,
}

/// A rate and the account that it charges, shared with the tables while the call lasts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tariff {
    /// The account's row.
    pub account: Id,
    /// The rate as it stood when it was chosen.
    pub rate: Arc<Row<FeeRate>>,
}

/// What an outgoing AX call holds of its X, until it ends or goes another way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxHold {
    /// The static relation; its row may be gone already.
    pub ax: Id,
    /// X row, of which it holds a slot.
    pub x_id: Id,
    /// Its place in the X's queue while the platform has not accepted it: the lowest has its turn. `None` once it has,
    /// and where the type sets no callees.
    pub place: Option<u64>,
}

/// A call from admission to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// What was asked: its id, numbers and source.
    pub asked: Arc<Reserve>,
    /// The tenure that runs it.
    pub owner: Epoch,
    /// Log time of its admission.
    pub reserved_at: Millis,
    /// Refused at admission or when nothing was left to try; its end writes the CDR.
    pub refused: Option<Refusal>,
    /// It holds a line of its mapping gateway.
    pub admitted: bool,
    /// The attempt under way, or the last one.
    pub attempt: Option<Arc<Attempt>>,
    /// The attempt holds a line of its routing gateway.
    pub routed: bool,
    /// The A row whose line it holds.
    pub a_id: Option<Id>,
    /// What an outgoing AX attempt holds beside its A.
    pub ax: Option<AxHold>,
    /// Binding of the attempt under way; its row may be gone already (early release).
    pub binding: Option<BindingId>,
    /// Numbers of the last AXB attempt.
    pub axb: Option<Arc<AxbUsage>>,
    /// Customer account on B.
    pub customer: Option<Tariff>,
    /// Landing settlement of the attempt.
    pub landing: Option<Tariff>,
    /// AXB settlement of the attempt.
    pub axb_settlement: Option<Tariff>,
    /// Money set aside for it.
    pub reserved: Micros,
    /// How far that carries; `None`: the call costs nothing.
    pub credit: Option<Credit>,
    /// Answer, by the owner's clock.
    pub answered_at: Option<Millis>,
    /// From the INVITE's arrival to the first ringing or answer.
    pub pdd_ms: Option<u32>,
    /// First audio codec of the answer.
    pub codec: String,
    /// Both dialogs, encoded by the owner.
    pub dialogs: Blob,
    /// When its former owner was last heard; `None` while it is with the node that took it.
    pub heard_at: Option<Millis>,
    /// Gateways whose turn is over.
    pub tried: Vec<Id>,
    /// X rows that the platform refused in this call.
    pub refused_x: Vec<Id>,
    /// Further X numbers tried on the gateway of the attempt.
    pub further_x: u8,
}

impl Call {
    /// Its id.
    pub fn id(&self) -> CallId {
        self.asked.call
    }

    /// Another node can carry it on.
    pub fn outlives_its_node(&self) -> bool {
        self.answered_at.is_some() && !self.dialogs.0.is_empty()
    }
}

/// A node's tenure of an access name, from `Claimed` until it is superseded, resigned or declared down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenure {
    /// Its number.
    pub epoch: Epoch,
    /// 接入名称
    pub access_name: String,
    /// The raft node.
    pub node: u64,
    /// The process.
    pub boot: u64,
    /// 接入地址
    pub address: String,
    /// Its version.
    pub version: String,
    /// Lease asked for.
    pub lease_ms: u32,
    /// Last claim or renewal.
    pub renewed_at: Millis,
}

impl Tenure {
    /// The lease ends here unless it is renewed.
    pub fn lease_until(&self) -> Millis {
        self.renewed_at.saturating_add(u64::from(self.lease_ms))
    }
}

/// AXB 设备.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// 接入名称
    pub access_name: String,
    /// 标识
    pub label: String,
    /// 补充设置
    pub settings: BTreeMap<String, String>,
    /// First claim.
    pub created_at: Millis,
    /// Latest claim.
    pub accessed_at: Millis,
    /// 接入地址 of the latest claim.
    pub address: String,
    /// Version of the latest claim.
    pub version: String,
    /// Raft node of the latest claim.
    pub node: u64,
    /// The tenure; `None` while nobody holds the name.
    pub epoch: Option<Epoch>,
    /// The processes that held it lately, the newest last.
    pub boots: Vec<u64>,
    /// Takes no new calls. Cleared when a new process claims the name.
    pub draining: bool,
}

/// What a payment was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaidAs {
    /// Money came in.
    Recharge,
    /// Money was taken.
    Deduct,
    /// Opening balance.
    Open,
    /// What an account still held (or owed) when it was removed.
    Zero,
}

/// 缴费记录.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paid {
    /// Counts from 1.
    pub number: u64,
    /// When.
    pub at: Millis,
    /// Who.
    pub actor: String,
    /// Whose money.
    pub account: Id,
    /// The account's number at that time.
    pub account_number: String,
    /// What.
    pub kind: PaidAs,
    /// What was added.
    pub amount: Micros,
    /// Balance after it.
    pub balance: Micros,
    /// 备注
    pub memo: String,
}

/// What an operator did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// Made or changed a row.
    Put {
        /// Table.
        table: Table,
        /// Row.
        id: Id,
    },
    /// Removed a row.
    Remove {
        /// Table.
        table: Table,
        /// Row.
        id: Id,
    },
    /// Moved money.
    Pay {
        /// Whose.
        account: Id,
        /// How much.
        amount: Micros,
    },
    /// Asked for a release.
    AskUnbind {
        /// Which.
        binding: BindingId,
    },
    /// Dropped a binding.
    ForceUnbind {
        /// Which.
        binding: BindingId,
    },
    /// Changed a device.
    Device {
        /// Which.
        access_name: String,
    },
    /// Made or changed many rows.
    PutMany {
        /// Table.
        table: Table,
        /// How many.
        rows: u32,
    },
    /// Loaded a region table.
    Regions {
        /// Prefixes in the import.
        rows: u32,
        /// It replaced what was there.
        replaced: bool,
    },
    /// Wanted something of a static relation.
    AskAx {
        /// Which.
        ax: Id,
        /// What.
        deed: AxDeed,
    },
    /// Tried an interface.
    Trial {
        /// Which.
        interface: Id,
        /// With this binding.
        binding: BindingId,
    },
    /// Changed who belongs to the cluster.
    Member {
        /// Which node.
        node: u64,
        /// What.
        deed: MemberDeed,
        /// For people.
        detail: String,
    },
    /// Held the cluster at its level, or let it rise.
    HoldLevel {
        /// It stays.
        hold: bool,
    },
    /// The cluster's level was raised; only in states of level 2 and more.
    Raise {
        /// From.
        from: Level,
        /// To.
        to: Level,
    },
}

/// One line of the audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Counts from 1.
    pub number: u64,
    /// When.
    pub at: Millis,
    /// Who.
    pub actor: String,
    /// What.
    pub deed: Deed,
    /// The row before, secrets masked.
    pub before: Option<Entity>,
    /// The row after, secrets masked.
    pub after: Option<Entity>,
}

/// Totals for status pages and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Open call records, refused ones that wait for their end included.
    pub calls: u64,
    /// Of these answered.
    pub answered: u64,
    /// Rows of the binding table.
    pub bindings: u64,
    /// X numbers with at least one binding.
    pub x_in_use: u64,
    /// A numbers with at least one call.
    pub a_in_use: u64,
    /// Money set aside for running calls.
    pub reserved_money: Micros,
    /// Records not yet stored by every voter.
    pub outbox: u64,
    /// Bindings that the platform let go before we did, ever.
    pub let_go: u64,
}

/// Shared bytes that are opaque here.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob(pub Arc<[u8]>);

impl Default for Blob {
    fn default() -> Self {
        Blob(Arc::from([]))
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Blob(Arc::from(bytes))
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> serde::de::Visitor<'de> for Bytes {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(Arc::from(bytes)))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(Arc::from(bytes)))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

impl Tariff {
    /// The form that travels to the biller.
    pub(super) fn rated(&self, account: &Row<crate::entity::Account>) -> Rated {
        Rated {
            account: self.account,
            account_number: account.entity.account.clone(),
            account_name: account.entity.name.clone(),
            rate: self.rate.entity.clone(),
        }
    }
}

/// Cuts a text from outside to `max` bytes at a character's border.
pub(super) fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
