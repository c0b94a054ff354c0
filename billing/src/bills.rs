//! What platforms billed against what we rated, call by call. Pure.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::cell::{Cell, Value};
use crate::event::PlatformEvent;
use crate::matching::{By, Calls, Found, span};
use crate::money::Money;
use crate::record::{Row, Serial, Stored, row};
use crate::time::Time;
use crate::usage::UnknownKey;

/// Durations that differ by no more agree: each side cuts or rounds to whole seconds, and answer
/// and hang-up take a moment to cross.
pub const TOLERANCE_SECS: u32 = 2;

/// How a line of the comparison came out; differences sort first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// We have an answered call, the platform has sent no bill for it.
    OnlyOurs,
    /// The platform billed a call that we know nothing of.
    OnlyTheirs,
    /// Both know it; duration or cost differ by more than the tolerance.
    Differs,
    /// Both agree.
    #[default]
    Equal,
}

impl Verdict {
    /// The word for people.
    pub const fn key(self) -> &'static str {
        match self {
            Verdict::OnlyOurs => "only_ours",
            Verdict::OnlyTheirs => "only_theirs",
            Verdict::Differs => "differs",
            Verdict::Equal => "equal",
        }
    }
}

impl FromStr for Verdict {
    type Err = UnknownKey;

    fn from_str(key: &str) -> Result<Verdict, UnknownKey> {
        use Verdict::{Differs, Equal, OnlyOurs, OnlyTheirs};
        let mut all = [OnlyOurs, OnlyTheirs, Differs, Equal].into_iter();
        all.find(|verdict| verdict.key() == key)
            .ok_or_else(|| UnknownKey::of(key))
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.key())
    }
}

impl<'de> Deserialize<'de> for Verdict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Verdict, D::Error> {
        let key = String::deserialize(deserializer)?;
        key.parse().map_err(de::Error::custom)
    }
}

row! {
    /// One call as we and the platform have it. What only the other side knows is null.
    pub struct BillRow {
        /// How it came out.
        verdict: Verdict,
        /// Interface.
        interface_name: String,
        /// When the INVITE came; of a bill without a call, when the platform says it began.
        started_at: Time,
        /// A.
        a_number: String,
        /// X.
        x_number: String,
        /// B.
        b_number: String,
        /// From answer to end by our clock, in seconds.
        hold_secs: Option<u32>,
        /// That rounded up by our rate for the platform, in seconds.
        axb_bill_secs: Option<u32>,
        /// What we owe the platform by that rate.
        axb_fee: Option<Money>,
        /// How long the platform says it was connected, in seconds; of several bills their sum.
        platform_secs: Option<u64>,
        /// What the platform says it cost; of several bills their sum. Many send none.
        platform_cost: Option<Money>,
        /// The platform's seconds less ours.
        diff_secs: Option<i64>,
        /// The platform's cost less our fee.
        diff_cost: Option<Money>,
        /// How many bills: a platform that tried B twice may send two.
        bills: u32,
        /// How the bill found the call.
        matched_by: Option<By>,
        /// Another call fits nearly as well.
        ambiguous: bool,
        /// Our record's number.
        flow_no: Option<Serial>,
        /// The platform's name of the call.
        platform_call_id: String,
        /// Where its recording can be fetched.
        recording: String,
    }
}

row! {
    /// Sums of a comparison.
    pub struct BillTotals {
        /// Calls of ours that were answered, or that a bill is about.
        calls: u64,
        /// Bills of platforms.
        bills: u64,
        /// Calls without a bill.
        only_ours: u64,
        /// Bills without a call.
        only_theirs: u64,
        /// Calls whose bills differ.
        differing: u64,
        /// Calls whose bills agree.
        equal: u64,
        /// Calls and bills that may belong elsewhere.
        ambiguous: u64,
        /// Sum of our holds, in seconds.
        hold_secs: u64,
        /// Sum of what we rated.
        axb_fee: Money,
        /// Sum of the platforms' durations, in seconds.
        platform_secs: u64,
        /// Sum of the platforms' costs, as far as they told any.
        platform_cost: Money,
    }
}

/// What still counts as equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// Seconds of duration.
    pub secs: u32,
    /// Cost.
    pub cost: Money,
}

impl Default for Tolerance {
    fn default() -> Tolerance {
        Tolerance {
            secs: TOLERANCE_SECS,
            cost: Money::ZERO,
        }
    }
}

/// Compares the calls that began from `since` up to `until` with the bills about them.
///
/// Both lists must reach beyond the range by what clocks and set-up may take ([`span`]), so that no
/// call at its edge misses its bill: what lies outside is used to match, and not shown. A call that
/// nobody answered and that no bill is about costs nothing on either side and is left out. Lines
/// come with differences first, then by interface and time.
pub fn compare(
    calls: &Calls,
    bills: &[PlatformEvent],
    (since, until): (Time, Time),
    tolerance: Tolerance,
) -> (Vec<BillRow>, BillTotals) {
    let inside = |time: Time| since <= time && time < until;
    let mut of_call: BTreeMap<u64, Vec<(&PlatformEvent, Found<'_>)>> = BTreeMap::new();
    let mut rows = Vec::new();
    for bill in bills {
        match calls.find(bill) {
            Some(found) => of_call
                .entry(found.call.seq)
                .or_default()
                .push((bill, found)),
            None if inside(began(bill)) => rows.push(theirs(bill)),
            None => {}
        }
    }
    for call in calls.all().iter().filter(|call| inside(call.started_at)) {
        let bills = of_call.get(&call.seq).map_or(&[][..], Vec::as_slice);
        if !bills.is_empty() || call.hold_secs > 0 {
            rows.push(ours(call, bills, tolerance));
        }
    }
    rows.sort_by(|one, other| {
        let key = |row: &BillRow| (row.verdict, row.started_at, row.flow_no);
        key(one)
            .cmp(&key(other))
            .then_with(|| one.platform_call_id.cmp(&other.platform_call_id))
    });
    let totals = totals(&rows);
    (rows, totals)
}

/// When the platform says that the call began, or would have had to.
pub fn began(bill: &PlatformEvent) -> Time {
    let connected = bill.connected_ms().unwrap_or(0);
    let answered = || bill.answered_at.or(bill.ringing_at);
    let ended = || {
        let ended = bill.ended_at.or(bill.at)?;
        Some(Time::from_ms(ended.ms().saturating_sub(connected)))
    };
    bill.started_at
        .or_else(answered)
        .or_else(ended)
        .unwrap_or(bill.received_at)
}

fn theirs(bill: &PlatformEvent) -> BillRow {
    BillRow {
        verdict: Verdict::OnlyTheirs,
        interface_name: bill.interface_name.clone(),
        started_at: began(bill),
        a_number: bill.a_number.clone(),
        x_number: bill.x_number.clone(),
        b_number: bill.b_number.clone(),
        platform_secs: bill.connected_ms().map(whole_secs),
        platform_cost: bill.cost,
        bills: 1,
        platform_call_id: bill.platform_call_id.clone(),
        recording: bill.recording.clone(),
        ..BillRow::default()
    }
}

fn ours(
    call: &crate::matching::Call,
    bills: &[(&PlatformEvent, Found<'_>)],
    tolerance: Tolerance,
) -> BillRow {
    let secs = bills.iter().filter_map(|(bill, _)| bill.connected_ms());
    let secs = secs.reduce(u64::saturating_add).map(whole_secs);
    let cost = bills.iter().filter_map(|(bill, _)| bill.cost);
    let cost = cost.reduce(Money::saturating_add);
    let diff_secs = secs.map(|secs| {
        let secs = i64::try_from(secs).unwrap_or(i64::MAX);
        secs.saturating_sub(i64::from(call.hold_secs))
    });
    let diff_cost = cost.map(|cost| cost.saturating_sub(call.axb_fee));
    let off = diff_secs.is_some_and(|diff| diff.unsigned_abs() > u64::from(tolerance.secs))
        || diff_cost.is_some_and(|diff| {
            diff.micros().unsigned_abs() > tolerance.cost.micros().unsigned_abs()
        });
    let first = |text: fn(&PlatformEvent) -> &String| {
        let mut texts = bills.iter().map(|(bill, _)| text(bill));
        texts.find(|text| !text.is_empty()).cloned()
    };
    BillRow {
        verdict: match (bills.is_empty(), off) {
            (true, _) => Verdict::OnlyOurs,
            (false, true) => Verdict::Differs,
            (false, false) => Verdict::Equal,
        },
        interface_name: call.interface_name.clone(),
        started_at: call.started_at,
        a_number: call.a_number.clone(),
        x_number: call.x_number.clone(),
        b_number: call.b_number.clone(),
        hold_secs: Some(call.hold_secs),
        axb_bill_secs: Some(call.axb_bill_secs),
        axb_fee: Some(call.axb_fee),
        platform_secs: secs,
        platform_cost: cost,
        diff_secs,
        diff_cost,
        bills: u32::try_from(bills.len()).unwrap_or(u32::MAX),
        matched_by: bills.first().map(|(_, found)| found.by),
        ambiguous: bills.iter().any(|(_, found)| found.ambiguous),
        flow_no: Some(call.flow_no),
        platform_call_id: first(|bill| &bill.platform_call_id).unwrap_or_default(),
        recording: first(|bill| &bill.recording).unwrap_or_default(),
    }
}

/// Seconds, a begun one whole.
fn whole_secs(ms: u64) -> u64 {
    ms.div_ceil(1_000)
}

fn totals(rows: &[BillRow]) -> BillTotals {
    let mut totals = BillTotals::default();
    for row in rows {
        let count = match row.verdict {
            Verdict::OnlyOurs => &mut totals.only_ours,
            Verdict::OnlyTheirs => &mut totals.only_theirs,
            Verdict::Differs => &mut totals.differing,
            Verdict::Equal => &mut totals.equal,
        };
        *count += 1;
        totals.calls += u64::from(row.flow_no.is_some());
        totals.bills += u64::from(row.bills);
        totals.ambiguous += u64::from(row.ambiguous);
        totals.hold_secs += u64::from(row.hold_secs.unwrap_or(0));
        let secs = row.platform_secs.unwrap_or(0);
        totals.platform_secs = totals.platform_secs.saturating_add(secs);
        let (fee, cost) = (row.axb_fee, row.platform_cost);
        totals.axb_fee = totals.axb_fee.saturating_add(fee.unwrap_or_default());
        totals.platform_cost = totals
            .platform_cost
            .saturating_add(cost.unwrap_or_default());
    }
    totals
}

/// How far the lists of [`compare`] reach beyond its range, in milliseconds: as far as a bill with
/// a moment of the call's set-up may be from its call.
pub fn margin_ms() -> u64 {
    let ringing = PlatformEvent {
        ringing_at: Some(Time::from_ms(u64::MAX / 2)),
        ..PlatformEvent::default()
    };
    let span = span(&ringing);
    span.to - span.from
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;
    use crate::matching::Call;
    use crate::record::Handle;

    const NOON: u64 = 1_763_697_600_000;

    fn noon(secs: u64) -> Time {
        Time::from_ms(NOON + secs * 1_000)
    }

    /// Call `n`: begins `at` seconds after noon, talks for `hold`, and costs a fen a second.
    fn call(n: u64, at: u64, hold: u32) -> Call {
        Call {
            seq: n,
            flow_no: Serial(100 + n),
            interface_name: "hz".into(),
            binding_id: Some(Serial(n)),
            handle: Handle::new([("id", &*n.to_string())]),
            a_number: format!("0210000000{n}"),
            x_number: "17000000001".into(),
            b_number: format!("1380000000{n}"),
            started_at: noon(at),
            answered_at: (hold > 0).then(|| noon(at + 5)),
            ended_at: noon(at + 5 + u64::from(hold)),
            hold_secs: hold,
            axb_bill_secs: hold,
            axb_fee: Money::from_micros(i64::from(hold) * 10_000),
            ..Call::default()
        }
    }

    /// A bill of `secs` about call `n`.
    fn bill(n: u64, at: u64, secs: u64, fen: Option<i64>) -> PlatformEvent {
        PlatformEvent {
            kind: EventKind::Bill,
            interface_name: "hz".into(),
            handle: Handle::new([("id", &*n.to_string())]),
            started_at: Some(noon(at)),
            duration_ms: Some(secs * 1_000),
            cost: fen.map(|fen| Money::from_micros(fen * 10_000)),
            platform_call_id: format!("p{n}"),
            ..PlatformEvent::default()
        }
    }

    #[test]
    fn differences_come_first_and_what_costs_nobody_anything_is_left_out() {
        let calls = Calls::new(vec![
            call(1, 0, 60),
            call(2, 10, 60),
            call(3, 20, 60),
            call(4, 30, 60),
            call(5, 40, 0),
            call(6, 50, 0),
            call(7, 60, 61),
        ]);
        let bills = [
            // Within the tolerance.
            bill(1, 1, 62, Some(60)),
            bill(2, 11, 63, None),
            // As long, and dearer.
            bill(3, 21, 60, Some(61)),
            // Nobody answered, and the platform says so too.
            bill(6, 51, 0, None),
            // Two tries of one call.
            bill(7, 61, 1, Some(1)),
            bill(7, 62, 60, Some(60)),
            bill(9, 100, 33, Some(33)),
        ];
        let range = (noon(0), noon(1_000));
        let (rows, totals) = compare(&calls, &bills, range, Tolerance::default());
        let lines: Vec<String> = rows
            .iter()
            .map(|row| {
                let flow = row.flow_no.map_or(0, |flow| flow.0);
                let (secs, cost) = (row.diff_secs, row.diff_cost.map(Money::micros));
                let word = row.verdict.key();
                format!("{word} {flow} {} {secs:?} {cost:?}", row.bills)
            })
            .collect();
        assert_eq!(
            lines,
            [
                "only_ours 104 0 None None",
                "only_theirs 0 1 None None",
                "differs 102 1 Some(3) None",
                "differs 103 1 Some(0) Some(10000)",
                "equal 101 1 Some(2) Some(0)",
                "equal 106 1 Some(0) None",
                "equal 107 2 Some(0) Some(0)",
            ]
        );
        let sums = BillTotals {
            calls: 6,
            bills: 7,
            only_ours: 1,
            only_theirs: 1,
            differing: 2,
            equal: 3,
            ambiguous: 0,
            hold_secs: 301,
            axb_fee: Money::from_micros(3_010_000),
            platform_secs: 279,
            platform_cost: Money::from_micros(2_150_000),
        };
        assert_eq!(totals, sums);
        let wide = Tolerance {
            secs: 3,
            cost: Money::from_micros(10_000),
        };
        let (_, totals) = compare(&calls, &bills, range, wide);
        assert_eq!((totals.differing, totals.equal), (0, 5));
    }

    #[test]
    fn what_lies_outside_the_range_is_matched_and_not_shown() {
        let calls = Calls::new(vec![call(1, 0, 60), call(2, 100, 60)]);
        // The platform began before our noon, and after our end of the range.
        let bills = [
            bill(1, 0, 60, None),
            bill(2, 99, 60, None),
            bill(8, 200, 5, None),
        ];
        let shown = |range| -> Vec<Option<u64>> {
            let (rows, _) = compare(&calls, &bills, range, Tolerance::default());
            rows.iter()
                .map(|row| row.flow_no.map(|flow| flow.0))
                .collect()
        };
        assert_eq!(shown((noon(0), noon(100))), [Some(101)]);
        assert_eq!(shown((noon(100), noon(200))), [Some(102)]);
        assert_eq!(shown((noon(200), noon(201))), [None]);
        assert_eq!(margin_ms(), 15 * 60_000);
    }

    #[test]
    fn a_bill_tells_its_beginning_by_what_it_has() {
        let nothing = PlatformEvent {
            received_at: noon(500),
            ..PlatformEvent::default()
        };
        let at = |secs| Some(noon(secs));
        assert_eq!(began(&nothing), noon(500));
        let ended = PlatformEvent {
            ended_at: at(100),
            duration_ms: Some(60_000),
            ..nothing.clone()
        };
        assert_eq!(began(&ended), noon(40));
        let answered = PlatformEvent {
            answered_at: at(30),
            ..ended
        };
        assert_eq!(began(&answered), noon(30));
    }
}
