//! The open path of platforms: `/callbacks/{interface}/{name}[/{suffix}]`.
//!
//! No token: the proof that the interface's definition asks for is the authentication, and the process checks it. Here
//! are the bounds. Refusals have the platform's literal form, since some platforms read nothing else.

use super::Shared;
use crate::metrics::platform_request;
use crate::platform::{
    BODY_MAX, HEADER_BYTES_MAX, HEADERS_MAX, Known, PlatformReply, PlatformRequest, URL_MAX,
};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use std::sync::PoisonError;
use std::time::Duration;

/// How long a body may take to arrive; a platform waits no longer for its answer either.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Label of what is not ours to name.
const OTHER: &str = "-";

/// Whose address was called, decoded.
#[derive(Deserialize)]
pub struct Address {
    interface: String,
    name: String,
    #[serde(default)]
    suffix: String,
}

pub async fn receive(
    request: HttpRequest,
    payload: web::Payload,
    path: web::Path<Address>,
    shared: web::Data<Shared>,
) -> HttpResponse {
    let address = path.into_inner();
    let known = shared
        .switch
        .platform_known(&address.interface, &address.name);
    let (interface, name) = match known {
        Known::Nothing => (None, OTHER),
        Known::Interface => (Some(&*address.interface), OTHER),
        Known::Address => (Some(&*address.interface), &*address.name),
    };
    let (interface, name) = (interface.map(str::to_owned), name.to_owned());
    let now_ms = shared.begun.elapsed().as_millis() as u64;
    let reply = if !rates(&shared).pass(interface.as_deref(), now_ms) {
        refused(&shared, &address, 429, "rate")
    } else if known == Known::Address {
        answer(&request, payload, address, &shared).await
    } else {
        PlatformReply::plain(404, "unknown")
    };
    let interface = interface.unwrap_or_else(|| OTHER.to_owned());
    tell(&shared, &interface, &name, &reply, now_ms);
    platform_request(interface, name, reply.result);
    written(reply)
}

fn rates(shared: &Shared) -> std::sync::MutexGuard<'_, crate::platform::Rates> {
    // Buckets are valid after every statement.
    shared.rates.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(
    request: &HttpRequest,
    payload: web::Payload,
    address: Address,
    shared: &Shared,
) -> PlatformReply {
    let refused = |status, result| refused(shared, &address, status, result);
    let headers = request.headers();
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if headers.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
        return refused(431, "headers");
    }
    let Some(url) = url(request, shared.public_url.as_deref()) else {
        return refused(414, "url");
    };
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > BODY_MAX as u64) {
        return refused(413, "too_large");
    }
    let Ok(_place) = shared.platform_bodies.try_acquire() else {
        return refused(503, "busy");
    };
    let body = tokio::time::timeout(BODY_WITHIN, payload.to_bytes_limited(BODY_MAX)).await;
    let body = match body {
        Ok(Ok(Ok(body))) => body,
        Ok(Ok(Err(_))) => return refused(400, "broken"),
        Ok(Err(_)) => return refused(413, "too_large"),
        Err(_) => return refused(408, "slow"),
    };
    let headers = headers.iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    let request = PlatformRequest {
        method: request.method().as_str().to_owned(),
        url,
        headers: headers.collect(),
        body,
        interface: address.interface,
        name: address.name,
        suffix: address.suffix,
    };
    shared.switch.platform_request(request).await
}

/// The URL that the platform called; `None` when it is too long.
fn url(request: &HttpRequest, public_url: Option<&str>) -> Option<String> {
    let path = request.uri().path_and_query()?.as_str();
    let url = match public_url {
        Some(public) => format!("{public}{path}"),
        None => {
            let host = request.headers().get(header::HOST);
            let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
            format!("http://{host}{path}")
        }
    };
    (url.len() <= URL_MAX).then_some(url)
}

/// A refusal by our own bounds, in the platform's form.
fn refused(shared: &Shared, address: &Address, status: u16, result: &'static str) -> PlatformReply {
    let form = shared
        .switch
        .platform_refusal(&address.interface, &address.name, status);
    let mut reply = form.unwrap_or_else(|| PlatformReply::plain(status, result));
    reply.result = result;
    reply.note = format!("refused by our own bound `{result}`");
    reply
}

/// One line about what people should know, not more than a few a second: a flood must not fill the disk.
fn tell(shared: &Shared, interface: &str, name: &str, reply: &PlatformReply, now_ms: u64) {
    if reply.note.is_empty() || !rates(shared).note(now_ms) {
        return;
    }
    let (status, result, note) = (reply.status, reply.result, &reply.note);
    if status < 400 {
        tracing::info!(interface, name, result, note, "platform request taken");
    } else {
        tracing::warn!(
            interface,
            name,
            status,
            result,
            note,
            "platform request refused"
        );
    }
}

fn written(reply: PlatformReply) -> HttpResponse {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    if let Ok(kind) = HeaderValue::from_str(&reply.content_type)
        && !kind.is_empty()
    {
        response.insert_header((header::CONTENT_TYPE, kind));
    }
    if matches!(reply.status, 429 | 503) {
        response.insert_header((header::RETRY_AFTER, HeaderValue::from_static("1")));
    }
    response.body(reply.body)
}
