//! Tables of rows in files that people make: CSV and XLSX in, the same form out.
//!
//! Pure: bytes in, [`Record`]s out, one by one. What a column means is the caller's matter; this room finds the
//! columns by their names (`DOMAIN.md` §3, English or Chinese), keeps digits as they were typed, and names the line of
//! whatever it cannot read. Files come from outside, so everything has a bound ([`Limits`]).

mod csv;
mod write;
mod xlsx;

pub use write::{Writer, XLSX_ROWS_MAX};

use std::path::Path;
use std::str::FromStr;

/// Columns of a file at most, named or not.
pub(crate) const COLUMNS_MAX: usize = 64;

/// Forms of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Separated by commas, semicolons or tabs; UTF-8, UTF-16 with a mark, or GB18030 (GBK) as Chinese Excel writes it.
    Csv,
    /// Workbook of Excel 2007 and later; its first sheet.
    Xlsx,
}

impl Format {
    /// By the ending of a file's name.
    pub fn of(path: &Path) -> Option<Format> {
        path.extension()?.to_str()?.parse().ok()
    }

    /// What the file's name ends in.
    pub fn ending(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Xlsx => "xlsx",
        }
    }

    /// The media type.
    pub fn media(self) -> &'static str {
        match self {
            Format::Csv => "text/csv; charset=utf-8",
            Format::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        match text.to_ascii_lowercase().as_str() {
            "csv" | "txt" => Ok(Format::Csv),
            "xlsx" | "xlsm" => Ok(Format::Xlsx),
            _ => Err(format!("`{text}` is neither csv nor xlsx")),
        }
    }
}

/// A column that a file may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in the API, which is also the header of what is written.
    pub field: &'static str,
    /// What people call it; the first is the label of the console.
    pub labels: &'static [&'static str],
    /// A file without it is refused.
    pub needed: bool,
}

/// The columns of one kind of rows.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Those that are read, in the order in which they are written.
    pub columns: &'static [Column],
    /// Those that are only ever shown; in a file they are passed over, so that what was exported can be imported.
    pub passed: &'static [&'static str],
}

impl Layout {
    /// The columns' names as a header: of the API, or as people call them.
    pub fn header(&self, labels: bool) -> Vec<&'static str> {
        let label = |column: &Column| column.labels.first().copied().filter(|_| labels);
        self.columns
            .iter()
            .map(|column| label(column).unwrap_or(column.field))
            .collect()
    }

    /// Where a header's names belong.
    fn places(&self, header: &[String]) -> Result<Places, Error> {
        let mut places = Places {
            of: Vec::new(),
            read: self.columns.len(),
            there: vec![false; self.columns.len()],
        };
        for name in header {
            let found = self.columns.iter().position(|column| {
                std::iter::once(&column.field)
                    .chain(column.labels)
                    .any(|known| plain(known) == plain(name))
            });
            let passed =
                name.is_empty() || self.passed.iter().any(|known| plain(known) == plain(name));
            match found {
                Some(place) if places.there[place] => {
                    return Err(Error::RepeatedColumn(name.clone()));
                }
                Some(place) => places.there[place] = true,
                None if passed => {}
                None => {
                    return Err(Error::UnknownColumn {
                        column: shortened(name),
                        known: self.header(false).join(", "),
                    });
                }
            }
            places.of.push(found);
        }
        let missing = self
            .columns
            .iter()
            .zip(&places.there)
            .find(|(column, there)| column.needed && !**there);
        match missing {
            Some((column, _)) => Err(Error::MissingColumn {
                column: column.field,
                label: column.labels.first().copied().unwrap_or(column.field),
            }),
            None => Ok(places),
        }
    }
}

/// A name without what people write differently.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|letter| !letter.is_whitespace() && !matches!(letter, '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// Which column of the file is which column of the layout.
struct Places {
    of: Vec<Option<usize>>,
    read: usize,
    there: Vec<bool>,
}

impl Places {
    /// An empty row: columns that the file has are empty texts.
    fn record(&self, line: u64) -> Record {
        let cell = |there: &bool| {
            if *there {
                Cell::Text(String::new())
            } else {
                Cell::Absent
            }
        };
        Record {
            line,
            cells: self.there.iter().map(cell).collect(),
            stray: None,
        }
    }

    /// Enters what stands in the file's column `at`.
    fn put(&self, record: &mut Record, at: usize, cell: Cell) {
        match self.of.get(at) {
            Some(Some(place)) => record.cells[*place] = cell,
            // A column that is passed over.
            Some(None) => {}
            None if cell != Cell::Text(String::new()) => {
                record.stray.get_or_insert(at);
            }
            None => {}
        }
    }
}

/// What stands in a row's column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// The file does not have the column.
    Absent,
    /// A text without the white space around it; may be empty.
    Text(String),
    /// It cannot be read; this is why.
    Wrong(String),
}

/// One row of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its line in the file (of a workbook: its row), counted from 1.
    pub line: u64,
    cells: Vec<Cell>,
    stray: Option<usize>,
}

impl Record {
    /// What stands in the layout's column `column`.
    pub fn cell(&self, column: usize) -> &Cell {
        self.cells.get(column).unwrap_or(&Cell::Absent)
    }

    /// A column of the file (counted from 0) that holds something though the header does not name it.
    pub fn stray(&self) -> Option<usize> {
        self.stray
    }

    fn is_blank(&self) -> bool {
        let blank = |cell: &Cell| match cell {
            Cell::Absent => true,
            Cell::Text(text) => text.is_empty(),
            Cell::Wrong(_) => false,
        };
        self.stray.is_none() && self.cells.iter().all(blank)
    }
}

/// What a file may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows without the header.
    pub rows: usize,
    /// Bytes of the file.
    pub bytes: usize,
    /// Bytes of a cell.
    pub cell: usize,
    /// Bytes of all parts of a workbook, unpacked.
    pub unpacked: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rows: 1_000_000,
            bytes: 256 << 20,
            cell: 4 << 10,
            unpacked: 1 << 30,
        }
    }
}

/// A file that cannot be read as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Beyond a bound.
    #[error("the file has more than {most} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The bound.
        most: u64,
    },
    /// No header.
    #[error("the file is empty")]
    Empty,
    /// Bytes that are no text.
    #[error("the file is neither UTF-8 nor GB18030 text")]
    Encoding,
    /// A line that is no CSV.
    #[error("line {line}: {why}")]
    Line {
        /// Which.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// Not a workbook, or a broken one.
    #[error("the workbook cannot be read: {0}")]
    Workbook(String),
    /// A name in the header that means nothing.
    #[error("no column `{column}`; there are {known}")]
    UnknownColumn {
        /// Which.
        column: String,
        /// What could stand there.
        known: String,
    },
    /// Two names in the header that mean the same.
    #[error("column `{0}` comes twice")]
    RepeatedColumn(String),
    /// A column that must be there.
    #[error("column `{column}` ({label}) is missing")]
    MissingColumn {
        /// Its name.
        column: &'static str,
        /// What people call it.
        label: &'static str,
    },
}

/// Reads a file row by row. Blank rows are passed over; the first other one is the header. Ends early when `each`
/// answers false.
pub fn read(
    bytes: &[u8],
    format: Format,
    layout: &Layout,
    limits: &Limits,
    mut each: impl FnMut(Record) -> bool,
) -> Result<(), Error> {
    if bytes.len() > limits.bytes {
        return Err(Error::TooMuch {
            what: "bytes",
            most: limits.bytes as u64,
        });
    }
    let mut table = Table {
        layout,
        limits,
        places: None,
        rows: 0,
        each: &mut each,
    };
    match format {
        Format::Csv => csv::read(bytes, &mut table)?,
        Format::Xlsx => xlsx::read(bytes, &mut table)?,
    }
    match table.places {
        Some(_) => Ok(()),
        None => Err(Error::Empty),
    }
}

/// What both readers do with a line.
struct Table<'t> {
    layout: &'t Layout,
    limits: &'t Limits,
    places: Option<Places>,
    rows: usize,
    each: &'t mut dyn FnMut(Record) -> bool,
}

impl Table<'_> {
    /// Takes the cells of one line with their places. False: no more are wanted.
    fn line(
        &mut self,
        line: u64,
        cells: impl Iterator<Item = (usize, Cell)>,
    ) -> Result<bool, Error> {
        let Some(places) = &self.places else {
            return self.header(line, cells).map(|()| true);
        };
        let mut record = places.record(line);
        debug_assert_eq!(record.cells.len(), places.read);
        for (at, cell) in cells {
            places.put(&mut record, at, self.bounded(cell));
        }
        if record.is_blank() {
            return Ok(true);
        }
        self.rows += 1;
        if self.rows > self.limits.rows {
            return Err(Error::TooMuch {
                what: "rows",
                most: self.limits.rows as u64,
            });
        }
        Ok((self.each)(record))
    }

    fn header(
        &mut self,
        line: u64,
        cells: impl Iterator<Item = (usize, Cell)>,
    ) -> Result<(), Error> {
        let mut names: Vec<String> = Vec::new();
        for (at, cell) in cells {
            match self.bounded(cell) {
                Cell::Text(text) if text.is_empty() => {}
                Cell::Text(_) if at >= COLUMNS_MAX => {
                    return Err(Error::TooMuch {
                        what: "columns",
                        most: COLUMNS_MAX as u64,
                    });
                }
                Cell::Text(text) => {
                    names.resize(names.len().max(at + 1), String::new());
                    names[at] = text;
                }
                Cell::Wrong(why) => return Err(Error::Line { line, why }),
                Cell::Absent => {}
            }
        }
        if !names.is_empty() {
            self.places = Some(self.layout.places(&names)?);
        }
        Ok(())
    }

    fn bounded(&self, cell: Cell) -> Cell {
        match cell {
            Cell::Text(text) if text.len() > self.limits.cell => {
                Cell::Wrong(format!("is longer than {} bytes", self.limits.cell))
            }
            cell => cell,
        }
    }
}

/// A text from outside for a message.
fn shortened(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(40)
        .map(|letter| if letter.is_control() { '·' } else { letter })
        .collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
