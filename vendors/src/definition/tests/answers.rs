//! Answers that are none, to every vendor: they never bind anything, never panic, and an answer
//! that says nothing leaves the outcome unknown.

use bytes::Bytes;

use super::super::*;
use crate::damage::damaged;
use crate::interface::Vendor;
use crate::outcome::RAW_MAX;

const VALUES: Values<'_> = Values {
    a: "13800000001",
    x: "17000000001",
    b: "13900000002",
    own_id: "1",
    handle: None,
    page: 1,
};

fn plans() -> Vec<(&'static str, Plan)> {
    let plan = |vendor: Vendor| {
        let mut interface = Interface::new(1, "x", vendor, "https://platform.example");
        for param in &vendor.describe().params {
            if param.required {
                interface = interface.with(&param.name, "1");
            }
        }
        (vendor.name(), Plan::new(&interface))
    };
    let asked = |vendor: &Vendor| !vendor.policy().asks;
    Vendor::all().into_iter().filter(asked).map(plan).collect()
}

fn response(status: u16, body: &[u8]) -> Response {
    Response {
        status,
        headers: Vec::new(),
        body: Bytes::copy_from_slice(body),
    }
}

/// What a bind made of it, after every other reader has seen it too.
fn read(plan: &Plan, response: &Response) -> BindOutcome {
    for op in [Op::Query, Op::XQuery, Op::AxQuery, Op::QueryDetail] {
        if let (QueryOutcome::Found(held), _) = plan.read_query(op, response, &VALUES) {
            assert!(held.iter().all(|held| !held.handle.is_empty()));
        }
        let _ = plan.read_page(op, response, &VALUES);
    }
    for op in [Op::Unbind, Op::AxUnbind] {
        let _ = plan.read_unbind(op, response, &VALUES);
    }
    for op in [Op::SetCallee, Op::Modify, Op::ClearCallee] {
        let _ = plan.read_done(op, response, &VALUES);
    }
    plan.read_bind(Op::Bind, response, &VALUES).0
}

#[test]
fn what_is_no_answer_binds_nothing_and_leaves_the_outcome_unknown() {
    let many = format!("[{}0]", "0,".repeat(20_000));
    let bodies: [&[u8]; 11] = [
        b"",
        b"null",
        b"[]",
        b"\"0\"",
        b"<html>welcome</html>",
        b"{\"code\":",
        b"\xc4\xe3\xba\xc3",
        b"\xff\xfe{\0}\0",
        b"{\"data\":{\"subscriptionId\":{}}}",
        many.as_bytes(),
        &[b'['; 20_000],
    ];
    for (name, plan) in plans() {
        for body in bodies {
            match read(&plan, &response(200, body)) {
                BindOutcome::Failed(failure) => {
                    assert!(failure.class.may_hold(), "{name}: {failure}");
                    assert!(failure.text.len() <= RAW_MAX);
                }
                bound => panic!("{name}: {bound:?}"),
            }
            for status in [404, 500, 502] {
                let outcome = read(&plan, &response(status, body));
                assert!(matches!(outcome, BindOutcome::Failed(_)), "{name} {status}");
            }
        }
    }
}

#[test]
fn no_vendor_takes_garbage_for_a_release() {
    for (name, plan) in plans() {
        for body in ["<html>welcome</html>", "[]", "null", "{}", "{\"x\":1}"] {
            let response = response(200, body.as_bytes());
            let (outcome, _, _) = plan.read_unbind(Op::Unbind, &response, &VALUES);
            // One platform says "released" with its status alone.
            let by_status = name == "plivo" && body != "<html>welcome</html>";
            if !by_status {
                assert!(matches!(outcome, UnbindOutcome::Failed(_)), "{name} {body}");
            }
        }
    }
}

#[test]
fn damaged_answers_are_read_without_panic_at_every_vendor() {
    let samples: [&[u8]; 5] = [
        br#"{"code":0,"message":"ok","data":{"bindId":"b-1","bind_id":"b","subid":1,"telX":"17000000001"}}"#,
        br#"{"ResponseMetadata":{"Error":{"Code":"OverQpsLimit","Message":"x"}},"Result":{"SubId":"s"}}"#,
        br#"{"Response":{"ErrorCode":"0","BindId":"b","VirtualNum":"008617000000001","RefLeftNum":"1"}}"#,
        br#"{"Code":"OK","SubsId":"1,2,,3","SecretBindDTO":{"SubsId":"1","SecretNo":"17000000001"}}"#,
        br#"{"resultcode":"0","objects":[{"session_uuid":"u","first_party":"86"}],"sid":"KC1","result":"000000"}"#,
    ];
    let plans = plans();
    damaged(&samples, 60, |body| {
        for (_, plan) in &plans {
            for status in [200, 404] {
                let _ = read(plan, &response(status, body));
            }
        }
    });
}
