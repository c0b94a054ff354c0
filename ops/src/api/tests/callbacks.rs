//! What platforms call, as far as the open path decides it.
use super::*;
use crate::platform::{BODY_MAX, HEADERS_MAX};

async fn push(world: &World, path: &str, body: Vec<u8>) -> (u16, String) {
    let request = reqwest::Client::new().post(format!("{}{path}", world.url()));
    let response = request.body(body).send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.text().await.expect("a text"))
}

#[tokio::test]
async fn a_platforms_request_reaches_the_process_as_it_was_sent() {
    let world = World::sample().await;
    let path = "/callbacks/huawei%2Dsim/bills/s%2Fec%20ret+?a=1&b=%E4%BD%A0";
    let (status, body) = push(&world, path, b"{}".to_vec()).await;
    assert_eq!((status, &*body), (200, r#"{"resultCode":"0"}"#));
    let requests = world.fake.platform_requests.lock().expect("no panic");
    let request = &requests[0];
    assert_eq!(request.interface, "huawei-sim");
    assert_eq!((&*request.name, &*request.suffix), ("bills", "s/ec ret+"));
    assert_eq!(request.url, format!("{}{path}", world.url()));
    assert_eq!((&*request.method, &request.body[..]), ("POST", &b"{}"[..]));
    let host = request.headers.iter().find(|(name, _)| name == "host");
    assert_eq!(host.expect("sent").1, world.api.address().to_string());
}

#[tokio::test]
async fn what_is_out_of_bounds_is_refused_in_the_platforms_form_and_never_read() {
    let world = World::sample().await;
    let bills = "/callbacks/huawei-sim/bills";
    let refused = r#"{"resultCode":"1"}"#;
    let long = format!("{bills}?q={}", "x".repeat(9_000));
    for (path, bytes, want) in [
        (bills, BODY_MAX + 1, (413, refused)),
        (&*long, 2, (414, refused)),
        ("/callbacks/huawei-sim/nothing", 2, (404, "")),
        ("/callbacks/nobody/bills", 2, (404, "")),
    ] {
        let (status, body) = push(&world, path, vec![b'x'; bytes]).await;
        assert_eq!((status, &*body), want, "{path:.40} with {bytes} bytes");
    }
    let mut request = reqwest::Client::new().post(format!("{}{bills}", world.url()));
    for number in 0..=HEADERS_MAX {
        request = request.header(format!("x-{number}"), "1");
    }
    assert_eq!(request.send().await.expect("an answer").status(), 431);
    let read = |world: &World| {
        let requests = world.fake.platform_requests.lock().expect("no panic");
        requests.len()
    };
    assert_eq!(read(&world), 0);
    let (status, _) = push(&world, bills, vec![b'x'; BODY_MAX]).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn strangers_are_slowed_down_and_counted_without_their_names() {
    let world = World::sample().await;
    let http = reqwest::Client::new();
    let mut slowed = 0;
    for number in 0..130 {
        let url = format!("{}/callbacks/stranger-{number}/bills", world.url());
        let status = http.get(url).send().await.expect("an answer").status();
        slowed += u32::from(status == 429);
    }
    assert!(slowed >= 10, "{slowed} of 130");
    assert_eq!(
        push(&world, "/callbacks/huawei-sim/bills", vec![]).await.0,
        200
    );
    let (_, text) = world.send(Method::GET, "/metrics", "", None).await;
    assert!(!text.contains("stranger"), "a name from outside is a label");
    for line in [
        r#"tandem_platform_requests_total{interface="-",name="-",result="rate"}"#,
        r#"tandem_platform_requests_total{interface="huawei-sim",name="bills",result="stored"}"#,
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert_eq!(crate::metrics::faults(&text), Vec::<String>::new());
}
