//! What a call costs a shard: an inbound and an outbound leg joined back to back, from INVITE to the last timer.
//!
//! Reading the received bytes is counted, as are all timers: the clock moves 10 ms a call, so about 3,200 ended calls
//! are still in their transactions' memory. What the far ends do is not counted. Before the measurement the memory of
//! held calls is printed, measured by the resident set of the process.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use tandem_sip::endpoint::{Config, Endpoint, Output};
use tandem_sip::leg::{Command, Dial, LegEvent, LegId, Token};
use tandem_sip::message::{Framing, Message, Name, Writer};
use tandem_sip::transport::Flow;

const SDP: &[u8] =
    b"v=0\r\no=- 20518 0 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n\
m=audio 54400 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n";

/// A shard with a customer and a carrier that behave well.
struct Bench {
    endpoint: Endpoint,
    now: u64,
    calls: u64,
    writer: Writer,
    sent: Vec<Bytes>,
    events: Vec<(LegId, LegEvent)>,
    /// Time spent in the shard.
    spent: Duration,
}

struct Call {
    number: u64,
    outbound: LegId,
    our_to: Vec<u8>,
}

fn customer() -> Flow {
    Flow::udp(
        "10.0.0.1:5060".parse().expect("an address"),
        "10.0.0.2:5060".parse().expect("an address"),
    )
}

fn carrier() -> Flow {
    Flow::udp(
        "10.0.0.1:5060".parse().expect("an address"),
        "10.0.0.3:5060".parse().expect("an address"),
    )
}

impl Bench {
    fn new() -> Self {
        Self {
            endpoint: Endpoint::new(
                Config {
                    legs_max: 1_000_000,
                    ..Config::default()
                },
                7,
            ),
            now: 0,
            calls: 0,
            writer: Writer::new(),
            sent: Vec::new(),
            events: Vec::new(),
            spent: Duration::ZERO,
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Send { bytes, .. } => self.sent.push(bytes),
                Output::Event { leg, event } => self.events.push((leg, event)),
            }
        }
    }

    fn hear(&mut self, bytes: Bytes, flow: Flow) {
        let start = Instant::now();
        let message =
            Message::parse(black_box(bytes), Framing::Datagram).expect("far ends speak SIP");
        assert!(self.endpoint.receive(message, flow, self.now).is_none());
        self.drain();
        self.spent += start.elapsed();
    }

    fn command(&mut self, leg: LegId, command: Command) {
        let start = Instant::now();
        self.endpoint
            .command(leg, command, self.now)
            .expect("it fits");
        self.drain();
        self.spent += start.elapsed();
    }

    fn event(&mut self) -> (LegId, LegEvent) {
        self.events.pop().expect("an event was due")
    }

    fn last(&mut self) -> Message {
        let bytes = self.sent.pop().expect("something was sent");
        self.sent.clear();
        Message::parse(bytes, Framing::Stream).expect("shards speak SIP")
    }

    fn request(method: &str, number: u64, cseq: u32, to: &[u8], body: &[u8]) -> Bytes {
        let to = String::from_utf8_lossy(to);
        let mut text = format!(
            "{method} sip:13800138000@10.0.0.1 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK-{number}-{cseq}-{method};rport\r\nMax-Forwards: 70\r\n\
             From: \"057185129999\" <sip:057185129999@10.0.0.2>;tag=c{number}\r\nTo: {to}\r\n\
             Call-ID: {number}-20518@10.0.0.2\r\nCSeq: {cseq} {method}\r\nContact: <sip:c@10.0.0.2:5060>\r\n\
             User-Agent: Customer 1.0\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO\r\n"
        )
        .into_bytes();
        if !body.is_empty() {
            text.extend_from_slice(b"Content-Type: application/sdp\r\n");
        }
        text.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        text.extend_from_slice(body);
        Bytes::from(text)
    }

    fn reply(&mut self, request: &Message, status: u16, body: &[u8]) -> Bytes {
        self.writer
            .respond(request, status, Some(b"carrier"))
            .header(Name::Contact, "<sip:x@10.0.0.3:5060>");
        self.writer.finish_body(b"application/sdp", body)
    }

    /// A call up to both ACKs.
    fn set_up(&mut self) -> Call {
        self.calls += 1;
        self.now += 10;
        let start = Instant::now();
        self.endpoint.advance(self.now);
        self.drain();
        self.spent += start.elapsed();
        self.sent.clear();

        let number = self.calls;
        self.hear(
            Self::request("INVITE", number, 1, b"<sip:13800138000@10.0.0.1>", SDP),
            customer(),
        );
        let (inbound, LegEvent::Invited(invited)) = self.event() else {
            panic!("not invited")
        };
        let token = Token::new(b"c5-12").expect("a token");
        self.command(inbound, Command::Name { token });
        let dial = Dial {
            flow: carrier(),
            request_uri: Bytes::from_static(b"sip:17000000001@10.0.0.3"),
            from: Bytes::from_static(b"<sip:02100000000@10.0.0.1>"),
            to: Bytes::from_static(b"<sip:17000000001@10.0.0.3>"),
            call_id: None,
            headers: vec![(
                Bytes::from_static(b"P-Asserted-Identity"),
                Bytes::from_static(b"<sip:02100000000@10.0.0.1>"),
            )],
            body: invited.body,
            max_forwards: invited.max_forwards - 1,
            ringing_limit_ms: 0,
            no_response_ms: 0,
            token: Some(token),
        };
        let start = Instant::now();
        let outbound = self.endpoint.dial(dial, self.now);
        self.drain();
        self.spent += start.elapsed();
        let invite = self.last();

        for status in [100, 180] {
            let bytes = self.reply(&invite, status, b"");
            self.hear(bytes, carrier());
        }
        let (_, LegEvent::Progress { status, body, .. }) = self.event() else {
            panic!("no progress")
        };
        self.command(inbound, Command::Progress { status, body });
        let bytes = self.reply(&invite, 200, SDP);
        self.hear(bytes, carrier());
        let (_, LegEvent::Answered { body }) = self.event() else {
            panic!("no answer")
        };
        self.command(outbound, Command::Ack { body: None });
        self.command(inbound, Command::Answer { body });
        let ok = self.last();
        let our_to = ok
            .header(Name::To)
            .expect("a response has one")
            .into_owned();
        self.hear(Self::request("ACK", number, 1, &our_to, b""), customer());
        self.event();
        Call {
            number,
            outbound,
            our_to,
        }
    }

    fn hang_up(&mut self, call: &Call) {
        self.hear(
            Self::request("BYE", call.number, 2, &call.our_to, b""),
            customer(),
        );
        self.event();
        self.command(call.outbound, Command::HangUp { cause: None });
        self.event();
        let bye = self.last();
        let bytes = self.reply(&bye, 200, b"");
        self.hear(bytes, carrier());
    }
}

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok())
        .unwrap_or(0)
        * 4096
}

/// Prints what a held call keeps, when its transactions are over.
fn held() {
    const CALLS: usize = 20_000;
    let mut bench = Bench::new();
    // Legs and transactions in flight take their places first.
    for _ in 0..CALLS / 4 {
        bench.set_up();
    }
    let before = resident_bytes();
    let held: Vec<Call> = (0..CALLS).map(|_| bench.set_up()).collect();
    bench.now += 60_000;
    bench.endpoint.advance(bench.now);
    let after = resident_bytes();
    black_box(&held);
    println!(
        "held calls: {} bytes of memory a pair of legs; {:?}",
        (after - before) / CALLS,
        bench.endpoint.counts()
    );
}

fn calls(criterion: &mut Criterion) {
    held();
    let mut bench = Bench::new();
    criterion.bench_function("endpoint/call of two legs", |bencher| {
        bencher.iter_custom(|calls| {
            bench.spent = Duration::ZERO;
            for _ in 0..calls {
                let call = bench.set_up();
                bench.hang_up(&call);
            }
            bench.spent
        });
    });
}

criterion_group!(benches, calls);
criterion_main!(benches);
