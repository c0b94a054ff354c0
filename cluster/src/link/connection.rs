//! Dialling, accepting and the handshake.

use super::frame::{Frame, FrameCodec, FrameError, kind};
use super::{ANSWER_LIMIT, CONNECT_LIMIT, Channel, Hello, LinkError, PROTOCOL};
use crate::codec;
use crate::wal::Identity;
use futures::{SinkExt, StreamExt};
use std::io;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{timeout, timeout_at};
use tokio_util::codec::{FramedRead, FramedWrite};

/// Frames in.
pub(crate) type Reader = FramedRead<OwnedReadHalf, FrameCodec>;
/// Frames out. Frames are gathered until they are flushed or weigh 64 KB.
pub(crate) type Writer = FramedWrite<OwnedWriteHalf, FrameCodec>;

const FEATURE_LEVEL: u16 = 1;
const GATHER_BYTES: usize = 64 << 10;

/// A connection after its handshake.
pub(crate) struct Connection {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

impl Connection {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        let mut writer = FramedWrite::new(write, FrameCodec);
        writer.set_backpressure_boundary(GATHER_BYTES);
        Ok(Connection {
            reader: FramedRead::new(read, FrameCodec),
            writer,
        })
    }

    /// The next frame; an error when the connection ends.
    pub(crate) async fn next(&mut self) -> Result<Frame, LinkError> {
        match self.reader.next().await {
            Some(frame) => Ok(frame?),
            None => Err(LinkError::Broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Sends a frame and waits for the answer to it.
    pub(crate) async fn ask(&mut self, node: u64, frame: Frame) -> Result<Frame, LinkError> {
        let exchange = async {
            self.writer.send(frame).await?;
            self.next().await
        };
        timeout(ANSWER_LIMIT, exchange)
            .await
            .unwrap_or(Err(LinkError::Overdue { node }))
    }
}

/// Makes connections to one peer.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    /// Who we are.
    pub(crate) identity: Identity,
    /// Whom we dial.
    pub(crate) node: u64,
    /// Where: `host:port`.
    pub(crate) address: String,
}

impl Dialer {
    /// Connects and shakes hands, within [`CONNECT_LIMIT`] for the connection and [`ANSWER_LIMIT`] for the rest.
    pub(crate) async fn dial(&self, channel: Channel) -> Result<Connection, LinkError> {
        let unreachable = |source: io::Error| LinkError::Unreachable {
            node: self.node,
            address: self.address.clone(),
            source,
        };
        let stream = timeout(CONNECT_LIMIT, TcpStream::connect(&self.address))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(unreachable)?;
        let mut connection = Connection::new(stream).map_err(unreachable)?;
        let hello = Hello {
            protocol: PROTOCOL,
            cluster: self.identity.cluster.clone(),
            from: self.identity.node,
            to: self.node,
            channel,
            feature_level: FEATURE_LEVEL,
            proof: Vec::new(),
        };
        let body = codec::encode(&hello).expect("numbers and strings always encode");
        let answer = connection
            .ask(self.node, Frame::new(kind::HELLO, body))
            .await?;
        match answer.kind {
            kind::WELCOME => {
                crate::metrics::link_made(channel);
                Ok(connection)
            }
            kind::REJECT => Err(LinkError::Rejected {
                node: self.node,
                address: self.address.clone(),
                reason: String::from_utf8_lossy(&answer.body)
                    .chars()
                    .take(200)
                    .collect(),
            }),
            _ => Err(LinkError::Protocol("neither welcome nor rejection")),
        }
    }
}

/// Shakes hands with a peer that dialled us. Strangers are told why they are rejected.
pub(crate) async fn accept(
    stream: TcpStream,
    us: &Identity,
) -> Result<(Connection, Hello), LinkError> {
    let deadline = tokio::time::Instant::now() + ANSWER_LIMIT;
    let mut connection = Connection::new(stream)?;
    let frame = timeout_at(deadline, connection.next())
        .await
        .unwrap_or(Err(LinkError::Protocol("no hello in time")))?;
    if frame.kind != kind::HELLO {
        return Err(LinkError::Protocol("first frame is no hello"));
    }
    let reply = match check(&frame.body, us) {
        Ok(hello) => {
            connection
                .writer
                .send(Frame::new(kind::WELCOME, vec![]))
                .await?;
            return Ok((connection, hello));
        }
        Err(reason) => Frame::new(kind::REJECT, reason.clone()),
    };
    let reason = String::from_utf8_lossy(&reply.body).into_owned();
    let sent: Result<(), FrameError> = connection.writer.send(reply).await;
    sent?;
    Err(LinkError::Rejected {
        node: us.node,
        address: "ourselves".into(),
        reason,
    })
}

fn check(body: &[u8], us: &Identity) -> Result<Hello, String> {
    let hello: Hello = codec::decode(body).map_err(|_| "hello cannot be read".to_owned())?;
    if hello.protocol != PROTOCOL {
        return Err(format!(
            "protocol {} is not ours, {PROTOCOL}",
            hello.protocol
        ));
    }
    if hello.cluster != us.cluster {
        let named: String = hello.cluster.chars().take(64).collect();
        return Err(format!("cluster `{named}` is not ours, `{}`", us.cluster));
    }
    if hello.to != us.node {
        return Err(format!("this is node {}, not {}", us.node, hello.to));
    }
    if hello.from == us.node {
        return Err(format!("node {} is us", hello.from));
    }
    Ok(hello)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(cluster: &str, node: u64) -> Identity {
        Identity {
            cluster: cluster.into(),
            node,
        }
    }

    async fn dial(from: Identity, to: u64) -> Result<(), String> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("binds");
        let address = listener.local_addr().expect("is bound").to_string();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("accepts");
            accept(stream, &identity("c", 1))
                .await
                .map(|_| ())
                .map_err(|error| error.to_string())
        });
        let dialled = Dialer {
            identity: from,
            node: to,
            address,
        }
        .dial(Channel::Control)
        .await;
        let accepted = server.await.expect("does not panic");
        assert_eq!(dialled.is_ok(), accepted.is_ok());
        dialled.map(|_| ()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn strangers_are_told_why_they_are_rejected() {
        assert_eq!(dial(identity("c", 2), 1).await, Ok(()));
        for (from, to, reason) in [
            (identity("other", 2), 1, "cluster `other` is not ours, `c`"),
            (identity("c", 2), 3, "this is node 1, not 3"),
            (identity("c", 1), 1, "node 1 is us"),
        ] {
            let error = dial(from, to).await.expect_err("rejected");
            assert!(error.ends_with(reason), "{error}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_is_not_there_is_named() {
        let dialer = Dialer {
            identity: identity("c", 1),
            node: 2,
            address: "127.0.0.1:1".into(),
        };
        let error = dialer
            .dial(Channel::Append)
            .await
            .err()
            .expect("nobody listens");
        assert_eq!(
            error.to_string(),
            "node 2 at `127.0.0.1:1` cannot be reached"
        );
    }
}
