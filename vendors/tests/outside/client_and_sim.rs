//! The client and the simulator agree over real sockets, and each fault comes out as its class.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tandem_vendors::sim::{self, Config, Credentials, Faults};
use tandem_vendors::{
    Bind, BindOutcome, Class, Client, Held, Interface, QueryOutcome, UnbindOutcome, Vendor,
};

use crate::world::{World, bound, control, numbers, refused};

#[tokio::test]
async fn a_binding_is_made_found_released_and_then_gone() {
    let world = World::new();
    let client = world.client();
    let bind = numbers(1);
    assert_eq!(client.query(&bind).await, QueryOutcome::None);
    let handle = bound(&client, &bind).await;
    let held = Held {
        handle: handle.clone(),
        a: bind.a.clone(),
        x: bind.x.clone(),
        b: bind.b.clone(),
    };
    assert_eq!(client.query(&bind).await, QueryOutcome::Found(vec![held]));
    assert_eq!(world.sim.bindings().len(), 1);
    assert_eq!(client.unbind(&handle, &bind).await, UnbindOutcome::Released);
    assert_eq!(
        client.unbind(&handle, &bind).await,
        UnbindOutcome::AlreadyGone
    );
    assert_eq!(world.sim.bindings(), []);

    let log: Vec<_> = world
        .log()
        .into_iter()
        .map(|l| (l.op, l.applied, l.status, l.code))
        .collect();
    let line = |op: &str, applied, status, code: &str| (op.into(), applied, status, code.into());
    assert_eq!(
        log,
        [
            line("query", false, 403, "1012007"),
            line("bind", true, 200, "0"),
            line("query", false, 200, "0"),
            line("unbind", true, 200, "0"),
            line("unbind", false, 403, "1012007"),
        ]
    );
}

#[tokio::test]
async fn the_log_has_exactly_the_promised_fields_in_our_notation() {
    let world = World::new();
    let handle = bound(&world.client(), &numbers(1)).await;
    let text = std::fs::read_to_string(world.dir.path().join("vendor-sim.jsonl")).unwrap();
    let mut line: Value = serde_json::from_str(&text).unwrap();
    assert!(line["t"].as_f64().unwrap() > 1_700_000_000.0);
    line["t"] = json!(0);
    assert_eq!(
        line,
        json!({
            "t": 0, "vendor": "huawei", "op": "bind",
            "A": "02100000001", "X": "17000000000", "B": "13900000001",
            "bind_id": handle["subscriptionId"],
            "applied": true, "answered": true, "status": 200, "code": "0",
        })
    );
}

#[tokio::test]
async fn every_optional_parameter_is_accepted_by_the_strict_platform() {
    let world = World::new();
    for scheme in ["AKSK", "WSSE"] {
        let interface = world
            .interface()
            .with("scheme", scheme)
            .with("expiration", "86400")
            .with("call_direction", "1")
            .with("record_flag", "true")
            .with("record_hint_tone", "hint.wav")
            .with("max_duration", "60")
            .with("last_min_voice", "last.wav")
            .with("private_sms", "false")
            .with("caller_hint_tone", "a.wav")
            .with("callee_hint_tone", "b.wav")
            .with("user_data", "true");
        let client = Client::new(&interface).unwrap();
        let handle = bound(&client, &numbers(1)).await;
        let outcome = client.unbind(&handle, &numbers(1)).await;
        assert_eq!(outcome, UnbindOutcome::Released);
    }
}

#[tokio::test]
async fn a_second_binding_of_the_same_number_on_x_is_a_conflict_of_the_pair() {
    let world = World::new();
    let client = world.client();
    bound(&client, &numbers(1)).await;
    let failure = refused(&client, &numbers(1)).await;
    assert_eq!(
        (failure.class, failure.code.as_str()),
        (Class::XConflict, "1012010")
    );
    bound(&client, &numbers(2)).await;
}

#[tokio::test]
async fn an_x_of_somebody_else_is_unusable() {
    let mut credentials = Credentials::new("dev-key", "dev-secret");
    credentials.x_prefix = "1700000".into();
    let world = World::with(credentials);
    let client = world.client();
    let bind = Bind {
        x: "17100000000".into(),
        ..numbers(1)
    };
    assert_eq!(refused(&client, &bind).await.class, Class::XUnusable);
    bound(&client, &numbers(1)).await;
}

#[tokio::test]
async fn each_vendor_code_comes_out_as_its_class() {
    let world = World::new();
    for (code, class, wait_ms) in [
        ("1010002", Class::Permanent, None),
        ("1010010", Class::Throttled, Some(60_000)),
        ("1010001", Class::Unknown, None),
        ("1020002", Class::Unknown, None),
        ("1010029", Class::VendorDown, None),
        ("1010040", Class::Config, None),
        ("1011001", Class::XUnusable, None),
        ("1011004", Class::XUnusable, None),
        ("1012001", Class::XUnusable, None),
        ("1011005", Class::XConflict, None),
        ("1012010", Class::XConflict, None),
        ("1012007", Class::NotFound, None),
        ("1016001", Class::NotFound, None),
        ("1016002", Class::AlreadyBound, None),
        ("1012006", Class::PoolExhausted, None),
        ("1012008", Class::PoolExhausted, None),
        ("1020001", Class::Permanent, None),
        ("1020150", Class::Config, None),
        ("1020166", Class::Config, None),
        ("1020176", Class::VendorDown, Some(1_800_000)),
        ("1023006", Class::Config, None),
        ("1023099", Class::Config, None),
        ("9999999", Class::Permanent, None),
    ] {
        world.faults(Faults {
            error_rate: 1.0,
            error_code: code.into(),
            ..Faults::default()
        });
        // A client each, since some of them open the breaker.
        let failure = refused(&world.client(), &numbers(1)).await;
        assert_eq!((failure.class, failure.wait_ms), (class, wait_ms), "{code}");
        assert_eq!(failure.code, code);
    }
    assert_eq!(world.sim.bindings(), []);
}

#[tokio::test]
async fn all_of_an_x_is_listed_over_as_many_pages_as_it_takes() {
    let world = World::new();
    let client = world.client();
    let x = numbers(0).x;
    assert_eq!(client.held_on(&x).await, QueryOutcome::None);
    for count in [1, 100, 101, 250] {
        for n in 0..count {
            let _ = client.bind(&numbers(n)).await;
        }
        let other = Bind {
            x: "17000000001".into(),
            ..numbers(count)
        };
        let _ = client.bind(&other).await;
        let QueryOutcome::Found(held) = client.held_on(&x).await else {
            panic!("nothing held");
        };
        assert!(held.iter().all(|held| held.x == x));
        let mut callers: Vec<_> = held.iter().map(|held| held.a.clone()).collect();
        callers.sort();
        let expected: Vec<_> = (0..count).map(|n| numbers(n).a).collect();
        assert_eq!(callers, expected);
    }
}

#[tokio::test]
async fn a_long_list_waits_for_our_own_rate_limit_but_a_refusing_platform_ends_it() {
    let world = World::new();
    let binder = world.client();
    for n in 0..250 {
        bound(&binder, &numbers(n)).await;
    }
    let mut interface = world.interface();
    interface.rate_per_s = Some(2);
    let client = Client::new(&interface).unwrap();
    let started = Instant::now();
    let QueryOutcome::Found(held) = client.held_on(&numbers(0).x).await else {
        panic!("nothing held");
    };
    assert_eq!(held.len(), 250);
    assert!(started.elapsed() > Duration::from_millis(300));
    world.faults(Faults {
        throttle_per_s: 1,
        ..Faults::default()
    });
    let QueryOutcome::Failed(failure) = binder.held_on(&numbers(0).x).await else {
        panic!("not throttled");
    };
    assert_eq!(failure.class, Class::Throttled);
}

#[tokio::test]
async fn the_x_that_the_platform_took_instead_is_told_and_bound() {
    let world = World::new();
    let client = world.client();
    let put = r#"{"vendor":"huawei","other_x":"17000000077"}"#;
    let (status, _) = control(&world, reqwest::Method::PUT, "/_sim/faults", put).await;
    assert_eq!(status, 204);
    let BindOutcome::Bound { x, handle, .. } = client.bind(&numbers(1)).await else {
        panic!("not bound");
    };
    assert_eq!(x, "17000000077");
    assert_eq!(world.sim.bindings()[0].x, "17000000077");
    let line = world.log().pop().unwrap();
    assert_eq!((line.op.as_str(), line.x.as_str()), ("bind", "17000000077"));
    assert_eq!(client.query(&numbers(1)).await, QueryOutcome::None);
    assert_eq!(
        client.unbind(&handle, &numbers(1)).await,
        UnbindOutcome::Released
    );
}

#[tokio::test]
async fn faults_may_be_of_some_operations_only() {
    let world = World::new();
    let client = world.client();
    let put = r#"{"error_rate":1,"error_code":"1010010","ops":["unbind","query"]}"#;
    let (status, _) = control(&world, reqwest::Method::PUT, "/_sim/faults", put).await;
    assert_eq!(status, 204);
    let handle = bound(&client, &numbers(1)).await;
    let UnbindOutcome::Failed(failure) = client.unbind(&handle, &numbers(1)).await else {
        panic!("released");
    };
    assert_eq!(failure.class, Class::Throttled);
    assert_eq!(world.sim.bindings().len(), 1);
}

#[tokio::test]
async fn a_wrong_secret_stops_at_the_first_answer() {
    let world = World::new();
    let client = Client::new(&world.interface().with("app_secret", "dev-sekret")).unwrap();
    assert_eq!(refused(&client, &numbers(1)).await.class, Class::Config);
    assert!(client.breaker_open());
    let failure = refused(&client, &numbers(1)).await;
    assert_eq!(
        (failure.class, failure.code.as_str()),
        (Class::VendorDown, "breaker")
    );
    assert!(failure.wait_ms.unwrap() > 50_000);
    assert_eq!(world.log().len(), 1);
}

#[tokio::test]
async fn an_address_that_fails_too_often_is_blocked_for_all_its_clients() {
    let mut credentials = Credentials::new("dev-key", "dev-secret");
    credentials.auth_failures_max = 3;
    let world = World::with(credentials);
    for _ in 0..3 {
        let client = Client::new(&world.interface().with("app_secret", "wrong")).unwrap();
        assert_eq!(refused(&client, &numbers(1)).await.code, "1020150");
    }
    let client = world.client();
    let failure = refused(&client, &numbers(1)).await;
    assert_eq!(
        (failure.code.as_str(), failure.wait_ms),
        ("1020176", Some(1_800_000))
    );
    assert!(refused(&client, &numbers(1)).await.wait_ms.unwrap() > 1_700_000);
    world.sim.clear_faults();
    bound(&world.client(), &numbers(1)).await;
}

#[tokio::test]
async fn a_cut_reply_is_unknown_and_a_query_finds_the_binding() {
    let world = World::new();
    let client = world.client();
    world.faults(Faults {
        drop_reply_rate: 1.0,
        ..Faults::default()
    });
    let failure = refused(&client, &numbers(1)).await;
    assert_eq!(
        (failure.class, failure.code.as_str()),
        (Class::Unknown, "reset")
    );
    assert_eq!(world.sim.bindings().len(), 1);
    let line = world.log().pop().unwrap();
    assert!(line.applied && !line.answered);
    world.sim.clear_faults();
    let QueryOutcome::Found(held) = client.query(&numbers(1)).await else {
        panic!("not found");
    };
    let outcome = client.unbind(&held[0].handle, &numbers(1)).await;
    assert_eq!(outcome, UnbindOutcome::Released);
    assert_eq!(world.sim.bindings(), []);
}

#[tokio::test]
async fn a_slow_platform_is_unknown_after_the_time_out_and_has_bound_all_the_same() {
    let world = World::new();
    let mut interface = world.interface();
    interface.timeout_ms = 200;
    interface.connect_timeout_ms = 100;
    let client = Client::new(&interface).unwrap();
    world.faults(Faults {
        latency_ms: 5_000,
        ..Faults::default()
    });
    let started = Instant::now();
    let failure = refused(&client, &numbers(1)).await;
    assert_eq!(
        (failure.class, failure.code.as_str()),
        (Class::Unknown, "timeout")
    );
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(world.sim.bindings().len(), 1);
}

#[tokio::test]
async fn a_throttling_platform_says_so_and_applies_nothing() {
    let world = World::new();
    let client = world.client();
    world.faults(Faults {
        throttle_per_s: 1,
        ..Faults::default()
    });
    let mut throttled = 0;
    for n in 0..5 {
        if let BindOutcome::Failed(failure) = client.bind(&numbers(n)).await {
            assert_eq!(failure.class, Class::Throttled);
            throttled += 1;
        }
    }
    assert!(throttled >= 3, "{throttled}");
    assert_eq!(world.sim.bindings().len(), 5 - throttled);
}

#[tokio::test]
async fn a_platform_that_is_down_cuts_at_once_and_comes_back() {
    let world = World::new();
    let client = world.client();
    world.faults(Faults {
        down: true,
        ..Faults::default()
    });
    assert_eq!(refused(&client, &numbers(1)).await.class, Class::Unknown);
    assert_eq!(world.sim.bindings(), []);
    world.sim.clear_faults();
    bound(&client, &numbers(1)).await;
}

#[tokio::test]
async fn a_stopped_platform_was_surely_not_reached_and_opens_the_breaker() {
    let world = World::new();
    let mut interface = world.interface();
    interface.breaker.connect_failures = 3;
    interface.breaker.probe_ms = 100;
    let client = Client::new(&interface).unwrap();
    world.sim.stop();
    for _ in 0..3 {
        let failure = refused(&client, &numbers(1)).await;
        assert_eq!(
            (failure.class, failure.code.as_str()),
            (Class::NotSent, "connect")
        );
    }
    assert_eq!(refused(&client, &numbers(1)).await.class, Class::VendorDown);
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert_eq!(refused(&client, &numbers(1)).await.class, Class::NotSent);
    assert_eq!(refused(&client, &numbers(1)).await.class, Class::VendorDown);
}

#[tokio::test]
async fn our_own_rate_limit_refuses_before_anything_is_sent() {
    let world = World::new();
    let mut interface = world.interface();
    interface.rate_per_s = Some(3);
    let client = Client::new(&interface).unwrap();
    let mut refusals = 0;
    for n in 0..6 {
        if let BindOutcome::Failed(failure) = client.bind(&numbers(n)).await {
            assert_eq!(
                (failure.class, failure.code.as_str()),
                (Class::Throttled, "rate_limit")
            );
            assert!(failure.wait_ms.unwrap() <= 334);
            refusals += 1;
        }
    }
    assert!(refusals >= 2, "{refusals}");
    assert_eq!(world.log().len(), 6 - refusals);
}

#[tokio::test]
async fn many_binds_at_once_share_the_pool_and_all_come_through() {
    let world = World::new();
    let client = world.client();
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { bound(&client, &numbers(n)).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(world.sim.bindings().len(), 200);
    assert_eq!(world.log().len(), 200);
}

#[tokio::test]
async fn faults_are_set_replaced_and_ended_over_http() {
    let world = World::new();
    let put = |body: &'static str| control(&world, reqwest::Method::PUT, "/_sim/faults", body);
    assert_eq!(
        put(r#"{"vendor":"huawei","error_rate":1.0,"error_code":"1012010"}"#)
            .await
            .0,
        204
    );
    assert_eq!(
        refused(&world.client(), &numbers(1)).await.class,
        Class::XConflict
    );
    assert_eq!(put(r#"{"latency_ms":1}"#).await.0, 204);
    bound(&world.client(), &numbers(1)).await;
    for bad in [
        r#"{"vendor":"nobody"}"#,
        r#"{"vendor":1}"#,
        r#"{"error_rate":1.5}"#,
        r#"{"latencyms":1}"#,
        r#"{"other_x":"here"}"#,
        r#"{"ops":["ring"]}"#,
        r#"[]"#,
        "",
    ] {
        assert_eq!(put(bad).await.0, 400, "{bad}");
    }
    let (_, faults) = control(&world, reqwest::Method::GET, "/_sim/faults", "").await;
    assert_eq!(faults["huawei"]["latency_ms"], 1);
    let (status, _) = control(&world, reqwest::Method::DELETE, "/_sim/faults", "").await;
    assert_eq!(status, 204);
    let (_, faults) = control(&world, reqwest::Method::GET, "/_sim/faults", "").await;
    assert_eq!(faults["huawei"]["latency_ms"], 0);
}

#[tokio::test]
async fn bindings_and_calls_are_listed_over_http() {
    let world = World::new();
    let handle = bound(&world.client(), &numbers(7)).await;
    let (_, list) = control(&world, reqwest::Method::GET, "/_sim/bindings", "").await;
    let binding = &list[0];
    assert_eq!(binding["vendor"], "huawei");
    assert_eq!(binding["mode"], "axb");
    assert_eq!(binding["A"], "02100000007");
    assert_eq!(binding["X"], "17000000000");
    assert_eq!(binding["B"], "13900000007");
    assert_eq!(binding["bind_id"], handle["subscriptionId"].as_str());
    assert!(binding["expires"].as_f64() > binding["since"].as_f64());
    let (_, calls) = control(&world, reqwest::Method::GET, "/_sim/calls", "").await;
    assert_eq!(calls["total"], 0);
    let (status, _) = control(&world, reqwest::Method::GET, "/aliyun/x", "").await;
    assert_eq!(status, 404);
}

#[test]
fn a_taken_port_and_an_unwritable_log_are_named() {
    let world = World::new();
    let phone = "127.0.0.1:9".parse().unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let config = Config::huawei(
        world.sim.http_addr(),
        any,
        phone,
        Credentials::new("k", "s"),
    );
    let error = sim::spawn(&config).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("cannot listen on http {}", world.sim.http_addr())
    );
    let config = Config::huawei(any, world.sim.sip_addr(), phone, Credentials::new("k", "s"));
    let error = sim::spawn(&config).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("cannot listen on sip {}", world.sim.sip_addr())
    );
    let mut config = Config::huawei(any, any, phone, Credentials::new("k", "s"));
    config.log = Some("/nonexistent/log".into());
    let error = sim::spawn(&config).unwrap_err().to_string();
    assert_eq!(error, "cannot write log \"/nonexistent/log\"");
}

#[test]
fn a_stopped_simulator_frees_its_ports() {
    let world = World::new();
    let (http, sip) = (world.sim.http_addr(), world.sim.sip_addr());
    let phone = "127.0.0.1:9".parse().unwrap();
    world.sim.stop();
    let config = Config::huawei(http, sip, phone, Credentials::new("k", "s"));
    sim::spawn(&config).unwrap().stop();
}

#[test]
fn an_interface_with_mistakes_makes_no_client() {
    let error = Client::new(&Interface::new(1, "hz-1", Vendor::huawei(), "")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "interface \"hz-1\" cannot work: params.app_key is missing; params.app_secret is missing"
    );
}
