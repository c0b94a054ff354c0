use super::*;
use crate::damage::damaged;

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

const PHONES: Phones = Phones {
    callee: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5040),
    a: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5041),
};

fn proxy(calls_max: usize) -> (Proxy, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    (
        Proxy::new(at(5060), PHONES, calls_max, counters.clone()),
        counters,
    )
}

fn callee(_: &str, _: &str) -> Option<Route> {
    Some(Route::Out("13900000001".into()))
}

fn request(method: &str, id: &str, number: u32, to_tag: &str) -> String {
    format!(
        "{method} sip:17000000000@127.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK{id}{number}\r\nFrom: <sip:02100000000@127.0.0.1:5070>;tag=a\r\nTo: <sip:17000000000@127.0.0.1:5060>{to_tag}\r\nCall-ID: {id}\r\nCSeq: {number} {method}\r\nContact: <sip:02100000000@127.0.0.1:5070>\r\n\r\n"
    )
}

/// The phone's answer to what the proxy sent it.
fn answer(out: &Out, status: &str) -> String {
    let text = String::from_utf8(out.bytes.clone()).unwrap();
    let (_, rest) = text.split_once("\r\n").unwrap();
    format!("SIP/2.0 {status}\r\n{rest}")
}

#[test]
fn damaged_messages_neither_panic_nor_leave_the_table_unbounded() {
    let (mut proxy, counters) = proxy(50);
    let invite = request("INVITE", "one", 1, "");
    let out = proxy.on(invite.as_bytes(), at(5070), 0, &callee).unwrap();
    let ok = answer(&out, "200 OK");
    let folded = invite.replace("\r\nCSeq", "\r\nSubject: a,\r\n <b>;\"c\"\r\nCSeq");
    let samples = [
        invite.as_bytes(),
        ok.as_bytes(),
        folded.as_bytes(),
        b"\r\n\r\n",
    ];
    let mut now_ms = 0;
    damaged(&samples, 30_000, |bytes| {
        now_ms += 10;
        let out = proxy.on(bytes, at(5070), now_ms, &callee);
        if let Some(out) = out {
            assert!(Message::parse(&out.bytes).is_some() || out.bytes.len() > 10_000);
        }
        assert!(proxy.calls.len() <= 50);
    });
    assert!(counters.read().malformed > 1_000);
    proxy.tick(now_ms + SILENCE_MS + SETUP_MS);
    proxy.tick(now_ms + 3 * SILENCE_MS);
    assert_eq!((proxy.calls.len(), proxy.due.len()), (0, 0));
    assert_eq!(counters.read().live, 0);
}

#[test]
fn a_full_table_refuses_and_empties_by_itself() {
    let (mut proxy, counters) = proxy(2);
    let mut start = |id: &str, now_ms| {
        let invite = request("INVITE", id, 1, "");
        let out = proxy
            .on(invite.as_bytes(), at(5070), now_ms, &callee)
            .unwrap();
        (out.to == at(5040)).then_some(out)
    };
    assert!(start("one", 0).is_some() && start("two", 0).is_some());
    assert!(start("three", 0).is_none());
    // Nobody ever answered the two.
    assert!(start("three", SETUP_MS).is_some());
    assert_eq!(counters.read().live, 0);
}

#[test]
fn an_ended_call_is_remembered_for_late_messages_and_then_forgotten() {
    let (mut proxy, counters) = proxy(10);
    let out = proxy.on(
        request("INVITE", "one", 1, "").as_bytes(),
        at(5070),
        0,
        &callee,
    );
    proxy.on(
        answer(&out.unwrap(), "200 OK").as_bytes(),
        at(5040),
        10,
        &callee,
    );
    assert_eq!(counters.read().live, 1);
    let bye = request("BYE", "one", 2, ";tag=b");
    for now_ms in [1_000, 2_000] {
        let out = proxy.on(bye.as_bytes(), at(5070), now_ms, &callee).unwrap();
        assert_eq!(out.to, at(5040));
    }
    assert_eq!(counters.read().live, 0);
    proxy.tick(1_000 + LINGER_MS);
    assert_eq!(proxy.calls.len(), 0);
    let out = proxy.on(bye.as_bytes(), at(5070), 70_000, &callee).unwrap();
    assert!(out.bytes.starts_with(b"SIP/2.0 481"));
}

#[test]
fn a_long_call_with_messages_now_and_then_is_kept() {
    let (mut proxy, counters) = proxy(10);
    let out = proxy.on(
        request("INVITE", "one", 1, "").as_bytes(),
        at(5070),
        0,
        &callee,
    );
    proxy.on(
        answer(&out.unwrap(), "200 OK").as_bytes(),
        at(5040),
        10,
        &callee,
    );
    for hours in 1..20 {
        let update = request("UPDATE", "one", hours + 1, ";tag=b");
        let now_ms = u64::from(hours) * 3_600_000;
        assert!(
            proxy
                .on(update.as_bytes(), at(5070), now_ms, &callee)
                .is_some()
        );
    }
    assert_eq!(counters.read().live, 1);
    proxy.tick(19 * 3_600_000 + SILENCE_MS);
    assert_eq!((counters.read().live, proxy.calls.len()), (0, 0));
}

#[test]
fn responses_that_did_not_pass_here_are_dropped() {
    let (mut proxy, _) = proxy(10);
    let out = proxy.on(
        request("INVITE", "one", 1, "").as_bytes(),
        at(5070),
        0,
        &callee,
    );
    let ok = answer(&out.unwrap(), "200 OK");
    for (from, to) in [
        ("127.0.0.1:5060;branch", "127.0.0.1:5061;branch"),
        ("z9hG4bKsim", "z9hG4bKsam"),
        ("Call-ID: one", "Call-ID: two"),
    ] {
        assert!(ok.contains(from));
        let strange = ok.replacen(from, to, 1);
        assert_eq!(proxy.on(strange.as_bytes(), at(5040), 0, &callee), None);
    }
}

/// The steps that are noted of one call, whose every message has the same Call-ID.
fn steps(proxy: &mut Proxy) -> Vec<Step> {
    let notes = proxy.take_notes().into_iter();
    notes
        .map(|note| {
            assert_eq!(note.call, "one");
            note.step
        })
        .collect()
}

#[test]
fn every_step_of_a_call_is_noted_once() {
    let (proxy, _) = proxy(50);
    let mut proxy = proxy.noting();
    let invite = request("INVITE", "one", 1, "");
    let out = proxy.on(invite.as_bytes(), at(5070), 0, &callee).unwrap();
    let phone = |proxy: &mut Proxy, status: &str| {
        let answer = answer(&out, status).replace(">\r\nCall-ID", ">;tag=b\r\nCall-ID");
        proxy.on(answer.as_bytes(), at(5040), 10, &callee);
    };
    for status in ["100 Trying", "180 Ringing", "183 Session Progress"] {
        phone(&mut proxy, status);
    }
    proxy.on(invite.as_bytes(), at(5070), 20, &callee);
    phone(&mut proxy, "200 OK");
    phone(&mut proxy, "200 OK");
    let bye = request("BYE", "one", 2, ";tag=b");
    proxy.on(bye.as_bytes(), at(5070), 30, &callee);
    proxy.on(bye.as_bytes(), at(5070), 30, &callee);
    let end = |by, status| Step::Ended(End { by, status });
    let started = Step::Started {
        from: "02100000000".into(),
        x: "17000000000".into(),
    };
    let expected = [
        started.clone(),
        Step::Ringing,
        Step::Answered,
        end(Side::Caller, 0),
    ];
    assert_eq!(steps(&mut proxy), expected);
}

#[test]
fn who_ended_a_call_is_noted() {
    let end = |by, status| Step::Ended(End { by, status });
    for (status, expected) in [
        ("486 Busy Here", end(Side::Callee, 486)),
        ("487 Request Terminated", end(Side::Caller, 487)),
    ] {
        let mut proxy = proxy(50).0.noting();
        let invite = request("INVITE", "one", 1, "");
        let out = proxy.on(invite.as_bytes(), at(5070), 0, &callee).unwrap();
        let refused = answer(&out, status);
        proxy.on(refused.as_bytes(), at(5040), 10, &callee);
        assert_eq!(steps(&mut proxy).last(), Some(&expected), "{status}");
    }
    let mut proxy = proxy(50).0.noting();
    let invite = request("INVITE", "one", 1, "");
    proxy.on(invite.as_bytes(), at(5070), 0, &callee).unwrap();
    proxy.tick(SETUP_MS + 1);
    let expected = end(Side::Platform, 408);
    assert_eq!(steps(&mut proxy).last(), Some(&expected));
    // Who has no binding has nobody to be told.
    proxy.on(invite.as_bytes(), at(5070), SETUP_MS + 2, &|_, _| None);
    proxy.tick(3 * SETUP_MS);
    assert_eq!(steps(&mut proxy), []);
}
