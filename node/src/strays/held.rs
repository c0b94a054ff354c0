//! Requests that wait for their call's next owner, bounded in number, bytes and time.

use std::collections::VecDeque;

use tandem_cluster::entity::Millis;
use tandem_sip::endpoint::Stray;
use tandem_sip::transport::Protocol;

/// How long a request that came as a datagram waits; its sender repeats it for 32 s.
const DATAGRAM_MS: Millis = 2_000;
/// How long one waits that came over a connection, where nothing is repeated: about what it takes until the tenure of a
/// dead node has run out and its calls have new owners.
const STREAM_MS: Millis = 8_000;
/// Requests of one shard that may wait.
const HELD_MAX: usize = 1_024;
/// Bytes of those.
const BYTES_MAX: usize = 4 << 20;

/// What waits on one shard, the oldest first.
#[derive(Debug, Default)]
pub struct Held {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// They will be looked at.
    arranged: bool,
}

/// One request.
#[derive(Debug)]
pub struct Waiting {
    /// The request.
    pub stray: Box<Stray>,
    /// Another node passed it on.
    pub passed: bool,
    /// It is turned away at this time.
    pub until: Millis,
    /// It has waited before.
    pub again: bool,
}

impl Waiting {
    /// A request that begins to wait now.
    pub fn from_now(stray: Box<Stray>, passed: bool, now: Millis) -> Self {
        let patience = match stray.flow.transport {
            Protocol::Udp => DATAGRAM_MS,
            Protocol::Tcp => STREAM_MS,
        };
        Waiting {
            stray,
            passed,
            until: now + patience,
            again: false,
        }
    }
}

impl Held {
    /// Keeps a request, or gives it back when no more may wait.
    pub fn keep(&mut self, mut waiting: Waiting) -> Result<(), Waiting> {
        let bytes = waiting.stray.message.as_bytes().len();
        if self.waiting.len() >= HELD_MAX || self.bytes + bytes > BYTES_MAX {
            return Err(waiting);
        }
        self.bytes += bytes;
        waiting.again = true;
        self.waiting.push_back(waiting);
        Ok(())
    }

    /// Whether somebody must see to it that they are looked at; asked once until then.
    pub fn arrange(&mut self) -> bool {
        let first = !self.arranged && !self.waiting.is_empty();
        self.arranged |= first;
        first
    }

    /// Everything, to be tried again.
    pub fn take(&mut self) -> VecDeque<Waiting> {
        self.bytes = 0;
        self.arranged = false;
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use tandem_sip::message::{Framing, Message};
    use tandem_sip::transport::Flow;

    fn stray(over: Protocol, body: usize) -> Box<Stray> {
        let text = format!(
            "BYE sip:b@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
             From: <sip:c@10.0.0.2>;tag=c\r\nTo: <sip:b@10.0.0.1>;tag=0123456789abcdef.c5-12\r\nCall-ID: 1\r\n\
             CSeq: 2 BYE\r\nContent-Length: {body}\r\n\r\n{}",
            "x".repeat(body)
        );
        let message = Message::parse(Bytes::from(text), Framing::Datagram).expect("a message");
        let (local, remote) = ("10.0.0.1:5060", "10.0.0.2:5060");
        let flow = Flow::udp(
            local.parse().expect("an address"),
            remote.parse().expect("an address"),
        );
        let flow = Flow {
            transport: over,
            ..flow
        };
        Box::new(Stray { message, flow })
    }

    #[test]
    fn requests_wait_in_order_and_longer_where_nothing_is_repeated() {
        let mut held = Held::default();
        for (over, until) in [(Protocol::Udp, 2_100), (Protocol::Tcp, 8_100)] {
            let waiting = Waiting::from_now(stray(over, 0), true, 100);
            assert_eq!((waiting.until, waiting.again), (until, false));
            held.keep(waiting).expect("there is room");
        }
        assert!(held.arrange() && !held.arrange());
        let all = held.take();
        assert!(all.iter().all(|one| one.again));
        assert!(!held.arrange(), "nothing is left");
        let overs: Vec<_> = all.iter().map(|one| one.stray.flow.transport).collect();
        assert_eq!(overs, [Protocol::Udp, Protocol::Tcp]);
    }

    #[test]
    fn number_and_bytes_are_bounded() {
        let keep = |held: &mut Held, body| {
            let waiting = Waiting::from_now(stray(Protocol::Udp, body), false, 0);
            held.keep(waiting).is_ok()
        };
        let mut held = Held::default();
        let kept = (0..2_000).filter(|_| keep(&mut held, 0)).count();
        assert_eq!(kept, HELD_MAX);
        held.take();
        let kept = (0..200).filter(|_| keep(&mut held, 60_000)).count();
        assert_eq!(kept, 69);
        held.take();
        assert!(keep(&mut held, 60_000), "what was taken weighs no more");
    }
}
