//! What may be shown of a request and its answer: neither secrets, nor what was made with them, nor
//! whole numbers of subscribers.
//!
//! Which headers, fields and parts of a path carry a secret is not guessed from their names: a
//! [`Masker`] builds a sample of every operation twice, with the interface's secrets and with
//! others, and whatever differs is hidden ever after. Beside that no secret's own text is shown
//! wherever it stands, as it is, percent-encoded or as JSON writes it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::definition::{Plan, Values};
use crate::exchange::{Attempt, Op, Request};
use crate::interface::Interface;
use crate::outcome::Handle;

/// Stands for what is hidden.
pub const HIDDEN: &str = "***";
/// A secret shorter than this is hidden by its place only: its text may stand anywhere.
const SECRET_MIN: usize = 4;
/// Digits from which on a run of them may be somebody's number.
const NUMBER_MIN: usize = 6;
/// Headers that are secret wherever they come from.
const HEADERS: [&str; 4] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
];
/// Fields that are secret wherever they come from, answers included.
const FIELDS: [&str; 8] = [
    "access_token",
    "token",
    "secret",
    "password",
    "sign",
    "signature",
    "app_secret",
    "appSecret",
];

/// Hides what one interface must not show.
#[derive(Clone, Debug)]
pub struct Masker {
    /// Longest first, so that none is hidden in part.
    secrets: Vec<String>,
    places: BTreeMap<Op, Places>,
    /// Names of all operations, for answers.
    fields: BTreeSet<String>,
}

/// Where an operation's requests carry what was made with a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Places {
    /// Names in lower case.
    headers: BTreeSet<String>,
    /// Names in query, form or JSON.
    fields: BTreeSet<String>,
    /// Parts of the URL between slashes, counted from its beginning.
    segments: BTreeSet<usize>,
    /// Nothing is known of the body but that it differs.
    body: bool,
    /// No sample could be built: everything is hidden.
    all: bool,
}

impl Masker {
    /// What is to be hidden of an interface that was found free of errors.
    pub fn new(interface: &Interface) -> Masker {
        let definition = interface.vendor.describe();
        let mut other = interface.clone();
        let mut secrets = Vec::new();
        for param in definition.params.iter().filter(|param| param.secret) {
            let Some(value) = interface.param(&param.name) else {
                continue;
            };
            if value.is_empty() {
                continue;
            }
            other.params.insert(param.name.clone(), unlike(value));
            secrets.extend(spellings(value));
        }
        secrets.retain(|secret| secret.len() >= SECRET_MIN);
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        let (ours, others) = (Plan::new(interface), Plan::new(&other));
        let places: BTreeMap<Op, Places> = definition
            .operations
            .iter()
            .map(|operation| (operation.op, places(operation.op, &ours, &others)))
            .collect();
        let mut fields: BTreeSet<String> = FIELDS.map(str::to_owned).into();
        for places in places.values() {
            fields.extend(places.fields.iter().cloned());
        }
        Masker {
            secrets,
            places,
            fields,
        }
    }

    fn places(&self, op: Op) -> Cow<'_, Places> {
        match self.places.get(&op) {
            Some(places) => Cow::Borrowed(places),
            None => Cow::Owned(Places {
                all: true,
                ..Places::default()
            }),
        }
    }

    /// A URL without what it may not show.
    pub fn url(&self, op: Op, url: &str) -> String {
        let places = self.places(op);
        let (path, query) = match url.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (url, None),
        };
        let mut out = String::with_capacity(url.len());
        for (index, segment) in path.split('/').enumerate() {
            if index > 0 {
                out.push('/');
            }
            // Scheme, nothing, and host.
            if index > 2 && (places.all || places.segments.contains(&index)) {
                out.push_str(HIDDEN);
            } else {
                out.push_str(segment);
            }
        }
        let Some(query) = query else {
            return self.text(&out);
        };
        let mut out = self.text(&out);
        out.push('?');
        match places.all {
            true => out.push_str(HIDDEN),
            false => out.push_str(&self.text(&hide_fields(query, &self.fields))),
        }
        out
    }

    /// A header's value, of a request when `op` is given, else of an answer.
    pub fn header(&self, op: Option<Op>, name: &str, value: &str) -> String {
        let name = name.to_ascii_lowercase();
        let hidden = HEADERS.contains(&&*name)
            || match op {
                Some(op) => {
                    let places = self.places(op);
                    places.all || places.headers.contains(&name)
                }
                None => self.places.values().any(|p| p.headers.contains(&name)),
            };
        match hidden {
            true => HIDDEN.to_owned(),
            false => self.text(value),
        }
    }

    /// A request's body.
    pub fn body(&self, op: Op, body: &str) -> String {
        let places = self.places(op);
        match !body.is_empty() && (places.all || places.body) {
            true => HIDDEN.to_owned(),
            false => self.answer(body),
        }
    }

    /// An answer's body, or any text of the platform.
    pub fn answer(&self, text: &str) -> String {
        self.text(&hide_fields(text, &self.fields))
    }

    /// Secrets and numbers wherever they stand.
    pub fn text(&self, text: &str) -> String {
        let mut text = Cow::Borrowed(text);
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = Cow::Owned(text.replace(secret.as_str(), HIDDEN));
            }
        }
        numbers(&text)
    }
}

/// Every run of six digits or more with its first three and last two alone, as log lines show
/// numbers.
pub fn numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let end = from
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(from.len());
        let (digits, after) = from.split_at(end);
        out.push_str(before);
        match digits.len() {
            length if length < NUMBER_MIN => out.push_str(digits),
            length => {
                out.push_str(&digits[..3]);
                out.extend(std::iter::repeat_n('*', length - 5));
                out.push_str(&digits[length - 2..]);
            }
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A value of the same length and kinds of characters that differs in all of them.
fn unlike(value: &str) -> String {
    let turned = |c: char| match c {
        '0'..='8' | 'a'..='y' | 'A'..='Y' => char::from_u32(u32::from(c) + 1).unwrap_or('0'),
        '9' => '0',
        'z' => 'a',
        'Z' => 'A',
        _ => 'x',
    };
    value.chars().map(turned).collect()
}

/// The ways in which a secret's text may be written.
fn spellings(secret: &str) -> Vec<String> {
    let form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut percent = String::with_capacity(secret.len());
    for byte in secret.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => {
                percent.push(char::from(byte));
            }
            byte => {
                let _ = write!(percent, "%{byte:02X}");
            }
        }
    }
    let json = serde_json::Value::from(secret).to_string();
    let json = json[1..json.len() - 1].to_owned();
    vec![secret.to_owned(), form, percent, json]
}

/// Where the requests of two sets of secrets differ.
fn places(op: Op, ours: &Plan, others: &Plan) -> Places {
    // Whatever a capture may be called: the sample has all of them.
    let handle: Handle = ours
        .handle_names()
        .map(|name| (name.to_owned(), "1".to_owned()))
        .collect();
    let values = Values {
        a: "02100000001",
        x: "17000000001",
        b: "13900000001",
        own_id: "1",
        handle: Some(&handle),
        page: 1,
    };
    let attempt = Attempt {
        now_ms: 1_763_762_400_000,
        nonce: "0123456789ABCDEF0123456789ABCDEF".to_owned(),
    };
    match (
        ours.build(op, &values, &attempt),
        others.build(op, &values, &attempt),
    ) {
        (Ok(one), Ok(two)) => differing(&one, &two),
        _ => Places {
            all: true,
            ..Places::default()
        },
    }
}

fn differing(one: &Request, two: &Request) -> Places {
    let mut places = Places::default();
    for (name, value) in &one.headers {
        let same = two.headers.iter().any(|(n, v)| n == name && v == value);
        if !same {
            places.headers.insert(name.to_ascii_lowercase());
        }
    }
    let split = |url: &str| -> (Vec<String>, String) {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        (
            path.split('/').map(str::to_owned).collect(),
            query.to_owned(),
        )
    };
    let ((path, query), (other_path, other_query)) = (split(&one.url), split(&two.url));
    if path.len() == other_path.len() {
        let pairs = path.iter().zip(&other_path).enumerate();
        places
            .segments
            .extend(pairs.filter(|(_, (a, b))| a != b).map(|(index, _)| index));
    } else {
        places.all = true;
    }
    if !differing_pairs(&query, &other_query, &mut places.fields) {
        places.all = true;
    }
    if one.body != two.body {
        let json = (
            serde_json::from_str(&one.body),
            serde_json::from_str(&two.body),
        );
        places.body = match json {
            (Ok(a), Ok(b)) => !differing_leaves(None, &a, &b, &mut places.fields),
            _ => !differing_pairs(&one.body, &two.body, &mut places.fields),
        };
    }
    places
}

/// Names of `k=v` pairs that differ; false when the two have not the same names.
fn differing_pairs(one: &str, two: &str, fields: &mut BTreeSet<String>) -> bool {
    if one == two {
        return true;
    }
    let (one, two): (Vec<&str>, Vec<&str>) = (one.split('&').collect(), two.split('&').collect());
    if one.len() != two.len() {
        return false;
    }
    for (one, two) in one.iter().zip(two) {
        let (Some((name, value)), Some((other, other_value))) =
            (one.split_once('='), two.split_once('='))
        else {
            return false;
        };
        if name != other {
            return false;
        }
        if value != other_value {
            fields.insert(name.to_owned());
        }
    }
    true
}

/// Names of the fields that differ; false when one of them has no name.
fn differing_leaves(
    name: Option<&str>,
    one: &serde_json::Value,
    two: &serde_json::Value,
    fields: &mut BTreeSet<String>,
) -> bool {
    use serde_json::Value::{Array, Object};
    match (one, two) {
        (Object(one), Object(two)) => one.iter().all(|(name, one)| match two.get(name) {
            Some(two) => differing_leaves(Some(name), one, two, fields),
            None => false,
        }),
        (Array(one), Array(two)) if one.len() == two.len() => one
            .iter()
            .zip(two)
            .all(|(one, two)| differing_leaves(name, one, two, fields)),
        (one, two) if one == two => true,
        _ => match name {
            Some(name) => {
                fields.insert(name.to_owned());
                true
            }
            None => false,
        },
    }
}

/// The values of these fields hidden, in JSON (`"name": "value"`) as in pairs (`name=value&`).
fn hide_fields(text: &str, fields: &BTreeSet<String>) -> String {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for field in fields.iter().filter(|field| !field.is_empty()) {
        for (at, _) in text.match_indices(field.as_str()) {
            let before = text[..at].chars().next_back();
            let after = at + field.len();
            let span = match before {
                Some('"') => json_value(text, after),
                None | Some('&' | '?') => pair_value(text, after),
                _ => None,
            };
            spans.extend(span);
        }
    }
    spans.sort_unstable();
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (start, end) in spans {
        if start < done {
            continue;
        }
        out.push_str(&text[done..start]);
        out.push_str(HIDDEN);
        done = end;
    }
    out.push_str(&text[done..]);
    out
}

/// What stands behind `"name` in JSON: a string's inside, or a bare word. An answer that was cut
/// inside of it hides to its end.
fn json_value(text: &str, after_name: usize) -> Option<(usize, usize)> {
    let rest = text[after_name..].strip_prefix('"')?;
    let colon = rest.trim_start().strip_prefix(':')?;
    let value = colon.trim_start();
    let start = text.len() - value.len();
    match value.strip_prefix('"') {
        Some(inside) => {
            let start = start + 1;
            let mut escaped = false;
            let end = inside.find(|c: char| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            Some((start, end.map_or(text.len(), |end| start + end)))
        }
        // A list or an object has fields of its own.
        None if value.starts_with(['{', '[']) => None,
        None => {
            let end = value.find([',', '}', ']', '\n', ' ']);
            Some((start, start + end.unwrap_or(value.len())))
        }
    }
}

fn pair_value(text: &str, after_name: usize) -> Option<(usize, usize)> {
    let value = text[after_name..].strip_prefix('=')?;
    let start = after_name + 1;
    let end = value.find(['&', ' ', '\n']);
    Some((start, start + end.unwrap_or(value.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::Vendor;

    const SECRET: &str = "hush/Hush 4321+=";

    fn interface(vendor: Vendor) -> Interface {
        let mut interface = Interface::new(1, "i", vendor, "https://platform.example");
        for param in &vendor.describe().params {
            let value = match &param.form {
                _ if param.secret => SECRET.to_owned(),
                crate::description::Form::Choice { words } => words[0].clone(),
                crate::description::Form::Number { min, .. } => min.to_string(),
                crate::description::Form::Text { .. } => "plain".to_owned(),
            };
            if param.secret || param.required {
                interface.params.insert(param.name.clone(), value);
            }
        }
        interface
    }

    /// A request of every operation of every vendor as it would be shown.
    #[test]
    fn no_vendor_shows_a_secret_or_anything_made_with_one() {
        for vendor in Vendor::all() {
            let interface = interface(vendor);
            let masker = Masker::new(&interface);
            let mut other = interface.clone();
            for param in vendor.describe().params.iter().filter(|param| param.secret) {
                let value = "Other+secret/9876";
                other.params.insert(param.name.clone(), value.to_owned());
            }
            let other_masker = Masker::new(&other);
            for operation in &vendor.describe().operations {
                let op = operation.op;
                let show = |interface: &Interface, masker: &Masker| -> Option<String> {
                    let plan = Plan::new(interface);
                    let handle: Handle = plan
                        .handle_names()
                        .map(|name| (name.to_owned(), "h-1".to_owned()))
                        .collect();
                    let values = Values {
                        a: "02187654321",
                        x: "17087654321",
                        b: "13987654321",
                        own_id: "77",
                        handle: Some(&handle),
                        page: 1,
                    };
                    let attempt = Attempt {
                        now_ms: 1_763_762_412_345,
                        nonce: "00112233445566778899AABBCCDDEEFF".to_owned(),
                    };
                    let request = plan.build(op, &values, &attempt).ok()?;
                    let mut shown = masker.url(op, &request.url);
                    for (name, value) in &request.headers {
                        let value = masker.header(Some(op), name, value);
                        shown.push_str(&format!("\n{name}: {value}"));
                    }
                    shown.push('\n');
                    shown.push_str(&masker.body(op, &request.body));
                    Some(shown)
                };
                let (Some(ours), Some(theirs)) =
                    (show(&interface, &masker), show(&other, &other_masker))
                else {
                    continue;
                };
                let name = format!("{} {}", vendor.name(), op.word());
                // Two secrets, one text: nothing of either can be learnt from it.
                assert_eq!(ours, theirs, "{name}");
                // Some vendors sign no unbind.
                assert!(op != Op::Bind || ours.contains(HIDDEN), "{name}: {ours}");
                for number in ["87654321", "hush", "Hush"] {
                    assert!(!ours.contains(number), "{name}: {ours}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_secret_stays_readable() {
        let masker = Masker::new(&interface(Vendor::huawei()));
        let url = "https://platform.example/v1?relationNum=%2B8617087654321&page=2";
        assert_eq!(
            masker.url(Op::Query, url),
            "https://platform.example/v1?relationNum=%2B861********21&page=2"
        );
        let body = r#"{"resultcode":"1012010","resultdesc":"busy","subscriptionId":"ab-7"}"#;
        assert_eq!(
            masker.answer(body),
            r#"{"resultcode":"101**10","resultdesc":"busy","subscriptionId":"ab-7"}"#
        );
        assert_eq!(
            masker.header(Some(Op::Bind), "Content-Type", "application/json"),
            "application/json"
        );
    }

    #[test]
    fn secrets_are_found_however_an_answer_repeats_them() {
        let masker = Masker::new(&interface(Vendor::huawei()));
        for (answer, shown) in [
            (r#"{"echo":"hush/Hush 4321+="}"#, r#"{"echo":"***"}"#),
            ("you sent hush%2FHush%204321%2B%3D", "you sent ***"),
            ("you sent hush%2FHush+4321%2B%3D", "you sent ***"),
            (r#"{"sign" : "ab\"c", "n":1}"#, r#"{"sign" : "***", "n":1}"#),
            (r#"{"token":12345,"n":1}"#, r#"{"token":***,"n":1}"#),
            (r#"{"sign":"cut in the mid"#, r#"{"sign":"***"#),
            ("a=1&sign=abc&b=2", "a=1&sign=***&b=2"),
            (
                r#"{"design":"abc","sign":{"n":"1"}}"#,
                r#"{"design":"abc","sign":{"n":"1"}}"#,
            ),
            ("号码13812345678忙", "号码138******78忙"),
        ] {
            assert_eq!(masker.answer(answer), shown);
        }
        for name in ["Set-Cookie", "authorization", "X-AKSK"] {
            assert_eq!(masker.header(None, name, "abc"), HIDDEN, "{name}");
        }
    }

    #[test]
    fn arbitrary_text_is_masked_without_a_panic() {
        let masker = Masker::new(&interface(Vendor::huawei()));
        for text in [
            "",
            "\"sign\"",
            "\"sign\":",
            "sign=",
            "\"sign\":\"\\",
            "号\"sign\":号",
        ] {
            let _ = masker.answer(text);
        }
    }
}
