//! The definitions there are: those built in, and those of a folder.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use thiserror::Error;

use super::Definition;
use super::load::FILE_MAX;
use super::source::Mistake;

/// Files of a folder that are read.
const FILES_MAX: usize = 200;

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../definitions/", $name, ".toml")), OnceLock::new())),*]
    };
}

type BuiltIn = (&'static str, &'static str, OnceLock<&'static Definition>);

/// Compiled when first asked for.
static BUILT_IN: [BuiltIn; 21] = built_in![
    "huawei",
    "aliyun",
    "tencent",
    "volcengine",
    "mode101",
    "vcc",
    "nxcloud",
    "china-broadnet",
    "china-mobile-hdh",
    "winnerlook",
    "cloopen",
    "baidu",
    "twilio",
    "plivo",
    "mixcom",
    "ungcloud",
    "jumdata",
    "itniotech",
    "yiketong",
    "china-unicom-x",
    "infobip",
];

/// What the process uses; set once.
static INSTALLED: OnceLock<Catalogue> = OnceLock::new();

/// The definitions an interface may name. They live as long as the process: a catalogue is made
/// once, at its start.
#[derive(Debug, Default)]
pub struct Catalogue {
    folder: Vec<&'static Definition>,
}

/// Why a folder of definitions cannot be used.
#[derive(Debug, Error)]
pub enum CatalogueError {
    /// The folder or a file in it cannot be read.
    #[error("definitions `{path}` cannot be read")]
    Unreadable {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Files with mistakes.
    #[error("{}", list(.0))]
    Wrong(Vec<FileMistakes>),
    /// More files than anybody has vendors.
    #[error("definitions `{path}` has more than {FILES_MAX} files")]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
    /// The process has one already.
    #[error("definitions were loaded already")]
    Installed,
}

/// The mistakes of one file.
#[derive(Debug)]
pub struct FileMistakes {
    /// The file.
    pub path: PathBuf,
    /// In the order of its text.
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for FileMistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{}:{mistake}", self.path.display())?;
        }
        Ok(())
    }
}

fn list(files: &[FileMistakes]) -> String {
    let lines: Vec<_> = files.iter().map(FileMistakes::to_string).collect();
    lines.join("\n")
}

impl Catalogue {
    /// The definitions built in and those of a folder's `.toml` files; one of a built-in's name
    /// replaces it.
    ///
    /// # Errors
    /// When the folder cannot be read, or with every mistake of every file; two definitions of one
    /// name or one id are mistakes too.
    pub fn with_folder(folder: &Path) -> Result<Catalogue, CatalogueError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            |source| CatalogueError::Unreadable { path, source }
        };
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
            let path = entry.map_err(unreadable(folder))?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                files.push(path);
            }
            if files.len() > FILES_MAX {
                let path = folder.to_owned();
                return Err(CatalogueError::TooMany { path });
            }
        }
        files.sort();
        let mut wrong: Vec<FileMistakes> = Vec::new();
        let mut read: Vec<(PathBuf, Definition)> = Vec::new();
        for path in files {
            match read_file(&path) {
                Ok(definition) => read.push((path, definition)),
                Err(CatalogueError::Wrong(mistakes)) => wrong.extend(mistakes),
                Err(error) => return Err(error),
            }
        }
        let replaced = |name: &str| read.iter().any(|(_, other)| other.name == name);
        let kept: Vec<_> = BUILT_IN
            .iter()
            .filter(|(name, ..)| !replaced(name))
            .map(compiled)
            .collect();
        for (index, (path, definition)) in read.iter().enumerate() {
            let others = read[..index]
                .iter()
                .map(|(_, other)| other)
                .chain(kept.iter().copied());
            for other in others {
                let text = if other.name == definition.name {
                    format!("there is another definition named `{}`", other.name)
                } else if other.id == definition.id {
                    format!("id {} is `{}`'s", other.id, other.name)
                } else {
                    continue;
                };
                wrong.push(FileMistakes {
                    path: path.clone(),
                    mistakes: vec![Mistake {
                        line: 1,
                        column: 1,
                        text,
                    }],
                });
            }
        }
        if !wrong.is_empty() {
            return Err(CatalogueError::Wrong(wrong));
        }
        let keep = |(_, definition)| -> &'static Definition { Box::leak(Box::new(definition)) };
        Ok(Catalogue {
            folder: read.into_iter().map(keep).collect(),
        })
    }

    /// Makes it the one that every [`crate::Vendor`] of this process is found in.
    ///
    /// # Errors
    /// When a vendor was looked up before, since then another one is in use.
    pub fn install(self) -> Result<(), CatalogueError> {
        INSTALLED.set(self).map_err(|_| CatalogueError::Installed)
    }

    /// The one of this process.
    pub(crate) fn current() -> &'static Catalogue {
        INSTALLED.get_or_init(Catalogue::default)
    }

    /// The definition of a name.
    pub fn named(&self, name: &str) -> Option<&'static Definition> {
        let folder = self
            .folder
            .iter()
            .find(|definition| definition.name == name);
        folder.copied().or_else(|| {
            let built_in = BUILT_IN.iter().find(|(known, ..)| *known == name);
            built_in.map(compiled)
        })
    }

    /// Every definition, in the order of their ids.
    pub fn all(&self) -> Vec<&'static Definition> {
        let names = BUILT_IN.iter().map(|(name, ..)| *name);
        let mut all: Vec<_> = names.filter_map(|name| self.named(name)).collect();
        for definition in &self.folder {
            if !all.iter().any(|known| known.name == definition.name) {
                all.push(definition);
            }
        }
        all.sort_by_key(|definition| definition.id);
        all
    }

    /// Whether a definition came from the folder.
    pub fn is_from_folder(&self, name: &str) -> bool {
        self.folder.iter().any(|definition| definition.name == name)
    }

    /// The text of a built-in definition, as a model for another one.
    pub fn text_of(name: &str) -> Option<&'static str> {
        let built_in = BUILT_IN.iter().find(|(known, ..)| *known == name);
        built_in.map(|(_, text, _)| *text)
    }
}

/// Reads one definition without making it known to anything.
///
/// # Errors
/// `Unreadable`, or `Wrong` with its mistakes.
pub fn read_file(path: &Path) -> Result<Definition, CatalogueError> {
    let unreadable = |source| CatalogueError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let wrong = |mistakes| {
        let path = path.to_owned();
        CatalogueError::Wrong(vec![FileMistakes { path, mistakes }])
    };
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > FILE_MAX as u64 {
        return Err(wrong(vec![Mistake {
            line: 1,
            column: 1,
            text: format!("longer than {FILE_MAX} bytes"),
        }]));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let start = String::from_utf8_lossy(&error.as_bytes()[..good]).into_owned();
            let line = start.matches('\n').count() + 1;
            let column = start
                .rsplit('\n')
                .next()
                .map_or(0, |last| last.chars().count())
                + 1;
            let text = "is no utf-8".to_owned();
            return Err(wrong(vec![Mistake { line, column, text }]));
        }
    };
    Definition::parse(&text).map_err(wrong)
}

fn compiled((name, text, definition): &'static BuiltIn) -> &'static Definition {
    definition.get_or_init(|| match Definition::parse(text) {
        Ok(definition) => Box::leak(Box::new(definition)),
        // Every built-in definition is compiled by a test.
        Err(mistakes) => panic!("built-in definition {name}: {mistakes:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_definition_is_sound_and_has_its_own_id() {
        let mut ids = std::collections::BTreeSet::new();
        for (name, text, _) in &BUILT_IN {
            match Definition::parse(text) {
                Ok(definition) => {
                    assert_eq!(definition.name, *name);
                    assert!(ids.insert(definition.id), "{name}");
                    assert!(!definition.source.is_empty(), "{name}: where is it from?");
                }
                Err(mistakes) => {
                    let lines: Vec<_> = mistakes
                        .iter()
                        .map(|mistake| format!("vendors/definitions/{name}.toml:{mistake}"))
                        .collect();
                    panic!("{}", lines.join("\n"));
                }
            }
        }
    }

    fn folder(files: &[(&str, String)]) -> tempfile::TempDir {
        let folder = tempfile::TempDir::new().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn renamed(name: &str, id: u32) -> String {
        let text = Catalogue::text_of("huawei").unwrap();
        text.replacen("name = \"huawei\"", &format!("name = \"{name}\""), 1)
            .replacen("id = 1\n", &format!("id = {id}\n"), 1)
    }

    #[test]
    fn a_folder_adds_definitions_and_replaces_those_of_its_names() {
        let own = renamed("huawei", 1).replacen("Huawei Cloud", "Our own", 1);
        let folder = folder(&[
            ("huawei.toml", own),
            ("other.toml", renamed("other", 900)),
            ("notes.txt", "no definition".to_owned()),
        ]);
        let catalogue = Catalogue::with_folder(folder.path()).unwrap();
        assert!(
            catalogue
                .named("huawei")
                .unwrap()
                .title
                .starts_with("Our own")
        );
        assert_eq!(catalogue.named("other").unwrap().id, 900);
        assert!(catalogue.is_from_folder("other"));
        assert_eq!(catalogue.all().len(), BUILT_IN.len() + 1);
    }

    #[test]
    fn mistakes_of_a_folder_are_told_with_file_line_and_column() {
        for (files, said) in [
            (
                vec![("a.toml", "name = 7\n".to_owned())],
                "a.toml:1:8: `name` must be text",
            ),
            (
                vec![("a.toml", renamed("other", 1))],
                "a.toml:1:1: id 1 is `huawei`'s",
            ),
            (
                vec![("a.toml", renamed("o", 900)), ("b.toml", renamed("o", 901))],
                "b.toml:1:1: there is another definition named `o`",
            ),
            (vec![("a.toml", " ".repeat(FILE_MAX + 1))], "longer than"),
        ] {
            let folder = folder(&files);
            let error = Catalogue::with_folder(folder.path())
                .unwrap_err()
                .to_string();
            assert!(error.contains(said), "{error}");
        }
        let folder = folder(&[]);
        std::fs::write(folder.path().join("a.toml"), b"x = 1\ny = '\xff'").unwrap();
        let error = Catalogue::with_folder(folder.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("a.toml:2:6: is no utf-8"), "{error}");
        assert!(Catalogue::with_folder(Path::new("/nowhere")).is_err());
    }
}
