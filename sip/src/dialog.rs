//! Dialogs as plain data, RFC 3261 §12: enough to send the next request from this node or another.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::message::{Message, Method, Name, NameAddr, Scheme, Transport, Uri, Writer};
use crate::transport::Flow;

/// Routes kept of a route set. An INVITE that brings more is refused with 513 before it gets here; of a 2xx the rest is
/// left out, for it cannot be refused.
pub(crate) const ROUTES_MAX: usize = 32;

/// How far the local sequence number jumps when a dialog changes its node: far beyond what the node before can have
/// sent and not told.
const ADOPTION_GAP: u32 = 1_000;

/// One dialog. Everything is a copy of its own, so that no received datagram is pinned. Encodings that outlive the
/// process carry their version in the envelope that the keeper puts around it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: Bytes,
    /// The whole value of our From (To in responses), with our tag.
    pub local: Bytes,
    /// The whole value of the far end's, with its tag if it has one.
    pub remote: Bytes,
    /// Our tag.
    pub local_tag: Bytes,
    /// The far end's tag; empty for a peer of RFC 2543.
    pub remote_tag: Bytes,
    /// The far end's Contact URI.
    pub target: Bytes,
    /// The route set in the order of sending, as name-addr values.
    pub routes: Vec<Bytes>,
    /// The number of the last request we sent.
    pub local_cseq: u32,
    /// The number of the last request received.
    pub remote_cseq: Option<u32>,
    /// Whether we sent the first INVITE and so own the Call-ID (RFC 3261 §14.1).
    pub initiator: bool,
    /// The path of the last request or response from the far end.
    pub flow: Flow,
    /// The far end said, when the dialog began, that it takes UPDATE (RFC 3311).
    pub takes_update: bool,
}

impl Dialog {
    /// The dialog of an INVITE that came in, RFC 3261 §12.1.1.
    pub(crate) fn inbound(invite: &Message, flow: Flow, local_tag: Bytes, local_cseq: u32) -> Self {
        let from = invite.from();
        let to = invite.header(Name::To).unwrap_or_default();
        let remote = invite.header(Name::From).unwrap_or_default();
        // A caller of RFC 2543 may leave out its Contact; From is all there is then.
        let target = invite.contact().map_or(from.uri, |contact| contact.uri);
        Self {
            call_id: Bytes::copy_from_slice(invite.call_id()),
            local: tagged(&to, &local_tag),
            remote: Bytes::copy_from_slice(&remote),
            remote_tag: Bytes::copy_from_slice(from.tag().unwrap_or_default()),
            target: Bytes::copy_from_slice(target),
            routes: routes(invite, false),
            local_tag,
            local_cseq,
            remote_cseq: Some(invite.cseq().0),
            initiator: false,
            flow,
            takes_update: takes_update(invite),
        }
    }

    /// What is known of a dialog when its INVITE goes out. `local` has our tag, `remote` none yet.
    pub(crate) fn outbound(
        call_id: Bytes,
        local: Bytes,
        remote: Bytes,
        local_tag: Bytes,
        target: Bytes,
        local_cseq: u32,
        flow: Flow,
    ) -> Self {
        Self {
            call_id,
            local,
            remote,
            local_tag,
            remote_tag: Bytes::new(),
            target,
            routes: Vec::new(),
            local_cseq,
            remote_cseq: None,
            initiator: true,
            flow,
            takes_update: false,
        }
    }

    /// The far end's 2xx completes the dialog, RFC 3261 §12.1.2 and §13.2.2.4.
    pub(crate) fn answered(&mut self, response: &Message, remote_cseq: Option<u32>) {
        self.remote = Bytes::copy_from_slice(&response.header(Name::To).unwrap_or_default());
        self.remote_tag = Bytes::copy_from_slice(response.to().tag().unwrap_or_default());
        self.routes = routes(response, true);
        self.remote_cseq = remote_cseq;
        self.takes_update = takes_update(response);
        self.refresh_target(response);
    }

    /// Takes the Contact of a re-INVITE, UPDATE or their 2xx as the new target, RFC 3261 §12.2; answers whether it is
    /// another than before.
    pub(crate) fn refresh_target(&mut self, message: &Message) -> bool {
        let contact = message.contact().filter(|contact| contact.uri != b"*");
        let other = contact.filter(|contact| contact.uri != &self.target[..]);
        if let Some(contact) = &other {
            self.target = Bytes::copy_from_slice(contact.uri);
        }
        other.is_some()
    }

    /// Whether a request with this sequence number is new here, RFC 3261 §12.2.2. Only BYE may reuse the last number:
    /// refusing it would leave a call open for the sake of a careless peer.
    pub(crate) fn accepts(&self, cseq: u32, method: &Method) -> bool {
        self.remote_cseq
            .is_none_or(|last| cseq > last || (cseq == last && *method == Method::Bye))
    }

    /// Jumps ahead of anything another node may have sent in this dialog, and forgets that node's connection.
    pub(crate) fn adopt(&mut self) {
        self.flow.connection = None;
        self.flow.relay = None;
        // A connection that the far end had made ended with that node. It listens where its Contact says.
        let theirs = self.flow.transport == Transport::Tcp && !self.initiator;
        let target = Uri::parse(&self.target).filter(|uri| uri.scheme == Scheme::Sip);
        if let Some(target) = target.filter(|_| theirs)
            && target.host_ip() == Some(self.flow.remote.ip().to_canonical())
        {
            self.flow.remote.set_port(target.port.unwrap_or(5060));
        }
        self.local_cseq = self.local_cseq.saturating_add(ADOPTION_GAP);
    }

    /// Notes the way of a fresh message of the far end: it may have a new connection, or another port of its NAT. A way
    /// through another process counts only where our own address is shared with it; elsewhere the way that we had is
    /// as good, and does not end with that process.
    pub(crate) fn came_by(&mut self, flow: Flow) {
        if flow.relay.is_none() || flow.local == self.flow.local {
            self.flow = flow;
        }
    }

    /// The sequence number of the next request.
    pub(crate) fn next_cseq(&mut self) -> u32 {
        self.local_cseq = self.local_cseq.wrapping_add(1) & 0x7fff_ffff;
        self.local_cseq
    }

    /// Starts a request inside the dialog as far as its routing goes, RFC 3261 §12.2.1.1: start line and Routes.
    pub(crate) fn start<'w>(&self, writer: &'w mut Writer, method: &Method) -> &'w mut Writer {
        start_routed(
            writer,
            method,
            &self.target,
            self.routes.iter().map(|route| &route[..]),
        )
    }

    /// Where the next request goes: the first route, else the target, if that is written as an address that can be
    /// meant; the way the far end came otherwise (names are resolved when a leg is dialled, not in the middle).
    pub fn next_flow(&self) -> Flow {
        let first = self
            .routes
            .first()
            .and_then(|route| NameAddr::parse(route))
            .map(|route| route.uri);
        flow_towards(first.unwrap_or(&self.target), self.flow)
    }
}

/// Writes start line and Routes for a target and a route set, turning them about for a strict router.
pub(crate) fn start_routed<'w, 'r>(
    writer: &'w mut Writer,
    method: &Method,
    target: &[u8],
    mut routes: impl Iterator<Item = &'r [u8]>,
) -> &'w mut Writer {
    let Some(first) = routes.next() else {
        return writer.request(method, target);
    };
    let uri = NameAddr::parse(first)
        .map(|route| route.uri)
        .unwrap_or_default();
    let loose = Uri::parse(uri).is_none_or(|uri| uri.params.has(b"lr"));
    if loose {
        writer.request(method, target).header(Name::Route, first);
        for route in routes {
            writer.header(Name::Route, route);
        }
    } else {
        writer.request(method, uri);
        for route in routes {
            writer.header(Name::Route, route);
        }
        writer.header_of(Name::Route, &[b"<", target, b">"]);
    }
    writer
}

/// The way to a URI for somebody who came by `came`.
pub(crate) fn flow_towards(uri: &[u8], came: Flow) -> Flow {
    let Some(uri) = Uri::parse(uri).filter(|uri| uri.scheme == Scheme::Sip) else {
        return came;
    };
    let Some(ip) = uri.host_ip() else {
        return came;
    };
    let source = came.remote.ip().to_canonical();
    let meant = ip.is_ipv4() == source.is_ipv4() && !ip.is_unspecified() && !ip.is_multicast();
    // A private address told by a public peer is its address behind a NAT, and not ours to reach.
    if !meant || (is_inner(ip) && !is_inner(source)) {
        return came;
    }
    let transport = match uri.params.get(b"transport") {
        Some(name) if name.eq_ignore_ascii_case(b"tcp") => Transport::Tcp,
        Some(name) if name.eq_ignore_ascii_case(b"udp") => Transport::Udp,
        Some(_) => return came,
        // Many peers on TCP leave the parameter out of their Contact.
        None if ip == source => came.transport,
        None => Transport::Udp,
    };
    // A live connection to the same host is taken again instead of a new one to its listening port.
    if transport == Transport::Tcp && came.transport == Transport::Tcp && ip == source {
        return came;
    }
    let remote = SocketAddr::new(ip, uri.port.unwrap_or(5060));
    if transport == came.transport && remote == came.remote {
        return came;
    }
    Flow {
        transport,
        remote,
        connection: None,
        ..came
    }
}

fn is_inner(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && (v4.octets()[1] & 0xc0) == 64;
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// A From or To value with a tag added.
pub(crate) fn tagged(value: &[u8], tag: &[u8]) -> Bytes {
    let mut whole = Vec::with_capacity(value.len() + tag.len() + 5);
    whole.extend_from_slice(value);
    whole.extend_from_slice(b";tag=");
    whole.extend_from_slice(tag);
    Bytes::from(whole)
}

fn takes_update(message: &Message) -> bool {
    message
        .values(Name::Allow)
        .any(|method| method == Method::Update.as_bytes())
}

fn routes(message: &Message, reversed: bool) -> Vec<Bytes> {
    let mut routes: Vec<Bytes> = message
        .values(Name::RecordRoute)
        .take(ROUTES_MAX)
        .map(Bytes::copy_from_slice)
        .collect();
    if reversed {
        routes.reverse();
    }
    routes
}
