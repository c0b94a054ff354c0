//! Nodes come and go, and the state outlives them all.

use std::process::Command;
use std::time::Duration;
use tandem_tests::checks::nothing_left;
use tandem_tests::sipp::numbers;
use tandem_tests::switch::binary;
use tandem_tests::{Sipp, Switch, process};

/// Calls placed through one node.
fn calls(switch: &Switch, node: u8, from: u64) {
    let numbers = numbers(15_900_000_000 + from, 13_800_000_000 + from, 5);
    let customer = Sipp::customer("customer", switch.own_port(), switch.sip(node), numbers);
    let customer = customer.pause(500).start(switch.dir());
    customer.finish(Duration::from_secs(20)).all_good(5);
}

#[test]
fn a_node_joins_carries_calls_and_is_removed_and_a_backup_is_sound() {
    let mut switch = Switch::start();
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    calls(&switch, 1, 1);

    let address = switch.join(4).to_string();
    let add = ["cluster", "add", "--id", "4", "--address", &address];
    switch.cli(2, &add);
    switch.wait_ready(4);
    calls(&switch, 4, 100);
    nothing_left(&switch, Duration::from_secs(20));
    // It has the records of before its time as well.
    assert_eq!(switch.export(4, "cdr"), switch.export(1, "cdr"));
    assert_eq!(switch.cdrs(4).len(), 10);

    let file = switch.dir().join("all.backup");
    let path = file.to_str().expect("a path in words");
    switch.cli(3, &["backup", "--records", path]);
    let check = ["restore", "--check", path];
    let output = Command::new(binary()).args(check).output();
    let output = output.expect("the binary is there");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!said.contains(" 0 records"), "{said}");
    let mut bytes = std::fs::read(&file).expect("is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("is written");
    let output = Command::new(binary()).args(check).output();
    let output = output.expect("the binary is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("a checksum differs"), "{said}");

    let pid = switch.pid(4);
    switch.cli(1, &["cluster", "remove", "dev-4"]);
    assert!(
        process::gone(pid, Duration::from_secs(20)),
        "a removed node goes on"
    );
    let log = switch.node_log(4);
    assert!(
        log.contains("node 4 was removed from cluster `dev`"),
        "{log}"
    );
    let again = switch.client(1, &add);
    assert_eq!(again.status.code(), Some(4), "an id is given once");
    calls(&switch, 2, 200);
    drop(phone);
    nothing_left(&switch, Duration::from_secs(20));
}
