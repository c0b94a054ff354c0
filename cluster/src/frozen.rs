//! Frozen bytes, for tests: everything that nodes store or tell each other, as the release wrote it that brought it.
//!
//! A file of fixtures lies in `fixtures/level-N` of its room, N the level that its samples came with: a line for each,
//! its name and its bytes in hexadecimal digits. A test makes the same values again and compares. What to do when it
//! fails stands in [`codec`](crate::codec).

use crate::codec;
use crate::level::{FIRST, Level, SPOKEN};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::fs;
use std::path::PathBuf;

/// Levels up to this one are in a release: their fixtures are never written again.
const RELEASED: Level = 0;

type Again = Box<dyn Fn(&[u8]) -> Vec<u8>>;

struct Sample {
    level: Level,
    name: String,
    bytes: Vec<u8>,
    again: Again,
}

/// The samples of one file, at all levels.
pub struct Fixtures {
    room: PathBuf,
    file: &'static str,
    samples: Vec<Sample>,
}

impl Fixtures {
    /// Those of `fixtures/level-N/FILE.txt` below a room's folder (`CARGO_MANIFEST_DIR`).
    pub fn new(room: &str, file: &'static str) -> Self {
        Fixtures {
            room: PathBuf::from(room),
            file,
            samples: Vec::new(),
        }
    }

    /// A sample as it is written now; `again` reads it, panics when it is not what it should be, and writes it once more.
    ///
    /// # Panics
    /// For two samples of one name.
    #[track_caller]
    pub fn add(
        &mut self,
        level: Level,
        name: impl Into<String>,
        bytes: impl Into<Vec<u8>>,
        again: impl Fn(&[u8]) -> Vec<u8> + 'static,
    ) {
        let (name, bytes) = (name.into(), bytes.into());
        let taken = |sample: &Sample| sample.level == level && sample.name == name;
        assert!(!self.samples.iter().any(taken), "two samples `{name}`");
        assert!(!name.contains(char::is_whitespace), "`{name}` is no word");
        let again = Box::new(again);
        self.samples.push(Sample {
            level,
            name,
            bytes,
            again,
        });
    }

    /// A value that goes through [`codec`](crate::codec).
    ///
    /// # Panics
    /// For two samples of one name.
    #[track_caller]
    pub fn value<T>(&mut self, level: Level, name: impl Into<String>, value: T)
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug + 'static,
    {
        let bytes = codec::encode(&value).expect("samples have an encoding");
        self.add(level, name, bytes, move |bytes| {
            let read: T = codec::decode(bytes).expect("frozen bytes are read for good");
            assert_eq!(read, value);
            codec::encode(&read).expect("samples have an encoding")
        });
    }

    fn path(&self, level: Level) -> PathBuf {
        let dir = format!("fixtures/level-{level}");
        self.room.join(dir).join(format!("{}.txt", self.file))
    }

    fn of(&self, level: Level) -> impl Iterator<Item = &Sample> {
        let of_level = move |sample: &&Sample| sample.level == level;
        self.samples.iter().filter(of_level)
    }

    /// Compares what is written now with what was frozen, and reads what was frozen.
    ///
    /// # Panics
    /// At the first difference, naming it.
    pub fn check(&self) {
        for level in FIRST..=SPOKEN {
            let path = self.path(level);
            let text = fs::read_to_string(&path).unwrap_or_default();
            let mut frozen: BTreeMap<&str, &str> = text
                .lines()
                .filter_map(|line| line.split_once(' '))
                .collect();
            for sample in self.of(level) {
                let name = &sample.name;
                let Some(digits) = frozen.remove(name.as_str()) else {
                    panic!(
                        "`{name}` is new: it must be of a level that was not released; write it into {path:?}"
                    );
                };
                assert_eq!(
                    hex(&sample.bytes),
                    digits,
                    "`{name}` is written otherwise than level {level} has it"
                );
                let bytes = unhex(digits);
                assert_eq!((sample.again)(&bytes), bytes, "`{name}` is read otherwise");
            }
            let left: Vec<&&str> = frozen.keys().collect();
            assert!(
                left.is_empty(),
                "nothing is made any more of {left:?} in {path:?}"
            );
        }
    }

    /// Writes the files of levels that are in no release yet.
    ///
    /// # Panics
    /// When a file cannot be written.
    pub fn write(&self) {
        for level in RELEASED + 1..=SPOKEN {
            let mut text = String::new();
            for sample in self.of(level) {
                writeln!(text, "{} {}", sample.name, hex(&sample.bytes))
                    .expect("a text takes every line");
            }
            if text.is_empty() {
                continue;
            }
            let path = self.path(level);
            let dir = path.parent().expect("a file lies in a folder");
            fs::create_dir_all(dir).expect("the folder can be made");
            fs::write(&path, text).expect("the file can be written");
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    pairs
        .map(|pair| byte(pair).expect("fixtures are hexadecimal digits"))
        .collect()
}
