//! Text files, as Excel, databases and people write them.

use super::{Cell, Error, Table};
use encoding_rs::{GB18030, UTF_16BE, UTF_16LE};
use std::borrow::Cow;

/// Separators that are looked for, the likeliest first.
const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];

pub(super) fn read(bytes: &[u8], table: &mut Table<'_>) -> Result<(), Error> {
    let text = text(bytes)?;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator(&text))
        .from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(error) => {
                return Err(Error::Line {
                    line,
                    why: error.to_string(),
                });
            }
        }
        // The reader passes empty lines over only while it reads, so the place before it may be too early.
        let line = record.position().map_or(line, csv::Position::line);
        let cells = record
            .iter()
            .map(|text| Cell::Text(unwrapped(text.trim()).to_owned()));
        if !table.line(line, cells.enumerate())? {
            return Ok(());
        }
    }
}

/// The bytes as text. UTF-8 is told by itself: GB18030 text of more than a few letters is hardly ever valid UTF-8.
fn text(bytes: &[u8]) -> Result<Cow<'_, str>, Error> {
    let marked = [(UTF_16LE, &[0xff, 0xfe][..]), (UTF_16BE, &[0xfe, 0xff])];
    for (encoding, mark) in marked {
        if let Some(rest) = bytes.strip_prefix(mark) {
            return encoding
                .decode_without_bom_handling_and_without_replacement(rest)
                .ok_or(Error::Encoding);
        }
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_) => GB18030
            .decode_without_bom_handling_and_without_replacement(bytes)
            .ok_or(Error::Encoding),
    }
}

/// The separator that the first line has most of.
fn separator(text: &str) -> u8 {
    let first = text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    let count = |separator: u8| first.bytes().filter(|byte| *byte == separator).count();
    // The last of equals would win, and the likeliest stands first.
    SEPARATORS
        .into_iter()
        .rev()
        .max_by_key(|separator| count(*separator))
        .unwrap_or(b',')
}

/// `="0571"` is how people keep Excel from taking a text for a number.
fn unwrapped(text: &str) -> &str {
    text.strip_prefix("=\"")
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text)
}
