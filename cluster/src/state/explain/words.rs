//! What is told about a call that is not made.

use super::super::route::Skip;
use crate::command::{CallId, Refusal};
use crate::entity::{AccountKind, Id, Micros, Millis, PrefixStyle, Section, XSelect};
use crate::regions::RegionSource;
use serde::Serialize;
use std::collections::BTreeMap;

/// X numbers and relations that are listed for one gateway; the rest is only counted.
pub const LISTED_MAX: usize = 100;

/// How would this call be carried?
#[derive(Clone, Debug)]
pub struct Question {
    /// The mapping gateway that it comes from.
    pub gateway: Id,
    /// C, as received.
    pub caller: String,
    /// Callee as received.
    pub callee: String,
    /// The dice. With the seed of a log entry and the id of its call the choice is that of the reservation, as long as
    /// the gateway's own rules have no dice.
    pub seed: u64,
    /// See `seed`; any id for a call that is not to be made.
    pub call: CallId,
}

/// Every decision about a call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// Name of the mapping gateway.
    pub gateway: String,
    /// C → N.
    pub caller: Rewritten,
    /// Callee as received → B.
    pub callee: Rewritten,
    /// What the mapping gateway asks of the call, in the order of asking.
    pub checks: Vec<Check>,
    /// Who pays.
    pub account: Option<Payer>,
    /// Longest call: what money pays for or the mapping gateway allows, whichever is less; `None`: without bound.
    pub max_duration_secs: Option<u32>,
    /// How X numbers are chosen.
    pub x_select_mode: XSelect,
    /// Gateways that serve B, in the order of trial.
    pub routes: Vec<Route>,
    /// Why the call would be refused; `None`: it goes out over the route that is taken.
    pub refused: Option<Refusal>,
}

/// A number before and after rules.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rewritten {
    /// As received.
    pub before: String,
    /// After the rules.
    pub after: String,
    /// The rule that was followed; `None`: none matched.
    pub rule: Option<RuleUsed>,
    /// Where the number after the rules belongs.
    pub region: Option<Area>,
}

/// A rule of a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleUsed {
    /// Its place, from 1.
    pub place: usize,
    /// As written.
    pub text: String,
}

/// Where a number belongs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Area {
    /// Without its leading 0.
    pub area_code: String,
    /// For people.
    pub area_name: String,
    /// How it is known.
    pub source: RegionSource,
}

/// One condition of the mapping gateway.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// `lock`, `capacity`, `caller_prefixes` or `callee_prefixes`.
    pub what: &'static str,
    /// What was compared, such as `3 of 200 lines`.
    pub seen: String,
    /// What refuses the call; `None`: it passes.
    pub refused: Option<Refusal>,
}

/// The account that pays.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Payer {
    /// 账户
    pub account: String,
    /// 名称
    pub name: String,
    /// What sort.
    pub kind: AccountKind,
    /// Balance.
    pub money: Micros,
    /// 透支限额
    pub limit_money: Micros,
    /// Set aside for running calls.
    pub reserved: Micros,
    /// What is left for new calls.
    pub available: Micros,
    /// Not usable after this time.
    pub valid_until: Option<Millis>,
    /// The rate of B.
    pub rate: Option<Rate>,
    /// Longest call that `available` pays for, seconds; `None`: money sets no limit, or there is no rate.
    pub pays_for_secs: Option<u32>,
    /// What refuses the call: locked, expired, no rate, not enough money.
    pub refused: Option<Refusal>,
}

/// A rate as far as it decides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// 费率组
    pub group: String,
    /// The prefix that matched.
    pub prefix: String,
    /// Area of the prefix, for people.
    pub area_name: String,
    /// Price of one period.
    pub fee: Micros,
    /// 计费周期, seconds.
    pub period: u32,
    /// A locked rate refuses the call.
    pub locked: bool,
    /// 分段费率
    pub sections: Vec<Section>,
}

/// What becomes of a routing gateway.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The call goes out here, unless it is refused before any gateway is asked.
    Taken,
    /// Tried when those before it fail in a way that moves the call on.
    Standby,
    /// Not asked.
    Skipped(Skip),
    /// An AXB gateway without a free pair or relation for this call.
    NoNumbers,
}

/// A routing gateway that serves B.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Route {
    /// Its name.
    pub gateway: String,
    /// The prefix that matched.
    pub prefix: String,
    /// 终结 or 延续.
    pub prefix_style: PrefixStyle,
    /// Lower is taken first.
    pub priority: u32,
    /// Lines in use.
    pub calls: u32,
    /// 线路上限
    pub capacity: u32,
    /// Attempts ever.
    pub past_calls: u64,
    /// What becomes of it.
    pub verdict: Verdict,
    /// The numbers of its AXB part and why they fit or not; `None` for a plain gateway and for one that is skipped
    /// before numbers are looked at.
    pub axb: Option<Axb>,
    /// Caller and callee as sent; `None` when nothing would be.
    pub sent: Option<Sent>,
}

/// A call as it leaves towards a gateway.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sent {
    /// Caller as sent, with the rule that made it.
    pub caller_out: Rewritten,
    /// Callee as sent, with the rule that made it.
    pub callee_out: Rewritten,
    /// Rate of the landing settlement.
    pub landing: Option<Settled>,
    /// Rate of the AXB settlement.
    pub axb_settlement: Option<Settled>,
}

/// A rate with the account that it goes to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settled {
    /// 结算账户
    pub account: String,
    /// Its rate.
    pub rate: Rate,
}

/// Numbers of an AXB gateway.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Axb {
    /// The interface's name.
    pub interface: String,
    /// B → B'.
    pub b_submitted: Rewritten,
    /// The A group's name.
    pub a_group: String,
    /// A numbers of the group.
    pub a_total: u32,
    /// Those with a free line.
    pub a_free: u32,
    /// X numbers of the interface; absent when the customer may not use AXB.
    pub x: Option<Candidates<XCandidate>>,
    /// Static relations of the interface; absent when the customer may not use AX.
    pub ax: Option<Candidates<AxCandidate>>,
    /// What would be taken with these dice.
    pub taken: Option<Pair>,
}

/// A and X that would be taken.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// A
    pub a: String,
    /// X
    pub x: String,
    /// Over a static relation instead of a new binding.
    pub ax: bool,
}

/// Numbers that were looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidates<T> {
    /// All of them.
    pub total: usize,
    /// Those that this call may use, by rank (`exact`, `prefix 4`, `region`, `other`).
    pub usable: BTreeMap<String, usize>,
    /// Those that it may not, by reason.
    pub excluded: BTreeMap<&'static str, usize>,
    /// The usable ones first, the best rank first; at most [`LISTED_MAX`].
    pub listed: Vec<T>,
}

/// How well an X names the caller; the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum XRank {
    /// The caller itself.
    Exact,
    /// A prefix of so many characters.
    Prefix(std::cmp::Reverse<u16>),
    /// Its region.
    Region,
    /// Not named; other callers are allowed.
    Other,
}

impl std::fmt::Display for XRank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            XRank::Exact => f.write_str("exact"),
            XRank::Prefix(length) => write!(f, "prefix {}", length.0),
            XRank::Region => f.write_str("region"),
            XRank::Other => f.write_str("other"),
        }
    }
}

/// An X number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct XCandidate {
    /// Its number.
    pub x: String,
    /// How well it names N; `None`: it may not be used for N.
    pub rank: Option<XRank>,
    /// Bindings on it.
    pub concurrency: u32,
    /// 线路上限
    pub line_limit: u32,
    /// Why it is left out; `None`: it may be taken.
    pub excluded: Option<XExcluded>,
}

/// Why an X is left out; the first of these that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum XExcluded {
    /// Taken out of use by an operator, or removed while in use.
    Disabled,
    /// The outcome of a bind on it is unknown.
    Quarantined,
    /// No free line.
    Full,
    /// It does not name N and allows no other callers.
    NotPermitted,
    /// It does not name N, and the mapping gateway says restrict.
    NotNamed,
    /// B' stands on it already, as callee or as A.
    Callee,
    /// A static relation stands on it, and the type allows one binding per X.
    Ax,
    /// Every A with a free line is bound with it, rests, is called over it, or is B' itself.
    Pairs,
}

impl XExcluded {
    /// Its key, as in JSON.
    pub fn key(self) -> &'static str {
        match self {
            XExcluded::Disabled => "disabled",
            XExcluded::Quarantined => "quarantined",
            XExcluded::Full => "full",
            XExcluded::NotPermitted => "not_permitted",
            XExcluded::NotNamed => "not_named",
            XExcluded::Callee => "callee",
            XExcluded::Ax => "ax",
            XExcluded::Pairs => "pairs",
        }
    }
}

/// A static relation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AxCandidate {
    /// A
    pub a: String,
    /// X
    pub x: String,
    /// How well the X names N; `None`: it may not be used for N.
    pub rank: Option<XRank>,
    /// Calls in the queue of its X.
    pub queued: usize,
    /// Why it is left out; `None`: it may be taken.
    pub excluded: Option<AxExcluded>,
}

/// Why a relation is left out; the first of these that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AxExcluded {
    /// The platform has not confirmed it, or it is being released.
    NotBound,
    /// Its end has come.
    Expired,
    /// X is not in the interface's list of X numbers.
    NotListed,
    /// X has no free line, is disabled or quarantined.
    XFull,
    /// B' or A stands on X already in a way that the type forbids.
    Conflict,
    /// X does not name N and allows no other callers, or the mapping gateway says restrict.
    NotPermitted,
    /// A is not in the gateway's group.
    NotInGroup,
    /// A has no free line.
    AFull,
    /// A is B' itself.
    Callee,
}

impl AxExcluded {
    /// Its key, as in JSON.
    pub fn key(self) -> &'static str {
        match self {
            AxExcluded::NotBound => "not_bound",
            AxExcluded::Expired => "expired",
            AxExcluded::NotInGroup => "not_in_group",
            AxExcluded::AFull => "a_full",
            AxExcluded::Callee => "callee",
            AxExcluded::NotListed => "not_listed",
            AxExcluded::XFull => "x_full",
            AxExcluded::Conflict => "conflict",
            AxExcluded::NotPermitted => "not_permitted",
        }
    }
}
