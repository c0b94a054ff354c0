//! Nodes as processes of their own, killed with SIGKILL in the middle of work.

mod nodes;

use nodes::{Node, Note, Notes};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tandem_cluster::handle::{Config, Role};

const ENV: &str = "TANDEM_TEST_NODE";

/// No test: a node's process, started by the one below. Takes lines: an id to note, or `status`.
#[test]
fn node_process() {
    let Ok(args) = std::env::var(ENV) else { return };
    let mut args = args.split(' ');
    let id: u64 = args.next().expect("id").parse().expect("number");
    let dir = args.next().expect("directory").to_owned();
    let addresses: Vec<String> = args.map(str::to_owned).collect();
    let listen = addresses[id as usize - 1].parse().expect("address");
    let members = nodes::members(&addresses);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime.expect("runtime").block_on(async {
        let mut config = Config::new(id, "kill", &dir, listen, members);
        nodes::small_snapshots(&mut config);
        let node = Node::open(config, Arc::new(())).await.expect("starts");
        say("up".into());
        let (lines, mut queue) = tokio::sync::mpsc::channel(1000);
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if lines.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        while let Some(line) = queue.recv().await {
            if line == "status" {
                let state: Arc<Notes> = node.state();
                let role = if node.standing().borrow().role == Role::Leader {
                    "leader"
                } else {
                    "other"
                };
                let status = node.status();
                say(format!(
                    "status {role} {} {} {}",
                    status.applied,
                    state.order.len(),
                    state.mix
                ));
                continue;
            }
            let (node, id) = (node.clone(), line.parse().expect("number"));
            tokio::spawn(async move {
                if node.propose(Note::new(id)).await.is_ok() {
                    say(format!("done {id}"));
                }
            });
        }
    });
}

/// The test harness's own output shares this stream; ours starts with a mark.
fn say(text: String) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n@{text}")
        .and_then(|()| out.flush())
        .expect("parent reads");
}

struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    fn start(id: usize, dir: &Path, addresses: &[String]) -> Process {
        let mut child = Command::new(std::env::current_exe().expect("is known"))
            .args(["node_process", "--exact", "--nocapture"])
            .env(
                ENV,
                format!("{id} {} {}", dir.display(), addresses.join(" ")),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let out = BufReader::new(child.stdout.take().expect("is piped"));
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if let Some(text) = line.strip_prefix('@')
                    && send.send(text.to_owned()).is_err()
                {
                    return;
                }
            }
        });
        let process = Process { child, lines };
        assert_eq!(process.line(), "up");
        process
    }

    fn line(&self) -> String {
        self.lines
            .recv_timeout(Duration::from_secs(20))
            .expect("process answers")
    }

    fn say(&mut self, text: &str) {
        writeln!(self.child.stdin.as_mut().expect("is piped"), "{text}").expect("process reads");
    }

    fn propose(&mut self, id: u64) {
        self.say(&id.to_string());
        assert_eq!(self.line(), format!("done {id}"));
    }

    /// Role, entries applied, ids noted, and the mix of all seeds.
    fn status(&mut self) -> (bool, u64, u64, u64) {
        self.say("status");
        let line = self.line();
        let mut parts = line.split(' ').skip(1);
        let leader = parts.next() == Some("leader");
        let mut number = || parts.next().expect("number").parse().expect("number");
        (leader, number(), number(), number())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL: nothing is flushed, nobody is told.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn nodes_killed_at_work_lose_nothing() {
    let addresses = nodes::free_addresses(3);
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let dirs: Vec<_> = (0..3)
        .map(|_| tempfile::tempdir().expect("temporary directory"))
        .collect();
    let start = |at: usize| Process::start(at + 1, dirs[at].path(), &addresses);
    let mut processes: Vec<Option<Process>> = (0..3).map(|at| Some(start(at))).collect();
    let mut noted = 0;
    let mut propose = |process: &mut Process| {
        process.propose(noted);
        noted += 1;
    };
    let mut gaps = Vec::new();
    for round in 0..6 {
        for at in 0..30 {
            propose(processes[at % 3].as_mut().expect("is up"));
        }
        let is_leader = |process: &mut Option<Process>| {
            process.as_mut().is_some_and(|process| process.status().0)
        };
        let leader = processes
            .iter_mut()
            .position(is_leader)
            .expect("there is one");
        // Leader and followers in turn.
        let victim = (leader + round % 2) % 3;
        processes[victim] = None;
        let begun = Instant::now();
        for at in 0..60 {
            let process = processes[(victim + 1 + at % 2) % 3]
                .as_mut()
                .expect("is up");
            propose(process);
            if at == 0 {
                gaps.push((victim == leader, begun.elapsed()));
            }
        }
        processes[victim] = Some(start(victim));
    }
    // All at once, with the log's last word unsaid.
    processes.iter_mut().for_each(|process| *process = None);
    processes = (0..3).map(|at| Some(start(at))).collect();
    let mut propose = |process: &mut Process| {
        process.propose(noted);
        noted += 1;
    };
    propose(processes[0].as_mut().expect("is up"));
    println!("(leader killed, time to the next commit): {gaps:?}");
    for (leader, gap) in gaps {
        let limit = if leader { 3000 } else { 1000 };
        assert!(
            gap < Duration::from_millis(limit),
            "{gap:?} without a commit"
        );
    }
    let begun = Instant::now();
    loop {
        let all: Vec<_> = processes
            .iter_mut()
            .flatten()
            .map(Process::status)
            .collect();
        if all.iter().all(|(_, applied, ..)| *applied == all[0].1) && all[0].2 == noted {
            assert!(
                all.iter()
                    .all(|(_, _, count, mix)| (*count, *mix) == (all[0].2, all[0].3)),
                "{all:?}"
            );
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{all:?}, {noted} noted"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
