//! `tandem demo`: a dev cluster, calls through it end to end, and what they cost.

mod agent;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use comfy_table::{CellAlignment, Table};
use serde_json::Value;

use self::agent::{Customer, Outcome, Phone, Rang, Seen};
use crate::dev::{Cluster, DevArgs, DevError};
use crate::start::chain;

/// The demo's base port; the next free hundreds above it are taken when it is in use.
const BASE_PORT: u16 = 15_000;
/// Talk time of a demo call.
const TALK: Duration = Duration::from_millis(1_500);
/// Pause between the starts of two calls.
const SPACING: Duration = Duration::from_millis(100);
/// Records, releases and charges must be there this long after the last call.
const SETTLED_WITHIN: Duration = Duration::from_secs(15);

/// Options of `tandem demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Calls to place, 1 to 1,000.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub calls: u32,
    /// Stop at the end; exit 0 only if all went right.
    #[arg(long)]
    pub exit: bool,
}

/// `tandem demo`.
pub fn run(args: &DemoArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("tandem: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(show(args)) {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            for fault in faults {
                eprintln!("tandem: {fault}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("tandem: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Why the demo could not run to its end.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error(transparent)]
    Dev(#[from] DevError),
    #[error("an endpoint of the demo fails")]
    Endpoint(#[from] std::io::Error),
    #[error("admin api fails")]
    Api(#[from] reqwest::Error),
}

struct Placed {
    node: u64,
    caller: String,
    callee: String,
    began: Instant,
    outcome: Outcome,
}

async fn show(args: &DemoArgs) -> Result<Vec<String>, DemoError> {
    // Removed at the end; the demo's state is of no use to the next one.
    let scratch = Scratch(std::env::temp_dir().join(format!("tandem-demo-{}", std::process::id())));
    let (mut cluster, base) = start_cluster(&scratch.0).await?;
    println!(
        "three nodes on 127.0.0.1, ports {base} to {}, and the simulator of the X platforms",
        base + 399
    );
    let phone = Phone::open(cluster.phone()).await?;
    let customer = Customer::open().await?;

    println!(
        "placing {} calls, each from the customer through one node, the platform, to the callee's phone\n",
        args.calls
    );
    let calls = (0..args.calls).map(|n| {
        let (cluster, customer) = (&cluster, &customer);
        async move {
            tokio::time::sleep(SPACING * n).await;
            let node = u64::from(n) % cluster.nodes() + 1;
            let caller = format!("138{:08}", 10_000_000 + n);
            let callee = format!("139{:08}", 20_000_000 + n);
            let began = Instant::now();
            let outcome = customer
                .call(cluster.sip(node), &caller, &callee, TALK)
                .await?;
            Ok::<_, DemoError>(Placed {
                node,
                caller,
                callee,
                began,
                outcome,
            })
        }
    });
    let placed = futures::future::try_join_all(calls).await?;
    let rang = phone.rang();
    let mut faults = judge(&placed, &rang);

    let api = Api {
        cluster: &cluster,
        http: reqwest::Client::new(),
    };
    let records = api.settled_records(placed.len()).await?;
    if let Some(first) = placed.first() {
        tell(first, &rang, &cluster);
    }
    println!("{}", table(&records));
    faults.extend(api.judge(&records, placed.len()).await?);
    if faults.is_empty() {
        println!(
            "{} calls, all answered, B's phone saw X every time; nothing is left bound or reserved",
            placed.len()
        );
    }
    if !args.exit {
        println!("\nconsole   {}/", cluster.url(1));
        println!("token     {}", cluster.dir().join("admin.token").display());
        println!("Ctrl-C stops the cluster");
        cluster.stay().await;
    }
    cluster.stop();
    Ok(faults)
}

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // A leftover in the temporary directory harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn start_cluster(dir: &std::path::Path) -> Result<(Cluster, u16), DevError> {
    let mut base = BASE_PORT;
    loop {
        let args = DevArgs {
            nodes: 3,
            base_port: base,
            data_dir: dir.to_owned(),
            fresh: true,
            config: None,
            no_sim: false,
            max_level: None,
            one: None,
        };
        match Cluster::start(&args).await {
            Err(DevError::Port { .. }) if base < BASE_PORT + 8_000 => base += 400,
            Err(error) => return Err(error),
            Ok(cluster) => return Ok((cluster, base)),
        }
    }
}

/// What must be true of every call.
fn judge(placed: &[Placed], rang: &[Rang]) -> Vec<String> {
    let mut faults = Vec::new();
    for call in placed {
        if call.outcome.status != 200 || !call.outcome.ended_well {
            faults.push(format!(
                "call to {} through node {} got {}",
                call.callee, call.node, call.outcome.status
            ));
        }
        match rang.iter().find(|rang| rang.callee == call.callee) {
            None => faults.push(format!("the phone of {} never rang", call.callee)),
            Some(rang) => {
                if !rang.caller.starts_with("170") {
                    faults.push(format!(
                        "the phone of {} saw {} instead of X",
                        call.callee, rang.caller
                    ));
                }
                if rang.text.contains(&call.caller) || rang.text.contains("021000") {
                    faults.push(format!(
                        "the phone of {} was told a number other than X",
                        call.callee
                    ));
                }
            }
        }
    }
    faults
}

/// The first call step by step: what the customer and the phone saw, and what the platform was asked.
fn tell(call: &Placed, rang: &[Rang], cluster: &Cluster) {
    println!(
        "the first call, {} calls {} through node {}:",
        call.caller, call.callee, call.node
    );
    let mut steps: Vec<Seen> = call.outcome.seen.clone();
    if let Some(rang) = rang.iter().find(|rang| rang.callee == call.callee) {
        let what = format!(
            "phone of {} receives INVITE, sees caller {} (X), rings and answers",
            rang.callee, rang.caller
        );
        steps.push(Seen { at: rang.at, what });
    }
    steps.extend(platform_steps(call, cluster));
    steps.sort_by_key(|step| step.at);
    for step in steps {
        println!(
            "  {:>6} ms  {}",
            step.at.saturating_duration_since(call.began).as_millis(),
            step.what
        );
    }
    println!();
}

/// The platform's own log of the call, on the demo's clock.
fn platform_steps(call: &Placed, cluster: &Cluster) -> Vec<Seen> {
    let log = std::fs::read_to_string(cluster.dir().join("vendor-sim.jsonl")).unwrap_or_default();
    let since_epoch = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let now = Instant::now();
    let of_call = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| {
            line["B"]
                .as_str()
                .is_some_and(|b| b.ends_with(&call.callee))
        });
    of_call
        .filter_map(|line| {
            let age = since_epoch.as_secs_f64() - line["t"].as_f64()?;
            let at = now.checked_sub(Duration::try_from_secs_f64(age).ok()?)?;
            let text = |key: &str| line[key].as_str().unwrap_or("?").to_owned();
            let what = format!(
                "platform: {} A {} X {} B {}",
                text("op"),
                text("A"),
                text("X"),
                text("B")
            );
            Some(Seen { at, what })
        })
        .collect()
}

struct Api<'c> {
    cluster: &'c Cluster,
    http: reqwest::Client,
}

impl Api<'_> {
    async fn get(&self, node: u64, path: &str) -> Result<Value, reqwest::Error> {
        let request = self
            .http
            .get(format!("{}/api/v1/{path}", self.cluster.url(node)));
        request
            .bearer_auth(self.cluster.token())
            .send()
            .await?
            .error_for_status()?
            .json()
            .await
    }

    /// The AXB records of the first node, once they are all there and nothing is held any more.
    async fn settled_records(&self, wanted: usize) -> Result<Vec<Value>, reqwest::Error> {
        let until = Instant::now() + SETTLED_WITHIN;
        loop {
            let rows = self.get(1, "axb-cdrs?limit=1000").await?;
            let rows = rows["items"].as_array().cloned().unwrap_or_default();
            let idle = self.held().await?.is_empty();
            if (rows.len() >= wanted && idle) || Instant::now() > until {
                return Ok(rows);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Counters that are not 0 on some node.
    async fn held(&self) -> Result<Vec<String>, reqwest::Error> {
        let mut held = Vec::new();
        for node in 1..=self.cluster.nodes() {
            let status = self.get(node, "status").await?;
            for counter in [
                "calls", "bindings", "x_in_use", "a_in_use", "reserved", "outbox",
            ] {
                let value = &status[counter];
                let number = value
                    .as_f64()
                    .or_else(|| value.as_str().and_then(|text| text.parse().ok()));
                if number != Some(0.0) {
                    held.push(format!("node {node} still shows {counter} {value}"));
                }
            }
        }
        Ok(held)
    }

    async fn judge(&self, records: &[Value], calls: usize) -> Result<Vec<String>, reqwest::Error> {
        let mut faults = self.held().await?;
        if records.len() != calls {
            faults.push(format!("{} AXB CDRs for {calls} calls", records.len()));
        }
        Ok(faults)
    }
}

fn table(records: &[Value]) -> Table {
    let mut table = Table::new();
    table.load_style(if std::io::stdout().is_terminal() {
        comfy_table::presets::UTF8_FULL_CONDENSED
    } else {
        comfy_table::presets::ASCII_BORDERS_ONLY_CONDENSED
    });
    let columns = [
        "a_number",
        "x_number",
        "b_number",
        "hold_secs",
        "fee",
        "landing_fee",
        "axb_fee",
        "profit",
        "end_reason",
    ];
    table.set_header(columns);
    for record in records {
        table.add_row(columns.map(|column| match &record[column] {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        }));
    }
    for column in 3..8 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
