//! CDRs, AXB CDRs and the settlement report, from this node's store.

use super::Shared;
use super::params::{LIMIT_MAX, Params, page};
use super::problem::Problem;
use actix_web::{HttpRequest, HttpResponse, web};
use futures::stream;
use serde_json::{Value, json};
use std::sync::Arc;
use tandem_billing::store::{Listed, Period, ReportQuery};
use tandem_billing::{AxbCdr, Cdr, Filter, Store, StoreError};
use tokio::sync::mpsc;

type Outcome = Result<HttpResponse, Problem>;

/// Chunks of an export that wait for a slow reader; each holds at most 1,000 rows.
const CHUNKS_MAX: usize = 2;

pub async fn cdrs(request: HttpRequest, shared: web::Data<Shared>) -> Outcome {
    query::<Cdr>(&request, &shared).await
}

pub async fn axb_cdrs(request: HttpRequest, shared: web::Data<Shared>) -> Outcome {
    query::<AxbCdr>(&request, &shared).await
}

pub async fn cdr_export(request: HttpRequest, shared: web::Data<Shared>) -> Outcome {
    export::<Cdr>(&request, &shared)
}

pub async fn axb_cdr_export(request: HttpRequest, shared: web::Data<Shared>) -> Outcome {
    export::<AxbCdr>(&request, &shared)
}

async fn query<R: Listed>(request: &HttpRequest, shared: &Shared) -> Outcome {
    let mut params = Params::of(request)?;
    let limit = params.limit()?.min(LIMIT_MAX) as u32;
    let cursor = params.cursor()?;
    let newest_first = params.read("newest_first")?.unwrap_or(false);
    let filter = Filter {
        limit,
        cursor,
        newest_first,
        ..filter(params)?
    };
    let found = shared
        .switch
        .store()
        .page::<R>(&filter)
        .await
        .map_err(failed)?;
    // Rows are structs of texts and numbers, which JSON always holds.
    let items = found
        .rows
        .iter()
        .map(|(_, row)| serde_json::to_value(row).unwrap_or_default())
        .collect();
    Ok(HttpResponse::Ok().json(page(items, found.next)))
}

/// The conditions on records.
fn filter(mut params: Params) -> Result<Filter, Problem> {
    let filter = Filter {
        since: params.read("since")?,
        until: params.read("until")?,
        account: params.text("account"),
        axb_account: params.text("axb_account"),
        caller: params.text("caller"),
        callee: params.text("callee"),
        x: params.text("x"),
        a: params.text("a"),
        gateway: params.text("gateway"),
        end_reason: params.read("end_reason")?,
        flow_no: params.read("flow_no")?,
        ..Filter::default()
    };
    params.done()?;
    Ok(filter)
}

/// Forms of an export.
#[derive(Clone, Copy)]
enum Format {
    Jsonl,
    Csv,
}

/// Sends all rows that fit, chunk by chunk as they are read. A reader that stops reading stops the export; a store that
/// fails in the middle cuts the connection, so that nobody takes half an export for a whole one.
fn export<R: Listed + 'static>(request: &HttpRequest, shared: &Shared) -> Outcome {
    let mut params = Params::of(request)?;
    let format = match params.text("format").as_deref() {
        None | Some("jsonl") => Format::Jsonl,
        Some("csv") => Format::Csv,
        Some(other) => {
            return Err(Problem::bad_request(format!(
                "`format`: `{other}` is neither jsonl nor csv"
            )));
        }
    };
    let filter = filter(params)?;
    let (sender, receiver) = mpsc::channel::<Result<web::Bytes, StoreError>>(CHUNKS_MAX);
    actix_web::rt::spawn(send::<R>(shared.switch.store(), filter, format, sender));
    let kind = match format {
        Format::Jsonl => "application/x-ndjson",
        Format::Csv => "text/csv; charset=utf-8",
    };
    let chunks = stream::unfold(receiver, async |mut receiver| {
        let chunk = receiver.recv().await?;
        Some((chunk, receiver))
    });
    Ok(HttpResponse::Ok()
        .content_type(kind)
        .streaming(Box::pin(chunks)))
}

async fn send<R: Listed>(
    store: Arc<Store>,
    filter: Filter,
    format: Format,
    sender: mpsc::Sender<Result<web::Bytes, StoreError>>,
) {
    if let Err(error) = pour::<R>(&store, filter, format, &sender).await {
        tracing::error!(error = &error as &dyn std::error::Error, "export broke off");
        // The reader may be gone as well.
        let _ = sender.send(Err(error)).await;
    }
}

async fn pour<R: Listed>(
    store: &Store,
    filter: Filter,
    format: Format,
    sender: &mpsc::Sender<Result<web::Bytes, StoreError>>,
) -> Result<(), StoreError> {
    if let Format::Csv = format {
        let header = R::columns()
            .iter()
            .map(|column| (*column).to_owned())
            .collect();
        if sender.send(Ok(csv_lines([header]))).await.is_err() {
            return Ok(());
        }
    }
    let mut rows = store.export::<R>(&filter).await?;
    while let Some(chunk) = rows.next().await? {
        let bytes = match format {
            Format::Csv => csv_lines(chunk.iter().map(|(_, row)| row.values())),
            Format::Jsonl => {
                let mut bytes = Vec::new();
                for (_, row) in &chunk {
                    // Neither a row nor memory refuses.
                    let _ = serde_json::to_writer(&mut bytes, row);
                    bytes.push(b'\n');
                }
                bytes.into()
            }
        };
        if sender.send(Ok(bytes)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn csv_lines(lines: impl IntoIterator<Item = Vec<String>>) -> web::Bytes {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for line in lines {
        // All lines have as many columns, and memory takes everything.
        let _ = writer.write_record(line);
    }
    writer.into_inner().unwrap_or_default().into()
}

pub async fn settlement(request: HttpRequest, shared: web::Data<Shared>) -> Outcome {
    let mut params = Params::of(&request)?;
    let (limit, cursor) = (params.limit()?, params.cursor()?.unwrap_or(0) as usize);
    let needed = |name: &str| Problem::bad_request(format!("`{name}` is missing"));
    let query = ReportQuery {
        account: params.text("account"),
        since: params.read("since")?.ok_or_else(|| needed("since"))?,
        until: params.read("until")?.ok_or_else(|| needed("until"))?,
        period: match params.text("period").as_deref() {
            None | Some("day") => Period::Day,
            Some("week") => Period::Week,
            Some("month") => Period::Month,
            Some("range") => Period::Range,
            Some(other) => {
                return Err(Problem::bad_request(format!(
                    "`period`: `{other}` is none of day, week, month, range"
                )));
            }
        },
        offset_minutes: params.read("offset_min")?.unwrap_or(480),
    };
    params.done()?;
    let lines = shared
        .switch
        .store()
        .axb_report(&query)
        .await
        .map_err(failed)?;
    let rest = lines.get(cursor..).unwrap_or_default();
    let items: Vec<Value> = rest.iter().take(limit).map(|line| json!(line)).collect();
    let next = (rest.len() > limit).then(|| (cursor + limit) as u64);
    Ok(HttpResponse::Ok().json(page(items, next)))
}

pub(super) fn failed(error: StoreError) -> Problem {
    match error {
        StoreError::Question(why) => Problem::bad_request(why),
        error => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "records cannot be read"
            );
            Problem::internal(error.to_string())
        }
    }
}
