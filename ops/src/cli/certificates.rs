//! `cluster certificates`: a private authority and certificates for the links between nodes. Asks no server.

use super::{CliError, Exit, note};
use clap::Args;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tandem_cluster::link::tls_name;

const DAY: Duration = Duration::from_secs(86_400);
/// Clocks may differ by this much.
const BEFORE: Duration = Duration::from_secs(3_600);
/// The authority's own time.
const AUTHORITY_DAYS: u32 = 3_650;
const AUTHORITY: &str = "Tandem node links";

/// `tandem cluster certificates`
#[derive(Clone, Debug, Args)]
pub struct CertificatesArgs {
    /// Where the files are, and go. An authority that is there is used again.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Ids of the nodes.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,2,3", value_parser = clap::value_parser!(u64).range(1..))]
    pub nodes: Vec<u64>,
    /// How long the nodes' certificates are good.
    #[arg(long, default_value_t = 365, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3_650))]
    pub days: u32,
}

/// Writes the files and names each.
pub fn run(args: &CertificatesArgs) -> Result<Exit, CliError> {
    let fault = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| CliError::new(Exit::Error, format!("`{path}`: {error}"))
    };
    fs::create_dir_all(&args.dir).map_err(fault(&args.dir))?;
    let (certificate, key) = (args.dir.join("ca.pem"), args.dir.join("ca.key"));
    let authority = if certificate.exists() {
        let pem = fs::read_to_string(&key).map_err(fault(&key))?;
        let key = KeyPair::from_pem(&pem).map_err(|error| unusable(&key, &error))?;
        note(&format!("signed by `{}`", certificate.display()));
        Issuer::new(authority()?, key)
    } else {
        let params = authority()?;
        let pair = pair()?;
        let signed = params.self_signed(&pair).map_err(|e| unusable(&key, &e))?;
        write(&key, &pair.serialize_pem(), 0o600).map_err(fault(&key))?;
        write(&certificate, &signed.pem(), 0o644).map_err(fault(&certificate))?;
        note(&format!(
            "made the authority `{}`; keep its key `{}` away from the nodes",
            certificate.display(),
            key.display()
        ));
        Issuer::new(params, pair)
    };
    for node in &args.nodes {
        let name = tls_name(*node);
        let (certificate, key) = (
            args.dir.join(format!("node-{node}.pem")),
            args.dir.join(format!("node-{node}.key")),
        );
        let failed = |error: rcgen::Error| unusable(&certificate, &error);
        let mut params = CertificateParams::new(vec![name.clone()]).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, &name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        valid_for(&mut params, args.days);
        let pair = pair()?;
        let signed = params.signed_by(&pair, &authority).map_err(failed)?;
        // The certificate last: a node that looks in between finds the old pair or the new one.
        write(&key, &pair.serialize_pem(), 0o600).map_err(fault(&key))?;
        write(&certificate, &signed.pem(), 0o644).map_err(fault(&certificate))?;
        note(&format!(
            "`{}` for {name}, good for {} days",
            certificate.display(),
            args.days
        ));
    }
    Ok(Exit::Ok)
}

fn unusable(path: &Path, error: &rcgen::Error) -> CliError {
    CliError::new(Exit::Error, format!("`{}`: {error}", path.display()))
}

fn pair() -> Result<KeyPair, CliError> {
    KeyPair::generate().map_err(|error| CliError::new(Exit::Error, format!("no key: {error}")))
}

/// The same each time, so that its key alone makes it the same authority.
fn authority() -> Result<CertificateParams, CliError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for(&mut params, AUTHORITY_DAYS);
    Ok(params)
}

fn valid_for(params: &mut CertificateParams, days: u32) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BEFORE);
    params.not_after = epoch + now + DAY * days;
}

/// A file that is there whole or not at all.
fn write(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let aside = path.with_extension("tmp");
    // What an interrupted run left may have another mode.
    let _ = fs::remove_file(&aside);
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(aside, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_authority_is_made_once_and_signs_further_nodes() {
        let dir = tempfile::tempdir().expect("a directory");
        let args = |nodes: &[u64]| CertificatesArgs {
            dir: dir.path().to_owned(),
            nodes: nodes.to_vec(),
            days: 30,
        };
        assert_eq!(run(&args(&[1, 2])).expect("is done"), Exit::Ok);
        let authority = fs::read(dir.path().join("ca.pem")).expect("is there");
        assert_eq!(run(&args(&[3])).expect("is done"), Exit::Ok);
        assert_eq!(
            fs::read(dir.path().join("ca.pem")).expect("is there"),
            authority
        );
        for file in ["ca.key", "node-1.key", "node-2.key", "node-3.key"] {
            let mode = fs::metadata(dir.path().join(file)).expect("is there");
            assert_eq!(mode.permissions().mode() & 0o777, 0o600, "{file}");
        }
    }
}
