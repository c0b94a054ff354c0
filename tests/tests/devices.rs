//! Devices: a name that is taken, a node that is stopped and wakes up, settings that act at once, a node whose state was
//! damaged.

use serde_json::json;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tandem_tests::switch::binary;
use tandem_tests::{Switch, eventually, process};

fn node_dir(switch: &Switch, node: u8) -> PathBuf {
    switch.dir().join(format!("data/n{node}"))
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_second_node_with_a_name_that_is_taken_ends_with_its_own_exit_code() {
    let mut switch = Switch::start();
    switch.kill(3);
    let file = node_dir(&switch, 3).join("node.toml");
    let text = std::fs::read_to_string(&file).expect("a node file");
    let taken = file.with_file_name("taken.toml");
    std::fs::write(&taken, text.replace("\"dev-3\"", "\"dev-1\"")).expect("a node file");
    let output = Command::new(binary())
        .args(["serve", "--config"])
        .arg(&taken)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .expect("the binary is there");
    let errors = errors(&output);
    assert_eq!(output.status.code(), Some(4), "{errors}");
    let last = errors.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("tandem: access name `dev-1` is held by the node at 127.0.0.1:"),
        "{errors}"
    );
    // Nothing has happened to the holder, and under its own name the node is welcome.
    switch.wait_ready(1);
    switch.restart(3);
    switch.states_agree(Duration::from_secs(10));
}

#[test]
fn a_node_that_was_stopped_is_told_of_at_once_changes_nothing_and_joins_again() {
    let switch = Switch::start();
    let asks = 1 + switch.leader() % 3;
    let stopped = 1 + asks % 3;
    let name = format!("dev-{stopped}");
    let pid = switch.pid(stopped);
    assert!(process::signal(pid, "STOP"));
    let began = Instant::now();
    let output = switch.client(asks, &["device", "info", &name]);
    let took = began.elapsed();
    assert_eq!(output.status.code(), Some(6), "{}", errors(&output));
    assert!(
        errors(&output).contains(&format!("device `{name}` does not answer")),
        "{}",
        errors(&output)
    );
    assert!(took < Duration::from_secs(1), "{took:?}");

    let alive = |wanted: bool| {
        eventually("the lease told of", Duration::from_secs(15), || {
            let device = switch.api(asks).find("devices", "access_name", &name);
            match device["alive"] == json!(wanted) {
                true => Ok(()),
                false => Err(device.to_string()),
            }
        });
    };
    alive(false);
    std::thread::sleep(Duration::from_secs(2));
    assert!(process::signal(pid, "CONT"));
    alive(true);
    switch.wait_ready(stopped);
    switch.states_agree(Duration::from_secs(10));
}

/// What node n answers to OPTIONS.
fn options(switch: &Switch, node: u8) -> Result<String, String> {
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .map_err(|e| e.to_string())?;
    let (own, to) = (socket.local_addr().expect("is bound"), switch.sip(node));
    let id = own.port();
    let text = format!(
        "OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{id}\r\nMax-Forwards: 9\r\n\
         From: <sip:{own}>;tag=1\r\nTo: <sip:{to}>\r\nCall-ID: {id}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    socket
        .send_to(text.as_bytes(), to)
        .map_err(|e| e.to_string())?;
    let mut answer = [0; 2_000];
    let length = socket.recv(&mut answer).map_err(|e| e.to_string())?;
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

#[test]
fn settings_act_at_once_and_wrong_ones_are_refused() {
    let switch = Switch::start();
    let answers = |status: &str| {
        eventually(status, Duration::from_secs(3), || {
            let line = options(&switch, 2)?;
            match line.starts_with(&format!("SIP/2.0 {status}")) {
                true => Ok(()),
                false => Err(line),
            }
        });
    };
    answers("200");
    switch.cli(
        1,
        &["device", "set", "dev-2", "calls_max=0", "log_level=debug"],
    );
    answers("503");
    switch.cli(3, &["device", "set", "dev-2", "calls_max=", "log_level="]);
    answers("200");
    for (setting, says) in [
        ("colour=red", "there is no such setting"),
        ("calls_per_s=0", "must be 1 to 100000"),
    ] {
        let output = switch.client(1, &["device", "set", "dev-2", setting]);
        assert_eq!(output.status.code(), Some(4), "{}", errors(&output));
        assert!(errors(&output).contains(says), "{}", errors(&output));
    }
}

/// CRC-32 as zlib has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// Changes a text in the newest snapshot in `dir` so that nobody sees it: the checksum fits.
fn damage(dir: &Path, from: &str, to: &str) {
    let files = std::fs::read_dir(dir).expect("a directory");
    let files = files.map(|file| file.expect("a file").path());
    let newest = files
        .filter(|path| path.extension().is_some_and(|ext| ext == "snap"))
        .max();
    let path = newest.expect("a snapshot");
    let mut bytes = std::fs::read(&path).expect("is read");
    // [magic 8][length u32][crc u32] header, state, [length u64][crc u32] of it.
    let header = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes")) as usize;
    let (start, end) = (16 + header, bytes.len() - 12);
    let state = &mut bytes[start..end];
    let mut found = 0;
    for at in 0..state.len() - from.len() {
        if state[at..].starts_with(from.as_bytes()) {
            state[at..at + to.len()].copy_from_slice(to.as_bytes());
            found += 1;
        }
    }
    assert!(found > 0, "`{from}` is not in the snapshot");
    let crc = crc32(state);
    bytes[end + 8..].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, bytes).expect("is written");
}

#[test]
fn a_node_whose_state_was_damaged_is_found_and_repaired() {
    let mut switch = Switch::start();
    let victim = 1 + switch.leader() % 3;
    let other = 1 + victim % 3;
    let name = format!("dev-{victim}");
    let account = switch.api(1).find("accounts", "account", "c1");
    switch
        .api(1)
        .change("accounts", &account, json!({"memo": "sound-memo"}));
    let equal = switch.cli(other, &["device", "sync", &name]);
    assert!(equal.contains("a-numbers"), "{equal}");
    switch.cli(1, &["cluster", "snapshot"]);
    switch.kill(victim);
    damage(
        &node_dir(&switch, victim).join("data/raft/snapshots"),
        "sound-memo",
        "wrong-memo",
    );
    switch.restart(victim);

    let output = switch.client(other, &["device", "sync", &name, "--check", "-o", "jsonl"]);
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    let rows = String::from_utf8_lossy(&output.stdout).into_owned();
    let differ: Vec<&str> = rows
        .lines()
        .filter(|row| row.contains("\"equal\":false"))
        .collect();
    assert!(
        differ.iter().any(|row| row.contains("\"accounts\"")),
        "{rows}"
    );
    let output = switch.client(other, &["device", "sync", &name]);
    assert!(output.status.success(), "{}", errors(&output));
    assert!(
        errors(&output).contains("is repaired"),
        "{}",
        errors(&output)
    );
    switch.cli(victim, &["device", "sync", &name, "--check"]);
    switch.states_agree(Duration::from_secs(10));
    // What it starts from is sound as well.
    switch.kill(victim);
    switch.restart(victim);
    switch.cli(other, &["device", "sync", &name, "--check"]);
}
