//! The choice of a routing gateway, `DOMAIN.md` §6.

use super::index::Index;
use super::numbers::{Number, Want};
use super::rng::Rng;
use super::{Call, State};
use crate::command::Refusal;
use crate::entity::{Id, MappingGateway, PrefixStyle, RoutingGateway, Row};
use serde::Serialize;
use std::cmp::Ordering;
use std::sync::Arc;

/// 3: all locked.
pub(super) const LOCKED: u8 = 3;

/// A gateway that takes the call, with the numbers for it.
pub(super) struct Chosen {
    pub(super) gateway: Arc<Row<RoutingGateway>>,
    pub(super) numbers: Option<Numbers>,
}

/// A pair and the B' it is bound to.
pub(super) struct Numbers {
    pub(super) a: Number,
    pub(super) x: Number,
    pub(super) b_submitted: String,
    /// The static relation that the call goes out over; `None`: a binding is made for it.
    pub(super) ax: Option<Id>,
}

/// A gateway that serves the callee.
pub(super) struct Candidate<'a> {
    /// Its prefix that matches.
    pub(super) prefix: &'a str,
    pub(super) gateway: &'a Arc<Row<RoutingGateway>>,
    pub(super) skip: Option<Skip>,
}

/// Why a gateway is passed over before any number is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// Locked.
    Locked,
    /// Not among the gateways that the mapping gateway may use.
    NotAllowed,
    /// A longer prefix has a gateway that says 终结.
    Terminated,
    /// Tried in this call.
    Tried,
    /// An AXB gateway, and the mapping gateway may use neither AXB nor AX.
    AxbNotAllowed,
    /// No free line.
    Full,
    /// A settlement account that is watched has no money.
    NoMoney,
}

/// Why nothing was found.
#[derive(Default)]
struct Seen {
    /// A gateway serves the callee.
    matched: bool,
    /// One of them may be used by this customer.
    usable: bool,
    /// One of these had a free line and no pair.
    lacked_numbers: bool,
}

impl Seen {
    fn refusal(&self) -> Refusal {
        if !self.matched {
            Refusal::NoRoute
        } else if !self.usable {
            Refusal::AxbNotAllowed
        } else if self.lacked_numbers {
            Refusal::NoAxbNumber
        } else {
            Refusal::RouteCapacity
        }
    }
}

impl State {
    /// The next gateway for a call, those tried left out.
    pub(super) fn route(
        &self,
        call: &Call,
        from: &Row<MappingGateway>,
        rng: &mut Rng,
    ) -> Result<Chosen, Refusal> {
        let mut seen = Seen::default();
        for Candidate { gateway, skip, .. } in self.candidates(call, from) {
            match skip {
                Some(Skip::Terminated) => break,
                Some(Skip::Locked | Skip::NotAllowed) => continue,
                Some(Skip::Tried | Skip::AxbNotAllowed) => {
                    seen.matched = true;
                    continue;
                }
                Some(Skip::Full | Skip::NoMoney) => {
                    seen.matched = true;
                    seen.usable = true;
                    continue;
                }
                None => {
                    seen.matched = true;
                    seen.usable = true;
                }
            }
            if gateway.entity.axb.is_none() {
                return Ok(Chosen {
                    gateway: gateway.clone(),
                    numbers: None,
                });
            }
            match self.numbers_for(call, gateway, from, rng) {
                Some(numbers) => {
                    return Ok(Chosen {
                        gateway: gateway.clone(),
                        numbers: Some(numbers),
                    });
                }
                None => seen.lacked_numbers = true,
            }
        }
        Err(seen.refusal())
    }

    /// Every gateway that serves the callee in the order of trial, with the reason to skip it if there is one.
    ///
    /// The gateways of the longest prefix come first; shorter prefixes follow only when every gateway there says 延续,
    /// those locked or not allowed left out of account.
    pub(super) fn candidates<'a>(
        &'a self,
        call: &'a Call,
        from: &'a Row<MappingGateway>,
    ) -> impl Iterator<Item = Candidate<'a>> {
        let mut terminated = false;
        Index::prefixes(&self.index.routes, &call.asked.callee).flat_map(move |(prefix, ids)| {
            let mut level: Vec<Candidate<'a>> = ids
                .iter()
                .filter_map(|id| self.content.routing.get(id))
                .map(|gateway| {
                    let skip = self.skip(call, from, gateway);
                    Candidate {
                        prefix,
                        gateway,
                        skip,
                    }
                })
                .collect();
            level.sort_by(|one, other| self.compare(one.gateway, other.gateway));
            let mut last = false;
            for candidate in &mut level {
                if matches!(candidate.skip, Some(Skip::Locked | Skip::NotAllowed)) {
                    continue;
                }
                last |= candidate.gateway.entity.prefix_style == PrefixStyle::Terminate;
                if terminated {
                    candidate.skip = Some(Skip::Terminated);
                }
            }
            terminated |= last;
            level
        })
    }

    /// Why a gateway is not asked for numbers.
    fn skip(
        &self,
        call: &Call,
        from: &Row<MappingGateway>,
        gateway: &Row<RoutingGateway>,
    ) -> Option<Skip> {
        let from = &from.entity;
        if gateway.entity.lock_type == LOCKED {
            return Some(Skip::Locked);
        }
        if !from.routing_gateways.is_empty() && !from.routing_gateways.contains(&gateway.id) {
            return Some(Skip::NotAllowed);
        }
        if call.tried.contains(&gateway.id) {
            return Some(Skip::Tried);
        }
        if gateway.entity.axb.is_some() && !from.allow_axb && !from.allow_ax {
            return Some(Skip::AxbNotAllowed);
        }
        if self.gateway_calls(gateway.id) >= gateway.entity.capacity {
            return Some(Skip::Full);
        }
        (!self.suppliers_have_money(gateway)).then_some(Skip::NoMoney)
    }

    /// Numbers on an AXB gateway: a pair to bind, or else a static relation, as far as the customer may use them.
    pub(super) fn numbers_for(
        &self,
        call: &Call,
        gateway: &Row<RoutingGateway>,
        from: &Row<MappingGateway>,
        rng: &mut Rng,
    ) -> Option<Numbers> {
        let b_submitted = self.b_submitted(gateway, &call.asked.callee, rng)?;
        let want = Want::of(call, gateway, from, &b_submitted)?;
        let (allow_axb, allow_ax) = (from.entity.allow_axb, from.entity.allow_ax);
        let pair = allow_axb.then(|| self.pick_pair(&want, rng)).flatten();
        let (a, x, ax) = match pair {
            Some((a, x)) => (a, x, None),
            None => {
                let picked = allow_ax.then(|| self.pick_ax(&want, rng)).flatten()?;
                (picked.a, picked.x, Some(picked.ax))
            }
        };
        Some(Numbers {
            a,
            x,
            b_submitted,
            ax,
        })
    }

    /// B' of an AXB gateway.
    pub(super) fn b_submitted(
        &self,
        gateway: &Row<RoutingGateway>,
        callee: &str,
        rng: &mut Rng,
    ) -> Option<String> {
        let rules = self.index.routing_rules.get(&gateway.id)?;
        Some(
            rules
                .axb_callee
                .apply(callee, &mut |bound| rng.below(bound)),
        )
    }

    /// Priority, then load, then past calls, then name.
    fn compare(&self, one: &Row<RoutingGateway>, other: &Row<RoutingGateway>) -> Ordering {
        let load = |left: &Row<RoutingGateway>, right: &Row<RoutingGateway>| {
            u64::from(self.gateway_calls(left.id)) * u64::from(right.entity.capacity)
        };
        one.entity
            .priority
            .cmp(&other.entity.priority)
            .then_with(|| load(one, other).cmp(&load(other, one)))
            .then_with(|| {
                self.gateway_past_calls(one.id)
                    .cmp(&self.gateway_past_calls(other.id))
            })
            .then_with(|| one.entity.name.cmp(&other.entity.name))
    }

    /// Settlement accounts go down without a limit unless they are flagged.
    fn suppliers_have_money(&self, gateway: &Row<RoutingGateway>) -> bool {
        let axb = gateway.entity.axb.as_ref().and_then(|axb| axb.account);
        [gateway.entity.clearing_account, axb]
            .into_iter()
            .flatten()
            .all(|id: Id| {
                self.account(id).is_none_or(|account| {
                    !account.entity.check_balance
                        || self
                            .account_balance(id)
                            .0
                            .saturating_add(account.entity.limit_money)
                            > 0
                })
            })
    }
}
