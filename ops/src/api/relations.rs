//! What is asked of static (A,X) relations, and the comparison of a platform with the state.

use super::Shared;
use super::auth::Actor;
use super::params::Params;
use super::problem::Problem;
use crate::reconciliation::{Progress, ProgressTo, Reconciliation};
use crate::rows;
use crate::switch::Failed;
use actix_web::http::StatusCode;
use actix_web::rt::task::JoinHandle;
use actix_web::{HttpRequest, HttpResponse, web};
use futures::stream;
use serde::Serialize;
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use tandem_cluster::command::{AskAx, AxDeed, Command, Reply};
use tandem_cluster::entity::Table;
use tokio::sync::mpsc;

type Outcome = Result<HttpResponse, Problem>;

/// Lines of progress of one comparison.
const PROGRESS_LINES: u32 = 100;

pub async fn bind(path: web::Path<String>, shared: web::Data<Shared>, actor: Actor) -> Outcome {
    ask(&path, &shared, actor, AxDeed::Bind).await
}

pub async fn unbind(path: web::Path<String>, shared: web::Data<Shared>, actor: Actor) -> Outcome {
    ask(&path, &shared, actor, AxDeed::Unbind).await
}

pub async fn force_unbind(
    path: web::Path<String>,
    shared: web::Data<Shared>,
    actor: Actor,
) -> Outcome {
    ask(&path, &shared, actor, AxDeed::ForceUnbind).await
}

/// Answers at once; the row's `state` and `last_error` tell what came of it.
async fn ask(key: &str, shared: &Shared, actor: Actor, deed: AxDeed) -> Outcome {
    let thing = format!("AX binding `{key}`");
    let ax = rows::locate(&shared.switch.state(), Table::AxBindings, key)
        .ok_or_else(|| Problem::not_found(format!("no {thing}")))?
        .id;
    let owner = shared.switch.epoch().ok_or_else(|| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "this node holds no access name just now",
        )
    })?;
    let command = Command::AskAx(AskAx {
        ax,
        deed,
        owner,
        actor: actor.0,
    });
    if let Reply::Refused(refusal) = shared.switch.propose(command).await? {
        return Err(Problem::refused(refusal, &thing));
    }
    let body = json!({"id": ax, "action": deed});
    Ok(match deed {
        AxDeed::Bind | AxDeed::Unbind => HttpResponse::Accepted().json(body),
        AxDeed::ForceUnbind => HttpResponse::Ok().json(body),
    })
}

/// One line of the answer to a comparison.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Progress(Progress),
    Result(Box<Reconciliation>),
    Problem(Problem),
}

impl Line {
    fn bytes(&self) -> web::Bytes {
        // Plain data with string keys, which JSON always holds.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes.into()
    }
}

/// Stops the comparison when its reader has gone.
struct Work(JoinHandle<()>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Compares a platform with the state: lines of progress, the last line is the result.
pub async fn reconcile(
    request: HttpRequest,
    path: web::Path<String>,
    shared: web::Data<Shared>,
    actor: Actor,
) -> Outcome {
    let mut params = Params::of(&request)?;
    let apply = params.read::<bool>("apply")?.unwrap_or(false);
    params.done()?;
    let interface = rows::locate(&shared.switch.state(), Table::Interfaces, &path)
        .ok_or_else(|| Problem::not_found(format!("no interface `{path}`")))?
        .id;
    // Bounded by the lines of progress.
    let (sender, mut lines) = mpsc::unbounded_channel::<Line>();
    let told = sender.clone();
    let progress: ProgressTo = Arc::new(move |progress: Progress| {
        let step = (progress.of / PROGRESS_LINES).max(1);
        if progress.asked.is_multiple_of(step) || progress.asked == progress.of {
            // A reader that has gone is seen by `Work`.
            let _ = told.send(Line::Progress(progress));
        }
    });
    let switch = shared.switch.clone();
    let work = Work(actix_web::rt::spawn(async move {
        let line = match switch.reconcile(interface, apply, progress).await {
            Ok(result) => {
                tracing::info!(
                    interface = result.interface,
                    apply,
                    actor = actor.0,
                    differences = result.differences.len(),
                    "compared with the platform"
                );
                Line::Result(Box::new(result))
            }
            Err(Failed(why)) => Line::Problem(Problem::new(StatusCode::CONFLICT, "refused", why)),
        };
        let _ = sender.send(line);
    }));
    // What is refused at once is an error like any other.
    let first = match lines.recv().await {
        Some(Line::Problem(problem)) => return Err(problem),
        Some(line) => line,
        None => return Err(Problem::internal("the comparison broke off")),
    };
    let rest = stream::unfold(
        (Some(first), lines, work),
        async |(first, mut lines, work)| {
            let line = match first {
                Some(line) => line,
                None => lines.recv().await?,
            };
            Some((Ok::<_, Infallible>(line.bytes()), (None, lines, work)))
        },
    );
    Ok(HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .streaming(Box::pin(rest)))
}
