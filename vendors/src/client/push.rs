//! What the platform of an interface pushes to us: proved and read by its definition. Nothing is
//! sent here, and a slow or broken platform costs a push nothing.

use super::Client;
use crate::definition::{CallbackError, CallbackRequest, Receipt, Reply};

impl Client {
    /// Whether the interface's definition has a call-back of this name.
    pub fn has_callback(&self, name: &str) -> bool {
        let callbacks = self.inner.plan.callbacks();
        callbacks.iter().any(|callback| callback.name == name)
    }

    /// Proves and reads a push.
    ///
    /// # Errors
    /// Every way in which it cannot be taken, as [`Plan::receive`](crate::definition::Plan::receive).
    pub fn receive(
        &self,
        name: &str,
        request: &CallbackRequest<'_>,
    ) -> Result<Receipt, CallbackError> {
        self.inner.plan.receive(name, request)
    }

    /// The literal answer to a push. Success is told only when its events are stored.
    pub fn reply(&self, name: &str, received: &Result<Receipt, CallbackError>) -> Reply {
        self.inner.plan.reply(name, received)
    }

    /// The literal refusal of a push under a status of ours, such as 503 for one that could not be
    /// stored; `None` when there is no such call-back.
    pub fn refusal(&self, name: &str, status: u16) -> Option<Reply> {
        self.inner.plan.refusal(name, status)
    }
}
