//! The two far ends of a call by hand, that say each thing to whichever node the test wants. SIPp keeps to one address.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::wire::{header, status};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n";

/// How the customer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Datagrams from one socket.
    Udp,
    /// A connection to each node that it speaks to.
    Tcp,
}

/// A customer in one call.
#[derive(Debug)]
pub struct Caller {
    link: Link,
    /// At the port in Contact.
    _listening: Option<Listener>,
    local: SocketAddr,
    call: u32,
    /// To, with the switch's tag once that is known.
    pub to: String,
    /// Where requests inside the dialog are aimed: the switch's Contact.
    pub target: String,
    cseq: u32,
    /// What the switch asked and was agreed to.
    pub agreed: Vec<Heard>,
}

#[derive(Debug)]
enum Link {
    Udp(UdpSocket),
    Tcp(BTreeMap<SocketAddr, Stream>),
}

/// Agrees to whatever it is asked, on a thread of its own.
#[derive(Debug)]
struct Listener {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Stream {
    socket: TcpStream,
    unread: Vec<u8>,
}

/// What came, and from where.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The address it was sent from.
    pub from: SocketAddr,
    /// The whole message.
    pub text: String,
}

impl Caller {
    /// Places a call through `node` and waits for the answer, which it leaves unacknowledged.
    #[track_caller]
    pub fn place(over: Over, node: SocketAddr, callee: &str) -> Caller {
        let mut caller = Caller::new(Ipv4Addr::LOCALHOST, over, node, callee);
        caller.invite(node);
        caller
    }

    /// A customer at this address who has not placed its call yet.
    #[track_caller]
    pub fn new(own: Ipv4Addr, over: Over, node: SocketAddr, callee: &str) -> Caller {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let call = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut listening = None;
        let (link, local) = match over {
            Over::Udp => {
                let socket = UdpSocket::bind((own, 0)).expect("a free port");
                let local = socket.local_addr().expect("it is bound");
                (Link::Udp(socket), local)
            }
            Over::Tcp => {
                let listener = TcpListener::bind((own, 0)).expect("a free port");
                let local = listener.local_addr().expect("it is bound");
                let streams = BTreeMap::from([(node, Stream::open(node))]);
                listening = Some(Listener::start(listener));
                (Link::Tcp(streams), local)
            }
        };
        let uri = format!("sip:{callee}@{node}");
        Caller {
            link,
            _listening: listening,
            local,
            call,
            to: format!("<{uri}>"),
            target: uri,
            cseq: 0,
            agreed: Vec::new(),
        }
    }

    /// Places the call and waits for the answer.
    #[track_caller]
    pub fn invite(&mut self, node: SocketAddr) {
        let answer = self.ask(node, "INVITE", Some(("application/sdp", SDP)));
        assert_eq!(status(&answer.text), 200, "{}", answer.text);
        assert_eq!(answer.from, node);
        self.to = header(&answer.text, "To").expect("it has one").to_owned();
        let contact = header(&answer.text, "Contact").expect("it has one");
        let inner = contact.split(['<', '>']).nth(1).unwrap_or(contact);
        self.target = inner.to_owned();
    }

    /// The ACK of the last INVITE.
    pub fn acknowledge(&mut self, node: SocketAddr) {
        self.cseq -= 1;
        let ack = self.request("ACK", None);
        self.say(node, &ack);
    }

    /// A new offer, answered and acknowledged, each to its own node.
    #[track_caller]
    pub fn reoffer(&mut self, node: SocketAddr, acknowledge: SocketAddr) -> Heard {
        let answer = self.ask(node, "INVITE", Some(("application/sdp", SDP)));
        if status(&answer.text) == 200 {
            self.acknowledge(acknowledge);
        }
        answer
    }

    /// Sends a new request, repeats it as RFC 3261 wants over datagrams, and waits for its final answer.
    #[track_caller]
    pub fn ask(&mut self, node: SocketAddr, method: &str, body: Option<(&str, &str)>) -> Heard {
        let request = self.request(method, body);
        let heard = self.exchange(node, &request, Duration::from_secs(20));
        heard.unwrap_or_else(|| panic!("no answer from {node} to\n{request}"))
    }

    /// The next request of the dialog.
    pub fn request(&mut self, method: &str, body: Option<(&str, &str)>) -> String {
        self.cseq += 1;
        let (local, call, cseq) = (self.local, self.call, self.cseq);
        let pid = std::process::id();
        let (transport, over) = match self.link {
            Link::Udp(_) => ("UDP", ""),
            Link::Tcp(_) => ("TCP", ";transport=tcp"),
        };
        let kind = body.map_or(String::new(), |(kind, _)| {
            format!("Content-Type: {kind}\r\n")
        });
        let body = body.map_or("", |(_, body)| body);
        format!(
            "{method} {} SIP/2.0\r\n\
             Via: SIP/2.0/{transport} {local};branch=z9hG4bK{pid}e{call}n{cseq}{method};rport\r\n\
             From: <sip:13900000000@{local}>;tag=e{pid}{call}\r\nTo: {}\r\nCall-ID: ends-{pid}-{call}@{local}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:13900000000@{local}{over}>\r\nMax-Forwards: 70\r\n{kind}\
             Content-Length: {}\r\n\r\n{body}",
            self.target,
            self.to,
            body.len()
        )
    }

    /// Sends `request` and waits for its final answer for at most `limit`.
    pub fn exchange(&mut self, node: SocketAddr, request: &str, limit: Duration) -> Option<Heard> {
        let end = Instant::now() + limit;
        let cseq = header(request, "CSeq").unwrap_or_default().to_owned();
        let mut pause = Duration::from_millis(500);
        self.say(node, request);
        let mut again = Instant::now() + pause;
        while Instant::now() < end {
            let wait = again.min(end).saturating_duration_since(Instant::now());
            match self.hear(node, wait.max(Duration::from_millis(1))) {
                Some(heard)
                    if status(&heard.text) >= 200
                        && header(&heard.text, "CSeq") == Some(cseq.as_str()) =>
                {
                    return Some(heard);
                }
                // What the switch asks meanwhile must not wait for it.
                Some(heard) if asks(&heard.text) => self.agree(&heard),
                Some(_) => {}
                None if Instant::now() >= again => {
                    pause = (pause * 2).min(Duration::from_secs(4));
                    again = Instant::now() + pause;
                    if matches!(self.link, Link::Udp(_)) {
                        self.say(node, request);
                    }
                }
                None => {}
            }
        }
        None
    }

    /// Sends a message.
    pub fn say(&mut self, node: SocketAddr, text: &str) {
        match &mut self.link {
            Link::Udp(socket) => {
                // A dead node's port refuses; who lost a datagram notices by the missing answer.
                let _ = socket.send_to(text.as_bytes(), node);
            }
            Link::Tcp(streams) => {
                let stream = streams.entry(node).or_insert_with(|| Stream::open(node));
                let _ = stream.socket.write_all(text.as_bytes());
            }
        }
    }

    /// The next message, over TCP from `node`; `None` when none comes within `limit`.
    pub fn hear(&mut self, node: SocketAddr, limit: Duration) -> Option<Heard> {
        match &mut self.link {
            Link::Udp(socket) => receive(socket, limit),
            Link::Tcp(streams) => {
                let text = streams.get_mut(&node)?.receive(limit)?;
                Some(Heard { from: node, text })
            }
        }
    }

    /// Answers a request of the switch with 200.
    pub fn agree(&mut self, request: &Heard) {
        let answer = agreement(&request.text, self.local);
        self.say(request.from, &answer);
        self.agreed.push(request.clone());
    }
}

impl Listener {
    fn start(listener: TcpListener) -> Listener {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || agree_to_all(&listener, &stop))
        };
        Listener {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell.
            let _ = thread.join();
        }
    }
}

fn agree_to_all(listener: &TcpListener, stop: &AtomicBool) {
    let local = listener.local_addr().expect("it is bound");
    listener.set_nonblocking(true).expect("it is a socket");
    let mut streams: Vec<Stream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if let Ok((socket, _)) = listener.accept() {
            socket.set_nonblocking(false).expect("it is a socket");
            streams.push(Stream {
                socket,
                unread: Vec::new(),
            });
        }
        for stream in &mut streams {
            if let Some(text) = stream.receive(Duration::from_millis(10))
                && asks(&text)
            {
                // As good as lost.
                let _ = stream.socket.write_all(agreement(&text, local).as_bytes());
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A request that is answered.
fn asks(text: &str) -> bool {
    status(text) == 0 && !text.starts_with("ACK ")
}

fn agreement(request: &str, local: SocketAddr) -> String {
    let describes = request.contains("application/sdp");
    let body = if describes { SDP } else { "" };
    let over = if header(request, "Via").is_some_and(|via| via.contains("/TCP")) {
        ";transport=tcp"
    } else {
        ""
    };
    answer_to(
        request,
        200,
        &format!("<sip:13900000000@{local}{over}>"),
        body,
    )
}

impl Stream {
    #[track_caller]
    fn open(node: SocketAddr) -> Stream {
        let socket = TcpStream::connect_timeout(&node, Duration::from_secs(2));
        Stream {
            socket: socket.expect("the node listens"),
            unread: Vec::new(),
        }
    }

    fn receive(&mut self, limit: Duration) -> Option<String> {
        let end = Instant::now() + limit;
        let mut buffer = [0; 4_096];
        loop {
            if let Some(length) = whole(&self.unread) {
                let rest = self.unread.split_off(length);
                let text = std::mem::replace(&mut self.unread, rest);
                return Some(String::from_utf8_lossy(&text).into_owned());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.socket
                .set_read_timeout(Some(left))
                .expect("the limit is not zero");
            match self.socket.read(&mut buffer) {
                Ok(0) | Err(_) => return None,
                Ok(size) => self.unread.extend_from_slice(&buffer[..size]),
            }
        }
    }
}

/// How long the first message is, if it is whole.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]);
    let body: usize = header(&text, "Content-Length")?.parse().ok()?;
    (bytes.len() >= head + body).then_some(head + body)
}

fn receive(socket: &UdpSocket, limit: Duration) -> Option<Heard> {
    socket
        .set_read_timeout(Some(limit))
        .expect("the limit is not zero");
    let mut buffer = vec![0; 65_536];
    let (size, from) = socket.recv_from(&mut buffer).ok()?;
    let text = String::from_utf8_lossy(&buffer[..size]).into_owned();
    Some(Heard { from, text })
}

/// A callee that answers every call at once and agrees to everything, on a thread of its own.
#[derive(Debug)]
pub struct Callee {
    socket: UdpSocket,
    heard: Arc<Mutex<Vec<Heard>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Callee {
    /// Answers at this port.
    #[track_caller]
    pub fn at(port: u16) -> Callee {
        Callee::on((Ipv4Addr::LOCALHOST, port).into(), true)
    }

    /// Answers at this address, or lets every call ring.
    #[track_caller]
    pub fn on(address: SocketAddr, answers: bool) -> Callee {
        let socket = UdpSocket::bind(address).expect("the port is free");
        let (heard, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (socket, heard, stop) = (
                socket.try_clone().expect("a second handle"),
                Arc::clone(&heard),
                Arc::clone(&stop),
            );
            std::thread::spawn(move || answer_all(&socket, &heard, &stop, answers))
        };
        Callee {
            socket,
            heard,
            stop,
            thread: Some(thread),
        }
    }

    /// Everything heard so far, copies left out.
    pub fn heard(&self) -> Vec<Heard> {
        lock(&self.heard).clone()
    }

    /// How often this was heard in calls so far: a method, or a status with its method.
    pub fn count(&self, what: &str) -> usize {
        let heard = lock(&self.heard);
        heard
            .iter()
            .filter(|heard| label(&heard.text) == what)
            .count()
    }

    /// Says something to `node` within the last call.
    #[track_caller]
    pub fn says(&self, node: SocketAddr, method: &str) {
        let heard = lock(&self.heard);
        let invite = heard
            .iter()
            .rfind(|heard| label(&heard.text) == "INVITE" && !is_inside(&heard.text))
            .expect("there was a call");
        let value = |name| header(&invite.text, name).expect("it has one");
        let contact = value("Contact");
        let target = contact.split(['<', '>']).nth(1).unwrap_or(contact);
        let local = self.socket.local_addr().expect("it is bound");
        let request = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{}c{method};rport\r\n\
             From: {};tag={TAG}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n\
             Content-Length: 0\r\n\r\n",
            heard.len(),
            value("To"),
            value("From"),
            value("Call-ID"),
        );
        self.socket
            .send_to(request.as_bytes(), node)
            .expect("it can be sent");
    }
}

impl Drop for Callee {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell but what was heard.
            let _ = thread.join();
        }
    }
}

const TAG: &str = "callee";

fn answer_all(socket: &UdpSocket, heard: &Mutex<Vec<Heard>>, stop: &AtomicBool, picks_up: bool) {
    while !stop.load(Ordering::Relaxed) {
        let Some(message) = receive(socket, Duration::from_millis(50)) else {
            continue;
        };
        let what = label(&message.text);
        let method = what.split(' ').next_back().unwrap_or_default().to_owned();
        let mut answers = Vec::new();
        match (status(&message.text), method.as_str()) {
            (0, "ACK") | (1.., _) => {}
            (0, "INVITE") if !is_inside(&message.text) && !picks_up => answers.push(180),
            (0, "INVITE") if !is_inside(&message.text) => answers.extend([180, 200]),
            _ => answers.push(200),
        }
        for code in answers {
            let body = match (code, method.as_str()) {
                (200, "INVITE" | "UPDATE") => SDP,
                _ => "",
            };
            let local = socket.local_addr().expect("it is bound");
            let answer = answer_to(&message.text, code, &format!("<sip:x@{local}>"), body);
            // As good as lost.
            let _ = socket.send_to(answer.as_bytes(), message.from);
        }
        let mut heard = lock(heard);
        let via = |text: &str| header(text, "Via").map(str::to_owned);
        let copy = heard
            .iter()
            .any(|known| label(&known.text) == what && via(&known.text) == via(&message.text));
        if !copy {
            heard.push(message);
        }
    }
}

fn lock(heard: &Mutex<Vec<Heard>>) -> MutexGuard<'_, Vec<Heard>> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A method, or a status with its method.
fn label(text: &str) -> String {
    let method = header(text, "CSeq").and_then(|cseq| cseq.split(' ').nth(1));
    match (status(text), method.unwrap_or_default()) {
        (0, method) => method.to_owned(),
        (status, method) => format!("{status} {method}"),
    }
}

fn is_inside(text: &str) -> bool {
    header(text, "To").is_some_and(|to| to.contains(";tag="))
}

fn answer_to(request: &str, code: u16, contact: &str, body: &str) -> String {
    let mut answer = format!("SIP/2.0 {code} Fine\r\n");
    for line in request.lines().take_while(|line| !line.is_empty()) {
        let name = line.split(':').next().unwrap_or_default();
        if !["Via", "From", "To", "Call-ID", "CSeq"].contains(&name) {
            continue;
        }
        answer.push_str(line);
        if name == "To" && !is_inside(request) {
            answer.push_str(&format!(";tag={TAG}"));
        }
        answer.push_str("\r\n");
    }
    if !contact.is_empty() {
        answer.push_str(&format!("Contact: {contact}\r\n"));
    }
    if !body.is_empty() {
        answer.push_str("Content-Type: application/sdp\r\n");
    }
    format!("{answer}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// The CANCEL of an INVITE.
pub fn cancel_of(invite: &str) -> String {
    let head = invite.split("\r\n\r\n").next().unwrap_or_default();
    let lines = head.lines().filter(|line| {
        let name = line.split(':').next().unwrap_or_default();
        !["Contact", "Content-Type", "Content-Length"].contains(&name)
    });
    let mut cancel = String::new();
    for line in lines {
        let line = match line {
            line if line.starts_with("INVITE ") || line.starts_with("CSeq:") => {
                line.replace("INVITE", "CANCEL")
            }
            line => line.to_owned(),
        };
        cancel.push_str(&line);
        cancel.push_str("\r\n");
    }
    cancel + "Content-Length: 0\r\n\r\n"
}
