//! The HTTP session of an interface: one request out, one bounded answer in.

use std::error::Error as _;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AGE, DATE, HeaderMap, HeaderName, HeaderValue};

use super::outside::{Carried, Lost, Outside};
use super::{Inner, nonce, wall_ms};
use crate::exchange::{Method, Request, Response};
use crate::interface::{HttpVersion, Interface};
use crate::outcome::{Class, Failure};

/// The way to the platform.
pub(super) enum Session {
    /// This machine's.
    Pooled(reqwest::Client),
    /// Another world's.
    Lent {
        outside: Arc<dyn Outside>,
        /// For the whole exchange.
        timeout: Duration,
    },
}

impl Session {
    pub(super) fn lent(interface: &Interface, outside: Arc<dyn Outside>) -> Session {
        Session::Lent {
            outside,
            timeout: Duration::from_millis(interface.timeout_ms),
        }
    }

    /// The node's clock, Unix milliseconds.
    pub(super) fn wall_ms(&self) -> u64 {
        match self {
            Session::Pooled(_) => wall_ms(),
            Session::Lent { outside, .. } => outside.wall_ms(),
        }
    }

    pub(super) fn nonce(&self) -> [u8; 16] {
        match self {
            Session::Pooled(_) => nonce(),
            Session::Lent { outside, .. } => outside.nonce(),
        }
    }
}

/// The pooled session that `interface` asks for.
pub(super) fn session(interface: &Interface) -> reqwest::Result<Session> {
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
        .tls_info(true)
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
    if let Some(proxy) = &interface.proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy)?);
    }
    builder = match interface.http_version {
        HttpVersion::Auto => builder,
        HttpVersion::One => builder.http1_only(),
        HttpVersion::Two => builder.http2_prior_knowledge(),
    };
    // All requests share one connection there: a dead one must be noticed by itself, and within the
    // time of one request.
    let half = Duration::from_millis(interface.timeout_ms / 2);
    builder = builder
        .http2_keep_alive_interval(half)
        .http2_keep_alive_timeout(half);
    builder.build().map(Session::Pooled)
}

/// What was seen of an answer before its body.
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) version: reqwest::Version,
    pub(super) headers: HeaderMap,
    pub(super) remote: Option<SocketAddr>,
    pub(super) tls: Option<Tls>,
    /// When it was read, by our clock.
    pub(super) read_ms: u64,
}

/// What the platform showed in the handshake.
pub(super) struct Tls {
    /// `TLS 1.3`
    pub(super) version: Option<String>,
    /// DER.
    pub(super) certificate: Option<Vec<u8>>,
}

impl Head {
    fn of(response: &mut reqwest::Response) -> Head {
        let tls = response
            .extensions()
            .get::<reqwest::tls::TlsInfo>()
            .map(|tls| Tls {
                version: tls.version().map(tls_word),
                certificate: tls.peer_certificate().map(<[u8]>::to_vec),
            });
        Head {
            status: response.status().as_u16(),
            version: response.version(),
            remote: response.remote_addr(),
            headers: std::mem::take(response.headers_mut()),
            tls,
            read_ms: wall_ms(),
        }
    }

    /// Of an answer that came another way.
    fn carried(status: u16, headers: &[(String, String)], read_ms: u64) -> Head {
        let pairs = headers.iter().filter_map(|(name, value)| {
            let name = HeaderName::try_from(name).ok()?;
            Some((name, HeaderValue::try_from(value).ok()?))
        });
        Head {
            status,
            version: reqwest::Version::HTTP_11,
            headers: pairs.collect(),
            remote: None,
            tls: None,
            read_ms,
        }
    }

    /// When the platform says that it wrote the answer; `None` too when a cache on the way says
    /// that it kept the answer for a while.
    pub(super) fn date_ms(&self) -> Option<u64> {
        if self.headers.contains_key(AGE) {
            return None;
        }
        let date = self.headers.get(DATE)?.to_str().ok()?;
        let date = httpdate::parse_http_date(date).ok()?;
        let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
        u64::try_from(since.as_millis()).ok()
    }
}

fn tls_word(version: reqwest::tls::Version) -> String {
    let word = match version {
        reqwest::tls::Version::TLS_1_2 => "TLS 1.2",
        reqwest::tls::Version::TLS_1_3 => "TLS 1.3",
        // Older ones are not spoken.
        _ => "TLS",
    };
    word.to_owned()
}

/// Sends one request as it stands and reads its answer, at most `response_bytes_max` of it. `head`
/// is filled as soon as there is one, whatever becomes of the rest.
pub(super) async fn send(
    inner: &Inner,
    request: &Request,
    head: &mut Option<Head>,
) -> Result<Response, Failure> {
    match &inner.session {
        Session::Pooled(http) => send_pooled(inner, http, request, head).await,
        Session::Lent { outside, timeout } => {
            let carried = tokio::time::timeout(*timeout, outside.carry(request)).await;
            let Carried {
                status,
                headers,
                body,
            } = match carried {
                Ok(Ok(carried)) => carried,
                Ok(Err(Lost::NotSent)) => {
                    return Err(Failure::new(Class::NotSent, "connect", "not reached"));
                }
                Ok(Err(Lost::Cut)) => {
                    return Err(Failure::new(Class::Unknown, "reset", "connection cut"));
                }
                Err(_) => return Err(Failure::new(Class::Unknown, "timeout", "timed out")),
            };
            let head = head.insert(Head::carried(status, &headers, outside.wall_ms()));
            if body.len() > inner.response_bytes_max {
                return Err(too_large(status, inner.response_bytes_max));
            }
            Ok(Response {
                status,
                headers: wanted(inner, head),
                body,
            })
        }
    }
}

fn too_large(status: u16, most: usize) -> Failure {
    let text = format!("http {status} with more than {most} bytes");
    Failure::new(Class::Unknown, "too_large", text)
}

/// The headers that the definition reads.
fn wanted(inner: &Inner, head: &Head) -> Vec<(Arc<str>, String)> {
    let headers = inner.plan.answer_headers().iter().filter_map(|name| {
        let value = head.headers.get(&**name)?.to_str().ok()?;
        Some((Arc::clone(name), value.to_owned()))
    });
    headers.collect()
}

async fn send_pooled(
    inner: &Inner,
    http: &reqwest::Client,
    request: &Request,
    head: &mut Option<Head>,
) -> Result<Response, Failure> {
    let method = match request.method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Delete => reqwest::Method::DELETE,
    };
    let mut builder = http.request(method, &request.url);
    for (name, value) in &request.headers {
        builder = builder.header(&**name, value.as_str());
    }
    if !request.body.is_empty() {
        builder = builder.body(request.body.clone());
    }
    let classify = |error| classify(error, inner.proxy.as_deref());
    let mut response = builder.send().await.map_err(classify)?;
    let length = response.content_length();
    let head = head.insert(Head::of(&mut response));
    let status = head.status;
    let most = inner.response_bytes_max;
    let too_large = || too_large(status, most);
    if length.is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    let headers = wanted(inner, head);
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
fn classify(error: reqwest::Error, proxy: Option<&str>) -> Failure {
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
    if let Some(proxy) = proxy {
        let _ = write!(text, ", through proxy {proxy}");
    }
    Failure::new(class, code, text)
}
