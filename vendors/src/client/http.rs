//! The HTTP session of an interface: one request out, one bounded answer in.

use std::error::Error as _;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::Inner;
use crate::exchange::{Method, Request, Response};
use crate::interface::Interface;
use crate::outcome::{Class, Failure};

/// The pooled session that `interface` asks for.
pub(super) fn session(interface: &Interface) -> reqwest::Result<reqwest::Client> {
    // The session builder wants a provider even for plain http. A program that installed its own
    // keeps it; losing the race to another thread means that there is one now.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("tandem/", env!("CARGO_PKG_VERSION")))
        .timeout(Duration::from_millis(interface.timeout_ms))
        .connect_timeout(Duration::from_millis(interface.connect_timeout_ms))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .tcp_nodelay(true)
        .referer(false);
    builder = match interface.idle_ms {
        0 => builder.pool_max_idle_per_host(0),
        idle_ms => builder
            .pool_idle_timeout(Duration::from_millis(idle_ms))
            .pool_max_idle_per_host(usize::try_from(interface.in_flight_max).unwrap_or(1000)),
    };
    let operations = &interface.vendor.describe().operations;
    let any_tls = operations
        .iter()
        .any(|operation| interface.url(operation.op).starts_with("https:"));
    if let Some(pem) = &interface.ca_pem {
        builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem.as_bytes())?);
    } else if !any_tls {
        // A machine without certificates must still reach a platform over plain http.
        builder = builder.tls_certs_only([]);
    }
    if !interface.tls_verify {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    builder.build()
}

/// Sends one request as it stands and reads its answer, at most `response_bytes_max` of it.
pub(super) async fn send(inner: &Inner, request: Request) -> Result<Response, Failure> {
    let method = match request.method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Delete => reqwest::Method::DELETE,
    };
    let mut builder = inner.http.request(method, &request.url);
    for (name, value) in request.headers {
        builder = builder.header(&*name, value);
    }
    if !request.body.is_empty() {
        builder = builder.body(request.body);
    }
    let mut response = builder.send().await.map_err(classify)?;
    let status = response.status().as_u16();
    let most = inner.response_bytes_max;
    let too_large = || {
        let text = format!("http {status} with more than {most} bytes");
        Failure::new(Class::Unknown, "too_large", text)
    };
    if response
        .content_length()
        .is_some_and(|length| length > most as u64)
    {
        return Err(too_large());
    }
    let headers = inner.plan.answer_headers().iter().filter_map(|name| {
        let value = response.headers().get(&**name)?.to_str().ok()?;
        Some((Arc::clone(name), value.to_owned()))
    });
    let headers = headers.collect();
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(classify)? {
        if body.len() + chunk.len() > most {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    let body: Bytes = body.freeze();
    Ok(Response {
        status,
        headers,
        body,
    })
}

/// A sending error as a failure. Only an error while connecting proves that nothing was applied.
fn classify(error: reqwest::Error) -> Failure {
    // The URL holds numbers.
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    let (class, code) = if error.is_connect() {
        (Class::NotSent, "connect")
    } else if error.is_builder() {
        (Class::Config, "url")
    } else if error.is_timeout() {
        (Class::Unknown, "timeout")
    } else {
        (Class::Unknown, "reset")
    };
    Failure::new(class, code, text)
}
