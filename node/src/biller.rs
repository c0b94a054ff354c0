//! The border between the replicated state and billing: facts and rates go over, charges and the record come back.

use tandem_billing::money::Money;
use tandem_billing::rating::{self, Rate};
use tandem_billing::record::Handle;
use tandem_billing::usage::{self, AxbMode, EndReason as BilledReason, EndedBy as BilledBy};
use tandem_cluster::command::{Biller, Closing, EndedBy, Rated, Slice, Usage};
use tandem_cluster::entity::{FeeRate, Micros};

/// Billing's arithmetic for the replicated state. Pure and alike on all nodes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arithmetic;

impl Biller for Arithmetic {
    fn close(&self, usage: &Usage) -> Closing {
        let closing = usage::close(&usage_of(usage));
        let charges = closing
            .charges
            .into_iter()
            .map(|(account, fee)| {
                (
                    u32::try_from(account).expect("came from a 32-bit id"),
                    fee.micros(),
                )
            })
            .collect();
        let record = match tandem_billing::codec::encode(&closing.record) {
            Ok(bytes) => bytes.to_vec(),
            // Every text of a record is cut by billing, so it always fits.
            Err(error) => unreachable!("a record cannot be encoded: {error}"),
        };
        Closing { charges, record }
    }

    fn slice(&self, rate: &FeeRate, from_secs: u32, available: Micros) -> Option<Slice> {
        let rate = rate_of(rate);
        let available = Money::from_micros(available);
        let slice = if from_secs == 0 {
            rating::first_slice(&rate, available)?
        } else {
            rating::slice(&rate, from_secs, available)?
        };
        // Whether more can be had is known when it is asked for: other calls may give money back meanwhile.
        Some(Slice {
            upto_secs: slice.upto_s,
            cost: slice.cost.micros(),
            last: false,
        })
    }

    fn longest(&self, rate: &FeeRate, available: Micros) -> Option<u32> {
        rating::longest(&rate_of(rate), Money::from_micros(available))
    }
}

fn usage_of(usage: &Usage) -> usage::Usage {
    usage::Usage {
        call: usage.call.0,
        flow_no: usage.call.0,
        node: usage.node.clone(),
        caller_access: usage.caller_access.clone(),
        caller: usage.caller.clone(),
        caller_out: usage.caller_out.clone(),
        callee_access: usage.callee_access.clone(),
        callee: usage.callee.clone(),
        callee_out: usage.callee_out.clone(),
        caller_gateway: usage.mapping_gateway.clone(),
        callee_gateway: usage.routing_gateway.clone(),
        caller_ip: usage.caller_ip.parse().ok(),
        callee_ip: usage.callee_ip.parse().ok(),
        started_ms: usage.started_at,
        answered_ms: heard_at(usage),
        ended_ms: usage.ended_at,
        pdd_ms: usage.pdd_ms,
        codec: usage.codec.clone(),
        sip_call_id: usage.sip_call_id.clone(),
        end_reason: reason_of(usage),
        ended_by: match usage.by {
            EndedBy::Caller => BilledBy::Caller,
            EndedBy::Callee => BilledBy::Callee,
            EndedBy::Server => BilledBy::Server,
        },
        sip_code: usage.reason.sip.unwrap_or(0),
        q850_cause: usage.reason.q850.unwrap_or(0),
        axb: usage.axb.as_ref().map(|axb| usage::AxbUsage {
            a: axb.a.clone(),
            x: axb.x.clone(),
            b: axb.b.clone(),
            b_submitted: axb.b_submitted.clone(),
            interface: axb.interface.clone(),
            a_group: axb.a_group.clone(),
            mode: match axb.binding {
                Some(_) => AxbMode::Axb,
                None => AxbMode::Ax,
            },
            binding_id: axb.binding,
            handle: Handle::new(axb.handle.iter().map(|(name, value)| (&**name, &**value))),
        }),
        customer: usage.customer.as_ref().map(rated_of),
        landing: usage.landing.as_ref().map(rated_of),
        axb_rated: usage.axb_settlement.as_ref().map(rated_of),
    }
}

/// When the caller heard an answer, if it did. The state may have one that came too late for it: the caller, or the callee
/// itself, left while the answer was being replicated. Such a call was not answered.
fn heard_at(usage: &Usage) -> Option<u64> {
    let unheard = matches!(
        reason_of(usage),
        BilledReason::Cancelled | BilledReason::NoAnswer
    );
    usage.answered_at.filter(|_| !unheard)
}

fn reason_of(usage: &Usage) -> BilledReason {
    usage.reason.key.parse().unwrap_or(BilledReason::Other {
        sip: usage.reason.sip.unwrap_or(0),
        q850: usage.reason.q850.unwrap_or(0),
    })
}

fn rated_of(rated: &Rated) -> usage::Rated {
    usage::Rated {
        account: u64::from(rated.account),
        account_number: rated.account_number.clone(),
        account_name: rated.account_name.clone(),
        rate: rate_of(&rated.rate),
    }
}

fn rate_of(rate: &FeeRate) -> Rate {
    Rate {
        prefix: rate.prefix.clone(),
        fee: Money::from_micros(rate.fee),
        period_s: rate.period.max(1),
        sections: rate
            .sections
            .iter()
            .map(|s| rating::Section {
                fee: Money::from_micros(s.fee),
                secs: s.secs,
            })
            .collect(),
        locked: rate.locked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_billing::codec::Entry;
    use tandem_cluster::command::{CallId, EndReason};

    fn usage(key: &str, answered_at: Option<u64>, ended_at: u64) -> Usage {
        let rate = FeeRate {
            group: String::new(),
            prefix: "1".into(),
            area_code: String::new(),
            area_name: String::new(),
            level: 0,
            fee: 100_000,
            period: 60,
            locked: false,
            sections: Vec::new(),
        };
        Usage {
            call: CallId::new(1, 1),
            node: String::new(),
            caller_access: String::new(),
            caller: String::new(),
            caller_out: String::new(),
            callee_access: String::new(),
            callee: String::new(),
            callee_out: String::new(),
            mapping_gateway: String::new(),
            routing_gateway: String::new(),
            caller_ip: String::new(),
            callee_ip: String::new(),
            sip_call_id: String::new(),
            started_at: 1_000,
            answered_at,
            ended_at,
            pdd_ms: None,
            codec: String::new(),
            reason: EndReason {
                key: key.into(),
                sip: None,
                q850: None,
            },
            by: EndedBy::Caller,
            axb: None,
            customer: Some(Rated {
                account: 1,
                account_number: "c1".into(),
                account_name: String::new(),
                rate,
            }),
            landing: None,
            axb_settlement: None,
        }
    }

    #[test]
    fn an_answer_that_the_caller_never_heard_is_none() {
        for (key, answered_at, ended_at, heard, fee) in [
            ("normal", Some(5_000), 6_000, true, 100_000),
            ("cancelled", None, 6_000, false, 0),
            // The state has an answer for whose sake the call would have outlived its node.
            ("cancelled", Some(5_000), 5_000, false, 0),
            ("no_answer", Some(5_000), 5_000, false, 0),
            // Of a call that its node has lost nobody knows whether the caller heard; it talked for no moment.
            ("node_failure", Some(5_000), 5_000, true, 0),
        ] {
            let closing = Arithmetic.close(&usage(key, answered_at, ended_at));
            let Ok(Entry::Call(record)) = Entry::decode(&closing.record) else {
                panic!("no record");
            };
            let found = (record.cdr.answered_at.is_some(), record.cdr.fee.micros());
            assert_eq!(found, (heard, fee), "{key} {answered_at:?}");
        }
    }
}
