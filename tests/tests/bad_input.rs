//! Garbage, half messages and lies about lengths while calls run.

use std::net::SocketAddr;
use std::time::Duration;
use tandem_tests::checks::nothing_left;
use tandem_tests::sipp::numbers;
use tandem_tests::switch::NODES;
use tandem_tests::wire::{self, Wire, tcp_exchange};
use tandem_tests::{Sipp, Switch, process};

/// Bad pieces sent to each node.
const PIECES: u32 = 10_000;
/// Memory that a node may have gained by them. A leak of no more than 1 KB a piece would be above it.
const GROWTH_MAX: u64 = 8 << 20;

/// The n-th bad datagram; the same for every run.
fn piece(n: u32, local: SocketAddr) -> Vec<u8> {
    let good = wire::request(local, "UDP", "INVITE", "sip:13800000000@127.0.0.1", 70, "");
    let mut noise = n.wrapping_mul(2_654_435_761) | 1;
    let mut random = move |below: usize| {
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        noise as usize % below
    };
    match n % 10 {
        // Octets of every value.
        0 => (0..1 + random(1_400)).map(|_| random(256) as u8).collect(),
        // A message cut anywhere.
        1 => good.as_bytes()[..1 + random(good.len() - 1)].to_vec(),
        // A body shorter than it says.
        2 => good
            .replace("Content-Length: 0", "Content-Length: 4000")
            .into_bytes(),
        3 => good
            .replace("Content-Length: 0", "Content-Length: 18446744073709551615")
            .into_bytes(),
        4 => good
            .replace("Content-Length: 0", "Content-Length: -1")
            .into_bytes(),
        // A header beyond its bound.
        5 => good
            .replace(
                "Max-Forwards: 70",
                &format!("Max-Forwards: 70\r\nX-Long: {}", "y".repeat(20_000)),
            )
            .into_bytes(),
        // Too many headers.
        6 => good
            .replace(
                "Max-Forwards: 70",
                &format!("Max-Forwards: 70\r\n{}", "X-More: z\r\n".repeat(900)),
            )
            .into_bytes(),
        // Octets changed within a message; not an INVITE, for one that stays whole would be a call.
        7 => {
            let mut bytes = good.replace("INVITE", "OPTIONS").into_bytes();
            for _ in 0..1 + random(20) {
                let at = random(bytes.len());
                bytes[at] = random(256) as u8;
            }
            bytes
        }
        // No Via, no Call-ID, wrong version, CSeq of another method.
        8 => {
            let lines = ["Via:", "Call-ID:", "CSeq:", "From:", "To:"];
            let gone = lines[random(lines.len())];
            good.split_inclusive("\r\n")
                .filter(|line| !line.starts_with(gone))
                .collect::<String>()
                .into_bytes()
        }
        _ => good
            .replace("CSeq: 1 INVITE", "CSeq: 1 BYE")
            .replacen("SIP/2.0\r\n", "SIP/7.0\r\n", 1)
            .into_bytes(),
    }
}

fn throw_datagrams(to: SocketAddr, pieces: u32) {
    let wire = Wire::udp(to);
    let local = SocketAddr::from(([127, 0, 0, 1], 9));
    for n in 0..pieces {
        wire.send(&piece(n, local));
        // A pace that the socket's buffer holds: what the kernel drops proves nothing.
        if n % 20 == 19 {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Streams that stop half-way, lie about lengths or never make sense; each on a connection of its own.
fn throw_streams(to: SocketAddr, pieces: u32) {
    let silence = Duration::from_millis(5);
    for n in 0..pieces {
        let good = wire::request(to, "TCP", "OPTIONS", &format!("sip:{to}"), 70, "");
        let bytes = match n % 5 {
            0 => good.as_bytes()[..good.len() / 2].to_vec(),
            1 => good
                .replace("Content-Length: 0", "Content-Length: 18446744073709551615")
                .into_bytes(),
            2 => good.replace("Content-Length: 0\r\n", "").into_bytes(),
            3 => format!("OPTIONS sip:x SIP/2.0\r\nX: {}", "y".repeat(100_000)).into_bytes(),
            _ => piece(n * 10, to),
        };
        tcp_exchange(to, &bytes, silence);
    }
}

#[test]
fn ten_thousand_bad_pieces_harm_no_call_grow_no_memory_and_are_counted() {
    let switch = Switch::start();
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    // Warm: buffers and pools have their size before memory is measured.
    let warm = Sipp::customer(
        "customer",
        switch.own_port(),
        switch.sip(1),
        numbers(15_900_000_000, 13_700_000_000, 100),
    );
    warm.rate(40, 1_000)
        .pause(500)
        .start(switch.dir())
        .finish(Duration::from_secs(30))
        .all_good(100);
    for node in 1..=NODES {
        throw_datagrams(switch.sip(node), 500);
        throw_streams(switch.sip(node), 50);
    }
    nothing_left(&switch, Duration::from_secs(10));
    let before: Vec<u64> = (1..=NODES)
        .map(|node| process::rss(switch.pid(node)))
        .collect();
    let counted = |node: u8| switch.api(node).metric("parse_errors", &[]);
    let counted_before: Vec<f64> = (1..=NODES).map(counted).collect();

    let customers: Vec<_> = (1..=NODES)
        .map(|node| {
            let from = u64::from(node) * 1_000;
            let numbers = numbers(15_900_000_000 + from, 13_800_000_000 + from, 120);
            let customer = Sipp::customer("customer", switch.own_port(), switch.sip(node), numbers);
            customer.rate(10, 1_000).pause(3_000).start(switch.dir())
        })
        .collect();
    std::thread::scope(|scope| {
        for node in 1..=NODES {
            let to = switch.sip(node);
            scope.spawn(move || throw_datagrams(to, PIECES));
            scope.spawn(move || throw_streams(to, 500));
        }
    });
    for customer in customers {
        let customer = customer.finish(Duration::from_secs(40));
        customer.all_good(120);
        assert_eq!(
            customer.retransmissions(),
            0,
            "a customer had to repeat itself"
        );
    }
    drop(phone);
    nothing_left(&switch, Duration::from_secs(10));
    for node in 1..=NODES {
        let index = usize::from(node) - 1;
        let grown = process::rss(switch.pid(node)).saturating_sub(before[index]);
        println!("node {node} grew by {} KiB", grown / 1024);
        assert!(
            grown <= GROWTH_MAX,
            "node {node} grew by {} KiB",
            grown / 1024
        );
        let counted = counted(node) - counted_before[index];
        assert!(
            counted >= f64::from(PIECES) / 2.0,
            "node {node} counted {counted} of {PIECES} bad pieces"
        );
    }
}

#[test]
fn a_tcp_peer_that_never_reads_harms_only_itself() {
    let switch = Switch::start();
    let to = switch.sip(1);
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let flood = std::thread::spawn(move || {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect(to).expect("the switch listens");
        stream
            .set_write_timeout(Some(Duration::from_secs(3)))
            .expect("not zero");
        let request = wire::request(to, "TCP", "OPTIONS", &format!("sip:{to}"), 70, "");
        // Copies of one request, its answers never read, until the switch takes no more.
        while stream.write_all(request.as_bytes()).is_ok() {}
    });
    let customer = Sipp::customer(
        "customer",
        switch.own_port(),
        to,
        numbers(15_900_000_000, 13_800_000_000, 100),
    );
    let customer = customer
        .tcp()
        .rate(20, 1_000)
        .pause(1_000)
        .start(switch.dir())
        .finish(Duration::from_secs(40));
    customer.all_good(100);
    drop(phone);
    drop(switch);
    flood.join().expect("it only writes");
}
