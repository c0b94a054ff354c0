//! 类型: what an interface can be, for forms and for people.

use super::Shared;
use super::params::list as page;
use super::problem::Problem;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

type Outcome = Result<HttpResponse, Problem>;

pub async fn list(request: HttpRequest, shared: web::Data<Shared>) -> Outcome {
    let types = shared.switch.types().all();
    let rows = types.iter().map(|known| (u64::from(known.id), known));
    Ok(HttpResponse::Ok().json(page(&request, rows, |known| json!(known))?))
}

pub async fn show(path: web::Path<String>, shared: web::Data<Shared>) -> Outcome {
    let known = shared
        .switch
        .types()
        .find(&path)
        .ok_or_else(|| Problem::not_found(format!("no interface type `{path}`")))?;
    Ok(HttpResponse::Ok().json(known))
}
