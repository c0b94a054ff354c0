//! The replicated state as a file.

use super::Shared;
use super::params::object;
use super::problem::Problem;
use crate::dto;
use crate::switch::Failed;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use futures::stream;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read};

/// Bytes sent at a time.
const CHUNK: usize = 256 << 10;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    records: bool,
}

/// Written whole before the first byte is sent, so that what cannot be written is told by the status.
pub async fn backup(
    shared: web::Data<Shared>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let Wanted { records } = dto::strict(&object(payload).await?)?;
    let failed = |Failed(why)| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why);
    let file = shared.switch.backup(records).await.map_err(failed)?;
    let bytes = file
        .metadata()
        .map_err(|error| Problem::internal(format!("backup cannot be read: {error}")))?
        .len();
    let chunks = stream::unfold(Some(file), |file| async {
        match web::block(move || read(file?)).await {
            Ok(None) => None,
            Ok(Some(Ok((chunk, file)))) => Some((Ok(chunk), Some(file))),
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Err(error) => Some((Err(io::Error::other(error)), None)),
        }
    });
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .no_chunking(bytes)
        .streaming(Box::pin(chunks)))
}

fn read(mut file: File) -> Option<io::Result<(Bytes, File)>> {
    let mut chunk = vec![0; CHUNK];
    match file.read(&mut chunk) {
        Ok(0) => None,
        Ok(read) => {
            chunk.truncate(read);
            Some(Ok((chunk.into(), file)))
        }
        Err(error) => Some(Err(error)),
    }
}
