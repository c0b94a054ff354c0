//! The API over HTTP, in front of a real state in memory.

use super::*;
use crate::seed;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

mod bindings;
mod callbacks;
mod columns;
mod files;
mod interfaces;
mod platforms;
mod types;
mod world;

use world::World;

#[tokio::test]
async fn nothing_below_the_api_is_told_without_a_token() {
    let world = World::empty().await;
    for (token, path, status, code) in [
        ("", "/api/v1/status", 401, "unauthorized"),
        ("", "/api/v1/nothing", 401, "unauthorized"),
        ("secret-3", "/api/v1/cluster", 401, "unauthorized"),
        ("secret-1", "/api/v1/nothing", 404, "not_found"),
        ("secret-1", "/nothing", 404, "not_found"),
    ] {
        let (got, body) = world.send(Method::GET, path, token, None).await;
        let body: Value = serde_json::from_str(&body).expect("a problem");
        assert_eq!((got, body["code"].as_str()), (status, Some(code)), "{path}");
    }
    let (status, _) = world
        .send(Method::GET, "/api/v1/status", "secret-2", None)
        .await;
    assert_eq!(status, 200, "a viewer may look");
    let (status, body) = world
        .send(
            Method::POST,
            "/api/v1/a-groups",
            "secret-2",
            Some(json!({"name": "g"})),
        )
        .await;
    assert_eq!(
        (status, body.contains("token `eye` may only look")),
        (403, true),
        "{body}"
    );
    let (status, _) = world
        .send(Method::POST, "/api/v1/devices/dev-1/info", "secret-2", None)
        .await;
    assert_eq!(status, 200, "asking a device changes nothing");
}

#[tokio::test]
async fn probes_metrics_version_and_page_need_no_token() {
    let world = World::empty().await;
    for (path, start) in [
        ("/livez", "ok"),
        ("/readyz", "ready"),
        ("/readyz?verbose", "[+] claim ok\n[+] quorum ok\nready"),
        ("/version", "{\"api\":\"v1\""),
        ("/", "<!doctype html>"),
    ] {
        let (status, body) = world.send(Method::GET, path, "", None).await;
        assert_eq!(
            (status, body.starts_with(start)),
            (200, true),
            "{path}: {body}"
        );
    }
    let (_, text) = world.send(Method::GET, "/metrics", "", None).await;
    assert!(text.contains("tandem_ops_api_requests_total"), "{text}");
    world.fake.no_quorum.store(true, Ordering::Relaxed);
    let (status, body) = world.send(Method::GET, "/readyz", "", None).await;
    assert_eq!(
        (status, body.as_str()),
        (503, "quorum: no leader for 3 s\n")
    );
}

#[tokio::test]
async fn metrics_show_what_the_state_holds() {
    let world = World::sample().await;
    world.fake.call(1, "13812341234");
    let (_, text) = world.send(Method::GET, "/metrics", "", None).await;
    for line in [
        "tandem_state_calls{stage=\"setup\"} 1",
        "tandem_state_bindings{state=\"binding\"} 1",
        "tandem_state_pool_numbers{kind=\"x\",pool=\"huawei-sim\"} 100",
        "tandem_state_pool_numbers_free{kind=\"x\",pool=\"huawei-sim\"} 100",
        "tandem_state_pool_numbers_free{kind=\"a\",pool=\"ga\"} 199",
        "tandem_state_gateway_calls{kind=\"mapping\",gateway=\"customer\"} 1",
        "tandem_state_gateway_capacity{kind=\"routing\",gateway=\"plain\"} 100000",
        "tandem_state_balance{type=\"settlement\"} 2000000",
        "tandem_state_devices{held=\"yes\"} 2",
    ] {
        assert!(
            text.lines().any(|written| written == line),
            "{line}: {text}"
        );
    }
    assert_eq!(crate::metrics::faults(&text), Vec::<String>::new());
}

#[tokio::test]
async fn rows_are_made_shown_changed_and_removed() {
    let world = World::sample().await;
    let row = json!({"interface": "huawei-sim", "number": "17100000000", "callers": ["0571*"]});
    let (status, made) = world.ask(Method::POST, "/x-numbers", row).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(made["line_limit"], 1);
    assert_eq!(made["interface_id"], 1);
    assert_eq!(made["state"], "active");
    assert_eq!(made["concurrency"], 0);
    assert_eq!(made["created_at"], "2025-11-21T22:00:00.000Z");
    // What was read may be sent back whole.
    let mut whole = world.get("/x-numbers/17100000000").await;
    assert_eq!(whole, made);
    whole["line_limit"] = json!(3);
    let (status, replaced) = world
        .ask(Method::PUT, "/x-numbers/17100000000", whole.clone())
        .await;
    assert_eq!(
        (status, &replaced["line_limit"], &replaced["version"]),
        (200, &json!(3), &json!(2))
    );
    let (status, code, detail) = world
        .refusal(Method::PUT, "/x-numbers/17100000000", whole)
        .await;
    let said = "X number `17100000000` has been changed, its version is 2 now";
    assert_eq!(
        (status, code.as_str(), detail.as_str()),
        (409, "version_conflict", said)
    );
    let patch = json!({"state": "disabled", "callers": null});
    let (_, patched) = world
        .ask(Method::PATCH, "/x-numbers/17100000000", patch)
        .await;
    assert_eq!(
        (
            &patched["state"],
            &patched["callers"],
            &patched["line_limit"]
        ),
        (&json!("disabled"), &json!([]), &json!(3))
    );
    let id = patched["id"].as_u64().expect("an id");
    let (status, _) = world
        .ask(
            Method::DELETE,
            &format!("/x-numbers/{id}?version=3"),
            Value::Null,
        )
        .await;
    assert_eq!(status, 204);
    let (status, code, _) = world
        .refusal(Method::GET, "/x-numbers/17100000000", Value::Null)
        .await;
    assert_eq!((status, code.as_str()), (404, "not_found"));
}

#[tokio::test]
async fn references_are_written_by_name_or_id() {
    let world = World::sample().await;
    let (_, other) = world
        .ask(Method::POST, "/a-groups", json!({"name": "gb"}))
        .await;
    let row = json!({"group_id": other["id"], "number": "0219"});
    let (status, made) = world.ask(Method::POST, "/a-numbers", row).await;
    assert_eq!((status, &made["group"]), (201, &json!("gb")), "{made}");
    // Two-part names are paths.
    assert_eq!(world.get("/a-numbers/gb/0219").await["id"], made["id"]);
    let (_, moved) = world
        .ask(Method::PATCH, "/a-numbers/gb/0219", json!({"group_id": 1}))
        .await;
    assert_eq!(
        moved["group"], "ga",
        "an id that is written alone counts: {moved}"
    );
    for (body, said) in [
        (
            json!({"group": "gx", "number": "1"}),
            "`group`: no A group `gx`",
        ),
        (
            json!({"group_id": 99, "number": "1"}),
            "`group_id`: no A group with id 99",
        ),
    ] {
        let (status, code, detail) = world.refusal(Method::POST, "/a-numbers", body).await;
        assert_eq!(
            (status, code.as_str(), detail.as_str()),
            (422, "invalid", said)
        );
    }
}

#[tokio::test]
async fn mistakes_name_the_field() {
    let world = World::sample().await;
    for (path, body, status, field, said) in [
        (
            "/a-groups",
            json!({"name": "g", "colour": 1}),
            422,
            "colour",
            "`colour`: no such field",
        ),
        ("/a-groups", json!({}), 422, "name", "`name`: is missing"),
        (
            "/a-groups",
            json!({"name": "g", "version": 3}),
            422,
            "version",
            "`version`: a new row has none",
        ),
        (
            "/a-numbers",
            json!({"group": "ga", "number": "1", "line_limit": "many"}),
            422,
            "line_limit",
            "`line_limit`: invalid type: string \"many\", expected u32",
        ),
        (
            "/fee-rates",
            json!({"group": "g", "fee": 0.1, "period": 60}),
            422,
            "fee",
            "`fee`: invalid type: floating point `0.1`, expected an amount as a decimal string such as \"0.10\"",
        ),
        (
            "/mapping-gateways",
            json!({"name": "m", "account": "c1", "remote_ips": ["10.0.0.0/40"]}),
            422,
            "remote_ips",
            "`remote_ips`: `10.0.0.0/40` is neither an address nor a network",
        ),
    ] {
        let (got, problem) = world.ask(Method::POST, path, body).await;
        assert_eq!(
            (got, &problem["field"], &problem["detail"]),
            (status, &json!(field), &json!(said)),
            "{problem}"
        );
    }
    let (_, code, detail) = world
        .refusal(Method::DELETE, "/interfaces/huawei-sim", Value::Null)
        .await;
    assert_eq!(
        (
            code.as_str(),
            detail.starts_with("interface `huawei-sim` is used by")
        ),
        ("in_use", true),
        "{detail}"
    );
    let (status, code, _) = world.refusal(Method::POST, "/status", Value::Null).await;
    assert_eq!((status, code.as_str()), (405, "method_not_allowed"));
    let (status, text) = world
        .send(
            Method::POST,
            "/api/v1/a-groups",
            "secret-1",
            Some(json!("x".repeat(BODY_MAX))),
        )
        .await;
    assert_eq!((status, text.contains("too_large")), (413, true), "{text}");
}

#[tokio::test]
async fn secrets_are_masked_and_a_written_mask_keeps_them() {
    let world = World::sample().await;
    let shown = world.get("/interfaces/huawei-sim").await;
    assert_eq!(shown["params"]["app_secret"], "***");
    assert_eq!(shown["type"], "huawei");
    assert_eq!(shown["x_count"], 100);
    let secret = |world: &World| {
        let state = world.fake.state();
        state
            .interface(1)
            .map(|row| row.entity.params["app_secret"].clone())
    };
    let before = secret(&world);
    let (status, _) = world
        .ask(Method::PUT, "/interfaces/huawei-sim", shown)
        .await;
    assert_eq!((status, secret(&world)), (200, before.clone()));
    let (_, _) = world
        .ask(
            Method::PATCH,
            "/interfaces/huawei-sim",
            json!({"unbind_delay_secs": 0}),
        )
        .await;
    assert_eq!(secret(&world), before);
    let change = json!({"params": {"app_secret": "new"}});
    let (_, shown) = world
        .ask(Method::PATCH, "/interfaces/huawei-sim", change)
        .await;
    assert_eq!(
        (&shown["params"]["app_secret"], secret(&world).as_deref()),
        (&json!("***"), Some("new"))
    );
    assert!(
        shown["params"]["app_key"].is_string(),
        "parts that are not named stay"
    );
    let audit = world.get("/audit?limit=1000").await.to_string();
    assert!(
        !audit.contains("sample-app-secret") && !audit.contains("\"new\""),
        "the audit shows no secret"
    );
    let body = json!({"name": "i2", "type": "huawei", "params": {"app_secret": "***"}});
    let (status, _, detail) = world.refusal(Method::POST, "/interfaces", body).await;
    assert_eq!(
        (status, detail.as_str()),
        (
            422,
            "`params.app_secret`: `***` keeps a secret, and there is none"
        )
    );
}

#[tokio::test]
async fn lists_are_paged_and_filtered() {
    let world = World::sample().await;
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = world.get(&format!("/a-numbers?limit=70{cursor}")).await;
        let items = page["items"].as_array().expect("items");
        assert!(items.len() <= 70);
        seen.extend(
            items
                .iter()
                .map(|row| row["number"].as_str().expect("a number").to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(
        (seen.len(), seen.first(), seen.last()),
        (
            200,
            Some(&"02100000000".into()),
            Some(&"02100000199".into())
        )
    );
    for (query, count) in [
        ("/x-numbers?number=1700000001*", 10),
        ("/x-numbers?number=17000000010&interface=huawei-sim", 1),
        ("/x-numbers?number=17000000010&line_limit=19", 0),
        ("/routing-gateways?prefixes=9", 1),
        ("/accounts?type=settlement&limit=1000", 2),
        ("/interfaces?last_error=", 1),
    ] {
        assert_eq!(
            world.get(query).await["items"].as_array().map(Vec::len),
            Some(count),
            "{query}"
        );
    }
    for (query, said) in [
        ("/x-numbers?limit=0", "`limit`: 0 is not within 1 and 1000"),
        (
            "/x-numbers?limit=many",
            "`limit`: invalid digit found in string",
        ),
        ("/x-numbers?cursor=7", "`cursor`: `7` is none of ours"),
        ("/x-numbers?colour=red", "no field `colour` to filter by"),
        ("/cdrs?colour=red", "no query parameter `colour`"),
        ("/cdrs?since=yesterday", "`since`: "),
    ] {
        let (status, code, detail) = world.refusal(Method::GET, query, Value::Null).await;
        assert_eq!(
            (status, code.as_str(), detail.starts_with(said)),
            (400, "bad_request", true),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn a_repeated_change_is_made_once() {
    let world = World::sample().await;
    let pay = |key: &'static str| {
        let http = reqwest::Client::new();
        let url = format!("{}/api/v1/payments", world.url());
        async move {
            let body = json!({"account": "c1", "amount": "0.5", "memo": "test"}).to_string();
            let request = http
                .post(url)
                .bearer_auth("secret-1")
                .header("Idempotency-Key", key)
                .body(body);
            let text = request
                .send()
                .await
                .expect("an answer")
                .text()
                .await
                .expect("a body");
            serde_json::from_str::<Value>(&text).expect("JSON")["balance"].clone()
        }
    };
    assert_eq!(pay("k1").await, "1000000.5");
    assert_eq!(pay("k1").await, "1000000.5");
    assert_eq!(pay("k2").await, "1000001");
    let shown = world.get("/accounts/c1").await;
    assert_eq!(
        (&shown["money"], &shown["available"]),
        (&json!("1000001"), &json!("1000001"))
    );
    // An edit never moves money, whatever balance it names.
    let (status, _) = world
        .ask(
            Method::PATCH,
            "/accounts/c1",
            json!({"money": "5", "name": "n"}),
        )
        .await;
    assert_eq!(
        (status, &world.get("/accounts/c1").await["money"]),
        (200, &json!("1000001"))
    );
    let paid = world.get("/payments?account=c1").await;
    assert_eq!(paid["items"].as_array().map(Vec::len), Some(3), "{paid}");
    let (status, _, detail) = world
        .refusal(
            Method::POST,
            "/payments",
            json!({"account": "c9", "amount": "1"}),
        )
        .await;
    assert_eq!(
        (status, detail.as_str()),
        (422, "`account`: no account `c9`")
    );
}

#[tokio::test]
async fn calls_and_bindings_are_shown_and_acted_on() {
    let world = World::sample().await;
    let call = world.fake.call(1, "13812341234");
    let shown = world.get(&format!("/calls/{call}")).await;
    for (field, value) in [
        ("state", json!("setup")),
        ("node", json!("dev-1")),
        ("callee", json!("13812341234")),
        ("mapping_gateway", json!("customer")),
        ("routing_gateway", json!("platform")),
        ("account", json!("c1")),
        ("interface_name", json!("huawei-sim")),
        ("started_at", json!("2025-11-21T22:00:00.000Z")),
    ] {
        assert_eq!(shown[field], value, "{field}: {shown}");
    }
    let (a, x) = (
        shown["a_number"].as_str().expect("an A"),
        shown["x_number"].as_str().expect("an X"),
    );
    assert_eq!(
        world.get(&format!("/x-numbers/{x}")).await["concurrency"],
        1
    );
    assert_eq!(
        world.get(&format!("/a-numbers/ga/{a}")).await["concurrency"],
        1
    );
    assert_eq!(world.get("/mapping-gateways/customer").await["calls"], 1);
    let bindings = world.get(&format!("/bindings?x_number={x}")).await;
    let binding = &bindings["items"][0];
    assert_eq!(
        (
            &binding["a_group"],
            &binding["state"],
            &binding["owner_node"]
        ),
        (&json!("ga"), &json!("binding"), &json!("dev-1"))
    );
    assert_eq!(binding["related_data"]["call_id"], call.to_string());
    let id = &binding["id"];
    let (status, _) = world
        .ask(Method::POST, &format!("/calls/{call}/hangup"), Value::Null)
        .await;
    assert_eq!(
        (status, world.fake.hung_up.lock().expect("free").clone()),
        (202, vec![call])
    );
    let (status, body) = world
        .ask(
            Method::POST,
            &format!("/bindings/{id}/force-unbind"),
            Value::Null,
        )
        .await;
    assert_eq!(status, 200, "{body}");
    let (status, _, detail) = world
        .refusal(Method::POST, &format!("/bindings/{id}/unbind"), Value::Null)
        .await;
    assert_eq!((status, detail), (404, format!("no binding `{id}`")));
    let audit = world.get("/audit?action=force_unbind").await;
    assert_eq!(
        (&audit["items"][0]["actor"], &audit["items"][0]["target"]),
        (&json!("root"), &json!(format!("bindings/{id}")))
    );
    for path in ["/calls/1/hangup", "/calls/x/hangup", "/bindings/x/unbind"] {
        let (status, code, _) = world.refusal(Method::POST, path, Value::Null).await;
        assert_eq!((status, code.as_str()), (404, "not_found"), "{path}");
    }
}

#[tokio::test]
async fn the_cluster_and_its_devices_are_shown_even_when_one_is_down() {
    let world = World::sample().await;
    let cluster = world.get("/cluster").await;
    assert_eq!(
        (&cluster["leader"], &cluster["term"]),
        (&json!("dev-1"), &json!(4))
    );
    let nodes = cluster["nodes"].as_array().expect("nodes");
    assert_eq!(nodes.len(), 2);
    assert_eq!(
        (&nodes[0]["alive"], &nodes[0]["role"], &nodes[0]["calls"]),
        (&json!(true), &json!("leader"), &json!(0))
    );
    assert_eq!(
        (&nodes[1]["alive"], &nodes[1]["applied"]),
        (&json!(false), &Value::Null)
    );
    let status = world.get("/status").await;
    for field in [
        "calls",
        "answered_calls",
        "bindings",
        "x_in_use",
        "a_in_use",
        "timers",
        "outbox",
    ] {
        assert_eq!(status[field], 0, "{field}");
    }
    assert_eq!(
        (&status["reserved"], &status["state_hash"]),
        (&json!("0"), &nodes[0]["state_hash"])
    );
    assert_eq!(world.get("/status?node=dev-1").await["name"], "dev-1");
    let sync = world
        .ask(Method::POST, "/devices/dev-1/sync", Value::Null)
        .await
        .1;
    assert_eq!(sync["equal"], true);
    let table = sync["tables"]
        .as_array()
        .and_then(|tables| tables.iter().find(|table| table["table"] == "a-numbers"));
    assert_eq!(table.map(|table| &table["rows"]), Some(&json!(200)));
    for (path, status, said) in [
        ("/devices/dev-2/info", 503, "device `dev-2` does not answer"),
        ("/devices/dev-9/info", 404, "no device `dev-9`"),
        ("/devices/dev-2/sync", 503, "device `dev-2` does not answer"),
    ] {
        let (got, _, detail) = world.refusal(Method::POST, path, Value::Null).await;
        assert_eq!((got, detail.as_str()), (status, said), "{path}");
    }
    let (_, device) = world
        .ask(Method::PATCH, "/devices/dev-2", json!({"label": "机房二"}))
        .await;
    assert_eq!(device["label"], "机房二");
    let (_, device) = world
        .ask(Method::POST, "/cluster/drain", json!({"node": "dev-1"}))
        .await;
    assert_eq!(device["draining"], true);
    let (_, device) = world
        .ask(Method::POST, "/cluster/undrain", json!({"node": "dev-1"}))
        .await;
    assert_eq!(device["draining"], false);
    let (_, snapshots) = world
        .ask(Method::POST, "/cluster/snapshot", json!({}))
        .await;
    assert!(snapshots["nodes"][0]["snapshot"].is_u64(), "{snapshots}");
    assert_eq!(
        snapshots["nodes"][1]["error"],
        "device `dev-2` does not answer"
    );
    let (status, _, detail) = world
        .refusal(
            Method::POST,
            "/cluster/transfer-leader",
            json!({"node": "dev-2"}),
        )
        .await;
    assert_eq!(
        (status, detail.as_str()),
        (409, "device `dev-1`: raft node 2 is behind")
    );
}

#[tokio::test]
async fn members_are_added_step_by_step_and_removed() {
    let world = World::sample().await;
    let node = json!({"node": 4, "address": "10.0.0.4:5070", "replaces": "dev-2"});
    let (status, step) = world.ask(Method::POST, "/cluster/add", node.clone()).await;
    assert_eq!(
        (status, &step["voter"], &step["holds"], &step["of"]),
        (202, &json!(false), &json!(20), &json!(700))
    );
    let (status, step) = world.ask(Method::POST, "/cluster/add", node).await;
    assert_eq!((status, &step["voter"]), (200, &json!(true)));
    let removal = json!({"node": "dev-2", "force": true});
    let (status, _) = world.ask(Method::POST, "/cluster/remove", removal).await;
    assert_eq!(status, 200);
    let moved = json!({"node": "dev-1", "address": "10.0.0.9:5070"});
    let (status, answer) = world
        .ask(Method::POST, "/cluster/move", moved.clone())
        .await;
    assert_eq!(
        (status, &answer["node"], &answer["address"]),
        (200, &json!(1), &moved["address"])
    );
    let audit = world.get("/audit?target=cluster/*").await;
    let lines = audit["items"].as_array().expect("lines");
    let last: Vec<_> = lines
        .iter()
        .map(|line| (line["action"].clone(), line["target"].clone()))
        .collect();
    assert_eq!(
        last,
        [
            (json!("add"), json!("cluster/4 at 10.0.0.4:5070")),
            (json!("vote"), json!("cluster/4 replaces 2")),
            (json!("remove"), json!("cluster/2")),
            (json!("move"), json!("cluster/1 to 10.0.0.9:5070")),
        ]
    );
    for (path, body, status, said) in [
        (
            "/cluster/add",
            json!({"node": 3, "address": "10.0.0.3:5070"}),
            409,
            "node 3 was a member once",
        ),
        (
            "/cluster/add",
            json!({"node": 4, "address": "10.0.0.4:5070", "replaces": "dev-9"}),
            404,
            "no device `dev-9`",
        ),
        (
            "/cluster/remove",
            json!({"node": "dev-2"}),
            409,
            "no quorum without node 2",
        ),
        ("/cluster/remove", json!({"node": "7"}), 404, "no member 7"),
        (
            "/cluster/move",
            json!({"node": "7", "address": "10.0.0.9:5070"}),
            404,
            "no member 7",
        ),
    ] {
        let (got, _, detail) = world.refusal(Method::POST, path, body).await;
        assert_eq!((got, detail.as_str()), (status, said), "{path}");
    }
    world.fake.call(1, "13800000001");
    let members = world.get("/cluster").await["members"].clone();
    assert_eq!(
        (&members[1]["name"], &members[1]["address"]),
        (&json!("dev-2"), &json!("127.0.0.1:15270"))
    );
    let (status, _, detail) = world
        .refusal(Method::POST, "/cluster/remove", json!({"node": "1"}))
        .await;
    assert_eq!(
        (status, detail.as_str()),
        (
            409,
            "device `dev-1` carries 1 calls: drain it and wait until they are over, or remove it by force"
        )
    );
}

#[tokio::test]
async fn without_a_quorum_edits_are_refused_and_reads_go_on() {
    let world = World::sample().await;
    world.fake.no_quorum.store(true, Ordering::Relaxed);
    let (status, code, _) = world
        .refusal(Method::POST, "/a-groups", json!({"name": "g"}))
        .await;
    assert_eq!((status, code.as_str()), (503, "unavailable"));
    assert_eq!(world.get("/a-groups/ga").await["member_count"], 200);
}

#[tokio::test]
async fn a_node_that_cannot_know_the_latest_says_so() {
    let world = World::sample().await;
    let stale = async |path: &str| {
        let answer = world.answer(Method::GET, path, "secret-1", None).await;
        answer.headers().contains_key("tandem-stale")
    };
    for cut_off in [false, true] {
        world.fake.no_quorum.store(cut_off, Ordering::Relaxed);
        for path in ["/a-groups/ga", "/bindings", "/accounts/nobody"] {
            assert_eq!(stale(&format!("/api/v1{path}")).await, cut_off, "{path}");
        }
        assert!(!stale("/api/v1/status").await, "its own counters");
    }
}

#[tokio::test]
async fn exports_hold_every_record_once_and_in_order() {
    let world = World::empty().await;
    world.fake.records(2_345).await;
    let (_, lines) = world
        .send(Method::GET, "/api/v1/axb-cdrs/export", "secret-1", None)
        .await;
    let numbers: Vec<String> = lines
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("JSON")["flow_no"]
                .as_str()
                .expect("text")
                .to_owned()
        })
        .collect();
    assert_eq!(
        numbers,
        (1..=2_345)
            .map(|number: u64| number.to_string())
            .collect::<Vec<_>>()
    );
    let path =
        "/api/v1/cdrs/export?format=csv&since=2025-11-21T22:00:02Z&until=2025-11-21T22:00:04Z";
    let (_, text) = world.send(Method::GET, path, "secret-1", None).await;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().expect("a header").clone();
    let place = |name: &str| {
        header
            .iter()
            .position(|column| column == name)
            .expect("the column")
    };
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("CSV")).collect();
    let cells = |name: &str| {
        rows.iter()
            .map(|row| row[place(name)].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(cells("flow_no"), ["2", "3"]);
    assert_eq!(
        cells("started_at"),
        ["2025-11-21T22:00:02.000Z", "2025-11-21T22:00:03.000Z"]
    );
    let page = world
        .get("/cdrs?limit=2&newest_first=true&x=17000000001")
        .await;
    assert_eq!(
        (&page["items"][0]["flow_no"], &page["items"][1]["fee"]),
        (&json!("2345"), &json!("0"))
    );
    let next = page["next_cursor"].as_str().expect("more");
    assert_eq!(
        world
            .get(&format!("/cdrs?limit=2&newest_first=true&cursor={next}"))
            .await["items"][0]["flow_no"],
        "2343"
    );
    let report = "/reports/axb-settlement?since=2025-11-01&until=2025-12-01&period=month";
    assert_eq!(world.get(report).await["items"][0]["count"], 2_345);
    let (status, _) = world
        .send(
            Method::GET,
            "/api/v1/cdrs/export?format=xml",
            "secret-1",
            None,
        )
        .await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_seed_file_may_be_posted_again() {
    let world = World::sample().await;
    let (status, text) = {
        let http = reqwest::Client::new();
        let request = http
            .post(format!("{}/api/v1/seed", world.url()))
            .bearer_auth("secret-1");
        let response = request
            .body(seed::sample(15_000))
            .send()
            .await
            .expect("an answer");
        (
            response.status().as_u16(),
            response.text().await.expect("a body"),
        )
    };
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (status, report),
        (
            200,
            json!({"made": 0, "changed": 0, "equal": 311, "failed": []})
        )
    );
}

#[tokio::test]
async fn an_occupied_port_is_named() {
    let world = World::empty().await;
    let listen = world.api.address();
    let metrics = crate::metrics::install().expect("a recorder");
    let config = Config {
        listen,
        tokens: Vec::new(),
        workers: 1,
        public_url: None,
    };
    let error = start(config, world.fake.clone(), metrics)
        .err()
        .expect("occupied");
    assert_eq!(
        error.to_string(),
        format!("admin API cannot listen on {listen}")
    );
    world.api.stop().await;
    assert!(
        std::net::TcpListener::bind(listen).is_ok(),
        "a stopped server gives its port back"
    );
}

#[tokio::test]
async fn the_document_names_every_path_and_every_path_answers() {
    let world = World::sample().await;
    let document = world.get("/openapi.json").await;
    let paths = document["paths"].as_object().expect("paths");
    // Every route that is written down, the tables' placeholder by hand.
    let source = include_str!("../mod.rs");
    let routes = source
        .split("path(\"/")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    let open = ["livez", "readyz", "metrics", "version", ""];
    let mut routed = 0;
    for route in routes.filter(|route| !open.contains(route) && !route.starts_with("{table}")) {
        // A name may hold a slash; the document does not say so.
        let route = route.replace("{key:.+}", "{name}");
        assert!(
            paths.contains_key(&format!("/api/v1/{route}")),
            "no document of `{route}`"
        );
        routed += 1;
    }
    assert!(routed > 20);
    for (path, methods) in paths {
        let path = path.replace("{name}", "1").replace("{id}", "1");
        for method in methods.as_object().expect("methods").keys() {
            let method: Method = method.to_uppercase().parse().expect("a method");
            let (status, body) = world
                .send(method.clone(), &path, "secret-1", Some(json!({})))
                .await;
            let known =
                status != 405 && !body.contains("no path") && !body.contains("no collection");
            assert!(known, "{method} {path}: {status} {body}");
        }
    }
    let schemas = document["components"]["schemas"]
        .as_object()
        .expect("schemas");
    for name in document
        .to_string()
        .split("#/components/schemas/")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
    {
        assert!(
            schemas.contains_key(name),
            "schema `{name}` is referred to and not there"
        );
    }
}
