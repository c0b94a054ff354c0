//! Files against a state in memory.

use super::numbers::{Kind, Options, Source, apply, check, export};
use super::regions as region_files;
use super::*;
use crate::fake::Fake;
use crate::seed;
use crate::sheet::Format;
use std::sync::Arc;
use tandem_cluster::command::{PutMany, PutRow, RegionRow};
use tandem_cluster::entity::{Entity, Table, XNumber};
use tandem_cluster::state::State;

async fn sample() -> Arc<Fake> {
    let fake = Fake::new().await;
    let sample = seed::parse(&seed::sample(15_000)).expect("the sample is right");
    assert_eq!(
        seed::apply(&*fake, "test", &sample).await.failed,
        Vec::<String>::new()
    );
    fake
}

fn options(kind: Kind, update: bool) -> Options {
    Options {
        kind,
        owner: Some(match kind {
            Kind::X => "huawei-sim".into(),
            Kind::A => "ga".into(),
        }),
        update,
    }
}

fn checked(text: &str, options: &Options, state: &State) -> Checked<numbers::Ready> {
    check(text.as_bytes(), Source::Sheet(Format::Csv), options, state).expect("a table")
}

fn bad(text: &str, options: &Options, state: &State) -> Vec<String> {
    match checked(text, options, state) {
        Checked::Bad(bad) => bad.rows.iter().map(ToString::to_string).collect(),
        Checked::Good(ready) => panic!("{:?}", ready.report()),
    }
}

fn good<T>(checked: Checked<T>) -> T {
    match checked {
        Checked::Good(ready) => ready,
        Checked::Bad(bad) => panic!("{bad}: {:?}", bad.rows),
    }
}

async fn applied(switch: &Fake, ready: numbers::Ready) -> Vec<Progress> {
    let (tell, mut heard) = mpsc::channel(100);
    apply(switch, "test", ready, &tell).await;
    drop(tell);
    let mut lines = Vec::new();
    while let Some(line) = heard.recv().await {
        lines.push(line);
    }
    lines
}

#[tokio::test]
async fn every_bad_row_is_named_with_its_line_and_reason() {
    let fake = sample().await;
    let state = fake.state();
    let text = "电话号码,线路上限,主叫号码,允许其他主叫,状态,接口名称\n\
                18000000000,20,0571*;@0571,是,正常,huawei-sim\n\
                18000000001,many,,,,\n\
                18000000002,0,,,,\n\
                18000000003,1,@hz,,,\n\
                18000000004,1,,vielleicht,,\n\
                18000000005,1,,,halb,\n\
                18000000006,1,,,,hz-9\n\
                18000000000,1,,,,\n\
                17000000000,1,,,,\n\
                abc,1,,,,\n\
                1.80E+10,1,,,,\n\
                ,1,,,,\n\
                18000000007,2000000,,,,\n";
    assert_eq!(
        bad(text, &options(Kind::X, false), &state),
        [
            "3: `line_limit`: `many` is not a whole number",
            "4: `line_limit`: 0 is not within 1 and 4294967295",
            "5: `callers`: a region is `@` and an area code of 1 to 8 digits",
            "6: `allow_other_callers`: `vielleicht` is not true or false (是, 否)",
            "7: `state`: `halb` is not active or disabled (正常, 停用)",
            "8: `interface`: no interface `hz-9`",
            "9: `number`: `18000000000` stands in line 2 already",
            "10: `number`: `17000000000` is there already; with update it would be changed",
            "11: `number`: `abc` is no number of 1 to 32 digits, `*`, `#`",
            "12: `number`: `1.80E+10` has lost digits in a spreadsheet; make the column text there",
            "13: `number`: is missing",
            "14: `line_limit`: must lie between 1 and 1,000,000",
        ]
    );
    let nobody = Options {
        owner: None,
        ..options(Kind::A, false)
    };
    assert_eq!(
        bad(
            "number,group\n0219,\n0218,gz\n02100000000,ga\n",
            &nobody,
            &state
        ),
        [
            "2: `group`: is missing",
            "3: `group`: no A group `gz`",
            "4: `number`: `02100000000` is there already; with update it would be changed"
        ]
    );
}

#[tokio::test]
async fn no_more_than_a_thousand_bad_rows_are_named() {
    let fake = sample().await;
    let text = format!("number\n{}", "x\n".repeat(1_500));
    match checked(&text, &options(Kind::X, false), &fake.state()) {
        Checked::Bad(bad) => {
            assert_eq!((bad.rows.len(), bad.count, bad.of), (1_000, 1_500, 1_500));
            assert_eq!(
                bad.to_string(),
                "1500 of 1500 rows are wrong; nothing was applied"
            );
        }
        Checked::Good(_) => panic!("`x` is no number"),
    }
}

#[tokio::test]
async fn an_update_keeps_what_the_file_does_not_have() {
    let fake = sample().await;
    let first = "number,line_limit,callers,memo\n18000000000,20,0571*,first\n18000000001,5,,\n";
    let ready = good(checked(first, &options(Kind::X, false), &fake.state()));
    assert_eq!((ready.report().made, ready.report().changed), (2, 0));
    applied(&fake, ready).await;
    let second = "number,memo\n18000000000,\n18000000001,new\n18000000002,newer\n";
    let ready = good(checked(second, &options(Kind::X, true), &fake.state()));
    let report = applied(&fake, ready)
        .await
        .pop()
        .and_then(|line| line.report)
        .expect("a report");
    assert_eq!(
        (report.made, report.changed, report.equal, report.failed),
        (1, 2, 0, None)
    );
    let state = fake.state();
    let row = |number: &str| {
        let id = state.find(Table::XNumbers, number).expect(number);
        let row = state.x(id).expect(number);
        (
            row.entity.line_limit,
            row.entity.callers.join(","),
            row.memo.clone(),
            row.version,
        )
    };
    assert_eq!(row("18000000000"), (20, "0571*".into(), String::new(), 2));
    assert_eq!(row("18000000001"), (5, String::new(), "new".into(), 2));
    assert_eq!(row("18000000002"), (1, String::new(), "newer".into(), 1));
    let ready = good(checked(second, &options(Kind::X, true), &state));
    assert_eq!((ready.report().equal, ready.report().changed), (3, 0));
}

#[tokio::test]
async fn rows_of_the_api_may_be_brought_in_as_they_are_shown() {
    let fake = sample().await;
    let state = fake.state();
    let shown: Vec<_> = crate::rows::ids(&state, Table::XNumbers)
        .filter_map(|id| state.row(Table::XNumbers, id))
        .map(|row| crate::rows::view(&state, &row))
        .collect();
    let list = serde_json::to_vec(&shown).expect("JSON");
    let lines: Vec<u8> = shown
        .iter()
        .flat_map(|row| format!("{row}\n\n").into_bytes())
        .collect();
    let all = Options {
        owner: None,
        ..options(Kind::X, true)
    };
    for (bytes, source) in [(list, Source::Json), (lines, Source::Jsonl)] {
        let ready = good(check(&bytes, source, &all, &state).expect("rows"));
        assert_eq!((ready.report().equal, ready.report().changed), (100, 0));
    }
    for (bytes, source, said) in [
        (
            &b"{}"[..],
            Source::Json,
            "the rows are not a list of JSON objects: ",
        ),
        (
            b"[1]",
            Source::Json,
            "the rows are not a list of JSON objects: ",
        ),
    ] {
        let told = check(bytes, source, &all, &state)
            .expect_err("no rows")
            .to_string();
        assert!(told.starts_with(said), "{told}");
    }
    match check(
        b"{\"number\":\"1\"}\nx\n{\"nummer\":\"1\"}",
        Source::Jsonl,
        &options(Kind::X, false),
        &state,
    ) {
        Ok(Checked::Bad(bad)) => {
            let lines: Vec<_> = bad
                .rows
                .iter()
                .map(|row| (row.line, row.field.as_str()))
                .collect();
            assert_eq!(lines, [(2, "row"), (3, "nummer")]);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_exported_is_taken_again() {
    let fake = sample().await;
    let text = "number,callers,allow_other_callers,state,memo,param\n18000000000,\"0571*,@0571\",no,disabled,\"a,\"\"b\",{\"\"k\"\":1}\n";
    let text = text
        .replace("\"a,\"\"b\"", "\"a,\"\"b\"\"\"")
        .replace("{\"\"k\"\":1}", "\"{\"\"k\"\":1}\"");
    applied(
        &fake,
        good(checked(&text, &options(Kind::X, false), &fake.state())),
    )
    .await;
    let state = fake.state();
    for kind in [Kind::X, Kind::A] {
        for format in [Format::Csv, Format::Xlsx] {
            for labels in [false, true] {
                let mut file = Vec::new();
                let mut pour = |piece: Vec<u8>| {
                    file.extend(piece);
                    true
                };
                export(&state, kind, format, labels, |_| true, &mut pour).expect("a file");
                let none = Options {
                    owner: None,
                    ..options(kind, true)
                };
                let ready =
                    good(check(&file, Source::Sheet(format), &none, &state).expect("a table"));
                let rows = if kind == Kind::X { 101 } else { 200 };
                assert_eq!(
                    (ready.report().equal, ready.report().changed),
                    (rows, 0),
                    "{kind:?} {format:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn many_rows_go_in_commands_of_two_thousand() {
    let fake = sample().await;
    let mut text = String::from("number,line_limit\n");
    for number in 0..5_000 {
        text.push_str(&format!("180{number:08},2\n"));
    }
    let lines = applied(
        &fake,
        good(checked(&text, &options(Kind::X, false), &fake.state())),
    )
    .await;
    let done: Vec<(u64, u64, bool)> = lines
        .iter()
        .map(|line| (line.done, line.of, line.report.is_some()))
        .collect();
    assert_eq!(
        done,
        [
            (2_000, 5_000, false),
            (4_000, 5_000, false),
            (5_000, 5_000, true)
        ]
    );
    assert_eq!(fake.state().x_numbers().count(), 5_100);
    // A line of the audit for each command, not for each row.
    let imports = fake
        .state()
        .audit()
        .filter(|line| line.before.is_none() && line.after.is_none())
        .count();
    assert_eq!(imports, 3);
}

#[tokio::test]
async fn an_edit_that_comes_between_stops_the_import_and_is_named() {
    let fake = sample().await;
    let text = "number,memo\n18000000000,new\n17000000001,changed\n";
    let ready = good(checked(text, &options(Kind::X, true), &fake.state()));
    let between = "number,memo\n17000000001,by somebody else\n";
    applied(
        &fake,
        good(checked(between, &options(Kind::X, true), &fake.state())),
    )
    .await;
    let before = fake.state().x_numbers().count();
    let report = applied(&fake, ready)
        .await
        .pop()
        .and_then(|line| line.report)
        .expect("a report");
    assert_eq!(
        (report.made, report.changed, report.failed.as_deref()),
        (0, 0, Some("line 3: `version`: is 2 by now"))
    );
    assert_eq!(fake.state().x_numbers().count(), before);
}

/// phone.dat of records and of entries that name them by place.
fn phone_dat(records: &[&str], entries: &[(u32, usize)]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut offsets = Vec::new();
    for record in records {
        offsets.push(8 + body.len() as u32);
        body.extend_from_slice(record.as_bytes());
        body.push(0);
    }
    let mut file = b"2302".to_vec();
    file.extend((8 + body.len() as u32).to_le_bytes());
    file.extend(body);
    for (prefix, place) in entries {
        file.extend(prefix.to_le_bytes());
        file.extend(
            offsets
                .get(*place)
                .copied()
                .unwrap_or(u32::MAX)
                .to_le_bytes(),
        );
        file.push(2);
    }
    file
}

#[test]
fn phone_dat_is_read() {
    let file = phone_dat(
        &["浙江|杭州|310000|0571", "北京|北京|100000|010"],
        &[(1_300_000, 1), (1_380_571, 0), (1_999_999, 1)],
    );
    let rows =
        good(region_files::check(&file, region_files::Source::PhoneDat).expect("a phone.dat"));
    let row = |mobile_prefix, area_code: &str, area_name: &str| RegionRow {
        mobile_prefix,
        area_code: area_code.into(),
        area_name: area_name.into(),
    };
    assert_eq!(
        rows,
        [
            row(1_300_000, "10", "北京"),
            row(1_380_571, "571", "浙江 杭州"),
            row(1_999_999, "10", "北京")
        ]
    );
}

#[test]
fn a_broken_phone_dat_is_refused_and_its_entry_named() {
    let record = "浙江|杭州|310000|0571";
    let whole = phone_dat(&[record], &[(1_380_571, 0)]);
    let with = |change: fn(&mut Vec<u8>)| {
        let mut file = whole.clone();
        change(&mut file);
        file
    };
    for (file, said) in [
        (Vec::new(), "the file is no phone.dat: it is too short"),
        (
            b"number,memo\n".to_vec(),
            "the file is no phone.dat: it does not begin with a version",
        ),
        (
            with(|file| file.truncate(20)),
            "the file is no phone.dat: its index lies outside",
        ),
        (
            with(|file| file.truncate(file.len() - 1)),
            "the file is no phone.dat: its index is cut",
        ),
        (
            with(|file| file[4..8].copy_from_slice(&0u32.to_le_bytes())),
            "the file is no phone.dat: its index lies outside",
        ),
        (
            phone_dat(&[record], &[(1_380_571, 9)]),
            "entry 1 of phone.dat: its record lies outside",
        ),
        (
            phone_dat(&[record, "a|b|c"], &[(1_380_571, 0), (1_380_572, 1)]),
            "entry 2 of phone.dat: its record has not four parts",
        ),
        (
            with(|file| file[8] = 0xff),
            "entry 1 of phone.dat: its record is not UTF-8",
        ),
        (
            with(|file| {
                let end = file.len() - 10;
                file[end] = b'x';
            }),
            "entry 1 of phone.dat: its record has no end",
        ),
    ] {
        let told = phone_dat::read(&file).expect_err(said).to_string();
        assert_eq!(told, said);
    }
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_are_no_phone_dat_and_do_no_harm(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), index in 0u32..220) {
        if bytes.len() >= 8 {
            bytes[..4].copy_from_slice(b"2302");
            bytes[4..8].copy_from_slice(&index.to_le_bytes());
        }
        let _ = phone_dat::read(&bytes);
    }
}

#[test]
fn bad_regions_are_named() {
    let text = "手机号段,区号,归属地\n\
                1380571,0571,杭州\n\
                138057,571,杭州\n\
                1380572,,\n\
                1380573,00571,杭州\n\
                1280573,0571,杭州\n\
                1380571,0571,杭州\n";
    match region_files::check(text.as_bytes(), region_files::Source::Sheet(Format::Csv)) {
        Ok(Checked::Bad(bad)) => {
            let lines: Vec<String> = bad.rows.iter().map(ToString::to_string).collect();
            assert_eq!(
                lines,
                [
                    "3: `mobile_prefix`: `138057` is not seven digits",
                    "5: `area_code`: `00571` is not 1 to 8 digits behind at most one 0",
                    "6: `mobile_prefix`: `1280573` is not within 1300000 and 1999999",
                    "7: `mobile_prefix`: `1380571` stands in line 2 already",
                ]
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn regions_come_in_force_and_out_again() {
    let fake = Fake::new().await;
    let load = async |text: String, replace: bool| {
        let checked =
            region_files::check(text.as_bytes(), region_files::Source::Sheet(Format::Csv));
        let rows = good(checked.expect("a table"));
        let report = region_files::compare(&fake.state(), &rows);
        let (tell, mut heard) = mpsc::channel(100);
        region_files::apply(&*fake, "test", rows, replace, report, &tell).await;
        drop(tell);
        let mut last = None;
        while let Some(line) = heard.recv().await {
            last = line.report;
        }
        last.expect("a report")
    };
    let mut text = String::from("mobile_prefix,area_code,area_name\n");
    for prefix in 1_300_000..1_345_000 {
        text.push_str(&format!(
            "{prefix},{},地区{}\n",
            310 + prefix % 90,
            prefix % 90
        ));
    }
    let report = load(text, false).await;
    assert_eq!(
        (report.made, report.changed, report.failed),
        (45_000, 0, None)
    );
    let state = fake.state();
    let region = state.region_of("+8613000011234").expect("loaded");
    assert_eq!((region.area_code, region.area_name), ("351", "地区41"));
    let report = load(
        "mobile_prefix,area_code,area_name\n1300001,010,北京\n1300002,,\n1345000,021,上海\n".into(),
        false,
    )
    .await;
    assert_eq!((report.made, report.changed, report.equal), (1, 2, 0));
    assert_eq!(fake.state().area_of("13000011234"), Some("10"));
    assert_eq!(fake.state().area_of("13000021234"), None);
    let mut file = Vec::new();
    let mut pour = |piece: Vec<u8>| {
        file.extend(piece);
        true
    };
    region_files::export(&fake.state(), Format::Csv, true, &mut pour).expect("a file");
    let rows = good(
        region_files::check(&file, region_files::Source::Sheet(Format::Csv)).expect("a table"),
    );
    let report = region_files::compare(&fake.state(), &rows);
    assert_eq!((report.equal, report.made, report.changed), (45_000, 0, 0));
    load("mobile_prefix,area_code\n1300001,010\n".into(), true).await;
    assert_eq!(fake.state().regions().len(), 1);
}

#[tokio::test]
async fn a_hundred_thousand_numbers_come_in_and_are_found_equal_in_their_export() {
    let fake = sample().await;
    let state = fake.state();
    let mut text = String::from("电话号码,线路上限,主叫号码,允许其他主叫,参数,备注\n");
    for number in 0..100_000 {
        text.push_str(&format!(
            "180{number:08},20,0571*;@0571,是,p{number},号码 {number}\n"
        ));
    }
    let ready = good(checked(&text, &options(Kind::X, false), &state));
    let mut next = State::clone(&state);
    let rows: Vec<PutRow> = (0..100_000)
        .map(|number| PutRow {
            id: None,
            version: None,
            memo: String::new(),
            entity: Entity::XNumber(XNumber {
                interface: 1,
                number: format!("180{number:08}"),
                line_limit: 20,
                callers: vec!["0571*".into()],
                allow_other_callers: true,
                param: String::new(),
                disabled: false,
            }),
        })
        .collect();
    for (request, rows) in (0u64..).zip(rows.chunks(2_000)) {
        let command = Command::PutMany(PutMany {
            request,
            actor: "test".into(),
            rows: rows.to_vec(),
        });
        let (reply, _) = next.apply(
            crate::fake::NOW,
            request,
            &command,
            &tandem_cluster::state::testing::PerPeriod,
        );
        assert!(matches!(reply, Reply::Rows(_)), "{reply:?}");
    }
    let mut file = Vec::new();
    let mut pour = |piece: Vec<u8>| {
        file.extend(piece);
        true
    };
    export(&next, Kind::X, Format::Xlsx, true, |_| true, &mut pour).expect("a file");
    let all = Options {
        owner: None,
        ..options(Kind::X, true)
    };
    let again = good(check(&file, Source::Sheet(Format::Xlsx), &all, &next).expect("a table"));
    assert_eq!(
        (ready.report().made, again.report().equal),
        (100_000, 100_100)
    );
}
