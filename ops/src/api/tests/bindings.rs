//! The list of bindings: conditions and order.

use super::*;

/// Three calls to B 3, 1 and 2.
async fn three() -> World {
    let world = World::sample().await;
    for (call, b) in [(1, "13800000003"), (2, "13800000001"), (3, "13800000002")] {
        world.fake.call(call, b);
    }
    world
}

async fn column(world: &World, query: &str, field: &str) -> Vec<String> {
    let page = world.get(&format!("/bindings?{query}")).await;
    let items = page["items"].as_array().expect("items");
    let text = |row: &Value| row[field].as_str().expect("a text").to_owned();
    items.iter().map(text).collect()
}

#[tokio::test]
async fn bindings_are_found_by_x_a_interface_and_state() {
    let world = three().await;
    let first = world.get("/bindings").await["items"][0].clone();
    let text = |field: &str| first[field].as_str().expect("a text").to_owned();
    let (x, a) = (text("x_number"), text("a_number"));
    for query in [
        format!("x={x}&a={a}"),
        format!("x_number={x}&a_number={a}"),
        "b=13800000003".to_owned(),
        format!("a={a}&b_number=13800000003"),
    ] {
        assert_eq!(
            column(&world, &query, "b_number").await,
            ["13800000003"],
            "{query}"
        );
    }
    for (query, count) in [
        ("interface=huawei-sim", 3),
        ("interface_name=huawei-sim&state=binding", 3),
        ("interface=other", 0),
        ("state=bound", 0),
        ("node=dev-1&b=1380000000*", 3),
    ] {
        assert_eq!(
            column(&world, query, "b_number").await.len(),
            count,
            "{query}"
        );
    }
}

#[tokio::test]
async fn bindings_are_put_in_order_by_any_field_page_by_page() {
    let world = three().await;
    let (one, two, three) = ("13800000001", "13800000002", "13800000003");
    for (query, order) in [
        ("", [three, one, two]),
        ("sort=b", [one, two, three]),
        ("sort=-b_number", [three, two, one]),
        // Equal values stand as they were made.
        ("sort=interface", [three, one, two]),
        ("sort=-state", [two, one, three]),
        ("sort=-id", [two, one, three]),
    ] {
        assert_eq!(column(&world, query, "b_number").await, order, "{query}");
        // And by pages of one.
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = world
                .get(&format!("/bindings?{query}&limit=1{cursor}"))
                .await;
            seen.extend(page["items"][0]["b_number"].as_str().map(str::to_owned));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
            assert!(seen.len() < 4, "no end of pages");
        }
        assert_eq!(seen, order, "{query} by pages");
    }
    for field in ["x", "a", "interface", "state", "created_at"] {
        let order = column(&world, &format!("sort={field}"), "a_number").await;
        assert_eq!(order.len(), 3, "{field}");
    }
    let sorted = column(&world, "sort=x", "x_number").await;
    assert!(sorted.is_sorted(), "{sorted:?}");
    for (query, said) in [
        ("sort=colour", "no field `colour` to sort by"),
        ("sort=b&cursor=c1", "`cursor`: `c1` is none of ours"),
    ] {
        let path = format!("/bindings?{query}");
        let refused = world.refusal(Method::GET, &path, Value::Null).await;
        assert_eq!(refused, (400, "bad_request".to_owned(), said.to_owned()));
    }
}
