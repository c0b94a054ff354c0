//! The traffic of an interface, and its trial.

use super::*;

#[tokio::test]
async fn the_last_exchanges_are_told_of_one_node_or_of_all() {
    let world = World::sample().await;
    // `dev-2` is down: its part is missing, and that is said.
    let all = world.get("/interfaces/huawei-sim/exchanges").await;
    assert_eq!(all["silent"], json!(["dev-2"]));
    let one = &all["items"][0];
    for (field, value) in [
        ("node", json!("dev-1")),
        ("at", json!("2025-11-21T22:00:00.000Z")),
        ("op", json!("bind")),
        ("outcome", json!("config")),
        ("code", json!("1020150")),
        ("took_ms", json!(12.5)),
        ("status", json!("401")),
        ("http", json!("HTTP/1.1")),
        ("tls", Value::Null),
    ] {
        assert_eq!(one[field], value, "{field}: {one}");
    }
    assert_eq!(one["request"]["line"], "POST http://h/");
    let own = world
        .get("/interfaces/huawei-sim/exchanges?node=dev-1")
        .await;
    assert_eq!(own["items"], all["items"]);
    for (path, status) in [
        ("/interfaces/huawei-sim/exchanges?node=dev-2", 503),
        ("/interfaces/huawei-sim/exchanges?node=dev-9", 404),
        ("/interfaces/huawei-sim/exchanges?limit=9", 400),
        ("/interfaces/none/exchanges", 404),
        ("/interfaces/none/status", 404),
    ] {
        let (got, body) = world.ask(Method::GET, path, Value::Null).await;
        assert_eq!(got, status, "{path}: {body}");
    }
}

#[tokio::test]
async fn how_an_interface_does_is_told_node_by_node() {
    let world = World::sample().await;
    let status = world.get("/interfaces/huawei-sim/status").await;
    assert_eq!(status["tls_verify"], true);
    assert_eq!(
        status["nodes"],
        json!([{
            "node": "dev-1", "used": true, "breaker": null, "clock_offset_ms": -61_000, "in_flight": 0,
            "rate_per_s": 3.333,
        }])
    );
}

#[tokio::test]
async fn an_interface_is_tried_with_numbers_that_are_free_and_a_failed_trial_is_an_answer() {
    let world = World::sample().await;
    let path = "/interfaces/huawei-sim/test";
    let (status, tried) = world.ask(Method::POST, path, json!({})).await;
    assert_eq!((status, &tried["passed"]), (200, &json!(true)), "{tried}");
    assert_eq!(tried["steps"][0]["node"], "dev-1");
    assert_eq!(world.get("/bindings").await["items"], json!([]));

    for (body, status, said) in [
        (json!({"a": "1"}), 422, "`a`: is none of our A numbers"),
        (
            json!({"x": "1"}),
            422,
            "`x`: is no X number of this interface",
        ),
        (
            json!({"b": "12x"}),
            422,
            "`b`: is no number of 1 to 32 digits",
        ),
        (json!({"b": ""}), 422, "`b`: is no number of 1 to 32 digits"),
        (
            json!({"within_secs": 0}),
            422,
            "`within_secs`: 0 is not within",
        ),
        (
            json!({"within_secs": 121}),
            422,
            "`within_secs`: 121 is not",
        ),
        (json!({"c": "1"}), 422, "`c`: no such field"),
    ] {
        let (got, problem) = world.ask(Method::POST, path, body).await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert_eq!((got, detail.starts_with(said)), (status, true), "{problem}");
    }
    let (status, problem) = world
        .ask(Method::POST, "/interfaces/none/test", json!({}))
        .await;
    assert_eq!(status, 404, "{problem}");

    // What is not released keeps its numbers, is shown among the bindings, and nothing else is tried meanwhile.
    let body = json!({"b": "13800000000"});
    let (status, tried) = world.ask(Method::POST, path, body).await;
    assert_eq!((status, &tried["left"]), (200, &json!(true)), "{tried}");
    let row = world.get("/bindings").await["items"][0].clone();
    assert_eq!(
        (&row["trial"], &row["state"]),
        (&json!(true), &json!("unbinding"))
    );
    let (status, problem) = world.ask(Method::POST, path, json!({})).await;
    assert_eq!(
        (status, problem["code"].as_str()),
        (409, Some("in_use")),
        "{problem}"
    );
    let audit = world.get("/audit?sort=-number&limit=1").await["items"][0].clone();
    assert_eq!(
        (&audit["action"], &audit["target"]),
        (&json!("test"), &json!("interfaces/huawei-sim"))
    );

    world.fake.no_quorum.store(true, Ordering::Relaxed);
    let (status, problem) = world.ask(Method::POST, path, json!({})).await;
    assert_eq!(status, 503, "{problem}");
}

#[tokio::test]
async fn who_may_only_look_tries_nothing() {
    let world = World::sample().await;
    let path = "/api/v1/interfaces/huawei-sim/test";
    let (status, _) = world
        .send(Method::POST, path, "secret-2", Some(json!({})))
        .await;
    assert_eq!(status, 403);
    let path = "/api/v1/interfaces/huawei-sim/exchanges";
    let (status, _) = world.send(Method::GET, path, "secret-2", None).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn an_interface_without_verification_is_an_alarm_a_warning_and_a_gauge() {
    let world = World::sample().await;
    assert_eq!(world.get("/cluster").await["alarms"], json!([]));
    let body = json!({"tls_verify": false});
    let (status, row) = world
        .ask(Method::PATCH, "/interfaces/huawei-sim", body)
        .await;
    assert_eq!(status, 200, "{row}");
    let alarms = world.get("/cluster").await["alarms"].clone();
    let text = alarms[0].as_str().unwrap_or_default();
    assert!(
        text.starts_with("interface `huawei-sim` does not verify"),
        "{alarms}"
    );
    let (_, text) = world.send(Method::GET, "/metrics", "", None).await;
    let gauge = "tandem_state_interface_tls_unverified{interface=\"huawei-sim\"} 1";
    assert!(text.lines().any(|line| line == gauge), "{text}");
}

#[tokio::test]
async fn a_proxys_password_is_never_told_and_kept_for_its_own_host_only() {
    let world = World::sample().await;
    let path = "/interfaces/huawei-sim";
    let set = |proxy: &'static str| {
        let world = &world;
        async move {
            world
                .ask(Method::PATCH, path, json!({"proxy": proxy}))
                .await
        }
    };
    let (status, row) = set("http://us:pa:ss@10.0.0.1:3128").await;
    assert_eq!(
        (status, &row["proxy"]),
        (200, &json!("http://us:***@10.0.0.1:3128")),
        "{row}"
    );
    // Sent back as it was read it stays, with another field changed.
    let body = json!({"proxy": "http://us:***@10.0.0.1:3128", "timeout_ms": 2_000});
    let (status, row) = world.ask(Method::PATCH, path, body).await;
    assert_eq!(status, 200, "{row}");
    let state = world.fake.state();
    let kept = state
        .interfaces()
        .next()
        .and_then(|row| row.entity.proxy.clone());
    assert_eq!(kept.as_deref(), Some("http://us:pa:ss@10.0.0.1:3128"));
    // To no other host.
    let (status, problem) = set("http://us:***@10.0.0.2:3128").await;
    assert_eq!(
        (status, problem["field"].as_str()),
        (422, Some("proxy")),
        "{problem}"
    );
    let audit = world.get("/audit").await;
    assert!(!audit.to_string().contains("pa:ss"), "{audit}");
    let (_, row) = set("http://10.0.0.2:3128").await;
    assert_eq!(row["proxy"], "http://10.0.0.2:3128");
}
