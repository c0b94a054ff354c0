//! Whole files: X and A numbers and regions in and out.
//!
//! An import is uploaded as it is, read and checked on a thread of its own against the state here, and refused with
//! every bad row named while one is wrong. Only then the answer begins: a JSON line for each command applied, the last
//! with the report. So `curl --data-binary @numbers.xlsx` does what the command line does.

use super::Shared;
use super::auth::Actor;
use super::params::{Params, bytes, fits, list};
use super::problem::Problem;
use crate::dto::Fault;
use crate::import::numbers::{self, Kind, Options};
use crate::import::{Checked, Progress, Report, regions as region_files};
use crate::rows;
use crate::sheet::{Error, Format, Limits};
use crate::switch::Switch;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use futures::{StreamExt, stream};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tandem_cluster::state::State;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

type Outcome = Result<HttpResponse, Problem>;
/// A piece of an answer that is sent as it comes.
type Piece = Result<web::Bytes, std::io::Error>;

/// How long a file may be under way to us.
const UPLOAD_MAX: Duration = Duration::from_secs(600);
/// Pieces that wait for a slow reader.
const PIECES_MAX: usize = 4;
/// Media type of JSON lines.
const LINES: &str = "application/x-ndjson";

pub async fn import_x(
    request: HttpRequest,
    shared: web::Data<Shared>,
    actor: Actor,
    payload: web::Payload,
) -> Outcome {
    import(Kind::X, &request, &shared, actor, payload).await
}

pub async fn import_a(
    request: HttpRequest,
    shared: web::Data<Shared>,
    actor: Actor,
    payload: web::Payload,
) -> Outcome {
    import(Kind::A, &request, &shared, actor, payload).await
}

pub async fn export_x(request: HttpRequest, shared: web::Data<Shared>) -> Outcome {
    export(Kind::X, &request, &shared)
}

pub async fn export_a(request: HttpRequest, shared: web::Data<Shared>) -> Outcome {
    export(Kind::A, &request, &shared)
}

/// Media types that an import takes; its first is the form when a request says nothing.
pub fn medias(path: &str) -> &'static [&'static str] {
    const TABLES: &[&str] = &[
        "text/csv",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/json",
        "application/x-ndjson",
    ];
    const REGIONS: &[&str] = &[
        "text/csv",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/octet-stream",
    ];
    if path.starts_with("/regions") {
        REGIONS
    } else {
        TABLES
    }
}

/// The form of a body: by `format`, else by its media type, else CSV.
fn form(request: &HttpRequest, params: &mut Params) -> Result<String, Problem> {
    if let Some(format) = params.text("format") {
        return Ok(format);
    }
    let media = request.headers().get(header::CONTENT_TYPE);
    let media = media
        .and_then(|media| media.to_str().ok())
        .unwrap_or_default();
    let media = media
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let form = match media.as_str() {
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        "application/json" => "json",
        "application/x-ndjson" | "application/jsonl" => "jsonl",
        "application/octet-stream" => "phone-dat",
        // What curl says when it is told nothing.
        "" | "text/csv" | "text/plain" | "application/x-www-form-urlencoded" => "csv",
        other => {
            let detail = format!("media type `{other}`; say the file's form with `format`");
            return Err(Problem::bad_request(detail));
        }
    };
    Ok(form.to_owned())
}

fn flag(params: &mut Params, name: &str) -> Result<bool, Problem> {
    Ok(params.read(name)?.unwrap_or(false))
}

fn alone(shared: &Shared) -> Result<OwnedSemaphorePermit, Problem> {
    shared.imports.clone().try_acquire_owned().map_err(|_| {
        let detail = "another import is under way on this node";
        Problem::new(StatusCode::CONFLICT, "refused", detail)
    })
}

async fn import(
    kind: Kind,
    request: &HttpRequest,
    shared: &Shared,
    actor: Actor,
    payload: web::Payload,
) -> Outcome {
    let mut params = Params::of(request)?;
    let source = match form(request, &mut params)?.as_str() {
        "json" => numbers::Source::Json,
        "jsonl" => numbers::Source::Jsonl,
        form => match form.parse() {
            Ok(format) => numbers::Source::Sheet(format),
            Err(_) => {
                let detail = format!("`format`: `{form}` is none of csv, xlsx, json, jsonl");
                return Err(Problem::bad_request(detail));
            }
        },
    };
    let (field, table) = kind.owner();
    let options = Options {
        kind,
        owner: params.text(field).filter(|name| !name.is_empty()),
        update: flag(&mut params, "update")?,
    };
    let dry_run = flag(&mut params, "dry_run")?;
    params.done()?;
    let state = shared.switch.state();
    if let Some(name) = &options.owner
        && state.find(table, name).is_none()
    {
        let text = format!("no {} `{name}`", crate::dto::noun(table));
        return Err(Fault::new(field, text).into());
    }
    let permit = alone(shared)?;
    let body = uploaded(payload).await?;
    let ready = apart(move || numbers::check(&body, source, &options, &state)).await??;
    let ready = match ready {
        Checked::Good(ready) => ready,
        Checked::Bad(bad) => return Err(bad.into()),
    };
    if dry_run {
        return Ok(dry(ready.report()));
    }
    let switch = shared.switch.clone();
    Ok(told(async move |tell| {
        numbers::apply(&*switch, &actor.0, ready, &tell).await;
        drop(permit);
    }))
}

pub async fn import_regions(
    request: HttpRequest,
    shared: web::Data<Shared>,
    actor: Actor,
    payload: web::Payload,
) -> Outcome {
    let mut params = Params::of(&request)?;
    let source = match form(&request, &mut params)?.as_str() {
        "phone-dat" => region_files::Source::PhoneDat,
        form => match form.parse() {
            Ok(format) => region_files::Source::Sheet(format),
            Err(_) => {
                let detail = format!("`format`: `{form}` is none of csv, xlsx, phone-dat");
                return Err(Problem::bad_request(detail));
            }
        },
    };
    let (replace, dry_run) = (flag(&mut params, "replace")?, flag(&mut params, "dry_run")?);
    params.done()?;
    let permit = alone(&shared)?;
    let body = uploaded(payload).await?;
    let state = shared.switch.state();
    let ready = apart(move || {
        let checked = region_files::check(&body, source)?;
        Ok::<_, crate::import::Error>(match checked {
            Checked::Good(rows) => {
                let report = region_files::compare(&state, &rows);
                Checked::Good((rows, report))
            }
            Checked::Bad(bad) => Checked::Bad(bad),
        })
    })
    .await??;
    let (rows, report) = match ready {
        // An empty file would take all regions away when it replaces them.
        Checked::Good((rows, _)) if rows.is_empty() => {
            return Err(Fault::new("rows", "the file has none").into());
        }
        Checked::Good(ready) => ready,
        Checked::Bad(bad) => return Err(bad.into()),
    };
    if dry_run {
        return Ok(dry(report));
    }
    let switch = shared.switch.clone();
    Ok(told(async move |tell| {
        region_files::apply(&*switch, &actor.0, rows, replace, report, &tell).await;
        drop(permit);
    }))
}

/// A file as it comes. Whoever stops sending must not keep others from importing.
async fn uploaded(payload: web::Payload) -> Result<web::Bytes, Problem> {
    let body = bytes(payload, Limits::default().bytes);
    tokio::time::timeout(UPLOAD_MAX, body).await.map_err(|_| {
        let detail = format!("the file did not come within {} s", UPLOAD_MAX.as_secs());
        Problem::bad_request(detail)
    })?
}

/// Runs what takes long where no request waits for it.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a file could not be read");
        Problem::internal("the file could not be read")
    })
}

/// The answer to a dry run: the last line alone.
fn dry(report: Report) -> HttpResponse {
    let of = report.made + report.changed;
    let report = Some(Report {
        dry_run: true,
        ..report
    });
    HttpResponse::Ok().content_type(LINES).body(line(&Progress {
        done: 0,
        of,
        report,
    }))
}

fn line(progress: &Progress) -> web::Bytes {
    // Plain numbers and texts are always JSON.
    let mut line = serde_json::to_vec(progress).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

/// Does the work beside the answer, which tells how far it is. The work ends even when nobody reads.
fn told<W>(work: W) -> HttpResponse
where
    W: AsyncFnOnce(mpsc::Sender<Progress>) + 'static,
{
    let (tell, receiver) = mpsc::channel(PIECES_MAX);
    actix_web::rt::spawn(async move { work(tell).await });
    let lines = pieces(receiver).map(|progress| Piece::Ok(line(&progress)));
    HttpResponse::Ok().content_type(LINES).streaming(lines)
}

fn pieces<T: 'static>(receiver: mpsc::Receiver<T>) -> impl stream::Stream<Item = T> + 'static {
    let next = async |mut receiver: mpsc::Receiver<T>| {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    };
    Box::pin(stream::unfold(receiver, next))
}

fn export(kind: Kind, request: &HttpRequest, shared: &Shared) -> Outcome {
    let mut params = Params::of(request)?;
    let (format, labels) = (written(&mut params)?, flag(&mut params, "labels")?);
    let filters = params.filters();
    let state = shared.switch.state();
    let table = kind.table();
    // A field that does not exist is told before the answer begins.
    if let Some(row) = rows::ids(&state, table)
        .next()
        .and_then(|id| state.row(table, id))
    {
        fits(&rows::view(&state, &row), &filters)?;
    }
    Ok(poured(shared.switch.clone(), format, move |state, pour| {
        let wanted = |id| {
            filters.is_empty()
                || state
                    .row(table, id)
                    .is_some_and(|row| fits(&rows::view(state, &row), &filters).unwrap_or(false))
        };
        numbers::export(state, kind, format, labels, wanted, pour)
    }))
}

pub async fn export_regions(request: HttpRequest, shared: web::Data<Shared>) -> Outcome {
    let mut params = Params::of(&request)?;
    let (format, labels) = (written(&mut params)?, flag(&mut params, "labels")?);
    params.done()?;
    Ok(poured(shared.switch.clone(), format, move |state, pour| {
        region_files::export(state, format, labels, pour)
    }))
}

fn written(params: &mut Params) -> Result<Format, Problem> {
    match params.text("format").as_deref() {
        None | Some("csv") => Ok(Format::Csv),
        Some("xlsx") => Ok(Format::Xlsx),
        Some(other) => Err(Problem::bad_request(format!(
            "`format`: `{other}` is neither csv nor xlsx"
        ))),
    }
}

/// Sends a file as it is written. One that fails cuts the connection, so that nobody takes half a file for a whole one.
fn poured(
    switch: Arc<dyn Switch>,
    format: Format,
    write: impl FnOnce(&State, &mut dyn FnMut(Vec<u8>) -> bool) -> Result<(), Error> + Send + 'static,
) -> HttpResponse {
    let (sender, receiver) = mpsc::channel::<Piece>(PIECES_MAX);
    let state = switch.state();
    tokio::task::spawn_blocking(move || {
        let mut pour = |piece: Vec<u8>| sender.blocking_send(Ok(piece.into())).is_ok();
        if let Err(error) = write(&state, &mut pour) {
            tracing::error!(error = &error as &dyn std::error::Error, "export broke off");
            let _ = sender.blocking_send(Err(std::io::Error::other(error)));
        }
    });
    let disposition = format!("attachment; filename=\"export.{}\"", format.ending());
    HttpResponse::Ok()
        .content_type(format.media())
        .insert_header((header::CONTENT_DISPOSITION, disposition))
        .streaming(pieces(receiver))
}

pub async fn regions(request: HttpRequest, shared: web::Data<Shared>) -> Outcome {
    let state = shared.switch.state();
    let rows = state
        .regions()
        .from(0)
        .map(|row| (u64::from(row.mobile_prefix), row));
    let view = |row: tandem_cluster::regions::MobilePrefix<'_>| {
        json!({
            "mobile_prefix": row.mobile_prefix.to_string(),
            "area_code": row.area_code,
            "area_name": row.area_name,
        })
    };
    Ok(HttpResponse::Ok().json(list(&request, rows, view)?))
}

pub async fn region(path: web::Path<String>, shared: web::Data<Shared>) -> Outcome {
    let state = shared.switch.state();
    match state.region_of(&path) {
        Some(region) => Ok(HttpResponse::Ok().json(json!({
            "number": *path,
            "area_code": region.area_code,
            "area_name": region.area_name,
            "source": region.source,
        }))),
        None => Err(Problem::not_found(format!("no region of number `{path}`"))),
    }
}
