//! The choice of a routing gateway, `DOMAIN.md` §6.

use super::index::Index;
use super::numbers::Want;
use super::rng::Rng;
use super::{Call, State};
use crate::command::Refusal;
use crate::entity::{ANumber, Id, MappingGateway, RoutingGateway, Row, XNumber};
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
    pub(super) a: Arc<Row<ANumber>>,
    pub(super) x: Arc<Row<XNumber>>,
    pub(super) b_submitted: String,
    /// The static relation that the call goes out over; `None`: a binding is made for it.
    pub(super) ax: Option<Id>,
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
    ///
    /// The gateways of the longest prefix come first; shorter prefixes follow only when every gateway there says 延续.
    pub(super) fn route(
        &self,
        call: &Call,
        from: &Row<MappingGateway>,
        rng: &mut Rng,
    ) -> Result<Chosen, Refusal> {
        let mut seen = Seen::default();
        for (_, ids) in Index::prefixes(&self.index.routes, &call.asked.callee) {
            let level: Vec<&Arc<Row<RoutingGateway>>> = ids
                .iter()
                .filter_map(|id| self.content.routing.get(id))
                .filter(|gateway| gateway.entity.lock_type != LOCKED)
                .filter(|gateway| {
                    from.entity.routing_gateways.is_empty()
                        || from.entity.routing_gateways.contains(&gateway.id)
                })
                .collect();
            if level.is_empty() {
                continue;
            }
            seen.matched = true;
            let last = level
                .iter()
                .any(|g| g.entity.prefix_style == crate::entity::PrefixStyle::Terminate);
            let mut candidates: Vec<_> = level
                .into_iter()
                .filter(|g| !call.tried.contains(&g.id))
                .collect();
            candidates.sort_by(|one, other| self.compare(one, other));
            for gateway in candidates {
                let allowed = from.entity.allow_axb || from.entity.allow_ax;
                if gateway.entity.axb.is_some() && !allowed {
                    continue;
                }
                seen.usable = true;
                if self.gateway_calls(gateway.id) >= gateway.entity.capacity
                    || !self.suppliers_have_money(gateway)
                {
                    continue;
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
            if last {
                break;
            }
        }
        Err(seen.refusal())
    }

    /// Numbers on an AXB gateway: a pair to bind, or else a static relation, as far as the customer may use them.
    pub(super) fn numbers_for(
        &self,
        call: &Call,
        gateway: &Row<RoutingGateway>,
        from: &Row<MappingGateway>,
        rng: &mut Rng,
    ) -> Option<Numbers> {
        let axb = gateway.entity.axb.as_ref()?;
        let rules = self.index.routing_rules.get(&gateway.id)?;
        let b_submitted = rules
            .axb_callee
            .apply(&call.asked.callee, &mut |bound| rng.below(bound));
        let want = Want {
            group: axb.a_group,
            interface: axb.interface,
            caller: &call.asked.caller,
            b_submitted: &b_submitted,
            mode: from.entity.x_select_mode,
            refused_x: &call.refused_x,
        };
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
