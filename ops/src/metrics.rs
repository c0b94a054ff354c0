//! Prometheus: one recorder a process, its text, and the rules that every metric of the switch keeps.
//!
//! Each room describes and moves its own metrics through the `metrics` facade. This module installs the recorder
//! behind it, and [`faults`] states the naming rules, so that a test of any room can hold its text against them.

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of all histograms that end in `_seconds`: from a local quorum round trip to a long set-up.
pub const SECONDS: [f64; 18] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];
/// Upper bounds of all other histograms: counts and bytes.
pub const COUNTS: [f64; 12] = [
    1.0,
    2.0,
    4.0,
    8.0,
    16.0,
    32.0,
    64.0,
    256.0,
    1_024.0,
    16_384.0,
    262_144.0,
    4_194_304.0,
];

/// Labels that would grow without bound, or tell whose call it was.
const FORBIDDEN: [&str; 14] = [
    "a",
    "x",
    "b",
    "number",
    "caller",
    "callee",
    "call",
    "call_id",
    "binding",
    "binding_id",
    "flow_no",
    "account",
    "ip",
    "remote",
];

/// The recorder's text for `/metrics`.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Everything recorded, in Prometheus' text format.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Moves samples of histograms into their buckets; called every few seconds, or memory grows where nobody scrapes.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

/// Installs the recorder for this process; called again it gives the same one. Metrics described or counted before
/// the first call are lost, so this comes first at start.
pub fn install() -> Result<Metrics, BuildError> {
    static INSTALLED: Mutex<Option<Metrics>> = Mutex::new(None);
    // Nothing panics while it is held.
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(metrics) = &*installed {
        return Ok(metrics.clone());
    }
    let recorder = PrometheusBuilder::new()
        .set_buckets(&COUNTS)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .build_recorder();
    let metrics = Metrics(recorder.handle());
    metrics::set_global_recorder(recorder).map_err(BuildError::FailedToSetGlobalRecorder)?;
    *installed = Some(metrics.clone());
    describe();
    Ok(metrics)
}

const REQUESTS: &str = "tandem_ops_api_requests_total";
const LATENCY: &str = "tandem_ops_api_request_seconds";
const PLATFORM: &str = "tandem_platform_requests_total";

fn describe() {
    describe_counter!(
        REQUESTS,
        Unit::Count,
        "Requests of the admin API by method and status."
    );
    describe_counter!(
        PLATFORM,
        Unit::Count,
        "Requests of platforms by interface, address and result."
    );
    describe_histogram!(
        LATENCY,
        Unit::Seconds,
        "Time to answer a request of the admin API."
    );
}

/// Counts a request that was answered.
pub(crate) fn answered(method: &'static str, status: u16, took: Duration) {
    counter!(REQUESTS, "method" => method, "status" => status.to_string()).increment(1);
    histogram!(LATENCY).record(took.as_secs_f64());
}

/// Counts a platform's request. The names are those of a row and of a definition, or `-`: whoever calls from outside
/// makes no labels.
pub(crate) fn platform_request(interface: String, name: String, result: &'static str) {
    counter!(PLATFORM, "interface" => interface, "name" => name, "result" => result).increment(1);
}

/// What breaks the rules in a text of Prometheus' format: prefix `tandem_`, a line of help each, `_total` for counters
/// and only for them, base units, no label without a bound. Empty when all is well.
pub fn faults(text: &str) -> Vec<String> {
    let mut helped = BTreeSet::new();
    let mut kinds = BTreeMap::new();
    let mut faults = Vec::new();
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), Some(help)) if !help.trim().is_empty() => {
                helped.insert(name.to_owned());
            }
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                kinds.insert(name.to_owned(), kind.to_owned());
            }
            _ if line.is_empty() || line.starts_with('#') => {}
            _ => faults.extend(
                labels(line)
                    .into_iter()
                    .filter(|label| FORBIDDEN.contains(label))
                    .map(|label| {
                        format!(
                            "metric `{}` has label `{label}`",
                            line.split(['{', ' ']).next().unwrap_or_default()
                        )
                    }),
            ),
        }
    }
    for (name, kind) in &kinds {
        if !name.starts_with("tandem_") {
            faults.push(format!("metric `{name}` lacks the prefix tandem_"));
        }
        if !helped.contains(name) {
            faults.push(format!("metric `{name}` has no help"));
        }
        if (kind == "counter") != name.ends_with("_total") {
            faults.push(format!(
                "metric `{name}` is a {kind}: counters end in _total, others do not"
            ));
        }
        for unit in [
            "_ms",
            "_milliseconds",
            "_us",
            "_micros",
            "_kb",
            "_mb",
            "_minutes",
        ] {
            if name.trim_end_matches("_total").ends_with(unit) {
                faults.push(format!("metric `{name}` is not in base units"));
            }
        }
    }
    faults.sort();
    faults.dedup();
    faults
}

/// Names of the labels of a sample.
fn labels(sample: &str) -> Vec<&str> {
    let Some((_, rest)) = sample.split_once('{') else {
        return Vec::new();
    };
    let mut names = Vec::new();
    let mut rest = rest;
    while let Some((name, after)) = rest.split_once("=\"") {
        names.push(name.trim_matches([',', ' ']));
        let mut escaped = false;
        let end = after.find(|letter| {
            let closes = letter == '"' && !escaped;
            escaped = letter == '\\' && !escaped;
            closes
        });
        rest = end.map_or("", |end| &after[end + 1..]);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_metrics_keep_the_rules() {
        let metrics = install().expect("first recorder of this process");
        answered("GET", 200, Duration::from_millis(3));
        metrics.upkeep();
        let text = metrics.render();
        assert!(
            text.contains("tandem_ops_api_requests_total{method=\"GET\",status=\"200\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("tandem_ops_api_request_seconds_bucket{le=\"0.005\"} 1"),
            "{text}"
        );
        assert_eq!(faults(&text), Vec::<String>::new());
        assert!(install().is_ok(), "a second call gives the same recorder");
    }

    #[test]
    fn every_broken_rule_is_named() {
        let text = "\
# HELP tandem_calls Calls.\n# TYPE tandem_calls counter\ntandem_calls{gateway=\"a\\\"b\",caller=\"1\"} 1\n\
# TYPE tandem_wait_ms gauge\ntandem_wait_ms 3\n# HELP up Up.\n# TYPE up gauge\nup 1\n";
        assert_eq!(
            faults(text),
            [
                "metric `tandem_calls` has label `caller`",
                "metric `tandem_calls` is a counter: counters end in _total, others do not",
                "metric `tandem_wait_ms` has no help",
                "metric `tandem_wait_ms` is not in base units",
                "metric `up` lacks the prefix tandem_",
            ]
        );
    }
}
