//! The lives of bindings at the vendors whose own clients are at hand, asked as those ask.

use serde_json::{Value, json};

use super::super::Mode;
use super::super::sip::Route;
use super::super::vendor::Vendor;
use super::shop::{NOW_MS, Said, Shop, json_body};

/// A query or form of names and values without anything to encode but blanks and `+`.
fn form(pairs: &[(&str, &str)]) -> String {
    let items: Vec<_> = pairs
        .iter()
        .map(|(n, v)| format!("{n}={}", v.replace('+', "%2B").replace(' ', "+")))
        .collect();
    items.join("&")
}

fn aliyun(action: &str, pairs: &[(&str, &str)]) -> Said<'static> {
    let query = form(&[&[("Action", action), ("PoolKey", "FC1")], pairs].concat());
    Said {
        method: "POST",
        target: format!("/?{query}").leak(),
        headers: &[],
        body: String::new(),
    }
}

const A: (&str, &str) = ("PhoneNoA", "02100000000");
const B: (&str, &str) = ("PhoneNoB", "13900000001");
const X: (&str, &str) = ("PhoneNoX", "17000000000");
/// Ten minutes after `NOW_MS`, in China.
const END: (&str, &str) = ("Expiration", "2024-05-20 16:40:00");

#[test]
fn aliyun_binds_once_per_number_and_x_and_says_when_it_is_gone() {
    let mut shop = Shop::open("aliyun");
    let bound = shop.expect(&aliyun("BindAxb", &[A, X, B, END]), "OK");
    let id = bound["SecretBindDTO"]["SubsId"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(bound["SecretBindDTO"]["SecretNo"], "17000000000");
    assert!(id.bytes().all(|b| b.is_ascii_digit()));
    assert_eq!(
        shop.callee("02100000000", "17000000000").as_deref(),
        Some("13900000001")
    );
    for (change, code) in [
        (&[A, X, B, END][..], "isv.BIND_CONFLICT"),
        (
            &[A, X, ("PhoneNoB", "13900000002"), END],
            "isv.BIND_CONFLICT",
        ),
        (
            &[("PhoneNoA", "02100000001"), X, B, END],
            "isv.BIND_CONFLICT",
        ),
        (&[A, X, END], "isv.INVALID_PARAMETERS"),
        (
            &[A, X, ("PhoneNoB", "+8613900000001"), END],
            "isv.MOBILE_NUMBER_ILLEGAL",
        ),
        (
            &[A, ("PhoneNoX", "17100000000"), B, END],
            "isv.NO_NOT_EXIST",
        ),
        (
            &[A, B, ("Expiration", "2024-05-20 16:31:00")],
            "isv.EXPIRE_DATE_ILLEGAL",
        ),
        (
            &[A, B, ("Expiration", "2024-05-20T16:40:00Z")],
            "isv.EXPIRE_DATE_ILLEGAL",
        ),
        (&[A, B, END, ("CallTimeout", "21")], "isv.ILLEGAL_ARGUMENT"),
    ] {
        let (answer, _) = shop.ask(&aliyun("BindAxb", change));
        assert_eq!(
            (answer.status, answer.code.as_str()),
            (200, code),
            "{change:?}"
        );
    }
    let secret = ("SecretNo", "17000000000");
    let ids = shop.expect(&aliyun("QuerySubsId", &[X]), "OK");
    assert_eq!(ids["SubsId"], id.as_str());
    let detail = shop.expect(
        &aliyun("QuerySubscriptionDetail", &[X, ("SubsId", &id)]),
        "OK",
    );
    assert_eq!(detail["SecretBindDetailDTO"]["PhoneNoA"], "02100000000");
    assert_eq!(
        detail["SecretBindDetailDTO"]["ExpireDate"],
        "2024-05-20 16:40:00"
    );
    let other = ("SecretNo", "17000000001");
    shop.expect(
        &aliyun("UnbindSubscription", &[other, ("SubsId", &id)]),
        "isv.SUBS_NOT_EXIST",
    );
    shop.expect(
        &aliyun("UnbindSubscription", &[secret, ("SubsId", &id)]),
        "OK",
    );
    shop.expect(
        &aliyun("UnbindSubscription", &[secret, ("SubsId", &id)]),
        "isv.SUBS_NOT_EXIST",
    );
    assert_eq!(shop.callee("02100000000", "17000000000"), None);
}

#[test]
fn aliyun_chooses_an_x_until_none_is_free_and_forgets_at_the_end() {
    let mut shop = Shop::open("aliyun");
    for _ in 0..4 {
        shop.expect(&aliyun("BindAxb", &[A, B, END]), "OK");
    }
    shop.expect(&aliyun("BindAxb", &[A, B, END]), "isv.NO_AVAILABLE_NUMBER");
    shop.later(599);
    assert_eq!(shop.held().len(), 4);
    shop.later(1);
    assert_eq!(shop.held().len(), 0);
}

#[test]
fn aliyun_names_the_callee_of_an_axn() {
    let mut shop = Shop::open("aliyun");
    let bound = shop.expect(&aliyun("BindAxn", &[A, X, END]), "OK");
    let id = bound["SecretBindDTO"]["SubsId"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(shop.callee("02100000000", "17000000000"), None);
    let set = [X, ("SubsId", &*id), ("OperateType", "updateNoB"), B];
    let (answer, _) = shop.ask(&aliyun("UpdateSubscription", &set));
    assert_eq!(
        (answer.code.as_str(), answer.entries[0].op),
        ("OK", "set_callee")
    );
    assert_eq!(
        shop.callee("02100000000", "17000000000").as_deref(),
        Some("13900000001")
    );
    assert_eq!(
        shop.booth.route("13800000000", "17000000000", NOW_MS),
        Some(Route::In {
            a: "02100000000".into(),
            caller_shown: false
        })
    );
    let other = [("PhoneNoA", "02100000001"), X, B, END];
    shop.expect(&aliyun("BindAxb", &other), "isv.NO_USED_BY_OTHERS");
    assert_eq!(shop.booth.bindings(NOW_MS)[0].mode, Mode::Ax);
}

#[test]
fn aliyun_has_other_words_for_success_in_its_other_families() {
    let mut shop = Shop::open("aliyun");
    let tel = [("TelA", A.1), ("TelX", X.1), ("TelB", B.1)];
    let bound = shop.expect(&aliyun("BindAxb700", &[&tel[..], &[END]].concat()), "OK");
    assert_eq!(bound["Success"], true);
    let id = bound["Data"]["SubsId"].as_u64().unwrap().to_string();
    let unbind = aliyun("UnbindSubs700", &[("SubsId", &id), tel[1]]);
    shop.expect(&unbind, "OK");
    assert_eq!(shop.expect(&unbind, "isv.SUBS_NOT_EXIST")["Success"], false);

    let common = [
        ("AppId", "1"),
        ("OrderId", "2"),
        ("BindType", "mode102"),
        ("Expiration", "60"),
    ];
    let bound = shop.expect(
        &aliyun("BindAxbFixedLine", &[&common[..], &tel].concat()),
        "0",
    );
    assert_eq!(bound["Code"], "0");
    let id = bound["Data"]["SubId"].as_str().unwrap();
    let unbind = aliyun(
        "DeleteAxbBindFixedLine",
        &[common[0], common[1], ("SubId", id)],
    );
    shop.expect(&unbind, "0");
    shop.expect(&unbind, "isv.SUBS_NOT_EXIST");
}

fn tencent(action: &'static str, mut body: Value) -> Said<'static> {
    body["BizAppId"] = "1400000001".into();
    Said {
        headers: vec![
            ("x-tc-action", action),
            ("content-type", "application/json"),
        ]
        .leak(),
        ..json_body("POST", "/", &body)
    }
}

#[test]
fn tencent_counts_how_often_a_pair_is_bound() {
    let mut shop = Shop::open("tencent");
    let pair = json!({
        "Src": "008602100000000", "Dst": "008613900000001",
        "AssignVirtualNum": "008617000000000", "BizId": "one", "MaxAssignTime": "600",
    });
    let bound = shop.expect(&tencent("GetVirtualNum", pair.clone()), "0");
    let id = bound["Response"]["BindId"].clone();
    assert_eq!(bound["Response"]["RefNum"], "1");
    assert_eq!(bound["Response"]["VirtualNum"], "008617000000000");
    let (answer, again) = shop.ask(&tencent("GetVirtualNum", pair));
    assert_eq!(again["Response"]["RefNum"], "2");
    assert_eq!(again["Response"]["BindId"], id);
    assert!(!answer.entries[0].applied);
    assert_eq!(answer.content_type, "application/json");
    let other = json!({
        "Src": "008602100000001", "Dst": "008613900000002", "AssignVirtualNum": "008617000000000",
    });
    let refused = shop.expect(&tencent("GetVirtualNum", other), "106");
    assert_eq!(refused["Response"]["ErrorCode"], "106");
    let taken = json!({"Src": "008602100000001", "Dst": "008613900000002", "BizId": "one"});
    shop.expect(&tencent("GetVirtualNum", taken), "105");

    let by_own = tencent("DelVirtualNum", json!({"BizId": "one"}));
    assert_eq!(shop.expect(&by_own, "0")["Response"]["RefLeftNum"], "1");
    assert_eq!(shop.held().len(), 1);
    let by_id = tencent("DelVirtualNum", json!({"BindId": id}));
    assert_eq!(shop.expect(&by_id, "0")["Response"]["RefLeftNum"], "0");
    assert_eq!(shop.held().len(), 0);
    shop.expect(&by_id, "103");
    shop.expect(&by_own, "103");
}

#[test]
fn tencent_refuses_parameters_in_an_error() {
    let mut shop = Shop::open("tencent");
    for (body, code) in [
        (json!({"Src": "008602100000000"}), "MissingParameter"),
        (
            json!({"Src": "02100000000", "Dst": "008613900000001"}),
            "InvalidParameterValue",
        ),
        (
            json!({"Src": "008602100000000", "Dst": "008613900000001", "MaxAssignTime": 600}),
            "InvalidParameter",
        ),
        (
            json!({"Src": "008602100000000", "Dst": "008613900000001", "BizId": "x".repeat(17)}),
            "InvalidParameter",
        ),
    ] {
        let said = tencent("GetVirtualNum", body);
        assert_eq!(shop.expect(&said, code)["Response"]["Error"]["Code"], code);
    }
}

fn volcengine(action: &str, pairs: &[(&str, &str)]) -> Said<'static> {
    Said {
        method: "POST",
        target: format!("/?Action={action}&Version=2022-01-01").leak(),
        headers: &[("content-type", "application/x-www-form-urlencoded")],
        body: form(&[&[("NumberPoolNo", "NP1")], pairs].concat()),
    }
}

#[test]
fn volcengine_answers_its_business_errors_with_http_200() {
    let mut shop = Shop::open("volcengine");
    let end = ("ExpireTime", "1716194400");
    let bound = shop.expect(&volcengine("BindAXB", &[A, X, B, end]), "");
    let id = bound["Result"]["SubId"].as_str().unwrap().to_owned();
    for (change, code) in [
        (&[A, X, B, end][..], "ConflictWithExisting"),
        (
            &[("PhoneNoA", "02100000001"), X, B, end],
            "PhoneNoXBConflicted",
        ),
        (
            &[
                A,
                ("PhoneNoX", "17000000001"),
                B,
                ("ExpireTime", "1716193860"),
            ],
            "IllegalArgument",
        ),
        (
            &[
                A,
                ("PhoneNoX", "17000000001"),
                B,
                ("ExpireTime", "2145916800"),
            ],
            "IllegalArgument",
        ),
        (&[A, ("PhoneNoX", "18000000001"), B, end], "IllegalPhoneNoX"),
        (&[A, X, end], "PhoneNoXOccupied"),
    ] {
        let (answer, body) = shop.ask(&volcengine("BindAXB", change));
        assert_eq!(
            (answer.status, answer.code.as_str()),
            (200, code),
            "{change:?}"
        );
        assert_eq!(body["ResponseMetadata"]["Error"]["Code"], code);
    }
    let list = shop.expect(&volcengine("QuerySubscriptionForList", &[X, A]), "");
    assert_eq!(list["Result"]["Total"], 1);
    assert_eq!(list["Result"]["Records"][0]["SubId"], id.as_str());
    let id = ("SubId", &*id);
    assert_eq!(
        shop.expect(&volcengine("UnbindAXB", &[id]), "")["Result"],
        true
    );
    shop.expect(&volcengine("UnbindAXB", &[id]), "SubscriptionEmpty");
    shop.expect(&volcengine("QuerySubscription", &[id]), "SubscriptionEmpty");
}

#[test]
fn volcengine_repeats_an_answer_for_an_idempotent_id_only() {
    let mut shop = Shop::open("volcengine");
    let end = ("ExpireTime", "1716194400");
    let select = volcengine(
        "SelectNumberAndBindAXB",
        &[A, B, end, ("IdempotentId", "one")],
    );
    let first = shop.expect(&select, "");
    assert_eq!(shop.expect(&select, "")["Result"], first["Result"]);
    assert_eq!(shop.held().len(), 1);
    let other = volcengine("SelectNumberAndBindAXB", &[A, B, end]);
    assert_ne!(
        shop.expect(&other, "")["Result"]["SubId"],
        first["Result"]["SubId"]
    );
}

#[test]
fn volcengine_names_the_callee_of_an_ax() {
    let mut shop = Shop::open("volcengine");
    let end = ("ExpireTime", "1716194400");
    let (answer, bound) = shop.ask(&volcengine("BindAXB", &[A, X, end]));
    assert_eq!(answer.entries[0].op, "ax_bind");
    let id = ("SubId", bound["Result"]["SubId"].as_str().unwrap());
    shop.expect(&volcengine("UpgradeAXToAXB", &[id, B]), "");
    assert_eq!(
        shop.callee("02100000000", "17000000000").as_deref(),
        Some("13900000001")
    );
    let (answer, _) = shop.ask(&volcengine("UnbindAXB", &[id]));
    assert_eq!(answer.entries[0].op, "ax_unbind");
}

const SESSIONS: &str = "/v1/Services/KS1/Sessions";

fn twilio(method: &'static str, path: &str, body: &str) -> Said<'static> {
    Said {
        method,
        target: format!("{SESSIONS}{path}").leak(),
        headers: &[("content-type", "application/x-www-form-urlencoded")],
        body: body.to_owned(),
    }
}

#[test]
fn twilio_knows_a_session_by_sid_and_name_until_it_is_deleted() {
    let mut shop = Shop::open("twilio");
    let body = "UniqueName=call-1&Ttl=120&Mode=voice-only&Participants=%7B%22Identifier%22%3A+%22%2B862100000000%22%2C+%22ProxyIdentifier%22%3A+%22%2B8617000000000%22%7D&Participants=%7B%22Identifier%22%3A+%22%2B8613900000001%22%7D";
    let session = shop.expect(&twilio("POST", "", body), "201");
    let sid = format!("/{}", session["sid"].as_str().unwrap());
    assert_eq!(shop.held(), ["02100000000 17000000000 13900000001"]);
    shop.expect(&twilio("POST", "", body), "80103");
    shop.expect(
        &twilio("POST", "", &body.replace("call-1", "call-2")),
        "80604",
    );
    for key in [sid.as_str(), "/call-1"] {
        assert_eq!(
            shop.expect(&twilio("GET", key, ""), "200")["status"],
            "open"
        );
    }
    let closed = shop.expect(&twilio("POST", &sid, "Status=closed"), "200");
    assert_eq!(closed["status"], "closed");
    assert_eq!(shop.held().len(), 0);
    shop.expect(&twilio("POST", "", body), "80103");
    shop.expect(&twilio("DELETE", &sid, ""), "204");
    shop.expect(&twilio("DELETE", &sid, ""), "20404");
    shop.expect(&twilio("POST", &sid, "Status=closed"), "20404");
    shop.expect(&twilio("POST", "", body), "201");
}

#[test]
fn twilio_takes_participants_one_by_one() {
    let mut shop = Shop::open("twilio");
    let session = shop.expect(&twilio("POST", "", "UniqueName=two"), "201");
    let path = format!("/{}/Participants", session["sid"].as_str().unwrap());
    for (n, number) in ["%2B862100000000", "%2B8613900000001"]
        .into_iter()
        .enumerate()
    {
        let body = format!("Identifier={number}");
        let joined = shop.expect(&twilio("POST", &path, &body), "201");
        assert_eq!(joined["proxy_identifier"], "+8617000000000", "{n}");
    }
    shop.expect(
        &twilio("POST", &path, "Identifier=%2B8613900000002"),
        "20001",
    );
    assert_eq!(shop.held(), ["02100000000 17000000000 13900000001"]);
}

const PLIVO: &str = "/v1/Account/key/Masking/Session/";

#[test]
fn plivo_chooses_x_and_makes_a_session_a_request() {
    let mut shop = Shop::open("plivo");
    let pair = json!({
        "first_party": "862100000000", "second_party": "8613900000001", "session_expiry": 120,
    });
    let create = json_body("POST", PLIVO, &pair);
    let first = shop.expect(&create, "201");
    assert_eq!(first["virtual_number"], "8617000000000");
    let second = shop.expect(&create, "201");
    assert_eq!(second["virtual_number"], "8617000000001");
    let list = json_body(
        "GET",
        &format!("{PLIVO}?first_party=862100000000"),
        &Value::Null,
    );
    let list = Said {
        body: String::new(),
        ..list
    };
    assert_eq!(shop.expect(&list, "200")["meta"]["total_count"], 2);
    let id = first["session_uuid"].as_str().unwrap();
    let path = format!("{PLIVO}{id}/");
    let delete = json_body("DELETE", &path, &json!({"session_uuid": id}));
    shop.expect(&delete, "204");
    shop.expect(&delete, "404");
    shop.expect(
        &json_body("DELETE", &path, &json!({"session_uuid": "other"})),
        "400",
    );
    let number = json!({"first_party": "+862100000000", "second_party": "8613900000001"});
    shop.expect(&json_body("POST", PLIVO, &number), "400");
    shop.later(120);
    assert_eq!(shop.held().len(), 0);
}
#[test]
fn whatever_is_asked_for_another_x_may_be_bound_by_a_fault() {
    let mut shop = Shop::open("aliyun");
    shop.other_x = Some("+8617099999999");
    let bound = shop.expect(&aliyun("BindAxb", &[A, X, B, END]), "OK");
    assert_eq!(bound["SecretBindDTO"]["SecretNo"], "17099999999");
}
