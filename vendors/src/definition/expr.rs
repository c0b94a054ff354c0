//! The notation inside a definition's texts: literal text with holes, `{` expression `}`. An
//! expression is a value and the functions it is piped through:
//!
//! ```text
//! text       = { literal | "{{" | "}}" | "{" expression "}" }
//! expression = value { "|" call }
//! value      = "text" | 'text' | integer | name { "." name } | call | "(" expression ")"
//! call       = name [ "(" [ argument { "," argument } ] ")" ]
//! argument   = [ (name | "text") ":" ] expression
//! ```
//!
//! This module knows the form only; which names there are is known by the compiler.

/// Longest text that is read for holes, in bytes.
pub(super) const TEXT_MAX: usize = 4_096;
/// How deep expressions may nest.
const DEPTH_MAX: usize = 12;
/// Functions one value may be piped through.
const CALLS_MAX: usize = 24;

/// Text with holes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template {
    pub(super) pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Literal(String),
    Hole(Expr),
}

/// An expression and the byte of its text where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expr {
    pub(super) at: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Text(String),
    Integer(i64),
    /// `now`, `param.app_key`.
    Name(Vec<String>),
    /// `fields(query)`.
    Call(String, Vec<Arg>),
    /// `value | call`.
    Pipe(Box<Expr>, String, Vec<Arg>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Arg {
    pub(super) at: usize,
    pub(super) label: Option<String>,
    pub(super) value: Expr,
}

/// What is wrong with a text, and at which byte.
pub(super) type Wrong = (usize, String);

impl Template {
    pub(super) fn parse(text: &str) -> Result<Template, Wrong> {
        if text.len() > TEXT_MAX {
            return Err((0, format!("longer than {TEXT_MAX} bytes")));
        }
        let mut parser = Parser { text, at: 0 };
        let mut pieces = Vec::new();
        let mut literal = String::new();
        while let Some(c) = parser.next() {
            match c {
                '{' if parser.eat('{') => literal.push('{'),
                '}' if parser.eat('}') => literal.push('}'),
                '}' => return Err((parser.at - 1, "`}` closes nothing; write `}}`".to_owned())),
                '{' => {
                    let open = parser.at - 1;
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::Hole(parser.expression(0)?));
                    parser.space();
                    if !parser.eat('}') {
                        return Err(match parser.peek() {
                            None => (open, "`{` is never closed; a plain one is `{{`".to_owned()),
                            Some(c) => (parser.at, format!("`{c}` is not expected here")),
                        });
                    }
                }
                c => literal.push(c),
            }
        }
        if !literal.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Template { pieces })
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.next();
        }
    }

    fn expression(&mut self, depth: usize) -> Result<Expr, Wrong> {
        self.space();
        if depth > DEPTH_MAX {
            return Err((self.at, format!("nested deeper than {DEPTH_MAX}")));
        }
        let mut expr = self.value(depth)?;
        for _ in 0..CALLS_MAX {
            self.space();
            if !self.eat('|') {
                return Ok(expr);
            }
            self.space();
            let at = self.at;
            let name = self.name("a function")?;
            let args = self.arguments(depth)?.unwrap_or_default();
            expr = Expr {
                at,
                kind: Kind::Pipe(Box::new(expr), name, args),
            };
        }
        let text = format!("piped through more than {CALLS_MAX} functions");
        Err((self.at, text))
    }

    fn value(&mut self, depth: usize) -> Result<Expr, Wrong> {
        let at = self.at;
        let kind = match self.peek() {
            Some(quote @ ('"' | '\'')) => Kind::Text(self.quoted(quote)?),
            Some('(') => {
                self.next();
                let expr = self.expression(depth + 1)?;
                self.space();
                if !self.eat(')') {
                    return Err((at, "`(` is never closed".to_owned()));
                }
                return Ok(expr);
            }
            Some(c) if c.is_ascii_digit() || c == '-' => {
                self.next();
                while self.peek().is_some_and(|c| c.is_ascii_digit()) {
                    self.next();
                }
                let digits = &self.text[at..self.at];
                let wrong = |_| (at, format!("`{digits}` is no whole number"));
                Kind::Integer(digits.parse().map_err(wrong)?)
            }
            _ => {
                let mut names = vec![self.name("a value")?];
                if let Some(args) = self.arguments(depth)? {
                    Kind::Call(names.swap_remove(0), args)
                } else {
                    while self.eat('.') {
                        names.push(self.name("a name")?);
                    }
                    Kind::Name(names)
                }
            }
        };
        Ok(Expr { at, kind })
    }

    fn name(&mut self, what: &str) -> Result<String, Wrong> {
        let start = self.at;
        while let Some(c) = self.peek() {
            let fits = if self.at == start {
                c.is_ascii_alphabetic() || c == '_'
            } else {
                c.is_ascii_alphanumeric() || c == '_' || c == '-'
            };
            if !fits {
                break;
            }
            self.next();
        }
        if self.at > start {
            return Ok(self.text[start..self.at].to_owned());
        }
        Err(match self.peek() {
            Some(c) => (start, format!("{what} is expected here, not `{c}`")),
            None => (start, format!("{what} is expected here")),
        })
    }

    fn quoted(&mut self, quote: char) -> Result<String, Wrong> {
        let open = self.at;
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                None => return Err((open, "a quote is never closed".to_owned())),
                Some(c) if c == quote => return Ok(text),
                Some('\\') => {
                    let at = self.at - 1;
                    text.push(match self.next() {
                        Some('n') => '\n',
                        Some('r') => '\r',
                        Some('t') => '\t',
                        Some(c @ ('\\' | '"' | '\'')) => c,
                        _ => {
                            return Err((at, "there are \\n, \\r, \\t, \\\\, \\\" and \\'".into()));
                        }
                    });
                }
                Some(c) => text.push(c),
            }
        }
    }

    /// What stands in parentheses, if there are any.
    fn arguments(&mut self, depth: usize) -> Result<Option<Vec<Arg>>, Wrong> {
        let open = self.at;
        if !self.eat('(') {
            return Ok(None);
        }
        let mut args = Vec::new();
        loop {
            self.space();
            if self.eat(')') {
                return Ok(Some(args));
            }
            if !args.is_empty() {
                if !self.eat(',') {
                    return Err((open, "`(` is never closed".to_owned()));
                }
                self.space();
            }
            let at = self.at;
            let value = self.expression(depth + 1)?;
            self.space();
            if !self.eat(':') {
                let label = None;
                args.push(Arg { at, label, value });
                continue;
            }
            let label = match value.kind {
                Kind::Text(text) => text,
                Kind::Name(mut names) if names.len() == 1 => names.swap_remove(0),
                _ => return Err((at, "before `:` stands a name or a text".to_owned())),
            };
            let value = self.expression(depth + 1)?;
            args.push(Arg {
                at,
                label: Some(label),
                value,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_with_holes_is_taken_apart() {
        let template = Template::parse("a{{b}}{x | e164}/{sign | cut(8)}").unwrap();
        let [
            Piece::Literal(first),
            Piece::Hole(number),
            Piece::Literal(second),
            Piece::Hole(sign),
        ] = &template.pieces[..]
        else {
            panic!("{template:?}");
        };
        assert_eq!((first.as_str(), second.as_str()), ("a{b}", "/"));
        assert!(
            matches!(&number.kind, Kind::Pipe(_, name, args) if name == "e164" && args.is_empty())
        );
        assert!(
            matches!(&sign.kind, Kind::Pipe(_, name, args) if name == "cut" && args.len() == 1)
        );
    }

    #[test]
    fn mistakes_are_told_with_their_byte() {
        for (text, at, said) in [
            ("ab{x", 2, "never closed"),
            ("}", 0, "closes nothing"),
            ("{x |}", 4, "a function is expected"),
            ("{}", 1, "a value is expected"),
            ("{x | f(}", 7, "a value is expected"),
            ("{x y}", 3, "`y` is not expected"),
            ("{'a}", 1, "quote is never closed"),
            ("{'\\q'}", 2, "there are"),
            ("{f(1 2)}", 2, "never closed"),
            ("{99999999999999999999}", 1, "no whole number"),
        ] {
            let (found, text_found) = Template::parse(text).unwrap_err();
            assert_eq!(found, at, "{text}: {text_found}");
            assert!(text_found.contains(said), "{text}: {text_found}");
        }
    }

    #[test]
    fn depth_and_length_have_bounds() {
        assert!(Template::parse(&format!("{{{}", "(".repeat(100))).is_err());
        assert!(Template::parse(&format!("{{x{}}}", "|f".repeat(100))).is_err());
        assert!(Template::parse(&"x".repeat(TEXT_MAX + 1)).is_err());
    }
}
