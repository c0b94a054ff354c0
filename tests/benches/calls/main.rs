//! What a call costs, seen from outside: processor time, rate, memory and post-dial delay of the release binary under
//! SIPp. A measurement, not a test: it judges nothing and prints a table. Everything shares one machine, so SIPp and
//! the simulator take their part of the cores; their share is printed beside.
//!
//! `cargo bench -p tandem-tests --bench calls [-- processor proxy delay neighbours rate memory takeover]`

mod open_proxy;

use open_proxy::OpenProxy;
use serde_json::json;
use std::time::{Duration, Instant};
use tandem_tests::neighbours as four;
use tandem_tests::sipp::{Finished, numbers};
use tandem_tests::switch::{NODES, free_port};
use tandem_tests::wire::Wire;
use tandem_tests::{Sipp, Switch, eventually, process};

/// Callees of the gateway without AXB, and of the X platform.
const PLAIN: u64 = 9_000_000_000;
const AXB: u64 = 13_800_000_000;

/// An AXB call of which the platform tells its three events and its bill by HTTP, each stored on every node.
const TOLD: &str = "AXB (with call-backs)";

fn main() {
    // `cargo test --benches` and `cargo bench -- --list` only want to know that it starts.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let began = Instant::now();
    println!("{}", process::cpu_model());
    println!("nodes, simulator and SIPp share these cores\n");
    println!("| what | measured |\n| --- | --- |");
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let parts: [(&str, fn()); 7] = [
        ("processor", processor_time),
        ("proxy", open_proxy),
        ("delay", post_dial_delay),
        ("neighbours", neighbours),
        ("rate", sustained_rate),
        ("memory", memory),
        ("takeover", takeover),
    ];
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            part();
        }
    }
    eprintln!("took {:.0} s", began.elapsed().as_secs_f64());
}

fn row(what: &str, measured: &str) {
    println!("| {what} | {measured} |");
}

fn cluster() -> Switch {
    let switch = Switch::start();
    switch.make_room(100, 150);
    switch.api(1).unbind_delay(Some(1));
    // What the platform tells of a call is work beside the call; one row of its own says how much.
    switch.platform().fault(json!({ "no_callbacks": true }));
    switch
}

/// A fresh block of callees for every run, so that no user number meets itself on an X.
fn callees(base: u64, block: u64) -> u64 {
    base + block * 100_000
}

fn cpu_of_nodes(switch: &Switch) -> Vec<f64> {
    (1..=NODES)
        .map(|node| process::cpu(switch.pid(node)).as_secs_f64() * 1000.0)
        .collect()
}

fn sum(values: &[f64]) -> f64 {
    values.iter().sum()
}

/// Processor milliseconds per call, after taking off what the idle cluster uses in the same time; at a usual rate, and
/// at a high one where more commands share an entry.
fn processor_time() {
    let switch = cluster();
    let span = Duration::from_secs(10);
    let before = cpu_of_nodes(&switch);
    std::thread::sleep(span);
    let idle: Vec<f64> = cpu_of_nodes(&switch)
        .iter()
        .zip(&before)
        .map(|(a, b)| (a - b) / span.as_secs_f64())
        .collect();
    row(
        "processor of the idle cluster, all nodes",
        &format!("{:.1} ms/s", sum(&idle)),
    );

    let mut block = 0;
    for (name, base, port) in [
        ("AXB", AXB, switch.phone_port()),
        (TOLD, AXB, switch.phone_port()),
        ("plain", PLAIN, switch.plain_port()),
    ] {
        let told = json!({ "no_callbacks": name != TOLD });
        switch.platform().fault(told);
        let phone = Sipp::phone("phone", port).start(switch.dir());
        let nodes: Vec<u8> = if name == "plain" {
            vec![1]
        } else {
            (1..=NODES).collect()
        };
        // First once unmeasured, so that buffers and caches are there.
        for (per_s, secs) in [(0, 0), (90, 25), (600, 10)] {
            let measured = per_s > 0;
            let (per_s, secs) = if measured { (per_s, secs) } else { (90, 3) };
            let per_node = (per_s * secs) as usize / nodes.len();
            let rate = per_s / u32::try_from(nodes.len()).expect("small");
            let before = cpu_of_nodes(&switch);
            let sipp_before = process::cpu(phone.pid());
            let began = Instant::now();
            let running: Vec<_> = nodes
                .iter()
                .map(|node| {
                    block += 1;
                    let numbers = numbers(15_900_000_000, callees(base, block), per_node);
                    let customer =
                        Sipp::customer("customer", switch.own_port(), switch.sip(*node), numbers);
                    customer.rate(rate, 1_000).pause(2_000).start(switch.dir())
                })
                .collect();
            for customer in running {
                customer.finish(Duration::from_secs(120)).all_good(per_node);
            }
            switch.comes_to_rest(&[1, 2, 3], Duration::from_secs(15));
            if !measured {
                continue;
            }
            let spent = began.elapsed().as_secs_f64();
            let used: Vec<f64> = cpu_of_nodes(&switch)
                .iter()
                .zip(&before)
                .map(|(a, b)| a - b)
                .collect();
            let calls = (per_node * nodes.len()) as f64;
            let net = (sum(&used) - sum(&idle) * spent) / calls;
            let sipp = (process::cpu(phone.pid()) - sipp_before).as_secs_f64() * 1000.0 / calls;
            let mut text = format!("{net:.3} ms, all nodes");
            if name == "plain" {
                text.push_str(&format!(
                    "; {:.3} ms, the node that carries it",
                    (used[0] - idle[0] * spent) / calls
                ));
            }
            text.push_str(&format!(" (SIPp's phone beside it: {sipp:.3} ms)"));
            row(
                &format!("processor per {name} call at {per_s} calls/s"),
                &text,
            );
        }
    }
}

/// The same for an open proxy between the same customer and phone, if there is one.
fn open_proxy() {
    let Some(version) = OpenProxy::version() else {
        eprintln!("no kamailio on the PATH: nothing to compare a plain call with");
        return;
    };
    let dir = tempfile::tempdir().expect("temporary folder");
    let phone_port = free_port();
    let phone = Sipp::phone("phone", phone_port).start(dir.path());
    let proxy = OpenProxy::start(dir.path(), phone_port);
    let cpu_of_phone = || process::cpu(phone.pid()).as_secs_f64() * 1000.0;
    for (block, (per_s, secs)) in [(90, 3), (600, 10), (2_000, 8)].into_iter().enumerate() {
        let calls = per_s as usize * secs;
        let before = (proxy.cpu_ms(), cpu_of_phone());
        let numbers = numbers(15_900_000_000, callees(PLAIN, block as u64), calls);
        let done = Sipp::customer("customer", free_port(), proxy.address(), numbers)
            .rate(per_s, 1_000)
            .pause(2_000)
            .start(dir.path())
            .finish(Duration::from_secs(120));
        let used = (proxy.cpu_ms() - before.0) / calls as f64;
        let sipp = (cpu_of_phone() - before.1) / calls as f64;
        if block == 0 {
            continue;
        }
        let (failed, again) = (done.failed(), done.retransmissions());
        row(
            &format!(
                "{version} as a bare stateful proxy: processor per plain call at {per_s} calls/s"
            ),
            &format!(
                "{used:.3} ms (SIPp's phone beside it: {sipp:.3} ms; {failed} of {calls} failed, {again} repeats)"
            ),
        );
    }
}

fn percentile(sorted: &[Duration], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1000.0
}

/// INVITE to 180 through the switch, less the same straight to the same phone; in a quiet switch and in a busy one.
fn post_dial_delay() {
    let switch = cluster();
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let plain = Sipp::phone("phone", switch.plain_port()).start(switch.dir());
    let direct = std::net::SocketAddr::from(([127, 0, 0, 1], switch.phone_port()));
    let series = |to, base: u64| {
        let wire = Wire::udp(to);
        let mut ringing: Vec<Duration> = (0..200)
            .filter_map(|n| {
                std::thread::sleep(Duration::from_millis(40));
                match wire.place_call(&(base + n).to_string()) {
                    Ok(timing) => Some(timing.ringing),
                    Err(why) => {
                        eprintln!("a call of the delay series failed: {why}");
                        None
                    }
                }
            })
            .collect();
        ringing.sort_unstable();
        ringing
    };
    let base = series(direct, callees(AXB, 1));
    let leader = switch.leader();
    let follower = leader % NODES + 1;
    let mut block = 2;
    for busy in [false, true] {
        let load = busy.then(|| {
            let numbers = numbers(15_900_000_000, callees(AXB, 90), 4_000);
            let customer =
                Sipp::customer("customer", switch.own_port(), switch.sip(follower), numbers);
            customer.rate(100, 1_000).pause(2_000).start(switch.dir())
        });
        for (name, node, first) in [
            ("AXB call at the leader", leader, AXB),
            ("AXB call at a follower", follower, AXB),
            ("plain call at the leader", leader, PLAIN),
        ] {
            block += 1;
            let through = series(switch.sip(node), callees(first, block));
            let added = |share| percentile(&through, share) - percentile(&base, share);
            let state = if busy {
                "beside 100 AXB calls/s"
            } else {
                "otherwise quiet"
            };
            row(
                &format!("added post-dial delay, {name}, {state}"),
                &format!("p50 {:.2} ms, p99 {:.2} ms", added(0.5), added(0.99)),
            );
        }
        drop(load);
    }
    drop((phone, plain));
}

/// Set-up of one platform's calls while three others are well, and while they are down, throttling and cutting replies:
/// the same load in turns, so that the machine's mood meets both alike.
fn neighbours() {
    const CALLS: usize = 300;
    const RATE: u32 = 20;
    let switch = Switch::seeded(&four::seed());
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let mut took = [Vec::new(), Vec::new()];
    for round in 0..6u64 {
        let ill = usize::from(round % 2 == 1);
        let platform = switch.platform();
        if ill == 1 {
            platform.fault(json!({ "vendor": "aliyun", "down": true }));
            platform.fault(json!({ "vendor": "tencent", "throttle_per_s": 5 }));
            platform.fault(json!({ "vendor": "volcengine", "drop_reply_rate": 0.5 }));
        }
        let running: Vec<_> = four::PLATFORMS
            .iter()
            .map(|(.., digit)| four::calls(&switch, *digit, round, CALLS, RATE))
            .collect();
        let mut done = running
            .into_iter()
            .map(|customer| customer.finish(Duration::from_secs(90)));
        let healthy = done.next().expect("four platforms");
        healthy.all_good(CALLS);
        done.for_each(drop);
        platform.heal();
        switch.comes_to_rest(&[1, 2, 3], Duration::from_secs(60));
        // The first round fills buffers and caches.
        if round > 1 {
            took[ill].extend(four::set_up_times(&healthy));
        }
    }
    for (mut took, state) in took
        .into_iter()
        .zip(["well", "down, throttling, cutting replies"])
    {
        took.sort_by(f64::total_cmp);
        let at = |share: f64| took[((took.len() - 1) as f64 * share).round() as usize] * 1000.0;
        row(
            &format!("set-up through one platform beside three others: {state}"),
            &format!(
                "p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms of {} calls",
                at(0.5),
                at(0.95),
                at(0.99),
                took.len()
            ),
        );
    }
    drop(phone);
}

/// The highest rate at one node at which no call fails and nobody repeats more than one message in a thousand.
fn sustained_rate() {
    for (name, base) in [("AXB", AXB), ("plain", PLAIN)] {
        let switch = cluster();
        let port = if base == AXB {
            switch.phone_port()
        } else {
            switch.plain_port()
        };
        let phone = Sipp::phone("phone", port).start(switch.dir());
        let mut best = None;
        for (block, per_s) in [200u32, 400, 700, 1_000, 1_500, 2_000, 2_500, 3_000, 4_000]
            .into_iter()
            .enumerate()
        {
            let calls = per_s as usize * 8;
            let before = cpu_of_nodes(&switch);
            let sipp_before = process::cpu(phone.pid());
            let numbers = numbers(15_900_000_000, callees(base, block as u64), calls);
            let customer = Sipp::customer("customer", switch.own_port(), switch.sip(1), numbers);
            let customer = customer
                .rate(per_s, 1_000)
                .pause(1_000)
                .start(switch.dir())
                .finish(Duration::from_secs(90));
            let after = cpu_of_nodes(&switch);
            let each = |used: f64| used / calls as f64;
            let used = each(sum(&after) - sum(&before));
            let carrying = each(after[0] - before[0]);
            let sipp = each((process::cpu(phone.pid()) - sipp_before).as_secs_f64() * 1000.0);
            let offered = offered_rate(&customer);
            let late = offered < f64::from(per_s) * 0.95;
            if customer.failed() > 0 || customer.retransmissions() > calls as u64 / 250 || late {
                let (failed, again) = (customer.failed(), customer.retransmissions());
                row(
                    &format!("{name} calls/s at which it no longer keeps up"),
                    &format!(
                        "{per_s}: SIPp itself offered {offered:.0}, {failed} of {calls} failed, {again} repeats"
                    ),
                );
                break;
            }
            best = Some((per_s, used, carrying, sipp));
            switch.comes_to_rest(&[1, 2, 3], Duration::from_secs(30));
        }
        let text = best.map_or("none tried".to_owned(), |(rate, used, carrying, sipp)| {
            format!(
                "{rate} (processor each: {used:.3} ms, all nodes; {carrying:.3} ms, the node that carries it; \
                 SIPp's phone beside it: {sipp:.3} ms)"
            )
        });
        row(&format!("{name} calls/s that one node sustains"), &text);
        drop(phone);
    }
}

/// What SIPp really offered: beside a busy switch it may not get its part of the cores.
fn offered_rate(customer: &Finished) -> f64 {
    let sent = customer.lines("SENT");
    match (sent.first(), sent.last()) {
        (Some(first), Some(last)) if last.at > first.at => {
            (sent.len() - 1) as f64 / (last.at - first.at)
        }
        _ => 0.0,
    }
}

/// Resident memory gained per held AXB call; all calls are held by node 1, the others hold their replicas.
fn memory() {
    let switch = cluster();
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let warm = numbers(15_900_000_000, callees(AXB, 1), 200);
    let warm = Sipp::customer("customer", switch.own_port(), switch.sip(1), warm)
        .rate(100, 1_000)
        .pause(500);
    warm.start(switch.dir())
        .finish(Duration::from_secs(60))
        .all_good(200);
    switch.comes_to_rest(&[1, 2, 3], Duration::from_secs(15));
    let rss = || -> Vec<u64> {
        (1..=NODES)
            .map(|node| process::rss(switch.pid(node)))
            .collect()
    };
    let before = rss();
    let mut held = Vec::new();
    for (block, (more, total)) in [(2_000, 2_000), (8_000, 10_000)].into_iter().enumerate() {
        let numbers = numbers(15_900_000_000, callees(AXB, 2 + block as u64), more);
        let customer = Sipp::customer("customer", switch.own_port(), switch.sip(1), numbers);
        let customer = customer.rate(200, 1_000).pause(600_000).start(switch.dir());
        eventually(
            "all calls talk",
            Duration::from_secs(180),
            || match customer.lines("ANSWERED").len() {
                n if n == more => Ok(()),
                n => Err(format!("{n} of {more} answered")),
            },
        );
        // The last bindings are released a second after the answer; what is left then is what a held call keeps.
        eventually("all X are free", Duration::from_secs(20), || {
            let status = switch.api(1).try_status()?;
            if status["x_in_use"] == 0 {
                Ok(())
            } else {
                Err(status.to_string())
            }
        });
        let each: Vec<String> = rss()
            .iter()
            .zip(&before)
            .map(|(now, then)| {
                format!(
                    "{:.1}",
                    now.saturating_sub(*then) as f64 / 1024.0 / total as f64
                )
            })
            .collect();
        row(
            &format!(
                "memory per held call at {total} calls: the node that holds them, its two replicas"
            ),
            &format!("{} KiB", each.join(", ")),
        );
        held.push(customer);
    }
    drop((held, phone));
}

/// How long the answered calls of a dead node are without one: from the kill until a new owner has told both far ends
/// of each where it lives. The lease of three seconds and, for a leader, an election are part of it.
fn takeover() {
    const CALLS: usize = 1_000;
    for leads in [false, true] {
        let switch = cluster();
        let leader = switch.leader();
        let victim = if leads { leader } else { leader % NODES + 1 };
        let living: Vec<u8> = (1..=NODES).filter(|node| *node != victim).collect();
        let phone = Sipp::phone("phone_moves", switch.phone_port())
            .patience(120_000)
            .start(switch.dir());
        let numbers = numbers(15_900_000_000, callees(AXB, 90), CALLS);
        let customer = Sipp::customer(
            "customer_moves",
            switch.own_port(),
            switch.sip(victim),
            numbers,
        )
        .rate(100, 1_000)
        .patience(60_000)
        .start(switch.dir());
        eventually(
            "every call is answered",
            Duration::from_secs(60),
            || match customer.lines("ANSWERED").len() {
                CALLS => Ok(()),
                some => Err(format!("{some}")),
            },
        );
        let done = |results: &[&str]| -> usize {
            let count = |node: &u8, result: &&str| {
                let labels = ["what=\"call\"", &format!("result=\"{result}\"")];
                switch.api(*node).metric("takeovers_total", &labels)
            };
            let of = |node| results.iter().map(|r| count(node, r)).sum::<f64>();
            living.iter().map(of).sum::<f64>() as usize
        };
        let killed = Instant::now();
        switch.kill(victim);
        let mut first = None;
        let all = loop {
            match done(&["refreshed", "unrefreshed", "failed", "ended"]) {
                CALLS => break killed.elapsed(),
                some if some > 0 => drop(first.get_or_insert(killed.elapsed())),
                _ => {}
            }
            if killed.elapsed() > Duration::from_secs(60) {
                break killed.elapsed();
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let began = first.unwrap_or(all);
        row(
            &format!(
                "{CALLS} calls of a dead {} refreshed",
                if leads { "leader" } else { "follower" }
            ),
            &format!(
                "{:.2} s after its death, within {:.0} ms of the first; {} of them by both ends",
                all.as_secs_f64(),
                (all - began).as_secs_f64() * 1_000.0,
                done(&["refreshed"]),
            ),
        );
        drop((customer, phone));
    }
}
