use super::*;
use proptest::prelude::*;

/// The numbers that every import of a kind is given.
fn row(mobile_prefix: u32, area_code: &str, area_name: &str) -> RegionRow {
    RegionRow {
        mobile_prefix,
        area_code: area_code.into(),
        area_name: area_name.into(),
    }
}

fn loaded(regions: &Regions, replace: bool, rows: &[RegionRow]) -> Regions {
    let mut import = Import::new(1, replace, "op", 5);
    import.take(rows, 5).expect("good rows");
    import.finish(regions, 5).expect("fits")
}

fn sample() -> Regions {
    loaded(
        &Regions::default(),
        true,
        &[
            row(1_381_234, "571", "浙江杭州"),
            row(1_391_234, "10", "北京"),
            row(1_861_234, "21", "上海"),
        ],
    )
}

#[test]
fn every_line_of_the_domain_on_regions() {
    use RegionSource::{Fixed, Mobile};
    let regions = sample();
    for (number, expected) in [
        // Fixed line: 0 and area code, the longest match.
        ("057188886666", Some(("571", "浙江杭州", Fixed))),
        ("0571", Some(("571", "浙江杭州", Fixed))),
        ("01088886666", Some(("10", "北京", Fixed))),
        ("02188886666", Some(("21", "上海", Fixed))),
        ("07551234567", Some(("755", "广东深圳", Fixed))),
        ("099912345678", Some(("999", "新疆伊犁", Fixed))),
        ("03301234567", None),
        ("02600000000", None),
        ("057", None),
        ("0", None),
        // Without its 0 a fixed line is a local number.
        ("57188886666", None),
        ("88886666", None),
        // Mobile: the first seven digits.
        ("13812345678", Some(("571", "浙江杭州", Mobile))),
        ("13912345678", Some(("10", "北京", Mobile))),
        ("13712345678", None),
        ("138123", None),
        ("13812a45678", None),
        // 86, 0086, +86 and one 0 before a mobile count for nothing.
        ("8613812345678", Some(("571", "浙江杭州", Mobile))),
        ("008613812345678", Some(("571", "浙江杭州", Mobile))),
        ("+8613812345678", Some(("571", "浙江杭州", Mobile))),
        ("013812345678", Some(("571", "浙江杭州", Mobile))),
        ("86013812345678", Some(("571", "浙江杭州", Mobile))),
        ("+86013812345678", Some(("571", "浙江杭州", Mobile))),
        ("0013812345678", None),
        // 186 1234 is a mobile, not 86 behind a 1.
        ("18612345678", Some(("21", "上海", Mobile))),
        // Fixed lines behind the country's code, with and without their 0.
        ("8657188886666", Some(("571", "浙江杭州", Fixed))),
        ("+8657188886666", Some(("571", "浙江杭州", Fixed))),
        ("008657188886666", Some(("571", "浙江杭州", Fixed))),
        ("+86057188886666", Some(("571", "浙江杭州", Fixed))),
        ("861088886666", Some(("10", "北京", Fixed))),
        ("+862188886666", Some(("21", "上海", Fixed))),
        // A local number that begins with 86, a service number behind the country's code.
        ("86571234", None),
        ("+8695588", None),
        // Abroad.
        ("+14155550100", None),
        ("0014155550100", None),
        ("0085221234567", None),
        ("", None),
        ("+", None),
        ("日本語", None),
    ] {
        let found = regions
            .find(number)
            .map(|region| (region.area_code, region.area_name, region.source));
        assert_eq!(found, expected, "{number}");
    }
}

#[test]
fn fixed_areas_are_in_order_and_none_is_the_head_of_another() {
    for pair in fixed::AREAS.windows(2) {
        assert!(pair[0].0 < pair[1].0, "{pair:?}");
        assert!(!pair[1].0.starts_with(pair[0].0), "{pair:?}");
    }
    for (code, name) in Regions::fixed() {
        assert_eq!(area_code(code), Some(code));
        assert_eq!(code.len(), if code < "3" { 2 } else { 3 }, "{code}");
        assert!(!name.is_empty());
        assert_eq!(fixed::area(&format!("{code}88886666")), Some((code, name)));
    }
    assert!(Regions::fixed().len() > 300);
}

#[test]
fn an_area_code_may_have_its_leading_zero() {
    for (text, expected) in [
        ("571", Some("571")),
        ("0571", Some("571")),
        ("010", Some("10")),
        ("", None),
        ("0", None),
        ("00571", None),
        ("05a", None),
        ("123456789", None),
    ] {
        assert_eq!(area_code(text), expected, "{text}");
    }
}

#[test]
fn imports_add_replace_and_remove() {
    let first = sample();
    assert_eq!((first.len(), first.areas().len()), (3, 3));
    let second = loaded(
        &first,
        false,
        &[
            row(1_381_234, "0574", "浙江宁波"),
            row(1_391_234, "", ""),
            row(1_999_999, "21", "上海"),
            // Of a prefix that comes twice the later counts.
            row(1_300_000, "571", "浙江杭州"),
            row(1_300_000, "21", "上海"),
        ],
    );
    let rows: Vec<_> = second
        .from(0)
        .map(|row| (row.mobile_prefix, row.area_code))
        .collect();
    assert_eq!(
        rows,
        [
            (1_300_000, "21"),
            (1_381_234, "574"),
            (1_861_234, "21"),
            (1_999_999, "21")
        ]
    );
    assert_eq!(second.len(), 4);
    let names: Vec<&str> = second.areas().iter().map(|area| &*area.name).collect();
    assert_eq!(names, ["上海", "浙江宁波"], "unused areas are gone");
    let page: Vec<u32> = second
        .from(1_381_235)
        .take(1)
        .map(|row| row.mobile_prefix)
        .collect();
    assert_eq!(page, [1_861_234]);
    assert_eq!(second.from(2_000_000).count(), 0);
    let third = loaded(&second, true, &[row(1_350_000, "10", "北京")]);
    assert_eq!((third.len(), third.from(0).count()), (1, 1));
    assert!(loaded(&third, true, &[]).is_empty());
}

#[test]
fn bad_rows_are_named_and_a_bad_part_is_no_part() {
    for (bad, field) in [
        (row(1_299_999, "571", "x"), "rows[1].mobile_prefix"),
        (row(2_000_000, "571", "x"), "rows[1].mobile_prefix"),
        (row(1_300_000, "57a", "x"), "rows[1].area_code"),
        (row(1_300_000, "00571", "x"), "rows[1].area_code"),
        (row(1_300_000, "571", "\n"), "rows[1].area_name"),
        (row(1_300_000, "571", &"x".repeat(97)), "rows[1].area_name"),
    ] {
        let mut import = Import::new(1, true, "op", 0);
        let mistake = import
            .take(&[row(1_300_001, "10", "北京"), bad], 0)
            .expect_err(field);
        assert_eq!(mistake.field, field);
    }
}

#[test]
fn areas_have_a_bound() {
    let rows: Vec<RegionRow> = (0..=AREAS_MAX as u32)
        .map(|n| row(PREFIX_MIN + n, "10", &n.to_string()))
        .collect();
    let mut import = Import::new(1, false, "op", 0);
    let mistake = import.take(&rows, 0).expect_err("one too many");
    assert_eq!(mistake.field, format!("rows[{AREAS_MAX}].area_code"));
    let full = loaded(&Regions::default(), true, &rows[..AREAS_MAX]);
    assert_eq!(full.areas().len(), AREAS_MAX);
    let last = full
        .find("1365533")
        .map(|region| region.area_name.to_owned());
    assert_eq!(last.as_deref(), Some("65533"));
    let mut import = Import::new(2, false, "op", 0);
    import
        .take(&[row(1_999_999, "10", "new")], 0)
        .expect("fits");
    assert_eq!(import.finish(&full, 0).expect_err("full").field, "rows");
}

#[test]
fn a_damaged_table_is_refused() {
    let bytes = crate::codec::encode(&vec![(699_999u32, 2u32, 1u16)]).expect("encodes");
    assert!(crate::codec::decode::<Pages>(&bytes).is_err());
    let bytes = crate::codec::encode(&vec![(u32::MAX, 1u32, 1u16)]).expect("encodes");
    assert!(crate::codec::decode::<Pages>(&bytes).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against a plain map: what is there, in which order, through the encoding too, and independent of the way.
    #[test]
    fn a_table_is_what_its_imports_say(
        imports in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec((0u32..40, 0u8..5), 0..40)),
            1..5,
        )
    ) {
        let mut regions = Regions::default();
        let mut model: BTreeMap<u32, String> = BTreeMap::new();
        for (replace, rows) in &imports {
            if *replace {
                model.clear();
            }
            let rows: Vec<RegionRow> = rows
                .iter()
                .map(|(at, area)| {
                    // Across the borders of pages and at both ends.
                    let prefix = match at {
                        0..20 => PREFIX_MIN + 990 + at,
                        20..30 => PREFIX_MIN + at - 20,
                        _ => PREFIX_MAX - (at - 30),
                    };
                    row(prefix, &if *area == 0 { String::new() } else { format!("{area}") }, "n")
                })
                .collect();
            for row in &rows {
                if row.area_code.is_empty() {
                    model.remove(&row.mobile_prefix);
                } else {
                    model.insert(row.mobile_prefix, row.area_code.clone());
                }
            }
            regions = loaded(&regions, *replace, &rows);
        }
        let found: BTreeMap<u32, String> =
            regions.from(0).map(|row| (row.mobile_prefix, row.area_code.to_owned())).collect();
        prop_assert_eq!(&found, &model);
        prop_assert_eq!(regions.len() as usize, model.len());
        let bytes = crate::codec::encode(&regions).expect("encodes");
        prop_assert_eq!(&crate::codec::decode::<Regions>(&bytes).expect("decodes"), &regions);
        let straight: Vec<RegionRow> =
            model.iter().rev().map(|(prefix, code)| row(*prefix, code, "n")).collect();
        let straight = loaded(&Regions::default(), true, &straight);
        prop_assert_eq!(crate::codec::encode(&straight).expect("encodes"), bytes);
    }
}
