//! Platforms of different vendors beside each other in one cluster: each is called in its own way, and one in trouble
//! costs the others nothing.

use serde_json::json;
use std::time::Duration;
use tandem_tests::checks::nothing_left;
use tandem_tests::neighbours::{PLATFORMS, calls, seed, set_up_times};
use tandem_tests::sipp::Finished;
use tandem_tests::{Sipp, Switch};

/// How long after a fault everything must be released: unknown outcomes are asked for again after 1, 3 and 8 s.
const RELEASED: Duration = Duration::from_secs(40);
/// Calls answered, and the others refused for this reason.
#[track_caller]
fn answered(customer: &Finished, count: usize, reason: &str) -> usize {
    let refused = customer.lines("REFUSED");
    for line in &refused {
        let text = line.words[2..].join(" ");
        assert!(text.starts_with("503") && text.contains(reason), "{line:?}");
    }
    let answered = customer.logged("ANSWERED");
    assert_eq!(answered + refused.len(), count, "{}", customer.errors());
    answered
}

/// From INVITE to answer, the slowest of a hundred but five; seconds.
fn slow(customer: &Finished) -> f64 {
    let took = set_up_times(customer);
    took[took.len() * 95 / 100]
}

#[test]
fn calls_go_through_four_vendors_platforms_and_leave_nothing_behind() {
    let switch = Switch::seeded(&seed());
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let running: Vec<_> = PLATFORMS
        .iter()
        .map(|(.., digit)| calls(&switch, *digit, 0, 30, 10))
        .collect();
    for (customer, (kind, ..)) in running.into_iter().zip(PLATFORMS) {
        let done = customer.finish(Duration::from_secs(40));
        assert_eq!(answered(&done, 30, "axb"), 30, "{kind}: {}", done.errors());
    }
    for line in phone.lines("INVITE") {
        // B's phone sees the X of its own platform, by the digit they share.
        assert_eq!(line.caller()[..4], format!("170{}", &line.callee()[2..3]));
    }
    nothing_left(&switch, RELEASED);
    let log = switch.platform_log();
    assert_eq!((log.applied("bind"), log.applied("unbind")), (120, 120));
}

#[test]
fn a_platform_in_trouble_costs_the_others_nothing() {
    let switch = Switch::seeded(&seed());
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let quiet = calls(&switch, 1, 0, 60, 10).finish(Duration::from_secs(40));
    assert_eq!(answered(&quiet, 60, "axb"), 60);

    let platform = switch.platform();
    platform.fault(json!({ "vendor": "aliyun", "down": true }));
    platform.fault(json!({ "vendor": "tencent", "throttle_per_s": 3 }));
    platform.fault(json!({ "vendor": "volcengine", "drop_reply_rate": 0.5 }));
    let running: Vec<_> = PLATFORMS
        .iter()
        .map(|(.., digit)| calls(&switch, *digit, 1, 60, 10))
        .collect();
    let done: Vec<Finished> = running
        .into_iter()
        .map(|customer| customer.finish(Duration::from_secs(60)))
        .collect();
    let got: Vec<usize> = done
        .iter()
        .map(|done| answered(done, 60, "axb_bind_failed"))
        .collect();
    assert_eq!(got[0], 60, "the healthy one: {}", done[0].errors());
    assert_eq!(got[1], 0, "the one that is down");
    assert!((1..60).contains(&got[2]), "the throttled one: {got:?}");
    assert!(
        (1..60).contains(&got[3]),
        "the one that cuts replies: {got:?}"
    );
    // Only that nobody waits for a neighbour's two seconds: how much it costs says the bench (`calls -- neighbours`).
    let (before, beside) = (slow(&quiet), slow(&done[0]));
    assert!(
        beside < before + 0.5,
        "the healthy platform's calls took {before:.3} s, and {beside:.3} s beside the others"
    );

    platform.heal();
    nothing_left(&switch, RELEASED);
    let log = switch.platform_log();
    assert_eq!(log.applied("bind"), log.applied("unbind"));
    drop(phone);
}
