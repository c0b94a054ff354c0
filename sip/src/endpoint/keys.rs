//! Keys of the tables and everything that must not be guessed: tags, branches, Call-IDs.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hasher};

use bytes::Bytes;

use crate::leg::Token;
use crate::message::{MAGIC_COOKIE, Message, Method, Name};

/// A table by keys that are already hashes.
pub(super) type Table<V> = HashMap<u64, V, BuildHasherDefault<AlreadyHashed>>;

/// Passes a keyed hash through: hashing it again would add nothing.
#[derive(Debug, Default)]
pub(super) struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// Tells the tables of the shard apart, so that equal input gives unrelated keys.
#[derive(Clone, Copy)]
enum Domain {
    Fresh,
    Branch,
    OldBranch,
    Dialog,
    Merged,
    Tag,
}

/// The secret of a shard. Keys are 64-bit hashes under it: nobody outside can build two messages that share one, and
/// by chance two of 100,000 live entries meet once in centuries.
#[derive(Debug)]
pub(super) struct Secret {
    seed: u64,
    drawn: u64,
}

/// Octets of a tag without a token.
pub(super) const TAG_LENGTH: usize = 16;

/// The CANCEL of an INVITE has its branch, and is a transaction of its own.
const CANCEL_BIT: u64 = 1 << 63;

impl Secret {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    fn hasher(&self, domain: Domain) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.seed);
        hasher.write_u8(domain as u8);
        hasher
    }

    /// The next number that cannot be told from those before.
    pub(super) fn draw(&mut self) -> u64 {
        self.drawn += 1;
        let mut hasher = self.hasher(Domain::Fresh);
        hasher.write_u64(self.drawn);
        hasher.finish()
    }

    /// A number from `low` up to and without `high`.
    pub(super) fn draw_between(&mut self, low: u64, high: u64) -> u64 {
        low + self.draw() % (high - low).max(1)
    }

    /// A tag for a new dialog.
    pub(super) fn tag(&mut self, token: Option<&Token>) -> Bytes {
        let random = hex(self.draw());
        match token {
            Some(token) => with_token(&random, token),
            None => Bytes::copy_from_slice(&random),
        }
    }

    /// Names the transaction a received request belongs to, RFC 3261 §17.2.3. ACK is named as its INVITE, and CANCEL
    /// too when `as_invite` is asked for.
    pub(super) fn server_key(&self, request: &Message, as_invite: bool) -> u64 {
        let via = request.top_via();
        let (number, method) = request.cseq();
        let method = match method {
            Method::Ack => b"INVITE",
            Method::Cancel if as_invite => b"INVITE",
            other => other.as_bytes(),
        };
        let mut hasher;
        match via.unique_branch() {
            Some(branch) => {
                hasher = self.hasher(Domain::Branch);
                part(&mut hasher, branch);
            }
            None => {
                // RFC 2543: the whole of Via, target, From tag, Call-ID and CSeq. The To tag is left out, for the ACK
                // has one that the INVITE had not; whose ACK it is the dialog decides.
                hasher = self.hasher(Domain::OldBranch);
                part(&mut hasher, via.head);
                part(&mut hasher, via.params.as_bytes());
                part(&mut hasher, request.uri());
                part(&mut hasher, request.call_id());
                part(&mut hasher, request.from().tag().unwrap_or_default());
                hasher.write_u32(number);
            }
        }
        part_folded(&mut hasher, via.host);
        hasher.write_u16(via.port.unwrap_or(5060));
        part(&mut hasher, method);
        hasher.finish()
    }

    /// Names a request outside dialogs whatever way it took, RFC 3261 §8.2.2.2; `method` is that of its CSeq, or
    /// INVITE to find what an ACK is for.
    pub(super) fn merged_key(&self, request: &Message, method: &Method) -> u64 {
        let mut hasher = self.hasher(Domain::Merged);
        part(&mut hasher, request.call_id());
        part(&mut hasher, request.from().tag().unwrap_or_default());
        hasher.write_u32(request.cseq().0);
        part(&mut hasher, method.as_bytes());
        hasher.finish()
    }

    /// Names a dialog, or all early ones of an INVITE of ours.
    pub(super) fn dialog_key(&self, call_id: &[u8], local_tag: &[u8]) -> u64 {
        let mut hasher = self.hasher(Domain::Dialog);
        part(&mut hasher, call_id);
        part(&mut hasher, local_tag);
        hasher.finish()
    }

    pub(super) fn tag_key(&self, tag: &[u8]) -> u64 {
        let mut hasher = self.hasher(Domain::Tag);
        part(&mut hasher, tag);
        hasher.finish()
    }

    /// A branch for a new request; the number is its key in the table.
    pub(super) fn branch(&mut self) -> (u64, [u8; 23]) {
        let key = self.draw() & !CANCEL_BIT;
        let mut branch = [0; 23];
        branch[..7].copy_from_slice(MAGIC_COOKIE);
        branch[7..].copy_from_slice(&hex(key));
        (key, branch)
    }

    /// The key of the transaction a response belongs to, RFC 3261 §17.1.3; `None` when the branch is none of ours.
    pub(super) fn client_key(response: &Message) -> Option<u64> {
        if response.values(Name::Via).nth(1).is_some() {
            return None;
        }
        let branch = response.top_via().branch?;
        let digits = std::str::from_utf8(branch.get(MAGIC_COOKIE.len()..)?).ok()?;
        let key = u64::from_str_radix(digits, 16)
            .ok()
            .filter(|_| digits.len() == 16)?;
        Some(if *response.method() == Method::Cancel {
            Self::cancel_key(key)
        } else {
            key
        })
    }

    /// The key of the CANCEL of an INVITE.
    pub(super) fn cancel_key(invite: u64) -> u64 {
        invite | CANCEL_BIT
    }
}

/// A tag, or a value that ends in one, with a token behind it.
pub(super) fn with_token(tag: &[u8], token: &Token) -> Bytes {
    let mut whole = Vec::with_capacity(tag.len() + 1 + token.as_bytes().len());
    whole.extend_from_slice(tag);
    whole.push(b'.');
    whole.extend_from_slice(token.as_bytes());
    Bytes::from(whole)
}

/// The token of a tag that looks like one of ours.
pub(super) fn token_of(tag: &[u8]) -> Option<&[u8]> {
    let (random, rest) = tag.split_at_checked(TAG_LENGTH)?;
    let ours = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let token = rest.strip_prefix(b".")?;
    (random.iter().all(ours) && Token::new(token).is_some()).then_some(token)
}

fn part(hasher: &mut DefaultHasher, bytes: &[u8]) {
    hasher.write(bytes);
    hasher.write_u8(0xff);
}

fn part_folded(hasher: &mut DefaultHasher, bytes: &[u8]) {
    for byte in bytes {
        hasher.write_u8(byte.to_ascii_lowercase());
    }
    hasher.write_u8(0xff);
}

/// Sixteen lower-case digits.
pub(super) fn hex(value: u64) -> [u8; 16] {
    let mut text = [0; 16];
    for (at, place) in text.iter_mut().enumerate() {
        let digit = (value >> (60 - 4 * at)) as u8 & 0xf;
        *place = if digit < 10 {
            b'0' + digit
        } else {
            b'a' + digit - 10
        };
    }
    text
}
