//! Files as people have them.

use super::*;
use proptest::prelude::*;
use rust_xlsxwriter::Workbook;
use std::io::Write as _;

const LAYOUT: Layout = Layout {
    columns: &[
        Column {
            field: "number",
            labels: &["电话号码", "号码"],
            needed: true,
        },
        Column {
            field: "line_limit",
            labels: &["线路上限"],
            needed: false,
        },
        Column {
            field: "memo",
            labels: &["备注"],
            needed: false,
        },
    ],
    passed: &["id", "并发"],
};

fn rows_within(bytes: &[u8], format: Format, limits: &Limits) -> Result<Vec<Record>, Error> {
    let mut rows = Vec::new();
    read(bytes, format, &LAYOUT, limits, |record| {
        rows.push(record);
        true
    })?;
    Ok(rows)
}

/// Lines with their texts: `-` for a column that is absent, `!` before what is wrong.
fn shown(rows: &[Record]) -> Vec<String> {
    let cell = |cell: &Cell| match cell {
        Cell::Absent => "-".to_owned(),
        Cell::Text(text) => text.clone(),
        Cell::Wrong(why) => format!("!{why}"),
    };
    rows.iter()
        .map(|row| {
            let cells: Vec<String> = (0..3).map(|column| cell(row.cell(column))).collect();
            format!("{}: {}", row.line, cells.join("|"))
        })
        .collect()
}

fn check_csv(bytes: &[u8], expected: &[&str]) {
    let rows = rows_within(bytes, Format::Csv, &Limits::default()).expect("a table");
    assert_eq!(shown(&rows), expected, "{}", String::from_utf8_lossy(bytes));
}

fn refused(bytes: &[u8], format: Format) -> String {
    rows_within(bytes, format, &Limits::default())
        .expect_err("no table")
        .to_string()
}

#[test]
fn headers_are_known_by_field_and_by_label() {
    for header in [
        "number,line_limit,memo",
        "\u{feff}number,line_limit,memo",
        "电话号码,线路上限,备注",
        " 电话号码 , 线路 上限,备注",
        "号码,Line Limit,MEMO",
        "number;line_limit;memo",
        "number\tline_limit\tmemo",
        "\"number\",\"line_limit\",\"memo\"",
        "\n\nnumber,line_limit,memo",
    ] {
        let separator = ['\t', ';']
            .into_iter()
            .find(|letter| header.contains(*letter))
            .unwrap_or(',');
        let text = format!("{header}\n017{separator}2{separator}一\n")
            .replace(',', &separator.to_string());
        let rows = rows_within(text.as_bytes(), Format::Csv, &Limits::default()).expect(header);
        assert!(
            shown(&rows)[0].ends_with(": 017|2|一"),
            "{header}: {rows:?}"
        );
    }
}

#[test]
fn lines_are_those_of_the_file() {
    check_csv(
        b"number,memo\n1,a\n\n  ,\n2,\"two\nlines\"\n3,c\r\n",
        &["2: 1|-|a", "5: 2|-|two\nlines", "7: 3|-|c"],
    );
}

#[test]
fn columns_may_come_in_any_order_and_some_are_passed_over() {
    check_csv(
        "备注,并发,id,number\nm,3,9,017\n".as_bytes(),
        &["2: 017|-|m"],
    );
}

#[test]
fn digits_stay_as_they_were_typed() {
    check_csv(
        b"number,line_limit\n0086571,02\n=\"0571\",1\n+86571*#, 3 \n",
        &["2: 0086571|02|-", "3: 0571|1|-", "4: +86571*#|3|-"],
    );
}

#[test]
fn text_of_chinese_excel_is_read() {
    let text = "电话号码,备注\n017,杭州联通\n";
    for encoding in [encoding_rs::GB18030, encoding_rs::GBK] {
        let (bytes, _, _) = encoding.encode(text);
        assert!(std::str::from_utf8(&bytes).is_err());
        check_csv(&bytes, &["2: 017|-|杭州联通"]);
    }
    let sixteen: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain(text.encode_utf16().flat_map(u16::to_le_bytes))
        .collect();
    check_csv(&sixteen, &["2: 017|-|杭州联通"]);
    assert_eq!(
        refused(b"number\n\xff\xff\xff\n", Format::Csv),
        "the file is neither UTF-8 nor GB18030 text"
    );
}

#[test]
fn a_header_that_does_not_fit_is_refused() {
    for (text, said) in [
        ("", "the file is empty"),
        ("\n , \n", "the file is empty"),
        (
            "number,colour\n1,2\n",
            "no column `colour`; there are number, line_limit, memo",
        ),
        ("number,号码\n1,2\n", "column `号码` comes twice"),
        ("memo\n1\n", "column `number` (电话号码) is missing"),
        (
            "1700000,1\n",
            "no column `1700000`; there are number, line_limit, memo",
        ),
    ] {
        assert_eq!(refused(text.as_bytes(), Format::Csv), said, "{text}");
    }
}

#[test]
fn a_row_beyond_the_header_is_told() {
    let rows =
        rows_within(b"number\n1,,\n2,,x\n", Format::Csv, &Limits::default()).expect("a table");
    assert_eq!(
        rows.iter().map(Record::stray).collect::<Vec<_>>(),
        [None, Some(2)]
    );
}

#[test]
fn bounds_are_kept() {
    let small = Limits {
        rows: 2,
        bytes: 40,
        cell: 6,
        unpacked: 1 << 20,
    };
    let within =
        |text: &str| rows_within(text.as_bytes(), Format::Csv, &small).map(|rows| shown(&rows));
    assert_eq!(
        within("number,memo\n1,a\n2,b\n").map(|rows| rows.len()),
        Ok(2)
    );
    let told = within("number\n1\n2\n3\n")
        .expect_err("three rows")
        .to_string();
    assert_eq!(told, "the file has more than 2 rows");
    let told = within(&"number\n".repeat(9))
        .expect_err("63 bytes")
        .to_string();
    assert_eq!(told, "the file has more than 40 bytes");
    let told = within("号码,备注\n1,1234567\n").expect("a table");
    assert_eq!(told, ["2: 1|-|!is longer than 6 bytes"]);
    let wide = format!("number{}x\n", ",".repeat(COLUMNS_MAX));
    assert_eq!(
        refused(wide.as_bytes(), Format::Csv),
        "the file has more than 64 columns"
    );
}

#[test]
fn reading_ends_when_no_more_is_wanted() {
    let mut seen = 0;
    let done = read(
        b"number\n1\n2\n3\n",
        Format::Csv,
        &LAYOUT,
        &Limits::default(),
        |_| {
            seen += 1;
            seen < 2
        },
    );
    assert_eq!((done, seen), (Ok(()), 2));
}

fn book(
    fill: impl FnOnce(&mut rust_xlsxwriter::Worksheet) -> Result<(), rust_xlsxwriter::XlsxError>,
) -> Vec<u8> {
    let mut book = Workbook::new();
    fill(book.add_worksheet()).expect("cells");
    book.add_worksheet()
        .write_string(0, 0, "another sheet")
        .expect("a cell");
    book.save_to_buffer().expect("a workbook")
}

#[test]
fn numbers_of_a_workbook_are_digits() {
    let bytes = book(|sheet| {
        for (column, name) in (0..).zip(["电话号码", "line_limit", "备注"]) {
            sheet.write_string(1, column, name)?;
        }
        sheet
            .write_number(2, 0, 13_800_000_000.0)?
            .write_number(2, 1, 20)?
            .write_string(2, 2, " 一 ")?;
        sheet
            .write_string(4, 0, "008613800000000123456789")?
            .write_boolean(4, 2, true)?;
        sheet
            .write_number(5, 0, 999_999_999_999_999.0)?
            .write_number(5, 1, 0.5)?;
        sheet.write_number(6, 0, 1e15)?.write_number(6, 1, 1e21)?;
        Ok(())
    });
    let rows = rows_within(&bytes, Format::Xlsx, &Limits::default()).expect("a table");
    assert_eq!(
        shown(&rows),
        [
            "3: 13800000000|20|一",
            "5: 008613800000000123456789||true",
            "6: 999999999999999|0.5|",
            "7: !is the number 1e15, of which Excel keeps 15 digits only; make the column text|\
             !is the number 1e21, of which Excel keeps 15 digits only; make the column text|",
        ]
    );
}

#[test]
fn what_a_formula_gave_is_read_and_its_errors_are_told() {
    use rust_xlsxwriter::{ExcelDateTime, Format as Look, Formula};
    let bytes = book(|sheet| {
        sheet
            .write_string(0, 0, "number")?
            .write_string(0, 1, "memo")?;
        sheet.write_formula(1, 0, Formula::new("=170*100").set_result("17000"))?;
        sheet.write_formula(2, 0, Formula::new("=1/0").set_result("#DIV/0!"))?;
        let day = ExcelDateTime::from_ymd(2025, 11, 21)?;
        sheet.write_datetime_with_format(3, 0, &day, &Look::new().set_num_format("yyyy-mm-dd"))?;
        Ok(())
    });
    let rows = rows_within(&bytes, Format::Xlsx, &Limits::default()).expect("a table");
    assert_eq!(
        shown(&rows),
        [
            "2: 17000|-|",
            "3: !is the error #DIV/0!|-|",
            "4: !is a date; make the column text|-|"
        ]
    );
}

#[test]
fn files_that_are_no_workbooks_are_refused() {
    for (bytes, said) in [
        (&b"number\n1\n"[..], "the workbook cannot be read: "),
        (
            &[0xd0, 0xcf, 0x11, 0xe0, 0xa1],
            "the workbook cannot be read: it is an old .xls or has a passw",
        ),
        (&[], "the workbook cannot be read: "),
    ] {
        let told = refused(bytes, Format::Xlsx);
        assert!(told.starts_with(said), "{told}");
    }
    let whole = book(|sheet| sheet.write_string(0, 0, "number").map(drop));
    for cut in [10, whole.len() / 2, whole.len() - 10] {
        assert!(refused(&whole[..cut], Format::Xlsx).starts_with("the workbook cannot be read: "));
    }
    let empty = Workbook::new().save_to_buffer().expect("a workbook");
    assert!(rows_within(&empty, Format::Xlsx, &Limits::default()).is_err());
}

/// A workbook whose part `name` holds `content` instead.
fn with_part(name: &str, content: &[u8]) -> Vec<u8> {
    let whole = book(|sheet| sheet.write_string(0, 0, "number").map(drop));
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(whole)).expect("an archive");
    let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for number in 0..archive.len() {
        let mut part = archive.by_index(number).expect("a part");
        let part_name = part.name().expect("a name").into_owned();
        out.start_file(part_name.clone(), zip::write::SimpleFileOptions::default())
            .expect("a part");
        if part_name == name {
            out.write_all(content).expect("written");
        } else {
            std::io::copy(&mut part, &mut out).expect("copied");
        }
    }
    out.finish().expect("an archive").into_inner()
}

#[test]
fn bombs_are_refused_before_they_are_read() {
    let bomb = with_part("xl/worksheets/sheet1.xml", &vec![b' '; 8 << 20]);
    assert!(bomb.len() < 64 << 10, "{}", bomb.len());
    let limits = Limits {
        unpacked: 4 << 20,
        ..Limits::default()
    };
    let told = rows_within(&bomb, Format::Xlsx, &limits)
        .expect_err("a bomb")
        .to_string();
    assert_eq!(told, "the file has more than 4194304 bytes unpacked");
    for count in ["99999999999999999999", "4000000000000", "1000"] {
        for attribute in [
            format!("uniqueCount=\"{count}\""),
            format!("uuniqueCount = '{count}'"),
            format!("uniqueCount\n=\n\"+{count}\""),
        ] {
            let strings = format!(
                "<?xml version=\"1.0\"?><!--{}--><sst {attribute}><si><t>number</t></si></sst>",
                "x".repeat(20)
            );
            let told = refused(
                &with_part("xl/sharedStrings.xml", strings.as_bytes()),
                Format::Xlsx,
            );
            assert_eq!(
                told,
                "the workbook cannot be read: its table of strings announces more than…"
            );
        }
    }
}

#[test]
fn what_is_written_is_read_again() {
    let rows = [
        ["017", "1", "=1+1"],
        ["*#", "20", "一,\"二\"\n三"],
        ["008613800000000123456789", "", "0.50"],
    ];
    for format in [Format::Csv, Format::Xlsx] {
        for labels in [false, true] {
            let mut writer =
                Writer::new(format, "numbers", &LAYOUT.header(labels)).expect("a writer");
            let mut bytes = Vec::new();
            for row in rows {
                writer.row(&row).expect("a row");
                bytes.extend(writer.take());
            }
            bytes.extend(writer.finish().expect("a file"));
            let read = rows_within(&bytes, format, &Limits::default()).expect("a table");
            let texts: Vec<Vec<&Cell>> = read
                .iter()
                .map(|row| (0..3).map(|column| row.cell(column)).collect())
                .collect();
            let expected = rows.map(|row| row.map(|text| Cell::Text(text.to_owned())));
            let expected: Vec<Vec<&Cell>> =
                expected.iter().map(|row| row.iter().collect()).collect();
            assert_eq!(texts, expected, "{format:?}");
        }
    }
}

#[test]
fn the_form_is_told_by_the_ending() {
    for (path, format) in [
        ("a/b.csv", Some(Format::Csv)),
        ("B.XLSX", Some(Format::Xlsx)),
        ("x.txt", Some(Format::Csv)),
        ("csv", None),
        ("x.xls", None),
    ] {
        assert_eq!(Format::of(Path::new(path)), format, "{path}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = rows_within(&bytes, Format::Csv, &Limits::default());
        let _ = rows_within(&bytes, Format::Xlsx, &Limits::default());
    }

    #[test]
    fn arbitrary_texts_survive_a_csv(texts in proptest::collection::vec("[^\\p{C}\\p{Z}=]{1,12}", 1..20)) {
        let mut writer = Writer::new(Format::Csv, "numbers", &LAYOUT.header(false)).expect("a writer");
        for text in &texts {
            writer.row(&["1", "2", text.as_str()]).expect("a row");
        }
        let bytes = writer.finish().expect("a file");
        let read = rows_within(&bytes, Format::Csv, &Limits::default()).expect("a table");
        let memos: Vec<Cell> = read.iter().map(|row| row.cell(2).clone()).collect();
        prop_assert_eq!(memos, texts.into_iter().map(Cell::Text).collect::<Vec<_>>());
    }
}
