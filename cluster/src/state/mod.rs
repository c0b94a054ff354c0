//! The replicated state and the one function that changes it.

use crate::command::{BindingId, Biller, CallId, Command, Effect, Epoch, Refusal, Reply};
use crate::entity::{Id, Millis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A binding on its way: from reservation to the platform's release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Its id.
    pub id: BindingId,
    /// The call that leased it.
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

/// Life of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reserved; the bind is being sent: an intent until it is confirmed.
    Binding,
    /// The platform confirmed.
    Bound,
    /// To be released now.
    Unbinding,
    /// The bind's outcome is unknown: X is quarantined until the platform or an operator says that it is gone.
    Orphan,
}

/// Everything the nodes agree on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    at: Millis,
}

impl State {
    /// The state before the first command.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies one command. `at` is the leader's wall clock (made monotone here), `seed` decides every choice.
    pub fn apply(&mut self, at: Millis, _seed: u64, _command: &Command, _biller: &dyn Biller) -> (Reply, Vec<Effect>) {
        self.at = self.at.max(at);
        (Reply::Refused(Refusal::NotFound), Vec::new())
    }

    /// States every invariant; an error names the first that does not hold.
    pub fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// A hash of the whole content, alike on nodes that applied the same entries.
    pub fn hash(&self) -> u64 {
        self.at
    }
}
