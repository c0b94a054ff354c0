//! Writing messages: a reusable buffer, headers in the order asked for, Content-Length by itself.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::chars::is_lws;
use super::{Header, Message, Method, Name, Via};

/// The transports the switch speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Streams.
    Tcp,
}

impl Transport {
    /// As it stands in a Via.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }

    /// A metrics label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// Writes one message after another. Start with [`Writer::request`], [`Writer::response`] or
/// [`Writer::respond`]; whatever was left unfinished before is dropped. A CR or LF in a value that
/// is not copied from a message becomes a blank, so no value can add a header.
#[derive(Debug, Default)]
pub struct Writer {
    head: Vec<u8>,
}

impl Writer {
    /// An empty writer; its buffer grows with the first messages and stays.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a request.
    pub fn request(&mut self, method: &Method, uri: &[u8]) -> &mut Self {
        self.head.clear();
        self.text(method.as_bytes());
        self.head.push(b' ');
        self.text(uri);
        self.head.extend_from_slice(b" SIP/2.0\r\n");
        self
    }

    /// Starts a response; `reason` is usually [`reason_phrase`].
    pub fn response(&mut self, status: u16, reason: &[u8]) -> &mut Self {
        self.head.clear();
        self.head.extend_from_slice(b"SIP/2.0 ");
        self.number(u64::from(status));
        self.head.push(b' ');
        self.text(reason);
        self.end_line()
    }

    /// Starts the response to a request (RFC 3261 section 8.2.6): all its Vias, with `received` and
    /// `rport` in the top one when the request's source is known, From, To with `to_tag` where the
    /// request had none (never in a 100), Call-ID, CSeq, and Timestamp in a 100. Record-Route is
    /// for the caller to copy into responses that make a dialog.
    pub fn respond(&mut self, request: &Message, status: u16, to_tag: Option<&[u8]>) -> &mut Self {
        self.respond_with(request, status, reason_phrase(status).as_bytes(), to_tag)
    }

    /// As [`Writer::respond`] with another reason phrase.
    pub fn respond_with(
        &mut self,
        request: &Message,
        status: u16,
        reason: &[u8],
        to_tag: Option<&[u8]>,
    ) -> &mut Self {
        self.response(status, reason);
        let mut top = true;
        for header in request.lines() {
            match header.name {
                Name::Via => {
                    self.via_line(&header, request.source.filter(|_| top));
                    top = false;
                }
                Name::From | Name::CallId | Name::CSeq => {
                    self.line(&header);
                }
                Name::Timestamp if status == 100 => {
                    self.line(&header);
                }
                Name::To => {
                    self.line(&header);
                    if let Some(tag) =
                        to_tag.filter(|_| status > 100 && request.to().tag().is_none())
                    {
                        self.head.truncate(self.head.len() - 2);
                        self.head.extend_from_slice(b";tag=");
                        self.text(tag);
                        self.end_line();
                    }
                }
                _ => {}
            }
        }
        self
    }

    /// Adds a header.
    pub fn header(&mut self, name: Name, value: impl AsRef<[u8]>) -> &mut Self {
        self.other(name.as_str().as_bytes(), value)
    }

    /// Adds a header whose value is put together from parts.
    pub fn header_of(&mut self, name: Name, parts: &[&[u8]]) -> &mut Self {
        self.head.extend_from_slice(name.as_str().as_bytes());
        self.head.extend_from_slice(b": ");
        for part in parts {
            self.text(part);
        }
        self.end_line()
    }

    /// Adds a header with a number.
    pub fn header_number(&mut self, name: Name, value: u64) -> &mut Self {
        self.head.extend_from_slice(name.as_str().as_bytes());
        self.head.extend_from_slice(b": ");
        self.number(value);
        self.end_line()
    }

    /// Adds a header of any name.
    pub fn other(&mut self, name: &[u8], value: impl AsRef<[u8]>) -> &mut Self {
        self.text(name);
        self.head.extend_from_slice(b": ");
        self.text(value.as_ref());
        self.end_line()
    }

    /// Adds a received header byte for byte.
    pub fn line(&mut self, header: &Header<'_>) -> &mut Self {
        let bare_lf = |line: &[u8]| {
            memchr::memchr_iter(b'\n', line).any(|at| at == 0 || line[at - 1] != b'\r')
        };
        if header.folded && bare_lf(header.line) {
            // A fold made of LF alone, which others may not read as one.
            return self.other(header.name_bytes, header.unfolded());
        }
        self.head.extend_from_slice(header.line);
        self.end_line()
    }

    /// Copies every header of this name byte for byte, top to bottom.
    pub fn copy(&mut self, from: &Message, name: Name) -> &mut Self {
        for header in from.lines().filter(|h| h.name == name) {
            self.line(&header);
        }
        self
    }

    /// Adds a Via of our own (RFC 3581: it asks for the port).
    pub fn via(&mut self, transport: Transport, sent_by: SocketAddr, branch: &[u8]) -> &mut Self {
        self.head.extend_from_slice(b"Via: SIP/2.0/");
        self.head.extend_from_slice(transport.as_str().as_bytes());
        // Without the scope that the address itself would print.
        match sent_by.ip() {
            IpAddr::V4(ip) => self.display(format_args!(" {ip}:")),
            IpAddr::V6(ip) => self.display(format_args!(" [{ip}]:")),
        }
        self.number(u64::from(sent_by.port()));
        self.head.extend_from_slice(b";rport;branch=");
        self.text(branch);
        self.end_line()
    }

    /// Copies the top Via value alone, as CANCEL and the ACK of a failure want it.
    pub fn top_via_of(&mut self, from: &Message) -> &mut Self {
        let Some(value) = from.values(Name::Via).next() else {
            return self;
        };
        self.head.extend_from_slice(b"Via: ");
        self.text(value);
        self.end_line()
    }

    /// Adds CSeq.
    pub fn cseq(&mut self, number: u32, method: &Method) -> &mut Self {
        self.head.extend_from_slice(b"CSeq: ");
        self.number(u64::from(number));
        self.head.push(b' ');
        self.text(method.as_bytes());
        self.end_line()
    }

    /// Ends a message without a body.
    #[must_use]
    pub fn finish(&mut self) -> Bytes {
        self.finish_with(b"")
    }

    /// Ends a message with a body of the given type.
    #[must_use]
    pub fn finish_body(&mut self, content_type: &[u8], body: &[u8]) -> Bytes {
        if !body.is_empty() {
            self.header(Name::ContentType, content_type);
        }
        self.finish_with(body)
    }

    /// Ends a message with a body whose Content-Type was already added. The result has its own
    /// allocation of just its size, so keeping it for retransmission pins nothing else.
    #[must_use]
    pub fn finish_with(&mut self, body: &[u8]) -> Bytes {
        self.header_number(Name::ContentLength, body.len() as u64);
        self.end_line();
        self.head.extend_from_slice(body);
        let message = Bytes::copy_from_slice(&self.head);
        self.head.clear();
        message
    }

    /// A Via line of a request in its response: the first value of the top one tells where the
    /// request came from (RFC 3261 section 18.2.1, RFC 3581 section 4).
    fn via_line(&mut self, header: &Header<'_>, source: Option<SocketAddr>) {
        let first_len = super::find_outside(header.value, b',').unwrap_or(header.value.len());
        let parsed = Via::parse(&header.value[..first_len]);
        let (Some(source), Some(via)) = (source, parsed) else {
            self.line(header);
            return;
        };
        let ip = source.ip().to_canonical();
        if via.rport.is_none() && via.received.is_none() && super::host_ip(via.host) == Some(ip) {
            self.line(header);
            return;
        }
        self.head.extend_from_slice(b"Via: ");
        self.text(via.head);
        for (name, value) in via.params.iter() {
            if name.eq_ignore_ascii_case(b"received") || name.eq_ignore_ascii_case(b"rport") {
                continue;
            }
            self.head.push(b';');
            self.text(name);
            if let Some(value) = value {
                self.head.push(b'=');
                self.text(value);
            }
        }
        self.display(format_args!(";received={ip}"));
        if via.rport.is_some() {
            self.display(format_args!(";rport={}", source.port()));
        }
        self.text(&header.value[first_len..]);
        self.end_line();
    }

    fn end_line(&mut self) -> &mut Self {
        self.head.extend_from_slice(b"\r\n");
        self
    }

    /// Appends a value with its line ends made blanks; a fold shrinks to one blank.
    fn text(&mut self, mut text: &[u8]) {
        while let Some(at) = memchr::memchr2(b'\r', b'\n', text) {
            self.head.extend_from_slice(&text[..at]);
            self.head.push(b' ');
            let gap = text[at..].iter().take_while(|&&b| is_lws(b)).count();
            text = &text[at + gap..];
        }
        self.head.extend_from_slice(text);
    }

    fn number(&mut self, mut value: u64) {
        // As many digits as the largest number has.
        let mut digits = [b'0'; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] += (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.head.extend_from_slice(&digits[at..]);
    }

    fn display(&mut self, args: std::fmt::Arguments<'_>) {
        self.head
            .write_fmt(args)
            .expect("writing to memory cannot fail");
    }
}

/// The usual reason phrase of a status (RFC 3261 section 21 and the IANA registry).
#[must_use]
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        199 => "Early Dialog Terminated",
        200 => "OK",
        202 => "Accepted",
        204 => "No Notification",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        305 => "Use Proxy",
        380 => "Alternative Service",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        412 => "Conditional Request Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        417 => "Unknown Resource-Priority",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        428 => "Use Identity Header",
        429 => "Provide Referrer Identity",
        430 => "Flow Failed",
        433 => "Anonymity Disallowed",
        436 => "Bad Identity Info",
        437 => "Unsupported Credential",
        438 => "Invalid Identity Header",
        439 => "First Hop Lacks Outbound Support",
        440 => "Max-Breadth Exceeded",
        469 => "Bad Info Package",
        470 => "Consent Needed",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        493 => "Undecipherable",
        494 => "Security Agreement Required",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        555 => "Push Notification Service Not Supported",
        580 => "Precondition Failure",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        607 => "Unwanted",
        608 => "Rejected",
        other => match other / 100 {
            1 => "Progress",
            2 => "OK",
            3 => "Redirection",
            4 => "Request Failure",
            5 => "Server Failure",
            _ => "Global Failure",
        },
    }
}
