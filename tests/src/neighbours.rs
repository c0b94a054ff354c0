//! Platforms of four vendors in one cluster, each with gateway, numbers and callees of its own, so that what one of them
//! does can be held against the calls of another.

use crate::sipp::{Finished, Running, Sipp, numbers};
use crate::{Seed, Switch};
use std::collections::HashMap;

const KEY: &str = "sample-app-key";
const SECRET: &str = "sample-app-secret";

/// Type, the names of its credentials, what else it needs, and the digit that its callees and X numbers share.
pub const PLATFORMS: [(&str, [&str; 2], &str, u8); 4] = [
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
pub fn seed() -> Seed {
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

/// Calls to one platform's callees through one node, `rate` a second; `block` gives each run numbers of its own.
#[track_caller]
pub fn calls(switch: &Switch, digit: u8, block: u64, count: usize, rate: u32) -> Running {
    let callee = 13_000_000_000 + u64::from(digit) * 100_000_000 + block * 1_000;
    let caller = 15_900_000_000 + u64::from(digit) * 100_000 + block * 1_000;
    let node = 1 + (digit + u8::try_from(block % 3).expect("below three")) % 3;
    Sipp::customer(
        "customer_any",
        switch.own_port(),
        switch.sip(node),
        numbers(caller, callee, count),
    )
    .rate(rate, 1_000)
    .pause(500)
    .start(switch.dir())
}

/// From INVITE to answer, in seconds, the quickest first; refused calls are left out.
pub fn set_up_times(customer: &Finished) -> Vec<f64> {
    let answered: HashMap<String, f64> = customer
        .lines("ANSWERED")
        .iter()
        .map(|line| (line.callee().to_owned(), line.at))
        .collect();
    let mut took: Vec<f64> = customer
        .lines("SENT")
        .iter()
        .filter_map(|sent| Some(answered.get(sent.callee())? - sent.at))
        .collect();
    took.sort_by(f64::total_cmp);
    took
}
