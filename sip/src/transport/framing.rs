//! Cutting a stream into messages (RFC 3261 section 18.3) and keep-alives (RFC 5626 section
//! 3.5.1). Pure: bytes in, frames out.

use bytes::{Buf, Bytes, BytesMut};

use crate::message::{Fault, Limits, Rejected, framed_bytes};

/// What a stream holds next.
#[derive(Debug)]
pub enum Framed {
    /// One message with its body, in an allocation of its own.
    Message(Bytes),
    /// A double CRLF between messages: answer with one CRLF.
    Ping,
    /// The stream cannot be cut further. Answer if the rejection has an answer, then close.
    Bad(Rejected),
}

/// Holds what has come of a message. Every byte is looked at once for the end of the head, however
/// small the pieces are that it comes in.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    limits: Limits,
    /// Bytes of `buffer` that hold no end of the head.
    searched: usize,
    /// Length of the message, once its head is there.
    whole: Option<usize>,
    /// One CRLF of a possible ping has been taken.
    half_ping: bool,
    bad: bool,
}

impl Framer {
    /// A framer for one connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            buffer: BytesMut::new(),
            limits,
            searched: 0,
            whole: None,
            half_ping: false,
            bad: false,
        }
    }

    /// Takes bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.bad {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Room for a driver to read into, instead of [`Framer::push`]: about as many bytes as a read
    /// should take at once.
    pub fn room(&mut self) -> &mut BytesMut {
        self.buffer.reserve(READ_BYTES);
        &mut self.buffer
    }

    /// Whether part of a message is waiting for its rest.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next frame; `None` when more bytes are needed. Call until it gives `None`. After
    /// [`Framed::Bad`] there is nothing more.
    pub fn next_frame(&mut self) -> Option<Framed> {
        if self.bad {
            return None;
        }
        if self.searched == 0 && self.whole.is_none() && self.skip_blank_lines() {
            return Some(Framed::Ping);
        }
        if matches!(self.buffer[..], [] | [b'\r']) {
            // Nothing, or half of a blank line between messages.
            return None;
        }
        let whole = match self.whole {
            Some(whole) => whole,
            None => {
                let head = self.head_len()?;
                match head.and_then(|head| framed_bytes(&self.buffer[..head], &self.limits)) {
                    Ok(whole) => *self.whole.insert(whole),
                    Err(rejected) => return Some(self.fail(rejected)),
                }
            }
        };
        if self.buffer.len() < whole {
            return None;
        }
        let message = Bytes::copy_from_slice(&self.buffer[..whole]);
        self.buffer.advance(whole);
        self.whole = None;
        self.searched = 0;
        self.half_ping = false;
        if self.buffer.is_empty() && self.buffer.capacity() > 4 * READ_BYTES {
            // A large message must not leave a large buffer behind on an idle connection.
            self.buffer = BytesMut::new();
        }
        Some(Framed::Message(message))
    }

    /// Takes CRLFs before a message; true at every second one in a row.
    fn skip_blank_lines(&mut self) -> bool {
        loop {
            match self.buffer[..] {
                [b'\r', b'\n', ..] => {
                    self.buffer.advance(2);
                    self.half_ping = !self.half_ping;
                    if !self.half_ping {
                        return true;
                    }
                }
                [b'\n', ..] => self.buffer.advance(1),
                _ => return false,
            }
        }
    }

    /// Length of the head with its blank line: `None` when its end has not come, an error when it
    /// is too long to ever be one.
    fn head_len(&mut self) -> Option<Result<usize, Rejected>> {
        while let Some(found) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
            let lf = self.searched + found;
            match self.buffer[lf + 1..] {
                [b'\n', ..] => return Some(Ok(lf + 2)),
                [b'\r', b'\n', ..] => return Some(Ok(lf + 3)),
                // Not enough to tell; look at this line end again.
                [] | [b'\r'] => {
                    self.searched = lf;
                    return self.overlong();
                }
                _ => self.searched = lf + 1,
            }
        }
        self.searched = self.buffer.len();
        self.overlong()
    }

    fn overlong(&self) -> Option<Result<usize, Rejected>> {
        (self.buffer.len() > self.limits.message_bytes)
            .then(|| Err(Rejected::silent(Fault::MessageTooLarge)))
    }

    fn fail(&mut self, rejected: Rejected) -> Framed {
        self.bad = true;
        self.buffer = BytesMut::new();
        Framed::Bad(rejected)
    }
}

/// Bytes a driver reads at once.
const READ_BYTES: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Framing, Message};

    const HEAD: &str = "OPTIONS sip:b@h SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
        To: <sip:b@h>\r\nCall-ID: i\r\nCSeq: 1 OPTIONS\r\n";

    fn message(length: &str, body: &str) -> String {
        format!("{HEAD}{length}\r\n\r\n{body}")
    }

    /// What comes of a stream that arrives in pieces of `step` bytes: messages as text, `ping`, or
    /// the status and fault that end it.
    fn frames(stream: &[u8], step: usize) -> Vec<String> {
        let mut framer = Framer::new(Limits::DEFAULT);
        let mut out = Vec::new();
        for piece in stream.chunks(step) {
            framer.push(piece);
            while let Some(frame) = framer.next_frame() {
                out.push(match frame {
                    Framed::Message(bytes) => {
                        Message::parse(bytes.clone(), Framing::Stream).expect("a whole message");
                        String::from_utf8_lossy(&bytes).into_owned()
                    }
                    Framed::Ping => "ping".into(),
                    Framed::Bad(rejected) => format!("{:?} {}", rejected.status, rejected.why),
                });
            }
        }
        out
    }

    #[test]
    fn messages_are_cut_wherever_the_stream_is_split() {
        let lengths = [
            "Content-Length: 5",
            "l:5",
            "Content-Length : 5",
            "CONTENT-LENGTH\t:\t05 ",
            "Content-Length:\r\n 5",
            "Content-Length: 5\r\nX: y\r\nl: 5",
        ];
        for length in lengths {
            let one = message(length, "a\r\n\r\n");
            let stream = format!("{one}\r\n{one}\r\n\r\n{one}");
            let wanted = vec![one.clone(), one.clone(), "ping".to_owned(), one.clone()];
            for step in [1, 2, 3, 7, 50, stream.len()] {
                assert_eq!(
                    frames(stream.as_bytes(), step),
                    wanted,
                    "{length} in steps of {step}"
                );
            }
        }
    }

    #[test]
    fn content_length_may_stand_first_of_many_headers() {
        let one = HEAD.replacen("Via", "Content-Length: 3\r\nVia", 1) + "\r\nabc";
        for step in [1, 30, 1_000] {
            assert_eq!(frames(one.as_bytes(), step), [&*one]);
        }
    }

    #[test]
    fn bad_lengths_are_answered_and_end_the_stream() {
        let table = [
            (
                "Content-Length: 18446744073709551615",
                "Some(413) body too large",
            ),
            (
                "Content-Length: 18446744073709551616",
                "Some(400) malformed Content-Length",
            ),
            ("Content-Length: -1", "Some(400) malformed Content-Length"),
            ("Content-Length: +1", "Some(400) malformed Content-Length"),
            ("Content-Length:", "Some(400) malformed Content-Length"),
            ("Content-Length: 1, 1", "Some(400) malformed Content-Length"),
            ("Content-Length: 65536", "Some(413) body too large"),
            (
                "Content-Length: 1\r\nl: 2",
                "Some(400) two different Content-Lengths",
            ),
            ("X: y", "Some(400) no Content-Length on a stream"),
            ("Content Length: 1", "Some(400) header line without a name"),
        ];
        for (length, wanted) in table {
            for step in [1, 1_000] {
                let stream = message(length, "x") + &message("l: 0", "");
                assert_eq!(
                    frames(stream.as_bytes(), step),
                    [wanted.to_owned()],
                    "{length}"
                );
            }
        }
    }

    #[test]
    fn other_protocols_and_endless_heads_end_the_stream_in_silence() {
        assert_eq!(
            frames(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 5),
            ["None start line is not SIP"]
        );
        let endless = "x".repeat(70_000);
        assert_eq!(
            frames(endless.as_bytes(), 1_000),
            ["None message too large"]
        );
        let lines = "a: b\r\n".repeat(12_000);
        assert_eq!(frames(lines.as_bytes(), 1_000), ["None message too large"]);
    }

    #[test]
    fn a_large_message_in_single_bytes_is_not_quadratic() {
        let one = message("Content-Length: 60000", &"x".repeat(60_000));
        let start = std::time::Instant::now();
        assert_eq!(frames(one.as_bytes(), 1).len(), 1);
        // About 60,000 cheap steps; a quadratic framer needs 2 thousand million.
        assert!(start.elapsed().as_secs() < 5);
    }

    #[test]
    fn keep_alives_are_understood_in_pieces() {
        assert_eq!(frames(b"\r\n\r\n", 1), ["ping"]);
        assert_eq!(frames(b"\r\n", 1), Vec::<String>::new());
        assert_eq!(frames(b"\r\n\r\n\r\n\r\n", 3), ["ping", "ping"]);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_streams_never_panic(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..500),
            step in 1_usize..40,
        ) {
            let mut framer = Framer::new(Limits::DEFAULT);
            for piece in bytes.chunks(step) {
                framer.push(piece);
                while framer.next_frame().is_some() {}
            }
        }
    }
}
