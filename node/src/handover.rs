//! What another node needs to carry an answered call on, as it lies in the replicated state: both dialogs, and what was
//! last told each far end of the session.
//!
//! The cluster keeps the bytes without reading them; a node that takes a call over reads them here. A version byte
//! stands in front.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tandem_cluster::command::DIALOGS_MAX;
use tandem_sip::dialog::Dialog;
use tandem_sip::leg::Body;

use crate::call::machine::Told;
use crate::codec;

const VERSION: u8 = 1;
/// Stands for `application/sdp`, which nearly every description is.
const SDP: &[u8] = b"";

/// Both far ends of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// Towards the caller.
    pub caller: Far,
    /// Towards the callee.
    pub callee: Far,
}

/// One far end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Far {
    /// Its dialog.
    pub dialog: Dialog,
    /// The last description it was sent; `None` when that is not known or took too much room.
    told: Option<(Bytes, Bytes)>,
}

impl Far {
    /// A far end and what it was last told.
    pub fn new(dialog: Dialog, told: Option<&Body>) -> Self {
        let told = told.map(|body| {
            let plain = body.content_type.eq_ignore_ascii_case(b"application/sdp");
            let kind = if plain { SDP } else { &body.content_type };
            (Bytes::copy_from_slice(kind), body.bytes.clone())
        });
        Far { dialog, told }
    }

    /// The last description it was sent.
    pub fn told(&self) -> Option<Body> {
        let (content_type, bytes) = self.told.clone()?;
        Some(match content_type.is_empty() {
            true => Body::sdp(bytes),
            false => Body {
                content_type,
                bytes,
            },
        })
    }
}

impl Handover {
    /// What was last told both.
    pub fn told(&self) -> Told {
        Told {
            caller: self.caller.told(),
            callee: self.callee.told(),
        }
    }
}

/// Encodes both far ends. Descriptions that would make it too large for the state are left out: the call can be carried
/// on without them.
pub fn encode(mut handover: Handover) -> Vec<u8> {
    let bytes = versioned(&handover);
    if bytes.len() <= DIALOGS_MAX {
        return bytes;
    }
    (handover.caller.told, handover.callee.told) = (None, None);
    versioned(&handover)
}

fn versioned(handover: &Handover) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend(codec::encode(handover));
    bytes
}

/// Reads what [`encode`] wrote; `None` for an unknown version or damaged bytes.
pub fn decode(bytes: &[u8]) -> Option<Handover> {
    match bytes.split_first()? {
        (&VERSION, rest) => codec::decode(rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_sip::transport::Flow;

    fn dialog(call_id: &'static str) -> Dialog {
        let address = |text: &str| text.parse().expect("an address");
        Dialog {
            call_id: Bytes::from_static(call_id.as_bytes()),
            local: Bytes::from_static(b"<sip:b@10.0.0.1>;tag=ours"),
            remote: Bytes::from_static(b"<sip:c@10.0.0.2>;tag=theirs"),
            local_tag: Bytes::from_static(b"ours"),
            remote_tag: Bytes::from_static(b"theirs"),
            target: Bytes::from_static(b"sip:c@10.0.0.2:5060"),
            routes: Vec::new(),
            local_cseq: 7,
            remote_cseq: Some(1),
            initiator: false,
            flow: Flow::udp(address("10.0.0.1:5060"), address("10.0.0.2:5060")),
            takes_update: true,
        }
    }

    fn both(told: &Body) -> Handover {
        Handover {
            caller: Far::new(dialog("a"), Some(told)),
            callee: Far::new(dialog("b"), None),
        }
    }

    #[test]
    fn dialogs_and_descriptions_survive_the_way_through_the_state() {
        for told in [
            Body::sdp("v=0\r\n"),
            Body {
                content_type: Bytes::from_static(b"multipart/mixed;boundary=x"),
                bytes: Bytes::from_static(b"--x"),
            },
        ] {
            let bytes = encode(both(&told));
            assert_eq!(bytes[0], VERSION);
            let read = decode(&bytes).expect("it can be read");
            assert_eq!(read, both(&told));
            assert_eq!((read.caller.told(), read.callee.told()), (Some(told), None));
        }
        assert_eq!(decode(&[9, 0, 0]), None);
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[VERSION]), None);
    }

    #[test]
    fn a_usual_call_takes_little_room() {
        let sdp = "v=0\r\no=- 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\n\
                   m=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";
        let bytes = encode(both(&Body::sdp(sdp)));
        assert!(bytes.len() < 700, "{} bytes", bytes.len());
    }

    #[test]
    fn a_description_that_takes_too_much_room_is_left_out() {
        let bytes = encode(both(&Body::sdp(vec![b'a'; DIALOGS_MAX])));
        assert!(bytes.len() < 500);
        let read = decode(&bytes).expect("it can be read");
        assert_eq!(read.caller.told(), None);
        assert_eq!(read.caller.dialog, dialog("a"));
    }
}
