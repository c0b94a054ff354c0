//! The pushes of other vendors than Huawei.

use super::*;

/// The vectors checked against the validators of the vendors' own packages.
fn vectors(file: &str) -> Json {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn form(fields: &Json) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields.as_object().unwrap() {
        form.append_pair(name, value.as_str().unwrap());
    }
    form.finish()
}

#[test]
fn the_vectors_of_twilio_and_plivo_are_taken_and_their_neighbours_are_not() {
    for (file, vendor, account, header) in [
        (
            "callback-twilio-sha1.json",
            "twilio",
            "account_sid",
            "X-Twilio-Signature",
        ),
        (
            "callback-plivo-v3.json",
            "plivo",
            "auth_id",
            "X-Plivo-Signature-V3",
        ),
    ] {
        let vectors = vectors(file);
        let secret = vectors["credentials"]["secret"].as_str().unwrap();
        let mut params = vec![(account, "id"), ("auth_token", secret)];
        if vendor == "twilio" {
            params.push(("service_sid", "KS1"));
        }
        let plan = plan(vendor, &params);
        let nonce = vectors["nonce"].as_str().unwrap_or_default();
        for case in vectors["cases"].as_array().unwrap() {
            let url = case["url"].as_str().unwrap();
            let body = form(&case["form"]);
            let signature = case["derived"]["signature"].as_str().unwrap();
            let take = |url: &str, body: &str, signature: &str, nonce: &str| {
                let headers = [(header, signature), ("X-Plivo-Signature-V3-Nonce", nonce)];
                let request = CallbackRequest {
                    url,
                    ..push(&headers, body)
                };
                plan.receive("events", &request)
            };
            let receipt = take(url, &body, signature, nonce).unwrap();
            let event = &receipt.events[0];
            assert_eq!(event.kind, EventKind::Ended, "{file}");
            assert_eq!(event.handle.len(), 1, "{file}");
            for (url, body, signature) in [
                (format!("{url}x"), body.clone(), signature.to_owned()),
                (
                    url.to_owned(),
                    body.replacen('1', "2", 1),
                    signature.to_owned(),
                ),
                (url.to_owned(), format!("{body}&z=1"), signature.to_owned()),
                (url.to_owned(), body.clone(), signature.replacen('=', "", 1)),
                (url.to_owned(), body.clone(), signature.to_lowercase()),
                (url.to_owned(), body.clone(), String::new()),
            ] {
                let refused = take(&url, &body, &signature, nonce).unwrap_err();
                assert_eq!(refused.word(), "unproved", "{file} {url} {body}");
            }
            if vendor == "plivo" {
                let several = format!("AAAA, {signature}");
                assert!(take(url, &body, &several, nonce).is_ok());
                assert!(take(url, &body, signature, "0").is_err());
                assert!(take(url, &body, signature, "").is_err());
            }
        }
    }
}

#[test]
fn an_address_with_a_secret_proves_those_who_cannot_sign() {
    let with = |token| {
        let params = [
            ("access_key_id", "ak"),
            ("access_key_secret", "sk"),
            ("pool_key", "FC1"),
            ("callback_token", token),
        ];
        plan("aliyun", &params)
    };
    let body = r#"[{"call_id":"c1","sub_id":7,"phone_no":"13800000001","secret_no":"17000000001",
        "peer_no":"13900000002","call_type":0,"call_time":"2024-05-20 16:20:00",
        "start_time":"2024-05-20 16:21:00","release_time":"2024-05-20 16:21:00"},
        {"call_id":"c2","call_type":2}]"#;
    let url = "https://switch.example.test/callbacks/ali/bills";
    for (token, suffix, query, taken) in [
        ("s3cret", "s3cret", "", "ok"),
        ("s3cret", "", "?token=s3cret", "ok"),
        ("s3cret", "s3creT", "", "unproved"),
        ("s3cret", "", "", "unproved"),
        ("s3cret", "", "?token=", "unproved"),
        ("", "", "", "unconfigured"),
        ("", "s3cret", "?token=", "unconfigured"),
    ] {
        let url = format!("{url}{query}");
        let request = CallbackRequest {
            url: &url,
            suffix,
            ..push(&[], body)
        };
        let plan = with(token);
        let received = plan.receive("bills", &request);
        let word = received
            .as_ref()
            .map_or_else(|error| error.word(), |_| "ok");
        assert_eq!(word, taken, "{token} {suffix} {query}");
        let reply = plan.reply("bills", &received);
        if let Ok(receipt) = received {
            assert_eq!(reply.status, 200);
            assert_eq!(reply.content_type, "application/json");
            assert_eq!(reply.body, r#"{"code":0,"msg":"ok"}"#);
            // The second one is about a text message.
            let [event] = &receipt.events[..] else {
                panic!("{receipt:?}")
            };
            assert_eq!(event.handle["SubsId"], "7");
            assert_eq!(event.answered_ms, None);
            assert_eq!(event.ended_ms, Some(NOW_MS - 540_000));
        } else {
            assert_eq!(
                (reply.status, &*reply.body),
                (403, r#"{"code":1,"msg":"refused"}"#)
            );
        }
    }
}

#[test]
fn records_of_volcengine_and_tencent_are_read() {
    let token = ("callback_token", "t");
    let volcengine = plan(
        "volcengine",
        &[
            ("access_key_id", "ak"),
            ("secret_access_key", "sk"),
            ("number_pool_no", "NP1"),
            token,
        ],
    );
    let tencent = plan(
        "tencent",
        &[
            ("secret_id", "id"),
            ("secret_key", "key"),
            ("biz_app_id", "1"),
            token,
        ],
    );
    let read = |plan: &Plan, name: &str, body: &str| {
        let request = CallbackRequest {
            suffix: "t",
            ..push(&[], body)
        };
        plan.receive(name, &request).unwrap().events.remove(0)
    };
    let state = r#"{"accountId":"1","callId":"c1","eventTime":"1716193800","eventType":3,
        "phoneNoA":"13800000001","phoneNoB":"13900000002","phoneNoX":"17000000001",
        "subscriptionId":"S1","userData":"call-1","messageType":1}"#;
    let event = read(&volcengine, "events", state);
    assert_eq!(event.kind, EventKind::Answered);
    assert_eq!(event.at_ms, Some(NOW_MS));
    assert_eq!(event.handle["SubId"], "S1");
    assert_eq!(event.own_id.as_deref(), Some("call-1"));
    let bill = r#"{"callId":"c1","beginCallTime":1716193800001,"ringTime":0,"startTime":"",
        "endTime":"1716193860001","callDuration":0,"callResult":4,"subscriptionId":"S1"}"#;
    let event = read(&volcengine, "bills", bill);
    assert_eq!(event.started_ms, Some(NOW_MS + 1));
    assert_eq!((event.ringing_ms, event.answered_ms), (None, None));
    assert_eq!(event.ended_ms, Some(NOW_MS + 60_001));
    assert_eq!(event.cause.as_deref(), Some("4"));
    let bill = r#"{"CallId":"c1","BindId":"b1","Src":"008613800000001","Dst":"0086075528000001",
        "DstVirtualNum":"008617000000001","DstAcceptTime":"2024-05-20 16:30:00","DstDuration":"12"}"#;
    for bill in [bill.to_owned(), bill.replace("\"Dst", "\"dst")] {
        let event = read(&tencent, "bills", &bill);
        assert_eq!(event.b.as_deref(), Some("075528000001"));
        assert_eq!(event.x.as_deref(), Some("17000000001"));
        assert_eq!(event.answered_ms, Some(NOW_MS));
        assert_eq!(event.duration_ms, Some(12_000));
    }
}

#[test]
fn a_push_that_is_signed_as_our_requests_are_is_checked_by_the_same_steps() {
    let params = [
        ("app_key", "key"),
        ("secret_key", "secret"),
        ("vcc_id", "1"),
    ];
    let plan = plan("vcc", &params);
    // Empty values, the appkey and the sign itself are left out, and spaces are removed.
    let text = format!(
        "begin_time=2024-05-2016:29:00&bind_id=b1&call_duration=30&connect_time=2024-05-2016:29:20\
         &record_id=r1&ts={NOW_MS}&secret_key=secret"
    );
    let sign = hex::encode_upper(crate::definition::digest::Hash::Md5.digest(text.as_bytes()));
    let body = |sign: &str| {
        format!(
            r#"{{"appkey":"key","sign":"{sign}","ts":{NOW_MS},"record_id":"r1","bind_id":"b1",
            "begin_time":"2024-05-20 16:29:00","connect_time":"2024-05-20 16:29:20",
            "call_duration":30,"record_file_url":""}}"#
        )
    };
    let receipt = plan.receive("bills", &push(&[], &body(&sign))).unwrap();
    let event = &receipt.events[0];
    assert_eq!(event.handle["bind_id"], "b1");
    assert_eq!(event.answered_ms, Some(NOW_MS - 40_000));
    assert_eq!(event.duration_ms, Some(30_000));
    let refused = plan.receive("bills", &push(&[], &body(&sign.to_lowercase())));
    assert_eq!(refused.unwrap_err().word(), "unproved");
    let other = body(&sign).replace("\"b1\"", "\"b2\"");
    let refused = plan.receive("bills", &push(&[], &other));
    assert_eq!(refused.unwrap_err().word(), "unproved");
    let good = body(&sign);
    let late = CallbackRequest {
        now_ms: NOW_MS + 301_000,
        ..push(&[], &good)
    };
    assert_eq!(plan.receive("bills", &late).unwrap_err().word(), "stale");
}
