//! The admin API: HTTP for people's tools, other programs and Prometheus.
//!
//! [`start`] opens the port and runs the server on threads of its own, so that neither a long list nor a slow reader
//! takes time from calls. Everything below `/api/v1` needs a bearer token; `/livez`, `/readyz`, `/metrics`, `/version`
//! and the page at `/` need none, and what platforms call below `/callbacks` carries a proof of its own. Errors are
//! problem+json ([`problem::Problem`]).
//!
//! A route stands in [`routes`]; its document for OpenAPI in `document`; a test holds the two together.

mod auth;
mod backup;
mod callbacks;
mod current;
mod document;
mod files;
mod interfaces;
mod levels;
mod live;
mod members;
mod open;
mod params;
mod platforms;
pub mod problem;
mod records;
mod relations;
mod route;
mod sort;
mod sync;
mod tables;
mod types;

pub use auth::{Access, Token};
pub(crate) use document::schema;

use crate::metrics::Metrics;
use crate::platform::Rates;
use crate::switch::Switch;
use actix_web::dev::{ServerHandle, Service};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, HttpServer, ResponseError, web};
use problem::Problem;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The header of an answer from a node that cannot know whether another has acknowledged something newer.
pub(crate) const STALE: &str = "tandem-stale";
/// Largest body of a request, bytes.
const BODY_MAX: usize = 1 << 20;
/// Largest seed file, bytes.
const SEED_MAX: usize = 64 << 20;
/// Requests of platforms whose bodies are read or stored at once; each holds at most 256 KiB.
const PLATFORM_BODIES_MAX: usize = 64;
/// How long running requests may take at a graceful stop.
const STOP_SECS: u64 = 5;

/// How the API is served.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Who may use it. Without tokens only the open paths answer.
    pub tokens: Vec<Token>,
    /// Threads that answer, at least 1.
    pub workers: usize,
    /// Scheme, host and path before `/callbacks` as platforms call us, without a slash at the end; absent: as they
    /// arrive here. What platforms sign is the URL that they call.
    pub public_url: Option<String>,
}

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port cannot be had.
    #[error("admin API cannot listen on {listen}")]
    Listen {
        /// Where it was to listen.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No thread can be made.
    #[error("admin API cannot start its thread")]
    Thread(#[source] io::Error),
}

/// What all requests share.
pub(crate) struct Shared {
    pub switch: Arc<dyn Switch>,
    pub metrics: Metrics,
    pub tokens: Vec<Token>,
    pub document: String,
    /// One import at a time: each may hold a large file and all of its rows.
    pub imports: Arc<tokio::sync::Semaphore>,
    pub public_url: Option<String>,
    pub begun: Instant,
    pub rates: Mutex<Rates>,
    pub platform_bodies: tokio::sync::Semaphore,
}

/// A running server. Dropping it leaves it running; see [`Api::stop`].
pub struct Api {
    address: SocketAddr,
    handle: ServerHandle,
    thread: Option<std::thread::JoinHandle<io::Result<()>>>,
}

impl Api {
    /// Where it listens; tells the port when port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no new connections, lets running requests end for at most 5 s, and stops.
    pub async fn stop(mut self) {
        self.handle.stop(true).await;
        if let Some(thread) = self.thread.take() {
            // The server has ended; its thread does so at once. A panic in it has been printed already.
            let _ = thread.join();
        }
    }
}

/// Opens the port and serves until [`Api::stop`]. Needs no runtime and blocks only while it opens the port.
pub fn start(config: Config, switch: Arc<dyn Switch>, metrics: Metrics) -> Result<Api, ServeError> {
    let listen = config.listen;
    let refused = |source| ServeError::Listen { listen, source };
    let shared = web::Data::new(Shared {
        switch,
        metrics: metrics.clone(),
        tokens: config.tokens,
        document: document::json(),
        imports: Arc::new(tokio::sync::Semaphore::new(1)),
        public_url: config.public_url,
        begun: Instant::now(),
        rates: Mutex::default(),
        platform_bodies: tokio::sync::Semaphore::new(PLATFORM_BODIES_MAX),
    });
    let (ready, started) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new()
        .name("admin-api".into())
        .spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    let shared = shared.clone();
                    App::new()
                        .app_data(shared)
                        .wrap_fn(counted)
                        .configure(routes)
                })
                .workers(config.workers.max(1))
                .disable_signals()
                .shutdown_timeout(STOP_SECS)
                .bind(listen);
                let server = match server {
                    Ok(server) => server,
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return Ok(());
                    }
                };
                let address = server.addrs().first().copied().unwrap_or(listen);
                let running = server.run();
                let _ = ready.send(Ok((address, running.handle())));
                actix_web::rt::spawn(async move {
                    loop {
                        actix_web::rt::time::sleep(Duration::from_secs(5)).await;
                        metrics.upkeep();
                    }
                });
                running.await
            })
        })
        .map_err(ServeError::Thread)?;
    match started.recv() {
        Ok(Ok((address, handle))) => {
            tracing::info!(%address, "admin api listens");
            Ok(Api {
                address,
                handle,
                thread: Some(thread),
            })
        }
        Ok(Err(error)) => Err(refused(error)),
        Err(_) => Err(refused(io::Error::other("its thread ended"))),
    }
}

/// Counts every answer.
fn counted<S, B>(
    request: actix_web::dev::ServiceRequest,
    service: &S,
) -> impl Future<Output = Result<actix_web::dev::ServiceResponse<B>, actix_web::Error>> + use<S, B>
where
    S: Service<
            actix_web::dev::ServiceRequest,
            Response = actix_web::dev::ServiceResponse<B>,
            Error = actix_web::Error,
        >,
{
    let began = Instant::now();
    let method = match request.method().as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "other",
    };
    let answer = service.call(request);
    async move {
        let answer = answer.await;
        let status = match &answer {
            Ok(response) => response.status(),
            Err(error) => error.as_response_error().status_code(),
        };
        crate::metrics::answered(method, status.as_u16(), began.elapsed());
        answer
    }
}

/// All routes.
fn routes(app: &mut web::ServiceConfig) {
    let path = |path: &str| web::resource(path.to_owned()).default_service(web::to(wrong_method));
    let api = web::scope("/api/v1")
        .wrap(from_fn(current::wait))
        .wrap(from_fn(auth::check))
        .service(path("/openapi.json").route(web::get().to(document::show)))
        .service(path("/status").route(web::get().to(live::status)))
        .service(path("/cluster").route(web::get().to(live::cluster)))
        .service(path("/cluster/drain").route(web::post().to(live::drain)))
        .service(path("/cluster/undrain").route(web::post().to(live::undrain)))
        .service(path("/cluster/snapshot").route(web::post().to(live::snapshot)))
        .service(path("/cluster/upgrade").route(web::post().to(levels::upgrade)))
        .service(path("/cluster/add").route(web::post().to(members::add)))
        .service(path("/cluster/remove").route(web::post().to(members::remove)))
        .service(path("/cluster/move").route(web::post().to(members::relocate)))
        .service(path("/cluster/transfer-leader").route(web::post().to(live::transfer_leader)))
        .service(path("/backup").route(web::post().to(backup::backup)))
        .service(path("/devices").route(web::get().to(live::devices)))
        .service(
            path("/devices/{name}")
                .route(web::get().to(live::device))
                .route(web::patch().to(live::edit_device)),
        )
        .service(path("/devices/{name}/info").route(web::post().to(live::info)))
        .service(path("/devices/{name}/sync").route(web::post().to(sync::sync)))
        .service(path("/bindings").route(web::get().to(live::bindings)))
        .service(path("/bindings/{id}").route(web::get().to(live::binding)))
        .service(path("/bindings/{id}/unbind").route(web::post().to(live::unbind)))
        .service(path("/bindings/{id}/force-unbind").route(web::post().to(live::force_unbind)))
        .service(path("/ax-bindings/{key:.+}/bind").route(web::post().to(relations::bind)))
        .service(path("/ax-bindings/{key:.+}/unbind").route(web::post().to(relations::unbind)))
        .service(
            path("/ax-bindings/{key:.+}/force-unbind")
                .route(web::post().to(relations::force_unbind)),
        )
        .service(path("/interfaces/{name}/reconcile").route(web::post().to(relations::reconcile)))
        .service(path("/interfaces/{name}/exchanges").route(web::get().to(interfaces::exchanges)))
        .service(path("/interfaces/{name}/status").route(web::get().to(interfaces::status)))
        .service(path("/interfaces/{name}/test").route(web::post().to(interfaces::test)))
        .service(path("/route-test").route(web::post().to(route::test)))
        .service(path("/calls").route(web::get().to(live::calls)))
        .service(path("/calls/{id}").route(web::get().to(live::call)))
        .service(path("/calls/{id}/hangup").route(web::post().to(live::hangup)))
        .service(path("/cdrs").route(web::get().to(records::cdrs)))
        .service(path("/cdrs/export").route(web::get().to(records::cdr_export)))
        .service(path("/axb-cdrs").route(web::get().to(records::axb_cdrs)))
        .service(path("/axb-cdrs/export").route(web::get().to(records::axb_cdr_export)))
        .service(path("/reports/axb-settlement").route(web::get().to(records::settlement)))
        .service(path("/reports/platform-bills").route(web::get().to(platforms::bills)))
        .service(path("/platform-events").route(web::get().to(platforms::events)))
        .service(
            path("/payments")
                .route(web::get().to(live::payments))
                .route(web::post().to(live::pay)),
        )
        .service(path("/audit").route(web::get().to(live::audit)))
        .service(path("/interface-types").route(web::get().to(types::list)))
        .service(path("/interface-types/{name}").route(web::get().to(types::show)))
        .service(path("/seed").route(web::post().to(tables::seed)))
        .service(path("/x-numbers/import").route(web::post().to(files::import_x)))
        .service(path("/x-numbers/export").route(web::get().to(files::export_x)))
        .service(path("/a-numbers/import").route(web::post().to(files::import_a)))
        .service(path("/a-numbers/export").route(web::get().to(files::export_a)))
        .service(path("/regions").route(web::get().to(files::regions)))
        .service(path("/regions/import").route(web::post().to(files::import_regions)))
        .service(path("/regions/export").route(web::get().to(files::export_regions)))
        .service(path("/regions/{number}").route(web::get().to(files::region)))
        .service(
            path("/{table}")
                .route(web::get().to(tables::list))
                .route(web::post().to(tables::add)),
        )
        .service(
            // Names of A numbers and fee rates hold a slash.
            path("/{table}/{key:.+}")
                .route(web::get().to(tables::show))
                .route(web::put().to(tables::replace))
                .route(web::patch().to(tables::change))
                .route(web::delete().to(tables::remove)),
        )
        .default_service(web::to(nothing));
    app.service(
        path("/livez")
            .route(web::get().to(open::livez))
            .route(web::head().to(open::livez)),
    )
    .service(
        path("/readyz")
            .route(web::get().to(open::readyz))
            .route(web::head().to(open::readyz)),
    )
    .service(path("/metrics").route(web::get().to(open::metrics)))
    .service(path("/version").route(web::get().to(open::version)))
    .service(path("/").route(web::get().to(open::console)))
    .service(
        web::resource([
            "/callbacks/{interface}/{name}",
            "/callbacks/{interface}/{name}/{suffix:.*}",
        ])
        .default_service(web::to(callbacks::receive)),
    )
    .service(api)
    .default_service(web::to(nothing));
}

async fn nothing(request: actix_web::HttpRequest) -> HttpResponse {
    Problem::not_found(format!("no path `{}`", request.path())).error_response()
}

async fn wrong_method(request: actix_web::HttpRequest) -> HttpResponse {
    let detail = format!("`{}` does not take {}", request.path(), request.method());
    let status = actix_web::http::StatusCode::METHOD_NOT_ALLOWED;
    Problem::new(status, "method_not_allowed", detail).error_response()
}

#[cfg(test)]
mod tests;
