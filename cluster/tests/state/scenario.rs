//! A small language in which the rules of numbers and bindings are told: what is there, then what happens and what comes
//! of it. Steps are separated by semicolons; `=>` says what is expected.
//!
//! There: `A 2101`, `A 2101 x2` (line limit), `X 1701 x3 for 0571*|@571 only` (caller list; `only`: no other callers),
//! `relation 2101/1701` (bound), `mode restrict`, `allows ax`, `allows both`, `scope pair`, `scope x callee`,
//! `scope x exclusive`, `sets callees`, `delay 0`, `rest 0`, `holds missing`, `two gateways`.
//!
//! Happens: `c1 calls 138 from 0571`, `c1 bound`, `c1 bound as 1702`, `c1 answered`, `c1 accepted`, `c1 ends`,
//! `c1 unbound`, `c1 missing`, `c1 unbind fails`, `c1 fails number` (`platform`, `unknown`, `503`), `c1 asked back`,
//! `c1 forced`, `bind 2101/1701`, `unbind`, `force`, `platform binds 2101/1701`, `refuses`, `is silent on`, `releases`,
//! `disable 1701`, `remove 1701`, `limit 1701 x1`, `wait 2000`, `node dies`.
//!
//! Comes: `2101/1701` with `*` for any number, `relation 2101/1701`, `waiting 2101/1701`, `no number`, `not allowed`,
//! `bind failed`, `ok`, `in use`, `refused`, `turn c2`; of `c1 row`: a phase or `gone`; of `A 2101` and `X 1701`: how
//! many lines are taken, of `state 1701`: its state.

use crate::world::*;
use std::collections::BTreeMap;
use tandem_cluster::command::*;
use tandem_cluster::entity::*;
use tandem_cluster::state::{AxPhase, Phase, XState};

struct Seen {
    call: CallId,
    attempt: u16,
    binding: Option<BindingId>,
}

pub struct Scenario {
    w: World,
    rows: Rows,
    calls: BTreeMap<String, Seen>,
}

/// Tells every row: rule, what is there, what happens.
pub fn tell(table: &[(&str, &str, &str)]) {
    for (rule, there, happens) in table {
        let mut scenario = Scenario::new(there);
        for step in happens.split(';').map(str::trim) {
            let (what, expected) = match step.split_once("=>") {
                Some((what, expected)) => (what.trim(), Some(expected.trim())),
                None => (step, None),
            };
            let came = scenario.happens(what);
            if let Some(expected) = expected {
                assert!(
                    fits(&came, expected),
                    "{rule}\n  there: {there}\n  {step}\n  came: {came}"
                );
            }
        }
    }
}

/// `*` stands for any one number.
fn fits(came: &str, expected: &str) -> bool {
    let (mut came, mut expected) = (came.split(['/', ' ']), expected.split(['/', ' ']));
    loop {
        match (came.next(), expected.next()) {
            (None, None) => return true,
            (Some(came), Some(expected)) if came == expected || expected == "*" => {}
            _ => return false,
        }
    }
}

fn times(word: &str) -> u32 {
    word.strip_prefix('x')
        .and_then(|n| n.parse().ok())
        .unwrap_or_else(|| panic!("`{word}` is no limit"))
}

impl Scenario {
    fn new(there: &str) -> Self {
        let (mut w, rows) = World::usual(0, 0);
        w.change_interface(rows.interface, |i| i.type_rules.ax = true);
        let mut scenario = Scenario {
            w,
            rows,
            calls: BTreeMap::new(),
        };
        for item in there
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            scenario.is_there(item);
        }
        scenario
    }

    fn is_there(&mut self, item: &str) {
        let words: Vec<&str> = item.split(' ').collect();
        let (rows, w) = (self.rows, &mut self.w);
        match words[..] {
            ["A", number, ref limit @ ..] => {
                let line_limit = limit.first().map_or(1, |limit| times(limit));
                let number = number.to_owned();
                w.put(Entity::ANumber(ANumber {
                    group: rows.group,
                    number,
                    line_limit,
                }));
            }
            ["X", number, ref rest @ ..] => {
                let Entity::XNumber(mut x) = x_number(rows.interface, number) else {
                    unreachable!()
                };
                let list = rest
                    .iter()
                    .position(|word| *word == "for")
                    .map(|at| rest[at + 1]);
                let callers = list.into_iter().flat_map(|list| list.split('|'));
                x.callers = callers.map(str::to_owned).collect();
                x.allow_other_callers = !rest.contains(&"only");
                x.line_limit = rest
                    .first()
                    .filter(|word| word.starts_with('x'))
                    .map_or(1, |word| times(word));
                w.put(Entity::XNumber(x));
            }
            ["relation", pair] => {
                let (a, x) = pair.split_once('/').expect("A/X");
                w.bound_relation(rows.interface, a, x);
            }
            ["mode", mode] => {
                let mode = match mode {
                    "restrict" => XSelect::Restrict,
                    "prefer" => XSelect::Prefer,
                    _ => XSelect::None,
                };
                w.change_mapping(rows.mapping, |g| g.x_select_mode = mode);
            }
            ["allows", what] => w.change_mapping(rows.mapping, |g| {
                (g.allow_axb, g.allow_ax) = (
                    what == "axb" || what == "both",
                    what == "ax" || what == "both",
                );
            }),
            ["scope", ref scope @ ..] => w.change_interface(rows.interface, |i| {
                i.type_rules.conflict = match scope {
                    ["pair"] => Conflict::Pair,
                    ["x", "exclusive"] => Conflict::XExclusive,
                    _ => Conflict::XCallee,
                };
            }),
            ["sets", "callees"] => {
                w.change_interface(rows.interface, |i| i.type_rules.set_callee = true)
            }
            ["delay", secs] => {
                w.change_interface(rows.interface, |i| i.unbind_delay_secs = secs.parse().ok())
            }
            ["rest", ms] => {
                w.change_interface(rows.interface, |i| i.pair_rest_ms = ms.parse().expect("ms"))
            }
            ["holds", "missing"] => w.change_interface(rows.interface, |i| i.hold_missing = true),
            ["two", "gateways"] => {
                let axb = w
                    .state
                    .routing_gateway(rows.routing)
                    .expect("row")
                    .entity
                    .axb
                    .clone();
                let group = w.put(Entity::AGroup(AGroup { name: "gb".into() }));
                let other = w.put(interface("other"));
                w.put(a_number(group, "2209"));
                w.put(x_number(other, "1809"));
                let axb = axb.map(|axb| AxbRoute {
                    a_group: group,
                    interface: other,
                    ..axb
                });
                w.put(Entity::RoutingGateway(RoutingGateway {
                    priority: 20,
                    axb,
                    ..routing("second")
                }));
            }
            _ => panic!("nothing like `{item}` can be there"),
        }
    }

    fn happens(&mut self, what: &str) -> String {
        let words: Vec<&str> = what.split(' ').collect();
        match words[..] {
            [call, "calls", callee] => self.call(call, "0755", callee),
            [call, "calls", callee, "from", caller] => self.call(call, caller, callee),
            [call, "fails", how] => {
                let code = String::new();
                let failure = match how {
                    "number" => Failure::NumberRefused { code },
                    "platform" => Failure::PlatformRefused { code },
                    "unknown" => Failure::BindUnknown { code },
                    status => Failure::Gateway {
                        status: status.parse().expect("status"),
                    },
                };
                let seen = &self.calls[call];
                let (id, attempt) = (seen.call, seen.attempt);
                let reply = self.w.next(id, attempt, failure);
                self.goes(call, id, reply)
            }
            [call, "row"] => match self.calls[call]
                .binding
                .and_then(|id| self.w.state.binding(id))
            {
                None => "gone".into(),
                Some(row) => match row.phase {
                    Phase::Binding => "binding",
                    Phase::Bound => "bound",
                    Phase::Unbinding => "unbinding",
                    Phase::Orphan => "orphan",
                }
                .into(),
            },
            [call, "bound"] => {
                let binding = self.binding(call);
                let x = self.w.binding(binding).x.clone();
                said(&self.w.bound_as(binding, &x))
            }
            [call, "bound", "as", x] => said(&self.w.bound_as(self.binding(call), x)),
            [call, "answered"] => match self.w.answered(self.calls[call].call) {
                None => "no moment".into(),
                Some(moment) => format!("release in {} s", (moment - self.w.now) / 1_000),
            },
            [call, "accepted"] => {
                let seen = &self.calls[call];
                let (id, attempt) = (seen.call, seen.attempt);
                self.w.accepted(id, attempt);
                self.turn()
            }
            [call, "ends"] => {
                self.w.end(self.calls[call].call);
                self.turn()
            }
            [call, "unbound"] => said(&self.w.unbound(self.binding(call), false)),
            [call, "missing"] => said(&self.w.unbound(self.binding(call), true)),
            [call, "unbind", "fails"] => {
                let binding = self.binding(call);
                let epoch = self.w.binding(binding).owner;
                let error = "no answer".into();
                let failed = UnbindFailed {
                    binding,
                    epoch,
                    error,
                };
                said(&self.w.apply(Command::UnbindFailed(failed)))
            }
            [call, "asked", "back"] => {
                let (binding, actor) = (self.binding(call), "op".into());
                said(&self.w.apply(Command::AskUnbind { binding, actor }))
            }
            [call, "forced"] => {
                let (binding, actor) = (self.binding(call), "op".into());
                said(&self.w.apply(Command::ForceUnbind { binding, actor }))
            }
            ["bind", pair] => self.ask(pair, AxDeed::Bind),
            ["unbind", pair] => self.ask(pair, AxDeed::Unbind),
            ["force", pair] => self.ask(pair, AxDeed::ForceUnbind),
            ["platform", "binds", pair] => {
                let ax = self.relation(pair);
                said(&self.w.ax_bound(ax))
            }
            ["platform", "refuses", pair] => {
                let ax = self.relation(pair);
                said(&self.w.ax_failed(ax, false))
            }
            ["platform", "is", "silent", "on", pair] => {
                let ax = self.relation(pair);
                said(&self.w.ax_failed(ax, true))
            }
            ["platform", "releases", pair] => {
                let ax = self.relation(pair);
                said(&self.w.ax_result(ax, AxResult::Unbound { missing: false }))
            }
            ["relation", pair] => {
                let ax = self.relation(pair);
                match self.w.ax_phase(ax) {
                    AxPhase::Unbound => "unbound",
                    AxPhase::Binding => "binding",
                    AxPhase::Bound => "bound",
                    AxPhase::Unbinding => "unbinding",
                    AxPhase::Error => "error",
                }
                .into()
            }
            ["delete", "relation", pair] => {
                let ax = self.relation(pair);
                said(&self.w.remove(Table::AxBindings, ax))
            }
            ["A", number] => self.w.state.a_use(self.w.a(number)).to_string(),
            ["X", number] => self.w.state.x_use(self.w.x(number)).to_string(),
            ["state", number] => {
                let id = self.w.state.find(Table::XNumbers, number);
                match id.map(|id| self.w.state.x_state(id)) {
                    None => "gone",
                    Some(XState::Active) => "active",
                    Some(XState::Quarantined) => "quarantined",
                    Some(XState::Disabled) => "disabled",
                }
                .into()
            }
            ["error", call] => self
                .w
                .binding(self.binding(call))
                .last_error
                .clone()
                .unwrap_or_default(),
            ["let", "go"] => self.w.state.let_go(self.rows.interface).to_string(),
            ["disable", x] => {
                self.w.change_x(x, |x| x.disabled = true);
                "ok".into()
            }
            ["remove", x] => said(&self.w.remove(Table::XNumbers, self.w.x(x))),
            ["limit", x, limit] => {
                self.w.change_x(x, |x| x.line_limit = times(limit));
                "ok".into()
            }
            ["wait", ms] => {
                self.w.wait(ms.parse().expect("ms"));
                "ok".into()
            }
            ["node", "dies"] => {
                let lost = self.w.epoch;
                self.w.epoch = self.w.claim("n2", 2, 1);
                self.w.wait(3_000);
                said(&self.w.apply(Command::NodeDown { epoch: lost }))
            }
            _ => panic!("nothing like `{what}` can happen"),
        }
    }

    fn binding(&self, call: &str) -> BindingId {
        self.calls[call]
            .binding
            .expect("the call has had a binding")
    }

    fn call(&mut self, name: &str, caller: &str, callee: &str) -> String {
        let (id, reply) = self.w.reserve(self.rows.mapping, caller, callee);
        self.goes(name, id, reply)
    }

    fn goes(&mut self, name: &str, call: CallId, reply: Reply) -> String {
        let attempt = match reply {
            Reply::Reserved(attempt) => attempt,
            other => return said(&other),
        };
        let binding = attempt.lease.as_ref().map(|lease| lease.binding);
        let seen = Seen {
            call,
            attempt: attempt.number,
            binding,
        };
        self.calls.insert(name.to_owned(), seen);
        match (&attempt.lease, &attempt.ax) {
            (Some(lease), _) => format!("{}/{}", lease.a, lease.x),
            (None, Some(lease)) if lease.turn => format!("relation {}/{}", lease.a, lease.x),
            (None, Some(lease)) => format!("waiting {}/{}", lease.a, lease.x),
            (None, None) => "plain".into(),
        }
    }

    /// Who has been told that its turn has come.
    fn turn(&self) -> String {
        let turns = self.w.turns();
        let name = self
            .calls
            .iter()
            .find(|(_, seen)| turns.contains(&seen.call));
        name.map_or("no turn".to_owned(), |(name, _)| format!("turn {name}"))
    }

    fn relation(&mut self, pair: &str) -> Id {
        if let Some(id) = self.w.state.find(Table::AxBindings, pair) {
            return id;
        }
        let (a, x) = pair.split_once('/').expect("A/X");
        self.w.relation(self.rows.interface, a, x)
    }

    fn ask(&mut self, pair: &str, deed: AxDeed) -> String {
        let ax = self.relation(pair);
        said(&self.w.ask_ax(ax, deed))
    }
}

fn said(reply: &Reply) -> String {
    match reply {
        Reply::Done => "ok",
        Reply::Refused(Refusal::NoAxbNumber) => "no number",
        Reply::Refused(Refusal::AxbNotAllowed) => "not allowed",
        Reply::Refused(Refusal::AxbBindFailed) => "bind failed",
        Reply::Refused(Refusal::InUse { .. }) => "in use",
        Reply::Refused(_) => "refused",
        _ => "else",
    }
    .to_owned()
}
