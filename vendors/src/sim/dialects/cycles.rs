//! The lives of bindings at the vendors that speak JSON over a few fields, a row a vendor, and what
//! holds for every vendor.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::super::common::Call;
use super::super::vendor::Vendor;
use super::ALL;
use super::shop::{NOW_MS, Said, Shop, json_body};

/// The parts of the cycle that all JSON vendors share, in one row a vendor.
struct Cycle {
    word: &'static str,
    bind: Said<'static>,
    /// The same again, and its code.
    again: &'static str,
    ok: &'static str,
    /// Where id and X stand in the answer (JSON pointers), and X as it is written.
    id: &'static str,
    x: (&'static str, &'static str),
    /// Makes an unbind of an id.
    unbind: fn(&str) -> Said<'static>,
    gone: &'static str,
}

fn post(path: &'static str, body: &Value) -> Said<'static> {
    json_body("POST", path, body)
}

fn cycles() -> Vec<Cycle> {
    let in_header = |action: &'static str, body: &Value| Said {
        headers: vec![("action", action), ("content-type", "application/json")].leak(),
        ..json_body("POST", "/v1/api/pns/", body)
    };
    vec![
        Cycle {
            word: "mode101",
            bind: post(
                "/v2/axb/mode101",
                &json!({
                    "requestId": "1", "telA": "02100000000", "telX": "17000000000",
                    "telB": "13900000001", "expiration": "600", "extra": {"callrecording": "0"},
                }),
            ),
            again: "402",
            ok: "0",
            id: "/data/subid",
            x: ("/data/telX", "17000000000"),
            unbind: |id| json_body("DELETE", &format!("/v2/axb/{id}"), &json!({})),
            gone: "403",
        },
        Cycle {
            word: "ungcloud",
            bind: post(
                "/api/v1/axb/bind",
                &json!({
                    "request_id": "1", "tel_a": "02100000000", "tel_x": "17000000000",
                    "tel_b": "13900000001", "expiration": 600,
                }),
            ),
            again: "402",
            ok: "0",
            id: "/data/bind_id",
            x: ("/data/tel_x", "17000000000"),
            unbind: |id| {
                post(
                    "/api/v1/axb/unbind",
                    &json!({"request_id": "2", "bind_id": id}),
                )
            },
            gone: "403",
        },
        Cycle {
            word: "vcc",
            bind: post(
                "/api/v1/bind/axb/binding/v",
                &json!({
                    "appkey": "key", "ts": 1, "sign": "s", "request_id": "1",
                    "tel_a": "02100000000", "tel_b": "13900000001", "tel_x": "17000000000",
                    "expiration": 600,
                }),
            ),
            again: "0",
            ok: "0",
            id: "/data/bind_id",
            x: ("/data/tel_x", "17000000000"),
            unbind: |id| post("/api/v1/bind/axb/unbind/v", &json!({"bind_id": id})),
            gone: "103",
        },
        Cycle {
            word: "china-broadnet",
            bind: post(
                "/axb/binding",
                &json!({
                    "requestId": "1", "telA": "862100000000", "telB": "8613900000001",
                    "xNumber": "8617000000000", "areaCode": 21, "expiration": 600,
                    "extra": {"record": 1},
                }),
            ),
            again: "13001",
            ok: "200",
            id: "/data/bindId",
            x: ("/data/telX", "8617000000000"),
            unbind: |id| Said {
                body: String::new(),
                ..json_body("DELETE", &format!("/axb/binding/{id}"), &Value::Null)
            },
            gone: "404",
        },
        Cycle {
            word: "nxcloud",
            bind: in_header(
                "bindAXB",
                &json!({
                    "phoneA": "862100000000", "phoneB": "8613900000001", "expireSecond": 600,
                    "customerBindId": "one", "flag": 0,
                }),
            ),
            again: "1004",
            ok: "0",
            id: "/data/bindId",
            x: ("/data/did", "8617000000000"),
            unbind: |_| Said {
                headers: &[
                    ("action", "unbindAXB"),
                    ("content-type", "application/json"),
                ],
                ..json_body("POST", "/v1/api/pns/", &json!({"customerBindId": "one"}))
            },
            gone: "1005",
        },
        Cycle {
            word: "china-mobile-hdh",
            bind: post(
                "/axb/binding",
                &json!({
                    "appId": "a", "telA": "862100000000", "telB": "8613900000001",
                    "telX": "8617000000000", "requestId": "1", "expiration": 600, "record": "0",
                }),
            ),
            again: "0000",
            ok: "0000",
            id: "/bindId",
            x: ("/x_no", "8617000000000"),
            unbind: |id| post("/axb/unbind", &json!({"appId": "a", "bindId": id})),
            gone: "1003",
        },
        Cycle {
            word: "winnerlook",
            bind: post(
                "/voice/1.0.0/middleNumberAXB/key/s",
                &json!({
                    "middleNumber": "17000000000", "bindNumberA": "02100000000",
                    "bindNumberB": "13900000001", "maxBindingTime": 600, "callRec": 0,
                }),
            ),
            again: "000004",
            ok: "000000",
            id: "/bindId",
            x: ("/middleNumber", "17000000000"),
            unbind: |_| {
                let numbers = json!({
                    "middleNumber": "17000000000", "bindNumberA": "02100000000",
                    "bindNumberB": "13900000001", "mode": 0,
                });
                post("/voice/1.0.0/middleNumberUnbind/key/s", &numbers)
            },
            gone: "000003",
        },
        Cycle {
            word: "cloopen",
            bind: post(
                "/2013-12-26/Accounts/key/nme/axb/cu01/providenumber?sig=s",
                &json!({
                    "appId": "a", "aNumber": "02100000000", "bNumber": "13900000001",
                    "mappingDuration": "600",
                }),
            ),
            again: "000000",
            ok: "000000",
            id: "/mappingId",
            x: ("/xNumber", "17000000000"),
            unbind: |id| {
                let path = "/2013-12-26/Accounts/key/nme/axb/cu01/releasenumber?sig=s";
                post(path, &json!({"appId": "a", "mappingId": id}))
            },
            gone: "112003",
        },
        Cycle {
            word: "baidu",
            bind: post(
                "/cloud/api/v1/axb/binding",
                &json!({
                    "telA": "02100000000", "telX": "17000000000", "telB": "13900000001",
                    "areaCode": "021", "record": "1", "expiration": "600",
                }),
            ),
            again: "1002",
            ok: "0",
            id: "/data/bindId",
            x: ("/data/telX", "17000000000"),
            unbind: |id| Said {
                body: String::new(),
                ..json_body(
                    "POST",
                    &format!("/cloud/api/v1/axb/unbinding/{id}"),
                    &Value::Null,
                )
            },
            gone: "1005",
        },
        Cycle {
            word: "mixcom",
            bind: post(
                "/virtual/axbBind",
                &json!({
                    "appkey": "key", "time": 1, "sign": "s", "number": "17000000000",
                    "aparty": "2100000000", "bparty": "13900000001", "enddate": 1_716_194_400,
                }),
            ),
            again: "E300208",
            ok: "200",
            id: "",
            x: ("/data/number", "17000000000"),
            unbind: |_| {
                let numbers = json!({
                    "number": "17000000000", "aparty": "2100000000", "bparty": "13900000001",
                });
                post("/virtual/unAxbBind", &numbers)
            },
            gone: "E300308",
        },
        Cycle {
            word: "jumdata",
            bind: post(
                "/axb/bind",
                &json!({
                    "telA": "02100000000", "telX": "17000000000", "telB": "13900000001",
                    "expiration": 600,
                }),
            ),
            again: "1004",
            ok: "0",
            id: "/data/subid",
            x: ("/data/telX", "17000000000"),
            unbind: |id| post("/axb/unbind", &json!({"subid": id})),
            gone: "1003",
        },
        Cycle {
            word: "itniotech",
            bind: post(
                "/number/pns/bind",
                &json!({
                    "appId": "a", "numberA": "862100000000", "numberX": "8617000000000",
                    "numberB": "8613900000001", "expireTime": 600,
                }),
            ),
            again: "-25",
            ok: "0",
            id: "/bindId",
            x: ("/numberX", "8617000000000"),
            unbind: |id| post("/number/pns/unbind", &json!({"appId": "a", "bindId": id})),
            gone: "-24",
        },
        Cycle {
            word: "yiketong",
            bind: post(
                "/number/axb/binding",
                &json!({
                    "request_id": "1", "tel_a": "02100000000", "tel_b": "13900000001",
                    "area_code": "021", "expiration": 600,
                }),
            ),
            again: "0",
            ok: "0",
            id: "/data/bind_id",
            x: ("/data/tel_x", "17000000000"),
            unbind: |id| post("/number/axb/unbinding", &json!({"bind_id": id})),
            gone: "1003",
        },
    ]
}

#[test]
fn each_vendor_binds_unbinds_and_says_in_its_own_words_when_nothing_is_bound() {
    for cycle in cycles() {
        let mut shop = Shop::open(cycle.word);
        let bound = shop.expect(&cycle.bind, cycle.ok);
        assert_eq!(
            bound.pointer(cycle.x.0).unwrap(),
            cycle.x.1,
            "{}",
            cycle.word
        );
        assert_eq!(
            shop.held(),
            ["02100000000 17000000000 13900000001"],
            "{}",
            cycle.word
        );
        assert_eq!(
            shop.callee("02100000000", "17000000000").as_deref(),
            Some("13900000001")
        );
        shop.expect(&cycle.bind, cycle.again);
        let id = bound
            .pointer(cycle.id)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned();
        let (answer, _) = shop.ask(&(cycle.unbind)(&id));
        assert_eq!(answer.code, cycle.ok, "{}: {}", cycle.word, answer.body);
        let entry = &answer.entries[0];
        assert!(entry.applied && entry.op == "unbind", "{}", cycle.word);
        assert_eq!(entry.b, "13900000001", "{}", cycle.word);
        let (answer, _) = shop.ask(&(cycle.unbind)(&id));
        assert_eq!(answer.code, cycle.gone, "{}: {}", cycle.word, answer.body);
        assert!(!answer.entries[0].applied, "{}", cycle.word);
        shop.later(600);
        assert_eq!(shop.held().len(), 0, "{}", cycle.word);
    }
}

#[test]
fn each_vendor_refuses_a_bind_without_b_in_its_own_words() {
    for (cycle, code) in cycles().into_iter().zip([
        "400", "400", "-1", "400", "1001", "1001", "000001", "112001", "1001", "E300202", "1001",
        "-22", "1001",
    ]) {
        let mut shop = Shop::open(cycle.word);
        let mut body: Value = serde_json::from_str(&cycle.bind.body).unwrap();
        let fields = body.as_object_mut().unwrap();
        fields.retain(|_, value| {
            !value
                .as_str()
                .is_some_and(|text| text.ends_with("13900000001"))
        });
        let bind = Said {
            body: body.to_string(),
            ..cycle.bind
        };
        shop.expect(&bind, code);
        assert_eq!(shop.held().len(), 0);
    }
}

#[test]
fn a_request_id_is_answered_alike_while_its_binding_lives() {
    for word in ["vcc", "china-mobile-hdh"] {
        let cycle = cycles()
            .into_iter()
            .find(|cycle| cycle.word == word)
            .unwrap();
        let mut shop = Shop::open(word);
        let first = shop.expect(&cycle.bind, cycle.ok);
        let again = shop.expect(&cycle.bind, cycle.ok);
        assert_eq!(first.pointer(cycle.id), again.pointer(cycle.id), "{word}");
        assert_eq!(shop.held().len(), 1, "{word}");
    }
}

#[test]
fn vcc_tells_its_conflicts_apart() {
    let mut shop = Shop::open("vcc");
    let bind = |change: Value| {
        let mut body = json!({
            "request_id": "1", "tel_a": "02100000000", "tel_b": "13900000001",
            "tel_x": "17000000000", "expiration": 600,
        });
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        post("/api/v1/bind/axb/binding/v", &body)
    };
    shop.expect(&bind(json!({})), "0");
    for (change, code) in [
        (json!({"request_id": "2"}), "105"),
        (json!({"request_id": "2", "tel_b": "13900000002"}), "106"),
        (json!({"request_id": "2", "tel_x": "17100000000"}), "108"),
        (json!({"request_id": "2", "tel_b": "02100000000"}), "109"),
        (json!({"request_id": "2", "tel_b": "+8613900000001"}), "102"),
        (json!({"request_id": "2", "expiration": 31_536_001}), "104"),
        (json!({"request_id": "2", "area_match_mode": "3"}), "-1"),
    ] {
        shop.expect(&bind(change), code);
    }
    // Without an X of its own a second request gets another one, until there is none.
    for (request_id, code) in [("3", "0"), ("4", "0"), ("5", "0"), ("6", "101")] {
        shop.expect(&bind(json!({"request_id": request_id, "tel_x": ""})), code);
    }
}

#[test]
fn broadnet_says_621_when_it_gives_another_x() {
    let cycle = cycles()
        .into_iter()
        .find(|cycle| cycle.word == "china-broadnet")
        .unwrap();
    let mut shop = Shop::open("china-broadnet");
    shop.other_x = Some("+8619200000009");
    let bound = shop.expect(&cycle.bind, "621");
    assert_eq!(bound["data"]["telX"], "8619200000009");
    assert_eq!(shop.held(), ["02100000000 19200000009 13900000001"]);
}

#[test]
fn the_three_causes_of_402_are_told_apart_by_their_texts() {
    let mut shop = Shop::open("mode101");
    let bind = |path: &'static str, x: &str, b: &str| {
        let body = json!({"requestId": "1", "telA": "02100000000", "telX": x, "telB": b});
        json_body("POST", path, &body)
    };
    for (path, x, b, message) in [
        ("/v2/axb/mode101", "17000000000", "13900000001", "success"),
        (
            "/v2/axb/mode101",
            "17000000000",
            "13900000002",
            "number X is bound already",
        ),
        (
            "/v2/axb/mode101",
            "17100000000",
            "13900000001",
            "number X does not exist",
        ),
        ("/v2/axb/mode102", "", "13900000001", "success"),
        ("/v2/axb/mode102", "", "13900000001", "success"),
        ("/v2/axb/mode102", "", "13900000001", "success"),
        (
            "/v2/axb/mode102",
            "",
            "13900000001",
            "the pool is exhausted, no number X is available",
        ),
    ] {
        let (_, body) = shop.ask(&bind(path, x, b));
        assert_eq!(body["message"], message);
    }
}

#[test]
fn a_callee_named_for_an_ax_call_is_forgotten_after_a_minute() {
    let mode101 = |method, path: &str, body: Value| json_body(method, path, &body);
    for (word, bind, id, name) in [
        (
            "mode101",
            mode101(
                "POST",
                "/v2/ax/mode101",
                json!({"requestId": "1", "telA": "02100000000", "telX": "17000000000"}),
            ),
            "/data/subid",
            (|id| {
                json_body(
                    "PUT",
                    &format!("/v2/ax/onlinecall/{id}"),
                    &json!({"requestId": "2", "telB": "13900000001"}),
                )
            }) as fn(&str) -> Said<'static>,
        ),
        (
            "ungcloud",
            mode101(
                "POST",
                "/api/v1/ax/bind",
                json!({"request_id": "1", "tel_a": "02100000000", "tel_x": "17000000000"}),
            ),
            "/data/bind_id",
            |id| {
                post(
                    "/api/v1/ax/onlinecall",
                    &json!({"request_id": "2", "bind_id": id, "tel_b": "13900000001"}),
                )
            },
        ),
        (
            "jumdata",
            mode101(
                "POST",
                "/ax/bind",
                json!({"telA": "02100000000", "telX": "17000000000"}),
            ),
            "/data/subid",
            |id| {
                post(
                    "/ax/onlinecaller",
                    &json!({"subid": id, "telB": "13900000001"}),
                )
            },
        ),
    ] {
        let mut shop = Shop::open(word);
        let bound = shop.expect(&bind, "0");
        assert_eq!(shop.callee("02100000000", "17000000000"), None, "{word}");
        let id = bound.pointer(id).and_then(Value::as_str).unwrap();
        shop.expect(&name(id), "0");
        assert_eq!(
            shop.held(),
            ["02100000000 17000000000 13900000001"],
            "{word}"
        );
        assert!(
            shop.callee("02100000000", "17000000000").is_some(),
            "{word}"
        );
        shop.later(60);
        assert_eq!(shop.callee("02100000000", "17000000000"), None, "{word}");
        assert_eq!(shop.held(), ["02100000000 17000000000 "], "{word}");
    }
}

#[test]
fn every_vendor_has_a_word_for_throttled_and_failed() {
    for dialect in ALL {
        let mut shop = Shop::open(dialect.word);
        let call = Call {
            method: "POST",
            path: "/",
            query: "",
            headers: &[],
            body: b"",
            peer: IpAddr::from([127, 0, 0, 1]),
        };
        for (code, word) in [(None, dialect.throttled.0), (Some(""), dialect.internal.0)] {
            let answer = shop.booth.refused_by_fault(&call, code);
            assert_eq!(answer.code, word, "{}", dialect.word);
            assert!((200..600).contains(&answer.status) && !answer.body.is_empty());
        }
    }
}

#[test]
fn damaged_requests_are_answered_without_panic() {
    for dialect in ALL {
        let mut shop = Shop::open(dialect.word);
        let samples: [&[u8]; 4] = [
            br#"{"Src":"008602100000000","Dst":"008613900000001","telA":"13900000001","extra":{"record":1}}"#,
            b"PhoneNoA=02100000000&PhoneNoX=17000000000&PhoneNoB=13900000001&ExpireTime=1716194400&NumberPoolNo=1",
            b"Participants=%7B%22Identifier%22%3A+%22%2B862100000000%22%7D&Identifier=%2B86139",
            br#"ACS3-HMAC-SHA256 Credential=k/20240520/npp/tc3_request,SignedHeaders=a;host,Signature=00"#,
        ];
        crate::damage::damaged(&samples, 2_000, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            for (method, path) in [
                ("POST", "/"),
                ("POST", "/v1/Services/KS1/Sessions"),
                ("POST", "/v1/Account/key/Masking/Session/"),
                ("DELETE", "/v2/axb/1"),
            ] {
                for content_type in ["application/json", "application/x-www-form-urlencoded"] {
                    let call = Call {
                        method,
                        path,
                        query: &text,
                        headers: &[
                            ("content-type", content_type),
                            ("host", "h"),
                            ("x-tc-action", "GetVirtualNum"),
                            ("x-acs-action", "BindAxb"),
                            ("authorization", &text),
                        ],
                        body: bytes,
                        peer: IpAddr::from([127, 0, 0, 1]),
                    };
                    if shop.booth.admit(&call, NOW_MS).is_err() {
                        let answer = shop.booth.serve(&call, NOW_MS, None);
                        assert_eq!(answer.entries.len(), 1);
                    }
                }
            }
        });
    }
}
