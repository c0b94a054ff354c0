//! Types of interfaces; what is refused of rows and what is only doubtful.

use super::*;
use crate::fake::FakeTypes;
use crate::types::Types;

#[tokio::test]
async fn types_are_listed_and_shown_by_name_and_number() {
    let world = World::empty().await;
    let listed = world.get("/interface-types").await;
    assert_eq!(listed["items"], json!(FakeTypes.all()));
    for name in ["huawei", "1"] {
        let shown = world.get(&format!("/interface-types/{name}")).await;
        assert_eq!(shown, listed["items"][0], "{name}");
    }
    let huawei = &listed["items"][0];
    assert_eq!(
        huawei["params"][2]["form"],
        json!({"kind": "number", "min": 0, "max": 7_776_000,
            "warn_below": {"least": 7200, "why": "long calls outlive it"}})
    );
    assert_eq!(huawei["policy"]["conflict"], "x_callee");
    let refused = world
        .refusal(Method::GET, "/interface-types/none", Value::Null)
        .await;
    assert_eq!(
        refused,
        (
            404,
            "not_found".to_owned(),
            "no interface type `none`".to_owned()
        )
    );
}

#[tokio::test]
async fn an_interface_that_cannot_work_is_refused_however_it_is_written() {
    let world = World::sample().await;
    let before = world.fake.state().hash();
    let row = |kind: &str, params: Value| json!({"name": "hz", "type": kind, "params": params});
    let change = |params: Value| json!({"params": params});
    let sample = "/interfaces/huawei-sim";
    let colour = "`params.colour`: is no parameter of huawei";
    for (method, path, body, field, said) in [
        (
            Method::POST,
            "/interfaces",
            row("hauwei", json!({})),
            "type",
            "`type`: `hauwei` is no type",
        ),
        (
            Method::POST,
            "/interfaces",
            row("huawei", json!({"app_sekret": "hush"})),
            "params.app_sekret",
            "`params.app_sekret`: is no parameter of huawei",
        ),
        (
            Method::PATCH,
            sample,
            change(json!({"colour": "hush"})),
            "params.colour",
            colour,
        ),
        (
            Method::PUT,
            sample,
            row("huawei", json!({"colour": "hush"})),
            "params.colour",
            colour,
        ),
    ] {
        let (status, problem) = world.ask(method, path, body).await;
        assert_eq!(
            (status, &problem["field"], &problem["detail"]),
            (422, &json!(field), &json!(said)),
            "{problem}"
        );
    }
    let file = "[[interfaces]]\nname = 'hz'\ntype = 'huawei'\nparams = { colour = 'hush' }\n";
    let report = seed::apply(&*world.fake, "test", &seed::parse(file).expect("readable")).await;
    assert_eq!(report.failed, [format!("interface `hz`: {colour}")]);
    assert_eq!(world.fake.state().hash(), before, "nothing has changed");
}

#[tokio::test]
async fn a_short_expiration_is_taken_and_told() {
    let world = World::sample().await;
    let short = "`params.expiration` \"600\" is below 7200: long calls outlive it";
    assert_eq!(
        world.get("/interfaces/huawei-sim").await["warnings"],
        json!([])
    );
    let change = json!({"params": {"expiration": 600}});
    let (status, shown) = world
        .ask(Method::PATCH, "/interfaces/huawei-sim", change)
        .await;
    assert_eq!((status, &shown["warnings"]), (200, &json!([short])));
    let found = world.get("/interfaces?warnings=*expiration*").await;
    assert_eq!(
        found["items"],
        json!([]),
        "conditions look at the beginning"
    );
    let listed = world
        .get("/interfaces?warnings=%60params.expiration*")
        .await;
    assert_eq!(listed["items"][0]["warnings"], json!([short]));
    // What was read may be sent back: warnings are not stored.
    let (status, _) = world
        .ask(Method::PUT, "/interfaces/huawei-sim", shown)
        .await;
    assert_eq!(status, 200);
    let file = "[[interfaces]]\nname = 'hz'\ntype = 'huawei'\nparams = { expiration = 600 }\n";
    let report = seed::apply(&*world.fake, "test", &seed::parse(file).expect("readable")).await;
    assert_eq!(
        (report.made, report.warnings),
        (1, vec![format!("interface `hz`: {short}")])
    );
}

#[tokio::test]
async fn an_x_that_serves_less_than_it_seems_is_told() {
    let world = World::sample().await;
    let (status, made) = world
        .ask(
            Method::POST,
            "/interfaces",
            json!({"name": "alone", "type": "lone"}),
        )
        .await;
    assert_eq!(status, 201, "{made}");
    let nobody =
        "`callers` is empty and `allow_other_callers` is off: this X can be used by nobody";
    let nowhere = "`callers` names no region that any number is known to belong to (@300): ";
    let lone = "`line_limit` is 2, and a platform of type `lone` carries one binding per X: one is all it will get";
    for (interface, fields, warnings) in [
        ("huawei-sim", json!({}), vec![]),
        ("huawei-sim", json!({"line_limit": 2}), vec![]),
        (
            "huawei-sim",
            json!({"allow_other_callers": false}),
            vec![nobody.to_owned()],
        ),
        (
            "huawei-sim",
            json!({"allow_other_callers": false, "callers": ["05718512345"]}),
            vec![],
        ),
        (
            "huawei-sim",
            json!({"allow_other_callers": false, "callers": ["@300"]}),
            vec![format!("{nowhere}this X can be used by nobody")],
        ),
        (
            "huawei-sim",
            json!({"callers": ["@300"]}),
            vec![format!("{nowhere}it serves other callers only")],
        ),
        ("huawei-sim", json!({"callers": ["@300", "@571"]}), vec![]),
        ("huawei-sim", json!({"callers": ["@300", "0571*"]}), vec![]),
        ("alone", json!({"line_limit": 1}), vec![]),
        ("alone", json!({"line_limit": 2}), vec![lone.to_owned()]),
    ] {
        let mut row = json!({"interface": interface, "number": "17100000000"});
        let (row, fields) = (row.as_object_mut().expect("a map"), fields);
        row.extend(fields.as_object().expect("a map").clone());
        let (status, shown) = world
            .ask(Method::POST, "/x-numbers", Value::Object(row.clone()))
            .await;
        assert_eq!(
            (status, &shown["warnings"]),
            (201, &json!(warnings)),
            "{shown}"
        );
        let listed = world.get("/x-numbers?number=17100000000").await;
        assert_eq!(listed["items"][0], shown);
        let (status, _) = world
            .ask(Method::DELETE, "/x-numbers/17100000000", Value::Null)
            .await;
        assert_eq!(status, 204);
    }
}

#[tokio::test]
async fn a_relation_on_an_x_of_nobody_is_for_incoming_calls_only() {
    let world = World::sample().await;
    for (x, warned) in [("17000000000", 0), ("19900000000", 1)] {
        let body = json!({"interface": "huawei-sim", "a_number": "02100000000", "x_number": x});
        let (status, made) = world.ask(Method::POST, "/ax-bindings", body).await;
        assert_eq!(status, 201, "{made}");
        let warnings = made["warnings"].as_array().expect("a list");
        assert_eq!(warnings.len(), warned, "{made}");
        assert!(
            warnings.iter().all(|text| text
                .as_str()
                .is_some_and(|text| text.contains("incoming calls only"))),
            "{made}"
        );
    }
}
