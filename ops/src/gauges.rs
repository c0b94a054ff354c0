//! What the replicated state holds, as gauges: written at each scrape, so that a gateway or interface that is removed
//! disappears with its row. Every node shows the same; counters of what a node did are moved where it is done.

use std::fmt::Display;
use tandem_billing::Money;
use tandem_cluster::entity::AccountKind;
use tandem_cluster::state::{Phase, State};

/// The gauges in Prometheus' text format.
pub fn text(state: &State) -> String {
    [
        calls(state),
        bindings(state),
        pools(state),
        gateways(state),
        money(state),
        devices(state),
    ]
    .concat()
}

fn calls(state: &State) -> String {
    let counts = state.counts();
    let mut calls = Family::new("calls", "Open calls of the whole cluster by stage.");
    calls.add(
        &[("stage", "setup")],
        counts.calls.saturating_sub(counts.answered),
    );
    calls.add(&[("stage", "answered")], counts.answered);
    let mut outbox = Family::new("outbox_records", "Records not yet stored by every voter.");
    outbox.add(&[], counts.outbox);
    calls.0 + &outbox.0
}

fn bindings(state: &State) -> String {
    let mut counts = [
        (Phase::Binding, "binding", 0_u64),
        (Phase::Bound, "bound", 0),
        (Phase::Unbinding, "unbinding", 0),
        (Phase::Orphan, "orphan", 0),
    ];
    for binding in state.bindings() {
        for (phase, _, count) in &mut counts {
            *count += u64::from(*phase == binding.phase);
        }
    }
    let mut bindings = Family::new("bindings", "Bindings by state.");
    for (_, word, count) in counts {
        bindings.add(&[("state", word)], count);
    }
    let mut let_go = Family::new(
        "bindings_let_go",
        "Bindings that a platform let go before we did, ever.",
    );
    for row in state.interfaces() {
        let_go.add(&[("interface", &row.entity.name)], state.let_go(row.id));
    }
    let mut unverified = Family::new(
        "interface_tls_unverified",
        "1 while an interface does not verify the certificate of its platform.",
    );
    for row in state.interfaces() {
        unverified.add(
            &[("interface", &row.entity.name)],
            u8::from(!row.entity.tls_verify),
        );
    }
    bindings.0 + &let_go.0 + &unverified.0
}

fn pools(state: &State) -> String {
    let x = state
        .interfaces()
        .map(|row| ("x", &row.entity.name, state.x_pool(row.id)));
    let a = state
        .a_groups()
        .map(|row| ("a", &row.entity.name, state.a_pool(row.id)));
    let mut all = Family::new(
        "pool_numbers",
        "Numbers of a pool: X of an interface, A of a group.",
    );
    let mut free = Family::new(
        "pool_numbers_free",
        "Numbers of a pool that have a free line.",
    );
    for (kind, pool, (members, idle)) in x.chain(a) {
        all.add(&[("kind", kind), ("pool", pool)], members);
        free.add(&[("kind", kind), ("pool", pool)], idle);
    }
    all.0 + &free.0
}

fn gateways(state: &State) -> String {
    let mapping = state.mapping_gateways().map(|row| {
        (
            "mapping",
            &row.entity.name,
            state.mapping_gateway_calls(row.id),
            row.entity.capacity,
        )
    });
    let routing = state.routing_gateways().map(|row| {
        (
            "routing",
            &row.entity.name,
            state.gateway_calls(row.id),
            row.entity.capacity,
        )
    });
    let mut used = Family::new("gateway_calls", "Calls that hold a line of a gateway.");
    let mut lines = Family::new("gateway_capacity", "Lines of a gateway.");
    for (kind, name, calls, capacity) in mapping.chain(routing) {
        used.add(&[("kind", kind), ("gateway", name)], calls);
        lines.add(&[("kind", kind), ("gateway", name)], capacity);
    }
    used.0 + &lines.0
}

fn money(state: &State) -> String {
    let mut sums = [
        (AccountKind::Normal, "normal", 0_i64),
        (AccountKind::Card, "card", 0),
        (AccountKind::Settlement, "settlement", 0),
    ];
    for row in state.accounts() {
        for (kind, _, sum) in &mut sums {
            if *kind == row.entity.kind {
                *sum = sum.saturating_add(state.account_balance(row.id).0);
            }
        }
    }
    let mut balance = Family::new(
        "balance",
        "Sum of the balances by account type, in currency units.",
    );
    for (_, word, sum) in sums {
        balance.add(&[("type", word)], Money::from_micros(sum));
    }
    let mut reserved = Family::new(
        "reserved",
        "Money set aside for running calls, in currency units.",
    );
    reserved.add(&[], Money::from_micros(state.counts().reserved_money));
    balance.0 + &reserved.0
}

fn devices(state: &State) -> String {
    let held = state
        .devices()
        .filter(|device| device.epoch.is_some())
        .count();
    let mut devices = Family::new("devices", "Access names by whether a node holds them.");
    devices.add(&[("held", "yes")], held);
    devices.add(&[("held", "no")], state.devices().len() - held);
    devices.0
}

/// A metric with its samples, which the format wants side by side.
struct Family(String, &'static str);

impl Family {
    fn new(name: &'static str, help: &str) -> Family {
        let head = format!("# HELP tandem_state_{name} {help}\n# TYPE tandem_state_{name} gauge\n");
        Family(head, name)
    }

    fn add(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, text)| {
                let text = text
                    .replace('\\', "\\\\")
                    .replace('"', "\\\"")
                    .replace('\n', "\\n");
                format!("{label}=\"{text}\"")
            })
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        self.0 += &format!("tandem_state_{}{labels} {value}\n", self.1);
    }
}
