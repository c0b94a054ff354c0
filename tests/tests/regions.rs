//! Local X for local callers: region entries of X numbers, built-in area codes and the imported table of mobiles.

use std::net::Ipv4Addr;
use std::time::Duration;
use tandem_tests::checks::nothing_left;
use tandem_tests::switch::NODES;
use tandem_tests::talk::try_from;
use tandem_tests::{Seed, Sipp, Switch};

const RESTRICT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const PREFER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 12);

/// Hangzhou alone.
const HANGZHOU: &str = "17000000001";
/// Shanghai and Nanjing.
const TWO: &str = "17000000002";
/// A range of Shanghai's numbers by prefix.
const PREFIX: &str = "17000000003";
/// Everybody.
const OPEN: &str = "17000000004";

fn seed() -> Seed {
    let closed = |callers: &str| {
        format!("callers = {callers}\nallow_other_callers = false\nline_limit = 20")
    };
    Seed::new()
        .interface("i", "unbind_delay_secs = 0")
        .x("i", HANGZHOU, &closed(r#"["@0571"]"#))
        .x("i", TWO, &closed(r#"["@021", "@025"]"#))
        .x("i", PREFIX, &closed(r#"["02166*"]"#))
        .x("i", OPEN, "line_limit = 20")
        .a("ga", "02100000000..02100000099", "")
        .axb_gateway("platform", "", "ga", "i", "")
        .customer(
            "restrict",
            &RESTRICT.to_string(),
            "x_select_mode = \"restrict\"",
        )
        .customer("prefer", &PREFER.to_string(), "x_select_mode = \"prefer\"")
}

/// What a caller gets: the X it must be shown as with restrict (none: refused) and with prefer.
type Case = (&'static str, Option<&'static str>, &'static str);

#[test]
fn callers_get_the_x_of_their_region_by_area_code_and_by_the_imported_table() {
    let switch = Switch::seeded(&seed());
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let mut callee = 13_800_000_000_u64;
    let mut node = 0;
    let mut check = |cases: &[Case]| {
        for (caller, restrict, prefer) in cases {
            for (ip, wanted) in [(RESTRICT, *restrict), (PREFER, Some(*prefer))] {
                callee += 1;
                node = node % NODES + 1;
                let b = callee.to_string();
                let outcome = try_from(&switch, ip, node, caller, &b);
                let log = switch.platform_log();
                let bound = log.requests.iter().find(|r| r.op == "bind" && r.b == b);
                let x = bound.map(|r| r.x.as_str());
                assert_eq!(x, wanted, "{caller} from {ip}");
                match wanted {
                    Some(_) => outcome.is_answered(),
                    None => outcome.is(503, "no_axb_number"),
                }
            }
        }
    };
    // Fixed lines by their area code, which is built in; a prefix goes before a region; nobody's region is nobody's.
    check(&[
        ("057188887777", Some(HANGZHOU), HANGZHOU),
        ("02188887777", Some(TWO), TWO),
        ("02588887777", Some(TWO), TWO),
        ("02166667777", Some(PREFIX), PREFIX),
        ("01088887777", None, OPEN),
        // No table is loaded yet.
        ("13905710001", None, OPEN),
    ]);
    let table = switch.dir().join("mobiles.csv");
    let rows = "mobile_prefix,area_code,area_name\n1390571,571,杭州\n1390210,21,上海\n1390250,25,南京\n1390100,10,北京\n";
    std::fs::write(&table, rows).expect("it can be written");
    let path = table.to_str().expect("the tests' paths are text");
    switch.cli(2, &["region", "import", path, "--format", "csv"]);
    check(&[
        ("13905710001", Some(HANGZHOU), HANGZHOU),
        ("13902100001", Some(TWO), TWO),
        ("13902500001", Some(TWO), TWO),
        ("13901000001", None, OPEN),
        ("13999990001", None, OPEN),
        // However the caller's number is written.
        ("8613905710001", Some(HANGZHOU), HANGZHOU),
        ("008613905710001", Some(HANGZHOU), HANGZHOU),
        ("013905710001", Some(HANGZHOU), HANGZHOU),
        ("057188887777", Some(HANGZHOU), HANGZHOU),
    ]);
    nothing_left(&switch, Duration::from_secs(5));
    assert_eq!(phone.stop().failed(), 0);
}
