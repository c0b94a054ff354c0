//! The outbox, snapshots and hashes.

use crate::world::*;
use std::collections::BTreeSet;
use tandem_cluster::command::*;
use tandem_cluster::state::State;
use tandem_cluster::state::testing::PerPeriod;

fn calls(w: &mut World, rows: Rows, count: u64) {
    for _ in 0..count {
        let (call, _) = w.reserve(rows.mapping, "1", "138");
        w.end(call);
        w.unbound(call.0 & 0xffff_ffff, false);
        w.wait(2_000);
    }
}

#[test]
fn records_leave_when_every_voter_has_them() {
    let (mut w, rows) = World::usual(1, 1);
    w.state.set_voters(BTreeSet::from([1, 2, 3]));
    calls(&mut w, rows, 5);
    assert_eq!((w.state.outbox_len(), w.state.outbox_last()), (5, 5));
    for (node, upto, left) in [
        (1, 5, 5),
        (2, 3, 5),
        (3, 4, 2),
        (3, 2, 2),
        (2, 99, 1),
        (9, 5, 1),
        (3, 5, 0),
    ] {
        assert_eq!(w.apply(Command::Stored { node, upto }), Reply::Done);
        assert_eq!(w.state.outbox_len(), left, "{node} has {upto}");
    }
    calls(&mut w, rows, 2);
    let numbers: Vec<u64> = w
        .state
        .outbox_from(0, 99)
        .iter()
        .map(|(number, _)| *number)
        .collect();
    assert_eq!(numbers, [6, 7], "numbers go on");
    assert_eq!(w.state.outbox_from(7, 99).len(), 1);
    assert_eq!(w.state.outbox_from(0, 1).len(), 1);
    w.apply(Command::Stored { node: 1, upto: 7 });
    w.state.set_voters(BTreeSet::from([1]));
    assert_eq!(
        w.state.outbox_len(),
        0,
        "who left the cluster holds nothing back"
    );
}

fn copy(state: &State) -> State {
    let bytes = bincode::serde::encode_to_vec(state, bincode::config::standard()).expect("encodes");
    bincode::serde::decode_from_slice(&bytes, bincode::config::standard())
        .expect("decodes")
        .0
}

#[test]
fn state_survives_its_snapshot_with_every_future_choice() {
    let (mut w, rows) = World::usual(30, 30);
    let mut open = Vec::new();
    for n in 0..20 {
        let (call, attempt) = w.reserved(rows.mapping, "1", &format!("138{n}"));
        open.push(call);
        if n % 3 == 0 {
            w.end(call);
            w.unbound(attempt.lease.expect("AXB").binding, false);
        }
    }
    let mut restored = copy(&w.state);
    assert_eq!(restored, w.state);
    assert_eq!(restored.hash(), w.state.hash());
    restored.check().expect("the index is rebuilt");
    for n in 0..10 {
        let ask = Command::Reserve(w.ask(rows.mapping, "1", &format!("139{n}")));
        let theirs = restored.apply(
            w.now,
            w.seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1),
            &ask,
            &PerPeriod,
        );
        assert_eq!(w.apply(ask), theirs.0);
        assert_eq!(w.effects, theirs.1);
    }
    assert_eq!(restored.hash(), w.state.hash());
}

#[test]
fn hash_tells_states_apart() {
    let (mut w, rows) = World::usual(3, 3);
    let mut hashes = BTreeSet::from([State::new().hash(), w.state.hash()]);
    for n in 0..3 {
        w.reserved(rows.mapping, "1", &format!("138{n}"));
        hashes.insert(w.state.hash());
    }
    assert_eq!(hashes.len(), 5);
}

#[test]
fn a_reader_keeps_the_state_it_took() {
    let (mut w, rows) = World::usual(3, 3);
    let before = w.state.clone();
    w.reserved(rows.mapping, "1", "138");
    assert_eq!((before.counts().calls, w.state.counts().calls), (0, 1));
    before.check().expect("untouched");
}

/// Nodes of different builds must choose and encode alike. When a change is meant, both sides of a rolling upgrade
/// need a feature level; then the figure here changes with it.
#[test]
fn a_fixed_history_has_its_known_hash() {
    let (mut w, rows) = World::usual(20, 20);
    w.change_interface(rows.interface, |i| i.unbind_delay_secs = Some(0));
    for n in 0..30 {
        let (call, reply) = w.reserve(rows.mapping, "05718512345", &format!("138{n}"));
        if let Reply::Reserved(attempt) = reply {
            let lease = attempt.lease.expect("AXB");
            w.bound(&lease);
            w.answered(call);
            if n % 2 == 0 {
                w.unbound(lease.binding, n % 4 == 0);
            }
        }
        w.wait(700);
        if n % 3 == 0 {
            w.end(call);
        }
    }
    assert_eq!(format!("{:016x}", w.state.hash()), KNOWN);
}

const KNOWN: &str = "1e5518d4a2eea7ab";

#[test]
fn tags_of_commands_and_refusals_never_move() {
    let config = bincode::config::standard();
    let tag =
        |command: &Command| bincode::serde::encode_to_vec(command, config).expect("encodes")[0];
    let actor = String::new;
    for (expected, command) in [
        (
            7,
            Command::End(End {
                call: CallId::new(1, 1),
                epoch: 1,
                ended_at: 0,
                answered_at: None,
                pdd_ms: None,
                codec: String::new(),
                reason: EndReason {
                    key: String::new(),
                    sip: None,
                    q850: None,
                },
                by: EndedBy::Server,
            }),
        ),
        (9, Command::KeepAlive { epoch: 1 }),
        (10, Command::Resign { epoch: 1 }),
        (11, Command::NodeDown { epoch: 1 }),
        (15, Command::Stored { node: 1, upto: 1 }),
        (
            16,
            Command::AskUnbind {
                binding: 1,
                actor: actor(),
            },
        ),
        (
            17,
            Command::ForceUnbind {
                binding: 1,
                actor: actor(),
            },
        ),
        (
            19,
            Command::InterfaceError {
                interface: 1,
                text: String::new(),
            },
        ),
        (26, Command::PlatformEvents { events: Vec::new() }),
        (
            27,
            Command::NoteMember {
                node: 4,
                deed: MemberDeed::Add,
                detail: String::new(),
                actor: String::new(),
            },
        ),
    ] {
        assert_eq!(tag(&command), expected, "{command:?}");
    }
    for (expected, refusal) in [
        (0, Refusal::StaleEpoch),
        (5, Refusal::CalleeForbidden),
        (10, Refusal::NoRoute),
        (14, Refusal::AxbBindFailed),
        (18, Refusal::VersionConflict { version: 1 }),
        (21, Refusal::XNotOurs),
        (22, Refusal::OutboxFull),
    ] {
        let bytes = bincode::serde::encode_to_vec(&refusal, config).expect("encodes");
        assert_eq!(bytes[0], expected, "{refusal:?}");
    }
}
