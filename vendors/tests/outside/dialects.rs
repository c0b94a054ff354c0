//! Another vendor than Huawei over real sockets: its faults, its place in the table of all vendors
//! and its calls. Plivo is asked, for it signs nothing.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tandem_vendors::sim::{self, Config, Credentials, Faults, Sim};

const SESSIONS: &str = "/v1/Account/k/Masking/Session/";

struct World {
    sim: Sim,
    http: reqwest::Client,
    phone: UdpSocket,
}

impl World {
    fn new() -> World {
        // A process has one; who installs it first does not matter.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
        phone
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let at = phone.local_addr().unwrap();
        let credentials = Credentials::new("k", "s");
        let mut config = Config::of(any, any, at, sim::vendors(), &credentials);
        let plivo = config.vendors.get_mut("plivo").unwrap();
        plivo.x_numbers = vec!["17000000000".into()];
        plivo.http = Some(any);
        World {
            sim: sim::spawn(&config).unwrap(),
            http: reqwest::Client::builder()
                .tls_certs_only([])
                .no_proxy()
                .timeout(Duration::from_secs(5))
                .build()
                .unwrap(),
            phone,
        }
    }

    async fn ask(&self, url: String, method: Method, body: Value) -> Option<(u16, Value)> {
        let request = self
            .http
            .request(method, url)
            .basic_auth("k", Some("s"))
            .header("content-type", "application/json")
            .body(if body.is_null() {
                String::new()
            } else {
                body.to_string()
            });
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let text = response.text().await.ok()?;
        Some((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    async fn bind(&self) -> Option<(u16, Value)> {
        let url = format!("{}{SESSIONS}", self.sim.base_url("plivo"));
        let pair = json!({"first_party": "862100000000", "second_party": "8613900000001"});
        self.ask(url, Method::POST, pair).await
    }
}

#[tokio::test]
async fn a_binding_of_any_vendor_is_in_the_table_and_carries_calls() {
    let world = World::new();
    let (status, bound) = world.bind().await.unwrap();
    assert_eq!(status, 201);
    let url = format!("http://{}/_sim/bindings", world.sim.http_addr());
    let (_, table) = world.ask(url, Method::GET, Value::Null).await.unwrap();
    assert_eq!(table.as_array().unwrap().len(), 1);
    assert_eq!(table[0]["vendor"], "plivo");
    assert_eq!(table[0]["mode"], "axb");
    assert_eq!(table[0]["bind_id"], bound["session_uuid"]);

    let switch = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (here, platform) = (switch.local_addr().unwrap(), world.sim.sip_addr());
    let invite = format!(
        "INVITE sip:17000000000@{platform} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK1\r\n\
         Max-Forwards: 60\r\nFrom: <sip:02100000000@{here}>;tag=t\r\n\
         To: <sip:17000000000@{platform}>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:02100000000@{here}>\r\nContent-Length: 0\r\n\r\n"
    );
    switch.send_to(invite.as_bytes(), platform).unwrap();
    let mut buffer = [0; 4096];
    let (length, _) = world.phone.recv_from(&mut buffer).unwrap();
    let received = String::from_utf8_lossy(&buffer[..length]);
    assert!(
        received.starts_with("INVITE sip:13900000001@"),
        "{received}"
    );
    assert!(!received.contains("02100000000"), "{received}");
}

#[tokio::test]
async fn an_address_of_its_own_serves_a_vendor_without_prefix() {
    let world = World::new();
    let at = world.sim.alone_addr("plivo").unwrap();
    let list = |path: String| world.ask(path, Method::GET, Value::Null);
    let (status, _) = list(format!("http://{at}{SESSIONS}")).await.unwrap();
    assert_eq!(status, 200);
    let (status, _) = list(format!("http://{at}/plivo{SESSIONS}")).await.unwrap();
    assert_eq!(status, 404);
    assert_eq!(world.sim.alone_addr("aliyun"), None);
}

#[tokio::test]
async fn faults_hold_for_the_vendor_they_name_and_no_other() {
    let world = World::new();
    let faults = |faults: Faults| world.sim.set_faults("plivo", faults);
    faults(Faults {
        error_rate: 1.0,
        ..Faults::default()
    });
    assert_eq!(world.bind().await.unwrap().0, 500);
    faults(Faults {
        error_rate: 1.0,
        error_code: "403".into(),
        ..Faults::default()
    });
    assert_eq!(world.bind().await.unwrap().0, 403);
    faults(Faults {
        throttle_per_s: 1,
        ..Faults::default()
    });
    let mut last = 0;
    for _ in 0..3 {
        last = world.bind().await.unwrap().0;
    }
    assert_eq!(last, 429);
    faults(Faults {
        down: true,
        ..Faults::default()
    });
    assert_eq!(world.bind().await, None);
    let other = format!("{}/", world.sim.base_url("aliyun"));
    assert!(world.ask(other, Method::POST, Value::Null).await.is_some());
    world.sim.clear_faults();
    for held in world.sim.bindings() {
        let url = format!("{}{SESSIONS}{}/", world.sim.base_url("plivo"), held.bind_id);
        assert_eq!(
            world.ask(url, Method::DELETE, Value::Null).await.unwrap().0,
            204
        );
    }
    faults(Faults {
        drop_reply_rate: 1.0,
        ..Faults::default()
    });
    assert_eq!(world.bind().await, None);
    assert_eq!(world.sim.bindings().len(), 1);
}

#[tokio::test]
async fn every_vendor_answers_a_path_it_does_not_know_and_nobody_one_that_is_no_vendors() {
    let world = World::new();
    for word in sim::vendors() {
        let url = format!("{}/no/such/path", world.sim.base_url(word));
        let (status, _) = world.ask(url, Method::POST, Value::Null).await.unwrap();
        assert!((200..=405).contains(&status), "{word}: {status}");
    }
    let url = world.sim.base_url("nobody");
    let (status, _) = world.ask(url, Method::POST, Value::Null).await.unwrap();
    assert_eq!(status, 404);
}
