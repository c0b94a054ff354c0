//! The lives of bindings at the vendors that speak JSON over a few fields, a row a vendor, and what
//! holds for every vendor.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::super::common::Call;
use super::super::common::Notation::{self, Country, International, National, Zeroless};
use super::super::vendor::Vendor;
use super::ALL;
use super::shop::{NOW_MS, Said, Shop, json_body};

/// The parts of the cycle that all JSON vendors share, in one row a vendor.
struct Cycle {
    word: &'static str,
    bind: Said<'static>,
    /// Of success, of the same bind again, of one without B, of an unbind of what is not there.
    codes: [&'static str; 4],
    /// Where the id stands in the answer (a JSON pointer), empty where there is none.
    id: &'static str,
    /// Where X does, and how it is written.
    x: (&'static str, Notation),
    /// Makes an unbind of an id.
    unbind: fn(&str) -> Said<'static>,
}

fn post(path: &str, body: &Value) -> Said<'static> {
    json_body("POST", path, body)
}

/// A, X and B under these names in a vendor's notation, and what else is said.
fn axb([a, x, b]: [&str; 3], written: Notation, mut more: Value) -> Value {
    let numbers = [
        (a, "+862100000000"),
        (x, "+8617000000000"),
        (b, "+8613900000001"),
    ];
    for (name, number) in numbers {
        if !name.is_empty() {
            more[name] = written.write(number).into();
        }
    }
    more
}

/// A bind of NXCloud's or its end, whose operation stands in a header.
fn nxcloud(action: &'static str, body: &Value) -> Said<'static> {
    Said {
        headers: vec![("action", action), ("content-type", "application/json")].leak(),
        ..post("/v1/api/pns/", body)
    }
}

/// A request that says all in its path.
fn bare(method: &'static str, path: &str) -> Said<'static> {
    Said {
        body: String::new(),
        ..json_body(method, path, &Value::Null)
    }
}

const TEL: [&str; 3] = ["telA", "telX", "telB"];
const SNAKE: [&str; 3] = ["tel_a", "tel_x", "tel_b"];
const MIDDLE: [&str; 3] = ["bindNumberA", "middleNumber", "bindNumberB"];
const PARTY: [&str; 3] = ["aparty", "number", "bparty"];

fn cycles() -> Vec<Cycle> {
    let wanted = json!({"requestId": "1", "expiration": "600"});
    let snake = json!({"request_id": "1", "expiration": 600});
    let hdh = json!({"appId": "a", "requestId": "1", "expiration": 600, "record": "0"});
    let broadnet = json!({
        "requestId": "1", "areaCode": 21, "expiration": 600, "extra": {"record": 1},
    });
    let baidu = json!({"areaCode": "021", "record": "1", "expiration": "600"});
    let cloopen = json!({"appId": "a", "mappingDuration": "600"});
    let mixcom = json!({"appkey": "key", "time": 1, "sign": "s", "enddate": 1_716_194_400});
    vec![
        Cycle {
            word: "mode101",
            bind: post("/v2/axb/mode101", &axb(TEL, National, wanted)),
            codes: ["0", "402", "400", "403"],
            id: "/data/subid",
            x: ("/data/telX", National),
            unbind: |id| json_body("DELETE", &format!("/v2/axb/{id}"), &json!({})),
        },
        Cycle {
            word: "ungcloud",
            bind: post("/api/v1/axb/bind", &axb(SNAKE, National, snake.clone())),
            codes: ["0", "402", "400", "403"],
            id: "/data/bind_id",
            x: ("/data/tel_x", National),
            unbind: |id| {
                let body = json!({"request_id": "2", "bind_id": id});
                post("/api/v1/axb/unbind", &body)
            },
        },
        Cycle {
            word: "vcc",
            bind: post(
                "/api/v1/bind/axb/binding/v",
                &axb(SNAKE, National, snake.clone()),
            ),
            codes: ["0", "0", "-1", "103"],
            id: "/data/bind_id",
            x: ("/data/tel_x", National),
            unbind: |id| post("/api/v1/bind/axb/unbind/v", &json!({"bind_id": id})),
        },
        Cycle {
            word: "china-broadnet",
            bind: post(
                "/axb/binding",
                &axb(["telA", "xNumber", "telB"], Country, broadnet),
            ),
            codes: ["200", "13001", "400", "404"],
            id: "/data/bindId",
            x: ("/data/telX", Country),
            unbind: |id| bare("DELETE", &format!("/axb/binding/{id}")),
        },
        Cycle {
            word: "nxcloud",
            bind: {
                let more = json!({"expireSecond": 600, "customerBindId": "one", "flag": 0});
                let body = axb(["phoneA", "", "phoneB"], International, more);
                nxcloud("bindAXB", &body)
            },
            codes: ["0", "1004", "1001", "1005"],
            id: "/data/bindId",
            x: ("/data/did", International),
            unbind: |_| nxcloud("unbindAXB", &json!({"customerBindId": "one"})),
        },
        Cycle {
            word: "china-mobile-hdh",
            bind: post("/axb/binding", &axb(TEL, Country, hdh)),
            codes: ["0000", "0000", "1001", "1003"],
            id: "/bindId",
            x: ("/x_no", Country),
            unbind: |id| post("/axb/unbind", &json!({"appId": "a", "bindId": id})),
        },
        Cycle {
            word: "winnerlook",
            bind: {
                let more = json!({"maxBindingTime": 600, "callRec": 0});
                let body = axb(MIDDLE, National, more);
                post("/voice/1.0.0/middleNumberAXB/key/s", &body)
            },
            codes: ["000000", "000004", "000001", "000003"],
            id: "/bindId",
            x: ("/middleNumber", National),
            unbind: |_| {
                let body = axb(MIDDLE, National, json!({"mode": 0}));
                post("/voice/1.0.0/middleNumberUnbind/key/s", &body)
            },
        },
        Cycle {
            word: "cloopen",
            bind: {
                let path = "/2013-12-26/Accounts/key/nme/axb/cu01/providenumber?sig=s";
                post(path, &axb(["aNumber", "", "bNumber"], National, cloopen))
            },
            codes: ["000000", "000000", "112001", "112003"],
            id: "/mappingId",
            x: ("/xNumber", National),
            unbind: |id| {
                let path = "/2013-12-26/Accounts/key/nme/axb/cu01/releasenumber?sig=s";
                post(path, &json!({"appId": "a", "mappingId": id}))
            },
        },
        Cycle {
            word: "baidu",
            bind: post("/cloud/api/v1/axb/binding", &axb(TEL, National, baidu)),
            codes: ["0", "1002", "1001", "1005"],
            id: "/data/bindId",
            x: ("/data/telX", National),
            unbind: |id| bare("POST", &format!("/cloud/api/v1/axb/unbinding/{id}")),
        },
        Cycle {
            word: "mixcom",
            bind: post("/virtual/axbBind", &axb(PARTY, Zeroless, mixcom)),
            codes: ["200", "E300208", "E300202", "E300308"],
            id: "",
            x: ("/data/number", National),
            unbind: |_| post("/virtual/unAxbBind", &axb(PARTY, Zeroless, json!({}))),
        },
        Cycle {
            word: "jumdata",
            bind: post("/axb/bind", &axb(TEL, National, json!({"expiration": 600}))),
            codes: ["0", "1004", "1001", "1003"],
            id: "/data/subid",
            x: ("/data/telX", National),
            unbind: |id| post("/axb/unbind", &json!({"subid": id})),
        },
        Cycle {
            word: "itniotech",
            bind: {
                let names = ["numberA", "numberX", "numberB"];
                let more = json!({"appId": "a", "expireTime": 600});
                post("/number/pns/bind", &axb(names, International, more))
            },
            codes: ["0", "-25", "-22", "-24"],
            id: "/bindId",
            x: ("/numberX", International),
            unbind: |id| post("/number/pns/unbind", &json!({"appId": "a", "bindId": id})),
        },
        Cycle {
            word: "yiketong",
            bind: {
                let mut body = axb(["tel_a", "", "tel_b"], National, snake);
                body["area_code"] = "021".into();
                post("/number/axb/binding", &body)
            },
            codes: ["0", "0", "1001", "1003"],
            id: "/data/bind_id",
            x: ("/data/tel_x", National),
            unbind: |id| post("/number/axb/unbinding", &json!({"bind_id": id})),
        },
    ]
}

fn cycle(word: &str) -> Cycle {
    let mut cycles = cycles().into_iter();
    cycles.find(|cycle| cycle.word == word).unwrap()
}

#[test]
fn each_vendor_binds_unbinds_and_says_in_its_own_words_when_nothing_is_bound() {
    for cycle in cycles() {
        let (word, [ok, again, _, gone]) = (cycle.word, cycle.codes);
        let mut shop = Shop::open(word);
        let bound = shop.expect(&cycle.bind, ok);
        let (place, written) = cycle.x;
        let x = bound.pointer(place).unwrap();
        assert_eq!(*x, written.write("+8617000000000"), "{word}");
        assert_eq!(
            shop.held(),
            ["02100000000 17000000000 13900000001"],
            "{word}"
        );
        assert_eq!(
            shop.callee("02100000000", "17000000000").as_deref(),
            Some("13900000001")
        );
        shop.expect(&cycle.bind, again);
        let id = bound.pointer(cycle.id).and_then(Value::as_str);
        let unbind = (cycle.unbind)(id.unwrap_or(""));
        let (answer, _) = shop.ask(&unbind);
        assert_eq!(answer.code, ok, "{word}: {}", answer.body);
        let entry = &answer.entries[0];
        assert!(entry.applied && entry.op == "unbind", "{word}");
        assert_eq!(entry.b, "13900000001", "{word}");
        let (answer, _) = shop.ask(&unbind);
        assert_eq!(answer.code, gone, "{word}: {}", answer.body);
        assert!(!answer.entries[0].applied, "{word}");
        shop.later(600);
        assert_eq!(shop.held().len(), 0, "{word}");
    }
}

#[test]
fn each_vendor_refuses_a_bind_without_b_in_its_own_words() {
    for cycle in cycles() {
        let mut shop = Shop::open(cycle.word);
        let mut body: Value = serde_json::from_str(&cycle.bind.body).unwrap();
        let is_b = |value: &Value| {
            let text = value.as_str();
            text.is_some_and(|text| text.ends_with("13900000001"))
        };
        body.as_object_mut()
            .unwrap()
            .retain(|_, value| !is_b(value));
        let body = body.to_string();
        shop.expect(&Said { body, ..cycle.bind }, cycle.codes[2]);
        assert_eq!(shop.held().len(), 0);
    }
}

#[test]
fn a_request_id_is_answered_alike_while_its_binding_lives() {
    for word in ["vcc", "china-mobile-hdh"] {
        let cycle = cycle(word);
        let mut shop = Shop::open(word);
        let first = shop.expect(&cycle.bind, cycle.codes[0]);
        let again = shop.expect(&cycle.bind, cycle.codes[0]);
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
    let mut shop = Shop::open("china-broadnet");
    shop.other_x = Some("+8619200000009");
    let bound = shop.expect(&cycle("china-broadnet").bind, "621");
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
