//! What is pushed at which step of a call, when it is tried again, and what faults do.

use std::sync::Arc;

use super::super::mailbox::{Fortune, Letter, Mailbox};
use super::*;
use crate::sim::faults::Faults;
use crate::sim::sip::{Note, Step};

/// A vendor with one binding, of A on X.
struct One {
    teller: Teller,
    faults: Faults,
}

impl Vendors for One {
    fn carrier(&mut self, from: &str, _: &str, _: u64) -> Option<(Teller, Carrier)> {
        (from == "02131000001").then(|| (self.teller.clone(), carrier()))
    }

    fn faults(&self, word: &str) -> Faults {
        assert_eq!(word, self.teller.herald.word);
        self.faults.clone()
    }
}

fn one(word: &'static str) -> One {
    let herald = HERALDS.into_iter().find(|herald| herald.word == word);
    One {
        teller: Teller {
            herald: herald.unwrap(),
            account: Arc::new(account(word)),
        },
        faults: Faults::default(),
    }
}

fn note(step: Step) -> Note {
    Note {
        call: "call".into(),
        step,
    }
}

fn started(from: &str) -> Step {
    Step::Started {
        from: from.into(),
        x: "17000000000".into(),
    }
}

/// The pushes of a call that is started, answered and ended, each with its due time.
fn life(vendor: &mut One, from: &str) -> Vec<(u64, Letter)> {
    let mut newsroom = Newsroom::new(1);
    let ended = Step::Ended(end(Side::Callee, 0));
    let steps = [(started(from), 0), (Step::Answered, 4_000), (ended, 64_000)];
    let mut letters = Vec::new();
    for (step, after_ms) in steps {
        letters.extend(newsroom.on(note(step), NOW_MS + after_ms, vendor));
    }
    // What is over is forgotten.
    let late = newsroom.on(note(Step::Ringing), NOW_MS + 65_000, vendor);
    assert!(late.is_empty());
    letters
}

fn told(letters: &[(u64, Letter)]) -> Vec<(&'static str, u64)> {
    let told = letters.iter();
    told.map(|(due_ms, letter)| (letter.notice.told.word(), due_ms - NOW_MS))
        .collect()
}

#[test]
fn a_call_is_told_step_by_step_to_the_customer_whose_binding_carries_it() {
    let mut vendor = one("volcengine");
    let expected = [
        ("started", 0),
        ("answered", 4_000),
        ("ended", 64_000),
        ("bill", 64_000),
    ];
    assert_eq!(told(&life(&mut vendor, "02131000001")), expected);
    assert_eq!(told(&life(&mut vendor, "02131000002")), []);
}

#[test]
fn faults_silence_double_delay_and_falsify() {
    let mut vendor = one("volcengine");
    vendor.faults.no_callbacks = true;
    assert_eq!(told(&life(&mut vendor, "02131000001")), []);
    vendor.faults.no_callbacks = false;
    vendor.faults.duplicate_callbacks = true;
    vendor.faults.callback_delay_ms = 500;
    vendor.faults.wrong_bills = true;
    let letters = life(&mut vendor, "02131000001");
    let expected = [
        ("started", 500),
        ("started", 500),
        ("answered", 4_500),
        ("answered", 4_500),
        ("ended", 64_500),
        ("ended", 64_500),
        ("bill", 64_500),
        ("bill", 64_500),
    ];
    assert_eq!(told(&letters), expected);
    assert_eq!(letters[6].1.notice, letters[7].1.notice);
    let Content::Json(bill) = &letters[7].1.notice.content else {
        panic!("{letters:?}")
    };
    assert_eq!(bill["callDuration"], 121);
    let Content::Json(end) = &letters[5].1.notice.content else {
        panic!("{letters:?}")
    };
    assert_eq!(end["eventTime"], (NOW_MS / 1000 + 64).to_string());
}

/// When a push is tried that nobody ever acknowledges, in milliseconds from the first try.
fn tries(word: &'static str, place: &str) -> Vec<u64> {
    let letters = life(&mut one(word), "02131000001").into_iter();
    let mut mailbox = Mailbox::default();
    let (_, letter) = letters
        .filter(|(_, letter)| letter.notice.place() == place)
        .last()
        .unwrap();
    mailbox.put(0, letter).unwrap();
    let mut tries = Vec::new();
    while let Some(at_ms) = mailbox.next_ms() {
        assert!(at_ms == 0 || mailbox.take(at_ms - 1).is_none());
        let letter = mailbox.take(at_ms).unwrap();
        tries.push(at_ms);
        let fortune = mailbox.settle(letter, false, at_ms);
        let last = mailbox.next_ms().is_none();
        let expected = if last {
            Fortune::GivenUp
        } else {
            Fortune::Again
        };
        assert_eq!(fortune, expected);
    }
    tries
}

#[test]
fn what_is_not_acknowledged_is_tried_again_in_the_vendors_pattern_and_then_given_up() {
    // A minute lasts a second here.
    let huawei = [0, 1, 5, 14, 120, 323, 623].map(|s| s * 1000);
    assert_eq!(tries("huawei", "events"), huawei);
    assert_eq!(tries("huawei", "bills"), huawei);
    assert_eq!(tries("volcengine", "events"), [0]);
    let bills = [0, 166, 666, 1_666, 3_666, 6_666, 126_666, 246_666];
    assert_eq!(tries("volcengine", "bills"), bills);
    assert_eq!(tries("twilio", "events"), [0]);
}

#[test]
fn what_waits_and_what_is_under_way_is_bounded() {
    let (_, letter) = life(&mut one("huawei"), "02131000001").remove(0);
    let mut mailbox = Mailbox::default();
    for at_ms in 0..10_000 {
        mailbox.put(at_ms, letter.clone()).unwrap();
    }
    assert!(mailbox.put(0, letter.clone()).is_err());
    let taken: Vec<Letter> = std::iter::from_fn(|| mailbox.take(20_000)).collect();
    assert_eq!((taken.len(), mailbox.next_ms()), (64, None));
    let settled = taken
        .into_iter()
        .map(|letter| mailbox.settle(letter, true, 20_000));
    assert!(
        settled
            .collect::<Vec<_>>()
            .iter()
            .all(|f| *f == Fortune::Heard)
    );
    assert_eq!(mailbox.next_ms(), Some(64));
}
