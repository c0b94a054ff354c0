//! Who may do what.

use super::Shared;
use super::problem::Problem;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, web};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::future::{Ready, ready};

/// What a token allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Everything.
    #[default]
    Admin,
    /// Looking only.
    Viewer,
}

/// A token; its text is kept as a hash only.
#[derive(Clone)]
pub struct Token {
    /// Who holds it; the audit names it.
    pub name: String,
    /// What it allows.
    pub access: Access,
    hash: [u8; 32],
}

impl Token {
    /// A token of this text.
    pub fn new(name: impl Into<String>, access: Access, text: &str) -> Token {
        Token {
            name: name.into(),
            access,
            hash: Sha256::digest(text.as_bytes()).into(),
        }
    }

    /// Whether `text` is this token. Hashes are compared, and all of their bytes, so the time taken tells nothing.
    fn is(&self, text: &str) -> bool {
        let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        self.hash
            .iter()
            .zip(hash)
            .fold(0, |differ, (own, other)| differ | (own ^ other))
            == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("name", &self.name)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

/// The name of who asks, for the audit.
#[derive(Clone, Debug)]
pub(super) struct Actor(pub String);

impl FromRequest for Actor {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut actix_web::dev::Payload) -> Self::Future {
        // Every path with an actor lies behind `check`.
        ready(
            request
                .extensions()
                .get::<Actor>()
                .cloned()
                .ok_or_else(|| Problem::internal("request without a token")),
        )
    }
}

/// Lets a request pass that carries a token which allows it.
pub(super) async fn check(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let unauthorized =
        |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .ok_or_else(|| unauthorized("a bearer token is needed"))?
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim().to_owned())
        .ok_or_else(|| unauthorized("the authorization header is not a bearer token"))?;
    let actor = {
        let shared = request
            .app_data::<web::Data<Shared>>()
            .ok_or_else(|| Problem::internal("server without its data"))?;
        // All tokens are compared, so that the time does not tell which one was near.
        let mut found = None;
        for token in &shared.tokens {
            if token.is(&given) {
                found = Some(token);
            }
        }
        let token = found.ok_or_else(|| unauthorized("the token is not known here"))?;
        let looks = matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        );
        // These two are asked with POST but change nothing.
        let looks = looks || request.path().ends_with("/info") || request.path().ends_with("/sync");
        if token.access == Access::Viewer && !looks {
            let detail = format!("token `{}` may only look", token.name);
            return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail).into());
        }
        Actor(token.name.clone())
    };
    request.extensions_mut().insert(actor);
    next.call(request).await
}
