use proptest::prelude::*;

use super::*;
use crate::codec;
use crate::record::Row;

fn money(text: &str) -> Money {
    text.parse().expect("an amount")
}

fn rated(account: u64, fee: &str, period_s: u32) -> Option<Rated> {
    Some(Rated {
        account,
        account_number: format!("s{account}"),
        account_name: format!("name of {account}"),
        rate: Rate {
            prefix: "138".into(),
            fee: money(fee),
            period_s,
            ..Rate::default()
        },
    })
}

/// The example of DOMAIN.md §8: a hold of 61 seconds, rated three times.
fn axb_call() -> Usage {
    Usage {
        call: 7,
        flow_no: 9,
        callee: "13812341234".into(),
        started_ms: 1_000_000,
        answered_ms: Some(1_010_000),
        ended_ms: 1_070_500,
        axb: Some(AxbUsage {
            a: "02100000001".into(),
            x: "17000000001".into(),
            b: "13812341234".into(),
            ..AxbUsage::default()
        }),
        customer: rated(1, "0.10", 60),
        landing: rated(2, "0.03", 60),
        axb_rated: rated(3, "0.006", 6),
        ..Usage::default()
    }
}

#[test]
fn an_axb_call_is_rated_three_times_with_the_same_hold() {
    let closing = close(&axb_call());
    let charges = [(1, "0.20"), (2, "0.06"), (3, "0.066")];
    assert_eq!(closing.charges, charges.map(|(id, fee)| (id, money(fee))));
    let row = closing.record.axb_cdr().expect("it got an (A,X)");
    assert_eq!(
        (
            row.hold_secs,
            row.bill_secs,
            row.landing_bill_secs,
            row.axb_bill_secs
        ),
        (61, 120, 120, 66)
    );
    assert_eq!(
        [row.fee, row.landing_fee, row.axb_fee, row.profit],
        ["0.20", "0.06", "0.066", "0.074"].map(money)
    );
    assert_eq!(
        [&*row.account, &*row.landing_account, &*row.axb_account],
        ["s1", "s2", "s3"]
    );
    assert_eq!(closing.record.cdr.rate_prefix, "138");
}

#[test]
fn an_unanswered_call_costs_nothing_and_has_its_rows() {
    let closing = close(&Usage {
        answered_ms: None,
        end_reason: EndReason::NoAnswer,
        ..axb_call()
    });
    assert_eq!(closing.charges, []);
    let row = closing.record.axb_cdr().expect("it got an (A,X)");
    assert_eq!((row.hold_secs, row.bill_secs, row.fee), (0, 0, Money::ZERO));
    assert_eq!(row.account, "s1", "who would have paid is recorded");
}

#[test]
fn a_call_without_numbers_pays_no_platform() {
    let closing = close(&Usage {
        axb: None,
        ..axb_call()
    });
    let charges = [(1, "0.20"), (2, "0.06")];
    assert_eq!(closing.charges, charges.map(|(id, fee)| (id, money(fee))));
    assert_eq!(closing.record.axb_cdr(), None);
    assert_eq!(closing.record.cdr.landing_fee, money("0.06"));
}

#[test]
fn the_far_ends_codes_are_recorded_whatever_the_reason() {
    let codes = |end_reason| {
        let closing = close(&Usage {
            end_reason,
            sip_code: 486,
            q850_cause: 17,
            ..axb_call()
        });
        let cdr = closing.record.cdr;
        (cdr.end_reason.to_string(), cdr.sip_code, cdr.q850_cause)
    };
    assert_eq!(codes(EndReason::Busy), ("busy".into(), 486, 17));
    let other = EndReason::Other { sip: 604, q850: 0 };
    assert_eq!(codes(other), ("sip_604".into(), 604, 0));
    let other = EndReason::Other { sip: 0, q850: 38 };
    assert_eq!(codes(other), ("q850_38".into(), 0, 38));
}

#[test]
fn every_end_reason_survives_its_text_and_its_bytes() {
    let others = [(604, 0), (0, 38), (500, 41)].map(|(sip, q850)| EndReason::Other { sip, q850 });
    for &reason in EndReason::ALL.iter().chain(&others) {
        let text = reason.to_string();
        let read: EndReason = text.parse().expect("its own text");
        assert_eq!(read.to_string(), text);
        let mut record = close(&axb_call()).record;
        record.cdr.end_reason = reason;
        let bytes = codec::encode(&record).expect("short enough");
        assert_eq!(codec::decode(&bytes).expect("just written"), record);
    }
    assert_eq!(EndReason::ALL.len(), 23);
    assert!("hung_up".parse::<EndReason>().is_err());
    assert!("sip_99999".parse::<EndReason>().is_err());
}

#[test]
fn overlong_texts_are_cut_at_a_character() {
    let closing = close(&Usage {
        caller_access: "中".repeat(TEXT_MAX),
        sip_call_id: "x".repeat(70_000),
        ..axb_call()
    });
    let cdr = closing.record.cdr;
    assert_eq!(cdr.caller_access, "中".repeat(TEXT_MAX / 3));
    assert_eq!(cdr.sip_call_id.len(), TEXT_MAX);
}

#[test]
fn rows_are_printed_with_the_names_of_the_domain_in_its_order() {
    let record = close(&axb_call()).record;
    let cdr = Cdr::columns().join(" ");
    assert!(cdr.starts_with(
        "flow_no caller_access caller caller_out callee_access callee callee_out caller_gateway \
         callee_gateway caller_ip callee_ip started_at answered_at ended_at hold_secs bill_secs \
         fee rate_prefix package_secs package_fee account end_reason end_direction pdd_ms codec \
         node call_id"
    ));
    let axb = crate::AxbCdr::columns().join(" ");
    assert!(axb.starts_with(
        "a_number x_number b_number started_at ended_at hold_secs axb_bill_secs axb_fee \
         landing_bill_secs landing_fee bill_secs fee end_reason end_direction caller_gateway \
         callee_gateway interface_name axb_account axb_account_name landing_account account \
         axb_package_secs axb_package_fee flow_no"
    ));
    let row = record.axb_cdr().expect("it got an (A,X)");
    assert_eq!(
        row.values().join(","),
        "02100000001,17000000001,13812341234,1970-01-01T00:16:40.000Z,1970-01-01T00:17:50.500Z,\
         61,66,0.066,120,0.06,120,0.2,normal,2,,,,s3,name of 3,s2,s1,0,0,9,0.074,\
         1970-01-01T00:16:50.000Z,,,axb,,7,,"
    );
    let json = serde_json::to_value(&row).expect("a row");
    assert_eq!(json["axb_fee"], "0.066");
    assert_eq!(json["flow_no"], "9");
    assert_eq!(json["end_direction"], 2);
    assert_eq!(json["end_reason"], "normal");
    assert_eq!(json["mode"], "axb");
    assert_eq!(
        serde_json::from_value::<crate::AxbCdr>(json).expect("its own"),
        row
    );
    let json = serde_json::to_string(&record.cdr).expect("a row");
    assert!(
        json.starts_with(r#"{"flow_no":"9","caller_access":"""#),
        "{json}"
    );
    assert!(json.contains(r#""caller_ip":null"#), "{json}");
}

proptest! {
    #[test]
    fn profit_is_what_the_three_amounts_leave(
        answered in 0..10_000_000u64, talked in 0..10_000_000u64, fees in prop::array::uniform3(0..1_000_000i64),
    ) {
        let mut usage = axb_call();
        usage.answered_ms = Some(answered);
        usage.ended_ms = answered + talked;
        let rateds = [&mut usage.customer, &mut usage.landing, &mut usage.axb_rated];
        for (rated, fee) in rateds.into_iter().zip(fees) {
            rated.as_mut().expect("set").rate.fee = Money::from_micros(fee);
        }
        let closing = close(&usage);
        let row = closing.record.axb_cdr().expect("it got an (A,X)");
        let micros = [row.fee, row.landing_fee, row.axb_fee].map(Money::micros);
        prop_assert_eq!(row.profit.micros(), micros[0] - micros[1] - micros[2]);
        let charged: i64 = closing.charges.iter().map(|(_, fee)| fee.micros()).sum();
        prop_assert_eq!(charged, micros.iter().sum::<i64>());
    }
}
