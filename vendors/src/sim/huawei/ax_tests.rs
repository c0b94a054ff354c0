use std::net::IpAddr;

use super::*;

const NOW_MS: u64 = 1_716_193_800_000;
const A: &str = "+862100000000";
const X: &str = "+8617000000000";
const B: &str = "+8613900000001";

fn huawei() -> Huawei {
    let mut credentials = Credentials::new("k", "s");
    credentials.x_prefix = "170".into();
    credentials.x_numbers = vec!["17000000001".into(), "17000000002".into()];
    Huawei::new(credentials)
}

fn serve(huawei: &mut Huawei, method: &str, path: &str, query: &str, body: &Value) -> Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let call = Call {
        method,
        path,
        query,
        headers: &[("content-type", "application/json;charset=UTF-8")],
        body: body.as_bytes(),
        peer: IpAddr::from([127, 0, 0, 1]),
    };
    huawei.serve(&call, NOW_MS, None)
}

fn bind(huawei: &mut Huawei, a: &str, x: &str) -> Answer {
    let body = json!({"origNum": a, "privateNum": x});
    serve(huawei, "POST", AX_PATH, "", &body)
}

fn unbind(huawei: &mut Huawei, query: &str) -> Answer {
    serve(huawei, "DELETE", AX_PATH, query, &Value::Null)
}

fn name(huawei: &mut Huawei, x: &str, b: &str, seconds: u64) -> Answer {
    let body = json!({"privateNum": x, "calleeNum": b, "duration": seconds});
    serve(huawei, "PUT", CALLEE_PATH, "", &body)
}

fn out(number: &str) -> Option<Route> {
    Some(Route::Out(from_e164(number)))
}

#[test]
fn an_x_is_given_once_and_the_answer_tells_to_whom() {
    let mut huawei = huawei();
    for (a, x, code) in [
        (A, X, "0"),
        (A, X, "1016002"),
        ("+862100000001", X, "1011005"),
        (A, "+8617000000001", "0"),
        (A, "+8617000000002", "0"),
        (A, "+8617000000003", "0"),
        (A, "+8617000000004", "0"),
        (A, "+8617000000005", "1012008"),
        (A, "+8618000000000", "1011001"),
        (A, A, "1011001"),
        ("02100000000", X, "1010002"),
    ] {
        let answer = bind(&mut huawei, a, x);
        assert_eq!(answer.code, code, "{a} {x}: {}", answer.body);
        let entry = &answer.entries[0];
        assert_eq!((entry.op, entry.applied), ("ax_bind", code == "0"));
        assert_eq!((&entry.a, &entry.x), (&from_e164(a), &from_e164(x)));
    }
}

#[test]
fn bind_and_callee_bodies_are_checked_field_by_field() {
    let bind_body = json!({"origNum": A, "privateNum": X});
    let callee_body = json!({"privateNum": X, "calleeNum": B});
    for (body, field, value, code) in [
        (&bind_body, "origNum", Value::Null, "1010002"),
        (&bind_body, "privateNum", json!(17), "1010002"),
        (&bind_body, "calleeNumDisplay", json!("1"), "0"),
        (&bind_body, "calleeNumDisplay", json!("2"), "1010002"),
        (&bind_body, "calleeNumDisplay", json!(0), "1010002"),
        (&bind_body, "callDirection", json!(2), "0"),
        (&bind_body, "callDirection", json!(3), "1010002"),
        (&bind_body, "privateNumType", json!("mobile-virtual"), "0"),
        (&bind_body, "privateNumType", json!("fixed"), "1010002"),
        (&bind_body, "lastMinVoice", json!("x.wav"), "1010002"),
        (&bind_body, "recordFlag", json!(true), "1010002"),
        // A relation has no lifetime.
        (&bind_body, "duration", json!(60), "1010002"),
        (&callee_body, "duration", json!(86_400), "0"),
        (&callee_body, "duration", json!(86_401), "1010002"),
        (&callee_body, "duration", json!("60"), "1010002"),
        (&callee_body, "calleeNum", json!("+864001234567"), "0"),
        (&callee_body, "calleeNum", json!("+8695588"), "0"),
        (&callee_body, "calleeNum", json!(A), "1010002"),
        (&callee_body, "calleeNum", json!(X), "1010002"),
        (&callee_body, "calleeNum", Value::Null, "1010002"),
        (&callee_body, "origNum", json!("anything"), "0"),
        (
            &callee_body,
            "privateNum",
            json!("+8617000000009"),
            "1016001",
        ),
        (&callee_body, "subscriptionId", json!("none"), "1016001"),
        (&callee_body, "userData", json!("u".repeat(257)), "1010002"),
        (&callee_body, "calleNum", json!(B), "1010002"),
    ] {
        let mut huawei = huawei();
        let callee = body["calleeNum"].is_string();
        if callee {
            bind(&mut huawei, A, X);
        }
        let mut body = body.clone();
        body[field] = value.clone();
        let (method, path) = if callee {
            ("PUT", CALLEE_PATH)
        } else {
            ("POST", AX_PATH)
        };
        let answer = serve(&mut huawei, method, path, "", &body);
        assert_eq!(answer.code, code, "{field} {value}: {}", answer.body);
        assert_eq!(answer.entries[0].applied, code == "0");
    }
}

#[test]
fn a_relation_is_taken_away_by_id_or_by_both_numbers() {
    let mut huawei = huawei();
    let both = "origNum=%2B862100000000&privateNum=%2B8617000000000";
    let id = bind(&mut huawei, A, X).entries[0].bind_id.clone();
    let by_id = format!("subscriptionId={id}");
    for (query, code) in [
        ("privateNum=%2B8617000000000", "1010002"),
        ("", "1010002"),
        (
            "origNum=%2B862100000001&privateNum=%2B8617000000000",
            "1016001",
        ),
        (by_id.as_str(), "0"),
        (by_id.as_str(), "1016001"),
        (both, "1016001"),
    ] {
        let answer = unbind(&mut huawei, query);
        assert_eq!(answer.code, code, "{query}");
        assert_eq!(answer.entries[0].op, "ax_unbind");
    }
    bind(&mut huawei, A, X);
    assert_eq!(unbind(&mut huawei, both).code, "0");
    assert_eq!(huawei.bindings(NOW_MS), []);
}

#[test]
fn queries_find_by_id_x_and_a() {
    let mut huawei = huawei();
    let id = bind(&mut huawei, A, X).entries[0].bind_id.clone();
    bind(&mut huawei, A, "+8617000000001");
    let by_id = format!("subscriptionId={id}");
    for (query, code, rows) in [
        (by_id.as_str(), "0", 1),
        ("privateNum=%2B8617000000000", "0", 1),
        ("origNum=%2B862100000000", "0", 2),
        (
            "origNum=%2B862100000000&privateNum=%2B8617000000001",
            "0",
            1,
        ),
        (
            "origNum=%2B862100000001&privateNum=%2B8617000000001",
            "1016001",
            0,
        ),
        ("privateNum=%2B8617000000009", "1016001", 0),
        ("privateNum=+8617000000000", "1010002", 0),
        ("pageSize=10", "1010002", 0),
        ("", "1010002", 0),
    ] {
        let answer = serve(&mut huawei, "GET", AX_PATH, query, &Value::Null);
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        let list = body["privateNumList"].as_array().map_or(0, Vec::len);
        assert_eq!((answer.code.as_str(), list), (code, rows), "{query}");
        assert_eq!(answer.entries[0].op, "query");
    }
}

#[test]
fn as_calls_go_to_the_last_callee_named_until_it_ends() {
    let mut huawei = huawei();
    bind(&mut huawei, A, X);
    assert_eq!(huawei.route(A, X, NOW_MS), None);
    name(&mut huawei, X, B, 60);
    let answer = name(&mut huawei, X, "+8613900000002", 30);
    let entry = &answer.entries[0];
    assert_eq!((entry.op, entry.applied), ("set_callee", true));
    assert_eq!(
        (entry.a.as_str(), entry.x.as_str(), entry.b.as_str()),
        ("02100000000", "17000000000", "13900000002")
    );
    // The first call does not use it up.
    for at_ms in [NOW_MS, NOW_MS + 29_999] {
        assert_eq!(huawei.route(A, X, at_ms), out("+8613900000002"));
        let row = &huawei.bindings(at_ms)[0];
        assert_eq!((row.mode, row.b.as_str()), (Mode::Ax, "13900000002"));
        assert!(row.callee_until.is_some() && row.expires.is_none());
    }
    assert_eq!(huawei.route(A, X, NOW_MS + 30_000), None);
    let row = &huawei.bindings(NOW_MS + 30_000)[0];
    assert_eq!((row.b.as_str(), row.callee_until), ("", None));
}

#[test]
fn calls_of_others_ring_a_and_directions_are_kept() {
    for (direction, display, out_open, others) in [
        (0, "0", true, Some(false)),
        (0, "1", true, Some(true)),
        (1, "0", true, None),
        (2, "0", false, Some(false)),
    ] {
        let mut huawei = huawei();
        let body = json!({
            "origNum": A, "privateNum": X,
            "callDirection": direction, "calleeNumDisplay": display,
        });
        serve(&mut huawei, "POST", AX_PATH, "", &body);
        name(&mut huawei, X, B, 60);
        assert_eq!(huawei.route(A, X, NOW_MS).is_some(), out_open);
        let expected = others.map(|caller_shown| Route::In {
            a: "02100000000".into(),
            caller_shown,
        });
        // The callee that is named is somebody like any other when he calls.
        for from in [B, "13700000000", "anonymous", ""] {
            assert_eq!(huawei.route(from, X, NOW_MS), expected, "{from}");
        }
    }
}

#[test]
fn bindings_and_a_relation_stand_side_by_side_and_the_binding_wins() {
    let mut huawei = huawei();
    bind(&mut huawei, A, X);
    name(&mut huawei, X, B, 60);
    for (a, b) in [("+862100000001", "+8613900000002"), (A, "+8613900000003")] {
        let body = json!({"callerNum": a, "relationNum": X, "calleeNum": b});
        let answer = serve(&mut huawei, "POST", AXB_PATH, "", &body);
        assert_eq!(answer.code, "0", "{}", answer.body);
        assert_eq!(huawei.route(a, X, NOW_MS), out(b));
    }
    let modes: Vec<_> = huawei.bindings(NOW_MS).iter().map(|row| row.mode).collect();
    assert_eq!(modes.iter().filter(|mode| **mode == Mode::Ax).count(), 1);
    assert_eq!(modes.len(), 3);
    // Releasing all of X in one mode leaves the other.
    let by_x = "relationNum=%2B8617000000000";
    serve(&mut huawei, "DELETE", AXB_PATH, by_x, &Value::Null);
    assert_eq!(huawei.route(A, X, NOW_MS), out(B));
}

#[test]
fn another_x_is_bound_in_both_modes_when_the_fault_says_so() {
    let mut huawei = huawei();
    let other = "+8618099999999";
    for (path, body, field) in [
        (
            AXB_PATH,
            json!({"callerNum": A, "relationNum": X, "calleeNum": B}),
            "relationNum",
        ),
        (
            AX_PATH,
            json!({"origNum": A, "privateNum": X}),
            "privateNum",
        ),
    ] {
        let body = body.to_string();
        let call = Call {
            method: "POST",
            path,
            query: "",
            headers: &[("content-type", "application/json;charset=UTF-8")],
            body: body.as_bytes(),
            peer: IpAddr::from([127, 0, 0, 1]),
        };
        let answer = huawei.serve(&call, NOW_MS, Some(other));
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(told[field], other, "{path}");
        assert_eq!(answer.entries[0].x, "18099999999");
        assert_eq!(huawei.route(A, X, NOW_MS), None);
    }
    assert_eq!(huawei.route(A, other, NOW_MS), out(B));
}

#[test]
fn an_application_of_one_mode_is_refused_the_other() {
    for (mode, path, refused) in [
        (Mode::Axb, AXB_PATH, false),
        (Mode::Axb, AX_PATH, true),
        (Mode::Axb, CALLEE_PATH, true),
        (Mode::Ax, AXB_PATH, true),
        (Mode::Ax, AX_PATH, false),
        (Mode::Ax, CALLEE_PATH, false),
    ] {
        let mut credentials = Credentials::new("k", "s");
        credentials.modes = [mode].into();
        let call = Call {
            method: "PUT",
            path,
            query: "",
            headers: &[],
            body: b"",
            peer: IpAddr::from([127, 0, 0, 1]),
        };
        let answer = Huawei::new(credentials).admit(&call, NOW_MS).unwrap_err();
        assert_eq!(answer.code == "1010040", refused, "{mode:?} {path}");
    }
}
