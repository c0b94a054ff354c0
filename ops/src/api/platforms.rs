//! What platforms told of calls, and their bills against what we rated, from this node's store.

use super::Shared;
use super::params::{LIMIT_MAX, Params, page};
use super::problem::Problem;
use super::records::failed;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use tandem_billing::bills::{TOLERANCE_SECS, Tolerance, Verdict};
use tandem_billing::store::{BillQuery, EventFilter};

type Outcome = Result<HttpResponse, Problem>;

pub async fn events(request: HttpRequest, shared: web::Data<Shared>) -> Outcome {
    let mut params = Params::of(&request)?;
    let filter = EventFilter {
        limit: params.limit()?.min(LIMIT_MAX) as u32,
        cursor: params.cursor()?,
        newest_first: params.read("newest_first")?.unwrap_or(false),
        since: params.read("since")?,
        until: params.read("until")?,
        interface: params.text("interface"),
        kind: params.read("kind")?,
        flow_no: params.read("flow_no")?,
        matched: params.read("matched")?,
    };
    params.done()?;
    let found = shared
        .switch
        .store()
        .events(&filter)
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

pub async fn bills(request: HttpRequest, shared: web::Data<Shared>) -> Outcome {
    let mut params = Params::of(&request)?;
    let (limit, cursor) = (params.limit()?, params.cursor()?.unwrap_or(0) as usize);
    let needed = |name: &str| Problem::bad_request(format!("`{name}` is missing"));
    let query = BillQuery {
        since: params.read("since")?.ok_or_else(|| needed("since"))?,
        until: params.read("until")?.ok_or_else(|| needed("until"))?,
        interface: params.text("interface"),
        tolerance: Tolerance {
            secs: params.read("tolerance_secs")?.unwrap_or(TOLERANCE_SECS),
            cost: params.read("tolerance_cost")?.unwrap_or_default(),
        },
    };
    let differences: bool = params.read("differences")?.unwrap_or(false);
    params.done()?;
    if query.until <= query.since {
        return Err(Problem::bad_request("`until` is not behind `since`"));
    }
    let (mut lines, totals) = shared
        .switch
        .store()
        .compare_bills(&query)
        .await
        .map_err(failed)?;
    if differences {
        lines.retain(|line| line.verdict != Verdict::Equal);
    }
    let rest = lines.get(cursor..).unwrap_or_default();
    let items: Vec<Value> = rest.iter().take(limit).map(|line| json!(line)).collect();
    let next = (rest.len() > limit).then(|| (cursor + limit) as u64);
    let mut answer = page(items, next);
    answer["totals"] = json!(totals);
    Ok(HttpResponse::Ok().json(answer))
}
