//! `DOMAIN.md` §2, line by line: what rules make of a number, and where a number belongs.

use tandem_cluster::command::*;
use tandem_cluster::dial_rules::Rules;
use tandem_cluster::state::State;
use tandem_cluster::state::testing::PerPeriod;

/// What a rule list makes of a number. Dice show `die` as far as they go.
fn dialled(rules: &str, number: &str, die: u32) -> String {
    let rules = Rules::parse(rules).unwrap_or_else(|error| panic!("{rules}: {error}"));
    rules.apply(number, &mut |bound| die.min(bound - 1))
}

#[test]
fn dial_rules_line_by_line() {
    for (line, cases) in [
        (
            "numbers are digit strings (`*`, `#`, leading `+` allowed), never converted, never reformatted unless a rule says so",
            &[
                ("", "+8613812341234", "+8613812341234"),
                ("", "000123", "000123"),
                ("", "*31#138", "*31#138"),
                ("0:", "000123", "00123"),
                (
                    "1:2",
                    "99999999999999999999999999999999",
                    "99999999999999999999999999999999",
                ),
            ][..],
        ),
        (
            "a list from:to separated by commas; the rule with the longest literal match wins",
            &[
                ("1:7,138:6,13:8", "13812341234", "612341234"),
                ("138:6,13:8,1:7", "13712341234", "8712341234"),
                ("138:6,13:8,1:7", "15012341234", "75012341234"),
                ("*:9,1:8", "123", "823"),
                ("1*5:9,123:8", "12345", "845"),
                ("E5:9,*:8", "12345", "912345"),
            ],
        ),
        (
            "equal length: the first written",
            &[
                ("13:5,13:6", "138", "58"),
                ("13E3:5,13:6", "138", "58"),
                ("13E4:5,13:6", "138", "68"),
                ("E3:9,*:8", "123", "9123"),
                ("*:8,E3:9", "123", "8"),
            ],
        ),
        (
            "no match: number unchanged",
            &[
                ("9:8", "138", "138"),
                ("E11:0", "138", "138"),
                ("138:9", "13", "13"),
            ],
        ),
        (
            "a rule replaces the matched head; the rest of the number stays",
            &[
                ("13:0", "13812341234", "0812341234"),
                ("13812341234:5", "138123412345", "55"),
            ],
        ),
        (
            "from: digits; `*` any run of digits, also empty",
            &[
                ("*:05718512345", "13812341234", "05718512345"),
                ("*:05718512345", "", "05718512345"),
                ("0*5:9", "05", "9"),
                ("0*5:9", "01235678", "9678"),
                ("0*5:9", "0125345", "9"),
                ("0*5:9", "0123", "0123"),
                ("1*:2", "13800", "2"),
                ("*5:9", "1235", "9"),
            ],
        ),
        (
            "E11 (=11), L8 (<8), G8 (>8), F11 (≠11) on the whole number",
            &[
                ("1E11:01", "13812341234", "013812341234"),
                ("1E11:01", "1381234123", "1381234123"),
                ("1L8:9", "1234567", "9234567"),
                ("1L8:9", "12345678", "12345678"),
                ("1G8:9", "123456789", "923456789"),
                ("1G8:9", "12345678", "12345678"),
                ("1F11:9", "138", "938"),
                ("1F11:9", "13812341234", "13812341234"),
                ("0G3L6:9", "01234", "91234"),
                ("0G3L6:9", "012", "012"),
                ("*E3:9", "123", "9"),
                ("*E3:9", "1234", "1234"),
            ],
        ),
        (
            "to: digits; empty = strip",
            &[
                ("88:", "8813812341234", "13812341234"),
                ("1:22", "13", "223"),
            ],
        ),
        (
            "`?` one random digit",
            &[
                ("1:?", "12", "32"),
                ("1:0??", "12", "0332"),
                ("1:8?8", "1", "838"),
            ],
        ),
        (
            "`$` keep the digit of the original at this position",
            &[
                ("138:9$$", "13812341234", "93812341234"),
                ("138:$9$", "13812341234", "19812341234"),
                ("*:00$$", "1234", "0034"),
                ("*:0$$$", "12", "02"),
            ],
        ),
        (
            "`a;b;c` and `8100-8121`: pick one at random",
            &[
                ("1:7;8;9;6", "12", "62"),
                ("1:7;8", "12", "82"),
                ("1:8100-8121", "12", "81032"),
                ("1:5;8100-8121", "12", "81022"),
                ("1:0098-0102", "1", "0101"),
                ("1:;;;5", "12", "52"),
            ],
        ),
        (
            "the examples",
            &[
                ("88:0086", "8813812341234", "008613812341234"),
                ("0:86", "057112345678", "8657112345678"),
                ("*:05718512345", "13812341234", "05718512345"),
                ("E11:0", "13812341234", "013812341234"),
                ("88:", "8813812341234", "13812341234"),
            ],
        ),
    ] {
        for (rules, number, expected) in cases {
            assert_eq!(
                dialled(rules, number, 3),
                *expected,
                "{line}: {rules} on {number}"
            );
        }
    }
}

#[test]
fn the_rule_that_was_followed_can_be_named() {
    let rules = Rules::parse(" 88:0086 , 0:86, *:1 ").expect("well formed");
    for (number, expected) in [
        ("8813", Some((1, "88:0086"))),
        ("0571", Some((2, "0:86"))),
        ("138", Some((3, "*:1"))),
    ] {
        assert_eq!(rules.rule_for(number), expected, "{number}");
    }
    let rules = Rules::parse("88:0086").expect("well formed");
    assert_eq!(rules.rule_for("138"), None);
}

#[test]
fn a_wrong_rule_is_refused_with_its_position() {
    for (rules, expected) in [
        ("88", "rule without `:` at position 0"),
        ("88:0086,0", "rule without `:` at position 8"),
        ("8a:1", "unknown character at position 1"),
        (
            "88:1,8L:2",
            "length condition without a number at position 6",
        ),
        ("88:81x0", "unknown character at position 5"),
        ("88:9-8", "range that runs backwards at position 3"),
        (
            "88:1;8100-",
            "range whose ends are no numbers at position 5",
        ),
    ] {
        let error = Rules::parse(rules).expect_err(rules).to_string();
        assert_eq!(error, expected, "{rules}");
    }
}

#[test]
fn regions_line_by_line() {
    let mut state = State::new();
    let rows = [(1_381_234, "0571", "浙江杭州"), (1_391_234, "10", "北京")].map(
        |(mobile_prefix, code, name)| RegionRow {
            mobile_prefix,
            area_code: code.into(),
            area_name: name.into(),
        },
    );
    let load = Command::Regions(RegionEdit {
        request: 1,
        actor: "op".into(),
        import: 1,
        part: 0,
        last: true,
        replace: true,
        rows: rows.into(),
    });
    assert_eq!(state.apply(1, 1, &load, &PerPeriod).0, Reply::Done);
    for (line, cases) in [
        (
            "fixed line: 0 + area code, longest match in the area table",
            &[
                ("057185123456", Some("571")),
                ("01085123456", Some("10")),
                ("02085123456", Some("20")),
                ("07551234567", Some("755")),
                ("0999123456", Some("999")),
                ("03341234567", None),
                ("85123456", None),
            ][..],
        ),
        (
            "mobile: the first 7 digits, looked up in 手机地区",
            &[
                ("13812345678", Some("571")),
                ("13912345678", Some("10")),
                ("13812355678", None),
            ],
        ),
        (
            "a leading 86/0086/+86 or one 0 before a mobile is ignored",
            &[
                ("8613812345678", Some("571")),
                ("008613812345678", Some("571")),
                ("+8613812345678", Some("571")),
                ("013812345678", Some("571")),
                ("0013812345678", None),
            ],
        ),
        (
            "86 before a fixed line, with and without its 0",
            &[
                ("8657185123456", Some("571")),
                ("86057185123456", Some("571")),
                ("+8657185123456", Some("571")),
                ("008601085123456", Some("10")),
                ("86571851", None),
            ],
        ),
    ] {
        for (number, expected) in cases {
            assert_eq!(state.area_of(number), *expected, "{line}: {number}");
        }
    }
    let region = state.region_of("13812345678").expect("known");
    assert_eq!((region.area_code, region.area_name), ("571", "浙江杭州"));
}
