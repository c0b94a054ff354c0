//! `tandem platform-event …` and `tandem report platform-bills`.

use super::columns::{BILL, EVENT};
use super::http::{Client, Request};
use super::print::Printer;
use super::verbs::pages;
use super::{CliError, Exit, Output};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;
use std::io::Write;
use tandem_billing::Row;
use tandem_billing::event::SeenEvent;

/// `tandem platform-event …`
#[derive(Clone, Debug, Subcommand)]
pub enum EventVerb {
    /// Some events, each with the call that it is about.
    List {
        /// Which.
        #[command(flatten)]
        filter: EventArgs,
        /// Last stored first.
        #[arg(long)]
        newest_first: bool,
        /// Most events to print.
        #[arg(long, default_value_t = 100)]
        limit: u64,
    },
    /// All events that fit, in the order they were stored (alike on every node).
    Export {
        /// Which.
        #[command(flatten)]
        filter: EventArgs,
    },
}

/// Which events.
#[derive(Clone, Debug, Default, Args)]
pub struct EventArgs {
    /// Arrived at this time or later (2025-11-21 or 2025-11-21T08:00:00+08:00).
    #[arg(long)]
    pub since: Option<String>,
    /// Arrived before this time.
    #[arg(long)]
    pub until: Option<String>,
    /// Name of the interface.
    #[arg(long)]
    pub interface: Option<String>,
    /// What they tell: started, ringing, answered, ended, bill, recording or other.
    #[arg(long)]
    pub kind: Option<String>,
    /// About the call of this record.
    #[arg(long)]
    pub flow_no: Option<u64>,
    /// Only those whose call has a record (true), or those without one (false).
    #[arg(long)]
    pub matched: Option<bool>,
}

impl EventArgs {
    fn parameters(&self) -> Vec<(String, String)> {
        given([
            ("since", self.since.clone()),
            ("until", self.until.clone()),
            ("interface", self.interface.clone()),
            ("kind", self.kind.clone()),
            ("flow_no", self.flow_no.map(|number| number.to_string())),
            ("matched", self.matched.map(|matched| matched.to_string())),
        ])
    }
}

/// `tandem report platform-bills`
#[derive(Clone, Debug, Args)]
pub struct BillArgs {
    /// Calls that began at this time or later.
    #[arg(long)]
    pub since: String,
    /// Calls that began before this time.
    #[arg(long)]
    pub until: String,
    /// One interface; every one that has ever sent a bill when left out.
    #[arg(long)]
    pub interface: Option<String>,
    /// Seconds by which durations may differ; 2 when left out.
    #[arg(long, value_name = "SECS")]
    pub tolerance_secs: Option<u32>,
    /// Amount by which costs may differ; 0 when left out.
    #[arg(long, value_name = "AMOUNT")]
    pub tolerance_cost: Option<String>,
    /// Leave out what agrees.
    #[arg(long)]
    pub differences: bool,
    /// Print the sums alone.
    #[arg(long)]
    pub totals: bool,
    /// Most lines to print; differences come first.
    #[arg(long, default_value_t = 1_000)]
    pub limit: u64,
}

fn given<const N: usize>(pairs: [(&str, Option<String>); N]) -> Vec<(String, String)> {
    let pairs = pairs.into_iter();
    let pairs = pairs.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    pairs.collect()
}

/// Carries out `tandem platform-event …`.
pub async fn events<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    verb: &EventVerb,
) -> Result<Exit, CliError> {
    let path = &["platform-events"];
    match verb {
        EventVerb::List {
            filter,
            newest_first,
            limit,
        } => {
            let mut query = filter.parameters();
            query.push(("newest_first".into(), newest_first.to_string()));
            pages(client, printer, path, EVENT, query, Some(*limit)).await
        }
        EventVerb::Export { filter } => {
            match printer.output {
                None => printer.output = Some(Output::Jsonl),
                Some(Output::Jsonl | Output::Csv) => {}
                Some(_) => return Err(CliError::new(Exit::Usage, "an export is jsonl or csv")),
            }
            let columns = SeenEvent::columns();
            pages(client, printer, path, columns, filter.parameters(), None).await
        }
    }
}

/// Carries out `tandem report platform-bills`.
pub async fn bills<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    args: &BillArgs,
) -> Result<Exit, CliError> {
    let query = given([
        ("since", Some(args.since.clone())),
        ("until", Some(args.until.clone())),
        ("interface", args.interface.clone()),
        ("tolerance_secs", args.tolerance_secs.map(|s| s.to_string())),
        ("tolerance_cost", args.tolerance_cost.clone()),
        ("differences", args.differences.then(|| "true".to_owned())),
    ]);
    let path = ["reports", "platform-bills"];
    if !args.totals {
        return pages(client, printer, &path, BILL, query, Some(args.limit)).await;
    }
    let one = [("limit".to_owned(), "1".to_owned())];
    let request = Request::new(Method::GET, path).query(query).query(one);
    let answer = client.json(request).await?;
    let totals = answer.get("totals").cloned().unwrap_or(Value::Null);
    printer.one(&totals)?;
    Ok(Exit::Ok)
}
