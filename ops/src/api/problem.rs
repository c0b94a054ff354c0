//! Refusals of the admin API: problem+json (RFC 9457) with a stable `code`.

use crate::dto::Fault;
use crate::import::{Bad, BadRow};
use crate::switch::{AskError, Unavailable};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::{Deserialize, Serialize};
use std::fmt;
use tandem_cluster::command::Refusal;
use utoipa::ToSchema;

/// The body of every answer that is not 2xx.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// The status in words.
    pub title: String,
    /// What programs look at: `unauthorized`, `forbidden`, `not_found`, `method_not_allowed`, `bad_request`,
    /// `too_large`, `invalid`, `version_conflict`, `in_use`, `refused`, `unavailable`, `internal`.
    pub code: String,
    /// What people read: which thing, and what is wrong with it.
    pub detail: String,
    /// The field that is wrong, with `invalid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The row's version now, with `version_conflict`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The rows of a file that are wrong, with `invalid`; at most 1,000 of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<BadRow>>)]
    pub rows: Option<Box<BadRows>>,
}

/// A list of its own, so that a problem stays small on its way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BadRows(pub Vec<BadRow>);

impl Problem {
    /// A problem of this status and code.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Problem {
        Problem {
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            code: code.to_owned(),
            detail: detail.into(),
            field: None,
            version: None,
            rows: None,
        }
    }

    /// The request cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// The switch itself failed; the cause is logged where this is made.
    pub fn internal(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// Something that the cluster refused to do to `thing`.
    pub fn refused(refusal: Refusal, thing: &str) -> Problem {
        let conflict = |code, detail: String| Problem::new(StatusCode::CONFLICT, code, detail);
        match refusal {
            Refusal::Invalid { field, text } => Fault::new(field, text).into(),
            Refusal::VersionConflict { version } => Problem {
                version: Some(version),
                ..conflict(
                    "version_conflict",
                    format!("{thing} has been changed, its version is {version} now"),
                )
            },
            Refusal::NotFound => Problem::not_found(format!("no {thing}")),
            Refusal::InUse { by } => conflict("in_use", format!("{thing} is used by {by}")),
            other => conflict("refused", format!("{thing}: refused, {other:?}")),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Problem {
        let detail = fault.to_string();
        Problem {
            field: Some(fault.field),
            ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
        }
    }
}

impl From<Bad> for Problem {
    fn from(bad: Bad) -> Problem {
        let detail = bad.to_string();
        Problem {
            rows: Some(Box::new(BadRows(bad.rows))),
            ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
        }
    }
}

impl From<crate::import::Error> for Problem {
    fn from(error: crate::import::Error) -> Problem {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            error.to_string(),
        )
    }
}

impl From<Unavailable> for Problem {
    fn from(unavailable: Unavailable) -> Problem {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            unavailable.to_string(),
        )
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Problem {
        let detail = error.to_string();
        match error {
            AskError::Unknown(_) => Problem::not_found(detail),
            AskError::Silent(_) => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
            }
        }
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.content_type("application/problem+json");
        if self.status == 503 {
            response.insert_header((header::RETRY_AFTER, HeaderValue::from_static("1")));
        }
        if self.status == 401 {
            response.insert_header((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        // A struct of texts and numbers is always JSON.
        response.body(serde_json::to_string(self).unwrap_or_default())
    }
}
