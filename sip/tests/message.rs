//! Writing, replying and relaying; arbitrary bytes; our own output; another parser as the judge.

use bytes::Bytes;
use proptest::prelude::*;
use tandem_sip::message::{
    Framing, Message, Method, Name, NameAddr, Transport, Uri, Via, Writer, reason_phrase,
};

fn parse(text: &str) -> Message {
    Message::parse(Bytes::copy_from_slice(text.as_bytes()), Framing::Datagram)
        .unwrap_or_else(|rejected| panic!("{rejected}: {text}"))
}

fn invite(via: &str) -> Message {
    parse(&format!(
        "INVITE sip:b@192.0.2.1 SIP/2.0\r\nVia: {via}\r\nVia: SIP/2.0/TCP far;branch=z9hG4bK2\r\n\
         Record-Route: <sip:p1;lr>,\r\n <sip:p2;lr>\r\nf: a <sip:a@x>;tag=1\r\nt: <sip:b@x>\r\ni: id\r\n\
         CSeq: 7 INVITE\r\nTimestamp: 54\r\nl: 0\r\n\r\n"
    ))
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn response_carries_what_the_rfc_asks_for() {
    let request = invite("SIP/2.0/UDP h:5070;branch=z9hG4bK1");
    let mut writer = Writer::new();
    let trying = writer.respond(&request, 100, Some(b"never")).finish();
    assert_eq!(
        text(&trying),
        "SIP/2.0 100 Trying\r\nVia: SIP/2.0/UDP h:5070;branch=z9hG4bK1\r\nVia: SIP/2.0/TCP far;branch=z9hG4bK2\r\n\
         f: a <sip:a@x>;tag=1\r\nt: <sip:b@x>\r\ni: id\r\nCSeq: 7 INVITE\r\nTimestamp: 54\r\nContent-Length: 0\r\n\r\n"
    );
    let ok = writer
        .respond(&request, 200, Some(b"us"))
        .copy(&request, Name::RecordRoute)
        .header(Name::Contact, "<sip:10.0.0.1>")
        .finish_body(b"application/sdp", b"v=0\r\n");
    assert_eq!(
        text(&ok),
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h:5070;branch=z9hG4bK1\r\nVia: SIP/2.0/TCP far;branch=z9hG4bK2\r\n\
         f: a <sip:a@x>;tag=1\r\nt: <sip:b@x>;tag=us\r\ni: id\r\nCSeq: 7 INVITE\r\n\
         Record-Route: <sip:p1;lr>,\r\n <sip:p2;lr>\r\nContact: <sip:10.0.0.1>\r\nContent-Type: application/sdp\r\n\
         Content-Length: 5\r\n\r\nv=0\r\n"
    );
    let reread = Message::parse(ok, Framing::Stream).expect("own output");
    assert_eq!(reread.to().tag(), Some(&b"us"[..]));
    assert!(reread.has_sdp());
    assert_eq!(reread.values(Name::RecordRoute).count(), 2);
}

#[test]
fn top_via_tells_where_the_request_came_from() {
    let table = [
        (
            "SIP/2.0/UDP 192.0.2.9:5062;branch=1",
            "SIP/2.0/UDP 192.0.2.9:5062;branch=1",
            5062,
        ),
        (
            "SIP/2.0/UDP host;branch=1",
            "SIP/2.0/UDP host;branch=1;received=192.0.2.9",
            5060,
        ),
        (
            "SIP/2.0/UDP 10.0.0.1:5062;branch=1",
            "SIP/2.0/UDP 10.0.0.1:5062;branch=1;received=192.0.2.9",
            5062,
        ),
        (
            "SIP/2.0/UDP 192.0.2.9;rport;x",
            "SIP/2.0/UDP 192.0.2.9;x;received=192.0.2.9;rport=40000",
            40000,
        ),
        // A received that a client made up does not survive.
        (
            "SIP/2.0/UDP h;received=6.6.6.6;branch=1",
            "SIP/2.0/UDP h;branch=1;received=192.0.2.9",
            5060,
        ),
        (
            "SIP / 2.0 / UDP h : 99 ; rport , SIP/2.0/UDP k;rport",
            "SIP / 2.0 / UDP h : 99;received=192.0.2.9;rport=40000, SIP/2.0/UDP k;rport",
            40000,
        ),
    ];
    for (sent, wanted, port) in table {
        let mut request = invite(sent);
        request.set_source("192.0.2.9:40000".parse().expect("an address"));
        let answer = Writer::new().respond(&request, 180, Some(b"t")).finish();
        assert!(
            text(&answer).contains(&format!(
                "\r\nVia: {wanted}\r\nVia: SIP/2.0/TCP far;branch=z9hG4bK2\r\n"
            )),
            "{sent}"
        );
        assert_eq!(
            request.reply_address().map(|a| a.port()),
            Some(port),
            "{sent}"
        );
    }
}

#[test]
fn values_cannot_add_headers() {
    let mut writer = Writer::new();
    let bytes = writer
        .request(&Method::Options, b"sip:a\r\nX: y@h")
        .header(Name::Subject, "one\r\nRoute: <sip:evil>\r\n\r\nbody")
        .finish();
    assert_eq!(
        text(&bytes),
        "OPTIONS sip:a X: y@h SIP/2.0\r\nSubject: one Route: <sip:evil> body\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn relayed_headers_are_copied_byte_for_byte() {
    let message = parse(
        "OPTIONS sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:a@x>\r\nTo: <sip:b@x>\r\nCall-ID: i\r\n\
         CSeq: 1 OPTIONS\r\nX-oDd \t:  a\r\n\t b \r\nBare: a\n b\r\nl: 0\r\n\r\n",
    );
    let mut writer = Writer::new();
    writer.request(message.method(), message.uri());
    for header in message.lines().filter(|h| h.name == Name::Other) {
        writer.line(&header);
    }
    assert_eq!(
        text(&writer.finish()),
        "OPTIONS sip:b@h SIP/2.0\r\nX-oDd \t:  a\r\n\t b \r\nBare: a b\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn own_via_and_copied_top_via_are_read_back() {
    let sent_by = "[2001:db8::1]:5060".parse().expect("an address");
    let mut writer = Writer::new();
    let bytes = writer
        .request(&Method::Invite, b"sip:b@h")
        .via(Transport::Udp, sent_by, b"z9hG4bKabc")
        .header(Name::From, "<sip:a@h>;tag=1")
        .header_of(Name::To, &[b"<", b"sip:b@h", b">"])
        .header(Name::CallId, "x")
        .cseq(4, &Method::Invite)
        .finish();
    let sent = Message::parse(bytes, Framing::Stream).expect("own output");
    let via = sent.top_via();
    assert_eq!(
        (via.host, via.port, via.rport),
        (&b"[2001:db8::1]"[..], Some(5060), Some(None))
    );
    let ack = writer
        .request(&Method::Ack, sent.uri())
        .top_via_of(&sent)
        .finish();
    assert!(text(&ack).contains("Via: SIP/2.0/UDP [2001:db8::1]:5060;rport;branch=z9hG4bKabc\r\n"));
}

#[test]
fn odd_octets_harm_their_own_header_only() {
    let mut bytes = b"MESSAGE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nX: \xff\xfe\0\r\n".to_vec();
    bytes.extend_from_slice(b"From: \"\xe9\" <sip:a@x>;tag=\xe9\r\nTo: <sip:b@x>\r\nCall-ID: i\r\nCSeq: 1 MESSAGE\r\n\r\n\xff\0\r\n\r\n");
    let m = Message::parse(Bytes::from(bytes), Framing::Datagram).expect("a message");
    assert_eq!(m.finding(), None);
    assert_eq!(m.other(b"x").as_deref(), Some(&b"\xff\xfe\0"[..]));
    assert_eq!(m.from().tag(), Some(&b"\xe9"[..]));
    assert_eq!(m.body_bytes(), b"\xff\0\r\n\r\n");
}

#[test]
fn every_status_has_a_phrase() {
    assert!((100..700).all(|status| !reason_phrase(status).is_empty()));
}

/// Reads everything there is to read.
fn exercise(message: &Message) {
    let _ = (
        message.call_id(),
        message.cseq(),
        message.from(),
        message.to(),
        message.contact(),
    );
    let _ = (
        message.top_via(),
        message.max_forwards(),
        message.expires(),
        message.has_sdp(),
        message.body(),
    );
    for header in message.lines() {
        let _ = header.unfolded();
        let _ = NameAddr::parse(header.value).map(|a| {
            (
                a.display_text(),
                a.parsed_uri().map(|u| (u.user_text(), u.host_ip())),
            )
        });
        let _ = Via::parse(header.value);
        for value in message.values(header.name) {
            let _ = NameAddr::parse(value);
        }
    }
    let _ = Uri::parse(message.uri());
    let _ = format!("{message:?}");
}

const PIECES: &[&str] = &[
    "INVITE ",
    "SIP/2.0",
    "sip:",
    "a@b",
    "\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    ":",
    ";",
    ",",
    "<",
    ">",
    "\"",
    "\\",
    "=",
    "/",
    "Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\n",
    "From: <sip:a@b>;tag=1\r\n",
    "To: <sip:a@b>\r\n",
    "Call-ID: 1\r\n",
    "CSeq: 1 INVITE\r\n",
    "Content-Length: ",
    "0",
    "18446744073709551615",
    "[",
    "]",
    "?",
    "%",
    "%00",
    "*",
    "é",
    "\0",
    "INVITE sip:a@b SIP/2.0\r\n",
    "SIP/2.0 200 OK\r\n",
    "\r\n\r\n",
    "Contact: ",
    "m:",
    "Route: <sip:x;lr>",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 2_000 } else { 200_000 }))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        for framing in [Framing::Datagram, Framing::Stream] {
            match Message::parse(Bytes::from(bytes.clone()), framing) {
                Ok(message) => exercise(&message),
                Err(rejected) => { let _ = rejected.answer(&mut Writer::new(), ([127, 0, 0, 1], 5060).into()); }
            }
        }
        let _ = (NameAddr::parse(&bytes), Uri::parse(&bytes), Via::parse(&bytes));
    }

    #[test]
    fn pieces_of_sip_in_any_order_never_panic(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..60)) {
        let bytes = Bytes::from(pieces.concat());
        match Message::parse(bytes, Framing::Datagram) {
            Ok(message) => exercise(&message),
            Err(rejected) => {
                if let Some((answer, _)) = rejected.answer(&mut Writer::new(), ([127, 0, 0, 1], 5060).into()) {
                    prop_assert!(answer.starts_with(b"SIP/2.0 "));
                }
            }
        }
    }

    #[test]
    fn own_output_reads_back_equal(
        method in "[A-Z!%*_+`'~-]{1,12}",
        user in "[a-zA-Z0-9+*#_.-]{1,20}",
        display in "[ -~]{0,20}",
        call_id in "[!-~]{1,40}",
        tag in "[a-zA-Z0-9.-]{1,20}",
        cseq in any::<u32>(),
        extra in "[^\r\n]{0,60}",
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let method = Method::read(method.as_bytes());
        let quoted = format!("\"{}\"", display.replace('\\', "\\\\").replace('"', "\\\""));
        let uri = format!("sip:{user}@192.0.2.1:5062;transport=udp");
        let mut writer = Writer::new();
        let bytes = writer
            .request(&method, uri.as_bytes())
            .via(Transport::Tcp, ([192, 0, 2, 1], 5060).into(), b"z9hG4bKq")
            .header(Name::From, format!("{quoted} <{uri}>;tag={tag}"))
            .header(Name::To, format!("<{uri}>"))
            .header(Name::CallId, &call_id)
            .cseq(cseq, &method)
            .other(b"X-Extra", &extra)
            .finish_body(b"application/octet-stream", &body);
        let message = Message::parse(bytes.clone(), Framing::Stream).expect("own output");
        prop_assert_eq!(message.finding(), None);
        prop_assert_eq!(message.method(), &method);
        prop_assert_eq!(message.uri(), uri.as_bytes());
        prop_assert_eq!(message.call_id(), call_id.as_bytes());
        prop_assert_eq!(message.cseq(), (cseq, &method));
        prop_assert_eq!(message.from().tag(), Some(tag.as_bytes()));
        let shown = message.from().display_text().into_owned();
        prop_assert_eq!(shown, display.as_bytes());
        prop_assert_eq!(message.body_bytes(), &body[..]);
        let uri = Uri::parse(message.uri()).expect("a URI");
        prop_assert_eq!(uri.user, Some(user.as_bytes()));
        prop_assert_eq!((uri.host, uri.port), (&b"192.0.2.1"[..], Some(5062)));
        // Copied line by line it is the same message again.
        writer.request(message.method(), message.uri());
        for header in message.lines().filter(|h| h.name != Name::ContentLength) {
            writer.line(&header);
        }
        prop_assert_eq!(writer.finish_with(message.body_bytes()), bytes);
    }
}

/// Wherever rsip reads a message too, both must have read the same.
#[test]
fn rsip_agrees_where_it_reads_the_message() {
    use rsip::prelude::{HeadersExt, ToTypedHeader, UntypedHeader};
    let mut compared = 0;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torture");
    for rfc in ["rfc4475", "rfc5118"] {
        for file in std::fs::read_dir(format!("{folder}/{rfc}")).expect("torture messages") {
            let bytes = std::fs::read(file.expect("a file").path()).expect("readable");
            let Ok(ours) = Message::parse(Bytes::from(bytes.clone()), Framing::Datagram) else {
                continue;
            };
            let Ok(theirs) = rsip::SipMessage::try_from(bytes) else {
                continue;
            };
            assert_eq!(ours.is_request(), theirs.is_request());
            if let Ok(call_id) = theirs.call_id_header() {
                assert_eq!(ours.call_id(), call_id.value().as_bytes());
            }
            if let Ok(cseq) = theirs.cseq_header().and_then(|h| h.typed()) {
                assert_eq!(ours.cseq().0, cseq.seq);
                assert_eq!(ours.method().to_string(), cseq.method.to_string());
            }
            compared += 1;
        }
    }
    assert!(compared >= 5, "{compared}");
}
