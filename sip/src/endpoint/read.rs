//! What the shard reads out of messages for the node.

use bytes::Bytes;

use crate::leg::{Body, Cause, Invited};
use crate::message::{Message, Name, NameAddr, Params, Uri, unquote};
use crate::transport::Flow;

/// The body, sharing the received bytes.
pub(super) fn body(message: &Message) -> Option<Body> {
    let bytes = message.body();
    if bytes.is_empty() {
        return None;
    }
    let kind = message.content_type().unwrap_or_default();
    if kind == b"application/sdp" {
        return Some(Body::sdp(bytes));
    }
    Some(Body {
        content_type: Bytes::copy_from_slice(kind),
        bytes,
    })
}

/// Whether an INVITE or UPDATE has a body that nobody here understands (RFC 3261 §8.2.3): neither SDP nor a
/// multipart with SDP in it, or an encoded one.
pub(super) fn strange_body(message: &Message) -> bool {
    if message.body_bytes().is_empty() {
        return false;
    }
    if message
        .values(Name::ContentEncoding)
        .any(|encoding| !encoding.eq_ignore_ascii_case(b"identity"))
    {
        return true;
    }
    let kind = message.content_type().unwrap_or_default();
    let multipart = kind
        .get(..10)
        .is_some_and(|head| head.eq_ignore_ascii_case(b"multipart/"));
    let holds_sdp = || {
        let wanted = b"application/sdp";
        message
            .body_bytes()
            .windows(wanted.len())
            .any(|part| part.eq_ignore_ascii_case(wanted))
    };
    !(message.has_sdp() || (multipart && holds_sdp()))
}

/// The Reason headers, RFC 3326.
pub(super) fn cause(message: &Message) -> Option<Cause> {
    let mut cause = Cause::default();
    for value in message.values(Name::Reason) {
        let end = value
            .iter()
            .position(|byte| *byte == b';')
            .unwrap_or(value.len());
        let (protocol, params) = value.split_at(end);
        let Some(params) = Params::parse(params) else {
            continue;
        };
        let code = params.get(b"cause").and_then(number);
        let place = match protocol.trim_ascii() {
            name if name.eq_ignore_ascii_case(b"Q.850") => &mut cause.q850,
            name if name.eq_ignore_ascii_case(b"SIP") => &mut cause.sip,
            _ => continue,
        };
        *place = place.or(code);
        if cause.text.is_none() {
            cause.text = params
                .get(b"text")
                .map(|text| Bytes::copy_from_slice(&unquote(text)));
        }
    }
    (cause != Cause::default()).then_some(cause)
}

/// Retry-After in seconds, without its comment and parameters.
pub(super) fn retry_after_s(message: &Message) -> Option<u32> {
    let value = message.header(Name::RetryAfter)?;
    let digits = value
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    number(&value[..digits])
}

fn number<N: std::str::FromStr>(digits: &[u8]) -> Option<N> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The reason phrase of a response.
pub(super) fn reason(message: &Message) -> Bytes {
    Bytes::copy_from_slice(message.reason())
}

/// What the node is told of a new INVITE.
pub(super) fn invited(message: &Message, flow: Flow) -> Invited {
    let raw = |name| {
        message
            .header(name)
            .map(|value| Bytes::copy_from_slice(&value))
    };
    let first = |name| message.values(name).next().map(Bytes::copy_from_slice);
    let from = message.from();
    Invited {
        flow,
        call_id: Bytes::copy_from_slice(message.call_id()),
        request_uri: Bytes::copy_from_slice(message.uri()),
        from: raw(Name::From).unwrap_or_default(),
        to: raw(Name::To).unwrap_or_default(),
        p_asserted_identity: first(Name::PAssertedIdentity),
        remote_party_id: first(Name::RemotePartyId),
        p_preferred_identity: first(Name::PPreferredIdentity),
        diversion: first(Name::Diversion),
        from_user: user(&from),
        from_display: text(&from.display_text()),
        to_user: user(&message.to()),
        uri_user: Uri::parse(message.uri())
            .and_then(|uri| uri.user_text())
            .map(|user| text(&user))
            .unwrap_or_default(),
        body: body(message),
        max_forwards: message.max_forwards().map_or(70, u32::from),
        user_agent: raw(Name::UserAgent),
        via_count: message.values(Name::Via).count(),
        received_from: message.source().unwrap_or(flow.remote),
    }
}

fn user(address: &NameAddr<'_>) -> String {
    address
        .parsed_uri()
        .and_then(|uri| uri.user_text())
        .map(|user| text(&user))
        .unwrap_or_default()
}

/// Octets that are no UTF-8 become U+FFFD: such a number matches no rule, which is right.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
