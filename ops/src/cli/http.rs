//! The admin API, seen from a client.

use super::{CliError, Exit, Globals, say};
use crate::api::STALE;
use crate::api::problem::Problem;
use bytes::Bytes;
use reqwest::{Method, Response, Url};
use serde_json::Value;
use std::time::Duration;

/// Talks to the first server that answers.
pub struct Client {
    http: reqwest::Client,
    servers: Vec<Url>,
    token: Option<String>,
}

/// A request before it knows its server.
pub struct Request<'r> {
    method: Method,
    path: Vec<&'r str>,
    query: Vec<(String, String)>,
    body: Option<(&'static str, Bytes)>,
    key: Option<String>,
}

impl<'r> Request<'r> {
    /// For `path` below `/api/v1`; parts may hold any characters.
    pub fn new(method: Method, path: impl IntoIterator<Item = &'r str>) -> Self {
        Request {
            method,
            path: path.into_iter().collect(),
            query: Vec::new(),
            body: None,
            key: None,
        }
    }

    /// Adds query parameters.
    pub fn query(mut self, parameters: impl IntoIterator<Item = (String, String)>) -> Self {
        self.query.extend(parameters);
        self
    }

    /// Sends JSON.
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Sends TOML.
    pub fn toml(self, text: String) -> Self {
        self.body("application/toml", text)
    }

    /// Sends bytes of this media type.
    pub fn body(mut self, media: &'static str, bytes: impl Into<Bytes>) -> Self {
        self.body = Some((media, bytes.into()));
        self
    }

    /// Makes a repeat harmless.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

impl Client {
    /// A client as the options say.
    pub fn new(globals: &Globals) -> Result<Client, CliError> {
        // Somebody else of this process may have chosen a provider already; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let servers = globals
            .server
            .iter()
            .map(|text| server(text))
            .collect::<Result<Vec<_>, _>>()?;
        if servers.is_empty() {
            return Err(CliError::new(Exit::Usage, "no server given"));
        }
        let token = match (&globals.token, &globals.token_file) {
            (Some(token), _) => Some(token.trim().to_owned()),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    CliError::new(
                        Exit::Usage,
                        format!("token file `{}`: {error}", path.display()),
                    )
                })?;
                Some(text.trim().to_owned())
            }
            (None, None) => None,
        };
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .read_timeout(Duration::from_secs(globals.timeout))
            .user_agent(concat!("tandem/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| {
                CliError::new(Exit::Error, format!("http client: {}", chain(&error)))
            })?;
        Ok(Client {
            http,
            servers,
            token,
        })
    }

    /// The answer as JSON; anything but 2xx is an error.
    pub async fn json(&self, request: Request<'_>) -> Result<Value, CliError> {
        let response = self.send(request).await?;
        let url = response.url().clone();
        let bytes = response
            .bytes()
            .await
            .map_err(|error| broken(&url, &error))?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes)
            .map_err(|_| CliError::new(Exit::Error, format!("`{url}` does not answer in JSON")))
    }

    /// The answer, its body yet to be read; anything but 2xx is an error.
    pub async fn send(&self, request: Request<'_>) -> Result<Response, CliError> {
        let response = self.answer(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refused(response).await)
    }

    /// The answer, whatever it says; its body is yet to be read.
    pub async fn answer(&self, request: Request<'_>) -> Result<Response, CliError> {
        let mut silent = Vec::new();
        for server in &self.servers {
            let mut url = server.clone();
            if let Ok(mut path) = url.path_segments_mut() {
                path.pop_if_empty()
                    .extend(["api", "v1"])
                    .extend(&request.path);
            }
            if !request.query.is_empty() {
                url.query_pairs_mut().extend_pairs(&request.query);
            }
            let mut attempt = self.http.request(request.method.clone(), url.clone());
            if let Some(token) = &self.token {
                attempt = attempt.bearer_auth(token);
            }
            if let Some(key) = &request.key {
                attempt = attempt.header("Idempotency-Key", key);
            }
            if let Some((kind, body)) = &request.body {
                attempt = attempt.header("Content-Type", *kind).body(body.clone());
            }
            match attempt.send().await {
                Ok(response) => {
                    if response.headers().contains_key(STALE) {
                        let text = "does not reach the other nodes; what it shows may be old";
                        say("warning:", "33", &format!("{server} {text}"));
                    }
                    return Ok(response);
                }
                // Nothing was sent, so the next server may be asked without doing anything twice.
                Err(error) if error.is_connect() => {
                    silent.push(format!("{server}: {}", chain(&error)))
                }
                Err(error) => return Err(broken(&url, &error)),
            }
        }
        Err(CliError::new(
            Exit::Unavailable,
            format!("no server answers ({})", silent.join("; ")),
        ))
    }
}

fn server(text: &str) -> Result<Url, CliError> {
    let with_scheme = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    match Url::parse(&with_scheme) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(CliError::new(
            Exit::Usage,
            format!("server `{text}` is not an http address"),
        )),
    }
}

/// The connection was there and broke, or the answer did not come in time.
fn broken(url: &Url, error: &reqwest::Error) -> CliError {
    CliError::new(
        Exit::Unavailable,
        format!("`{}`: {}", url.origin().ascii_serialization(), chain(error)),
    )
}

/// The last cause says what happened; the ones before say only that something did.
fn chain(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

/// What an answer other than 2xx says.
pub async fn refused(response: Response) -> CliError {
    let status = response.status().as_u16();
    let exit = match status {
        400 | 405 | 413 => Exit::Usage,
        401 | 403 => Exit::Unauthorised,
        404 => Exit::NotFound,
        409 | 412 | 422 => Exit::Refused,
        502..=504 => Exit::Unavailable,
        _ => Exit::Error,
    };
    let url = response.url().clone();
    let text = match response.bytes().await {
        Ok(body) => match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => problem.detail,
            Err(_) => format!("`{url}` answers {status}"),
        },
        Err(_) => format!("`{url}` answers {status}"),
    };
    CliError::new(exit, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_may_leave_out_their_scheme() {
        for (text, url) in [
            ("127.0.0.1:15180", Some("http://127.0.0.1:15180/")),
            (
                "https://switch.example/tandem",
                Some("https://switch.example/tandem"),
            ),
            ("ftp://switch.example", None),
            ("http://", None),
            ("", None),
        ] {
            assert_eq!(server(text).ok().as_ref().map(Url::as_str), url, "{text}");
        }
    }
}
