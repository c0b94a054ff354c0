//! etcd's half: three servers, and callers that claim pairs by transactions.
//!
//! gRPC is spoken by hand over [`h2`]: a message is a byte 0, its length in four bytes, and protobuf; the little
//! protobuf needed (etcd's `rpc.proto`: `TxnRequest`, `TxnResponse`) is written here.

use crate::process::{Measured, cpu_of};
use bytes::Bytes;
use h2::client::SendRequest;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// A and X numbers that claims are drawn from: so many that hardly any two callers meet.
const NUMBERS: usize = 100_000;
/// Deletions under way from one worker, at most.
const BEHIND_MAX: usize = 2_048;

/// Three servers of a fresh cluster; they end with this value.
pub struct Servers {
    /// Where clients reach them.
    pub clients: Vec<String>,
    pub version: String,
    children: Vec<Child>,
}

impl Servers {
    /// An error says what is missing.
    pub fn start(dir: &Path) -> Result<Option<Servers>, String> {
        let told = Command::new("etcd")
            .arg("--version")
            .output()
            .map_err(|error| {
                format!("`etcd` cannot be run ({error}); Debian has it in `etcd-server`")
            })?;
        let told = String::from_utf8_lossy(&told.stdout);
        let version = told.lines().next().unwrap_or("etcd").to_owned();
        let mut addresses = crate::free_addresses(6);
        let clients = addresses.split_off(3);
        let cluster: Vec<String> = addresses
            .iter()
            .enumerate()
            .map(|(at, address)| format!("e{at}=http://{address}"))
            .collect();
        let mut servers = Servers {
            clients: clients.clone(),
            version,
            children: Vec::new(),
        };
        for (at, (peer, client)) in addresses.iter().zip(&clients).enumerate() {
            let child = Command::new("etcd")
                .args(["--name", &format!("e{at}")])
                .arg("--data-dir")
                .arg(dir.join(format!("etcd-{at}")))
                .args(["--listen-peer-urls", &format!("http://{peer}")])
                .args(["--initial-advertise-peer-urls", &format!("http://{peer}")])
                .args(["--listen-client-urls", &format!("http://{client}")])
                .args(["--advertise-client-urls", &format!("http://{client}")])
                .args(["--initial-cluster", &cluster.join(",")])
                .args(["--logger", "zap", "--log-level", "error"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .map_err(|error| format!("`etcd` cannot be run ({error})"))?;
            servers.children.push(child);
        }
        Ok(Some(servers))
    }

    pub fn cpu(&self) -> Duration {
        self.children.iter().map(|child| cpu_of(child.id())).sum()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A connection to one server.
#[derive(Clone)]
struct Client {
    requests: SendRequest<Bytes>,
    uri: http::Uri,
}

impl Client {
    async fn connect(address: &str) -> io::Result<Client> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (requests, connection) = h2::client::Builder::new()
            .initial_connection_window_size(1 << 24)
            .handshake(stream)
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(connection);
        let uri = format!("http://{address}/etcdserverpb.KV/Txn");
        Ok(Client {
            requests,
            uri: uri.parse().map_err(io::Error::other)?,
        })
    }

    /// Sends a `TxnRequest`; whether its condition held.
    async fn transact(&self, message: Bytes) -> Result<bool, h2::Error> {
        let mut requests = self.requests.clone().ready().await?;
        let head = http::Request::post(self.uri.clone())
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("these are valid headers");
        let (answer, mut body) = requests.send_request(head, false)?;
        body.send_data(message, true)?;
        let mut body = answer.await?.into_body();
        let mut bytes = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            bytes.extend_from_slice(&chunk);
        }
        let trailers = body.trailers().await?.unwrap_or_default();
        let status = trailers.get("grpc-status").map(|status| status.as_bytes());
        // A cluster without a leader says so here; nothing was done then.
        Ok(status == Some(b"0") && wire::succeeded(&bytes))
    }
}

/// A worker's connection and its callers.
pub struct Side {
    client: Client,
    worker: u64,
}

impl Side {
    /// Connects as soon as the server takes part in a cluster.
    pub async fn start(address: &str) -> Side {
        let begun = Instant::now();
        loop {
            if let Ok(client) = Client::connect(address).await
                && let Ok(true) = client
                    .transact(wire::transaction(&[], &["bench"], &[]))
                    .await
            {
                let worker = RandomState::new().hash_one(0);
                return Side { client, worker };
            }
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "etcd at {address} does not answer"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn run(&self, callers: usize, run: Duration) -> Measured {
        let behind = Arc::new(Semaphore::new(BEHIND_MAX));
        let lost = Arc::new(AtomicU64::new(0));
        let begun = Instant::now();
        let tasks: Vec<_> = (0..callers as u64)
            .map(|n| {
                let (client, behind, lost) = (self.client.clone(), behind.clone(), lost.clone());
                let seed = self.worker ^ (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                tokio::spawn(work(client, behind, lost, seed | 1, begun, run))
            })
            .collect();
        let mut measured = Measured::default();
        for task in tasks {
            measured.join(task.await.expect("does not panic"));
        }
        let all = behind.acquire_many(BEHIND_MAX as u32).await;
        drop(all.expect("nobody closes it"));
        measured.wall = begun.elapsed();
        let lost = lost.load(Ordering::Relaxed);
        assert_eq!(lost, 0, "etcd lost deletions");
        measured
    }
}

/// One caller.
async fn work(
    client: Client,
    behind: Arc<Semaphore>,
    lost: Arc<AtomicU64>,
    mut seed: u64,
    begun: Instant,
    run: Duration,
) -> Measured {
    let mut measured = Measured::default();
    let mut draw = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 11) as usize % NUMBERS
    };
    while begun.elapsed() < run {
        let at = Instant::now();
        let keys = loop {
            let (a, x) = (draw(), draw());
            let keys = [
                format!("a/021{a:08}"),
                format!("x/170{x:08}"),
                format!("pair/021{a:08}/170{x:08}"),
            ];
            let keys_text = keys.each_ref().map(String::as_str);
            let claim = wire::transaction(&keys_text, &keys_text, &[]);
            if client.transact(claim).await.expect("etcd answers") {
                break keys;
            }
            measured.again += 1;
        };
        measured.times.add(at.elapsed());
        let permit = behind.clone().acquire_owned().await;
        let permit = permit.expect("nobody closes it");
        let (client, lost) = (client.clone(), lost.clone());
        tokio::spawn(async move {
            let keys = keys.each_ref().map(String::as_str);
            let delete = wire::transaction(&[], &[], &keys);
            if !matches!(client.transact(delete).await, Ok(true)) {
                lost.fetch_add(1, Ordering::Relaxed);
            }
            drop(permit);
        });
    }
    measured
}

mod wire {
    use bytes::Bytes;

    /// Wire type of a field with a length.
    const WITH_LENGTH: u8 = 2;
    /// `Compare.CompareTarget.VERSION`; a version of 0 is a key that does not exist.
    const VERSION: u8 = 0;
    /// What a claimed key holds: a call's id.
    const VALUE: &[u8] = b"4294967297";

    /// A gRPC message: if none of `absent` exists, put all of `put` and delete all of `delete`.
    pub fn transaction(absent: &[&str], put: &[&str], delete: &[&str]) -> Bytes {
        let mut message = Vec::with_capacity(256);
        for key in absent {
            // Compare { result: EQUAL (0, left out), target = 2, key = 3, version: 0 (left out) }
            let mut compare = vec![2 << 3, VERSION];
            field(3, key.as_bytes(), &mut compare);
            field(1, &compare, &mut message);
        }
        for key in put {
            // RequestOp { request_put = 2: PutRequest { key = 1, value = 2 } }
            let (mut request, mut step) = (Vec::new(), Vec::new());
            field(1, key.as_bytes(), &mut request);
            field(2, VALUE, &mut request);
            field(2, &request, &mut step);
            field(2, &step, &mut message);
        }
        for key in delete {
            // RequestOp { request_delete_range = 3: DeleteRangeRequest { key = 1 } }
            let (mut request, mut step) = (Vec::new(), Vec::new());
            field(1, key.as_bytes(), &mut request);
            field(3, &request, &mut step);
            field(2, &step, &mut message);
        }
        let mut framed = vec![0];
        framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
        framed.extend_from_slice(&message);
        framed.into()
    }

    fn field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
        out.push(number << 3 | WITH_LENGTH);
        let mut length = bytes.len();
        while length >= 0x80 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend_from_slice(bytes);
    }

    /// Reads `TxnResponse.succeeded` (field 2) out of a gRPC message; its fields come in order, the header first.
    pub fn succeeded(framed: &[u8]) -> bool {
        let mut rest = framed.get(5..).unwrap_or_default();
        while let Some((&tag, after)) = rest.split_first() {
            let Some((value, after)) = varint(after) else {
                return false;
            };
            match tag {
                // header
                0x0a => rest = after.get(value..).unwrap_or_default(),
                0x10 => return value != 0,
                _ => return false,
            }
        }
        false
    }

    fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
        let end = bytes.iter().position(|byte| byte & 0x80 == 0)?;
        let (number, rest) = bytes.split_at(end + 1);
        let value = number.iter().rev().try_fold(0usize, |value, byte| {
            value
                .checked_mul(128)?
                .checked_add(usize::from(byte & 0x7f))
        })?;
        Some((value, rest))
    }
}
