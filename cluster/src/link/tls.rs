//! Mutual TLS between nodes.
//!
//! Every node has a certificate of the cluster's own authority for the name `node-N.tandem`, N its id; both sides of a
//! link prove theirs, and what a node says of itself in the hello must be what its certificate says. TLS 1.3 only.
//!
//! The files are looked at every two seconds. When they have changed and fit together they come in force, and every
//! link is made anew; files that do not fit are told in the log and the old ones stay.

use arc_swap::ArcSwap;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use x509_parser::prelude::{FromDer, X509Certificate};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The same refusal is told again after this long.
const TOLD_FOR: Duration = Duration::from_secs(30);
/// Refusals remembered as told.
const TOLD_MAX: usize = 64;
/// Largest file, bytes.
const FILE_MAX: u64 = 1 << 20;

/// Where the files are, all of them PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Authorities that node certificates are accepted of; several while one replaces another.
    pub ca: PathBuf,
    /// This node's certificate, with intermediate ones behind it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why certificates cannot be used. One line each, naming the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds no such thing.
    #[error("`{}` holds no {what} in PEM form", path.display())]
    Nothing {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The certificate is not of our authority, is out of its time, or for another name.
    #[error("certificate `{}` does not serve as `{name}`: {why}", path.display())]
    Unfit {
        /// Which.
        path: PathBuf,
        /// The name it must be for.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Key and certificate do not belong together, or are of a kind we do not know.
    #[error("key `{}` does not go with its certificate: {why}", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// The name in a node's certificate.
pub fn name_of(node: u64) -> String {
    format!("node-{node}.tandem")
}

fn server_name(node: u64) -> ServerName<'static> {
    ServerName::try_from(name_of(node)).expect("letters, digits, a hyphen and a dot make a name")
}

struct Loaded {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    /// When the first of the own certificate and those behind it is over, seconds since 1970.
    node_ends: Option<i64>,
    /// When the first of the authorities is over. Links do not mind, but it signs nothing any more.
    authority_ends: Option<i64>,
}

impl Loaded {
    /// Says for how long the certificates are still good.
    fn tell_time_left(&self) {
        let now = UnixTime::now().as_secs() as i64;
        for (of, ends) in [("node", self.node_ends), ("authority", self.authority_ends)] {
            if let Some(ends) = ends {
                crate::metrics::certificate_left(of, ends - now);
            }
        }
    }
}

/// When the first of some certificates is over, seconds since 1970.
fn first_end(certificates: &[CertificateDer<'_>]) -> Option<i64> {
    let ends = certificates.iter().filter_map(|certificate| {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        Some(parsed.validity().not_after.timestamp())
    });
    ends.min()
}

/// What makes streams secure. Shared by all links of a node.
pub(crate) struct Tls {
    node: u64,
    files: Files,
    loaded: ArcSwap<Loaded>,
    /// Counts the times that other certificates came in force.
    renewed: watch::Sender<u64>,
    told: Mutex<BTreeMap<String, Instant>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files. Blocks.
    pub(crate) fn open(node: u64, files: Files) -> Result<Tls, TlsError> {
        let loaded = load(node, &files)?;
        loaded.tell_time_left();
        Ok(Tls {
            node,
            files,
            loaded: ArcSwap::from_pointee(loaded),
            renewed: watch::Sender::new(0),
            told: Mutex::default(),
        })
    }

    /// Proves who we are to the node that was dialled, and that it is that node.
    pub(crate) async fn connect(
        &self,
        node: u64,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(self.loaded.load().client.clone());
        let secure = connector.connect(server_name(node), stream).await?;
        Ok(TlsStream::Client(secure))
    }

    /// The same for a node that dialled us; who it says to be must then be
    /// looked at ([`is_of`]).
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(self.loaded.load().server.clone());
        Ok(TlsStream::Server(acceptor.accept(stream).await?))
    }

    /// Changes when other certificates come in force: links of the old ones are to be made anew.
    pub(crate) fn renewed(&self) -> watch::Receiver<u64> {
        self.renewed.subscribe()
    }

    /// Counts a refusal, and tells it unless it was told of late.
    pub(crate) fn tell(&self, who: &str, why: &str) {
        crate::metrics::link_insecure();
        let (now, key) = (Instant::now(), format!("{who} {why}"));
        let mut told = self
            .told
            .lock()
            .expect("no code panics while it holds this");
        told.retain(|_, at| now.duration_since(*at) < TOLD_FOR);
        if told.len() < TOLD_MAX && told.insert(key, now).is_none() {
            tracing::warn!(
                who,
                why,
                "refused a node's link: its certificate does not prove who it is"
            );
        }
    }

    /// Looks at the files for as long as the node runs.
    pub(crate) async fn follow_files(self: Arc<Self>) {
        let mut seen = stamp(&self.files);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.loaded.load().tell_time_left();
            let now = stamp(&self.files);
            if now == seen {
                continue;
            }
            let (node, files) = (self.node, self.files.clone());
            let loaded = tokio::task::spawn_blocking(move || load(node, &files)).await;
            match loaded {
                Ok(Ok(loaded)) => {
                    self.loaded.store(Arc::new(loaded));
                    crate::metrics::certificates_read(true);
                    tracing::info!(
                        certificate = %self.files.certificate.display(),
                        "certificates have changed, links are made anew"
                    );
                    self.renewed.send_modify(|count| *count += 1);
                }
                // Written one after the other, they may fit at the next look.
                Ok(Err(error)) => {
                    crate::metrics::certificates_read(false);
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, source, "changed certificates are not used");
                }
                Err(_) => return,
            }
            seen = now;
        }
    }
}

/// What the other side of an accepted stream has proven itself with.
pub(crate) fn certificate_of(stream: &TlsStream<TcpStream>) -> Option<CertificateDer<'static>> {
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates()?.first()?;
    Some(certificate.clone().into_owned())
}

/// Whether a certificate that was proven is this node's.
pub(crate) fn is_of(certificate: &CertificateDer<'_>, node: u64) -> bool {
    ParsedCertificate::try_from(certificate)
        .is_ok_and(|parsed| verify_server_name(&parsed, &server_name(node)).is_ok())
}

/// When and how large the files were last written; `None` for one that cannot be seen.
fn stamp(files: &Files) -> [Option<(SystemTime, u64)>; 3] {
    [&files.ca, &files.certificate, &files.key].map(|path| {
        let seen = fs::metadata(path).ok()?;
        Some((seen.modified().ok()?, seen.len()))
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |source| TlsError::Unreadable {
        path: path.to_path_buf(),
        source,
    };
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    if bytes > FILE_MAX {
        return Err(unreadable(io::Error::other("larger than 1 MB")));
    }
    fs::read(path).map_err(unreadable)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(TlsError::Nothing {
            path: path.to_path_buf(),
            what: "certificate",
        }),
    }
}

fn load(node: u64, files: &Files) -> Result<Loaded, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let nothing = |path: &Path, what| TlsError::Nothing {
        path: path.to_path_buf(),
        what,
    };
    let mut roots = RootCertStore::empty();
    let authorities = certificates(&files.ca)?;
    let authority_ends = first_end(&authorities);
    for authority in authorities {
        roots
            .add(authority)
            .map_err(|_| nothing(&files.ca, "certificate of an authority"))?;
    }
    let roots = Arc::new(roots);
    let chain = certificates(&files.certificate)?;
    let node_ends = first_end(&chain);
    let key = || {
        PrivateKeyDer::from_pem_slice(&read(&files.key)?)
            .map_err(|_| nothing(&files.key, "private key"))
    };
    check(node, files, &chain, &roots, &provider)?;
    let misfit = |error: rustls::Error| TlsError::Key {
        path: files.key.clone(),
        why: error.to_string(),
    };
    let authority = |error: &dyn std::fmt::Display| TlsError::Unfit {
        path: files.ca.clone(),
        name: "authority".into(),
        why: error.to_string(),
    };
    let peers = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|error| authority(&error))?;
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(misfit)?
        .with_client_cert_verifier(peers)
        .with_single_cert(chain.clone(), key()?)
        .map_err(misfit)?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(misfit)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key()?)
        .map_err(misfit)?;
    Ok(Loaded {
        client: Arc::new(client),
        server: Arc::new(without_tickets(server)),
        node_ends,
        authority_ends,
    })
}

/// A resumed session would skip the look at certificates that have changed since.
fn without_tickets(mut server: ServerConfig) -> ServerConfig {
    server.send_tls13_tickets = 0;
    server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    server
}

/// Whether the others would take our own certificate.
fn check(
    node: u64,
    files: &Files,
    chain: &[CertificateDer<'static>],
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<(), TlsError> {
    let unfit = |why: String| TlsError::Unfit {
        path: files.certificate.clone(),
        name: name_of(node),
        why,
    };
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|error| unfit(error.to_string()))?;
    let (own, between) = chain
        .split_first()
        .ok_or_else(|| unfit("there is none".into()))?;
    verifier
        .verify_server_cert(own, between, &server_name(node), &[], UnixTime::now())
        .map(drop)
        .map_err(|error| unfit(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    #[test]
    fn the_certificate_that_ends_first_counts() {
        let until = |year| {
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new(vec![name_of(1)]).expect("a name");
            params.not_after = date_time_ymd(year, 1, 1);
            let signed = params.self_signed(&key).expect("is signed");
            signed.der().clone()
        };
        let year_2030 = 1_893_456_000;
        assert_eq!(first_end(&[until(2040), until(2030)]), Some(year_2030));
        assert_eq!(first_end(&[]), None);
        let damaged = CertificateDer::from(vec![1, 2, 3]);
        assert_eq!(first_end(&[damaged, until(2030)]), Some(year_2030));
    }
}
