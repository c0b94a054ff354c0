//! What a message costs: reading an INVITE, looking at what a leg looks at, writing its 200.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tandem_sip::message::{Framing, Message, Name, Writer};

const INVITE: &str = "INVITE sip:+8613800138000@198.51.100.2:5060;transport=udp SIP/2.0\r\n\
    Via: SIP/2.0/UDP 203.0.113.7:5060;rport;branch=z9hG4bKPj1f2a3b4c5d6e7f80912a3b4c5d\r\n\
    Via: SIP/2.0/UDP 10.20.30.40:5080;received=203.0.113.99;branch=z9hG4bK776asdhds\r\n\
    Record-Route: <sip:203.0.113.7;lr;ftag=as7d8f6>\r\n\
    Max-Forwards: 69\r\n\
    From: \"4001\" <sip:4001@203.0.113.7>;tag=as7d8f6a9s8d7f\r\n\
    To: <sip:+8613800138000@198.51.100.2>\r\n\
    Contact: <sip:4001@203.0.113.7:5060;transport=udp>\r\n\
    Call-ID: 7f6e5d4c-3b2a-1908-f7e6-d5c4b3a29180@203.0.113.7\r\n\
    CSeq: 10293 INVITE\r\n\
    User-Agent: PBX 16.3\r\n\
    Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, UPDATE\r\n\
    Supported: replaces, timer, 100rel\r\n\
    Session-Expires: 1800;refresher=uac\r\n\
    Min-SE: 90\r\n\
    P-Asserted-Identity: <sip:4001@203.0.113.7>\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 210\r\n\r\n\
    v=0\r\n\
    o=- 1700000000 1700000000 IN IP4 203.0.113.7\r\n\
    s=call\r\n\
    c=IN IP4 203.0.113.7\r\n\
    t=0 0\r\n\
    m=audio 17432 RTP/AVP 8 0 101\r\n\
    a=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\n\
    a=ptime:20\r\n";

fn message(c: &mut Criterion) {
    let bytes = Bytes::from_static(INVITE.as_bytes());
    let mut group = c.benchmark_group("message");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("parse_invite", |b| {
        b.iter(|| Message::parse(black_box(bytes.clone()), Framing::Datagram).expect("a message"));
    });
    let mut invite = Message::parse(bytes.clone(), Framing::Datagram).expect("a message");
    invite.set_source(([203, 0, 113, 7], 5060).into());
    group.bench_function("look_at_invite", |b| {
        b.iter(|| {
            let m = black_box(&invite);
            (
                m.top_via().branch,
                m.from().tag(),
                m.to().uri,
                m.contact().map(|c| c.uri),
                m.call_id(),
            )
        });
    });
    let mut writer = Writer::new();
    let sdp = invite.body();
    group.bench_function("write_200", |b| {
        b.iter(|| {
            writer
                .respond(black_box(&invite), 200, Some(b"8a7s6d"))
                .copy(&invite, Name::RecordRoute)
                .header(Name::Contact, "<sip:198.51.100.2:5060>")
                .finish_body(b"application/sdp", &sdp)
        });
    });
    group.finish();
}

criterion_group!(benches, message);
criterion_main!(benches);
