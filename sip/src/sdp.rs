//! A light view of session descriptions (RFC 8866), as far as a switch needs it that passes media
//! by: addresses and media lines, whether the call is held, the codec for the call record, and a
//! new version for a description that is sent again. Everything else passes untouched.

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

use crate::message::host_ip;

/// Media lines looked at; those beyond are passed on unseen.
const MEDIA_MAX: usize = 32;

/// Which way media goes, as seen by whoever wrote the description (RFC 8866 section 6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Both ways; also when nothing is said.
    #[default]
    SendRecv,
    /// From the writer only.
    SendOnly,
    /// To the writer only.
    RecvOnly,
    /// Neither way.
    Inactive,
}

impl Direction {
    fn of_attribute(attribute: &[u8]) -> Option<Self> {
        match attribute {
            b"sendrecv" => Some(Self::SendRecv),
            b"sendonly" => Some(Self::SendOnly),
            b"recvonly" => Some(Self::RecvOnly),
            b"inactive" => Some(Self::Inactive),
            _ => None,
        }
    }
}

/// The `o=` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The session id: digits, but not always of 64 bits in the field.
    pub session: &'a [u8],
    /// The version; grows with every change.
    pub version: u64,
    /// The writer's address.
    pub address: &'a [u8],
}

/// One `m=` line and what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Media<'a> {
    /// `audio`, `video`, `image` …
    pub kind: &'a [u8],
    /// The port; 0 means refused or switched off.
    pub port: u16,
    /// `RTP/AVP` and its like.
    pub protocol: &'a [u8],
    /// The formats, separated by blanks, best first.
    pub formats: &'a [u8],
    /// Its own or the session's address.
    pub address: Option<&'a [u8]>,
    /// Its own or the session's direction.
    pub direction: Direction,
    /// The lines below it.
    section: &'a [u8],
}

/// A description, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session<'a> {
    /// The `o=` line, if it can be read.
    pub origin: Option<Origin<'a>>,
    /// The session's own `c=` address.
    pub address: Option<&'a [u8]>,
    /// The media lines, at most 32.
    pub media: SmallVec<[Media<'a>; 2]>,
}

#[derive(Clone, Copy)]
enum Section {
    Session,
    Media,
    Unread,
}

impl<'a> Session<'a> {
    /// Reads a description. `None` for what does not start with `v=0`; lines that make no sense
    /// are passed over.
    #[must_use]
    pub fn parse(sdp: &'a [u8]) -> Option<Self> {
        let mut lines = lines(sdp);
        if lines.next() != Some((b'v', b"0")) {
            return None;
        }
        let mut session = Self {
            origin: None,
            address: None,
            media: SmallVec::new(),
        };
        let mut direction = Direction::default();
        let mut rest = sdp;
        // Whose lines these are: the session's, the last media's, or those of a media line that
        // could not be read and is passed over with all that belongs to it.
        let mut section = Section::Session;
        while let Some((line, after)) = next_line(rest) {
            rest = after;
            let Some((kind, value)) = split(line) else {
                continue;
            };
            match (kind, section) {
                (b'm', _) => {
                    if session.media.len() == MEDIA_MAX {
                        break;
                    }
                    let media = read_media(value, after, (session.address, direction));
                    section = if media.is_some() {
                        Section::Media
                    } else {
                        Section::Unread
                    };
                    session.media.extend(media);
                }
                (b'o', Section::Session) => session.origin = read_origin(value),
                (b'c', Section::Session) => session.address = read_address(value),
                (b'a', Section::Session) => {
                    direction = Direction::of_attribute(value).unwrap_or(direction)
                }
                (b'c' | b'a', Section::Media) => {
                    let Some(media) = session.media.last_mut() else {
                        continue;
                    };
                    if kind == b'c' {
                        media.address = read_address(value).or(media.address);
                    } else {
                        media.direction = Direction::of_attribute(value).unwrap_or(media.direction);
                    }
                }
                _ => {}
            }
        }
        Some(session)
    }

    /// The first audio line that is in use.
    #[must_use]
    pub fn audio(&self) -> Option<&Media<'a>> {
        self.media
            .iter()
            .find(|media| media.kind == b"audio" && media.port != 0)
    }

    /// Whether the writer puts the other side on hold: its audio is sendonly or inactive, or has
    /// the address 0.0.0.0 of RFC 2543. False without audio.
    #[must_use]
    pub fn is_hold(&self) -> bool {
        self.audio().is_some_and(|audio| {
            matches!(audio.direction, Direction::SendOnly | Direction::Inactive)
                || audio
                    .address
                    .and_then(host_ip)
                    .is_some_and(|ip| ip.is_unspecified())
        })
    }

    /// The name of the first audio codec, as `PCMA`; events and comfort noise do not count.
    #[must_use]
    pub fn codec(&self) -> Option<&'a [u8]> {
        let audio = self.audio()?;
        audio
            .formats()
            .filter_map(|format| audio.codec_of(format))
            .find(|name| {
                !name.eq_ignore_ascii_case(b"telephone-event") && !name.eq_ignore_ascii_case(b"CN")
            })
    }
}

impl<'a> Media<'a> {
    /// The formats one by one.
    pub fn formats(&self) -> impl Iterator<Item = &'a [u8]> {
        words(self.formats)
    }

    /// The codec a format stands for: from its `rtpmap`, or the static table of RFC 3551.
    #[must_use]
    pub fn codec_of(&self, format: &[u8]) -> Option<&'a [u8]> {
        let mapped = lines(self.section)
            .take_while(|(kind, _)| *kind != b'm')
            .find_map(|(kind, value)| {
                let map = value.strip_prefix(b"rtpmap:").filter(|_| kind == b'a')?;
                let mut parts = words(map);
                (parts.next() == Some(format))
                    .then(|| parts.next())
                    .flatten()
            });
        match mapped {
            Some(name) => name
                .split(|&b| b == b'/')
                .next()
                .filter(|name| !name.is_empty()),
            None => static_codec(format),
        }
    }
}

/// The same description with a higher version in `o=`, for sending it again after a change or from
/// another node (RFC 3264 section 8). `None` when there is no `o=` line that can be read.
#[must_use]
pub fn with_next_version(sdp: &[u8]) -> Option<Bytes> {
    let version = Session::parse(sdp)?.origin?.version.checked_add(1)?;
    let mut out = BytesMut::with_capacity(sdp.len() + 1);
    let mut rest = sdp;
    let mut done = false;
    while let Some((line, after)) = next_line(rest) {
        let whole = &rest[..rest.len() - after.len()];
        rest = after;
        let Some((b'o', value)) = split(line).filter(|_| !done) else {
            out.put_slice(whole);
            continue;
        };
        done = true;
        out.put_slice(b"o=");
        for (at, word) in words(value).enumerate() {
            if at > 0 {
                out.put_u8(b' ');
            }
            match at {
                2 => out.put_slice(version.to_string().as_bytes()),
                _ => out.put_slice(word),
            }
        }
        out.put_slice(&whole[line.len()..]);
    }
    Some(out.freeze())
}

fn read_origin(value: &[u8]) -> Option<Origin<'_>> {
    let mut words = words(value).skip(1);
    let session = words.next()?;
    let version = decimal(words.next()?)?;
    Some(Origin {
        session,
        version,
        address: words.nth(2)?,
    })
}

/// The address of a `c=` line without the time to live of multicast.
fn read_address(value: &[u8]) -> Option<&[u8]> {
    words(value)
        .nth(2)?
        .split(|&b| b == b'/')
        .next()
        .filter(|address| !address.is_empty())
}

fn read_media<'a>(
    value: &'a [u8],
    section: &'a [u8],
    (address, direction): (Option<&'a [u8]>, Direction),
) -> Option<Media<'a>> {
    let mut words = words(value);
    let kind = words.next()?;
    // `port/count` is legal.
    let port = words
        .next()?
        .split(|&b| b == b'/')
        .next()
        .and_then(decimal)?;
    let protocol = words.next()?;
    let formats = match words.next() {
        // The rest of the line from the first format on; both lie within `value`.
        Some(first) => &value[first.as_ptr() as usize - value.as_ptr() as usize..],
        None => b"",
    };
    Some(Media {
        kind,
        port: u16::try_from(port).ok()?,
        protocol,
        formats,
        address,
        direction,
        section,
    })
}

fn static_codec(format: &[u8]) -> Option<&'static [u8]> {
    Some(match decimal(format)? {
        0 => b"PCMU",
        3 => b"GSM",
        4 => b"G723",
        8 => b"PCMA",
        9 => b"G722",
        13 => b"CN",
        15 => b"G728",
        18 => b"G729",
        31 => b"H261",
        34 => b"H263",
        _ => return None,
    })
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    (!text.starts_with('+'))
        .then(|| text.parse().ok())
        .flatten()
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&b| b == b' ').filter(|word| !word.is_empty())
}

/// The next line without its end, and what follows it.
fn next_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if text.is_empty() {
        return None;
    }
    let (line, after) = match memchr::memchr(b'\n', text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b""[..]),
    };
    Some((line.strip_suffix(b"\r").unwrap_or(line), after))
}

fn split(line: &[u8]) -> Option<(u8, &[u8])> {
    match line {
        [kind, b'=', value @ ..] => Some((*kind, value.strip_suffix(b" ").unwrap_or(value))),
        _ => None,
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (line, after) = next_line(rest)?;
        rest = after;
        Some(line)
    })
    .filter_map(split)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 17 41 IN IP4 192.0.2.3\r\ns=-\r\nc=IN IP4 192.0.2.4\r\nt=0 0\r\n\
        m=audio 49217 RTP/AVP 101 96 8 0\r\na=rtpmap:101 telephone-event/8000\r\na=rtpmap:96 opus/48000/2\r\n\
        a=ptime:20\r\nm=video 3227/2 RTP/AVP 31\r\nc=IN IP6 2001:db8::1\r\na=recvonly\r\n";

    fn held(sdp: &str) -> bool {
        Session::parse(sdp.as_bytes())
            .expect("a description")
            .is_hold()
    }

    #[test]
    fn description_is_read() {
        let session = Session::parse(OFFER.as_bytes()).expect("a description");
        let origin = session.origin.expect("an origin");
        assert_eq!(
            (origin.session, origin.version, origin.address),
            (&b"17"[..], 41, &b"192.0.2.3"[..])
        );
        assert_eq!(session.media.len(), 2);
        let [audio, video] = &session.media[..] else {
            unreachable!()
        };
        assert_eq!(
            (audio.kind, audio.port, audio.protocol),
            (&b"audio"[..], 49217, &b"RTP/AVP"[..])
        );
        assert_eq!(
            audio.formats().collect::<Vec<_>>(),
            [&b"101"[..], b"96", b"8", b"0"]
        );
        assert_eq!(
            (audio.address, audio.direction),
            (Some(&b"192.0.2.4"[..]), Direction::SendRecv)
        );
        assert_eq!(
            (video.port, video.address),
            (3227, Some(&b"2001:db8::1"[..]))
        );
        assert_eq!(video.direction, Direction::RecvOnly);
        assert_eq!(session.codec(), Some(&b"opus"[..]));
        assert!(!session.is_hold());
    }

    #[test]
    fn codec_is_named() {
        let table = [
            ("m=audio 1 RTP/AVP 8 0", Some("PCMA")),
            ("m=audio 1 RTP/AVP 18", Some("G729")),
            (
                "m=audio 1 RTP/AVP 13 101 0\r\na=rtpmap:101 telephone-event/8000",
                Some("PCMU"),
            ),
            (
                "m=audio 1 RTP/AVP 97\r\nm=video 2 RTP/AVP 97\r\na=rtpmap:97 H264/90000",
                None,
            ),
            ("m=audio 0 RTP/AVP 8", None),
            ("m=image 1 udptl t38", None),
            ("", None),
        ];
        for (lines, codec) in table {
            let sdp = format!("v=0\r\n{lines}\r\n");
            let session = Session::parse(sdp.as_bytes()).expect("a description");
            assert_eq!(session.codec(), codec.map(str::as_bytes), "{lines}");
        }
    }

    #[test]
    fn hold_is_seen_in_each_of_its_forms() {
        assert!(held(&OFFER.replace("a=ptime:20", "a=sendonly")));
        assert!(held(&OFFER.replace("a=ptime:20", "a=inactive")));
        assert!(held(&OFFER.replace("t=0 0", "a=sendonly\r\nt=0 0")));
        assert!(held(&OFFER.replace("192.0.2.4", "0.0.0.0")));
        assert!(!held(&OFFER.replace("a=ptime:20", "a=recvonly")));
        assert!(!held(
            &OFFER
                .replace("t=0 0", "a=sendonly\r\nt=0 0")
                .replace("a=ptime:20", "a=sendrecv")
        ));
        assert!(!held(
            &OFFER
                .replace("m=video 3227/2", "m=video x")
                .replace("recvonly", "inactive")
        ));
        assert!(!held("v=0\n"));
    }

    #[test]
    fn version_grows_and_nothing_else_changes() {
        let next = with_next_version(OFFER.as_bytes()).expect("an origin");
        assert_eq!(next, OFFER.replace(" 41 ", " 42 "));
        let bare = OFFER.replace("\r\n", "\n").replace(" 41 ", " 9 ");
        assert_eq!(
            with_next_version(bare.as_bytes()).expect("an origin"),
            bare.replace(" 9 ", " 10 ")
        );
        for none in [
            "",
            "v=0\r\n",
            "v=0\r\no=- 1 x IN IP4 h\r\n",
            "v=0\r\no=- 1 18446744073709551615 IN IP4 h\r\n",
        ] {
            assert_eq!(with_next_version(none.as_bytes()), None);
        }
    }

    #[test]
    fn what_is_no_description_is_not_read() {
        for text in ["", "v=1\r\n", "hello", "o=- 1 1 IN IP4 h\r\nv=0\r\n"] {
            assert_eq!(Session::parse(text.as_bytes()), None);
        }
        let many = format!("v=0\r\n{}", "m=audio 1 RTP/AVP 8\r\n".repeat(100));
        assert_eq!(
            Session::parse(many.as_bytes())
                .expect("a description")
                .media
                .len(),
            MEDIA_MAX
        );
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(text in "(v=0\r?\n)?([vocmast]=[ -~\r]{0,30}\n){0,8}", tail: Vec<u8>) {
            let mut sdp = text.into_bytes();
            sdp.extend(tail);
            if let Some(session) = Session::parse(&sdp) {
                let _ = (session.codec(), session.is_hold());
            }
            if let Some(next) = with_next_version(&sdp) {
                let (old, new) = (Session::parse(&sdp).expect("read"), Session::parse(&next).expect("read"));
                proptest::prop_assert_eq!(old.origin.expect("read").version + 1, new.origin.expect("read").version);
                proptest::prop_assert_eq!(old.media.len(), new.media.len());
            }
        }
    }
}
