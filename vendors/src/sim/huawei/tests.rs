use std::net::IpAddr;

use super::*;

const NOW_MS: u64 = 1_716_193_800_000;

fn huawei() -> Huawei {
    let mut credentials = Credentials::new("k", "s");
    credentials.x_prefix = "170".into();
    credentials.x_numbers = vec!["17000000001".into(), "051288880000".into()];
    Huawei::new(credentials)
}

/// The B of a call from A to X.
fn callee(huawei: &mut Huawei, a: &str, x: &str, now_ms: u64) -> Option<String> {
    match huawei.route(a, x, now_ms)? {
        Route::Out(b) => Some(b),
        Route::In { a, .. } => panic!("rings {a}"),
    }
}

/// Serves an authenticated request; answers code and body.
fn serve(huawei: &mut Huawei, method: &str, query: &str, body: &str, now_ms: u64) -> Answer {
    let call = Call {
        method,
        path: AXB_PATH,
        query,
        headers: &[("content-type", "application/json;charset=UTF-8")],
        body: body.as_bytes(),
        peer: IpAddr::from([127, 0, 0, 1]),
    };
    huawei.serve(&call, now_ms, None)
}

fn bind_body(a: &str, x: &str, b: &str) -> Value {
    json!({"callerNum": a, "relationNum": x, "calleeNum": b})
}

fn bind(huawei: &mut Huawei, a: &str, x: &str, b: &str) -> Answer {
    serve(huawei, "POST", "", &bind_body(a, x, b).to_string(), NOW_MS)
}

const A: &str = "+862100000000";
const X: &str = "+8617000000000";
const B: &str = "+8613900000001";

#[test]
fn a_bind_answers_with_id_and_x_and_is_logged_in_our_notation() {
    let mut huawei = huawei();
    let answer = bind(&mut huawei, A, X, B);
    assert_eq!((answer.status, answer.code.as_str()), (200, "0"));
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["relationNum"], X);
    let entry = &answer.entries[0];
    assert_eq!(body["subscriptionId"], entry.bind_id.as_str());
    assert_eq!(
        (entry.a.as_str(), entry.x.as_str(), entry.b.as_str()),
        ("02100000000", "17000000000", "13900000001")
    );
    assert!(entry.applied);
    assert_eq!(
        callee(&mut huawei, "02100000000", "17000000000", NOW_MS).as_deref(),
        Some("13900000001")
    );
    assert_eq!(
        callee(&mut huawei, "+862100000000", X, NOW_MS).as_deref(),
        Some("13900000001")
    );
    assert_eq!(callee(&mut huawei, "13900000001", X, NOW_MS), None);
}

#[test]
fn bind_bodies_are_checked_field_by_field() {
    for (field, value, code) in [
        ("callerNum", Value::Null, "1010002"),
        ("callerNum", json!("02100000000"), "1010002"),
        ("callerNum", json!("+8602100000000"), "1010002"),
        ("callerNum", json!(8621), "1010002"),
        ("callerNum", json!(B), "1010002"),
        ("calleeNum", json!("+864001234567"), "1010002"),
        ("calleeNum", json!("+8695588"), "1010002"),
        ("calleeNum", json!("+12125550123"), "0"),
        ("relationNum", json!("+8618000000000"), "1011001"),
        ("relationNum", json!("+8651288880000"), "0"),
        ("callDirection", json!(2), "0"),
        ("callDirection", json!(3), "1010002"),
        ("callDirection", json!("1"), "1010002"),
        ("duration", json!(7_776_000), "0"),
        ("duration", json!(7_776_001), "1010002"),
        ("duration", json!(-1), "1010002"),
        ("duration", json!(1.5), "1010002"),
        ("recordFlag", json!("true"), "0"),
        ("recordFlag", json!(true), "1010002"),
        ("privateSms", json!("no"), "1010002"),
        ("maxDuration", json!(1441), "1010002"),
        ("lastMinVoice", json!("x.wav"), "1010002"),
        ("preVoice", json!({"callerHintTone": "x.wav"}), "0"),
        ("preVoice", json!({"tone": "x.wav"}), "1010002"),
        ("preVoice", json!("x.wav"), "1010002"),
        ("userData", json!(""), "1010002"),
        ("userData", json!("u".repeat(256)), "0"),
        ("userData", json!("u".repeat(257)), "1010002"),
        ("calleNum", json!(B), "1010002"),
    ] {
        let mut body = bind_body(A, X, B);
        body[field] = value.clone();
        let answer = serve(&mut huawei(), "POST", "", &body.to_string(), NOW_MS);
        assert_eq!(answer.code, code, "{field} {value}: {}", answer.body);
        assert_eq!(answer.entries[0].applied, code == "0");
    }
    for body in ["", "[]", "{", "null"] {
        assert_eq!(
            serve(&mut huawei(), "POST", "", body, NOW_MS).code,
            "1010002"
        );
    }
}

#[test]
fn a_body_that_is_not_declared_as_json_is_refused() {
    let body = bind_body(A, X, B).to_string();
    for content_type in ["", "text/plain", "application/json"] {
        let call = Call {
            method: "POST",
            path: AXB_PATH,
            query: "",
            headers: &[("content-type", content_type)],
            body: body.as_bytes(),
            peer: IpAddr::from([127, 0, 0, 1]),
        };
        assert_eq!(huawei().serve(&call, NOW_MS, None).code, "1010002");
    }
}

#[test]
fn a_number_can_be_bound_once_per_x() {
    let mut huawei = huawei();
    assert_eq!(bind(&mut huawei, A, X, B).code, "0");
    assert_eq!(bind(&mut huawei, A, X, B).code, "1012010");
    assert_eq!(bind(&mut huawei, A, X, "+8613900000002").code, "1012010");
    assert_eq!(bind(&mut huawei, "+862100000001", X, B).code, "1012010");
    assert_eq!(bind(&mut huawei, B, X, "+8613900000002").code, "1012010");
    assert_eq!(
        bind(&mut huawei, "+862100000001", X, "+8613900000002").code,
        "0"
    );
    assert_eq!(bind(&mut huawei, A, "+8617000000001", B).code, "0");
}

#[test]
fn without_relation_number_the_platform_chooses_a_free_x_of_its_list() {
    let mut huawei = huawei();
    let body = json!({"callerNum": A, "calleeNum": B, "areaCode": "0512"}).to_string();
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(serve(&mut huawei, "POST", "", &body, NOW_MS).code);
    }
    assert_eq!(answers, ["0", "0", "1012006"]);
}

#[test]
fn unbind_by_id_releases_one_and_by_x_all() {
    let mut huawei = huawei();
    let id = bind(&mut huawei, A, X, B).entries[0].bind_id.clone();
    bind(&mut huawei, "+862100000001", X, "+8613900000002");
    bind(&mut huawei, "+862100000002", X, "+8613900000003");
    let by_id = format!("subscriptionId={id}");
    let answer = serve(&mut huawei, "DELETE", &by_id, "", NOW_MS);
    assert_eq!((answer.code.as_str(), answer.entries.len()), ("0", 1));
    assert_eq!(answer.entries[0].b, "13900000001");
    let again = serve(&mut huawei, "DELETE", &by_id, "", NOW_MS);
    assert_eq!(
        (again.code.as_str(), again.entries[0].applied),
        ("1012007", false)
    );
    let by_x = "relationNum=%2B8617000000000";
    let answer = serve(&mut huawei, "DELETE", by_x, "", NOW_MS);
    assert_eq!((answer.code.as_str(), answer.entries.len()), ("0", 2));
    assert_eq!(
        serve(&mut huawei, "DELETE", by_x, "", NOW_MS).code,
        "1012007"
    );
}

#[test]
fn when_both_are_given_the_id_decides() {
    let mut huawei = huawei();
    let id = bind(&mut huawei, A, X, B).entries[0].bind_id.clone();
    bind(&mut huawei, "+862100000001", X, "+8613900000002");
    let both = format!("relationNum=%2B8617000000000&subscriptionId={id}");
    assert_eq!(
        serve(&mut huawei, "DELETE", &both, "", NOW_MS)
            .entries
            .len(),
        1
    );
    assert_eq!(huawei.bindings(NOW_MS).len(), 1);
}

#[test]
fn queries_with_mistakes_are_refused() {
    let mut huawei = huawei();
    bind(&mut huawei, A, X, B);
    for query in [
        "",
        "relationNum=+8617000000000",
        "relationNum=8617000000000",
        "relationNum=%2B86170%",
        "relationNum=%2B8617000000000&pageSize=9",
        "relationNum=%2B8617000000000&pageIndex=0",
        "relationNum=%2B8617000000000&x=1",
        "subscriptionId=1&subscriptionId=1",
    ] {
        assert_eq!(
            serve(&mut huawei, "GET", query, "", NOW_MS).code,
            "1010002",
            "{query}"
        );
    }
}

#[test]
fn a_query_is_narrowed_by_a_and_b_and_paged() {
    let mut huawei = huawei();
    for n in 10..35 {
        bind(
            &mut huawei,
            &format!("+8621000000{n}"),
            X,
            &format!("+86139000000{n}"),
        );
    }
    let x = "relationNum=%2B8617000000000";
    let mut list = |query: &str| {
        let answer = serve(&mut huawei, "GET", query, "", NOW_MS);
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        let list = body["relationNumList"].as_array().map_or(0, Vec::len);
        (answer.code, body["totalCount"].as_u64().unwrap_or(0), list)
    };
    assert_eq!(list(x), ("0".into(), 25, 25));
    assert_eq!(
        list(&format!("{x}&pageSize=10&pageIndex=3")),
        ("0".into(), 25, 5)
    );
    assert_eq!(
        list(&format!("{x}&callerNum=%2B862100000012")),
        ("0".into(), 1, 1)
    );
    let both = format!("{x}&callerNum=%2B862100000012&calleeNum=%2B8613900000012");
    assert_eq!(list(&both), ("0".into(), 1, 1));
    let other = format!("{x}&callerNum=%2B862100000012&calleeNum=%2B8613900000013");
    assert_eq!(list(&other), ("1012007".into(), 0, 0));
}

#[test]
fn a_modified_binding_keeps_its_id_and_starts_its_lifetime_again() {
    let mut huawei = huawei();
    let id = bind(&mut huawei, A, X, B).entries[0].bind_id.clone();
    let body = json!({"subscriptionId": id, "calleeNum": "+8613900000002", "duration": 60});
    let later_ms = NOW_MS + 5_000;
    let answer = serve(&mut huawei, "PUT", "", &body.to_string(), later_ms);
    assert_eq!(answer.code, "0", "{}", answer.body);
    assert_eq!(
        callee(&mut huawei, "02100000000", "17000000000", later_ms).as_deref(),
        Some("13900000002")
    );
    assert_eq!(huawei.bindings(later_ms + 59_999).len(), 1);
    assert_eq!(huawei.bindings(later_ms + 60_000).len(), 0);
    assert_eq!(
        serve(&mut huawei, "PUT", "", &body.to_string(), later_ms + 60_000).code,
        "1012007"
    );
}

#[test]
fn a_binding_ends_after_its_duration() {
    let mut huawei = huawei();
    let mut body = bind_body(A, X, B);
    body["duration"] = json!(10);
    let answer = serve(&mut huawei, "POST", "", &body.to_string(), NOW_MS);
    let by_id = format!("subscriptionId={}", answer.entries[0].bind_id);
    assert_eq!(
        serve(&mut huawei, "GET", &by_id, "", NOW_MS + 9_999).code,
        "0"
    );
    assert_eq!(
        serve(&mut huawei, "DELETE", &by_id, "", NOW_MS + 10_000).code,
        "1012007"
    );
}

#[test]
fn wrong_paths_methods_and_modes_are_told_apart() {
    for (method, path, status, code) in [
        ("POST", "/rest/other", 404, ""),
        ("POST", "/rest/caas/extendnumber/v1.0", 403, "1010040"),
        ("PATCH", AXB_PATH, 405, "1010002"),
        ("POST", AXB_PATH, 400, "1023006"),
    ] {
        let call = Call {
            method,
            path,
            query: "",
            headers: &[],
            body: b"",
            peer: IpAddr::from([127, 0, 0, 1]),
        };
        let answer = huawei().admit(&call, NOW_MS).unwrap_err();
        assert_eq!(
            (answer.status, answer.code.as_str()),
            (status, code),
            "{path}"
        );
        assert_eq!(answer.entries.len(), 1);
    }
}

#[test]
fn damaged_requests_are_answered_without_panic() {
    let mut huawei = huawei();
    let body = bind_body(A, X, B).to_string();
    let query = "relationNum=%2B8617000000000&callerNum=%2B862100000000&pageSize=10";
    let ax_body =
        json!({"origNum": A, "privateNum": X, "calleeNum": B, "duration": 60}).to_string();
    let samples = [body.as_bytes(), query.as_bytes(), ax_body.as_bytes()];
    crate::damage::damaged(&samples, 10_000, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        for (method, path) in [AXB_PATH, AX_PATH, CALLEE_PATH]
            .into_iter()
            .flat_map(|path| ["POST", "DELETE", "PUT", "GET"].map(|method| (method, path)))
        {
            let call = Call {
                method,
                path,
                query: &text,
                headers: &[
                    ("content-type", "application/json;charset=UTF-8"),
                    ("authorization", &text),
                    ("x-aksk", &text),
                ],
                body: bytes,
                peer: IpAddr::from([127, 0, 0, 1]),
            };
            let _ = huawei.admit(&call, NOW_MS);
            assert!(!huawei.serve(&call, NOW_MS, None).entries.is_empty());
        }
    });
}
