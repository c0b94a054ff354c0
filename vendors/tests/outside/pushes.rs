//! The simulator's call-backs to a plain customer that answers as it is told.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tandem_vendors::sim::{Callbacks, Credentials, Faults};

use crate::sip_side::{World, in_dialog};

/// A push as it arrived: path and body.
type Push = (String, Value);

/// Takes pushes and answers them one after the other from a list, then with an empty 200.
struct Customer {
    at: SocketAddr,
    pushes: Receiver<Push>,
    answers: Arc<Mutex<VecDeque<&'static str>>>,
}

const OK: &str = "200 OK\r\nContent-Length: 0";
const TALKATIVE: &str = "200 OK\r\nContent-Length: 2\r\n\r\nok";
const REFUSED: &str = "404 Not Found\r\nContent-Length: 0";

impl Customer {
    fn open() -> Customer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let (tell, pushes) = channel();
        let answers = Arc::new(Mutex::new(VecDeque::new()));
        let given = answers.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tell, given) = (tell.clone(), given.clone());
                std::thread::spawn(move || serve(&stream, &tell, &given));
            }
        });
        Customer {
            at,
            pushes,
            answers,
        }
    }

    fn answers(&self, answers: impl IntoIterator<Item = &'static str>) {
        self.answers.lock().unwrap().extend(answers);
    }

    /// What the next pushes tell, in the order of their words: their order is not promised.
    fn hears(&self, count: usize) -> Vec<String> {
        let mut words: Vec<String> = (0..count)
            .map(|n| {
                let push = self.pushes.recv_timeout(Duration::from_secs(10));
                let (path, body) = push.unwrap_or_else(|_| panic!("{n} of {count} pushes came"));
                let kind = body["eventType"].as_str().unwrap();
                format!("{path} {kind}")
            })
            .collect();
        words.sort();
        words
    }

    fn hears_no_more(&self) {
        let more = self.pushes.recv_timeout(Duration::from_millis(300));
        assert!(more.is_err(), "{more:?}");
    }
}

/// One connection.
fn serve(
    stream: &TcpStream,
    tell: &Sender<Push>,
    answers: &Mutex<VecDeque<&'static str>>,
) -> Option<()> {
    let mut lines = BufReader::new(stream);
    loop {
        let (mut start, mut length) = (String::new(), 0);
        lines.read_line(&mut start).ok().filter(|read| *read > 0)?;
        loop {
            let mut line = String::new();
            lines.read_line(&mut line).ok()?;
            let line = line.trim().to_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body).ok()?;
        let path = start.split(' ').nth(1)?.to_owned();
        let body = serde_json::from_slice(&body).ok()?;
        let answer = answers.lock().unwrap().pop_front().unwrap_or(OK);
        tell.send((path, body)).ok()?;
        let end = if answer.contains("\r\n\r\n") {
            ""
        } else {
            "\r\n\r\n"
        };
        let mut stream = stream;
        write!(stream, "HTTP/1.1 {answer}{end}").ok()?;
    }
}

/// A call of A to X that is answered and hung up by A.
fn call(world: &World) {
    let (_, ok) = world.answered();
    world.switch_sends(&in_dialog(&ok, "BYE", "z9hG4bKbye", 8, world.here()));
    world.phone_hears();
}

fn told(customer: &Customer) -> World {
    let mut credentials = Credentials::new("k", "s");
    credentials.callback_url = format!("http://{}/callbacks/hw", customer.at);
    credentials.callback_minute_ms = 20;
    let mut world = World::with(credentials);
    world.bind();
    world
}

fn counts(world: &World, settled: u64) -> Callbacks {
    for _ in 0..500 {
        let counts = world.sim.callbacks()["huawei"];
        if counts.acknowledged + counts.given_up == settled {
            return counts;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{:?}", world.sim.callbacks());
}

const CALL: [&str; 5] = [
    "/callbacks/hw/bills fee",
    "/callbacks/hw/events answer",
    "/callbacks/hw/events callin",
    "/callbacks/hw/events callout",
    "/callbacks/hw/events disconnect",
];

#[test]
fn a_call_is_told_and_its_bill_sent_once_each() {
    let customer = Customer::open();
    let world = told(&customer);
    call(&world);
    assert_eq!(customer.hears(5), CALL);
    customer.hears_no_more();
    let counts = counts(&world, 5);
    let expected = Callbacks {
        made: 5,
        sent: 5,
        acknowledged: 5,
        refused: 0,
        given_up: 0,
    };
    assert_eq!(counts, expected);
    let at = world.sim.http_addr();
    let mut stream = TcpStream::connect(at).unwrap();
    write!(
        stream,
        "GET /_sim/callbacks HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body, json!({ "huawei": expected }));
}

#[test]
fn another_answer_than_the_literal_one_is_repeated() {
    let customer = Customer::open();
    let world = told(&customer);
    customer.answers([TALKATIVE, REFUSED, REFUSED]);
    call(&world);
    customer.hears(8);
    customer.hears_no_more();
    let counts = counts(&world, 5);
    let [sent, refused] = [counts.sent, counts.refused];
    assert_eq!((sent, refused, counts.given_up), (8, 3, 0));
}

#[test]
fn lost_answers_make_repeats_until_the_platform_gives_up() {
    let customer = Customer::open();
    let mut credentials = Credentials::new("k", "s");
    credentials.callback_url = format!("http://{}/callbacks/hw", customer.at);
    credentials.callback_minute_ms = 1;
    let mut world = World::with(credentials);
    world.bind();
    let lose = Faults {
        lose_callback_acks: true,
        ..Faults::default()
    };
    world.sim.set_faults("huawei", lose);
    call(&world);
    let counts = counts(&world, 5);
    // Each is tried once and six times more.
    assert_eq!((counts.sent, counts.given_up), (35, 5));
    assert_eq!(customer.hears(35).len(), 35);
}

#[test]
fn duplicates_come_on_purpose_and_nobody_there_is_not_waited_for() {
    let customer = Customer::open();
    let world = told(&customer);
    let twice = Faults {
        duplicate_callbacks: true,
        callback_delay_ms: 50,
        ..Faults::default()
    };
    world.sim.set_faults("huawei", twice);
    call(&world);
    let mut expected = [CALL, CALL].concat();
    expected.sort_unstable();
    assert_eq!(customer.hears(10), expected);
    // Stops with pushes on their way to nobody.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let mut credentials = Credentials::new("k", "s");
    credentials.callback_url = format!("http://{}/callbacks/hw", nobody.unwrap());
    let mut world = World::with(credentials);
    world.bind();
    call(&world);
    let begun = std::time::Instant::now();
    world.sim.stop();
    assert!(begun.elapsed() < Duration::from_secs(2));
}
