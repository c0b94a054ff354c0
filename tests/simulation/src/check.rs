//! What must hold in the end (`DOMAIN.md`), seen from the far ends, the platform, the records and the state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tandem_billing::codec::Entry;
use tandem_billing::record::Record;
use tandem_cluster::entity::{Micros, Table};
use tandem_cluster::state::State;

use tandem_simulation::event;

use crate::caller::Outcome;
use crate::leg::{By, Leg};
use crate::plan::{Deed, Plan};
use crate::run::{Report, Troubles};
use crate::world::World;

/// Far ends and the switch agree on talk time to this.
const TALK_MS: u64 = 1_000;
/// A call whose end falls into a trouble may be noticed so much later: a lease, an adoption, and a BYE's repeats.
const LATE_MS: u64 = 40_000;

/// An answer waits at most so long to be replicated.
const COMMIT_SECS: u32 = 3;
/// A node's death is acted on within so long, if a majority is left.
const UNHEARD_MS: u64 = 15_000;

/// The state of each node that runs.
fn states(world: &World) -> Vec<(u64, Arc<State>, u64)> {
    let machines = world.machines.iter().filter_map(|machine| {
        let process = machine.process.as_ref()?;
        let (state, upto) = process.up(|up| up.core.cluster.state_now())?;
        Some((machine.node, state, upto))
    });
    machines.collect()
}

/// Everybody is done, and nothing is left in the states.
pub fn is_quiet(world: &World) -> bool {
    // Looked at every half second: it costs more than a step.
    if !world.now.is_multiple_of(500) {
        return false;
    }
    unrest(world).is_empty()
}

/// Who is not done, and what is left.
pub fn unrest(world: &World) -> Vec<String> {
    let mut left = Vec::new();
    for caller in &world.callers {
        if caller.outcome == Outcome::Open {
            left.push(format!("call {} is open", caller.plan.key));
        }
    }
    for (at, leg) in world.legs.iter().enumerate() {
        if leg.talks() || leg.ringing.is_some() && !leg.over && leg.answered_at.is_none() {
            left.push(format!("leg {at} of {} is not over", leg.dialog.call_id));
        }
    }
    let states = states(world);
    if states.len() < world.machines.len() {
        left.push(format!("{} nodes are up", states.len()));
    }
    for (node, state, _) in &states {
        let (calls, bindings) = (state.calls().len(), state.bindings().len());
        if calls + bindings > 0 {
            let first = state
                .calls()
                .next()
                .map(|call| format!("{:?} of {}", call.id(), call.asked.sip_call_id));
            let row = state
                .bindings()
                .next()
                .map(|row| format!("{} {:?} {:?}", row.id, row.phase, row.last_error));
            left.push(format!(
                "node {node} has {calls} calls ({first:?}) and {bindings} bindings ({row:?})"
            ));
        }
    }
    left
}

/// All of it.
pub fn all(world: &mut World, plan: &Plan, calm: bool, troubles: &Troubles, report: &mut Report) {
    let states = states(world);
    let now = world.now;
    let mut wrongs = std::mem::take(&mut world.platform.wrongs);
    for left in world.platform.bindings(now) {
        wrongs.push(format!("the platform still has {left}"));
    }
    agree(&states, &mut wrongs);
    let records = records(world, &states, &mut wrongs);
    for (number, record) in (1_u32..).zip(&records) {
        event!("{now} record {number}: {record:?}");
    }
    if let Some((_, state, _)) = states.first() {
        balances(state, plan, &records, &mut wrongs);
    }
    let loses = |deed: &Deed| matches!(deed, Deed::Weather(weather) if weather.loss > 0.0);
    let foul = plan.deeds.iter().any(|(_, deed)| loses(deed));
    calls(world, calm, foul, troubles, &records, &mut wrongs);
    report.records = records.len();
    report.wrongs.extend(wrongs);
}

/// The nodes have one state, whose own invariants hold and in which nothing is left.
fn agree(states: &[(u64, Arc<State>, u64)], wrongs: &mut Vec<String>) {
    let hashes: BTreeSet<(u64, u64)> = states
        .iter()
        .map(|(_, state, upto)| (*upto, state.hash()))
        .collect();
    let ends: BTreeSet<u64> = hashes.iter().map(|(upto, _)| *upto).collect();
    if ends.len() < hashes.len() {
        wrongs.push(format!(
            "nodes with the same entries have other states: {hashes:?}"
        ));
    }
    for (node, state, _) in states {
        if let Err(broken) = state.check().and_then(|()| state.check_index()) {
            wrongs.push(format!("state of node {node}: {broken}"));
        }
        for a in state.a_numbers().filter(|row| state.a_use(row.id) > 0) {
            wrongs.push(format!("node {node}: A {} is held", a.entity.number));
        }
        for x in state.x_numbers().filter(|row| state.x_use(row.id) > 0) {
            wrongs.push(format!("node {node}: X {} is held", x.entity.number));
        }
    }
}

/// The records, which must be alike on all nodes and tell each flow once.
fn records(
    world: &World,
    states: &[(u64, Arc<State>, u64)],
    wrongs: &mut Vec<String>,
) -> Vec<Record> {
    let shelves = world
        .machines
        .iter()
        .map(|machine| machine.shelf.look().rows.clone());
    let shelves: Vec<_> = shelves.collect();
    let longest = shelves
        .iter()
        .max_by_key(|rows| rows.len())
        .cloned()
        .unwrap_or_default();
    for (machine, rows) in world.machines.iter().zip(&shelves) {
        if *rows != longest {
            let (has, of) = (rows.len(), longest.len());
            wrongs.push(format!(
                "node {} has {has} records of {of}, or others",
                machine.node
            ));
        }
    }
    if let Some((node, state, _)) = states.first()
        && state.outbox_last() != longest.len() as u64
    {
        let last = state.outbox_last();
        wrongs.push(format!(
            "node {node} has given {last} records away, {} are stored",
            longest.len()
        ));
    }
    let mut flows = BTreeSet::new();
    let mut records = Vec::new();
    for row in &longest {
        match Entry::decode(row) {
            Ok(Entry::Call(record)) => {
                if !flows.insert(record.cdr.flow_no.0) {
                    wrongs.push(format!("flow {} has two records", record.cdr.flow_no));
                }
                records.push(*record);
            }
            Ok(_) => {}
            Err(error) => wrongs.push(format!("a record cannot be read: {error}")),
        }
    }
    records
}

/// What the accounts have is what they had less what the records say.
fn balances(state: &State, plan: &Plan, records: &[Record], wrongs: &mut Vec<String>) {
    let mut spent: BTreeMap<String, Micros> = BTreeMap::new();
    for record in records {
        let cdr = &record.cdr;
        *spent.entry(cdr.account.clone()).or_default() += cdr.fee.micros();
        *spent.entry(cdr.landing_account.clone()).or_default() += cdr.landing_fee.micros();
        if let Some(axb) = &record.axb {
            *spent.entry(axb.axb_account.clone()).or_default() += axb.axb_fee.micros();
        }
    }
    for (account, had) in [
        ("c1", plan.setup.money),
        ("c2", plan.setup.money),
        ("landing", 0),
        ("axb", 0),
    ] {
        let Some(id) = state.find(Table::Accounts, account) else {
            wrongs.push(format!("account {account} is gone"));
            continue;
        };
        let (money, reserved) = state.account_balance(id);
        let want = had - spent.get(account).copied().unwrap_or(0);
        if (money, reserved) != (want, 0) {
            wrongs.push(format!(
                "account {account} has {money} and {reserved} reserved, not {want} and 0"
            ));
        }
    }
}

/// Each call as its far ends have seen it.
fn calls(
    world: &World,
    calm: bool,
    foul: bool,
    troubles: &Troubles,
    records: &[Record],
    wrongs: &mut Vec<String>,
) {
    let mut by_call_id: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in records {
        by_call_id
            .entry(&record.cdr.sip_call_id)
            .or_default()
            .push(record);
    }
    let mut phones: BTreeMap<(usize, String), Vec<&Leg>> = BTreeMap::new();
    for (leg, call) in &world.called {
        let leg = &world.legs[*leg];
        let mark = leg
            .ringing
            .as_ref()
            .and_then(|ringing| ringing.invite.mark());
        phones
            .entry((*call, mark.unwrap_or("?").to_owned()))
            .or_default()
            .push(leg);
    }
    for caller in &world.callers {
        let key = caller.plan.key;
        if calm {
            let callee = &world.callees[key];
            let patient = callee.decide_ms + 1_000 < caller.plan.patience_ms;
            let want = match callee.answers.starts_with('2') {
                _ if !patient => None,
                true => Some(Outcome::Talked),
                false => Some(Outcome::Refused(486)),
            };
            if want.is_some_and(|want| want != caller.outcome) || caller.tries > 1 {
                let (outcome, tries) = (caller.outcome, caller.tries);
                wrongs.push(format!(
                    "call {key} came to {outcome:?} after {tries} tries, not {want:?}"
                ));
            }
        }
        for (nth, leg) in caller.legs.iter().enumerate() {
            let leg = &world.legs[*leg];
            let found = by_call_id
                .get(leg.dialog.call_id.as_str())
                .map_or(&[][..], Vec::as_slice);
            let answered: Vec<&&Record> = found
                .iter()
                .filter(|record| record.cdr.answered_at.is_some())
                .collect();
            let name = format!("call {key}-{nth}");
            let Some(since) = leg.answered_at else {
                unheard(&name, &answered, foul, wrongs);
                continue;
            };
            let phone = phones.get(&(key, format!("{key}-{nth}")));
            let phone = phone.and_then(|legs| legs.iter().find(|leg| leg.answered_at.is_some()));
            let Some(phone) = phone else {
                wrongs.push(format!(
                    "{name} was answered to the customer, and by no phone"
                ));
                continue;
            };
            let ended = |leg: &Leg| leg.ended.unwrap_or((world.now, By::Switch));
            let (near, far) = (ended(leg), ended(phone));
            // Who hung up first, if anybody did who may.
            let own = [near, far]
                .into_iter()
                .filter(|(_, by)| *by == By::Me)
                .map(|(at, _)| at)
                .min();
            let [record] = answered.as_slice() else {
                wrongs.push(format!(
                    "{name} talked and has {} answered records of {}",
                    answered.len(),
                    found.len()
                ));
                continue;
            };
            let cdr = &record.cdr;
            let reason = cdr.end_reason.to_string();
            let Some(own) = own else {
                let limit = ["balance_exhausted", "max_duration"].contains(&reason.as_str());
                if !limit {
                    wrongs.push(format!(
                        "{name} was ended by the switch: {reason}, {near:?} {far:?}"
                    ));
                }
                continue;
            };
            let last = near.0.max(far.0);
            let (least, most) = (
                own.saturating_sub(since),
                last.saturating_sub(phone.answered_at.unwrap_or(since)),
            );
            let late = if troubles.felt(own) || troubles.felt(since) {
                LATE_MS
            } else {
                0
            };
            let held = cdr
                .ended_at
                .ms()
                .saturating_sub(cdr.answered_at.map_or(0, |at| at.ms()));
            // Who hangs up while his node is dead may never be heard: what was talked since it was last heard is not
            // charged.
            let unheard = if reason == "node_failure" {
                late.min(UNHEARD_MS)
            } else {
                0
            };
            if held + TALK_MS + unheard < least || held > most + TALK_MS + late {
                wrongs.push(format!(
                    "{name} talked {least} to {most} ms, its record says {held} ({reason})"
                ));
            }
        }
    }
}

/// Nobody is charged for an answer that he never heard. On a network that loses datagrams it may have been sent; and of a
/// node that died meanwhile it is not known, so that up to its wait for the replication may be on the record.
fn unheard(name: &str, answered: &[&&Record], foul: bool, wrongs: &mut Vec<String>) {
    for record in answered {
        let (reason, held) = (record.cdr.end_reason.to_string(), record.cdr.hold_secs);
        let at_most = match &*reason {
            "cancelled" | "no_answer" => 0,
            _ if foul => continue,
            "node_failure" => COMMIT_SECS,
            _ => 0,
        };
        if held > at_most {
            wrongs.push(format!(
                "{name} heard no answer, its record says {held} s ({reason})"
            ));
        }
    }
}
