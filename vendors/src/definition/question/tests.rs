//! Questions: what is asked, what is answered, and what is refused.

use super::*;
use crate::definition::Definition;
use crate::{Interface, Vendor};
use md5::{Digest, Md5};
use sha2::Sha256;

/// 2024-05-20 08:30:00 UTC.
const NOW_MS: u64 = 1_716_193_800_000;

fn plan(vendor: &str, params: &[(&str, &str)]) -> Plan {
    let mut interface = Interface::new(1, "asks", Vendor::named(vendor).unwrap(), "");
    for (name, value) in params {
        interface = interface.with(name, value);
    }
    assert_eq!(interface.check(), []);
    Plan::new(&interface)
}

fn unicom(more: &[(&str, &str)]) -> Plan {
    let params = [&[("app_id", "app"), ("app_secret", "secret")], more].concat();
    plan("china-unicom-x", &params)
}

fn infobip() -> Plan {
    let params = [
        ("api_id", "id"),
        ("api_secret", "key"),
        ("refuse_file_id", "f1"),
    ];
    plan("infobip", &params)
}

const URL: &str = "https://switch.example.test/callbacks/asks/callback";

fn post<'a>(headers: &'a [(&'a str, &'a str)], body: &'a [u8]) -> CallbackRequest<'a> {
    CallbackRequest {
        method: "POST",
        url: URL,
        suffix: "",
        headers,
        body,
        now_ms: NOW_MS,
    }
}

/// The carrier's question, signed by nothing of the definition's.
fn voice(caller: &str, callee: &str) -> String {
    let sign = hex::encode(Md5::digest(format!("app{NOW_MS}secret")));
    format!(
        r#"{{"callId":"c-1","caller":"{caller}","callee":"{callee}","appId":"app","timestamp":{NOW_MS},"sign":"{sign}"}}"#
    )
}

/// What Infobip's Authorization header says of a body.
fn authorization(body: &str) -> String {
    let hashed = format!("/callbacks/asks/callback{body}key");
    format!("id:{}", hex::encode(Sha256::digest(hashed)))
}

const CALLEE: Callee<'static> = Callee {
    b: "13800000003",
    own_id: "71",
    limit_s: Some(30),
};

#[test]
fn the_carriers_question_is_read_and_answered_in_its_form() {
    let plan = unicom(&[]);
    let body = voice("02100000001", "+8617000000002");
    let request = post(&[], body.as_bytes());
    let asked = plan.question("voice_inactive", &request).unwrap();
    let expected = Asked {
        a: "02100000001".to_owned(),
        x: "17000000002".to_owned(),
        call_id: Some("c-1".to_owned()),
        digits: None,
        within_ms: 2_000,
    };
    assert_eq!(asked, expected);
    let say = |callee| plan.answer("voice_inactive", &request, &asked, callee, "");
    let reply = say(Some(CALLEE)).unwrap();
    assert_eq!(
        (reply.status, &*reply.content_type),
        (200, "application/json;charset=UTF-8")
    );
    assert_eq!(
        reply.body,
        r#"{"code":200,"processType":"0","data":{"uId":"71","caller":"17000000002","callee":"13800000003"}}"#
    );
    assert_eq!(say(None).unwrap().body, r#"{"code":200,"processType":"2"}"#);
}

#[test]
fn a_limit_is_told_within_what_the_carrier_takes() {
    let plan = unicom(&[("tell_limit", "true"), ("refuse_as", "3")]);
    let body = voice("02100000001", "17000000002");
    let request = post(&[], body.as_bytes());
    let asked = plan.question("voice_inactive", &request).unwrap();
    let say = |callee| plan.answer("voice_inactive", &request, &asked, callee, "");
    for (limit_s, told) in [
        (Some(30), r#","limitTime":"60""#),
        (Some(600), r#","limitTime":"600""#),
        (Some(86_400), r#","limitTime":"3600""#),
        (None, ""),
    ] {
        let callee = Callee { limit_s, ..CALLEE };
        let body = say(Some(callee)).unwrap().body;
        let end = format!(r#""callee":"13800000003"{told}}}}}"#);
        assert!(body.ends_with(&end), "{body}");
    }
    assert!(say(None).unwrap().body.contains(r#""processType":"3""#));
}

#[test]
fn infobips_question_is_proved_over_path_and_body_and_answered_with_a_command() {
    let plan = infobip();
    let body = r#"{"from":"8602100000001","to":"8617000000002","correlationId":"k-1","nmCorrelationId":"n-1"}"#;
    let proof = authorization(body);
    let headers = [("authorization", &*proof)];
    let request = post(&headers, body.as_bytes());
    let asked = plan.question("callback", &request).unwrap();
    assert_eq!(
        (&*asked.x, asked.call_id.as_deref()),
        ("17000000002", Some("k-1"))
    );
    let say = |callee| plan.answer("callback", &request, &asked, callee, "");
    assert_eq!(
        say(Some(CALLEE)).unwrap().body,
        r#"{"command":"dial","phoneNumber":"8613800000003","callerId":"8617000000002","clientReferenceId":"71"}"#
    );
    assert_eq!(
        say(None).unwrap().body,
        r#"{"command":"audio","fileId":"f1"}"#
    );
    let other = body.replace("0001", "0009");
    let error = plan.question("callback", &post(&headers, other.as_bytes()));
    assert!(
        matches!(error, Err(CallbackError::Unproved { .. })),
        "{error:?}"
    );
    let reply = plan.refuse_question("callback", &error.unwrap_err());
    assert_eq!((reply.status, &*reply.body), (401, ""));
}

#[test]
fn every_recipe_of_the_carriers_sign_is_tried_as_configured() {
    let sorted = format!("appId=app&callId=c-1&callee=2&caller=1&timestamp={NOW_MS}secret");
    for (recipe, hashed) in [
        ("md5", format!("app{NOW_MS}secret")),
        ("md5_time_last", format!("appsecret{NOW_MS}")),
        ("sorted_md5", sorted),
    ] {
        let sign = hex::encode_upper(Md5::digest(hashed));
        let body = format!(
            r#"{{"callId":"c-1","caller":"1","callee":"2","appId":"app","timestamp":{NOW_MS},"sign":"{sign}"}}"#
        );
        for other in [
            "md5",
            "md5_time_last",
            "sorted_md5",
            "sha256",
            "hmac_sha256",
        ] {
            let plan = unicom(&[("sign_recipe", other)]);
            let asked = plan.question("voice_inactive", &post(&[], body.as_bytes()));
            assert_eq!(
                asked.is_ok(),
                other == recipe,
                "{recipe} {other}: {asked:?}"
            );
        }
    }
}

#[test]
fn an_old_question_is_refused_where_its_time_is_looked_at() {
    let body = voice("02100000001", "17000000002");
    let late = CallbackRequest {
        now_ms: NOW_MS + 61_000,
        ..post(&[], body.as_bytes())
    };
    assert!(unicom(&[]).question("voice_inactive", &late).is_ok());
    let error = unicom(&[("callback_skew", "60")]).question("voice_inactive", &late);
    assert!(
        matches!(error, Err(CallbackError::Stale { .. })),
        "{error:?}"
    );
}

#[test]
fn a_secret_at_the_end_of_the_address_is_a_proof_where_one_is_configured() {
    let body = r#"{"caller":"02100000001","callee":"17000000002"}"#;
    for (token, suffix, taken) in [
        (Some("hush"), "hush", true),
        (Some("hush"), "hust", false),
        (Some("hush"), "", false),
        (None, "", false),
        (None, "hush", false),
    ] {
        let params: Vec<_> = token
            .map(|token| ("callback_token", token))
            .into_iter()
            .collect();
        let request = CallbackRequest {
            suffix,
            ..post(&[], body.as_bytes())
        };
        let asked = unicom(&params).question("voice_inactive", &request);
        assert_eq!(asked.is_ok(), taken, "{token:?} {suffix}: {asked:?}");
    }
}

#[test]
fn hostile_questions_are_refused_and_nothing_of_them_is_told() {
    let good = voice("02100000001", "17000000002");
    let large = format!("{}{}", " ".repeat(QUESTION_BODY_MAX), good);
    let deep = format!("{}{}", "[".repeat(8_000), "]".repeat(8_000));
    let wrong = good.replace("\"sign\":\"", "\"sign\":\"0");
    let long = voice(&"1".repeat(300), "17000000002");
    let cases: [(&str, &[u8], &str, u16); 10] = [
        ("right", good.as_bytes(), "ok", 200),
        ("large", large.as_bytes(), "too_large", 413),
        ("deep", deep.as_bytes(), "unproved", 403),
        ("empty", b"", "unproved", 403),
        ("no json", b"<xml/>", "unproved", 403),
        ("not utf-8", b"{\"caller\":\"\xff\"}", "malformed", 400),
        ("a list", b"[1,2]", "unproved", 403),
        (
            "no proof",
            br#"{"caller":"1","callee":"2"}"#,
            "unproved",
            403,
        ),
        ("wrong proof", wrong.as_bytes(), "unproved", 403),
        ("long", long.as_bytes(), "malformed", 400),
    ];
    let plan = unicom(&[]);
    for (what, body, word, status) in cases {
        let asked = plan.question("voice_inactive", &post(&[], body));
        let (got, reply) = match &asked {
            Ok(_) => ("ok", 200),
            Err(error) => {
                assert!(!error.to_string().contains("secret=") && error.to_string().len() < 200);
                (
                    error.word(),
                    plan.refuse_question("voice_inactive", error).status,
                )
            }
        };
        assert_eq!((got, reply), (word, status), "{what}: {asked:?}");
    }
    let error = plan.question(
        "voice_inactive",
        &CallbackRequest {
            method: "GET",
            ..post(&[], b"")
        },
    );
    let error = error.unwrap_err();
    assert_eq!(plan.refuse_question("voice_inactive", &error).status, 405);
    let error = plan.question("nothing", &post(&[], b"")).unwrap_err();
    assert_eq!(
        (error.word(), plan.refuse_question("nothing", &error).status),
        ("unknown", 404)
    );
}

#[test]
fn a_question_without_numbers_is_refused() {
    for missing in ["\"caller\":\"02100000001\",", "\"callee\":\"17000000002\","] {
        let body = voice("02100000001", "17000000002").replace(missing, "");
        let error = unicom(&[]).question("voice_inactive", &post(&[], body.as_bytes()));
        assert!(
            matches!(error, Err(CallbackError::Malformed { .. })),
            "{missing}: {error:?}"
        );
    }
}

#[test]
fn an_anonymous_caller_is_refused_in_the_platforms_form() {
    let plan = unicom(&[]);
    let body = voice("anonymous", "17000000002");
    let request = post(&[], body.as_bytes());
    let asked = plan.question("voice_inactive", &request).unwrap();
    assert_eq!(asked.a, "anonymous");
    let reply = plan
        .answer("voice_inactive", &request, &asked, None, "")
        .unwrap();
    assert_eq!(reply.status, 200);
    // A callee that is no number cannot be said in the carrier's notation.
    let odd = Callee {
        b: "alice",
        ..CALLEE
    };
    assert!(
        plan.answer("voice_inactive", &request, &asked, Some(odd), "")
            .is_err()
    );
}

/// A definition with one question.
const GOOD: &str = r#"name = "demo"
title = "Demo platform"
id = 900
source = "made up"
bind = "local"

[params.secret]
text = 32
required = true
secret = true
help = "the secret"

[params.wait_ms]
number = [100, 9000]
default = "900"
help = "how soon"

[callback]
auth = { given = "{header.Sign}", expected = "{body.id | need | hmac_sha256(param.secret) | hex}" }

[questions.who]
help = "who is called"
body = "form"
within_ms = "{param.wait_ms}"
a = "/from"
x = ["/to", "/called"]
call_id = "/id"
digits = "/keys"
refuse = { status = 404 }
refuse_proof = { status = 401, type = "text/plain", body = "no" }

[questions.who.connect]
send = "form"

[questions.who.connect.body]
dial = "{b | e164}"
show = "{x | e164}"
for = "{a | e164}"
ref = "{own_id}"
call = "{call_id}"
echo = "{body.id}"
keys = "{digits}"
limit = "{limit_s}"
nonce = "{nonce | lower}"
at = "{now | unix}"

[policy]
conflict = "pair"
pair_rest_ms = 0
"#;

#[test]
fn an_answer_may_be_a_form_of_all_that_is_known() {
    let definition: &'static Definition = Box::leak(Box::new(Definition::parse(GOOD).unwrap()));
    assert!(definition.policy.asks && definition.policy.ax && !definition.policy.query);
    assert_eq!(definition.handling.recover, [crate::Recovery::OwnId]);
    let interface = Interface::new(1, "demo", Vendor::of(definition), "").with("secret", "s");
    let plan = Plan::new(&interface);
    let sign = {
        use hmac::{Hmac, KeyInit, Mac};
        let mut mac = Hmac::<Sha256>::new_from_slice(b"s").unwrap();
        mac.update(b"i 1");
        hex::encode(mac.finalize().into_bytes())
    };
    let headers = [("sign", &*sign)];
    let request = post(
        &headers,
        b"from=%2B862100000001&called=17000000002&id=i+1&keys=12%23",
    );
    let asked = plan.question("who", &request).unwrap();
    assert_eq!(
        (asked.within_ms, asked.digits.as_deref()),
        (900, Some("12#"))
    );
    let reply = plan
        .answer("who", &request, &asked, Some(CALLEE), "AB")
        .unwrap();
    assert_eq!(reply.content_type, "application/x-www-form-urlencoded");
    assert_eq!(
        reply.body,
        "dial=%2B8613800000003&show=%2B8617000000002&for=%2B862100000001&ref=71&call=i+1\
         &echo=i+1&keys=12%23&limit=30&nonce=ab&at=1716193800"
    );
    let reply = plan.answer("who", &request, &asked, None, "").unwrap();
    assert_eq!((reply.status, &*reply.body), (404, ""));
}

#[test]
fn mistakes_in_questions_are_told_with_their_place() {
    let mut wrong = Vec::new();
    for (old, new, said) in [
        (
            "bind = \"local\"\n",
            "bind = \"remote\"\n",
            "5:8: \"remote\" is not known, known are: platform, local",
        ),
        (
            "bind = \"local\"\n",
            "",
            "20:2: only a platform with `bind = \"local\"` asks questions",
        ),
        ("a = \"/from\"\n", "", "21:12: `a` is missing"),
        (
            "x = [\"/to\", \"/called\"]",
            "x = \"to\"",
            "26:6: must be a JSON pointer",
        ),
        (
            "dial = \"{b | e164}\"\n",
            "",
            "32:16: the answer never says `b`",
        ),
        (
            "dial = \"{b | e164}\"",
            "dial = \"{b}\"",
            "36:8: a phone number",
        ),
        (
            "refuse = { status = 404 }",
            "refuse = { body = { b = \"{b | e164}\" } }",
            "29:27: an answer has no value and no step `b`",
        ),
        (
            "refuse = { status = 404 }",
            "refuse = { status = 99 }",
            "29:21: must be an HTTP status",
        ),
        (
            "refuse = { status = 404 }\n",
            "",
            "21:12: `refuse` is missing",
        ),
        (
            "{nonce | lower}",
            "{handle.id}",
            "44:11: no handle `id` is captured",
        ),
        (
            "\"{param.wait_ms}\"",
            "\"{param.secret}\"",
            "24:13: must be milliseconds",
        ),
        ("\"{param.wait_ms}\"", "0", "24:13: must be milliseconds"),
        (
            "within_ms = \"{param.wait_ms}\"\n",
            "",
            "13:9: parameter `wait_ms` is needed by nothing",
        ),
        (
            "auth = { given",
            "auth = { givn",
            "19:10: `givn` is not known here",
        ),
        (
            "refuse_proof = {",
            "refuse_prof = {",
            "30:1: `refuse_prof` is not known here",
        ),
        (
            "bind = \"local\"\n",
            "bind = \"local\"\nbase_url = \"https://x\"\n",
            "6:1: `base_url` has no use",
        ),
        (
            "bind = \"local\"\n",
            "bind = \"local\"\nsend = \"json\"\n",
            "6:1: `send` has no use",
        ),
        (
            "pair_rest_ms = 0",
            "pair_rest_ms = 0\nrecover = [\"wait\"]",
            "50:1: `recover` has no use",
        ),
        ("[policy]", "[rules]\n[policy]", "47:2: `rules` has no use"),
        (
            "[callback]\n",
            "[callback]\nsteps = { more = \"1\" }\n",
            "19:11: step `more` is needed by nothing",
        ),
    ] {
        assert!(GOOD.contains(old), "{old}");
        let mistakes = match Definition::parse(&GOOD.replacen(old, new, 1)) {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
        };
        if !mistakes.iter().any(|told| told.starts_with(said)) {
            wrong.push(format!("{said}: {mistakes:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let (without, _) = GOOD.split_once("[questions.who]").unwrap();
    let mistakes = Definition::parse(without).unwrap_err();
    let told = mistakes.iter().map(ToString::to_string);
    let said = "1:1: there is no `questions.NAME`: how does the platform ask?";
    assert!(told.clone().any(|told| told == said), "{mistakes:?}");
    let twice = format!(
        "{GOOD}\n[callbacks.who]\nhelp = \"x\"\nbody = \"form\"\nkind = \"bill\"\nkey = \"/id\"\n"
    );
    let mistakes = Definition::parse(&twice).unwrap_err();
    assert!(
        mistakes[0]
            .text
            .contains("`who` is a call-back and a question"),
        "{mistakes:?}"
    );
}

#[test]
fn nothing_is_ever_sent_for_a_platform_that_asks() {
    for plan in [unicom(&[]), infobip()] {
        assert!(plan.asks());
        let failure = plan.build(
            crate::exchange::Op::Bind,
            &Values::default(),
            &at(NOW_MS, ""),
        );
        assert!(failure.is_err());
    }
}
