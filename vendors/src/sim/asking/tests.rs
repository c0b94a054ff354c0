//! The asking side against a customer who answers by the definitions, and against one who does not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use serde_json::json;

use super::vendors::{infobip, unicom};
use super::*;
use crate::definition::{CallbackRequest, Callee, Plan};
use crate::sim::{Config, Faults, Sim, spawn};
use crate::{Interface, Vendor};

const A: &str = "02100000001";
const X: &str = "16600000001";
const B: &str = "13800000001";

/// What a customer's server does.
#[derive(Clone, Copy)]
enum Server {
    /// Answers by the vendor's definition: B for A, nobody else.
    Defined(&'static str),
    /// Says this.
    Says(&'static str),
    /// Takes connections and says nothing.
    Mute,
}

fn plan(vendor: &str) -> Plan {
    let interface = Interface::new(1, "asks", Vendor::named(vendor).unwrap(), "");
    let params: &[_] = match vendor {
        "infobip" => &[
            ("api_id", "k"),
            ("api_secret", "s"),
            ("refuse_file_id", "f"),
        ],
        _ => &[("app_id", "k"), ("app_secret", "s")],
    };
    let with = |interface: Interface, (name, value): &(&str, &str)| interface.with(name, value);
    Plan::new(&params.iter().fold(interface, with))
}

/// A request's path, headers and body.
type Received = (String, Vec<(String, String)>, Vec<u8>);

/// Reads one request off a connection.
fn read_request(stream: &mut impl Read) -> Option<Received> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let mut lines = head.lines();
            let path = lines.next()?.split(' ').nth(1)?.to_owned();
            let headers: Vec<_> = lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length: usize = length?.1.parse().ok()?;
            if bytes.len() >= end + 4 + length {
                return Some((path, headers, bytes[end + 4..].to_vec()));
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

fn answer(plan: &Plan, at: SocketAddr, request: Received) -> String {
    let (path, headers, body) = request;
    let name = path.rsplit('/').next().unwrap();
    let headers: Vec<_> = headers
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    let url = format!("http://{at}{path}");
    let request = CallbackRequest {
        method: "POST",
        url: &url,
        suffix: "",
        headers: &headers,
        body: &body,
        now_ms: crate::sim::now_ms(),
    };
    let reply = match plan.question(name, &request) {
        Err(error) => plan.refuse_question(name, &error),
        Ok(asked) => {
            let callee = Callee {
                b: B,
                own_id: "71",
                limit_s: None,
            };
            let callee = (asked.a == A && asked.x == X).then_some(callee);
            plan.answer(name, &request, &asked, callee, "").unwrap()
        }
    };
    format!(
        "HTTP/1.1 {} x\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n{}",
        reply.status,
        reply.content_type,
        reply.body.len(),
        reply.body
    )
}

/// A customer's address.
fn serve(server: Server) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                while let Some(request) = read_request(&mut stream) {
                    let text = match server {
                        Server::Defined(vendor) => answer(&plan(vendor), at, request),
                        Server::Says(body) => format!(
                            "HTTP/1.1 200 x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                            body.len()
                        ),
                        Server::Mute => continue,
                    };
                    stream.write_all(text.as_bytes()).unwrap();
                }
            });
        }
    });
    format!("http://{at}/callbacks/asks")
}

/// A simulator with one vendor that asks, B's phone, and A's.
struct World {
    sim: Sim,
    phone: UdpSocket,
    caller: UdpSocket,
    log: tempfile::NamedTempFile,
}

fn world(vendor: &'static str, urls: &[String], within_ms: u64) -> World {
    let socket = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        socket
    };
    let (phone, caller) = (socket(), socket());
    let any = "127.0.0.1:0".parse().unwrap();
    let credentials = crate::sim::Credentials::new("k", "s");
    let mut config = Config::of(any, any, phone.local_addr().unwrap(), ["vcc"], &credentials);
    let mut asking = Asking::new("k", "s", "166", urls);
    asking.within_ms = within_ms;
    config.asking.insert(vendor.to_owned(), asking);
    let log = tempfile::NamedTempFile::new().unwrap();
    config.log = Some(log.path().to_owned());
    World {
        sim: spawn(&config).unwrap(),
        phone,
        caller,
        log,
    }
}

impl World {
    fn send(&self, method: &str, call: &str, from: &str, x: &str) {
        let me = self.caller.local_addr().unwrap();
        let sim = self.sim.sip_addr();
        let text = format!(
            "{method} sip:{x}@{sim} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK-{call}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{from}@{me}>;tag=a\r\nTo: <sip:{x}@{sim}>\r\n\
             Call-ID: {call}\r\nCSeq: 1 {method}\r\nContact: <sip:{from}@{me}>\r\nContent-Length: 0\r\n\r\n"
        );
        self.caller.send_to(text.as_bytes(), sim).unwrap();
    }

    fn start_of(socket: &UdpSocket) -> String {
        let mut buffer = [0; 4096];
        let (length, _) = socket.recv_from(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        text.lines().next().unwrap().to_owned()
    }

    /// The final answer of a call; `100` before it is passed over.
    fn refused(&self) -> String {
        assert_eq!(World::start_of(&self.caller), "SIP/2.0 100 Trying");
        World::start_of(&self.caller)
    }

    /// Vendor, code, B and id of the questions in the log.
    fn questions(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.log.path()).unwrap();
        let line = |line: &str| {
            let line: crate::sim::Line = serde_json::from_str(line).unwrap();
            assert_eq!((&*line.op, &*line.x), ("question", X));
            format!("{} {} {} {}", line.status, line.code, line.b, line.bind_id)
        };
        text.lines().map(line).collect()
    }
}

#[test]
fn a_call_is_asked_about_and_goes_where_the_answer_says() {
    for vendor in ["china-unicom-x", "infobip"] {
        let world = world(vendor, &[serve(Server::Defined(vendor))], 2_000);
        world.send("INVITE", "one", A, X);
        assert_eq!(World::start_of(&world.caller), "SIP/2.0 100 Trying");
        let invite = World::start_of(&world.phone);
        assert!(invite.starts_with(&format!("INVITE sip:{B}@")), "{invite}");
        // Somebody else, and the same who calls an X that nobody asks about.
        world.send("INVITE", "two", "02100000002", X);
        assert_eq!(world.refused(), "SIP/2.0 404 Not Found");
        world.send("INVITE", "three", A, "17000000001");
        assert_eq!(World::start_of(&world.caller), "SIP/2.0 404 Not Found");
        let said = [format!("200 dial {B} 71"), "200 refuse  ".to_owned()];
        assert_eq!(world.questions(), said, "{vendor}");
    }
}

#[test]
fn what_belongs_to_a_call_that_waits_follows_it_in_order() {
    let world = world("infobip", &[serve(Server::Defined("infobip"))], 2_000);
    world.sim.set_faults(
        "infobip",
        Faults {
            latency_ms: 150,
            ..Faults::default()
        },
    );
    world.send("INVITE", "one", A, X);
    world.send("INVITE", "one", A, X);
    world.send("CANCEL", "one", A, X);
    let starts = [0; 2].map(|_| World::start_of(&world.phone));
    assert!(
        starts[0].starts_with("INVITE ") && starts[1].starts_with("CANCEL "),
        "{starts:?}"
    );
    for _ in 0..2 {
        assert_eq!(World::start_of(&world.caller), "SIP/2.0 100 Trying");
    }
    assert_eq!(world.questions().len(), 1);
}

#[test]
fn the_next_address_is_asked_when_one_does_not_answer() {
    let dead = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let urls = [
        dead,
        serve(Server::Mute),
        serve(Server::Says(r#"{"command":"dial"}"#)),
        serve(Server::Defined("infobip")),
    ];
    let world = world("infobip", &urls, 200);
    world.send("INVITE", "one", A, X);
    assert!(World::start_of(&world.phone).starts_with("INVITE "));
    let said = [
        "0 silent  ",
        "0 silent  ",
        "200 malformed  ",
        "200 dial 13800000001 71",
    ];
    assert_eq!(world.questions(), said);
}

#[test]
fn a_platform_in_trouble_refuses_its_calls() {
    for (faults, said) in [
        (json!({ "bad_proof": true }), "401 malformed  "),
        (json!({ "down": true }), "0 silent  "),
        (json!({ "drop_reply_rate": 1.0 }), "0 silent  "),
    ] {
        let world = world("infobip", &[serve(Server::Defined("infobip"))], 500);
        let faults: Faults = serde_json::from_value(faults).unwrap();
        world.sim.set_faults("infobip", faults);
        world.send("INVITE", "one", A, X);
        assert_eq!(world.refused(), "SIP/2.0 404 Not Found");
        assert_eq!(world.questions(), [said]);
        world.sim.clear_faults();
        world.send("INVITE", "two", A, X);
        assert!(World::start_of(&world.phone).starts_with("INVITE "));
    }
}

#[test]
fn only_answers_in_the_vendors_own_form_are_taken() {
    let dial = Ok(Answer::Dial {
        b: "+8613800000001".to_owned(),
        own_id: "71".to_owned(),
    });
    type Case<'c> = (&'c Asker, &'c str, Option<&'c Result<Answer, String>>);
    let cases: [Case<'_>; 17] = [
        (
            &unicom::ASKER,
            r#"{"code":200,"processType":"0","data":{"uId":"71","caller":"16600000001","callee":"13800000001"}}"#,
            Some(&dial),
        ),
        (
            &unicom::ASKER,
            r#"{"code":200,"processType":"2"}"#,
            Some(&Ok(Answer::Refuse)),
        ),
        (&unicom::ASKER, r#"{"code":"200","processType":"2"}"#, None),
        (&unicom::ASKER, r#"{"code":200,"processType":2}"#, None),
        (&unicom::ASKER, r#"{"code":200,"processType":"4"}"#, None),
        (&unicom::ASKER, r#"{"code":99,"msg":"no"}"#, None),
        (
            &unicom::ASKER,
            r#"{"code":200,"processType":"0","data":{"caller":"13900000009","callee":"13800000001"}}"#,
            None,
        ),
        (
            &unicom::ASKER,
            r#"{"code":200,"processType":"0","data":{"caller":"16600000001","callee":"+8613800000001"}}"#,
            None,
        ),
        (
            &unicom::ASKER,
            r#"{"code":200,"processType":"0","data":{"caller":"16600000001","callee":"13800000001","limit":60}}"#,
            None,
        ),
        (&unicom::ASKER, "[]", None),
        (
            &infobip::ASKER,
            r#"{"command":"dial","phoneNumber":"8613800000001","callerId":"8616600000001","clientReferenceId":"71"}"#,
            Some(&dial),
        ),
        (
            &infobip::ASKER,
            r#"{"command":"audio","fileId":"f"}"#,
            Some(&Ok(Answer::Refuse)),
        ),
        (&infobip::ASKER, r#"{"command":"audio"}"#, None),
        (
            &infobip::ASKER,
            r#"{"command":"dial","phoneNumber":"+8613800000001","callerId":"8616600000001"}"#,
            None,
        ),
        (
            &infobip::ASKER,
            r#"{"command":"dial","phoneNumber":"8613800000001","callerId":"8613900000009"}"#,
            None,
        ),
        (
            &infobip::ASKER,
            r#"{"command":"dial","phoneNumber":8613800000001,"callerId":"8616600000001"}"#,
            None,
        ),
        (
            &infobip::ASKER,
            r#"{"command":"dial","phoneNumber":"8613800000001","callerId":"8616600000001","recording":{"enabled":"yes"}}"#,
            None,
        ),
    ];
    for (asker, body, expected) in cases {
        let heard = |status, content_type| Heard {
            status,
            content_type,
            body: body.as_bytes(),
            x: "+8616600000001",
        };
        let read = (asker.read)(&heard(200, "application/json;charset=UTF-8"));
        match expected {
            Some(expected) => assert_eq!(&read, expected, "{body}"),
            None => assert!(read.is_err(), "{body}: {read:?}"),
        }
        assert!((asker.read)(&heard(404, "application/json")).is_err());
        assert!((asker.read)(&heard(200, "text/html")).is_err());
    }
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    for (vendor, url, said) in [
        (
            "huawei",
            "http://127.0.0.1:1",
            "no simulated vendor is called \"huawei\"",
        ),
        ("infobip", "https://127.0.0.1:1", "which is no http address"),
        ("infobip", "http://", "which is no http address"),
    ] {
        let credentials = crate::sim::Credentials::new("k", "s");
        let mut config = Config::of(any, any, any, ["vcc"], &credentials);
        let asking = Asking::new("k", "hush", "166", &[url.to_owned()]);
        assert!(!format!("{asking:?}").contains("hush"));
        config.asking.insert(vendor.to_owned(), asking);
        let text = toml::to_string(&config).unwrap();
        let config: Config = toml::from_str(&text).unwrap();
        let error = spawn(&config).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn what_waits_is_bounded_and_a_decided_invite_is_not_asked_about_again() {
    let from: SocketAddr = "127.0.0.1:5070".parse().unwrap();
    let message = |method: &str, call: &str, branch: &str, n: u32| {
        format!(
            "{method} sip:{X}@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch={branch}\r\n\
             From: <sip:{A}@127.0.0.1>;tag=a\r\nTo: <sip:{X}@127.0.0.1>\r\nCall-ID: {call}\r\n\
             CSeq: {n} {method}\r\n\r\n"
        )
    };
    let mut board = Switchboard::default();
    let on = |board: &mut Switchboard, text: &str, asks: bool| {
        board.on(text.as_bytes(), from, 0, |a, x| {
            assert_eq!((a, x), (A, X));
            asks
        })
    };
    let invite = message("INVITE", "one", "z1", 1);
    assert_eq!(on(&mut board, &invite, false), Held::No);
    assert!(matches!(on(&mut board, &invite, true), Held::Ask { .. }));
    for n in 2..100 {
        let more = message("UPDATE", "one", "z2", n);
        assert_eq!(on(&mut board, &more, true), Held::Yes(None));
    }
    assert_eq!(board.release("one").len(), 16);
    assert_eq!(on(&mut board, &invite, true), Held::No);
    // Another try of the same call is another question.
    let again = message("INVITE", "one", "z3", 2);
    assert!(matches!(on(&mut board, &again, true), Held::Ask { .. }));
    for n in 0..20_000 {
        let invite = message("INVITE", &format!("call-{n}"), "z", 1);
        let asked = matches!(on(&mut board, &invite, true), Held::Ask { .. });
        assert_eq!(asked, n < 9_999, "{n}");
    }
    for odd in ["", "\r\n", "INVITE ", "INVITE sip:x SIP/2.0\r\n\r\n"] {
        assert_eq!(board.on(odd.as_bytes(), from, 0, |_, _| true), Held::No);
    }
}
