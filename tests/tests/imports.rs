//! Numbers come in from files whole or not at all, while calls run, and are used at once on every node.

use serde_json::Value;
use std::fmt::Write;
use std::time::{Duration, Instant};
use tandem_tests::checks::nothing_left;
use tandem_tests::sipp::numbers;
use tandem_tests::switch::NODES;
use tandem_tests::talk::try_call;
use tandem_tests::{Seed, Sipp, Switch};

const CALLER: &str = "15900000001";
/// Rows of the large file.
const MANY: usize = 2_000;

/// A file of the test's own, by its path.
fn file(switch: &Switch, name: &str, text: &str) -> String {
    let path = switch.dir().join(name);
    std::fs::write(&path, text).expect("it can be written");
    path.to_str().expect("the tests' paths are text").to_owned()
}

/// What an import reports.
#[track_caller]
fn report(switch: &Switch, node: u8, args: &[&str]) -> [u64; 3] {
    let text = switch.cli(node, &[args, &["-o", "json"]].concat());
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    ["made", "changed", "equal"].map(|field| report[field].as_u64().expect("a count"))
}

#[test]
fn files_of_numbers_are_applied_whole_while_calls_run_and_used_at_once() {
    let seed = Seed::new()
        .interface("i", "unbind_delay_secs = 0")
        .interface("new", "")
        .x("i", "17000000001..17000000010", "line_limit = 20")
        .a("ga", "02100000000..02100000049", "")
        .axb_gateway("platform", "13", "ga", "i", "")
        .axb_gateway("new", "14", "ga", "new", "")
        .customer("customer", "127.0.0.1", "");
    let switch = Switch::seeded(&seed);
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let count = |node: u8, collection: &str| switch.api(node).list(collection).len();

    // Calls that run all the time.
    let running: Vec<_> = (1..=NODES)
        .map(|node| {
            let first = u64::from(node) * 1_000;
            let numbers = numbers(15_900_000_000 + first, 13_800_000_000 + first, 60);
            Sipp::customer("customer", switch.own_port(), switch.sip(node), numbers)
                .rate(6, 1_000)
                .pause(300)
                .start(switch.dir())
        })
        .collect();

    // One wrong row, and nothing is applied; every wrong row is named by its line.
    let wrong = file(
        &switch,
        "wrong.csv",
        "number,line_limit\n17100000001,1\n17100000002,none\nabc,1\n17000000001,1\n",
    );
    let output = switch.client(2, &["x", "import", &wrong, "--interface", "new"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    for named in [
        "wrong.csv:3:",
        "wrong.csv:4:",
        "wrong.csv:5:",
        "3 of 4 rows",
    ] {
        assert!(errors.contains(named), "`{named}` is not in\n{errors}");
    }
    assert_eq!(count(1, "x-numbers"), 10);
    try_call(&switch, 3, CALLER, "14000000001").is(503, "no_axb_number");

    // A large file: tried first, then applied, then there is nothing to change.
    let mut text = "电话号码,线路上限,主叫号码,允许其他主叫\n".to_owned();
    for n in 0..MANY {
        writeln!(text, "1710000{n:04},2,{CALLER},false").expect("a string takes everything");
    }
    let many = file(&switch, "many.csv", &text);
    let import = ["x", "import", &many, "--interface", "new"];
    let made = MANY as u64;
    assert_eq!(
        report(&switch, 1, &[&import[..], &["--dry-run"]].concat()),
        [made, 0, 0]
    );
    assert_eq!(count(3, "x-numbers"), 10);
    let began = Instant::now();
    assert_eq!(report(&switch, 1, &import), [made, 0, 0]);
    println!("{MANY} rows in {:?}", began.elapsed());
    for node in 1..=NODES {
        let callee = format!("1400000001{node}");
        try_call(&switch, node, CALLER, &callee).is_answered();
        try_call(&switch, node, "15900000002", &callee).is(503, "no_axb_number");
    }
    assert_eq!(
        report(&switch, 3, &[&import[..], &["--update"]].concat()),
        [0, 0, made]
    );
    let twice = switch.client(3, &import);
    assert_eq!(twice.status.code(), Some(1), "the same numbers again");

    // A numbers in the same way; a workbook that was exported comes in as it went out.
    let a = file(
        &switch,
        "a.csv",
        "group,number,line_limit\nga,02200000000,3\nga,02200000001,3\n",
    );
    assert_eq!(report(&switch, 2, &["a", "import", &a]), [2, 0, 0]);
    for (thing, rows) in [("x", made + 10), ("a", 52)] {
        let book = switch.dir().join(format!("{thing}.xlsx"));
        let book = book.to_str().expect("the tests' paths are text");
        switch.cli(1, &[thing, "export", "--file", book]);
        let again = report(&switch, 3, &[thing, "import", book, "--update"]);
        assert_eq!(again, [0, 0, rows], "{thing}");
    }

    for customer in running {
        customer.finish(Duration::from_secs(40)).all_good(60);
    }
    nothing_left(&switch, Duration::from_secs(10));
    for node in 1..=NODES {
        assert_eq!(
            (count(node, "x-numbers"), count(node, "a-numbers")),
            (MANY + 10, 52)
        );
    }
    assert_eq!(phone.stop().failed(), 0);
}
