//! The network between the nodes: each one's address leads through here, where a direction can be cut or slowed down.
//!
//! A node tells in the first frame of a connection who it is, so every byte that passes belongs to a pair of nodes and
//! a direction. Cutting one direction leaves the other as it is: what was sent waits, as it does in TCP when packets
//! are lost, and goes on at the healing, or the connection breaks then.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub const NODES: usize = 3;

/// One direction between two nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Link {
    cut: bool,
    /// Every piece is this late.
    delay: Duration,
    /// Connections older than this count break.
    torn: u64,
}

/// All directions.
pub struct Links {
    /// By sender and receiver, counted from 0.
    links: Vec<watch::Sender<Link>>,
    /// Where the nodes' addresses lead.
    pub addresses: Vec<SocketAddr>,
}

impl Links {
    /// Listens for each node, which itself listens at `behind`.
    pub async fn start(behind: &[SocketAddr]) -> Arc<Links> {
        let mut listeners = Vec::new();
        for _ in behind {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.expect("binds"));
        }
        let links = Arc::new(Links {
            links: (0..NODES * NODES)
                .map(|_| watch::channel(Link::default()).0)
                .collect(),
            addresses: listeners
                .iter()
                .map(|listener| listener.local_addr().expect("is bound"))
                .collect(),
        });
        for (to, (listener, behind)) in listeners.into_iter().zip(behind).enumerate() {
            let (links, behind) = (links.clone(), *behind);
            tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.expect("accepts");
                    let links = links.clone();
                    tokio::spawn(async move { links.carry(stream, to, behind).await });
                }
            });
        }
        links
    }

    fn link(&self, from: usize, to: usize) -> &watch::Sender<Link> {
        &self.links[from * NODES + to]
    }

    /// Nothing gets from one node to another any more.
    pub fn cut(&self, from: usize, to: usize) {
        self.link(from, to).send_modify(|link| link.cut = true);
    }

    /// Everything from one node to another is late.
    pub fn slow(&self, from: usize, to: usize, delay: Duration) {
        self.link(from, to).send_modify(|link| link.delay = delay);
    }

    /// All is well again. `tear`: connections over directions that were cut break; otherwise what was held up arrives.
    pub fn heal(&self, tear: bool) {
        for link in &self.links {
            link.send_if_modified(|link| {
                let well = Link {
                    torn: link.torn + u64::from(tear && link.cut),
                    ..Link::default()
                };
                std::mem::replace(link, well) != well
            });
        }
    }

    /// One connection, until either side closes it or it breaks.
    async fn carry(&self, mut stream: TcpStream, to: usize, behind: SocketAddr) {
        let Some((from, first)) = who_dials(&mut stream).await else {
            return;
        };
        let there = self.link(from, to).subscribe();
        let back = self.link(to, from).subscribe();
        if until_open(&mut there.clone()).await.is_none() {
            return;
        }
        let Ok(mut far) = TcpStream::connect(behind).await else {
            return;
        };
        let prepared = stream.set_nodelay(true).and(far.set_nodelay(true));
        if prepared.is_err() || far.write_all(&first).await.is_err() {
            return;
        }
        let (near_in, near_out) = stream.into_split();
        let (far_in, far_out) = far.into_split();
        tokio::select! {
            () = pump(near_in, far_out, there) => {}
            () = pump(far_in, near_out, back) => {}
        }
    }
}

/// Waits until a direction lets something through; `None` when its connections have broken meanwhile.
async fn until_open(link: &mut watch::Receiver<Link>) -> Option<Duration> {
    let torn = link.borrow_and_update().torn;
    let open = link.wait_for(|link| !link.cut).await.ok()?;
    (open.torn == torn).then_some(open.delay)
}

/// Passes bytes on.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut link: watch::Receiver<Link>) {
    let mut piece = vec![0; 64 << 10];
    let torn = link.borrow_and_update().torn;
    loop {
        let read = tokio::select! {
            read = from.read(&mut piece) => read,
            broken = link.wait_for(|link| link.torn != torn) => {
                drop(broken);
                return;
            }
        };
        let Ok(length @ 1..) = read else { return };
        let Some(delay) = until_open(&mut link).await else {
            return;
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

/// Reads the frame with which a node introduces itself: the node, counted from 0, and the frame.
///
/// A frame is a length of four bytes, a kind, and a body; the body begins with the protocol's version, the cluster's
/// name and the node's id, numbers and lengths in one byte as long as they are small.
async fn who_dials(stream: &mut TcpStream) -> Option<(usize, Vec<u8>)> {
    let mut frame = vec![0; 5];
    stream.read_exact(&mut frame).await.ok()?;
    let length = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
    frame.resize(5 + length, 0);
    stream.read_exact(&mut frame[5..]).await.ok()?;
    let body = &frame[5..];
    let name = usize::from(body[1]);
    let from = usize::from(body[2 + name]);
    assert!(
        (1..=NODES).contains(&from),
        "the first frame of a link has another form: {body:?}"
    );
    Some((from - 1, frame))
}
