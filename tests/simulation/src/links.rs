//! Connections between nodes: streams of bytes that cross the simulated network, in order or not at all.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tandem_cluster::link::{Incoming, Net, Wire};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot};

use crate::outlet::{Out, Outlet};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// What waits at one end of a connection.
#[derive(Debug, Default)]
struct Inbox {
    bytes: VecDeque<u8>,
    waker: Option<Waker>,
    /// The other side has finished.
    finished: bool,
    /// The connection is gone.
    broken: bool,
}

/// One end, as the network reaches it.
#[derive(Clone, Debug, Default)]
pub struct End(Arc<Mutex<Inbox>>);

impl End {
    fn look(&self) -> MutexGuard<'_, Inbox> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Inbox)) {
        let waker = {
            let mut inbox = self.look();
            change(&mut inbox);
            inbox.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Bytes arrive.
    pub fn bring(&self, bytes: &[u8]) {
        self.change(|inbox| inbox.bytes.extend(bytes));
    }

    /// The other side has closed.
    pub fn finish(&self) {
        self.change(|inbox| inbox.finished = true);
    }

    /// The connection is reset.
    pub fn break_off(&self) {
        self.change(|inbox| inbox.broken = true);
    }
}

/// One end, as a node has it.
pub struct Stream {
    pub end: End,
    pub connection: u64,
    /// 0: who made the connection, 1: who took it.
    pub side: usize,
    pub outlet: Outlet,
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inbox = self.end.look();
        if inbox.bytes.is_empty() {
            if inbox.broken {
                return Poll::Ready(Err(reset()));
            }
            if inbox.finished {
                return Poll::Ready(Ok(()));
            }
            inbox.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = buf.remaining().min(inbox.bytes.len());
        for byte in inbox.bytes.drain(..count) {
            buf.put_slice(&[byte]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.end.look().broken {
            return Poll::Ready(Err(reset()));
        }
        self.outlet.push(Out::Bytes {
            connection: self.connection,
            side: self.side,
            bytes: bytes.to_vec(),
        });
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.outlet.push(Out::Closed {
            connection: self.connection,
            side: self.side,
        });
    }
}

/// What a dial comes to.
pub type Dialled = io::Result<Box<dyn Wire>>;
/// A connection and who made it.
pub type Taken = (Box<dyn Wire>, SocketAddr);

/// The network as one node has it.
pub struct Links(pub Outlet);

impl Net for Links {
    fn dial(&self, address: &str) -> Boxed<Dialled> {
        let (tell, told) = oneshot::channel();
        let address = address.to_owned();
        self.0.push(Out::Dial { address, tell });
        // Untold, the other machine says nothing at all; whoever dials gives up by himself.
        Box::pin(async move {
            match told.await {
                Ok(dialled) => dialled,
                Err(_) => std::future::pending().await,
            }
        })
    }

    fn listen(&self, _: SocketAddr) -> io::Result<Box<dyn Incoming>> {
        let (connections, taken) = mpsc::unbounded_channel();
        self.0.push(Out::Listen { connections });
        Ok(Box::new(Acceptor(taken)))
    }
}

struct Acceptor(mpsc::UnboundedReceiver<Taken>);

impl Incoming for Acceptor {
    fn accept(&mut self) -> Pin<Box<dyn Future<Output = io::Result<Taken>> + Send + '_>> {
        Box::pin(async {
            match self.0.recv().await {
                Some(taken) => Ok(taken),
                None => std::future::pending().await,
            }
        })
    }
}
