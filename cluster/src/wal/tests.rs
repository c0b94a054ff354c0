//! Recovery: against a model with crashes anywhere, and against damage placed by hand.

use super::appender::{Appender, Recovered};
use super::record::Record;
use super::segment::{self, Facts};
use super::sim::SimDisk;
use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

const DIR: &str = "/data/log";
const SMALL: Settings = Settings {
    segment_bytes: 600,
    extend_bytes: 512,
};

fn identity() -> Identity {
    Identity {
        cluster: "test".into(),
        node: 1,
    }
}

fn open(disk: &SimDisk) -> Result<(Appender, Recovered), WalError> {
    Appender::open(Arc::new(disk.clone()), Path::new(DIR), identity(), SMALL)
}

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let payload = match bytes {
        0 => Payload::Blank,
        n => Payload::Normal(Bytes::from(vec![0x80 | index as u8; n])),
    };
    Entry {
        id: LogId {
            term,
            node: 1,
            index,
        },
        payload,
    }
}

/// What a log must hold after some records.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    facts: Facts,
    entries: BTreeMap<u64, LogId>,
}

impl Model {
    fn next(&self) -> u64 {
        let last = self.entries.keys().next_back().copied();
        last.max(self.facts.purged.map(|id| id.index))
            .map_or(0, |last| last + 1)
    }

    fn apply(&mut self, record: &Record) {
        match record {
            Record::Vote(vote) => self.facts.vote = Some(*vote),
            Record::Committed(id) => self.facts.committed = Some(*id),
            Record::Entry(entry) => {
                self.entries.insert(entry.id.index, entry.id);
            }
            Record::Truncate(from) => drop(self.entries.split_off(from)),
            Record::Purge(id) => {
                self.entries = self.entries.split_off(&(id.index + 1));
                self.facts.purged = self.facts.purged.max(Some(*id));
            }
        }
    }

    fn of(recovered: &Recovered) -> Model {
        let entries = recovered
            .entries
            .iter()
            .map(|(id, _)| (id.index, *id))
            .collect();
        Model {
            facts: recovered.facts,
            entries,
        }
    }
}

/// What one write of a random history holds, made valid against the model when it is drawn.
#[derive(Clone, Debug)]
enum Step {
    Vote,
    Append(Vec<usize>),
    Truncate(u64),
    Purge(u64),
    PurgeBeyond(u64),
    Commit,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Vote),
        6 => prop::collection::vec(0usize..300, 1..5).prop_map(Step::Append),
        1 => (0u64..4).prop_map(Step::Truncate),
        2 => (0u64..6).prop_map(Step::Purge),
        1 => (1u64..9).prop_map(Step::PurgeBeyond),
        1 => Just(Step::Commit),
    ]
}

fn records(step: &Step, term: u64, model: &Model) -> Vec<Record> {
    let next = model.next();
    let first = model.entries.keys().next().copied().unwrap_or(next);
    match step {
        Step::Vote => vec![Record::Vote(Vote {
            term,
            node: 2,
            committed: false,
        })],
        Step::Append(sizes) => {
            let entries = sizes
                .iter()
                .zip(next..)
                .map(|(size, index)| entry(term, index, *size));
            entries.map(Record::Entry).collect()
        }
        Step::Truncate(back) => {
            // What is committed is never taken back.
            let committed = model.facts.committed.map_or(0, |id| id.index + 1);
            let from = next.saturating_sub(*back).max(first).max(committed);
            vec![Record::Truncate(from)]
        }
        Step::Purge(forward) => match model.entries.range(first + forward..).next() {
            Some((_, id)) => vec![Record::Purge(*id)],
            None => vec![Record::Truncate(next)],
        },
        Step::PurgeBeyond(by) => vec![Record::Purge(LogId {
            term,
            node: 1,
            index: next + by,
        })],
        Step::Commit => match model.entries.values().next() {
            Some(id) => vec![Record::Committed(*id)],
            None => vec![Record::Truncate(next)],
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A crash after any number of disk operations leaves what was acknowledged, or that and the batch under way.
    #[test]
    fn crashes_lose_nothing_that_was_acknowledged(
        steps in prop::collection::vec(step(), 1..40),
        cut in 0.0f64..1.0,
        seed in any::<u64>(),
    ) {
        let history = |disk: &SimDisk| -> (Model, Model) {
            let mut model = Model::default();
            let Ok((mut log, _)) = open(disk) else { return (model.clone(), model) };
            for (term, step) in steps.iter().enumerate() {
                let records = records(step, term as u64, &model);
                let mut after = model.clone();
                records.iter().for_each(|record| after.apply(record));
                if log.write(&records).is_err() {
                    return (model, after);
                }
                model = after;
            }
            (model.clone(), model)
        };
        let clean = SimDisk::default();
        let (all, _) = history(&clean);
        let (_, recovered) = open(&clean).expect("a clean log opens");
        prop_assert_eq!(Model::of(&recovered), settled(all));

        let disk = SimDisk::default();
        disk.fail_after((clean.operations() as f64 * cut) as u64);
        let (sure, maybe) = history(&disk);
        let mut state = seed | 1;
        disk.crash(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state & 1 == 0
        });
        let (mut log, recovered) = open(&disk).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let found = Model::of(&recovered);
        prop_assert!(found == settled(sure.clone()) || found == settled(maybe.clone()),
            "found {found:?}, sure {sure:?}, maybe {maybe:?}");
        // It goes on from there, and a second opening agrees.
        let mut after = found.clone();
        for record in records(&Step::Append(vec![40, 200]), 99, &found) {
            after.apply(&record);
            log.write(&[record]).expect("the disk works again");
        }
        drop(log);
        let (_, recovered) = open(&disk).expect("opens again");
        prop_assert_eq!(Model::of(&recovered), settled(after));
    }
}

/// Recovery never reports a commit beyond the last entry.
fn settled(mut model: Model) -> Model {
    let last = model
        .entries
        .values()
        .next_back()
        .copied()
        .or(model.facts.purged);
    model.facts.committed = model.facts.committed.min(last);
    model
}

fn three_batches(disk: &SimDisk) -> Vec<u8> {
    let (mut log, _) = open(disk).expect("opens");
    for index in 0..3 {
        log.write(&[Record::Entry(entry(1, index, 50))])
            .expect("writes");
    }
    disk.bytes(&segment::path(Path::new(DIR), 1))
        .expect("is there")
}

/// Opens a log whose only segment holds `bytes`.
fn open_bytes(bytes: Vec<u8>) -> Result<usize, WalError> {
    let disk = SimDisk::default();
    disk.put(&segment::path(Path::new(DIR), 1), bytes);
    open(&disk).map(|(_, recovered)| recovered.entries.len())
}

#[test]
fn a_tail_torn_at_any_byte_leaves_the_longest_valid_prefix() {
    let bytes = three_batches(&SimDisk::default());
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .expect("not empty")
        + 1;
    let block = 16 + 8 + 1 + 25 + 50;
    let start = end - 3 * block;
    for cut in start..=bytes.len() {
        let whole = ((cut - start) / block).min(3);
        assert_eq!(
            open_bytes(bytes[..cut].to_vec()).expect("opens"),
            whole,
            "cut at {cut}"
        );
        let mut zeroed = bytes.clone();
        zeroed[cut..].fill(0);
        assert_eq!(
            open_bytes(zeroed).expect("opens"),
            whole,
            "zeros from {cut}"
        );
    }
    // Cut within the header: the segment was never in use.
    for cut in 0..start {
        assert_eq!(
            open_bytes(bytes[..cut].to_vec()).expect("opens"),
            0,
            "cut at {cut}"
        );
    }
}

/// The process dies between a write and its sync, and what the next one reads it takes for durable: it is, even if the
/// power goes before anything more is written, or when what is written next lies in another file.
#[test]
fn what_a_restarted_process_has_read_survives_a_loss_of_power() {
    for more in [0, 1] {
        let disk = SimDisk::default();
        let (mut appender, _) = open(&disk).expect("opens");
        let long = Record::Entry(entry(1, 0, SMALL.segment_bytes as usize));
        appender.stage(&[long]).expect("is written");
        drop(appender);
        disk.restart();
        let (mut appender, recovered) = open(&disk).expect("opens");
        assert_eq!(recovered.entries.len(), 1);
        for index in 1..=more {
            let next = Record::Entry(entry(1, index, 10));
            appender.write(&[next]).expect("is durable");
        }
        disk.crash(|| false);
        let (_, recovered) = open(&disk).expect("opens");
        assert_eq!(recovered.entries.len() as u64, 1 + more);
    }
    // A segment that was begun, whose name only the system remembers.
    let (disk, steps) = (SimDisk::default(), 3);
    disk.fail_after(steps);
    assert!(open(&disk).is_err(), "stops before the directory is synced");
    disk.restart();
    let (mut appender, _) = open(&disk).expect("opens");
    let written = appender.write(&[Record::Entry(entry(1, 0, 10))]);
    written.expect("is durable");
    disk.crash(|| false);
    assert_eq!(open(&disk).expect("opens").1.entries.len(), 1);
}

#[test]
fn a_damaged_block_with_sound_ones_behind_it_is_refused() {
    let bytes = three_batches(&SimDisk::default());
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .expect("not empty")
        + 1;
    let block = 16 + 8 + 1 + 25 + 50;
    for at in 0..end - block {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        let refused = open_bytes(bad);
        assert!(
            matches!(
                refused,
                Err(WalError::Corrupt { .. } | WalError::Format { .. })
            ),
            "flipped bit at {at}: {refused:?}"
        );
    }
}

#[test]
fn a_missing_segment_is_refused() {
    let disk = SimDisk::default();
    let (mut log, _) = open(&disk).expect("opens");
    for index in 0..40 {
        log.write(&[Record::Entry(entry(1, index, 100))])
            .expect("writes");
    }
    drop(log);
    disk.remove(&segment::path(Path::new(DIR), 2))
        .expect("is there");
    assert!(matches!(
        open(&disk),
        Err(WalError::Corrupt {
            what: "a segment is missing before this one",
            ..
        })
    ));
}

#[test]
fn another_clusters_or_nodes_log_is_refused() {
    let disk = SimDisk::default();
    three_batches(&disk);
    let open_as = |cluster: &str, node| {
        let identity = Identity {
            cluster: cluster.into(),
            node,
        };
        Appender::open(Arc::new(disk.clone()), Path::new(DIR), identity, SMALL).map(|_| ())
    };
    let text = open_as("other", 1).expect_err("refused").to_string();
    assert_eq!(
        text,
        "log `/data/log/0000000000000001.log` belongs to cluster `test`, not `other`"
    );
    let text = open_as("test", 2).expect_err("refused").to_string();
    assert_eq!(
        text,
        "log `/data/log/0000000000000001.log` belongs to node 1, not 2"
    );
}

#[test]
fn purged_segments_are_unlinked_and_the_vote_survives_them() {
    let disk = SimDisk::default();
    let (mut log, _) = open(&disk).expect("opens");
    let vote = Vote {
        term: 4,
        node: 3,
        committed: true,
    };
    log.write(&[Record::Vote(vote)]).expect("writes");
    for index in 0..40 {
        log.write(&[Record::Entry(entry(1, index, 100))])
            .expect("writes");
    }
    let before = disk.list(Path::new(DIR)).expect("lists").len();
    log.write(&[Record::Purge(LogId {
        term: 1,
        node: 1,
        index: 35,
    })])
    .expect("writes");
    let after = disk.list(Path::new(DIR)).expect("lists").len();
    assert!(
        before > 4 && after <= 3,
        "{before} segments before, {after} after"
    );
    let (_, recovered) = open(&disk).expect("opens");
    assert_eq!(recovered.facts.vote, Some(vote));
    assert_eq!(
        recovered
            .entries
            .iter()
            .map(|(id, _)| id.index)
            .collect::<Vec<_>>(),
        [36, 37, 38, 39]
    );
}

fn wait(call: impl FnOnce(Callback)) -> std::io::Result<()> {
    let (done, result) = mpsc::channel();
    call(Box::new(move |outcome| {
        done.send(outcome).expect("waited for")
    }));
    result.recv().expect("called once")
}

#[test]
fn a_reopened_log_reads_the_same_entries_from_disk() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let open = || {
        Wal::open(
            Arc::new(RealDisk),
            dir.path(),
            identity(),
            Settings::default(),
        )
    };
    let wal = open().expect("opens");
    let entries: Vec<Entry> = (0..100)
        .map(|index| entry(1, index, index as usize * 10))
        .collect();
    wait(|done| wal.append(entries.clone(), done).expect("continues")).expect("durable");
    wait(|done| wal.truncate(90, done)).expect("durable");
    wait(|done| {
        wal.purge(
            LogId {
                term: 1,
                node: 1,
                index: 9,
            },
            done,
        )
    })
    .expect("durable");
    wait(|done| {
        wal.save_vote(
            Vote {
                term: 2,
                node: 1,
                committed: false,
            },
            done,
        )
    })
    .expect("durable");
    wal.set_committed(Some(LogId {
        term: 1,
        node: 1,
        index: 50,
    }));
    assert_eq!(wal.read(..).expect("reads"), entries[10..90]);
    drop(wal);
    let wal = open().expect("opens");
    assert_eq!(wal.read(..).expect("reads"), entries[10..90]);
    assert_eq!(wal.read(20..=21).expect("reads"), entries[20..22]);
    assert_eq!(
        wal.vote(),
        Some(Vote {
            term: 2,
            node: 1,
            committed: false
        })
    );
    assert_eq!(wal.committed().map(|id| id.index), Some(50));
    assert_eq!(wal.last().map(|id| id.index), Some(89));
    assert_eq!(wal.purged().map(|id| id.index), Some(9));
}

#[test]
fn an_append_that_leaves_a_hole_is_refused() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let wal = Wal::open(
        Arc::new(RealDisk),
        dir.path(),
        identity(),
        Settings::default(),
    )
    .expect("opens");
    wait(|done| wal.append(vec![entry(1, 0, 1)], done).expect("continues")).expect("durable");
    assert!(wal.append(vec![entry(1, 2, 1)], Box::new(|_| ())).is_err());
}

#[test]
fn a_second_process_is_told_that_the_directory_is_locked() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let _wal = Wal::open(
        Arc::new(RealDisk),
        dir.path(),
        identity(),
        Settings::default(),
    )
    .expect("opens");
    let second = Wal::open(
        Arc::new(RealDisk),
        dir.path(),
        identity(),
        Settings::default(),
    );
    let text = second.err().expect("refused").to_string();
    assert_eq!(
        text,
        format!(
            "data directory `{}` is locked by another process",
            dir.path().display()
        )
    );
}

#[test]
fn a_file_in_the_directorys_place_is_named() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("file");
    std::fs::write(&path, "x").expect("writes");
    let refused = Wal::open(
        Arc::new(RealDisk),
        &path.join("data"),
        identity(),
        Settings::default(),
    );
    let text = refused.err().expect("refused").to_string();
    assert_eq!(
        text,
        format!(
            "data directory `{}` cannot be created",
            path.join("data").display()
        )
    );
}

#[test]
fn after_a_failed_write_every_call_fails() {
    let disk = SimDisk::default();
    let wal = Wal::open(
        Arc::new(disk.clone()),
        Path::new("/data"),
        identity(),
        SMALL,
    )
    .expect("opens");
    wait(|done| wal.append(vec![entry(1, 0, 10)], done).expect("continues")).expect("durable");
    disk.fail_after(0);
    assert!(wait(|done| wal.append(vec![entry(1, 1, 10)], done).expect("continues")).is_err());
    disk.fail_after(u64::MAX);
    assert!(wait(|done| wal.save_vote(Vote::default(), done)).is_err());
}

#[test]
fn a_full_disk_is_waited_for_and_nothing_is_called_durable_meanwhile() {
    let disk = SimDisk::default();
    disk.set_room(Some(4_000));
    let begin = || {
        let disk = Arc::new(disk.clone());
        Wal::open(disk, Path::new("/data"), identity(), SMALL).expect("opens")
    };
    let wal = begin();
    let (done, told) = mpsc::channel();
    for index in 0..100 {
        let done = done.clone();
        let callback = Box::new(move |outcome: std::io::Result<()>| {
            done.send((index, outcome.is_ok())).expect("waited for")
        });
        wal.append(vec![entry(1, index, 100)], callback)
            .expect("continues");
    }
    let mut durable = Vec::new();
    while let Ok(told) = told.recv_timeout(Duration::from_millis(500)) {
        durable.push(told);
    }
    assert!(durable.len() < 60, "{} fit", durable.len());
    let full = wal.fullness();
    let why = full.get().expect("says so");
    assert!(why.starts_with("disk is full: `/data/log/"), "{why}");

    disk.set_room(None);
    while let Ok(told) = told.recv_timeout(Duration::from_secs(2)) {
        durable.push(told);
        if durable.len() == 100 {
            break;
        }
    }
    let want: Vec<_> = (0..100).map(|index| (index, true)).collect();
    assert_eq!(durable, want);
    wait(|done| wal.save_vote(Vote::default(), done)).expect("durable");
    assert_eq!(full.get(), None);
    drop(wal);
    std::thread::sleep(Duration::from_millis(50));
    disk.crash(|| false);
    assert_eq!(begin().read(..).expect("reads").len(), 100);

    // Nobody waits for room any more: the log is closed.
    disk.set_room(Some(0));
    let wal = begin();
    drop(wal);
}

#[test]
fn a_call_that_meets_the_failure_is_answered_all_the_same() {
    for _ in 0..100 {
        let disk = SimDisk::default();
        let wal = Wal::open(
            Arc::new(disk.clone()),
            Path::new("/data"),
            identity(),
            SMALL,
        )
        .expect("opens");
        disk.fail_after(0);
        let (done, answers) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let (wal, done) = (wal.clone(), done.clone());
                scope.spawn(move || {
                    for _ in 0..25 {
                        let done = done.clone();
                        let told = move |outcome: std::io::Result<()>| {
                            done.send(outcome.is_err()).expect("waited for")
                        };
                        wal.save_vote(Vote::default(), Box::new(told));
                    }
                });
            }
        });
        drop(done);
        // Ends when the last callback is gone, called or not.
        let answers: Vec<bool> = answers.iter().collect();
        assert_eq!(answers, [true; 100]);
    }
}

#[test]
fn refusals_of_the_operating_system_are_one_clear_line() {
    let line = |kind: std::io::ErrorKind| {
        DiskError::new("write", Path::new("/d/f"), kind.into()).to_string()
    };
    for (kind, text) in [
        (std::io::ErrorKind::StorageFull, "disk is full: `/d/f`"),
        (std::io::ErrorKind::QuotaExceeded, "disk is full: `/d/f`"),
        (
            std::io::ErrorKind::ReadOnlyFilesystem,
            "data directory is not writable: `/d/f`",
        ),
        (
            std::io::ErrorKind::PermissionDenied,
            "data directory is not writable: `/d/f`",
        ),
        (std::io::ErrorKind::TimedOut, "write of `/d/f` failed"),
    ] {
        assert_eq!(line(kind), text);
    }
}
