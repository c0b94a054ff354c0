//! 手机地区: the table of mobile prefixes.

use super::{Bad, Checked, Error, Progress, Report, fault, hear, phone_dat, propose};
use crate::dto::Fault;
use crate::sheet::{self, Cell, Column, Format, Layout, Limits, Record, Writer};
use crate::switch::Switch;
use std::collections::HashMap;
use tandem_cluster::command::{Command, REGION_ROWS_MAX, RegionEdit, RegionRow, Reply};
use tandem_cluster::regions::{self, AREA_NAME_MAX, PREFIX_MAX, PREFIX_MIN};
use tandem_cluster::state::State;
use tokio::sync::mpsc;

/// Columns of the table.
pub const LAYOUT: Layout = Layout {
    columns: &[
        Column {
            field: "mobile_prefix",
            labels: &["手机号段", "号段", "手机前缀", "手机号码前缀"],
            needed: true,
        },
        Column {
            field: "area_code",
            labels: &["区号", "地区区号"],
            needed: true,
        },
        Column {
            field: "area_name",
            labels: &["地区名称", "地区", "归属地"],
            needed: false,
        },
    ],
    passed: &["id", "序号", "zip", "邮编", "operator", "运营商"],
};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A table.
    Sheet(Format),
    /// phone.dat
    PhoneDat,
}

/// Reads a file and checks all of its rows.
pub fn check(bytes: &[u8], source: Source) -> Result<Checked<Vec<RegionRow>>, Error> {
    let mut check = Check::default();
    match source {
        Source::Sheet(format) => {
            sheet::read(bytes, format, &LAYOUT, &Limits::default(), |record| {
                check.row(record.line, row(&record));
                true
            })?;
        }
        Source::PhoneDat => {
            for entry in phone_dat::read(bytes)? {
                // Of cities that are provinces the name would come twice.
                let name = match entry.province == entry.city {
                    true => entry.city.to_owned(),
                    false => format!("{} {}", entry.province, entry.city),
                };
                check.row(
                    entry.number,
                    made(entry.prefix, entry.area_code, name.trim().to_owned()),
                );
            }
        }
    }
    Ok(match check.bad.count {
        0 => Checked::Good(check.rows),
        _ => Checked::Bad(check.bad),
    })
}

#[derive(Default)]
struct Check {
    rows: Vec<RegionRow>,
    seen: HashMap<u32, u64>,
    bad: Bad,
}

impl Check {
    fn row(&mut self, line: u64, row: Result<RegionRow, Fault>) {
        self.bad.of += 1;
        let row = row.and_then(|row| match self.seen.insert(row.mobile_prefix, line) {
            None => Ok(row),
            Some(first) => {
                let text = format!("`{}` stands in line {first} already", row.mobile_prefix);
                Err(Fault::new("mobile_prefix", text))
            }
        });
        match row {
            Ok(row) => self.rows.push(row),
            Err(fault) => self.bad.add(line, fault),
        }
    }
}

fn row(record: &Record) -> Result<RegionRow, Fault> {
    if let Some(stray) = record.stray() {
        let text = format!(
            "column {} of the file has no name, and something stands in it",
            stray + 1
        );
        return Err(Fault::new("row", text));
    }
    let text = |place: usize| match record.cell(place) {
        Cell::Absent => Ok(""),
        Cell::Text(text) => Ok(text.as_str()),
        Cell::Wrong(why) => Err(Fault::new(LAYOUT.columns[place].field, why)),
    };
    let (prefix, code, name) = (text(0)?, text(1)?, text(2)?);
    let digits = prefix.len() == 7 && prefix.bytes().all(|byte| byte.is_ascii_digit());
    let number = prefix.parse().ok().filter(|_| digits);
    let number = number
        .ok_or_else(|| Fault::new("mobile_prefix", format!("`{prefix}` is not seven digits")))?;
    made(number, code, name.to_owned())
}

fn made(mobile_prefix: u32, code: &str, area_name: String) -> Result<RegionRow, Fault> {
    if !(PREFIX_MIN..=PREFIX_MAX).contains(&mobile_prefix) {
        let text = format!("`{mobile_prefix}` is not within {PREFIX_MIN} and {PREFIX_MAX}");
        return Err(Fault::new("mobile_prefix", text));
    }
    if area_name.len() > AREA_NAME_MAX {
        return Err(Fault::new(
            "area_name",
            format!("is longer than {AREA_NAME_MAX} bytes"),
        ));
    }
    let area_code = match code {
        // The prefix goes.
        "" => "",
        code => regions::area_code(code).ok_or_else(|| {
            Fault::new(
                "area_code",
                format!("`{code}` is not 1 to 8 digits behind at most one 0"),
            )
        })?,
    };
    Ok(RegionRow {
        mobile_prefix,
        area_code: area_code.to_owned(),
        area_name,
    })
}

/// What an import would do to the table in force.
pub fn compare(state: &State, rows: &[RegionRow]) -> Report {
    let table = state.regions();
    let mut report = Report::default();
    let mut there = table.from(0).peekable();
    let mut sorted: Vec<&RegionRow> = rows.iter().collect();
    sorted.sort_unstable_by_key(|row| row.mobile_prefix);
    for row in sorted {
        while there
            .next_if(|old| old.mobile_prefix < row.mobile_prefix)
            .is_some()
        {}
        match there.next_if(|old| old.mobile_prefix == row.mobile_prefix) {
            None if row.area_code.is_empty() => report.equal += 1,
            None => report.made += 1,
            Some(old) if old.area_code == row.area_code && old.area_name == row.area_name => {
                report.equal += 1
            }
            Some(_) => report.changed += 1,
        }
    }
    report
}

/// Sends rows that were found good, part by part; the last part puts all of them in force at once. `tell` hears how far
/// it is; the last time with `report`, whose counts are 0 when it failed.
pub async fn apply(
    switch: &dyn Switch,
    actor: &str,
    rows: Vec<RegionRow>,
    replace: bool,
    report: Report,
    tell: &mpsc::Sender<Progress>,
) {
    let of = rows.len() as u64;
    let import = rand::random();
    let mut done = 0;
    let mut failed = None;
    let parts = rows.chunks(REGION_ROWS_MAX);
    let count = parts.len();
    for (part, rows) in (0..).zip(parts) {
        let last = part as usize + 1 == count;
        let command = Command::Regions(RegionEdit {
            request: rand::random(),
            actor: actor.to_owned(),
            import,
            part,
            last,
            replace,
            rows: rows.to_vec(),
        });
        failed = match propose(switch, command).await {
            Ok(Reply::Done) => None,
            Ok(Reply::Refused(refusal)) => Some(fault(refusal).to_string()),
            Ok(other) => Some(format!("unexpected reply {other:?}")),
            Err(unavailable) => Some(unavailable.to_string()),
        };
        if failed.is_some() {
            break;
        }
        done += rows.len() as u64;
        if !last {
            hear(
                tell,
                Progress {
                    done,
                    of,
                    report: None,
                },
            )
            .await;
        }
    }
    let report = match failed {
        None => report,
        failed => Report {
            failed,
            ..Report::default()
        },
    };
    let report = Some(report);
    hear(tell, Progress { done, of, report }).await;
}

/// Writes the table in force as [`check`] takes it.
pub fn export(
    state: &State,
    format: Format,
    labels: bool,
    pour: &mut dyn FnMut(Vec<u8>) -> bool,
) -> Result<(), sheet::Error> {
    /// Bytes that are worth sending.
    const PIECE: usize = 64 << 10;
    let mut writer = Writer::new(format, "regions", &LAYOUT.header(labels))?;
    let mut piece = Vec::new();
    for row in state.regions().from(0) {
        // People know area codes with their 0.
        let cells = [
            row.mobile_prefix.to_string(),
            format!("0{}", row.area_code),
            row.area_name.to_owned(),
        ];
        writer.row(&cells)?;
        piece.extend(writer.take());
        if piece.len() >= PIECE && !pour(std::mem::take(&mut piece)) {
            return Ok(());
        }
    }
    piece.extend(writer.finish()?);
    pour(piece);
    Ok(())
}
