//! The simulator's SIP side between two plain UDP sockets: a switch that calls A→X, and B's phone.
//! Nothing that B receives may hold A or C.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use tandem_vendors::sim::{self, Config, Credentials, Sim};
use tandem_vendors::{Bind, BindOutcome, Client, Handle, Interface, UnbindOutcome, Vendor};

pub(crate) const A: &str = "02100000000";
pub(crate) const X: &str = "17000000000";
pub(crate) const B: &str = "13900000001";

pub(crate) struct World {
    pub(crate) sim: Sim,
    pub(crate) client: Client,
    pub(crate) switch: UdpSocket,
    pub(crate) phone: UdpSocket,
    /// Where calls to the A of a relation arrive.
    pub(crate) desk: UdpSocket,
    handle: Option<Handle>,
}

impl World {
    pub(crate) fn new() -> World {
        World::with(Credentials::new("k", "s"))
    }

    pub(crate) fn with(credentials: Credentials) -> World {
        let socket = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            socket
        };
        let (switch, phone, desk) = (socket(), socket(), socket());
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::huawei(any, any, phone.local_addr().unwrap(), credentials);
        config.ax_incoming = Some(desk.local_addr().unwrap());
        let sim = sim::spawn(&config).unwrap();
        let url = sim.base_url(Vendor::huawei());
        let interface = Interface::new(1, "sim", Vendor::huawei(), &url)
            .with("app_key", "k")
            .with("app_secret", "s");
        World {
            client: Client::new(&interface).unwrap(),
            sim,
            switch,
            phone,
            desk,
            handle: None,
        }
    }

    pub(crate) fn bound() -> World {
        let mut world = World::new();
        world.bind();
        world
    }

    pub(crate) fn numbers() -> Bind {
        Bind {
            a: A.into(),
            x: X.into(),
            b: B.into(),
            own_id: "1".into(),
        }
    }

    pub(crate) fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    pub(crate) fn bind(&mut self) {
        match World::runtime().block_on(self.client.bind(&World::numbers())) {
            BindOutcome::Bound { handle, .. } => self.handle = Some(handle),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn unbind(&mut self) {
        let handle = self.handle.take().unwrap();
        let numbers = World::numbers();
        let unbind = self.client.unbind(&handle, &numbers);
        assert_eq!(World::runtime().block_on(unbind), UnbindOutcome::Released);
    }

    pub(crate) fn here(&self) -> SocketAddr {
        self.switch.local_addr().unwrap()
    }

    pub(crate) fn there(&self) -> SocketAddr {
        self.phone.local_addr().unwrap()
    }

    pub(crate) fn platform(&self) -> SocketAddr {
        self.sim.sip_addr()
    }

    /// The INVITE of a switch; A stands wherever a switch may put it.
    pub(crate) fn invite(&self, branch: &str, body_user: &str) -> String {
        let here = self.here();
        let sdp = format!(
            "v=0\r\no={body_user} 1 1 IN IP4 127.0.0.1\r\ns=call of {A}\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 0 101\r\n"
        );
        format!(
            "INVITE sip:{X}@{platform} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {here};branch={branch};rport\r\n\
             Max-Forwards: 60\r\n\
             From: \"{A}\" <sip:{A}@{here}>;tag=tag-of-switch\r\n\
             To: <sip:{X}@{platform}>\r\n\
             Call-ID: call-1@switch\r\n\
             CSeq: 7 INVITE\r\n\
             Contact: \"{A}\" <sip:{A}@{here};transport=udp>\r\n\
             P-Asserted-Identity: <sip:+862100000000@{here}>\r\n\
             Remote-Party-ID: \"x\" <sip:{A}@{here}>;party=calling\r\n\
             Diversion: <sip:{A}@{here}>;reason=unconditional\r\n\
             Subject: from {A}\r\n\
             Allow: INVITE, ACK, BYE\r\n\
             Content-Type: application/sdp\r\n\
             Content-Length: {length}\r\n\r\n{sdp}",
            platform = self.platform(),
            length = sdp.len(),
        )
    }

    pub(crate) fn switch_sends(&self, text: &str) {
        self.switch
            .send_to(text.as_bytes(), self.platform())
            .unwrap();
    }

    pub(crate) fn phone_sends(&self, text: &str) {
        self.phone
            .send_to(text.as_bytes(), self.platform())
            .unwrap();
    }

    /// What the phone receives; A is nowhere in it.
    pub(crate) fn phone_hears(&self) -> Heard {
        let heard = Heard::from(&self.phone);
        for number in [A, "2100000000"] {
            assert!(
                !heard.0.contains(number),
                "{number} reached the phone:\n{}",
                heard.0
            );
        }
        heard
    }

    pub(crate) fn switch_hears(&self) -> Heard {
        Heard::from(&self.switch)
    }

    /// Goes up to an answered call; what the phone heard and what the switch was answered.
    pub(crate) fn answered(&self) -> (Heard, Heard) {
        self.switch_sends(&self.invite("z9hG4bKone", A));
        let invite = self.phone_hears();
        self.phone_sends(&invite.answer("200 OK", self.there()));
        let ok = self.switch_hears();
        self.switch_sends(&in_dialog(&ok, "ACK", "z9hG4bKack", 7, self.here()));
        let ack = self.phone_hears();
        assert_eq!(ack.start(), format!("ACK sip:{B}@{} SIP/2.0", self.there()));
        (invite, ok)
    }
}

pub(crate) struct Heard(pub(crate) String);

impl Heard {
    pub(crate) fn from(socket: &UdpSocket) -> Heard {
        let mut buffer = [0; 65_536];
        let (length, _) = socket
            .recv_from(&mut buffer)
            .expect("nothing came within 5 s");
        Heard(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    pub(crate) fn start(&self) -> &str {
        self.0.split("\r\n").next().unwrap()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let head = self.0.split("\r\n\r\n").next().unwrap();
        let lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
        lines.filter(|(n, _)| *n == name).map(|(_, v)| v).collect()
    }

    pub(crate) fn one(&self, name: &str) -> &str {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "{name} in {}", self.0);
        all[0]
    }

    pub(crate) fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").unwrap().1
    }

    /// A response to this request with every Via and Record-Route, as a phone makes it.
    pub(crate) fn answer(&self, status: &str, contact: SocketAddr) -> String {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "Record-Route"] {
            for value in self.all(name) {
                text += &format!("{name}: {value}\r\n");
            }
        }
        let to = self.one("To");
        let tag = if to.contains(";tag=") || status.starts_with("100") {
            ""
        } else {
            ";tag=tag-of-phone"
        };
        text + &format!(
            "From: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:{B}@{contact}>\r\nContent-Length: 0\r\n\r\n",
            self.one("From"),
            self.one("Call-ID"),
            self.one("CSeq"),
        )
    }
}

/// A request of the switch within the dialog of an answer it got.
pub(crate) fn in_dialog(
    ok: &Heard,
    method: &str,
    branch: &str,
    number: u32,
    here: SocketAddr,
) -> String {
    let contact = ok.one("Contact").trim_matches(['<', '>']);
    format!(
        "{method} {contact} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch={branch}\r\nRoute: {}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {number} {method}\r\nContact: <sip:{A}@{here}>\r\nContent-Length: 0\r\n\r\n",
        ok.one("Record-Route"),
        ok.one("From"),
        ok.one("To"),
        ok.one("Call-ID"),
    )
}

#[test]
fn an_invite_from_a_to_x_reaches_b_as_one_from_x() {
    let world = World::bound();
    let (platform, phone) = (world.platform(), world.there());
    world.switch_sends(&world.invite("z9hG4bKone", A));
    let invite = world.phone_hears();
    assert_eq!(invite.start(), format!("INVITE sip:{B}@{phone} SIP/2.0"));
    assert_eq!(
        invite.one("From"),
        format!("<sip:{X}@{platform}>;tag=tag-of-switch")
    );
    assert_eq!(invite.one("To"), format!("<sip:{B}@{phone}>"));
    assert_eq!(
        invite.one("Contact"),
        format!("<sip:{X}@{};transport=udp>", world.here())
    );
    assert_eq!(
        invite.one("P-Asserted-Identity"),
        format!("<sip:{X}@{platform}>")
    );
    assert_eq!(
        invite.one("Remote-Party-ID"),
        format!("<sip:{X}@{platform}>")
    );
    assert_eq!(invite.one("Subject"), format!("from {X}"));
    assert_eq!(invite.one("Allow"), "INVITE, ACK, BYE");
    assert_eq!(invite.one("Record-Route"), format!("<sip:{platform};lr>"));
    assert_eq!(invite.one("Max-Forwards"), "59");
    assert_eq!(invite.all("Via").len(), 2);
    assert!(invite.body().contains(&format!("o={X} 1 1 IN IP4")));
    assert_eq!(
        invite.one("Content-Length"),
        invite.body().len().to_string()
    );
}

#[test]
fn a_whole_call_passes_in_both_directions() {
    let world = World::bound();
    let (platform, here, there) = (world.platform(), world.here(), world.there());
    world.switch_sends(&world.invite("z9hG4bKone", A));
    let invite = world.phone_hears();
    for status in ["100 Trying", "180 Ringing", "200 OK"] {
        world.phone_sends(&invite.answer(status, there));
        let heard = world.switch_hears();
        assert_eq!(heard.start(), format!("SIP/2.0 {status}"));
        assert_eq!(heard.all("Via").len(), 1);
        assert!(heard.one("Via").contains("branch=z9hG4bKone"));
        assert_eq!(
            heard.one("From"),
            format!("\"{A}\" <sip:{A}@{here}>;tag=tag-of-switch")
        );
        let tag = if status == "100 Trying" {
            ""
        } else {
            ";tag=tag-of-phone"
        };
        assert_eq!(heard.one("To"), format!("<sip:{X}@{platform}>{tag}"));
    }
    world.phone_sends(&invite.answer("200 OK", there));
    let ok = world.switch_hears();
    world.switch_sends(&in_dialog(&ok, "ACK", "z9hG4bKack", 7, here));
    let ack = world.phone_hears();
    assert_eq!(ack.start(), format!("ACK sip:{B}@{there} SIP/2.0"));
    assert_eq!(ack.one("To"), format!("<sip:{B}@{there}>;tag=tag-of-phone"));
    assert_eq!(ack.all("Route"), [""; 0]);
    assert_eq!(world.sim.calls().live, 1);

    // The switch asks to hold; the phone agrees.
    world.switch_sends(&in_dialog(&ok, "INVITE", "z9hG4bKhold", 8, here));
    let hold = world.phone_hears();
    assert_eq!(hold.one("CSeq"), "8 INVITE");
    world.phone_sends(&hold.answer("200 OK", there));
    assert_eq!(world.switch_hears().start(), "SIP/2.0 200 OK");

    // The phone says something and hangs up; its request is aimed at the Contact it saw.
    for (number, method) in [(1, "INFO"), (2, "BYE")] {
        let contact = invite.one("Contact").trim_matches(['<', '>']);
        world.phone_sends(&format!(
            "{method} {contact} SIP/2.0\r\nVia: SIP/2.0/UDP {there};branch=z9hG4bKp{number}\r\nRoute: {}\r\nMax-Forwards: 70\r\nFrom: {};tag=tag-of-phone\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {number} {method}\r\nContent-Length: 0\r\n\r\n",
            invite.one("Record-Route"), invite.one("To"), invite.one("From"), invite.one("Call-ID"),
        ));
        let heard = world.switch_hears();
        // The hold had put the switch's plain Contact in place.
        assert_eq!(
            heard.start(),
            format!("{method} sip:{A}@{here};transport=udp SIP/2.0")
        );
        assert_eq!(
            heard.one("From"),
            format!("<sip:{X}@{platform}>;tag=tag-of-phone")
        );
        assert_eq!(
            heard.one("To"),
            format!("\"{A}\" <sip:{A}@{here}>;tag=tag-of-switch")
        );
        world.switch_sends(&heard.answer("200 OK", here));
        let ok = world.phone_hears();
        assert_eq!(ok.start(), "SIP/2.0 200 OK");
        assert_eq!(
            ok.one("From"),
            format!("<sip:{B}@{there}>;tag=tag-of-phone")
        );
        assert_eq!(
            ok.one("To"),
            format!("<sip:{X}@{platform}>;tag=tag-of-switch")
        );
    }
    let calls = world.sim.calls();
    assert_eq!(
        (calls.live, calls.total, calls.answered, calls.not_found),
        (0, 1, 1, 0)
    );
    assert_eq!((calls.foreign_identity, calls.malformed), (0, 0));
}

#[test]
fn the_switch_hangs_up() {
    let world = World::bound();
    let (_, ok) = world.answered();
    world.switch_sends(&in_dialog(&ok, "BYE", "z9hG4bKbye", 8, world.here()));
    let bye = world.phone_hears();
    world.phone_sends(&bye.answer("200 OK", world.there()));
    assert_eq!(world.switch_hears().one("CSeq"), "8 BYE");
    assert_eq!(world.sim.calls().live, 0);
}

#[test]
fn an_unbind_during_a_call_does_not_end_it() {
    let mut world = World::bound();
    let (_, ok) = world.answered();
    world.unbind();
    world.switch_sends(&in_dialog(&ok, "UPDATE", "z9hG4bKup", 8, world.here()));
    let update = world.phone_hears();
    assert!(update.start().starts_with("UPDATE "));
    world.phone_sends(&update.answer("200 OK", world.there()));
    assert_eq!(world.switch_hears().one("CSeq"), "8 UPDATE");
    assert_eq!(world.sim.calls().live, 1);
}

#[test]
fn a_cancel_follows_its_invite_and_the_refusal_comes_back() {
    let world = World::bound();
    let here = world.here();
    world.switch_sends(&world.invite("z9hG4bKone", A));
    let invite = world.phone_hears();
    world.phone_sends(&invite.answer("180 Ringing", world.there()));
    world.switch_hears();
    let same_hop = |method: &str, to_tag: &str| {
        format!(
            "{method} sip:{X}@{platform} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bKone;rport\r\nMax-Forwards: 60\r\nFrom: \"{A}\" <sip:{A}@{here}>;tag=tag-of-switch\r\nTo: <sip:{X}@{platform}>{to_tag}\r\nCall-ID: call-1@switch\r\nCSeq: 7 {method}\r\nContent-Length: 0\r\n\r\n",
            platform = world.platform(),
        )
    };
    world.switch_sends(&same_hop("CANCEL", ""));
    let cancel = world.phone_hears();
    assert_eq!(
        cancel.start(),
        format!("CANCEL sip:{B}@{} SIP/2.0", world.there())
    );
    // The phone finds the INVITE by the branch.
    assert_eq!(cancel.all("Via")[0], invite.all("Via")[0]);
    world.phone_sends(&cancel.answer("200 OK", world.there()));
    assert_eq!(world.switch_hears().one("CSeq"), "7 CANCEL");
    world.phone_sends(&invite.answer("487 Request Terminated", world.there()));
    assert_eq!(
        world.switch_hears().start(),
        "SIP/2.0 487 Request Terminated"
    );
    world.switch_sends(&same_hop("ACK", ";tag=tag-of-phone"));
    let ack = world.phone_hears();
    assert_eq!(
        ack.start(),
        format!("ACK sip:{B}@{} SIP/2.0", world.there())
    );
    assert_eq!(ack.all("Via")[0], invite.all("Via")[0]);
    let calls = world.sim.calls();
    assert_eq!((calls.live, calls.total, calls.answered), (0, 1, 0));
}

#[test]
fn without_a_binding_the_answer_is_404_and_a_later_try_goes_through() {
    let mut world = World::new();
    let invite = world.invite("z9hG4bKone", A);
    for _ in 0..2 {
        world.switch_sends(&invite);
        let refusal = world.switch_hears();
        assert_eq!(refusal.start(), "SIP/2.0 404 Not Found");
        assert!(refusal.one("To").contains(";tag="));
        assert!(refusal.one("Via").contains("branch=z9hG4bKone"));
    }
    let calls = world.sim.calls();
    assert_eq!(
        (calls.not_found, calls.retransmissions, calls.total),
        (1, 1, 0)
    );
    world.switch_sends(&invite.replace("INVITE", "ACK"));
    world.bind();
    world.switch_sends(&world.invite("z9hG4bKtwo", A));
    // The ACK was absorbed: the next thing that the phone hears is the INVITE.
    assert!(world.phone_hears().start().starts_with("INVITE "));
}

#[test]
fn a_retransmission_takes_the_same_branch_and_no_second_call() {
    let mut world = World::bound();
    let invite = world.invite("z9hG4bKone", A);
    world.switch_sends(&invite);
    let first = world.phone_hears();
    world.unbind();
    world.switch_sends(&invite);
    assert_eq!(world.phone_hears().0, first.0);
    assert_eq!(world.sim.calls().total, 1);
    assert_eq!(world.sim.calls().retransmissions, 1);
}

#[test]
fn a_switch_that_gives_away_the_caller_is_counted() {
    let world = World::bound();
    let c = "13700000000";
    let invite = world
        .invite("z9hG4bKone", c)
        .replace("<sip:+862100000000@", &format!("<sip:{c}@"));
    world.switch_sends(&invite);
    world.phone_hears();
    assert_eq!(world.sim.calls().foreign_identity, 1);
}

#[test]
fn strays_are_answered_like_a_proxy_does() {
    let world = World::bound();
    let here = world.here();
    let request = |method: &str, hops: u8| {
        format!(
            "{method} sip:{X}@{} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bKs{method}{hops}\r\nMax-Forwards: {hops}\r\nFrom: <sip:{A}@{here}>;tag=1\r\nTo: <sip:{X}@h>\r\nCall-ID: stray\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n",
            world.platform(),
        )
    };
    for (method, hops, status) in [
        ("OPTIONS", 70, "200 OK"),
        ("BYE", 70, "481 Call/Transaction Does Not Exist"),
        ("CANCEL", 70, "481 Call/Transaction Does Not Exist"),
        ("REGISTER", 70, "405 Method Not Allowed"),
        ("INVITE", 0, "483 Too Many Hops"),
    ] {
        world.switch_sends(&request(method, hops));
        assert_eq!(world.switch_hears().start(), format!("SIP/2.0 {status}"));
    }
}

#[test]
fn garbage_is_counted_and_harms_no_call() {
    let world = World::bound();
    let invite = world.invite("z9hG4bKone", A);
    let sent = 300;
    for n in 0..sent {
        // Every kind of cut and some flipped bytes.
        let mut bytes = invite.as_bytes()[..invite.len() * n / sent].to_vec();
        if let Some(byte) = bytes.get_mut(n * 7 % 400) {
            *byte ^= 0xff;
        }
        bytes.push(0xfe);
        world.switch.send_to(&bytes, world.platform()).unwrap();
        world.switch.send_to(b"\r\n\r\n", world.platform()).unwrap();
    }
    world.switch_sends(&invite);
    world.phone_hears();
    let calls = world.sim.calls();
    assert!(calls.malformed >= 290, "{calls:?}");
}
