//! Events in, words of actions out: each test is one story of a call.

use super::*;
use tandem_cluster::entity::Transport;
use tandem_sip::leg::{Cause, Ended, EndedBy as LegEnd, Offer, Timeout};

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
fn a_cancel_that_crosses_the_answer_is_an_unanswered_call() {
    let mut story = Story::committing();
    story.check(
        Event::Caller(ended(LegEnd::Cancelled)),
        &[
            "callee: hang up",
            "release",
            "end unanswered cancelled by Caller",
        ],
    );
    story.check(Event::Committed { unbind_at: None }, &[]);
}

#[test]
fn the_callees_answer_is_acknowledged_when_it_is_replicated_and_not_before() {
    let mut story = Story::committing();
    // A phone that repeats its answer, or moves, or asks something meanwhile hears nothing of its answer.
    let again = LegEvent::Answered {
        body: Some(sdp("answer")),
    };
    story.check(Event::Callee(1, again), &[]);
    story.check(Event::Callee(1, LegEvent::Moved), &["keep targets"]);
    let info = LegEvent::Info {
        content_type: "".into(),
        bytes: "".into(),
        id: 7,
    };
    story.check(Event::Callee(1, info), &["callee: answer info 200"]);
    story.check(
        Event::Committed { unbind_at: None },
        &[
            "disarm Commit",
            "callee: ack",
            "caller: answer with body",
            "release at None",
        ],
    );
    story.check(Event::Committed { unbind_at: None }, &["release at None"]);
}

/// Wall time of the end and of the answer, as the record will have them.
fn moments(actions: &[Action]) -> (Millis, Option<Millis>) {
    match actions.last() {
        Some(Action::End {
            ended_at,
            answered_at,
            ..
        }) => (*ended_at, *answered_at),
        other => panic!("no end: {other:?}"),
    }
}

#[test]
fn an_answer_that_nobody_heard_is_charged_to_nobody() {
    for event in [
        Event::Caller(ended(LegEnd::Cancelled)),
        Event::Caller(ended(LegEnd::TransportFailed)),
        Event::Caller(ended(LegEnd::Timeout(Timeout::Setup))),
        Event::Callee(1, ended(LegEnd::Bye)),
        Event::Timer(Timer::Commit),
        Event::HangUp("node_failure"),
        Event::Abandon,
    ] {
        let what = format!("{event:?}");
        // The state may have the answer already, or get it before the end: the record's talk begins with it.
        let mut story = Story::committing().after(2_400);
        let actions = story.machine.on(event, story.now);
        assert_eq!(moments(&actions), (1_000_000, None), "{what}");
    }
    // Who leaves while it rings leaves at that moment.
    let mut story = Story::ringing().after(2_400);
    let cancelled = Event::Caller(ended(LegEnd::Cancelled));
    let actions = story.machine.on(cancelled, story.now);
    assert_eq!(moments(&actions), (1_002_400, None));
}

#[test]
fn talk_begins_when_the_customer_hears_of_the_answer() {
    // An election holds the answer up.
    let mut story = Story::committing().after(1_300);
    story.on(Event::Committed { unbind_at: None });
    let mut story = story.after(10_000);
    let bye = Event::Caller(ended(LegEnd::Bye));
    let actions = story.machine.on(bye, story.now);
    assert_eq!(moments(&actions), (1_011_300, Some(1_001_300)));
}

#[test]
fn limits_count_from_what_the_customer_hears() {
    let mut story = Story::of_a_call();
    let attempt = Attempt {
        max_duration_secs: Some(60),
        ..*plain(1)
    };
    story.on(Event::Reserved(Box::new(attempt)));
    story.on(Event::Callee(1, LegEvent::Answered { body: None }));
    let mut story = story.after(2_000);
    story.check(
        Event::Committed { unbind_at: None },
        &[
            "disarm Commit",
            "callee: ack",
            "caller: answer",
            "arm Limit 63000",
            "release at None",
        ],
    );
}

#[test]
fn an_answer_that_is_not_replicated_in_time_is_not_passed_on() {
    let mut story = Story::committing();
    story.check(
        Event::Timer(Timer::Commit),
        &[
            "caller: refuse 503 retry 2",
            "callee: hang up",
            "release",
            "end unanswered node_failure by Server",
        ],
    );
    story.check(Event::Committed { unbind_at: Some(5) }, &[]);
}

#[test]
fn an_answer_that_the_state_has_no_room_for_goes_out_all_the_same() {
    let mut story = Story::committing();
    story.check(
        Event::NotKept,
        &["unprotected", "callee: ack", "caller: answer with body"],
    );
}

#[test]
fn a_far_end_that_moves_is_found_by_whoever_takes_the_call_over() {
    let moved = || Event::Callee(1, LegEvent::Moved);
    Story::committing().check(moved(), &["keep targets"]);
    let mut story = Story::talking();
    story.check(moved(), &["keep targets"]);
    story.check(Event::Caller(LegEvent::Moved), &["keep targets"]);
}

#[test]
fn hold_crosses_from_leg_to_leg_and_back() {
    let mut story = Story::talking();
    let hold = LegEvent::Reoffered {
        via: Offer::Invite,
        body: Some(sdp("hold")),
    };
    story.check(Event::Caller(hold), &["callee: reoffer"]);
    let glare = LegEvent::Reoffered {
        via: Offer::Invite,
        body: Some(sdp("codec")),
    };
    story.check(Event::Callee(1, glare), &["callee: refuse reoffer 491"]);
    let held = LegEvent::Reanswered {
        status: 200,
        reason: "".into(),
        body: Some(sdp("held")),
        retry_after_ms: None,
    };
    story.check(
        Event::Callee(1, held),
        &["caller: accept reoffer with body", "keep held | hold"],
    );
    story.check(Event::Caller(LegEvent::Reconfirmed { body: None }), &[]);
}

#[test]
fn a_refused_reoffer_leaves_the_call_as_it_was() {
    let mut story = Story::talking();
    story.on(Event::Callee(
        1,
        LegEvent::Reoffered {
            via: Offer::Update,
            body: Some(sdp("codec")),
        },
    ));
    let refused = LegEvent::Reanswered {
        status: 488,
        reason: "".into(),
        body: None,
        retry_after_ms: None,
    };
    story.check(Event::Caller(refused), &["callee: refuse reoffer 488"]);
    assert!(story.machine.is_answered());
}

#[test]
fn a_reinvite_without_an_offer_is_answered_in_its_ack() {
    let mut story = Story::talking();
    story.check(
        Event::Caller(LegEvent::Reoffered {
            via: Offer::Invite,
            body: None,
        }),
        &["callee: reoffer"],
    );
    let offer = LegEvent::Reanswered {
        status: 200,
        reason: "".into(),
        body: Some(sdp("offer")),
        retry_after_ms: None,
    };
    story.check(
        Event::Callee(1, offer),
        &["caller: accept reoffer with body"],
    );
    story.check(
        Event::Caller(LegEvent::Reconfirmed {
            body: Some(sdp("answer")),
        }),
        &["callee: ack with body", "keep offer | answer"],
    );
}

#[test]
fn an_invite_without_an_offer_is_answered_in_its_ack() {
    let (mut story, _) = Story::begins(None);
    story.on(Event::Reserved(plain(1)));
    story.on(Event::Callee(
        1,
        LegEvent::Answered {
            body: Some(sdp("offer")),
        },
    ));
    story.check(
        Event::Committed { unbind_at: None },
        &[
            "disarm Commit",
            "caller: answer with body",
            "release at None",
        ],
    );
    story.check(
        Event::Caller(LegEvent::Confirmed {
            body: Some(sdp("answer")),
        }),
        &["callee: ack with body", "keep offer | answer"],
    );
}

#[test]
fn the_descriptions_are_replicated_with_the_answer() {
    for (offer, kept) in [(Some(sdp("offer")), "offer"), (None, "-")] {
        let (mut story, _) = Story::begins(offer);
        story.on(Event::Reserved(plain(1)));
        let body = Some(sdp("answer"));
        let answered = Event::Callee(1, LegEvent::Answered { body });
        let actions = story.machine.on(answered, story.now);
        let told = actions.iter().find_map(|action| match action {
            Action::Commit { told, .. } => Some((text(&told.caller), text(&told.callee))),
            _ => None,
        });
        assert_eq!(told, Some(("answer".to_owned(), kept.to_owned())));
    }
}

#[test]
fn info_crosses_and_its_answers_find_back() {
    let mut story = Story::talking();
    let info = |id| LegEvent::Info {
        content_type: "application/dtmf-relay".into(),
        bytes: "Signal=1".into(),
        id,
    };
    story.check(Event::Caller(info(7)), &["callee: info"]);
    story.check(Event::Callee(1, info(9)), &["caller: info"]);
    story.check(
        Event::Callee(1, LegEvent::InfoAnswered { status: 200 }),
        &["caller: answer info 200"],
    );
    story.check(
        Event::Caller(LegEvent::InfoAnswered { status: 415 }),
        &["callee: answer info 415"],
    );
}

#[test]
fn the_shorter_of_money_and_configuration_ends_the_call() {
    let table = [
        (Some(60), None, vec!["arm Limit 61000"], "max_duration"),
        (
            Some(60),
            Some(Credit {
                upto_secs: 30,
                last: true,
            }),
            vec!["arm Limit 31000"],
            "balance_exhausted",
        ),
        (
            Some(20),
            Some(Credit {
                upto_secs: 30,
                last: true,
            }),
            vec!["arm Limit 21000"],
            "max_duration",
        ),
        (
            None,
            Some(Credit {
                upto_secs: 6,
                last: true,
            }),
            vec!["arm Limit 7000"],
            "balance_exhausted",
        ),
    ];
    for (max_duration_secs, credit, armed, key) in table {
        let mut story = Story::of_a_call();
        story.on(Event::Reserved(Box::new(Attempt {
            max_duration_secs,
            credit,
            ..*plain(1)
        })));
        story.on(Event::Callee(1, LegEvent::Answered { body: None }));
        let actions = story.on(Event::Committed { unbind_at: None });
        assert_eq!(actions[3..actions.len() - 1], armed);
        let end = format!("end answered {key} by Server");
        story.check(
            Event::Timer(Timer::Limit),
            &["caller: hang up", "callee: hang up", &end],
        );
    }
}

#[test]
fn credit_is_renewed_before_the_slice_ends_until_the_last_one() {
    let mut story = Story::of_a_call();
    let credit = Some(Credit {
        upto_secs: 60,
        last: false,
    });
    story.on(Event::Reserved(Box::new(Attempt {
        credit,
        ..*plain(1)
    })));
    story.on(Event::Callee(1, LegEvent::Answered { body: None }));
    let talking = story.on(Event::Committed { unbind_at: None });
    assert!(
        talking.contains(&"arm Renew 51000".to_owned()),
        "{talking:?}"
    );
    let mut story = story.after(50_000);
    story.check(Event::Timer(Timer::Renew), &["renew 60"]);
    story.check(
        Event::Renewed(Credit {
            upto_secs: 120,
            last: false,
        }),
        &["arm Renew 111000"],
    );
    story.check(
        Event::Renewed(Credit {
            upto_secs: 60,
            last: true,
        }),
        &[],
    );
    story.check(
        Event::Renewed(Credit {
            upto_secs: 120,
            last: true,
        }),
        &["arm Limit 121000"],
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

#[test]
fn a_far_ends_cause_goes_over_to_the_other_side() {
    let mut story = Story::talking();
    let cause = Some(Cause::q850(16));
    let bye = LegEvent::Ended(Ended {
        by: LegEnd::Bye,
        cause: cause.clone(),
    });
    let actions = story.machine.on(Event::Callee(1, bye), story.now);
    assert!(
        matches!(&actions[0], Action::Caller(Command::HangUp { cause: passed }) if *passed == cause)
    );
    assert!(
        matches!(actions.last(), Some(Action::End { by: EndedBy::Callee, reason, .. }) if reason.q850 == Some(16))
    );
}

mod ax;
mod refresh;

mod histories {
    use super::ax::{ax, platform_refused, refused_callee};
    use super::*;
    use proptest::prelude::*;

    /// Any event at any time, most of them out of place.
    fn event() -> impl Strategy<Value = u8> {
        0..34u8
    }

    fn make(kind: u8, attempt: u16) -> Event {
        match kind {
            0 | 1 => Event::Reserved(axb(attempt + 1)),
            2 => Event::Refused(Refusal::NoAxbNumber),
            3 => Event::Overloaded,
            4 | 5 => Event::Bound {
                attempt,
                callee_out: None,
            },
            6 => Event::BindFailed {
                attempt,
                failure: Failure::BindUnknown {
                    code: String::new(),
                },
            },
            7 => Event::Caller(ended(LegEnd::Cancelled)),
            8 => Event::Caller(ended(LegEnd::Bye)),
            9 | 10 => Event::Callee(
                attempt,
                LegEvent::Answered {
                    body: Some(sdp("answer")),
                },
            ),
            11 => Event::Callee(
                attempt,
                LegEvent::Progress {
                    status: 183,
                    reason: "".into(),
                    body: None,
                },
            ),
            12 => Event::Callee(attempt, refused(503)),
            13 => Event::Callee(attempt, ended(LegEnd::Bye)),
            14 | 15 => Event::Committed { unbind_at: None },
            16 => Event::Timer(Timer::Reserve),
            17 => Event::Timer(Timer::Response),
            18 => Event::Timer(Timer::Commit),
            19 => Event::Timer(Timer::Limit),
            20 => Event::HangUp("admin_hangup"),
            21 => Event::Caller(LegEvent::Reoffered {
                via: Offer::Invite,
                body: None,
            }),
            22 => Event::Callee(
                attempt,
                LegEvent::Info {
                    content_type: "".into(),
                    bytes: "".into(),
                    id: 1,
                },
            ),
            23 => Event::Reserved(ax(attempt + 1, true)),
            24 => Event::Reserved(ax(attempt + 1, false)),
            25 => Event::Turn { attempt },
            26 | 27 => Event::CalleeNamed { attempt },
            28 => refused_callee(attempt, platform_refused(), true),
            29 => Event::Timer(Timer::Turn),
            31 => Event::Refresh,
            32 => Event::Leave,
            33 => Event::Timer(Timer::RefreshCallee),
            _ => Event::Renewed(Credit {
                upto_secs: 60,
                last: false,
            }),
        }
    }

    proptest! {
        /// However events fall, a call ends at most once, nothing follows its end, every bind is released by then,
        /// and every reservation is either ended or carried on.
        #[test]
        fn a_call_ends_once_and_leaves_nothing(kinds in proptest::collection::vec(event(), 0..60)) {
            let mut story = Story::of_a_call();
            let (mut ends, mut bound, mut released) = (0, 0, 0);
            let mut naming = false;
            for kind in kinds {
                let attempt = story.machine.attempt().map_or(0, |attempt| attempt.number);
                let event = make(kind, attempt);
                // What was never asked is never answered.
                let answers = matches!(event, Event::CalleeNamed { .. } | Event::CalleeRefused { .. });
                if answers && !std::mem::take(&mut naming) {
                    continue;
                }
                for action in story.machine.on(event, story.now) {
                    prop_assert_eq!(ends, 0, "an action after the end: {:?}", action);
                    match action {
                        Action::NameCallee { .. } => naming = true,
                        Action::End { .. } | Action::Next { .. } => {
                            prop_assert!(!naming, "the turn ends while a callee is on its way");
                            ends += i32::from(matches!(action, Action::End { .. }));
                            // The binding's own actor releases after a failed bind.
                            released += i32::from(matches!(
                                action,
                                Action::Next { failure: Failure::BindUnknown { .. }, .. }
                            ));
                        }
                        Action::Bind { .. } => bound += 1,
                        Action::Release => released += 1,
                        _ => {}
                    }
                }
                prop_assert!(released <= bound);
            }
            prop_assert_eq!(ends == 1, story.machine.is_over());
            if story.machine.is_over() {
                prop_assert_eq!(bound, released);
            }
        }
    }
}
