//! The shard from outside: messages as text in, what it says and tells out, time by hand.

mod adoption;
mod answering;
mod calling;
mod crossings;
mod refusals;
mod routing;
mod strays;
mod talking;
mod torture;
mod wire;

use bytes::Bytes;

use super::*;
use crate::leg::{Body, Command, CommandError, Dial, Offer};
use crate::message::{Framing, Name};
use crate::transport::ConnectionId;

pub(super) const OURS: &str = "10.0.0.1:5060";
pub(super) const THEIRS: &str = "10.0.0.2:5060";
pub(super) const SDP: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n";

pub(super) fn udp() -> Flow {
    Flow::udp(address(OURS), address(THEIRS))
}

pub(super) fn tcp() -> Flow {
    Flow {
        connection: Some(ConnectionId(7)),
        ..Flow::tcp(address(OURS), address(THEIRS))
    }
}

pub(super) fn address(text: &str) -> std::net::SocketAddr {
    text.parse().expect("an address")
}

pub(super) fn sdp() -> Option<Body> {
    Some(Body::sdp(SDP))
}

/// A shard with its clock and everything it has said and told.
pub(super) struct Bench {
    pub endpoint: Endpoint,
    pub now: Millis,
    pub flow: Flow,
    pub sent: Vec<(Millis, Flow, Message)>,
    pub told: Vec<(LegId, LegEvent)>,
    pub strays: Vec<Stray>,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    pub fn with(config: Config) -> Self {
        Self {
            endpoint: Endpoint::new(config, 42),
            now: 0,
            flow: udp(),
            sent: Vec::new(),
            told: Vec::new(),
            strays: Vec::new(),
        }
    }

    pub fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Send { flow, bytes, .. } => {
                    let message =
                        Message::parse(bytes, Framing::Stream).expect("what goes out can be read");
                    assert!(message.finding().is_none(), "{:?}", message.finding());
                    self.sent.push((self.now, flow, message));
                }
                Output::Event { leg, event } => self.told.push((leg, event)),
            }
        }
    }

    /// A message arrives.
    pub fn hear(&mut self, text: impl AsRef<str>) {
        let bytes = Bytes::copy_from_slice(text.as_ref().as_bytes());
        let message = Message::parse(bytes, Framing::Datagram).expect("the test speaks SIP");
        self.strays.extend(
            self.endpoint
                .receive(message, self.flow, self.now)
                .map(|stray| *stray),
        );
        self.drain();
    }

    /// Time passes to `now`, each timer at its own moment.
    pub fn pass_to(&mut self, now: Millis) {
        while let Some(at) = self.endpoint.next_deadline().filter(|at| *at <= now) {
            self.now = self.now.max(at);
            self.endpoint.advance(self.now);
            self.drain();
        }
        self.now = now;
    }

    pub fn pass(&mut self, ms: Millis) {
        self.pass_to(self.now + ms);
    }

    pub fn command(&mut self, leg: LegId, command: Command) {
        self.endpoint
            .command(leg, command, self.now)
            .expect("the command fits");
        self.drain();
    }

    pub fn hang_up(&mut self, leg: LegId, cause: Option<Cause>) {
        self.command(leg, Command::HangUp { cause });
    }

    /// The ACK of an answer to our offer.
    pub fn acknowledge(&mut self, leg: LegId) {
        self.command(leg, Command::Ack { body: None });
    }

    /// Offers a new session in the dialog.
    pub fn reoffer(&mut self, leg: LegId, via: Offer) {
        self.command(leg, Command::Reoffer { via, body: sdp() });
    }

    /// The tag on our side of the one dialog there is.
    pub fn dialog_tag(&self) -> String {
        let leg = self.endpoint.legs.slots().next().expect("a leg").1;
        String::from_utf8_lossy(&leg.dialog.local_tag).into_owned()
    }

    pub fn refused(&mut self, leg: LegId, command: Command) -> CommandError {
        let error = self
            .endpoint
            .command(leg, command, self.now)
            .expect_err("the command does not fit");
        self.drain();
        error
    }

    pub fn dial(&mut self, dial: Dial) -> LegId {
        let leg = self.endpoint.dial(dial, self.now);
        self.drain();
        leg
    }

    /// What was said since the last time: status and method of responses, method of requests.
    pub fn said(&mut self) -> Vec<String> {
        self.sent
            .drain(..)
            .map(|(_, _, message)| label(&message))
            .collect()
    }

    /// The same with the moments.
    pub fn said_when(&mut self) -> Vec<(Millis, String)> {
        self.sent
            .drain(..)
            .map(|(at, _, message)| (at, label(&message)))
            .collect()
    }

    /// The last message said, kept in the list.
    pub fn last(&self) -> &Message {
        &self.sent.last().expect("something was said").2
    }

    /// The one message said, taken.
    pub fn only(&mut self) -> Message {
        assert_eq!(self.sent.len(), 1, "{:?}", self.said());
        self.sent.remove(0).2
    }

    /// What was told since the last time, in words.
    pub fn heard(&mut self) -> Vec<String> {
        self.told
            .drain(..)
            .map(|(_, event)| words(&event))
            .collect()
    }

    /// An inbound call from the usual caller, ready for a command; the 100 and the event are taken.
    pub fn invited(&mut self) -> LegId {
        self.hear(caller("INVITE", 1, "a1", "").sdp());
        assert_eq!(self.said(), ["100 INVITE"]);
        let (leg, event) = self.told.remove(0);
        assert!(matches!(event, LegEvent::Invited(_)));
        leg
    }

    /// Rings at the caller's.
    pub fn ring(&mut self, leg: LegId) {
        let (status, body) = (180, None);
        self.command(leg, Command::Progress { status, body });
    }

    /// An inbound call, answered and acknowledged.
    pub fn talking(&mut self) -> LegId {
        let leg = self.invited();
        self.command(leg, Command::Answer { body: sdp() });
        let tag = self.our_tag();
        self.said();
        self.hear(caller("ACK", 1, "a1ack", &tag));
        assert_eq!(self.heard(), ["confirmed"]);
        leg
    }

    /// Our tag as the last response told it.
    pub fn our_tag(&self) -> String {
        String::from_utf8_lossy(self.last().to().tag().expect("responses have a tag")).into_owned()
    }

    /// An outbound call that has just been dialled; the INVITE is in the list.
    pub fn dialled(&mut self) -> LegId {
        self.dial(call())
    }

    /// Nothing is left of anything.
    pub fn assert_empty(&mut self) {
        self.pass(600_000);
        assert_eq!(self.endpoint.counts(), Counts::default());
        assert!(self.endpoint.transactions.len() == 0 && self.endpoint.clients.is_empty());
        assert!(self.endpoint.servers.is_empty() && self.endpoint.merged.is_empty());
        assert!(self.endpoint.dialogs.is_empty());
    }
}

pub(super) fn call() -> Dial {
    Dial {
        flow: udp(),
        request_uri: Bytes::from_static(b"sip:170@10.0.0.2"),
        from: Bytes::from_static(b"<sip:0210@10.0.0.1>"),
        to: Bytes::from_static(b"<sip:170@10.0.0.2>"),
        call_id: None,
        headers: Vec::new(),
        body: sdp(),
        max_forwards: 69,
        ringing_limit_ms: 0,
        no_response_ms: 0,
        token: None,
    }
}

pub(super) fn label(message: &Message) -> String {
    match message.status() {
        0 => message.method().to_string(),
        status => format!("{status} {}", message.method()),
    }
}

fn words(event: &LegEvent) -> String {
    let with =
        |text: String, body: &Option<Body>| if body.is_some() { text + " sdp" } else { text };
    match event {
        LegEvent::Invited(invited) => with("invited".into(), &invited.body),
        LegEvent::Progress { status, body, .. } => with(format!("progress {status}"), body),
        LegEvent::Answered { body } => with("answered".into(), body),
        LegEvent::Confirmed { body } => with("confirmed".into(), body),
        LegEvent::Moved => "moved".into(),
        LegEvent::Reoffered { via, body } => with(format!("reoffered {via:?}"), body),
        LegEvent::Reconfirmed { body } => with("reconfirmed".into(), body),
        LegEvent::Reanswered { status, body, .. } => with(format!("reanswered {status}"), body),
        LegEvent::Info { .. } => "info".into(),
        LegEvent::InfoAnswered { status } => format!("info answered {status}"),
        LegEvent::Ended(ended) => match &ended.by {
            EndedBy::Refused { status, .. } => format!("ended: refused {status}"),
            other => format!("ended: {other:?}"),
        },
    }
}

/// A message being written by a test.
pub(super) struct Text {
    head: String,
    body: String,
    kind: &'static str,
}

impl Text {
    pub fn sdp(mut self) -> Self {
        self.body = SDP.into();
        self
    }

    pub fn body(mut self, kind: &'static str, body: &str) -> Self {
        self.kind = kind;
        self.body = body.into();
        self
    }

    pub fn header(mut self, line: &str) -> Self {
        self.head.push_str(line);
        self.head.push_str("\r\n");
        self
    }

    pub fn replace(mut self, from: &str, to: &str) -> Self {
        assert!(self.head.contains(from), "{from} is not in\n{}", self.head);
        self.head = self.head.replace(from, to);
        self
    }

    pub fn text(&self) -> String {
        let kind = if self.body.is_empty() {
            String::new()
        } else {
            format!("Content-Type: {}\r\n", self.kind)
        };
        format!(
            "{}{kind}Content-Length: {}\r\n\r\n{}",
            self.head,
            self.body.len(),
            self.body
        )
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        // Tests are short; the text lives as long as they do.
        Box::leak(self.text().into_boxed_str())
    }
}

/// A request of the usual caller, inside the dialog when our tag is given.
pub(super) fn caller(method: &str, cseq: u32, branch: &str, our_tag: &str) -> Text {
    let tag = if our_tag.is_empty() {
        String::new()
    } else {
        format!(";tag={our_tag}")
    };
    let contact = if matches!(method, "INVITE" | "UPDATE") {
        "Contact: <sip:c@10.0.0.2:5060>\r\n"
    } else {
        ""
    };
    Text {
        head: format!(
            "{method} sip:b@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK{branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: \"C\" <sip:c@10.0.0.2>;tag=ct\r\nTo: <sip:b@10.0.0.1>{tag}\r\n\
             Call-ID: call-1\r\nCSeq: {cseq} {method}\r\n{contact}"
        ),
        body: String::new(),
        kind: "application/sdp",
    }
}

/// A request of the callee inside the dialog that our INVITE made.
pub(super) fn callee(invite: &Message, tag: &str, method: &str, cseq: u32, branch: &str) -> Text {
    let value =
        |name| String::from_utf8_lossy(&invite.header(name).expect("it is there")).into_owned();
    let contact = if matches!(method, "INVITE" | "UPDATE") {
        "Contact: <sip:x@10.0.0.2:5060>\r\n"
    } else {
        ""
    };
    Text {
        head: format!(
            "{method} sip:10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK{branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: {};tag={tag}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n{contact}",
            value(Name::To),
            value(Name::From),
            value(Name::CallId),
        ),
        body: String::new(),
        kind: "application/sdp",
    }
}

/// A response to a request of ours, with a tag unless the request's To has one.
pub(super) fn reply_to(request: &Message, status: u16, tag: &str) -> Text {
    let value =
        |name| String::from_utf8_lossy(&request.header(name).expect("it is there")).into_owned();
    let to = if request.to().tag().is_some() || tag.is_empty() {
        value(Name::To)
    } else {
        format!("{};tag={tag}", value(Name::To))
    };
    let contact = if (101..300).contains(&status) {
        "Contact: <sip:x@10.0.0.2:5060>\r\n"
    } else {
        ""
    };
    Text {
        head: format!(
            "SIP/2.0 {status} Whatever\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n{contact}",
            value(Name::Via),
            value(Name::From),
            value(Name::CallId),
            value(Name::CSeq),
        ),
        body: String::new(),
        kind: "application/sdp",
    }
}

/// What is kept of a call must stay small: a held leg is a box of this size and half as much in strings.
#[test]
fn legs_and_transactions_stay_small() {
    assert!(size_of::<Leg>() <= 512, "{}", size_of::<Leg>());
    assert!(
        size_of::<Transaction>() <= 320,
        "{}",
        size_of::<Transaction>()
    );
    assert!(size_of::<Dialog>() <= 400, "{}", size_of::<Dialog>());
}
