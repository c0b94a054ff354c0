//! What would become of a call, decision by decision (`tandem route test`). Changes nothing.
//!
//! Every answer comes from the function that a reservation asks: the checks of the mapping gateway, the account's, the
//! walk over routing gateways, the choice of numbers and the numbers as sent. Here they are only asked one by one and
//! written down, also beyond the first refusal.

mod words;

pub use super::route::Skip;
pub use words::*;

use super::numbers::{Rank, Search, Unfit, Want};
use super::reserve::{Gate, fresh};
use super::rng::Rng;
use super::route::{Candidate, Numbers};
use super::{Call, State, Tariff, XState, ax_choice};
use crate::command::{Biller, Refusal, Reserve};
use crate::dial_rules::Rules;
use crate::entity::{AxBinding, FeeRate, MappingGateway, PrefixList, RoutingGateway, Row, XNumber};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

impl State {
    /// How a call would be carried; `None`: no such mapping gateway. Costs a walk over the numbers of every interface
    /// that is asked, so it belongs on a clone of the state.
    pub fn explain(&self, question: &Question, biller: &dyn Biller) -> Option<Explanation> {
        let from = self.mapping_gateway(question.gateway)?;
        // The node rolls these dice before the state sees the call, so they have a stream of their own.
        let mut own = Rng::new(question.seed, !question.call.0);
        let rules = self.index.mapping_rules.get(&from.id).cloned();
        let rules = rules.unwrap_or_default();
        let caller = self.rewritten(&rules.caller, &question.caller, &mut own);
        let callee = self.rewritten(&rules.callee, &question.callee, &mut own);
        let call = fresh(&asked(question, &caller.after, &callee.after), self.at());
        let dice = Rng::new(question.seed, question.call.0);
        let admitted = self.admit(&mut call.clone(), from, &mut dice.clone(), biller);
        let account = self.payer_told(from, &callee.after, biller);
        let paid = account.as_ref().and_then(|account| account.pays_for_secs);
        Some(Explanation {
            gateway: from.entity.name.clone(),
            checks: self.checks(from, &call),
            max_duration_secs: [paid, from.entity.max_duration_secs]
                .into_iter()
                .flatten()
                .min(),
            account,
            x_select_mode: from.entity.x_select_mode,
            routes: self.routes_told(&call, from, dice),
            refused: admitted.err(),
            caller,
            callee,
        })
    }

    fn rewritten(&self, rules: &Rules, number: &str, rng: &mut Rng) -> Rewritten {
        let after = rules.apply(number, &mut |bound| rng.below(bound));
        self.told(rules, number, after)
    }

    fn told(&self, rules: &Rules, before: &str, after: String) -> Rewritten {
        Rewritten {
            before: before.to_owned(),
            rule: rules.rule_for(before).map(|(place, text)| RuleUsed {
                place,
                text: text.to_owned(),
            }),
            region: self.region_of(&after).map(|region| Area {
                area_code: region.area_code.to_owned(),
                area_name: region.area_name.to_owned(),
                source: region.source,
            }),
            after,
        }
    }

    fn checks(&self, from: &Row<MappingGateway>, call: &Call) -> Vec<Check> {
        let (caller, callee) = (&call.asked.caller, &call.asked.callee);
        let check = |gate: Gate| {
            let (what, seen) = match gate {
                Gate::Lock => ("lock", format!("lock type {}", from.entity.lock_type)),
                Gate::Capacity => (
                    "capacity",
                    format!(
                        "{} of {} lines",
                        self.mapping_gateway_calls(from.id),
                        from.entity.capacity
                    ),
                ),
                Gate::Caller => (
                    "caller_prefixes",
                    listed(&from.entity.caller_prefixes, caller),
                ),
                Gate::Callee => (
                    "callee_prefixes",
                    listed(&from.entity.callee_prefixes, callee),
                ),
            };
            Check {
                what,
                seen,
                refused: self.gate(gate, from, caller, callee).err(),
            }
        };
        Gate::ALL.into_iter().map(check).collect()
    }

    fn payer_told(
        &self,
        from: &Row<MappingGateway>,
        callee: &str,
        biller: &dyn Biller,
    ) -> Option<Payer> {
        let row = self.account(from.entity.account)?;
        let (money, reserved) = self.account_balance(row.id);
        let available = self.available(row.id);
        let rate = self.rate_of(row.id, callee);
        let tariff = self.tariff(row.id, callee);
        let credit = tariff
            .as_ref()
            .ok_or(Refusal::RateNotFound)
            .and_then(|tariff| self.first_slice(tariff, biller));
        Some(Payer {
            account: row.entity.account.clone(),
            name: row.entity.name.clone(),
            kind: row.entity.kind,
            money,
            limit_money: row.entity.limit_money,
            reserved,
            available,
            valid_until: row.entity.valid_until,
            rate: rate.map(|rate| rate_told(&rate.entity)),
            pays_for_secs: tariff.and_then(|tariff| biller.longest(&tariff.rate.entity, available)),
            refused: self.payer(from).err().or(credit.err()),
        })
    }

    fn routes_told(&self, call: &Call, from: &Row<MappingGateway>, mut rng: Rng) -> Vec<Route> {
        let mut found = false;
        let mut told = BTreeSet::new();
        let mut routes = Vec::new();
        for candidate in self.candidates(call, from) {
            let (axb, numbers, mut verdict) = self.verdict(call, from, &candidate, &mut rng);
            // A gateway with several prefixes that match counts with the longest. It is asked again all the same, for
            // the dice.
            if !told.insert(candidate.gateway.id) {
                continue;
            }
            if verdict == Verdict::Standby && !found {
                found = true;
                verdict = Verdict::Taken;
            }
            let goes = matches!(verdict, Verdict::Taken | Verdict::Standby);
            let sent = goes.then(|| self.sent(call, candidate.gateway, numbers.as_ref(), &mut rng));
            let row = &candidate.gateway.entity;
            routes.push(Route {
                gateway: row.name.clone(),
                prefix: candidate.prefix.to_owned(),
                prefix_style: row.prefix_style,
                priority: row.priority,
                calls: self.gateway_calls(candidate.gateway.id),
                capacity: row.capacity,
                past_calls: self.gateway_past_calls(candidate.gateway.id),
                verdict,
                axb,
                sent,
            });
        }
        routes
    }

    /// What a gateway has for the call, as a walk finds it that comes as far.
    fn verdict(
        &self,
        call: &Call,
        from: &Row<MappingGateway>,
        candidate: &Candidate<'_>,
        rng: &mut Rng,
    ) -> (Option<Axb>, Option<Numbers>, Verdict) {
        let gateway = candidate.gateway;
        if let Some(skip) = candidate.skip {
            return (None, None, Verdict::Skipped(skip));
        }
        if gateway.entity.axb.is_none() {
            return (None, None, Verdict::Standby);
        }
        let mut again = rng.clone();
        let numbers = self.numbers_for(call, gateway, from, rng);
        let b_submitted = self.b_submitted(gateway, &call.asked.callee, &mut again);
        let axb = b_submitted.and_then(|b| self.axb_told(call, gateway, from, b, numbers.as_ref()));
        let verdict = match &numbers {
            Some(_) => Verdict::Standby,
            None => Verdict::NoNumbers,
        };
        (axb, numbers, verdict)
    }

    fn axb_told(
        &self,
        call: &Call,
        gateway: &Row<RoutingGateway>,
        from: &Row<MappingGateway>,
        b_submitted: String,
        numbers: Option<&Numbers>,
    ) -> Option<Axb> {
        let want = Want::of(call, gateway, from, &b_submitted)?;
        let rules = self.index.routing_rules.get(&gateway.id)?;
        let (a_total, a_free) = self.a_pool(want.group);
        let name = |name: Option<&String>| name.cloned().unwrap_or_default();
        Some(Axb {
            interface: name(self.interface(want.interface).map(|row| &row.entity.name)),
            a_group: name(self.a_group(want.group).map(|row| &row.entity.name)),
            a_total,
            a_free,
            x: from.entity.allow_axb.then(|| self.x_told(&want)),
            ax: from.entity.allow_ax.then(|| self.ax_told(&want)),
            taken: numbers.map(|numbers| Pair {
                a: numbers.a.text.clone(),
                x: numbers.x.text.clone(),
                ax: numbers.ax.is_some(),
            }),
            b_submitted: self.told(&rules.axb_callee, &call.asked.callee, b_submitted.clone()),
        })
    }

    fn x_told(&self, want: &Want<'_>) -> Candidates<XCandidate> {
        let search = Search::questions(self, want);
        let all = self
            .x_numbers()
            .filter(|x| x.entity.interface == want.interface)
            .map(|x| {
                let rank = search.rank(&x.entity);
                let excluded = self.x_excluded(want, &search, x, rank);
                let key = (excluded, Reverse(rank.map(Rank::told).map(Reverse)), x.id);
                (key, rank, excluded.map(XExcluded::key))
            })
            .collect();
        candidates(all, |(excluded, _, id), rank| {
            let x = self.x(id)?;
            Some(XCandidate {
                x: x.entity.number.clone(),
                rank,
                concurrency: self.x_use(id),
                line_limit: x.entity.line_limit,
                excluded,
            })
        })
    }

    fn x_excluded(
        &self,
        want: &Want<'_>,
        search: &Search<'_>,
        x: &Row<XNumber>,
        rank: Option<Rank>,
    ) -> Option<XExcluded> {
        let pool = self.index.x_pools.get(&want.interface);
        if !pool.is_some_and(|pool| pool.free.contains(x.id)) {
            return Some(match self.x_state(x.id) {
                XState::Disabled => XExcluded::Disabled,
                XState::Quarantined => XExcluded::Quarantined,
                XState::Active => XExcluded::Full,
            });
        }
        if rank.is_none() {
            let named = x.entity.allow_other_callers;
            return Some(if named {
                XExcluded::NotNamed
            } else {
                XExcluded::NotPermitted
            });
        }
        match search.unfit(x.id) {
            Some(Unfit::Refused | Unfit::Callee) => return Some(XExcluded::Callee),
            Some(Unfit::Ax) => return Some(XExcluded::Ax),
            None => {}
        }
        // Nearly always the first A will do; what an X is blocked for is bounded by the bindings and rests on it.
        let free = self.index.a_pools.get(&want.group).map(|pool| &pool.free);
        let fits = free
            .into_iter()
            .flat_map(|free| free.iter())
            .any(|a| (self.index.a_briefs.get(a)).is_some_and(|a| search.takes(&a.number, x.id)));
        (!fits).then_some(XExcluded::Pairs)
    }

    fn ax_told(&self, want: &Want<'_>) -> Candidates<AxCandidate> {
        let search = ax_choice::Search::new(self, want);
        let questions = Search::questions(self, want);
        let x_of = |ax: &AxBinding| {
            let x = self.named(crate::entity::Table::XNumbers, &ax.x_number)?;
            self.x(x)
        };
        let all = self
            .ax_bindings()
            .filter(|ax| ax.entity.interface == want.interface)
            .map(|ax| {
                let rank = x_of(&ax.entity).and_then(|x| questions.rank(&x.entity));
                let excluded = match &search {
                    Some(search) => search.verdict(ax).err(),
                    None if self.a_pool(want.group).0 == 0 => Some(AxExcluded::NotInGroup),
                    None => Some(AxExcluded::NotListed),
                };
                let key = (excluded, Reverse(rank.map(Rank::told).map(Reverse)), ax.id);
                (key, rank, excluded.map(AxExcluded::key))
            })
            .collect();
        candidates(all, |(excluded, _, id), rank| {
            let entity = &self.ax_binding(id)?.entity;
            let queue = x_of(entity).map(|x| self.index.ax.queued(x.id).count());
            Some(AxCandidate {
                a: entity.a_number.clone(),
                x: entity.x_number.clone(),
                rank,
                queued: queue.unwrap_or(0),
                excluded,
            })
        })
    }

    fn sent(
        &self,
        call: &Call,
        gateway: &Row<RoutingGateway>,
        numbers: Option<&Numbers>,
        rng: &mut Rng,
    ) -> Sent {
        let dialled = self.dialled(&call.asked, gateway, numbers, rng);
        let (caller, callee) = match numbers {
            Some(numbers) => (&numbers.a.text, &numbers.x.text),
            None => (&call.asked.caller, &call.asked.callee),
        };
        let rules = self.index.routing_rules.get(&gateway.id).cloned();
        let rules = rules.unwrap_or_default();
        Sent {
            caller_out: self.told(&rules.caller, caller, dialled.caller_out),
            callee_out: self.told(&rules.callee, callee, dialled.callee_out),
            landing: self.settled(dialled.landing),
            axb_settlement: self.settled(dialled.axb_settlement),
        }
    }

    fn settled(&self, tariff: Option<Tariff>) -> Option<Settled> {
        let tariff = tariff?;
        Some(Settled {
            account: self.account(tariff.account)?.entity.account.clone(),
            rate: rate_told(&tariff.rate.entity),
        })
    }
}

/// Usable and left out are counted, and the best are listed.
fn candidates<K: Ord + Copy, T>(
    mut all: Vec<(K, Option<Rank>, Option<&'static str>)>,
    told: impl Fn(K, Option<XRank>) -> Option<T>,
) -> Candidates<T> {
    let (mut usable, mut excluded) = (BTreeMap::new(), BTreeMap::new());
    for (_, rank, reason) in &all {
        match (reason, rank) {
            (Some(reason), _) => *excluded.entry(*reason).or_insert(0) += 1,
            (None, Some(rank)) => *usable.entry(rank.told().to_string()).or_insert(0) += 1,
            (None, None) => {}
        }
    }
    let total = all.len();
    all.sort_by_key(|(key, ..)| *key);
    Candidates {
        total,
        usable,
        excluded,
        listed: all
            .into_iter()
            .take(LISTED_MAX)
            .filter_map(|(key, rank, _)| told(key, rank.map(Rank::told)))
            .collect(),
    }
}

fn rate_told(rate: &FeeRate) -> Rate {
    Rate {
        group: rate.group.clone(),
        prefix: rate.prefix.clone(),
        area_name: rate.area_name.clone(),
        fee: rate.fee,
        period: rate.period,
        locked: rate.locked,
        sections: rate.sections.clone(),
    }
}

/// What a prefix list says of a number, in short.
fn listed(list: &PrefixList, number: &str) -> String {
    let kind = if list.allow { "allowed" } else { "denied" };
    let matched = list
        .prefixes
        .iter()
        .filter(|prefix| number.starts_with(&***prefix))
        .max_by_key(|prefix| prefix.len());
    match matched {
        _ if list.prefixes.is_empty() => "no list".to_owned(),
        Some(prefix) => format!("`{number}` has the {kind} prefix `{prefix}`"),
        None => format!(
            "`{number}` has none of {} {kind} prefixes",
            list.prefixes.len()
        ),
    }
}

fn asked(question: &Question, caller: &str, callee: &str) -> Reserve {
    Reserve {
        call: question.call,
        gateway: question.gateway,
        caller_access: question.caller.clone(),
        caller: caller.to_owned(),
        callee_access: question.callee.clone(),
        callee: callee.to_owned(),
        started_at: 0,
        remote: SocketAddr::from(([0, 0, 0, 0], 0)),
        sip_call_id: String::new(),
    }
}
