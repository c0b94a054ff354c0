//! The published recipe's vectors, byte for byte.

use serde_json::Value;

use super::*;
use crate::exchange::Method;
use crate::interface::Vendor;
use crate::outcome::AxBind;

fn vectors() -> [(&'static str, Value); 2] {
    [
        ("AKSK", include_str!("vectors/huawei-aksk.json")),
        ("WSSE", include_str!("vectors/huawei-wsse.json")),
    ]
    .map(|(scheme, text)| (scheme, serde_json::from_str(text).unwrap()))
}

/// The interface, the numbers and the attempt of a vector file.
fn setting(scheme: &str, file: &Value) -> (Huawei, Bind, Attempt) {
    let credentials = &file["credentials"];
    let interface = Interface::new(1, "vectors", Vendor::Huawei, "")
        .with("app_key", credentials["key"].as_str().unwrap())
        .with("app_secret", credentials["secret"].as_str().unwrap())
        .with("scheme", scheme)
        .with("call_direction", "1")
        .with("expiration", "120")
        .with("record_flag", "false")
        .with("private_sms", "false")
        .with("user_data", "true");
    let numbers = Bind {
        a: "13800000001".into(),
        x: "17000000001".into(),
        b: "13900000002".into(),
        own_id: "call-000001".into(),
    };
    assert_eq!(file["clock"], "2024-05-20T08:30:00Z");
    let attempt = Attempt {
        now_ms: 1_716_193_800_999,
        nonce: file["nonce"].as_str().unwrap().into(),
    };
    (Huawei::new(&interface), numbers, attempt)
}

fn case<'a>(file: &'a Value, name: &str) -> &'a Value {
    let cases = file["cases"].as_array().unwrap();
    let case = cases.iter().find(|case| case["name"] == name).unwrap();
    &case["request"]
}

/// Compares a built request with a vector's; Host is the URL's.
fn check(request: &Request, vector: &Value) {
    let method = match request.method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
    };
    assert_eq!(vector["method"], method);
    let host = vector["headers"]["Host"].as_str().unwrap();
    let target = vector["target"].as_str().unwrap();
    assert_eq!(request.url, format!("https://{host}{target}"));
    assert_eq!(vector["body"], request.body);
    let headers = vector["headers"].as_object().unwrap();
    assert_eq!(request.headers.len() + 1, headers.len());
    for (name, value) in &request.headers {
        assert_eq!(&headers[*name], value, "{name}");
    }
}

#[test]
fn bind_is_reproduced_byte_for_byte() {
    for (scheme, file) in vectors() {
        let (huawei, numbers, attempt) = setting(scheme, &file);
        check(
            &huawei.bind(&numbers, &attempt).unwrap(),
            case(&file, "axb_bind"),
        );
    }
}

#[test]
fn unbind_by_id_is_reproduced_byte_for_byte() {
    for (scheme, file) in vectors() {
        let (huawei, _, attempt) = setting(scheme, &file);
        let handle = Handle::from([(SUBSCRIPTION_ID.into(), "sub-0001".into())]);
        check(
            &huawei.unbind(&handle, &attempt).unwrap(),
            case(&file, "axb_unbind_by_id"),
        );
    }
}

#[test]
fn query_by_x_and_a_is_reproduced_byte_for_byte() {
    for (scheme, file) in vectors() {
        let (huawei, mut numbers, attempt) = setting(scheme, &file);
        numbers.b.clear();
        check(
            &huawei.query(&numbers, &attempt).unwrap(),
            case(&file, "axb_query"),
        );
    }
}

#[test]
fn one_page_of_x_is_asked_for_with_the_most_rows() {
    let [(scheme, file), _] = vectors();
    let (huawei, numbers, attempt) = setting(scheme, &file);
    let request = huawei.page(&numbers.x, 3, &attempt).unwrap();
    assert_eq!(
        request.url,
        "https://rtcpns.cn-north-1.myhuaweicloud.com/rest/caas/relationnumber/partners/v1.0?relationNum=%2B8617000000001&pageIndex=3&pageSize=100"
    );
    assert_eq!((request.method, request.body.as_str()), (Method::Get, ""));
}

/// The numbers of the AX vectors.
fn relation() -> AxBind {
    AxBind {
        a: "13800000001".into(),
        x: "17000000009".into(),
        own_id: "call-000001".into(),
    }
}

#[test]
fn ax_bind_set_callee_and_unbind_are_reproduced_byte_for_byte() {
    for (scheme, file) in vectors() {
        let (_, _, attempt) = setting(scheme, &file);
        let credentials = &file["credentials"];
        let interface = Interface::new(1, "vectors", Vendor::Huawei, "")
            .with("app_key", credentials["key"].as_str().unwrap())
            .with("app_secret", credentials["secret"].as_str().unwrap())
            .with("scheme", scheme)
            .with("ax_call_direction", "0");
        // The vectors carry our own id with a callee but not with a relation.
        let silent = Huawei::new(&interface);
        let telling = Huawei::new(&interface.with("user_data", "true"));
        let by_numbers = Handle::new();
        for (name, request) in [
            ("ax_bind", silent.ax_bind(&relation(), &attempt)),
            (
                "ax_set_temporary_callee",
                telling.set_callee(&by_numbers, &relation(), "13900000002", &attempt),
            ),
            (
                "ax_unbind",
                silent.ax_unbind(&by_numbers, &relation(), &attempt),
            ),
        ] {
            check(&request.unwrap(), case(&file, name));
        }
    }
}

#[test]
fn a_relation_is_named_by_its_id_where_it_has_one() {
    let [(scheme, file), _] = vectors();
    let (huawei, _, attempt) = setting(scheme, &file);
    let handle = Handle::from([(SUBSCRIPTION_ID.into(), "s/1".into())]);
    let unbind = huawei.ax_unbind(&handle, &relation(), &attempt).unwrap();
    assert_eq!(
        unbind.url,
        "https://rtcpns.cn-north-1.myhuaweicloud.com/rest/provision/caas/privatenumber/v1.0?subscriptionId=s%2F1"
    );
    let callee = huawei
        .set_callee(&handle, &relation(), "02100000001", &attempt)
        .unwrap();
    assert_eq!(
        callee.body,
        r#"{"subscriptionId":"s/1","calleeNum":"+862100000001","duration":60,"userData":"call-000001"}"#
    );
}

#[test]
fn every_ax_parameter_has_its_field() {
    let [(scheme, file), _] = vectors();
    let (_, _, attempt) = setting(scheme, &file);
    let interface = Interface::new(1, "all", Vendor::Huawei, "")
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
    let huawei = Huawei::new(&interface);
    assert_eq!(
        huawei.ax_bind(&relation(), &attempt).unwrap().body,
        r#"{"origNum":"+8613800000001","privateNum":"+8617000000009","calleeNumDisplay":"1","callDirection":1,"recordFlag":"true","recordHintTone":"r.wav","maxDuration":60,"lastMinVoice":"l.wav","privateSms":"false","preVoice":{"callerHintTone":"a.wav","calleeHintTone":"b.wav"},"userData":"call-000001"}"#
    );
    let callee = huawei.set_callee(&Handle::new(), &relation(), "13900000002", &attempt);
    assert!(callee.unwrap().body.contains(r#""duration":90"#));
}

#[test]
fn ax_queries_name_one_number() {
    let [(scheme, file), _] = vectors();
    let (huawei, _, attempt) = setting(scheme, &file);
    for (a, x, query) in [
        ("13800000001", "17000000009", "privateNum=%2B8617000000009"),
        ("", "17000000009", "privateNum=%2B8617000000009"),
        ("13800000001", "", "origNum=%2B8613800000001"),
    ] {
        let numbers = AxBind {
            a: a.into(),
            x: x.into(),
            own_id: String::new(),
        };
        let request = huawei.ax_query(&numbers, &attempt).unwrap();
        assert_eq!(request.url.split_once('?').unwrap().1, query, "{a} {x}");
    }
    let nobody = AxBind {
        a: String::new(),
        x: String::new(),
        own_id: String::new(),
    };
    assert!(huawei.ax_query(&nobody, &attempt).is_err());
    assert!(huawei.ax_bind(&nobody, &attempt).is_err());
    assert!(huawei.ax_unbind(&Handle::new(), &nobody, &attempt).is_err());
}

#[test]
fn headers_of_every_vector_are_reproduced_whatever_the_operation() {
    for (scheme, file) in vectors() {
        let (huawei, _, attempt) = setting(scheme, &file);
        let headers = huawei.signer.headers(&attempt);
        for case in file["cases"].as_array().unwrap() {
            for (name, value) in &headers {
                assert_eq!(&case["request"]["headers"][*name], value);
            }
        }
    }
}

#[test]
fn digest_may_be_chosen_apart_from_the_headers() {
    let [(_, aksk), (_, wsse)] = vectors();
    let credentials = &aksk["credentials"];
    let interface = Interface::new(1, "mixed", Vendor::Huawei, "")
        .with("app_key", credentials["key"].as_str().unwrap())
        .with("app_secret", credentials["secret"].as_str().unwrap())
        .with("digest", "sha256");
    let (_, _, attempt) = setting("AKSK", &aksk);
    let [authorization, token] = Huawei::new(&interface).signer.headers(&attempt);
    assert!(authorization.1.starts_with("AKSK "));
    let digest = wsse["cases"][0]["derived"]["digest"].as_str().unwrap();
    assert!(token.1.contains(&format!("PasswordDigest=\"{digest}\"")));
}

#[test]
fn an_unbind_without_id_is_never_built() {
    let [(scheme, file), _] = vectors();
    let (huawei, _, attempt) = setting(scheme, &file);
    for handle in [
        Handle::new(),
        Handle::from([("relationNum".into(), "+8617000000001".into())]),
        Handle::from([(SUBSCRIPTION_ID.into(), String::new())]),
    ] {
        let failure = huawei.unbind(&handle, &attempt).unwrap_err();
        assert_eq!(failure.class, Class::Permanent);
    }
}

#[test]
fn numbers_that_are_none_are_refused_before_anything_is_sent() {
    let [(scheme, file), _] = vectors();
    let (huawei, numbers, attempt) = setting(scheme, &file);
    for bad in ["", "+", "alice", "12 34", "号", &"1".repeat(40)] {
        let bind = Bind {
            b: bad.into(),
            ..numbers.clone()
        };
        let failure = huawei.bind(&bind, &attempt).unwrap_err();
        assert_eq!(
            (failure.class, failure.code.as_str()),
            (Class::Permanent, "number")
        );
    }
}
