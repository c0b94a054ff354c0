//! Platforms of different vendors beside each other in one cluster: each is called in its own way, and one in trouble
//! costs the others nothing.

use serde_json::json;
use std::time::Duration;
use tandem_tests::checks::nothing_left;
use tandem_tests::sipp::{Finished, numbers};
use tandem_tests::{Seed, Sipp, Switch};

/// How long after a fault everything must be released: unknown outcomes are asked for again after 1, 3 and 8 s.
const RELEASED: Duration = Duration::from_secs(40);
const KEY: &str = "sample-app-key";
const SECRET: &str = "sample-app-secret";

/// Type, the names of its credentials, what else it needs, and the digit that its callees and X numbers share.
const PLATFORMS: [(&str, [&str; 2], &str, u8); 4] = [
    ("huawei", ["app_key", "app_secret"], "", 1),
    (
        "aliyun",
        ["access_key_id", "access_key_secret"],
        r#", pool_key = "FC100""#,
        2,
    ),
    (
        "tencent",
        ["secret_id", "secret_key"],
        r#", biz_app_id = "400100""#,
        3,
    ),
    (
        "volcengine",
        ["access_key_id", "secret_access_key"],
        r#", number_pool_no = "NP100""#,
        4,
    ),
];

/// A gateway and an interface a platform: callees 131…, 132…, 133… and 134….
fn seed() -> Seed {
    let seed = Seed::new()
        .a("ga", "02100000000..02100000099", "line_limit = 5")
        .customer("customer", "127.0.0.1", "");
    PLATFORMS
        .into_iter()
        .fold(seed, |seed, (kind, [key, secret], more, digit)| {
            let params = format!("{key} = \"{KEY}\", {secret} = \"{SECRET}\"{more}");
            let x = format!("170{digit}0000000..170{digit}0000079");
            seed.interface_of(
                kind,
                kind,
                &params,
                "unbind_delay_secs = 1\ntimeout_ms = 2000",
            )
            .x(kind, &x, "line_limit = 3")
            .axb_gateway(&format!("to-{kind}"), &format!("13{digit}"), "ga", kind, "")
        })
}

/// Calls to one platform's callees through one node.
fn calls(switch: &Switch, digit: u8, block: u64, count: usize) -> tandem_tests::sipp::Running {
    let callee = 13_000_000_000 + u64::from(digit) * 100_000_000 + block * 1_000;
    let caller = 15_900_000_000 + u64::from(digit) * 100_000 + block * 1_000;
    let node = 1 + (digit + u8::try_from(block).expect("few blocks")) % 3;
    Sipp::customer(
        "customer_any",
        switch.own_port(),
        switch.sip(node),
        numbers(caller, callee, count),
    )
    .rate(10, 1_000)
    .pause(500)
    .start(switch.dir())
}

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
    let answered = customer.lines("ANSWERED");
    let mut took: Vec<f64> = customer
        .lines("SENT")
        .iter()
        .filter_map(|sent| {
            let line = answered
                .iter()
                .find(|line| line.callee() == sent.callee())?;
            Some(line.at - sent.at)
        })
        .collect();
    took.sort_by(f64::total_cmp);
    took[took.len() * 95 / 100]
}

#[test]
fn calls_go_through_four_vendors_platforms_and_leave_nothing_behind() {
    let switch = Switch::seeded(&seed());
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let running: Vec<_> = PLATFORMS
        .iter()
        .map(|(.., digit)| calls(&switch, *digit, 0, 30))
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
    let quiet = calls(&switch, 1, 0, 60).finish(Duration::from_secs(40));
    assert_eq!(answered(&quiet, 60, "axb"), 60);

    let platform = switch.platform();
    platform.fault(json!({ "vendor": "aliyun", "down": true }));
    platform.fault(json!({ "vendor": "tencent", "throttle_per_s": 3 }));
    platform.fault(json!({ "vendor": "volcengine", "drop_reply_rate": 0.5 }));
    let running: Vec<_> = PLATFORMS
        .iter()
        .map(|(.., digit)| calls(&switch, *digit, 1, 60))
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
    // A request to a platform in trouble takes up to two seconds. Beside that a busy machine is nothing.
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
