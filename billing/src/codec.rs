//! Records as bytes: what the replicated outbox carries and peers send to each other.
//!
//! The only user of bincode in this room. The first byte is the version of what follows. bincode
//! knows no field names: a change of [`Cdr`](crate::record::Cdr), [`Axb`](crate::record::Axb) or
//! anything in them needs a new version, whose writing the cluster has to agree on first (nodes
//! that apply one log must produce equal bytes). Old versions stay readable.

use bytes::Bytes;

use crate::record::Record;

/// The version that [`encode`] writes.
pub const VERSION: u8 = 1;
/// No encoded record is longer, so no reader needs to take more.
pub const BYTES_MAX: usize = 8 * 1024;

/// Why bytes are not a record.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// There is no byte at all.
    #[error("record is empty")]
    Empty,
    /// Longer than [`BYTES_MAX`].
    #[error("record of {0} bytes is too long")]
    TooLong(usize),
    /// Written by a newer release, or not by us.
    #[error("record version {0} is unknown")]
    Version(u8),
    /// The version is known, the rest does not follow it.
    #[error("record is malformed")]
    Malformed(#[source] bincode::error::DecodeError),
    /// A whole record, and something behind it.
    #[error("record has {0} bytes too many")]
    Trailing(usize),
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<BYTES_MAX>()
}

/// A record as bytes. Those of [`close`](crate::usage::close) always fit; one assembled by other
/// means with texts beyond its bounds is refused.
pub fn encode(record: &Record) -> Result<Bytes, CodecError> {
    let mut bytes = Vec::with_capacity(384);
    bytes.push(VERSION);
    bincode::serde::encode_into_std_write(record, &mut bytes, config())
        .expect("a record has no part that bincode refuses and memory takes every write");
    if bytes.len() > BYTES_MAX {
        return Err(CodecError::TooLong(bytes.len()));
    }
    Ok(bytes.into())
}

/// The record that the bytes hold.
pub fn decode(bytes: &[u8]) -> Result<Record, CodecError> {
    if bytes.len() > BYTES_MAX {
        return Err(CodecError::TooLong(bytes.len()));
    }
    let (&version, body) = bytes.split_first().ok_or(CodecError::Empty)?;
    if version != VERSION {
        return Err(CodecError::Version(version));
    }
    let (record, read) =
        bincode::serde::decode_from_slice(body, config()).map_err(CodecError::Malformed)?;
    match body.len() - read {
        0 => Ok(record),
        more => Err(CodecError::Trailing(more)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::money::Money;
    use crate::rating::Rate;
    use crate::usage::{AxbMode, AxbUsage, EndReason, EndedBy, Rated, TEXT_MAX, Usage, close};

    /// A record with every field set to something of its own.
    fn full() -> Record {
        let rated = |account: u64, micros| {
            Some(Rated {
                account,
                account_number: format!("{account}"),
                account_name: format!("account {account}"),
                rate: Rate {
                    prefix: format!("1{account}"),
                    fee: Money::from_micros(micros),
                    period_s: 6,
                    ..Rate::default()
                },
            })
        };
        let mut record = close(&Usage {
            call: u64::MAX,
            flow_no: 1 << 63,
            node: "dev-1".into(),
            caller_access: "C".into(),
            caller: "N".into(),
            caller_out: "A".into(),
            callee_access: "88138".into(),
            callee: "138".into(),
            callee_out: "X".into(),
            caller_gateway: "customer".into(),
            callee_gateway: "platform".into(),
            caller_ip: Some([127, 0, 0, 1].into()),
            callee_ip: Some([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()),
            started_ms: 1_763_762_400_000,
            answered_ms: Some(1_763_762_405_000),
            ended_ms: 1_763_762_466_000,
            pdd_ms: Some(321),
            codec: "PCMA".into(),
            sip_call_id: "a@b".into(),
            end_reason: EndReason::Other { sip: 604, q850: 38 },
            ended_by: EndedBy::Callee,
            sip_code: 0,
            q850_cause: 0,
            axb: Some(AxbUsage {
                a: "A".into(),
                x: "X".into(),
                b: "B".into(),
                b_submitted: "+86B".into(),
                interface: "hz-1".into(),
                a_group: "ga".into(),
                mode: AxbMode::Ax,
            }),
            customer: rated(1, 100_000),
            landing: rated(2, 30_000),
            axb_rated: rated(3, 6_000),
        })
        .record;
        (record.cdr.package_secs, record.cdr.package_fee) = (11, Money::from_micros(12));
        let axb = record.axb.as_mut().expect("set");
        (axb.axb_package_secs, axb.axb_package_fee) = (13, Money::from_micros(-14));
        record
    }

    /// What release 0.1 wrote for [`full`]. Never to be changed: stores of peers and outboxes in
    /// snapshots hold such bytes.
    const V1: &str = "\
        01fd00000000000000800143014e014105383831333803313338015808637573746f6d657208706c\
        6174666f726d01007f000001010120010db8000000000000000000000001fd006b6ea89a01000001\
        fd887e6ea89a010000fdd06c6fa89a0100003d42fcc09121000231310b180131fffb5c02260101fb\
        41010450434d41056465762d31fdffffffffffffffff096163636f756e742031013242fc20120a00\
        fb5c02260361406201014101580142042b38364204687a2d31026761010133096163636f756e7420\
        3342fca00302000d1b\
        ";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digit = |byte: &u8| (*byte as char).to_digit(16).expect("hex") as u8;
        text.as_bytes()
            .chunks(2)
            .map(|pair| digit(&pair[0]) << 4 | digit(&pair[1]))
            .collect()
    }

    #[test]
    fn version_1_is_written_as_ever() {
        assert_eq!(hex(&encode(&full()).expect("short enough")), V1);
    }

    #[test]
    fn bytes_of_version_1_are_read() {
        assert_eq!(decode(&unhex(V1)).expect("a record"), full());
    }

    #[test]
    fn a_record_of_the_longest_texts_fits() {
        let text = "x".repeat(2 * TEXT_MAX);
        let usage: Usage = {
            let mut json = serde_json::to_value(Usage {
                axb: Some(AxbUsage::default()),
                customer: Some(Rated::default()),
                landing: Some(Rated::default()),
                axb_rated: Some(Rated::default()),
                ..Usage::default()
            })
            .expect("json");
            fill(&mut json, &text);
            serde_json::from_value(json).expect("a usage")
        };
        let record = close(&usage).record;
        let bytes = encode(&record).expect("fits");
        assert!(bytes.len() > BYTES_MAX / 2, "{} bytes", bytes.len());
        assert_eq!(decode(&bytes).expect("just written"), record);
    }

    /// Replaces every empty text.
    fn fill(json: &mut serde_json::Value, text: &str) {
        use serde_json::Value::{Array, Object, String};
        match json {
            String(old) if old.is_empty() => *old = text.to_owned(),
            Object(map) => map.values_mut().for_each(|value| fill(value, text)),
            Array(list) => list.iter_mut().for_each(|value| fill(value, text)),
            _ => {}
        }
    }

    #[test]
    fn bytes_that_are_no_record_are_refused_with_a_reason() {
        let good = encode(&full()).expect("short enough");
        let refused = |bytes: &[u8]| decode(bytes).expect_err("no record").to_string();
        assert_eq!(refused(&[]), "record is empty");
        assert_eq!(refused(&[9, 1, 2]), "record version 9 is unknown");
        assert_eq!(
            refused(&[good.as_ref(), &[0]].concat()),
            "record has 1 bytes too many"
        );
        assert_eq!(
            refused(&vec![1; BYTES_MAX + 1]),
            "record of 8193 bytes is too long"
        );
        for cut in 1..good.len() {
            assert_eq!(refused(&good[..cut]), "record is malformed", "{cut}");
        }
        let mut long = full();
        long.cdr.codec = "x".repeat(BYTES_MAX);
        assert!(matches!(encode(&long), Err(CodecError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, flip in any::<(u16, u8)>()) {
            let _ = decode(&bytes);
            let _ = decode(&[&[VERSION], bytes.as_slice()].concat());
            let mut good = encode(&full()).expect("short enough").to_vec();
            let at = flip.0 as usize % good.len();
            good[at] ^= flip.1;
            let _ = decode(&good);
        }
    }
}
