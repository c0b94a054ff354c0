//! Messages of dialogs that are not here, told by the token in our tag: whoever has the call serves them.

use super::Endpoint;
use super::keys::token_of;
use super::write::Answer;
use crate::message::{Message, Method};
use crate::transport::Flow;

/// A message for another keeper of our dialogs, or for nobody any more. [`Endpoint::receive`] takes it once more when
/// the dialog has come here meanwhile.
#[derive(Debug, Clone)]
pub struct Stray {
    /// A request with our tag in To, or a response with it in From; its source is noted.
    pub message: Message,
    /// The way it came.
    pub flow: Flow,
}

/// How a stray request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 481: there is no such call (any more).
    Gone,
    /// 500 with Retry-After: the call is between two keepers (RFC 3261 §21.5.1).
    NotNow {
        /// Seconds.
        retry_after_s: u32,
    },
}

impl Stray {
    pub(super) fn new(message: Message, flow: Flow) -> Box<Self> {
        Box::new(Self { message, flow })
    }

    /// The token of its call, as [`Dial`](crate::leg::Dial) or [`Command::Name`](crate::leg::Command::Name) gave it;
    /// or as anybody else wrote it, for a tag can be made up.
    pub fn token(&self) -> &[u8] {
        token_in(&self.message).unwrap_or_default()
    }

    /// A request that its sender expects an answer to.
    pub fn wants_answer(&self) -> bool {
        self.message.is_request() && *self.message.method() != Method::Ack
    }
}

/// The token in our tag, which is the one of the side that did not send the request.
pub(super) fn token_in(message: &Message) -> Option<&[u8]> {
    let ours = match message.is_request() {
        true => message.to(),
        false => message.from(),
    };
    token_of(ours.tag()?)
}

impl Endpoint {
    /// Answers a stray for good, without keeping anything of it; what wants no answer is dropped.
    pub fn refuse(&mut self, stray: &Stray, refusal: Refusal) {
        if !stray.wants_answer() {
            return;
        }
        let answer = match refusal {
            Refusal::Gone => Answer::of(481),
            Refusal::NotNow { retry_after_s } => Answer {
                retry_after_s: Some(retry_after_s),
                ..Answer::of(500)
            },
        };
        let key = self.secret.server_key(&stray.message, false);
        self.respond_stateless(&stray.message, &stray.flow, key, &answer);
    }
}
