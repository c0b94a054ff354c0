//! The torture messages of RFC 4475 and RFC 5118 go through a shard, and so does whatever can be made of them.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn read(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/torture");
    let paths = ["rfc4475", "rfc5118"].map(|rfc| folder.join(rfc).join(format!("{name}.dat")));
    let found = paths.iter().find_map(|path| std::fs::read(path).ok());
    found.unwrap_or_else(|| panic!("no torture message {name}"))
}

fn names() -> Vec<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/torture/manifest.tsv");
    let manifest = std::fs::read_to_string(path).expect("the manifest is there");
    manifest
        .lines()
        .skip(1)
        .filter_map(|row| row.split('\t').next())
        .map(String::from)
        .collect()
}

/// What a shard says first to a torture message.
fn answer(name: &str) -> Vec<String> {
    let mut bench = Bench::new();
    let message = Message::parse(Bytes::from(read(name)), Framing::Datagram).expect(name);
    assert!(bench.endpoint.receive(message, udp(), 0).is_none());
    bench.drain();
    let said = bench.said();
    bench.assert_empty();
    said
}

#[test]
fn torture_messages_are_answered_as_their_authors_ask() {
    for (name, wanted) in [
        // Its To has a tag, and we know of no such dialog.
        ("wsinv", "481 INVITE"),
        ("intmeth", "501 !interesting-Method0123456789_*+`.%indeed'~"),
        ("escnull", "405 REGISTER"),
        ("longreq", "100 INVITE"),
        ("dblreq", "405 REGISTER"),
        ("mpart01", "405 MESSAGE"),
        ("badvers", "505 OPTIONS"),
        ("badbranch", "200 OPTIONS"),
        ("unkscm", "416 OPTIONS"),
        ("invut", "415 INVITE"),
        ("cparam01", "405 REGISTER"),
        ("regescrt", "405 REGISTER"),
        ("inv2543", "100 INVITE"),
        ("ipv6-good", "405 REGISTER"),
        ("mult-ip-in-header", "481 BYE"),
        ("mult-ip-in-sdp", "100 INVITE"),
    ] {
        assert_eq!(
            answer(name).first().map(String::as_str),
            Some(wanted),
            "{name}"
        );
    }
    for response in ["unreason", "bcast"] {
        assert!(
            answer(response).is_empty(),
            "{response} answers nothing of ours"
        );
    }
}

#[test]
fn an_invite_of_rfc_2543_is_a_call_to_the_end() {
    let mut bench = Bench::new();
    bench.hear(String::from_utf8(read("inv2543")).expect("it is text"));
    let (leg, _) = bench.told.remove(0);
    bench.command(leg, Command::Answer { body: sdp() });
    let ok = bench.sent.pop().expect("a 200").2;
    let text = |name| String::from_utf8_lossy(&ok.header(name).expect("it is there")).into_owned();
    let from_to = format!(
        "From: {}\r\nTo: {}\r\nCall-ID: {}\r\n",
        text(Name::From),
        text(Name::To),
        text(Name::CallId)
    );
    let via = "Via: SIP/2.0/UDP iftgw.example.com\r\n";
    bench.hear(format!(
        "ACK sip:10.0.0.1 SIP/2.0\r\n{via}{from_to}CSeq: 56 ACK\r\n\r\n"
    ));
    assert_eq!(bench.heard(), ["confirmed"]);
    bench.said();
    bench.hear(format!(
        "BYE sip:10.0.0.1 SIP/2.0\r\n{via}{from_to}CSeq: 57 BYE\r\n\r\n"
    ));
    assert_eq!(bench.said(), ["200 BYE"]);
    assert_eq!(bench.heard(), ["ended: Bye"]);
    bench.assert_empty();
}

proptest! {
    #[test]
    fn mangled_messages_harm_nothing_and_leave_nothing(
        picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0u64..20_000), 1..40),
    ) {
        let names = names();
        let mut bench = Bench::new();
        bench.dialled();
        for (which, place, octet, pause) in picks {
            let mut bytes = read(&names[which.index(names.len())]);
            let place = place.index(bytes.len());
            bytes[place] = octet;
            if let Ok(message) = Message::parse(Bytes::from(bytes), Framing::Datagram) {
                assert!(bench.endpoint.receive(message, udp(), bench.now).is_none());
            }
            while bench.endpoint.poll_output().is_some() {}
            bench.pass(pause);
        }
        bench.assert_empty();
    }
}
