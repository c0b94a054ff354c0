//! X and A numbers.

use super::{Bad, Checked, Error, Progress, Report, fault, hear, propose};
use crate::dto::{self, Dto, Fault};
use crate::rows::StateNames;
use crate::sheet::{self, Cell, Column, Format, Layout, Limits, Record, Writer};
use crate::switch::Switch;
use serde_json::{Map, Value};
use std::collections::HashMap;
use tandem_cluster::command::{Command, PUT_MANY_MAX, PutMany, PutRow, Reply};
use tandem_cluster::entity::{Entity, Id, Row, Table};
use tandem_cluster::state::State;
use tokio::sync::mpsc;

/// Bytes of the rows of one command, roughly: lists of callers may be long.
const COMMAND_BYTES: usize = 512 << 10;

/// Columns of X numbers, in the order of the console.
const X_LAYOUT: Layout = Layout {
    columns: &[
        column("number", &["电话号码", "X 号码", "号码"], true),
        column("interface", &["接口名称", "AXB 接口", "接口"], false),
        column("line_limit", &["线路上限"], false),
        column("callers", &["主叫号码"], false),
        column("allow_other_callers", &["允许其他主叫"], false),
        column("param", &["参数"], false),
        column("state", &["状态"], false),
        column("memo", &["备注"], false),
    ],
    passed: PASSED,
};
/// Columns of A numbers.
const A_LAYOUT: Layout = Layout {
    columns: &[
        column("number", &["电话号码", "A 号码", "号码"], true),
        column(
            "group",
            &["A 号码组", "AXB 号码组 A", "号码组", "a_group"],
            false,
        ),
        column("line_limit", &["线路上限"], false),
        column("memo", &["备注"], false),
    ],
    passed: PASSED,
};
/// What lists show beside.
const PASSED: &[&str] = &[
    "id",
    "version",
    "concurrency",
    "并发",
    "created_at",
    "创建时间",
    "updated_at",
    "更新时间",
    "interface_id",
    "group_id",
    "序号",
];

const fn column(field: &'static str, labels: &'static [&'static str], needed: bool) -> Column {
    Column {
        field,
        labels,
        needed,
    }
}

/// The kinds of numbers that files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// X 号码管理
    X,
    /// A 号码管理
    A,
}

impl Kind {
    /// Its table.
    pub fn table(self) -> Table {
        match self {
            Kind::X => Table::XNumbers,
            Kind::A => Table::ANumbers,
        }
    }

    /// Its columns.
    pub fn layout(self) -> &'static Layout {
        match self {
            Kind::X => &X_LAYOUT,
            Kind::A => &A_LAYOUT,
        }
    }

    /// The field that says where a number belongs, and the table it names a row of.
    pub fn owner(self) -> (&'static str, Table) {
        match self {
            Kind::X => ("interface", Table::Interfaces),
            Kind::A => ("group", Table::AGroups),
        }
    }
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A table.
    Sheet(Format),
    /// A JSON array of rows as the API shows them.
    Json,
    /// A JSON row a line.
    Jsonl,
}

/// How a file is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What it holds.
    pub kind: Kind,
    /// Name of the interface or A group of the rows that name none.
    pub owner: Option<String>,
    /// Numbers that are there already are changed; otherwise they are mistakes. Columns that the file does not have
    /// stay as they are.
    pub update: bool,
}

/// A file whose rows are all good.
#[derive(Clone, Debug, PartialEq)]
pub struct Ready {
    table: Table,
    /// With the line of each.
    rows: Vec<(u64, PutRow)>,
    equal: u64,
}

impl Ready {
    /// What there is to do.
    pub fn report(&self) -> Report {
        let made = self.rows.iter().filter(|(_, row)| row.id.is_none()).count() as u64;
        Report {
            made,
            changed: self.rows.len() as u64 - made,
            equal: self.equal,
            ..Report::default()
        }
    }
}

/// Reads a file and checks all of its rows against each other and the state. Some microseconds a row.
pub fn check(
    bytes: &[u8],
    source: Source,
    options: &Options,
    state: &State,
) -> Result<Checked<Ready>, Error> {
    let mut check = Check {
        options,
        state,
        seen: HashMap::new(),
        ready: Ready {
            table: options.kind.table(),
            rows: Vec::new(),
            equal: 0,
        },
        bad: Bad::default(),
    };
    match source {
        Source::Sheet(format) => {
            sheet::read(
                bytes,
                format,
                options.kind.layout(),
                &Limits::default(),
                |record| {
                    check.row(record.line, fields(&record, options.kind.layout()));
                    true
                },
            )?;
        }
        Source::Json => {
            let rows: Vec<Map<String, Value>> =
                serde_json::from_slice(bytes).map_err(|error| Error::Json(error.to_string()))?;
            for (line, row) in (1..).zip(rows) {
                let row = check.written(row);
                check.row(line, row);
            }
        }
        Source::Jsonl => {
            let lines = (1..).zip(bytes.split(|byte| *byte == b'\n'));
            for (line, row) in lines.filter(|(_, row)| !row.trim_ascii().is_empty()) {
                let row = serde_json::from_slice(row)
                    .map_err(|error| Fault::new("row", format!("is not a JSON object: {error}")))
                    .and_then(|row| check.written(row));
                check.row(line, row);
            }
        }
    }
    let Check { ready, bad, .. } = check;
    Ok(match bad.count {
        0 => Checked::Good(ready),
        _ => Checked::Bad(bad),
    })
}

/// What a file says of a row: the fields it has; without a value where the default is meant.
type Fields = Vec<(String, Value)>;

struct Check<'c> {
    options: &'c Options,
    state: &'c State,
    /// Numbers of the file and where they stand.
    seen: HashMap<String, u64>,
    ready: Ready,
    bad: Bad,
}

impl Check<'_> {
    /// A row as the API shows it, without what is only ever shown.
    fn written(&self, mut row: Map<String, Value>) -> Result<Fields, Fault> {
        crate::rows::writable(self.state, self.options.kind.table(), &mut row)?;
        Ok(row.into_iter().collect())
    }

    fn row(&mut self, line: u64, fields: Result<Fields, Fault>) {
        self.bad.of += 1;
        match fields.and_then(|fields| self.wanted(line, fields)) {
            // While one row is wrong nothing is applied, so the good ones need no room.
            _ if self.bad.of > Limits::default().rows as u64 => {
                let text = format!("more than {} rows", Limits::default().rows);
                self.bad.add(line, Fault::new("row", text));
            }
            Ok(Some(row)) if self.bad.count == 0 => self.ready.rows.push((line, row)),
            Ok(Some(_)) => {}
            Ok(None) => self.ready.equal += 1,
            Err(fault) => self.bad.add(line, fault),
        }
    }

    /// What has to be put for a row; nothing when it is there as the file has it.
    fn wanted(&mut self, line: u64, fields: Fields) -> Result<Option<PutRow>, Fault> {
        let kind = self.options.kind;
        let (owner, _) = kind.owner();
        let names = StateNames(self.state);
        let said = |name: &str| {
            let mut values = fields.iter().filter(|(field, _)| field == name);
            values
                .next()
                .and_then(|(_, value)| value.as_str())
                .map(str::to_owned)
        };
        let number = said("number").unwrap_or_default();
        let belongs = said(owner)
            .filter(|name| !name.is_empty())
            .or_else(|| self.options.owner.clone());
        // An A number is one of its group, so the group must be known to find it.
        let key = match (kind, &belongs) {
            (Kind::X, _) => number.clone(),
            (Kind::A, Some(group)) => format!("{group}/{number}"),
            (Kind::A, None) => return Err(Fault::new(owner, "is missing")),
        };
        let old = self
            .state
            .find(kind.table(), &key)
            .and_then(|id| self.state.row(kind.table(), id));
        let old: Option<Row<Entity>> = match old {
            Some(_) if !self.options.update => {
                let text = format!("`{number}` is there already; with update it would be changed");
                return Err(Fault::new("number", text));
            }
            old => old,
        };
        let mut whole = match &old {
            Some(old) => Dto::of(&old.entity, &old.memo, &names).fields(),
            None => Map::new(),
        };
        for (field, value) in fields {
            match value {
                // A number always belongs somewhere.
                Value::Null if field == owner => None,
                Value::Null => whole.remove(&field),
                value => whole.insert(field, value),
            };
        }
        if let Some(name) = belongs {
            whole.insert(owner.to_owned(), Value::String(name));
        }
        let row = Dto::read(kind.table(), &whole)?;
        if let Some(first) = self.seen.insert(row.key(), line) {
            self.seen.insert(row.key(), first);
            let text = format!("`{number}` stands in line {first} already");
            return Err(Fault::new("number", text));
        }
        let entity = row.entity(&names, old.as_ref().map(|old| &old.entity))?;
        if old
            .as_ref()
            .is_some_and(|old| old.entity == entity && old.memo == row.memo())
        {
            return Ok(None);
        }
        let put = PutRow {
            id: old.as_ref().map(|old| old.id),
            // What the file does not say is taken from this version.
            version: old.map(|old| old.version),
            memo: row.memo().to_owned(),
            entity,
        };
        self.state.check_row(&put).map_err(fault)?;
        Ok(Some(put))
    }
}

/// A row of a table as fields of the API.
fn fields(record: &Record, layout: &Layout) -> Result<Fields, Fault> {
    if let Some(stray) = record.stray() {
        let text = format!(
            "column {} of the file has no name, and something stands in it",
            stray + 1
        );
        return Err(Fault::new("row", text));
    }
    let mut fields = Fields::new();
    for (place, column) in layout.columns.iter().enumerate() {
        let value = match record.cell(place) {
            Cell::Absent => continue,
            Cell::Wrong(why) => return Err(Fault::new(column.field, why)),
            Cell::Text(text) if text.is_empty() => Value::Null,
            Cell::Text(text) => value(column.field, text)?,
        };
        fields.push((column.field.to_owned(), value));
    }
    Ok(fields)
}

/// A text of a table as the value of a field.
fn value(field: &str, text: &str) -> Result<Value, Fault> {
    let wrong = |what: &str| Fault::new(field, format!("`{text}` is not {what}"));
    Ok(match field {
        "number" if is_scientific(text) => {
            let text =
                format!("`{text}` has lost digits in a spreadsheet; make the column text there");
            return Err(Fault::new(field, text));
        }
        "line_limit" => Value::from(text.parse::<u32>().map_err(|_| wrong("a whole number"))?),
        "callers" => {
            let between = |letter: char| {
                letter.is_whitespace() || matches!(letter, ',' | ';' | '|' | '，' | '；' | '、')
            };
            text.split(between)
                .filter(|caller| !caller.is_empty())
                .map(Value::from)
                .collect()
        }
        "allow_other_callers" => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "y" | "on" | "1" | "是" | "允许" | "√" => Value::Bool(true),
            "false" | "no" | "n" | "off" | "0" | "否" | "不允许" | "×" => Value::Bool(false),
            _ => return Err(wrong("true or false (是, 否)")),
        },
        "state" => match text.to_ascii_lowercase().as_str() {
            "active" | "正常" | "启用" => "active".into(),
            "quarantined" | "隔离" => "quarantined".into(),
            "disabled" | "停用" | "禁用" => "disabled".into(),
            _ => return Err(wrong("active or disabled (正常, 停用)")),
        },
        _ => Value::from(text),
    })
}

/// `1.70E+10`, as spreadsheets write long numbers into CSV.
fn is_scientific(text: &str) -> bool {
    text.split_once(['E', 'e']).is_some_and(|(head, power)| {
        let digits = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b'.')
        };
        digits(head) && digits(power.trim_start_matches('+'))
    })
}

/// Puts rows that were found good, many a command. `tell` hears how far it is; the last time with the report.
pub async fn apply(switch: &dyn Switch, actor: &str, ready: Ready, tell: &mpsc::Sender<Progress>) {
    let of = ready.rows.len() as u64;
    let mut report = Report {
        equal: ready.equal,
        ..Report::default()
    };
    let mut rows = ready.rows.into_iter().peekable();
    let mut done = 0;
    while rows.peek().is_some() {
        let (mut lines, mut command, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some((line, row)) =
            rows.next_if(|_| command.len() < PUT_MANY_MAX && bytes < COMMAND_BYTES)
        {
            bytes += size(&row);
            lines.push(line);
            command.push(row);
        }
        let made = command.iter().filter(|row| row.id.is_none()).count() as u64;
        let count = command.len() as u64;
        let command = Command::PutMany(PutMany {
            request: rand::random(),
            actor: actor.to_owned(),
            rows: command,
        });
        match propose(switch, command).await {
            Ok(Reply::Rows(_)) => {
                done += count;
                report.made += made;
                report.changed += count - made;
                if rows.peek().is_some() {
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
            Ok(Reply::Refused(refusal)) => {
                report.failed = Some(refused(&lines, fault(refusal)));
                break;
            }
            Ok(other) => {
                report.failed = Some(format!("unexpected reply {other:?}"));
                break;
            }
            Err(unavailable) => {
                report.failed = Some(unavailable.to_string());
                break;
            }
        }
    }
    let report = Some(report);
    hear(tell, Progress { done, of, report }).await;
}

/// A refusal of many rows, with the line of the one it names: somebody edited it since it was checked.
fn refused(lines: &[u64], fault: Fault) -> String {
    let place = fault
        .field
        .strip_prefix("rows[")
        .and_then(|rest| rest.split_once(']'));
    let line = place.and_then(|(place, _)| lines.get(place.parse::<usize>().ok()?));
    match (line, place) {
        (Some(line), Some((_, field))) => {
            format!(
                "line {line}: `{}`: {}",
                field.trim_start_matches('.'),
                fault.text
            )
        }
        _ => fault.to_string(),
    }
}

/// Bytes of a row, roughly.
fn size(row: &PutRow) -> usize {
    let callers = |callers: &[String]| callers.iter().map(|caller| caller.len() + 4).sum::<usize>();
    64 + row.memo.len()
        + match &row.entity {
            Entity::XNumber(x) => callers(&x.callers) + x.param.len(),
            _ => 0,
        }
}

/// Writes the rows of a state that `wanted` lets through, as [`check`] takes them; `pour` gets the file piece by piece
/// and answers false when nobody wants more.
pub fn export(
    state: &State,
    kind: Kind,
    format: Format,
    labels: bool,
    wanted: impl Fn(Id) -> bool,
    pour: &mut dyn FnMut(Vec<u8>) -> bool,
) -> Result<(), sheet::Error> {
    /// Bytes that are worth sending.
    const PIECE: usize = 64 << 10;
    let layout = kind.layout();
    let names = StateNames(state);
    let mut writer = Writer::new(format, dto::path(kind.table()), &layout.header(labels))?;
    let mut piece = Vec::new();
    for id in crate::rows::ids(state, kind.table()).filter(|id| wanted(*id)) {
        let Some(row) = state.row(kind.table(), id) else {
            continue;
        };
        let fields = Dto::of(&row.entity, &row.memo, &names).fields();
        let cells: Vec<String> = layout
            .columns
            .iter()
            .map(|column| text(fields.get(column.field)))
            .collect();
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

/// A field as the text of a cell.
fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(","),
        Some(other) => other.to_string(),
    }
}
