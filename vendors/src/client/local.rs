//! Platforms that store nothing: what is asked of others is done at once here, and nothing is sent.
//! The binding is the caller's own row; the platform asks for it when the call arrives there
//! ([`crate::definition::Plan::question`]).

use super::Client;
use crate::definition::{Asked, CallbackError, CallbackRequest, Callee, Reply};
use crate::outcome::{BindOutcome, Failure, Handle};

impl Client {
    /// Whether the platform asks us for each call and is never asked anything itself.
    pub fn is_asked(&self) -> bool {
        self.inner.plan.asks()
    }

    /// Whether this is the name of a question, and not of a call-back.
    pub fn has_question(&self, name: &str) -> bool {
        self.inner.plan.has_question(name)
    }

    /// Reads a question; see [`crate::definition::Plan::question`].
    ///
    /// # Errors
    /// Every way in which it cannot be taken; [`Client::refuse_question`] is the answer then.
    pub fn question(
        &self,
        name: &str,
        request: &CallbackRequest<'_>,
    ) -> Result<Asked, CallbackError> {
        self.inner.plan.question(name, request)
    }

    /// The answer to a question; see [`crate::definition::Plan::answer`].
    ///
    /// # Errors
    /// When the definition's form cannot say this.
    pub fn answer(
        &self,
        name: &str,
        request: &CallbackRequest<'_>,
        asked: &Asked,
        callee: Option<Callee<'_>>,
    ) -> Result<Reply, Failure> {
        let nonce = hex::encode_upper(self.inner.session.nonce());
        self.inner.plan.answer(name, request, asked, callee, &nonce)
    }

    /// The literal answer to a question that cannot be taken.
    pub fn refuse_question(&self, name: &str, error: &CallbackError) -> Reply {
        self.inner.plan.refuse_question(name, error)
    }
}

/// Bound at once: the handle is our own id.
pub(super) fn bound(own_id: &str, x: &str) -> BindOutcome {
    BindOutcome::Bound {
        handle: Handle::from([("own_id".to_owned(), own_id.to_owned())]),
        x: x.to_owned(),
        raw: String::new(),
    }
}
