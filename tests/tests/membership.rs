//! Nodes come and go, and the state outlives them all.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tandem_tests::api::Api;
use tandem_tests::checks::nothing_left;
use tandem_tests::sipp::numbers;
use tandem_tests::switch::{NODES, binary, free_port};
use tandem_tests::{Sipp, Switch, eventually, process};

/// A node of its own, killed when it is dropped.
struct Alone(Child);

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

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

#[test]
fn a_backup_of_calls_in_progress_begins_a_cluster_without_them() {
    let switch = Switch::start();
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let talking = Sipp::customer(
        "customer",
        switch.own_port(),
        switch.sip(2),
        numbers(15_900_000_001, 13_800_000_001, 3),
    );
    let talking = talking.pause(6_000).start(switch.dir());
    eventually("three calls", Duration::from_secs(10), || {
        match switch.api(2).try_status()?["answered_calls"].as_u64() {
            Some(3) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let file = switch.dir().join("live.backup");
    let path = file.to_str().expect("a path in words");
    switch.cli(3, &["backup", "--records", path]);

    let dir = switch.dir().join("alone");
    std::fs::create_dir(&dir).expect("is made");
    std::fs::write(dir.join("token"), "alone").expect("is written");
    let at = |port: u16| format!("127.0.0.1:{port}");
    let (sip, links, admin) = (at(free_port()), at(free_port()), at(free_port()));
    let config = format!(
        "[node]\nid = 7\naccess_name = \"alone\"\ndata_dir = \"{0}/data\"\n[sip]\nudp = [\"{sip}\"]\n[cluster]\n\
         id = \"other\"\nlisten = \"{links}\"\npeers = [{{ id = 7, address = \"{links}\" }}]\n[admin]\n\
         listen = \"{admin}\"\ntoken_file = \"{0}/token\"\n",
        dir.display()
    );
    let node = dir.join("node.toml");
    std::fs::write(&node, config).expect("is written");
    let restore = || {
        let mut command = Command::new(binary());
        command.args(["restore", path, "--config"]).arg(&node);
        command.output().expect("the binary is there")
    };
    let done = restore();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    assert_eq!(restore().status.code(), Some(4), "once is enough");
    let alone = Command::new(binary())
        .args(["serve", "--config"])
        .arg(&node)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary is there");
    let _alone = Alone(alone);
    let admin: SocketAddr = admin.parse().expect("an address");
    let api = Api::new(admin, "alone");
    eventually(
        "the new cluster has its records",
        Duration::from_secs(20),
        || {
            let cdrs = api
                .try_call("GET", "cdrs?end_reason=node_failure", None)?
                .body;
            match cdrs.matches("\"flow_no\"").count() {
                3 => Ok(()),
                _ => Err(cdrs),
            }
        },
    );
    assert_eq!(api.try_status().expect("answers")["answered_calls"], 0);
    assert!(
        api.get("calls")["items"]
            .as_array()
            .expect("a list")
            .is_empty()
    );

    // The old one has not noticed.
    talking.finish(Duration::from_secs(20)).all_good(3);
    drop(phone);
    nothing_left(&switch, Duration::from_secs(20));
}

/// Where the links of a node are reached, as node `asked` knows it.
fn address_of(switch: &Switch, asked: u8, node: u8) -> String {
    let cluster = switch.cluster(asked);
    let members = cluster["members"].as_array().expect("a list");
    let member = members.iter().find(|member| member["node"] == node);
    let address = member.and_then(|member| member["address"].as_str());
    address.unwrap_or_else(|| panic!("{cluster}")).to_owned()
}

#[test]
fn a_node_that_comes_up_at_another_address_is_reached_there_and_calls_go_on() {
    let mut switch = Switch::start();
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let leader = switch.leader();
    let (node, other) = (leader % NODES + 1, (leader + 1) % NODES + 1);
    let (name, old) = (format!("dev-{node}"), switch.links(node).to_string());
    let new = format!("127.0.0.1:{}", free_port());
    let talking = Sipp::customer(
        "customer",
        switch.own_port(),
        switch.sip(other),
        numbers(15_900_000_001, 13_800_000_001, 5),
    );
    let talking = talking.pause(10_000).start(switch.dir());
    let answered = |wanted: usize| match talking.lines("ANSWERED").len() {
        some if some == wanted => Ok(()),
        some => Err(format!("{some} of {wanted}")),
    };
    eventually("five calls", Duration::from_secs(10), || answered(5));

    let moved = |to: &str| switch.client(other, &["cluster", "move", &name, "--address", to]);
    let refused = |to: &str, why: &str| {
        let output = moved(to);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains(why), "{said}");
        assert_eq!(address_of(&switch, other, node), old);
    };
    refused(&new, "does not answer at");
    let taken = switch.links(other).to_string();
    refused(&taken, "is that of node");

    let pid = switch.pid(node);
    assert!(process::signal(pid, "TERM"), "node {node} ran");
    assert!(process::gone(pid, Duration::from_secs(20)), "it stops");
    let listen = |at: &str| format!("listen = \"{at}\"");
    switch.change_config(node, &listen(&old), &listen(&new));
    switch.start_node(node);
    // It answers there as soon as it has started.
    eventually("it is moved", Duration::from_secs(20), || {
        let output = switch.client(other, &["cluster", "move", &name, "--address", &new]);
        match output.status.code() {
            Some(0) => Ok(()),
            _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    });
    switch.wait_ready(node);
    for asked in 1..=NODES {
        eventually(
            "all know where it is",
            Duration::from_secs(5),
            || match address_of(&switch, asked, node) {
                address if address == new => Ok(()),
                address => Err(format!("node {asked}: {address}")),
            },
        );
    }
    // Said again, nothing changes.
    switch.cli(node, &["cluster", "move", &name, "--address", &new]);
    calls(&switch, node, 100);
    talking.finish(Duration::from_secs(20)).all_good(5);
    // An end that was not replicated yet would die with its node, and the far ends have gone.
    nothing_left(&switch, Duration::from_secs(20));

    // The others' files still tell of the old address.
    switch.kill(other);
    switch.restart(other);
    let leader = switch.leader();
    let rest: Vec<u8> = (1..=NODES).filter(|node| *node != leader).collect();
    switch.kill(leader);
    eventually("another one leads", Duration::from_secs(10), || {
        let cluster = switch.cluster(rest[0]);
        match cluster["leader"].as_str() {
            Some(name) if name != format!("dev-{leader}") => Ok(()),
            _ => Err(cluster.to_string()),
        }
    });
    for through in rest {
        switch.wait_ready(through);
        calls(&switch, through, 200 + 100 * u64::from(through));
    }
    switch.restart(leader);
    drop(phone);
    nothing_left(&switch, Duration::from_secs(20));
}
