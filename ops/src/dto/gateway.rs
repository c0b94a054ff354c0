//! Mapping and routing gateways.

use super::{Fault, Names, bounded, named, reference, yes};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use tandem_cluster::entity::{
    self, CalleeSource, CallerSource, PrefixStyle, Table, Transport, XSelect,
};
use utoipa::ToSchema;

/// A list of prefixes that admits or refuses numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrefixList {
    /// True: only these prefixes pass. False: these do not.
    #[serde(default)]
    pub allow: bool,
    /// Empty: everything passes.
    #[serde(default)]
    pub prefixes: Vec<String>,
}

impl From<&entity::PrefixList> for PrefixList {
    fn from(list: &entity::PrefixList) -> PrefixList {
        PrefixList {
            allow: list.allow,
            prefixes: list.prefixes.clone(),
        }
    }
}

impl From<&PrefixList> for entity::PrefixList {
    fn from(list: &PrefixList) -> entity::PrefixList {
        entity::PrefixList {
            allow: list.allow,
            prefixes: list.prefixes.clone(),
        }
    }
}

/// 对接网关: a peer that sends us calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MappingGateway {
    /// Unique.
    pub name: String,
    /// 0 free, 3 all locked.
    #[serde(default)]
    pub lock_type: u8,
    /// 线路上限: calls at once over all nodes.
    #[serde(default = "capacity")]
    pub capacity: u32,
    /// Sources whose calls are this gateway's: addresses or networks (`10.0.0.0/8`).
    pub remote_ips: Vec<String>,
    /// Number of the customer account charged for its calls.
    pub account: String,
    /// 主叫拨号规则
    #[serde(default)]
    pub caller_rules: String,
    /// 被叫拨号规则
    #[serde(default)]
    pub callee_rules: String,
    /// Where the caller is read: `from`, `p_asserted_identity`, `remote_party_id`, `p_preferred_identity`, `display`.
    #[serde(default)]
    #[schema(value_type = String)]
    pub caller_source: CallerSource,
    /// Where the callee is read: `request_uri`, `to`, `diversion`.
    #[serde(default)]
    #[schema(value_type = String)]
    pub callee_source: CalleeSource,
    /// Callers admitted or refused.
    #[serde(default)]
    pub caller_prefixes: PrefixList,
    /// Callees admitted or refused.
    #[serde(default)]
    pub callee_prefixes: PrefixList,
    /// Names of the routing gateways its calls may use; empty: all.
    #[serde(default)]
    pub routing_gateways: Vec<String>,
    /// Longest call, seconds; null is without bound.
    #[serde(default)]
    pub max_duration_secs: Option<u32>,
    /// X 号码选取方式: `none`, `restrict`, `prefer`.
    #[serde(default)]
    #[schema(value_type = String)]
    pub x_select_mode: XSelect,
    /// 允许 AXB 接口
    #[serde(default)]
    pub allow_axb: bool,
    /// 允许 AX 接口
    #[serde(default)]
    pub allow_ax: bool,
    /// 备注
    #[serde(default)]
    pub memo: String,
}

fn capacity() -> u32 {
    100
}

fn lock_type(value: u8) -> Result<u8, Fault> {
    match value {
        0 | 3 => Ok(value),
        other => Err(Fault::new(
            "lock_type",
            format!("{other} is neither 0 (free) nor 3 (locked)"),
        )),
    }
}

impl MappingGateway {
    pub(super) fn of(
        row: &entity::MappingGateway,
        memo: &str,
        names: &dyn Names,
    ) -> MappingGateway {
        MappingGateway {
            name: row.name.clone(),
            lock_type: row.lock_type,
            capacity: row.capacity,
            remote_ips: row.remote_ips.clone(),
            account: named(names, Table::Accounts, row.account),
            caller_rules: row.caller_rules.clone(),
            callee_rules: row.callee_rules.clone(),
            caller_source: row.caller_source,
            callee_source: row.callee_source,
            caller_prefixes: (&row.caller_prefixes).into(),
            callee_prefixes: (&row.callee_prefixes).into(),
            routing_gateways: row
                .routing_gateways
                .iter()
                .map(|id| named(names, Table::RoutingGateways, *id))
                .collect(),
            max_duration_secs: row.max_duration_secs,
            x_select_mode: row.x_select_mode,
            allow_axb: row.allow_axb,
            allow_ax: row.allow_ax,
            memo: memo.into(),
        }
    }

    pub(super) fn entity(&self, names: &dyn Names) -> Result<entity::MappingGateway, Fault> {
        for source in &self.remote_ips {
            if entity::parse_source(source).is_none() {
                return Err(Fault::new(
                    "remote_ips",
                    format!("`{source}` is neither an address nor a network"),
                ));
            }
        }
        let route =
            |name: &String| reference(names, Table::RoutingGateways, "routing_gateways", name);
        Ok(entity::MappingGateway {
            name: self.name.clone(),
            lock_type: lock_type(self.lock_type)?,
            capacity: self.capacity,
            remote_ips: self.remote_ips.clone(),
            account: reference(names, Table::Accounts, "account", &self.account)?,
            caller_rules: self.caller_rules.clone(),
            callee_rules: self.callee_rules.clone(),
            caller_source: self.caller_source,
            callee_source: self.callee_source,
            caller_prefixes: (&self.caller_prefixes).into(),
            callee_prefixes: (&self.callee_prefixes).into(),
            routing_gateways: self
                .routing_gateways
                .iter()
                .map(route)
                .collect::<Result<_, _>>()?,
            max_duration_secs: self.max_duration_secs,
            x_select_mode: self.x_select_mode,
            allow_axb: self.allow_axb,
            allow_ax: self.allow_ax,
        })
    }
}

/// Signalling protocols of a routing gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Protocol {
    /// SIP.
    #[default]
    #[serde(alias = "sip")]
    SIP,
}

/// 落地网关: a peer that we send calls to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoutingGateway {
    /// Unique.
    pub name: String,
    /// 0 free, 3 all locked.
    #[serde(default)]
    pub lock_type: u8,
    /// Callee prefixes it serves; an empty string serves every callee.
    pub prefixes: Vec<String>,
    /// 前缀方式: `terminate` 终结, `continue` 延续.
    #[serde(default)]
    #[schema(value_type = String)]
    pub prefix_style: PrefixStyle,
    /// 协议
    #[serde(default)]
    pub protocol: Protocol,
    /// Where its calls are sent.
    #[schema(value_type = String)]
    pub remote_ip: IpAddr,
    /// Port there.
    #[serde(default = "signal_port")]
    pub signal_port: u16,
    /// `udp` or `tcp`.
    #[serde(default)]
    #[schema(value_type = String)]
    pub transport: Transport,
    /// 线路上限: calls at once over all nodes.
    #[serde(default = "capacity")]
    pub capacity: u32,
    /// Lower is taken first.
    #[serde(default)]
    pub priority: u32,
    /// 主叫拨号规则
    #[serde(default)]
    pub caller_rules: String,
    /// 被叫拨号规则
    #[serde(default)]
    pub callee_rules: String,
    /// 结算账户 of the landing: an account number.
    #[serde(default)]
    pub clearing_account: Option<String>,
    /// Final SIP statuses that move the call to the next gateway; empty: 408, 430 and every 5xx.
    #[serde(default)]
    pub switch_on: Vec<u16>,
    /// Silence after the INVITE after which the next gateway is tried, 100 to 60,000 ms.
    #[serde(default = "response_timeout_ms")]
    pub response_timeout_ms: u32,
    /// Send P-Asserted-Identity with the caller.
    #[serde(default = "yes")]
    pub send_identity: bool,
    /// 启用 AXB: such a gateway never carries a plain call. Switched off, the AXB fields below are forgotten.
    #[serde(default)]
    pub axb_enabled: bool,
    /// A 号码组
    #[serde(default)]
    pub a_group: Option<String>,
    /// AXB 接口管理
    #[serde(default)]
    pub interface: Option<String>,
    /// 被叫拨号规则 B → B'
    #[serde(default)]
    pub axb_callee_rules: String,
    /// 结算账户号码: a settlement account.
    #[serde(default)]
    pub axb_account: Option<String>,
    /// Rate the AXB settlement on B' instead of B.
    #[serde(default)]
    pub axb_rate_on_submitted: bool,
    /// 备注
    #[serde(default)]
    pub memo: String,
}

fn signal_port() -> u16 {
    5060
}

fn response_timeout_ms() -> u32 {
    5_000
}

impl RoutingGateway {
    pub(super) fn of(
        row: &entity::RoutingGateway,
        memo: &str,
        names: &dyn Names,
    ) -> RoutingGateway {
        let axb = row.axb.as_ref();
        RoutingGateway {
            name: row.name.clone(),
            lock_type: row.lock_type,
            prefixes: row.prefixes.clone(),
            prefix_style: row.prefix_style,
            protocol: Protocol::SIP,
            remote_ip: row.address.ip(),
            signal_port: row.address.port(),
            transport: row.transport,
            capacity: row.capacity,
            priority: row.priority,
            caller_rules: row.caller_rules.clone(),
            callee_rules: row.callee_rules.clone(),
            clearing_account: row
                .clearing_account
                .map(|id| named(names, Table::Accounts, id)),
            switch_on: row.switch_on.clone(),
            response_timeout_ms: row.response_timeout_ms,
            send_identity: row.send_identity,
            axb_enabled: axb.is_some(),
            a_group: axb.map(|axb| named(names, Table::AGroups, axb.a_group)),
            interface: axb.map(|axb| named(names, Table::Interfaces, axb.interface)),
            axb_callee_rules: axb.map(|axb| axb.callee_rules.clone()).unwrap_or_default(),
            axb_account: axb
                .and_then(|axb| axb.account)
                .map(|id| named(names, Table::Accounts, id)),
            axb_rate_on_submitted: axb.is_some_and(|axb| axb.rate_on_submitted),
            memo: memo.into(),
        }
    }

    pub(super) fn entity(&self, names: &dyn Names) -> Result<entity::RoutingGateway, Fault> {
        let account = |field, name: &Option<String>| {
            name.as_deref()
                .map(|name| reference(names, Table::Accounts, field, name))
                .transpose()
        };
        for status in &self.switch_on {
            bounded("switch_on", u32::from(*status), 300, 699)?;
        }
        Ok(entity::RoutingGateway {
            name: self.name.clone(),
            lock_type: lock_type(self.lock_type)?,
            prefixes: self.prefixes.clone(),
            prefix_style: self.prefix_style,
            address: SocketAddr::new(self.remote_ip, self.signal_port),
            transport: self.transport,
            capacity: self.capacity,
            priority: self.priority,
            caller_rules: self.caller_rules.clone(),
            callee_rules: self.callee_rules.clone(),
            clearing_account: account("clearing_account", &self.clearing_account)?,
            switch_on: self.switch_on.clone(),
            response_timeout_ms: bounded(
                "response_timeout_ms",
                self.response_timeout_ms,
                100,
                60_000,
            )?,
            send_identity: self.send_identity,
            axb: self.axb_enabled.then(|| self.axb(names)).transpose()?,
        })
    }

    fn axb(&self, names: &dyn Names) -> Result<entity::AxbRoute, Fault> {
        let needed = |field: &'static str, table, name: &Option<String>| match name.as_deref() {
            Some(name) => reference(names, table, field, name),
            None => Err(Fault::new(field, "is missing, `axb_enabled` needs it")),
        };
        Ok(entity::AxbRoute {
            a_group: needed("a_group", Table::AGroups, &self.a_group)?,
            interface: needed("interface", Table::Interfaces, &self.interface)?,
            callee_rules: self.axb_callee_rules.clone(),
            account: self
                .axb_account
                .as_deref()
                .map(|name| reference(names, Table::Accounts, "axb_account", name))
                .transpose()?,
            rate_on_submitted: self.axb_rate_on_submitted,
        })
    }
}
