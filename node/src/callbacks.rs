//! What platforms push to us: proved by the interface's definition, replicated, and only then acknowledged.
//!
//! A push that was signed once may be sent again by anybody who saw it. That does no harm, so no nonce is remembered:
//! its events have the same keys, and a key is stored once.

use std::time::Duration;

use tandem_billing::event;
use tandem_billing::record::Handle;
use tandem_billing::{EventKind, Money, PlatformEvent, Store, Time, codec};
use tandem_cluster::command::{Command, EVENTS_MAX, Refusal, Reply as Applied};
use tandem_cluster::entity::{Id, Table};
use tandem_cluster::state::State;
use tandem_ops::log::mask_numbers;
use tandem_ops::platform::{Known, PlatformReply, PlatformRequest};
use tandem_vendors::definition::{CallEvent, CallbackRequest, EventKind as Kind, Reply};
use tandem_vendors::{Client, Vendor};

use crate::core::Core;
use crate::questions;

/// Platforms wait some seconds for their answer, and the admin API is promised one within five.
const STORED_WITHIN: Duration = Duration::from_secs(4);

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
pub async fn answer(core: &Core, store: &Store, request: PlatformRequest) -> PlatformReply {
    match find(core, &request.interface) {
        None => PlatformReply::plain(404, "unknown"),
        Some((_, Ok(client))) if client.has_callback(&request.name) => {
            push(core, store, &client, &request).await
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
async fn push(
    core: &Core,
    store: &Store,
    client: &Client,
    request: &PlatformRequest,
) -> PlatformReply {
    let headers = headers(request);
    let received = client.receive(&request.name, &as_it_came(core, request, &headers));
    let reply = client.reply(&request.name, &received);
    match &received {
        Err(error) => written(reply, error.word(), mask_numbers(&error.to_string())),
        Ok(receipt) => match keep(core, store, request, &receipt.events).await {
            Ok(new) => {
                let result = match (new, receipt.events.len()) {
                    (_, 0) => "nothing",
                    (0, _) => "repeated",
                    _ => "stored",
                };
                written(reply, result, mask_numbers(&receipt.odd.join("; ")))
            }
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

/// Replicates the events that are not stored yet; done when a majority has them, so that what the platform is told stays
/// true whichever node dies. Answers how many were new.
///
/// What was taken a moment ago and is still on its way into the records becomes a second entry of the log, and no second
/// event: the records tell.
async fn keep(
    core: &Core,
    store: &Store,
    request: &PlatformRequest,
    events: &[CallEvent],
) -> Result<usize, String> {
    let (interface, name) = (&request.interface, &request.name);
    let keys: Vec<&str> = events.iter().map(|event| &*event.key).collect();
    let known = store.known_events(interface, name, &keys).await;
    let known = known.map_err(|error| format!("records cannot be read: {error}"))?;
    let new: Vec<Vec<u8>> = events
        .iter()
        .filter(|event| !known.contains(&event.key))
        .map(|event| encoded(core, request, event))
        .collect::<Result<_, _>>()?;
    for events in new.chunks(EVENTS_MAX) {
        let command = Command::PlatformEvents {
            events: events.to_vec(),
        };
        match core.cluster.propose_within(command, STORED_WITHIN).await {
            Ok(Applied::Done) => {}
            Ok(Applied::Refused(Refusal::OutboxFull)) => {
                return Err("too many records wait to be stored".to_owned());
            }
            Ok(reply) => return Err(format!("refused: {reply:?}")),
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(new.len())
}

/// The event as the records hold it.
fn encoded(core: &Core, request: &PlatformRequest, event: &CallEvent) -> Result<Vec<u8>, String> {
    let text = |text: &Option<String>, most: usize| {
        let text = text.as_deref().unwrap_or_default();
        text[..text.floor_char_boundary(most)].to_owned()
    };
    let short = |field: &Option<String>| text(field, event::TEXT_MAX);
    let handle = event.handle.iter();
    let event = PlatformEvent {
        received_at: Time::from_ms(core.clock.now().wall),
        interface_name: request.interface.clone(),
        kind: kind(event.kind),
        a_number: short(&event.a),
        x_number: short(&event.x),
        b_number: short(&event.b),
        at: event.at_ms.map(Time::from_ms),
        started_at: event.started_ms.map(Time::from_ms),
        ringing_at: event.ringing_ms.map(Time::from_ms),
        answered_at: event.answered_ms.map(Time::from_ms),
        ended_at: event.ended_ms.map(Time::from_ms),
        duration_ms: event.duration_ms,
        cost: event.cost_micros.map(Money::from_micros),
        cause: short(&event.cause),
        recording: text(&event.recording, event::URL_MAX),
        platform_call_id: short(&event.call_id),
        own_id: short(&event.own_id),
        handle: Handle::new(handle.map(|(name, value)| (&**name, &**value))),
        callback: request.name.clone(),
        key: event.key.clone(),
        node: core.config.node.access_name.clone(),
    };
    match codec::encode_event(&event) {
        Ok(bytes) => Ok(bytes.to_vec()),
        Err(error) => Err(error.to_string()),
    }
}

fn kind(kind: Kind) -> EventKind {
    match kind {
        Kind::Started => EventKind::Started,
        Kind::Ringing => EventKind::Ringing,
        Kind::Answered => EventKind::Answered,
        Kind::Ended => EventKind::Ended,
        Kind::Bill => EventKind::Bill,
        Kind::Recording => EventKind::Recording,
        Kind::Other => EventKind::Other,
    }
}
