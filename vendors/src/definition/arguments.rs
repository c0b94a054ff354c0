//! Functions whose arguments are fixed when a definition is loaded: texts and whole numbers.

use super::clock::Format;
use super::digest::Hash;
use super::expr::{Arg, Kind as Form};
use super::functions::FUNCTIONS;
use super::source::Str;
use super::value::{Func, Kind};

/// The fixed arguments of a function: texts and whole numbers as they stand.
pub(super) struct Fixed<'f, 's> {
    name: &'f str,
    args: &'f [Arg],
    at: usize,
    text: Str<'s>,
    next: usize,
    failed: bool,
}

impl<'f, 's> Fixed<'f, 's> {
    pub(super) fn new(name: &'f str, args: &'f [Arg], at: usize, text: Str<'s>) -> Fixed<'f, 's> {
        Fixed {
            name,
            args,
            at,
            text,
            next: 0,
            failed: false,
        }
    }

    fn argument(&mut self) -> Option<&'f Arg> {
        let arg = self.args.get(self.next);
        self.next += 1;
        arg
    }

    fn optional(&mut self) -> Option<Box<str>> {
        let arg = self.argument()?;
        if let (None, Form::Text(text)) = (&arg.label, &arg.value.kind) {
            return Some(text.as_str().into());
        }
        let at = arg.at;
        self.text.wrong(at, "must be a text in quotes");
        self.failed = true;
        None
    }

    fn word(&mut self) -> Box<str> {
        if self.args.len() <= self.next {
            self.missing();
        }
        self.optional().unwrap_or_default()
    }

    fn words(&mut self) -> Box<[Box<str>]> {
        let mut words = vec![self.word()];
        while self.next < self.args.len() {
            words.extend(self.optional());
        }
        words.into()
    }

    fn integer(&mut self, most: usize) -> usize {
        let Some(arg) = self.argument() else {
            self.missing();
            return 0;
        };
        if let (None, Form::Integer(integer)) = (&arg.label, &arg.value.kind)
            && let Ok(integer) = usize::try_from(*integer)
            && (1..=most).contains(&integer)
        {
            return integer;
        }
        let at = arg.at;
        self.text
            .wrong(at, format!("must be a whole number from 1 to {most}"));
        self.failed = true;
        0
    }

    fn missing(&mut self) {
        if !std::mem::replace(&mut self.failed, true) {
            let function = FUNCTIONS.iter().find(|function| function.name == self.name);
            let form = function.map_or("", |function| function.args);
            let said = format!("is written `{}({form})`", self.name);
            self.text.wrong(self.at, said);
        }
    }

    /// The one word that an optional argument may be.
    fn marked(&mut self, mark: &str) -> bool {
        let at = self.args.get(self.next).map(|arg| arg.at);
        match (self.optional(), at) {
            (Some(word), _) if *word == *mark => true,
            (Some(_), Some(at)) => {
                self.text.wrong(at, format!("can only be \"{mark}\""));
                false
            }
            _ => false,
        }
    }

    pub(super) fn finish(mut self) {
        if self.next < self.args.len() {
            self.missing();
        }
    }
}

/// A function of fixed arguments, and the kind it makes.
pub(super) fn plain(name: &str, fixed: &mut Fixed<'_, '_>, from: Kind) -> (Func, Kind) {
    let same = if from == Kind::Fields {
        Kind::Fields
    } else {
        Kind::Text
    };
    match name {
        "e164" => (Func::E164, Kind::Text),
        "national" => (
            Func::National {
                bare: fixed.marked("bare"),
            },
            Kind::Text,
        ),
        "number" => {
            let prefix = fixed.word();
            let zero = fixed.marked("zero");
            (Func::Number { prefix, zero }, Kind::Text)
        }
        "text" => (Func::Text, Kind::Text),
        "int" => (Func::Integer, Kind::Integer),
        "flag" => (Func::Flag, Kind::Flag),
        "words" => (Func::Words(fixed.word(), fixed.word()), Kind::Text),
        "upper" => (Func::Upper, Kind::Text),
        "lower" => (Func::Lower, Kind::Text),
        "strip" => (Func::Strip(fixed.word()), same),
        "cut" => (Func::Cut(fixed.integer(4_096)), Kind::Text),
        "replace" => {
            let (old, new) = (fixed.word(), fixed.word());
            (Func::Replace(old, new), Kind::Text)
        }
        "percent" => (Func::Percent(fixed.optional().unwrap_or_default()), same),
        "form" => (Func::Form, same),
        "json" => (Func::Json, Kind::Text),
        "base64" => (Func::Base64, Kind::Text),
        "hex" => (Func::Hex, Kind::Text),
        "md5" => (Func::Digest(Hash::Md5), Kind::Bytes),
        "sha1" => (Func::Digest(Hash::Sha1), Kind::Bytes),
        "sha256" => (Func::Digest(Hash::Sha256), Kind::Bytes),
        "sm3" => (Func::Digest(Hash::Sm3), Kind::Bytes),
        "unix" => (Func::Unix, Kind::Integer),
        "unix_ms" => (Func::UnixMs, Kind::Integer),
        "time" => {
            let at = fixed.args.first().map_or(fixed.at, |arg| arg.at);
            let format = fixed.word();
            let zone = fixed.optional().unwrap_or_else(|| "utc".into());
            match Format::new(&format, &zone) {
                Ok(format) => (Func::Clock(format), Kind::Text),
                Err(said) => {
                    if !fixed.failed {
                        fixed.text.wrong(at, said);
                    }
                    (Func::Text, Kind::Text)
                }
            }
        }
        "digits" => (Func::Digits(fixed.integer(32)), Kind::Text),
        "uuid" => (Func::Uuid, Kind::Text),
        "quoted" => (Func::Quoted(fixed.word()), Kind::Text),
        "sort" => (Func::Sort, Kind::Fields),
        "without" => (Func::Without(fixed.words()), Kind::Fields),
        "only" => (Func::Only(fixed.words()), Kind::Fields),
        "lift" => (Func::Lift(fixed.word()), Kind::Fields),
        "filled" => (Func::Filled, Kind::Fields),
        "lower_names" => (Func::LowerNames, Kind::Fields),
        "replace_names" => {
            let (old, new) = (fixed.word(), fixed.word());
            (Func::ReplaceNames(old, new), Kind::Fields)
        }
        "join" => {
            let (pair, item) = (fixed.word(), fixed.word());
            (Func::Join(pair, item), Kind::Text)
        }
        // The last one of the list.
        _ => (Func::Names(fixed.word()), Kind::Text),
    }
}
