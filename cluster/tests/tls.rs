//! Links between nodes that prove to each other who they are.

mod nodes;

use nodes::{Node, Note, Three, until};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tandem_cluster::handle::{Config, StartError};
use tandem_cluster::link::{Files, tls_name};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// A private authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let key = KeyPair::generate().expect("makes a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let pem = params.self_signed(&key).expect("signs").pem();
        let issuer = Issuer::new(params, key);
        Authority { pem, issuer }
    }

    /// Certificate and key for a name, good until so long after now.
    fn sign(&self, name: &str, days_left: i64) -> (String, String) {
        let key = KeyPair::generate().expect("makes a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("is a name");
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("is later");
        let epoch = date_time_ymd(1970, 1, 1);
        params.not_before = epoch + now - DAY * 30;
        params.not_after = match days_left {
            days @ 0.. => epoch + now + DAY * days as u32,
            days => epoch + now - DAY * days.unsigned_abs() as u32,
        };
        let signed = params.signed_by(&key, &self.issuer).expect("signs");
        (signed.pem(), key.serialize_pem())
    }
}

fn put(files: &Files, ca: &str, (certificate, key): (String, String)) {
    fs::write(&files.ca, ca).expect("is written");
    fs::write(&files.key, key).expect("is written");
    fs::write(&files.certificate, certificate).expect("is written");
}

fn files(dir: &Path, node: u64) -> Files {
    let dir = dir.join(format!("n{node}"));
    fs::create_dir_all(&dir).expect("is made");
    Files {
        ca: dir.join("ca.pem"),
        certificate: dir.join("node.pem"),
        key: dir.join("node.key"),
    }
}

/// Three nodes whose certificates are there before they start.
async fn secure(dir: &TempDir, authority: &Authority) -> Three {
    Three::start_with(|config| {
        let own = files(dir.path(), config.node_id);
        let signed = authority.sign(&tls_name(config.node_id), 30);
        put(&own, &authority.pem, signed);
        config.tls = Some(own);
    })
    .await
}

fn tempdir() -> TempDir {
    tempfile::tempdir().expect("temporary directory")
}

async fn applies(node: &Node, id: u64) {
    let proposed = tokio::time::timeout(10 * SECOND, node.propose(Note::new(id))).await;
    proposed.expect("in time").expect("is applied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_changed_under_load_and_nothing_is_lost() {
    let (dir, old) = (tempdir(), Authority::new("old"));
    let three = secure(&dir, &old).await;
    three.leader().await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let tasks: Vec<_> = three
        .up_nodes()
        .map(|(at, node)| {
            let (node, stop) = (node.clone(), stop.clone());
            tokio::spawn(async move {
                let (mut next, mut longest) = (at as u64 * 1_000_000, Duration::ZERO);
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let begun = Instant::now();
                    node.propose(Note::new(next)).await.expect("is applied");
                    longest = longest.max(begun.elapsed());
                    next += 1;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                (at as u64 * 1_000_000..next, longest)
            })
        })
        .collect();
    let noted = || three.node(0).state().order.len();
    until("under load", || noted() >= 200).await;
    // An authority gives way to another: both are trusted, then certificates change, then the old one goes.
    let new = Authority::new("new");
    let both = format!("{}{}", old.pem, new.pem);
    let steps: [(&str, &Authority); 3] = [(&both, &old), (&both, &new), (&new.pem, &new)];
    for (ca, signer) in steps {
        for node in 1..=3 {
            let signed = signer.sign(&tls_name(node), 30);
            put(&files(dir.path(), node), ca, signed);
        }
        tokio::time::sleep(3 * SECOND).await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut confirmed = Vec::new();
    for task in tasks {
        let (ids, longest) = task.await.expect("does not panic");
        println!(
            "{} confirmed, the slowest after {longest:?}",
            ids.clone().count()
        );
        assert!(longest < 3 * SECOND, "{longest:?}");
        confirmed.extend(ids);
    }
    let state = three.agree().await;
    for id in confirmed {
        assert!(state.places.contains_key(&id), "{id} is lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_node_whose_certificate_is_not_good_is_kept_out() {
    let (dir, ours) = (tempdir(), Authority::new("ours"));
    let mut three = secure(&dir, &ours).await;
    let out = three.follower().await;
    let id = out as u64 + 1;
    let two = three.node((out + 1) % 3).clone();
    three.kill(out);
    let foreign = Authority::new("foreign");
    let name = tls_name(id);
    let own = files(dir.path(), id);

    // What the node itself can tell, it tells at its start.
    for (ca, signed, why) in [
        (&ours.pem, ours.sign(&name, -1), "expired"),
        (&ours.pem, foreign.sign(&name, 30), "UnknownIssuer"),
        (
            &ours.pem,
            ours.sign("node-9.tandem", 30),
            "not valid for name",
        ),
    ] {
        put(&own, ca, signed);
        let refused = Node::open(three.configs[out].clone(), Arc::new(())).await;
        let refused = refused.err().expect("does not start");
        assert!(matches!(refused, StartError::Tls(_)), "{refused}");
        let said = refused.to_string();
        let start = format!(
            "certificate `{}` does not serve as `{name}`: ",
            own.certificate.display()
        );
        assert!(said.starts_with(&start) && said.contains(why), "{said}");
    }
    let (certificate, _) = ours.sign(&name, 30);
    put(&own, &ours.pem, (certificate, ours.sign(&name, 30).1));
    let refused = Node::open(three.configs[out].clone(), Arc::new(())).await;
    let said = refused.err().expect("does not start").to_string();
    assert!(said.starts_with("key `"), "{said}");

    // One that trusts itself is kept out by the others.
    put(&own, &foreign.pem, foreign.sign(&name, 30));
    three.up(out).await;
    applies(&two, 1).await;
    tokio::time::sleep(2 * SECOND).await;
    let alone = three.node(out);
    assert!(!alone.state().places.contains_key(&1));
    // Mended while it runs, it is in again.
    put(&own, &ours.pem, ours.sign(&name, 30));
    let begun = Instant::now();
    while !alone.state().places.contains_key(&1) {
        assert!(begun.elapsed() < 10 * SECOND, "is still out");
        tokio::time::sleep(SECOND / 50).await;
    }
    three.agree().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_node_is_who_its_certificate_says() {
    let (dir, ours) = (tempdir(), Authority::new("ours"));
    let mut three = secure(&dir, &ours).await;
    let leader = three.leader().await;
    let (one, other) = ((leader + 1) % 3, (leader + 2) % 3);
    three.kill(one);
    three.kill(other);
    // With the other's files a node cannot even start.
    let mut config = three.configs[one].clone();
    config.tls = three.configs[other].tls.clone();
    assert!(matches!(
        Node::open(config, Arc::new(())).await.err(),
        Some(StartError::Tls(_))
    ));
    // A member of the cluster that says to be another one has no say: it leads the handshake as itself.
    three.up(one).await;
    three.leader().await;
    applies(three.node(one), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn without_tls_nobody_speaks_to_a_node_that_has_it() {
    let (dir, ours) = (tempdir(), Authority::new("ours"));
    let mut three = secure(&dir, &ours).await;
    let plain = three.follower().await;
    three.kill(plain);
    three.configs[plain].tls = None;
    three.up(plain).await;
    applies(three.node((plain + 1) % 3), 1).await;
    tokio::time::sleep(2 * SECOND).await;
    assert!(!three.node(plain).state().places.contains_key(&1));
    // Nor does a stranger get a word that it could use.
    let listen = three.configs[(plain + 1) % 3].listen;
    let mut stream = tokio::net::TcpStream::connect(listen)
        .await
        .expect("connects");
    stream
        .write_all(&[5, 0, 0, 0, 1, 1, 2, 3, 4, 5])
        .await
        .expect("is taken");
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(3 * SECOND, stream.read_to_end(&mut answer)).await;
    assert!(answer.len() < 16, "{answer:?}");
}

#[test]
fn a_missing_file_is_named() {
    let dir = tempdir();
    let mut config = Config::new(
        1,
        "test",
        dir.path(),
        "127.0.0.1:0".parse().expect("is an address"),
        vec![tandem_cluster::handle::Member {
            id: 1,
            address: "127.0.0.1:1".into(),
        }],
    );
    config.tls = Some(files(dir.path(), 1));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let refused = runtime.block_on(Node::open(config, Arc::new(())));
    let said = refused.err().expect("does not start").to_string();
    let ca = dir.path().join("n1/ca.pem");
    assert_eq!(said, format!("`{}` cannot be read", ca.display()));
}
