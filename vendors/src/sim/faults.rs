//! What a simulated vendor does wrong on request.

use serde::{Deserialize, Serialize};

use super::log::OPS;
use crate::numbers::to_e164;

/// The faults of one vendor; all off by default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// The answer waits so long; the effect has taken place before. At most 600,000 are kept.
    pub latency_ms: u64,
    /// Share of requests refused with `error_code` and without effect, 0 to 1.
    pub error_rate: f64,
    /// The vendor's code for those; empty: its "internal error".
    pub error_code: String,
    /// Share of requests whose effect takes place but whose connection is cut instead of an
    /// answer, 0 to 1.
    pub drop_reply_rate: f64,
    /// Requests a second beyond which the vendor's throttling code is answered; 0: no limit.
    pub throttle_per_s: u32,
    /// Every connection is closed at once, without effect or answer.
    pub down: bool,
    /// What is bound, in either mode, is bound on this X of any notation and answered so, whatever
    /// X was asked for; empty: off. Whose X it is does not matter.
    pub other_x: String,
    /// The words of the log for which all of the above holds; empty: every one.
    pub ops: Vec<String>,
    /// Nothing is pushed of calls.
    pub no_callbacks: bool,
    /// Each push of a call's events and bill is made twice.
    pub duplicate_callbacks: bool,
    /// Each push waits so long. At most 600,000.
    pub callback_delay_ms: u64,
    /// The answers to pushes are not heard, so that they are repeated.
    pub lose_callback_acks: bool,
    /// Bills of answered calls say 61 seconds too many.
    pub wrong_bills: bool,
    /// Questions are signed with a wrong secret. Of what stands above, vendors that ask know the
    /// latency, which passes before they ask, the share of answers that they do not hear, and
    /// `down`, by which they ask nobody.
    pub bad_proof: bool,
}

impl Faults {
    /// The first field that makes no sense.
    pub fn mistake(&self) -> Option<&'static str> {
        let share = |rate: f64| (0.0..=1.0).contains(&rate);
        if !share(self.error_rate) {
            Some("error_rate is not between 0 and 1")
        } else if !share(self.drop_reply_rate) {
            Some("drop_reply_rate is not between 0 and 1")
        } else if self.latency_ms > 600_000 {
            Some("latency_ms is above 600000")
        } else if self.callback_delay_ms > 600_000 {
            Some("callback_delay_ms is above 600000")
        } else if self.error_code.len() > 64 {
            Some("error_code is longer than 64 bytes")
        } else if !self.other_x.is_empty() && !is_number(&to_e164(&self.other_x)) {
            Some("other_x is no number")
        } else if !self.ops.iter().all(|op| OPS.contains(&op.as_str())) {
            Some("ops names no operation of the log")
        } else {
            None
        }
    }

    /// Whether they hold for an operation.
    pub(super) fn hold_for(&self, op: &str) -> bool {
        self.ops.is_empty() || self.ops.iter().any(|named| named == op)
    }

    /// The X to bind instead, in E.164.
    pub(super) fn instead_of_x(&self) -> Option<String> {
        (!self.other_x.is_empty()).then(|| to_e164(&self.other_x))
    }
}

fn is_number(e164: &str) -> bool {
    let digits = e164.strip_prefix('+').unwrap_or("");
    (5..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
}

/// The faults with the little they remember.
#[derive(Debug, Default)]
pub(super) struct Gate {
    pub(super) faults: Faults,
    second: u64,
    in_second: u32,
}

/// What happens to one request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is served.
    Serve {
        /// Whether the connection is cut instead of answering.
        cut: bool,
    },
    /// It is refused with this code of the vendor, without effect; `None`: throttled.
    Refuse(Option<String>),
}

impl Gate {
    pub(super) fn set(&mut self, faults: Faults) {
        *self = Gate {
            faults,
            ..Gate::default()
        };
    }

    /// The fate of a request; `rolls` are two uniform draws from 0 to 1.
    pub(super) fn fate(&mut self, now_ms: u64, rolls: [f64; 2]) -> Fate {
        let second = now_ms / 1000;
        if self.second != second {
            self.second = second;
            self.in_second = 0;
        }
        self.in_second = self.in_second.saturating_add(1);
        let most = self.faults.throttle_per_s;
        if most > 0 && self.in_second > most {
            return Fate::Refuse(None);
        }
        if rolls[0] < self.faults.error_rate {
            return Fate::Refuse(Some(self.faults.error_code.clone()));
        }
        Fate::Serve {
            cut: rolls[1] < self.faults.drop_reply_rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_one_always_happen_and_rates_of_nought_never() {
        let mut gate = Gate::default();
        assert_eq!(gate.fate(0, [0.0, 0.0]), Fate::Serve { cut: false });
        gate.set(Faults {
            error_rate: 1.0,
            error_code: "7".into(),
            ..Faults::default()
        });
        assert_eq!(gate.fate(0, [0.999, 0.0]), Fate::Refuse(Some("7".into())));
        gate.set(Faults {
            drop_reply_rate: 1.0,
            ..Faults::default()
        });
        assert_eq!(gate.fate(0, [0.0, 0.999]), Fate::Serve { cut: true });
    }

    #[test]
    fn faults_that_make_no_sense_are_named() {
        let json = |text: &str| serde_json::from_str::<Faults>(text).unwrap();
        for (text, mistake) in [
            ("{}", None),
            (
                r#"{"other_x":"17000000000","ops":["bind","ax_bind"]}"#,
                None,
            ),
            (r#"{"other_x":"+8617000000000"}"#, None),
            (r#"{"other_x":"x"}"#, Some("other_x is no number")),
            (
                r#"{"ops":["rebind"]}"#,
                Some("ops names no operation of the log"),
            ),
        ] {
            assert_eq!(json(text).mistake(), mistake, "{text}");
        }
        let only = json(r#"{"down":true,"ops":["set_callee"]}"#);
        assert!(only.hold_for("set_callee") && !only.hold_for("bind"));
        assert!(Faults::default().hold_for("bind"));
    }

    #[test]
    fn the_throttle_counts_by_the_second() {
        let mut gate = Gate::default();
        gate.set(Faults {
            throttle_per_s: 2,
            ..Faults::default()
        });
        let fates: Vec<_> = [0, 10, 20, 1000]
            .map(|ms| matches!(gate.fate(ms, [1.0, 1.0]), Fate::Serve { .. }))
            .into();
        assert_eq!(fates, [true, true, false, true]);
    }
}
