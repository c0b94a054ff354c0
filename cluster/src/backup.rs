//! A backup: the replicated state of one moment in a file, with the records that had left it by then if they are
//! wanted.
//!
//! `TNDM-BAK`, then frames of `[kind u8][length u32][crc u32] body`, little endian, the checksum over kind and body:
//! first an [`About`], then the state in parts, then records, and an end that counts the frames. What has no end, or a
//! frame that does not fit its checksum, is no backup.

use crate::codec;
use crate::level::{self, Level, SPOKEN, TooNew};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

const MAGIC: &[u8; 8] = b"TNDM-BAK";
/// Version of the layout.
pub const FORMAT: u16 = 1;
/// Parts of the state are this large.
const PART: usize = 1 << 20;
/// Largest body of a frame.
const FRAME_MAX: usize = 8 << 20;

const ABOUT: u8 = 1;
const STATE: u8 = 2;
const RECORDS: u8 = 3;
const END: u8 = 4;

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// [`FORMAT`]; it and the level first, so that every release can read them.
    pub format: u16,
    /// Of the state's bytes.
    pub level: Level,
    /// The cluster.
    pub cluster: String,
    /// Version of the program that wrote it.
    pub version: String,
    /// When, milliseconds since 1970.
    pub at: u64,
    /// Entries that had been applied.
    pub applied: u64,
    /// Hash of the state.
    pub state_hash: u64,
    /// Number of the last record that is no longer in the state; those up to it are in the backup, or left out.
    pub recorded: u64,
    /// They are in the backup.
    pub records: bool,
}

/// Why a file is no backup that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Reading or writing failed.
    #[error("backup cannot be read or written")]
    Io(#[from] io::Error),
    /// It is something else, or is damaged or cut short.
    #[error("no sound backup: {0} at byte {1}")]
    Damaged(&'static str, u64),
    /// A newer program wrote it.
    #[error("backup has format {0}, this release reads {FORMAT}")]
    Format(u16),
    /// Likewise.
    #[error(transparent)]
    TooNew(#[from] TooNew),
}

/// Writes a backup in order: about, state, records, end.
pub struct Writer<W: Write> {
    out: W,
    frames: u64,
    mark: crc32fast::Hasher,
    part: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins one.
    pub fn new(mut out: W, about: &About) -> Result<Self, BackupError> {
        out.write_all(MAGIC)?;
        let mut writer = Writer {
            out,
            frames: 0,
            mark: crc32fast::Hasher::new(),
            part: Vec::new(),
        };
        let body = codec::encode(about).expect("numbers and strings always encode");
        writer.frame(ABOUT, &body)?;
        Ok(writer)
    }

    /// The state.
    pub fn state<S: Serialize>(&mut self, state: &S) -> Result<(), BackupError> {
        codec::encode_to(state, &mut Parts(self))
            .map_err(|error| io::Error::other(error.to_string()))?;
        let part = std::mem::take(&mut self.part);
        if !part.is_empty() {
            self.frame(STATE, &part)?;
        }
        Ok(())
    }

    /// Further records with their numbers, in order.
    pub fn records<B: AsRef<[u8]>>(&mut self, records: &[(u64, B)]) -> Result<(), BackupError> {
        let records: Vec<(u64, &[u8])> = records
            .iter()
            .map(|(number, bytes)| (*number, bytes.as_ref()))
            .collect();
        for some in records.chunks(256) {
            let body = codec::encode(some).expect("numbers and bytes always encode");
            self.frame(RECORDS, &body)?;
        }
        Ok(())
    }

    /// Ends it.
    pub fn finish(mut self) -> Result<W, BackupError> {
        let frames = self.frames.to_le_bytes();
        self.frame(END, &frames)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn frame(&mut self, kind: u8, body: &[u8]) -> Result<(), BackupError> {
        let crc = checksum(kind, body);
        self.out.write_all(&[kind])?;
        self.out.write_all(&(body.len() as u32).to_le_bytes())?;
        self.out.write_all(&crc.to_le_bytes())?;
        self.out.write_all(body)?;
        self.mark.update(&crc.to_le_bytes());
        self.frames += 1;
        Ok(())
    }
}

fn checksum(kind: u8, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[kind]);
    crc.update(body);
    crc.finalize()
}

/// Cuts what is written into frames.
struct Parts<'w, W: Write>(&'w mut Writer<W>);

impl<W: Write> Write for Parts<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.part.extend_from_slice(bytes);
        if self.0.part.len() >= PART {
            let part = std::mem::take(&mut self.0.part);
            self.0.frame(STATE, &part).map_err(io::Error::other)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What comes out of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The next bytes of the encoded state.
    State(Vec<u8>),
    /// Records with their numbers, in order.
    Records(Vec<(u64, Vec<u8>)>),
    /// All of it was read and is sound; the mark tells this backup from others and is never 0.
    End(u64),
}

/// Reads a backup.
pub struct Reader<R: Read> {
    input: R,
    at: u64,
    frames: u64,
    mark: crc32fast::Hasher,
}

impl<R: Read> Reader<R> {
    /// Reads the beginning.
    pub fn open(input: R) -> Result<(About, Self), BackupError> {
        let mut reader = Reader {
            input,
            at: 0,
            frames: 0,
            mark: crc32fast::Hasher::new(),
        };
        let mut magic = [0; 8];
        reader.fill(&mut magic)?;
        if &magic != MAGIC {
            return Err(BackupError::Damaged("it does not begin as one", 0));
        }
        let (kind, body) = reader.frame()?;
        let unknown = BackupError::Damaged("it does not say what it is of", 8);
        // A newer one may go on in other ways.
        let (format, level) = match (kind, codec::decode_front::<(u16, Level)>(&body)) {
            (ABOUT, Ok(first)) => first,
            _ => return Err(unknown),
        };
        if format != FORMAT {
            return Err(BackupError::Format(format));
        }
        level::check(|| "backup".to_owned(), level, SPOKEN)?;
        match codec::decode(&body) {
            Ok(about) => Ok((about, reader)),
            Err(_) => Err(unknown),
        }
    }

    /// The next piece; nothing comes after [`Piece::End`].
    pub fn next_piece(&mut self) -> Result<Piece, BackupError> {
        let begin = self.at;
        let damaged = |what| BackupError::Damaged(what, begin);
        let frames = self.frames;
        let (kind, body) = self.frame()?;
        match kind {
            STATE => Ok(Piece::State(body)),
            RECORDS => codec::decode(&body)
                .map(Piece::Records)
                .map_err(|_| damaged("records cannot be read")),
            END if body == frames.to_le_bytes() => {
                let mark = u64::from(self.mark.clone().finalize()) << 32 | (frames & 0xffff_ffff);
                Ok(Piece::End(mark | 1))
            }
            END => Err(damaged("a part is missing")),
            _ => Err(damaged("a part of unknown kind")),
        }
    }

    fn frame(&mut self) -> Result<(u8, Vec<u8>), BackupError> {
        let begin = self.at;
        let damaged = |what| BackupError::Damaged(what, begin);
        let mut head = [0; 9];
        self.fill(&mut head)?;
        let number =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (length, crc) = (number(1) as usize, number(5));
        if length > FRAME_MAX {
            return Err(damaged("a part is too large"));
        }
        let mut body = vec![0; length];
        self.fill(&mut body)?;
        if checksum(head[0], &body) != crc {
            return Err(damaged("a checksum differs"));
        }
        self.mark.update(&crc.to_le_bytes());
        self.frames += 1;
        Ok((head[0], body))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        match self.input.read_exact(bytes) {
            Ok(()) => {
                self.at += bytes.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(BackupError::Damaged("it ends too early", self.at))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Reads all of a backup and answers what it is of, its mark, and the number of its records.
pub fn check(input: impl Read) -> Result<(About, u64, u64), BackupError> {
    let (about, mut reader) = Reader::open(input)?;
    let mut records = 0;
    loop {
        match reader.next_piece()? {
            Piece::State(_) => {}
            Piece::Records(some) => records += some.len() as u64,
            Piece::End(mark) => return Ok((about, mark, records)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> About {
        About {
            format: FORMAT,
            level: 1,
            cluster: "east".into(),
            version: "0.1.0".into(),
            at: 1_763_762_400_000,
            applied: 77,
            state_hash: 5,
            recorded: 3,
            records: true,
        }
    }

    fn sample() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), &about()).expect("is written");
        writer.state(&vec![7_u64; 300_000]).expect("is written");
        let records: Vec<(u64, Vec<u8>)> = (1..=600).map(|n| (n, vec![9; 20])).collect();
        writer.records(&records).expect("is written");
        writer.finish().expect("is written")
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = sample();
        let (read, mut reader) = Reader::open(&bytes[..]).expect("is sound");
        assert_eq!(read, about());
        let (mut state, mut records) = (Vec::new(), Vec::new());
        loop {
            match reader.next_piece().expect("is sound") {
                Piece::State(part) => state.extend(part),
                Piece::Records(some) => records.extend(some),
                Piece::End(mark) => break assert_ne!(mark, 0),
            }
        }
        let state: Vec<u64> = codec::decode(&state).expect("is whole");
        assert_eq!((state.len(), records.len()), (300_000, 600));
    }

    #[test]
    fn every_damage_is_found() {
        let bytes = sample();
        assert!(check(&bytes[..]).is_ok());
        for cut in [0, 7, 8, 12, 60, bytes.len() / 2, bytes.len() - 1] {
            assert!(check(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for at in (0..bytes.len()).step_by(997).chain([0, 8, 9, 13, 17]) {
            let mut other = bytes.clone();
            other[at] ^= 0x10;
            assert!(check(&other[..]).is_err(), "flipped at {at}");
        }
        for (newer, said) in [
            (
                About {
                    level: 3,
                    ..about()
                },
                "backup is of level 3, this node speaks 2: run a newer release on it",
            ),
            (
                About {
                    format: 300,
                    ..about()
                },
                "backup has format 300, this release reads 1",
            ),
        ] {
            let writer = Writer::new(Vec::new(), &newer).expect("is written");
            let bytes = writer.finish().expect("is written");
            let error = check(&bytes[..]).expect_err("is refused");
            assert_eq!(error.to_string(), said);
        }
        let error = check(&b"SQLite format 3\0"[..]).expect_err("is none");
        assert_eq!(
            error.to_string(),
            "no sound backup: it does not begin as one at byte 0"
        );
    }
}
