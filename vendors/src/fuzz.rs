//! What the fuzz targets (`vendors/fuzz`) do with their bytes, and what must hold whatever the bytes
//! are. The tests run the same over damaged samples.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::definition::{
    CALLBACK_KEY_MAX, CALLBACK_ROWS_MAX, CallbackRequest, Callee, Definition, FILE_MAX, OUTPUT_MAX,
    Plan, Values,
};
use crate::description::Form;
use crate::exchange::{Attempt, Op, Response};
use crate::interface::{Interface, Severity, Vendor};
use crate::outcome::{BindOutcome, Handle, QueryOutcome, RAW_MAX};

/// Definitions of one process that are also built with: a vendor is never forgotten, so that each
/// one costs its memory for good.
const BUILT_MAX: usize = 5_000;
/// Most mistakes that are told of one definition.
const MISTAKES_MAX: usize = 50;
/// Longest value of a handle, in bytes.
const HANDLE_MAX: usize = 256;
/// Longest number, in bytes.
const NUMBER_MAX: usize = 32;

/// What a binding is asked for with.
fn values(handle: &Handle) -> Values<'_> {
    Values {
        a: "13800000001",
        x: "17000000001",
        b: "13900000002",
        own_id: "00000000000000000000000000000001",
        handle: Some(handle),
        page: 1,
    }
}

const OPS: [Op; 11] = [
    Op::Bind,
    Op::Unbind,
    Op::Query,
    Op::AxBind,
    Op::AxUnbind,
    Op::SetCallee,
    Op::AxQuery,
    Op::XQuery,
    Op::Modify,
    Op::ClearCallee,
    Op::QueryDetail,
];

/// An interface with every required parameter, and nothing else.
fn interface(vendor: Vendor) -> Interface {
    let mut interface = Interface::new(1, "fuzz", vendor, "https://platform.example");
    for param in vendor
        .describe()
        .params
        .iter()
        .filter(|param| param.required)
    {
        let value = match &param.form {
            Form::Text { .. } => "0123456789abcdef".to_owned(),
            Form::Number { min, .. } => min.to_string(),
            Form::Choice { words } => words[0].clone(),
        };
        interface = interface.with(&param.name, &value);
    }
    interface
}

/// A plan of each vendor that is built in.
fn plans() -> &'static [Plan] {
    static PLANS: OnceLock<Vec<Plan>> = OnceLock::new();
    PLANS.get_or_init(|| {
        let plan = |vendor| Plan::new(&interface(vendor));
        Vendor::all().into_iter().map(plan).collect()
    })
}

fn attempt() -> Attempt {
    Attempt {
        now_ms: 1_716_193_800_123,
        nonce: "66C92B11FF8A425FB8D4CCFE0ED9ED1F".to_owned(),
    }
}

/// Loads the bytes as a definition. Every refusal names places that are in the text; what loads
/// builds requests and reads answers within its bounds.
pub fn definition(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let definition = match Definition::parse(text) {
        Ok(definition) => definition,
        Err(mistakes) => {
            assert!((1..=MISTAKES_MAX).contains(&mistakes.len()));
            let lines = text.lines().count();
            for mistake in mistakes {
                assert!((1..=lines + 1).contains(&mistake.line), "{mistake}");
                assert!(!mistake.text.is_empty());
            }
            return;
        }
    };
    assert!(text.len() <= FILE_MAX);
    static BUILT: AtomicUsize = AtomicUsize::new(0);
    if BUILT.fetch_add(1, Ordering::Relaxed) >= BUILT_MAX {
        return;
    }
    let interface = interface(Vendor::of(Box::leak(Box::new(definition))));
    // An interface that is refused is never built with.
    let refused = interface.check();
    if refused
        .iter()
        .any(|finding| finding.severity == Severity::Error)
    {
        return;
    }
    let plan = Plan::new(&interface);
    let handle = Handle::from([("id".to_owned(), "1".to_owned())]);
    for op in OPS {
        if let Ok(request) = plan.build(op, &values(&handle), &attempt()) {
            assert!(request.url.len() + request.body.len() <= 2 * OUTPUT_MAX);
        }
        answered(&plan, op, 200, b"{\"code\":0,\"data\":{\"id\":\"1\"}}");
    }
}

/// Reads the bytes as an answer: the first chooses the vendor, the second the operation, the third
/// the status.
pub fn answer(data: &[u8]) {
    let [vendor, op, status, body @ ..] = data else {
        return;
    };
    let plan = &plans()[usize::from(*vendor) % plans().len()];
    let op = OPS[usize::from(*op) % OPS.len()];
    let status = [200, 200, 400, 401, 403, 404, 409, 429, 500, 503][usize::from(*status) % 10];
    answered(plan, op, status, body);
}

/// Everything that is read of an answer is bounded, and nothing that is unreadable is success.
fn answered(plan: &Plan, op: Op, status: u16, body: &[u8]) {
    let response = Response {
        status,
        headers: Vec::new(),
        body: Bytes::copy_from_slice(body),
    };
    let handle = Handle::from([("id".to_owned(), "1".to_owned())]);
    let values = values(&handle);
    if let (BindOutcome::Bound { handle, x, raw }, _) = plan.read_bind(op, &response, &values) {
        assert!(!x.is_empty() && x.len() <= NUMBER_MAX, "x `{x}`");
        assert!(handle.values().all(|value| value.len() <= HANDLE_MAX));
        assert!(raw.len() <= RAW_MAX);
    }
    let _ = plan.read_unbind(op, &response, &values);
    let _ = plan.read_done(op, &response, &values);
    if let (QueryOutcome::Found(held), _) = plan.read_query(op, &response, &values) {
        assert!(!held.is_empty());
    }
    if let (Ok(page), _) = plan.read_page(op, &response, &values) {
        assert!(page.held.len() <= page.rows);
    }
}

/// Reads the bytes as a push, or as a question where the vendor asks: the first chooses the vendor,
/// the second the call-back, the third how many of the rest are the body; what remains is the query.
pub fn push(data: &[u8]) {
    let [vendor, name, cut, rest @ ..] = data else {
        return;
    };
    let plan = &plans()[usize::from(*vendor) % plans().len()];
    let callbacks = plan.callbacks().iter().map(|c| (&c.name, c.method));
    let questions = plan.questions().iter().map(|q| (&q.name, q.method));
    let addresses: Vec<_> = callbacks.chain(questions).collect();
    if addresses.is_empty() {
        return;
    }
    let (name, method) = addresses[usize::from(*name) % addresses.len()];
    let (body, query) = rest.split_at(rest.len() * usize::from(*cut) / 255);
    let Ok(query) = std::str::from_utf8(query) else {
        return;
    };
    let url = format!("https://switch.example/callbacks/i/{name}?{query}");
    let request = CallbackRequest {
        method: method.word(),
        url: &url,
        suffix: "",
        headers: &[
            ("authorization", query),
            ("content-type", "application/json"),
        ],
        body,
        now_ms: 1_716_193_800_123,
    };
    if let Ok(asked) = plan.question(name, &request) {
        let callee = Callee {
            b: "13900000002",
            own_id: "1",
            limit_s: Some(60),
        };
        for callee in [Some(callee), None] {
            if let Ok(reply) = plan.answer(name, &request, &asked, callee, "00") {
                assert!(reply.body.len() <= OUTPUT_MAX);
            }
        }
    }
    if let Ok(receipt) = plan.receive(name, &request) {
        assert!(receipt.events.len() <= CALLBACK_ROWS_MAX);
        for event in receipt.events {
            assert!(!event.key.is_empty() && event.key.len() <= CALLBACK_KEY_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damage::damaged;
    use crate::definition::Catalogue;

    /// Rounds of each test; the fuzzer itself makes millions.
    const ROUNDS: u64 = 3_000;

    #[test]
    fn damaged_definitions_are_refused_with_places_or_keep_their_bounds() {
        let texts: Vec<&[u8]> = Vendor::all()
            .into_iter()
            .filter_map(|vendor| Catalogue::text_of(vendor.name()))
            .map(str::as_bytes)
            .collect();
        damaged(&texts, ROUNDS / 10, definition);
    }

    #[test]
    fn damaged_answers_are_read_within_bounds() {
        let samples: Vec<Vec<u8>> = (0..=u8::MAX)
            .map(|first| {
                [
                    &[first, first / 19, 0][..],
                    SAMPLES[usize::from(first) % SAMPLES.len()],
                ]
                .concat()
            })
            .collect();
        let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
        damaged(&samples, 10 * ROUNDS, answer);
    }

    #[test]
    fn damaged_pushes_are_read_within_bounds() {
        let samples: Vec<Vec<u8>> = (0..=u8::MAX)
            .map(|first| {
                [
                    &[first, first / 19, first][..],
                    SAMPLES[usize::from(first) % SAMPLES.len()],
                ]
                .concat()
            })
            .collect();
        let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
        damaged(&samples, 10 * ROUNDS, push);
    }

    /// Bodies as platforms send them.
    const SAMPLES: &[&[u8]] = &[
        br#"{"resultcode":"0","resultdesc":"Success","subscriptionId":"0167ecc9-bfb6","relationNum":"+8617000000001"}"#,
        br#"{"Code":"OK","Message":"OK","SecretBindDTO":{"SubsId":"1000000000000001","SecretNo":"17000000001"}}"#,
        br#"{"Response":{"ErrorCode":"0","Msg":"ok","BindId":"bind-0001","VirtualNum":"008617000000001","RefNum":"1"}}"#,
        br#"{"Result":{"SubId":"S0001","PhoneNoX":"17000000001","Records":[{"SubId":"S1"}],"Total":1}}"#,
        br#"{"code":0,"message":"success","data":{"tel_x":"17000000001","bind_id":"b1","list":[[[[{}]]]]}}"#,
        br#"{"eventType":"fee","feeLst":[{"sessionId":"1","callerNum":"+8613800000001","callInTime":"2024-05-20 08:30:00"}]}"#,
        br#"{"callId":"c","caller":"13800000001","callee":"17000000001","timestamp":1,"sign":"0","from":"86138","to":"86170"}"#,
        b"callSid=CA1&outboundResourceStatus=completed&interactionDuration=61",
    ];
}
