//! Events in any order, most of them out of place.

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
                    Action::Callee(Command::Ack { .. }) => {
                        prop_assert!(matches!(kind, 14 | 15), "an ACK before the answer is kept");
                    }
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
