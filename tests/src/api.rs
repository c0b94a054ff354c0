//! The admin API of one node.

use crate::http::{self, Response};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// A node's admin API with the administrator's token.
#[derive(Clone, Debug)]
pub struct Api {
    /// Where it listens.
    pub at: SocketAddr,
    token: String,
}

impl Api {
    /// Talks to the node at `at`.
    pub fn new(at: SocketAddr, token: &str) -> Api {
        Api {
            at,
            token: token.to_owned(),
        }
    }

    /// One request under `/api/v1/`, whatever the status.
    pub fn try_call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response, String> {
        let text = body.map(Value::to_string);
        http::request(
            self.at,
            method,
            &format!("/api/v1/{path}"),
            Some(&self.token),
            text.as_deref(),
        )
    }

    /// One request that must succeed; an empty body reads as null.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let response = self
            .try_call(method, path, body)
            .unwrap_or_else(|fault| panic!("{fault}"));
        assert!(
            (200..300).contains(&response.status),
            "{method} {path} {body:?}: {} {}",
            response.status,
            response.body
        );
        if response.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&response.body)
            .unwrap_or_else(|e| panic!("{method} {path}: {e}: {}", response.body))
    }

    /// GET that must succeed.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.call("GET", path, None)
    }

    /// Every row of a collection, page by page.
    #[track_caller]
    pub fn list(&self, collection: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let joint = if collection.contains('?') { '&' } else { '?' };
            let after = cursor.map(|c| format!("&cursor={c}")).unwrap_or_default();
            let page = self.get(&format!("{collection}{joint}limit=1000{after}"));
            let items = page.get("items").unwrap_or(&page);
            rows.extend(
                items
                    .as_array()
                    .unwrap_or_else(|| panic!("{collection}: not a list: {page}"))
                    .iter()
                    .cloned(),
            );
            cursor = ["next_cursor", "next", "cursor"]
                .iter()
                .find_map(|key| match &page[key] {
                    Value::String(text) if !text.is_empty() => Some(text.clone()),
                    Value::Number(number) => Some(number.to_string()),
                    _ => None,
                });
            if cursor.is_none() {
                return rows;
            }
        }
    }

    /// The row whose `key` is `value`.
    #[track_caller]
    pub fn find(&self, collection: &str, key: &str, value: &str) -> Value {
        let rows = self.list(collection);
        rows.iter()
            .find(|row| row[key] == value)
            .unwrap_or_else(|| {
                panic!(
                    "{collection}: no row with {key} {value} among {}",
                    rows.len()
                )
            })
            .clone()
    }

    /// Changes fields of one row; the version seen is sent along.
    #[track_caller]
    pub fn change(&self, collection: &str, row: &Value, fields: Value) -> Value {
        let mut patch = fields;
        patch["version"] = row["version"].clone();
        self.call("PATCH", &format!("{collection}/{}", id(row)), Some(&patch))
    }

    /// Changes the same fields of every row of a collection.
    #[track_caller]
    pub fn change_all(&self, collection: &str, fields: &Value) {
        for row in self.list(collection) {
            self.change(collection, &row, fields.clone());
        }
    }

    /// Adds a row.
    #[track_caller]
    pub fn add(&self, collection: &str, row: Value) -> Value {
        self.call("POST", collection, Some(&row))
    }

    /// Sets the unbind delay of the sample's interface: none at the call's end, 0 at the answer, n seconds after it.
    #[track_caller]
    pub fn unbind_delay(&self, delay: Option<u32>) {
        let row = self.find("interfaces", "name", "huawei-sim");
        self.change("interfaces", &row, json!({ "unbind_delay_secs": delay }));
    }

    /// `GET /api/v1/status`.
    pub fn try_status(&self) -> Result<Value, String> {
        let response = self.try_call("GET", "status", None)?;
        if response.status != 200 {
            return Err(format!(
                "status answers {}: {}",
                response.status, response.body
            ));
        }
        serde_json::from_str(&response.body).map_err(|e| format!("status: {e}: {}", response.body))
    }

    /// The text of `/metrics`.
    #[track_caller]
    pub fn metrics(&self) -> String {
        let response = http::request(self.at, "GET", "/metrics", None, None)
            .unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(response.status, 200, "/metrics: {}", response.body);
        response.body
    }

    /// Sum of every series of a metric whose name contains `name` and whose line contains all of `with`.
    #[track_caller]
    pub fn metric(&self, name: &str, with: &[&str]) -> f64 {
        self.metrics()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter(|line| {
                line.split(['{', ' '])
                    .next()
                    .is_some_and(|n| n.contains(name))
            })
            .filter(|line| with.iter().all(|part| line.contains(part)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

/// A row's id as it stands in a path.
pub fn id(row: &Value) -> String {
    match &row["id"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
