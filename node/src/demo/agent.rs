//! The demo's outside: a customer that calls and a callee's phone that answers, over UDP, on typed SIP messages of a
//! library that is not the switch's own.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rsip::headers::ToTypedHeader;
use rsip::prelude::{HasHeaders, HeadersExt};
use rsip::{Header, Method, Request, Response, SipMessage};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

const T1: Duration = Duration::from_millis(500);
const DATAGRAM_MAX: usize = 65_536;
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";

/// One thing that an agent saw or did.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// What, in words.
    pub what: String,
}

/// What became of a customer's call.
#[derive(Debug)]
pub struct Outcome {
    /// Final status of the INVITE; 0 when none came.
    pub status: u16,
    /// From INVITE to the first ringing or answer.
    pub pdd: Option<Duration>,
    /// BYE was answered.
    pub ended_well: bool,
    /// In order.
    pub seen: Vec<Seen>,
}

/// Calls the switch.
pub struct Customer {
    socket: UdpSocket,
    local: SocketAddr,
    calls: Mutex<HashMap<String, mpsc::Sender<SipMessage>>>,
}

impl Customer {
    /// A customer on a free port of loopback, and the task that reads for it.
    pub async fn open() -> io::Result<Arc<Self>> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let local = socket.local_addr()?;
        let customer = Arc::new(Customer {
            socket,
            local,
            calls: Mutex::default(),
        });
        let reader = Arc::clone(&customer);
        tokio::spawn(async move { reader.read().await });
        Ok(customer)
    }

    async fn read(&self) {
        let mut buffer = vec![0; DATAGRAM_MAX];
        while let Ok((length, _)) = self.socket.recv_from(&mut buffer).await {
            let Ok(message) = SipMessage::try_from(&buffer[..length]) else {
                continue;
            };
            let Ok(call_id) = message.call_id_header().map(ToString::to_string) else {
                continue;
            };
            let key = value_of(&call_id).to_owned();
            let call = self
                .calls
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&key)
                .cloned();
            if let Some(call) = call {
                // A call that does not keep up loses copies only.
                let _ = call.try_send(message);
            }
        }
    }

    /// One call from `caller` to `callee` through the node at `node`, talking for `talk`.
    pub async fn call(
        &self,
        node: SocketAddr,
        caller: &str,
        callee: &str,
        talk: Duration,
    ) -> io::Result<Outcome> {
        let call_id = format!("demo-{:016x}", rand::random::<u64>());
        let (sender, mut messages) = mpsc::channel(32);
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(call_id.clone(), sender);
        let outcome = self
            .carry(node, caller, callee, talk, &call_id, &mut messages)
            .await;
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&call_id);
        outcome
    }

    async fn carry(
        &self,
        node: SocketAddr,
        caller: &str,
        callee: &str,
        talk: Duration,
        call_id: &str,
        messages: &mut mpsc::Receiver<SipMessage>,
    ) -> io::Result<Outcome> {
        let local = self.local;
        let head = Head {
            local,
            call_id: call_id.to_owned(),
            from: format!("<sip:{caller}@{local}>;tag={:08x}", rand::random::<u32>()),
        };
        let mut outcome = Outcome {
            status: 0,
            pdd: None,
            ended_well: false,
            seen: Vec::new(),
        };
        let began = Instant::now();
        let target = format!("sip:{callee}@{node}");
        let invite = head.request(
            "INVITE",
            &target,
            &format!("<{target}>"),
            1,
            "Max-Forwards: 70\r\n",
            SDP,
        );
        outcome.saw("customer sends INVITE");
        let Some(answer) = self
            .exchange(node, &invite, messages, &mut outcome, began)
            .await?
        else {
            return Ok(outcome);
        };
        outcome.status = answer.status_code.code();
        let to = answer
            .to_header()
            .map(|to| value_of(&to.to_string()).to_owned())
            .unwrap_or_default();
        let contact = answer
            .contact_header()
            .ok()
            .and_then(|contact| contact.uri().ok());
        let target = contact.map_or(target, |uri| uri.to_string());
        if outcome.status >= 300 {
            // The ACK of a refusal belongs to the INVITE's own transaction: same branch, same target.
            let branch = branch_of(&invite);
            let ack = head.request_on(
                &branch,
                "ACK",
                &format!("sip:{callee}@{node}"),
                &to,
                1,
                "",
                "",
            );
            self.socket.send_to(ack.as_bytes(), node).await?;
            return Ok(outcome);
        }
        let ack = head.request("ACK", &target, &to, 1, "Max-Forwards: 70\r\n", "");
        self.socket.send_to(ack.as_bytes(), node).await?;
        outcome.saw("customer sends ACK, they talk");
        tokio::time::sleep(talk).await;
        let bye = head.request("BYE", &target, &to, 2, "Max-Forwards: 70\r\n", "");
        outcome.saw("customer sends BYE");
        if let Some(answer) = self
            .exchange(node, &bye, messages, &mut outcome, began)
            .await?
        {
            outcome.ended_well = answer.status_code.code() == 200;
        }
        Ok(outcome)
    }

    /// Sends a request, again at T1, 2·T1 … while nothing comes back, and waits for its final response.
    async fn exchange(
        &self,
        node: SocketAddr,
        request: &str,
        messages: &mut mpsc::Receiver<SipMessage>,
        outcome: &mut Outcome,
        began: Instant,
    ) -> io::Result<Option<Response>> {
        let method = request.split(' ').next().unwrap_or_default();
        let until = Instant::now() + 64 * T1;
        let mut pause = T1;
        self.socket.send_to(request.as_bytes(), node).await?;
        while Instant::now() < until {
            let response = match tokio::time::timeout(pause, messages.recv()).await {
                Ok(Some(SipMessage::Response(response))) => response,
                // The demo's callee never ends a call, so no request comes in.
                Ok(Some(SipMessage::Request(_))) => continue,
                Ok(None) => return Ok(None),
                Err(_) => {
                    self.socket.send_to(request.as_bytes(), node).await?;
                    pause = (pause * 2).min(8 * T1);
                    continue;
                }
            };
            let of_this = response
                .cseq_header()
                .ok()
                .and_then(|cseq| cseq.typed().ok())
                .is_some_and(|cseq| cseq.method.to_string() == method);
            if !of_this {
                continue;
            }
            let status = response.status_code.code();
            outcome.saw(&format!("customer receives {status} to {method}"));
            if method == "INVITE" && status > 100 && outcome.pdd.is_none() {
                outcome.pdd = Some(began.elapsed());
            }
            if status >= 200 {
                return Ok(Some(response));
            }
            pause = 64 * T1;
        }
        Ok(None)
    }
}

impl Outcome {
    fn saw(&mut self, what: &str) {
        self.seen.push(Seen {
            at: Instant::now(),
            what: what.to_owned(),
        });
    }
}

/// What all requests of a call share.
struct Head {
    local: SocketAddr,
    call_id: String,
    from: String,
}

impl Head {
    fn request(
        &self,
        method: &str,
        target: &str,
        to: &str,
        cseq: u32,
        more: &str,
        body: &str,
    ) -> String {
        let branch = format!("z9hG4bK{:016x}", rand::random::<u64>());
        self.request_on(&branch, method, target, to, cseq, more, body)
    }

    #[allow(clippy::too_many_arguments, reason = "one line of a request each")]
    fn request_on(
        &self,
        branch: &str,
        method: &str,
        target: &str,
        to: &str,
        cseq: u32,
        more: &str,
        body: &str,
    ) -> String {
        let Head {
            local,
            call_id,
            from,
        } = self;
        let content = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch={branch};rport\r\n{more}From: {from}\r\n\
             To: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:{local}>\r\n{content}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

fn branch_of(request: &str) -> String {
    let rest = request.split_once("branch=").map_or("", |(_, rest)| rest);
    rest.split([';', '\r'])
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// The value of a header printed as `Name: value`.
fn value_of(line: &str) -> &str {
    line.split_once(": ").map_or(line, |(_, value)| value)
}

/// An INVITE as the callee's phone saw it.
#[derive(Clone, Debug)]
pub struct Rang {
    /// When.
    pub at: Instant,
    /// Number shown as the caller.
    pub caller: String,
    /// Number called.
    pub callee: String,
    /// The whole message, to look for numbers that must not be in it.
    pub text: String,
}

/// The callee's phone: rings, answers, and remembers who called.
pub struct Phone {
    socket: UdpSocket,
    rang: Mutex<Vec<Rang>>,
}

impl Phone {
    /// A phone at an address, and the task that answers for it.
    pub async fn open(at: SocketAddr) -> io::Result<Arc<Self>> {
        let phone = Arc::new(Phone {
            socket: UdpSocket::bind(at).await?,
            rang: Mutex::default(),
        });
        let reader = Arc::clone(&phone);
        tokio::spawn(async move { reader.serve().await });
        Ok(phone)
    }

    /// Every call that rang so far.
    pub fn rang(&self) -> Vec<Rang> {
        self.rang
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn serve(self: Arc<Self>) {
        let mut buffer = vec![0; DATAGRAM_MAX];
        let mut answered: HashMap<String, String> = HashMap::new();
        while let Ok((length, from)) = self.socket.recv_from(&mut buffer).await {
            let Ok(SipMessage::Request(request)) = SipMessage::try_from(&buffer[..length]) else {
                continue;
            };
            let Ok(call_id) = request.call_id_header().map(ToString::to_string) else {
                continue;
            };
            match request.method {
                Method::Invite if !answered.contains_key(&call_id) => {
                    self.note(&request, &buffer[..length]);
                    let tag = format!("{:08x}", rand::random::<u32>());
                    answered.insert(call_id, tag.clone());
                    let phone = Arc::clone(&self);
                    tokio::spawn(async move { phone.answer(&request, &tag, from).await });
                }
                // A copy: the answer is on its way.
                Method::Invite => {}
                Method::Ack => {}
                _ => {
                    let tag = answered.get(&call_id).cloned().unwrap_or_default();
                    let response = self.response(&request, 200, "OK", &tag, "");
                    let _ = self.socket.send_to(response.as_bytes(), from).await;
                }
            }
        }
    }

    async fn answer(&self, request: &Request, tag: &str, from: SocketAddr) {
        let ringing = self.response(request, 180, "Ringing", tag, "");
        let _ = self.socket.send_to(ringing.as_bytes(), from).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let ok = self.response(request, 200, "OK", tag, SDP);
        let _ = self.socket.send_to(ok.as_bytes(), from).await;
    }

    fn note(&self, request: &Request, bytes: &[u8]) {
        let caller = request.from_header().ok().and_then(|from| from.uri().ok());
        let caller = caller
            .and_then(|uri| uri.user().map(str::to_owned))
            .unwrap_or_default();
        let callee = request.uri.user().map(str::to_owned).unwrap_or_default();
        let text = String::from_utf8_lossy(bytes).into_owned();
        let rang = Rang {
            at: Instant::now(),
            caller,
            callee,
            text,
        };
        self.rang
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(rang);
    }

    fn response(
        &self,
        request: &Request,
        status: u16,
        reason: &str,
        tag: &str,
        body: &str,
    ) -> String {
        let mut text = format!("SIP/2.0 {status} {reason}\r\n");
        for header in request.headers().iter() {
            match header {
                Header::Via(_)
                | Header::From(_)
                | Header::CallId(_)
                | Header::CSeq(_)
                | Header::RecordRoute(_) => {
                    text.push_str(&format!("{header}\r\n"));
                }
                Header::To(to) => {
                    let tagged = to.tag().ok().flatten().is_some();
                    let tag = if tagged {
                        String::new()
                    } else {
                        format!(";tag={tag}")
                    };
                    text.push_str(&format!("{header}{tag}\r\n"));
                }
                _ => {}
            }
        }
        let local = self
            .socket
            .local_addr()
            .map(|at| at.to_string())
            .unwrap_or_default();
        let content = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        text.push_str(&format!(
            "Contact: <sip:{local}>\r\n{content}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        text
    }
}
