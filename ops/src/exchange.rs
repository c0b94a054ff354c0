//! Requests to platforms as people look at them: the last ones of an interface, how it does on each node, and the trial
//! of an interface. Everything here was masked by who made it.

use crate::rows::time;
use crate::switch::Unavailable;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use tandem_cluster::command::{BindingId, Refusal};
use tandem_cluster::entity::{Id, Millis};

/// One request to a platform and what came back; secrets and numbers are masked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// Counts what was written of an interface on a node, from 1.
    pub number: u64,
    /// When the request left, by the node's clock.
    pub at: Millis,
    /// What was asked: `bind`, `unbind`, `query`, …
    pub op: String,
    /// The success in one word, or the failure's class.
    pub outcome: String,
    /// The failure's code, empty for a success.
    pub code: String,
    /// The failure in words, empty for a success.
    pub text: String,
    /// Whether anything was sent.
    pub sent: bool,
    /// Whether it worked.
    pub ok: bool,
    /// From the first byte sent to the last byte read, microseconds.
    pub took_us: u64,
    /// What was added to the node's clock for this request, milliseconds.
    pub clock_offset_ms: i64,
    /// `HTTP/1.1`, `HTTP/2.0`; empty without an answer.
    pub http: String,
    /// The far end: the platform, or the proxy.
    pub remote: String,
    /// `TLS 1.3`; empty without TLS.
    pub tls: String,
    /// SHA-256 of the platform's certificate.
    pub certificate_sha256: String,
    /// The request.
    pub request: Side,
    /// The answer, if one came.
    pub answer: Option<Side>,
}

/// A request or an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// `POST https://…`, or the status.
    pub line: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// At most 4 KiB of it.
    pub body: String,
    /// How long it was.
    pub body_bytes: u64,
}

impl Side {
    fn view(&self) -> Value {
        json!({
            "line": self.line,
            "headers": self.headers,
            "body": self.body,
            "body_bytes": self.body_bytes,
        })
    }
}

impl Exchange {
    /// As a row of the admin API.
    pub fn view(&self, node: &str) -> Value {
        let given = |text: &str| match text {
            "" => Value::Null,
            text => text.into(),
        };
        json!({
            "node": node,
            "number": self.number,
            "at": time(self.at),
            "op": self.op,
            "outcome": self.outcome,
            "code": given(&self.code),
            "text": given(&self.text),
            "sent": self.sent,
            "ok": self.ok,
            "took_ms": self.took_us as f64 / 1_000.0,
            "status": self.answer.as_ref().map(|answer| answer.line.clone()),
            "clock_offset_ms": self.clock_offset_ms,
            "http": given(&self.http),
            "remote": given(&self.remote),
            "tls": given(&self.tls),
            "certificate_sha256": given(&self.certificate_sha256),
            "request": self.request.view(),
            "answer": self.answer.as_ref().map(Side::view),
        })
    }
}

/// How an interface does on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Why the circuit breaker holds requests back, if it does.
    pub breaker: Option<String>,
    /// What is added to the node's clock in requests, milliseconds.
    pub clock_offset_ms: i64,
    /// Requests under way.
    pub in_flight: u32,
    /// The node's share of the rate limit, thousandths of a request a second.
    pub rate_milli: Option<u64>,
}

/// An interface on one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OnNode {
    /// `None`: this node has not asked the platform for anything yet.
    pub health: Option<Health>,
    /// The last exchanges, the oldest first, as many as fit into an answer between nodes.
    pub exchanges: Vec<Exchange>,
}

/// Bytes of all exchanges that one node tells another; the oldest are left out. As JSON they take up to twice as many.
const TOLD_MAX: usize = 500 << 10;

impl OnNode {
    /// Leaves the oldest exchanges out until the rest may travel between nodes.
    pub fn bounded(mut self) -> OnNode {
        let mut bytes = 0;
        let size = |exchange: &Exchange| {
            let side = |side: &Side| {
                let headers = side.headers.iter().map(|(n, v)| n.len() + v.len() + 16);
                side.line.len() + side.body.len() + headers.sum::<usize>() + 64
            };
            side(&exchange.request)
                + exchange.answer.as_ref().map_or(0, side)
                + exchange.text.len()
                + 512
        };
        let keep = self
            .exchanges
            .iter()
            .rev()
            .take_while(|exchange| {
                bytes += size(exchange);
                bytes <= TOLD_MAX
            })
            .count();
        self.exchanges.drain(..self.exchanges.len() - keep);
        self
    }
}

/// What is to be tried, and by whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// The interface.
    pub interface: Id,
    /// One of our A numbers; `None`: any.
    pub a: Option<String>,
    /// One of the interface's X numbers; `None`: any that is free.
    pub x: Option<String>,
    /// B'; `None`: another of our A numbers.
    pub b: Option<String>,
    /// Who asked.
    pub actor: String,
    /// It ends within so many seconds; what is not released by then goes on being released.
    pub within_secs: u32,
}

/// Longest that a trial may be asked to last, seconds.
pub const TRIAL_SECS_MAX: u32 = 120;
/// How long one lasts at most when nothing is said.
pub const TRIAL_SECS: u32 = 30;

/// What came of a trial.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tried {
    /// 接口名称
    pub interface: String,
    /// 类型
    pub kind: String,
    /// The node that tried.
    pub node: String,
    /// A number.
    pub a: String,
    /// X number that was asked for.
    pub x: String,
    /// X number of the answer.
    pub x_bound: String,
    /// B'.
    pub b: String,
    /// The binding's id in the state; nothing is left of it unless `left`.
    pub binding: BindingId,
    /// It was bound and released.
    pub passed: bool,
    /// What to say of it, a sentence.
    pub verdict: String,
    /// What works but should be known.
    pub warnings: Vec<String>,
    /// The platform may still hold the binding, which goes on being released.
    pub left: bool,
    /// From the first request to the end, milliseconds.
    pub took_ms: u64,
    /// What is added to the node's clock after it, milliseconds.
    pub clock_offset_ms: i64,
    /// Every request of it, in order.
    pub steps: Vec<Arc<Exchange>>,
}

impl Tried {
    /// As the admin API answers it.
    pub fn view(&self) -> Value {
        let steps = self.steps.iter().map(|step| step.view(&self.node));
        json!({
            "interface": self.interface,
            "type": self.kind,
            "node": self.node,
            "a_number": self.a,
            "x_number": self.x,
            "x_bound": self.x_bound,
            "b_number": self.b,
            "binding": self.binding,
            "passed": self.passed,
            "verdict": self.verdict,
            "warnings": self.warnings,
            "left": self.left,
            "took_ms": self.took_ms,
            "clock_offset_ms": self.clock_offset_ms,
            "steps": steps.collect::<Vec<_>>(),
        })
    }
}

/// Why an interface was not tried at all.
#[derive(Clone, Debug, PartialEq)]
pub enum Untried {
    /// No such interface, another trial under way, numbers that are not free.
    Refused(Refusal),
    /// No quorum.
    Unavailable(Unavailable),
    /// The interface cannot work as it is configured; the text says why.
    Unusable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nodes_tell_each_other_stays_within_one_message() {
        let side = Side {
            line: "POST http://h".into(),
            headers: vec![("n".repeat(100), "v".repeat(1_024)); 32],
            body: "b".repeat(4_096),
            body_bytes: 4_096,
        };
        let exchange = |number| Exchange {
            number,
            request: side.clone(),
            answer: Some(side.clone()),
            ..Exchange::default()
        };
        let all = OnNode {
            health: None,
            exchanges: (1..=64).map(exchange).collect(),
        };
        let told = all.bounded();
        let bytes = serde_json::to_vec(&told).expect("plain data").len();
        assert!(bytes < 1 << 20, "{bytes}");
        assert!(told.exchanges.len() > 5);
        assert_eq!(told.exchanges.last().map(|e| e.number), Some(64));
    }
}
