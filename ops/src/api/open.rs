//! What needs no token: probes, metrics, version and the console's page.

use super::Shared;
use crate::gauges;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use std::fmt::Write;

pub async fn livez() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body("ok\n")
}

/// 200 when the node can take new calls, else 503 and the first reason; `?verbose` lists every check.
pub async fn readyz(request: HttpRequest, shared: web::Data<Shared>) -> HttpResponse {
    let checks = shared.switch.checks();
    let mut text = String::new();
    let verbose = request
        .query_string()
        .split('&')
        .any(|part| part == "verbose" || part.starts_with("verbose="));
    // Writing to memory does not fail.
    for check in &checks {
        let _ = match (&check.fault, verbose) {
            (None, true) => writeln!(text, "[+] {} ok", check.name),
            (Some(why), true) => writeln!(text, "[-] {}: {why}", check.name),
            (Some(why), false) if text.is_empty() => writeln!(text, "{}: {why}", check.name),
            _ => Ok(()),
        };
    }
    let ready = checks.iter().all(|check| check.fault.is_none());
    if verbose || ready {
        text.push_str(if ready { "ready\n" } else { "not ready\n" });
    }
    let mut response = if ready {
        HttpResponse::Ok()
    } else {
        HttpResponse::ServiceUnavailable()
    };
    response
        .content_type("text/plain; charset=utf-8")
        .body(text)
}

pub async fn metrics(shared: web::Data<Shared>) -> HttpResponse {
    let text = shared.metrics.render() + &gauges::text(&shared.switch.state());
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(text)
}

pub async fn version() -> HttpResponse {
    let version = env!("CARGO_PKG_VERSION");
    HttpResponse::Ok().json(json!({"name": "tandem", "version": version, "api": "v1"}))
}

/// The page holds no data: it asks for a token and then the API, like any other client.
pub async fn console() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
             frame-ancestors 'none'",
        ))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .body(include_str!("../../console/index.html"))
}
