//! `tandem route test`: every decision about a call that is not made, for people.

use super::args::RouteVerb;
use super::http::{Client, Request};
use super::print::Printer;
use super::{CliError, Exit, Output};
use reqwest::Method;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write;

/// Asks and prints. Exit 4 when the call would be refused.
pub async fn route<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    verb: &RouteVerb,
) -> Result<Exit, CliError> {
    let RouteVerb::Test {
        from,
        caller,
        callee,
        seed,
    } = verb;
    let body = json!({"from": from, "caller": caller, "callee": callee, "seed": seed});
    let told = client
        .json(Request::new(Method::POST, ["route-test"]).json(&body))
        .await?;
    if printer.output.unwrap_or(Output::Table) == Output::Table {
        printer.raw(Page::of(&told).as_bytes())?;
    } else {
        printer.one(&told)?;
    }
    Ok(match &told["refused"] {
        Value::Null => Exit::Ok,
        _ => Exit::Refused,
    })
}

/// A page of lines: a head of at most ten letters, then what is told.
#[derive(Default)]
struct Page(String);

impl Page {
    fn of(told: &Value) -> String {
        let mut page = Page::default();
        page.line("from", format_args!("{}", text(&told["gateway"])));
        page.line("caller", format_args!("{}", rewritten(&told["caller"])));
        page.line("callee", format_args!("{}", rewritten(&told["callee"])));
        for check in items(&told["checks"]) {
            let seen = text(&check["seen"]);
            let what = text(&check["what"]).replace('_', " ");
            match &check["refused"] {
                Value::Null => page.line("check", format_args!("{what}: {seen}")),
                key => page.line(
                    "check",
                    format_args!("{what}: {seen}: REFUSED, {}", text(key)),
                ),
            }
        }
        page.account(&told["account"]);
        if let Some(secs) = told["max_duration_secs"].as_u64() {
            page.line("at most", format_args!("{secs} s"));
        }
        for (place, route) in (1..).zip(items(&told["routes"])) {
            page.route(place, route, text(&told["x_select_mode"]));
        }
        let taken = items(&told["routes"]).find(|route| route["verdict"] == "taken");
        match (&told["refused"], taken) {
            (Value::Null, Some(route)) => {
                let numbers = match &route["axb"]["taken"] {
                    Value::Null => String::new(),
                    pair => format!(
                        " with A {} and X {}{}",
                        text(&pair["a"]),
                        text(&pair["x"]),
                        if pair["ax"] == true { " (AX)" } else { "" }
                    ),
                };
                page.line(
                    "result",
                    format_args!("goes out over `{}`{numbers}", text(&route["gateway"])),
                );
            }
            (key, _) => page.line("result", format_args!("REFUSED, {}", text(key))),
        }
        page.0
    }

    fn line(&mut self, head: &str, told: std::fmt::Arguments<'_>) {
        // A text takes everything.
        let _ = writeln!(self.0, "{head:<10}{told}");
    }

    fn account(&mut self, account: &Value) {
        if account.is_null() {
            return;
        }
        let mut told = format!(
            "{} {}: balance {}, overdraft {}, set aside {}, available {}",
            text(&account["account"]),
            text(&account["name"]),
            text(&account["money"]),
            text(&account["limit_money"]),
            text(&account["reserved"]),
            text(&account["available"]),
        );
        if let Some(until) = account["valid_until"].as_str() {
            let _ = write!(told, ", valid until {until}");
        }
        if let Some(key) = account["refused"].as_str() {
            let _ = write!(told, ": REFUSED, {key}");
        }
        self.line("account", format_args!("{told}"));
        if !account["rate"].is_null() {
            let pays = match account["pays_for_secs"].as_u64() {
                Some(secs) => format!(", which pays for {secs} s"),
                None => String::new(),
            };
            self.line("rate", format_args!("{}{pays}", rate(&account["rate"])));
        }
    }

    fn route(&mut self, place: usize, route: &Value, mode: &str) {
        let verdict = match &route["verdict"] {
            Value::String(word) => word.replace('_', " "),
            Value::Object(_) => format!(
                "skipped: {}",
                text(&route["verdict"]["skipped"]).replace('_', " ")
            ),
            _ => String::new(),
        };
        let prefix = match text(&route["prefix"]) {
            "" => "every callee".to_owned(),
            prefix => format!("prefix {prefix}"),
        };
        self.line(
            &format!("route {place}"),
            format_args!(
                "`{}`: {verdict} ({prefix}, {}, priority {}, {} of {} lines, {} calls before)",
                text(&route["gateway"]),
                text(&route["prefix_style"]),
                route["priority"],
                route["calls"],
                route["capacity"],
                route["past_calls"],
            ),
        );
        let axb = &route["axb"];
        if !axb.is_null() {
            self.numbers(axb, mode);
        }
        let sent = &route["sent"];
        if !sent.is_null() {
            self.line(
                "  caller",
                format_args!("{}", rewritten(&sent["caller_out"])),
            );
            self.line(
                "  callee",
                format_args!("{}", rewritten(&sent["callee_out"])),
            );
            for (head, field) in [("  landing", "landing"), ("  axb", "axb_settlement")] {
                let settled = &sent[field];
                if !settled.is_null() {
                    let account = text(&settled["account"]);
                    self.line(
                        head,
                        format_args!("account {account}, {}", rate(&settled["rate"])),
                    );
                }
            }
        }
    }

    fn numbers(&mut self, axb: &Value, mode: &str) {
        self.line("  B'", format_args!("{}", rewritten(&axb["b_submitted"])));
        self.line(
            "  A",
            format_args!(
                "group {}: {} of {} with a free line",
                text(&axb["a_group"]),
                axb["a_free"],
                axb["a_total"]
            ),
        );
        let head = format!("interface {}, mode {mode}", text(&axb["interface"]));
        for (name, field) in [("  X", "x"), ("  AX", "ax")] {
            let candidates = &axb[field];
            if candidates.is_null() {
                continue;
            }
            self.line(
                name,
                format_args!(
                    "{head}: {} in all; may be taken: {}; left out: {}",
                    candidates["total"],
                    tally(&candidates["usable"]),
                    tally(&candidates["excluded"])
                ),
            );
            for candidate in items(&candidates["listed"]).take(LISTED) {
                self.line("", format_args!("  {}", candidate_words(candidate)));
            }
            let more = items(&candidates["listed"]).count().saturating_sub(LISTED);
            if more > 0 {
                self.line("", format_args!("  … `-o json` lists {more} more"));
            }
        }
        let taken = &axb["taken"];
        if !taken.is_null() {
            self.line(
                "  pair",
                format_args!("{} → {}", text(&taken["a"]), text(&taken["x"])),
            );
        }
    }
}

/// Numbers shown of one gateway.
const LISTED: usize = 10;

fn candidate_words(candidate: &Value) -> String {
    let rank = match &candidate["rank"] {
        Value::String(word) => word.clone(),
        Value::Object(prefix) => {
            format!("prefix {}", prefix.values().next().unwrap_or(&Value::Null))
        }
        _ => "not named".to_owned(),
    };
    let mut words = match candidate["a"].as_str() {
        Some(a) => format!("{a} → {}, {rank}", text(&candidate["x"])),
        None => format!(
            "{}, {rank}, {} of {} lines",
            text(&candidate["x"]),
            candidate["concurrency"],
            candidate["line_limit"]
        ),
    };
    if let Some(queued) = candidate["queued"].as_u64().filter(|queued| *queued > 0) {
        let _ = write!(words, ", {queued} wait for it");
    }
    if let Some(why) = candidate["excluded"].as_str() {
        let _ = write!(words, ": left out, {}", why.replace('_', " "));
    }
    words
}

fn rewritten(number: &Value) -> String {
    let (before, after) = (text(&number["before"]), text(&number["after"]));
    let mut told = match before == after {
        true => after.to_owned(),
        false => format!("{before} → {after}"),
    };
    let rule = &number["rule"];
    if !rule.is_null() {
        let _ = write!(told, " by rule {} `{}`", rule["place"], text(&rule["text"]));
    }
    let region = &number["region"];
    if !region.is_null() {
        let _ = write!(
            told,
            ", region 0{} {}",
            text(&region["area_code"]),
            text(&region["area_name"])
        );
    }
    told
}

fn rate(rate: &Value) -> String {
    let mut told = format!(
        "{} per {} s (group {}, prefix `{}`)",
        text(&rate["fee"]),
        rate["period"],
        text(&rate["group"]),
        text(&rate["prefix"])
    );
    for section in items(&rate["sections"]) {
        let _ = write!(
            told,
            ", first {} s {}",
            section["secs"],
            text(&section["fee"])
        );
    }
    if rate["locked"] == true {
        told.push_str(", locked");
    }
    told
}

fn tally(counts: &Value) -> String {
    let counts = counts.as_object().into_iter().flatten();
    let words: Vec<String> = counts
        .map(|(name, count)| format!("{count} {}", name.replace('_', " ")))
        .collect();
    match words.is_empty() {
        true => "none".to_owned(),
        false => words.join(", "),
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
