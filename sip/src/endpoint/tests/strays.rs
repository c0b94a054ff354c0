//! Messages of dialogs that are elsewhere, and the token in our tag that tells whose they are.

use super::*;
use crate::leg::Token;
use crate::transport::Relay;
use std::num::NonZeroU32;

fn token(text: &str) -> Token {
    Token::new(text.as_bytes()).expect("a token")
}

fn relay(node: u32) -> Option<Relay> {
    NonZeroU32::new(node).map(Relay)
}

/// An inbound call under a token, answered and acknowledged; its tag.
fn named(bench: &mut Bench, name: &str) -> (LegId, String) {
    let leg = bench.invited();
    bench.command(leg, Command::Name { token: token(name) });
    bench.command(leg, Command::Answer { body: sdp() });
    let tag = bench.our_tag();
    bench.said();
    bench.hear(caller("ACK", 1, "a1ack", &tag));
    assert_eq!(bench.heard(), ["confirmed"]);
    (leg, tag)
}

/// A shard that has none of these calls.
fn elsewhere() -> Bench {
    let mut bench = Bench::new();
    bench.endpoint = Endpoint::new(Config::default(), 99);
    bench
}

#[test]
fn a_token_is_short_and_fits_a_tag() {
    for good in ["c", "c5-1f", &"x".repeat(32)] {
        assert_eq!(token(good).as_bytes(), good.as_bytes());
    }
    for bad in ["", &"x".repeat(33), "a.b", "a b", "a;b", "é"] {
        assert_eq!(Token::new(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn the_tag_of_a_named_leg_ends_in_its_token_and_the_dialog_is_found_by_it() {
    let mut bench = Bench::new();
    let leg = bench.invited();
    bench.command(
        leg,
        Command::Name {
            token: token("c5-12"),
        },
    );
    bench.ring(leg);
    let tag = bench.our_tag();
    assert_eq!(tag.split_at(16).1, ".c5-12");
    // Told once, the tag stays.
    bench.refused(
        leg,
        Command::Name {
            token: token("c5-13"),
        },
    );
    bench.command(leg, Command::Answer { body: sdp() });
    assert_eq!(bench.our_tag(), tag);
    bench.hear(caller("ACK", 1, "a1ack", &tag));
    let dialog = bench.endpoint.dialog(leg).expect("it is answered");
    assert_eq!(&dialog.local_tag[..], tag.as_bytes());
    assert!(dialog.local.ends_with(tag.as_bytes()));
    bench.said();
    bench.hear(caller("BYE", 2, "b", &tag));
    assert_eq!(bench.said(), ["200 BYE"]);
    assert_eq!(bench.heard(), ["confirmed", "ended: Bye"]);
    bench.assert_empty();

    let leg = bench.dial(Dial {
        token: Some(token("c5-12")),
        ..call()
    });
    let invite = bench.only();
    let tag = invite.from().tag().expect("it has one").to_vec();
    assert!(tag.ends_with(b".c5-12"));
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    let tag = String::from_utf8_lossy(&tag).into_owned();
    assert_eq!(bench.heard(), ["answered sdp"]);
    bench.acknowledge(leg);
    bench.said();
    bench.hear(callee(&invite, "xt", "BYE", 1, "xb"));
    assert_eq!(bench.said(), ["200 BYE"], "{tag}");
    assert!(bench.strays.is_empty());
    assert_eq!(bench.endpoint.dialog(leg), None);
    bench.assert_empty();
}

#[test]
fn what_is_in_a_dialog_elsewhere_comes_back_with_its_token_and_unanswered() {
    let mut bench = Bench::new();
    let (_, tag) = named(&mut bench, "c5-12");
    let mut other = elsewhere();
    for (number, method) in ["BYE", "INVITE", "UPDATE", "INFO", "OPTIONS", "ACK"]
        .into_iter()
        .enumerate()
    {
        other.hear(caller(method, 2, &format!("s{number}"), &tag));
        assert!(other.sent.is_empty(), "{method}");
        let stray = other.strays.pop().expect("a stray");
        assert_eq!(stray.token(), b"c5-12");
        assert_eq!(stray.flow, udp());
        assert_eq!(stray.wants_answer(), method != "ACK");
        other.endpoint.refuse(&stray, Refusal::Gone);
        other.drain();
        let answered = match method {
            "ACK" => vec![],
            method => vec![format!("481 {method}")],
        };
        assert_eq!(other.said(), answered);
    }
    other.assert_empty();
}

#[test]
fn tags_that_are_not_ours_or_bear_no_token_are_refused_on_the_spot() {
    let mut bench = Bench::new();
    for tag in [
        "0123456789abcdef",
        "0123456789abcdef.",
        "0123456789abcdef.a_b",
        "0123456789ABCDEF.c5-12",
        "0123456789abcde.c5-12",
        "0123456789abcdef-c5-12",
        &format!("0123456789abcdef.{}", "x".repeat(33)),
        "x",
    ] {
        bench.hear(caller("BYE", 2, &format!("b{}", tag.len()), tag));
        assert_eq!(bench.said(), ["481 BYE"], "{tag}");
        bench.hear(caller("ACK", 2, &format!("a{}", tag.len()), tag));
    }
    assert!(bench.strays.is_empty() && bench.sent.is_empty());
    bench.assert_empty();
}

#[test]
fn a_stray_is_served_where_its_dialog_is_and_its_answer_goes_back_the_way_it_came() {
    let mut bench = Bench::new();
    let (leg, tag) = named(&mut bench, "c5-12");
    let before = bench.endpoint.dialog(leg).expect("talking").flow;
    // Another node got it on its own address and passed it on.
    let came = Flow {
        local: address("10.0.0.9:5060"),
        connection: Some(ConnectionId(7)),
        relay: relay(3),
        ..tcp()
    };
    bench.flow = came;
    bench.hear(caller("INFO", 2, "i1", &tag).body("application/dtmf-relay", "Signal=5\r\n"));
    let (_, LegEvent::Info { id, .. }) = bench.told.remove(0) else {
        panic!("no info")
    };
    bench.command(leg, Command::AnswerInfo { id, status: 200 });
    assert_eq!(bench.sent[0].1, came);
    assert_eq!(bench.said(), ["200 INFO"]);
    // What we begin goes the way we had.
    assert_eq!(bench.endpoint.dialog(leg).expect("talking").flow, before);
    bench.hear(caller("BYE", 3, "b1", &tag));
    assert_eq!(bench.sent[0].1, came);
    assert_eq!(bench.said(), ["200 BYE"]);
    bench.flow = udp();
    bench.assert_empty();
}

#[test]
fn over_a_shared_address_the_dialog_follows_the_far_end_from_node_to_node() {
    let mut bench = Bench::new();
    let (leg, tag) = named(&mut bench, "c5-12");
    bench.flow = Flow {
        relay: relay(3),
        ..udp()
    };
    bench.hear(caller("OPTIONS", 2, "o1", &tag));
    bench.said();
    bench.hang_up(leg, None);
    assert_eq!(bench.sent[0].1.relay, relay(3));
    let bye = bench.only();

    // Its answer may come to whoever has the address now, and bears the token as well.
    let mut other = elsewhere();
    other.hear(reply_to(&bye, 200, ""));
    let stray = other.strays.pop().expect("a stray");
    assert_eq!(stray.token(), b"c5-12");
    assert!(!stray.wants_answer());
    other.endpoint.refuse(&stray, Refusal::Gone);
    other.drain();
    assert!(other.sent.is_empty());
    assert!(
        bench
            .endpoint
            .receive(stray.message, bench.flow, 0)
            .is_none()
    );
    bench.drain();
    bench.flow = udp();
    bench.assert_empty();
}

#[test]
fn a_late_answer_within_a_dialog_that_is_here_is_no_stray() {
    let mut bench = Bench::new();
    let (leg, _) = named(&mut bench, "c5-12");
    bench.command(
        leg,
        Command::Info {
            content_type: Bytes::from_static(b"text/plain"),
            bytes: Bytes::from_static(b"x"),
        },
    );
    let info = bench.only();
    bench.hear(reply_to(&info, 200, ""));
    bench.pass(40_000);
    bench.hear(reply_to(&info, 200, ""));
    assert!(bench.strays.is_empty());
}

#[test]
fn a_call_between_two_keepers_is_asked_to_come_again() {
    let mut bench = elsewhere();
    bench.hear(caller("INVITE", 2, "r1", "0123456789abcdef.c5-12").sdp());
    let stray = bench.strays.pop().expect("a stray");
    bench
        .endpoint
        .refuse(&stray, Refusal::NotNow { retry_after_s: 2 });
    bench.drain();
    let answer = bench.only();
    assert_eq!(label(&answer), "500 INVITE");
    assert_eq!(answer.header(Name::RetryAfter).as_deref(), Some(&b"2"[..]));
    bench.assert_empty();
}

#[test]
fn a_relayed_answer_bears_our_own_name() {
    let mut bench = Bench::with(Config {
        advertised: vec![Advertised {
            transport: crate::transport::Protocol::Udp,
            local: address(OURS),
            public: address("203.0.113.1:5060"),
        }],
        ..Config::default()
    });
    let (leg, tag) = named(&mut bench, "c5-12");
    bench.flow = Flow {
        local: address("10.0.0.9:5060"),
        relay: relay(3),
        ..udp()
    };
    bench.hear(caller("INVITE", 2, "r1", &tag).sdp());
    bench.said();
    bench.command(leg, Command::AcceptReoffer { body: sdp() });
    assert_eq!(
        bench.last().contact().map(|contact| contact.uri),
        Some(&b"sip:203.0.113.1:5060"[..])
    );
}
