//! The signature vectors of `vendors/tests/vectors`, most of them captured from the vendors' own
//! SDKs: every one is reproduced byte for byte from the definitions.
//!
//! A case names its definition, the interface's parameters, the operation and what is asked for.
//! Vectors of operations that no definition has are reproduced too, by an operation that a few
//! lines add to the definition's own text: the recipe is the definition's all the same. Whatever a
//! vector derives (canonical text, string to sign, signature) is compared with the step that bears
//! its name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value as Json;

use super::load::OPS;
use super::{Catalogue, Definition, Plan, Values};
use crate::exchange::{Attempt, Op, Request};
use crate::interface::{Interface, Severity, Vendor};
use crate::outcome::Handle;

/// How one vector is asked for.
struct Case {
    file: String,
    name: String,
    vendor: String,
    op: String,
    /// Of the interface.
    params: BTreeMap<String, String>,
    /// `a`, `x`, `b`, `own_id` and the handle's values.
    asked: BTreeMap<String, String>,
    /// What is replaced in the definition, as a client differs from ours: old, new.
    edits: Vec<[String; 2]>,
    /// Lines that add the operation, in place of the definition's own.
    adds: String,
}

/// `cases.toml`: for each file its vendor and what its cases have in common, then the cases. What a
/// case says stands over what its file says. A case with `literal` is an operation that the
/// definition lacks: its fields are those of the vector, as they stand in its query or form.
fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(folder().join("cases.toml")).unwrap();
    let files: toml::Table = toml::from_str(&text).unwrap();
    let mut cases = Vec::new();
    for (name, common) in &files {
        let vectors = file(name);
        let text = |table: &toml::Value, key: &str| {
            let found = table.get(key).or_else(|| common.get(key));
            found
                .and_then(|value| value.as_str())
                .unwrap_or_default()
                .to_owned()
        };
        for case in common["cases"].as_array().unwrap() {
            let mut params = merged(common.get("params"), case.get("params"));
            for (credential, param) in common["credentials"].as_table().unwrap() {
                let value = vectors["credentials"][credential].as_str().unwrap();
                params
                    .entry(param.as_str().unwrap().to_owned())
                    .or_insert_with(|| value.to_owned());
            }
            let mut one = Case {
                file: name.clone(),
                name: text(case, "name"),
                vendor: text(case, "vendor"),
                op: text(case, "op"),
                params,
                asked: merged(common.get("asked"), case.get("asked")),
                edits: [common.get("edits"), case.get("edits_more")]
                    .into_iter()
                    .flatten()
                    .flat_map(|edits| edits.as_array().unwrap())
                    .map(|edit| [0, 1].map(|n| edit[n].as_str().unwrap().to_owned()))
                    .collect(),
                adds: text(case, "adds"),
            };
            if let Some(place) = case.get("literal") {
                one.adds = literal(&one, &vectors, place.as_str().unwrap(), common);
            }
            cases.push(one);
        }
    }
    cases
}

fn merged(under: Option<&toml::Value>, over: Option<&toml::Value>) -> BTreeMap<String, String> {
    let tables = [under, over].into_iter().flatten();
    tables
        .flat_map(|table| table.as_table().unwrap())
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect()
}

/// An operation whose fields are the vector's, but for those that the definition adds itself.
fn literal(case: &Case, vectors: &Json, place: &str, common: &toml::Value) -> String {
    let vector = found(vectors, case);
    let request = &vector["request"];
    let fields = match place {
        "query" => {
            request["target"]
                .as_str()
                .unwrap()
                .split_once('?')
                .unwrap()
                .1
        }
        _ => request["body"].as_str().unwrap(),
    };
    let own = common.get("own").and_then(|own| own.as_array());
    let own: Vec<&str> = own
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str())
        .collect();
    let quoted =
        |text: &str| toml::Value::String(text.replace('{', "{{").replace('}', "}}")).to_string();
    let mut text = format!(
        "[operations.{}]\nmethod = {}\npath = \"/\"\naction = {}\nsend = \"form\"\n[operations.{}.{place}]\n",
        case.op, request["method"], vector["operation"], case.op,
    );
    for (name, value) in decoded(fields) {
        if !own.contains(&name.as_str()) {
            text += &format!("{name} = {}\n", quoted(&value));
        }
    }
    text
}

fn found<'a>(vectors: &'a Json, case: &Case) -> &'a Json {
    let mut list = vectors["cases"].as_array().unwrap().iter();
    let same = |vector: &&Json| vector["name"] == case.name.as_str();
    list.find(same)
        .unwrap_or_else(|| panic!("{}: no case {}", case.file, case.name))
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors"))
}

fn file(name: &str) -> Json {
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A vector's clock in milliseconds.
fn clock(file: &Json) -> u64 {
    match file["clock"].as_str() {
        None | Some("2024-05-20T08:30:00Z" | "1716193800") => 1_716_193_800_000,
        // Two notations of local time; the parts that are signed agree.
        Some("20240520163000") => 1_716_193_800_000,
        Some("20240520163000123" | "1716193800123") => 1_716_193_800_123,
        Some(other) => panic!("no such clock: {other}"),
    }
}

fn definition(case: &Case) -> Vendor {
    if case.adds.is_empty() && case.edits.is_empty() {
        return Vendor::named(&case.vendor).unwrap();
    }
    let mut text = Catalogue::text_of(&case.vendor).unwrap().to_owned();
    for [old, new] in &case.edits {
        assert!(text.contains(old), "{} {}: {old}", case.file, case.name);
        text = text.replacen(old, new, 1);
    }
    // The operation's own tables make way for the ones of the case.
    let head = format!("[operations.{}", case.op);
    let mut kept = String::new();
    let mut skip = false;
    for line in text.lines() {
        if line.starts_with('[') && !case.adds.is_empty() {
            let rest = line.strip_prefix(&head);
            skip = rest.is_some_and(|rest| rest.starts_with(']') || rest.starts_with('.'));
        }
        if !skip {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    let text = format!("{kept}\n{}\n", case.adds);
    match Definition::parse(&text) {
        Ok(definition) => Vendor::of(Box::leak(Box::new(definition))),
        Err(mistakes) => panic!("{} {}: {mistakes:?}", case.file, case.name),
    }
}

/// Pairs of a query or a form, decoded, in their order.
fn decoded(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    let digits = std::str::from_utf8(&digits).unwrap();
                    u8::from_str_radix(digits, 16).unwrap()
                }
                byte => byte,
            });
        }
        String::from_utf8(bytes).unwrap()
    };
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// Headers that say nothing about who asks; a client writes them as it likes.
const UNCOMPARED: [&str; 4] = ["accept", "user-agent", "host", "content-type"];

fn compare(case: &Case, request: &Request, vector: &Json) {
    let who = format!("{} {}", case.file, case.name);
    if let Some(method) = vector["method"].as_str() {
        assert_eq!(request.method.word(), method, "{who}");
    }
    if let Some(target) = vector["target"].as_str() {
        let (_, rest) = request.url.split_once("://").unwrap();
        let (_, own) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (own_path, own_query) = own.split_once('?').unwrap_or((own, ""));
        assert_eq!(own_path, path, "{who}");
        let (mut query, mut own_query) = (decoded(query), decoded(own_query));
        // Their order means nothing.
        query.sort();
        own_query.sort();
        assert_eq!(own_query, query, "{who}");
    }
    let sent: BTreeMap<String, &str> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str()))
        .collect();
    for (name, value) in vector["headers"].as_object().into_iter().flatten() {
        let name = name.to_ascii_lowercase();
        let value = value.as_str().unwrap();
        match sent.get(&name) {
            Some(own) => assert_eq!(*own, value, "{who}: {name}"),
            None => assert!(UNCOMPARED.contains(&&*name), "{who}: no header {name}"),
        }
    }
    if let Some(host) = vector["headers"]["Host"].as_str() {
        assert!(request.url.contains(host), "{who}: {} {host}", request.url);
    }
    if let Some(body) = vector["body"].as_str() {
        assert_eq!(request.body, body, "{who}");
    }
}

/// A case as it is asked for.
struct Asked {
    plan: Plan,
    op: Op,
    numbers: BTreeMap<String, String>,
    handle: Handle,
    attempt: Attempt,
}

impl Asked {
    fn new(case: &Case, file: &Json) -> Asked {
        let who = format!("{} {}", case.file, case.name);
        let mut interface = Interface::new(1, "vectors", definition(case), "");
        interface.base_url = match &*interface.vendor.describe().base_url {
            "" => "https://platform.example.test".to_owned(),
            base => base.to_owned(),
        };
        interface.params = case.params.clone();
        let mut at_fault = interface.check();
        at_fault.retain(|finding| finding.severity == Severity::Error);
        assert!(at_fault.is_empty(), "{who}: {at_fault:?}");
        let (numbers, handle) = case
            .asked
            .clone()
            .into_iter()
            .partition::<BTreeMap<String, String>, _>(|(name, _)| {
                ["a", "x", "b", "own_id", "now_ms"].contains(&name.as_str())
            });
        let now_ms = numbers.get("now_ms").map(|now_ms| now_ms.parse().unwrap());
        let nonce = file["nonce"].as_str();
        let (_, op) = OPS.iter().find(|(name, _)| *name == case.op).unwrap();
        Asked {
            plan: Plan::new(&interface),
            op: *op,
            numbers,
            handle,
            attempt: Attempt {
                now_ms: now_ms.unwrap_or_else(|| clock(file)),
                nonce: nonce
                    .unwrap_or("0123456789ABCDEF0123456789ABCDEF")
                    .to_owned(),
            },
        }
    }

    fn values(&self) -> Values<'_> {
        let number = |name: &str| self.numbers.get(name).map_or("", String::as_str);
        Values {
            a: number("a"),
            x: number("x"),
            b: number("b"),
            own_id: number("own_id"),
            handle: Some(&self.handle),
            page: 1,
        }
    }

    fn request(&self) -> Request {
        let request = self.plan.build(self.op, &self.values(), &self.attempt);
        request.unwrap_or_else(|failure| panic!("{:?}: {failure}", self.op))
    }
}

fn check(case: &Case, file: &Json) {
    let who = format!("{} {}", case.file, case.name);
    let vector = found(file, case);
    let asked = Asked::new(case, file);
    compare(case, &asked.request(), &vector["request"]);
    let steps = asked.plan.steps(asked.op, &asked.values(), &asked.attempt);
    let steps = steps.unwrap();
    for (name, value) in vector["derived"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap();
        // Keys that some vectors have in hexadecimal are steps of bytes.
        let name = name.trim_end_matches("_text").trim_end_matches("_hex");
        let step = steps
            .iter()
            .find(|(step, _)| step == name || step.eq_ignore_ascii_case(&format!("header.{name}")));
        match step {
            Some((_, own)) => assert_eq!(own, value, "{who}: {name}"),
            None => assert!(
                name == "authorization",
                "{who}: no step {name} among {steps:?}"
            ),
        }
    }
}

#[test]
fn every_vector_is_reproduced_byte_for_byte() {
    let mut done: BTreeSet<(String, String)> = BTreeSet::new();
    for case in cases() {
        check(&case, &file(&case.file));
        assert!(done.insert((case.file, case.name.clone())), "{}", case.name);
    }
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // What platforms send to us is another matter.
        if name.starts_with("callback-") || name == "cases.toml" {
            continue;
        }
        for vector in file(&name)["cases"].as_array().unwrap() {
            let key = (name.clone(), vector["name"].as_str().unwrap().to_owned());
            assert!(done.contains(&key), "nothing reproduces {key:?}");
        }
    }
}

#[test]
fn one_bit_of_the_secret_changes_every_request() {
    for case in cases() {
        let vectors = file(&case.file);
        let vendor = Vendor::named(&case.vendor).unwrap().describe();
        let secret = vendor.params.iter().find(|param| param.secret).unwrap();
        let mut other = Case {
            params: case.params.clone(),
            ..case
        };
        let request = Asked::new(&other, &vectors).request();
        let value = other.params.get_mut(&secret.name).unwrap();
        let last = char::from(value.pop().unwrap() as u8 ^ 1);
        value.push(last);
        let changed = Asked::new(&other, &vectors).request();
        assert_ne!(request, changed, "{} {}", other.file, other.name);
    }
}
