//! The drivers over real loopback sockets: what peers do wrong harms only themselves.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tandem_sip::message::{Method, Name, Writer};
use tandem_sip::transport::{
    Bounds, Flow, Inbound, Listen, Protocol, Received, Transport, is_local,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::timeout;

struct Switch {
    transport: Transport,
    inbound: mpsc::Receiver<Vec<Inbound>>,
    waiting: std::collections::VecDeque<Inbound>,
}

impl Switch {
    fn with(bounds: Bounds) -> Self {
        Self::on("127.0.0.1:0", bounds)
    }

    fn on(address: &str, bounds: Bounds) -> Self {
        let address: SocketAddr = address.parse().expect("an address");
        let (queue, inbound) = mpsc::channel(1_024);
        let listen = Listen {
            udp: vec![address],
            tcp: vec![address],
            bounds,
            ..Listen::default()
        };
        let transport = Transport::bind(&listen, vec![queue]).expect("free ports");
        Self {
            transport,
            inbound,
            waiting: std::collections::VecDeque::new(),
        }
    }

    fn start() -> Self {
        Self::with(Bounds::default())
    }

    fn udp(&self) -> SocketAddr {
        self.transport.listening(Protocol::Udp)[0]
    }

    fn tcp(&self) -> SocketAddr {
        self.transport.listening(Protocol::Tcp)[0]
    }

    async fn next(&mut self) -> Inbound {
        loop {
            if let Some(inbound) = self.waiting.pop_front() {
                return inbound;
            }
            let batch = timeout(Duration::from_secs(5), self.inbound.recv())
                .await
                .expect("in time")
                .expect("open");
            self.waiting.extend(batch);
        }
    }

    async fn receives(&mut self) -> Received {
        match self.next().await {
            Inbound::Received(received) => received,
            other => panic!("{other:?}"),
        }
    }

    async fn fails(&mut self) -> (Flow, String) {
        match self.next().await {
            Inbound::Failed { flow, message } => (
                flow,
                String::from_utf8_lossy(message.call_id()).into_owned(),
            ),
            other => panic!("{other:?}"),
        }
    }

    async fn is_quiet(&mut self) {
        assert!(self.waiting.is_empty());
        assert!(
            timeout(Duration::from_millis(150), self.inbound.recv())
                .await
                .is_err()
        );
    }
}

fn request(call_id: &str, body: &str) -> Bytes {
    Writer::new()
        .request(&Method::Options, b"sip:b@h")
        .via(
            tandem_sip::message::Transport::Udp,
            ([127, 0, 0, 1], 5060).into(),
            b"z9hG4bK1",
        )
        .header(Name::From, "<sip:a@h>;tag=1")
        .header(Name::To, "<sip:b@h>")
        .header(Name::CallId, call_id)
        .cseq(1, &Method::Options)
        .finish_body(b"text/plain", body.as_bytes())
}

fn answer(received: &Received) -> Bytes {
    Writer::new()
        .respond(&received.message, 200, Some(b"t"))
        .finish()
}

async fn read_some(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 65_536];
    let length = timeout(Duration::from_secs(5), stream.read(&mut bytes))
        .await
        .expect("in time")
        .expect("readable");
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes))
        .await
        .expect("in time")
        .expect("a clean end");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn datagram_is_received_and_answered() {
    let mut switch = Switch::start();
    let peer = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    peer.send_to(&request("one", ""), switch.udp())
        .await
        .expect("sent");
    let received = switch.receives().await;
    assert_eq!(received.message.call_id(), b"one");
    assert_eq!(
        received.flow,
        Flow::udp(switch.udp(), peer.local_addr().expect("bound"))
    );
    assert_eq!(received.message.reply_address(), Some(received.flow.remote));
    switch.transport.send(&received.flow, answer(&received));
    let mut bytes = [0; 2_000];
    let (length, from) = timeout(Duration::from_secs(5), peer.recv_from(&mut bytes))
        .await
        .expect("in time")
        .expect("read");
    assert_eq!(from, switch.udp());
    assert!(String::from_utf8_lossy(&bytes[..length]).contains(";received=127.0.0.1;rport="));
}

#[tokio::test]
async fn large_datagram_is_read_whole() {
    let mut switch = Switch::start();
    let peer = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let body = "x".repeat(60_000);
    peer.send_to(&request("large", &body), switch.udp())
        .await
        .expect("sent");
    assert_eq!(switch.receives().await.message.body().len(), 60_000);
}

#[tokio::test]
async fn two_requests_of_one_call_stay_in_order() {
    let mut switch = Switch::start();
    let peer = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    for n in 0..40 {
        peer.send_to(&request("same", &n.to_string()), switch.udp())
            .await
            .expect("sent");
    }
    for n in 0..40 {
        assert_eq!(switch.receives().await.message.body(), n.to_string());
    }
}

#[tokio::test]
async fn unreadable_request_is_answered_400_and_keep_alives_are_not() {
    let mut switch = Switch::start();
    let peer = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let stun = b"\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl";
    for bytes in [
        &b""[..],
        b"\r\n",
        b"\r\n\r\n",
        b"\0\0\0\0",
        b"jaK\0",
        stun,
        b"SIP/2.0 200 OK\r\n\r\n",
    ] {
        peer.send_to(bytes, switch.udp()).await.expect("sent");
    }
    let text = String::from_utf8_lossy(&request("x", "")).replace("CSeq: 1 ", "CSeq: one ");
    peer.send_to(text.as_bytes(), switch.udp())
        .await
        .expect("sent");
    let mut bytes = [0; 2_000];
    let length = timeout(Duration::from_secs(5), peer.recv(&mut bytes))
        .await
        .expect("in time")
        .expect("read");
    assert!(bytes[..length].starts_with(b"SIP/2.0 400 Bad Request\r\n"));
    switch.is_quiet().await;
}

#[tokio::test]
async fn answers_to_unreadable_requests_are_limited() {
    let switch = Switch::with(Bounds {
        refusals_per_second_max: 5,
        ..Bounds::default()
    });
    let peer = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let text = String::from_utf8_lossy(&request("x", "")).replace("CSeq: 1 ", "CSeq: one ");
    for _ in 0..50 {
        peer.send_to(text.as_bytes(), switch.udp())
            .await
            .expect("sent");
    }
    let mut answers = 0;
    let mut bytes = [0; 2_000];
    while timeout(Duration::from_millis(300), peer.recv(&mut bytes))
        .await
        .is_ok()
    {
        answers += 1;
    }
    assert!((5..=10).contains(&answers), "{answers}");
}

#[tokio::test]
async fn stream_is_cut_into_messages_however_it_arrives() {
    let mut switch = Switch::start();
    let mut peer = TcpStream::connect(switch.tcp()).await.expect("connected");
    peer.set_nodelay(true).expect("set");
    let stream = [
        request("a", "body"),
        request("b", ""),
        request("c", "x\r\n\r\ny"),
    ]
    .concat();
    for piece in stream.chunks(97) {
        peer.write_all(piece).await.expect("written");
        tokio::task::yield_now().await;
    }
    for (call_id, body) in [("a", "body"), ("b", ""), ("c", "x\r\n\r\ny")] {
        let received = switch.receives().await;
        assert_eq!(received.message.call_id(), call_id.as_bytes());
        assert_eq!(received.message.body(), body);
        assert!(received.flow.connection.is_some());
        assert_eq!(received.flow.local, switch.tcp());
        switch.transport.send(&received.flow, answer(&received));
    }
    let mut got = String::new();
    while got.matches("SIP/2.0 200 OK").count() < 3 {
        got += &read_some(&mut peer).await;
    }
    // A peer that ends its own direction still gets its answers.
    peer.write_all(&request("last", "")).await.expect("written");
    peer.shutdown().await.expect("shut down");
    let received = switch.receives().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    switch.transport.send(&received.flow, answer(&received));
    assert!(read_some(&mut peer).await.contains("Call-ID: last"));
}

#[tokio::test]
async fn ping_on_a_stream_is_answered() {
    let switch = Switch::start();
    let mut peer = TcpStream::connect(switch.tcp()).await.expect("connected");
    peer.write_all(b"\r\n\r\n").await.expect("written");
    assert_eq!(read_some(&mut peer).await, "\r\n");
}

#[tokio::test]
async fn stream_that_cannot_be_cut_is_answered_and_closed() {
    let switch = Switch::start();
    let good = String::from_utf8_lossy(&request("x", "")).into_owned();
    for (length, status) in [
        ("Content-Length: 18446744073709551615", "413"),
        ("Content-Length: -7", "400"),
        ("X: y", "400"),
    ] {
        let mut peer = TcpStream::connect(switch.tcp()).await.expect("connected");
        let bad = good.replace("Content-Length: 0", length);
        peer.write_all(bad.as_bytes()).await.expect("written");
        peer.write_all(&[b'x'; 20_000]).await.expect("written");
        assert!(
            read_to_end(&mut peer)
                .await
                .starts_with(&format!("SIP/2.0 {status} ")),
            "{length}"
        );
    }
    let mut peer = TcpStream::connect(switch.tcp()).await.expect("connected");
    peer.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("written");
    assert_eq!(read_to_end(&mut peer).await, "");
}

#[tokio::test]
async fn half_a_message_is_not_waited_for_without_end() {
    let switch = Switch::with(Bounds {
        half_message_ms: 300,
        ..Bounds::default()
    });
    let mut peer = TcpStream::connect(switch.tcp()).await.expect("connected");
    let start = Instant::now();
    let mut half = request("slow", "");
    half.truncate(100);
    let ended = loop {
        // A byte now and then does not keep it open.
        if half.is_empty() || peer.write_all(&half.split_to(1)).await.is_err() {
            break true;
        }
        let mut byte = [0; 1];
        match timeout(Duration::from_millis(20), peer.read(&mut byte)).await {
            Ok(Ok(0) | Err(_)) => break true,
            _ if start.elapsed() > Duration::from_secs(5) => break false,
            _ => {}
        }
    };
    assert!(
        ended && start.elapsed() < Duration::from_millis(1_500),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn idle_connection_is_closed() {
    let switch = Switch::with(Bounds {
        idle_ms: 100,
        ..Bounds::default()
    });
    let mut peer = TcpStream::connect(switch.tcp()).await.expect("connected");
    assert_eq!(read_to_end(&mut peer).await, "");
    while switch.transport.connections() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn connections_are_bounded_for_each_address() {
    let switch = Switch::with(Bounds {
        connections_per_ip_max: 2,
        linger_ms: 20,
        ..Bounds::default()
    });
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(TcpStream::connect(switch.tcp()).await.expect("connected"));
    }
    assert_eq!(read_to_end(&mut peers[2]).await, "");
    peers[0].write_all(b"\r\n\r\n").await.expect("written");
    assert_eq!(read_some(&mut peers[0]).await, "\r\n");
    assert_eq!(switch.transport.connections(), 2);
    peers.clear();
    while switch.transport.connections() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn peer_that_never_reads_harms_only_itself() {
    let bounds = Bounds {
        write_ms: 60_000,
        queue_bytes_max: 200_000,
        ..Bounds::default()
    };
    let mut switch = Switch::with(bounds);
    let mut deaf = TcpStream::connect(switch.tcp()).await.expect("connected");
    let mut good = TcpStream::connect(switch.tcp()).await.expect("connected");
    deaf.write_all(&request("deaf", "")).await.expect("written");
    let to_deaf = switch.receives().await.flow;
    let large = request("large", &"x".repeat(50_000));
    let start = Instant::now();
    let failed = loop {
        switch.transport.send(&to_deaf, large.clone());
        // The other peer is served all the while.
        good.write_all(&request("good", "")).await.expect("written");
        match switch.next().await {
            Inbound::Received(received) => {
                assert_eq!(received.message.call_id(), b"good");
                switch.transport.send(&received.flow, answer(&received));
                assert!(read_some(&mut good).await.contains("Call-ID: good"));
            }
            Inbound::Failed { flow, message } => break (flow, message),
            passed => panic!("{passed:?}"),
        }
        assert!(start.elapsed() < Duration::from_secs(20));
    };
    assert_eq!(failed.0, to_deaf);
    assert_eq!(failed.1.call_id(), b"large");
    // Its connection is gone, the other one is not.
    while switch.transport.connections() > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    good.write_all(b"\r\n\r\n").await.expect("written");
}

#[tokio::test]
async fn write_that_hangs_is_bounded_in_time() {
    let mut switch = Switch::with(Bounds {
        write_ms: 200,
        queue_bytes_max: 100 << 20,
        ..Bounds::default()
    });
    let mut deaf = TcpStream::connect(switch.tcp()).await.expect("connected");
    deaf.write_all(&request("deaf", "")).await.expect("written");
    let flow = switch.receives().await.flow;
    let large = request("large", &"x".repeat(60_000));
    for _ in 0..400 {
        switch.transport.send(&flow, large.clone());
    }
    assert_eq!(switch.fails().await, (flow, "large".to_owned()));
}

#[tokio::test]
async fn datagram_that_cannot_be_sent_comes_back_as_failed() {
    let mut switch = Switch::start();
    // A loopback address cannot reach one outside.
    let flow = Flow::udp(switch.udp(), "192.0.2.1:5060".parse().expect("an address"));
    switch.transport.send(&flow, request("lost", ""));
    assert_eq!(switch.fails().await, (flow, "lost".to_owned()));
    // No socket of this family.
    let flow = Flow::udp(switch.udp(), "[::1]:5060".parse().expect("an address"));
    switch.transport.send(&flow, request("six", ""));
    assert_eq!(switch.fails().await, (flow, "six".to_owned()));
    switch.is_quiet().await;
}

#[tokio::test]
async fn refused_connect_comes_back_as_failed() {
    let mut switch = Switch::start();
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port")
        .local_addr()
        .expect("bound");
    let flow = switch
        .transport
        .route(Protocol::Tcp, None, gone)
        .expect("a way");
    switch.transport.send(&flow, request("first", ""));
    switch.transport.send(&flow, request("second", ""));
    assert_eq!(switch.fails().await, (flow, "first".to_owned()));
    assert_eq!(switch.fails().await, (flow, "second".to_owned()));
    assert_eq!(switch.transport.connections(), 0);
}

#[tokio::test]
async fn connection_is_made_once_and_used_again() {
    let mut switch = Switch::start();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let to = listener.local_addr().expect("bound");
    let flow = switch
        .transport
        .route(Protocol::Tcp, None, to)
        .expect("a way");
    switch.transport.send(&flow, request("one", ""));
    switch.transport.send(&flow, request("two", ""));
    let (mut peer, _) = listener.accept().await.expect("a connection");
    let mut got = String::new();
    while !got.contains("Call-ID: two") {
        got += &read_some(&mut peer).await;
    }
    assert!(got.contains("Call-ID: one"));
    // What the peer asks comes in by the same connection.
    peer.write_all(&request("back", "")).await.expect("written");
    let back = switch.receives().await;
    assert_eq!(back.flow.remote, to);
    // An id that means nothing here, as of another node's connection, still finds the way.
    let stale = Flow {
        connection: Some(tandem_sip::transport::ConnectionId(999)),
        ..flow
    };
    switch.transport.send(&stale, request("three", ""));
    assert!(read_some(&mut peer).await.contains("Call-ID: three"));
    assert_eq!(switch.transport.connections(), 1);
}

#[tokio::test]
async fn full_shard_loses_datagrams_and_nothing_else() {
    let (queue, mut inbound) = mpsc::channel(1);
    let address: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let listen = Listen {
        udp: vec![address],
        ..Listen::default()
    };
    let transport = Transport::bind(&listen, vec![queue]).expect("free ports");
    let to = transport.listening(Protocol::Udp)[0];
    let peer = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    for n in 0..200 {
        peer.send_to(&request(&n.to_string(), ""), to)
            .await
            .expect("sent");
        if n % 20 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let first = inbound.recv().await.expect("a batch");
    assert!(first.len() < 200);
    while inbound.try_recv().is_ok() {}
    peer.send_to(&request("after", ""), to).await.expect("sent");
    let batch = timeout(Duration::from_secs(5), inbound.recv())
        .await
        .expect("in time")
        .expect("a batch");
    assert!(matches!(&batch[..], [Inbound::Received(r)] if r.message.call_id() == b"after"));
}

#[tokio::test]
async fn occupied_address_is_named() {
    let switch = Switch::start();
    for (udp, tcp, wanted) in [
        (
            vec![switch.udp()],
            vec![],
            format!("cannot listen on udp {}", switch.udp()),
        ),
        (
            vec![],
            vec![switch.tcp()],
            format!("cannot listen on tcp {}", switch.tcp()),
        ),
    ] {
        let (queue, _inbound) = mpsc::channel(1);
        let listen = Listen {
            udp,
            tcp,
            bounds: Bounds::default(),
            ..Listen::default()
        };
        let error = Transport::bind(&listen, vec![queue])
            .err()
            .expect("occupied");
        assert_eq!(error.to_string(), wanted);
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[tokio::test]
async fn wildcard_socket_tells_its_real_address() {
    let mut switch = Switch::on("0.0.0.0:0", Bounds::default());
    let port = switch.udp().port();
    let peer = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    peer.send_to(&request("one", ""), ("127.0.0.1", port))
        .await
        .expect("sent");
    let received = switch.receives().await;
    assert_eq!(
        received.flow.local,
        SocketAddr::from(([127, 0, 0, 1], port))
    );
    switch.transport.send(&received.flow, answer(&received));
    let mut bytes = [0; 2_000];
    timeout(Duration::from_secs(5), peer.recv(&mut bytes))
        .await
        .expect("in time")
        .expect("read");
    let route = switch
        .transport
        .route(Protocol::Udp, None, received.flow.remote)
        .expect("a way");
    assert_eq!(route.local, received.flow.local);
}

#[tokio::test]
async fn requests_leave_from_the_address_asked_for() {
    let (queue, _inbound) = mpsc::channel(16);
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let listen = Listen {
        udp: vec![address("127.0.0.1:0"), address("127.0.0.2:0")],
        tcp: vec![address("127.0.0.1:0"), address("127.0.0.2:0")],
        ..Listen::default()
    };
    let transport = Transport::bind(&listen, vec![queue]).expect("free ports");
    let second = "127.0.0.2".parse().expect("an address");
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let flow = transport
        .route(
            Protocol::Udp,
            Some(second),
            udp.local_addr().expect("bound"),
        )
        .expect("a way");
    transport.send(&flow, request("u", ""));
    let mut bytes = [0; 2_000];
    let (_, from) = timeout(Duration::from_secs(5), udp.recv_from(&mut bytes))
        .await
        .expect("in time")
        .expect("read");
    assert_eq!(from, transport.listening(Protocol::Udp)[1]);
    let flow = transport
        .route(
            Protocol::Tcp,
            Some(second),
            tcp.local_addr().expect("bound"),
        )
        .expect("a way");
    transport.send(&flow, request("t", ""));
    let (_, from) = timeout(Duration::from_secs(5), tcp.accept())
        .await
        .expect("in time")
        .expect("accepted");
    assert_eq!(from.ip(), second);
    let elsewhere = "127.0.0.9".parse().expect("an address");
    assert!(
        transport
            .route(Protocol::Udp, Some(elsewhere), from)
            .is_none()
    );
}

#[tokio::test]
async fn close_writes_what_is_queued_and_frees_the_ports() {
    let mut switch = Switch::start();
    let (udp, tcp) = (switch.udp(), switch.tcp());
    let mut peer = TcpStream::connect(tcp).await.expect("connected");
    peer.write_all(&request("one", "")).await.expect("written");
    let received = switch.receives().await;
    switch.transport.send(&received.flow, answer(&received));
    switch.transport.close();
    assert!(read_to_end(&mut peer).await.contains("Call-ID: one"));
    switch.transport.send(&received.flow, request("late", ""));
    assert_eq!(switch.fails().await.1, "late");
    drop(switch);
    let (queue, _inbound) = mpsc::channel(1);
    let listen = Listen {
        udp: vec![udp],
        tcp: vec![tcp],
        ..Listen::default()
    };
    let bound = async {
        let queue = vec![queue];
        while Transport::bind(&listen, queue.clone()).is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), bound)
        .await
        .expect("ports are free");
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
    statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok())
        .expect("pages")
        * 4_096
}

/// A small generator with a fixed seed: a failure is the same tomorrow.
fn noise(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_garbage_inputs_leave_it_serving_and_small() {
    let mut switch = Switch::with(Bounds {
        linger_ms: 50,
        ..Bounds::default()
    });
    let peer = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let sound = request("garbage", "some body");
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    let mut garbage = |n: usize| -> Vec<u8> {
        match n % 5 {
            0 => (0..noise(&mut seed) % 1_500)
                .map(|_| noise(&mut seed) as u8)
                .collect(),
            1 => sound[..noise(&mut seed) as usize % sound.len()].to_vec(),
            2 => String::from_utf8_lossy(&sound)
                .replace("Content-Length: 9", "Content-Length: 99999")
                .into_bytes(),
            3 => [&sound[..40], &vec![b'x'; 20_000][..]].concat(),
            _ => {
                let mut bytes = sound.to_vec();
                let at = noise(&mut seed) as usize % bytes.len();
                bytes[at] = noise(&mut seed) as u8;
                bytes
            }
        }
    };
    let mut round = async |switch: &mut Switch, count: usize| {
        for n in 0..count {
            let _ = peer.send_to(&garbage(n), switch.udp()).await;
            if n % 50 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                while switch.inbound.try_recv().is_ok() {}
            }
            if n % 20 == 0 {
                // Half messages and worse on connections that just end.
                let mut stream = TcpStream::connect(switch.tcp()).await.expect("connected");
                let _ = stream.write_all(&garbage(n / 20)).await;
            }
        }
        while switch.transport.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            while switch.inbound.try_recv().is_ok() {}
        }
    };
    round(&mut switch, 2_000).await;
    let before = resident_bytes();
    round(&mut switch, 10_000).await;
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more than before");
    while timeout(Duration::from_millis(50), switch.inbound.recv())
        .await
        .is_ok()
    {}
    peer.send_to(&request("alive", ""), switch.udp())
        .await
        .expect("sent");
    assert_eq!(switch.receives().await.message.call_id(), b"alive");
    let mut stream = TcpStream::connect(switch.tcp()).await.expect("connected");
    stream
        .write_all(&request("alive-too", ""))
        .await
        .expect("written");
    assert_eq!(switch.receives().await.message.call_id(), b"alive-too");
}

#[tokio::test]
async fn a_shared_address_is_listened_on_before_it_is_here_and_sends_only_then() {
    let (queue, inbound) = mpsc::channel(16);
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let (absent, own) = (address("192.0.2.77:0"), address("127.0.0.1:0"));
    let plain = Listen {
        udp: vec![absent],
        ..Listen::default()
    };
    let error = Transport::bind(&plain, vec![queue.clone()]).err();
    let error = error.expect("it is nobody's").to_string();
    assert_eq!(error, "cannot listen on udp 192.0.2.77:0");

    let listen = Listen {
        udp: vec![own],
        tcp: vec![own],
        udp_shared: vec![absent],
        tcp_shared: vec![absent, address("127.0.0.3:0")],
        ..Listen::default()
    };
    let mut switch = Switch {
        transport: Transport::bind(&listen, vec![queue]).expect("free ports"),
        inbound,
        waiting: std::collections::VecDeque::new(),
    };
    let shared = switch.transport.listening(Protocol::Udp)[1];
    let peer = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let to = peer.local_addr().expect("bound");
    switch
        .transport
        .send(&Flow::udp(shared, to), request("away", ""));
    assert_eq!(switch.fails().await.1, "away");
    // What asks for no certain address leaves from our own.
    let route = switch.transport.route(Protocol::Udp, None, to);
    assert_eq!(route.expect("a way").local, switch.udp());

    let here = |ip: &str| is_local(ip.parse().expect("an address"));
    assert!(here("127.0.0.1") && here("127.0.0.3"));
    assert!(!here("192.0.2.77") && !here("2001:db8::77"));
}
