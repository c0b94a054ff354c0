//! The simulator's SIP side in AX mode: A's calls go to the callee named for its X, everybody
//! else's to A.

use std::net::SocketAddr;

use tandem_vendors::{AxBind, BindOutcome, Client, Handle, Interface, SetCalleeOutcome, Vendor};

use crate::sip_side::{A, B, Heard, World, X, in_dialog};

/// Somebody who has no part in any binding.
const C: &str = "13700000000";

fn relation() -> AxBind {
    AxBind {
        a: A.into(),
        x: X.into(),
        own_id: "1".into(),
    }
}

/// A world in which X is A's; `display` is what A sees of callers.
fn related(display: &str) -> World {
    let world = World::new();
    let interface = Interface::new(
        1,
        "ax",
        Vendor::huawei(),
        &world.sim.base_url(Vendor::huawei()),
    )
    .with("app_key", "k")
    .with("app_secret", "s")
    .with("ax_callee_num_display", display);
    let client = Client::new(&interface).unwrap();
    let outcome = World::runtime().block_on(client.ax_bind(&relation()));
    assert!(matches!(outcome, BindOutcome::Bound { .. }), "{outcome:?}");
    world
}

fn name(world: &World, b: &str) {
    let none = Handle::new();
    let relation = relation();
    let set = world.client.set_callee(&none, &relation, b);
    assert_eq!(World::runtime().block_on(set), SetCalleeOutcome::Set);
}

/// An INVITE to X from somebody.
fn invite_of(world: &World, caller: &str, branch: &str) -> String {
    world
        .invite(branch, caller)
        .replace("+862100000000", caller)
        .replace(A, caller)
}

#[test]
fn a_without_a_named_callee_is_answered_404_and_with_one_goes_through_as_x() {
    let world = related("0");
    world.switch_sends(&world.invite("z9hG4bKone", A));
    assert_eq!(world.switch_hears().start(), "SIP/2.0 404 Not Found");
    name(&world, "13900000009");
    name(&world, B);
    world.switch_sends(&world.invite("z9hG4bKtwo", A));
    let invite = world.phone_hears();
    assert_eq!(
        invite.start(),
        format!("INVITE sip:{B}@{} SIP/2.0", world.there())
    );
    assert_eq!(
        invite.one("From"),
        format!("<sip:{X}@{}>;tag=tag-of-switch", world.platform())
    );
    let calls = world.sim.calls();
    assert_eq!((calls.total, calls.incoming, calls.not_found), (1, 0, 1));
    assert_eq!(calls.foreign_identity, 0);
}

#[test]
fn a_binding_goes_before_the_callee_of_the_relation() {
    let mut world = related("0");
    name(&world, "13900000009");
    world.bind();
    world.switch_sends(&world.invite("z9hG4bKone", A));
    assert!(
        world
            .phone_hears()
            .start()
            .starts_with(&format!("INVITE sip:{B}@"))
    );
    world.unbind();
    let again = world.invite("z9hG4bKtwo", A).replace("call-1@", "call-2@");
    world.switch_sends(&again);
    assert!(
        world
            .phone_hears()
            .start()
            .starts_with("INVITE sip:13900000009@")
    );
}

#[test]
fn somebody_elses_call_to_x_rings_a_who_sees_x() {
    let world = related("0");
    world.switch_sends(&invite_of(&world, C, "z9hG4bKone"));
    let invite = Heard::from(&world.desk);
    let desk = world.desk.local_addr().unwrap();
    assert_eq!(invite.start(), format!("INVITE sip:{A}@{desk} SIP/2.0"));
    assert_eq!(
        invite.one("From"),
        format!("<sip:{X}@{}>;tag=tag-of-switch", world.platform())
    );
    assert_eq!(invite.one("To"), format!("<sip:{A}@{desk}>"));
    assert!(!invite.0.contains(C), "{}", invite.0);
    let calls = world.sim.calls();
    assert_eq!((calls.total, calls.incoming), (1, 1));
    assert_eq!(calls.foreign_identity, 0);
}

#[test]
fn a_may_be_shown_the_caller_and_a_whole_call_passes_in_both_directions() {
    let world = related("1");
    let (here, platform) = (world.here(), world.platform());
    let desk: SocketAddr = world.desk.local_addr().unwrap();
    // A callee that is named has nothing to do with calls of others.
    name(&world, B);
    world.switch_sends(&invite_of(&world, C, "z9hG4bKone"));
    let invite = Heard::from(&world.desk);
    assert_eq!(
        invite.one("From"),
        format!("<sip:{C}@{platform}>;tag=tag-of-switch")
    );
    assert_eq!(
        invite.one("Contact"),
        format!("<sip:{C}@{here};transport=udp>")
    );
    assert!(invite.body().contains(&format!("o={C} ")));

    let answers = |text: &str| world.desk.send_to(text.as_bytes(), platform).unwrap();
    answers(&invite.answer("200 OK", desk));
    let ok = world.switch_hears();
    assert_eq!(ok.start(), "SIP/2.0 200 OK");
    assert_eq!(
        ok.one("From"),
        format!("\"{C}\" <sip:{C}@{here}>;tag=tag-of-switch")
    );
    assert_eq!(
        ok.one("To"),
        format!("<sip:{X}@{platform}>;tag=tag-of-phone")
    );
    assert_eq!(ok.one("Contact"), format!("<sip:{X}@{desk}>"));
    assert!(
        !ok.0.contains(A) && !ok.0.contains("2100000000"),
        "{}",
        ok.0
    );
    assert_eq!(world.sim.calls().live, 1);
    for (number, method) in [(7, "ACK"), (8, "BYE")] {
        let branch = format!("z9hG4bK{method}");
        world.switch_sends(&in_dialog(&ok, method, &branch, number, here));
        let heard = Heard::from(&world.desk);
        // The Contact of the desk's answer is put back.
        assert_eq!(heard.start(), format!("{method} sip:{B}@{desk} SIP/2.0"));
        assert_eq!(
            heard.one("To"),
            format!("<sip:{A}@{desk}>;tag=tag-of-phone")
        );
        if method == "BYE" {
            answers(&heard.answer("200 OK", desk));
        }
    }
    assert_eq!(world.switch_hears().one("CSeq"), "8 BYE");
    assert_eq!(world.sim.calls().live, 0);
}

#[test]
fn the_x_of_nobody_is_answered_404() {
    let world = World::new();
    world.switch_sends(&invite_of(&world, C, "z9hG4bKone"));
    assert_eq!(world.switch_hears().start(), "SIP/2.0 404 Not Found");
}
