//! Pairs taken to try an interface: held like any other, one trial at a time, cleared whatever becomes of who tries.

use crate::world::*;
use tandem_cluster::command::*;
use tandem_cluster::entity::*;
use tandem_cluster::state::{Deed, NO_CALL, Phase};

fn borrow(w: &mut World, interface: Id, change: impl FnOnce(&mut Borrow)) -> Reply {
    let mut asked = Borrow {
        epoch: w.epoch,
        interface,
        a: None,
        x: None,
        b: None,
        actor: "op".into(),
    };
    change(&mut asked);
    w.apply(Command::Borrow(asked))
}

#[track_caller]
fn lent(reply: Reply) -> Lease {
    match reply {
        Reply::Lent(lease) => lease,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn field(reply: Reply) -> String {
    match reply {
        Reply::Refused(Refusal::Invalid { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_trial_takes_a_pair_that_no_call_is_given_and_no_line_of_its_a() {
    let (mut w, rows) = World::usual(2, 1);
    let lease = lent(borrow(&mut w, rows.interface, |_| {}));
    assert_ne!(lease.a, lease.b_submitted, "both are ours");
    let row = w.binding(lease.binding);
    assert_eq!((row.call, row.phase), (NO_CALL, Phase::Unbinding));
    assert_eq!(w.state.x_use(w.x(&lease.x)), 1);
    assert_eq!(w.state.a_use(w.a(&lease.a)), 0);
    assert_eq!(w.refused(rows.mapping, "1", "138"), Refusal::NoAxbNumber);
    let last = w.state.audit().last().expect("a line");
    let (interface, binding) = (rows.interface, lease.binding);
    assert_eq!(last.deed, Deed::Trial { interface, binding });
    w.unbound(lease.binding, false);
    w.wait(2_001);
    w.reserved(rows.mapping, "1", "138");
}

#[test]
fn one_trial_of_an_interface_at_a_time() {
    let (mut w, rows) = World::usual(4, 4);
    let first = lent(borrow(&mut w, rows.interface, |_| {}));
    let second = borrow(&mut w, rows.interface, |_| {});
    assert!(
        matches!(&second, Reply::Refused(Refusal::InUse { by }) if by.ends_with(&format!("binding {}", first.binding))),
        "{second:?}"
    );
    w.unbound(first.binding, false);
    lent(borrow(&mut w, rows.interface, |_| {}));
}

#[test]
fn numbers_that_are_named_are_taken_and_others_refused() {
    let (mut w, rows) = World::usual(3, 3);
    let other = w.put(interface("other"));
    w.put(x_number(other, "18000000"));
    let named = |a: &str, x: &str, b: &str| {
        let (a, x, b) = (a.to_owned(), x.to_owned(), b.to_owned());
        move |asked: &mut Borrow| {
            asked.a = Some(a);
            asked.x = Some(x);
            asked.b = Some(b);
        }
    };
    let (a, x) = ("02100001", "17000002");
    let of = rows.interface;
    assert_eq!(field(borrow(&mut w, of, named("9", x, "138"))), "a");
    assert_eq!(field(borrow(&mut w, of, named(a, "9", "138"))), "x");
    assert_eq!(field(borrow(&mut w, of, named(a, "18000000", "138"))), "x");
    assert_eq!(field(borrow(&mut w, of, named(a, x, ""))), "b");
    let none = Reply::Refused(Refusal::NoAxbNumber);
    assert_eq!(borrow(&mut w, of, named(a, x, a)), none);
    let missing = Reply::Refused(Refusal::NotFound);
    assert_eq!(borrow(&mut w, 99, |_| {}), missing);
    let stale = Reply::Refused(Refusal::StaleEpoch);
    assert_eq!(borrow(&mut w, of, |asked| asked.epoch = 99), stale);
    let lease = lent(borrow(&mut w, of, named(a, x, "138")));
    assert_eq!((&*lease.a, &*lease.x, &*lease.b_submitted), (a, x, "138"));
}

#[test]
fn a_pair_in_use_or_at_rest_is_not_tried() {
    let (mut w, rows) = World::usual(1, 1);
    let b = |asked: &mut Borrow| asked.b = Some("138".into());
    let (call, attempt) = w.reserved(rows.mapping, "1", "139");
    let none = Reply::Refused(Refusal::NoAxbNumber);
    assert_eq!(borrow(&mut w, rows.interface, b), none);
    w.end(call);
    w.unbound(attempt.lease.expect("AXB").binding, false);
    assert_eq!(borrow(&mut w, rows.interface, b), none, "it rests");
    w.wait(2_001);
    lent(borrow(&mut w, rows.interface, b));
}

#[test]
fn a_trial_of_a_node_that_dies_is_cleared_by_another() {
    let (mut w, rows) = World::usual(2, 2);
    let lease = lent(borrow(&mut w, rows.interface, |_| {}));
    let (first, other) = (w.epoch, w.claim("n2", 2, 1));
    w.wait(10_000);
    w.apply(Command::KeepAlive { epoch: other });
    assert_eq!(w.apply(Command::NodeDown { epoch: first }), Reply::Done);
    let row = w.binding(lease.binding);
    // What became of its bind only the dead node knew.
    assert_eq!((row.owner, row.phase), (other, Phase::Orphan));
    let adopted = Effect::Adopted {
        owner: other,
        binding: lease.binding,
    };
    assert!(w.effects.contains(&adopted), "{:?}", w.effects);
}

#[test]
fn what_the_platform_says_of_a_trial_is_kept_for_its_release() {
    let (mut w, rows) = World::usual(2, 2);
    let lease = lent(borrow(&mut w, rows.interface, |_| {}));
    w.bound(&lease);
    let row = w.binding(lease.binding);
    assert_eq!(row.phase, Phase::Unbinding);
    assert!(!row.handle.is_empty() && row.bound_at.is_some());
}
