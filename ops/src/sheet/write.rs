//! Rows into a file, in the form that [`super::read`] takes.

use super::{Error, Format};
use rust_xlsxwriter::{Format as Look, Workbook};

/// Rows of a workbook's sheet, its header among them.
pub const XLSX_ROWS_MAX: usize = 1 << 20;

/// Takes rows and gives bytes: of CSV as they come, of a workbook all at the end.
pub enum Writer {
    /// UTF-8 without a mark, lines ended by LF.
    Csv(Vec<u8>),
    /// Every cell a text, so that no digit is lost.
    Xlsx {
        /// What is written.
        book: Box<Workbook>,
        /// Rows so far.
        rows: u32,
    },
}

impl Writer {
    /// With a header and a name for the sheet (at most 31 letters).
    pub fn new(format: Format, sheet: &str, header: &[&str]) -> Result<Writer, Error> {
        let mut writer = match format {
            Format::Csv => Writer::Csv(Vec::new()),
            Format::Xlsx => {
                let mut book = Box::new(Workbook::new());
                let page = book.add_worksheet_with_constant_memory().map_err(failed)?;
                page.set_name(sheet).map_err(failed)?;
                page.set_freeze_panes(1, 0).map_err(failed)?;
                let text = Look::new().set_num_format("@");
                for column in 0..header.len() as u16 {
                    page.set_column_width(column, 18).map_err(failed)?;
                    page.set_column_format(column, &text).map_err(failed)?;
                }
                Writer::Xlsx { book, rows: 0 }
            }
        };
        writer.row(header)?;
        Ok(writer)
    }

    /// One row more.
    pub fn row<T: AsRef<str>>(&mut self, cells: &[T]) -> Result<(), Error> {
        match self {
            Writer::Csv(bytes) => {
                let mut line = csv::Writer::from_writer(bytes);
                line.write_record(cells.iter().map(|cell| cell.as_ref().as_bytes()))
                    .and_then(|()| Ok(line.flush()?))
                    .map_err(failed)
            }
            Writer::Xlsx { book, rows } => {
                if *rows as usize >= XLSX_ROWS_MAX {
                    return Err(Error::TooMuch {
                        what: "rows",
                        most: XLSX_ROWS_MAX as u64 - 1,
                    });
                }
                let page = book.worksheet_from_index(0).map_err(failed)?;
                for (column, cell) in (0u16..).zip(cells) {
                    let cell = cell.as_ref();
                    if !cell.is_empty() {
                        page.write_string(*rows, column, cell).map_err(failed)?;
                    }
                }
                *rows += 1;
                Ok(())
            }
        }
    }

    /// What is ready of the file; nothing of a workbook before its end.
    pub fn take(&mut self) -> Vec<u8> {
        match self {
            Writer::Csv(bytes) => std::mem::take(bytes),
            Writer::Xlsx { .. } => Vec::new(),
        }
    }

    /// The rest of the file.
    pub fn finish(self) -> Result<Vec<u8>, Error> {
        match self {
            Writer::Csv(bytes) => Ok(bytes),
            Writer::Xlsx { mut book, .. } => book.save_to_buffer().map_err(failed),
        }
    }
}

fn failed(error: impl ToString) -> Error {
    Error::Workbook(error.to_string())
}
