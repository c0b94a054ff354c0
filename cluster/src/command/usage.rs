//! What a call is charged for: its facts, its rates, and who makes money of them.

use super::{BindingId, CallId, EndReason, EndedBy};
use crate::entity::{FeeRate, Id, Micros, Millis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A rate with the account it charges, as chosen when the call was admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rated {
    /// The account's row.
    pub account: Id,
    /// Its number.
    pub account_number: String,
    /// Its name.
    pub account_name: String,
    /// The rate.
    pub rate: FeeRate,
}

/// The AXB facts of an ended call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxbUsage {
    /// A
    pub a: String,
    /// X
    pub x: String,
    /// B
    pub b: String,
    /// B'
    pub b_submitted: String,
    /// 接口名称
    pub interface: String,
    /// A 号码组
    pub a_group: String,
    /// The binding made for the call; `None` over a static relation.
    pub binding: Option<BindingId>,
    /// The platform's named values of the binding or relation, as far as it told any before the call ended.
    pub handle: BTreeMap<String, String>,
}

/// The facts of an ended call, for [`Biller`].
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// The call; its number is the flow number.
    pub call: CallId,
    /// The node (access name) that owned it.
    pub node: String,
    /// C
    pub caller_access: String,
    /// N
    pub caller: String,
    /// Caller as sent.
    pub caller_out: String,
    /// Callee as received.
    pub callee_access: String,
    /// B
    pub callee: String,
    /// Callee as sent.
    pub callee_out: String,
    /// 主叫经由网关
    pub mapping_gateway: String,
    /// 被叫经由网关, empty when none was reached.
    pub routing_gateway: String,
    /// Source of the INVITE.
    pub caller_ip: String,
    /// Where it was sent, empty when nowhere.
    pub callee_ip: String,
    /// The customer's SIP Call-ID.
    pub sip_call_id: String,
    /// INVITE's arrival.
    pub started_at: Millis,
    /// Answer.
    pub answered_at: Option<Millis>,
    /// End.
    pub ended_at: Millis,
    /// Post-dial delay.
    pub pdd_ms: Option<u32>,
    /// First audio codec.
    pub codec: String,
    /// Why it ended.
    pub reason: EndReason,
    /// By whom.
    pub by: EndedBy,
    /// Numbers of the last AXB attempt.
    pub axb: Option<AxbUsage>,
    /// Customer account on B.
    pub customer: Option<Rated>,
    /// Landing settlement on X as dialled (on the callee as sent for a plain call).
    pub landing: Option<Rated>,
    /// AXB settlement on B or B'.
    pub axb_settlement: Option<Rated>,
}

/// What a call's end costs and the record that remains of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Closing {
    /// What each account pays.
    pub charges: Vec<(Id, Micros)>,
    /// The encoded record, opaque to the cluster.
    pub record: Vec<u8>,
}

/// The arithmetic of money, given by the process that runs the state. It must be a pure function of its arguments and
/// alike on all nodes.
pub trait Biller: Send + Sync {
    /// Prices an ended call.
    fn close(&self, usage: &Usage) -> Closing;
    /// The next slice after `from_secs` that `available` pays for: its end in seconds from the answer and its price;
    /// `None` when not even one period is covered.
    fn slice(&self, rate: &FeeRate, from_secs: u32, available: Micros) -> Option<Slice>;
    /// The longest call, in seconds, that `available` pays for; `None`: money sets no limit.
    fn longest(&self, rate: &FeeRate, available: Micros) -> Option<u32>;
}

/// A stretch of talk paid for in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Ends here, seconds from the answer.
    pub upto_secs: u32,
    /// Costs this much beyond what was paid for `from_secs`.
    pub cost: Micros,
    /// Nothing more could be granted after it.
    pub last: bool,
}
