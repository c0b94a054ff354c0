//! Every metric of this room. Labels come from fixed sets: methods the switch knows, status
//! classes, transports, reasons.

use std::sync::OnceLock;

use metrics::{Counter, Unit, counter, describe_counter, describe_gauge};

use crate::message::{Message, Method, Transport};

const MESSAGES: &str = "tandem_sip_messages_total";
const PARSE_ERRORS: &str = "tandem_sip_parse_errors_total";
const KEEPALIVES: &str = "tandem_sip_keepalives_total";
const DROPPED: &str = "tandem_sip_dropped_total";
const CONNECTIONS: &str = "tandem_sip_connections";
const CONNECTIONS_REFUSED: &str = "tandem_sip_connections_refused_total";
const SEND_FAILURES: &str = "tandem_sip_send_failures_total";
const RETRANSMISSIONS: &str = "tandem_sip_retransmissions_total";

/// Gives each metric its line of help. Call once, after the recorder is installed.
pub fn describe() {
    describe_counter!(
        MESSAGES,
        Unit::Count,
        "SIP messages by direction, transport and method or status class"
    );
    describe_counter!(
        PARSE_ERRORS,
        Unit::Count,
        "Received bytes that were refused as a message, by reason"
    );
    describe_counter!(
        KEEPALIVES,
        Unit::Count,
        "Keep-alives received, by transport"
    );
    describe_counter!(
        DROPPED,
        Unit::Count,
        "Messages dropped because a queue was full, by queue"
    );
    describe_gauge!(CONNECTIONS, Unit::Count, "Open TCP connections");
    describe_counter!(
        CONNECTIONS_REFUSED,
        Unit::Count,
        "TCP connections refused or closed by us, by reason"
    );
    describe_counter!(
        SEND_FAILURES,
        Unit::Count,
        "Messages that could not be sent, by transport"
    );
    describe_counter!(
        RETRANSMISSIONS,
        Unit::Count,
        "Retransmissions by direction and method"
    );
    // Present from the start: a counter that appears with its first event hides that event from rates.
    counter!(RETRANSMISSIONS, "direction" => Direction::Out.label(), "method" => Method::Invite.label())
        .increment(0);
}

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From a peer to us.
    In,
    /// From us to a peer.
    Out,
}

impl Direction {
    const fn label(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// Counts a message that was sent or received again.
pub fn retransmission(direction: Direction, method: &Method) {
    counter!(RETRANSMISSIONS, "direction" => direction.label(), "method" => method.label())
        .increment(1);
}

pub(crate) fn parse_error(reason: &'static str) {
    counter!(PARSE_ERRORS, "reason" => reason).increment(1);
}

pub(crate) fn keepalive(transport: Transport) {
    counter!(KEEPALIVES, "transport" => transport.label()).increment(1);
}

pub(crate) fn dropped(queue: &'static str, messages: usize) {
    counter!(DROPPED, "queue" => queue).increment(messages as u64);
}

pub(crate) fn connections(open: usize) {
    metrics::gauge!(CONNECTIONS).set(open as f64);
}

pub(crate) fn connection_refused(reason: &'static str) {
    counter!(CONNECTIONS_REFUSED, "reason" => reason).increment(1);
}

pub(crate) fn send_failure(transport: Transport) {
    counter!(SEND_FAILURES, "transport" => transport.label()).increment(1);
}

/// The label of each kind of message; a status class stands at its first digit minus 1.
const KINDS: [&str; 21] = [
    "1xx",
    "2xx",
    "3xx",
    "4xx",
    "5xx",
    "6xx",
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "REGISTER",
    "UPDATE",
    "INFO",
    "PRACK",
    "MESSAGE",
    "REFER",
    "NOTIFY",
    "SUBSCRIBE",
    "PUBLISH",
    "OTHER",
];

/// Counters of messages, looked up once each: a recorder's lookup costs more than the counting.
#[derive(Default)]
pub(crate) struct Messages {
    counters: [[[OnceLock<Counter>; KINDS.len()]; 2]; 2],
}

impl Messages {
    pub(crate) fn received(&self, transport: Transport, message: &Message) {
        let kind = if message.is_request() {
            method_kind(message.method().label())
        } else {
            usize::from(message.status() / 100).clamp(1, 6) - 1
        };
        self.count(Direction::In, transport, kind);
    }

    /// Counts bytes that we wrote, by a look at their start line.
    pub(crate) fn sent(&self, transport: Transport, bytes: &[u8]) {
        self.count(Direction::Out, transport, kind_of(bytes));
    }

    fn count(&self, direction: Direction, transport: Transport, kind: usize) {
        self.counters[direction as usize][transport as usize][kind]
            .get_or_init(|| {
                counter!(MESSAGES, "direction" => direction.label(), "transport" => transport.label(),
                    "kind" => KINDS[kind])
            })
            .increment(1);
    }
}

fn kind_of(bytes: &[u8]) -> usize {
    if let Some(status) = bytes.strip_prefix(b"SIP/2.0 ") {
        let class = status.first().copied().unwrap_or(b'6').clamp(b'1', b'6');
        return usize::from(class - b'1');
    }
    let method = bytes.split(|&b| b == b' ').next().unwrap_or_default();
    std::str::from_utf8(method).map_or(KINDS.len() - 1, method_kind)
}

fn method_kind(method: &str) -> usize {
    KINDS[6..]
        .iter()
        .position(|&kind| kind == method)
        .map_or(KINDS.len() - 1, |at| at + 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_messages_are_counted_by_their_start_line() {
        let table = [
            ("SIP/2.0 180 Ringing\r\n", "1xx"),
            ("SIP/2.0 699 x\r\n", "6xx"),
            ("INVITE sip:b SIP/2.0\r\n", "INVITE"),
            ("PUBLISH sip:b SIP/2.0\r\n", "PUBLISH"),
            ("2xx sip:b SIP/2.0\r\n", "OTHER"),
            ("\r\n", "OTHER"),
            ("", "OTHER"),
        ];
        for (bytes, kind) in table {
            assert_eq!(KINDS[kind_of(bytes.as_bytes())], kind);
        }
    }
}
