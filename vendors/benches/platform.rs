//! What a call costs on the platform's side and in the client: `cargo bench -p tandem-vendors`.
//!
//! A simulator, a client and both SIP ends in one process; per call one bind, INVITE, 200, ACK, BYE,
//! 200 and one unbind. CPU time is read per thread from `/proc/self/task`, so the figures of the
//! simulator's threads stand apart from those of client and phones. Arguments: calls, calls a second, `http`
//! to leave the SIP calls out.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use tandem_vendors::sim::{self, Config, Credentials};
use tandem_vendors::{Bind, BindOutcome, Client, Interface, UnbindOutcome, Vendor};

/// CPU ticks of 10 ms, as /proc counts them on Linux.
const TICK_MS: f64 = 10.0;

fn main() {
    let numbers: Vec<u32> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let calls = numbers.first().copied().unwrap_or(5_000);
    let rate = numbers.get(1).copied().unwrap_or(500);
    let with_sip = !std::env::args().any(|a| a == "http");
    let log = std::env::temp_dir().join(format!("tandem-bench-{}.jsonl", std::process::id()));
    let phone = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let phone_addr = phone.local_addr().expect("it is bound");
    let mut config = Config::huawei(any, any, phone_addr, Credentials::new("k", "s"));
    config.log = Some(log.clone());
    let sim = sim::spawn(&config).expect("the simulator starts");
    std::thread::Builder::new()
        .name("phone".into())
        .spawn(move || answer(&phone))
        .expect("a thread");
    let interface = Interface::new(
        1,
        "bench",
        Vendor::huawei(),
        &sim.base_url(Vendor::huawei()),
    )
    .with("app_key", "k")
    .with("app_secret", "s");
    let client = Client::new(&interface).expect("a sound interface");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("client")
        .enable_all()
        .build()
        .expect("a runtime");
    let before = cpu();
    let started = Instant::now();
    let sip = sim.sip_addr();
    let mut delays = runtime.block_on(async {
        let mut ticker = tokio::time::interval(Duration::from_micros(1_000_000 / u64::from(rate)));
        let mut tasks = Vec::new();
        for n in 0..calls {
            ticker.tick().await;
            let client = client.clone();
            tasks.push(tokio::spawn(async move {
                call(&client, with_sip.then_some(sip), n).await
            }));
        }
        let mut delays = Vec::new();
        for task in tasks {
            delays.push(task.await.expect("no call panics"));
        }
        delays
    });
    let took = started.elapsed().as_secs_f64();
    delays.sort();
    println!(
        "{calls} calls at {rate}/s in {took:.1} s; {:?}",
        sim.calls()
    );
    for (what, index) in [("p50", 50), ("p99", 99)] {
        let delay = delays[(delays.len() - 1) * index / 100];
        println!("bind {what}: {:.2} ms", delay.as_secs_f64() * 1000.0);
    }
    for (thread, after) in cpu() {
        let ms = (after - before.get(&thread).copied().unwrap_or(0.0)) * TICK_MS;
        let per_call = ms / f64::from(calls);
        let share = ms / took / 10.0;
        println!("{thread:16} {per_call:.3} CPU-ms a call, {share:.1} % of a core");
    }
    assert!(sim.bindings().is_empty(), "every binding was released");
    sim.stop();
    let _ = fs::remove_file(log);
}

/// One call from bind to unbind; how long the bind took.
async fn call(client: &Client, sip: Option<SocketAddr>, n: u32) -> Duration {
    let numbers = Bind {
        a: format!("021{n:08}"),
        x: format!("170000000{:02}", n % 100),
        b: format!("139{n:08}"),
        own_id: n.to_string(),
    };
    let started = Instant::now();
    let BindOutcome::Bound { handle, .. } = client.bind(&numbers).await else {
        panic!("bind of call {n} failed");
    };
    let took = started.elapsed();
    if let Some(sip) = sip {
        talk(sip, &numbers, n).await;
    }
    let unbound = client.unbind(&handle, &numbers).await;
    assert_eq!(unbound, UnbindOutcome::Released);
    took
}

/// The SIP side of one call.
async fn talk(sip: SocketAddr, numbers: &Bind, n: u32) {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let here = socket.local_addr().expect("it is bound");
    let request = |method: &str, target: &str, number: u32, to_tag: &str| {
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{n}{method}\r\nMax-Forwards: 70\r\nFrom: <sip:{a}@{here}>;tag=a{n}\r\nTo: <sip:{x}@{sip}>{to_tag}\r\nCall-ID: bench-{n}\r\nCSeq: {number} {method}\r\nContact: <sip:{a}@{here}>\r\nContent-Length: 0\r\n\r\n",
            a = numbers.a,
            x = numbers.x,
        )
    };
    let target = format!("sip:{}@{sip}", numbers.x);
    let mut buffer = [0; 4096];
    for (method, number, to_tag) in [
        ("INVITE", 1, ""),
        ("ACK", 1, ";tag=b"),
        ("BYE", 2, ";tag=b"),
    ] {
        let text = request(method, &target, number, to_tag);
        socket
            .send_to(text.as_bytes(), sip)
            .await
            .expect("loopback takes it");
        if method != "ACK" {
            let (length, _) = socket
                .recv_from(&mut buffer)
                .await
                .expect("an answer comes");
            assert!(
                buffer[..length].starts_with(b"SIP/2.0 200"),
                "call {n} is answered"
            );
        }
    }
}

/// B's phone: 200 to everything but ACK.
fn answer(phone: &UdpSocket) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = phone.recv_from(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..length]);
        if text.starts_with("ACK") {
            continue;
        }
        let mut answer = "SIP/2.0 200 OK\r\n".to_owned();
        for line in text
            .split("\r\n")
            .skip(1)
            .take_while(|line| !line.is_empty())
        {
            let name = line.split(':').next().unwrap_or("");
            if ["Via", "From", "Call-ID", "CSeq", "Record-Route"].contains(&name) {
                answer += &format!("{line}\r\n");
            } else if name == "To" {
                let tag = if line.contains(";tag=") { "" } else { ";tag=b" };
                answer += &format!("{line}{tag}\r\n");
            }
        }
        answer += "Content-Length: 0\r\n\r\n";
        let _ = phone.send_to(answer.as_bytes(), from);
    }
}

/// CPU ticks by thread name.
fn cpu() -> BTreeMap<String, f64> {
    let mut ticks = BTreeMap::new();
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return ticks;
    };
    for task in tasks.flatten() {
        let Ok(stat) = fs::read_to_string(task.path().join("stat")) else {
            continue;
        };
        let Some((head, rest)) = stat.rsplit_once(')') else {
            continue;
        };
        let name = head.split_once('(').map_or("", |(_, name)| name);
        let fields: Vec<f64> = rest
            .split_whitespace()
            .filter_map(|f| f.parse().ok())
            .collect();
        // After the state letter come 10 numbers, then user and system time.
        let used = fields.get(10).unwrap_or(&0.0) + fields.get(11).unwrap_or(&0.0);
        *ticks.entry(name.to_owned()).or_default() += used;
    }
    ticks
}
