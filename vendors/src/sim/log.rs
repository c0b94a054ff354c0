//! The simulator's log: one JSON line per request (an unbind of a whole X: one per binding it
//! released), written with a single write when the effect takes place, so a reader sees it at once
//! and never half. A line costs about two microseconds, which needs no writer task.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Every word that can stand in [`Line::op`] of a request.
pub(super) const OPS: [&str; 9] = [
    "bind",
    "unbind",
    "modify",
    "ax_bind",
    "ax_unbind",
    "set_callee",
    "query",
    "question",
    "other",
];

/// One line. A, X and B are in our notation ([`crate::numbers`]), empty where the request named
/// none and no binding was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Unix seconds with milliseconds.
    pub t: f64,
    /// The vendor's word.
    pub vendor: String,
    /// `bind`, `unbind`, `modify`, `ax_bind`, `ax_unbind`, `set_callee`, `query` (of either kind), or
    /// `other` for what is none of them; `question` of what we ask; of our own pushes `event` or `bill`, a line for each try.
    pub op: String,
    /// A.
    #[serde(rename = "A")]
    pub a: String,
    /// X.
    #[serde(rename = "X")]
    pub x: String,
    /// B.
    #[serde(rename = "B")]
    pub b: String,
    /// The binding's id, empty when there is none.
    pub bind_id: String,
    /// Whether the table of bindings changed.
    pub applied: bool,
    /// Whether the answer is sent, not cut; of a push, whether one came.
    pub answered: bool,
    /// HTTP status of the answer; of a push that met none, 0.
    pub status: u16,
    /// The vendor's code, empty when it has none; of a push `acknowledged`, `again` or `given_up`.
    pub code: String,
    /// What a push tells: `started`, `ringing`, `answered`, `ended` or `bill`; else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub event: String,
}

#[derive(Debug)]
pub(super) struct Log {
    file: Option<File>,
    buffer: Vec<u8>,
    failing: bool,
    /// Lines for whoever reads them in this process.
    kept: Option<Vec<Line>>,
}

impl Log {
    pub(super) fn open(path: &Path) -> io::Result<Log> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Log {
            file: Some(file),
            ..Log::nowhere()
        })
    }

    pub(super) fn nowhere() -> Log {
        Log {
            file: None,
            buffer: Vec::new(),
            failing: false,
            kept: None,
        }
    }

    /// Keeps lines until they are taken.
    pub(super) fn here() -> Log {
        Log {
            kept: Some(Vec::new()),
            ..Log::nowhere()
        }
    }

    /// The lines since they were last taken.
    pub(super) fn take(&mut self) -> Vec<Line> {
        self.kept.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn write(&mut self, line: &Line) {
        if let Some(kept) = &mut self.kept {
            kept.push(line.clone());
        }
        let Some(file) = &mut self.file else {
            return;
        };
        self.buffer.clear();
        let written = serde_json::to_writer(&mut self.buffer, line)
            .map_err(io::Error::from)
            .and_then(|()| {
                self.buffer.push(b'\n');
                file.write_all(&self.buffer)
            });
        match written {
            Ok(()) => self.failing = false,
            // Said once, not a thousand times a second.
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::error!(%error, "simulator log cannot be written");
            }
            Err(_) => {}
        }
    }
}
