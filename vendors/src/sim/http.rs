//! The HTTP side on actix-web, on a thread of its own so that the caller may run any runtime or
//! none.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::{Extensions, ServerHandle};
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::rt::net::TcpStream as ActixStream;
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use serde::Deserialize;
use serde_json::json;

use super::faults::{Fate, Faults};
use super::log::Line;
use super::vendor::{Answer, Call};
use super::{
    Counter, Platform, Shared, SimError, bindings, callbacks, clear_faults, now_ms, seconds,
};

const BODY_MAX: usize = 65_536;
/// Long, so that it is the client that decides how long a connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The running server.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    /// Vendors that have an address of their own too.
    alone: BTreeMap<&'static str, SocketAddr>,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn spawn(
        address: SocketAddr,
        wanted: &[(&'static str, SocketAddr)],
        workers: usize,
        shared: Arc<Shared>,
    ) -> Result<Server, SimError> {
        let (listener, address) = listen(address)?;
        let mut listeners = vec![listener];
        let mut alone = BTreeMap::new();
        for (word, address) in wanted {
            let (listener, address) = listen(*address)?;
            listeners.push(listener);
            alone.insert(*word, address);
        }
        let doors = alone.iter().map(|(word, at)| (at.port(), *word));
        let doors = Arc::new(Doors(doors.collect()));
        let (tx, rx) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("sim-http".into())
            .spawn(move || {
                let system = actix_web::rt::System::new();
                let result = system.block_on(async move {
                    let server = serve(listeners, workers, &shared, &doors)?;
                    // Nobody waits any more only if the spawning thread is gone.
                    let _ = tx.send(server.handle());
                    server.await
                });
                if let Err(error) = result {
                    tracing::error!(%error, "simulator http server failed");
                }
            })
            .map_err(SimError::Thread)?;
        match rx.recv() {
            Ok(handle) => Ok(Server {
                address,
                alone,
                handle,
                thread: Some(thread),
            }),
            Err(_) => Err(cannot_listen(
                address,
                io::Error::other("server did not start"),
            )),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where a vendor is served alone.
    pub(super) fn alone(&self, word: &str) -> Option<SocketAddr> {
        self.alone.get(word).copied()
    }

    pub(super) fn stop(mut self) {
        // The command is sent when the future is made; the thread's end is what is waited for.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("simulator http thread panicked");
        }
    }
}

/// The ports at which one vendor is served alone.
#[derive(Debug)]
struct Doors(BTreeMap<u16, &'static str>);

fn cannot_listen(address: SocketAddr, source: io::Error) -> SimError {
    SimError::Listen {
        what: "http",
        address,
        source,
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), SimError> {
    let listener = TcpListener::bind(address).map_err(|e| cannot_listen(address, e))?;
    let address = listener
        .local_addr()
        .map_err(|e| cannot_listen(address, e))?;
    Ok((listener, address))
}

fn serve(
    listeners: Vec<TcpListener>,
    workers: usize,
    shared: &Arc<Shared>,
    doors: &Arc<Doors>,
) -> io::Result<actix_web::dev::Server> {
    let (shared, doors) = (shared.clone(), doors.clone());
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(Data::from(shared.clone()))
            .app_data(Data::from(doors.clone()))
            .app_data(web::PayloadConfig::new(BODY_MAX))
            .route("/_sim/bindings", web::get().to(get_bindings))
            .route("/_sim/calls", web::get().to(get_calls))
            .route("/_sim/callbacks", web::get().to(get_callbacks))
            .service(
                web::resource("/_sim/faults")
                    .route(web::get().to(get_faults))
                    .route(web::put().to(put_faults))
                    .route(web::delete().to(delete_faults)),
            )
            .default_service(web::to(vendor))
    })
    .on_connect(keep_scissors)
    .workers(workers.clamp(1, 64))
    .keep_alive(KEEP_ALIVE)
    .backlog(4096)
    .disable_signals()
    .shutdown_timeout(1);
    for listener in listeners {
        server = server.listen(listener)?;
    }
    Ok(server.run())
}

/// A second handle on a connection, to cut it without an answer.
struct Scissors(TcpStream);

/// The port that a connection came in at.
struct Door(u16);

fn keep_scissors(connection: &dyn Any, extensions: &mut Extensions) {
    if let Some(stream) = connection.downcast_ref::<ActixStream>() {
        if let Ok(at) = stream.local_addr() {
            extensions.insert(Door(at.port()));
        }
        // Answers are small and a client waits for each: no time for gathering.
        let _ = stream.set_nodelay(true);
        if let Ok(fd) = std::os::fd::AsFd::as_fd(stream).try_clone_to_owned() {
            extensions.insert(Scissors(TcpStream::from(fd)));
        }
    }
}

fn cut(request: &HttpRequest) -> HttpResponse {
    if let Some(Scissors(stream)) = request.conn_data::<Scissors>() {
        // The client may have been quicker.
        let _ = stream.shutdown(Shutdown::Both);
    }
    // Goes nowhere; makes the server close its side too.
    HttpResponse::InternalServerError().force_close().finish()
}

/// What is done with a request once the lock is released.
pub(super) enum Next {
    Answer { answer: Answer, after_ms: u64 },
    Cut { after_ms: u64 },
}

async fn vendor(
    request: HttpRequest,
    body: Bytes,
    shared: Data<Shared>,
    doors: Data<Doors>,
) -> HttpResponse {
    let path = request.path();
    let door = request.conn_data::<Door>();
    let alone = door.and_then(|Door(port)| doors.0.get(port));
    let (word, path) = match alone {
        Some(word) => (*word, path),
        None => {
            let inside = path.strip_prefix('/').unwrap_or(path);
            inside.split_at(inside.find('/').unwrap_or(inside.len()))
        }
    };
    let Some(peer) = request.peer_addr() else {
        return HttpResponse::BadRequest().finish();
    };
    let mut headers: Vec<(&str, &str)> = Vec::with_capacity(8);
    for (name, value) in request.headers() {
        if let Ok(value) = value.to_str() {
            headers.push((name.as_str(), value));
        }
    }
    let call = Call {
        method: request.method().as_str(),
        path,
        query: request.query_string(),
        headers: &headers,
        body: &body,
        peer: peer.ip().to_canonical(),
    };
    let rolls = [rand::random(), rand::random()];
    // A statement of its own: the lock must not be held while the answer waits.
    let next = decide(&mut shared.platform(), word, &call, now_ms(), rolls);
    match next {
        None => HttpResponse::NotFound().body("no such vendor is configured"),
        Some(Next::Answer { answer, after_ms }) => {
            pause(after_ms).await;
            let status =
                StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let content_type = match answer.content_type {
                "" => "application/json;charset=UTF-8",
                other => other,
            };
            let mut response = HttpResponse::build(status);
            response.insert_header((CONTENT_TYPE, content_type));
            for header in answer.headers {
                response.append_header(header);
            }
            response.body(answer.body)
        }
        Some(Next::Cut { after_ms }) => {
            pause(after_ms).await;
            cut(&request)
        }
    }
}

/// Serves a request under the lock and writes its lines.
pub(super) fn decide(
    platform: &mut Platform,
    word: &str,
    call: &Call,
    now_ms: u64,
    rolls: [f64; 2],
) -> Option<Next> {
    let Counter { vendor, gate, .. } = platform.vendors.get_mut(word)?;
    let faulty = gate.faults.hold_for(vendor.op(call));
    let down = faulty && gate.faults.down;
    let after_ms = if faulty && !down {
        gate.faults.latency_ms.min(600_000)
    } else {
        0
    };
    let (answer, answered) = if down {
        let mut answer = vendor.refused_by_fault(call, Some(""));
        (answer.status, answer.code) = (0, String::new());
        (answer, false)
    } else {
        match vendor.admit(call, now_ms) {
            Err(answer) => (answer, true),
            Ok(()) if !faulty => (vendor.serve(call, now_ms, None), true),
            Ok(()) => match gate.fate(now_ms, rolls) {
                Fate::Refuse(code) => (vendor.refused_by_fault(call, code.as_deref()), true),
                Fate::Serve { cut } => {
                    let other_x = gate.faults.instead_of_x();
                    (vendor.serve(call, now_ms, other_x.as_deref()), !cut)
                }
            },
        }
    };
    for entry in &answer.entries {
        platform.log.write(&Line {
            t: seconds(now_ms),
            vendor: word.to_owned(),
            op: entry.op.into(),
            a: entry.a.clone(),
            x: entry.x.clone(),
            b: entry.b.clone(),
            bind_id: entry.bind_id.clone(),
            applied: entry.applied,
            answered,
            status: answer.status,
            code: answer.code.clone(),
            event: String::new(),
        });
    }
    Some(if answered {
        Next::Answer { answer, after_ms }
    } else {
        Next::Cut { after_ms }
    })
}

async fn pause(ms: u64) {
    if ms > 0 {
        actix_web::rt::time::sleep(Duration::from_millis(ms)).await;
    }
}

fn local(request: &HttpRequest) -> bool {
    let peer = request.peer_addr();
    peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback())
}

async fn get_bindings(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    if !local(&request) {
        return HttpResponse::Forbidden().finish();
    }
    HttpResponse::Ok().json(bindings(&shared))
}

async fn get_calls(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    if !local(&request) {
        return HttpResponse::Forbidden().finish();
    }
    HttpResponse::Ok().json(shared.calls.read())
}

async fn get_callbacks(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    if !local(&request) {
        return HttpResponse::Forbidden().finish();
    }
    HttpResponse::Ok().json(callbacks(&shared))
}

async fn get_faults(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    if !local(&request) {
        return HttpResponse::Forbidden().finish();
    }
    let mut platform = shared.platform();
    let gates = platform.gates();
    let faults: BTreeMap<_, _> = gates
        .map(|(word, gate)| (word, gate.faults.clone()))
        .collect();
    HttpResponse::Ok().json(faults)
}

async fn put_faults(request: HttpRequest, body: Bytes, shared: Data<Shared>) -> HttpResponse {
    if !local(&request) {
        return HttpResponse::Forbidden().finish();
    }
    let refuse = |text: String| HttpResponse::BadRequest().json(json!({ "error": text }));
    let (vendor, faults) = match read_faults(&body) {
        Ok(read) => read,
        Err(error) => return refuse(error),
    };
    let mut platform = shared.platform();
    match vendor {
        None => {
            for (_, gate) in platform.gates() {
                gate.set(faults.clone());
            }
        }
        Some(vendor) => match platform.gate(vendor.as_str()) {
            None => return refuse(format!("no simulated vendor is called \"{vendor}\"")),
            Some(gate) => gate.set(faults),
        },
    }
    HttpResponse::NoContent().finish()
}

/// The vendor that is named, if any, and the faults.
fn read_faults(body: &[u8]) -> Result<(Option<String>, Faults), String> {
    let mut value: serde_json::Value =
        serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let fields = value.as_object_mut().ok_or("faults are no JSON object")?;
    let vendor = match fields.remove("vendor") {
        None => None,
        Some(serde_json::Value::String(vendor)) => Some(vendor),
        Some(_) => return Err("vendor is no string".into()),
    };
    let faults = Faults::deserialize(value).map_err(|error| error.to_string())?;
    match faults.mistake() {
        Some(mistake) => Err(mistake.into()),
        None => Ok((vendor, faults)),
    }
}

async fn delete_faults(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    if !local(&request) {
        return HttpResponse::Forbidden().finish();
    }
    clear_faults(&shared);
    HttpResponse::NoContent().finish()
}
