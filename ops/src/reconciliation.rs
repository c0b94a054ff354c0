//! What a platform holds beside what the state says it holds, as operators are shown it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tandem_cluster::command::BindingId;
use tandem_cluster::entity::Id;
use utoipa::ToSchema;

/// Differences kept of one comparison; more are only counted.
pub const DIFFERENCES_MAX: usize = 10_000;
/// Numbers kept that could not be asked about.
pub const UNASKED_MAX: usize = 100;

/// Is told how far a comparison is. Must return at once.
pub type ProgressTo = Arc<dyn Fn(Progress) + Send + Sync>;

/// How far a comparison is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// X numbers asked about, failed ones included.
    pub asked: u32,
    /// X numbers to ask about.
    pub of: u32,
}

/// One comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reconciliation {
    /// 接口名称
    pub interface: String,
    /// The node that asked.
    pub node: String,
    /// Differences were cleared, not only shown.
    pub apply: bool,
    /// X numbers asked about.
    pub asked: u32,
    /// Bindings and relations that both sides know.
    pub agreed: u64,
    /// What differs, by X, at most [`DIFFERENCES_MAX`].
    pub differences: Vec<Difference>,
    /// Differences that found no place in the list.
    pub more: u64,
    /// X numbers that the platform gave no answer about, the first [`UNASKED_MAX`] of them. Nothing was changed there.
    pub unasked: Vec<Unasked>,
}

impl Reconciliation {
    /// Differences of one kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.differences.iter().filter(|d| d.kind == kind).count()
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// Who holds it.
    pub kind: Kind,
    /// What it is.
    pub subject: Subject,
    /// A
    pub a: String,
    /// X
    pub x: String,
    /// B as the platform knows it; empty for a static relation.
    pub b: String,
    /// What was done about it.
    pub outcome: Outcome,
    /// Why it is taken for a difference, or why it was left alone; for people.
    pub note: String,
}

/// Which side holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The platform holds it and no row of ours knows it: it is unbound there.
    OnlyThere,
    /// A row of ours counts on it and the platform does not hold it: the row is released.
    OnlyHere,
    /// The sides differ because a bind or an unbind is under way: nothing is wrong, nothing is changed.
    InFlight,
}

/// What is compared. The number is the row's id where there is a row of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// AXB 当前绑定
    Binding(Option<BindingId>),
    /// AX 绑定
    Ax(Option<Id>),
}

/// What was done about a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Only shown, or left alone because it is under way.
    Shown,
    /// Cleared on the side that was wrong.
    Cleared,
    /// It could not be cleared; the note says why.
    Stands,
}

/// A number without an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Unasked {
    /// X
    pub x: String,
    /// What the platform or the network said.
    pub error: String,
}
