//! The platform: its HTTP side and its SIP side, both the simulator's own, and what it has seen.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use tandem_vendors::client::{Carried, Lost};
use tandem_vendors::exchange::Request;
use tandem_vendors::sim::sip::proxy::{Out, Proxy};
use tandem_vendors::sim::sip::{Counters, Phones};
use tandem_vendors::sim::vendor::Call;
use tandem_vendors::sim::{Answered, Credentials, Faults, Line, Model};

use crate::process::EPOCH_MS;

/// The key and the secret of its one application.
pub const KEYS: [&str; 2] = ["simulated-key", "simulated-secret"];
/// Where its HTTP side is, for URLs; the way there is the simulation's.
pub const BASE: &str = "http://10.2.0.1/huawei";

/// Where its SIP side is.
pub fn sip() -> SocketAddr {
    SocketAddr::from(([10, 2, 0, 1], 5_060))
}

/// Where every B's phone is.
pub fn phone() -> SocketAddr {
    SocketAddr::from(([10, 3, 0, 1], 5_060))
}

/// The platform.
pub struct Platform {
    model: RefCell<Model>,
    proxy: Proxy,
    /// What was asked, and what came of it.
    pub lines: Vec<Line>,
    /// Bindings that stand, by X: their ids.
    held: BTreeMap<String, Vec<String>>,
    /// What it has seen that must not be.
    pub wrongs: Vec<String>,
    /// Bindings that one X may have at once.
    pub x_limit: usize,
}

impl Platform {
    pub fn new(run: u32, x_limit: usize) -> Platform {
        let mut credentials = Credentials::new(KEYS[0], KEYS[1]);
        credentials.auth_failures_max = 0;
        let phones = Phones {
            callee: phone(),
            a: phone(),
        };
        Platform {
            model: RefCell::new(Model::new(credentials, run)),
            proxy: Proxy::new(sip(), phones, 100_000, Arc::new(Counters::default())),
            lines: Vec::new(),
            held: BTreeMap::new(),
            wrongs: Vec::new(),
            x_limit,
        }
    }

    pub fn set_faults(&mut self, faults: Faults) {
        self.model.get_mut().set_faults(faults);
    }

    /// How many bindings stand.
    pub fn bindings(&mut self, now: u64) -> Vec<String> {
        let held = self.model.get_mut().bindings(EPOCH_MS + now);
        held.iter()
            .map(|one| format!("{} {} {}", one.a, one.x, one.b))
            .collect()
    }

    /// A request arrives. What is answered, and how much later.
    pub fn ask(
        &mut self,
        request: &Request,
        from: IpAddr,
        now: u64,
        rolls: [f64; 2],
    ) -> (u64, Result<Carried, Lost>) {
        let rest = request.url.strip_prefix(BASE).unwrap_or(&request.url);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let names: Vec<String> = request
            .headers
            .iter()
            .map(|(name, _)| name.to_ascii_lowercase())
            .collect();
        let values = request.headers.iter().map(|(_, value)| value.as_str());
        let headers: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(values).collect();
        let call = Call {
            method: request.method.word(),
            path,
            query,
            headers: &headers,
            body: request.body.as_bytes(),
            peer: from,
        };
        let answered = self.model.get_mut().ask(&call, EPOCH_MS + now, rolls);
        self.note();
        match answered {
            Answered::Cut(after_ms) => (after_ms, Err(Lost::Cut)),
            Answered::After(after_ms, answer) => {
                let headers = answer.headers.iter();
                let headers = headers.map(|(name, value)| ((*name).to_owned(), value.clone()));
                let now = UNIX_EPOCH + Duration::from_millis(EPOCH_MS + now + after_ms);
                let date = ("date".to_owned(), httpdate::fmt_http_date(now));
                let headers = headers.chain([date]);
                let carried = Carried {
                    status: answer.status,
                    headers: headers.collect(),
                    body: Bytes::from(answer.body),
                };
                (after_ms, Ok(carried))
            }
        }
    }

    fn note(&mut self) {
        for line in self.model.get_mut().take_lines() {
            if line.applied && line.op == "bind" {
                let held = self.held.entry(line.x.clone()).or_default();
                held.push(line.bind_id.clone());
                if held.len() > self.x_limit {
                    self.wrongs
                        .push(format!("X {} carries {} bindings", line.x, held.len()));
                }
            } else if line.applied && line.op == "unbind" {
                let held = self.held.entry(line.x.clone()).or_default();
                let before = held.len();
                held.retain(|id| *id != line.bind_id);
                if held.len() == before {
                    self.wrongs
                        .push(format!("binding {} is released twice", line.bind_id));
                }
            }
            self.lines.push(line);
        }
    }

    /// A datagram arrives at its SIP side.
    pub fn relay(&mut self, datagram: &[u8], from: SocketAddr, now: u64) -> Option<Out> {
        let model = &self.model;
        let route = |caller: &str, x: &str| model.borrow_mut().route(caller, x, EPOCH_MS + now);
        self.proxy.on(datagram, from, now, &route)
    }
}
