//! The commands of one AXB call for the benches, as the switch sends them.

use std::collections::BTreeMap;
use tandem_cluster::command::*;
use tandem_cluster::entity::{Id, Millis};

/// When every call begins.
pub const BEGAN: Millis = 1_700_000_000_000;

/// Its admission; each call has a callee of its own.
pub fn reserve(call: CallId, gateway: Id) -> Command {
    let callee = format!("138{:08}", call.0 as u32);
    Command::Reserve(Reserve {
        call,
        gateway,
        caller_access: "05718512345".into(),
        caller: "05718512345".into(),
        callee_access: callee.clone(),
        callee,
        started_at: BEGAN,
        remote: "10.2.0.1:5060".parse().expect("address"),
        sip_call_id: "3848276298220188511@atlanta.example.com".into(),
    })
}

/// The platform has bound what was leased.
#[allow(dead_code)]
pub fn bound(lease: &Lease, epoch: Epoch) -> Command {
    Command::Bound(Bound {
        binding: lease.binding,
        epoch,
        handle: BTreeMap::from([("subscriptionId".into(), "efw89efwf7fea9f7e9f".into())]),
        x: lease.x.clone(),
        expires_at: None,
        raw: "{\"resultcode\":\"0\",\"resultdesc\":\"Success\"}".into(),
    })
}

/// The callee has answered, with two dialogs of about a kilobyte each.
#[allow(dead_code)]
pub fn answered(call: CallId) -> Command {
    Command::Answered(Answered {
        call,
        epoch: call.epoch(),
        answered_at: BEGAN + 130,
        pdd_ms: 90,
        dialogs: vec![7; 2_000],
        codec: "PCMA".into(),
    })
}

/// The platform has let the binding go.
pub fn unbound(lease: &Lease, epoch: Epoch) -> Command {
    Command::Unbound(Unbound {
        binding: lease.binding,
        epoch,
        missing: false,
    })
}

/// The caller has hung up.
pub fn end(call: CallId) -> Command {
    Command::End(End {
        call,
        epoch: call.epoch(),
        ended_at: BEGAN + 1_000,
        answered_at: None,
        pdd_ms: None,
        codec: String::new(),
        reason: EndReason {
            key: "normal".into(),
            sip: None,
            q850: None,
        },
        by: EndedBy::Caller,
    })
}
