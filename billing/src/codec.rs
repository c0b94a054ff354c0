//! Records as bytes: what the replicated outbox carries and peers send to each other.
//!
//! The only user of bincode in this room. The first byte is the version of what follows: those of
//! calls count from 1, those of platforms' events from 128. bincode knows no field names: a change
//! of [`Cdr`](crate::record::Cdr), [`Axb`](crate::record::Axb), [`PlatformEvent`] or anything in
//! them needs a new version, whose writing the cluster has to agree on first (nodes
//! that apply one log must produce equal bytes). Old versions stay readable.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::event::PlatformEvent;
use crate::record::Record;

/// The version that [`encode`] writes.
pub const VERSION: u8 = 1;
/// The version that [`encode_event`] writes.
pub const EVENT_VERSION: u8 = 128;
/// The version of an [`Entry::Repeat`].
const REPEAT_VERSION: u8 = 192;
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

/// What lies under one number of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An ended call.
    Call(Box<Record>),
    /// What a platform told.
    Event(Box<PlatformEvent>),
    /// A platform's event that lies under the number `first` already. Only peers send these to each
    /// other: in the outbox a repeat is an event like the first one, and the store tells it.
    Repeat {
        /// Where it lies.
        first: u64,
    },
}

impl Entry {
    /// As bytes. Those made of [`close`](crate::usage::close) and by the bounds of
    /// [`PlatformEvent`] always fit.
    pub fn encode(&self) -> Result<Bytes, CodecError> {
        match self {
            Entry::Call(record) => encode(record),
            Entry::Event(event) => encode_event(event),
            Entry::Repeat { first } => written(REPEAT_VERSION, first),
        }
    }

    /// What the bytes hold.
    pub fn decode(bytes: &[u8]) -> Result<Entry, CodecError> {
        Ok(match bytes.first() {
            Some(&EVENT_VERSION) => Entry::Event(Box::new(read(bytes)?)),
            Some(&REPEAT_VERSION) => Entry::Repeat {
                first: read(bytes)?,
            },
            _ => Entry::Call(Box::new(decode(bytes)?)),
        })
    }
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<BYTES_MAX>()
}

/// A record as bytes. Those of [`close`](crate::usage::close) always fit; one assembled by other
/// means with texts beyond its bounds is refused.
pub fn encode(record: &Record) -> Result<Bytes, CodecError> {
    written(VERSION, record)
}

/// A platform's event as bytes.
pub fn encode_event(event: &PlatformEvent) -> Result<Bytes, CodecError> {
    written(EVENT_VERSION, event)
}

fn written<T: Serialize>(version: u8, value: &T) -> Result<Bytes, CodecError> {
    let mut bytes = Vec::with_capacity(384);
    bytes.push(version);
    bincode::serde::encode_into_std_write(value, &mut bytes, config())
        .expect("a record has no part that bincode refuses and memory takes every write");
    if bytes.len() > BYTES_MAX {
        return Err(CodecError::TooLong(bytes.len()));
    }
    Ok(bytes.into())
}

/// The record of a call that the bytes hold.
pub fn decode(bytes: &[u8]) -> Result<Record, CodecError> {
    match bytes.first() {
        Some(&version) if version != VERSION && bytes.len() <= BYTES_MAX => {
            Err(CodecError::Version(version))
        }
        _ => read(bytes),
    }
}

/// What stands behind the version.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > BYTES_MAX {
        return Err(CodecError::TooLong(bytes.len()));
    }
    let (_, body) = bytes.split_first().ok_or(CodecError::Empty)?;
    let (value, read) =
        bincode::serde::decode_from_slice(body, config()).map_err(CodecError::Malformed)?;
    match body.len() - read {
        0 => Ok(value),
        more => Err(CodecError::Trailing(more)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::EventKind;
    use crate::money::Money;
    use crate::rating::Rate;
    use crate::record::Handle;
    use crate::time::Time;
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
                binding_id: Some(300),
                handle: Handle::new([("id", "fe12")]),
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
        3342fca00302000d1b01fb2c010769643d66653132\
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

    /// An event with every field set to something of its own.
    fn full_event() -> PlatformEvent {
        let at = |n: u64| Time::from_ms(1_763_762_400_000 + n);
        PlatformEvent {
            received_at: at(9),
            interface_name: "hz-1".into(),
            kind: EventKind::Bill,
            a_number: "A".into(),
            x_number: "X".into(),
            b_number: "B".into(),
            at: Some(at(0)),
            started_at: Some(at(1)),
            ringing_at: None,
            answered_at: Some(at(2)),
            ended_at: Some(at(3)),
            duration_ms: Some(61_000),
            cost: Some(Money::from_micros(-7)),
            cause: "31".into(),
            recording: "https://r/1".into(),
            platform_call_id: "c1".into(),
            own_id: "300".into(),
            handle: Handle::new([("id", "fe12")]),
            callback: "bills".into(),
            key: "bill\nc1".into(),
            node: "dev-1".into(),
        }
    }

    /// What release 0.1 wrote for [`full_event`].
    const EVENT_V1: &str = "\
        80fd096b6ea89a01000004687a2d310501410158014201fd006b6ea89a01000001fd016b6ea89a01\
        00000001fd026b6ea89a01000001fd036b6ea89a01000001fb48ee010d0233310b68747470733a2f\
        2f722f31026331033330300769643d666531320562696c6c730762696c6c0a6331056465762d31\
        ";

    #[test]
    fn events_are_written_and_read_as_ever() {
        let entry = Entry::Event(Box::new(full_event()));
        assert_eq!(hex(&entry.encode().expect("short enough")), EVENT_V1);
        assert_eq!(Entry::decode(&unhex(EVENT_V1)).expect("an event"), entry);
        let call = Entry::Call(Box::new(full()));
        assert_eq!(Entry::decode(&unhex(V1)).expect("a call"), call);
        let repeat = Entry::Repeat { first: 300 };
        let bytes = repeat.encode().expect("short");
        assert_eq!(hex(&bytes), "c0fb2c01");
        assert_eq!(Entry::decode(&bytes).expect("a repeat"), repeat);
        assert!(matches!(
            decode(&unhex(EVENT_V1)),
            Err(CodecError::Version(128))
        ));
        assert!(matches!(Entry::decode(&[]), Err(CodecError::Empty)));
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
            Object(map) => {
                if let Some(handle) = map.get_mut("handle") {
                    let id = "x".repeat(Handle::BYTES_MAX - 10);
                    *handle = Handle::new([("id", &*id)]).to_string().into();
                }
                map.values_mut().for_each(|value| fill(value, text));
            }
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
            for version in [EVENT_VERSION, REPEAT_VERSION] {
                let _ = Entry::decode(&[&[version], bytes.as_slice()].concat());
            }
        }
    }
}
