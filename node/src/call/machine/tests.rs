//! Events in, words of actions out: each test is one story of a call.

use super::*;
use tandem_cluster::entity::Transport;
use tandem_sip::leg::{Cause, Ended, EndedBy as LegEnd, Offer, Timeout};

mod answer;
mod ax;
mod histories;
mod refresh;
mod talk;

/// A call under test with its clock.
struct Story {
    machine: Machine,
    now: Now,
}

impl Story {
    fn begins(offer: Option<Body>) -> (Self, Vec<String>) {
        let now = Now {
            mono: 1_000,
            wall: 1_000_000,
        };
        let (machine, actions) = Machine::new(offer, Limits::default(), now);
        (Story { machine, now }, words(&actions))
    }

    /// With an offer, and numbers already asked for.
    fn of_a_call() -> Self {
        Self::begins(Some(sdp("offer"))).0
    }

    fn ringing() -> Self {
        let mut story = Self::of_a_call();
        story.on(Event::Reserved(axb(1)));
        story.on(Event::Bound {
            attempt: 1,
            callee_out: None,
        });
        story.on(Event::Callee(
            1,
            LegEvent::Progress {
                status: 180,
                reason: "".into(),
                body: None,
            },
        ));
        story
    }

    fn committing() -> Self {
        let mut story = Self::ringing();
        story.on(Event::Callee(
            1,
            LegEvent::Answered {
                body: Some(sdp("answer")),
            },
        ));
        story
    }

    fn talking() -> Self {
        let mut story = Self::committing();
        story.on(Event::Committed { unbind_at: None });
        story
    }

    fn after(mut self, ms: u64) -> Self {
        self.now.mono += ms;
        self.now.wall += ms;
        self
    }

    fn on(&mut self, event: Event) -> Vec<String> {
        words(&self.machine.on(event, self.now))
    }

    #[track_caller]
    fn check(&mut self, event: Event, want: &[&str]) {
        assert_eq!(self.on(event), want);
    }
}

/// Each action as a few words.
fn words(actions: &[Action]) -> Vec<String> {
    actions.iter().map(word).collect()
}

fn word(action: &Action) -> String {
    match action {
        Action::Reserve => "reserve".into(),
        Action::Next { attempt, failure } => format!("next after {attempt}: {failure:?}"),
        Action::Bind { attempt, lease } => format!("bind {attempt} {}", lease.x),
        Action::NameCallee { attempt, lease } => {
            format!("name callee {attempt} {} {}", lease.x, lease.b_submitted)
        }
        Action::Accepted { attempt } => format!("accepted {attempt}"),
        Action::ReleaseAt(at) => format!("release at {at:?}"),
        Action::Release => "release".into(),
        Action::NeverBound(binding) => format!("never bound {binding}"),
        Action::Dial { attempt, body } => {
            format!(
                "dial {} {}{}",
                attempt.caller_out,
                attempt.callee_out,
                if body.is_some() { " with offer" } else { "" }
            )
        }
        Action::Caller(command) => format!("caller: {}", command_word(command)),
        Action::Callee(command) => format!("callee: {}", command_word(command)),
        Action::Commit {
            answered_at,
            pdd_ms,
            codec,
            ..
        } => format!("commit {answered_at} pdd {pdd_ms} {codec}"),
        Action::Keep(told) => format!("keep {} | {}", text(&told.caller), text(&told.callee)),
        Action::KeepTargets => "keep targets".into(),
        Action::AskRefresh => "ask to refresh".into(),
        Action::TakenOver(result) => format!("taken over: {result:?}"),
        Action::Forget => "forget".into(),
        Action::Renew { upto_secs } => format!("renew {upto_secs}"),
        Action::Arm(timer, at) => format!("arm {timer:?} {at}"),
        Action::Disarm(timer) => format!("disarm {timer:?}"),
        Action::Unprotected => "unprotected".into(),
        Action::End {
            answered_at,
            reason,
            by,
            ..
        } => {
            let talked = if answered_at.is_some() {
                "answered"
            } else {
                "unanswered"
            };
            format!("end {talked} {} by {by:?}", reason.key)
        }
    }
}

fn text(body: &Option<Body>) -> String {
    body.as_ref().map_or("-".into(), |body| {
        String::from_utf8_lossy(&body.bytes).into_owned()
    })
}

fn command_word(command: &Command) -> String {
    let name = command.name();
    match command {
        Command::Progress { status, .. }
        | Command::RefuseReoffer { status }
        | Command::AnswerInfo { status, .. } => {
            format!("{name} {status}")
        }
        Command::Refuse {
            status,
            retry_after_s,
            ..
        } => match retry_after_s {
            Some(secs) => format!("{name} {status} retry {secs}"),
            None => format!("{name} {status}"),
        },
        Command::Answer { body } | Command::Ack { body } | Command::AcceptReoffer { body } => {
            format!("{name}{}", if body.is_some() { " with body" } else { "" })
        }
        _ => name.to_owned(),
    }
}

fn sdp(text: &'static str) -> Body {
    Body::sdp(text)
}

fn plain(number: u16) -> Box<Attempt> {
    Box::new(Attempt {
        number,
        gateway: 1,
        gateway_name: "g".into(),
        address: "127.0.0.1:5060".parse().expect("an address"),
        transport: Transport::Udp,
        caller_out: "n".into(),
        callee_out: "b".into(),
        send_identity: false,
        response_timeout_ms: 5_000,
        lease: None,
        ax: None,
        max_duration_secs: None,
        credit: None,
    })
}

fn axb(number: u16) -> Box<Attempt> {
    let lease = Lease {
        binding: u64::from(number),
        interface: 1,
        a: "a".into(),
        x: "x".into(),
        b_submitted: "b".into(),
    };
    Box::new(Attempt {
        lease: Some(lease),
        caller_out: "a".into(),
        callee_out: "x".into(),
        ..*plain(number)
    })
}

fn ended(by: LegEnd) -> LegEvent {
    LegEvent::Ended(Ended { by, cause: None })
}

fn refused(status: u16) -> LegEvent {
    ended(LegEnd::Refused {
        status,
        reason: "".into(),
        retry_after_s: None,
    })
}

#[test]
fn an_axb_call_binds_then_dials_then_answers_once_replicated() {
    let (mut story, first) = Story::begins(Some(sdp("offer")));
    assert_eq!(first, ["reserve", "arm Reserve 3000"]);
    story.check(Event::Reserved(axb(1)), &["disarm Reserve", "bind 1 x"]);
    story.check(
        Event::Bound {
            attempt: 1,
            callee_out: None,
        },
        &["dial a x with offer", "arm Response 6000"],
    );
    let ringing = LegEvent::Progress {
        status: 180,
        reason: "".into(),
        body: None,
    };
    story.check(
        Event::Callee(1, ringing),
        &["disarm Response", "caller: progress 180"],
    );
    let mut story = story.after(2_000);
    story.check(
        Event::Callee(
            1,
            LegEvent::Answered {
                body: Some(sdp("v=0\r\n")),
            },
        ),
        &[
            "disarm Response",
            "arm Commit 6000",
            "commit 1002000 pdd 0 ",
        ],
    );
    story.check(
        Event::Committed {
            unbind_at: Some(1_007_000),
        },
        &[
            "disarm Commit",
            "callee: ack",
            "caller: answer with body",
            "release at Some(1007000)",
        ],
    );
    let mut story = story.after(3_000);
    story.check(
        Event::Caller(ended(LegEnd::Bye)),
        &[
            "callee: hang up",
            "release",
            "end answered normal by Caller",
        ],
    );
    assert!(story.machine.is_over());
}

#[test]
fn a_plain_call_dials_at_once() {
    let mut story = Story::of_a_call();
    story.check(
        Event::Reserved(plain(1)),
        &["disarm Reserve", "dial n b with offer", "arm Response 6000"],
    );
}

#[test]
fn another_x_of_the_platform_is_the_one_dialled() {
    let mut story = Story::of_a_call();
    story.on(Event::Reserved(axb(1)));
    let bound = Event::Bound {
        attempt: 1,
        callee_out: Some("other".into()),
    };
    story.check(bound, &["dial a other with offer", "arm Response 6000"]);
}

#[test]
fn refusals_are_told_with_their_status_and_close_the_record() {
    let table = [
        (
            Refusal::NoAxbNumber,
            "caller: refuse 503 retry 2",
            "no_axb_number",
        ),
        (
            Refusal::AxbBindFailed,
            "caller: refuse 503 retry 2",
            "axb_bind_failed",
        ),
        (Refusal::NoRoute, "caller: refuse 404", "no_route"),
        (
            Refusal::BalanceInsufficient,
            "caller: refuse 402",
            "balance_insufficient",
        ),
        (
            Refusal::RateNotFound,
            "caller: refuse 403",
            "rate_not_found",
        ),
        (
            Refusal::AccountLocked,
            "caller: refuse 403",
            "account_locked",
        ),
        (
            Refusal::GatewayCapacity,
            "caller: refuse 503 retry 2",
            "gateway_capacity",
        ),
        (
            Refusal::AxbNotAllowed,
            "caller: refuse 403",
            "axb_not_allowed",
        ),
    ];
    for (refusal, told, key) in table {
        let mut story = Story::of_a_call();
        let end = format!("end unanswered {key} by Server");
        story.check(Event::Refused(refusal), &["disarm Reserve", told, &end]);
    }
}

#[test]
fn a_carriers_refusal_asks_for_another_attempt_and_releases_the_binding() {
    let mut story = Story::ringing();
    story.check(
        Event::Callee(1, refused(503)),
        &[
            "disarm Response",
            "release",
            "next after 1: Gateway { status: 503 }",
            "arm Reserve 3000",
        ],
    );
    story.check(
        Event::Refused(Refusal::PassOn { status: 486 }),
        &[
            "disarm Reserve",
            "caller: refuse 486",
            "end unanswered busy by Callee",
        ],
    );
}

#[test]
fn news_of_an_earlier_attempt_changes_nothing() {
    let mut story = Story::ringing();
    story.on(Event::Callee(1, refused(503)));
    story.on(Event::Reserved(axb(2)));
    story.check(Event::Callee(1, LegEvent::Answered { body: None }), &[]);
    story.check(
        Event::Bound {
            attempt: 1,
            callee_out: None,
        },
        &[],
    );
    story.check(
        Event::Bound {
            attempt: 2,
            callee_out: None,
        },
        &["dial a x with offer", "arm Response 6000"],
    );
}

#[test]
fn a_failed_bind_asks_for_another_attempt_and_leaves_the_rest_to_the_binding() {
    let mut story = Story::of_a_call();
    story.on(Event::Reserved(axb(1)));
    let failure = Failure::BindUnknown {
        code: "timeout".into(),
    };
    story.check(
        Event::BindFailed {
            attempt: 1,
            failure,
        },
        &[
            "disarm Response",
            "next after 1: BindUnknown { code: \"timeout\" }",
            "arm Reserve 3000",
        ],
    );
}

#[test]
fn a_silent_gateway_is_cancelled_and_the_next_one_tried() {
    let mut story = Story::of_a_call();
    story.on(Event::Reserved(plain(1)));
    story.check(
        Event::Timer(Timer::Response),
        &[
            "callee: hang up",
            "disarm Response",
            "next after 1: Gateway { status: 408 }",
            "arm Reserve 3000",
        ],
    );
}

#[test]
fn a_caller_who_leaves_while_numbers_are_asked_for_gives_them_back() {
    let mut story = Story::of_a_call();
    story.check(Event::Caller(ended(LegEnd::Cancelled)), &["disarm Reserve"]);
    story.check(
        Event::Reserved(axb(1)),
        &["never bound 1", "end unanswered cancelled by Caller"],
    );
}

#[test]
fn numbers_that_come_too_late_are_given_back() {
    let mut story = Story::of_a_call();
    story.check(
        Event::Timer(Timer::Reserve),
        &["caller: refuse 503 retry 2"],
    );
    // The refusal ends the leg; that is no news.
    story.check(Event::Caller(ended(LegEnd::Local)), &["disarm Reserve"]);
    story.check(
        Event::Reserved(plain(1)),
        &["end unanswered response_timeout by Server"],
    );
}

#[test]
fn a_caller_who_leaves_during_the_bind_releases_what_comes_of_it() {
    let mut story = Story::of_a_call();
    story.on(Event::Reserved(axb(1)));
    story.check(
        Event::Caller(ended(LegEnd::Cancelled)),
        &["release", "end unanswered cancelled by Caller"],
    );
}

#[test]
fn a_caller_who_leaves_while_it_rings_cancels_the_callee() {
    let mut story = Story::ringing();
    story.check(
        Event::Caller(ended(LegEnd::Cancelled)),
        &[
            "callee: hang up",
            "release",
            "end unanswered cancelled by Caller",
        ],
    );
}

#[test]
fn an_operator_ends_a_call_in_any_phase() {
    let mut story = Story::ringing();
    story.check(
        Event::HangUp("admin_hangup"),
        &[
            "caller: refuse 503 retry 2",
            "callee: hang up",
            "release",
            "end unanswered admin_hangup by Server",
        ],
    );
    let mut story = Story::talking();
    story.check(
        Event::HangUp("admin_hangup"),
        &[
            "caller: hang up",
            "callee: hang up",
            "release",
            "end answered admin_hangup by Server",
        ],
    );
}
