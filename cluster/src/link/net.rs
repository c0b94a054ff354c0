//! The network under the links: TCP, or one that a simulation makes up.

use futures::future::BoxFuture;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// Both directions of a simulated connection. Like a TCP stream it delivers what was written once and in order, or
/// ends with an error.
pub trait Wire: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static> Wire for T {}

/// A simulated network as one node has it.
pub trait Net: Send + Sync + 'static {
    /// Connects to `host:port`. The caller gives up after [`CONNECT_LIMIT`](super::CONNECT_LIMIT).
    fn dial(&self, address: &str) -> BoxFuture<'static, io::Result<Box<dyn Wire>>>;
    /// Takes connections at an address.
    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Incoming>>;
}

/// Connections that others make.
pub trait Incoming: Send + 'static {
    /// The next one, and who made it.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Wire>, SocketAddr)>>;
}

/// A network to be named in a configuration; by default this machine's.
#[derive(Clone, Default)]
pub struct AnyNet(pub Option<Arc<dyn Net>>);

impl fmt::Debug for AnyNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            None => "Tcp",
            Some(_) => "Simulated",
        })
    }
}

impl AnyNet {
    pub(super) async fn dial(&self, address: &str) -> io::Result<Socket> {
        match &self.0 {
            None => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }
            Some(net) => Ok(Socket::Simulated(net.dial(address).await?)),
        }
    }

    /// Takes connections, and tells at which address.
    pub(crate) async fn listen(&self, address: SocketAddr) -> io::Result<(Listener, SocketAddr)> {
        match &self.0 {
            None => {
                let listener = TcpListener::bind(address).await?;
                let address = listener.local_addr()?;
                Ok((Listener::Tcp(listener), address))
            }
            Some(net) => Ok((Listener::Simulated(net.listen(address)?), address)),
        }
    }
}

/// A connection before any handshake.
pub(crate) enum Socket {
    /// Of this machine.
    Tcp(TcpStream),
    /// Made up.
    Simulated(Box<dyn Wire>),
}

/// Takes connections.
pub(crate) enum Listener {
    /// Of this machine.
    Tcp(TcpListener),
    /// Made up.
    Simulated(Box<dyn Incoming>),
}

impl Listener {
    /// The next one, and who made it.
    pub(crate) async fn accept(&mut self) -> io::Result<(Socket, SocketAddr)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Socket::Tcp(stream), from))
            }
            Listener::Simulated(incoming) => {
                let (wire, from) = incoming.accept().await?;
                Ok((Socket::Simulated(wire), from))
            }
        }
    }
}
