//! A running API and a client for it.
use super::super::*;
use crate::fake::Fake;
use crate::seed;
use reqwest::Method;
use serde_json::Value;

pub struct World {
    pub fake: Arc<Fake>,
    pub api: Api,
    http: reqwest::Client,
}

impl World {
    /// Empty.
    pub async fn empty() -> World {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let fake = Fake::new().await;
        let config = Config {
            listen: "127.0.0.1:0".parse().expect("an address"),
            tokens: vec![
                Token::new("root", Access::Admin, "secret-1"),
                Token::new("eye", Access::Viewer, "secret-2"),
            ],
            workers: 1,
            public_url: None,
        };
        let metrics = crate::metrics::install().expect("a recorder");
        let api = start(config, fake.clone(), metrics).expect("a free port");
        World {
            fake,
            api,
            http: reqwest::Client::new(),
        }
    }

    /// With the sample configuration.
    pub async fn sample() -> World {
        let world = World::empty().await;
        let sample = seed::parse(&seed::sample(15_000)).expect("the sample is right");
        let report = seed::apply(&*world.fake, "test", &sample).await;
        assert_eq!((report.failed, report.made), (Vec::new(), 311));
        world
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.api.address())
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> (u16, String) {
        let response = self.answer(method, path, token, body).await;
        (
            response.status().as_u16(),
            response.text().await.expect("a body"),
        )
    }

    /// The same, with its headers.
    pub async fn answer(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> reqwest::Response {
        let mut request = self.http.request(method, format!("{}{path}", self.url()));
        if !token.is_empty() {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        request.send().await.expect("an answer")
    }

    /// A file, as an administrator, below `/api/v1`.
    pub async fn upload(&self, path: &str, media: &str, body: &str) -> (u16, String) {
        let url = format!("{}/api/v1{path}", self.url());
        let request = self
            .http
            .post(url)
            .bearer_auth("secret-1")
            .body(body.to_owned());
        let response = request
            .header("Content-Type", media)
            .send()
            .await
            .expect("an answer");
        (
            response.status().as_u16(),
            response.text().await.expect("a body"),
        )
    }

    /// The status of what may be no text.
    pub async fn ask_raw(&self, path: &str) -> u16 {
        let url = format!("{}/api/v1{path}", self.url());
        let response = self
            .http
            .get(url)
            .bearer_auth("secret-1")
            .send()
            .await
            .expect("an answer");
        let status = response.status().as_u16();
        response.bytes().await.expect("a body");
        status
    }

    /// As an administrator, below `/api/v1`.
    pub async fn ask(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let body = (!body.is_null()).then_some(body);
        let (status, text) = self
            .send(method, &format!("/api/v1{path}"), "secret-1", body)
            .await;
        let value = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).expect("JSON")
        };
        (status, value)
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Status, code and detail of a refusal.
    pub async fn refusal(&self, method: Method, path: &str, body: Value) -> (u16, String, String) {
        let (status, body) = self.ask(method, path, body).await;
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
        (status, text("code"), text("detail"))
    }
}
