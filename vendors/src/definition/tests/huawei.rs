//! Huawei's definition: every field, every code, every trap.

use std::fmt::Write as _;

use bytes::Bytes;

use super::super::*;
use crate::damage::damaged;
use crate::description::Verdict;
use crate::interface::Vendor;
use crate::outcome::{AxBind, Bind, Class, Handle, Service};

const SUBSCRIPTION_ID: &str = "subscriptionId";

fn plain() -> Interface {
    Interface::new(1, "vectors", Vendor::huawei(), "")
        .with("app_key", "key")
        .with("app_secret", "secret")
}

fn plan(interface: &Interface) -> Plan {
    Plan::new(interface)
}

fn attempt() -> Attempt {
    Attempt {
        now_ms: 1_716_193_800_999,
        nonce: "66C92B11FF8A425FB8D4CCFE0ED9ED1F".into(),
    }
}

fn numbers() -> Bind {
    Bind {
        a: "13800000001".into(),
        x: "17000000001".into(),
        b: "13900000002".into(),
        own_id: "call-000001".into(),
    }
}

/// The numbers of the AX vectors.
fn relation() -> AxBind {
    AxBind {
        a: "13800000001".into(),
        x: "17000000009".into(),
        own_id: "call-000001".into(),
    }
}

fn triple(numbers: &Bind) -> Values<'_> {
    Values {
        a: &numbers.a,
        x: &numbers.x,
        b: &numbers.b,
        own_id: &numbers.own_id,
        ..Values::default()
    }
}

fn pair(numbers: &AxBind) -> Values<'_> {
    Values {
        a: &numbers.a,
        x: &numbers.x,
        own_id: &numbers.own_id,
        ..Values::default()
    }
}

fn build(interface: &Interface, op: Op, values: Values<'_>) -> Result<Request, Failure> {
    plan(interface).build(op, &values, &attempt())
}

#[test]
fn one_page_of_x_is_asked_for_with_the_most_rows() {
    let values = Values {
        x: "17000000001",
        page: 3,
        ..Values::default()
    };
    let request = build(&plain(), Op::XQuery, values).unwrap();
    assert_eq!(
        request.url,
        "https://rtcpns.cn-north-1.myhuaweicloud.com/rest/caas/relationnumber/partners/v1.0?relationNum=%2B8617000000001&pageIndex=3&pageSize=100"
    );
    assert_eq!((request.method, request.body.as_str()), (Method::Get, ""));
    assert_eq!(plan(&plain()).page_rows(), 100);
}

#[test]
fn a_relation_is_named_by_its_id_where_it_has_one() {
    let handle = Handle::from([(SUBSCRIPTION_ID.into(), "s/1".into())]);
    let numbers = relation();
    let named = Values {
        handle: Some(&handle),
        b: "02100000001",
        ..pair(&numbers)
    };
    let interface = plain().with("user_data", "true");
    let unbind = build(&interface, Op::AxUnbind, named).unwrap();
    assert_eq!(
        unbind.url,
        "https://rtcpns.cn-north-1.myhuaweicloud.com/rest/provision/caas/privatenumber/v1.0?subscriptionId=s%2F1"
    );
    let callee = build(&interface, Op::SetCallee, named).unwrap();
    assert_eq!(
        callee.body,
        r#"{"subscriptionId":"s/1","calleeNum":"+862100000001","duration":60,"userData":"call-000001"}"#
    );
}

#[test]
fn every_parameter_has_its_field() {
    let interface = plain()
        .with("call_direction", "2")
        .with("expiration", "90")
        .with("record_flag", "true")
        .with("record_hint_tone", "r.wav")
        .with("max_duration", "60")
        .with("last_min_voice", "l.wav")
        .with("private_sms", "false")
        .with("caller_hint_tone", "a.wav")
        .with("callee_hint_tone", "b.wav")
        .with("user_data", "true");
    assert_eq!(
        build(&interface, Op::Bind, triple(&numbers()))
            .unwrap()
            .body,
        r#"{"relationNum":"+8617000000001","callerNum":"+8613800000001","calleeNum":"+8613900000002","callDirection":2,"duration":90,"recordFlag":"true","recordHintTone":"r.wav","maxDuration":60,"lastMinVoice":"l.wav","privateSms":"false","preVoice":{"callerHintTone":"a.wav","calleeHintTone":"b.wav"},"userData":"call-000001"}"#
    );
    assert_eq!(
        build(&plain(), Op::Bind, triple(&numbers())).unwrap().body,
        r#"{"relationNum":"+8617000000001","callerNum":"+8613800000001","calleeNum":"+8613900000002","duration":7200}"#
    );
}

#[test]
fn every_ax_parameter_has_its_field() {
    let interface = plain()
        .with("ax_callee_num_display", "1")
        .with("ax_call_direction", "1")
        .with("ax_record_flag", "true")
        .with("ax_record_hint_tone", "r.wav")
        .with("ax_max_duration", "60")
        .with("ax_last_min_voice", "l.wav")
        .with("ax_private_sms", "false")
        .with("ax_caller_hint_tone", "a.wav")
        .with("ax_callee_hint_tone", "b.wav")
        .with("callee_duration", "90")
        .with("user_data", "true")
        // AXB's own parameters say nothing about AX.
        .with("record_flag", "false")
        .with("max_duration", "5");
    assert_eq!(
        build(&interface, Op::AxBind, pair(&relation()))
            .unwrap()
            .body,
        r#"{"origNum":"+8613800000001","privateNum":"+8617000000009","calleeNumDisplay":"1","callDirection":1,"recordFlag":"true","recordHintTone":"r.wav","maxDuration":60,"lastMinVoice":"l.wav","privateSms":"false","preVoice":{"callerHintTone":"a.wav","calleeHintTone":"b.wav"},"userData":"call-000001"}"#
    );
    let numbers = relation();
    let named = Values {
        b: "13900000002",
        ..pair(&numbers)
    };
    let callee = build(&interface, Op::SetCallee, named).unwrap();
    assert!(callee.body.contains(r#""duration":90"#));
}

#[test]
fn ax_queries_name_one_number() {
    for (a, x, query) in [
        ("13800000001", "17000000009", "privateNum=%2B8617000000009"),
        ("", "17000000009", "privateNum=%2B8617000000009"),
        ("13800000001", "", "origNum=%2B8613800000001"),
    ] {
        let values = Values {
            a,
            x,
            ..Values::default()
        };
        let request = build(&plain(), Op::AxQuery, values).unwrap();
        assert_eq!(request.url.split_once('?').unwrap().1, query, "{a} {x}");
    }
    for op in [Op::AxQuery, Op::AxBind, Op::AxUnbind] {
        let failure = build(&plain(), op, Values::default()).unwrap_err();
        assert_eq!(
            (failure.class, &*failure.code),
            (Class::Permanent, "number")
        );
    }
}

#[test]
fn digest_may_be_chosen_apart_from_the_headers() {
    let steps = |interface: &Interface| {
        let steps = plan(interface).steps(Op::Bind, &triple(&numbers()), &attempt());
        let found = steps
            .unwrap()
            .into_iter()
            .find(|(name, _)| name == "digest");
        found.unwrap().1
    };
    let aksk = steps(&plain().with("digest", "sha256"));
    assert_eq!(aksk, steps(&plain().with("scheme", "WSSE")));
    assert_ne!(aksk, steps(&plain()));
    let interface = plain().with("digest", "sha256");
    let request = build(&interface, Op::Bind, triple(&numbers())).unwrap();
    let header = |name: &str| request.headers.iter().find(|(known, _)| **known == *name);
    assert!(header("Authorization").unwrap().1.starts_with("AKSK "));
    assert!(header("X-AKSK").unwrap().1.contains(&aksk));
    assert!(header("X-WSSE").is_none());
}

#[test]
fn an_unbind_without_id_is_never_built() {
    for handle in [
        Handle::new(),
        Handle::from([("relationNum".into(), "+8617000000001".into())]),
        Handle::from([(SUBSCRIPTION_ID.into(), String::new())]),
    ] {
        let numbers = numbers();
        let values = Values {
            handle: Some(&handle),
            ..triple(&numbers)
        };
        let failure = build(&plain(), Op::Unbind, values).unwrap_err();
        assert_eq!(
            (failure.class, &*failure.code),
            (Class::Permanent, "handle")
        );
    }
}

#[test]
fn numbers_that_are_none_are_refused_before_anything_is_sent() {
    for bad in ["", "+", "alice", "12 34", "号", &"1".repeat(40)] {
        let bind = Bind {
            b: bad.into(),
            ..numbers()
        };
        let failure = build(&plain(), Op::Bind, triple(&bind)).unwrap_err();
        assert_eq!(
            (failure.class, failure.code.as_str()),
            (Class::Permanent, "number"),
            "{bad}"
        );
    }
}

/// What an answer that is no success means.
fn verdict(status: u16, body: &str) -> Verdict {
    let definition = Vendor::huawei().describe();
    let operation = definition.operation(Op::Bind).unwrap();
    let response = response(status, body.as_bytes());
    let refusal = operation
        .answer
        .judge(Op::Bind, &definition.rules, &[], &response)
        .unwrap_err();
    Verdict {
        class: refusal.failure.class,
        wait_ms: refusal.failure.wait_ms,
        auth: refusal.auth,
        gone: refusal.gone,
    }
}

/// Every code, what the trade calls it, and what the switch makes of it: whether a bind tries
/// another X or only another gateway, whether the platform may hold something afterwards,
/// whether it stays so until somebody acts, and whether unbind and query take it as "nothing
/// there".
const TABLE: &str = "
code     kind         class           bind goes on with  may hold  lasting  nothing there
1010002  invalid      permanent       another gateway    -         lasting  -
1010010  throttled    throttled       another gateway    -         -        -
1010001  timeout      unknown         another gateway    may hold  -        -
1020002  timeout      unknown         another gateway    may hold  -        -
1010029  unavailable  vendor_down     another gateway    -         -        -
1010040  auth         config          another gateway    -         lasting  -
1011001  not_found    x_unusable      another x          -         lasting  -
1011004  not_found    x_unusable      another x          -         lasting  -
1012001  not_found    x_unusable      another x          -         lasting  -
1011005  number_busy  x_conflict      another x          -         -        -
1012010  number_busy  x_conflict      another x          -         -        -
1012007  not_found    not_found       another x          -         lasting  gone
1016001  not_found    not_found       another x          -         lasting  gone
1016002  exists       already_bound   another x          may hold  -        -
1012006  exhausted    pool_exhausted  another gateway    -         -        -
1012008  exhausted    pool_exhausted  another gateway    -         -        -
1020001  invalid      permanent       another gateway    -         lasting  -
1020150  auth         config          another gateway    -         lasting  -
1020166  auth         config          another gateway    -         lasting  -
1020176  unavailable  vendor_down     another gateway    -         -        -
1023006  auth         config          another gateway    -         lasting  -
1023099  auth         config          another gateway    -         lasting  -
7654321  invalid      permanent       another gateway    -         lasting  -
(500)    timeout      unknown         another gateway    may hold  -        -
(429)    throttled    throttled       another gateway    -         -        -
(404)    auth         config          another gateway    -         lasting  -
(401)    auth         config          another gateway    -         lasting  -
";

fn yes(holds: bool, word: &'static str) -> &'static str {
    if holds { word } else { "-" }
}

#[test]
fn every_code_is_told_apart_as_the_table_says() {
    let (head, rows) = TABLE.trim_start().split_once('\n').unwrap();
    let mut table = format!("\n{head}\n");
    for row in rows.lines() {
        let code = row.split(' ').next().unwrap();
        let status = code
            .strip_prefix('(')
            .map(|rest| rest.trim_end_matches(')'));
        let verdict = match status {
            Some(status) => verdict(status.parse().unwrap(), ""),
            None => verdict(403, &format!("{{\"resultcode\":\"{code}\"}}")),
        };
        let class = verdict.class;
        let next = match class.other_x() {
            Service::Number => "another x",
            Service::Platform => "another gateway",
        };
        let line = format!(
            "{code:<9}{:<13}{:<16}{next:<19}{:<10}{:<9}{}",
            class.kind().word(),
            class.word(),
            yes(class.may_hold(), "may hold"),
            yes(class.lasting(), "lasting"),
            yes(verdict.gone, "gone"),
        );
        writeln!(table, "{line}").unwrap();
    }
    assert_eq!(table, TABLE);
}

#[test]
fn every_word_of_the_trade_is_some_class_of_a_platform_that_tells_them_all_apart() {
    let kinds: Vec<_> = Class::ALL.iter().map(|class| class.kind().word()).collect();
    for word in [
        "exists",
        "not_found",
        "number_busy",
        "exhausted",
        "auth",
        "throttled",
        "unavailable",
        "timeout",
    ] {
        assert!(kinds.contains(&word), "{word}");
    }
}

#[test]
fn what_the_platform_lets_the_pool_do() {
    let policy = serde_json::to_value(Vendor::huawei().policy()).unwrap();
    let expected = serde_json::json!({
        "asks": false,
        "ax": true,
        "set_callee": true,
        "query": true,
        "conflict": "x_callee",
        "pair_rest_ms": 2000,
    });
    assert_eq!(policy, expected);
}

#[test]
fn a_form_can_be_made_of_the_schema() {
    for vendor in Vendor::all() {
        let schema = serde_json::to_value(vendor.schema()).unwrap();
        assert_eq!(schema["name"], vendor.to_string());
        let id = u32::try_from(schema["id"].as_u64().unwrap()).unwrap();
        assert_eq!(Vendor::numbered(id), Some(vendor));
        for param in schema["params"].as_array().unwrap() {
            let help = param["help"].as_str().unwrap();
            assert!(!help.is_empty() && help.len() < 120, "{param}");
        }
    }
    let schema = serde_json::to_value(Vendor::huawei().schema()).unwrap();
    let urls: Vec<_> = schema["urls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|url| url["name"].as_str().unwrap())
        .collect();
    let expected = [
        "bind",
        "unbind",
        "query",
        "ax_bind",
        "ax_unbind",
        "ax_query",
        "set_callee",
    ];
    assert_eq!(urls, expected);
    let param = |name: &str| {
        let params = schema["params"].as_array().unwrap();
        params.iter().find(|p| p["name"] == name).unwrap().clone()
    };
    assert_eq!(
        param("app_secret"),
        serde_json::json!({
            "name": "app_secret",
            "form": {"kind": "text", "bytes_max": 256},
            "default": null,
            "required": true,
            "secret": true,
            "help": "APP_Secret of the application",
        })
    );
    assert_eq!(
        param("expiration")["form"],
        serde_json::json!({
            "kind": "number", "min": 0, "max": 7_776_000,
            "warn_below": {"least": 7200, "why": "longer calls lose their binding early"},
        })
    );
    assert_eq!(
        param("ax_callee_num_display")["form"],
        serde_json::json!({"kind": "choice", "words": ["0", "1"]})
    );
}

fn asked() -> Bind {
    Bind {
        a: "02100000000".into(),
        x: "17000000000".into(),
        b: "13900000001".into(),
        own_id: String::new(),
    }
}

fn response(status: u16, body: &[u8]) -> Response {
    Response {
        status,
        headers: Vec::new(),
        body: Bytes::copy_from_slice(body),
    }
}

#[test]
fn damaged_answers_are_read_without_panic_and_bounded() {
    let bound: &[u8] = b"{\"resultcode\":\"0\",\"resultdesc\":\"Success\",\"subscriptionId\":\"s-1\",\"relationNum\":\"+8617000000000\"}";
    let list: &[u8] = b"{\"resultcode\":0,\"totalCount\":\"1\",\"relationNumList\":[{\"subscriptionId\":1,\"callerNum\":\"+862100000000\"}]}";
    let refusal: &[u8] = b"{\"resultcode\":\"1012007\",\"resultdesc\":\"gone\"}";
    let relations: &[u8] = b"{\"resultcode\":\"0\",\"privateNumList\":[{\"subscriptionId\":\"s\",\"origNum\":\"+862100000000\",\"privateNum\":\"+8617000000000\"}]}";
    damaged(&[bound, list, refusal, relations], 20_000, |body| {
        for status in [200, 403, 500] {
            let response = response(status, body);
            if let (BindOutcome::Bound { handle, raw, x }, _) = read_bind(&response) {
                assert_eq!(status, 200);
                assert!(!handle[SUBSCRIPTION_ID].is_empty());
                assert!(raw.len() <= crate::outcome::RAW_MAX && !x.is_empty());
            }
            let _ = read_unbind(&response);
            let relation = AxBind {
                a: String::new(),
                x: asked().x,
                own_id: String::new(),
            };
            let _ = read_ax_bind(&response, &relation);
            let _ = read_set_callee(&response);
            let _ = read_page(&response);
            if let (QueryOutcome::Found(held), _) = read_ax_query(&response, &relation) {
                assert!(!held.is_empty());
            }
            if let (QueryOutcome::Found(held), _) = read_query(&response) {
                assert!(!held.is_empty());
            }
        }
    });
}

#[test]
fn gone_is_success_for_unbind_and_none_for_query_but_no_bind() {
    for code in ["1012007", "1016001"] {
        let body = format!("{{\"resultcode\":\"{code}\"}}");
        let response = response(404, body.as_bytes());
        assert_eq!(read_unbind(&response).0, UnbindOutcome::AlreadyGone);
        assert_eq!(read_query(&response).0, QueryOutcome::None);
        let BindOutcome::Failed(failure) = read_bind(&response).0 else {
            panic!("bound");
        };
        assert_eq!(failure.class, Class::NotFound);
    }
}

#[test]
fn pages_tell_how_many_rows_there_are() {
    let row = r#"{"subscriptionId":"s","callerNum":"+862100000000"}"#;
    for (body, held, rows, total) in [
        ("{\"resultcode\":\"1012007\"}".to_owned(), 0, 0, None),
        ("{\"resultcode\":\"0\"}".to_owned(), 0, 0, None),
        (
            format!("{{\"resultcode\":\"0\",\"totalCount\":7,\"relationNumList\":[{row},{{}}]}}"),
            1,
            2,
            Some(7),
        ),
        (
            format!("{{\"resultcode\":\"0\",\"totalCount\":\"7\",\"relationNumList\":[{row}]}}"),
            1,
            1,
            Some(7),
        ),
        (
            format!("{{\"resultcode\":\"0\",\"totalCount\":-1,\"relationNumList\":[{row}]}}"),
            1,
            1,
            None,
        ),
    ] {
        let page = read_page(&response(200, body.as_bytes())).0.unwrap();
        assert_eq!(
            (page.held.len(), page.rows, page.total),
            (held, rows, total),
            "{body}"
        );
    }
}

#[test]
fn relations_of_other_numbers_are_not_what_was_asked_for() {
    let body = b"{\"resultcode\":\"0\",\"privateNumList\":[{\"subscriptionId\":\"s\",\"origNum\":\"+862100000000\",\"privateNum\":\"+8617000000000\"}]}";
    for (a, x, found) in [
        ("02100000000", "17000000000", true),
        ("+862100000000", "", true),
        ("", "17000000000", true),
        ("02100000001", "17000000000", false),
        ("02100000000", "17000000001", false),
    ] {
        let asked = AxBind {
            a: a.into(),
            x: x.into(),
            own_id: String::new(),
        };
        let (outcome, _) = read_ax_query(&response(200, body), &asked);
        match outcome {
            QueryOutcome::Found(held) => {
                assert!(found, "{a} {x}");
                assert_eq!(held[0].a, "02100000000");
                assert_eq!(
                    (held[0].x.as_str(), held[0].b.as_str()),
                    ("17000000000", "")
                );
            }
            other => assert!(!found && other == QueryOutcome::None, "{a} {x}: {other:?}"),
        }
    }
}

#[test]
fn a_status_other_than_200_is_never_success() {
    for status in [201, 204, 302, 403, 500] {
        let body = b"{\"resultcode\":\"0\",\"subscriptionId\":\"s\"}";
        let UnbindOutcome::Failed(failure) = read_unbind(&response(status, body)).0 else {
            panic!("released at {status}");
        };
        assert_eq!(failure.class, Class::Unknown);
    }
}

fn read_bind(response: &Response) -> (BindOutcome, Auth) {
    plan(&plain()).read_bind(Op::Bind, response, &triple(&asked()))
}

fn read_unbind(response: &Response) -> (UnbindOutcome, u32, Auth) {
    plan(&plain()).read_unbind(Op::Unbind, response, &triple(&asked()))
}

fn read_query(response: &Response) -> (QueryOutcome, Auth) {
    plan(&plain()).read_query(Op::Query, response, &triple(&asked()))
}

fn read_page(response: &Response) -> (Result<Page, Failure>, Auth) {
    plan(&plain()).read_page(Op::XQuery, response, &triple(&asked()))
}

fn read_ax_bind(response: &Response, asked: &AxBind) -> (BindOutcome, Auth) {
    plan(&plain()).read_bind(Op::AxBind, response, &pair(asked))
}

fn read_ax_query(response: &Response, asked: &AxBind) -> (QueryOutcome, Auth) {
    plan(&plain()).read_query(Op::AxQuery, response, &pair(asked))
}

fn read_set_callee(response: &Response) -> (SetCalleeOutcome, Auth) {
    plan(&plain()).read_done(Op::SetCallee, response, &pair(&relation()))
}
