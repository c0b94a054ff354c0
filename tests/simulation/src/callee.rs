//! A phone that is called: rings, and is answered or not.

use std::net::SocketAddr;

use crate::dialog::Dialog;
use crate::leg::{Leg, Ringing, Say, Timer};
use crate::message::{Message, uri_of};

/// What the callee of one call is going to do, at every attempt alike.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rings after so long.
    pub ring_ms: u64,
    /// Decides after so long.
    pub decide_ms: u64,
    /// Answers 200, or refuses with this.
    pub answers: &'static str,
    /// Hangs up so long after the answer, if this is who does.
    pub hold_ms: Option<u64>,
    /// Answers UPDATE.
    pub takes_update: bool,
}

/// A leg of a phone that an INVITE has made.
pub fn ring(
    plan: &Plan,
    at: SocketAddr,
    nth: usize,
    invite: &Message,
    from: SocketAddr,
    say: &mut Vec<Say>,
) -> Leg {
    let tag = format!("t{nth}");
    let mark = invite.mark().unwrap_or("?");
    let sdp = format!(
        "v=0\r\no=- {nth} 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 4002 RTP/AVP 8\r\na=x-sim:{mark}\r\n",
        ip = at.ip()
    );
    let dialog = Dialog {
        at,
        call_id: invite.get("call-id").to_owned(),
        local: format!("{};tag={tag}", invite.get("to")),
        tag,
        remote: invite.get("from").to_owned(),
        target: uri_of(invite.get("contact")).to_owned(),
        routes: invite.all("record-route").map(str::to_owned).collect(),
        cseq: 0,
        heard: invite.cseq(),
        branches: 0,
        sdp,
        takes_update: plan.takes_update,
    };
    say.push(Say::After(plan.ring_ms.max(1), Timer::Ring));
    say.push(Say::After(plan.decide_ms.max(2), Timer::Decide));
    let ringing = Ringing::new(invite.clone(), from, plan.answers);
    Leg::called(dialog, ringing, plan.hold_ms)
}
