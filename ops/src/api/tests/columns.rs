//! Every field of `DOMAIN.md` §3 that this version has is there under its name.

use super::*;

/// What every table has.
const ALL: &str = "id memo created_at updated_at version";

/// Entity, where a row of it is found, its fields.
const FIELDS: &[(&str, &str, &str)] = &[
    (
        "axb_interface",
        "/interfaces",
        "name type params urls unbind_delay_secs last_error last_error_at hold_missing timeout_ms \
         rate_per_s tls_verify ca_pem connect_timeout_ms proxy http_version x_count ax_binding_count",
    ),
    (
        "x_number",
        "/x-numbers",
        "interface number line_limit callers allow_other_callers param concurrency state",
    ),
    (
        "ax_binding",
        "/ax-bindings",
        "interface x_number a_number params bound_at expires_at last_error state",
    ),
    ("a_group", "/a-groups", "name member_count"),
    (
        "a_number",
        "/a-numbers",
        "group number line_limit concurrency",
    ),
    (
        "mapping_gateway",
        "/mapping-gateways",
        "name lock_type capacity remote_ips account callee_rules caller_rules caller_source callee_source \
         caller_prefixes callee_prefixes routing_gateways max_duration_secs x_select_mode allow_axb allow_ax",
    ),
    (
        "routing_gateway",
        "/routing-gateways",
        "name prefixes prefix_style protocol remote_ip signal_port capacity priority caller_rules callee_rules \
         clearing_account switch_on axb_enabled a_group interface axb_callee_rules axb_account axb_rate_on_submitted",
    ),
    (
        "account",
        "/accounts",
        "account name money limit_money fee_rate_group type lock_type valid_until",
    ),
    (
        "fee_rate",
        "/fee-rates",
        "group prefix area_code area_name level fee period locked sections",
    ),
];

#[tokio::test]
async fn rows_show_every_field_under_its_name_in_lists_and_alone() {
    let world = World::sample().await;
    let ax =
        json!({"interface": "huawei-sim", "a_number": "02100000000", "x_number": "17000000000"});
    let (status, made) = world.ask(Method::POST, "/ax-bindings", ax).await;
    assert_eq!(status, 201, "{made}");
    for (entity, path, fields) in FIELDS {
        let listed = world.get(path).await["items"][0].clone();
        let alone = world.get(&format!("{path}/{}", listed["id"])).await;
        assert_eq!(listed, alone, "{entity}");
        for field in fields.split_whitespace().chain(ALL.split(' ')) {
            assert!(
                listed.get(field).is_some(),
                "{entity} has no `{field}`: {listed}"
            );
        }
    }
}

#[tokio::test]
async fn a_binding_shows_every_field_under_its_name() {
    let world = World::sample().await;
    let call = world.fake.call(1, "13812341234");
    let row = &world.get("/bindings").await["items"][0];
    for field in
        "id a_number x_number b_number b_submitted a_group interface_name created_at expires_at \
                  related_data owner_node state last_error"
            .split_whitespace()
    {
        assert!(row.get(field).is_some(), "no `{field}`: {row}");
    }
    for (field, value) in [
        ("b_number", json!("13812341234")),
        ("a_group", json!("ga")),
        ("interface_name", json!("huawei-sim")),
        ("owner_node", json!("dev-1")),
        ("state", json!("binding")),
    ] {
        assert_eq!(row[field], value, "{field}");
    }
    let related = row["related_data"].as_object().expect("a map");
    let keys: Vec<&str> = related.keys().map(String::as_str).collect();
    assert_eq!(
        (keys, &related["call_id"]),
        (vec!["call_id", "handle", "reply"], &json!(call.to_string()))
    );
}

#[tokio::test]
async fn live_columns_count_what_stands() {
    let world = World::sample().await;
    for x in 0..3 {
        let body = json!({"interface": "huawei-sim", "a_number": "02100000000", "x_number": format!("1700000000{x}")});
        let (status, made) = world.ask(Method::POST, "/ax-bindings", body).await;
        assert_eq!((status, &made["state"]), (201, &json!("unbound")), "{made}");
    }
    world.fake.call(1, "13812341234");
    let interface = world.get("/interfaces/huawei-sim").await;
    for (field, count) in [
        ("x_count", 100),
        ("ax_binding_count", 3),
        ("ax_bound_count", 0),
        ("bindings", 1),
    ] {
        assert_eq!(interface[field], count, "{field}");
    }
    assert_eq!(world.get("/a-groups/ga").await["member_count"], 200);
}
