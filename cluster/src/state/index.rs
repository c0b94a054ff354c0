//! What is derived from the content: counters, free sets, lookup tables, parsed rules.
//!
//! None of it is stored in a snapshot. [`Index::build`] makes it from the content alone, and every step that changes
//! the content keeps it as `build` would make it; `State::check` compares the two. All parts are shared between clones but
//! `lookup`, which a clone makes anew if it needs it.

use super::Content;
use super::ax_index::AxIndex;
use super::briefs::Briefs;
use super::lookup::Made;
use super::model::{AxHold, Binding, Call, Phase};
use super::pools::{APool, XPool};
use super::tables::Tabled;
use crate::command::CallId;
use crate::dial_rules::Rules;
use crate::entity::{
    AGroup, ANumber, Account, AxBinding, FeeRate, Id, Interface, MappingGateway, Micros,
    RoutingGateway, Row, Table, XNumber, parse_source,
};
use imbl::{OrdMap, OrdSet};
use std::net::IpAddr;
use std::sync::Arc;

/// A mapping gateway's rules, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MappingRules {
    /// C → N.
    pub caller: Rules,
    /// Callee as received → B.
    pub callee: Rules,
}

/// A routing gateway's rules, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutingRules {
    /// Caller as sent.
    pub caller: Rules,
    /// Callee as sent.
    pub callee: Rules,
    /// B → B'.
    pub axb_callee: Rules,
}

/// Rates of one group, by prefix.
type RateGroup = OrdMap<Arc<str>, Arc<Row<FeeRate>>>;

/// Everything derived.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Index {
    /// Unique names: see [`Tabled::key`].
    pub(super) names: OrdMap<(Table, Arc<str>), Id>,
    /// Sources of mapping gateways: bits, masked address, row.
    pub(super) sources: OrdSet<(u8, u128, Id)>,
    /// Rows per length of source.
    pub(super) source_bits: OrdMap<u8, u32>,
    pub(super) mapping_rules: OrdMap<Id, Arc<MappingRules>>,
    pub(super) routing_rules: OrdMap<Id, Arc<RoutingRules>>,
    pub(super) routes: OrdMap<Arc<str>, Arc<Vec<Id>>>,
    pub(super) rates: OrdMap<Arc<str>, RateGroup>,
    pub(super) x_pools: OrdMap<Id, Arc<XPool>>,
    pub(super) a_pools: OrdMap<Id, Arc<APool>>,
    pub(super) x_briefs: Briefs,
    /// Bindings of unknown outcome per X.
    pub(super) x_orphans: OrdMap<Id, u32>,
    pub(super) a_briefs: Briefs,
    pub(super) mapping_use: OrdMap<Id, u32>,
    pub(super) routing_use: OrdMap<Id, u32>,
    pub(super) reserved: OrdMap<Id, Micros>,
    pub(super) reserved_total: Micros,
    pub(super) answered: u64,
    pub(super) let_go: u64,
    pub(super) ax: AxIndex,
    /// Interfaces whose X numbers carry one binding each, whatever their line limit.
    pub(super) exclusive: OrdSet<Id>,
    pub(super) lookup: Made,
}

/// Adds `by` to a counter that has no entry while it is zero.
fn count(map: &mut OrdMap<Id, u32>, id: Id, up: bool) {
    match map.get_mut(&id) {
        Some(n) if up => *n = n.saturating_add(1),
        Some(n) if *n > 1 => *n -= 1,
        Some(_) => {
            map.remove(&id);
        }
        None if up => {
            map.insert(id, 1);
        }
        None => {}
    }
}

/// An address as 128 bits: IPv4 in its mapped place, so that both families share one table.
fn wide(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_ipv6_mapped()),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

fn masked(address: u128, bits: u8) -> u128 {
    address & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

impl Index {
    /// Derives everything from the content.
    pub(super) fn build(content: &Content) -> Index {
        let mut index = Index::default();
        index.table::<Interface>(content);
        index.table::<AGroup>(content);
        index.table::<Account>(content);
        index.table::<FeeRate>(content);
        index.table::<MappingGateway>(content);
        index.table::<RoutingGateway>(content);
        index.table::<AxBinding>(content);
        for binding in content.bindings.values() {
            index.x_use_of(binding, true);
        }
        for id in content.ax.keys() {
            index.ax.refresh(content, id);
        }
        for call in content.calls.values() {
            index.call(call, true);
        }
        index.let_go = content.let_go.values().sum();
        // Pools last: they look at the counters.
        index.table::<XNumber>(content);
        index.table::<ANumber>(content);
        for row in content.x_numbers.values() {
            index.x_refresh(content, row.id);
        }
        for row in content.a_numbers.values() {
            index.a_refresh(content, row.id);
        }
        index
    }

    fn table<T: Tabled>(&mut self, content: &Content) {
        for row in T::rows(content).values() {
            T::link(self, row, true);
        }
    }

    pub(super) fn name(&mut self, name: (Table, Arc<str>), id: Id, present: bool) {
        if present {
            self.names.insert(name, id);
        } else {
            self.names.remove(&name);
        }
    }

    pub(super) fn rate(&mut self, row: &Arc<Row<FeeRate>>, present: bool) {
        let group = self.rates.entry(Arc::from(&*row.entity.group)).or_default();
        if present {
            group.insert(Arc::from(&*row.entity.prefix), row.clone());
        } else {
            group.remove(&*row.entity.prefix);
            if group.is_empty() {
                self.rates.remove(&*row.entity.group);
            }
        }
    }

    pub(super) fn mapping(&mut self, row: &Row<MappingGateway>, present: bool) {
        let entity = &row.entity;
        for source in &entity.remote_ips {
            let Some((ip, bits)) = parse_source(source) else {
                continue;
            };
            let bits = if ip.is_ipv4() { bits + 96 } else { bits };
            let key = (bits, masked(wide(ip), bits), row.id);
            let changed = if present {
                self.sources.insert(key).is_none()
            } else {
                self.sources.remove(&key).is_some()
            };
            if changed {
                let mut lengths = self.source_bits.get(&bits).copied().unwrap_or(0);
                lengths = if present {
                    lengths + 1
                } else {
                    lengths.saturating_sub(1)
                };
                if lengths == 0 {
                    self.source_bits.remove(&bits);
                } else {
                    self.source_bits.insert(bits, lengths);
                }
            }
        }
        if present {
            // A text that does not parse was refused when the row was put.
            let read = |text: &str| Rules::parse(text).unwrap_or_default();
            let rules = MappingRules {
                caller: read(&entity.caller_rules),
                callee: read(&entity.callee_rules),
            };
            self.mapping_rules.insert(row.id, Arc::new(rules));
        } else {
            self.mapping_rules.remove(&row.id);
        }
    }

    /// The row whose most specific source covers `ip`; of equals the oldest.
    pub(super) fn source(&self, ip: IpAddr) -> Option<Id> {
        let address = wide(ip);
        self.source_bits.keys().rev().find_map(|&bits| {
            let net = masked(address, bits);
            let (found_bits, found_net, id) = self.sources.get_next(&(bits, net, 0))?;
            (*found_bits == bits && *found_net == net).then_some(*id)
        })
    }

    pub(super) fn routing(&mut self, row: &Row<RoutingGateway>, present: bool) {
        let entity = &row.entity;
        for prefix in &entity.prefixes {
            let mut ids = self
                .routes
                .get(&**prefix)
                .map(|ids| ids.to_vec())
                .unwrap_or_default();
            match (ids.binary_search(&row.id), present) {
                (Err(at), true) => ids.insert(at, row.id),
                (Ok(at), false) => {
                    ids.remove(at);
                }
                _ => continue,
            }
            if ids.is_empty() {
                self.routes.remove(&**prefix);
            } else {
                self.routes.insert(Arc::from(&**prefix), Arc::new(ids));
            }
        }
        if present {
            let read = |text: &str| Rules::parse(text).unwrap_or_default();
            let rules = RoutingRules {
                caller: read(&entity.caller_rules),
                callee: read(&entity.callee_rules),
                axb_callee: entity
                    .axb
                    .as_ref()
                    .map(|axb| read(&axb.callee_rules))
                    .unwrap_or_default(),
            };
            self.routing_rules.insert(row.id, Arc::new(rules));
        } else {
            self.routing_rules.remove(&row.id);
        }
    }

    /// Counts an attempt on its routing gateway.
    pub(super) fn route_use(&mut self, gateway: Id, up: bool) {
        count(&mut self.routing_use, gateway, up);
    }

    /// Counts a binding whose outcome has become unknown, or known.
    pub(super) fn orphan(&mut self, x: Id, up: bool) {
        count(&mut self.x_orphans, x, up);
    }

    /// Counts a binding on its X.
    pub(super) fn x_use_of(&mut self, binding: &Binding, up: bool) {
        self.x_briefs.count(binding.x_id, up);
        if binding.phase == Phase::Orphan {
            count(&mut self.x_orphans, binding.x_id, up);
        }
    }

    /// Counts a number that is called over an X.
    pub(super) fn called(&mut self, x: Id, b_submitted: &str, up: bool) {
        if let Some(lookup) = self.lookup.made_mut() {
            lookup.called(x, b_submitted, up);
        }
    }

    /// Counts what an outgoing AX call holds of its X.
    pub(super) fn ax_hold(&mut self, call: CallId, hold: &AxHold, b_submitted: &str, up: bool) {
        self.x_briefs.count(hold.x_id, up);
        self.called(hold.x_id, b_submitted, up);
        if let Some(place) = hold.place {
            self.ax.queue(hold.x_id, place, call, up);
        }
    }

    pub(super) fn a_use_of(&mut self, id: Id, up: bool) {
        self.a_briefs.count(id, up);
    }

    /// Counts all that a call holds, or no longer counts it.
    pub(super) fn call(&mut self, call: &Call, up: bool) {
        if call.admitted {
            count(&mut self.mapping_use, call.asked.gateway, up);
        }
        if let (true, Some(attempt)) = (call.routed, &call.attempt) {
            count(&mut self.routing_use, attempt.gateway, up);
        }
        if let Some(a) = call.a_id {
            self.a_use_of(a, up);
        }
        let ax = call
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.ax.as_ref());
        if let (Some(hold), Some(lease)) = (&call.ax, ax) {
            self.ax_hold(call.id(), hold, &lease.b_submitted, up);
        }
        self.reserve(
            call.customer.as_ref().map(|customer| customer.account),
            call.reserved,
            up,
        );
        if call.answered_at.is_some() {
            self.answered = if up {
                self.answered + 1
            } else {
                self.answered.saturating_sub(1)
            };
        }
    }

    pub(super) fn reserve(&mut self, account: Option<Id>, amount: Micros, up: bool) {
        let Some(account) = account.filter(|_| amount != 0) else {
            return;
        };
        let amount = if up { amount } else { -amount };
        self.reserved_total = self.reserved_total.saturating_add(amount);
        let now = self
            .reserved
            .get(&account)
            .copied()
            .unwrap_or(0)
            .saturating_add(amount);
        if now == 0 {
            self.reserved.remove(&account);
        } else {
            self.reserved.insert(account, now);
        }
    }

    /// The entry of `map` with the longest key that is a head of `number`.
    pub(super) fn longest_prefix<'a, V: Clone>(
        map: &'a OrdMap<Arc<str>, V>,
        number: &str,
    ) -> Option<(&'a str, &'a V)> {
        let mut head = number;
        loop {
            let (key, value) = map.get_prev(head)?;
            if head.starts_with(&**key) {
                return Some((key, value));
            }
            // Any key that is a head of `head` lies at or below `key`, so it is a head of `key` too.
            let common = head
                .bytes()
                .zip(key.bytes())
                .take_while(|(a, b)| a == b)
                .count();
            head = super::model::cut(head, common);
        }
    }

    /// All entries whose keys are heads of `number`, the longest first.
    pub(super) fn prefixes<'a, V: Clone>(
        map: &'a OrdMap<Arc<str>, V>,
        number: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a V)> {
        let mut rest = Some(number);
        std::iter::from_fn(move || {
            let found = Self::longest_prefix(map, rest?);
            rest = found.and_then(|(key, _)| {
                let mut end = key.len().checked_sub(1)?;
                while !number.is_char_boundary(end) {
                    end -= 1;
                }
                Some(&number[..end])
            });
            found
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prefixes_are_those_that_a_plain_search_finds(
            keys in proptest::collection::btree_set("[012é]{0,5}", 0..30),
            number in "[012é]{0,8}",
        ) {
            let map: OrdMap<Arc<str>, u8> = keys.iter().map(|key| (Arc::from(&**key), 0)).collect();
            let mut expected: Vec<&str> =
                keys.iter().map(String::as_str).filter(|key| number.starts_with(key)).collect();
            expected.sort_by_key(|key| std::cmp::Reverse(key.len()));
            let found: Vec<&str> = Index::prefixes(&map, &number).map(|(key, _)| key).collect();
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(Index::longest_prefix(&map, &number).map(|(key, _)| key), expected.first().copied());
        }
    }
}
