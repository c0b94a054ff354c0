//! The torture messages of RFC 4475 and RFC 5118 that lie in `torture/`, obeyed as its manifest
//! says, and cases of our own for what the rest of the two RFCs describes.

use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;
use tandem_sip::message::{
    Framing, Message, Method, Name, Rejected, Scheme, Uri, Via, Writer, host_ip, unescape,
};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/torture")
}

fn bytes_of(name: &str) -> Bytes {
    let found = ["rfc4475", "rfc5118"]
        .iter()
        .find_map(|rfc| std::fs::read(folder().join(rfc).join(format!("{name}.dat"))).ok());
    Bytes::from(found.unwrap_or_else(|| panic!("no torture message {name}")))
}

fn accepted(name: &str) -> Message {
    Message::parse(bytes_of(name), Framing::Datagram)
        .unwrap_or_else(|rejected| panic!("{name}: {rejected}"))
}

/// The status a request is refused with, as a finding or as a rejection; `None` when it is good.
fn refusal(bytes: &[u8]) -> Result<Option<u16>, Rejected> {
    match Message::parse(Bytes::copy_from_slice(bytes), Framing::Datagram) {
        Ok(message) => Ok(message.finding().map(|finding| finding.status)),
        Err(rejected) if rejected.status.is_some() => Ok(rejected.status),
        Err(rejected) => Err(rejected),
    }
}

#[test]
fn manifest_is_obeyed() {
    let manifest = std::fs::read_to_string(folder().join("manifest.tsv")).expect("manifest");
    let mut seen = 0;
    for row in manifest.lines().skip(1) {
        let column: Vec<&str> = row.split('\t').collect();
        let (name, parse, element, length) = (column[0], column[5], column[6], column[8]);
        let bytes = bytes_of(name);
        assert_eq!(
            bytes.len().to_string(),
            length,
            "{name}: the file was changed"
        );
        let result = Message::parse(bytes.clone(), Framing::Datagram);
        match parse {
            "accept" => {
                let message = result.unwrap_or_else(|rejected| panic!("{name}: {rejected}"));
                // What the message layer finds must be what the element column asks for.
                if let Some(finding) = message.finding() {
                    assert!(
                        element.contains(&finding.status.to_string()),
                        "{name}: {finding:?}"
                    );
                }
                assert!(message.lines().all(|h| !h.name_bytes.is_empty()), "{name}");
            }
            "reject" => match result {
                Ok(message) => {
                    let finding = message
                        .finding()
                        .unwrap_or_else(|| panic!("{name} was let through"));
                    assert!(
                        element.contains(&finding.status.to_string()),
                        "{name}: {finding:?}"
                    );
                }
                Err(rejected) => match rejected.status {
                    Some(status) => assert!(
                        element.contains(&status.to_string()),
                        "{name}: {rejected:?}"
                    ),
                    None => assert!(element.contains("dropped"), "{name}: {rejected:?}"),
                },
            },
            "either" => {}
            other => panic!("{name}: parse column says {other}"),
        }
        seen += 1;
    }
    assert_eq!(seen, 32);
}

#[test]
fn wsinv_is_read_through_its_white_space() {
    let m = accepted("wsinv");
    assert_eq!(m.finding(), None);
    assert_eq!(m.cseq(), (9, &Method::Invite));
    assert_eq!(m.max_forwards(), Some(68));
    assert_eq!(m.to().uri, b"sip:vivekg@chair-dnrc.example.com");
    assert_eq!(m.to().tag(), Some(&b"1918181833n"[..]));
    assert_eq!(&*m.from().display_text(), br#"J Rosenberg \""#);
    assert_eq!(m.from().tag(), Some(&b"98asjd8"[..]));
    assert_eq!(m.uri(), b"sip:vivekg@chair-dnrc.example.com;unknownparam");
    let vias: Vec<Via<'_>> = m
        .values(Name::Via)
        .map(|v| Via::parse(v).expect("a Via"))
        .collect();
    let hosts: Vec<&[u8]> = vias.iter().map(|v| v.host).collect();
    assert_eq!(
        hosts,
        [
            &b"192.0.2.2"[..],
            b"spindle.example.com",
            b"192.168.255.111"
        ]
    );
    assert_eq!(vias[0].branch, Some(&b"390skdjuw"[..]));
    assert_eq!(vias[0].unique_branch(), None);
    assert_eq!(vias[1].transport, b"TCP");
    assert_eq!(vias[1].unique_branch(), Some(&b"z9hG4bK9ikj8"[..]));
    assert_eq!(vias[2].branch, Some(&b"z9hG4bK30239"[..]));
    assert_eq!(m.header(Name::Subject).as_deref(), Some(&b""[..]));
    assert_eq!(
        m.other(b"newfangledheader").as_deref(),
        Some(&b"newfangled value continued newfangled value"[..])
    );
    assert_eq!(
        m.other(b"UnknownHeaderWithUnusualValue").as_deref(),
        Some(&b";;,,;;,;"[..])
    );
    let route = m.address(Name::Route).expect("a Route");
    assert_eq!(
        route.uri,
        b"sip:services.example.com;lr;unknownwith=value;unknown-no-value"
    );
    let contact = m.contact().expect("a Contact");
    assert_eq!(&*contact.display_text(), br#"Quoted string """#);
    assert_eq!(contact.params.get(b"newparam"), Some(&b"newvalue"[..]));
    assert_eq!(contact.params.get(b"q"), Some(&b"0.33"[..]));
    assert_eq!(m.body().len(), 150);
    assert!(m.has_sdp());
}

#[test]
fn intmeth_keeps_every_legal_character() {
    let m = accepted("intmeth");
    let method = &b"!interesting-Method0123456789_*+`.%indeed'~"[..];
    assert_eq!(m.method(), &Method::Other(method.into()));
    let uri = Uri::parse(m.uri()).expect("a URI");
    assert_eq!(uri.host, b"example.com");
    assert_eq!(
        uri.user,
        Some(&b"1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"[..])
    );
    assert_eq!(
        uri.password,
        Some(&b"&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"[..])
    );
    assert_eq!(&*m.to().display_text(), b"BEL:\x07 NUL:\0 DEL:\x7f");
    assert_eq!(m.from().tag(), Some(&b"_token~1'+`*%!-."[..]));
    assert_eq!(m.max_forwards(), Some(255));
    assert_eq!(m.top_via().branch, Some(&b"z9hG4bK-.!%66*_+`'~"[..]));
}

#[test]
fn escnull_contacts_stay_distinct() {
    let m = accepted("escnull");
    let users: Vec<Vec<u8>> = m
        .values(Name::Contact)
        .map(|v| {
            let start = memchr::memchr(b'<', v).expect("brackets");
            Uri::parse(&v[start + 1..v.len() - 1])
                .expect("a URI")
                .user_text()
                .expect("a user")
                .into_owned()
        })
        .collect();
    assert_eq!(users, [vec![0], vec![0, 0]]);
    assert_eq!(
        m.to().parsed_uri().and_then(|u| u.user),
        Some(&b"null-%00-null"[..])
    );
}

#[test]
fn dblreq_rest_of_the_datagram_is_ignored() {
    let m = accepted("dblreq");
    assert_eq!(m.method(), &Method::Register);
    assert_eq!(m.body().len(), 0);
    assert!(m.as_bytes().ends_with(b"\r\n\r\n"));
    assert!(!m.as_bytes().windows(6).any(|w| w == b"INVITE"));
}

#[test]
fn mpart01_body_is_kept_exactly() {
    let raw = bytes_of("mpart01");
    let m = accepted("mpart01");
    let head = raw
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .expect("a blank line")
        + 4;
    assert_eq!(m.body(), raw.slice(head..));
    assert!(m.body().contains(&0));
}

#[test]
fn unreason_phrase_is_utf8() {
    let m = accepted("unreason");
    assert_eq!(m.status(), 200);
    assert_eq!(
        std::str::from_utf8(m.reason()).expect("UTF-8"),
        "= 2**3 * 5**2 но сто девяносто девять - простое"
    );
}

#[test]
fn badbranch_is_not_unique() {
    assert_eq!(
        accepted("badbranch").top_via().branch,
        Some(&b"z9hG4bK"[..])
    );
    assert_eq!(accepted("badbranch").top_via().unique_branch(), None);
}

#[test]
fn unknown_scheme_is_416_and_unknown_version_505() {
    assert_eq!(accepted("unkscm").finding().map(|f| f.status), Some(416));
    assert_eq!(
        refusal(&bytes_of("badvers")).expect("answerable"),
        Some(505)
    );
    assert_eq!(accepted("unksm2").from().uri, b"http://www.example.com");
    assert_eq!(
        accepted("unksm2")
            .contact()
            .and_then(|c| c.parsed_uri())
            .map(|u| u.scheme),
        Some(Scheme::Other)
    );
}

#[test]
fn cparam01_parameter_belongs_to_the_header() {
    let m = accepted("cparam01");
    let contact = m.contact().expect("a Contact");
    assert_eq!(contact.uri, b"sip:+19725552222@gw1.example.net");
    assert!(contact.params.has(b"unknownparam"));
}

#[test]
fn regescrt_route_stays_in_the_contact() {
    let m = accepted("regescrt");
    let uri = m.contact().and_then(|c| c.parsed_uri()).expect("a URI");
    assert_eq!(uri.headers, b"Route=%3Csip:sip.example.com%3E");
    assert_eq!(&*unescape(uri.headers), b"Route=<sip:sip.example.com>");
}

#[test]
fn inv2543_is_answered() {
    let m = accepted("inv2543");
    assert_eq!(m.finding(), None);
    assert_eq!(m.from().tag(), None);
    assert_eq!(m.top_via().branch, None);
    assert_eq!(m.max_forwards(), None);
    assert_eq!(
        m.from().parsed_uri().and_then(|u| u.params.get(b"user")),
        Some(&b"phone"[..])
    );
    assert_eq!(m.to().uri, b"sip:+16505552222@ss1.example.net");
    assert_eq!(m.body().len(), 105);
}

#[test]
fn longreq_is_read_whole() {
    let m = accepted("longreq");
    assert_eq!(m.finding(), None);
    assert_eq!(m.values(Name::Via).count(), 34);
    assert!(m.from().tag().is_some_and(|tag| tag.len() > 100));
}

#[test]
fn ipv6_addresses_are_read() {
    let m = accepted("ipv6-good");
    assert_eq!(
        Uri::parse(m.uri()).and_then(|u| u.host_ip()),
        host_ip(b"[2001:db8::10]")
    );
    assert!(host_ip(m.top_via().host).is_some_and(|ip| ip.is_ipv6()));
    let m = accepted("port-unambiguous");
    assert_eq!(Uri::parse(m.uri()).and_then(|u| u.port), Some(5070));
    let m = accepted("via-received-param-no-delim");
    assert_eq!(m.top_via().received_ip(), host_ip(b"2001:db8::9:255"));
    let m = accepted("mult-ip-in-header");
    assert_eq!(
        m.values(Name::Via)
            .filter(|v| Via::parse(v).is_some())
            .count(),
        3
    );
}

/// A sound request to be spoiled by replacing one of its parts.
const SOUND: &str = "OPTIONS sip:b@example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bKx\r\n\
    Max-Forwards: 70\r\n\
    From: <sip:a@example.com>;tag=1\r\n\
    To: <sip:b@example.com>\r\n\
    Call-ID: c1\r\n\
    CSeq: 1 OPTIONS\r\n\
    Contact: <sip:a@192.0.2.7>\r\n\
    Content-Length: 0\r\n\r\n";

#[test]
fn sound_message_is_sound() {
    assert_eq!(refusal(SOUND.as_bytes()).expect("a message"), None);
}

/// What the messages of the two RFCs that are not in the folder describe, and SIP-CASES.
#[test]
fn spoiled_requests_are_refused_with_their_status() {
    let table: &[(&str, &str, &str, Option<u16>)] = &[
        // Good ones: RFC 4475 esc01, esc02, lwsdisp, semiuri, transports, novelsc's kin.
        (
            "esc01",
            "sip:b@example.com SIP",
            "sip:sips%3Auser%40example.com@example.net SIP",
            None,
        ),
        ("lwsdisp", "From: <", "From: caller<", None),
        (
            "semiuri",
            "sip:b@example.com SIP",
            "sip:user;par=u%40example.net@example.com SIP",
            None,
        ),
        ("transports", "SIP/2.0/UDP 192", "SIP/2.0/UNKNOWN 192", None),
        ("sctp", "SIP/2.0/UDP 192", "SIP/2.0/SCTP 192", None),
        (
            "cparam02",
            "Contact: <sip:a@192.0.2.7>",
            "Contact: <sip:+1972@gw1.example.net;unknownparam>",
            None,
        ),
        (
            "tel",
            "sip:b@example.com SIP",
            "tel:+8613800138000;phone-context=x SIP",
            None,
        ),
        (
            "sips",
            "sip:b@example.com SIP",
            "sips:b@example.com SIP",
            None,
        ),
        (
            "scheme in capitals",
            "sip:b@example.com SIP",
            "SIP:b@example.com SIP",
            None,
        ),
        (
            "same Content-Length twice",
            "Content-Length: 0",
            "Content-Length: 0\r\nl: 00",
            None,
        ),
        ("no From tag", ";tag=1", "", None),
        ("no Max-Forwards", "Max-Forwards: 70\r\n", "", None),
        ("no Contact", "Contact: <sip:a@192.0.2.7>\r\n", "", None),
        (
            "all contacts",
            "Contact: <sip:a@192.0.2.7>",
            "Contact: *",
            None,
        ),
        (
            "two contacts",
            "Contact: <sip:a@192.0.2.7>",
            "Contact: \"a, b\" <sip:a@x>;q=1, <sip:b@y>",
            None,
        ),
        (
            "octet that is not UTF-8",
            "Contact:",
            "X-Odd: a\u{fffd}b\r\nContact:",
            None,
        ),
        (
            "regaut01",
            "Contact:",
            "Authorization: NoOneKnowsThisScheme opaque-data=here\r\nContact:",
            None,
        ),
        (
            "zeromf outside INVITE",
            "Max-Forwards: 70",
            "Max-Forwards: 0",
            None,
        ),
        ("maddr", ";branch", ";maddr=[ff02::1];ttl=1;branch", None),
        (
            "received in brackets",
            ";branch",
            ";received=[2001:db8::9:255];branch",
            None,
        ),
        (
            "ipv4 mapped",
            "sip:b@example.com SIP",
            "sip:b@[::ffff:192.0.2.10]:5070 SIP",
            None,
        ),
        (
            "port ambiguous",
            "sip:b@example.com SIP",
            "sip:[2001:db8::10:5070] SIP",
            None,
        ),
        (
            "three colons",
            "Contact: <sip:a@192.0.2.7>",
            "Contact: <sip:a@[2001:db8:::192.0.2.1]>",
            None,
        ),
        ("blank before the colon", "CSeq:", "CSeq \t:", None),
        (
            "value on the next line",
            "Call-ID: c1",
            "Call-ID:\r\n c1",
            None,
        ),
        ("one semicolon too many", ";tag=1", ";tag=1;", None),
        ("rport with = alone", ";branch", ";rport=;branch", None),
        ("trws", "SIP/2.0\r\nVia", "SIP/2.0  \r\nVia", None),
        ("CSeq of 32 bits", "CSeq: 1 ", "CSeq: 4294967295 ", None),
        // Bad ones.
        (
            "clerr",
            "Content-Length: 0",
            "Content-Length: 9999",
            Some(400),
        ),
        (
            "mcl01",
            "Content-Length: 0",
            "Content-Length: 5\r\nContent-Length: 0",
            Some(400),
        ),
        ("sign", "Content-Length: 0", "Content-Length: +0", Some(400)),
        ("empty", "Content-Length: 0", "Content-Length:", Some(400)),
        (
            "2^64",
            "Content-Length: 0",
            "Content-Length: 18446744073709551616",
            Some(400),
        ),
        ("quotbal", "To: <", "To: \"Mr. J. User <", Some(400)),
        (
            "lwsruri",
            "sip:b@example.com SIP",
            "sip:b@example.com; lr SIP",
            Some(400),
        ),
        ("lwsstart", "OPTIONS sip:b", "OPTIONS  sip:b", Some(400)),
        (
            "ltgtruri",
            "sip:b@example.com SIP",
            "<sip:b@example.com> SIP",
            Some(400),
        ),
        (
            "escruri",
            "sip:b@example.com SIP",
            "sip:b@example.com?Route=%3Csip:example.com%3E SIP",
            Some(400),
        ),
        (
            "regbadct",
            "Contact: <sip:a@192.0.2.7>",
            "Contact: sip:a@h?Route=%3Csip:x%3E",
            Some(400),
        ),
        ("baddn", "From: <", "From: Bell, Alexander <", Some(400)),
        ("mismatch01", "CSeq: 1 OPTIONS", "CSeq: 8 INVITE", Some(400)),
        ("insuf", "CSeq: 1 OPTIONS\r\n", "", Some(400)),
        ("no Call-ID", "Call-ID: c1\r\n", "", Some(400)),
        (
            "no From",
            "From: <sip:a@example.com>;tag=1\r\n",
            "",
            Some(400),
        ),
        ("no To", "To: <sip:b@example.com>\r\n", "", Some(400)),
        (
            "novelsc",
            "sip:b@example.com SIP",
            "soap.beep://192.0.2.103:3002 SIP",
            Some(416),
        ),
        ("scalar", "Max-Forwards: 70", "Max-Forwards: 300", Some(400)),
        ("CSeq too large", "CSeq: 1 ", "CSeq: 4294967296 ", Some(400)),
        (
            "two Call-IDs",
            "Call-ID: c1",
            "Call-ID: c1\r\ni: c2",
            Some(400),
        ),
        (
            "two Max-Forwards",
            "Max-Forwards: 70",
            "Max-Forwards: 70\r\nMax-Forwards: 5",
            Some(400),
        ),
        (
            "v6 without brackets",
            "sip:b@example.com SIP",
            "sip:2001:db8::10 SIP",
            Some(400),
        ),
        (
            "empty host",
            "sip:b@example.com SIP",
            "sip:b@ SIP",
            Some(400),
        ),
        (
            "port too large",
            "sip:b@example.com SIP",
            "sip:b@example.com:65536 SIP",
            Some(400),
        ),
        ("two semicolons too many", ";tag=1", ";tag=1;;", Some(400)),
        ("no colon", "Call-ID: c1", "Call-ID c1", Some(400)),
        ("bare CR", "Call-ID: c1", "Call-ID: c1\rX: y", Some(400)),
        ("version", "com SIP/2.0", "com SIP/2.1", Some(505)),
        ("no blank line", "0\r\n\r\n", "0\r\n", Some(400)),
    ];
    for (name, from, to, wanted) in table {
        assert!(SOUND.contains(from), "{name}");
        let spoiled = SOUND.replacen(from, to, 1);
        let got =
            refusal(spoiled.as_bytes()).unwrap_or_else(|rejected| panic!("{name}: {rejected:?}"));
        assert_eq!(got, *wanted, "{name}");
    }
}

#[test]
fn what_is_not_sip_is_dropped_in_silence() {
    let table: &[&[u8]] = &[
        b"",
        b"\r\n\r\n",
        b"\0\x01\0\0\x21\x12\xa4\x42",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"hello\r\n\r\n",
        b"INVITE\r\n\r\n",
        b"SIP/2.0 99 Low\r\nVia: x\r\n\r\n",
        b"SIP/2.0 4294967301 better not break the receiver\r\n\r\n",
        b"SIP/2.0 200 OK\r\n\r\n",
        b"ACK sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\n",
        b"OPTIONS sip:b@h SIP/2.0\r\nFrom: x\r\n\r\n",
    ];
    for bytes in table {
        let rejected =
            Message::parse(Bytes::from_static(bytes), Framing::Datagram).expect_err("no message");
        assert_eq!(
            rejected.status,
            None,
            "{:?}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[test]
fn noreason_response_is_read_with_and_without_its_blank() {
    for line in ["SIP/2.0 100 ", "SIP/2.0 100"] {
        let text = SOUND.replacen("OPTIONS sip:b@example.com SIP/2.0", line, 1);
        let m = Message::parse(Bytes::from(text), Framing::Datagram).expect("a response");
        assert_eq!(
            (m.status(), m.reason(), m.method()),
            (100, &b""[..], &Method::Options)
        );
    }
}

#[test]
fn zeromf_invite_is_483_outside_a_dialog_only() {
    let invite = SOUND
        .replace("OPTIONS", "INVITE")
        .replace("Max-Forwards: 70", "Max-Forwards: 0");
    assert_eq!(refusal(invite.as_bytes()).expect("a message"), Some(483));
    let inside = invite.replace("To: <sip:b@example.com>", "To: <sip:b@example.com>;tag=2");
    assert_eq!(refusal(inside.as_bytes()).expect("a message"), None);
}

#[test]
fn bext01_options_nobody_supports_are_listed() {
    let text = SOUND.replace(
        "Contact:",
        "Require: nothingSupportsThis, 100rel\r\nrequire: norThis\r\nContact:",
    );
    let m = Message::parse(Bytes::from(text), Framing::Datagram).expect("a message");
    let unknown: Vec<&[u8]> = m.unsupported(&["100rel", "timer"]).collect();
    assert_eq!(unknown, [&b"nothingSupportsThis"[..], b"norThis"]);
}

#[test]
fn missing_content_length_takes_the_datagram_and_fails_on_a_stream() {
    let text = SOUND.replace("Content-Length: 0\r\n\r\n", "\r\n\0\r\nbinary\u{ff}");
    let m = Message::parse(Bytes::from(text.clone()), Framing::Datagram).expect("a message");
    assert_eq!(m.body(), "\0\r\nbinary\u{ff}".as_bytes());
    let rejected = Message::parse(Bytes::from(text), Framing::Stream).expect_err("required there");
    assert_eq!(rejected.status, Some(400));
}

#[test]
fn bounds_hold() {
    let with = |extra: String| {
        refusal(
            SOUND
                .replace("Contact:", &format!("{extra}Contact:"))
                .as_bytes(),
        )
    };
    let folds = |n: usize| format!("X: a{}\r\n", "\r\n b".repeat(n));
    let vias = |n: usize| "Via: SIP/2.0/UDP h;branch=z9hG4bKy\r\n".repeat(n);
    assert_eq!(with("X: y\r\n".repeat(120)).expect("readable"), None);
    assert_eq!(with("X: y\r\n".repeat(121)).expect("readable"), Some(400));
    assert_eq!(
        with(format!("X: {}\r\n", "y".repeat(8_189))).expect("readable"),
        None
    );
    assert_eq!(
        with(format!("X: {}\r\n", "y".repeat(8_190))).expect("readable"),
        Some(400)
    );
    assert_eq!(with(folds(16)).expect("readable"), None);
    assert_eq!(with(folds(17)).expect("readable"), Some(400));
    assert_eq!(with(vias(69)).expect("readable"), None);
    assert_eq!(with(vias(70)).expect("readable"), Some(400));
    let body = "x".repeat(65_536 - SOUND.len());
    let full = SOUND.replace("Content-Length: 0\r\n", "") + &body;
    assert_eq!(refusal(full.as_bytes()).expect("readable"), None);
    assert!(refusal((full + &"x".repeat(30)).as_bytes()).is_err());
}

#[test]
fn rejected_request_is_answered_from_what_it_has() {
    let text = SOUND
        .replace("CSeq: 1 OPTIONS", "CSeq: x OPTIONS")
        .replace(";branch", ";rport;branch");
    let rejected = Message::parse(Bytes::from(text), Framing::Datagram).expect_err("bad CSeq");
    let source: SocketAddr = "198.51.100.9:6000".parse().expect("an address");
    let (answer, to) = rejected
        .answer(&mut Writer::new(), source)
        .expect("an answer");
    assert_eq!(to, source);
    let answer = String::from_utf8(answer.to_vec()).expect("text");
    assert_eq!(
        answer,
        "SIP/2.0 400 Bad Request\r\n\
         Via: SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bKx;received=198.51.100.9;rport=6000\r\n\
         From: <sip:a@example.com>;tag=1\r\n\
         To: <sip:b@example.com>\r\n\
         Call-ID: c1\r\n\
         CSeq: x OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    );
}

#[test]
fn torture_messages_cut_and_changed_anywhere_never_panic() {
    let manifest = std::fs::read_to_string(folder().join("manifest.tsv")).expect("manifest");
    for row in manifest.lines().skip(1) {
        let sound = bytes_of(row.split('\t').next().expect("a name"));
        for at in (0..sound.len()).step_by(sound.len() / 150) {
            let _ = Message::parse(sound.slice(..at), Framing::Stream);
            let mut changed = sound.to_vec();
            for octet in [0, b'\r', b'\n', b'"', b'<', b',', 0xff] {
                changed[at] = octet;
                for framing in [Framing::Datagram, Framing::Stream] {
                    if let Ok(message) = Message::parse(Bytes::copy_from_slice(&changed), framing) {
                        let _ = (
                            message.from(),
                            message.to(),
                            message.contact(),
                            message.top_via(),
                        );
                    }
                }
            }
        }
    }
}
