//! What each command asks of the admin API and how it shows the answer.

use super::args::{
    AccountVerb, AddArgs, AuditVerb, BindingVerb, CallVerb, ClientCommand, ClusterVerb, DeviceVerb,
    InterfaceVerb, ListArgs, RecordFilter, RecordVerb, RemoveArgs, ReportVerb, Rows, SeedVerb,
    SetArgs,
};
use super::columns::{AUDIT, AXB_CDR, BINDING, CALL, CDR, DEVICE, NODES, REPORT, STATUS, usual};
use super::files::{self, AVerb, XVerb};
use super::http::{Client, Request};
use super::print::Printer;
use super::{
    CliError, Exit, Output, alarm, backup, complain, fields, interfaces, levels, members, note,
    platform, relations, route, types, warn,
};
use crate::dto;
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;
use tandem_cluster::entity::Table;

/// Rows asked for at a time.
const PAGE: u64 = 1_000;

/// Carries out one command.
pub async fn carry_out<W: Write>(
    command: &ClientCommand,
    client: &Client,
    printer: &mut Printer<W>,
) -> Result<Exit, CliError> {
    if printer.output == Some(Output::Xlsx) && !command.is_sheet() {
        let text = "only exports of numbers and regions are workbooks";
        return Err(CliError::new(Exit::Usage, text));
    }
    printer.first = match command {
        ClientCommand::Status { .. } | ClientCommand::Device(DeviceVerb::Info { .. }) => STATUS,
        ClientCommand::Binding(_) => BINDING,
        ClientCommand::Call(_) => CALL,
        ClientCommand::Device(_) => DEVICE,
        ClientCommand::Seed(_) => &["made", "changed", "equal", "failed"],
        _ => &[],
    };
    if let Some((table, rows)) = command.rows() {
        printer.first = usual(table);
        return edit(client, printer, table, rows).await;
    }
    match command {
        ClientCommand::Status { node } => {
            let node = node.iter().map(|node| ("node".to_owned(), node.clone()));
            show(
                client,
                printer,
                Request::new(Method::GET, ["status"]).query(node),
            )
            .await
        }
        ClientCommand::Interface(InterfaceVerb::Types { name }) => {
            types::run(client, printer, name.as_deref()).await
        }
        ClientCommand::Interface(InterfaceVerb::Status { name }) => {
            interfaces::status(client, printer, name).await
        }
        ClientCommand::Interface(InterfaceVerb::Exchanges(args)) => {
            interfaces::exchanges(client, printer, args).await
        }
        ClientCommand::Interface(InterfaceVerb::Test(args)) => {
            interfaces::test(client, printer, args).await
        }
        ClientCommand::Cluster(verb) => cluster(client, printer, verb).await,
        ClientCommand::Device(verb) => device(client, printer, verb).await,
        ClientCommand::Account(AccountVerb::Pay {
            account,
            amount,
            memo,
            idempotency_key,
        }) => {
            let key = idempotency_key
                .clone()
                .unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
            let body = json!({"account": account, "amount": amount, "memo": memo});
            show(
                client,
                printer,
                Request::new(Method::POST, ["payments"])
                    .json(&body)
                    .idempotency_key(key),
            )
            .await
        }
        ClientCommand::Binding(verb) => match verb {
            BindingVerb::List(args) => list(client, printer, &["bindings"], BINDING, args).await,
            BindingVerb::Show { id } => {
                show(
                    client,
                    printer,
                    Request::new(Method::GET, ["bindings", &id.to_string()]),
                )
                .await
            }
            BindingVerb::Reconcile(args) => relations::reconcile(client, printer, args).await,
            BindingVerb::Unbind { ids } => each(client, "bindings", ids, "unbind").await,
            BindingVerb::ForceUnbind { ids } => each(client, "bindings", ids, "force-unbind").await,
        },
        ClientCommand::Route(verb) => route::route(client, printer, verb).await,
        ClientCommand::Ax(verb) => {
            relations::ax(client, printer, verb, usual(Table::AxBindings)).await
        }
        ClientCommand::Call(verb) => match verb {
            CallVerb::List(args) => list(client, printer, &["calls"], CALL, args).await,
            CallVerb::Show { id } => {
                show(
                    client,
                    printer,
                    Request::new(Method::GET, ["calls", &id.to_string()]),
                )
                .await
            }
            CallVerb::Hangup { ids } => each(client, "calls", ids, "hangup").await,
        },
        ClientCommand::Cdr(verb) => records(client, printer, "cdrs", CDR, verb).await,
        ClientCommand::AxbCdr(verb) => records(client, printer, "axb-cdrs", AXB_CDR, verb).await,
        ClientCommand::Report(ReportVerb::Axb {
            since,
            until,
            period,
            account,
            offset_min,
        }) => {
            let query = [
                ("since", Some(since.clone())),
                ("until", Some(until.clone())),
                ("period", Some(period.clone())),
                ("account", account.clone()),
                ("offset_min", Some(offset_min.to_string())),
            ];
            let query = query
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)));
            pages(
                client,
                printer,
                &["reports", "axb-settlement"],
                REPORT,
                query.collect(),
                None,
            )
            .await
        }
        ClientCommand::Report(ReportVerb::PlatformBills(args)) => {
            platform::bills(client, printer, args).await
        }
        ClientCommand::PlatformEvent(verb) => platform::events(client, printer, verb).await,
        ClientCommand::Audit(AuditVerb::List(args)) => {
            list(client, printer, &["audit"], AUDIT, args).await
        }
        ClientCommand::Seed(SeedVerb::Apply { file }) => seed(client, printer, file).await,
        ClientCommand::Backup(args) => backup::run(client, printer, args).await,
        ClientCommand::X(XVerb::Import { interface, file }) => {
            files::import_numbers(client, printer, "x-numbers", ("interface", interface), file)
                .await
        }
        ClientCommand::X(XVerb::Export(args)) => {
            files::export_numbers(client, printer, "x-numbers", args).await
        }
        ClientCommand::A(AVerb::Import { group, file }) => {
            files::import_numbers(client, printer, "a-numbers", ("group", group), file).await
        }
        ClientCommand::A(AVerb::Export(args)) => {
            files::export_numbers(client, printer, "a-numbers", args).await
        }
        ClientCommand::Region(verb) => files::region(client, printer, verb).await,
        // All other commands edit rows, and were carried out above.
        _ => Err(CliError::new(Exit::Usage, "no such command")),
    }
}

pub(super) async fn show<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    request: Request<'_>,
) -> Result<Exit, CliError> {
    let thing = client.json(request).await?;
    printer.one(&thing)?;
    warn(&thing);
    Ok(Exit::Ok)
}

pub(super) async fn list<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    path: &[&str],
    usual: &[&str],
    args: &ListArgs,
) -> Result<Exit, CliError> {
    let mut query = Vec::new();
    for filter in &args.filters {
        let (name, value) = fields::split(filter)?;
        query.push((name.to_owned(), value.to_owned()));
    }
    query.extend(
        args.sort
            .iter()
            .map(|sort| ("sort".to_owned(), sort.clone())),
    );
    pages(client, printer, path, usual, query, args.limit).await
}

/// Prints a collection page by page.
pub(super) async fn pages<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    path: &[&str],
    usual: &[&str],
    query: Vec<(String, String)>,
    limit: Option<u64>,
) -> Result<Exit, CliError> {
    let mut left = limit.unwrap_or(u64::MAX);
    let mut cursor: Option<String> = None;
    loop {
        let page = [("limit".to_owned(), left.min(PAGE).to_string())];
        let at = cursor
            .iter()
            .map(|cursor| ("cursor".to_owned(), cursor.clone()));
        let request = Request::new(Method::GET, path.iter().copied())
            .query(query.clone())
            .query(page)
            .query(at);
        let answer = client.json(request).await?;
        let rows = answer
            .get("items")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        left = left.saturating_sub(rows.len() as u64);
        printer.rows(usual, &rows)?;
        cursor = answer
            .get("next_cursor")
            .and_then(Value::as_str)
            .map(str::to_owned);
        if cursor.is_none() || left == 0 || rows.is_empty() {
            return Ok(Exit::Ok);
        }
    }
}

async fn edit<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    table: Table,
    rows: Rows<'_>,
) -> Result<Exit, CliError> {
    let path = dto::path(table);
    let item = |method, name: &'_ str| {
        // Names of A numbers and fee rates have two parts.
        let parts: Vec<String> = name.split('/').map(str::to_owned).collect();
        (method, parts)
    };
    fn request<'p>(path: &'p str, (method, parts): &'p (Method, Vec<String>)) -> Request<'p> {
        Request::new(
            method.clone(),
            std::iter::once(path).chain(parts.iter().map(String::as_str)),
        )
    }
    match rows {
        Rows::List(args) => list(client, printer, &[path], usual(table), args).await,
        Rows::Show(name) => show(client, printer, request(path, &item(Method::GET, name))).await,
        Rows::Add(AddArgs {
            fields: typed,
            json,
        }) => {
            let body = body(table, typed, json.as_deref())?;
            let key = format!("{:032x}", rand::random::<u128>());
            show(
                client,
                printer,
                Request::new(Method::POST, [path])
                    .json(&body)
                    .idempotency_key(key),
            )
            .await
        }
        Rows::Set(SetArgs {
            name,
            fields: typed,
            json,
            version,
        }) => {
            let mut body = body(table, typed, json.as_deref())?;
            if let (Some(version), Some(fields)) = (version, body.as_object_mut()) {
                fields.insert("version".into(), Value::from(*version));
            }
            show(
                client,
                printer,
                request(path, &item(Method::PATCH, name)).json(&body),
            )
            .await
        }
        Rows::Remove(RemoveArgs { names, version }) => {
            let mut tally = Tally::default();
            for name in names {
                let version = version
                    .iter()
                    .map(|version| ("version".to_owned(), version.to_string()));
                tally.add(
                    client
                        .json(request(path, &item(Method::DELETE, name)).query(version))
                        .await,
                )?;
            }
            tally.exit()
        }
    }
}

/// A row's fields from a file and from the line.
fn body(table: Table, typed: &[String], file: Option<&Path>) -> Result<Value, CliError> {
    let mut fields = match file {
        None => Map::new(),
        Some(path) => {
            let unreadable = |error: &dyn std::fmt::Display| {
                CliError::new(Exit::Usage, format!("`{}`: {error}", path.display()))
            };
            match serde_json::from_str(&read(path)?) {
                Ok(Value::Object(fields)) => fields,
                Ok(_) => return Err(unreadable(&"not a JSON object")),
                Err(error) => return Err(unreadable(&error)),
            }
        }
    };
    fields.extend(fields::read(table, typed)?);
    Ok(Value::Object(fields))
}

fn read(path: &Path) -> Result<String, CliError> {
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().read_to_string(&mut text).map(drop),
        _ => std::fs::read_to_string(path).map(|whole| text = whole),
    };
    read.map_err(|error| CliError::new(Exit::Usage, format!("`{}`: {error}", path.display())))?;
    Ok(text)
}

/// Does the same to several things; one that fails does not stop the others.
async fn each(client: &Client, path: &str, ids: &[u64], action: &str) -> Result<Exit, CliError> {
    let mut tally = Tally::default();
    for id in ids {
        tally.add(
            client
                .json(Request::new(Method::POST, [path, &id.to_string(), action]))
                .await,
        )?;
    }
    tally.exit()
}

/// Counts what worked of several.
#[derive(Default)]
struct Tally {
    done: usize,
    failed: Vec<CliError>,
}

impl Tally {
    fn add(&mut self, result: Result<Value, CliError>) -> Result<(), CliError> {
        match result {
            Ok(_) => self.done += 1,
            // Neither a missing token nor a missing server gets better with the next thing.
            Err(error)
                if self.done == 0
                    && matches!(error.exit, Exit::Unauthorised | Exit::Unavailable) =>
            {
                return Err(error);
            }
            Err(error) => self.failed.push(error),
        }
        Ok(())
    }

    fn exit(mut self) -> Result<Exit, CliError> {
        let Some(last) = self.failed.pop() else {
            return Ok(Exit::Ok);
        };
        for error in &self.failed {
            complain(&error.text);
        }
        let partly = self.done > 0;
        Err(if partly {
            CliError {
                exit: Exit::Partly,
                ..last
            }
        } else {
            last
        })
    }
}

async fn cluster<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    verb: &ClusterVerb,
) -> Result<Exit, CliError> {
    let order = |action: &'static str, body: Value| {
        Request::new(Method::POST, ["cluster", action]).json(&body)
    };
    match verb {
        ClusterVerb::Status => {
            let status = client.json(Request::new(Method::GET, ["cluster"])).await?;
            if printer.output.unwrap_or(Output::Table) == Output::Table {
                let word = |field: &str| {
                    status
                        .get(field)
                        .map(|value| value.to_string())
                        .unwrap_or_default()
                };
                printer.raw(
                    format!(
                        "leader {}, term {}, level {}\n",
                        word("leader").trim_matches('"'),
                        word("term"),
                        word("level")
                    )
                    .as_bytes(),
                )?;
                let nodes = status
                    .get("nodes")
                    .and_then(Value::as_array)
                    .cloned()
                    .unwrap_or_default();
                printer.rows(NODES, &nodes)?;
            } else {
                printer.one(&status)?;
            }
            members::tell(&status);
            alarm(&status);
            Ok(Exit::Ok)
        }
        ClusterVerb::Add {
            id,
            address,
            replaces,
            wait_secs,
        } => {
            let wait = Duration::from_secs(*wait_secs);
            let who = (*id, address.as_str(), replaces.as_deref());
            members::add(client, printer, who, wait).await
        }
        ClusterVerb::Upgrade { hold, wait_secs } => {
            levels::upgrade(client, printer, *hold, Duration::from_secs(*wait_secs)).await
        }
        // Carried out before a server is looked for.
        ClusterVerb::Certificates(_) => Err(CliError::new(Exit::Usage, "asks no server")),
        ClusterVerb::Remove { node, force } => members::remove(client, printer, node, *force).await,
        ClusterVerb::Move { node, address } => {
            let body = json!({"node": node, "address": address});
            show(client, printer, order("move", body)).await
        }
        ClusterVerb::Drain { node } => {
            show(client, printer, order("drain", json!({"node": node}))).await
        }
        ClusterVerb::Undrain { node } => {
            show(client, printer, order("undrain", json!({"node": node}))).await
        }
        ClusterVerb::TransferLeader { node } => {
            show(
                client,
                printer,
                order("transfer-leader", json!({"node": node})),
            )
            .await
        }
        ClusterVerb::Snapshot { node } => {
            let answer = client
                .json(order("snapshot", json!({"node": node})))
                .await?;
            let nodes = answer
                .get("nodes")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            printer.rows(&["name", "snapshot", "error"], &nodes)?;
            let failed = nodes
                .iter()
                .filter(|node| node.get("error").is_some_and(|error| !error.is_null()))
                .count();
            Ok(match failed {
                0 => Exit::Ok,
                all if all == nodes.len() => Exit::Error,
                _ => Exit::Partly,
            })
        }
    }
}

async fn device<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    verb: &DeviceVerb,
) -> Result<Exit, CliError> {
    match verb {
        DeviceVerb::List(args) => list(client, printer, &["devices"], DEVICE, args).await,
        DeviceVerb::Info { name } => {
            show(
                client,
                printer,
                Request::new(Method::POST, ["devices", name.as_str(), "info"]),
            )
            .await
        }
        DeviceVerb::Label { name, label } => {
            let body = json!({"label": label});
            show(
                client,
                printer,
                Request::new(Method::PATCH, ["devices", name.as_str()]).json(&body),
            )
            .await
        }
        DeviceVerb::Set { name, settings } => {
            let mut changes = Map::new();
            for setting in settings {
                let (name, value) = fields::split(setting)?;
                changes.insert(name.to_owned(), value.into());
            }
            let body = json!({"settings": changes});
            show(
                client,
                printer,
                Request::new(Method::PATCH, ["devices", name.as_str()]).json(&body),
            )
            .await
        }
        DeviceVerb::Sync { name, check } => {
            let path = ["devices", name.as_str(), "sync"];
            let body = json!({"repair": !check});
            let answer = client
                .json(Request::new(Method::POST, path).json(&body))
                .await?;
            compared(printer, name, &answer)
        }
    }
}

/// Shows both sides of a comparison and says what came of it.
fn compared<W: Write>(
    printer: &mut Printer<W>,
    name: &str,
    answer: &Value,
) -> Result<Exit, CliError> {
    let columns = [
        "table",
        "rows",
        "hash",
        "leader_rows",
        "leader_hash",
        "equal",
    ];
    let tables = answer.get("tables").and_then(Value::as_array);
    printer.rows(&columns, tables.map_or(&[][..], Vec::as_slice))?;
    let yes = |field: &str| answer.get(field).and_then(Value::as_bool) == Some(true);
    let text = |field: &str| answer.get(field).and_then(Value::as_str);
    let right = text("leader").unwrap_or("the leader");
    if let Some(what) = text("note") {
        complain(what);
    }
    if let Some(fault) = text("fault") {
        complain(&format!("device `{name}`: {fault}"));
    }
    if yes("equal") {
        return Ok(Exit::Ok);
    }
    if yes("repaired") {
        note(&format!(
            "device `{name}` differed from `{right}` and is repaired"
        ));
        return Ok(Exit::Ok);
    }
    complain(&format!("device `{name}` differs from `{right}`"));
    Ok(Exit::Error)
}

async fn records<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    path: &str,
    usual: &[&str],
    verb: &RecordVerb,
) -> Result<Exit, CliError> {
    match verb {
        RecordVerb::Query {
            filter,
            newest_first,
            limit,
        } => {
            let mut query = filter.parameters();
            query.push(("newest_first".into(), newest_first.to_string()));
            pages(client, printer, &[path], usual, query, Some(*limit)).await
        }
        RecordVerb::Export { filter } => export(client, printer, path, filter).await,
    }
}

/// Passes an export on as it comes, so that memory does not grow with it.
async fn export<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    path: &str,
    filter: &RecordFilter,
) -> Result<Exit, CliError> {
    let format = match printer.output {
        None | Some(Output::Jsonl) => "jsonl",
        Some(Output::Csv) => "csv",
        Some(_) => return Err(CliError::new(Exit::Usage, "an export is jsonl or csv")),
    };
    let format = [("format".to_owned(), format.to_owned())];
    let request = Request::new(Method::GET, [path, "export"])
        .query(format)
        .query(filter.parameters());
    let mut response = client.send(request).await?;
    let cut = |why: String| CliError::new(Exit::Partly, format!("export broke off: {why}"));
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| cut(error.to_string()))?
    {
        printer.raw(&chunk)?;
    }
    Ok(Exit::Ok)
}

async fn seed<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    file: &Path,
) -> Result<Exit, CliError> {
    let text = read(file)?;
    if let Err(mistakes) = crate::seed::parse(&text) {
        let lines: Vec<String> = mistakes
            .iter()
            .map(|mistake| format!("{}:{mistake}", file.display()))
            .collect();
        return Err(CliError::new(Exit::Usage, lines.join("\n")));
    }
    let report = client
        .json(Request::new(Method::POST, ["seed"]).toml(text))
        .await?;
    let mistakes = report
        .get("failed")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for mistake in &mistakes {
        complain(mistake.as_str().unwrap_or_default());
    }
    printer.one(&report)?;
    warn(&report);
    let done = ["made", "changed", "equal"]
        .iter()
        .any(|count| report.get(count).and_then(Value::as_u64) > Some(0));
    Ok(match (mistakes.is_empty(), done) {
        (true, _) => Exit::Ok,
        (false, true) => Exit::Partly,
        (false, false) => Exit::Refused,
    })
}
