//! Where a number belongs (`DOMAIN.md` §2): fixed lines by a built-in table, mobiles by one that operators load.
//!
//! In: a number as dialled, and imports in parts. Out: an area code without its leading 0, and the area's name. The
//! mobile table is dense: pages of a thousand prefixes, each a number into the list of areas. So a lookup costs two
//! steps however much is loaded, a clone shares everything, and an import replaces only what it touches.
//!
//! Of a table one form exists only: areas in order, none unused. States that were loaded by different ways but hold
//! the same prefixes have the same bytes.

mod fixed;

use crate::command::RegionRow;
use crate::entity::Millis;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// First and last of the mobile prefixes.
pub const PREFIX_MIN: u32 = 1_300_000;
/// See [`PREFIX_MIN`].
pub const PREFIX_MAX: u32 = 1_999_999;
/// Different areas of one table (code and name together), at most.
pub const AREAS_MAX: usize = 65_534;
/// Bytes of an area's name.
pub const AREA_NAME_MAX: usize = 96;
/// Digits of an area code, the leading 0 not counted.
pub const AREA_CODE_MAX: usize = 8;

const PAGE: usize = 1_000;
const PAGES: usize = (PREFIX_MAX - PREFIX_MIN + 1) as usize / PAGE;
/// No area.
const NONE: u16 = 0;
/// In an import: the prefix is to go.
const GONE: u16 = u16::MAX;
/// Digits that a number without its leading 0 must have to be read as a fixed line behind 86: area code and line.
const NATIONAL_MIN: usize = 9;

/// Where a number belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Region<'a> {
    /// Without its leading 0.
    pub area_code: &'a str,
    /// For people.
    pub area_name: &'a str,
    /// How it is known.
    pub source: RegionSource,
}

/// How a number's region is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RegionSource {
    /// The area code in the number.
    Fixed,
    /// 手机地区.
    Mobile,
}

/// An area of the mobile table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Area {
    /// Without its leading 0.
    pub code: Arc<str>,
    /// For people.
    pub name: Arc<str>,
}

/// An area code as it is stored and compared: `0571` and `571` are one.
///
/// `None`: not 1 to 8 digits behind at most one 0.
pub fn area_code(text: &str) -> Option<&str> {
    let code = text.strip_prefix('0').unwrap_or(text);
    let fits = (1..=AREA_CODE_MAX).contains(&code.len())
        && code.bytes().all(|c| c.is_ascii_digit())
        && !code.starts_with('0');
    fits.then_some(code)
}

/// Some few digits as a number; `None`: not all are digits.
fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0u32, |sum, c| {
        c.is_ascii_digit().then(|| sum * 10 + u32::from(c - b'0'))
    })
}

/// The built-in area of a number that begins with an area code, the leading 0 taken off.
fn fixed_area(number: &str) -> Option<Region<'static>> {
    let (area_code, area_name) = fixed::area(number)?;
    Some(Region {
        area_code,
        area_name,
        source: RegionSource::Fixed,
    })
}

/// The number behind the country's code, and whether there was one; `None` for a foreign number.
fn national(number: &str) -> Option<(&str, bool)> {
    if let Some(rest) = number
        .strip_prefix("+86")
        .or_else(|| number.strip_prefix("0086"))
    {
        return Some((rest, true));
    }
    if number.starts_with('+') || number.starts_with("00") {
        return None;
    }
    // A local number may begin with 86 as well; it is shorter.
    match number.strip_prefix("86") {
        Some(rest) if rest.len() >= NATIONAL_MIN => Some((rest, true)),
        _ => Some((number, false)),
    }
}

/// Values of all prefixes, in pages that are there only when they hold something.
#[derive(Clone, PartialEq, Eq)]
struct Pages(Vec<Option<Arc<[u16; PAGE]>>>);

impl Default for Pages {
    fn default() -> Self {
        Pages(vec![None; PAGES])
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pages", self.0.iter().flatten().count())
    }
}

impl Pages {
    fn get(&self, prefix: u32) -> u16 {
        let at = prefix.wrapping_sub(PREFIX_MIN) as usize;
        match self.0.get(at / PAGE) {
            Some(Some(page)) => page[at % PAGE],
            _ => NONE,
        }
    }

    fn holds(&self, page: u32) -> bool {
        self.0.get(page as usize).is_some_and(Option::is_some)
    }

    /// `prefix` lies between [`PREFIX_MIN`] and [`PREFIX_MAX`].
    fn set(&mut self, prefix: u32, value: u16) {
        let at = (prefix - PREFIX_MIN) as usize;
        let page = self.0[at / PAGE].get_or_insert_with(|| Arc::new([NONE; PAGE]));
        Arc::make_mut(page)[at % PAGE] = value;
    }

    /// Prefixes from `from` on that have a value, in order.
    fn from(&self, from: u32) -> impl Iterator<Item = (u32, u16)> + '_ {
        let start = from.clamp(PREFIX_MIN, PREFIX_MAX + 1);
        let first = (start - PREFIX_MIN) as usize;
        self.0
            .iter()
            .enumerate()
            .skip(first / PAGE)
            .filter_map(|(number, page)| Some((number, page.as_deref()?)))
            .flat_map(move |(number, page)| {
                let skip = first.saturating_sub(number * PAGE).min(PAGE);
                page.iter()
                    .enumerate()
                    .skip(skip)
                    .filter(|(_, value)| **value != NONE)
                    .map(move |(at, value)| (PREFIX_MIN + (number * PAGE + at) as u32, *value))
            })
    }
}

/// Neighbours mostly share their area, so what is stored is runs: prefixes left out, prefixes in the run, value.
impl Serialize for Pages {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut runs: Vec<(u32, u32, u16)> = Vec::new();
        let mut next = PREFIX_MIN;
        for (prefix, value) in self.from(PREFIX_MIN) {
            match runs.last_mut() {
                Some((_, count, last)) if *last == value && prefix == next => *count += 1,
                _ => runs.push((prefix - next, 1, value)),
            }
            next = prefix + 1;
        }
        runs.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Pages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let runs = Vec::<(u32, u32, u16)>::deserialize(deserializer)?;
        let mut pages = Pages::default();
        let mut next = PREFIX_MIN;
        for (gap, count, value) in runs {
            let first = next.checked_add(gap);
            let end = first.and_then(|first| first.checked_add(count));
            let (Some(first), Some(end)) = (first, end.filter(|end| *end <= PREFIX_MAX + 1)) else {
                return Err(serde::de::Error::custom(
                    "a run of prefixes beyond the last",
                ));
            };
            (first..end).for_each(|prefix| pages.set(prefix, value));
            next = end;
        }
        Ok(pages)
    }
}

/// 手机地区: the mobile table in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regions {
    /// In order, each with at least one prefix; a page holds the position plus one.
    areas: Vec<Area>,
    pages: Pages,
    prefixes: u32,
    loaded_at: Option<Millis>,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MobilePrefix<'a> {
    /// The first seven digits.
    pub mobile_prefix: u32,
    /// Without its leading 0.
    pub area_code: &'a str,
    /// For people.
    pub area_name: &'a str,
}

impl Regions {
    /// Where `number` belongs, by the fixed-line codes and this table; costs some tens of nanoseconds.
    ///
    /// 86, 0086 or +86 before the number and one 0 before a mobile count for nothing. A fixed line has its 0 and area
    /// code; behind a country code the 0 may be missing. Foreign numbers belong nowhere.
    pub fn find(&self, number: &str) -> Option<Region<'_>> {
        let (rest, country) = national(number)?;
        if let Some(rest) = rest.strip_prefix('0') {
            return fixed_area(rest).or_else(|| self.mobile(rest));
        }
        self.mobile(rest).or_else(|| {
            (country && rest.len() >= NATIONAL_MIN)
                .then(|| fixed_area(rest))
                .flatten()
        })
    }

    fn mobile(&self, number: &str) -> Option<Region<'_>> {
        let head = number.as_bytes().get(..7)?;
        let area = self.area(self.pages.get(digits(head)?))?;
        Some(Region {
            area_code: &area.code,
            area_name: &area.name,
            source: RegionSource::Mobile,
        })
    }

    fn area(&self, value: u16) -> Option<&Area> {
        self.areas.get(usize::from(value).checked_sub(1)?)
    }

    /// Mobile prefixes from `from` on, in order; a page is `.from(last + 1).take(n)`.
    pub fn from(&self, from: u32) -> impl Iterator<Item = MobilePrefix<'_>> {
        self.pages.from(from).filter_map(|(mobile_prefix, value)| {
            let area = self.area(value)?;
            Some(MobilePrefix {
                mobile_prefix,
                area_code: &area.code,
                area_name: &area.name,
            })
        })
    }

    /// Mobile prefixes in force.
    pub fn len(&self) -> u32 {
        self.prefixes
    }

    /// Whether no table has been loaded.
    pub fn is_empty(&self) -> bool {
        self.prefixes == 0
    }

    /// Areas of the mobile table, in order of code and name.
    pub fn areas(&self) -> &[Area] {
        &self.areas
    }

    /// When the last import came in force.
    pub fn loaded_at(&self) -> Option<Millis> {
        self.loaded_at
    }

    /// The built-in fixed-line areas, by code.
    pub fn fixed() -> impl ExactSizeIterator<Item = (&'static str, &'static str)> {
        fixed::AREAS.iter().copied()
    }

    /// The table with an import laid over it, in the one form that this content has.
    fn with(&self, import: &Import, at: Millis) -> Result<Regions, Mistake> {
        let empty = Regions::default();
        let base = if import.replace { &empty } else { self };
        let staged: BTreeMap<u16, &Area> = import
            .areas
            .iter()
            .map(|(area, value)| (*value, area))
            .collect();
        let staged = &staged;
        let merged = || {
            let mut last: (u16, Option<&Area>) = (NONE, None);
            let held = |page: &u32| base.pages.holds(*page) || import.pages.holds(*page);
            let pages = (0..PAGES as u32).filter(held);
            let prefixes = pages.flat_map(|page| {
                let first = PREFIX_MIN + page * PAGE as u32;
                first..first + PAGE as u32
            });
            prefixes.filter_map(move |prefix| {
                let area = match import.pages.get(prefix) {
                    NONE => base.area(base.pages.get(prefix)),
                    GONE => None,
                    new => {
                        if last.0 != new {
                            last = (new, staged.get(&new).copied());
                        }
                        last.1
                    }
                };
                Some((prefix, area?))
            })
        };
        let mut positions: BTreeMap<&Area, u16> = BTreeMap::new();
        let mut last: Option<&Area> = None;
        for (_, area) in merged() {
            if last != Some(area) {
                positions.insert(area, NONE);
                last = Some(area);
            }
        }
        if positions.len() > AREAS_MAX {
            return Err(Mistake::new(
                "rows",
                format!("more than {AREAS_MAX} areas with those in force"),
            ));
        }
        for (value, position) in (1..=u16::MAX).zip(positions.values_mut()) {
            *position = value;
        }
        let mut whole = Regions {
            areas: positions.keys().copied().cloned().collect(),
            loaded_at: Some(at),
            ..Regions::default()
        };
        let mut seen: (Option<&Area>, u16) = (None, NONE);
        for (prefix, area) in merged() {
            if seen.0 != Some(area) {
                seen = (Some(area), positions.get(area).copied().unwrap_or(NONE));
            }
            whole.pages.set(prefix, seen.1);
            whole.prefixes += 1;
        }
        Ok(whole)
    }
}

/// What is wrong with a part of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) field: String,
    pub(crate) text: String,
}

impl Mistake {
    pub(crate) fn new(field: impl Into<String>, text: impl Into<String>) -> Self {
        Mistake {
            field: field.into(),
            text: text.into(),
        }
    }
}

/// An import whose last part has not come. At most one is kept, and it is no larger than a whole table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// [`crate::command::RegionEdit::import`]
    pub import: u64,
    /// Parts that have come.
    pub parts: u32,
    /// Rows in them.
    pub rows: u32,
    /// It will replace what is in force.
    pub replace: bool,
    /// Who loads it.
    pub actor: String,
    /// When its first part came.
    pub begun_at: Millis,
    /// When its last part came.
    pub part_at: Millis,
    /// Areas with the value that stands for them: 1 and so on as they came.
    areas: BTreeMap<Area, u16>,
    pages: Pages,
}

impl Import {
    pub(crate) fn new(import: u64, replace: bool, actor: &str, at: Millis) -> Self {
        Import {
            import,
            parts: 0,
            rows: 0,
            replace,
            actor: actor.to_owned(),
            begun_at: at,
            part_at: at,
            areas: BTreeMap::new(),
            pages: Pages::default(),
        }
    }

    /// Takes a part. Of a prefix that comes twice the later row counts.
    pub(crate) fn take(&mut self, rows: &[RegionRow], at: Millis) -> Result<(), Mistake> {
        let mut last: (Option<&RegionRow>, u16) = (None, NONE);
        for (position, row) in rows.iter().enumerate() {
            let wrong =
                |field: &str, text: String| Mistake::new(format!("rows[{position}].{field}"), text);
            if !(PREFIX_MIN..=PREFIX_MAX).contains(&row.mobile_prefix) {
                let text = format!(
                    "`{}` does not lie between {PREFIX_MIN} and {PREFIX_MAX}",
                    row.mobile_prefix
                );
                return Err(wrong("mobile_prefix", text));
            }
            let same = last.0.is_some_and(|last| {
                last.area_code == row.area_code && last.area_name == row.area_name
            });
            if !same {
                last = (Some(row), self.value(row, wrong)?);
            }
            self.pages.set(row.mobile_prefix, last.1);
        }
        self.parts = self.parts.saturating_add(1);
        self.rows = self.rows.saturating_add(rows.len() as u32);
        self.part_at = at;
        Ok(())
    }

    fn value(
        &mut self,
        row: &RegionRow,
        wrong: impl Fn(&str, String) -> Mistake,
    ) -> Result<u16, Mistake> {
        if row.area_code.is_empty() {
            return Ok(GONE);
        }
        let code = area_code(&row.area_code).ok_or_else(|| {
            let text = format!("`{}` is no area code of 1 to 8 digits", row.area_code);
            wrong("area_code", text)
        })?;
        if row.area_name.len() > AREA_NAME_MAX || row.area_name.chars().any(char::is_control) {
            let text = format!("at most {AREA_NAME_MAX} bytes without control characters");
            return Err(wrong("area_name", text));
        }
        let area = Area {
            code: Arc::from(code),
            name: Arc::from(&*row.area_name),
        };
        if let Some(value) = self.areas.get(&area) {
            return Ok(*value);
        }
        if self.areas.len() >= AREAS_MAX {
            return Err(wrong("area_code", format!("more than {AREAS_MAX} areas")));
        }
        let value = self.areas.len() as u16 + 1;
        self.areas.insert(area, value);
        Ok(value)
    }

    /// The table that this import makes of the one in force.
    pub(crate) fn finish(&self, regions: &Regions, at: Millis) -> Result<Regions, Mistake> {
        regions.with(self, at)
    }
}

#[cfg(test)]
mod tests;
