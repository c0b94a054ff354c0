//! Which call an event finds, as a table.

use super::*;

/// Two in the afternoon of some day.
const TWO: u64 = 1_763_704_800_000;

/// Minutes and seconds after two.
fn at(text: &str) -> Time {
    let (minutes, seconds) = text.split_once(':').expect("minutes:seconds");
    let of = |text: &str| text.parse::<u64>().expect("a number");
    Time::from_ms(TWO + (of(minutes) * 60 + of(seconds)) * 1_000)
}

/// `number a x b started answered ended`; `-` for what is not there.
fn call(line: &str) -> Call {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [number, a, x, b, started, answered, ended] = words[..] else {
        panic!("{line}");
    };
    let number: u64 = number.parse().expect("a number");
    Call {
        seq: number,
        flow_no: Serial(1_000 + number),
        interface_name: "hz".into(),
        binding_id: Some(Serial(number)),
        handle: Handle::new([("id", &*format!("H{number}"))]),
        a_number: a.into(),
        x_number: x.into(),
        b_number: b.into(),
        b_submitted: format!("+86{b}"),
        started_at: at(started),
        answered_at: (answered != "-").then(|| at(answered)),
        ended_at: at(ended),
        ..Call::default()
    }
}

/// `field=value` each; times as [`at`] has them.
fn event(line: &str) -> PlatformEvent {
    let mut event = PlatformEvent {
        interface_name: "hz".into(),
        kind: EventKind::Bill,
        received_at: at("180:00"),
        ..PlatformEvent::default()
    };
    for word in line.split_whitespace() {
        let (field, value) = word.split_once('=').expect("field=value");
        let text = value.to_owned();
        match field {
            "if" => event.interface_name = text,
            "kind" => event.kind = value.parse().expect("a kind"),
            "own" => event.own_id = text,
            "id" => event.handle = Handle::new([("id", value)]),
            "other" => event.handle = Handle::new([("other", value)]),
            "a" => event.a_number = text,
            "x" => event.x_number = text,
            "b" => event.b_number = text,
            "at" => event.at = Some(at(value)),
            "started" => event.started_at = Some(at(value)),
            "answered" => event.answered_at = Some(at(value)),
            "ended" => event.ended_at = Some(at(value)),
            "received" => event.received_at = at(value),
            "secs" => event.duration_ms = Some(value.parse::<u64>().expect("secs") * 1_000),
            _ => panic!("{word}"),
        }
    }
    event
}

#[track_caller]
fn check(calls: &[&str], events: &[(&str, &str)]) {
    let calls = Calls::new(calls.iter().map(|line| call(line)).collect());
    for (line, want) in events {
        let found = calls.find(&event(line)).map(|found| {
            let doubt = if found.ambiguous { ", ambiguous" } else { "" };
            format!("{} by {}{doubt}", found.call.seq, found.by.key())
        });
        assert_eq!(found.as_deref().unwrap_or("none"), *want, "{line}");
    }
}

#[test]
fn an_event_finds_its_call() {
    check(
        &[
            // number, A, X, B, started, answered, ended
            "1 02100000001 17000000001 13800000001 0:00 0:05 1:05",
            "2 02100000002 17000000001 13800000002 0:30 0:35 9:35",
            "3 02100000001 17000000002 13800000001 2:00 -    2:20",
            // The same pair again, an hour later.
            "4 02100000001 17000000001 13800000001 60:00 60:05 61:05",
        ],
        &[
            // The platform names the binding.
            ("id=H2", "2 by handle"),
            ("own=3", "3 by own_id"),
            ("own=2 id=H2", "2 by own_id"),
            // Numbers are not vouched for where the binding is named.
            (
                "kind=ended id=H2 a=13900000000 b=02100000001",
                "2 by handle",
            ),
            // Hours late, and before the hang-up event: the order plays no part.
            (
                "own=1 x=17000000001 started=0:01 received=400:00",
                "1 by own_id",
            ),
            // Without a binding: X, A or B, and the time.
            ("x=17000000001 a=02100000001 started=0:02", "1 by numbers"),
            ("x=17000000001 b=13800000001 started=60:03", "4 by numbers"),
            ("x=17000000001 b=13800000001 answered=60:06", "4 by numbers"),
            (
                "x=17000000001 b=13800000001 ended=61:06 secs=60",
                "4 by numbers",
            ),
            (
                "x=17000000001 b=13800000001 kind=ended at=61:04",
                "4 by numbers",
            ),
            ("x=17000000002 a=02100000001 started=2:01", "3 by numbers"),
            // In the platform's notation, or half hidden.
            (
                "x=+8617000000001 a=862100000001 started=0:02",
                "1 by numbers",
            ),
            (
                "x=008617000000001 b=138****0001 started=0:02",
                "1 by numbers",
            ),
            // Clocks differ, but not by that much.
            ("x=17000000001 a=02100000001 started=5:00", "1 by numbers"),
            ("x=17000000001 a=02100000001 started=5:01", "none"),
            // One number is not enough, and neither are A and B without X.
            ("x=17000000001 started=0:02", "none"),
            ("a=02100000001 b=13800000001 started=0:02", "none"),
            (
                "x=17000000001 a=02100000009 b=13800000009 started=0:02",
                "none",
            ),
            // What names another binding is about another call, whatever the numbers say.
            ("id=H9 x=17000000001 a=02100000001 started=0:02", "none"),
            ("own=9 x=17000000001 a=02100000001 started=0:02", "none"),
            // An id that another switch of the same account gave to its own binding.
            ("own=2 id=H9", "none"),
            ("own=2 x=17000000009", "none"),
            ("own=2 x=17000000001 started=2000:00", "none"),
            // A name of the handle that we were never told says nothing.
            (
                "other=Z x=17000000001 a=02100000001 started=0:02",
                "1 by numbers",
            ),
            // Another interface.
            ("if=bj id=H2", "none"),
            ("", "none"),
        ],
    );
}

#[test]
fn of_several_calls_the_nearest_is_taken_and_doubt_is_told() {
    check(
        &[
            "1 02100000001 17000000001 13800000001 0:00 0:05 0:20",
            "2 02100000001 17000000001 13800000001 0:24 0:30 0:50",
            "3 02100000001 17000000001 13800000001 3:00 3:05 3:50",
        ],
        &[
            ("x=17000000001 a=02100000001 started=0:02", "1 by numbers"),
            ("x=17000000001 a=02100000001 started=0:23", "2 by numbers"),
            (
                "x=17000000001 a=02100000001 started=0:13",
                "2 by numbers, ambiguous",
            ),
            ("x=17000000001 a=02100000001 started=2:59", "3 by numbers"),
            // A binding that is named outweighs a nearer moment.
            (
                "id=H1 x=17000000001 a=02100000001 started=3:00",
                "1 by handle",
            ),
            // No time at all: the last one before it came, if that was not long ago.
            ("x=17000000001 a=02100000001 received=4:00", "3 by numbers"),
            ("x=17000000001 a=02100000001 received=500:00", "none"),
        ],
    );
}

#[test]
fn a_standing_relation_names_many_calls_and_the_time_decides() {
    let relation = |line: &str| Call {
        binding_id: None,
        handle: Handle::new([("id", "AX")]),
        ..call(line)
    };
    let calls = Calls::new(vec![
        relation("1 02100000001 17000000001 13800000001 0:00 0:05 0:20"),
        relation("2 02100000001 17000000001 13800000002 20:00 20:05 20:20"),
    ]);
    for (line, want) in [
        ("id=AX own=ax-7 started=0:03", Some(1)),
        ("id=AX own=ax-7 started=20:03", Some(2)),
        ("id=AX own=ax-7 started=90:00", None),
        ("id=AX kind=ended received=20:21", Some(2)),
    ] {
        let found = calls.find(&event(line));
        assert_eq!(found.map(|found| found.call.seq), want, "{line}");
    }
}

#[test]
fn numbers_are_one_whatever_is_added_to_them() {
    for (one, other, same) in [
        ("13800000001", "+8613800000001", true),
        ("13800000001", "008613800000001", true),
        ("02100000001", "862100000001", true),
        ("02100000001", "86-2100000001", false),
        ("138****0001", "13812340001", true),
        ("138****0001", "13812340002", false),
        ("**", "12", false),
        ("", "", false),
        ("12", "12", false),
        ("10086", "10086", true),
        ("86212345", "212345", false),
    ] {
        assert_eq!(same_number(one, other), same, "{one} {other}");
        assert_eq!(same_number(other, one), same, "{other} {one}");
    }
}
