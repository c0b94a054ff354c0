//! Dialling, accepting and the handshake.

use super::frame::{Frame, FrameCodec, FrameError, kind};
use super::net::Socket;
use super::roster::Roster;
use super::stream::{ReadHalf, Stream, WriteHalf};
use super::tls;
use super::{ANSWER_LIMIT, CONNECT_LIMIT, Channel, Hello, LinkError, Welcome};
use crate::codec::{self, CodecError};
use futures::{SinkExt, StreamExt};
use std::io;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{timeout, timeout_at};
use tokio_util::codec::{FramedRead, FramedWrite};

/// Frames in.
pub(crate) type Reader = FramedRead<ReadHalf, FrameCodec>;
/// Frames out. Frames are gathered until they are flushed or weigh 64 KB.
pub(crate) type Writer = FramedWrite<WriteHalf, FrameCodec>;

const GATHER_BYTES: usize = 64 << 10;

/// A connection after its handshake.
pub(crate) struct Connection {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    /// Changes when it is to be made anew, with other certificates; `None` in the clear.
    pub(crate) renewed: Option<watch::Receiver<u64>>,
}

/// Waits until a connection is to be made anew.
pub(crate) async fn outdated(renewed: &mut Option<watch::Receiver<u64>>) {
    if let Some(renewed) = renewed
        && renewed.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

impl Connection {
    fn new(stream: Stream, renewed: Option<watch::Receiver<u64>>) -> Self {
        let (read, write) = stream.split();
        let mut writer = FramedWrite::new(write, FrameCodec::default());
        writer.set_backpressure_boundary(GATHER_BYTES);
        Connection {
            reader: FramedRead::new(read, FrameCodec::default()),
            writer,
            renewed,
        }
    }

    /// Counts what passes from here on as exchanged with this node.
    fn count(&mut self, node: u64, channel: Channel) {
        let count = |direction| crate::metrics::link_bytes(node, channel, direction);
        self.reader.decoder_mut().count(count("received"));
        self.writer.encoder_mut().count(count("sent"));
    }

    /// It is to be made anew.
    pub(crate) fn is_outdated(&self) -> bool {
        let renewed = self.renewed.as_ref();
        renewed.is_some_and(|renewed| renewed.has_changed().unwrap_or(true))
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
    /// Who everybody is.
    pub(crate) roster: Arc<Roster>,
    /// Whom we dial.
    pub(crate) node: u64,
    /// Where, `host:port`; as the roster says when left out.
    pub(crate) at: Option<String>,
}

impl Dialer {
    /// To a node of the roster.
    pub(crate) fn new(roster: Arc<Roster>, node: u64) -> Self {
        let at = None;
        Dialer { roster, node, at }
    }

    /// Connects and shakes hands, within [`CONNECT_LIMIT`] for the connection and [`ANSWER_LIMIT`] for the rest, at
    /// each address that the node may have.
    pub(crate) async fn dial(&self, channel: Channel) -> Result<Connection, LinkError> {
        self.dial_as(channel, &[]).await
    }

    /// The same for a node that wants to begin the cluster together with `founders`.
    pub(crate) async fn dial_as(
        &self,
        channel: Channel,
        founders: &[u64],
    ) -> Result<Connection, LinkError> {
        let addresses = match &self.at {
            Some(address) => vec![address.clone()],
            None => self.roster.addresses(self.node),
        };
        let mut failed = LinkError::NoAddress { node: self.node };
        for address in &addresses {
            match self.dial_at(address, channel, founders).await {
                Ok(mut connection) => {
                    crate::metrics::link_made(channel);
                    connection.count(self.node, channel);
                    return Ok(connection);
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn dial_at(
        &self,
        address: &str,
        channel: Channel,
        founders: &[u64],
    ) -> Result<Connection, LinkError> {
        let unreachable = |source: io::Error| LinkError::Unreachable {
            node: self.node,
            address: address.to_owned(),
            source,
        };
        let socket = timeout(CONNECT_LIMIT, self.roster.under.net.dial(address))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(unreachable)?;
        let mut connection = self.secure(address, socket).await?;
        let hello = self.roster.hello(self.node, channel, founders);
        let body = codec::encode(&hello).expect("numbers and strings always encode");
        let answer = connection
            .ask(self.node, Frame::new(kind::HELLO, body))
            .await
            // The other side looks at our certificate after its own part of the handshake is done.
            .map_err(|error| match error {
                LinkError::Broken(source) if is_tls(&source) => self.insecure(address, source),
                error => error,
            })?;
        let unread = |_| LinkError::Protocol("answer to the hello cannot be read");
        match answer.kind {
            kind::WELCOME => {
                let welcome: Welcome = codec::decode_front(&answer.body).map_err(unread)?;
                let met = self.roster.meet(self.node, welcome.disk, welcome.origin);
                met.await.map_err(|rejection| LinkError::Refused {
                    node: self.node,
                    address: address.to_owned(),
                    reason: rejection.reason,
                })?;
                self.roster.check_levels(self.node, address, &welcome)?;
                Ok(connection)
            }
            kind::REJECT => {
                let rejection = codec::decode_front(&answer.body).map_err(unread)?;
                Err(self.roster.rejected(self.node, address, rejection))
            }
            _ => Err(LinkError::Protocol("neither welcome nor rejection")),
        }
    }
}

impl Dialer {
    /// The connection behind the handshake of TLS, where links have that.
    async fn secure(&self, address: &str, socket: Socket) -> Result<Connection, LinkError> {
        let (tls, stream) = match (&self.roster.under.tls, socket) {
            (Some(tls), Socket::Tcp(stream)) => (tls, stream),
            // Simulated links are in the clear.
            (_, socket) => return Ok(Connection::new(Stream::Plain(socket), None)),
        };
        let renewed = Some(tls.renewed());
        let shaken = timeout(ANSWER_LIMIT, tls.connect(self.node, stream))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match shaken {
            Ok(secure) => Ok(Connection::new(Stream::Secure(Box::new(secure)), renewed)),
            Err(source) => Err(self.insecure(address, source)),
        }
    }

    fn insecure(&self, address: &str, source: io::Error) -> LinkError {
        if let Some(tls) = &self.roster.under.tls
            && is_tls(&source)
        {
            tls.tell(
                &format!("node {} at {address}", self.node),
                &source.to_string(),
            );
        }
        LinkError::Insecure {
            node: self.node,
            address: address.to_owned(),
            source,
        }
    }
}

/// Certificates or the protocol, rather than the network.
fn is_tls(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<rustls::Error>())
}

/// Shakes hands with a peer that dialled us. Strangers are told why they are rejected.
pub(crate) async fn accept(
    socket: Socket,
    roster: &Arc<Roster>,
) -> Result<(Connection, Hello), LinkError> {
    let deadline = tokio::time::Instant::now() + ANSWER_LIMIT;
    let mut proof = None;
    let mut connection = match (&roster.under.tls, socket) {
        (None, socket) | (_, socket @ Socket::Simulated(_)) => {
            Connection::new(Stream::Plain(socket), None)
        }
        (Some(tls), Socket::Tcp(stream)) => {
            let (from, renewed) = (stream.peer_addr()?.ip(), tls.renewed());
            let shaken = timeout_at(deadline, tls.accept(stream))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let secure = shaken.map_err(|error| {
                if is_tls(&error) {
                    tls.tell(&from.to_string(), &error.to_string());
                }
                LinkError::Stranger(from.to_string())
            })?;
            proof = tls::certificate_of(&secure);
            Connection::new(Stream::Secure(Box::new(secure)), Some(renewed))
        }
    };
    let frame = timeout_at(deadline, connection.next())
        .await
        .unwrap_or(Err(LinkError::Protocol("no hello in time")))?;
    if frame.kind != kind::HELLO {
        return Err(LinkError::Protocol("first frame is no hello"));
    }
    let put = |body: Result<Vec<u8>, CodecError>| body.expect("numbers and strings always encode");
    match roster.receive(&frame.body, proof.as_ref()).await {
        Ok((hello, welcome)) => {
            let body = put(codec::encode(&welcome));
            connection
                .writer
                .send(Frame::new(kind::WELCOME, body))
                .await?;
            connection.count(hello.from, hello.channel);
            Ok((connection, hello))
        }
        Err(rejection) => {
            let body = put(codec::encode(&rejection));
            let sent: Result<(), FrameError> =
                connection.writer.send(Frame::new(kind::REJECT, body)).await;
            sent?;
            Err(LinkError::Rejected {
                node: roster.us.node,
                address: "ourselves".into(),
                reason: rejection.reason,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{AnyNet, Under};
    use crate::wal::Identity;
    use std::collections::BTreeMap;

    fn roster(cluster: &str, node: u64) -> (Arc<Roster>, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let us = Identity {
            cluster: cluster.into(),
            node,
        };
        let roster =
            Roster::open(dir.path(), us, BTreeMap::new(), true, Under::default()).expect("opens");
        (Arc::new(roster), dir)
    }

    async fn dial(cluster: &str, from: u64, to: u64) -> Result<(), String> {
        let any = "127.0.0.1:0".parse().expect("address");
        let (mut listener, address) = AnyNet::default().listen(any).await.expect("binds");
        let address = address.to_string();
        let server = tokio::spawn(async move {
            let (us, _dir) = roster("c", 1);
            let (stream, _) = listener.accept().await.expect("accepts");
            accept(stream, &us)
                .await
                .map(|_| ())
                .map_err(|error| error.to_string())
        });
        let (roster, _dir) = roster(cluster, from);
        let dialer = Dialer {
            roster,
            node: to,
            at: Some(address),
        };
        let dialled = dialer.dial(Channel::Control).await;
        let accepted = server.await.expect("does not panic");
        assert_eq!(dialled.is_ok(), accepted.is_ok());
        dialled.map(|_| ()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn strangers_are_told_why_they_are_rejected() {
        assert_eq!(dial("c", 2, 1).await, Ok(()));
        for (cluster, from, to, reason) in [
            ("other", 2, 1, "cluster `other` is not ours, `c`"),
            ("c", 2, 3, "this is node 1, not 3"),
            ("c", 1, 1, "node 1 is us"),
        ] {
            let error = dial(cluster, from, to).await.expect_err("rejected");
            assert!(error.ends_with(reason), "{error}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_is_not_there_is_named() {
        let (roster, _dir) = roster("c", 1);
        let mut dialer = Dialer::new(roster, 2);
        let error = dialer.dial(Channel::Append).await.err();
        let error = error.expect("has no address").to_string();
        assert_eq!(error, "node 2 has no known address");
        dialer.at = Some("127.0.0.1:1".into());
        let error = dialer.dial(Channel::Append).await.err();
        assert_eq!(
            error.expect("nobody listens").to_string(),
            "node 2 at `127.0.0.1:1` cannot be reached"
        );
    }
}
