//! One leg of a call at its far end, be it the customer's or the callee's.

use std::net::SocketAddr;

use crate::caller::Try;
use crate::dialog::{Dialog, GIVE_UP_MS, pause};
use crate::message::Message;

/// What a leg wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Say {
    /// Send this.
    To(SocketAddr, String),
    /// Call back after so many milliseconds.
    After(u64, Timer),
}

/// What a leg waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Repeat the INVITE.
    Invite,
    /// The node has said nothing at all.
    Silence,
    /// Nobody has answered.
    Patience,
    /// Repeat the CANCEL.
    Cancel,
    /// Say that it rings.
    Ring,
    /// Decide about the call: answer or refuse.
    Decide,
    /// Repeat the final response to an INVITE with this number.
    Final(u32),
    /// Hang up.
    HangUp,
    /// Repeat the BYE.
    Bye,
}

/// Who ended a leg that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// This far end.
    Me,
    /// The switch.
    Switch,
}

/// A leg.
#[derive(Clone, Debug)]
pub struct Leg {
    pub dialog: Dialog,
    /// A customer's.
    pub attempt: Option<Try>,
    /// A callee's.
    pub ringing: Option<Ringing>,
    pub hold_ms: Option<u64>,
    pub answered_at: Option<u64>,
    /// When it was answered and ended, and by whom.
    pub ended: Option<(u64, By)>,
    /// Nothing more comes of it.
    pub over: bool,
    /// The final response to the newest INVITE, its number, and how often it was repeated.
    last: Option<(Message, String, u32)>,
    acked: bool,
    answer_to: Option<SocketAddr>,
    bye: Option<(SocketAddr, String, u32, u64)>,
    /// Where else a BYE may go that nobody answers.
    pub others: Vec<SocketAddr>,
    /// Target refreshes that were answered.
    pub refreshes: u32,
    /// A BYE got its answer.
    pub bye_answered: bool,
    pub bye_status: u16,
}

/// A callee's leg before it is answered.
#[derive(Clone, Debug)]
pub struct Ringing {
    pub invite: Message,
    pub from: SocketAddr,
    /// 200, or a refusal.
    pub answers: &'static str,
    said: Option<String>,
}

impl Leg {
    pub fn calling(dialog: Dialog, attempt: Try, hold_ms: Option<u64>) -> Leg {
        Leg {
            dialog,
            attempt: Some(attempt),
            ringing: None,
            hold_ms,
            answered_at: None,
            ended: None,
            over: false,
            last: None,
            acked: true,
            answer_to: None,
            bye: None,
            others: Vec::new(),
            refreshes: 0,
            bye_answered: false,
            bye_status: 0,
        }
    }

    pub fn called(dialog: Dialog, ringing: Ringing, hold_ms: Option<u64>) -> Leg {
        Leg {
            attempt: None,
            ringing: Some(ringing),
            acked: false,
            ..Leg::calling_nobody(dialog, hold_ms)
        }
    }

    fn calling_nobody(dialog: Dialog, hold_ms: Option<u64>) -> Leg {
        Leg {
            dialog,
            attempt: None,
            ringing: None,
            hold_ms,
            answered_at: None,
            ended: None,
            over: false,
            last: None,
            acked: true,
            answer_to: None,
            bye: None,
            others: Vec::new(),
            refreshes: 0,
            bye_answered: false,
            bye_status: 0,
        }
    }

    /// It talks.
    pub fn talks(&self) -> bool {
        self.answered_at.is_some() && self.ended.is_none()
    }

    /// A request of the switch within the leg, or a repeat of the callee's INVITE.
    pub fn requested(&mut self, request: &Message, from: SocketAddr, now: u64, say: &mut Vec<Say>) {
        let mut reply = |text: String| say.push(Say::To(from, text));
        let tag = self.dialog.tag.clone();
        let gone = "481 Call/Transaction Does Not Exist";
        match request.method() {
            "ACK" => {
                if self
                    .last
                    .as_ref()
                    .is_some_and(|(invite, ..)| invite.cseq() == request.cseq())
                {
                    self.acked = true;
                }
            }
            "INVITE" => {
                if let Some((invite, text, _)) = &self.last
                    && invite.cseq() == request.cseq()
                {
                    return reply(text.clone());
                }
                if let Some(ringing) = &self.ringing
                    && self.answered_at.is_none()
                    && ringing.invite.cseq() == request.cseq()
                {
                    if let Some(said) = &ringing.said {
                        reply(said.clone());
                    }
                    return;
                }
                if !self.talks() {
                    return reply(request.answer(gone, &tag, "", ""));
                }
                if !self.dialog.is_next(request) {
                    return reply(request.answer("500 Out Of Order", &tag, "", ""));
                }
                self.dialog.retarget(request);
                let (extra, sdp) = (self.dialog.contact(), self.dialog.sdp.clone());
                let text = request.answer("200 OK", &tag, &extra, &sdp);
                reply(text.clone());
                self.refreshes += 1;
                self.answer_to = Some(from);
                self.acked = false;
                say.push(Say::After(pause(0), Timer::Final(request.cseq())));
                self.last = Some((request.clone(), text, 0));
            }
            "UPDATE" => {
                if !self.talks() {
                    return reply(request.answer(gone, &tag, "", ""));
                }
                if self.dialog.is_next(request) {
                    self.dialog.retarget(request);
                    self.refreshes += 1;
                }
                let (extra, sdp) = (self.dialog.contact(), self.dialog.sdp.clone());
                let body = if request.body.is_empty() { "" } else { &sdp };
                reply(request.answer("200 OK", &tag, &extra, body));
            }
            "BYE" => {
                if self.answered_at.is_none() && self.attempt.is_some() {
                    return reply(request.answer(gone, &tag, "", ""));
                }
                reply(request.answer("200 OK", &tag, "", ""));
                self.dialog.is_next(request);
                self.over = true;
                if self.talks() {
                    self.ended = Some((now, By::Switch));
                }
            }
            "CANCEL" => {
                reply(request.answer("200 OK", &tag, "", ""));
                let Some(ringing) = &self.ringing else { return };
                if self.last.is_none() {
                    let invite = ringing.invite.clone();
                    self.finally(&invite, from, "487 Request Terminated", say);
                    self.over = true;
                }
            }
            _ => {
                let known = self.talks();
                reply(request.answer(if known { "200 OK" } else { gone }, &tag, "", ""));
            }
        }
    }

    /// The final response to the callee's INVITE.
    fn finally(&mut self, invite: &Message, to: SocketAddr, status: &str, say: &mut Vec<Say>) {
        let tag = self.dialog.tag.clone();
        let taken = status.starts_with('2');
        let text = match taken {
            true => invite.answer(status, &tag, &self.dialog.contact(), &self.dialog.sdp),
            false => invite.answer(status, &tag, "", ""),
        };
        say.push(Say::To(to, text.clone()));
        say.push(Say::After(pause(0), Timer::Final(invite.cseq())));
        self.answer_to = Some(to);
        self.last = Some((invite.clone(), text, 0));
    }

    /// The callee hears the phone ring, and decides.
    pub fn rung(&mut self, timer: Timer, now: u64, say: &mut Vec<Say>) {
        let Some(ringing) = &mut self.ringing else {
            return;
        };
        if self.last.is_some() || self.over {
            return;
        }
        let (invite, from, answers) = (ringing.invite.clone(), ringing.from, ringing.answers);
        match timer {
            Timer::Ring => {
                let extra = self.dialog.contact();
                let text = invite.answer("180 Ringing", &self.dialog.tag, &extra, "");
                ringing.said = Some(text.clone());
                say.push(Say::To(from, text));
            }
            Timer::Decide => {
                self.finally(&invite, from, answers, say);
                if answers.starts_with('2') {
                    self.answered_at = Some(now);
                    if let Some(hold_ms) = self.hold_ms {
                        say.push(Say::After(hold_ms, Timer::HangUp));
                    }
                } else {
                    self.over = true;
                }
            }
            _ => {}
        }
    }

    /// Hangs up, whatever of an answered leg is left.
    pub fn hang_up(&mut self, now: u64, say: &mut Vec<Say>) {
        if !self.talks() || self.bye.is_some() {
            return;
        }
        self.ended = Some((now, By::Me));
        self.over = true;
        self.dialog.cseq += 1;
        let cseq = self.dialog.cseq;
        let (to, bye) = self.dialog.request("BYE", cseq);
        say.push(Say::To(to, bye.clone()));
        say.push(Say::After(pause(0), Timer::Bye));
        self.bye = Some((to, bye, 0, now));
    }

    /// A response within the dialog.
    pub fn answered(&mut self, response: &Message) {
        let status = response.status().unwrap_or(0);
        if response.method() == "BYE" && status >= 200 {
            self.bye = None;
            self.bye_answered = true;
            self.bye_status = status;
        }
    }

    /// A timer that legs of both sides have.
    pub fn due(&mut self, timer: Timer, now: u64, say: &mut Vec<Say>) {
        match timer {
            Timer::Final(cseq) => {
                let Some((invite, text, repeats)) = &mut self.last else {
                    return;
                };
                if self.acked || invite.cseq() != cseq {
                    return;
                }
                *repeats += 1;
                // 64 times T1, RFC 3261 §13.3.1.4.
                if *repeats > 10 {
                    self.acked = true;
                    return self.hang_up(now, say);
                }
                if let Some(to) = self.answer_to {
                    say.push(Say::To(to, text.clone()));
                }
                say.push(Say::After(pause(*repeats), Timer::Final(cseq)));
            }
            Timer::HangUp => self.hang_up(now, say),
            Timer::Bye => {
                let Some((to, text, repeats, since)) = &mut self.bye else {
                    return;
                };
                *repeats += 1;
                if now.saturating_sub(*since) >= GIVE_UP_MS {
                    self.bye = None;
                    return;
                }
                let others = self.others.len() as u32;
                let there = match *repeats > 2 && others > 0 {
                    true => self.others[(*repeats % others) as usize],
                    false => *to,
                };
                say.push(Say::To(there, text.clone()));
                say.push(Say::After(pause(*repeats), Timer::Bye));
            }
            _ => {}
        }
    }
}

impl Ringing {
    pub fn new(invite: Message, from: SocketAddr, answers: &'static str) -> Ringing {
        Ringing {
            invite,
            from,
            answers,
            said: None,
        }
    }
}
