//! Asks: a thread with a small runtime, so that the SIP side never waits. What it has heard goes
//! back through a channel, and an empty datagram to the SIP side's own socket tells it to look.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc as queue;
use tokio::task::JoinSet;

use super::super::log::Line;
use super::super::sip::Route;
use super::super::{Shared, SimError, now_ms, seconds};
use super::{Answer, Asker, Asking, Desk, Heard, Hold, Question, Stamp};
use crate::numbers::{from_e164, to_e164};

/// Longest answer that is read, in bytes.
const ANSWER_MAX: usize = 65_536;
/// Questions on their way to the thread at most.
const CHANNEL_MAX: usize = 10_000;
/// What no SIP message is, and every server ignores.
const WAKE: &[u8] = b"\r\n";

/// A call that waits.
type Waiting = (String, String, String);
/// Where it goes: its Call-ID, and nowhere if `None`.
type Decided = (String, Option<Route>);

/// The running thread.
#[derive(Debug)]
pub(in crate::sim) struct Driver {
    thread: Option<JoinHandle<()>>,
}

/// The SIP side's end: whether a call is asked about, the way to ask, and what was heard. The
/// thread ends with it.
#[derive(Debug)]
pub(super) struct Ear {
    shared: Arc<Shared>,
    questions: queue::Sender<(Waiting, SocketAddr)>,
    decided: mpsc::Receiver<Decided>,
}

impl Ear {
    /// Whether a call is asked about: some customer who is asked owns X, and no binding has it.
    pub(super) fn asks(&self, from: &str, x: &str) -> bool {
        let mut platform = self.shared.platform();
        Desk::of(&platform.asking, &from_e164(x)).is_some()
            && super::super::carrier(&mut platform, from, x, now_ms()).is_none()
    }

    /// Asks about a call; `me` is where the SIP side listens. False when too much is being asked.
    pub(super) fn ask(&self, call: &str, from: &str, x: &str, me: SocketAddr) -> bool {
        let waiting = (call.to_owned(), from.to_owned(), x.to_owned());
        self.questions.try_send((waiting, me)).is_ok()
    }

    /// A call of which it is known where it goes.
    pub(super) fn decided(&self) -> Option<Decided> {
        self.decided.try_recv().ok()
    }
}

impl Driver {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there is no thread or no HTTP to be had.
    pub(in crate::sim) fn spawn(shared: Arc<Shared>) -> Result<(Driver, Hold), SimError> {
        let (questions, asked) = queue::channel(CHANNEL_MAX);
        let (tell, decided) = mpsc::channel();
        // The session builder wants a provider even for plain http; a program keeps its own.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
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
        let ear = Ear {
            shared: shared.clone(),
            questions,
            decided,
        };
        let thread = std::thread::Builder::new()
            .name("sim-ask".into())
            .spawn(move || runtime.block_on(serve(&shared, &http, asked, &tell)))
            .map_err(SimError::Thread)?;
        let thread = Some(thread);
        Ok((Driver { thread }, Hold::new(ear)))
    }

    /// Waits for the thread, which ends with the [`Hold`]; what waits is not asked.
    pub(in crate::sim) fn stop(mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("simulator question thread panicked");
        }
    }
}

async fn serve(
    shared: &Arc<Shared>,
    http: &reqwest::Client,
    mut asked: queue::Receiver<(Waiting, SocketAddr)>,
    tell: &mpsc::Sender<Decided>,
) {
    let mut tasks = JoinSet::new();
    let mut waker: Option<UdpSocket> = None;
    loop {
        tokio::select! {
            next = asked.recv() => match next {
                Some((waiting, me)) => {
                    let (shared, http) = (shared.clone(), http.clone());
                    tasks.spawn(async move {
                        let (call, from, x) = waiting;
                        let route = find(&shared, &http, &call, &from, &x).await;
                        ((call, route), me)
                    });
                }
                None => return,
            },
            Some(done) = tasks.join_next() => match done {
                Ok((decided, me)) => {
                    if tell.send(decided).is_err() {
                        return;
                    }
                    if waker.is_none() {
                        waker = UdpSocket::bind((me.ip(), 0)).ok();
                    }
                    if let Some(waker) = &waker {
                        // If it is lost the SIP side looks at its next datagram or idle moment.
                        let _ = waker.send_to(WAKE, me);
                    }
                }
                Err(error) => tracing::error!(%error, "simulator question failed"),
            },
        }
    }
}

/// Asks one address after another until one answers in form.
async fn find(
    shared: &Shared,
    http: &reqwest::Client,
    call: &str,
    from: &str,
    x: &str,
) -> Option<Route> {
    let (asker, asking, faults) = {
        let platform = shared.platform();
        let desk = Desk::of(&platform.asking, &from_e164(x))?;
        (desk.asker, desk.asking.clone(), desk.gate.faults.clone())
    };
    let holds = faults.hold_for("question");
    if holds && faults.latency_ms > 0 {
        tokio::time::sleep(Duration::from_millis(faults.latency_ms.min(600_000))).await;
    }
    for base in &asking.callback_urls {
        let question = Question {
            call: call.to_owned(),
            from: to_e164(from),
            x: to_e164(x),
            url: format!("{}{}", base.trim_end_matches('/'), asker.path),
        };
        let bad = holds && faults.bad_proof;
        let down = holds && faults.down;
        let mut tried = match down {
            true => None,
            false => attempt(http, asker, &asking, &question, bad).await,
        };
        if holds && rand::random::<f64>() < faults.drop_reply_rate {
            tried = None;
        }
        let (status, answer) = match &tried {
            None => (0, None),
            Some((status, answer)) => (*status, Some(answer)),
        };
        let mut line = Line {
            t: seconds(now_ms()),
            vendor: asker.word.to_owned(),
            op: "question".to_owned(),
            a: from_e164(from),
            x: from_e164(x),
            answered: answer.is_some(),
            status,
            ..Line::default()
        };
        line.code = match answer {
            None => "silent",
            Some(Err(why)) => {
                tracing::warn!(vendor = asker.word, %why, "answer to a question is none");
                "malformed"
            }
            Some(Ok(Answer::Refuse)) => "refuse",
            Some(Ok(Answer::Dial { b, own_id })) => {
                line.b = from_e164(b);
                line.bind_id.clone_from(own_id);
                "dial"
            }
        }
        .to_owned();
        shared.platform().log.write(&line);
        match answer {
            Some(Ok(Answer::Dial { b, .. })) => return Some(Route::Out(from_e164(b))),
            Some(Ok(Answer::Refuse)) => return None,
            Some(Err(_)) | None => {}
        }
    }
    None
}

/// Status and what the answer says; `None`: none came in time.
async fn attempt(
    http: &reqwest::Client,
    asker: &Asker,
    asking: &Asking,
    question: &Question,
    bad_proof: bool,
) -> Option<(u16, Result<Answer, String>)> {
    let mut known = asking.clone();
    if bad_proof {
        known.secret.push('!');
    }
    let request = (asker.ask)(question, &known, &Stamp { now_ms: now_ms() });
    let mut post = http
        .post(&question.url)
        .timeout(Duration::from_millis(asking.within_ms))
        .body(request.body);
    for (name, value) in request.headers {
        post = post.header(name, value);
    }
    let heard = async {
        let mut response = post.send().await?;
        let status = response.status().as_u16();
        let content_type = response.headers().get("content-type");
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_MAX {
                break;
            }
        }
        reqwest::Result::Ok((status, content_type, body))
    };
    match heard.await {
        Ok((status, content_type, body)) => {
            let heard = Heard {
                status,
                content_type: &content_type,
                body: &body,
                x: &question.x,
            };
            Some((status, (asker.read)(&heard)))
        }
        Err(error) => {
            tracing::debug!(error = %error.without_url(), "simulator question not answered");
            None
        }
    }
}
