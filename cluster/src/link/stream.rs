//! The bytes of a connection, in the clear or encrypted, in two halves.

use super::net::{Socket, Wire};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::TlsStream;

/// A connected stream.
pub(crate) enum Stream {
    /// As it is.
    Plain(Socket),
    /// Behind a handshake in which both sides proved who they are.
    Secure(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub(crate) fn split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Stream::Plain(Socket::Tcp(stream)) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Plain(read), WriteHalf::Plain(write))
            }
            Stream::Plain(Socket::Simulated(wire)) => {
                let (read, write) = tokio::io::split(wire);
                (ReadHalf::Simulated(read), WriteHalf::Simulated(write))
            }
            Stream::Secure(stream) => {
                let (read, write) = tokio::io::split(*stream);
                (ReadHalf::Secure(read), WriteHalf::Secure(write))
            }
        }
    }
}

/// What is read from.
pub(crate) enum ReadHalf {
    Plain(OwnedReadHalf),
    Secure(tokio::io::ReadHalf<TlsStream<TcpStream>>),
    Simulated(tokio::io::ReadHalf<Box<dyn Wire>>),
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ReadHalf::Plain(half) => Pin::new(half).poll_read(cx, buf),
            ReadHalf::Secure(half) => Pin::new(half).poll_read(cx, buf),
            ReadHalf::Simulated(half) => Pin::new(half).poll_read(cx, buf),
        }
    }
}

/// What is written to.
pub(crate) enum WriteHalf {
    Plain(OwnedWriteHalf),
    Secure(tokio::io::WriteHalf<TlsStream<TcpStream>>),
    Simulated(tokio::io::WriteHalf<Box<dyn Wire>>),
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            WriteHalf::Plain(half) => Pin::new(half).poll_write(cx, buf),
            WriteHalf::Secure(half) => Pin::new(half).poll_write(cx, buf),
            WriteHalf::Simulated(half) => Pin::new(half).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            WriteHalf::Plain(half) => Pin::new(half).poll_flush(cx),
            WriteHalf::Secure(half) => Pin::new(half).poll_flush(cx),
            WriteHalf::Simulated(half) => Pin::new(half).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            WriteHalf::Plain(half) => Pin::new(half).poll_shutdown(cx),
            WriteHalf::Secure(half) => Pin::new(half).poll_shutdown(cx),
            WriteHalf::Simulated(half) => Pin::new(half).poll_shutdown(cx),
        }
    }
}
