//! The messages of the shard, put together.

use std::net::SocketAddr;

use bytes::Bytes;

use super::config::{Advertised, Config};
use crate::dialog::Dialog;
use crate::leg::{Body, Cause};
use crate::message::{Message, Method, Name, Transport, Writer, reason_phrase};
use crate::transport::Flow;

/// What a leg can do.
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE";
/// What an INVITE may carry.
const ACCEPT: &str = "application/sdp";
/// Hops a request of ours may take.
pub(super) const MAX_FORWARDS: u32 = 70;

/// How one of our addresses names itself.
#[derive(Debug, Clone)]
pub(super) struct Face {
    pub transport: Transport,
    pub local: SocketAddr,
    /// For flows of other processes.
    pub relayed: bool,
    pub sent_by: SocketAddr,
    /// The value of Contact.
    pub contact: Bytes,
}

/// The faces met so far; few, since sockets are few.
#[derive(Debug)]
pub(super) struct Faces {
    advertised: Vec<Advertised>,
    known: Vec<Face>,
}

/// TCP without an advertised address meets a new local port with every connection; those are not remembered beyond
/// this.
const FACES_MAX: usize = 64;

impl Faces {
    pub fn new(config: &Config) -> Self {
        Self {
            advertised: config.advertised.clone(),
            known: Vec::new(),
        }
    }

    /// The face of a flow's local address.
    pub fn of(&mut self, flow: &Flow) -> Face {
        if let Some(face) = self.known.iter().find(|face| {
            face.local == flow.local
                && face.transport == flow.transport
                && face.relayed == flow.relay.is_some()
        }) {
            return face.clone();
        }
        let fits = |advertised: &&Advertised| {
            advertised.transport == flow.transport
                && (advertised.local.ip().is_unspecified()
                    || advertised.local.ip() == flow.local.ip())
        };
        let same_port = |advertised: &&Advertised| {
            fits(advertised) && [0, flow.local.port()].contains(&advertised.local.port())
        };
        let by_port = self.advertised.iter().find(same_port);
        let any_port = || {
            self.advertised
                .iter()
                .find(|a| flow.transport == Transport::Tcp && fits(a))
        };
        // What is said through another process bears our own name, for its name is not known here.
        let through = || {
            self.advertised.iter().find(|a| {
                flow.relay.is_some()
                    && a.transport == flow.transport
                    && a.public.is_ipv4() == flow.local.is_ipv4()
            })
        };
        let sent_by = by_port
            .or_else(any_port)
            .or_else(through)
            .map_or(flow.local, |advertised| advertised.public);
        let contact = match flow.transport {
            Transport::Udp => format!("<sip:{sent_by}>"),
            Transport::Tcp => format!("<sip:{sent_by};transport=tcp>"),
        };
        let face = Face {
            transport: flow.transport,
            local: flow.local,
            relayed: flow.relay.is_some(),
            sent_by,
            contact: Bytes::from(contact),
        };
        if self.known.len() < FACES_MAX {
            self.known.push(face.clone());
        }
        face
    }
}

/// What a response of ours says beyond what the request dictates.
#[derive(Debug, Default)]
pub(super) struct Answer<'a> {
    pub status: u16,
    pub reason: Option<&'a [u8]>,
    pub retry_after_s: Option<u32>,
    pub cause: Option<&'a Cause>,
    pub body: Option<&'a Body>,
}

impl Answer<'_> {
    pub fn of(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }
}

/// A response with the headers its status and method want.
pub(super) fn response(
    writer: &mut Writer,
    server: &str,
    face: &Face,
    request: &Message,
    tag: &[u8],
    answer: &Answer<'_>,
) -> Bytes {
    let Answer { status, .. } = *answer;
    let reason = answer.reason.unwrap_or(reason_phrase(status).as_bytes());
    let method = request.method();
    writer.respond_with(request, status, reason, Some(tag));
    let makes_dialog = *method == Method::Invite && (101..300).contains(&status);
    if makes_dialog {
        writer.copy(request, Name::RecordRoute);
    }
    if makes_dialog || (*method == Method::Update && status / 100 == 2) {
        writer.header(Name::Contact, &face.contact);
    }
    let tells =
        matches!(method, Method::Invite | Method::Update | Method::Options) && status / 100 == 2;
    if tells || matches!(status, 405 | 501) {
        writer.header(Name::Allow, ALLOW);
    }
    if status == 415 || (*method == Method::Options && status / 100 == 2) {
        writer.header(Name::Accept, ACCEPT);
        writer.header(Name::AcceptEncoding, "identity");
    }
    if status == 420 {
        for tag in request.unsupported(&[]) {
            writer.header(Name::Unsupported, tag);
        }
    }
    if let Some(after_s) = answer.retry_after_s {
        writer.header_number(Name::RetryAfter, u64::from(after_s));
    }
    if let Some(cause) = answer.cause {
        reasons(writer, cause);
    }
    if !server.is_empty() && status > 100 {
        writer.header(Name::Server, server);
    }
    finish(writer, answer.body)
}

/// A request inside a dialog. `cseq` is its number, for an ACK that of the INVITE.
#[allow(clippy::too_many_arguments)]
pub(super) fn inside(
    writer: &mut Writer,
    server: &str,
    face: &Face,
    dialog: &Dialog,
    method: &Method,
    cseq: u32,
    branch: &[u8],
    cause: Option<&Cause>,
    body: Option<&Body>,
) -> Bytes {
    dialog
        .start(writer, method)
        .via(face.transport, face.sent_by, branch)
        .header_number(Name::MaxForwards, u64::from(MAX_FORWARDS))
        .header(Name::From, &dialog.local)
        .header(Name::To, &dialog.remote)
        .header(Name::CallId, &dialog.call_id)
        .cseq(cseq, method);
    if matches!(method, Method::Invite | Method::Update) {
        writer
            .header(Name::Contact, &face.contact)
            .header(Name::Allow, ALLOW);
    }
    if let Some(cause) = cause {
        reasons(writer, cause);
    }
    if !server.is_empty() && *method != Method::Ack {
        writer.header(Name::UserAgent, server);
    }
    finish(writer, body)
}

/// CANCEL of an INVITE of ours, RFC 3261 §9.1: it copies what makes it match.
pub(super) fn cancel(writer: &mut Writer, invite: &Message, cause: Option<&Cause>) -> Bytes {
    writer
        .request(&Method::Cancel, invite.uri())
        .top_via_of(invite)
        .header_number(Name::MaxForwards, u64::from(MAX_FORWARDS))
        .copy(invite, Name::From)
        .copy(invite, Name::To)
        .copy(invite, Name::CallId)
        .cseq(invite.cseq().0, &Method::Cancel)
        .copy(invite, Name::Route);
    if let Some(cause) = cause {
        reasons(writer, cause);
    }
    writer.finish()
}

/// ACK of a refusal, RFC 3261 §17.1.1.3: the INVITE's, but for To.
pub(super) fn ack_of_refusal(writer: &mut Writer, invite: &Message, refusal: &Message) -> Bytes {
    writer
        .request(&Method::Ack, invite.uri())
        .top_via_of(invite)
        .header_number(Name::MaxForwards, u64::from(MAX_FORWARDS))
        .copy(invite, Name::From)
        .copy(refusal, Name::To)
        .copy(invite, Name::CallId)
        .cseq(invite.cseq().0, &Method::Ack)
        .copy(invite, Name::Route)
        .finish()
}

/// Ends a message with a body or without.
pub(super) fn finish(writer: &mut Writer, body: Option<&Body>) -> Bytes {
    match body {
        Some(body) => writer.finish_body(&body.content_type, &body.bytes),
        None => writer.finish(),
    }
}

/// Reason, RFC 3326, a value for each protocol.
pub(super) fn reasons(writer: &mut Writer, cause: &Cause) {
    let text: Vec<u8> = cause
        .text
        .iter()
        .flat_map(|text| text.iter().copied())
        .filter(|byte| !matches!(byte, b'"' | b'\\' | 0..=31 | 127))
        .collect();
    for (protocol, code) in [("Q.850", cause.q850), ("SIP", cause.sip)] {
        let Some(code) = code else { continue };
        let head = format!("{protocol};cause={code}");
        if text.is_empty() {
            writer.header(Name::Reason, head);
        } else {
            writer.header_of(Name::Reason, &[head.as_bytes(), b";text=\"", &text, b"\""]);
        }
    }
}
