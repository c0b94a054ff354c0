//! One file a vendor: what it pushes of a call, and how it proves that it is the sender.

pub(super) mod aliyun;
pub(super) mod huawei;
pub(super) mod itniotech;
pub(super) mod plivo;
pub(super) mod tencent;
pub(super) mod twilio;
pub(super) mod vcc;
pub(super) mod volcengine;

use crate::sim::common::times::{BEIJING_S, PLAIN, write};

/// A moment as Chinese platforms write it, in their own time.
fn beijing(at_ms: u64) -> String {
    write(at_ms / 1000 + BEIJING_S, PLAIN)
}

/// The same; empty while there is none.
fn beijing_if(at_ms: Option<u64>) -> String {
    at_ms.map(beijing).unwrap_or_default()
}
