//! What can be wrong with a message, and how it is said.

use std::net::SocketAddr;

use bytes::Bytes;

use super::{Message, Method, Writer};

/// What is wrong with received bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// No request line or status line of SIP.
    #[error("start line is not SIP")]
    NotSip,
    /// More bytes than [`Limits::message_bytes`](super::Limits::message_bytes).
    #[error("message too large")]
    MessageTooLarge,
    /// The blank line that ends the headers is missing.
    #[error("headers are not ended by a blank line")]
    HeadNotEnded,
    /// More headers than allowed.
    #[error("too many headers")]
    TooManyHeaders,
    /// A header longer than allowed.
    #[error("header too long")]
    HeaderTooLong,
    /// A header folded more often than allowed.
    #[error("header folded too often")]
    TooManyFolds,
    /// A line without a colon, or with something else than a token before it.
    #[error("header line without a name")]
    HeaderName,
    /// A CR that no LF follows, inside the headers.
    #[error("bare CR in a header")]
    BareCr,
    /// Content-Length is missing on a stream.
    #[error("no Content-Length on a stream")]
    NoContentLength,
    /// Content-Length is not a number, or too large to be one.
    #[error("malformed Content-Length")]
    ContentLength,
    /// Two Content-Lengths that differ.
    #[error("two different Content-Lengths")]
    TwoContentLengths,
    /// On a stream, a Content-Length beyond what a message may have.
    #[error("body too large")]
    BodyTooLarge,
    /// Fewer bytes than Content-Length says.
    #[error("body shorter than Content-Length")]
    BodyShort,
    /// A header without which a message cannot be answered is missing or malformed.
    #[error("no usable {0}")]
    Mandatory(&'static str),
    /// A header that may stand once stands twice.
    #[error("more than one {0}")]
    Repeated(&'static str),
    /// More Via values than allowed.
    #[error("too many Vias")]
    TooManyVias,
    /// A status outside 100–699.
    #[error("status out of range")]
    Status,
    /// The method of CSeq is not that of the request.
    #[error("CSeq names another method")]
    MethodMismatch,
    /// A SIP version other than 2.0.
    #[error("SIP version not supported")]
    Version,
    /// The request URI is malformed.
    #[error("malformed request URI")]
    RequestUri,
    /// The request URI's scheme is not sip, sips or tel.
    #[error("URI scheme not supported")]
    Scheme,
    /// Another header is malformed.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// Max-Forwards is 0.
    #[error("too many hops")]
    Hops,
}

impl Fault {
    /// The status a request with this fault is answered with.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Version => 505,
            Self::Scheme => 416,
            Self::Hops => 483,
            Self::BodyTooLarge => 413,
            Self::MessageTooLarge => 513,
            _ => 400,
        }
    }

    /// A metrics label: one of a fixed set.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotSip => "not_sip",
            Self::MessageTooLarge => "message_too_large",
            Self::HeadNotEnded => "head_not_ended",
            Self::TooManyHeaders => "too_many_headers",
            Self::HeaderTooLong => "header_too_long",
            Self::TooManyFolds => "too_many_folds",
            Self::HeaderName => "header_name",
            Self::BareCr => "bare_cr",
            Self::NoContentLength => "no_content_length",
            Self::ContentLength => "content_length",
            Self::TwoContentLengths => "two_content_lengths",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyShort => "body_short",
            Self::Mandatory(_) => "mandatory_header",
            Self::Repeated(_) => "repeated_header",
            Self::TooManyVias => "too_many_vias",
            Self::Status => "status",
            Self::MethodMismatch => "method_mismatch",
            Self::Version => "version",
            Self::RequestUri => "request_uri",
            Self::Scheme => "scheme",
            Self::Malformed(_) => "malformed_header",
            Self::Hops => "hops",
        }
    }
}

/// Something to refuse a request for, although it can be read and matched to a transaction: the
/// transaction layer answers it with `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// 400, 416, 483 or 505.
    pub status: u16,
    /// What was found first.
    pub why: Fault,
}

impl From<Fault> for Finding {
    fn from(why: Fault) -> Self {
        Self {
            status: why.status(),
            why,
        }
    }
}

/// Bytes that are no message, or one that no transaction can be made of.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{why}")]
pub struct Rejected {
    /// The status to answer with, when it was a recognisable request other than ACK; `None` for
    /// responses and everything else, which is dropped in silence.
    pub status: Option<u16>,
    /// What was found first.
    pub why: Fault,
    pub(super) partial: Option<Box<Message>>,
}

impl Rejected {
    /// A rejection without anything to answer.
    pub(crate) fn silent(why: Fault) -> Self {
        Self {
            status: None,
            why,
            partial: None,
        }
    }

    pub(super) fn of(why: Fault, partial: Message) -> Self {
        let answerable = partial.is_request()
            && *partial.method() != Method::Ack
            && !partial.top_via().host.is_empty();
        Self {
            status: answerable.then(|| why.status()),
            why,
            partial: answerable.then(|| Box::new(partial)),
        }
    }

    /// The answer to send, and for a datagram where to: the Vias, From, To, Call-ID and CSeq that
    /// were found, copied. `None` when there is nothing to answer.
    #[must_use]
    pub fn answer(&self, writer: &mut Writer, source: SocketAddr) -> Option<(Bytes, SocketAddr)> {
        let mut request = self.partial.as_ref()?.as_ref().clone();
        request.set_source(source);
        let to = request.reply_address()?;
        Some((writer.respond(&request, self.status?, None).finish(), to))
    }
}
