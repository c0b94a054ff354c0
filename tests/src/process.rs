//! Processes as the kernel shows them: who descends from whom, processor time, resident memory, signals.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ticks a second of `/proc/<pid>/stat`; fixed at 100 for user space on Linux.
const TICKS_PER_SEC: u64 = 100;

/// A child that does not outlive its owner, whatever ends the test.
#[derive(Debug)]
pub struct Guarded(pub Child);

impl Guarded {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            signal(self.0.id(), "KILL");
            // It must be reaped; nothing is to be learnt from how it died.
            let _ = self.0.wait();
        }
    }
}

/// Sends a signal by name (`KILL`, `INT`, `USR1` …). False when there is no such process.
pub fn signal(pid: u32, name: &str) -> bool {
    // The shell's own `kill`: a bare Debian has no separate program for it.
    Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Whether the process runs (a zombie does not).
pub fn alive(pid: u32) -> bool {
    // A killed process is a zombie as soon as its first thread has ended; the others keep its ports until they have.
    let threads = || std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    stat(pid).is_some_and(|fields| fields[0] != "Z" || threads() > 1)
}

/// Waits until the process is gone; false when it is still there after `limit`.
pub fn gone(pid: u32, limit: Duration) -> bool {
    let began = Instant::now();
    while alive(pid) {
        if began.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// All processes there are.
fn pids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// All processes that descend from `root`, without it.
pub fn descendants(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for pid in pids() {
        if let Some(parent) = stat(pid).and_then(|fields| fields.get(1)?.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        let own = children.remove(&pid).unwrap_or_default();
        found.extend(&own);
        next.extend(own);
    }
    found
}

/// All processes that work in a directory or have it in their command line.
pub fn working_on(dir: &Path) -> Vec<u32> {
    let names = dir.as_os_str().as_encoded_bytes();
    let on = |pid: &u32| {
        let there = std::fs::read_link(format!("/proc/{pid}/cwd"));
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        there.is_ok_and(|there| there.starts_with(dir))
            || line.windows(names.len()).any(|part| part == names)
    };
    pids().filter(on).collect()
}

/// User and system time that the process has used, all threads.
pub fn cpu(pid: u32) -> Duration {
    let ticks = stat(pid).and_then(|fields| {
        let user: u64 = fields.get(11)?.parse().ok()?;
        let system: u64 = fields.get(12)?.parse().ok()?;
        Some(user + system)
    });
    Duration::from_millis(ticks.unwrap_or(0) * 1000 / TICKS_PER_SEC)
}

/// Resident memory in bytes.
pub fn rss(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

/// The processor's name, for tables of measurements.
pub fn cpu_model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = info
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    format!("{}, {cores} cores", name.unwrap_or("unknown processor"))
}

/// Fields of `/proc/<pid>/stat` from the state on; the name before it may hold blanks and brackets.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = &text[text.rfind(')')? + 1..];
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_seen_used_and_gone() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 60 & wait"])
            .spawn()
            .expect("sh starts");
        crate::eventually("the grandchild", Duration::from_secs(5), || {
            if descendants(child.id()).len() == 1 {
                Ok(())
            } else {
                Err("not yet".into())
            }
        });
        assert!(alive(child.id()) && rss(child.id()) > 0);
        for pid in descendants(child.id()) {
            assert!(signal(pid, "KILL"));
        }
        assert!(signal(child.id(), "KILL") || !alive(child.id()));
        child.wait().expect("it is our child");
        assert!(gone(child.id(), Duration::from_secs(1)));
    }
}
