//! A running simulator with a log, and how tests speak to it.

use serde_json::Value;
use tandem_vendors::sim::{self, Config, Credentials, Faults, Line, Sim};
use tandem_vendors::{Bind, BindOutcome, Client, Failure, Handle, Interface, Vendor};
use tempfile::TempDir;

pub(crate) struct World {
    pub(crate) sim: Sim,
    pub(crate) dir: TempDir,
}

impl World {
    pub(crate) fn new() -> World {
        World::with(Credentials::new("dev-key", "dev-secret"))
    }

    pub(crate) fn with(credentials: Credentials) -> World {
        let dir = TempDir::new().unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let mut config = Config::huawei(any, any, "127.0.0.1:9".parse().unwrap(), credentials);
        config.log = Some(dir.path().join("vendor-sim.jsonl"));
        let sim = sim::spawn(&config).unwrap();
        World { sim, dir }
    }

    pub(crate) fn interface(&self) -> Interface {
        Interface::new(
            1,
            "sim",
            Vendor::huawei(),
            &self.sim.base_url(Vendor::huawei()),
        )
        .with("app_key", "dev-key")
        .with("app_secret", "dev-secret")
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.interface()).unwrap()
    }

    pub(crate) fn faults(&self, faults: Faults) {
        self.sim.set_faults(Vendor::huawei(), faults);
    }

    pub(crate) fn log(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(self.dir.path().join("vendor-sim.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

pub(crate) fn numbers(n: u32) -> Bind {
    Bind {
        a: format!("0210000{n:04}"),
        x: "17000000000".into(),
        b: format!("1390000{n:04}"),
        own_id: format!("call-{n}"),
    }
}

pub(crate) async fn bound(client: &Client, bind: &Bind) -> Handle {
    match client.bind(bind).await {
        BindOutcome::Bound { handle, x, .. } => {
            assert_eq!(x, bind.x);
            handle
        }
        other => panic!("not bound: {other:?}"),
    }
}

pub(crate) async fn refused(client: &Client, bind: &Bind) -> Failure {
    match client.bind(bind).await {
        BindOutcome::Failed(failure) => failure,
        other => panic!("not refused: {other:?}"),
    }
}

/// The control endpoints, with a client of their own.
pub(crate) async fn control(
    world: &World,
    method: reqwest::Method,
    path: &str,
    body: &str,
) -> (u16, Value) {
    let url = format!("http://{}{path}", world.sim.http_addr());
    // Making the client has installed what http needs.
    let _ = world.client();
    let http = reqwest::Client::builder()
        .tls_certs_only([])
        .no_proxy()
        .build()
        .unwrap();
    let response = http
        .request(method, url)
        .body(body.to_owned())
        .send()
        .await
        .unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}
