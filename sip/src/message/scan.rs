//! The scanner: one pass over the bytes, then the checks that decide between a message, a message
//! with a finding, and a rejection.

use bytes::Bytes;
use smallvec::SmallVec;

use super::chars::{is_lws, is_token, number, trim, trim_start};
use super::view::{NameAddr, Scheme, Uri, Via};
use super::{Fault, Line, Message, Method, Name, Rejected, Start, split_list};

/// How the end of a message is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// One message in a datagram. Without Content-Length the body goes to its end; bytes after
    /// Content-Length are ignored.
    Datagram,
    /// A message cut from a stream: Content-Length is required.
    Stream,
}

/// Bounds on one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole message.
    pub message_bytes: usize,
    /// Header lines; a folded header is one.
    pub headers: usize,
    /// Bytes of one header with its name and folds; at most 65,000 are ever allowed. Also the
    /// bound on the start line.
    pub header_bytes: usize,
    /// Folds of one header.
    pub folds: usize,
    /// Via values.
    pub vias: usize,
}

impl Limits {
    /// What a node uses.
    pub const DEFAULT: Self = Self {
        message_bytes: 65_536,
        headers: 128,
        header_bytes: 8_192,
        folds: 16,
        vias: 70,
    };

    pub(crate) fn header_bytes(&self) -> usize {
        self.header_bytes.min(65_000)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Length of a whole message on a stream, of which `head` is everything up to the body.
///
/// # Errors
/// A head whose length cannot be trusted or is beyond the limits: the stream ends here.
pub(crate) fn framed_bytes(head: &[u8], limits: &Limits) -> Result<usize, Rejected> {
    let bytes = Bytes::copy_from_slice(head);
    let scanned = scan(&bytes, limits);
    let (start, method, _) = read_start(&bytes, scanned.start_line)?;
    let message = Message::unchecked(bytes, start, method, scanned.lines, scanned.end);
    if let Some(fault) = scanned.fault {
        return Err(Rejected::of(fault, message));
    }
    let length = match declared_length(&message) {
        Ok(Some(length)) => length,
        Ok(None) => return Err(Rejected::of(Fault::NoContentLength, message)),
        Err(fault) => return Err(Rejected::of(fault, message)),
    };
    let whole = usize::try_from(length)
        .ok()
        .and_then(|length| head.len().checked_add(length));
    match whole.filter(|&whole| whole <= limits.message_bytes) {
        Some(whole) => Ok(whole),
        None => Err(Rejected::of(Fault::BodyTooLarge, message)),
    }
}

impl Message {
    fn unchecked(
        bytes: Bytes,
        start: Start,
        method: Option<Method>,
        lines: SmallVec<[Line; super::INLINE_LINES]>,
        head_end: usize,
    ) -> Self {
        Self {
            // `parse` and the framer keep messages below 4 GiB.
            body: (head_end as u32, head_end as u32),
            bytes,
            start,
            method: method.unwrap_or(Method::Options),
            lines,
            cseq: 0,
            finding: None,
            source: None,
        }
    }
}

/// What the single pass found.
struct Head {
    start_line: (usize, usize),
    lines: SmallVec<[Line; super::INLINE_LINES]>,
    /// Where the body starts.
    end: usize,
    fault: Option<Fault>,
}

pub(super) fn parse(bytes: Bytes, framing: Framing, limits: &Limits) -> Result<Message, Rejected> {
    if bytes.len() > limits.message_bytes.min(u32::MAX as usize) {
        return Err(Rejected::silent(Fault::MessageTooLarge));
    }
    let head = scan(&bytes, limits);
    let (start, method, start_fault) = read_start(&bytes, head.start_line)?;
    let is_request = matches!(start, Start::Request { .. });
    let mut message = Message::unchecked(bytes, start, method, head.lines, head.end);
    if let Some(fault) = head.fault {
        return Err(Rejected::of(fault, message));
    }
    match body_range(&message, framing) {
        Ok(body) => message.body = body,
        Err(fault) => return Err(Rejected::of(fault, message)),
    }
    let (cseq, method) = match check_mandatory(&message, limits) {
        Ok(cseq) => cseq,
        Err(fault) => return Err(Rejected::of(fault, message)),
    };
    if is_request && method != message.method {
        return Err(Rejected::of(Fault::MethodMismatch, message));
    }
    message.cseq = cseq;
    message.method = method;
    // What a response says beyond the headers that match it is not worth losing a call for.
    if is_request {
        message.finding = start_fault.or_else(|| find(&message)).map(Into::into);
    }
    Ok(message)
}

/// Cuts the head into lines. Stops at the first fault, but keeps what was found until then, so that
/// a request can be answered.
fn scan(bytes: &[u8], limits: &Limits) -> Head {
    // Keep-alives and blank lines before the start line are ignored (RFC 3261 section 7.5).
    let first = bytes
        .iter()
        .take_while(|&&b| matches!(b, b'\r' | b'\n'))
        .count();
    let mut head = Head {
        start_line: (first, first),
        lines: SmallVec::new(),
        end: bytes.len(),
        fault: None,
    };
    let Some(lf) = memchr::memchr(b'\n', &bytes[first..]) else {
        head.start_line.1 = bytes.len();
        head.fault = Some(Fault::HeadNotEnded);
        return head;
    };
    let mut at = first + lf + 1;
    head.start_line.1 = at - 1;
    if lf > limits.header_bytes() {
        head.fault = Some(Fault::HeaderTooLong);
        return head;
    }
    loop {
        match bytes.get(at..) {
            Some([b'\n', ..]) => {
                head.end = at + 1;
                return head;
            }
            Some([b'\r', b'\n', ..]) => {
                head.end = at + 2;
                return head;
            }
            None | Some([]) => {
                head.fault = Some(Fault::HeadNotEnded);
                return head;
            }
            Some(_) => {}
        }
        if head.lines.len() == limits.headers {
            head.fault = Some(Fault::TooManyHeaders);
            return head;
        }
        match scan_line(bytes, at, limits) {
            Ok((line, next)) => {
                head.lines.push(line);
                at = next;
            }
            Err(fault) => {
                head.fault = Some(fault);
                return head;
            }
        }
    }
}

/// One header with its folds; also where the next line starts.
fn scan_line(bytes: &[u8], start: usize, limits: &Limits) -> Result<(Line, usize), Fault> {
    let mut folds = 0;
    let mut at = start;
    let (end, next) = loop {
        let Some(found) = bytes
            .get(at..)
            .and_then(|rest| memchr::memchr2(b'\r', b'\n', rest))
        else {
            return Err(Fault::HeadNotEnded);
        };
        let end = at + found;
        if end - start > limits.header_bytes() {
            return Err(Fault::HeaderTooLong);
        }
        let next = match (bytes[end], bytes.get(end + 1)) {
            (b'\n', _) => end + 1,
            (_, Some(b'\n')) => end + 2,
            (_, None) => return Err(Fault::HeadNotEnded),
            _ => return Err(Fault::BareCr),
        };
        if !matches!(bytes.get(next), Some(b' ' | b'\t')) {
            break (end, next);
        }
        folds += 1;
        if folds > limits.folds {
            return Err(Fault::TooManyFolds);
        }
        at = next;
    };
    let text = &bytes[start..end];
    let colon = memchr::memchr(b':', text).ok_or(Fault::HeaderName)?;
    let name = &text[..colon];
    let name_len = name.len()
        - name
            .iter()
            .rev()
            .take_while(|&&b| matches!(b, b' ' | b'\t'))
            .count();
    if !is_token(&text[..name_len]) {
        return Err(Fault::HeaderName);
    }
    let after = &text[colon + 1..];
    let value = trim_start(after);
    let value_start = text.len() - value.len();
    let value_end = value_start + trim(value).len();
    // All of these are within `header_bytes()`, which is at most 65,000.
    let line = Line {
        start: start as u32,
        name_len: name_len as u16,
        value: value_start as u16,
        value_end: value_end as u16,
        end: text.len() as u16,
        name: Name::read(&text[..name_len]),
        folded: folds > 0,
    };
    Ok((line, next))
}

/// The start line; for a request also its method, and what its URI or version must be refused for.
fn read_start(
    bytes: &[u8],
    (start, end): (usize, usize),
) -> Result<(Start, Option<Method>, Option<Fault>), Rejected> {
    let not_sip = || Rejected::silent(Fault::NotSip);
    // Blanks after the version are let through (RFC 4475 "trws"), and so is a bare LF.
    let line = trim(&bytes[start..end]);
    if line.contains(&b'\r') {
        return Err(not_sip());
    }
    let offset = |part: &[u8]| {
        // `part` lies within `bytes`; the difference of the addresses is its offset.
        let from = part.as_ptr() as usize - bytes.as_ptr() as usize;
        (from as u32, (from + part.len()) as u32)
    };
    if line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"SIP/") {
        let mut parts = line.splitn(3, |&b| b == b' ');
        let version = parts.next().unwrap_or_default();
        let code = parts.next().unwrap_or_default();
        let reason = parts
            .next()
            .map_or((end as u32, end as u32), |r| offset(trim(r)));
        if !version.eq_ignore_ascii_case(b"SIP/2.0") {
            return Err(Rejected::silent(Fault::Version));
        }
        let status =
            number::<u16>(code).filter(|status| code.len() == 3 && (100..700).contains(status));
        let status = status.ok_or_else(|| Rejected::silent(Fault::Status))?;
        return Ok((Start::Response { status, reason }, None, None));
    }
    let first = memchr::memchr(b' ', line).ok_or_else(not_sip)?;
    let last = memchr::memrchr(b' ', line)
        .filter(|&last| last > first)
        .ok_or_else(not_sip)?;
    let (method, version) = (&line[..first], &line[last + 1..]);
    if !is_token(method) || version.len() < 5 || !version[..4].eq_ignore_ascii_case(b"SIP/") {
        return Err(not_sip());
    }
    let between = &line[first + 1..last];
    let uri = trim(between);
    let fault = if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        Some(Fault::Version)
    } else if uri.is_empty() || uri.len() != between.len() {
        Some(Fault::RequestUri)
    } else {
        uri_fault(uri)
    };
    let fault = fault.filter(|_| method != b"ACK");
    Ok((
        Start::Request { uri: offset(uri) },
        Some(Method::read(method)),
        fault,
    ))
}

/// What a request URI must be refused for: malformed, with headers (RFC 4475 "escruri"), or of a
/// scheme nobody here understands.
fn uri_fault(uri: &[u8]) -> Option<Fault> {
    match Uri::parse(uri) {
        None => Some(Fault::RequestUri),
        Some(uri) if uri.scheme == Scheme::Other => Some(Fault::Scheme),
        Some(uri) => (!uri.headers.is_empty()).then_some(Fault::RequestUri),
    }
}

/// The one rule for Content-Length, for datagrams and streams alike: digits only, and all that
/// stand agree.
fn declared_length(message: &Message) -> Result<Option<u64>, Fault> {
    let mut length = None;
    for header in message.lines().filter(|h| h.name == Name::ContentLength) {
        let this = number::<u64>(header.value).ok_or(Fault::ContentLength)?;
        if length.is_some_and(|length| length != this) {
            return Err(Fault::TwoContentLengths);
        }
        length = Some(this);
    }
    Ok(length)
}

fn body_range(message: &Message, framing: Framing) -> Result<(u32, u32), Fault> {
    let start = message.body.0;
    let there = message.bytes.len() as u64 - u64::from(start);
    let length = match (declared_length(message)?, framing) {
        (Some(length), _) => length,
        (None, Framing::Datagram) => there,
        (None, Framing::Stream) => return Err(Fault::NoContentLength),
    };
    if length > there {
        return Err(Fault::BodyShort);
    }
    Ok((start, start + length as u32))
}

/// Checks the headers that [`Message`] promises, each once, and reads CSeq.
fn check_mandatory(message: &Message, limits: &Limits) -> Result<(u32, Method), Fault> {
    let mut via_lines = false;
    let mut vias = 0;
    let (mut from, mut to, mut call_id, mut cseq) = (None, None, None, None);
    for header in message.lines() {
        let slot = match header.name {
            Name::Via => {
                via_lines = true;
                for value in split_list(header.value) {
                    vias += 1;
                    if vias > limits.vias {
                        return Err(Fault::TooManyVias);
                    }
                    if Via::parse(value).is_none() {
                        return Err(Fault::Malformed("Via"));
                    }
                }
                continue;
            }
            Name::From => &mut from,
            Name::To => &mut to,
            Name::CallId => &mut call_id,
            Name::CSeq => &mut cseq,
            _ => continue,
        };
        if slot.replace(header.value).is_some() {
            return Err(Fault::Repeated(header.name.as_str()));
        }
    }
    if !via_lines {
        return Err(Fault::Mandatory("Via"));
    }
    from.and_then(NameAddr::parse)
        .ok_or(Fault::Mandatory("From"))?;
    to.and_then(NameAddr::parse).ok_or(Fault::Mandatory("To"))?;
    call_id
        .filter(|id| !id.is_empty() && !id.iter().any(|&b| is_lws(b)))
        .ok_or(Fault::Mandatory("Call-ID"))?;
    cseq.and_then(read_cseq).ok_or(Fault::Mandatory("CSeq"))
}

fn read_cseq(value: &[u8]) -> Option<(u32, Method)> {
    let end = value.iter().position(|&b| is_lws(b))?;
    let method = trim(&value[end..]);
    Some((
        number(&value[..end])?,
        is_token(method).then(|| Method::read(method))?,
    ))
}

/// What else a request that can be matched must be refused for.
fn find(message: &Message) -> Option<Fault> {
    let mut hops = None;
    for header in message.lines() {
        let fault = match header.name {
            Name::MaxForwards => hops
                .replace(number::<u8>(header.value))
                .map(|_| Fault::Repeated("Max-Forwards")),
            Name::Contact | Name::Route | Name::RecordRoute => {
                let sound = header.value.is_empty()
                    || split_list(header.value).all(|value| NameAddr::parse(value).is_some());
                (!sound).then(|| Fault::Malformed(header.name.as_str()))
            }
            _ => None,
        };
        if fault.is_some() {
            return fault;
        }
    }
    match hops {
        Some(None) => Some(Fault::Malformed("Max-Forwards")),
        Some(Some(0)) if message.method == Method::Invite && message.to().tag().is_none() => {
            Some(Fault::Hops)
        }
        _ => None,
    }
}
