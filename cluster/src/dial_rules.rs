//! Dial rules (拨号规则): how a gateway rewrites numbers.
//!
//! A list `from:to` separated by commas. The rule with the longest literal match wins, of equals the first written; the
//! matched head of the number is replaced and the rest stays. Numbers are texts and never become integers.
//!
//! `from` is digits, `#` and a leading `+`; `*` matches any run, also an empty one; then conditions on the length of
//! the whole number: `E11` equal, `L8` less, `G8` greater, `F11` different. `to` is text to put in place: `?` is a
//! random digit, `$` keeps what the original has at this position, `a;b;8100-8121` picks one at random (every number
//! of a range counts as one). An empty `to` strips.

use std::fmt;

/// Rules of one text, bounded.
const RULES_MAX: usize = 256;
/// Bytes of one text.
const TEXT_MAX: usize = 8_192;
/// Runs in one `from`: matching tries every length for each.
const RUNS_MAX: usize = 4;
/// Digits of a range's ends.
const RANGE_DIGITS_MAX: usize = 18;

/// A parsed rule list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    rules: Vec<Rule>,
}

/// Where a rule text is wrong, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Byte offset into the text.
    pub position: usize,
    /// What was found there.
    pub what: &'static str,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at position {}", self.what, self.position)
    }
}

impl std::error::Error for RuleError {}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// As it was written.
    text: String,
    head: Vec<Token>,
    /// Characters of `from` that are not runs.
    literal: usize,
    lengths: Vec<(Relation, usize)>,
    to: Vec<Choice>,
    /// Numbers that `to` offers.
    offers: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    One(u8),
    Run,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Equal,
    Less,
    Greater,
    Different,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    Text(String),
    Range {
        first: u64,
        count: u32,
        width: usize,
    },
}

impl Rules {
    /// Reads a rule text. Blank means no rules; blanks around a rule are ignored.
    ///
    /// # Errors
    /// The first mistake, with its position.
    pub fn parse(text: &str) -> Result<Rules, RuleError> {
        if text.len() > TEXT_MAX {
            return Err(RuleError {
                position: TEXT_MAX,
                what: "text too long",
            });
        }
        let mut rules = Vec::new();
        if text.trim().is_empty() {
            return Ok(Rules { rules });
        }
        let mut start = 0;
        for item in text.split(',') {
            let lead = item.len() - item.trim_start().len();
            if rules.len() == RULES_MAX {
                return Err(RuleError {
                    position: start,
                    what: "too many rules",
                });
            }
            rules.push(parse_rule(item.trim(), start + lead)?);
            start += item.len() + 1;
        }
        Ok(Rules { rules })
    }

    /// Whether the list holds no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The number after the rules. `rng(bound)` gives a number below `bound`; it is asked only where a rule says
    /// random.
    pub fn apply(&self, number: &str, rng: &mut impl FnMut(u32) -> u32) -> String {
        let Some((_, rule, matched)) = self.best(number) else {
            return number.to_owned();
        };
        let mut out = String::with_capacity(number.len() + 8);
        rule.write(number, rng, &mut out);
        out.push_str(&number[matched..]);
        out
    }

    /// The rule that [`Rules::apply`] follows for this number: its place in the list, from 1, and its text.
    pub fn rule_for(&self, number: &str) -> Option<(usize, &str)> {
        let (place, rule, _) = self.best(number)?;
        Some((place + 1, &rule.text))
    }

    /// The rule that wins, with its place and how much of the number's head it replaces.
    fn best(&self, number: &str) -> Option<(usize, &Rule, usize)> {
        let mut best: Option<(usize, &Rule, usize)> = None;
        for (place, rule) in self.rules.iter().enumerate() {
            if best.is_some_and(|(_, found, _)| found.literal >= rule.literal) {
                continue;
            }
            if let Some(matched) = rule.matches(number) {
                best = Some((place, rule, matched));
            }
        }
        best
    }
}

impl Rule {
    /// Bytes of the number's head that this rule replaces.
    fn matches(&self, number: &str) -> Option<usize> {
        let length = number.chars().count();
        let fits = self
            .lengths
            .iter()
            .all(|&(relation, wanted)| match relation {
                Relation::Equal => length == wanted,
                Relation::Less => length < wanted,
                Relation::Greater => length > wanted,
                Relation::Different => length != wanted,
            });
        if fits {
            head(&self.head, number.as_bytes(), 0).filter(|&end| number.is_char_boundary(end))
        } else {
            None
        }
    }

    fn write(&self, number: &str, rng: &mut impl FnMut(u32) -> u32, out: &mut String) {
        let mut pick = if self.offers > 1 { rng(self.offers) } else { 0 };
        for choice in &self.to {
            match choice {
                Choice::Range {
                    first,
                    count,
                    width,
                } if pick < *count => {
                    let chosen = first + u64::from(pick);
                    out.push_str(&format!("{chosen:0width$}"));
                    return;
                }
                Choice::Range { count, .. } => pick -= count,
                Choice::Text(text) if pick == 0 => {
                    for (position, c) in text.chars().enumerate() {
                        match c {
                            '?' => out.push(char::from(b'0' + (rng(10) % 10) as u8)),
                            '$' => out.extend(number.chars().nth(position)),
                            c => out.push(c),
                        }
                    }
                    return;
                }
                Choice::Text(_) => pick -= 1,
            }
        }
    }
}

/// Where the longest match of `tokens` from `at` on ends.
fn head(tokens: &[Token], number: &[u8], at: usize) -> Option<usize> {
    match tokens.split_first() {
        None => Some(at),
        Some((Token::One(c), rest)) => (number.get(at) == Some(c))
            .then(|| head(rest, number, at + 1))
            .flatten(),
        Some((Token::Run, rest)) => (at..=number.len())
            .rev()
            .find_map(|end| head(rest, number, end)),
    }
}

fn parse_rule(text: &str, start: usize) -> Result<Rule, RuleError> {
    let Some((from, to)) = text.split_once(':') else {
        return Err(RuleError {
            position: start,
            what: "rule without `:`",
        });
    };
    let bytes = from.as_bytes();
    let mut head = Vec::new();
    let mut at = 0;
    while let Some(&c) = bytes.get(at) {
        match c {
            b'0'..=b'9' | b'#' => head.push(Token::One(c)),
            b'+' if at == 0 => head.push(Token::One(c)),
            b'*' if head.last() == Some(&Token::Run) => {}
            b'*' => head.push(Token::Run),
            _ => break,
        }
        at += 1;
    }
    if head.iter().filter(|token| **token == Token::Run).count() > RUNS_MAX {
        return Err(RuleError {
            position: start,
            what: "too many `*`",
        });
    }
    let mut lengths = Vec::new();
    while let Some(&c) = bytes.get(at) {
        let relation = match c {
            b'E' => Relation::Equal,
            b'L' => Relation::Less,
            b'G' => Relation::Greater,
            b'F' => Relation::Different,
            _ => {
                return Err(RuleError {
                    position: start + at,
                    what: "unknown character",
                });
            }
        };
        let digits = bytes[at + 1..]
            .iter()
            .take_while(|c| c.is_ascii_digit())
            .count();
        let Ok(wanted) = from[at + 1..at + 1 + digits].parse::<u16>() else {
            return Err(RuleError {
                position: start + at,
                what: "length condition without a number",
            });
        };
        lengths.push((relation, usize::from(wanted)));
        at += 1 + digits;
    }
    let literal = head.iter().filter(|token| **token != Token::Run).count();
    let (to, offers) = parse_to(to, start + from.len() + 1)?;
    Ok(Rule {
        text: text.to_owned(),
        head,
        literal,
        lengths,
        to,
        offers,
    })
}

fn parse_to(text: &str, start: usize) -> Result<(Vec<Choice>, u32), RuleError> {
    let mut choices = Vec::new();
    let mut offers = 0u32;
    let mut at = start;
    for item in text.split(';') {
        let choice = match item.split_once('-') {
            Some((first, last)) => parse_range(first, last, at)?,
            None => {
                if let Some((offset, _)) = item.char_indices().find(|(offset, c)| {
                    !(c.is_ascii_digit()
                        || matches!(c, '*' | '#' | '?' | '$')
                        || (*c == '+' && *offset == 0))
                }) {
                    return Err(RuleError {
                        position: at + offset,
                        what: "unknown character",
                    });
                }
                Choice::Text(item.to_owned())
            }
        };
        let more = match choice {
            Choice::Text(_) => 1,
            Choice::Range { count, .. } => count,
        };
        offers = offers.checked_add(more).ok_or(RuleError {
            position: at,
            what: "too many numbers",
        })?;
        choices.push(choice);
        at += item.len() + 1;
    }
    Ok((choices, offers))
}

fn parse_range(first: &str, last: &str, at: usize) -> Result<Choice, RuleError> {
    let bad = |what| RuleError { position: at, what };
    let end = |text: &str| {
        (!text.is_empty()
            && text.len() <= RANGE_DIGITS_MAX
            && text.bytes().all(|c| c.is_ascii_digit()))
        .then(|| text.parse::<u64>().ok())
        .flatten()
    };
    let (Some(low), Some(high)) = (end(first), end(last)) else {
        return Err(bad("range whose ends are no numbers"));
    };
    if high < low {
        return Err(bad("range that runs backwards"));
    }
    let count = u32::try_from(high - low + 1).map_err(|_| bad("range too wide"))?;
    Ok(Choice::Range {
        first: low,
        count,
        width: first.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zero(_: u32) -> u32 {
        0
    }

    #[test]
    fn every_line_and_example_of_the_domain() {
        for (rules, number, expected) in [
            // Examples.
            ("88:0086", "8813812341234", "008613812341234"),
            ("0:86", "057112345678", "8657112345678"),
            ("*:05718512345", "13812341234", "05718512345"),
            ("*:05718512345", "", "05718512345"),
            ("E11:0", "13812341234", "013812341234"),
            ("E11:0", "1381234123", "1381234123"),
            ("88:", "8813812341234", "13812341234"),
            // The longest literal wins wherever it is written; of equals the first.
            ("1:7", "138", "738"),
            ("1:5,138:6,13:7", "1381", "61"),
            ("13:5,13:6", "138", "58"),
            ("*:9,1:8", "123", "823"),
            ("E3:9,*:8", "123", "9123"),
            // No match leaves the number alone; so do no rules.
            ("9:8", "138", "138"),
            ("", "138", "138"),
            ("  ", "138", "138"),
            // Runs.
            ("0*5:9", "01235678", "9678"),
            ("0*5:9", "0125345", "9"),
            ("0*5:9", "05", "9"),
            ("0*5:9", "0123", "0123"),
            ("*5:9", "1235", "9"),
            ("1*:2", "13800", "2"),
            // Length conditions.
            ("1E11:01", "13812341234", "013812341234"),
            ("1L8:9", "1234567", "9234567"),
            ("1L8:9", "12345678", "12345678"),
            ("1G8:9", "123456789", "923456789"),
            ("1G8:9", "12345678", "12345678"),
            ("1F11:9", "13812341234", "13812341234"),
            ("1F11:9", "138", "938"),
            ("0G3L6:9", "01234", "91234"),
            ("0G3L6:9", "0123456", "0123456"),
            // `$` keeps the original's digit at its position, past the end nothing.
            ("138:9$$", "13812341234", "93812341234"),
            ("*:00$$", "1234", "0034"),
            ("*:0$$$", "12", "02"),
            // The first choice under these dice.
            ("1:7;8;9", "123", "723"),
            ("1:8100-8121", "12", "81002"),
            ("1:0007-0012", "1", "0007"),
            ("1:??", "1", "00"),
            ("1:;5", "12", "2"),
            // Leading plus, hash.
            ("+86:0", "+8613812341234", "013812341234"),
            ("0:+86", "0571", "+86571"),
            ("#31#:", "#31#138", "138"),
            // Blanks around rules.
            (" 88:0086 , 0:86", "0571", "86571"),
        ] {
            let parsed = Rules::parse(rules).unwrap_or_else(|e| panic!("{rules}: {e}"));
            assert_eq!(
                parsed.apply(number, &mut zero),
                expected,
                "{rules} on {number}"
            );
        }
    }

    #[test]
    fn mistakes_are_placed() {
        for (rules, position) in [
            ("88", 0),
            ("1:2,", 4),
            ("1:2,x:3", 4),
            ("1E:2", 1),
            ("1Eabc:2", 1),
            ("12Z3:2", 2),
            ("1:2a", 3),
            ("1:5;9-7", 4),
            ("1:5;-7", 4),
            ("1:a-7", 2),
            ("1+2:3", 1),
            ("1:2:3", 3),
            ("1:中", 2),
            ("*1*2*3*4*:5", 0),
            ("1:0-99999999999", 2),
        ] {
            let error = Rules::parse(rules).expect_err(rules);
            assert_eq!(error.position, position, "{rules}: {error}");
        }
    }

    #[test]
    fn dice_reach_every_number_of_every_choice_alike() {
        let rules = Rules::parse("1:7;20-22;?").expect("well formed");
        let mut seen = std::collections::BTreeMap::new();
        for pick in 0..5 {
            let mut first = true;
            let mut rng = |bound: u32| {
                let draw = if first { pick } else { 4 };
                first = false;
                assert!(draw < bound);
                draw
            };
            *seen.entry(rules.apply("1", &mut rng)).or_insert(0) += 1;
        }
        assert_eq!(
            seen.keys().map(String::as_str).collect::<Vec<_>>(),
            ["20", "21", "22", "4", "7"]
        );
    }

    #[test]
    fn any_text_as_number_or_rule_is_survived() {
        let rules = Rules::parse("*5:$$$$,1*:?,E3:0").expect("well formed");
        for number in [
            "",
            "é",
            "日本語",
            "5é5",
            "12345678901234567890123456789012345678901234567890",
        ] {
            rules.apply(number, &mut zero);
        }
        for text in [":", "::", ",", ";:-", "-:-", "E:E", "日:本", "*:;;;", "1:-"] {
            let _ = Rules::parse(text);
        }
    }
}
