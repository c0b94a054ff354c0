//! A definition's text, walked with the place of everything in it: mistakes are gathered, not
//! returned one by one, and each is told with its line and column.

use std::cell::RefCell;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Mistakes told of one file; the rest would only repeat what the first ones did.
const MISTAKES_MAX: usize = 50;

/// One thing that is wrong in a definition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Counts from 1.
    pub line: usize,
    /// Characters, counts from 1.
    pub column: usize,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.text)
    }
}

/// The text being read, and what was found wrong in it.
pub(super) struct Source<'t> {
    text: &'t str,
    found: RefCell<Vec<(usize, String)>>,
}

impl<'t> Source<'t> {
    pub(super) fn new(text: &'t str) -> Source<'t> {
        Source {
            text,
            found: RefCell::default(),
        }
    }

    /// Notes a mistake at a byte of the text.
    pub(super) fn mistake(&self, at: usize, text: impl Into<String>) {
        let mut found = self.found.borrow_mut();
        let text = text.into();
        // A part that several operations share is compiled for each of them.
        if found.len() < MISTAKES_MAX && !found.contains(&(at, text.clone())) {
            found.push((at, text));
        }
    }

    pub(super) fn is_clean(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// Everything that was found, in the order of the text.
    pub(super) fn mistakes(&self) -> Vec<Mistake> {
        let mut mistakes: Vec<Mistake> = self
            .found
            .borrow()
            .iter()
            .map(|(at, text)| {
                let (line, column) = self.place(*at);
                let text = text.clone();
                Mistake { line, column, text }
            })
            .collect();
        mistakes.sort();
        mistakes
    }

    fn place(&self, at: usize) -> (usize, usize) {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        (line, before[start..].chars().count() + 1)
    }
}

/// A table, its entries in the order of the text.
#[derive(Clone)]
pub(super) struct Table<'s> {
    pub(super) source: &'s Source<'s>,
    /// Where it begins.
    pub(super) at: usize,
    entries: Vec<Item<'s>>,
}

/// One entry of a table or of a list.
#[derive(Clone, Copy)]
pub(super) struct Item<'s> {
    pub(super) source: &'s Source<'s>,
    /// Its key; of an entry of a list, the list's.
    pub(super) key: &'s str,
    /// Where the key begins; in a list, where the value does.
    pub(super) at: usize,
    value: &'s Spanned<DeValue<'s>>,
}

/// A text value, and where each of its bytes stands.
#[derive(Clone, Copy)]
pub(super) struct Str<'s> {
    pub(super) source: &'s Source<'s>,
    pub(super) text: &'s str,
    /// Where the value begins, quotes included.
    pub(super) at: usize,
    raw: &'s str,
}

impl<'s> Table<'s> {
    pub(super) fn new(source: &'s Source<'s>, table: &'s DeTable<'s>, at: usize) -> Table<'s> {
        let mut entries: Vec<Item<'s>> = table
            .iter()
            .map(|(key, value)| Item {
                source,
                key: key.get_ref().as_ref(),
                at: key.span().start,
                value,
            })
            .collect();
        entries.sort_by_key(|item| item.at);
        Table {
            source,
            at,
            entries,
        }
    }

    /// Takes an entry out.
    pub(super) fn take(&mut self, key: &str) -> Option<Item<'s>> {
        let index = self.entries.iter().position(|item| item.key == key)?;
        Some(self.entries.remove(index))
    }

    /// Takes an entry out that must be there.
    pub(super) fn need(&mut self, key: &str) -> Option<Item<'s>> {
        let item = self.take(key);
        if item.is_none() {
            self.source.mistake(self.at, format!("`{key}` is missing"));
        }
        item
    }

    pub(super) fn text(&mut self, key: &str) -> Option<Str<'s>> {
        self.take(key)?.text()
    }

    pub(super) fn integer<T: TryFrom<i64>>(&mut self, key: &str) -> Option<T> {
        self.take(key)?.integer()
    }

    pub(super) fn flag(&mut self, key: &str) -> bool {
        self.take(key).and_then(|item| item.flag()).unwrap_or(false)
    }

    pub(super) fn table(&mut self, key: &str) -> Option<Table<'s>> {
        self.take(key)?.table()
    }

    /// What nobody has taken.
    pub(super) fn rest(self) -> Vec<Item<'s>> {
        self.entries
    }

    /// Tells of every entry that nobody has taken.
    pub(super) fn finish(self, known: &[&str]) {
        for item in self.entries {
            let text = format!("`{}` is not known here, {}", item.key, options(known));
            item.source.mistake(item.at, text);
        }
    }
}

impl<'s> Item<'s> {
    /// Notes a mistake at the value.
    pub(super) fn wrong(&self, text: impl Into<String>) {
        self.source.mistake(self.value.span().start, text);
    }

    fn wanted(&self, what: &str) {
        self.wrong(format!("`{}` must be {what}", self.key));
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Table(_))
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::Array(_))
    }

    pub(super) fn as_text(&self) -> Option<Str<'s>> {
        let DeValue::String(text) = self.value.get_ref() else {
            return None;
        };
        let span = self.value.span();
        Some(Str {
            source: self.source,
            text: text.as_ref(),
            at: span.start,
            raw: self.source.text.get(span).unwrap_or_default(),
        })
    }

    pub(super) fn text(&self) -> Option<Str<'s>> {
        let text = self.as_text();
        if text.is_none() {
            self.wanted("text");
        }
        text
    }

    pub(super) fn as_integer(&self) -> Option<i64> {
        match self.value.get_ref() {
            DeValue::Integer(integer) => {
                let digits = integer.as_str().replace('_', "");
                i64::from_str_radix(&digits, integer.radix()).ok()
            }
            _ => None,
        }
    }

    pub(super) fn integer<T: TryFrom<i64>>(&self) -> Option<T> {
        let integer = self.as_integer().and_then(|n| T::try_from(n).ok());
        if integer.is_none() {
            self.wanted("a whole number that is not too large");
        }
        integer
    }

    pub(super) fn as_flag(&self) -> Option<bool> {
        self.value.get_ref().as_bool()
    }

    pub(super) fn flag(&self) -> Option<bool> {
        let flag = self.as_flag();
        if flag.is_none() {
            self.wanted("true or false");
        }
        flag
    }

    pub(super) fn table(&self) -> Option<Table<'s>> {
        match self.value.get_ref() {
            DeValue::Table(table) => Some(Table::new(self.source, table, self.at)),
            _ => {
                self.wanted("a table");
                None
            }
        }
    }

    /// The entries of a list, or the one value that stands in its place.
    pub(super) fn list(&self) -> Vec<Item<'s>> {
        match self.value.get_ref() {
            DeValue::Array(list) => list
                .iter()
                .map(|value| Item {
                    source: self.source,
                    key: self.key,
                    at: value.span().start,
                    value,
                })
                .collect(),
            _ => vec![*self],
        }
    }

    /// One of the words that are known.
    pub(super) fn choose<T: Copy>(&self, known: &[(&str, T)]) -> Option<T> {
        let word = self.text()?;
        let found = known.iter().find(|(name, _)| *name == word.text);
        if found.is_none() {
            let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
            self.wrong(format!(
                "\"{}\" is not known, {}",
                word.text,
                options(&names)
            ));
        }
        found.map(|(_, value)| *value)
    }
}

impl<'s> Str<'s> {
    /// The whole of a text that is no TOML.
    pub(super) fn whole(source: &'s Source<'s>) -> Str<'s> {
        Str {
            source,
            text: source.text,
            at: 0,
            raw: source.text,
        }
    }

    /// Notes a mistake at a byte of the text.
    pub(super) fn wrong(&self, at: usize, text: impl Into<String>) {
        self.source.mistake(self.at + self.offset(at), text);
    }

    /// Where a byte of the text stands, counted from the opening quote.
    fn offset(&self, at: usize) -> usize {
        if self.raw == self.text {
            return at;
        }
        let quotes = ["\"\"\"", "'''", "\"", "'"]
            .into_iter()
            .find(|quotes| self.raw.starts_with(quotes))
            .unwrap_or_default();
        let mut inside = &self.raw[quotes.len()..];
        let mut offset = quotes.len();
        if quotes.len() == 3 {
            let start = inside.trim_start_matches('\r');
            if let Some(rest) = start.strip_prefix('\n') {
                offset += inside.len() - rest.len();
                inside = rest;
            }
        }
        if quotes.starts_with('\'') || !inside.contains('\\') {
            return offset + at;
        }
        // Walks over the escapes of a basic string until so many bytes of its value are passed.
        let mut left = at;
        let mut rest = inside.chars();
        while left > 0 {
            let Some(c) = rest.next() else { break };
            let mut bytes = c.len_utf8();
            if c == '\\' {
                let digits = match rest.next() {
                    Some('x') => 2,
                    Some('u') => 4,
                    Some('U') => 8,
                    _ => 0,
                };
                bytes = 1;
                if digits > 0 {
                    let code: String = rest.by_ref().take(digits).collect();
                    let code = u32::from_str_radix(&code, 16).ok();
                    bytes = code.and_then(char::from_u32).map_or(1, char::len_utf8);
                }
            }
            left = left.saturating_sub(bytes);
        }
        offset + inside.len() - rest.as_str().len()
    }
}

/// `known are: a, b`.
pub(super) fn options(known: &[&str]) -> String {
    match known {
        [] => "nothing is".to_owned(),
        known => format!("known are: {}", known.join(", ")),
    }
}
