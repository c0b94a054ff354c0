//! Workbooks. They are archives of XML from outside, so they are unpacked once to be measured before the reader sees
//! them: neither the sizes they claim nor the counts they announce are believed.

use super::{Cell, Error, Limits, Table};
use calamine::{DataRef, Reader, Xlsx};
use std::io::{Cursor, Read};
use zip::ZipArchive;

/// Parts of a workbook at most.
const PARTS_MAX: usize = 10_000;
/// Beyond this Excel has rounded what was typed: it keeps 15 digits.
const EXACT_MAX: f64 = 999_999_999_999_999.0;
/// How old workbooks (.xls) and those with a password begin.
const COMPOUND: &[u8] = &[0xd0, 0xcf, 0x11, 0xe0];

pub(super) fn read(bytes: &[u8], table: &mut Table<'_>) -> Result<(), Error> {
    if bytes.starts_with(COMPOUND) {
        return Err(broken(
            "it is an old .xls or has a password; save it as .xlsx without one",
        ));
    }
    measure(bytes, table.limits)?;
    let mut book: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).map_err(broken)?;
    let name = book.sheet_names().first().cloned().ok_or(Error::Empty)?;
    let mut reader = book.worksheet_cells_reader(&name).map_err(broken)?;
    let mut row = None;
    let mut cells: Vec<(usize, Cell)> = Vec::new();
    while let Some(cell) = reader.next_cell().map_err(broken)? {
        let (at_row, at_column) = cell.get_position();
        if row.is_some_and(|row| at_row < row) {
            return Err(broken(format!("row {} comes too late", at_row + 1)));
        }
        if row.is_some_and(|row| row != at_row) {
            let line = row.map_or(0, |row| u64::from(row) + 1);
            if !table.line(line, cells.drain(..))? {
                return Ok(());
            }
        }
        row = Some(at_row);
        let cell = value(cell.get_value());
        // A workbook may hold 16,384 columns of nothing but colour.
        if cell != Cell::Text(String::new()) {
            cells.push((at_column as usize, cell));
        }
    }
    if let Some(row) = row {
        table.line(u64::from(row) + 1, cells.drain(..))?;
    }
    Ok(())
}

fn broken(why: impl ToString) -> Error {
    Error::Workbook(super::shortened(&why.to_string()))
}

/// Unpacks everything and keeps nothing.
fn measure(bytes: &[u8], limits: &Limits) -> Result<(), Error> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    if archive.len() > PARTS_MAX {
        return Err(broken(format!("more than {PARTS_MAX} parts")));
    }
    let mut left = limits.unpacked;
    for number in 0..archive.len() {
        let part = archive.by_index(number).map_err(broken)?;
        let name = part.name().map_err(broken)?.to_ascii_lowercase();
        let strings = name.contains("sharedstrings");
        let mut counts = Counts::default();
        let mut part = part.take(left + 1);
        let mut chunk = [0; 16 << 10];
        loop {
            let read = part.read(&mut chunk).map_err(broken)?;
            if read == 0 {
                break;
            }
            if read as u64 > left {
                return Err(Error::TooMuch {
                    what: "bytes unpacked",
                    most: limits.unpacked,
                });
            }
            left -= read as u64;
            if strings {
                counts.feed(&chunk[..read]);
            }
        }
        // The reader makes room for as many strings as are announced, and each is at least `<si/>`.
        if counts.largest > counts.bytes {
            return Err(broken("its table of strings announces more than it holds"));
        }
    }
    Ok(())
}

/// Looks for `uniqueCount="N"` in a stream, wherever its chunks are cut.
#[derive(Default)]
struct Counts {
    bytes: u64,
    largest: u64,
    /// Letters of the name met so far.
    met: usize,
    /// The number under way, once the name is complete.
    number: Option<u64>,
}

impl Counts {
    const NAME: &'static [u8] = b"uniqueCount";

    fn feed(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        for byte in bytes {
            if let Some(number) = &mut self.number {
                match byte {
                    b'0'..=b'9' => {
                        *number = number
                            .saturating_mul(10)
                            .saturating_add(u64::from(byte - b'0'));
                        self.largest = self.largest.max(*number);
                        continue;
                    }
                    b'=' | b'"' | b'\'' | b'+' | b' ' | b'\t' | b'\r' | b'\n' if *number == 0 => {
                        continue;
                    }
                    _ => self.number = None,
                }
            }
            // No letter of the name but its first begins it anew.
            self.met = match byte {
                byte if Self::NAME.get(self.met) == Some(byte) => self.met + 1,
                b'u' => 1,
                _ => 0,
            };
            if self.met == Self::NAME.len() {
                (self.met, self.number) = (0, Some(0));
            }
        }
    }
}

fn value(value: &DataRef<'_>) -> Cell {
    let text = |text: &str| Cell::Text(text.trim().to_owned());
    match value {
        DataRef::Empty => Cell::Text(String::new()),
        DataRef::String(string) => text(string),
        DataRef::SharedString(string) => text(string),
        DataRef::Bool(flag) => Cell::Text(flag.to_string()),
        DataRef::Int(number) => Cell::Text(number.to_string()),
        DataRef::Float(number) => digits(*number),
        DataRef::DateTime(_) | DataRef::DateTimeIso(_) | DataRef::DurationIso(_) => {
            Cell::Wrong("is a date; make the column text".to_owned())
        }
        DataRef::Error(error) => Cell::Wrong(format!("is the error {error}")),
    }
}

/// A number as the digits that were typed, never in scientific notation.
fn digits(number: f64) -> Cell {
    if !number.is_finite() || number.abs() > EXACT_MAX {
        let text = format!(
            "is the number {number:e}, of which Excel keeps 15 digits only; make the column text"
        );
        return Cell::Wrong(text);
    }
    Cell::Text(number.to_string())
}
