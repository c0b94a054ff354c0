//! What one node has acknowledged, every node shows.

use super::{STALE, Shared};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, web};

/// What tells of this node alone, or must answer at once when the cluster does not.
const OWN: [&str; 4] = [
    "/api/v1/openapi.json",
    "/api/v1/status",
    "/api/v1/cluster",
    "/api/v1/interface-types",
];

/// Lets a request see what was acknowledged anywhere before it came: a script may change a row at one node and use it
/// at the next. A node that cannot know what the others have acknowledged answers from what it has, and says so in a
/// header.
pub(super) async fn wait(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let current = match request.app_data::<web::Data<Shared>>() {
        Some(shared) if !OWN.contains(&request.path()) => shared.switch.current().await,
        _ => true,
    };
    let mut response = next.call(request).await?;
    if !current {
        response.headers_mut().insert(
            HeaderName::from_static(STALE),
            HeaderValue::from_static("true"),
        );
    }
    Ok(response)
}
