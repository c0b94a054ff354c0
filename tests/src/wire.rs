//! SIP by hand over a bare socket: for single requests and for bytes that no client would send.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A UDP socket aimed at the switch.
#[derive(Debug)]
pub struct Wire {
    socket: UdpSocket,
    local: SocketAddr,
}

impl Wire {
    /// Opens one towards `to`.
    pub fn udp(to: SocketAddr) -> Wire {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket
            .connect(to)
            .expect("a UDP socket is aimed without traffic");
        let local = socket.local_addr().expect("it is bound");
        Wire { socket, local }
    }

    /// Sends bytes as one datagram.
    pub fn send(&self, bytes: &[u8]) {
        // A closed port is reported on the next send; who lost a datagram notices by the missing answer.
        let _ = self.socket.send(bytes);
    }

    /// The next datagram; `None` when none comes within `limit`.
    pub fn receive(&self, limit: Duration) -> Option<String> {
        self.socket
            .set_read_timeout(Some(limit))
            .expect("the limit is not zero");
        let mut buffer = vec![0; 65_536];
        let size = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..size]).into_owned())
    }

    /// Sends a request and reads on to its final answer.
    #[track_caller]
    pub fn ask(&self, request: &str) -> String {
        self.send(request.as_bytes());
        loop {
            let answer = self.receive(Duration::from_secs(3));
            let answer = answer.unwrap_or_else(|| panic!("no answer to\n{request}"));
            if status(&answer) >= 200 {
                return answer;
            }
        }
    }

    /// A whole request outside any dialog, with `extra` header lines (each ending in CRLF).
    pub fn request(&self, method: &str, uri: &str, forwards: u8, extra: &str) -> String {
        request(self.local, "UDP", method, uri, forwards, extra)
    }
}

/// What one call by hand took.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// INVITE to 180.
    pub ringing: Duration,
    /// INVITE to 200.
    pub answered: Duration,
}

impl Wire {
    /// Places a call, hangs up as soon as it is answered, and tells how long it took; `Err` says what went wrong.
    pub fn place_call(&self, callee: &str) -> Result<Timing, String> {
        let peer = self.socket.peer_addr().map_err(|e| e.to_string())?;
        let uri = format!("sip:{callee}@{peer}");
        let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n";
        let invite = self.request("INVITE", &uri, 70, "Content-Type: application/sdp\r\n");
        let head = invite.replacen(
            "Content-Length: 0\r\n",
            &format!("Content-Length: {}\r\n", sdp.len()),
            1,
        );
        let began = Instant::now();
        self.send(format!("{head}{sdp}").as_bytes());
        let mut ringing = None;
        let answer = loop {
            let message = self
                .receive(Duration::from_secs(5))
                .ok_or("no answer within 5 s")?;
            match status(&message) {
                180 => ringing = ringing.or(Some(began.elapsed())),
                200 => break message,
                refused @ 300.. => return Err(format!("refused with {refused}")),
                _ => {}
            }
        };
        let answered = began.elapsed();
        let to = header(&answer, "To").ok_or("a 200 without To")?;
        let contact = header(&answer, "Contact").ok_or("a 200 without Contact")?;
        let target = contact
            .trim_start_matches('<')
            .split('>')
            .next()
            .unwrap_or(contact);
        let within = |method: &str, cseq: u8| {
            let mut text =
                invite.replacen(&format!("INVITE {uri} "), &format!("{method} {target} "), 1);
            text = text.replacen(&format!("To: <{uri}>"), &format!("To: {to}"), 1);
            text = text.replacen("CSeq: 1 INVITE", &format!("CSeq: {cseq} {method}"), 1);
            text = text.replacen("Content-Type: application/sdp\r\n", "", 1);
            // A request of its own has a branch of its own.
            text.replacen("branch=z9hG4bK", &format!("branch=z9hG4bK{method}"), 1)
        };
        self.send(within("ACK", 1).as_bytes());
        self.send(within("BYE", 2).as_bytes());
        loop {
            let message = self
                .receive(Duration::from_secs(5))
                .ok_or("no answer to BYE within 5 s")?;
            if header(&message, "CSeq").is_some_and(|cseq| cseq.ends_with("BYE")) {
                return match status(&message) {
                    200 => Ok(Timing {
                        ringing: ringing.unwrap_or(answered),
                        answered,
                    }),
                    other => Err(format!("BYE answered {other}")),
                };
            }
        }
    }
}

/// A request with fresh branch, tag and Call-ID and no body.
pub fn request(
    local: SocketAddr,
    transport: &str,
    method: &str,
    uri: &str,
    forwards: u8,
    extra: &str,
) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let pid = std::process::id();
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {local};branch=z9hG4bK{pid}w{n};rport\r\n\
         From: <sip:13900000000@{local}>;tag=w{pid}{n}\r\nTo: <{uri}>\r\nCall-ID: wire-{pid}-{n}@{local}\r\n\
         CSeq: 1 {method}\r\nContact: <sip:13900000000@{local}>\r\nMax-Forwards: {forwards}\r\n{extra}Content-Length: 0\r\n\r\n"
    )
}

/// Status code of an answer, 0 when it is none.
pub fn status(answer: &str) -> u16 {
    answer
        .strip_prefix("SIP/2.0 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .unwrap_or(0)
}

/// The value of the first header with this name.
pub fn header<'t>(message: &'t str, name: &str) -> Option<&'t str> {
    message.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// What a TCP peer sees: writes `bytes`, then reads until `limit` passes in silence or the connection closes.
pub fn tcp_exchange(to: SocketAddr, bytes: &[u8], limit: Duration) -> String {
    let Ok(mut stream) = TcpStream::connect_timeout(&to, Duration::from_secs(2)) else {
        return String::new();
    };
    stream
        .set_read_timeout(Some(limit))
        .expect("the limit is not zero");
    stream
        .set_write_timeout(Some(Duration::from_secs(2)))
        .expect("the limit is not zero");
    // The switch may close while we still write; what it said before that counts.
    let _ = stream.write_all(bytes);
    let mut whole = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(size) = stream.read(&mut buffer) {
        if size == 0 {
            break;
        }
        whole.extend_from_slice(&buffer[..size]);
    }
    String::from_utf8_lossy(&whole).into_owned()
}
