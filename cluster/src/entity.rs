//! The rows that operators edit and every node holds: plain data, no behaviour beyond naming.
//!
//! Field names are those of the outside (`DOMAIN.md` §3). References between rows are ids; names are resolved where
//! people type them. All rows travel through bincode, so no field may be skipped, flattened or left untagged.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Milliseconds since 1970 UTC, as stamped by the leader into a log entry.
pub type Millis = u64;
/// Millionths of the currency unit.
pub type Micros = i64;
/// A row's id within its table; never reused.
pub type Id = u32;

/// What every table has beside its own fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row<T> {
    /// Unique in the table, given by the state.
    pub id: Id,
    /// 备注
    pub memo: String,
    /// When the row was made.
    pub created_at: Millis,
    /// When an operator last changed it.
    pub updated_at: Millis,
    /// Counts the operators' changes from 1; an edit names the version it saw.
    pub version: u32,
    /// The table's own fields.
    pub entity: T,
}

/// AXB 接口管理: one configured connection to an X platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// 接口名称, unique.
    pub name: String,
    /// 类型: the platform's protocol, such as `huawei`.
    pub kind: String,
    /// 参数设置: what the type asks for, secrets included.
    pub params: BTreeMap<String, String>,
    /// 接口地址: named endpoints; `base` is the one most types need.
    pub urls: BTreeMap<String, String>,
    /// 解绑延迟: `None` at call end, 0 at the answer, n seconds after it.
    pub unbind_delay_secs: Option<u32>,
    /// Keep the row when the platform says that the binding is gone.
    pub hold_missing: bool,
    /// Bound of one HTTP exchange.
    pub timeout_ms: u32,
    /// Verify the platform's certificate.
    pub tls_verify: bool,
    /// Own authority for it, PEM.
    pub ca_pem: Option<String>,
    /// How long a released pair (A,X) rests.
    pub pair_rest_ms: u32,
    /// Requests a second towards the platform, of all nodes together; `None` is as its type has it.
    pub rate_per_s: Option<u32>,
    /// Bound of making a connection, TCP and TLS together.
    pub connect_timeout_ms: u32,
    /// A forward proxy, `http://[user:password@]host[:port]`.
    pub proxy: Option<String>,
    /// Versions of HTTP that are spoken.
    pub http_version: HttpVersion,
    /// What its type allows. The process that proposes the row fills it from the type; people never write it.
    pub type_rules: TypeRules,
}

/// Versions of HTTP towards a platform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpVersion {
    /// 2 where the platform offers it over TLS, else 1.1.
    #[default]
    Auto,
    /// 1.1 only.
    One,
    /// 2 only, without TLS too.
    Two,
}

/// What a platform's type allows, as far as the choice of numbers depends on it (`DOMAIN.md` §4.1, §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeRules {
    /// Which bindings may stand side by side.
    pub conflict: Conflict,
    /// It has static (A,X) relations.
    pub ax: bool,
    /// An outgoing AX call needs its callee set first, and an X keeps one callee only.
    pub set_callee: bool,
}

/// Which bindings of one X exclude each other. A pair (A,X) is exclusive in every case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conflict {
    /// Nothing more.
    Pair,
    /// At most one binding per (X,B'), and no number stands on an X both as A and as B'.
    #[default]
    XCallee,
    /// At most one binding per X, whatever its line limit says.
    XExclusive,
}

/// AX 绑定管理: a static relation of an A and an X.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxBinding {
    /// The platform that knows it.
    pub interface: Id,
    /// X. Outgoing calls use it only while it is in the interface's list of X numbers as well.
    pub x_number: String,
    /// A.
    pub a_number: String,
    /// 参数设置: what the type asks for beside the interface's own parameters.
    pub params: BTreeMap<String, String>,
    /// When the relation is to end; `None`: it stays. Told to platforms that know an end, and undone by us then.
    pub expires_at: Option<Millis>,
}

/// X 号码管理.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct XNumber {
    /// Owner of the number.
    pub interface: Id,
    /// 电话号码, unique over all interfaces.
    pub number: String,
    /// 线路上限, at least 1.
    pub line_limit: u32,
    /// 主叫号码: exact numbers, prefixes `0571*`, regions `@0571`.
    pub callers: Vec<String>,
    /// 允许其他主叫
    pub allow_other_callers: bool,
    /// 参数
    pub param: String,
    /// An operator may take a number out of use without removing it.
    pub disabled: bool,
}

/// AXB 号码组 A.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AGroup {
    /// Unique.
    pub name: String,
}

/// A 号码管理.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ANumber {
    /// The group it is in.
    pub group: Id,
    /// Unique within the group.
    pub number: String,
    /// 线路上限, at least 1.
    pub line_limit: u32,
}

/// X 号码选取方式.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum XSelect {
    /// Every permitted X alike.
    #[default]
    None,
    /// Only X numbers that name the caller.
    Restrict,
    /// X numbers that name the caller first, then the others.
    Prefer,
}

/// Where a mapping gateway's calls carry the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallerSource {
    /// The From header.
    #[default]
    From,
    /// P-Asserted-Identity.
    PAssertedIdentity,
    /// Remote-Party-ID.
    RemotePartyId,
    /// P-Preferred-Identity.
    PPreferredIdentity,
    /// From's display name.
    Display,
}

/// Where a mapping gateway's calls carry the callee.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalleeSource {
    /// The Request-URI.
    #[default]
    RequestUri,
    /// The To header.
    To,
    /// The topmost Diversion.
    Diversion,
}

/// A list of prefixes that admits or refuses numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixList {
    /// True: only these prefixes pass. False: these do not.
    pub allow: bool,
    /// Empty: everything passes.
    pub prefixes: Vec<String>,
}

/// 对接网关: a peer that sends us calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappingGateway {
    /// Unique.
    pub name: String,
    /// 0 free, 3 all locked.
    pub lock_type: u8,
    /// 线路上限: calls at once over all nodes.
    pub capacity: u32,
    /// Sources whose calls are this gateway's: addresses or networks (`10.0.0.0/8`).
    pub remote_ips: Vec<String>,
    /// Customer account charged for its calls.
    pub account: Id,
    /// 主叫拨号规则 C → N.
    pub caller_rules: String,
    /// 被叫拨号规则.
    pub callee_rules: String,
    /// Where the caller is read.
    pub caller_source: CallerSource,
    /// Where the callee is read.
    pub callee_source: CalleeSource,
    /// Callers admitted or refused.
    pub caller_prefixes: PrefixList,
    /// Callees admitted or refused.
    pub callee_prefixes: PrefixList,
    /// Routing gateways its calls may use; empty: all.
    pub routing_gateways: Vec<Id>,
    /// Longest call, seconds.
    pub max_duration_secs: Option<u32>,
    /// X 号码选取方式.
    pub x_select_mode: XSelect,
    /// 允许 AXB 接口
    pub allow_axb: bool,
    /// 允许 AX 接口
    pub allow_ax: bool,
}

/// 前缀方式: what follows when the candidates of one prefix are used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrefixStyle {
    /// 终结: stop.
    #[default]
    Terminate,
    /// 延续: go on with shorter prefixes.
    Continue,
}

/// How a routing gateway is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// SIP over UDP.
    #[default]
    Udp,
    /// SIP over TCP.
    Tcp,
}

/// The AXB part of a routing gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxbRoute {
    /// A 号码组
    pub a_group: Id,
    /// AXB 接口管理
    pub interface: Id,
    /// B → B'.
    pub callee_rules: String,
    /// 结算账户号码: a settlement account.
    pub account: Option<Id>,
    /// Rate the AXB settlement on B' instead of B.
    pub rate_on_submitted: bool,
}

/// 落地网关: a peer that we send calls to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingGateway {
    /// Unique.
    pub name: String,
    /// 0 free, 3 all locked.
    pub lock_type: u8,
    /// Callee prefixes it serves; an empty string serves every callee.
    pub prefixes: Vec<String>,
    /// 终结 or 延续.
    pub prefix_style: PrefixStyle,
    /// Where its calls are sent.
    pub address: SocketAddr,
    /// Over what.
    pub transport: Transport,
    /// 线路上限: calls at once over all nodes.
    pub capacity: u32,
    /// Lower is taken first.
    pub priority: u32,
    /// Caller as sent.
    pub caller_rules: String,
    /// Callee as sent.
    pub callee_rules: String,
    /// 结算账户 of the landing.
    pub clearing_account: Option<Id>,
    /// Final SIP statuses that move the call to the next gateway; empty: 408, 430 and every 5xx.
    pub switch_on: Vec<u16>,
    /// Silence after the INVITE (nothing but 100) after which the next gateway is tried.
    pub response_timeout_ms: u32,
    /// Send P-Asserted-Identity with the caller.
    pub send_identity: bool,
    /// 启用 AXB: such a gateway never carries a plain call.
    pub axb: Option<AxbRoute>,
}

/// 账户 types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountKind {
    /// A customer.
    #[default]
    Normal,
    /// 电话卡
    Card,
    /// 结算账户: what we owe a supplier.
    Settlement,
}

/// 账户.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Unique number.
    pub account: String,
    /// Who.
    pub name: String,
    /// Opening balance when the row is made; later changes go through payments, never through edits.
    pub money: Micros,
    /// 透支限额, not negative.
    pub limit_money: Micros,
    /// Rates that price its calls.
    pub fee_rate_group: String,
    /// What sort.
    pub kind: AccountKind,
    /// 0 free, 3 all locked.
    pub lock_type: u8,
    /// Not usable after this time.
    pub valid_until: Option<Millis>,
    /// A settlement account whose balance is checked as a customer's is.
    pub check_balance: bool,
}

/// One piece of 分段费率: the first `secs` cost `fee` as a lump.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Price of the piece.
    pub fee: Micros,
    /// Its length.
    pub secs: u32,
}

/// 费率.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeeRate {
    /// Rates are looked up within a group.
    pub group: String,
    /// Longest match wins; empty matches everything.
    pub prefix: String,
    /// Area, for people.
    pub area_code: String,
    /// Area, for people.
    pub area_name: String,
    /// 1 网内, 2 本地, 4 国内, 5 国际.
    pub level: u8,
    /// Price of one period.
    pub fee: Micros,
    /// 计费周期, seconds, at least 1.
    pub period: u32,
    /// A locked rate refuses the call.
    pub locked: bool,
    /// 分段费率, in order, before the periods.
    pub sections: Vec<Section>,
}

/// One row of any table that operators edit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entity {
    /// An interface.
    Interface(Interface),
    /// An X number.
    XNumber(XNumber),
    /// An A group.
    AGroup(AGroup),
    /// An A number.
    ANumber(ANumber),
    /// A mapping gateway.
    MappingGateway(MappingGateway),
    /// A routing gateway.
    RoutingGateway(RoutingGateway),
    /// An account.
    Account(Account),
    /// A fee rate.
    FeeRate(FeeRate),
    /// A static (A,X) relation.
    AxBinding(AxBinding),
}

/// Names of the tables that operators edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Table {
    /// `interfaces`
    Interfaces,
    /// `x-numbers`
    XNumbers,
    /// `a-groups`
    AGroups,
    /// `a-numbers`
    ANumbers,
    /// `mapping-gateways`
    MappingGateways,
    /// `routing-gateways`
    RoutingGateways,
    /// `accounts`
    Accounts,
    /// `fee-rates`
    FeeRates,
    /// `ax-bindings`
    AxBindings,
}

/// A network source given as an address or `address/bits`.
///
/// Returns whether `ip` lies in it; a text that is neither matches nothing (the state refuses such rows).
pub fn source_covers(source: &str, ip: IpAddr) -> bool {
    let Some((net, bits)) = parse_source(source) else {
        return false;
    };
    match (net, ip) {
        (IpAddr::V4(net), IpAddr::V4(ip)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            u32::from(net) & mask == u32::from(ip) & mask
        }
        (IpAddr::V6(net), IpAddr::V6(ip)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            u128::from(net) & mask == u128::from(ip) & mask
        }
        _ => false,
    }
}

/// Reads `address` or `address/bits`.
pub fn parse_source(source: &str) -> Option<(IpAddr, u8)> {
    match source.split_once('/') {
        None => source
            .parse()
            .ok()
            .map(|ip: IpAddr| (ip, if ip.is_ipv4() { 32 } else { 128 })),
        Some((ip, bits)) => {
            let ip: IpAddr = ip.parse().ok()?;
            let bits: u8 = bits.parse().ok()?;
            (bits <= if ip.is_ipv4() { 32 } else { 128 }).then_some((ip, bits))
        }
    }
}
