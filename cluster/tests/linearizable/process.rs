//! A node as a process of its own, which signals can stop and kill, and how the callers speak with it.

use crate::breach::{Breach, Lawless, Pooled};
use crate::nodes;
use crate::pool::Number;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command as Program, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tandem_cluster::codec;
use tandem_cluster::command::{Command, Reply};
use tandem_cluster::entity::Table;
use tandem_cluster::handle::{Config, Handle, ProposeError, Role};
use tandem_cluster::state::State;
use tandem_cluster::state::testing::PerPeriod;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// Environment variable with the [`Orders`] of a node's process, as hex.
const ENV: &str = "TANDEM_TEST_NODE";
/// How often a node says what it has stored of the records, and forgets them with that.
const STORE_EVERY: Duration = Duration::from_millis(200);

/// What a node's process is told at its start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Orders {
    pub id: u64,
    pub dir: PathBuf,
    pub listen: SocketAddr,
    /// Where the nodes are reached, in the order of their ids.
    pub addresses: Vec<SocketAddr>,
    pub entries_per_s: u32,
    /// Which rule its pool breaks.
    pub breach: Option<Breach>,
}

/// What a caller asks a node.
#[derive(Debug, Serialize, Deserialize)]
pub enum Question {
    /// Propose this, for so many milliseconds.
    Propose(Box<Command>, u64),
    /// How many lines of this number are held, asked within so many milliseconds.
    Look(Number, String, u64),
    Standing,
    /// Hand leadership to this node.
    HandOn(u64),
    /// The whole state, encoded.
    State,
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    Reply(Reply),
    /// The outcome is not known.
    Unknown,
    Lines(u8),
    Standing {
        leads: bool,
        term: u64,
        applied: u64,
    },
    Done,
    State(Vec<u8>),
    /// Something that must not happen.
    Wrong(String),
}

/// The node's side: runs until its parent has gone. Does nothing in a process that has no orders.
pub fn run() {
    let Ok(orders) = std::env::var(ENV) else {
        return;
    };
    let bytes: Vec<u8> = (0..orders.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&orders[at..at + 2], 16).expect("hex"))
        .collect();
    let orders: Orders = codec::decode(&bytes).expect("orders");
    std::thread::spawn(|| {
        // Nothing is ever written there: it ends with the parent, whatever ended that.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    // A node that has failed must not look like one that is slow.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        hook(panic);
        std::process::abort();
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime.expect("runtime").block_on(async {
        let members = nodes::members(&orders.addresses);
        let mut config = Config::new(orders.id, "history", &orders.dir, orders.listen, members);
        config.entries_per_s = orders.entries_per_s;
        match orders.breach {
            None => {
                let node = Handle::<State>::open(config, Arc::new(PerPeriod)).await;
                serve(node.expect("starts"), None).await;
            }
            Some(breach) => {
                let node = Handle::<Lawless>::open(config, Arc::new(breach)).await;
                serve(node.expect("starts"), Some(breach)).await;
            }
        }
    });
}

async fn serve<M: Pooled>(node: Handle<M>, breach: Option<Breach>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("is bound");
    // The test harness's own output shares this stream; ours starts with a mark.
    println!("\n@{address}");
    std::io::stdout().flush().expect("parent reads");
    tokio::spawn(store_records(node.clone()));
    let (stream, _) = listener.accept().await.expect("accepts");
    let mut frames = Framed::new(stream, frames());
    let (answers, mut ready) = mpsc::unbounded_channel::<(u64, Answer)>();
    loop {
        tokio::select! {
            Some(question) = frames.next() => {
                let question = question.expect("parent speaks");
                let (number, question): (u64, Question) = codec::decode(&question).expect("ours");
                let (node, answers) = (node.clone(), answers.clone());
                tokio::spawn(async move {
                    let answer = answer(&node, question, breach).await;
                    let _ = answers.send((number, answer));
                });
            }
            Some(answer) = ready.recv() => {
                let bytes = codec::encode(&answer).expect("encodes");
                frames.send(Bytes::from(bytes)).await.expect("parent listens");
            }
        }
    }
}

fn frames() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .max_frame_length(64 << 20)
        .new_codec()
}

/// Takes the records of ended calls away, as a node that writes them does.
async fn store_records<M: Pooled>(node: Handle<M>) {
    loop {
        tokio::time::sleep(STORE_EVERY).await;
        let upto = node.state().pool().outbox_last();
        node.submit(Command::Stored {
            node: node.node_id(),
            upto,
        });
    }
}

async fn answer<M: Pooled>(node: &Handle<M>, question: Question, breach: Option<Breach>) -> Answer {
    let unknown = |error: ProposeError| match error {
        ProposeError::Unknown(_) | ProposeError::Stopped => Answer::Unknown,
        other => Answer::Wrong(other.to_string()),
    };
    match question {
        Question::Propose(command, ms) => {
            let limit = Duration::from_millis(ms);
            match node.propose_within(*command, limit).await {
                Ok(reply) => Answer::Reply(reply),
                Err(error) => unknown(error),
            }
        }
        Question::Look(number, name, _) if breach == Some(Breach::ShowsTheOld) => {
            let state = node.state_within(Duration::from_millis(200));
            Answer::Lines(lines(state.pool(), number, &name))
        }
        Question::Look(number, name, ms) => match node.caught_up(Duration::from_millis(ms)).await {
            Ok(_) => Answer::Lines(lines(node.state().pool(), number, &name)),
            Err(error) => unknown(error),
        },
        Question::Standing => {
            let standing = *node.standing().borrow();
            Answer::Standing {
                leads: standing.role == Role::Leader,
                term: standing.term,
                applied: node.status().applied,
            }
        }
        Question::HandOn(to) => match node.transfer_leader(to).await {
            Ok(()) => Answer::Done,
            Err(error) => unknown(error),
        },
        Question::State => match node.caught_up(Duration::from_secs(5)).await {
            Ok(_) => Answer::State(codec::encode(node.state_now().0.pool()).expect("encodes")),
            Err(error) => unknown(error),
        },
    }
}

/// Lines of a number that are held.
pub fn lines(state: &State, number: Number, name: &str) -> u8 {
    let held = match number {
        Number::A(_) => state
            .find(Table::ANumbers, name)
            .map_or(0, |id| state.a_use(id)),
        Number::X(_) => state
            .find(Table::XNumbers, name)
            .map_or(0, |id| state.x_use(id)),
    };
    u8::try_from(held).expect("numbers of the test have few lines")
}

/// Who waits for which answer.
type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>>;

/// The parent's side.
pub struct Process {
    child: Mutex<Child>,
    questions: mpsc::UnboundedSender<Vec<u8>>,
    waiting: Waiting,
    asked: AtomicU64,
}

impl Process {
    /// Starts a node and connects with it. `program`: the test that calls [`run`].
    pub async fn start(program: &str, orders: &Orders) -> Process {
        let bytes = codec::encode(orders).expect("encodes");
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut child = Program::new(std::env::current_exe().expect("is known"))
            .args([program, "--exact", "--nocapture"])
            .env(ENV, hex)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let out = child.stdout.take().expect("is piped");
        let address = tokio::task::spawn_blocking(move || {
            let mut lines = BufReader::new(out).lines().map_while(Result::ok);
            let address = lines.find_map(|line| line.strip_prefix('@').map(str::to_owned));
            // Kept open: the harness in the child writes on.
            std::thread::spawn(move || lines.for_each(drop));
            address
        });
        let address = address.await.expect("reads").expect("node has come up");
        let stream = TcpStream::connect(address).await.expect("connects");
        let (questions, mut outgoing) = mpsc::unbounded_channel::<Vec<u8>>();
        let waiting = Waiting::default();
        let answered = waiting.clone();
        tokio::spawn(async move {
            let mut frames = Framed::new(stream, frames());
            loop {
                tokio::select! {
                    question = outgoing.recv() => {
                        let Some(question) = question else { break };
                        if frames.send(Bytes::from(question)).await.is_err() {
                            break;
                        }
                    }
                    answer = frames.next() => {
                        let Some(Ok(answer)) = answer else { break };
                        let (number, answer): (u64, Answer) =
                            codec::decode(&answer).expect("ours");
                        let waiter = answered.lock().expect("no panic").remove(&number);
                        if let Some(waiter) = waiter {
                            let _ = waiter.send(answer);
                        }
                    }
                }
            }
            // It is dead: nobody gets an answer any more, and whoever asks from here on learns it at once.
            outgoing.close();
            answered.lock().expect("no panic").clear();
        });
        Process {
            child: Mutex::new(child),
            questions,
            waiting,
            asked: AtomicU64::new(0),
        }
    }

    /// Asks; `None` when there is no answer in time or the process has gone.
    pub async fn ask(&self, question: Question, patience: Duration) -> Option<Answer> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let (waiter, answer) = oneshot::channel();
        self.waiting().insert(number, waiter);
        let bytes = codec::encode(&(number, question)).expect("encodes");
        let answer = match self.questions.send(bytes) {
            Ok(()) => timeout(patience, answer).await.ok().and_then(Result::ok),
            Err(_) => None,
        };
        if answer.is_none() {
            self.waiting().remove(&number);
        }
        if let Some(Answer::Wrong(text)) = answer {
            panic!("a node says: {text}");
        }
        answer
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.waiting.lock().expect("no panic")
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.lock().expect("no panic").id();
        // The shell's own `kill`: a bare Debian has no separate program for it.
        let sent = Program::new("sh")
            .args(["-c", &format!("kill -{name} {pid}")])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "{name} is sent");
    }

    /// Kills it, with nothing flushed and nobody told. A node that had ended by itself has failed.
    pub fn kill(&self) {
        let mut child = self.child.lock().expect("no panic");
        if let Ok(Some(status)) = child.try_wait() {
            panic!("a node ended by itself: {status}");
        }
        child.kill().expect("is killed");
        child.wait().expect("is gone");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(child) = self.child.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
