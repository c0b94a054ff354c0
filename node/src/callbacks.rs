//! What platforms push to us: proved by the interface's definition, replicated, and only then acknowledged.
//!
//! A push that was signed once may be sent again by anybody who saw it. That does no harm, so no nonce is remembered:
//! its events have the same keys, and a key is stored once.

use tandem_cluster::entity::{Id, Table};
use tandem_cluster::state::State;
use tandem_ops::log::mask_numbers;
use tandem_ops::platform::{Known, PlatformReply, PlatformRequest};
use tandem_vendors::definition::{CallEvent, CallbackRequest, Reply};
use tandem_vendors::{Client, Vendor};

use crate::core::Core;
use crate::questions;

/// Whether a platform may call this address.
pub fn known(core: &Core, interface: &str, name: &str) -> Known {
    let state = core.tables();
    let id = state.find(Table::Interfaces, interface);
    let Some(row) = id.and_then(|id| state.interface(id)) else {
        return Known::Nothing;
    };
    // By the definition alone: an interface that cannot work has its addresses all the same.
    match Vendor::named(&row.entity.kind) {
        Some(vendor)
            if vendor.describe().callbacks.iter().any(|c| c.name == name)
                || vendor.describe().questions.iter().any(|q| q.name == name) =>
        {
            Known::Address
        }
        _ => Known::Interface,
    }
}

/// A refusal under a status of ours, in the platform's literal form.
pub fn refusal(core: &Core, interface: &str, name: &str, status: u16) -> Option<PlatformReply> {
    let (_, client) = find(core, interface)?;
    let reply = client.ok()?.refusal(name, status)?;
    Some(written(reply, "refused", String::new()))
}

/// Answers a request of a platform.
pub async fn answer(core: &Core, request: PlatformRequest) -> PlatformReply {
    match find(core, &request.interface) {
        None => PlatformReply::plain(404, "unknown"),
        Some((_, Ok(client))) if client.has_callback(&request.name) => {
            push(core, &client, &request).await
        }
        Some((id, Ok(client))) if client.has_question(&request.name) => {
            let headers = headers(&request);
            let question = as_it_came(core, &request, &headers);
            questions::answer(core, id, &client, &request, &question).await
        }
        Some((_, Ok(_))) => PlatformReply::plain(404, "unknown"),
        Some((_, Err(why))) => PlatformReply {
            note: why,
            ..PlatformReply::plain(503, "interface")
        },
    }
}

/// The interface of this name and its client, or why that cannot work.
fn find(core: &Core, interface: &str) -> Option<(Id, Result<Client, String>)> {
    let state: &State = &core.tables();
    let id = state.find(Table::Interfaces, interface)?;
    Some((id, core.platforms.client(state, id)))
}

/// A push: its proof, its events, and the literal answer.
async fn push(core: &Core, client: &Client, request: &PlatformRequest) -> PlatformReply {
    let headers = headers(request);
    let received = client.receive(&request.name, &as_it_came(core, request, &headers));
    let reply = client.reply(&request.name, &received);
    match &received {
        Err(error) => written(reply, error.word(), mask_numbers(&error.to_string())),
        Ok(receipt) => match keep(&request.interface, &request.name, &receipt.events).await {
            Ok(()) => written(reply, "stored", mask_numbers(&receipt.odd.join("; "))),
            // The platform sends it again later.
            Err(why) => match client.refusal(&request.name, 503) {
                Some(reply) => written(reply, "unavailable", why),
                None => PlatformReply::plain(503, "unavailable"),
            },
        },
    }
}

fn headers(request: &PlatformRequest) -> Vec<(&str, &str)> {
    let headers = request.headers.iter();
    headers.map(|(name, value)| (&**name, &**value)).collect()
}

/// The request in the vendors' terms, and when it came.
fn as_it_came<'r>(
    core: &Core,
    request: &'r PlatformRequest,
    headers: &'r [(&'r str, &'r str)],
) -> CallbackRequest<'r> {
    CallbackRequest {
        method: &request.method,
        url: &request.url,
        suffix: &request.suffix,
        headers,
        body: &request.body,
        now_ms: core.clock.now().wall,
    }
}

pub(crate) fn written(reply: Reply, result: &'static str, note: String) -> PlatformReply {
    PlatformReply {
        status: reply.status,
        content_type: reply.content_type,
        body: reply.body.into(),
        result,
        note,
    }
}

/// Until events have a place in the records, no push is acknowledged that carries any.
async fn keep(_: &str, _: &str, events: &[CallEvent]) -> Result<(), String> {
    match events {
        [] => Ok(()),
        _ => Err("events cannot be stored".to_owned()),
    }
}
