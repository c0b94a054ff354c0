//! Messages of far ends that arrive at a node which does not have the call, and messages of ours that only another node
//! can send.
//!
//! The tag that we give each far end ends in a token that names the call (see [`token`]), and every message of a dialog
//! brings our tag back. So a node that gets a BYE of a call it does not carry looks the call up in the replicated state
//! ([`whose`]) and passes the message on to its owner, as it came, over the links between the nodes ([`post`]). The
//! owner serves it as its own; what it says goes back through the node where the far end was heard. A message that was
//! passed on is never passed on again. While a call is between two owners its messages wait a little ([`held`]).

pub mod held;
pub mod post;
pub mod shared;

use std::net::IpAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tandem_cluster::command::CallId;
use tandem_cluster::state::State;
use tandem_sip::leg::Token;
use tandem_sip::transport::Flow;

/// One message on its way to another node. Variants are append-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Errand {
    /// A far end said this to us; the call lives there.
    Heard {
        /// How it came here.
        flow: Flow,
        /// The whole message.
        bytes: Bytes,
    },
    /// Our call says this to a far end; the socket or the connection is there.
    Say {
        /// The way it shall go from there.
        flow: Flow,
        /// The whole message.
        bytes: Bytes,
    },
    /// The sender has these shared addresses now.
    Holds(Vec<IpAddr>),
}

/// The call's name in our tags: `c`, the tenure that took it, a hyphen, its count.
pub fn token(call: CallId) -> Token {
    let text = format!("c{}-{}", call.epoch(), call.0 & 0xffff_ffff);
    Token::new(text.as_bytes()).expect("a letter, a hyphen and two numbers of at most ten digits")
}

/// The call that a token names; `None` for one that we never wrote.
pub fn call_of(written: &[u8]) -> Option<CallId> {
    let text = std::str::from_utf8(written).ok()?;
    let (epoch, count) = text.strip_prefix('c')?.split_once('-')?;
    let call = CallId::new(epoch.parse().ok()?, count.parse().ok()?);
    // Numbers can be spelled in several ways, ours in one.
    (token(call).as_bytes() == written).then_some(call)
}

/// Who serves a message of a call that is not (or not yet) on this shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This other node.
    Of(u64),
    /// It is between two owners, or has just come to this node.
    Unsettled,
    /// Nobody: there is no such call any more.
    Nobodys,
}

/// The other node at which a caller's INVITE is in set-up. It has heard no tag of ours yet, so its Call-ID must do: costs a
/// walk over all calls.
pub fn set_up_at(state: &State, own_node: u64, sip_call_id: &str, caller: IpAddr) -> Option<u64> {
    let call = state.calls().find(|call| {
        call.answered_at.is_none()
            && call.asked.sip_call_id == sip_call_id
            && call.asked.remote.ip() == caller
    })?;
    let node = state.tenure(call.owner)?.node;
    (node != own_node).then_some(node)
}

/// Decides by the replicated state. `passed`: another node believes that the call is here, so it is not passed on again;
/// one of the two states is a moment behind.
pub fn whose(state: &State, own_node: u64, call: CallId, passed: bool) -> Whose {
    let record = state.call(call);
    // A call that has just ended may still owe its far end an answer where it was taken.
    let owner = record.map_or(call.epoch(), |record| record.owner);
    let node = state.tenure(owner).map(|tenure| tenure.node);
    decide(node, record.is_some(), own_node, passed)
}

/// `owner`: the node whose tenure has or had the call, while that tenure lasts. `stands`: the call is not over.
fn decide(owner: Option<u64>, stands: bool, own_node: u64, passed: bool) -> Whose {
    match owner {
        Some(node) if node != own_node && !passed => Whose::Of(node),
        _ if stands => Whose::Unsettled,
        _ => Whose::Nobodys,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_call_and_is_spelled_in_one_way() {
        for (call, text) in [
            (CallId::new(5, 12), "c5-12"),
            (CallId::new(0, 0), "c0-0"),
            (CallId::new(u32::MAX, u32::MAX), "c4294967295-4294967295"),
        ] {
            assert_eq!(token(call).as_bytes(), text.as_bytes());
            assert_eq!(call_of(text.as_bytes()), Some(call));
        }
        for wrong in [
            "",
            "c",
            "c5",
            "c-",
            "c5-",
            "c-12",
            "c05-12",
            "c5-+12",
            "c5-12-1",
            "d5-12",
            "5-12",
            "c4294967296-0",
            "c5-4294967296",
            "C5-12",
            "13800138000",
            "\u{ff}",
        ] {
            assert_eq!(call_of(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(call_of(b"c5-\xff"), None);
    }

    #[test]
    fn a_stray_goes_to_its_owner_once_or_waits_while_there_is_none() {
        use Whose::*;
        // (node of the owner's tenure, the call stands, passed on to us) as node 1 sees it
        for (owner, stands, passed, want) in [
            (Some(2), true, false, Of(2)),
            (Some(2), false, false, Of(2)),
            // Our state or that of the node that passed it on is a moment behind.
            (Some(2), true, true, Unsettled),
            (Some(2), false, true, Nobodys),
            // Just adopted by us, or just over.
            (Some(1), true, false, Unsettled),
            (Some(1), true, true, Unsettled),
            (Some(1), false, false, Nobodys),
            // Its node is dead and it has no other yet.
            (None, true, false, Unsettled),
            (None, true, true, Unsettled),
            (None, false, false, Nobodys),
            (None, false, true, Nobodys),
        ] {
            assert_eq!(
                decide(owner, stands, 1, passed),
                want,
                "{owner:?} {stands} {passed}"
            );
        }
    }
}
