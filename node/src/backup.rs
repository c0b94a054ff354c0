//! Backups of the cluster: written by a node that runs, restored by one that does not.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Seek};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tandem_billing::Store;
use tandem_cluster::backup::{self, About, BackupError, Piece, Reader, Writer};
use tandem_cluster::command::{Command, End, EndedBy};
use tandem_cluster::entity::Millis;
use tandem_cluster::handle::{self, Cluster};
use tandem_cluster::state::State;
use tandem_ops::cli::{Exit, complain};

use crate::biller::Arithmetic;
use crate::call::reason;
use crate::config::Config;
use crate::start::{chain, cluster_config};

/// The state must be current within this.
const CURRENT_WITHIN: Duration = Duration::from_secs(5);
/// Records read at a time.
const RECORDS: u64 = 1_000;
/// Largest encoded state, bytes.
const STATE_MAX: usize = 256 << 20;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum FailedBackup {
    /// No quorum: what was decided last is not known here.
    #[error("the state of this node is not current")]
    Old(#[source] handle::ProposeError),
    /// Its records are not complete.
    #[error("this node has stored {stored} of {wanted} records: ask another one, or later")]
    Behind {
        /// So many.
        stored: u64,
        /// Of so many.
        wanted: u64,
    },
    /// The store.
    #[error("call records cannot be read")]
    Store(#[from] tandem_billing::store::StoreError),
    /// The temporary file.
    #[error("`{0}` cannot be written")]
    File(PathBuf, #[source] BackupError),
    /// A thread ended.
    #[error("backup broke off")]
    Broken,
}

/// Writes a backup into a file that has no name any more and is gone when it is closed.
pub async fn write(
    cluster: Cluster,
    store: Arc<Store>,
    config: &Config,
    at: u64,
    records: bool,
) -> Result<File, FailedBackup> {
    cluster
        .caught_up(CURRENT_WITHIN)
        .await
        .map_err(FailedBackup::Old)?;
    let (state, applied) = cluster.state_now();
    let recorded = state.outbox_last() - state.outbox_len() as u64;
    let about = About {
        format: backup::FORMAT,
        level: state.level(),
        cluster: config.cluster.id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at,
        applied,
        state_hash: state.hash(),
        recorded,
        records,
    };
    let path = config.node.data_dir.join("backup.tmp");
    let runtime = tokio::runtime::Handle::current();
    let written = tokio::task::spawn_blocking(move || {
        let failed = |error: BackupError| FailedBackup::File(path.clone(), error);
        let mut file = open(&path).map_err(|error| failed(error.into()))?;
        let mut writer =
            Writer::new(BufWriter::with_capacity(1 << 20, &file), &about).map_err(failed)?;
        writer.state(&*state).map_err(failed)?;
        if records {
            let mut next = 1;
            while next <= recorded {
                let upto = recorded.min(next + RECORDS - 1);
                let rows = runtime.block_on(store.records(next, upto))?;
                let Some((last, _)) = rows.last() else {
                    // Older ones may be gone for good; newer ones must be there.
                    if store.last() < recorded {
                        let (stored, wanted) = (store.last(), recorded);
                        return Err(FailedBackup::Behind { stored, wanted });
                    }
                    next = upto + 1;
                    continue;
                };
                next = last + 1;
                writer.records(&rows).map_err(failed)?;
            }
        }
        writer.finish().map_err(failed)?;
        file.rewind().map_err(|error| failed(error.into()))?;
        Ok(file)
    });
    written.await.unwrap_or(Err(FailedBackup::Broken))
}

/// A file without a name.
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    // What a process left that was killed meanwhile.
    let _ = fs::remove_file(path);
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    fs::remove_file(path)?;
    Ok(file)
}

/// `tandem restore`
#[derive(Clone, Debug, Args)]
pub struct RestoreArgs {
    /// The backup.
    pub file: PathBuf,
    /// Node file of the node that shall begin with it; it must not run, and its data directory must be empty.
    #[arg(long, value_name = "FILE", required_unless_present = "check")]
    pub config: Option<PathBuf>,
    /// Reads the whole backup, says what it is of, and changes nothing.
    #[arg(long)]
    pub check: bool,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The node file.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The file cannot be opened.
    #[error("backup `{0}` cannot be read")]
    Unreadable(PathBuf, #[source] io::Error),
    /// The file is no sound backup.
    #[error("backup `{0}`")]
    Backup(PathBuf, #[source] BackupError),
    /// The state or its directory.
    #[error(transparent)]
    State(#[from] handle::StartError),
    /// The records.
    #[error("call records cannot be restored")]
    Store(#[from] tandem_billing::store::StoreError),
    /// There are records already.
    #[error("directory `{0}` is not empty")]
    Records(PathBuf),
    /// The records do not go with the state.
    #[error("backup has records up to {found}, not {wanted}")]
    Incomplete {
        /// Last one in it.
        found: u64,
        /// Last one that left the state.
        wanted: u64,
    },
    /// The state is of another release.
    #[error("state cannot be read")]
    Unread(#[from] tandem_cluster::codec::CodecError),
    /// Larger than any state may be.
    #[error("state is larger than {STATE_MAX} bytes")]
    TooLarge,
    /// The system.
    #[error("no runtime")]
    Runtime(#[source] io::Error),
}

impl RestoreError {
    fn exit(&self) -> Exit {
        match self {
            RestoreError::Config(_) => Exit::Usage,
            RestoreError::Unreadable(_, error) if error.kind() == io::ErrorKind::NotFound => {
                Exit::NotFound
            }
            RestoreError::State(handle::StartError::Config(_)) | RestoreError::Records(_) => {
                Exit::Refused
            }
            _ => Exit::Error,
        }
    }
}

/// Carries `tandem restore` out.
pub fn run(args: &RestoreArgs) -> ExitCode {
    match restore(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&chain(&error));
            error.exit().into()
        }
    }
}

/// Ends what was in progress: nobody answers for those dialogs any more. The restored nodes release its bindings once
/// they have claimed their names. The same on every node that restores the backup.
fn close_calls(state: &mut State, at: Millis) {
    let ends: Vec<End> = state
        .calls()
        .map(|call| End {
            call: call.id(),
            epoch: call.owner,
            ended_at: at
                .max(call.answered_at.unwrap_or(0))
                .max(call.asked.started_at),
            answered_at: call.answered_at,
            pdd_ms: call.pdd_ms,
            codec: String::new(),
            reason: reason::of(reason::NODE_FAILURE),
            by: EndedBy::Server,
        })
        .collect();
    for end in ends {
        // Who must release what hears of it by the state, not by these effects.
        let _ = state.apply(at, 0, &Command::End(end), &Arithmetic);
    }
}

/// Reads the backup, all of it before anything is written, and begins the node's directories with it.
pub fn restore(args: &RestoreArgs) -> Result<(), RestoreError> {
    let config = args.config.as_deref().map(Config::load).transpose()?;
    let path = &args.file;
    let unsound = |error| RestoreError::Backup(path.clone(), error);
    let input = || {
        let file =
            File::open(path).map_err(|error| RestoreError::Unreadable(path.clone(), error))?;
        Ok::<_, RestoreError>(BufReader::with_capacity(1 << 20, file))
    };
    let (about, mark, records) = backup::check(input()?).map_err(unsound)?;
    println!(
        "backup of cluster `{}`, {} entries, {} records, version {}, level {}, written at {}",
        about.cluster,
        about.applied,
        records,
        about.version,
        about.level,
        tandem_billing::time::Time::from_ms(about.at)
    );
    let Some(config) = config.filter(|_| !args.check) else {
        return Ok(());
    };
    let dir = config.node.data_dir.join("records");
    if fs::read_dir(&dir).is_ok_and(|mut files| files.next().is_some()) {
        return Err(RestoreError::Records(dir));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RestoreError::Runtime)?;
    let (_, mut reader) = Reader::open(input()?).map_err(unsound)?;
    let mut state = Vec::new();
    let mut store = None;
    loop {
        match reader.next_piece().map_err(unsound)? {
            Piece::State(part) => {
                state.extend(part);
                if state.len() > STATE_MAX {
                    return Err(RestoreError::TooLarge);
                }
            }
            Piece::Records(rows) => {
                let first = rows.first().map_or(1, |(number, _)| *number);
                let rows: Vec<(u64, bytes::Bytes)> = rows
                    .into_iter()
                    .map(|(number, row)| (number, row.into()))
                    .collect();
                runtime.block_on(async {
                    if store.is_none() {
                        store = Some(Store::begin_after(&dir, first.saturating_sub(1)).await?);
                    }
                    match &store {
                        Some(store) => store.append_encoded(&rows).await.map(drop),
                        None => Ok(()),
                    }
                })?;
            }
            Piece::End(_) => break,
        }
    }
    let mut state: State = tandem_cluster::codec::decode(&state)?;
    close_calls(&mut state, about.at);
    let store = match store {
        Some(store) => store,
        // Records that were left out do not come again.
        None => runtime.block_on(Store::begin_after(&dir, about.recorded))?,
    };
    let found = store.last();
    runtime.block_on(store.close());
    if found != about.recorded {
        let wanted = about.recorded;
        return Err(RestoreError::Incomplete { found, wanted });
    }
    // Last, for a node without it does not know that it was restored.
    handle::restore(&cluster_config(&config), state, about.applied, mark)?;
    println!(
        "node {} of cluster `{}` begins with it",
        config.node.id, config.cluster.id
    );
    Ok(())
}
