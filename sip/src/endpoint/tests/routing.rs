//! Where messages go.

use super::*;

/// An inbound call that came through proxies, answered; the leg and our tag.
fn through(bench: &mut Bench, record_routes: &str) -> LegId {
    bench.hear(caller("INVITE", 1, "a1", "").header(record_routes).sdp());
    let (leg, _) = bench.told.remove(0);
    bench.command(leg, Command::Answer { body: sdp() });
    let tag = bench.our_tag();
    bench.said();
    bench.hear(caller("ACK", 1, "a1ack", &tag));
    leg
}

fn routes(message: &Message) -> Vec<String> {
    message
        .values(Name::Route)
        .map(|route| String::from_utf8_lossy(route).into_owned())
        .collect()
}

#[test]
fn case_next_hop_inside_a_dialog_is_the_first_loose_route() {
    let mut bench = Bench::new();
    let leg = through(
        &mut bench,
        "Record-Route: <sip:10.0.0.7:5070;lr>, <sip:10.0.0.8;lr>",
    );
    bench.hang_up(leg, None);
    assert_eq!(bench.sent[0].1.remote, address("10.0.0.7:5070"));
    let bye = bench.only();
    assert_eq!(bye.uri(), b"sip:c@10.0.0.2:5060");
    assert_eq!(
        routes(&bye),
        ["<sip:10.0.0.7:5070;lr>", "<sip:10.0.0.8;lr>"]
    );
}

#[test]
fn case_a_strict_router_becomes_the_target_and_the_target_the_last_route() {
    let mut bench = Bench::new();
    let leg = through(
        &mut bench,
        "Record-Route: <sip:10.0.0.7:5070>, <sip:10.0.0.8;lr>",
    );
    bench.hang_up(leg, None);
    assert_eq!(bench.sent[0].1.remote, address("10.0.0.7:5070"));
    let bye = bench.only();
    assert_eq!(bye.uri(), b"sip:10.0.0.7:5070");
    assert_eq!(routes(&bye), ["<sip:10.0.0.8;lr>", "<sip:c@10.0.0.2:5060>"]);
}

#[test]
fn the_caller_reverses_the_route_set() {
    let mut bench = Bench::new();
    let leg = bench.dialled();
    let invite = bench.only();
    let ok = reply_to(&invite, 200, "xt")
        .header("Record-Route: <sip:10.0.0.7;lr>")
        .header("Record-Route: <sip:10.0.0.8;lr>");
    bench.hear(ok.sdp());
    bench.acknowledge(leg);
    assert_eq!(bench.sent[0].1.remote, address("10.0.0.8:5060"));
    assert_eq!(
        routes(&bench.only()),
        ["<sip:10.0.0.8;lr>", "<sip:10.0.0.7;lr>"]
    );
}

#[test]
fn record_route_comes_back_in_responses_that_make_a_dialog() {
    let mut bench = Bench::new();
    bench.hear(
        caller("INVITE", 1, "a1", "")
            .header("Record-Route: <sip:10.0.0.7;lr>")
            .sdp(),
    );
    let (leg, _) = bench.told.remove(0);
    assert_eq!(bench.only().header(Name::RecordRoute), None);
    bench.ring(leg);
    bench.command(leg, Command::Answer { body: sdp() });
    for (_, _, message) in &bench.sent {
        assert_eq!(
            message.header(Name::RecordRoute).as_deref(),
            Some(&b"<sip:10.0.0.7;lr>"[..])
        );
    }
}

#[test]
fn responses_go_where_rfc_3581_says() {
    let far = address("192.0.2.9:40000");
    for (via, to) in [("rport", far), ("x=y", address("192.0.2.9:5060"))] {
        let mut bench = Bench::new();
        bench.flow = Flow {
            remote: far,
            ..udp()
        };
        bench.hear(caller("INVITE", 1, "a1", "").replace("rport", via).sdp());
        assert_eq!(bench.sent[0].1.remote, to);
        let trying = bench.only();
        assert_eq!(trying.top_via().received, Some(&b"192.0.2.9"[..]));
        assert_eq!(
            trying.top_via().rport.flatten(),
            (via == "rport").then_some(40_000)
        );
    }
}

#[test]
fn over_a_connection_everything_goes_back_over_it() {
    let mut bench = Bench::new();
    bench.flow = Flow {
        remote: address("10.0.0.2:40000"),
        ..tcp()
    };
    let leg = bench.invited();
    bench.command(leg, Command::Answer { body: sdp() });
    let tag = bench.our_tag();
    bench.hear(caller("ACK", 1, "a1ack", &tag));
    bench.hang_up(leg, None);
    assert!(bench.sent.iter().all(|(_, flow, _)| *flow == bench.flow));
    let contact = bench.sent[0]
        .2
        .contact()
        .expect("a 200 has one")
        .uri
        .to_vec();
    assert_eq!(contact, b"sip:10.0.0.1:5060;transport=tcp");
    bench.hear(reply_to(&bench.sent[1].2.clone(), 200, ""));
    assert_eq!(
        bench.endpoint.counts().client_transactions,
        0,
        "K is zero over a stream"
    );
}

#[test]
fn case_several_local_addresses_each_call_names_and_leaves_from_its_own() {
    let mut bench = Bench::with(Config {
        advertised: vec![
            Advertised {
                transport: crate::transport::Protocol::Udp,
                local: address("10.0.0.1:5060"),
                public: address("203.0.113.1:5060"),
            },
            Advertised {
                transport: crate::transport::Protocol::Tcp,
                local: address("0.0.0.0:5060"),
                public: address("203.0.113.2:5062"),
            },
        ],
        ..Config::default()
    });
    let cases = [
        (udp(), "sip:203.0.113.1:5060"),
        (
            Flow::udp(address("10.0.0.5:5060"), address(THEIRS)),
            "sip:10.0.0.5:5060",
        ),
        (
            Flow::tcp(address("10.0.0.5:40123"), address(THEIRS)),
            "sip:203.0.113.2:5062;transport=tcp",
        ),
    ];
    for (flow, contact) in cases {
        bench.dial(Dial { flow, ..call() });
        assert_eq!(bench.sent[0].1, flow);
        let invite = bench.only();
        assert_eq!(invite.contact().map(|c| c.uri), Some(contact.as_bytes()));
        assert_eq!(
            invite.top_via().transport,
            flow.transport.as_str().as_bytes()
        );
    }
}

#[test]
fn the_way_to_a_contact_is_taken_only_when_it_can_be_meant() {
    let public = "198.51.100.2:40000";
    let table = [
        // Contact, came from, next request goes to
        ("sip:c@10.0.0.2:5060", THEIRS, "10.0.0.2:5060"),
        ("sip:c@10.0.0.2", "10.0.0.2:40000", "10.0.0.2:5060"),
        ("sip:c@10.0.0.9:5090", THEIRS, "10.0.0.9:5090"),
        ("sip:c@192.168.1.5:5060", public, public),
        ("sip:c@127.0.0.1:5060", public, public),
        ("sip:c@203.0.113.9:5060", public, "203.0.113.9:5060"),
        ("sip:c@phone.example.com", public, public),
        ("sip:c@0.0.0.0:5060", public, public),
        ("sip:c@224.0.0.1:5060", public, public),
        ("sip:c@[2001:db8::1]:5060", public, public),
        ("sips:c@203.0.113.9", public, public),
        ("tel:+8610", public, public),
    ];
    for (contact, came, goes) in table {
        let mut bench = Bench::new();
        bench.flow = Flow {
            remote: address(came),
            ..udp()
        };
        bench.hear(
            caller("INVITE", 1, "a1", "")
                .replace("sip:c@10.0.0.2:5060", contact)
                .sdp(),
        );
        let (leg, _) = bench.told.remove(0);
        bench.command(leg, Command::Answer { body: sdp() });
        let tag = bench.our_tag();
        bench.hear(caller("ACK", 1, "a1ack", &tag));
        bench.said();
        bench.hang_up(leg, None);
        assert_eq!(
            bench.sent[0].1.remote,
            address(goes),
            "{contact} from {came}"
        );
    }
}

#[test]
fn a_peer_whose_address_changes_is_followed() {
    let mut bench = Bench::new();
    bench.flow = Flow {
        remote: address("198.51.100.2:40000"),
        ..udp()
    };
    let leg = bench.invited();
    bench.command(leg, Command::Answer { body: sdp() });
    let tag = bench.our_tag();
    bench.hear(caller("ACK", 1, "a1ack", &tag));
    bench.flow.remote = address("198.51.100.2:50000");
    bench.hear(caller("OPTIONS", 2, "o1", &tag));
    bench.said();
    bench.hang_up(leg, None);
    assert_eq!(bench.sent[0].1.remote, bench.flow.remote);
}

#[test]
fn a_far_end_whose_connection_died_with_its_node_is_reached_at_its_contact() {
    let mut bench = Bench::new();
    bench.flow = Flow {
        remote: address("10.0.0.2:40000"),
        ..tcp()
    };
    let leg = bench.talking();
    let dialog = bench.endpoint.dialog(leg).expect("it is answered");
    for (target, remote) in [
        ("sip:c@10.0.0.2:5070;transport=tcp", "10.0.0.2:5070"),
        ("sip:c@10.0.0.2", "10.0.0.2:5060"),
        // There is no better way than the old one.
        ("sip:c@example.com", "10.0.0.2:40000"),
    ] {
        let mut other = Bench::new();
        let dialog = Dialog {
            target: Bytes::from_static(target.as_bytes()),
            ..dialog.clone()
        };
        let leg = other.endpoint.adopt(dialog, 0);
        other.command(leg, Command::HangUp { cause: None });
        let (_, flow, _) = other.sent.remove(0);
        assert_eq!(
            (flow.remote, flow.connection),
            (address(remote), None),
            "{target}"
        );
    }
}
