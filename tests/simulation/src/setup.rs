//! What operators have set up before the first call.

use std::collections::BTreeMap;
use std::sync::Arc;

use tandem_cluster::command::{Command, Put, PutMany, PutRow, Reply};
use tandem_cluster::entity::{
    AGroup, ANumber, Account, AccountKind, AxbRoute, CalleeSource, CallerSource, Entity, FeeRate,
    HttpVersion, Id, Interface, MappingGateway, Micros, PrefixList, PrefixStyle, RoutingGateway,
    Transport, TypeRules, XNumber, XSelect,
};
use tandem_node::core::Core;
use tandem_node::platforms::fill_type_rules;

use crate::platform::{self, BASE, KEYS};

/// What differs from run to run.
#[derive(Clone, Debug)]
pub struct Setup {
    pub a_numbers: usize,
    pub x_numbers: usize,
    pub x_limit: u32,
    /// Of the interface.
    pub unbind_delay_secs: Option<u32>,
    pub money: Micros,
    /// Sources of the two customers.
    pub customers: [String; 2],
    pub timeout_ms: u32,
}

/// One unit of money.
pub const UNIT: Micros = 1_000_000;

/// Puts every row; `Err` says which was not taken.
pub async fn put(core: &Arc<Core>, setup: Setup) -> Result<(), String> {
    let mut hand = Hand { core, requests: 0 };
    let rate = |group: &str, fee, period| {
        Entity::FeeRate(FeeRate {
            group: group.into(),
            prefix: String::new(),
            area_code: String::new(),
            area_name: String::new(),
            level: 4,
            fee,
            period,
            locked: false,
            sections: vec![],
        })
    };
    hand.put(rate("customers", UNIT / 10, 6)).await?;
    hand.put(rate("landing", UNIT * 3 / 100, 6)).await?;
    hand.put(rate("axb", UNIT * 6 / 1_000, 6)).await?;
    let account = |number: &str, group: &str, kind, money| {
        Entity::Account(Account {
            account: number.into(),
            name: number.into(),
            money,
            limit_money: 0,
            fee_rate_group: group.into(),
            kind,
            lock_type: 0,
            valid_until: None,
            check_balance: false,
        })
    };
    let normal = AccountKind::Normal;
    let customers = [
        hand.put(account("c1", "customers", normal, setup.money))
            .await?,
        hand.put(account("c2", "customers", normal, setup.money))
            .await?,
    ];
    let settlement = AccountKind::Settlement;
    let landing = hand
        .put(account("landing", "landing", settlement, 0))
        .await?;
    let axb = hand.put(account("axb", "axb", settlement, 0)).await?;
    let param = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let interface = Interface {
        name: "platform".into(),
        kind: "huawei".into(),
        params: BTreeMap::from([
            param("app_key", KEYS[0]),
            param("app_secret", KEYS[1]),
            param("expiration", "7200"),
        ]),
        urls: BTreeMap::from([param("base", BASE)]),
        unbind_delay_secs: setup.unbind_delay_secs,
        hold_missing: false,
        timeout_ms: setup.timeout_ms,
        tls_verify: true,
        ca_pem: None,
        pair_rest_ms: 500,
        rate_per_s: None,
        connect_timeout_ms: 500,
        proxy: None,
        http_version: HttpVersion::One,
        type_rules: TypeRules::default(),
    };
    let interface = hand.put(Entity::Interface(interface)).await?;
    let x = |nth| {
        Entity::XNumber(XNumber {
            interface,
            number: format!("170{nth:08}"),
            line_limit: setup.x_limit,
            callers: vec![],
            allow_other_callers: true,
            param: String::new(),
            disabled: false,
        })
    };
    hand.put_many((0..setup.x_numbers).map(x)).await?;
    let name = "ga".to_owned();
    let group = hand.put(Entity::AGroup(AGroup { name })).await?;
    let a = |nth| {
        Entity::ANumber(ANumber {
            group,
            number: format!("021{nth:08}"),
            line_limit: 1,
        })
    };
    hand.put_many((0..setup.a_numbers).map(a)).await?;
    let gateway = |name: &str, prefix: &str, address, axb: Option<AxbRoute>, clearing| {
        Entity::RoutingGateway(RoutingGateway {
            name: name.into(),
            lock_type: 0,
            prefixes: vec![prefix.into()],
            prefix_style: PrefixStyle::Terminate,
            address,
            transport: Transport::Udp,
            capacity: 10_000,
            priority: 1,
            caller_rules: String::new(),
            callee_rules: String::new(),
            clearing_account: Some(clearing),
            switch_on: vec![],
            response_timeout_ms: 5_000,
            send_identity: false,
            axb,
        })
    };
    let route = AxbRoute {
        a_group: group,
        interface,
        callee_rules: String::new(),
        account: Some(axb),
        rate_on_submitted: false,
    };
    hand.put(gateway("axb", "139", platform::sip(), Some(route), landing))
        .await?;
    hand.put(gateway("plain", "138", platform::phone(), None, landing))
        .await?;
    for (at, (account, source)) in customers.into_iter().zip(setup.customers).enumerate() {
        let customer = MappingGateway {
            name: format!("customer-{at}"),
            lock_type: 0,
            capacity: 10_000,
            remote_ips: vec![source],
            account,
            caller_rules: String::new(),
            callee_rules: String::new(),
            caller_source: CallerSource::From,
            callee_source: CalleeSource::RequestUri,
            caller_prefixes: PrefixList::default(),
            callee_prefixes: PrefixList::default(),
            routing_gateways: vec![],
            max_duration_secs: None,
            x_select_mode: XSelect::None,
            allow_axb: true,
            allow_ax: false,
        };
        hand.put(Entity::MappingGateway(customer)).await?;
    }
    Ok(())
}

/// Who types.
struct Hand<'c> {
    core: &'c Arc<Core>,
    requests: u64,
}

impl Hand<'_> {
    async fn put_many(&mut self, entities: impl Iterator<Item = Entity>) -> Result<(), String> {
        self.requests += 1;
        let row = |entity| PutRow {
            id: None,
            version: None,
            memo: String::new(),
            entity,
        };
        let command = Command::PutMany(PutMany {
            request: self.requests,
            actor: "simulation".into(),
            rows: entities.map(row).collect(),
        });
        match self.core.cluster.propose(command).await {
            Ok(Reply::Refused(refusal)) => Err(format!("rows of the set-up: {refusal:?}")),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("rows of the set-up: {error}")),
        }
    }

    async fn put(&mut self, entity: Entity) -> Result<Id, String> {
        self.requests += 1;
        let mut command = Command::Put(Put {
            request: self.requests,
            actor: "simulation".into(),
            id: None,
            version: None,
            memo: String::new(),
            entity,
        });
        fill_type_rules(&mut command);
        match self.core.cluster.propose(command).await {
            Ok(Reply::Row { id, .. }) => Ok(id),
            other => Err(format!("row {} of the set-up: {other:?}", self.requests)),
        }
    }
}
