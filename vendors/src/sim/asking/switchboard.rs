//! Calls that wait for an answer, pure: what belongs to them is held back in its order, and goes to
//! the proxy once it is known where they go.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;

use super::super::sip::message::{Kind, Message, first_value, tag, uri, user};
use super::super::sip::proxy::Out;

/// Calls that wait at once; more are not asked about, and so refused.
const WAITING_MAX: usize = 10_000;
/// Datagrams of one call that are held back; more are dropped, their senders repeat them.
const HELD_MAX: usize = 16;
/// Longest Call-ID, in bytes; a longer one is the proxy's to refuse.
const CALL_ID_MAX: usize = 512;
/// An INVITE that was decided may be repeated so long: 64·T1 and what is on its way.
const DECIDED_MS: u64 = 40_000;

/// Datagrams and who sent them.
type Datagrams = Vec<(Vec<u8>, SocketAddr)>;

/// What becomes of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// It is none of a waiting call: the proxy's.
    No,
    /// It waits; what is sent back meanwhile.
    Yes(Option<Out>),
    /// It begins a call that waits.
    Ask {
        /// Its Call-ID.
        call: String,
        /// Who calls, as he wrote it.
        from: String,
        /// Whom he calls.
        x: String,
        /// What is sent back meanwhile.
        trying: Option<Out>,
    },
}

/// The calls that wait.
#[derive(Debug, Default)]
pub struct Switchboard {
    /// By Call-ID.
    waiting: HashMap<String, Datagrams>,
    /// The INVITEs that were decided, by Call-ID: their Via and until when that is remembered.
    decided: HashMap<String, (String, u64)>,
    forgotten_ms: u64,
}

impl Switchboard {
    /// Looks at a datagram. `asks` says whether a call from one number to another is asked about.
    pub fn on(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now_ms: u64,
        asks: impl Fn(&str, &str) -> bool,
    ) -> Held {
        if self.waiting.is_empty() && !datagram.starts_with(b"INVITE ") {
            return Held::No;
        }
        let Some(message) = Message::parse(datagram) else {
            return Held::No;
        };
        let Some(call) = message.first(Kind::CallId) else {
            return Held::No;
        };
        let method = message.request().map(|(method, _)| method);
        if let Some(held) = self.waiting.get_mut(call) {
            let known = held.iter().any(|(before, _)| before == datagram);
            if !known && held.len() < HELD_MAX {
                held.push((datagram.to_vec(), from));
            }
            let again = method == Some("INVITE");
            return Held::Yes(again.then(|| trying(&message, from)).flatten());
        }
        let Some((_, target)) = message.request().filter(|_| method == Some("INVITE")) else {
            return Held::No;
        };
        let (Some(caller), Some(to)) = (message.first(Kind::From), message.first(Kind::To)) else {
            return Held::No;
        };
        let via = message.first(Kind::Via).unwrap_or_default();
        let via = first_value(via).0;
        let repeated = self
            .decided
            .get(call)
            .is_some_and(|(known, _)| known == via);
        let (a, x) = (
            user(uri(caller)).unwrap_or_default(),
            user(target).unwrap_or_default(),
        );
        if tag(to).is_some()
            || repeated
            || call.len() > CALL_ID_MAX
            || self.waiting.len() >= WAITING_MAX
            || !asks(a, x)
        {
            return Held::No;
        }
        self.forget(now_ms);
        let (call, via) = (call.to_owned(), via.to_owned());
        self.waiting
            .insert(call.clone(), vec![(datagram.to_vec(), from)]);
        self.decided
            .insert(call.clone(), (via, now_ms + DECIDED_MS));
        Held::Ask {
            call,
            from: a.to_owned(),
            x: x.to_owned(),
            trying: trying(&message, from),
        }
    }

    /// What was held back of a call, now that it is known where it goes.
    pub fn release(&mut self, call: &str) -> Datagrams {
        self.waiting.remove(call).unwrap_or_default()
    }

    fn forget(&mut self, now_ms: u64) {
        if now_ms >= self.forgotten_ms + 1_000 {
            self.forgotten_ms = now_ms;
            let waiting = &self.waiting;
            self.decided
                .retain(|call, (_, until)| *until > now_ms || waiting.contains_key(call));
        }
    }
}

/// 100, so that the caller does not repeat himself.
fn trying(message: &Message, to: SocketAddr) -> Option<Out> {
    message.request()?;
    let kinds = [Kind::Via, Kind::From, Kind::To, Kind::CallId, Kind::CSeq];
    let headers = message.headers.iter();
    let headers = headers.filter(|header| kinds.contains(&header.kind));
    let answer = Message {
        start: Cow::Borrowed("SIP/2.0 100 Trying"),
        headers: headers.cloned().collect(),
        body: Cow::Borrowed(&[]),
    };
    Some(Out {
        to,
        bytes: answer.write(),
    })
}
