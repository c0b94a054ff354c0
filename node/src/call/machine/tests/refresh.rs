//! Calls that another node had answered, and calls that are another's from now on.

use super::*;

const ANSWERED: Millis = 900_000;
const HEARD: Millis = 990_000;

fn knows(told: Option<&'static str>, takes_update: bool) -> FarEnd {
    FarEnd {
        told: told.map(sdp),
        takes_update,
    }
}

fn adopted(caller: FarEnd, callee: FarEnd) -> (Story, Vec<String>) {
    limited(caller, callee, None, None)
}

fn limited(
    caller: FarEnd,
    callee: FarEnd,
    max_duration_secs: Option<u32>,
    credit: Option<Credit>,
) -> (Story, Vec<String>) {
    let now = Now {
        mono: 5_000,
        wall: 1_000_000,
    };
    let attempt = Box::new(Attempt {
        max_duration_secs,
        ..*axb(1)
    });
    let adopted = Adopted {
        attempt,
        credit,
        answered_at: ANSWERED,
        heard_at: HEARD,
        caller,
        callee,
    };
    let (machine, first) = Machine::adopted(adopted, Limits::default(), now);
    (Story { machine, now }, words(&first))
}

/// Both far ends know re-INVITE alone and have been asked.
fn asked() -> Story {
    let (mut story, first) = adopted(
        knows(Some("to caller"), false),
        knows(Some("to callee"), false),
    );
    assert_eq!(first, ["ask to refresh"]);
    story.check(Event::Refresh, &["caller: reoffer", "callee: reoffer"]);
    story
}

fn reanswered(status: u16, body: Option<Body>) -> LegEvent {
    LegEvent::Reanswered {
        status,
        reason: "".into(),
        body,
        retry_after_ms: None,
    }
}

fn answers(status: u16) -> LegEvent {
    reanswered(status, None)
}

/// How each far end is asked: what it takes, what it was told.
#[test]
fn an_update_without_a_body_is_preferred_to_a_reinvite_with_the_last_description() {
    type Asked = Option<(Offer, Option<&'static str>)>;
    let table: [(bool, Option<&'static str>, Asked); 4] = [
        (true, Some("last"), Some((Offer::Update, None))),
        (true, None, Some((Offer::Update, None))),
        (false, Some("last"), Some((Offer::Invite, Some("last")))),
        (false, None, None),
    ];
    for (takes, told, want) in table {
        let (mut story, _) = adopted(knows(told, takes), knows(Some("x"), true));
        let actions = story.machine.on(Event::Refresh, story.now);
        let asked = actions.iter().find_map(|action| match action {
            Action::Caller(Command::Reoffer { via, body }) => Some((*via, body.clone())),
            _ => None,
        });
        let want = want.map(|(via, body)| (via, body.map(sdp)));
        assert_eq!(asked, want, "takes update {takes}, told {told:?}");
    }
}

#[test]
fn an_adopted_call_talks_at_once_and_goes_on_when_both_ends_are_told() {
    let mut story = asked();
    assert!(story.machine.is_answered() && story.machine.is_refreshing());
    story.check(Event::Caller(answers(200)), &[]);
    story.check(
        Event::Callee(1, answers(200)),
        &["keep to caller | to callee", "taken over: Refreshed"],
    );
    assert!(!story.machine.is_refreshing());
    let mut story = story.after(7_000);
    let actions = story
        .machine
        .on(Event::Caller(ended(LegEnd::Bye)), story.now);
    assert_eq!(
        words(&actions),
        [
            "callee: hang up",
            "release",
            "end answered normal by Caller"
        ]
    );
    assert!(matches!(
        actions.last(),
        Some(Action::End {
            ended_at: 1_007_000,
            answered_at: Some(ANSWERED),
            ..
        })
    ));
}

#[test]
fn limits_count_from_the_answer_also_when_it_is_older_than_the_process() {
    let far = || knows(None, true);
    let credit = |upto_secs, last| Some(Credit { upto_secs, last });
    let table: [(Option<u32>, Option<Credit>, &[&str]); 5] = [
        (Some(160), None, &["arm Limit 65000"]),
        (Some(100), None, &["arm Limit 5000"]),
        (Some(60), None, &["arm Limit 5000"]),
        (None, credit(120, false), &["arm Renew 15000"]),
        (Some(999), credit(120, true), &["arm Limit 25000"]),
    ];
    for (longest, credit, armed) in table {
        let (_, first) = limited(far(), far(), longest, credit);
        let want: Vec<&str> = armed.iter().copied().chain(["ask to refresh"]).collect();
        assert_eq!(first, want);
    }
}

#[test]
fn a_far_end_that_is_busy_is_asked_again_after_the_pause_it_names() {
    let mut story = asked();
    let glare = LegEvent::Reanswered {
        status: 491,
        reason: "".into(),
        body: None,
        retry_after_ms: Some(700),
    };
    story.check(Event::Caller(glare), &["arm RefreshCaller 5700"]);
    story.check(Event::Callee(1, answers(200)), &[]);
    let mut story = story.after(700);
    story.check(Event::Timer(Timer::RefreshCaller), &["caller: reoffer"]);
    story.check(
        Event::Caller(answers(200)),
        &["keep to caller | to callee", "taken over: Refreshed"],
    );
}

#[test]
fn a_far_end_that_is_always_busy_keeps_its_call() {
    let mut story = asked();
    story.on(Event::Callee(1, answers(200)));
    for _ in 0..6 {
        story.check(Event::Caller(answers(500)), &["arm RefreshCaller 6000"]);
        story.check(Event::Timer(Timer::RefreshCaller), &["caller: reoffer"]);
    }
    story.check(
        Event::Caller(answers(500)),
        &["keep to caller | to callee", "taken over: Unrefreshed"],
    );
    assert!(story.machine.is_answered());
}

#[test]
fn a_refused_update_becomes_a_reinvite_and_a_refused_reinvite_changes_nothing() {
    let (mut story, _) = adopted(knows(Some("to caller"), true), knows(None, true));
    story.check(Event::Refresh, &["caller: reoffer", "callee: reoffer"]);
    story.check(Event::Callee(1, answers(501)), &[]);
    story.check(Event::Caller(answers(405)), &["caller: reoffer"]);
    story.check(
        Event::Caller(answers(488)),
        &["keep to caller | -", "taken over: Unrefreshed"],
    );
    assert!(story.machine.is_answered());
}

/// How long a call that cannot be taken over has talked, by what its far end says.
#[test]
fn a_far_end_that_is_gone_ends_the_call_and_the_other_hears_bye() {
    let refused = |status| LegEnd::Refused {
        status,
        reason: "".into(),
        retry_after_s: None,
    };
    let table = [
        (
            "it says that there is no such call",
            Some(481),
            refused(481),
            HEARD,
        ),
        (
            "its proxy had no answer",
            Some(408),
            refused(408),
            1_003_000,
        ),
        (
            "silence",
            Some(408),
            LegEnd::Timeout(tandem_sip::leg::Timeout::Dialog),
            1_003_000,
        ),
        (
            "it cannot be reached",
            None,
            LegEnd::TransportFailed,
            1_003_000,
        ),
    ];
    for (how, status, by, until) in table {
        let mut story = asked().after(3_000);
        story.on(Event::Caller(answers(200)));
        if let Some(status) = status {
            story.check(Event::Callee(1, answers(status)), &[]);
        }
        let actions = story.machine.on(Event::Callee(1, ended(by)), story.now);
        assert_eq!(
            words(&actions),
            [
                "caller: hang up",
                "taken over: Failed",
                "release",
                "end answered node_failure by Server"
            ],
            "{how}"
        );
        let at = actions.iter().find_map(|action| match action {
            Action::End { ended_at, .. } => Some(*ended_at),
            _ => None,
        });
        assert_eq!(at, Some(until), "{how}");
        assert!(story.machine.is_over());
    }
}

#[test]
fn a_far_end_that_hangs_up_before_it_was_told_ends_the_call_as_ever() {
    let (mut story, _) = adopted(knows(None, true), knows(None, true));
    story.check(
        Event::Callee(1, ended(LegEnd::Bye)),
        &[
            "caller: hang up",
            "taken over: Ended",
            "release",
            "end answered normal by Callee",
        ],
    );
    story.check(Event::Refresh, &[]);
}

#[test]
fn a_far_end_that_moved_its_media_meanwhile_is_made_known_to_the_other_once() {
    let at = |port| {
        Body::sdp(format!(
            "v=0\r\no=- 1 {port} IN IP4 10.0.0.2\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\n"
        ))
    };
    let far = |port| FarEnd {
        told: Some(at(port)),
        takes_update: false,
    };
    // The caller was told of the callee's port 41000, the callee of the caller's 40000.
    let (mut story, _) = adopted(far(41_000), far(40_000));
    story.on(Event::Refresh);
    story.check(Event::Callee(1, reanswered(200, Some(at(41_000)))), &[]);
    let moved = reanswered(200, Some(at(40_002)));
    let actions = story.machine.on(Event::Caller(moved), story.now);
    assert!(
        matches!(&actions[..], [Action::Callee(Command::Reoffer { body: Some(body), .. })] if *body == at(40_002))
    );
    let answer = reanswered(200, Some(at(41_002)));
    let actions = story.on(Event::Callee(1, answer));
    assert_eq!(actions, ["caller: reoffer"], "its answer has moved as well");
    let again = story.on(Event::Caller(reanswered(200, Some(at(40_004)))));
    assert_eq!(again[1], "taken over: Refreshed");
}

#[test]
fn a_session_changed_by_a_far_end_goes_before_the_refresh_and_one_after_it_waits() {
    let offer = || LegEvent::Reoffered {
        via: Offer::Invite,
        body: Some(sdp("hold")),
    };
    let (mut story, _) = adopted(knows(None, true), knows(None, true));
    story.check(Event::Caller(offer()), &["callee: reoffer"]);
    story.check(
        Event::Refresh,
        &["arm RefreshCaller 6000", "arm RefreshCallee 6000"],
    );
    story.check(
        Event::Callee(1, reanswered(200, Some(sdp("held")))),
        &["caller: accept reoffer with body", "keep held | hold"],
    );
    story.check(Event::Timer(Timer::RefreshCallee), &["callee: reoffer"]);
    story.check(Event::Caller(offer()), &["caller: refuse reoffer 491"]);
    story.check(Event::Callee(1, answers(200)), &[]);
    story.check(Event::Timer(Timer::RefreshCaller), &["caller: reoffer"]);
    let done = story.on(Event::Caller(answers(200)));
    assert_eq!(done[1], "taken over: Refreshed");
}

#[test]
fn a_call_that_is_anothers_is_dropped_without_a_word() {
    let mut story = Story::talking();
    story.check(Event::Abandon, &["forget"]);
    assert!(story.machine.is_over());
    story.check(Event::Caller(ended(LegEnd::Bye)), &[]);
    let mut story = asked();
    story.check(Event::Abandon, &["forget"]);
}

#[test]
fn a_call_that_no_other_node_can_have_ends_with_the_tenure() {
    let mut story = Story::ringing();
    story.check(
        Event::Abandon,
        &[
            "caller: refuse 503 retry 2",
            "callee: hang up",
            "release",
            "end unanswered node_failure by Server",
        ],
    );
    let mut story = Story::committing();
    story.on(Event::NotKept);
    story.check(
        Event::Abandon,
        &[
            "caller: hang up",
            "callee: hang up",
            "release",
            "end answered node_failure by Server",
        ],
    );
}

#[test]
fn a_node_that_stops_in_order_ends_what_it_cannot_hand_over() {
    let mut story = Story::talking();
    story.check(Event::Leave, &[]);
    let mut story = Story::committing();
    story.check(Event::Leave, &[]);
    let mut story = Story::ringing();
    story.check(
        Event::Leave,
        &[
            "caller: refuse 503 retry 2",
            "callee: hang up",
            "release",
            "end unanswered admin_hangup by Server",
        ],
    );
}
