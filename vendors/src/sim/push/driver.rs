//! Sends the pushes: a thread with a small runtime, fed through a bounded channel so that the SIP
//! side never waits.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::super::log::Line;
use super::super::{Shared, SimError, now_ms, seconds};
use super::Stamp;
use super::mailbox::{Fortune, Letter, Mailbox};

/// Longest answer that is read, in bytes.
const ANSWER_MAX: usize = 65_536;
/// A customer who has not answered by then has not.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Pushes on their way to the thread at most.
const CHANNEL_MAX: usize = 4_096;

/// The running thread.
#[derive(Debug)]
pub(in crate::sim) struct Driver {
    thread: Option<JoinHandle<()>>,
}

/// The way to the thread, which ends when the last one of these is gone.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Post(mpsc::Sender<(u64, Letter)>);

impl Post {
    /// Hands a push over, to be sent at its time.
    ///
    /// # Errors
    /// The push, when too many are on their way.
    pub(in crate::sim) fn send(&self, due_ms: u64, letter: Letter) -> Result<(), Box<Letter>> {
        let sent = self.0.try_send((due_ms, letter));
        sent.map_err(|error| Box::new(error.into_inner().1))
    }
}

impl Driver {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there is no thread or no HTTP to be had.
    pub(in crate::sim) fn spawn(shared: Arc<Shared>) -> Result<(Driver, Post), SimError> {
        let (post, letters) = mpsc::channel(CHANNEL_MAX);
        // The session builder wants a provider even for plain http; a program keeps its own.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .tls_certs_only([])
            .build()
            .map_err(|error| SimError::Thread(std::io::Error::other(error)))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(SimError::Thread)?;
        let thread = std::thread::Builder::new()
            .name("sim-push".into())
            .spawn(move || runtime.block_on(deliver(&shared, &http, letters)))
            .map_err(SimError::Thread)?;
        let thread = Some(thread);
        Ok((Driver { thread }, Post(post)))
    }

    /// Waits for the thread, which ends with the last [`Post`]; what waits is not sent.
    pub(in crate::sim) fn stop(mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("simulator call-back thread panicked");
        }
    }
}

/// The answer to a try: status and as much of the body as is read; `None`: none came.
type Answer = Option<(u16, Vec<u8>)>;

async fn deliver(
    shared: &Shared,
    http: &reqwest::Client,
    mut letters: mpsc::Receiver<(u64, Letter)>,
) {
    let mut mailbox = Mailbox::default();
    let mut tries: JoinSet<(Letter, Answer)> = JoinSet::new();
    loop {
        while let Some(letter) = mailbox.take(now_ms()) {
            tries.spawn(attempt(http.clone(), letter));
        }
        let wait_ms = mailbox.next_ms().map(|at| at.saturating_sub(now_ms()));
        let wait = Duration::from_millis(wait_ms.unwrap_or(u64::from(u32::MAX)));
        tokio::select! {
            letter = letters.recv() => match letter {
                Some((due_ms, letter)) => {
                    if let Err(letter) = mailbox.put(due_ms, letter) {
                        shared.never_pushed(&letter);
                    }
                }
                None => return,
            },
            Some(done) = tries.join_next() => match done {
                Ok((letter, answer)) => settle(shared, &mut mailbox, letter, answer),
                Err(error) => tracing::error!(%error, "simulator call-back failed"),
            },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// One try. The proof is of this moment.
async fn attempt(http: reqwest::Client, letter: Letter) -> (Letter, Answer) {
    let stamp = Stamp {
        now_ms: now_ms(),
        nonce: format!("{:020}", rand::random::<u64>()),
    };
    let teller = &letter.teller;
    let request = (teller.herald.prove)(&letter.notice, &teller.account, &stamp);
    let mut post = http.post(&request.url).body(request.body);
    for (name, value) in request.headers {
        post = post.header(name, value);
    }
    let answer = match read(post).await {
        Ok(answer) => Some(answer),
        Err(error) => {
            tracing::debug!(error = %error.without_url(), "simulator call-back not answered");
            None
        }
    };
    (letter, answer)
}

async fn read(post: reqwest::RequestBuilder) -> reqwest::Result<(u16, Vec<u8>)> {
    let mut response = post.send().await?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_MAX {
            break;
        }
    }
    Ok((status, body))
}

/// Counts a try, writes its line and puts the push back if it is to be tried again.
fn settle(shared: &Shared, mailbox: &mut Mailbox, letter: Letter, answer: Answer) {
    let now_ms = now_ms();
    let success = letter.teller.herald.success;
    let literal = answer
        .as_ref()
        .is_some_and(|(status, body)| success.is(*status, body));
    let mut platform = shared.platform();
    let counter = platform.vendors.get(letter.vendor());
    let lost = counter.is_some_and(|counter| counter.gate.faults.lose_callback_acks);
    let mut line = line(&letter, now_ms);
    line.answered = answer.is_some() && !lost;
    line.status = answer.as_ref().map_or(0, |(status, _)| *status);
    let fortune = mailbox.settle(letter, literal && !lost, now_ms);
    line.code = match fortune {
        Fortune::Heard => "acknowledged",
        Fortune::Again => "again",
        Fortune::GivenUp => "given_up",
    }
    .to_owned();
    platform.log.write(&line);
    let counter = platform.vendors.get_mut(line.vendor.as_str());
    if let Some(desk) = counter.and_then(|counter| counter.desk.as_mut()) {
        let counts = &mut desk.counts;
        counts.sent += 1;
        match fortune {
            Fortune::Heard => counts.acknowledged += 1,
            Fortune::Again => counts.refused += 1,
            Fortune::GivenUp => {
                counts.refused += 1;
                counts.given_up += 1;
            }
        }
    }
}

/// The line of a try, still without what came of it.
fn line(letter: &Letter, now_ms: u64) -> Line {
    let [a, x, b] = letter.numbers.clone();
    let word = letter.notice.told.word();
    let bill = letter.notice.place() == "bills";
    Line {
        t: seconds(now_ms),
        vendor: letter.vendor().to_owned(),
        op: if bill { "bill" } else { "event" }.to_owned(),
        a,
        x,
        b,
        bind_id: letter.bind_id.clone(),
        applied: false,
        answered: false,
        status: 0,
        code: String::new(),
        event: word.to_owned(),
    }
}

impl Shared {
    /// Counts a push for which there was no room.
    pub(in crate::sim) fn never_pushed(&self, letter: &Letter) {
        let mut platform = self.platform();
        let counter = platform.vendors.get_mut(letter.vendor());
        if let Some(desk) = counter.and_then(|counter| counter.desk.as_mut()) {
            desk.counts.given_up += 1;
        }
        let mut line = line(letter, now_ms());
        line.code = "given_up".to_owned();
        platform.log.write(&line);
    }
}
