//! A state with one node and a small configuration, and short words for what happens to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use tandem_cluster::command::*;
use tandem_cluster::entity::*;
use tandem_cluster::state::testing::PerPeriod;
use tandem_cluster::state::{AxPhase, Binding, State};

pub const UNIT: Micros = 1_000_000;

#[derive(Clone, Debug)]
pub struct World {
    pub state: State,
    pub now: Millis,
    pub seed: u64,
    pub effects: Vec<Effect>,
    pub epoch: Epoch,
    calls: u32,
    request: u64,
    /// State every invariant after every command.
    pub checks: bool,
    /// Every command with its time and seed, to be applied again elsewhere.
    pub log: Vec<(Millis, u64, Command)>,
}

/// Rows of the usual configuration.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    pub customer: Id,
    pub landing: Id,
    pub settlement: Id,
    pub interface: Id,
    pub group: Id,
    pub mapping: Id,
    pub routing: Id,
}

impl World {
    pub fn empty() -> Self {
        let mut world = World {
            state: State::new(),
            now: 1_700_000_000_000,
            seed: 1,
            effects: Vec::new(),
            epoch: 0,
            calls: 0,
            request: 0,
            checks: true,
            log: Vec::new(),
        };
        world.epoch = world.claim("n1", 1, 1);
        world
    }

    /// One customer, one AXB gateway, `a` A numbers and `x` X numbers with limit 1.
    pub fn usual(a: u32, x: u32) -> (Self, Rows) {
        let mut world = Self::empty();
        let customer = world.put(account("c1", "g"));
        let landing = world.put(settlement("s1", "landing"));
        let settlement_row = world.put(settlement("s2", "axb"));
        world.put(rate("g", "", UNIT / 10, 60));
        world.put(rate("landing", "", UNIT * 3 / 100, 60));
        world.put(rate("axb", "", UNIT * 6 / 1000, 6));
        let interface = world.put(interface("hz"));
        let group = world.put(Entity::AGroup(AGroup { name: "ga".into() }));
        (0..a).for_each(|n| {
            world.put(a_number(group, &format!("021{n:05}")));
        });
        (0..x).for_each(|n| {
            world.put(x_number(interface, &format!("170{n:05}")));
        });
        let routing = world.put(Entity::RoutingGateway(RoutingGateway {
            clearing_account: Some(landing),
            axb: Some(AxbRoute {
                a_group: group,
                interface,
                callee_rules: String::new(),
                account: Some(settlement_row),
                rate_on_submitted: false,
            }),
            ..routing("platform")
        }));
        let mapping = world.put(Entity::MappingGateway(mapping("customer", customer)));
        let rows = Rows {
            customer,
            landing,
            settlement: settlement_row,
            interface,
            group,
            mapping,
            routing,
        };
        (world, rows)
    }

    /// Applies a command and states every invariant.
    pub fn apply(&mut self, command: Command) -> Reply {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.log.push((self.now, self.seed, command.clone()));
        let (reply, effects) = self.state.apply(self.now, self.seed, &command, &PerPeriod);
        self.effects = effects;
        if self.checks
            && let Err(broken) = self.state.check()
        {
            panic!("after {command:?}: {broken}");
        }
        reply
    }

    pub fn wait(&mut self, ms: Millis) {
        self.now += ms;
    }

    pub fn claim(&mut self, name: &str, node: u64, boot: u64) -> Epoch {
        match self.try_claim(name, node, boot) {
            Reply::Claimed { epoch } => epoch,
            other => panic!("claim of {name}: {other:?}"),
        }
    }

    pub fn try_claim(&mut self, name: &str, node: u64, boot: u64) -> Reply {
        self.apply(Command::Claim(Claim {
            access_name: name.into(),
            node,
            boot,
            address: format!("10.0.0.{node}:80"),
            version: "1".into(),
            lease_ms: 3_000,
        }))
    }

    pub fn try_put(&mut self, id: Option<Id>, entity: Entity) -> Reply {
        self.request += 1;
        self.apply(Command::Put(Put {
            request: self.request,
            actor: "op".into(),
            id,
            version: None,
            memo: String::new(),
            entity,
        }))
    }

    pub fn put(&mut self, entity: Entity) -> Id {
        match self.try_put(None, entity) {
            Reply::Row { id, .. } => id,
            other => panic!("put: {other:?}"),
        }
    }

    pub fn change(&mut self, id: Id, entity: Entity) {
        match self.try_put(Some(id), entity) {
            Reply::Row { .. } => {}
            other => panic!("change of {id}: {other:?}"),
        }
    }

    pub fn change_mapping(&mut self, id: Id, change: impl FnOnce(&mut MappingGateway)) {
        let mut row = self.state.mapping_gateway(id).expect("row").entity.clone();
        change(&mut row);
        self.change(id, Entity::MappingGateway(row));
    }

    pub fn change_routing(&mut self, id: Id, change: impl FnOnce(&mut RoutingGateway)) {
        let mut row = self.state.routing_gateway(id).expect("row").entity.clone();
        change(&mut row);
        self.change(id, Entity::RoutingGateway(row));
    }

    pub fn change_account(&mut self, id: Id, change: impl FnOnce(&mut Account)) {
        let mut row = self.state.account(id).expect("row").entity.clone();
        change(&mut row);
        self.change(id, Entity::Account(row));
    }

    pub fn change_interface(&mut self, id: Id, change: impl FnOnce(&mut Interface)) {
        let mut row = self.state.interface(id).expect("row").entity.clone();
        change(&mut row);
        self.change(id, Entity::Interface(row));
    }

    pub fn change_x(&mut self, number: &str, change: impl FnOnce(&mut XNumber)) {
        let id = self.x(number);
        let mut row = self.state.x(id).expect("row").entity.clone();
        change(&mut row);
        self.change(id, Entity::XNumber(row));
    }

    pub fn change_a(&mut self, number: &str, change: impl FnOnce(&mut ANumber)) {
        let id = self.a(number);
        let mut row = self.state.a(id).expect("row").entity.clone();
        change(&mut row);
        self.change(id, Entity::ANumber(row));
    }

    pub fn x(&self, number: &str) -> Id {
        self.state.find(Table::XNumbers, number).expect("X")
    }

    pub fn a(&self, number: &str) -> Id {
        self.state.find(Table::ANumbers, number).expect("A")
    }

    pub fn remove(&mut self, table: Table, id: Id) -> Reply {
        self.request += 1;
        self.apply(Command::Remove(Remove {
            request: self.request,
            actor: "op".into(),
            table,
            id,
            version: None,
        }))
    }

    pub fn ask(&mut self, gateway: Id, caller: &str, callee: &str) -> Reserve {
        self.calls += 1;
        Reserve {
            call: CallId::new(self.epoch, self.calls),
            gateway,
            caller_access: caller.into(),
            caller: caller.into(),
            callee_access: callee.into(),
            callee: callee.into(),
            started_at: self.now,
            remote: "127.0.0.1:5060".parse::<SocketAddr>().expect("address"),
            sip_call_id: format!("c{}", self.calls),
        }
    }

    pub fn reserve(&mut self, gateway: Id, caller: &str, callee: &str) -> (CallId, Reply) {
        let ask = self.ask(gateway, caller, callee);
        (ask.call, self.apply(Command::Reserve(ask)))
    }

    pub fn refused(&mut self, gateway: Id, caller: &str, callee: &str) -> Refusal {
        match self.reserve(gateway, caller, callee).1 {
            Reply::Refused(refusal) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub fn reserved(&mut self, gateway: Id, caller: &str, callee: &str) -> (CallId, Attempt) {
        match self.reserve(gateway, caller, callee) {
            (call, Reply::Reserved(attempt)) => (call, *attempt),
            (_, other) => panic!("not reserved: {other:?}"),
        }
    }

    /// The tenure that runs a call; of one that is gone, the one that took it.
    pub fn owner(&self, call: CallId) -> Epoch {
        let row = self.state.call(call);
        row.map_or(call.epoch(), |row| row.owner)
    }

    pub fn next(&mut self, call: CallId, attempt: u16, failure: Failure) -> Reply {
        self.apply(Command::Next(Next {
            call,
            epoch: self.owner(call),
            attempt,
            failure,
        }))
    }

    pub fn bound(&mut self, lease: &Lease) -> Reply {
        self.bound_as(lease.binding, &lease.x)
    }

    pub fn bound_as(&mut self, binding: BindingId, x: &str) -> Reply {
        let epoch = self
            .state
            .binding(binding)
            .map_or(self.epoch, |binding| binding.owner);
        self.apply(Command::Bound(Bound {
            binding,
            epoch,
            handle: BTreeMap::from([("id".into(), format!("h{binding}"))]),
            x: x.into(),
            expires_at: Some(self.now + 7_200_000),
            raw: "{}".into(),
        }))
    }

    pub fn unbound(&mut self, binding: BindingId, missing: bool) -> Reply {
        let epoch = self
            .state
            .binding(binding)
            .map_or(self.epoch, |binding| binding.owner);
        self.apply(Command::Unbound(Unbound {
            binding,
            epoch,
            missing,
        }))
    }

    pub fn answered(&mut self, call: CallId) -> Option<Millis> {
        let command = Command::Answered(Answered {
            call,
            epoch: self.owner(call),
            answered_at: self.now,
            pdd_ms: 900,
            dialogs: vec![1, 2, 3],
            codec: "PCMA".into(),
        });
        match self.apply(command) {
            Reply::Answered { unbind_at } => unbind_at,
            other => panic!("answered: {other:?}"),
        }
    }

    pub fn end(&mut self, call: CallId) -> Reply {
        self.end_as(call, "normal")
    }

    pub fn end_as(&mut self, call: CallId, key: &str) -> Reply {
        self.apply(Command::End(End {
            call,
            epoch: self.owner(call),
            ended_at: self.now,
            answered_at: None,
            pdd_ms: None,
            codec: String::new(),
            reason: EndReason {
                key: key.into(),
                sip: None,
                q850: None,
            },
            by: EndedBy::Caller,
        }))
    }

    /// A static relation, not bound yet.
    pub fn relation(&mut self, interface: Id, a: &str, x: &str) -> Id {
        self.put(relation(interface, a, x))
    }

    pub fn ask_ax(&mut self, ax: Id, deed: AxDeed) -> Reply {
        let ask = AskAx {
            ax,
            deed,
            owner: self.epoch,
            actor: "op".into(),
        };
        self.apply(Command::AskAx(ask))
    }

    /// The platform's answer to what was asked last.
    pub fn ax_result(&mut self, ax: Id, result: AxResult) -> Reply {
        let live = self.state.ax_live(ax).cloned().unwrap_or_default();
        self.apply(Command::AxOutcome(AxOutcome {
            ax,
            epoch: live.owner.unwrap_or(self.epoch),
            asked: live.asked,
            result,
        }))
    }

    pub fn ax_bound(&mut self, ax: Id) -> Reply {
        let result = AxResult::Bound {
            handle: BTreeMap::from([("id".into(), format!("s{ax}"))]),
            expires_at: None,
            raw: "{}".into(),
        };
        self.ax_result(ax, result)
    }

    pub fn ax_failed(&mut self, ax: Id, unknown: bool) -> Reply {
        let error = "no".into();
        self.ax_result(ax, AxResult::Failed { error, unknown })
    }

    /// A static relation that the platform has.
    pub fn bound_relation(&mut self, interface: Id, a: &str, x: &str) -> Id {
        let ax = self.relation(interface, a, x);
        assert_eq!(self.ask_ax(ax, AxDeed::Bind), Reply::Done);
        assert_eq!(self.ax_bound(ax), Reply::Done);
        ax
    }

    pub fn ax_phase(&self, ax: Id) -> AxPhase {
        self.state.ax_live(ax).map_or(AxPhase::Unbound, |l| l.phase)
    }

    pub fn accepted(&mut self, call: CallId, attempt: u16) -> Reply {
        let epoch = self.owner(call);
        self.apply(Command::AxAccepted {
            call,
            epoch,
            attempt,
        })
    }

    /// Calls whose turn the last command brought.
    pub fn turns(&self) -> Vec<CallId> {
        let turn = |effect: &Effect| match effect {
            Effect::AxTurn { call, .. } => Some(*call),
            _ => None,
        };
        self.effects.iter().filter_map(turn).collect()
    }

    pub fn binding(&self, id: BindingId) -> &Binding {
        self.state.binding(id).expect("binding")
    }

    /// Texts of the records from `from` on.
    pub fn records(&self, from: u64) -> Vec<String> {
        let rows = self.state.outbox_from(from, 1_000);
        rows.iter()
            .map(|(_, record)| String::from_utf8_lossy(record).into_owned())
            .collect()
    }
}

pub fn account(number: &str, group: &str) -> Entity {
    Entity::Account(Account {
        account: number.into(),
        name: format!("{number} Ltd"),
        money: 1_000 * UNIT,
        limit_money: 0,
        fee_rate_group: group.into(),
        kind: AccountKind::Normal,
        lock_type: 0,
        valid_until: None,
        check_balance: false,
    })
}

pub fn settlement(number: &str, group: &str) -> Entity {
    let Entity::Account(account) = account(number, group) else {
        unreachable!()
    };
    Entity::Account(Account {
        kind: AccountKind::Settlement,
        money: 0,
        ..account
    })
}

pub fn rate(group: &str, prefix: &str, fee: Micros, period: u32) -> Entity {
    Entity::FeeRate(FeeRate {
        group: group.into(),
        prefix: prefix.into(),
        area_code: String::new(),
        area_name: String::new(),
        level: 4,
        fee,
        period,
        locked: false,
        sections: Vec::new(),
    })
}

pub fn interface(name: &str) -> Entity {
    Entity::Interface(Interface {
        name: name.into(),
        kind: "huawei".into(),
        params: BTreeMap::from([
            ("app_secret".into(), "s3cret".into()),
            ("expiration".into(), "7200".into()),
        ]),
        urls: BTreeMap::from([("base".into(), "https://platform.example".into())]),
        unbind_delay_secs: None,
        hold_missing: false,
        timeout_ms: 5_000,
        tls_verify: true,
        ca_pem: None,
        pair_rest_ms: 2_000,
        rate_per_s: None,
        connect_timeout_ms: 1_000,
        proxy: None,
        http_version: HttpVersion::Auto,
        type_rules: TypeRules::default(),
    })
}

pub fn a_number(group: Id, number: &str) -> Entity {
    Entity::ANumber(ANumber {
        group,
        number: number.into(),
        line_limit: 1,
    })
}

pub fn x_number(interface: Id, number: &str) -> Entity {
    Entity::XNumber(XNumber {
        interface,
        number: number.into(),
        line_limit: 1,
        callers: Vec::new(),
        allow_other_callers: true,
        param: String::new(),
        disabled: false,
    })
}

pub fn relation(interface: Id, a: &str, x: &str) -> Entity {
    Entity::AxBinding(AxBinding {
        interface,
        x_number: x.into(),
        a_number: a.into(),
        params: BTreeMap::new(),
        expires_at: None,
    })
}

pub fn routing(name: &str) -> RoutingGateway {
    RoutingGateway {
        name: name.into(),
        lock_type: 0,
        prefixes: vec![String::new()],
        prefix_style: PrefixStyle::Terminate,
        address: "10.1.0.1:5060".parse().expect("address"),
        transport: Transport::Udp,
        capacity: 1_000,
        priority: 10,
        caller_rules: String::new(),
        callee_rules: String::new(),
        clearing_account: None,
        switch_on: Vec::new(),
        response_timeout_ms: 5_000,
        send_identity: false,
        axb: None,
    }
}

pub fn mapping(name: &str, account: Id) -> MappingGateway {
    MappingGateway {
        name: name.into(),
        lock_type: 0,
        capacity: 1_000,
        remote_ips: vec!["127.0.0.0/8".into()],
        account,
        caller_rules: String::new(),
        callee_rules: String::new(),
        caller_source: CallerSource::From,
        callee_source: CalleeSource::RequestUri,
        caller_prefixes: PrefixList::default(),
        callee_prefixes: PrefixList::default(),
        routing_gateways: Vec::new(),
        max_duration_secs: None,
        x_select_mode: XSelect::None,
        allow_axb: true,
        allow_ax: false,
    }
}
