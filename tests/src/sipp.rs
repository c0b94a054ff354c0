//! SIPp on both sides of the switch: customers that place calls, phones that ring.
//!
//! One [`Sipp`] is one process with one scenario of `scenarios/`. Scenarios write what they saw, with the time, into a
//! log that [`Finished::lines`] reads back; counts come from SIPp's own statistics.

use crate::process::{self, Guarded};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One SIPp to be started.
#[derive(Clone, Debug)]
pub struct Sipp {
    scenario: String,
    ip: Ipv4Addr,
    port: u16,
    remote: Option<SocketAddr>,
    transport: &'static str,
    calls: Option<u32>,
    rate: (u32, u32),
    pause_ms: u32,
    patience_ms: u32,
    numbers: Vec<(String, String)>,
    fields: String,
    messages: bool,
    behaviour: Option<&'static [&'static str]>,
}

impl Sipp {
    /// A side that waits for calls on 127.0.0.1:`port`.
    pub fn phone(scenario: &str, port: u16) -> Sipp {
        Sipp {
            scenario: scenario.to_owned(),
            ip: Ipv4Addr::LOCALHOST,
            port,
            remote: None,
            transport: "u1",
            calls: None,
            rate: (10, 1000),
            pause_ms: 0,
            patience_ms: 60_000,
            numbers: Vec::new(),
            fields: String::new(),
            messages: false,
            behaviour: None,
        }
    }

    /// A side that places one call for each pair of caller and callee to the switch at `remote`, from its own `port`.
    pub fn customer(
        scenario: &str,
        port: u16,
        remote: SocketAddr,
        numbers: Vec<(String, String)>,
    ) -> Sipp {
        let calls = u32::try_from(numbers.len()).expect("far fewer calls than that");
        Sipp {
            remote: Some(remote),
            numbers,
            calls: Some(calls),
            ..Sipp::phone(scenario, port)
        }
    }

    /// Calls in every `period_ms`; both together keep rates such as 100 in 3 s exact.
    pub fn rate(self, calls: u32, period_ms: u32) -> Sipp {
        Sipp {
            rate: (calls, period_ms),
            ..self
        }
    }

    /// The scenario's pause: how long a customer talks, how long a phone rings.
    pub fn pause(self, ms: u32) -> Sipp {
        Sipp {
            pause_ms: ms,
            ..self
        }
    }

    /// How long a side waits for any message of the other one before it gives the call up, or goes on where the
    /// scenario has something else to do then. Usually a minute.
    pub fn patience(self, ms: u32) -> Sipp {
        Sipp {
            patience_ms: ms,
            ..self
        }
    }

    /// Further fields of every row of numbers, each with the `;` before it, for scenarios that want them.
    pub fn fields(self, fields: String) -> Sipp {
        Sipp { fields, ..self }
    }

    /// Calls come from another loopback address, by which the switch knows another customer.
    pub fn from_ip(self, ip: Ipv4Addr) -> Sipp {
        Sipp { ip, ..self }
    }

    /// All calls over one TCP connection.
    pub fn tcp(self) -> Sipp {
        Sipp {
            transport: "t1",
            ..self
        }
    }

    /// Ends after this many calls; a phone without it runs until [`Running::stop`].
    pub fn calls(self, calls: u32) -> Sipp {
        Sipp {
            calls: Some(calls),
            ..self
        }
    }

    /// A message that no step of the scenario waits for is dropped, as a network may do, and whoever sent it sends it
    /// again; usually SIPp gives up its call. What was dropped is told by [`Finished::dropped`]. SIPp answers nothing of
    /// its own accord either but, at a phone, BYE and CANCEL of calls that it no longer knows.
    pub fn steady(self) -> Sipp {
        let behaviour: &[&str] = match self.remote {
            // Copies are the scenario's to answer: what SIPp would send is made of whatever it heard last.
            Some(_) => &["-nr", "-default_behaviors", "none"],
            None => &["-default_behaviors", "all,-abortunexp"],
        };
        Sipp {
            behaviour: Some(behaviour),
            ..self
        }
    }

    /// Keeps every message, read back by [`Finished::messages`].
    pub fn keep_messages(self) -> Sipp {
        Sipp {
            messages: true,
            ..self
        }
    }

    /// Starts it with its files in a directory of its own under `dir`.
    #[track_caller]
    pub fn start(self, dir: &Path) -> Running {
        let place = dir.join(format!("sipp-{}-{}", self.scenario, self.port));
        std::fs::create_dir_all(&place).expect("a directory for SIPp's files");
        let scenario = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("scenarios")
            .join(format!("{}.xml", self.scenario));
        let mut sipp = Command::new("sipp");
        sipp.arg("-sf").arg(&scenario);
        sipp.args([
            "-i",
            &self.ip.to_string(),
            "-bind_local",
            "-nostdin",
            "-t",
            self.transport,
        ]);
        sipp.args([
            "-p",
            &self.port.to_string(),
            "-d",
            &self.pause_ms.to_string(),
        ]);
        sipp.args([
            "-trace_logs",
            "-log_file",
            "log",
            "-trace_err",
            "-error_file",
            "errors",
        ]);
        sipp.args(["-trace_stat", "-stf", "stats", "-fd", "1"]);
        // Calls that hang are SIPp's to give up, so that a test sees them as failed calls and not as its own time-out.
        sipp.args([
            "-recv_timeout",
            &self.patience_ms.to_string(),
            "-timer_resol",
            "2",
            "-buff_size",
            "4194304",
        ]);
        sipp.args(self.behaviour.unwrap_or_default());
        if self.messages {
            sipp.args(["-trace_msg", "-message_file", "messages"]);
        }
        if let Some(calls) = self.calls {
            sipp.args(["-m", &calls.to_string()]);
        }
        if let Some(remote) = self.remote {
            let mut csv = String::from("SEQUENTIAL\n");
            for (caller, callee) in &self.numbers {
                csv.push_str(&format!("{caller};{callee}{}\n", self.fields));
            }
            std::fs::write(place.join("numbers.csv"), csv).expect("SIPp's numbers can be written");
            sipp.args([
                "-inf",
                "numbers.csv",
                "-r",
                &self.rate.0.to_string(),
                "-rp",
                &self.rate.1.to_string(),
            ]);
            // SIPp's own bound on open calls lies below what a long call at a high rate needs.
            sipp.args(["-l", &self.numbers.len().to_string(), &remote.to_string()]);
        }
        let output = File::create(place.join("output")).expect("SIPp's output can be written");
        let errors = output.try_clone().expect("a second handle");
        let child = sipp
            .current_dir(&place)
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|e| {
                panic!("sipp does not start ({e}); tests/run installs it (Debian: sip-tester)")
            });
        let running = Running {
            child: Guarded(child),
            place,
            name: format!("{} on {}", self.scenario, self.port),
        };
        if self.remote.is_none() {
            running.wait_for_socket(self.ip, self.port, self.transport);
        }
        running
    }
}

/// A SIPp at work; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Guarded,
    place: PathBuf,
    name: String,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a phone can be called.
    #[track_caller]
    fn wait_for_socket(&self, ip: Ipv4Addr, port: u16, transport: &str) {
        let table = if transport == "t1" {
            "/proc/net/tcp"
        } else {
            "/proc/net/udp"
        };
        // In the kernel's own byte order.
        let local = format!("{:08X}:{port:04X}", u32::from_ne_bytes(ip.octets()));
        crate::eventually(
            &format!("{} opens its socket", self.name),
            Duration::from_secs(5),
            || {
                let sockets =
                    std::fs::read_to_string(table).map_err(|e| format!("{table}: {e}"))?;
                if sockets.contains(&local) {
                    Ok(())
                } else {
                    Err(self.output())
                }
            },
        );
    }

    /// Waits until all calls are done, at most `limit`.
    #[track_caller]
    pub fn finish(mut self, limit: Duration) -> Finished {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.0.try_wait().expect("SIPp is our child") {
                return Finished::read(&self.place, &self.name, status.code().unwrap_or(-1));
            }
            if began.elapsed() > limit {
                process::signal(self.child.id(), "KILL");
                panic!(
                    "{} has not finished within {limit:?}\n{}",
                    self.name,
                    self.output()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it to end once its calls are over, and reads what it saw.
    #[track_caller]
    pub fn stop(mut self) -> Finished {
        process::signal(self.child.id(), "USR1");
        if !process::gone(self.child.id(), Duration::from_secs(3)) {
            // Calls that never ended keep it waiting; what it saw is on disk all the same.
            process::signal(self.child.id(), "USR1");
            if !process::gone(self.child.id(), Duration::from_secs(2)) {
                process::signal(self.child.id(), "KILL");
            }
        }
        let status = self.child.0.wait().expect("SIPp is our child");
        Finished::read(&self.place, &self.name, status.code().unwrap_or(-1))
    }

    /// What its log says so far.
    pub fn lines(&self, verb: &str) -> Vec<Line> {
        read_lines(&self.place, verb)
    }

    fn output(&self) -> String {
        let mut all = String::new();
        for file in ["output", "errors", "messages"] {
            let text = std::fs::read(self.place.join(file)).unwrap_or_default();
            let end = &text[text.len().saturating_sub(4_000)..];
            all.push_str(&String::from_utf8_lossy(end));
        }
        all
    }
}

/// What a SIPp saw.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its exit code: 0 when all calls succeeded, 1 when one failed.
    pub code: i32,
    name: String,
    place: PathBuf,
    stats: BTreeMap<String, String>,
}

/// A line that a scenario logged: what, when, and the rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Seconds since 1970.
    pub at: f64,
    /// What follows, usually caller and callee.
    pub words: Vec<String>,
}

impl Line {
    /// The caller (as seen or as sent).
    pub fn caller(&self) -> &str {
        &self.words[0]
    }

    /// The callee (as seen or as sent).
    pub fn callee(&self) -> &str {
        &self.words[1]
    }
}

impl Finished {
    fn read(place: &Path, name: &str, code: i32) -> Finished {
        let text = std::fs::read_to_string(place.join("stats")).unwrap_or_default();
        let mut lines = text.lines();
        let names = lines.next().unwrap_or_default().split(';');
        let values = lines.last().unwrap_or_default().split(';');
        let stats = names
            .map(str::to_owned)
            .zip(values.map(str::to_owned))
            .collect();
        Finished {
            code,
            name: name.to_owned(),
            place: place.to_owned(),
            stats,
        }
    }

    /// One of SIPp's cumulative counters, such as `FailedCall`.
    #[track_caller]
    pub fn count(&self, counter: &str) -> u64 {
        let text = self
            .stats
            .get(&format!("{counter}(C)"))
            .or_else(|| self.stats.get(counter));
        text.and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            panic!(
                "{}: no counter {counter}; exit {}\n{}",
                self.name,
                self.code,
                self.errors()
            )
        })
    }

    /// Calls that went as the scenario says.
    #[track_caller]
    pub fn succeeded(&self) -> u64 {
        self.count("SuccessfulCall")
    }

    /// Calls that did not.
    #[track_caller]
    pub fn failed(&self) -> u64 {
        self.count("FailedCall")
    }

    /// Messages that SIPp had to send again.
    #[track_caller]
    pub fn retransmissions(&self) -> u64 {
        self.count("Retransmissions")
    }

    /// Asserts that exactly `calls` calls succeeded and none failed.
    #[track_caller]
    pub fn all_good(&self, calls: usize) {
        assert!(
            self.failed() == 0 && self.succeeded() == calls as u64,
            "{}: {} of {calls} calls succeeded, {} failed\n{}",
            self.name,
            self.succeeded(),
            self.failed(),
            self.errors()
        );
    }

    /// Lines that the scenario logged with this first word, in order.
    pub fn lines(&self, verb: &str) -> Vec<Line> {
        read_lines(&self.place, verb)
    }

    /// How many lines there are with this first word.
    pub fn logged(&self, verb: &str) -> usize {
        self.log()
            .lines()
            .filter(|line| line.split(' ').next() == Some(verb))
            .count()
    }

    /// Every message sent and received, when kept.
    pub fn messages(&self) -> String {
        std::fs::read_to_string(self.place.join("messages")).unwrap_or_default()
    }

    /// First lines of messages that a [`Sipp::steady`] dropped, and how many of each.
    pub fn dropped(&self) -> BTreeMap<String, usize> {
        let errors = std::fs::read(self.place.join("errors")).unwrap_or_default();
        let errors = String::from_utf8_lossy(&errors);
        let mut counts = BTreeMap::new();
        for told in errors
            .split("Continuing call on unexpected message")
            .skip(1)
        {
            let said = told.split_once("received '").map_or("", |(_, said)| said);
            let first = said.lines().next().unwrap_or_default();
            // A request's method, a response's status.
            let words = if first.starts_with("SIP/") { 2 } else { 1 };
            let what = first.split(' ').take(words).collect::<Vec<_>>().join(" ");
            *counts.entry(what).or_default() += 1;
        }
        counts
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.place.join("log")).unwrap_or_default()
    }

    /// SIPp's complaints, shortened.
    pub fn errors(&self) -> String {
        let text = std::fs::read_to_string(self.place.join("errors")).unwrap_or_default();
        text.chars().take(3000).collect()
    }
}

fn read_lines(place: &Path, verb: &str) -> Vec<Line> {
    let log = std::fs::read_to_string(place.join("log")).unwrap_or_default();
    log.lines()
        .filter_map(|line| read_line(line, verb))
        .collect()
}

/// SIPp prints all its variables as floating numbers, seconds and microseconds too, and nothing at all for a 0.
fn read_line(line: &str, verb: &str) -> Option<Line> {
    let mut words = line.split(' ');
    if words.next() != Some(verb) {
        return None;
    }
    let secs: f64 = words.next()?.parse().ok()?;
    let micros: f64 = match words.next()? {
        "" => 0.0,
        micros => micros.parse().ok()?,
    };
    Some(Line {
        at: secs + micros / 1e6,
        words: words.map(str::to_owned).collect(),
    })
}

/// `count` pairs of caller and callee, all different, counted up from `caller` and `callee`.
pub fn numbers(caller: u64, callee: u64, count: usize) -> Vec<(String, String)> {
    (0..count as u64)
        .map(|n| ((caller + n).to_string(), (callee + n).to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logged_line_reads_back_with_its_time() {
        let line = read_line(
            "ANSWERED 1795299910.000000 812922.000000 13900000001 13800000001",
            "ANSWERED",
        );
        let line = line.expect("a whole line");
        assert!((line.at - 1_795_299_910.812_922).abs() < 1e-5);
        assert_eq!(
            (line.caller(), line.callee()),
            ("13900000001", "13800000001")
        );
        assert_eq!(read_line("SENT 1 2 3 4", "ANSWERED"), None);
        let sharp =
            read_line("ENDED 1795379075.000000  139 138 200", "ENDED").expect("a whole line");
        assert_eq!(
            (sharp.at, sharp.words[2].as_str()),
            (1_795_379_075.0, "200")
        );
    }

    /// The scenarios themselves, customer straight to phone: they agree, and SIPp is what we think it is.
    #[test]
    fn customer_and_phone_agree_without_a_switch_between() {
        let dir = tempfile::tempdir().expect("a directory");
        let port = crate::switch::free_port();
        let phone = Sipp::phone("phone", port)
            .pause(50)
            .keep_messages()
            .start(dir.path());
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        let own = crate::switch::free_port();
        let customer = Sipp::customer(
            "customer",
            own,
            to,
            numbers(13_900_000_001, 13_800_000_001, 20),
        )
        .rate(20, 1000)
        .pause(200)
        .start(dir.path());
        let customer = customer.finish(Duration::from_secs(20));
        customer.all_good(20);
        let phone = phone.stop();
        assert_eq!(phone.logged("ANSWER"), 20, "{}", phone.errors());
        assert_eq!(customer.lines("ANSWERED").len(), 20);
        assert_eq!(phone.lines("INVITE")[0].caller(), "13900000001");
        assert!(phone.messages().contains("INVITE sip:13800000001@"));
    }

    #[test]
    fn a_call_by_hand_is_timed() {
        let dir = tempfile::tempdir().expect("a directory");
        let port = crate::switch::free_port();
        let phone = Sipp::phone("phone", port).pause(30).start(dir.path());
        let wire = crate::wire::Wire::udp(SocketAddr::from(([127, 0, 0, 1], port)));
        for callee in ["13800000001", "13800000002"] {
            let timing = wire.place_call(callee).expect("the phone answers");
            assert!(
                timing.ringing < timing.answered && timing.answered >= Duration::from_millis(30)
            );
        }
        assert_eq!(phone.stop().lines("INVITE")[1].callee(), "13800000002");
    }
}
