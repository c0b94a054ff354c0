//! A plain biller for tests and benches of rooms that run the state without `billing`.

use crate::command::{Biller, Closing, Rated, Slice, Usage};
use crate::entity::{FeeRate, Micros};

/// Whole periods of at least a minute; sections are ignored. A record is the usage's flow number and its three fees as
/// text.
#[derive(Clone, Copy, Debug, Default)]
pub struct PerPeriod;

impl PerPeriod {
    /// Price of `hold_secs`.
    pub fn fee(rate: &FeeRate, hold_secs: u32) -> Micros {
        rate.fee * Micros::from(hold_secs.div_ceil(rate.period))
    }

    /// Seconds from answer to end, rounded up, a fraction below 50 ms dropped.
    pub fn hold_secs(usage: &Usage) -> u32 {
        let ms = usage
            .answered_at
            .map_or(0, |answered| usage.ended_at.saturating_sub(answered));
        let secs = ms / 1000 + u64::from(ms % 1000 >= 50);
        u32::try_from(secs).unwrap_or(u32::MAX)
    }
}

impl Biller for PerPeriod {
    fn close(&self, usage: &Usage) -> Closing {
        let hold = Self::hold_secs(usage);
        let mut charges = Vec::new();
        let mut record = format!("{} {} {}", usage.call, usage.reason.key, hold);
        for rated in [&usage.customer, &usage.landing, &usage.axb_settlement]
            .into_iter()
            .flatten()
        {
            let Rated { account, rate, .. } = rated;
            let fee = Self::fee(rate, hold);
            charges.push((*account, fee));
            record.push_str(&format!(" {account}:{fee}"));
        }
        Closing {
            charges,
            record: record.into_bytes(),
        }
    }

    fn longest(&self, rate: &FeeRate, available: Micros) -> Option<u32> {
        let periods = available.max(0).checked_div(rate.fee)?;
        let secs = periods.saturating_mul(Micros::from(rate.period));
        Some(u32::try_from(secs).unwrap_or(u32::MAX))
    }

    fn slice(&self, rate: &FeeRate, from_secs: u32, available: Micros) -> Option<Slice> {
        let period = rate.period.max(1);
        let wanted = 60u32.div_ceil(period);
        let covered = if rate.fee <= 0 {
            Micros::from(wanted)
        } else {
            (available / rate.fee).max(0)
        };
        let periods = covered.min(Micros::from(wanted)) as u32;
        if periods == 0 {
            return None;
        }
        let upto_secs = from_secs.checked_add(periods * period)?;
        let cost = rate.fee * Micros::from(periods);
        Some(Slice {
            upto_secs,
            cost,
            last: rate.fee > 0 && available - cost < rate.fee,
        })
    }
}
