//! The rewriting proxy, pure: a datagram in, at most one datagram out.
//!
//! Towards B every place where the caller's number may stand says X: From, To, Contact, identity
//! headers, free text, the SDP origin. Headers that tell a call's history are dropped. Back towards
//! A, From and To are put back as A wrote them; tags are never touched, so both ends see one dialog.
//!
//! Of a call that comes in for the A of a relation, "A" below is the caller and "B" is the one who
//! has X: the same holds, except that the caller may be shown.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::message::{
    Header, Kind, Message, first_value, host_port, param, params, tag, uri, user, via, via_target,
    with_user,
};
use super::rewrite::{Names, Towards, gives_away, rewrite};
use super::{Counters, End, Note, Phones, Route, Side, Step, add};
use crate::numbers::from_e164;

/// How long an ended call is remembered, for late retransmissions: twice 64·T1.
const LINGER_MS: u64 = 64_000;
/// An INVITE without final answer is forgotten after so long.
const SETUP_MS: u64 = 300_000;
/// A call without any message is forgotten after so long.
const SILENCE_MS: u64 = 6 * 3_600_000;

/// Longest Call-ID; the table keeps it.
const CALL_ID_MAX: usize = 512;

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Out {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

/// Asks where a call from one number to another goes.
pub type Routes<'a> = &'a dyn Fn(&str, &str) -> Option<Route>;

/// The table of calls and what is needed to relay them.
#[derive(Debug)]
pub struct Proxy {
    me: SocketAddr,
    phones: Phones,
    calls_max: usize,
    calls: HashMap<String, Call>,
    due: BinaryHeap<Reverse<(u64, String)>>,
    counters: Arc<Counters>,
    /// Whether notes are wanted.
    noting: bool,
    notes: Vec<Note>,
}

/// One call by its Call-ID.
#[derive(Debug)]
struct Call {
    names: Names,
    b: String,
    /// Where B is.
    phone: SocketAddr,
    a_tag: String,
    a_addr: SocketAddr,
    /// The user that A's Contact had, to be put back into requests from B.
    a_contact_user: Option<String>,
    /// The user that B's Contact had, where A was told X instead.
    b_contact_user: Option<String>,
    /// The INVITE's branch and number, to tell a retransmission from another try.
    invite: (String, u32),
    state: State,
    /// Whether B was heard ringing.
    ringing: bool,
    last_ms: u64,
    due_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No binding; kept only to count once and to answer alike.
    Rejected,
    Trying,
    Answered,
    Ended,
}

impl Call {
    /// Who sends under this tag.
    fn side(&self, from_tag: Option<&str>) -> Side {
        if from_tag == Some(self.a_tag.as_str()) {
            Side::Caller
        } else {
            Side::Callee
        }
    }

    /// Remembers the user of a Contact that the other side will not see.
    fn note_contact(&mut self, message: &Message, from_a: bool) {
        let Some(contact) = message.first(Kind::Contact) else {
            return;
        };
        let contact_user = user(uri(contact)).map(str::to_owned);
        if from_a {
            self.a_contact_user = contact_user;
        } else if self.names.b_hidden {
            self.b_contact_user = contact_user;
        }
    }
}

impl Proxy {
    /// An idle proxy. `me` is written into Via and Record-Route.
    pub fn new(me: SocketAddr, phones: Phones, calls_max: usize, counters: Arc<Counters>) -> Proxy {
        Proxy {
            me,
            phones,
            calls_max,
            calls: HashMap::new(),
            due: BinaryHeap::new(),
            counters,
            noting: false,
            notes: Vec::new(),
        }
    }

    /// Keeps a note of every step from now on, for [`Proxy::take_notes`].
    #[must_use]
    pub fn noting(mut self) -> Proxy {
        self.noting = true;
        self
    }

    /// The steps since they were last taken, oldest first; to be taken after every datagram and tick.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    fn note(&mut self, call: &str, step: Step) {
        if self.noting {
            let call = call.to_owned();
            self.notes.push(Note { call, step });
        }
    }

    /// Forgets what is over; also done with every datagram.
    pub fn tick(&mut self, now_ms: u64) {
        while let Some(Reverse((due_ms, _))) = self.due.peek() {
            if *due_ms > now_ms {
                return;
            }
            let Some(Reverse((due_ms, id))) = self.due.pop() else {
                return;
            };
            let Some(call) = self.calls.get_mut(&id) else {
                continue;
            };
            if call.due_ms != due_ms {
                continue;
            }
            let silent_at_ms = call.last_ms + SILENCE_MS;
            if call.state == State::Answered && silent_at_ms > now_ms {
                call.due_ms = silent_at_ms;
                self.due.push(Reverse((silent_at_ms, id)));
                continue;
            }
            let state = call.state;
            if state == State::Answered {
                self.counters.live.fetch_sub(1, Ordering::Relaxed);
            }
            self.calls.remove(&id);
            if matches!(state, State::Trying | State::Answered) {
                let by = Side::Platform;
                self.note(&id, Step::Ended(End { by, status: 408 }));
            }
        }
    }

    /// Takes one datagram; the answer to it or its relayed form.
    pub fn on(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now_ms: u64,
        routes: Routes,
    ) -> Option<Out> {
        self.tick(now_ms);
        if datagram.iter().all(u8::is_ascii_whitespace) {
            // A keep-alive.
            return None;
        }
        let Some(message) = Message::parse(datagram) else {
            add(&self.counters.malformed);
            return None;
        };
        let kinds = [Kind::Via, Kind::From, Kind::To, Kind::CallId, Kind::CSeq];
        let too_long = |id: &str| id.len() > CALL_ID_MAX;
        if kinds.iter().any(|kind| message.first(*kind).is_none())
            || message.cseq().is_none()
            || message.first(Kind::CallId).is_some_and(too_long)
        {
            add(&self.counters.malformed);
            return None;
        }
        if message.status().is_some() {
            self.on_response(message, now_ms)
        } else if message.request().is_some() {
            self.on_request(message, from, now_ms, routes)
        } else {
            add(&self.counters.malformed);
            None
        }
    }

    fn on_request(
        &mut self,
        mut message: Message,
        from: SocketAddr,
        now_ms: u64,
        routes: Routes,
    ) -> Option<Out> {
        stamp(&mut message, from)?;
        let (method, _) = message.request()?;
        let method = method.to_owned();
        let is_ack = method == "ACK";
        let hops = message.first(Kind::MaxForwards).map(str::parse::<u8>);
        match hops {
            Some(Ok(0)) if !is_ack => return reply(&message, from, "483 Too Many Hops"),
            Some(Err(_)) if !is_ack => return reply(&message, from, "400 Bad Max-Forwards"),
            _ => {}
        }
        let id = message.first(Kind::CallId)?.to_owned();
        let to_tag = tag(message.first(Kind::To)?).is_some();
        let branch = branch(&message)?;
        let (number, _) = message.cseq()?;
        if method == "INVITE" && !to_tag {
            let known = self.calls.get(&id);
            if known.is_some_and(|call| call.invite == (branch.clone(), number)) {
                add(&self.counters.retransmissions);
            } else {
                return self.set_up(message, from, now_ms, routes, branch);
            }
        }
        let Some(call) = self.calls.get_mut(&id) else {
            return match method.as_str() {
                "ACK" => None,
                "OPTIONS" if !to_tag => reply(&message, from, "200 OK"),
                "BYE" | "CANCEL" | "INVITE" | "UPDATE" | "INFO" | "PRACK" | "REFER" | "NOTIFY"
                | "MESSAGE" | "OPTIONS" => {
                    reply(&message, from, "481 Call/Transaction Does Not Exist")
                }
                _ => reply(&message, from, "405 Method Not Allowed"),
            };
        };
        call.last_ms = now_ms;
        if call.state == State::Rejected {
            return match method.as_str() {
                "ACK" => None,
                "INVITE" => reply(&message, from, "404 Not Found"),
                _ => reply(&message, from, "481 Call/Transaction Does Not Exist"),
            };
        }
        if method == "BYE" {
            let by = call.side(tag(message.first(Kind::From)?));
            self.end(&id, now_ms, End { by, status: 0 });
        }
        self.forward(message, &id)
    }

    /// A new INVITE: asks where it goes and opens a call.
    fn set_up(
        &mut self,
        message: Message,
        from: SocketAddr,
        now_ms: u64,
        routes: Routes,
        branch: String,
    ) -> Option<Out> {
        let id = message.first(Kind::CallId)?.to_owned();
        let (_, target) = message.request()?;
        let (from_value, to_value) = (message.first(Kind::From)?, message.first(Kind::To)?);
        let Some(a_tag) = tag(from_value) else {
            return reply(&message, from, "400 From Without Tag");
        };
        let a = user(uri(from_value)).unwrap_or_default();
        let x = user(target).unwrap_or_default();
        let found = routes(a, x);
        if !self.calls.contains_key(&id) && self.calls.len() >= self.calls_max {
            return reply(&message, from, "503 Service Unavailable");
        }
        // Another try under the same Call-ID replaces the earlier one.
        let by = Side::Caller;
        self.end(&id, now_ms, End { by, status: 487 });
        let without_params = |value: &str| value[..value.len() - params(value).len()].to_owned();
        let number = message.cseq()?.0;
        let Phones {
            callee,
            a: phone_of_a,
        } = self.phones;
        let (state, b, phone, incoming, caller_shown) = match found {
            Some(Route::Out(b)) => (State::Trying, b, callee, false, false),
            Some(Route::In { a: b, caller_shown }) => {
                (State::Trying, b, phone_of_a, true, caller_shown)
            }
            None => (State::Rejected, String::new(), callee, false, false),
        };
        // A caller without a number cannot be shown.
        let caller_shown = caller_shown && !a.is_empty();
        let shown = if caller_shown { a } else { x };
        let call = Call {
            names: Names {
                a: [a.to_owned(), from_e164(a)],
                x: [x.to_owned(), from_e164(x)],
                shown: [shown.to_owned(), from_e164(shown)],
                b_hidden: incoming,
                a_from: without_params(from_value),
                a_to: without_params(to_value),
                b_from: format!("<sip:{shown}@{}>", self.me),
                b_to: format!("<sip:{b}@{phone}>"),
            },
            a_tag: a_tag.to_owned(),
            b,
            phone,
            a_addr: from,
            a_contact_user: None,
            b_contact_user: None,
            invite: (branch, number),
            state,
            ringing: false,
            last_ms: now_ms,
            due_ms: 0,
        };
        let rejected = call.state == State::Rejected;
        let started = Step::Started {
            from: a.to_owned(),
            x: x.to_owned(),
        };
        if !rejected && !incoming && gives_away(&message, &call.names) {
            add(&self.counters.foreign_identity);
        }
        self.calls.insert(id.clone(), call);
        if rejected {
            self.forget_after(&id, now_ms + LINGER_MS);
            add(&self.counters.not_found);
            return reply(&message, from, "404 Not Found");
        }
        self.forget_after(&id, now_ms + SETUP_MS);
        add(&self.counters.total);
        self.note(&id, started);
        if incoming {
            add(&self.counters.incoming);
        }
        self.forward(message, &id)
    }

    /// Relays a request of a known call.
    fn forward(&mut self, mut message: Message, id: &str) -> Option<Out> {
        let me = self.me;
        let call = self.calls.get_mut(id)?;
        let phone = call.phone;
        let (method, target) = message.request()?;
        let (method, mut target) = (method.to_owned(), target.to_owned());
        let from_a = tag(message.first(Kind::From)?) == Some(call.a_tag.as_str());
        let branch = branch(&message)?;
        drop_own_route(&mut message, me);
        let routed = message.first(Kind::Route).map(|route| {
            let (first, _) = first_value(route);
            host_port(uri(first))
        });
        if host_port(&target) == Some(me) {
            // Only A knows this address as a place where somebody is: the INVITE itself and what
            // goes with it before B has answered.
            if !from_a {
                return None;
            }
            target = format!("sip:{}@{phone}", call.b);
        } else if !from_a && let Some(contact_user) = &call.a_contact_user {
            target = with_user(&target, contact_user);
        } else if from_a && let Some(contact_user) = &call.b_contact_user {
            target = with_user(&target, contact_user);
        }
        let fallback = if from_a { phone } else { call.a_addr };
        let to = routed
            .unwrap_or_else(|| host_port(&target))
            .filter(|to| *to != me)
            .unwrap_or(fallback);
        message.start = Cow::Owned(format!("{method} {target} SIP/2.0"));
        let towards = if from_a { Towards::B } else { Towards::A };
        call.note_contact(&message, from_a);
        rewrite(&mut message, &call.names, towards, true);
        let mut hops = false;
        for header in &mut message.headers {
            if header.kind == Kind::MaxForwards {
                hops = true;
                let left = header.value.parse::<u8>().unwrap_or(70).saturating_sub(1);
                header.value = Cow::Owned(left.to_string());
            }
        }
        let mut ours = vec![Header {
            kind: Kind::Via,
            name: Cow::Borrowed("Via"),
            value: Cow::Owned(format!("SIP/2.0/UDP {me};branch={branch}")),
        }];
        if method == "INVITE" {
            ours.push(Header {
                kind: Kind::RecordRoute,
                name: Cow::Borrowed("Record-Route"),
                value: Cow::Owned(format!("<sip:{me};lr>")),
            });
        }
        if !hops {
            ours.push(Header {
                kind: Kind::MaxForwards,
                name: Cow::Borrowed("Max-Forwards"),
                value: Cow::Borrowed("69"),
            });
        }
        message.headers.splice(0..0, ours);
        let bytes = message.write();
        Some(Out { to, bytes })
    }

    fn on_response(&mut self, mut message: Message, now_ms: u64) -> Option<Out> {
        let id = message.first(Kind::CallId)?.to_owned();
        let status = message.status()?;
        let (number, method) = message.cseq()?;
        let invite = method == "INVITE";
        drop_own_via(&mut message, self.me)?;
        let (next, _) = first_value(message.first(Kind::Via)?);
        let to = via_target(next)?;
        let call = self.calls.get_mut(&id)?;
        call.last_ms = now_ms;
        let to_a = tag(message.first(Kind::From)?) == Some(call.a_tag.as_str());
        let towards = if to_a { Towards::A } else { Towards::B };
        if to_a {
            call.note_contact(&message, false);
        }
        rewrite(&mut message, &call.names, towards, false);
        if to_a && invite && call.invite.1 == number && call.state == State::Trying {
            if (200..300).contains(&status) {
                call.state = State::Answered;
                add(&self.counters.answered);
                add(&self.counters.live);
                self.forget_after(&id, now_ms + SILENCE_MS);
                self.note(&id, Step::Answered);
            } else if status >= 300 {
                // Only a CANCEL is answered so.
                let cancelled = status == 487;
                let by = if cancelled {
                    Side::Caller
                } else {
                    Side::Callee
                };
                self.end(&id, now_ms, End { by, status });
            } else if status > 100 && !call.ringing {
                call.ringing = true;
                self.note(&id, Step::Ringing);
            }
        }
        let bytes = message.write();
        Some(Out { to, bytes })
    }

    fn end(&mut self, id: &str, now_ms: u64, end: End) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        if call.state == State::Answered {
            self.counters.live.fetch_sub(1, Ordering::Relaxed);
        }
        if matches!(call.state, State::Trying | State::Answered) {
            call.state = State::Ended;
            self.forget_after(id, now_ms + LINGER_MS);
            self.note(id, Step::Ended(end));
        }
    }

    fn forget_after(&mut self, id: &str, due_ms: u64) {
        if let Some(call) = self.calls.get_mut(id) {
            call.due_ms = due_ms;
            self.due.push(Reverse((due_ms, id.to_owned())));
        }
    }
}

/// Writes into the top Via where the request really came from (RFC 3581).
fn stamp(message: &mut Message, from: SocketAddr) -> Option<()> {
    let top = message.headers.iter_mut().find(|h| h.kind == Kind::Via)?;
    let (first, rest) = first_value(&top.value);
    let (sent_by, via_params) = via(first)?;
    let wants_port = param(via_params, "rport").is_some();
    if !wants_port && via_target(first) == Some(from) {
        return Some(());
    }
    let kept: String = via_params
        .split(';')
        .skip(1)
        .filter(|item| {
            let name = item.split('=').next().unwrap_or("").trim();
            !name.eq_ignore_ascii_case("rport") && !name.eq_ignore_ascii_case("received")
        })
        .fold(String::new(), |kept, item| kept + ";" + item.trim());
    let protocol = first.split_whitespace().next()?;
    let port = if wants_port {
        format!(";rport={}", from.port())
    } else {
        String::new()
    };
    let mut value = format!("{protocol} {sent_by};received={}{port}{kept}", from.ip());
    if let Some(rest) = rest {
        value = format!("{value}, {rest}");
    }
    top.value = Cow::Owned(value);
    Some(())
}

/// Our branch for a request: the same for its retransmissions, for its CANCEL and for the ACK of a
/// refusal, since those carry the same top Via.
fn branch(message: &Message) -> Option<String> {
    let (first, _) = first_value(message.first(Kind::Via)?);
    let (sent_by, via_params) = via(first)?;
    let mut hasher = DefaultHasher::new();
    param(via_params, "branch").hash(&mut hasher);
    sent_by.hash(&mut hasher);
    message.first(Kind::CallId)?.hash(&mut hasher);
    // Peers of RFC 2543 put no unique branch there.
    message.cseq()?.0.hash(&mut hasher);
    Some(format!("z9hG4bKsim{:016x}", hasher.finish()))
}

fn drop_own_route(message: &mut Message, me: SocketAddr) {
    let Some(at) = message.headers.iter().position(|h| h.kind == Kind::Route) else {
        return;
    };
    let (first, rest) = first_value(&message.headers[at].value);
    if host_port(uri(first)) == Some(me) {
        match rest.map(str::to_owned) {
            Some(rest) => message.headers[at].value = Cow::Owned(rest),
            None => {
                message.headers.remove(at);
            }
        }
    }
}

/// Takes our Via off; `None` when the top one is not ours.
fn drop_own_via(message: &mut Message, me: SocketAddr) -> Option<()> {
    let at = message.headers.iter().position(|h| h.kind == Kind::Via)?;
    let (first, rest) = first_value(&message.headers[at].value);
    let (sent_by, via_params) = via(first)?;
    let ours = sent_by.parse() == Ok(me)
        && param(via_params, "branch").is_some_and(|branch| branch.starts_with("z9hG4bKsim"));
    if !ours {
        return None;
    }
    match rest.map(str::to_owned) {
        Some(rest) => message.headers[at].value = Cow::Owned(rest),
        None => {
            message.headers.remove(at);
        }
    }
    Some(())
}

/// A response of our own to where the request came from.
fn reply(message: &Message, to: SocketAddr, status: &str) -> Option<Out> {
    let (method, _) = message.request()?;
    if method == "ACK" {
        return None;
    }
    let mut headers = Vec::new();
    for header in &message.headers {
        match header.kind {
            Kind::Via | Kind::From | Kind::CallId | Kind::CSeq => headers.push(header.clone()),
            Kind::To => {
                let mut header = header.clone();
                if tag(&header.value).is_none() {
                    let mut hasher = DefaultHasher::new();
                    message.first(Kind::CallId)?.hash(&mut hasher);
                    let tagged = format!("{};tag=sim{:016x}", header.value, hasher.finish());
                    header.value = Cow::Owned(tagged);
                }
                headers.push(header);
            }
            _ => {}
        }
    }
    let answer = Message {
        start: Cow::Owned(format!("SIP/2.0 {status}")),
        headers,
        body: Cow::Borrowed(&[]),
    };
    let bytes = answer.write();
    Some(Out { to, bytes })
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
