//! Legs: what the node says to one far end and hears from it.
//!
//! A leg is one far end of a call: an INVITE that came in or went out, and the dialog that grew of it. The node hears
//! [`LegEvent`]s and gives [`Command`]s; tags, sequence numbers, repeats and crossings are the leg's own business.
//! Every leg's last event is [`LegEvent::Ended`], exactly once, whatever happened.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::message::Method;
use crate::timer::Millis;
use crate::transport::Flow;

/// Names a leg within its shard. Never used again after the leg has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub u64);

/// Names a leg's call in the node's own words. It stands behind the random part of our tag, which every message of the
/// dialog brings back whatever way it comes, so that who gets one can tell whose it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token {
    bytes: [u8; Token::BYTES_MAX],
    length: u8,
}

impl Token {
    /// The longest.
    pub const BYTES_MAX: usize = 32;

    /// 1 to 32 letters, digits and hyphens; `None` for anything else.
    pub fn new(text: &[u8]) -> Option<Self> {
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        if !(1..=Self::BYTES_MAX).contains(&text.len()) || !text.iter().all(fits) {
            return None;
        }
        let mut bytes = [0; Self::BYTES_MAX];
        bytes[..text.len()].copy_from_slice(text);
        Some(Self {
            bytes,
            length: text.len() as u8,
        })
    }

    /// Its text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({})", self.as_bytes().escape_ascii())
    }
}

/// SDP or anything else, passed through untouched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The value of Content-Type.
    pub content_type: Bytes,
    /// The body as it stood on the wire.
    pub bytes: Bytes,
}

impl Body {
    /// A session description.
    pub fn sdp(bytes: impl Into<Bytes>) -> Self {
        Self {
            content_type: Bytes::from_static(b"application/sdp"),
            bytes: bytes.into(),
        }
    }
}

/// Which request carries an offer inside a dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Offer {
    /// A re-INVITE, RFC 3261 §14.
    Invite,
    /// RFC 3311.
    Update,
}

/// Why something ended, as the Reason header says it (RFC 3326).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cause {
    /// `Q.850;cause=`, 1 to 127.
    pub q850: Option<u16>,
    /// `SIP;cause=`, a status code.
    pub sip: Option<u16>,
    /// The text of whichever was given, without quotes. Quotes, backslashes and control octets do not go out.
    pub text: Option<Bytes>,
}

impl Cause {
    /// A Q.850 cause without text.
    pub fn q850(cause: u16) -> Self {
        Self {
            q850: Some(cause),
            ..Self::default()
        }
    }
}

/// An outbound leg to be made.
#[derive(Debug, Clone)]
pub struct Dial {
    /// Where from, where to and over what.
    pub flow: Flow,
    /// The callee as the request's target, e.g. `sip:13800138000@10.0.0.1`.
    pub request_uri: Bytes,
    /// The caller: a name-addr or bracketed URI without tag.
    pub from: Bytes,
    /// The callee: a name-addr or bracketed URI without tag.
    pub to: Bytes,
    /// `None`: the endpoint makes one that belongs to its own shard.
    pub call_id: Option<Bytes>,
    /// Further headers, written as they are; line ends in values become blanks.
    pub headers: Vec<(Bytes, Bytes)>,
    /// The offer; without one the far end is asked for it.
    pub body: Option<Body>,
    /// Already counted down by one for this hop.
    pub max_forwards: u32,
    /// Ringing longer than this is cancelled; 0 takes the endpoint's own limit.
    pub ringing_limit_ms: u64,
    /// No response at all for this long gives up before timer B does; 0 waits for timer B (32 s).
    pub no_response_ms: u64,
    /// Names the call in our tag.
    pub token: Option<Token>,
}

/// An INVITE outside any dialog. All values are copies, but the body shares the received bytes.
#[derive(Debug, Clone)]
pub struct Invited {
    /// Where it came in.
    pub flow: Flow,
    /// Call-ID.
    pub call_id: Bytes,
    /// The target.
    pub request_uri: Bytes,
    /// From, whole.
    pub from: Bytes,
    /// To, whole.
    pub to: Bytes,
    /// P-Asserted-Identity, first value.
    pub p_asserted_identity: Option<Bytes>,
    /// Remote-Party-ID, first value.
    pub remote_party_id: Option<Bytes>,
    /// P-Preferred-Identity, first value.
    pub p_preferred_identity: Option<Bytes>,
    /// Diversion, first value.
    pub diversion: Option<Bytes>,
    /// User part of From with its escapes read; empty when there is none.
    pub from_user: String,
    /// Display name of From without quotes; empty when there is none.
    pub from_display: String,
    /// User part of To.
    pub to_user: String,
    /// User part of the target.
    pub uri_user: String,
    /// The offer; `None` asks us for one.
    pub body: Option<Body>,
    /// As received; 70 when absent.
    pub max_forwards: u32,
    /// User-Agent.
    pub user_agent: Option<Bytes>,
    /// Number of Via values.
    pub via_count: usize,
    /// The source of the packet.
    pub received_from: SocketAddr,
}

/// What happened on a leg.
#[derive(Debug, Clone)]
pub enum LegEvent {
    /// A new inbound leg. 100 has been sent.
    Invited(Box<Invited>),
    /// Outbound leg: a provisional response other than 100.
    Progress {
        /// 101 to 199.
        status: u16,
        /// The reason phrase.
        reason: Bytes,
        /// Early media's description, if any.
        body: Option<Body>,
    },
    /// Outbound leg: the first 2xx. [`Command::Ack`] is wanted: until then copies of the 2xx are not acknowledged
    /// either, and a far end that never gets an ACK ends the call by itself (RFC 3261 §13.3.1.4).
    Answered {
        /// The answer, or the offer of a delayed one.
        body: Option<Body>,
    },
    /// Inbound leg: the ACK of our 2xx.
    Confirmed {
        /// The answer to an offer that stood in our 2xx.
        body: Option<Body>,
    },
    /// The far end's re-INVITE or UPDATE; wants [`Command::AcceptReoffer`] or [`Command::RefuseReoffer`].
    Reoffered {
        /// Which of the two.
        via: Offer,
        /// The offer; `None` (re-INVITE only) asks for ours.
        body: Option<Body>,
    },
    /// The far end's UPDATE without a body, which has been answered: what is sent from now on goes to another Contact.
    Moved,
    /// The ACK of the far end's re-INVITE.
    Reconfirmed {
        /// The answer to an offer that stood in our 2xx.
        body: Option<Body>,
    },
    /// The final answer to our [`Command::Reoffer`]. On a 2xx to a re-INVITE the ACK has gone out when we made the
    /// offer; otherwise [`Command::Ack`] is wanted. The call goes on as it was after any other status; when the far
    /// end says that there is no such call (481) or nothing at all (408), [`LegEvent::Ended`] follows.
    Reanswered {
        /// 200 to 699.
        status: u16,
        /// The reason phrase.
        reason: Bytes,
        /// The answer, or the offer of a delayed one.
        body: Option<Body>,
        /// When to try again: drawn by RFC 3261 §14.1 after a 491, or what Retry-After asks.
        retry_after_ms: Option<Millis>,
    },
    /// The far end's INFO, wants [`Command::AnswerInfo`].
    Info {
        /// The value of Content-Type; empty when there is no body.
        content_type: Bytes,
        /// The body.
        bytes: Bytes,
        /// Names it in the answer.
        id: u64,
    },
    /// The final answer to our INFO; 408 when none came.
    InfoAnswered {
        /// 200 to 699.
        status: u16,
    },
    /// The last event of the leg.
    Ended(Ended),
}

/// How a leg ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Who or what ended it.
    pub by: EndedBy,
    /// The Reason header of the BYE, CANCEL or refusal.
    pub cause: Option<Cause>,
}

/// Who or what ended a leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndedBy {
    /// BYE from the far end.
    Bye,
    /// Inbound leg: the caller's CANCEL, before the answer.
    Cancelled,
    /// Outbound leg: a final response of 300 or more. Also a re-INVITE or UPDATE answered with 481.
    Refused {
        /// 300 to 699.
        status: u16,
        /// The reason phrase.
        reason: Bytes,
        /// Retry-After in seconds.
        retry_after_s: Option<u32>,
    },
    /// Time ran out.
    Timeout(Timeout),
    /// The flow broke.
    TransportFailed,
    /// By a command of ours.
    Local,
}

/// What did not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timeout {
    /// Any response to our INVITE (timer B).
    Response,
    /// An answer within the ringing limit.
    Ringing,
    /// The node's decision about an inbound leg, within the set-up limit.
    Setup,
    /// The ACK of our 2xx, 32 s.
    Ack,
    /// An answer to a request of ours inside the dialog.
    Dialog,
}

/// What the node wants of a leg.
#[derive(Debug, Clone)]
pub enum Command {
    /// Inbound leg, before any response but 100: names its call in our tag.
    Name {
        /// The call.
        token: Token,
    },
    /// Inbound leg: a provisional response.
    Progress {
        /// 101 to 199.
        status: u16,
        /// Early media's description, if any.
        body: Option<Body>,
    },
    /// Inbound leg: 200.
    Answer {
        /// The answer; the offer when the INVITE had none.
        body: Option<Body>,
    },
    /// Inbound leg, before the answer: a final refusal.
    Refuse {
        /// 300 to 699.
        status: u16,
        /// `None`: the usual phrase.
        reason: Option<Bytes>,
        /// Retry-After in seconds.
        retry_after_s: Option<u32>,
        /// Goes out as Reason.
        cause: Option<Cause>,
    },
    /// The ACK that an [`LegEvent::Answered`] or [`LegEvent::Reanswered`] waits for.
    Ack {
        /// The answer to the far end's offer; does not go out when the offer was ours.
        body: Option<Body>,
    },
    /// Ends the leg, whatever its state: CANCEL once a provisional response has come, BYE, or 487 to an INVITE not yet
    /// answered. [`LegEvent::Ended`] comes at once; what remains to be said on the wire is said without the node.
    HangUp {
        /// Goes out as Reason.
        cause: Option<Cause>,
    },
    /// A new offer inside the dialog.
    Reoffer {
        /// By which request.
        via: Offer,
        /// The offer; without one a re-INVITE asks the far end for its own, and an UPDATE only tells our Contact.
        body: Option<Body>,
    },
    /// 200 to [`LegEvent::Reoffered`].
    AcceptReoffer {
        /// The answer, or our offer.
        body: Option<Body>,
    },
    /// A refusal of [`LegEvent::Reoffered`].
    RefuseReoffer {
        /// 300 to 699, usually 488 or 491.
        status: u16,
    },
    /// An INFO to the far end.
    Info {
        /// The value of Content-Type.
        content_type: Bytes,
        /// The body.
        bytes: Bytes,
    },
    /// The answer to [`LegEvent::Info`].
    AnswerInfo {
        /// As given by the event.
        id: u64,
        /// 200 to 699.
        status: u16,
    },
}

impl Command {
    /// The command's name, for errors and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Name { .. } => "name",
            Self::Progress { .. } => "progress",
            Self::Answer { .. } => "answer",
            Self::Refuse { .. } => "refuse",
            Self::Ack { .. } => "ack",
            Self::HangUp { .. } => "hang up",
            Self::Reoffer { .. } => "reoffer",
            Self::AcceptReoffer { .. } => "accept reoffer",
            Self::RefuseReoffer { .. } => "refuse reoffer",
            Self::Info { .. } => "info",
            Self::AnswerInfo { .. } => "answer info",
        }
    }
}

/// Why a command was not carried out. Nothing was sent and nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The leg has ended, or never was. Crossings make this ordinary.
    #[error("no leg {0:?}")]
    UnknownLeg(LegId),
    /// The leg is there, but this is not its moment.
    #[error("leg {leg:?} cannot {command} while {state}")]
    NotNow {
        /// The leg.
        leg: LegId,
        /// The command's name.
        command: &'static str,
        /// The leg's state in words.
        state: &'static str,
    },
    /// A re-INVITE or UPDATE is under way in one direction or the other; try again when it is answered.
    #[error("leg {0:?} has an offer pending")]
    OfferPending(LegId),
    /// The status is not one that the command may carry.
    #[error("status {status} cannot {command}")]
    BadStatus {
        /// The status given.
        status: u16,
        /// The command's name.
        command: &'static str,
    },
}

/// What an [`Output::Send`](crate::endpoint::Output::Send) carries, for metrics and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// A request.
    Request {
        /// Its method.
        method: Method,
        /// The same bytes were sent before.
        retransmission: bool,
    },
    /// A response.
    Response {
        /// Its status.
        status: u16,
        /// The same bytes were sent before.
        retransmission: bool,
    },
}
