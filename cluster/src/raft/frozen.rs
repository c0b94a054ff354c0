//! What nodes say to each other over links, and snapshots as they lie on disk and travel, byte for byte as their level
//! brought them.

use super::batch;
use super::snapshot::Store;
use super::types::{self, Members};
use super::wire;
use crate::codec;
use crate::frozen::Fixtures;
use crate::handle::serve as questions;
use crate::link::{Channel, Frame, FrameCodec, Hello, PROTOCOL, Rejection, Welcome};
use crate::link::{kind, response, take_request};
use crate::wal::record as own;
use crate::wal::{AnyDisk, Identity};
use bytes::{Bytes, BytesMut};
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use tokio_util::codec::{Decoder, Encoder};

const ROOM: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn links_speak_as_their_level_brought_it() {
    links().check();
}

#[test]
fn snapshots_are_written_and_read_as_their_level_brought_them() {
    snapshots().check();
}

#[test]
#[ignore = "writes the fixtures of levels that are in no release yet"]
fn write_fixtures() {
    links().write();
    snapshots().write();
}

fn id(index: u64) -> own::LogId {
    own::LogId {
        term: 3,
        node: 2,
        index,
    }
}

fn vote() -> own::Vote {
    own::Vote {
        term: 7,
        node: 300,
        committed: true,
    }
}

fn members() -> Members {
    Members {
        id: Some(id(4)),
        membership: own::Membership {
            configs: vec![vec![1, 2, 300]],
            nodes: vec![(1, "a:1".into()), (2, "b:2".into()), (300, "c:3".into())],
        },
    }
}

/// A whole frame.
fn framed(kind: u8, body: impl Into<Bytes>) -> Vec<u8> {
    let mut out = BytesMut::new();
    let frame = Frame::new(kind, body);
    let written = FrameCodec::default().encode(frame, &mut out);
    written.expect("is small");
    out.to_vec()
}

fn unframed(bytes: &[u8], kind: u8) -> Bytes {
    let mut bytes = BytesMut::from(bytes);
    let frame = FrameCodec::default().decode(&mut bytes);
    let frame = frame.expect("is a frame").expect("is whole");
    assert!(bytes.is_empty() && frame.kind == kind);
    frame.body
}

/// A frame whose body goes through the codec.
fn coded<T: Serialize + DeserializeOwned + 'static>(
    links: &mut Fixtures,
    name: &str,
    kind: u8,
    body: &T,
) {
    let again = |body: &T| codec::encode(body).expect("encodes");
    links.add(1, name, framed(kind, again(body)), move |bytes| {
        let body: T = codec::decode(&unframed(bytes, kind)).expect("is read for good");
        framed(kind, again(&body))
    });
}

fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL,
        cluster: "east".into(),
        from: 1,
        to: 300,
        channel: Channel::Request,
        level: 2,
        active: 1,
        proof: vec![1],
        disk: 77,
        origin: Some(5),
        founders: vec![1, 2, 300],
    }
}

fn links() -> Fixtures {
    let mut links = Fixtures::new(ROOM, "links");
    let all = vec![
        Channel::Append,
        Channel::Control,
        Channel::Snapshot,
        Channel::Request,
    ];
    links.value(1, "Channel", all);
    coded(&mut links, "hello", kind::HELLO, &hello());
    let welcome = Welcome {
        disk: 78,
        origin: None,
        level: 2,
        active: 1,
    };
    coded(&mut links, "welcome", kind::WELCOME, &welcome);
    let rejection = Rejection {
        lasting: true,
        reason: "no".into(),
    };
    coded(&mut links, "reject", kind::REJECT, &rejection);

    let entry = |index, payload| own::Entry {
        id: id(index),
        payload,
    };
    let normal = batch::encode(1, 258, 3, [Bytes::from_static(b"ab")].iter());
    let entries = [
        entry(5, own::Payload::Blank),
        entry(6, own::Payload::Normal(normal.clone())),
        entry(7, own::Payload::Membership(members().membership)),
    ];
    let append = AppendEntriesRequest {
        vote: types::from_vote(&vote()),
        prev_log_id: Some(types::from_log_id(&id(4))),
        entries: entries
            .map(|entry| types::from_entry(entry).expect("is sound"))
            .to_vec(),
        leader_commit: Some(types::from_log_id(&id(3))),
    };
    let bytes = framed(kind::APPEND, wire::put_append(&append));
    links.add(1, "append", bytes, |bytes| {
        let append = wire::take_append(&unframed(bytes, kind::APPEND)).expect("is read");
        framed(kind::APPEND, wire::put_append(&append))
    });
    for (name, appended) in [
        ("accepted", Ok(Some(types::from_log_id(&id(7))))),
        (
            "conflict",
            Err(StreamAppendError::Conflict(types::from_log_id(&id(6)))),
        ),
        (
            "higher-vote",
            Err(StreamAppendError::HigherVote(types::from_vote(&vote()))),
        ),
    ] {
        let bytes = framed(kind::APPEND_ANSWER, wire::put_appended(&appended));
        links.add(1, name, bytes, |bytes| {
            let body = unframed(bytes, kind::APPEND_ANSWER);
            let appended = wire::take_appended(&body).expect("is read");
            framed(kind::APPEND_ANSWER, wire::put_appended(&appended))
        });
    }
    let last = Some(types::from_log_id(&id(7)));
    let mut request = VoteRequest::new(types::from_vote(&vote()), last);
    request.leadership_transfer = true;
    coded(&mut links, "vote", kind::VOTE, &wire::Vote::new(&request));
    coded(
        &mut links,
        "pre-vote",
        kind::PRE_VOTE,
        &wire::Vote::new(&request),
    );
    let voted = VoteResponse::new(types::from_vote(&vote()), last, true);
    let voted = wire::Voted::new(&voted);
    coded(&mut links, "voted", kind::VOTE_ANSWER, &voted);
    let transfer = TransferLeaderRequest::new(types::from_vote(&vote()), 300, last);
    let transfer = wire::Transfer::new(&transfer);
    coded(&mut links, "transfer", kind::TRANSFER, &transfer);
    let refused: wire::Transferred = Err("no".into());
    coded(&mut links, "transferred", kind::TRANSFER_ANSWER, &refused);
    let begin = wire::SnapshotBegin {
        vote: vote(),
        last: Some(id(7)),
        members: members(),
        bytes: 70_000,
    };
    coded(&mut links, "snapshot", kind::SNAPSHOT, &begin);
    coded(&mut links, "installed", kind::SNAPSHOT_ANSWER, &vote());
    let plain = |links: &mut Fixtures, name: &str, kind, body: &'static [u8]| {
        links.add(1, name, framed(kind, body), move |bytes| {
            framed(kind, unframed(bytes, kind))
        });
    };
    plain(&mut links, "snapshot-part", kind::SNAPSHOT_PART, b"abc");
    plain(&mut links, "snapshot-end", kind::SNAPSHOT_END, b"");
    plain(&mut links, "snapshot-wait", kind::SNAPSHOT_WAIT, b"");

    let commands = [Bytes::from_static(b"ab"), Bytes::from_static(b"c")];
    for (name, question) in [
        ("forward", questions::forward(commands.iter())),
        ("read-index", questions::read_index()),
        ("ping", questions::ping()),
        ("peer", questions::peer(b"abc")),
        ("about", questions::about()),
        ("vote-question", questions::vote()),
    ] {
        let mut body = 300_u64.to_le_bytes().to_vec();
        body.extend_from_slice(&question);
        links.add(1, name, framed(kind::REQUEST, body), move |bytes| {
            let frame = Frame::new(kind::REQUEST, unframed(bytes, kind::REQUEST));
            let (id, asked) = take_request(&frame).expect("is read");
            assert_eq!((id, asked), (300, question.clone()));
            framed(kind::REQUEST, frame.body)
        });
    }
    let answer = |links: &mut Fixtures, name: &str, content: Result<Bytes, String>| {
        let frame = response(300, content);
        links.add(1, name, framed(frame.kind, frame.body), move |bytes| {
            framed(kind::RESPONSE, unframed(bytes, kind::RESPONSE))
        });
    };
    answer(&mut links, "refused", Err("not leader".into()));
    let pong = questions::pong(77, 1_763_762_400_000, 2);
    assert_eq!(questions::take_index(&pong), Some(77));
    assert_eq!(questions::take_clock(&pong), Some(1_763_762_400_000));
    assert_eq!(questions::take_level(&pong), Some(2));
    answer(&mut links, "pong", Ok(pong));
    let vote = questions::put_vote((7, 300));
    assert_eq!(questions::take_vote(&vote), Some((7, 300)));
    answer(&mut links, "vote-answer", Ok(vote));
    let forwarded = questions::put_forwarded(77, &commands);
    let read = questions::take_forwarded(&forwarded);
    assert_eq!(read, Some((77, commands.to_vec())));
    answer(&mut links, "forwarded", Ok(forwarded));
    links.add(1, "entry", normal.to_vec(), |bytes| {
        let read = batch::decode(&Bytes::copy_from_slice(bytes), 1).expect("is read");
        batch::encode(1, read.at, read.seed, read.commands.iter()).to_vec()
    });
    links
}

fn identity() -> Identity {
    Identity {
        cluster: "east".into(),
        node: 1,
    }
}

/// The file of a snapshot.
fn written(level: u8) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (store, _) = Store::open(AnyDisk::default(), dir.path(), &identity()).expect("opens");
    let former = BTreeSet::from([4, 5]);
    let file = store.write(level, Some(id(7)), members(), former, |out| {
        out.write_all(b"the state")
    });
    std::fs::read(file.expect("is written").path).expect("is there")
}

fn snapshots() -> Fixtures {
    let mut snapshots = Fixtures::new(ROOM, "snapshots");
    for level in [1, 2] {
        snapshots.add(level, "snapshot", written(level), move |bytes| {
            let dir = tempfile::tempdir().expect("temporary directory");
            let (store, _) =
                Store::open(AnyDisk::default(), dir.path(), &identity()).expect("opens");
            let name = dir.path().join(format!("{:020}-{:010}-{}.snap", 7, 3, 2));
            std::fs::write(name, bytes).expect("is written");
            let (header, file) = store.newest().expect("is read").expect("is there");
            assert_eq!((header.level, header.last), (level, Some(id(7))));
            assert_eq!((header.members, header.former.len()), (members(), 2));
            assert_eq!(file.load().expect("is sound").1, b"the state");
            written(level)
        });
    }
    snapshots
}

#[test]
fn a_snapshot_of_a_newer_release_is_told_from_damage() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("00000000000000000007-0000000003-2.snap");
    for (level, said) in [
        (
            3,
            "is of level 3, this node speaks 2: run a newer release on it",
        ),
        (2, ""),
    ] {
        std::fs::write(&path, written(level)).expect("is written");
        let opened = Store::open(AnyDisk::default(), dir.path(), &identity());
        match opened {
            Ok(_) => assert_eq!(said, ""),
            Err(error) => assert!(error.to_string().ends_with(said), "{error}"),
        }
    }
    // Another format, whatever its header goes on with.
    let mut bytes = b"TNDM-SNP".to_vec();
    let header = codec::encode(&(2_u16, 1_u8, "else")).expect("encodes");
    bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
    bytes.extend_from_slice(&header);
    std::fs::write(&path, bytes).expect("is written");
    let error = Store::open(AnyDisk::default(), dir.path(), &identity()).expect_err("is refused");
    let text = error.to_string();
    assert!(
        text.ends_with("has format 2, this release reads 1"),
        "{text}"
    );
}
