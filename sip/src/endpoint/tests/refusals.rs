//! What is refused on the spot, and what is left of it: nothing.

use super::*;

#[test]
fn requests_outside_dialogs_are_refused_by_the_book() {
    let invite = || caller("INVITE", 1, "a1", "").sdp();
    let table: Vec<(&str, Text, &str)> = vec![
        (
            "case: SIP/7.0",
            caller("OPTIONS", 1, "a1", "").replace("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"),
            "505 OPTIONS",
        ),
        (
            "unknown scheme",
            invite().replace("INVITE sip:b@10.0.0.1", "INVITE nobodyKnows:b"),
            "416 INVITE",
        ),
        (
            "no hops left",
            invite().replace("Max-Forwards: 70", "Max-Forwards: 0"),
            "483 INVITE",
        ),
        (
            "OPTIONS without hops is for us",
            caller("OPTIONS", 1, "a1", "").replace("Max-Forwards: 70", "Max-Forwards: 0"),
            "200 OPTIONS",
        ),
        (
            "unknown extension",
            invite().header("Require: nothingSupportsThis"),
            "420 INVITE",
        ),
        (
            "reliable provisionals",
            invite().header("Require: 100rel"),
            "420 INVITE",
        ),
        (
            "unknown method",
            caller("NEWMETHOD", 1, "a1", ""),
            "501 NEWMETHOD",
        ),
        (
            "known method",
            caller("SUBSCRIBE", 1, "a1", ""),
            "405 SUBSCRIBE",
        ),
        ("BYE from nowhere", caller("BYE", 1, "a1", ""), "481 BYE"),
        (
            "UPDATE from nowhere",
            caller("UPDATE", 1, "a1", ""),
            "481 UPDATE",
        ),
        ("stray BYE", caller("BYE", 1, "a1", "gone"), "481 BYE"),
        (
            "stray re-INVITE",
            caller("INVITE", 1, "a1", "gone").sdp(),
            "481 INVITE",
        ),
        (
            "strange body",
            caller("INVITE", 1, "a1", "").body("text/plain", "hello"),
            "415 INVITE",
        ),
        (
            "multipart without SDP",
            caller("INVITE", 1, "a1", "")
                .body("multipart/mixed;boundary=b", "--b\r\n\r\nx\r\n--b--"),
            "415 INVITE",
        ),
        (
            "encoded SDP",
            invite().header("Content-Encoding: gzip"),
            "415 INVITE",
        ),
        (
            "malformed Contact",
            invite().header("Contact: <<>>"),
            "400 INVITE",
        ),
    ];
    for (what, request, answer) in table {
        let mut bench = Bench::new();
        bench.hear(&request);
        assert_eq!(bench.said(), [answer], "{what}");
        bench.hear(&request);
        assert_eq!(bench.said(), [answer], "{what}, again");
        assert!(bench.told.is_empty(), "{what}");
        assert_eq!(bench.endpoint.counts(), Counts::default(), "{what}");
    }
}

#[test]
fn a_multipart_with_sdp_in_it_is_a_call() {
    let mut bench = Bench::new();
    let part = format!("--b\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--b--\r\n");
    bench.hear(caller("INVITE", 1, "a1", "").body("multipart/mixed;boundary=b", &part));
    assert_eq!(bench.heard(), ["invited sdp"]);
}

#[test]
fn refusals_name_what_would_be_accepted() {
    let mut bench = Bench::new();
    bench.hear(
        caller("INVITE", 1, "a1", "")
            .header("Require: 100rel, foo")
            .sdp(),
    );
    let refusal = bench.only();
    let unsupported: Vec<_> = refusal.values(Name::Unsupported).collect();
    assert_eq!(unsupported, [&b"100rel"[..], b"foo"]);
    bench.hear(caller("INVITE", 1, "a2", "").body("text/plain", "hello"));
    assert_eq!(
        bench.only().header(Name::Accept).as_deref(),
        Some(&b"application/sdp"[..])
    );
    for method in ["REGISTER", "FOO", "OPTIONS"] {
        bench.hear(caller(method, 1, method, ""));
        let allow = bench
            .only()
            .header(Name::Allow)
            .expect("it is told")
            .into_owned();
        assert!(allow.windows(6).any(|part| part == b"UPDATE"), "{method}");
    }
}

#[test]
fn the_tag_of_a_refusal_is_the_same_for_every_copy() {
    let mut bench = Bench::new();
    bench.hear(caller("INVITE", 1, "a1", "").header("Require: foo").sdp());
    bench.hear(caller("INVITE", 1, "a1", "").header("Require: foo").sdp());
    let tag = |at: usize| bench.sent[at].2.to().tag().map(<[u8]>::to_vec);
    assert!(tag(0).is_some());
    assert_eq!(tag(0), tag(1));
}

#[test]
fn a_stray_ack_is_absorbed_in_silence() {
    let mut bench = Bench::new();
    bench.hear(caller("ACK", 1, "a1", ""));
    bench.hear(caller("ACK", 1, "a1", "gone"));
    assert!(bench.said().is_empty() && bench.heard().is_empty());
    assert_eq!(bench.endpoint.counts(), Counts::default());
}

#[test]
fn a_draining_shard_refuses_new_calls_and_serves_the_old() {
    let mut bench = Bench::new();
    let leg = bench.invited();
    bench.endpoint.set_admission(Admission::Refusing {
        status: 503,
        retry_after_s: 10,
    });
    bench.hear(
        caller("INVITE", 1, "b1", "")
            .replace("call-1", "call-2")
            .sdp(),
    );
    assert_eq!(
        bench.last().header(Name::RetryAfter).as_deref(),
        Some(&b"10"[..])
    );
    bench.hear(caller("OPTIONS", 1, "b2", ""));
    bench.command(leg, Command::Answer { body: sdp() });
    let tag = bench.our_tag();
    bench.hear(caller("OPTIONS", 2, "b3", &tag));
    assert_eq!(
        bench.said(),
        ["503 INVITE", "503 OPTIONS", "200 INVITE", "200 OPTIONS"]
    );
    bench.endpoint.set_admission(Admission::Open);
    bench.hear(caller("OPTIONS", 1, "b4", ""));
    assert_eq!(bench.said(), ["200 OPTIONS"]);
}

#[test]
fn too_many_open_transactions_refuse_new_calls_but_no_bye() {
    let mut bench = Bench::with(Config {
        transactions_max: 1,
        ..Config::default()
    });
    let leg = bench.invited();
    bench.hear(
        caller("INVITE", 1, "b1", "")
            .replace("call-1", "call-2")
            .sdp(),
    );
    assert_eq!(bench.said(), ["503 INVITE"]);
    bench.command(leg, Command::Answer { body: sdp() });
    let tag = bench.our_tag();
    bench.said();
    bench.hear(caller("OPTIONS", 2, "o2", &tag));
    bench.hear(caller("OPTIONS", 3, "o3", &tag));
    bench.hear(caller("BYE", 4, "bye", &tag));
    assert_eq!(bench.said(), ["200 OPTIONS", "503 OPTIONS", "200 BYE"]);
    bench.assert_empty();
}

#[test]
fn ten_thousand_strangers_leave_nothing_behind() {
    let mut bench = Bench::new();
    for at in 0..10_000 {
        let method = ["OPTIONS", "REGISTER", "BYE", "FOO", "ACK"][at % 5];
        bench.hear(caller(
            method,
            1,
            &format!("x{at}"),
            if at % 2 == 0 { "" } else { "gone" },
        ));
    }
    assert_eq!(bench.endpoint.counts(), Counts::default());
}

#[test]
fn a_route_set_without_end_is_refused() {
    let mut bench = Bench::new();
    let routes = vec!["<sip:10.0.0.7;lr>"; 33].join(", ");
    bench.hear(
        caller("INVITE", 1, "a1", "")
            .header(&format!("Record-Route: {routes}"))
            .sdp(),
    );
    assert_eq!(bench.said(), ["513 INVITE"]);
    assert_eq!(bench.endpoint.counts(), Counts::default());
}
