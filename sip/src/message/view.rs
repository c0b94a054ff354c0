//! Typed views of header values. They borrow the message, are made when asked for, and hold
//! nothing of their own. Folds inside a value count as white space, so no view needs unfolding.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use super::chars::{
    find_outside, is_host_name, is_lws, is_token, number, quoted_len, trim, trim_start,
};

/// Parameters: `;name=value;flag`, in the order received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Params<'a>(&'a [u8]);

impl<'a> Params<'a> {
    /// Reads parameters strictly: `text` is empty or starts with `;`, no parameter is empty, every
    /// name is a token, quotes are closed. Two slips of the field are let through: one `;` too many
    /// at the end, and a name with `=` but no value.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let text = trim(text);
        let text = text.strip_suffix(b";").map_or(text, trim);
        let mut rest = text;
        while !rest.is_empty() {
            rest = rest.strip_prefix(b";")?;
            let end = find_outside(rest, b';').unwrap_or(rest.len());
            let (name, value) = split_param(&rest[..end]);
            if !is_token(name) || value.is_some_and(|value| !is_param_value(value)) {
                return None;
            }
            rest = &rest[end..];
        }
        Some(Self(text))
    }

    /// Names and values, both trimmed; a quoted value keeps its quotes (see [`unquote`]).
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            rest = rest.strip_prefix(b";")?;
            let end = find_outside(rest, b';').unwrap_or(rest.len());
            let param = &rest[..end];
            rest = &rest[end..];
            Some(split_param(param))
        })
    }

    /// The value of a parameter: `None` when it is absent, `Some(None)` when it has no value.
    /// Names are compared without regard to case.
    #[must_use]
    pub fn find(self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        self.iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The value of a parameter that has one.
    #[must_use]
    pub fn get(self, name: &[u8]) -> Option<&'a [u8]> {
        self.find(name).flatten()
    }

    /// Whether the parameter is there, with or without a value.
    #[must_use]
    pub fn has(self, name: &[u8]) -> bool {
        self.find(name).is_some()
    }

    /// The bytes as received, from the first `;`.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

fn split_param(param: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'=', param) {
        Some(at) => (trim(&param[..at]), Some(trim(&param[at + 1..]))),
        None => (trim(param), None),
    }
}

/// A quoted string, or anything without white space, quotes or commas: wider than the grammar's
/// token and host, as parameters of the field are.
fn is_param_value(value: &[u8]) -> bool {
    if value.first() == Some(&b'"') {
        return quoted_len(value) == Some(value.len());
    }
    !value.iter().any(|&b| is_lws(b) || matches!(b, b'"' | b','))
}

/// The text of a quoted string without its quotes and escapes; other text as it is.
#[must_use]
pub fn unquote(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = text.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\"")) else {
        return Cow::Borrowed(text);
    };
    if memchr::memchr(b'\\', inner).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => plain.extend(bytes.next()),
            byte => plain.push(byte),
        }
    }
    Cow::Owned(plain)
}

/// Text with its `%HH` escapes decoded once. A `%` without two hex digits stays as it is, and a
/// `%00` is an octet like any other.
#[must_use]
pub fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    let hex = |at: usize| text.get(at).and_then(|&b| (b as char).to_digit(16));
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match (byte, hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                plain.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(plain)
}

/// A name-addr or addr-spec with its header parameters: From, To, Contact, Route, Refer-To,
/// P-Asserted-Identity, Diversion and their like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NameAddr<'a> {
    /// The display name as received, with quotes if it has them; empty when there is none.
    pub display: &'a [u8],
    /// The URI without its brackets; `*` for the Contact that means all.
    pub uri: &'a [u8],
    /// The parameters of the header, not of the URI.
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Reads one value (RFC 3261 section 20.10). White space inside the brackets is let through,
    /// and so is a missing blank before them. Without brackets every parameter belongs to the
    /// header, and a `?` or a comma in the URI is refused.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let value = trim(value);
        let bracket = match quoted_len(value) {
            Some(len) => {
                let gap = value[len..].iter().take_while(|&&b| is_lws(b)).count();
                (value.get(len + gap) == Some(&b'<')).then_some(len + gap)?
            }
            None if value.first() == Some(&b'"') => return None,
            None => match memchr::memchr(b'<', value) {
                Some(at) if memchr::memchr3(b':', b';', b'"', &value[..at]).is_none() => at,
                _ => return Self::parse_bare(value),
            },
        };
        let display = trim(&value[..bracket]);
        if display.first() != Some(&b'"') && memchr::memchr3(b',', b'>', b'\\', display).is_some() {
            return None;
        }
        let inside = &value[bracket + 1..];
        let close = memchr::memchr(b'>', inside)?;
        let uri = trim(&inside[..close]);
        if !has_scheme(uri) {
            return None;
        }
        Some(Self {
            display,
            uri,
            params: Params::parse(&inside[close + 1..])?,
        })
    }

    fn parse_bare(value: &'a [u8]) -> Option<Self> {
        let end = memchr::memchr(b';', value).unwrap_or(value.len());
        let uri = trim(&value[..end]);
        if uri != b"*" && (!has_scheme(uri) || memchr::memchr3(b'?', b',', b'<', uri).is_some()) {
            return None;
        }
        Some(Self {
            display: b"",
            uri,
            params: Params::parse(&value[end..])?,
        })
    }

    /// The `tag` parameter of a From or To.
    #[must_use]
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.params.get(b"tag").filter(|tag| !tag.is_empty())
    }

    /// The display name without quotes and escapes.
    #[must_use]
    pub fn display_text(&self) -> Cow<'a, [u8]> {
        unquote(self.display)
    }

    /// The URI, read; `None` when a sip or sips URI is malformed.
    #[must_use]
    pub fn parsed_uri(&self) -> Option<Uri<'a>> {
        Uri::parse(self.uri)
    }
}

/// Whether `uri` starts with a scheme and has something after it, without white space.
fn has_scheme(uri: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', uri) else {
        return false;
    };
    let scheme = &uri[..colon];
    scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        && uri.len() > colon + 1
        && !uri.iter().any(|&b| is_lws(b))
}

/// The scheme of a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:` (RFC 3966)
    Tel,
    /// Any other: kept, never interpreted.
    Other,
}

/// A URI, read as far as a switch needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uri<'a> {
    /// The whole of it, as received.
    pub raw: &'a [u8],
    /// The scheme; for [`Scheme::Other`] only `raw` is filled.
    pub scheme: Scheme,
    /// The user part, escaped as received, with its own parameters if it has any (RFC 4475
    /// "semiuri"), without password; the number of a tel URI.
    pub user: Option<&'a [u8]>,
    /// The deprecated password.
    pub password: Option<&'a [u8]>,
    /// Host name, IPv4 address, or IPv6 address with its brackets; empty for tel.
    pub host: &'a [u8],
    /// The port, if given.
    pub port: Option<u16>,
    /// The URI's parameters.
    pub params: Params<'a>,
    /// What stands behind `?`, as received; empty when there is nothing.
    pub headers: &'a [u8],
}

impl<'a> Uri<'a> {
    /// Reads a URI. An unknown scheme is read as [`Scheme::Other`]; `None` for what is no URI, or a
    /// sip, sips or tel URI that is malformed.
    #[must_use]
    pub fn parse(raw: &'a [u8]) -> Option<Self> {
        if !has_scheme(raw) {
            return None;
        }
        let colon = memchr::memchr(b':', raw)?;
        let (name, rest) = (&raw[..colon], &raw[colon + 1..]);
        let scheme = match () {
            () if name.eq_ignore_ascii_case(b"sip") => Scheme::Sip,
            () if name.eq_ignore_ascii_case(b"sips") => Scheme::Sips,
            () if name.eq_ignore_ascii_case(b"tel") => Scheme::Tel,
            () => Scheme::Other,
        };
        let empty = Self {
            raw,
            scheme,
            user: None,
            password: None,
            host: b"",
            port: None,
            params: Params::default(),
            headers: b"",
        };
        match scheme {
            Scheme::Other => Some(empty),
            Scheme::Tel => {
                let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
                let (number, params) = rest.split_at(end);
                let params = uri_params(params)?;
                (!number.is_empty()).then_some(Self {
                    user: Some(number),
                    params,
                    ..empty
                })
            }
            Scheme::Sip | Scheme::Sips => Self::parse_sip(rest, empty),
        }
    }

    fn parse_sip(rest: &'a [u8], empty: Self) -> Option<Self> {
        // An `@` in a user part, parameter or header must be escaped, so the first one ends the
        // user part, which itself may hold `;`, `?` and `/`.
        let (userinfo, rest) = match memchr::memchr(b'@', rest) {
            Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
            None => (None, rest),
        };
        let (user, password) = match userinfo {
            Some(info) => match memchr::memchr(b':', info) {
                Some(at) => (Some(&info[..at]), Some(&info[at + 1..])),
                None => (Some(info), None),
            },
            None => (None, None),
        };
        if user.is_some_and(|user| {
            user.is_empty() || memchr::memchr3(b'<', b'>', b'"', user).is_some()
        }) {
            return None;
        }
        let (rest, headers) = match memchr::memchr(b'?', rest) {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, &b""[..]),
        };
        let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
        let (host, port) = host_port(&rest[..end])?;
        let params = uri_params(&rest[end..])?;
        Some(Self {
            user,
            password,
            host,
            port,
            params,
            headers,
            ..empty
        })
    }

    /// The user part with its escapes decoded.
    #[must_use]
    pub fn user_text(&self) -> Option<Cow<'a, [u8]>> {
        self.user.map(unescape)
    }

    /// The host as an address, when it is one.
    #[must_use]
    pub fn host_ip(&self) -> Option<IpAddr> {
        host_ip(self.host)
    }
}

/// Parameters of a URI: wider letters than header parameters (`[`, `/`, `:`, `&`, `+`, `$`), and
/// never a quoted string.
fn uri_params(text: &[u8]) -> Option<Params<'_>> {
    if text.is_empty() {
        return Some(Params::default());
    }
    let sound = text.first() == Some(&b';')
        && text[1..].split(|&b| b == b';').all(|param| {
            !param.is_empty()
                && !param
                    .iter()
                    .any(|&b| matches!(b, b'"' | b'<' | b'>' | b',') || b <= b' ')
        });
    sound.then_some(Params(text))
}

/// `host`, `host:port` or `[v6]:port`, without white space.
pub(crate) fn host_port(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let end = match text.first() {
        Some(b'[') => memchr::memchr(b']', text)? + 1,
        _ => memchr::memchr(b':', text).unwrap_or(text.len()),
    };
    let (host, port) = text.split_at(end);
    let sound = match host.first() {
        Some(b'[') => is_ipv6_reference(host),
        _ => is_host_name(host),
    };
    let port = match port {
        b"" => None,
        port => Some(number(port.strip_prefix(b":")?)?),
    };
    sound.then_some((host, port))
}

/// Letters only, not the value: RFC 5118 section 4.10 wants the three colons of the old grammar
/// let through.
fn is_ipv6_reference(host: &[u8]) -> bool {
    host.len() > 4
        && host[1..host.len() - 1]
            .iter()
            .all(|&b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
}

/// An address written as a host, with or without the brackets of IPv6.
#[must_use]
pub fn host_ip(host: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(host).ok()?;
    match text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

/// One Via value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS` or any other token, as received.
    pub transport: &'a [u8],
    /// The host of sent-by; IPv6 with brackets.
    pub host: &'a [u8],
    /// The port of sent-by, if given.
    pub port: Option<u16>,
    /// The branch, if given; not necessarily unique, see [`Via::unique_branch`].
    pub branch: Option<&'a [u8]>,
    /// The address a server saw the request come from; IPv6 usually without brackets.
    pub received: Option<&'a [u8]>,
    /// RFC 3581: `Some(None)` asks for the port, `Some(Some(_))` is the answer.
    pub rport: Option<Option<u16>>,
    /// The multicast address, or any other that a client asks replies to be sent to.
    pub maddr: Option<&'a [u8]>,
    /// The time to live of a multicast request.
    pub ttl: Option<u8>,
    /// All parameters.
    pub params: Params<'a>,
    /// `SIP/2.0/UDP host:port`, as received.
    pub head: &'a [u8],
}

/// What a branch starts with when it is unique (RFC 3261 section 8.1.1.7).
pub const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

impl<'a> Via<'a> {
    /// Reads one value (RFC 3261 section 20.42), with white space wherever its grammar has it.
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let value = trim(value);
        let (name, rest) = split_once(value, b'/')?;
        let (version, rest) = split_once(rest, b'/')?;
        let rest = trim_start(rest);
        let end = rest.iter().position(|&b| is_lws(b))?;
        let (transport, rest) = rest.split_at(end);
        if !trim(name).eq_ignore_ascii_case(b"SIP")
            || !is_token(trim(version))
            || !is_token(transport)
        {
            return None;
        }
        let params_len = rest.len() - memchr::memchr(b';', rest).unwrap_or(rest.len());
        let (sent_by, params) = rest.split_at(rest.len() - params_len);
        let (host, port) = spaced_host_port(trim(sent_by))?;
        let params = Params::parse(params)?;
        let mut via = Self {
            transport,
            host,
            port,
            params,
            head: trim(&value[..value.len() - params_len]),
            ..Self::default()
        };
        for (name, value) in params.iter() {
            match name {
                n if n.eq_ignore_ascii_case(b"branch") => via.branch = value,
                n if n.eq_ignore_ascii_case(b"received") => via.received = value,
                n if n.eq_ignore_ascii_case(b"rport") => {
                    via.rport = Some(match value {
                        None | Some([]) => None,
                        Some(port) => Some(number(port)?),
                    });
                }
                n if n.eq_ignore_ascii_case(b"maddr") => via.maddr = value,
                n if n.eq_ignore_ascii_case(b"ttl") => via.ttl = value.and_then(number),
                _ => {}
            }
        }
        Some(via)
    }

    /// The branch when it is unique across space and time: it starts with the magic cookie and
    /// goes on after it. Otherwise requests are matched by the rules of RFC 2543 (RFC 3261
    /// section 17.2.3).
    #[must_use]
    pub fn unique_branch(&self) -> Option<&'a [u8]> {
        let branch = self.branch?;
        let cookie = branch.get(..MAGIC_COOKIE.len())?;
        (cookie.eq_ignore_ascii_case(MAGIC_COOKIE) && branch.len() > cookie.len()).then_some(branch)
    }

    /// The address in `received`.
    #[must_use]
    pub fn received_ip(&self) -> Option<IpAddr> {
        self.received.and_then(host_ip)
    }
}

fn split_once(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(separator, text)?;
    Some((&text[..at], &text[at + 1..]))
}

/// `host : port` of a Via, where white space is legal around the colon.
fn spaced_host_port(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    if !text.iter().any(|&b| is_lws(b)) {
        return host_port(text);
    }
    let end = match text.first() {
        Some(b'[') => memchr::memchr(b']', text)? + 1,
        _ => text.iter().position(|&b| b == b':' || is_lws(b))?,
    };
    let (host, _) = host_port(&text[..end])?;
    match trim(&text[end..]) {
        b"" => Some((host, None)),
        port => Some((host, Some(number(trim(port.strip_prefix(b":")?))?))),
    }
}
