//! Values piped through functions: kinds that fit, arguments that are worked out, branches that are
//! reached.

use super::arguments::{Fixed, plain};
use super::compile::{Compiled, Compiler, Known, broken};
use super::digest::Hash;
use super::expr::{Arg, Expr, Kind as Form};
use super::functions::{ANY, FUNCTIONS};
use super::program::{code_of, said};
use super::source::{Str, options};
use super::value::{Func, Kind, Node};

impl<'s> Compiler<'s> {
    pub(super) fn pipe(
        &mut self,
        value: &Expr,
        name: &str,
        args: &[Arg],
        at: usize,
        text: Str<'s>,
    ) -> Compiled {
        let Some(function) = FUNCTIONS.iter().find(|function| function.name == name) else {
            text.wrong(at, format!("no function `{name}`{}", near(name)));
            return broken();
        };
        let (node, known) = self.expr(value, text);
        let fits = known.kind == Kind::Any || function.takes.contains(&known.kind);
        if !fits {
            let wanted: Vec<_> = function.takes.iter().map(|kind| kind.words()).collect();
            let got = known.kind.words();
            text.wrong(
                at,
                format!("`{name}` takes {}, not {got}", wanted.join(", ")),
            );
            return broken();
        }
        if function.takes.len() == ANY.len() || name == "match" {
            return self.choice(name, (node, known), args, at, text);
        }
        if matches!(name, "plus" | "at_least" | "at_most") || name.starts_with("hmac_") {
            return self.with(name, (node, known), args, at, text);
        }
        let mut fixed = Fixed::new(name, args, at, text);
        let (func, kind) = plain(name, &mut fixed, known.kind);
        fixed.finish();
        let mut turned = known.turned(kind);
        turned.optional |= matches!(func, Func::Quoted(_));
        (Node::Call(func, Box::new(node)), turned)
    }

    /// Functions with one worked-out argument.
    fn with(
        &mut self,
        name: &str,
        (node, known): Compiled,
        args: &[Arg],
        at: usize,
        text: Str<'s>,
    ) -> Compiled {
        let [
            Arg {
                value,
                label: None,
                at: arg_at,
            },
        ] = args
        else {
            text.wrong(at, format!("`{name}` takes one argument"));
            return broken();
        };
        let (second, second_known) = self.expr(value, text);
        let (func, wanted, kind): (_, &[Kind], _) = match name {
            "hmac_md5" => (
                Func::Mac(Hash::Md5),
                &[Kind::Text, Kind::Bytes],
                Kind::Bytes,
            ),
            "hmac_sha1" => (
                Func::Mac(Hash::Sha1),
                &[Kind::Text, Kind::Bytes],
                Kind::Bytes,
            ),
            "hmac_sha256" => (
                Func::Mac(Hash::Sha256),
                &[Kind::Text, Kind::Bytes],
                Kind::Bytes,
            ),
            "hmac_sm3" => (
                Func::Mac(Hash::Sm3),
                &[Kind::Text, Kind::Bytes],
                Kind::Bytes,
            ),
            "plus" => (Func::Plus, &[Kind::Integer], Kind::Time),
            "at_least" => (Func::AtLeast, &[Kind::Integer], Kind::Integer),
            _ => (Func::AtMost, &[Kind::Integer], Kind::Integer),
        };
        if second_known.kind != Kind::Any && !wanted.contains(&second_known.kind) {
            let wanted: Vec<_> = wanted.iter().map(|kind| kind.words()).collect();
            text.wrong(
                *arg_at,
                format!("`{name}` wants {} here", wanted.join(" or ")),
            );
        } else if second_known.optional {
            text.wrong(
                *arg_at,
                "may be absent here; end it with `| or(…)` or `| need`",
            );
        }
        let known = known.turned(kind).also(&second_known);
        (Node::With(func, Box::new(node), Box::new(second)), known)
    }

    /// Functions that decide whether or which value it is.
    fn choice(
        &mut self,
        name: &str,
        (node, known): Compiled,
        args: &[Arg],
        at: usize,
        text: Str<'s>,
    ) -> Compiled {
        match (name, args) {
            ("need", []) => {
                let func = Func::Need {
                    code: code_of(&node),
                    what: said(&node).into(),
                };
                let mut needed = known;
                needed.optional = false;
                (Node::Call(func, Box::new(node)), needed)
            }
            (
                "or",
                [
                    Arg {
                        value,
                        label: None,
                        at: arg_at,
                    },
                ],
            ) => {
                let (other, other_known) = self.expr(value, text);
                let mut either = known.clone().also(&other_known);
                either.optional = other_known.optional;
                either.words = match (known.words, other_known.words) {
                    (Some(mut words), Some(more)) => {
                        words.extend(more);
                        Some(words)
                    }
                    _ => None,
                };
                if known.kind == Kind::Any {
                    return broken();
                }
                if !known.optional {
                    text.wrong(at, "it is never absent, so `or` has no use");
                }
                // Text stands in for what is written as text.
                let textual = either.kind.is_textual() && other_known.kind.is_textual();
                if other_known.kind != either.kind && other_known.kind != Kind::Any {
                    if textual {
                        either.kind = Kind::Text;
                    } else {
                        let said = format!("is not {}", either.kind.words());
                        text.wrong(*arg_at, said);
                    }
                }
                (
                    Node::With(Func::Or, Box::new(node), Box::new(other)),
                    either,
                )
            }
            (
                "unless",
                [
                    Arg {
                        value,
                        label: None,
                        at: arg_at,
                    },
                ],
            ) => {
                let (other, other_known) = self.expr(value, text);
                if !other_known.optional && other_known.kind != Kind::Any {
                    text.wrong(*arg_at, "is never absent, so this would always be");
                }
                let known = known.optional().also(&other_known);
                (Node::Unless(Box::new(node), Box::new(other)), known)
            }
            (
                "when",
                [
                    Arg {
                        value, label: None, ..
                    },
                    words @ ..,
                ],
            ) if !words.is_empty() => {
                let (subject, subject_known) = self.expr(value, text);
                let words: Vec<Box<str>> = words
                    .iter()
                    .filter_map(|arg| self.word(arg, &subject_known, text))
                    .map(Into::into)
                    .collect();
                let node = Node::When {
                    value: Box::new(node),
                    subject: Box::new(subject),
                    words: words.into(),
                };
                (node, known.optional().also(&subject_known))
            }
            ("match", args) if !args.is_empty() => self.matching((node, known), args, text),
            _ => {
                let function = FUNCTIONS.iter().find(|function| function.name == name);
                let form = function.map_or("", |function| function.args);
                text.wrong(at, format!("is written `{name}({form})`"));
                broken()
            }
        }
    }

    fn matching(&mut self, (subject, known): Compiled, args: &[Arg], text: Str<'s>) -> Compiled {
        let mut branches: Vec<(Box<str>, Node)> = Vec::new();
        let mut other = None;
        let mut whole: Option<Known> = None;
        for arg in args {
            let (node, branch) = self.expr(&arg.value, text);
            whole = Some(match whole {
                None => branch,
                Some(mut whole) => {
                    if whole.kind != branch.kind
                        && whole.kind != Kind::Any
                        && branch.kind != Kind::Any
                    {
                        text.wrong(arg.at, "is of another kind than the first one");
                    }
                    whole.optional |= branch.optional;
                    whole.words = match (whole.words.take(), &branch.words) {
                        (Some(mut words), Some(more)) => {
                            words.extend(more.iter().cloned());
                            Some(words)
                        }
                        _ => None,
                    };
                    whole.also(&branch)
                }
            });
            match &arg.label {
                None => text.wrong(arg.at, "needs its word before it: `\"word\": value`"),
                Some(word) if word == "else" => other = Some(Box::new(node)),
                Some(word) => {
                    if branches.iter().any(|(before, _)| **before == **word) {
                        text.wrong(arg.at, format!("\"{word}\" is matched above already"));
                    }
                    not_among(word, &known, arg.at, text);
                    branches.push((word.as_str().into(), node));
                }
            }
        }
        let mut whole = whole.unwrap_or_else(|| Known::of(Kind::Any)).also(&known);
        let matched = |word: &String| branches.iter().any(|(branch, _)| **branch == **word);
        let all = known
            .words
            .as_ref()
            .is_some_and(|words| words.iter().all(matched));
        if all && other.is_some() && !known.optional {
            let at = args.last().map_or(0, |arg| arg.at);
            text.wrong(at, "`else` is never reached, every word is matched");
        }
        whole.optional |= (!all || known.optional) && other.is_none();
        let node = Node::Match {
            subject: Box::new(subject),
            branches: branches.into(),
            other,
        };
        (node, whole)
    }

    /// A literal word that the subject can be.
    fn word(&self, arg: &Arg, subject: &Known, text: Str<'s>) -> Option<String> {
        match (&arg.label, &arg.value.kind) {
            (None, Form::Text(word)) => {
                not_among(word, subject, arg.at, text);
                Some(word.clone())
            }
            _ => {
                text.wrong(arg.at, "must be a text in quotes");
                None
            }
        }
    }
}

fn not_among(word: &str, subject: &Known, at: usize, text: Str<'_>) {
    if let Some(words) = &subject.words
        && !words.iter().any(|known| known == word)
    {
        let known: Vec<_> = words.iter().map(String::as_str).collect();
        text.wrong(at, format!("it is never \"{word}\", {}", options(&known)));
    }
}

/// `; there is …` for a name that nearly is a function's.
fn near(name: &str) -> String {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['_', '-'], "");
    let close = FUNCTIONS.iter().find(|f| plain(f.name) == plain(name));
    match close {
        Some(function) => format!("; there is `{}`", function.name),
        None => {
            let names: Vec<_> = FUNCTIONS.iter().map(|f| f.name).collect();
            format!(", {}", options(&names))
        }
    }
}
