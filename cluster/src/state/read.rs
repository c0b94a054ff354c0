//! Reading the state: rows, live use, totals. Nothing here changes anything; all of it works on a shared clone.

use super::digits::Digits;
use super::tables::{a_key, rate_key};
use super::{
    Audit, AxLive, AxRow, Binding, Call, Counts, Device, MappingRules, Paid, RoutingRules, State,
    Tenure, XState,
};
use crate::command::{BindingId, CallId, Epoch};
use crate::entity::{
    AGroup, ANumber, Account, AxBinding, Entity, FeeRate, Id, Interface, MappingGateway, Micros,
    Millis, RoutingGateway, Row, Table, XNumber,
};
use std::net::IpAddr;
use std::sync::Arc;

macro_rules! table {
    ($(#[$doc:meta])* $many:ident, $one:ident, $rows:ident, $entity:ty) => {
        $(#[$doc])*
        pub fn $many(&self) -> impl ExactSizeIterator<Item = &Row<$entity>> + DoubleEndedIterator {
            self.content.$rows.values().map(|row| &**row)
        }
        /// One row of that table.
        pub fn $one(&self, id: Id) -> Option<&Row<$entity>> {
            self.content.$rows.get(&id).map(|row| &**row)
        }
    };
}

impl State {
    /// Log time of the last applied entry.
    pub fn at(&self) -> Millis {
        self.content.at
    }

    table!(/// AXB interfaces, by id.
        interfaces, interface, interfaces, Interface);
    table!(/// X numbers, by id. A number that was removed while in use is listed until its last binding is gone.
        x_numbers, x, x_numbers, XNumber);
    table!(/// A groups, by id.
        a_groups, a_group, a_groups, AGroup);
    table!(/// A numbers, by id. As for X, a removed number stays until its last call is gone.
        a_numbers, a, a_numbers, ANumber);
    table!(/// Mapping gateways, by id.
        mapping_gateways, mapping_gateway, mapping, MappingGateway);
    table!(/// Routing gateways, by id.
        routing_gateways, routing_gateway, routing, RoutingGateway);
    table!(/// Accounts, by id. `money` in the row is the opening balance; see [`State::account_balance`].
        accounts, account, accounts, Account);
    table!(/// Fee rates, by id.
        fee_rates, fee_rate, rates, FeeRate);
    table!(/// Static (A,X) relations, by id; see [`State::ax_live`].
        ax_bindings, ax_binding, ax, AxBinding);

    /// What lives on a static relation; `None` for a row that is not there or was never bound.
    pub fn ax_live(&self, id: Id) -> Option<&AxLive> {
        self.content.ax_live.get(&id).map(|live| &**live)
    }

    /// A static relation, whole.
    pub fn ax_row(&self, id: Id) -> Option<AxRow> {
        let entity = self.ax_binding(id)?.entity.clone();
        let live = self.ax_live(id).cloned().unwrap_or_default();
        Some(AxRow { id, entity, live })
    }

    /// AX 绑定 of an interface: its rows, and how many of them are bound.
    pub fn ax_count(&self, interface: Id) -> (u32, u32) {
        self.index.ax.count(interface)
    }

    /// Static relations that take a pair of this X.
    pub fn ax_on(&self, x_number: &str) -> u32 {
        self.index.ax.relations(&Digits::from(x_number))
    }

    /// Outgoing AX calls on an X row that are about to set their callee, the one whose turn it is included.
    pub fn ax_queue(&self, x: Id) -> impl Iterator<Item = CallId> + '_ {
        self.index.ax.queued(x).map(|(_, call)| call)
    }

    /// A row of any table with its entity in the common form.
    pub fn row(&self, table: Table, id: Id) -> Option<Row<Entity>> {
        fn wrap<T: Clone>(row: Option<&Row<T>>, into: fn(T) -> Entity) -> Option<Row<Entity>> {
            row.map(|row| Row {
                id: row.id,
                memo: row.memo.clone(),
                created_at: row.created_at,
                updated_at: row.updated_at,
                version: row.version,
                entity: into(row.entity.clone()),
            })
        }
        match table {
            Table::Interfaces => wrap(self.interface(id), Entity::Interface),
            Table::XNumbers => wrap(self.x(id), Entity::XNumber),
            Table::AGroups => wrap(self.a_group(id), Entity::AGroup),
            Table::ANumbers => wrap(self.a(id), Entity::ANumber),
            Table::MappingGateways => wrap(self.mapping_gateway(id), Entity::MappingGateway),
            Table::RoutingGateways => wrap(self.routing_gateway(id), Entity::RoutingGateway),
            Table::Accounts => wrap(self.account(id), Entity::Account),
            Table::FeeRates => wrap(self.fee_rate(id), Entity::FeeRate),
            Table::AxBindings => wrap(self.ax_binding(id), Entity::AxBinding),
        }
    }

    /// The row that people call `name`: an interface's, group's or gateway's name, a number, an account's number.
    ///
    /// An A number is `group/number` with the group's name, or the number alone, which finds it in the oldest group
    /// that has it. A rate is `group/prefix`, a static relation `A/X`.
    pub fn find(&self, table: Table, name: &str) -> Option<Id> {
        match table {
            Table::ANumbers => match name.split_once('/') {
                Some((group, number)) => self.find_a(self.find(Table::AGroups, group)?, number),
                None => self
                    .content
                    .a_groups
                    .keys()
                    .find_map(|group| self.find_a(group, name)),
            },
            Table::FeeRates => {
                let (group, prefix) = name.split_once('/')?;
                self.named(table, &rate_key(group, prefix))
            }
            _ => self.named(table, name),
        }
    }

    /// An A number of a group.
    pub fn find_a(&self, group: Id, number: &str) -> Option<Id> {
        self.named(Table::ANumbers, &a_key(group, number))
    }

    pub(super) fn named(&self, table: Table, key: &str) -> Option<Id> {
        self.index.names.get(&(table, Arc::from(key))).copied()
    }

    /// The mapping gateway whose most specific source covers `ip`; of equal sources the oldest row's. IPv4-mapped
    /// addresses count as IPv4. The gateway may be locked.
    pub fn mapping_gateway_for(&self, ip: IpAddr) -> Option<&Row<MappingGateway>> {
        self.mapping_gateway(self.index.source(ip)?)
    }

    /// A mapping gateway's rules, parsed.
    pub fn mapping_rules(&self, id: Id) -> Option<&Arc<MappingRules>> {
        self.index.mapping_rules.get(&id)
    }

    /// A routing gateway's rules, parsed.
    pub fn routing_rules(&self, id: Id) -> Option<&Arc<RoutingRules>> {
        self.index.routing_rules.get(&id)
    }

    /// Calls that hold this A row: its live 并发.
    pub fn a_use(&self, id: Id) -> u32 {
        self.index.a_briefs.used(id)
    }

    /// Bindings and outgoing AX calls on this X row: its live 并发.
    pub fn x_use(&self, id: Id) -> u32 {
        self.index.x_briefs.used(id)
    }

    /// Whether this X row is given to new calls. A row that is not there is disabled.
    pub fn x_state(&self, id: Id) -> XState {
        match self.x(id) {
            Some(row) if !row.entity.disabled && !self.content.leaving_x.contains(&id) => {
                if self.index.x_orphans.contains_key(&id) {
                    XState::Quarantined
                } else {
                    XState::Active
                }
            }
            _ => XState::Disabled,
        }
    }

    /// X numbers of an interface: all, and those with room for one more binding.
    pub fn x_pool(&self, interface: Id) -> (u32, u32) {
        self.index
            .x_pools
            .get(&interface)
            .map_or((0, 0), |pool| (pool.members, pool.free.len()))
    }

    /// A numbers of a group: all, and those with a free line.
    pub fn a_pool(&self, group: Id) -> (u32, u32) {
        self.index
            .a_pools
            .get(&group)
            .map_or((0, 0), |pool| (pool.members, pool.free.len()))
    }

    /// Calls that hold a line of this mapping gateway.
    pub fn mapping_gateway_calls(&self, id: Id) -> u32 {
        self.index.mapping_use.get(&id).copied().unwrap_or(0)
    }

    /// Calls that hold a line of this routing gateway.
    pub fn gateway_calls(&self, id: Id) -> u32 {
        self.index.routing_use.get(&id).copied().unwrap_or(0)
    }

    /// Attempts ever sent to this routing gateway.
    pub fn gateway_past_calls(&self, id: Id) -> u64 {
        self.content.past.get(&id).copied().unwrap_or(0)
    }

    /// Balance and money set aside for running calls; zeros for an account that is not there.
    pub fn account_balance(&self, id: Id) -> (Micros, Micros) {
        let of = |map: &imbl::OrdMap<Id, Micros>| map.get(&id).copied().unwrap_or(0);
        (of(&self.content.money), of(&self.index.reserved))
    }

    /// 上次错误 of an interface and its time.
    pub fn interface_error(&self, id: Id) -> Option<(Millis, &str)> {
        self.content
            .errors
            .get(&id)
            .map(|(at, text)| (*at, &**text))
    }

    /// Bindings of an interface that the platform let go before we did, ever.
    pub fn let_go(&self, interface: Id) -> u64 {
        self.content.let_go.get(&interface).copied().unwrap_or(0)
    }

    /// Open call records, by id; refused ones until their end is recorded.
    pub fn calls(&self) -> impl ExactSizeIterator<Item = &Call> + DoubleEndedIterator {
        self.content.calls.values().map(|call| &**call)
    }

    /// One open call.
    pub fn call(&self, id: CallId) -> Option<&Call> {
        self.content.calls.get(&id).map(|call| &**call)
    }

    /// Calls that a tenure runs. Costs a walk over all calls.
    pub fn calls_of(&self, epoch: Epoch) -> impl Iterator<Item = &Call> {
        self.calls().filter(move |call| call.owner == epoch)
    }

    /// 当前绑定, oldest first.
    pub fn bindings(&self) -> impl ExactSizeIterator<Item = &Binding> + DoubleEndedIterator {
        self.content.bindings.values().map(|binding| &**binding)
    }

    /// One binding.
    pub fn binding(&self, id: BindingId) -> Option<&Binding> {
        self.content.bindings.get(&id).map(|binding| &**binding)
    }

    /// Bindings that a tenure looks after. Costs a walk over all bindings.
    pub fn bindings_of(&self, epoch: Epoch) -> impl Iterator<Item = &Binding> {
        self.bindings()
            .filter(move |binding| binding.owner == epoch)
    }

    /// AXB 设备, by access name.
    pub fn devices(&self) -> impl ExactSizeIterator<Item = &Device> + DoubleEndedIterator {
        self.content.devices.values().map(|device| &**device)
    }

    /// One device.
    pub fn device(&self, access_name: &str) -> Option<&Device> {
        self.content
            .devices
            .get(access_name)
            .map(|device| &**device)
    }

    /// Tenures that are not over. The lease of one may have run out: see [`State::expired_claims`].
    pub fn tenures(&self) -> impl ExactSizeIterator<Item = &Tenure> + DoubleEndedIterator {
        self.content.tenures.values().map(|tenure| &**tenure)
    }

    /// One tenure, while it is not over.
    pub fn tenure(&self, epoch: Epoch) -> Option<&Tenure> {
        self.content.tenures.get(&epoch).map(|tenure| &**tenure)
    }

    /// Tenures whose lease has run out at `now`: the leader proposes `NodeDown` for them. A new leader must first wait
    /// one lease, since nobody could renew while there was none.
    pub fn expired_claims(&self, now: Millis) -> Vec<Epoch> {
        self.tenures()
            .filter(|tenure| tenure.lease_until() <= now)
            .map(|tenure| tenure.epoch)
            .collect()
    }

    /// Records from number `from` on, at most `max`.
    pub fn outbox_from(&self, from: u64, max: usize) -> Vec<(u64, Arc<[u8]>)> {
        let outbox = &self.content.outbox;
        let first = self.outbox_first();
        let skip = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX);
        let skip = skip.min(outbox.len());
        let rows = outbox.focus().narrow(skip..).into_iter().take(max);
        (first + skip as u64..)
            .zip(rows)
            .map(|(number, record)| (number, record.0.clone()))
            .collect()
    }

    /// Number of the oldest record that is held; of the next one when none is.
    pub(super) fn outbox_first(&self) -> u64 {
        self.content.outbox_last - self.content.outbox.len() as u64 + 1
    }

    /// Records not yet stored by every voter.
    pub fn outbox_len(&self) -> usize {
        self.content.outbox.len()
    }

    /// Number of the last record ever written; 0 before the first.
    pub fn outbox_last(&self) -> u64 {
        self.content.outbox_last
    }

    /// The last number that a node has reported as stored.
    pub fn outbox_stored(&self, node: u64) -> u64 {
        self.content.stored.get(&node).copied().unwrap_or(0)
    }

    /// 缴费记录, oldest first; the last 10,000.
    pub fn payments(&self) -> impl ExactSizeIterator<Item = &Paid> + DoubleEndedIterator {
        self.content.payments.iter().map(|paid| &**paid)
    }

    /// What operators did, oldest first; the last 10,000 lines.
    pub fn audit(&self) -> impl ExactSizeIterator<Item = &Audit> + DoubleEndedIterator {
        self.content.audit.iter().map(|line| &**line)
    }

    /// Totals.
    pub fn counts(&self) -> Counts {
        Counts {
            calls: self.content.calls.len() as u64,
            answered: self.index.answered,
            bindings: self.content.bindings.len() as u64,
            x_in_use: self.index.x_briefs.in_use() as u64,
            a_in_use: self.index.a_briefs.in_use() as u64,
            reserved_money: self.index.reserved_total,
            outbox: self.content.outbox.len() as u64,
            let_go: self.index.let_go,
        }
    }
}
