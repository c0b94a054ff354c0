//! Just enough of a SIP message to relay it: start line, headers in order, body, and the few values
//! in which addresses and numbers stand. Headers must be UTF-8.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const HEADERS_MAX: usize = 256;

/// The headers a proxy cares about; all others pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Via
    Via,
    /// From
    From,
    /// To
    To,
    /// Call-ID
    CallId,
    /// CSeq
    CSeq,
    /// Contact
    Contact,
    /// Route
    Route,
    /// Record-Route
    RecordRoute,
    /// Max-Forwards
    MaxForwards,
    /// Content-Length
    ContentLength,
    /// A header that asserts who calls and is rewritten.
    Identity,
    /// A header that tells where a call has been and is dropped.
    History,
    /// Anything else.
    Other,
}

fn kind(name: &str) -> Kind {
    const KINDS: &[(&str, &str, Kind)] = &[
        ("via", "v", Kind::Via),
        ("from", "f", Kind::From),
        ("to", "t", Kind::To),
        ("call-id", "i", Kind::CallId),
        ("cseq", "cseq", Kind::CSeq),
        ("contact", "m", Kind::Contact),
        ("route", "route", Kind::Route),
        ("record-route", "record-route", Kind::RecordRoute),
        ("max-forwards", "max-forwards", Kind::MaxForwards),
        ("content-length", "l", Kind::ContentLength),
        (
            "p-asserted-identity",
            "p-preferred-identity",
            Kind::Identity,
        ),
        ("remote-party-id", "remote-party-id", Kind::Identity),
        ("diversion", "history-info", Kind::History),
        ("referred-by", "b", Kind::History),
        ("p-called-party-id", "identity", Kind::History),
    ];
    KINDS
        .iter()
        .find(|(long, short, _)| {
            name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(short)
        })
        .map_or(Kind::Other, |(_, _, kind)| *kind)
}

/// One header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Which.
    pub kind: Kind,
    /// As it was written.
    pub name: Cow<'a, str>,
    /// Trimmed, unfolded.
    pub value: Cow<'a, str>,
}

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Request or status line.
    pub start: Cow<'a, str>,
    /// In order.
    pub headers: Vec<Header<'a>>,
    /// What Content-Length covers.
    pub body: Cow<'a, [u8]>,
}

impl<'a> Message<'a> {
    /// Reads a datagram; `None` when it is no SIP message.
    pub fn parse(datagram: &'a [u8]) -> Option<Message<'a>> {
        let end = datagram.windows(4).position(|w| w == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&datagram[..end]).ok()?;
        let mut body = &datagram[end + 4..];
        let mut lines = head.split("\r\n");
        let start = lines.next()?;
        if !start.starts_with("SIP/2.0 ") && !start.ends_with(" SIP/2.0") {
            return None;
        }
        let mut headers: Vec<Header> = Vec::with_capacity(16);
        for line in lines {
            if line.starts_with([' ', '\t']) {
                let last = headers.last_mut()?;
                let joined = format!("{} {}", last.value, line.trim());
                last.value = Cow::Owned(joined);
                continue;
            }
            let (name, value) = line.split_once(':')?;
            let name = name.trim_end();
            if name.is_empty() || headers.len() == HEADERS_MAX {
                return None;
            }
            headers.push(Header {
                kind: kind(name),
                name: Cow::Borrowed(name),
                value: Cow::Borrowed(value.trim()),
            });
        }
        if let Some(length) = headers.iter().find(|h| h.kind == Kind::ContentLength) {
            body = body.get(..length.value.parse::<usize>().ok()?)?;
        }
        Some(Message {
            start: Cow::Borrowed(start),
            headers,
            body: Cow::Borrowed(body),
        })
    }

    /// The first header of a kind.
    pub fn first(&self, kind: Kind) -> Option<&str> {
        let found = self.headers.iter().find(|h| h.kind == kind);
        found.map(|h| h.value.as_ref())
    }

    /// Method and Request-URI; `None` for a response.
    pub fn request(&self) -> Option<(&str, &str)> {
        let mut parts = self.start.split(' ');
        match (parts.next()?, parts.next()?, parts.next()?, parts.next()) {
            (method, uri, "SIP/2.0", None) => Some((method, uri)),
            _ => None,
        }
    }

    /// The status code; `None` for a request.
    pub fn status(&self) -> Option<u16> {
        let rest = self.start.strip_prefix("SIP/2.0 ")?;
        let code = rest.split(' ').next()?;
        code.parse().ok().filter(|code| (100..700).contains(code))
    }

    /// Number and method of CSeq.
    pub fn cseq(&self) -> Option<(u32, &str)> {
        let (number, method) = self.first(Kind::CSeq)?.split_once([' ', '\t'])?;
        Some((number.parse().ok()?, method.trim()))
    }

    /// The bytes to send, with the Content-Length that is true.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024 + self.body.len());
        out.extend_from_slice(self.start.as_bytes());
        out.extend_from_slice(b"\r\n");
        for header in self
            .headers
            .iter()
            .filter(|h| h.kind != Kind::ContentLength)
        {
            for piece in [&header.name, ": ", &header.value, "\r\n"] {
                out.extend_from_slice(piece.as_bytes());
            }
        }
        out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
        out.extend_from_slice(&self.body);
        out
    }
}

/// The first of a comma-separated list and the rest after its comma. Commas in quotes and angle
/// brackets do not separate.
pub fn first_value(list: &str) -> (&str, Option<&str>) {
    let (mut quoted, mut escaped, mut angle) = (false, false, false);
    for (at, c) in list.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => angle = true,
            '>' if !quoted => angle = false,
            ',' if !quoted && !angle => return (list[..at].trim(), Some(list[at + 1..].trim())),
            _ => {}
        }
    }
    (list.trim(), None)
}

/// Where the URI of a name-addr or addr-spec lies, and where the header's parameters begin.
fn parts(value: &str) -> (std::ops::Range<usize>, usize) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in value.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => {
                let end = value[at..].find('>').map_or(value.len(), |n| at + n);
                return (at + 1..end, (end + 1).min(value.len()));
            }
            _ => {}
        }
    }
    // Without brackets every parameter belongs to the header.
    let end = value.find(';').unwrap_or(value.len());
    (0..end, end)
}

/// The URI of an address.
pub fn uri(value: &str) -> &str {
    value[parts(value).0].trim()
}

/// The header parameters of an address, with their leading semicolon.
pub fn params(value: &str) -> &str {
    &value[parts(value).1..]
}

/// A parameter's value in `;a=1;b`, an empty one for a flag.
pub fn param<'a>(params: &'a str, name: &str) -> Option<&'a str> {
    params.split(';').skip(1).find_map(|item| {
        let (n, value) = item.split_once('=').unwrap_or((item, ""));
        n.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The tag of a From or To.
pub fn tag(value: &str) -> Option<&str> {
    param(params(value), "tag").filter(|tag| !tag.is_empty())
}

/// An address with another user in its URI; unchanged where there is no user.
pub fn with_user(value: &str, user: &str) -> String {
    let (range, _) = parts(value);
    let uri = &value[range.clone()];
    let Some(old) = user_range(uri) else {
        return value.to_owned();
    };
    let (start, end) = (range.start + old.start, range.start + old.end);
    format!("{}{user}{}", &value[..start], &value[end..])
}

/// The user part of a URI, as for `sip:user@host`, `sip:user:password@host` and `tel:user`.
pub fn user(uri: &str) -> Option<&str> {
    user_range(uri).map(|range| &uri[range])
}

fn user_range(uri: &str) -> Option<std::ops::Range<usize>> {
    let scheme = uri.find(':')? + 1;
    let rest = &uri[scheme..];
    if uri[..scheme].eq_ignore_ascii_case("tel:") {
        let end = rest.find(';').unwrap_or(rest.len());
        return Some(scheme..scheme + end);
    }
    let at = rest.find('@')?;
    // Parameters of the user part (`;phone-context=`) and a password are not the number.
    let end = rest[..at].find([';', ':']).unwrap_or(at);
    Some(scheme..scheme + end)
}

/// Host and port of a `sip:` URI whose host is an address or `localhost`.
pub fn host_port(uri: &str) -> Option<SocketAddr> {
    let scheme = uri.find(':')? + 1;
    if !uri[..scheme].eq_ignore_ascii_case("sip:") {
        return None;
    }
    let rest = &uri[scheme..];
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let end = rest.find([';', '?', '>']).unwrap_or(rest.len());
    address(&rest[..end])
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`; port 5060 when there is none.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let ip = if host.eq_ignore_ascii_case("localhost") {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    } else {
        host.parse().ok()?
    };
    let port = match port {
        Some(port) => port.trim().parse().ok().filter(|port| *port != 0)?,
        None => 5060,
    };
    Some(SocketAddr::new(ip, port))
}

/// Sent-by and parameters of a Via value.
pub fn via(value: &str) -> Option<(&str, &str)> {
    let rest = value.trim();
    let (protocol, rest) = rest.split_once([' ', '\t'])?;
    protocol
        .to_ascii_uppercase()
        .starts_with("SIP/2.0/")
        .then_some(())?;
    let rest = rest.trim_start();
    let end = rest.find(';').unwrap_or(rest.len());
    Some((rest[..end].trim(), &rest[end..]))
}

/// Where a response with this Via on top goes: `received` and `rport` before sent-by.
pub fn via_target(value: &str) -> Option<SocketAddr> {
    let (sent_by, params) = via(value)?;
    let written = address(sent_by);
    let ip = match param(params, "received") {
        Some(received) => received.trim_matches(['[', ']']).parse().ok()?,
        None => written?.ip(),
    };
    let port = match param(params, "rport").filter(|port| !port.is_empty()) {
        Some(port) => port.parse().ok()?,
        None => written.map_or(5060, |w| w.port()),
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_again() {
        let text = "INVITE sip:x@h SIP/2.0\r\nv: SIP/2.0/UDP h\r\nSubject: a,\r\n b\r\nX: é\r\nl: 2\r\n\r\nokay";
        let message = Message::parse(text.as_bytes()).unwrap();
        assert_eq!(message.request(), Some(("INVITE", "sip:x@h")));
        assert_eq!(
            String::from_utf8(message.write()).unwrap(),
            "INVITE sip:x@h SIP/2.0\r\nv: SIP/2.0/UDP h\r\nSubject: a, b\r\nX: é\r\nContent-Length: 2\r\n\r\nok"
        );
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for text in [
            "",
            "\r\n\r\n",
            "hello\r\n\r\n",
            "INVITE sip:x SIP/2.0\r\nno colon\r\n\r\n",
            "INVITE sip:x SIP/2.0\r\n folded first\r\n\r\n",
            "INVITE sip:x SIP/2.0\r\nContent-Length: 5\r\n\r\nfour",
            "INVITE sip:x SIP/2.0\r\nContent-Length: -1\r\n\r\n",
            "INVITE sip:x SIP/2.0\r\n: empty\r\n\r\n",
            "INVITE sip:x SIP/2.0\r\nVia: x",
        ] {
            assert_eq!(Message::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Message::parse(b"INVITE sip:\xff SIP/2.0\r\n\r\n"), None);
    }

    #[test]
    fn addresses_are_taken_apart() {
        for (value, uri_text, params_text, user_text) in [
            (
                "\"<,;\" <sip:1@h:5;x=y>;tag=t",
                "sip:1@h:5;x=y",
                ";tag=t",
                Some("1"),
            ),
            ("sip:1@h;tag=t", "sip:1@h", ";tag=t", Some("1")),
            ("<tel:+861;x=y>", "tel:+861;x=y", "", Some("+861")),
            ("<sip:h>;tag=t", "sip:h", ";tag=t", None),
            (
                "sip:1;phone-context=+86@h",
                "sip:1",
                ";phone-context=+86@h",
                None,
            ),
            (
                "<sip:1;phone-context=+86@h>",
                "sip:1;phone-context=+86@h",
                "",
                Some("1"),
            ),
            ("<sip:broken", "sip:broken", "", None),
        ] {
            assert_eq!(uri(value), uri_text);
            assert_eq!(params(value), params_text);
            assert_eq!(user(uri(value)), user_text, "{value}");
        }
        assert_eq!(
            with_user("\"1\" <sip:1@h>;tag=1", "22"),
            "\"1\" <sip:22@h>;tag=1"
        );
        assert_eq!(tag("<sip:h>;x=y;TAG=t "), Some("t"));
    }

    #[test]
    fn lists_are_split_at_their_own_commas_only() {
        assert_eq!(
            first_value("\"a,\\\",b\" <sip:a,b>, c , d"),
            ("\"a,\\\",b\" <sip:a,b>", Some("c , d"))
        );
        assert_eq!(first_value(" a "), ("a", None));
    }

    #[test]
    fn responses_follow_received_and_rport() {
        for (value, target) in [
            ("SIP/2.0/UDP 127.0.0.1:5070;branch=b", "127.0.0.1:5070"),
            ("SIP/2.0/UDP 127.0.0.1", "127.0.0.1:5060"),
            (
                "SIP/2.0/UDP host.example;received=10.0.0.1;rport=7",
                "10.0.0.1:7",
            ),
            (
                "SIP/2.0/UDP 10.0.0.2:5070;rport;received=10.0.0.1",
                "10.0.0.1:5070",
            ),
            ("SIP/2.0/UDP [::1]:5070", "[::1]:5070"),
        ] {
            assert_eq!(via_target(value), target.parse().ok(), "{value}");
        }
        assert_eq!(via_target("SIP/2.0/UDP host.example"), None);
        assert_eq!(
            host_port("sip:1@127.0.0.1:70;x"),
            "127.0.0.1:70".parse().ok()
        );
        assert_eq!(host_port("sip:1@127.0.0.1:0"), None);
        assert_eq!(host_port("tel:1"), None);
    }
}
