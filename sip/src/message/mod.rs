//! SIP messages: received bytes, a start line and a table of ranges.
//!
//! [`Message::parse`] scans the bytes once and copies nothing. What it lets through has a top Via,
//! From, To, Call-ID and CSeq that can be read, so the accessors for these need no error case.
//! [`Message::finding`] tells what else a request must be refused for. Everything else is read when
//! asked for, by views that borrow. [`Writer`] makes messages.

mod chars;
mod fault;
mod method;
mod name;
mod scan;
mod view;
mod write;

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use smallvec::SmallVec;

pub use fault::{Fault, Finding, Rejected};
pub use method::Method;
pub use name::Name;
pub(crate) use scan::framed_bytes;
pub use scan::{Framing, Limits};
pub use view::{MAGIC_COOKIE, NameAddr, Params, Scheme, Uri, Via, host_ip, unescape, unquote};
pub use write::{Transport, Writer, reason_phrase};

use chars::{find_outside, number, trim};

/// Headers kept without an allocation; an INVITE of the field has 15 to 20.
const INLINE_LINES: usize = 22;

/// A header line as offsets into the message, 16 bytes.
#[derive(Clone, Copy)]
struct Line {
    start: u32,
    /// Counted from `start`, like all that follow. A header is never longer than 65,000 bytes.
    name_len: u16,
    value: u16,
    value_end: u16,
    end: u16,
    name: Name,
    folded: bool,
}

#[derive(Clone, Copy)]
enum Start {
    Request { uri: (u32, u32) },
    Response { status: u16, reason: (u32, u32) },
}

/// A message as received. Cloning it costs a reference count and a table of about 400 bytes.
#[derive(Clone)]
pub struct Message {
    bytes: Bytes,
    start: Start,
    method: Method,
    lines: SmallVec<[Line; INLINE_LINES]>,
    cseq: u32,
    body: (u32, u32),
    finding: Option<Finding>,
    source: Option<SocketAddr>,
}

/// One header line.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    /// The name, in whichever form it stood.
    pub name: Name,
    /// The name as received.
    pub name_bytes: &'a [u8],
    /// The value as received, trimmed; folds are still in it when `folded`.
    pub value: &'a [u8],
    /// The whole line as received, without its final line end.
    pub line: &'a [u8],
    /// Whether the value goes over several lines.
    pub folded: bool,
}

impl<'a> Header<'a> {
    /// The value on one line: each fold is one blank.
    #[must_use]
    pub fn unfolded(&self) -> Cow<'a, [u8]> {
        if !self.folded {
            return Cow::Borrowed(self.value);
        }
        let mut flat = Vec::with_capacity(self.value.len());
        let mut rest = self.value;
        while let Some(end) = memchr::memchr2(b'\r', b'\n', rest) {
            flat.extend_from_slice(chars::trim(&rest[..end]));
            flat.push(b' ');
            rest = chars::trim_start(&rest[end..]);
        }
        flat.extend_from_slice(rest);
        Cow::Owned(flat)
    }
}

impl Message {
    /// Reads one message with the usual [`Limits`].
    ///
    /// # Errors
    /// [`Rejected`] says what is wrong, and answers it where an answer is due.
    pub fn parse(bytes: Bytes, framing: Framing) -> Result<Self, Rejected> {
        Self::parse_within(bytes, framing, &Limits::DEFAULT)
    }

    /// Reads one message within the given limits.
    ///
    /// # Errors
    /// As [`Message::parse`].
    pub fn parse_within(bytes: Bytes, framing: Framing, limits: &Limits) -> Result<Self, Rejected> {
        scan::parse(bytes, framing, limits)
    }

    /// What a request must be refused for, if anything, by the transaction layer with this status;
    /// an ACK is dropped instead. Responses have none. 483 concerns only requests that
    /// would be passed on; it is set for INVITEs outside a dialog.
    #[must_use]
    pub fn finding(&self) -> Option<Finding> {
        self.finding
    }

    /// Notes where the message came from, for `received` and `rport` of the response's top Via.
    pub fn set_source(&mut self, source: SocketAddr) {
        self.source = Some(source);
    }

    /// Where the message came from, if the transport said so.
    #[must_use]
    pub fn source(&self) -> Option<SocketAddr> {
        self.source
    }

    /// Whether this is a request.
    #[must_use]
    pub fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// The method of a request; of a response, that of its CSeq.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The request URI as received; empty for a response.
    #[must_use]
    pub fn uri(&self) -> &[u8] {
        match self.start {
            Start::Request { uri } => self.slice(uri),
            Start::Response { .. } => b"",
        }
    }

    /// The status; 0 for a request.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.start {
            Start::Request { .. } => 0,
            Start::Response { status, .. } => status,
        }
    }

    /// The reason phrase as received, usually UTF-8; empty for a request.
    #[must_use]
    pub fn reason(&self) -> &[u8] {
        match self.start {
            Start::Request { .. } => b"",
            Start::Response { reason, .. } => self.slice(reason),
        }
    }

    /// Call-ID, compared byte for byte.
    #[must_use]
    pub fn call_id(&self) -> &[u8] {
        self.first(Name::CallId).unwrap_or_default()
    }

    /// Number and method of CSeq.
    #[must_use]
    pub fn cseq(&self) -> (u32, &Method) {
        (self.cseq, &self.method)
    }

    /// From.
    #[must_use]
    pub fn from(&self) -> NameAddr<'_> {
        self.address(Name::From).unwrap_or_default()
    }

    /// To.
    #[must_use]
    pub fn to(&self) -> NameAddr<'_> {
        self.address(Name::To).unwrap_or_default()
    }

    /// The first Contact.
    #[must_use]
    pub fn contact(&self) -> Option<NameAddr<'_>> {
        self.address(Name::Contact)
    }

    /// The first value of any header that holds an address; `None` when absent or malformed.
    #[must_use]
    pub fn address(&self, name: Name) -> Option<NameAddr<'_>> {
        match name {
            // No lists: a comma here is part of the value or a mistake.
            Name::From | Name::To | Name::ReferTo | Name::ReferredBy => {
                NameAddr::parse(self.first(name)?)
            }
            _ => NameAddr::parse(self.values(name).next()?),
        }
    }

    /// The top Via.
    #[must_use]
    pub fn top_via(&self) -> Via<'_> {
        // Only a rejected message can have parameters that cannot be read; it is still answered
        // when transport and host can (RFC 4475 "badinv01").
        let value = self.values(Name::Via).next().unwrap_or_default();
        let head = value.split(|&b| b == b';').next().unwrap_or_default();
        Via::parse(value)
            .or_else(|| Via::parse(head))
            .unwrap_or_default()
    }

    /// Max-Forwards; `None` when absent.
    #[must_use]
    pub fn max_forwards(&self) -> Option<u8> {
        number(self.first(Name::MaxForwards)?)
    }

    /// Expires in seconds; a value too large to hold reads as the largest (RFC 4475 "scalar02"),
    /// a malformed one as absent.
    #[must_use]
    pub fn expires(&self) -> Option<u32> {
        let value = self.first(Name::Expires)?;
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        digits.then(|| number(value).unwrap_or(u32::MAX))
    }

    /// Content-Type as received, with its parameters.
    #[must_use]
    pub fn content_type(&self) -> Option<&[u8]> {
        self.first(Name::ContentType)
    }

    /// Whether the body is SDP: Content-Type is `application/sdp` and the body is not empty.
    #[must_use]
    pub fn has_sdp(&self) -> bool {
        let kind = self.content_type().unwrap_or_default();
        let kind = chars::trim(kind.split(|&b| b == b';').next().unwrap_or_default());
        kind.eq_ignore_ascii_case(b"application/sdp") && !self.body_bytes().is_empty()
    }

    /// The body, sharing the received bytes.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.bytes.slice(self.body.0 as usize..self.body.1 as usize)
    }

    /// The body, borrowed.
    #[must_use]
    pub fn body_bytes(&self) -> &[u8] {
        self.slice(self.body)
    }

    /// The whole message as received, without what a datagram held after the body.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.body.1 as usize]
    }

    /// The first header of this name, on one line.
    #[must_use]
    pub fn header(&self, name: Name) -> Option<Cow<'_, [u8]>> {
        self.headers(name).next()
    }

    /// Every header of this name, each on one line, top to bottom; lists are not split.
    pub fn headers(&self, name: Name) -> impl Iterator<Item = Cow<'_, [u8]>> {
        self.lines()
            .filter(move |h| h.name == name)
            .map(|h| h.unfolded())
    }

    /// The values of all headers of this name, with comma lists split outside quotes and brackets.
    /// Empty elements are left out. Folds are left in: the views read them as white space.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        self.lines()
            .filter(move |h| h.name == name)
            .flat_map(|h| split_list(h.value))
            .filter(|v| !v.is_empty())
    }

    /// The first header with this name, compared without regard to case, for names [`Name`] does
    /// not know.
    #[must_use]
    pub fn other(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.lines()
            .find(|h| h.name_bytes.eq_ignore_ascii_case(name))
            .map(|h| h.unfolded())
    }

    /// Whether a list header names this option, without regard to case.
    #[must_use]
    pub fn lists(&self, name: Name, option: &[u8]) -> bool {
        self.values(name)
            .any(|value| value.eq_ignore_ascii_case(option))
    }

    /// The option tags of Require that are not among `supported`, for 420 with Unsupported
    /// (RFC 3261 section 8.2.2.3).
    pub fn unsupported<'a>(&'a self, supported: &'a [&str]) -> impl Iterator<Item = &'a [u8]> {
        self.values(Name::Require).filter(move |tag| {
            !supported
                .iter()
                .any(|s| s.as_bytes().eq_ignore_ascii_case(tag))
        })
    }

    /// Every header line, top to bottom.
    pub fn lines(&self) -> impl Iterator<Item = Header<'_>> {
        self.lines.iter().map(|line| self.view(line))
    }

    /// Where a response to this request goes when it came in a datagram (RFC 3261 section 18.2.2,
    /// RFC 3581): the source's address, at its port when `rport` was asked for and at the port of
    /// sent-by otherwise. `maddr` is not honoured: it would let anyone aim our answers. `None`
    /// when the source was not noted.
    #[must_use]
    pub fn reply_address(&self) -> Option<SocketAddr> {
        let source = self.source?;
        let via = self.top_via();
        match via.rport {
            Some(_) => Some(source),
            None => Some(SocketAddr::new(source.ip(), via.port.unwrap_or(5060))),
        }
    }

    fn slice(&self, (start, end): (u32, u32)) -> &[u8] {
        &self.bytes[start as usize..end as usize]
    }

    fn view(&self, line: &Line) -> Header<'_> {
        let start = line.start as usize;
        let text = &self.bytes[start..start + usize::from(line.end)];
        Header {
            name: line.name,
            name_bytes: &text[..usize::from(line.name_len)],
            value: &text[usize::from(line.value)..usize::from(line.value_end)],
            line: text,
            folded: line.folded,
        }
    }

    /// The value of the first header of this name, trimmed, folds left in.
    fn first(&self, name: Name) -> Option<&[u8]> {
        self.lines
            .iter()
            .find(|line| line.name == name)
            .map(|line| self.view(line).value)
    }
}

/// Elements of a comma list, trimmed; commas in quotes and brackets do not part.
fn split_list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest?;
        let (element, next) = match find_outside(text, b',') {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        rest = next;
        Some(trim(element))
    })
}

impl fmt::Debug for Message {
    /// One line without user parts or bodies: whole messages and numbers stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Message");
        match self.start {
            Start::Request { .. } => out.field("method", &self.method),
            Start::Response { status, .. } => {
                out.field("status", &status).field("method", &self.method)
            }
        };
        out.field("cseq", &self.cseq)
            .field("headers", &self.lines.len())
            .field("body_bytes", &self.body_bytes().len())
            .field("finding", &self.finding)
            .finish_non_exhaustive()
    }
}
