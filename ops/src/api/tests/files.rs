//! Files uploaded and fetched.

use super::*;

const X: &str = "/x-numbers/import?format=csv&interface=huawei-sim";

fn report(body: &str) -> Value {
    let last = body.lines().last().expect("a line");
    let last: Value = serde_json::from_str(last).expect("JSON");
    last["report"].clone()
}

#[tokio::test]
async fn a_file_is_refused_whole_with_every_bad_row() {
    let world = World::sample().await;
    let before = world.fake.state().hash();
    let (status, body) = world
        .upload(X, "text/csv", "number,line_limit\n180,1\nx,1\n181,0\n")
        .await;
    let problem: Value = serde_json::from_str(&body).expect("a problem");
    assert_eq!((status, &problem["code"]), (422, &json!("invalid")));
    assert_eq!(
        problem["detail"],
        "2 of 3 rows are wrong; nothing was applied"
    );
    assert_eq!(
        problem["rows"],
        json!([
            {"line": 3, "field": "number", "text": "`x` is no number of 1 to 32 digits, `*`, `#`"},
            {"line": 4, "field": "line_limit", "text": "0 is not within 1 and 4294967295"},
        ])
    );
    assert_eq!(world.fake.state().hash(), before);
}

#[tokio::test]
async fn a_file_is_applied_and_its_progress_told() {
    let world = World::sample().await;
    let file = "number\n180\n181\n";
    let before = world.fake.state().hash();
    let (status, body) = world
        .upload(&format!("{X}&dry_run=true"), "text/csv", file)
        .await;
    let told = json!({"made": 2, "changed": 0, "equal": 0, "dry_run": true, "failed": null});
    assert_eq!((status, report(&body)), (200, told));
    assert_eq!(world.fake.state().hash(), before);
    let (status, body) = world.upload(X, "text/csv", file).await;
    let told = json!({"made": 2, "changed": 0, "equal": 0, "dry_run": false, "failed": null});
    assert_eq!((status, report(&body)), (200, told));
    assert_eq!(world.get("/x-numbers/180").await["interface"], "huawei-sim");
    let (status, body) = world
        .upload(
            "/a-numbers/import?update=true",
            "application/json",
            "[{\"number\":\"02100000000\",\"group\":\"ga\",\"line_limit\":3}]",
        )
        .await;
    assert_eq!((status, &report(&body)["changed"]), (200, &json!(1)));
    let lines = world.get("/audit?limit=1000").await;
    let last = lines["items"]
        .as_array()
        .and_then(|items| items.last())
        .expect("lines")
        .clone();
    assert_eq!(
        (&last["action"], &last["target"], &last["actor"]),
        (&json!("import"), &json!("a-numbers/1 rows"), &json!("root"))
    );
}

#[tokio::test]
async fn what_is_no_import_is_said() {
    let world = World::sample().await;
    for (path, media, body, status, said) in [
        (
            "/x-numbers/import?format=xls",
            "text/csv",
            "",
            400,
            "`format`: `xls` is none of csv, xlsx, json, jsonl",
        ),
        (
            "/x-numbers/import?colour=red",
            "text/csv",
            "",
            400,
            "no query parameter `colour`",
        ),
        (
            "/x-numbers/import?update=perhaps",
            "text/csv",
            "",
            400,
            "`update`: provided string was not `true` or `false`",
        ),
        (
            "/x-numbers/import",
            "image/png",
            "",
            400,
            "media type `image/png`; say the file's form with `format`",
        ),
        (
            "/x-numbers/import?interface=hz-9",
            "text/csv",
            "",
            422,
            "`interface`: no interface `hz-9`",
        ),
        (
            "/x-numbers/import",
            "text/csv",
            "",
            422,
            "the file is empty",
        ),
        (
            "/x-numbers/import",
            "text/csv",
            "nummer\n1\n",
            422,
            "no column `nummer`; there are number, interface,",
        ),
        (
            "/a-numbers/import?format=xlsx",
            "",
            "number\n1\n",
            422,
            "the workbook cannot be read: ",
        ),
        (
            "/a-numbers/import",
            "application/json",
            "{",
            422,
            "the rows are not a list of JSON objects: ",
        ),
        (
            "/regions/import",
            "application/octet-stream",
            "x",
            422,
            "the file is no phone.dat: it is too short",
        ),
        (
            "/regions/import?replace=true",
            "text/csv",
            "mobile_prefix,area_code\n",
            422,
            "`rows`: the file has none",
        ),
        (
            "/regions/import?format=json",
            "",
            "",
            400,
            "`format`: `json` is none of csv, xlsx, phone-dat",
        ),
    ] {
        let (got, body) = world.upload(path, media, body).await;
        let problem: Value = serde_json::from_str(&body).expect("a problem");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert_eq!(
            (got, detail.starts_with(said)),
            (status, true),
            "{path}: {body}"
        );
    }
    let (status, _) = world
        .send(Method::POST, &format!("/api/v1{X}"), "secret-2", None)
        .await;
    assert_eq!(status, 403, "a viewer may not import");
}

#[tokio::test]
async fn files_are_fetched_in_the_form_of_an_import() {
    let world = World::sample().await;
    let fetch = async |path: &str| {
        world
            .send(Method::GET, &format!("/api/v1{path}"), "secret-2", None)
            .await
    };
    let (status, body) = fetch("/x-numbers/export?number=1700000000*").await;
    assert_eq!((status, body.lines().count()), (200, 11));
    assert!(body.starts_with("number,interface,line_limit,callers,allow_other_callers,param,state,memo\n17000000000,huawei-sim,20,"), "{body}");
    let (_, body) = fetch("/a-numbers/export?labels=true").await;
    assert!(
        body.starts_with("电话号码,A 号码组,线路上限,备注\n02100000000,ga,1,"),
        "{body}"
    );
    for (path, status) in [
        ("/x-numbers/export?colour=red", 400),
        ("/x-numbers/export?format=pdf", 400),
        ("/x-numbers/export?format=xlsx", 200),
        ("/regions/export", 200),
    ] {
        assert_eq!(world.ask_raw(path).await, status, "{path}");
    }
}

#[tokio::test]
async fn regions_are_loaded_listed_and_looked_up() {
    let world = World::sample().await;
    let file = "手机号段,区号,地区\n1380571,0571,杭州\n1390571,0571,杭州\n1391000,010,北京\n";
    let (status, body) = world.upload("/regions/import", "text/csv", file).await;
    assert_eq!((status, &report(&body)["made"]), (200, &json!(3)), "{body}");
    let list = world.get("/regions?area_code=571&limit=1").await;
    assert_eq!(
        list["items"],
        json!([{"mobile_prefix": "1380571", "area_code": "571", "area_name": "杭州"}])
    );
    let next = list["next_cursor"].as_str().expect("more").to_owned();
    let list = world
        .get(&format!("/regions?area_code=571&cursor={next}"))
        .await;
    assert_eq!(list["items"][0]["mobile_prefix"], "1390571");
    let region = world.get("/regions/+8613910001234").await;
    assert_eq!(
        (&region["area_code"], &region["source"]),
        (&json!("10"), &json!("mobile"))
    );
    let region = world.get("/regions/057188888888").await;
    assert_eq!(
        (&region["area_code"], &region["source"]),
        (&json!("571"), &json!("fixed"))
    );
    let refusal = world
        .refusal(Method::GET, "/regions/13800000000", Value::Null)
        .await;
    assert_eq!(
        refusal,
        (
            404,
            "not_found".into(),
            "no region of number `13800000000`".into()
        )
    );
}
