//! `backup`: the replicated state in a file.

use super::http::{Client, Request};
use super::print::Printer;
use super::{CliError, Exit};
use crate::rows::time;
use clap::Args;
use reqwest::Method;
use serde_json::json;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tandem_cluster::backup;

/// `tandem backup`
#[derive(Clone, Debug, Args)]
pub struct BackupArgs {
    /// Where it goes; a file of this name is replaced once the backup is whole.
    pub file: PathBuf,
    /// With the records of calls, not the state alone.
    #[arg(long)]
    pub records: bool,
}

/// Fetches a backup, reads all of it once more and gives it its name.
pub async fn run<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    args: &BackupArgs,
) -> Result<Exit, CliError> {
    printer.first = &["cluster", "at", "applied", "records", "bytes", "version"];
    let body = json!({"records": args.records});
    let mut response = client
        .send(Request::new(Method::POST, ["backup"]).json(&body))
        .await?;
    let aside = args.file.with_extension("part");
    let fault = |path: &Path, error: &dyn std::fmt::Display| {
        CliError::new(Exit::Error, format!("`{}`: {error}", path.display()))
    };
    let mut file = create(&aside).map_err(|error| fault(&aside, &error))?;
    let fetched: Result<(), CliError> = async {
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => file
                    .write_all(&chunk)
                    .map_err(|error| fault(&aside, &error))?,
                Ok(None) => break,
                Err(error) => {
                    let text = format!("backup broke off: {error}");
                    return Err(CliError::new(Exit::Unavailable, text));
                }
            }
        }
        file.sync_all().map_err(|error| fault(&aside, &error))
    }
    .await;
    let read = fetched.and_then(|()| {
        let file = File::open(&aside).map_err(|error| fault(&aside, &error))?;
        backup::check(BufReader::with_capacity(1 << 20, file))
            .map_err(|error| fault(&aside, &error))
    });
    let (about, _, records) = match read {
        Ok(read) => read,
        Err(error) => {
            // Half a backup is worse than none.
            let _ = fs::remove_file(&aside);
            return Err(error);
        }
    };
    let bytes = file.metadata().map_or(0, |file| file.len());
    fs::rename(&aside, &args.file).map_err(|error| fault(&args.file, &error))?;
    printer.one(&json!({
        "file": args.file.display().to_string(),
        "cluster": about.cluster,
        "at": time(about.at),
        "applied": about.applied,
        "state_hash": format!("{:016x}", about.state_hash),
        "records": records,
        "bytes": bytes,
        "version": about.version,
    }))?;
    Ok(Exit::Ok)
}

/// It holds the secrets of platforms.
fn create(path: &Path) -> io::Result<File> {
    // What an interrupted run left may have another mode.
    let _ = fs::remove_file(path);
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}
