//! Frames on a byte stream.

use super::FRAME_MAX;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use metrics::Counter;
use std::io;
use tokio_util::codec::{Decoder, Encoder};

/// Kinds of frames. Numbers are never reused.
pub(crate) mod kind {
    pub(crate) const HELLO: u8 = 1;
    pub(crate) const WELCOME: u8 = 2;
    pub(crate) const REJECT: u8 = 3;
    pub(crate) const APPEND: u8 = 10;
    pub(crate) const APPEND_ANSWER: u8 = 11;
    pub(crate) const VOTE: u8 = 12;
    pub(crate) const PRE_VOTE: u8 = 13;
    pub(crate) const VOTE_ANSWER: u8 = 14;
    pub(crate) const TRANSFER: u8 = 15;
    pub(crate) const TRANSFER_ANSWER: u8 = 16;
    pub(crate) const SNAPSHOT: u8 = 20;
    pub(crate) const SNAPSHOT_PART: u8 = 21;
    pub(crate) const SNAPSHOT_END: u8 = 22;
    pub(crate) const SNAPSHOT_ANSWER: u8 = 23;
    pub(crate) const SNAPSHOT_WAIT: u8 = 24;
    pub(crate) const REQUEST: u8 = 30;
    pub(crate) const RESPONSE: u8 = 31;
}

const HEADER: usize = 5;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// One of [`kind`].
    pub(crate) kind: u8,
    /// What it says.
    pub(crate) body: Bytes,
}

impl Frame {
    pub(crate) fn new(kind: u8, body: impl Into<Bytes>) -> Self {
        Frame {
            kind,
            body: body.into(),
        }
    }
}

/// Why no frame could be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("frame of {0} bytes is too large")]
    TooLarge(usize),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads or writes frames, and counts their bytes.
pub(crate) struct FrameCodec {
    passed: Counter,
}

impl Default for FrameCodec {
    fn default() -> Self {
        FrameCodec {
            passed: Counter::noop(),
        }
    }
}

impl FrameCodec {
    /// Counts from here on.
    pub(crate) fn count(&mut self, passed: Counter) {
        self.passed = passed;
    }
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(header) = src.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = header[4];
        if length > FRAME_MAX {
            return Err(FrameError::TooLarge(length));
        }
        if src.len() < HEADER + length {
            // Grown step by step: a lying length alone takes no memory.
            src.reserve((HEADER + length - src.len()).min(1 << 20));
            return Ok(None);
        }
        src.advance(HEADER);
        self.passed.increment((HEADER + length) as u64);
        Ok(Some(Frame {
            kind,
            body: src.split_to(length).freeze(),
        }))
    }
}

impl Encoder<Frame> for FrameCodec {
    type Error = FrameError;

    fn encode(&mut self, frame: Frame, out: &mut BytesMut) -> Result<(), FrameError> {
        if frame.body.len() > FRAME_MAX {
            return Err(FrameError::TooLarge(frame.body.len()));
        }
        out.reserve(HEADER + frame.body.len());
        self.passed.increment((HEADER + frame.body.len()) as u64);
        out.put_u32_le(frame.body.len() as u32);
        out.put_u8(frame.kind);
        out.put_slice(&frame.body);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_survive_any_cutting() {
        let frames = [
            Frame::new(1, &b"abc"[..]),
            Frame::new(2, &b""[..]),
            Frame::new(3, vec![7; 300]),
        ];
        let mut bytes = BytesMut::new();
        for frame in frames.clone() {
            let written = FrameCodec::default().encode(frame, &mut bytes);
            written.expect("encodes");
        }
        for step in 1..bytes.len() {
            let mut buffer = BytesMut::new();
            let mut read = Vec::new();
            for part in bytes.chunks(step) {
                buffer.extend_from_slice(part);
                while let Some(frame) = FrameCodec::default().decode(&mut buffer).expect("decodes")
                {
                    read.push(frame);
                }
            }
            assert_eq!(read, frames);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = FrameCodec::default().decode(&mut buffer) {}
        }
    }
}
