//! A small switch for the benches: one customer, one platform, `numbers` A and X.

use std::collections::BTreeMap;
use tandem_cluster::entity::*;

/// Its rows in the order in which they are made. The lines suffice for `live` bindings.
pub fn entities(numbers: u32, live: u32, mut put: impl FnMut(Entity)) {
    put(Entity::Account(Account {
        account: "c1".into(),
        name: "customer".into(),
        money: 1_000_000_000_000,
        limit_money: 0,
        fee_rate_group: "g".into(),
        kind: AccountKind::Settlement,
        lock_type: 0,
        valid_until: None,
        check_balance: false,
    }));
    for prefix in ["", "1", "13", "138", "0", "00"] {
        put(Entity::FeeRate(FeeRate {
            group: "g".into(),
            prefix: prefix.into(),
            area_code: String::new(),
            area_name: String::new(),
            level: 4,
            fee: 100,
            period: 60,
            locked: false,
            sections: Vec::new(),
        }));
    }
    put(Entity::Interface(Interface {
        name: "hz".into(),
        kind: "huawei".into(),
        params: BTreeMap::new(),
        urls: BTreeMap::new(),
        unbind_delay_secs: Some(5),
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
    }));
    put(Entity::AGroup(AGroup { name: "ga".into() }));
    for n in 0..numbers {
        let number = format!("021{n:08}");
        put(Entity::ANumber(ANumber {
            group: 1,
            number,
            line_limit: 1 + live / numbers,
        }));
        put(Entity::XNumber(XNumber {
            interface: 1,
            number: format!("170{n:08}"),
            line_limit: 1 + 2 * live / numbers,
            callers: Vec::new(),
            allow_other_callers: true,
            param: String::new(),
            disabled: false,
        }));
    }
    put(Entity::RoutingGateway(RoutingGateway {
        name: "platform".into(),
        lock_type: 0,
        prefixes: vec![String::new()],
        prefix_style: PrefixStyle::Terminate,
        address: "10.1.0.1:5060".parse().expect("address"),
        transport: Transport::Udp,
        capacity: 1_000_000,
        priority: 1,
        caller_rules: String::new(),
        callee_rules: String::new(),
        clearing_account: Some(1),
        switch_on: Vec::new(),
        response_timeout_ms: 5_000,
        send_identity: false,
        axb: Some(AxbRoute {
            a_group: 1,
            interface: 1,
            callee_rules: String::new(),
            account: Some(1),
            rate_on_submitted: false,
        }),
    }));
    put(Entity::MappingGateway(MappingGateway {
        name: "customer".into(),
        lock_type: 0,
        capacity: 1_000_000,
        remote_ips: Vec::new(),
        account: 1,
        caller_rules: String::new(),
        callee_rules: String::new(),
        caller_source: CallerSource::From,
        callee_source: CalleeSource::RequestUri,
        caller_prefixes: PrefixList::default(),
        callee_prefixes: PrefixList::default(),
        routing_gateways: Vec::new(),
        max_duration_secs: None,
        x_select_mode: XSelect::Prefer,
        allow_axb: true,
        allow_ax: false,
    }));
}
