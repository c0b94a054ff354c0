//! A customer who places one call: tries one node, then the next when it is silent or refuses for a while, talks, and
//! hangs up.

use std::net::SocketAddr;

use crate::dialog::{Dialog, pause};
use crate::leg::{Leg, Say, Timer};
use crate::message::{Message, finish, param};

/// What a customer is going to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names the call; the callee's number ends in it.
    pub key: usize,
    /// From where.
    pub at: SocketAddr,
    /// The number he calls from.
    pub from: String,
    /// The number he calls.
    pub callee: String,
    /// The nodes' addresses, in the order in which he tries them.
    pub nodes: Vec<SocketAddr>,
    /// Hangs up so long after the answer, if he does.
    pub hold_ms: Option<u64>,
    /// Waits so long for the answer.
    pub patience_ms: u64,
    /// Answers UPDATE.
    pub takes_update: bool,
    /// Repeats a BYE that is not answered to the other nodes too.
    pub turns_to_others: bool,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not over.
    Open,
    /// Nobody answered in time, and he gave up.
    Cancelled,
    /// The last node he tried refused with this status.
    Refused(u16),
    /// Every node was silent.
    Silent,
    /// He talked; the legs say how that ended.
    Talked,
}

/// How long a node may be silent before the next one is tried.
const SILENCE_MS: u64 = 4_000;
/// How often all nodes are tried.
const ROUNDS: usize = 3;

/// One customer with his attempts.
pub struct Caller {
    pub plan: Plan,
    pub outcome: Outcome,
    pub tries: usize,
    /// Names of the attempts' legs.
    pub legs: Vec<usize>,
}

/// An attempt under way.
#[derive(Clone, Debug)]
pub struct Try {
    /// Whose.
    pub caller: usize,
    /// The node that is tried.
    pub node: SocketAddr,
    invite: String,
    repeats: u32,
    /// Something came of it.
    pub heard: bool,
    /// The customer has turned to another node, or has cancelled.
    pub given_up: bool,
    cancelled: Option<(String, u32)>,
    ack: Option<(SocketAddr, String)>,
}

/// What the customer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Nothing,
    /// Tries another node after so long.
    TryAgain(u64, u16),
    /// It is over.
    Over(Outcome),
}

impl Caller {
    /// Whether another node is to be tried.
    pub fn has_more(&self) -> bool {
        self.tries < self.plan.nodes.len() * ROUNDS
    }

    /// Begins the next attempt.
    pub fn attempt(&mut self, me: usize, leg: usize, say: &mut Vec<Say>) -> Leg {
        let plan = &self.plan;
        let (nth, node) = (self.tries, plan.nodes[self.tries % plan.nodes.len()]);
        self.tries += 1;
        self.legs.push(leg);
        let tag = format!("f{}-{nth}", plan.key);
        let sdp = format!(
            "v=0\r\no=- {} {nth} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\na=x-sim:{}-{nth}\r\n",
            plan.key,
            plan.key,
            ip = plan.at.ip(),
        );
        let mut dialog = Dialog {
            at: plan.at,
            call_id: format!("k{}-{nth}@{}", plan.key, plan.at.ip()),
            local: format!("<sip:{}@{}>;tag={tag}", plan.from, plan.at),
            tag,
            remote: format!("<sip:{}@{node}>", plan.callee),
            target: format!("sip:{}@{node}", plan.callee),
            routes: Vec::new(),
            cseq: 1,
            heard: 0,
            branches: 0,
            sdp,
            takes_update: plan.takes_update,
        };
        let branch = dialog.branch();
        let head = format!(
            "INVITE {} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch={branch};rport\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: 1 INVITE\r\n{}",
            dialog.target,
            plan.at,
            dialog.local,
            dialog.remote,
            dialog.call_id,
            dialog.contact()
        );
        let invite = finish(head, &dialog.sdp);
        say.push(Say::To(node, invite.clone()));
        say.push(Say::After(pause(0), Timer::Invite));
        say.push(Say::After(SILENCE_MS, Timer::Silence));
        say.push(Say::After(plan.patience_ms, Timer::Patience));
        let attempt = Try {
            caller: me,
            node,
            invite,
            repeats: 0,
            heard: false,
            given_up: false,
            cancelled: None,
            ack: None,
        };
        Leg::calling(dialog, attempt, plan.hold_ms)
    }
}

impl Leg {
    /// A response to the INVITE of an attempt, or to its CANCEL.
    pub fn try_answered(&mut self, response: &Message, now: u64, say: &mut Vec<Say>) -> Next {
        let Some(attempt) = &mut self.attempt else {
            return Next::Nothing;
        };
        let status = response.status().unwrap_or(0);
        if response.method() == "CANCEL" {
            return Next::Nothing;
        }
        attempt.heard = true;
        match status {
            100..200 => Next::Nothing,
            200..300 => self.taken(response, now, say),
            _ => {
                let ack = ack_of_refusal(&attempt.invite, response);
                say.push(Say::To(attempt.node, ack));
                let given_up = attempt.given_up;
                let first = !std::mem::replace(&mut self.over, true);
                if !first || given_up && attempt.cancelled.is_none() {
                    return Next::Nothing;
                }
                match status {
                    487 => Next::Over(Outcome::Cancelled),
                    408 | 480 | 500..600 => Next::TryAgain(300, status),
                    _ => Next::Over(Outcome::Refused(status)),
                }
            }
        }
    }

    /// A 2xx: the first makes the dialog, each is acknowledged.
    fn taken(&mut self, response: &Message, now: u64, say: &mut Vec<Say>) -> Next {
        let Some(attempt) = &mut self.attempt else {
            return Next::Nothing;
        };
        if let Some((to, ack)) = &attempt.ack {
            say.push(Say::To(*to, ack.clone()));
            return Next::Nothing;
        }
        self.dialog.answered(response);
        let (to, ack) = self.dialog.request("ACK", 1);
        attempt.ack = Some((to, ack.clone()));
        say.push(Say::To(to, ack));
        self.answered_at = Some(now);
        if attempt.given_up || self.over {
            // Nobody wants it any more.
            self.hang_up(now, say);
            return match attempt_cancelled(self) {
                true => Next::Over(Outcome::Cancelled),
                false => Next::Nothing,
            };
        }
        if let Some(hold_ms) = self.hold_ms {
            say.push(Say::After(hold_ms, Timer::HangUp));
        }
        Next::Over(Outcome::Talked)
    }

    /// A timer of an attempt.
    pub fn try_due(&mut self, timer: Timer, now: u64, say: &mut Vec<Say>) -> Next {
        let _ = now;
        let answered = self.answered_at.is_some();
        let Some(attempt) = &mut self.attempt else {
            return Next::Nothing;
        };
        match timer {
            Timer::Invite if !attempt.heard && !attempt.given_up => {
                attempt.repeats += 1;
                say.push(Say::To(attempt.node, attempt.invite.clone()));
                say.push(Say::After(500 << attempt.repeats.min(6), Timer::Invite));
                Next::Nothing
            }
            Timer::Silence if !attempt.heard && !attempt.given_up => {
                attempt.given_up = true;
                Next::TryAgain(0, 0)
            }
            Timer::Patience if !answered && !self.over && !attempt.given_up => {
                attempt.given_up = true;
                let cancel = cancel_of(&attempt.invite);
                say.push(Say::To(attempt.node, cancel.clone()));
                say.push(Say::After(pause(0), Timer::Cancel));
                attempt.cancelled = Some((cancel, 0));
                Next::Nothing
            }
            Timer::Cancel if !answered && !self.over => {
                let Some((cancel, repeats)) = &mut attempt.cancelled else {
                    return Next::Nothing;
                };
                *repeats += 1;
                // A node that does not even answer a CANCEL is as good as dead.
                if *repeats > 4 {
                    self.over = true;
                    return Next::Over(Outcome::Cancelled);
                }
                say.push(Say::To(attempt.node, cancel.clone()));
                say.push(Say::After(pause(*repeats), Timer::Cancel));
                Next::Nothing
            }
            _ => Next::Nothing,
        }
    }
}

fn attempt_cancelled(leg: &Leg) -> bool {
    leg.attempt
        .as_ref()
        .is_some_and(|attempt| attempt.cancelled.is_some())
}

/// The headers of an INVITE that its CANCEL and the ACK of its refusal repeat.
fn alike(invite: &str, method: &str, to: Option<&str>) -> String {
    let mut text = String::new();
    for line in invite.split("\r\n") {
        let name = line.split(':').next().unwrap_or_default();
        match name {
            _ if line.starts_with("INVITE ") => text.push_str(&line.replacen("INVITE", method, 1)),
            "Via" | "Max-Forwards" | "From" | "Call-ID" => text.push_str(line),
            "To" => match to {
                Some(to) => text.push_str(&format!("To: {to}")),
                None => text.push_str(line),
            },
            "CSeq" => text.push_str(&line.replace("INVITE", method)),
            "" => break,
            _ => continue,
        }
        text.push_str("\r\n");
    }
    finish(text, "")
}

fn cancel_of(invite: &str) -> String {
    alike(invite, "CANCEL", None)
}

fn ack_of_refusal(invite: &str, response: &Message) -> String {
    debug_assert!(param(response.get("to"), "tag").is_some());
    alike(invite, "ACK", Some(response.get("to")))
}
