//! Slices of credit and the charges of an ended call.

use crate::world::*;
use tandem_cluster::command::*;
use tandem_cluster::entity::*;

fn renew(w: &mut World, call: CallId, upto_secs: u32) -> Credit {
    match w.apply(Command::Renew(Renew {
        call,
        epoch: w.owner(call),
        upto_secs,
    })) {
        Reply::Renewed(credit) => credit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn slices_are_renewed_until_the_money_is_used_up() {
    let (mut w, rows) = World::usual(1, 1);
    // 0.25 left at 0.10 a minute: two periods.
    w.apply(Command::Pay(Payment {
        request: 900,
        actor: "op".into(),
        account: rows.customer,
        amount: -1_000 * UNIT + UNIT / 4,
        memo: String::new(),
    }));
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    assert_eq!(
        attempt.credit,
        Some(Credit {
            upto_secs: 60,
            last: false
        })
    );
    w.answered(call);
    let second = renew(&mut w, call, 60);
    assert_eq!(
        second,
        Credit {
            upto_secs: 120,
            last: true
        }
    );
    assert_eq!(
        renew(&mut w, call, 60),
        second,
        "a repeat gets the same slice"
    );
    assert_eq!(w.state.account_balance(rows.customer).1, UNIT / 5);
    assert_eq!(
        renew(&mut w, call, 120),
        Credit {
            upto_secs: 120,
            last: true
        }
    );
    w.wait(120_000);
    w.end_as(call, "balance_exhausted");
    assert_eq!(w.state.account_balance(rows.customer), (UNIT / 20, 0));
    assert_eq!(
        w.refused(rows.mapping, "1", "138"),
        Refusal::BalanceInsufficient
    );
}

#[test]
fn a_recharge_reaches_the_running_call() {
    let (mut w, rows) = World::usual(1, 1);
    let pay = |request, amount| {
        Command::Pay(Payment {
            request,
            actor: "op".into(),
            account: rows.customer,
            amount,
            memo: String::new(),
        })
    };
    w.apply(pay(900, -1_000 * UNIT + UNIT / 10));
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    assert_eq!(
        attempt.credit,
        Some(Credit {
            upto_secs: 60,
            last: true
        })
    );
    w.apply(pay(901, UNIT));
    assert_eq!(
        renew(&mut w, call, 60),
        Credit {
            upto_secs: 120,
            last: false
        }
    );
}

#[test]
fn calls_of_one_account_never_spend_more_than_it_has() {
    let (mut w, rows) = World::usual(9, 9);
    w.apply(Command::Pay(Payment {
        request: 900,
        actor: "op".into(),
        account: rows.customer,
        amount: -1_000 * UNIT + 3 * UNIT / 10,
        memo: String::new(),
    }));
    w.change_account(rows.customer, |a| a.limit_money = UNIT / 10);
    for n in 0..4 {
        w.reserved(rows.mapping, "1", &format!("138{n}"));
    }
    assert_eq!(
        w.refused(rows.mapping, "1", "139"),
        Refusal::BalanceInsufficient
    );
}

#[test]
fn three_ratings_of_one_hold() {
    let (mut w, rows) = World::usual(1, 1);
    let (call, _) = w.reserved(rows.mapping, "1", "138");
    w.wait(4_000);
    w.answered(call);
    w.wait(61_000);
    w.end(call);
    assert_eq!(
        w.state.account_balance(rows.customer),
        (1_000 * UNIT - 200_000, 0)
    );
    assert_eq!(w.state.account_balance(rows.landing), (-60_000, 0));
    assert_eq!(w.state.account_balance(rows.settlement), (-66_000, 0));
}

#[test]
fn settlements_are_rated_on_the_numbers_that_the_papers_name() {
    for (on_submitted, expected) in [(false, 1), (true, 2)] {
        let (mut w, rows) = World::usual(1, 1);
        // The landing pays for X, the settlement for B or B'.
        w.put(rate("landing", "17", 3, 1));
        w.put(rate("axb", "138", 1, 1));
        w.put(rate("axb", "86138", 2, 1));
        w.change_routing(rows.routing, |g| {
            let axb = g.axb.as_mut().expect("AXB");
            axb.callee_rules = "1:861".into();
            axb.rate_on_submitted = on_submitted;
        });
        let (call, _) = w.reserved(rows.mapping, "1", "138");
        w.answered(call);
        w.wait(1_000);
        w.end(call);
        assert_eq!(w.state.account_balance(rows.landing).0, -3);
        assert_eq!(w.state.account_balance(rows.settlement).0, -expected);
    }
}

#[test]
fn an_end_knows_its_answer_even_when_the_answer_was_lost() {
    let (mut w, rows) = World::usual(1, 1);
    let (call, _) = w.reserved(rows.mapping, "1", "138");
    let answered_at = Some(w.now);
    w.wait(1_000);
    w.apply(Command::End(End {
        call,
        epoch: w.owner(call),
        ended_at: w.now,
        answered_at,
        pdd_ms: Some(5),
        codec: "PCMA".into(),
        reason: EndReason {
            key: "normal".into(),
            sip: None,
            q850: Some(16),
        },
        by: EndedBy::Callee,
    }));
    assert_eq!(
        w.state.account_balance(rows.customer).0,
        1_000 * UNIT - UNIT / 10
    );
}

#[test]
fn a_plain_call_after_a_failed_axb_attempt_settles_as_plain() {
    let (mut w, rows) = World::usual(1, 1);
    let plain = routing("plain");
    w.put(Entity::RoutingGateway(RoutingGateway {
        priority: 20,
        clearing_account: Some(rows.landing),
        ..plain
    }));
    let (call, _) = w.reserved(rows.mapping, "1", "138");
    let Reply::Reserved(next) = w.next(call, 1, Failure::PlatformRefused { code: "1".into() })
    else {
        panic!()
    };
    assert_eq!(
        next.credit,
        Some(Credit {
            upto_secs: 60,
            last: false
        })
    );
    w.answered(call);
    w.wait(1_000);
    w.end(call);
    assert_eq!(w.state.account_balance(rows.landing).0, -30_000);
    assert_eq!(w.state.account_balance(rows.settlement).0, 0);
}
