//! The cluster's level: raised once, held by operators, and what the state's bytes are at each.

use crate::world::*;
use tandem_cluster::codec;
use tandem_cluster::command::*;
use tandem_cluster::level::Level;
use tandem_cluster::state::State;

fn raise(w: &mut World, level: Level) -> Reply {
    w.apply(Command::Raise(Raise {
        level,
        members: vec![(1, 2), (2, 2), (7, 3)],
    }))
}

fn claim_at(w: &mut World, name: &str, node: u64, level: Level) -> Reply {
    w.apply(Command::ClaimAt(ClaimAt {
        claim: Claim {
            access_name: name.into(),
            node,
            boot: 5,
            address: "10.0.0.1:80".into(),
            version: "1".into(),
            lease_ms: 3_000,
        },
        level,
    }))
}

fn bytes(state: &State) -> Vec<u8> {
    codec::encode(state).expect("encodes")
}

#[test]
fn a_level_rises_once_and_never_falls() {
    let mut w = World::empty();
    assert_eq!((w.state.level(), w.state.spoken(1)), (1, None));
    assert_eq!(raise(&mut w, 2), Reply::Done);
    assert_eq!((w.state.level(), w.state.spoken(7)), (2, Some(3)));
    let raised = w.state.hash();
    for level in [1, 2] {
        assert_eq!(raise(&mut w, level), Reply::Done);
        assert_eq!((w.state.level(), w.state.hash()), (2, raised));
    }
    let line = w.state.audit().last().expect("a line").clone();
    assert_eq!(line.actor, "leader");
}

#[test]
fn an_operator_holds_the_level() {
    let mut w = World::empty();
    let hold = |hold| Command::HoldLevel {
        hold,
        actor: "ada".into(),
    };
    w.apply(hold(true));
    let lines = w.state.audit().count();
    w.apply(hold(true));
    assert_eq!(w.state.audit().count(), lines, "said twice, written once");
    assert!(w.state.levels().held);
    assert_eq!(raise(&mut w, 2), Reply::Refused(Refusal::LevelHeld));
    assert_eq!(w.state.level(), 1);
    w.apply(hold(false));
    assert_eq!(raise(&mut w, 2), Reply::Done);
}

#[test]
fn a_claim_says_what_its_node_speaks_and_one_that_speaks_too_little_is_refused() {
    let mut w = World::empty();
    // Below the level it is a claim like any other.
    assert!(matches!(
        claim_at(&mut w, "n3", 3, 2),
        Reply::Claimed { .. }
    ));
    assert_eq!(w.state.spoken(3), None);
    raise(&mut w, 2);
    assert_eq!(
        claim_at(&mut w, "n2", 2, 1),
        Reply::Refused(Refusal::LevelTooLow { active: 2 })
    );
    assert!(w.state.device("n2").is_none());
    assert!(matches!(
        claim_at(&mut w, "n2", 2, 3),
        Reply::Claimed { .. }
    ));
    assert_eq!(w.state.spoken(2), Some(3));
    assert_eq!(w.state.spoken(7), None, "no device is node 7's");
}

#[test]
fn the_bytes_of_a_state_begin_with_its_level_and_hold_nothing_of_a_later_one() {
    let mut w = World::empty();
    let first = bytes(&w.state);
    assert_eq!(first[0], 1);
    let before = w.state.clone();
    let tables = before.tables().len();
    raise(&mut w, 2);
    let second = bytes(&w.state);
    assert_eq!(second[0], 2);
    assert_eq!(w.state.tables().len(), tables + 1);
    for (bytes, state) in [(&first, &before), (&second, &w.state)] {
        let read: State = codec::decode(bytes).expect("decodes");
        assert_eq!((&read, read.hash()), (state, state.hash()));
        read.check().expect("is sound");
    }
}

#[test]
fn a_state_of_another_level_is_told_from_damage() {
    let mut w = World::empty();
    raise(&mut w, 2);
    for (level, said) in [
        (0, "state is of level 0, this release reads 1 to 2"),
        (3, "state is of level 3, this release reads 1 to 2"),
    ] {
        let mut bytes = bytes(&w.state);
        bytes[0] = level;
        let error = codec::decode::<State>(&bytes).expect_err("is refused");
        let source = std::error::Error::source(&error).map(ToString::to_string);
        assert!(source.is_some_and(|text| text.contains(said)));
    }
}
