//! The state as rows of JSON: what every list and every item of the admin API shows. The only place that knows how the
//! state is read.

use crate::dto::{self, Dto, Fault, Names};
use crate::warnings::{self, Warner};
use serde_json::{Map, Value, json};
use tandem_billing::{Money, Time};
use tandem_cluster::command::{AxDeed, MemberDeed, Refusal};
use tandem_cluster::entity::{Entity, Id, Micros, Millis, Row, Table};
use tandem_cluster::state::{Audit, Binding, Call, Deed, Device, NO_CALL, Paid, State};

/// A state's names.
pub struct StateNames<'s>(pub &'s State);

impl Names for StateNames<'_> {
    fn name(&self, table: Table, id: Id) -> Option<String> {
        let state = self.0;
        match table {
            Table::Interfaces => state.interface(id).map(|row| row.entity.name.clone()),
            Table::XNumbers => state.x(id).map(|row| row.entity.number.clone()),
            Table::AGroups => state.a_group(id).map(|row| row.entity.name.clone()),
            Table::ANumbers => state.a(id).map(|row| {
                let group = self
                    .name(Table::AGroups, row.entity.group)
                    .unwrap_or_default();
                format!("{group}/{}", row.entity.number)
            }),
            Table::MappingGateways => state.mapping_gateway(id).map(|row| row.entity.name.clone()),
            Table::RoutingGateways => state.routing_gateway(id).map(|row| row.entity.name.clone()),
            Table::Accounts => state.account(id).map(|row| row.entity.account.clone()),
            Table::FeeRates => state
                .fee_rate(id)
                .map(|row| format!("{}/{}", row.entity.group, row.entity.prefix)),
            Table::AxBindings => state
                .ax_binding(id)
                .map(|row| format!("{}/{}", row.entity.a_number, row.entity.x_number)),
        }
    }

    fn find(&self, table: Table, name: &str) -> Option<Id> {
        self.0.find(table, name)
    }
}

/// The row that a path names: by its name, or by its id where no row has that name.
pub fn locate(state: &State, table: Table, key: &str) -> Option<Row<Entity>> {
    let id = state.find(table, key).or_else(|| key.parse().ok())?;
    state.row(table, id)
}

/// Ids of a table, ascending.
pub fn ids<'s>(state: &'s State, table: Table) -> Box<dyn Iterator<Item = Id> + 's> {
    match table {
        Table::Interfaces => Box::new(state.interfaces().map(|row| row.id)),
        Table::XNumbers => Box::new(state.x_numbers().map(|row| row.id)),
        Table::AGroups => Box::new(state.a_groups().map(|row| row.id)),
        Table::ANumbers => Box::new(state.a_numbers().map(|row| row.id)),
        Table::MappingGateways => Box::new(state.mapping_gateways().map(|row| row.id)),
        Table::RoutingGateways => Box::new(state.routing_gateways().map(|row| row.id)),
        Table::Accounts => Box::new(state.accounts().map(|row| row.id)),
        Table::FeeRates => Box::new(state.fee_rates().map(|row| row.id)),
        Table::AxBindings => Box::new(state.ax_bindings().map(|row| row.id)),
    }
}

/// Live columns of a table, which people read but never write.
pub fn live(table: Table) -> &'static [&'static str] {
    match table {
        Table::Interfaces => &[
            "x_count",
            "x_free",
            "ax_binding_count",
            "ax_bound_count",
            "bindings",
            "let_go",
            "last_error",
            "last_error_at",
        ],
        Table::XNumbers => &["concurrency"],
        Table::AGroups => &["member_count", "free_count"],
        Table::ANumbers => &["concurrency"],
        Table::MappingGateways => &["calls"],
        Table::RoutingGateways => &["calls", "past_calls"],
        Table::Accounts => &["reserved", "available"],
        Table::FeeRates => &[],
        Table::AxBindings => &["state", "bound_at", "last_error", "last_error_at"],
    }
}

/// One row without its warnings: its fields, ids of what it refers to, live columns, and what every row has.
pub fn view(state: &State, row: &Row<Entity>) -> Value {
    let names = StateNames(state);
    let table = dto::table_of(&row.entity);
    let mut fields = Dto::of(&row.entity, &row.memo, &names).fields();
    for (field, target) in dto::references(table) {
        let id = fields
            .get(*field)
            .and_then(Value::as_str)
            .and_then(|name| state.find(*target, name));
        fields.insert(format!("{field}_id"), json!(id));
    }
    for (field, value) in live_values(state, row) {
        fields.insert(field.to_owned(), value);
    }
    fields.insert("id".into(), row.id.into());
    fields.insert("version".into(), row.version.into());
    fields.insert("created_at".into(), time(row.created_at));
    fields.insert("updated_at".into(), time(row.updated_at));
    Value::Object(fields)
}

fn live_values(state: &State, row: &Row<Entity>) -> Vec<(&'static str, Value)> {
    let id = row.id;
    match &row.entity {
        Entity::Interface(_) => {
            let (x_count, x_free) = state.x_pool(id);
            let (ax_count, ax_bound) = state.ax_count(id);
            let error = state.interface_error(id);
            vec![
                ("x_count", x_count.into()),
                ("x_free", x_free.into()),
                ("ax_binding_count", ax_count.into()),
                ("ax_bound_count", ax_bound.into()),
                (
                    "bindings",
                    state
                        .bindings()
                        .filter(|binding| binding.interface == id)
                        .count()
                        .into(),
                ),
                ("let_go", state.let_go(id).into()),
                ("last_error", json!(error.map(|(_, text)| text))),
                (
                    "last_error_at",
                    error.map_or(Value::Null, |(at, _)| time(at)),
                ),
            ]
        }
        Entity::XNumber(_) => vec![
            ("concurrency", state.x_use(id).into()),
            ("state", json!(state.x_state(id))),
        ],
        Entity::AGroup(_) => {
            let (members, free) = state.a_pool(id);
            vec![
                ("member_count", members.into()),
                ("free_count", free.into()),
            ]
        }
        Entity::ANumber(_) => vec![("concurrency", state.a_use(id).into())],
        Entity::MappingGateway(_) => vec![("calls", state.mapping_gateway_calls(id).into())],
        Entity::RoutingGateway(_) => {
            vec![
                ("calls", state.gateway_calls(id).into()),
                ("past_calls", state.gateway_past_calls(id).into()),
            ]
        }
        Entity::Account(account) => {
            let (balance, reserved) = state.account_balance(id);
            let available = balance
                .saturating_add(account.limit_money)
                .saturating_sub(reserved);
            vec![
                ("money", money(balance)),
                ("reserved", money(reserved)),
                ("available", money(available)),
            ]
        }
        Entity::FeeRate(_) => Vec::new(),
        Entity::AxBinding(_) => {
            let live = state.ax_live(id).cloned().unwrap_or_default();
            vec![
                ("state", json!(live.phase)),
                ("bound_at", optional(live.bound_at)),
                ("last_error", json!(live.last_error)),
                ("last_error_at", optional(live.last_error_at)),
            ]
        }
    }
}

/// As [`view`], with `warnings` where the table has some.
pub fn warned(state: &State, warner: &Warner<'_>, row: &Row<Entity>) -> Value {
    let mut shown = view(state, row);
    if warnings::has(dto::table_of(&row.entity))
        && let Value::Object(fields) = &mut shown
    {
        fields.insert("warnings".into(), json!(warner.of(&row.entity)));
    }
    shown
}

/// Takes from a written row what is only ever read, resolves `<field>_id`, and answers the version it names.
pub fn writable(
    state: &State,
    table: Table,
    fields: &mut Map<String, Value>,
) -> Result<Option<u32>, Fault> {
    for (field, target) in dto::references(table) {
        let id_field = format!("{field}_id");
        let Some(id) = fields.remove(&id_field) else {
            continue;
        };
        // The name wins: a row that was read, changed and sent back has both, and people change the name.
        if id.is_null() || fields.get(*field).is_some_and(|name| !name.is_null()) {
            continue;
        }
        let name = id
            .as_u64()
            .and_then(|id| Id::try_from(id).ok())
            .and_then(|id| StateNames(state).name(*target, id))
            .ok_or_else(|| {
                Fault::new(id_field, format!("no {} with id {id}", dto::noun(*target)))
            })?;
        fields.insert((*field).to_owned(), Value::String(name));
    }
    let shown_only = ["id", "created_at", "updated_at", "warnings"];
    for field in shown_only.iter().chain(live(table)) {
        fields.remove(*field);
    }
    match fields.remove("version") {
        None | Some(Value::Null) => Ok(None),
        Some(version) => match version
            .as_u64()
            .and_then(|version| u32::try_from(version).ok())
        {
            Some(version) => Ok(Some(version)),
            None => Err(Fault::new("version", format!("{version} is not a version"))),
        },
    }
}

/// One binding.
pub fn binding(state: &State, binding: &Binding) -> Value {
    json!({
        "id": binding.id,
        "a_number": binding.a,
        "x_number": binding.x,
        "b_number": binding.b,
        "b_submitted": binding.b_submitted,
        "a_group": StateNames(state).name(Table::AGroups, binding.a_group),
        "interface_name": StateNames(state).name(Table::Interfaces, binding.interface),
        "interface_id": binding.interface,
        "created_at": time(binding.created_at),
        "bound_at": optional(binding.bound_at),
        "expires_at": optional(binding.expires_at),
        "unbind_at": optional(binding.unbind_at),
        "related_data": {
            "handle": binding.handle,
            "reply": binding.raw,
            "call_id": binding.call.to_string(),
        },
        "call_id": binding.call.to_string(),
        "trial": binding.call == NO_CALL,
        "owner_node": owner(state, binding.owner),
        "state": binding.phase,
        "last_error": binding.last_error,
    })
}

/// One call in progress.
pub fn call(state: &State, call: &Call, now: Millis) -> Value {
    let asked = &*call.asked;
    let attempt = call.attempt.as_deref();
    let stage = match (&call.refused, call.answered_at) {
        (_, Some(_)) => "answered",
        (Some(_), None) => "refused",
        (None, None) => "setup",
    };
    json!({
        "id": asked.call.to_string(),
        "node": owner(state, call.owner),
        "state": stage,
        "caller_access": asked.caller_access,
        "caller": asked.caller,
        "caller_out": attempt.map(|attempt| &attempt.caller_out),
        "callee_access": asked.callee_access,
        "callee": asked.callee,
        "callee_out": attempt.map(|attempt| &attempt.callee_out),
        "mapping_gateway": StateNames(state).name(Table::MappingGateways, asked.gateway),
        "routing_gateway": attempt.map(|attempt| &attempt.gateway_name),
        "attempt": attempt.map(|attempt| attempt.number),
        "a_number": call.axb.as_deref().map(|axb| &axb.a),
        "x_number": call.axb.as_deref().map(|axb| &axb.x),
        "interface_name": call.axb.as_deref().map(|axb| &axb.interface),
        "binding_id": call.binding,
        "account": call.customer.as_ref().and_then(|tariff| StateNames(state).name(Table::Accounts, tariff.account)),
        "reserved": money(call.reserved),
        "paid_upto_secs": call.credit.map(|credit| credit.upto_secs),
        "started_at": time(asked.started_at),
        "answered_at": optional(call.answered_at),
        "talk_secs": call.answered_at.map(|answered| now.saturating_sub(answered) / 1_000),
        "pdd_ms": call.pdd_ms,
        "codec": call.codec,
        "caller_ip": asked.remote.ip(),
        "sip_call_id": asked.sip_call_id,
    })
}

/// One device.
pub fn device(state: &State, device: &Device) -> Value {
    json!({
        "access_name": device.access_name,
        "label": device.label,
        "settings": device.settings,
        "created_at": time(device.created_at),
        "accessed_at": time(device.accessed_at),
        "address": device.address,
        "version": device.version,
        "level": state.spoken(device.node),
        "node": device.node,
        "epoch": device.epoch,
        "alive": alive(state, device),
        "draining": device.draining,
    })
}

/// Whether a device's lease runs, by the log's time.
pub fn alive(state: &State, device: &Device) -> bool {
    let tenure = device.epoch.and_then(|epoch| state.tenure(epoch));
    tenure.is_some_and(|tenure| tenure.lease_until() > state.at())
}

/// One payment.
pub fn payment(paid: &Paid) -> Value {
    json!({
        "number": paid.number,
        "at": time(paid.at),
        "actor": paid.actor,
        "account": paid.account_number,
        "account_id": paid.account,
        "type": paid.kind,
        "amount": money(paid.amount),
        "balance": money(paid.balance),
        "memo": paid.memo,
    })
}

/// One line of the audit.
pub fn audit(state: &State, line: &Audit) -> Value {
    let names = StateNames(state);
    let row = |entity: &Option<Entity>| entity.as_ref().map(|entity| Dto::of(entity, "", &names));
    let (before, after) = (row(&line.before), row(&line.after));
    let named = |table: Table, id: Id| {
        let name = after
            .as_ref()
            .or(before.as_ref())
            .map(Dto::key)
            .unwrap_or_else(|| id.to_string());
        format!("{}/{name}", dto::path(table))
    };
    let (action, target) = match &line.deed {
        Deed::Put { table, id } if before.is_none() => ("add", named(*table, *id)),
        Deed::Put { table, id } => ("set", named(*table, *id)),
        Deed::Remove { table, id } => ("remove", named(*table, *id)),
        Deed::Pay { account, amount } => {
            let account = names
                .name(Table::Accounts, *account)
                .unwrap_or_else(|| account.to_string());
            (
                "pay",
                format!("accounts/{account} {}", Money::from_micros(*amount)),
            )
        }
        Deed::AskUnbind { binding } => ("unbind", format!("bindings/{binding}")),
        Deed::ForceUnbind { binding } => ("force_unbind", format!("bindings/{binding}")),
        Deed::PutMany { table, rows } => ("import", format!("{}/{rows} rows", dto::path(*table))),
        Deed::Regions {
            rows,
            replaced: true,
        } => ("replace", format!("regions/{rows} rows")),
        Deed::Regions { rows, .. } => ("import", format!("regions/{rows} rows")),
        Deed::AskAx { ax, deed } => (
            match deed {
                AxDeed::Bind => "bind",
                AxDeed::Unbind => "unbind",
                AxDeed::ForceUnbind => "force_unbind",
            },
            named(Table::AxBindings, *ax),
        ),
        Deed::Device { access_name } => ("set", format!("devices/{access_name}")),
        Deed::Trial { interface, .. } => {
            let name = names.name(Table::Interfaces, *interface);
            let name = name.unwrap_or_else(|| interface.to_string());
            ("test", format!("interfaces/{name}"))
        }
        Deed::Member { node, deed, detail } => (
            match deed {
                MemberDeed::Add => "add",
                MemberDeed::Vote => "vote",
                MemberDeed::Remove => "remove",
                MemberDeed::Move => "move",
            },
            format!("cluster/{node} {detail}").trim_end().to_owned(),
        ),
        Deed::HoldLevel { hold } => (
            if *hold { "hold" } else { "release" },
            "cluster/level".to_owned(),
        ),
        Deed::Raise { from, to } => ("raise", format!("cluster/level {from} to {to}")),
    };
    json!({
        "number": line.number,
        "at": time(line.at),
        "actor": line.actor,
        "action": action,
        "target": target,
        "before": before.map(|row| row.fields()),
        "after": after.map(|row| row.fields()),
    })
}

/// What a refusal says to people, for lists of them.
pub fn refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Invalid { field, text } => format!("`{field}`: {text}"),
        Refusal::VersionConflict { version } => {
            format!("changed meanwhile, its version is {version} now")
        }
        Refusal::NotFound => "not found".into(),
        Refusal::InUse { by } => format!("used by {by}"),
        other => format!("refused, {other:?}"),
    }
}

/// The access name of a tenure; its number once it is over.
fn owner(state: &State, epoch: u32) -> String {
    state
        .tenure(epoch)
        .map_or_else(|| format!("#{epoch}"), |tenure| tenure.access_name.clone())
}

/// RFC 3339 UTC with milliseconds.
pub fn time(at: Millis) -> Value {
    Value::String(Time::from_ms(at).to_string())
}

fn optional(at: Option<Millis>) -> Value {
    at.map_or(Value::Null, time)
}

/// A decimal string.
pub fn money(amount: Micros) -> Value {
    Value::String(Money::from_micros(amount).to_string())
}
