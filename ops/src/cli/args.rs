//! What can be typed.

use super::backup::BackupArgs;
use super::certificates::CertificatesArgs;
use super::files::{AVerb, RegionVerb, XVerb};
use super::plan::PlanArgs;
use super::platform::{BillArgs, EventVerb};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use tandem_cluster::entity::Table;

/// Options of every client command.
#[derive(Clone, Debug, Args)]
pub struct Globals {
    /// Addresses of the admin API; the next one is tried when one does not answer.
    #[arg(
        long,
        global = true,
        env = "TANDEM_SERVER",
        value_delimiter = ',',
        value_name = "URL,…",
        default_value = "http://127.0.0.1:15180"
    )]
    pub server: Vec<String>,
    /// Access token.
    #[arg(long, global = true, env = "TANDEM_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// File that holds the access token.
    #[arg(long, global = true, conflicts_with = "token", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// How data is printed; exports default to jsonl, everything else to table.
    #[arg(short, long, global = true, value_enum)]
    pub output: Option<Output>,
    /// Columns to print, in this order.
    #[arg(long, global = true, value_delimiter = ',', value_name = "FIELD,…")]
    pub columns: Vec<String>,
    /// Show it again every two seconds.
    #[arg(long, global = true)]
    pub watch: bool,
    /// Seconds to wait for an answer.
    #[arg(long, global = true, default_value_t = 30, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
}

/// Forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Aligned columns for people.
    Table,
    /// One JSON document.
    Json,
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
    /// Excel workbook; `x export`, `a export` and `region export` only.
    Xlsx,
}

/// Commands that talk to a running cluster.
#[derive(Clone, Debug, Subcommand)]
pub enum ClientCommand {
    /// Counters of the node that answers.
    Status {
        /// Another node, by its access name.
        node: Option<String>,
    },
    /// The nodes and who leads.
    #[command(subcommand)]
    Cluster(ClusterVerb),
    /// AXB 设备: the running nodes.
    #[command(subcommand)]
    Device(DeviceVerb),
    /// AXB 接口管理: connections to X platforms.
    #[command(subcommand)]
    Interface(InterfaceVerb),
    /// X 号码管理.
    #[command(subcommand)]
    X(XVerb),
    /// AXB 号码组 A.
    #[command(subcommand)]
    AGroup(RowVerb),
    /// A 号码管理.
    #[command(subcommand)]
    A(AVerb),
    /// 手机地区: where numbers belong.
    #[command(subcommand)]
    Region(RegionVerb),
    /// 对接网关: peers that send us calls.
    #[command(subcommand)]
    MappingGateway(RowVerb),
    /// 落地网关: peers that we send calls to.
    #[command(subcommand)]
    RoutingGateway(RowVerb),
    /// 账户.
    #[command(subcommand)]
    Account(AccountVerb),
    /// 费率.
    #[command(subcommand)]
    Rate(RowVerb),
    /// How calls are carried.
    #[command(subcommand)]
    Route(RouteVerb),
    /// AX 绑定管理: static relations of an A and an X, named `A/X`.
    #[command(subcommand)]
    Ax(AxVerb),
    /// AXB 当前绑定.
    #[command(subcommand)]
    Binding(BindingVerb),
    /// Calls in progress.
    #[command(subcommand)]
    Call(CallVerb),
    /// 话单.
    #[command(subcommand)]
    Cdr(RecordVerb),
    /// AXB 历史话单.
    #[command(subcommand)]
    AxbCdr(RecordVerb),
    /// What platforms told of calls: events, bills, recordings.
    #[command(subcommand)]
    PlatformEvent(EventVerb),
    /// Sums over records.
    #[command(subcommand)]
    Report(ReportVerb),
    /// Who changed what.
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Configuration from a file.
    #[command(subcommand)]
    Seed(SeedVerb),
    /// Writes the whole state of the cluster into a file, for `restore`.
    Backup(BackupArgs),
    /// How many X and A numbers a traffic needs, and what unbinding early saves; asks no server.
    Plan(PlanArgs),
}

/// `tandem cluster …`
#[derive(Clone, Debug, Subcommand)]
pub enum ClusterVerb {
    /// Leader, term and nodes.
    Status,
    /// A node takes no new calls.
    Drain {
        /// Its access name.
        node: String,
    },
    /// A node takes calls again.
    Undrain {
        /// Its access name.
        node: String,
    },
    /// Lets the cluster use what its newer release brings, and waits until it does: afterwards no node can go back.
    Upgrade {
        /// Keeps it at its present level instead, so that nodes can go back to the release before.
        #[arg(long)]
        hold: bool,
        /// Longest wait for the level to rise.
        #[arg(long, default_value_t = 60, value_name = "SECS", value_parser = clap::value_parser!(u64).range(0..=3_600))]
        wait_secs: u64,
    },
    /// Adds a node that runs and is configured to join: it follows, and votes once it has caught up.
    Add {
        /// Its `node.id`, never used before.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        id: u64,
        /// Its `cluster.listen` as the other nodes reach it.
        #[arg(long, value_name = "HOST:PORT")]
        address: String,
        /// A dead node that leaves when this one gets its vote, by access name or id.
        #[arg(long, value_name = "NODE")]
        replaces: Option<String>,
        /// Longest wait for it to catch up; the same command later goes on.
        #[arg(long, default_value_t = 600, value_name = "SECS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
        wait_secs: u64,
    },
    /// A node leaves for good; its id is never given again.
    Remove {
        /// Its access name or id.
        node: String,
        /// Although calls live on it, or those who stay are no quorum as far as is seen.
        #[arg(long)]
        force: bool,
    },
    /// A node that has come up at another address is reached there from now on.
    Move {
        /// Its access name or id.
        node: String,
        /// Its `cluster.listen` as the other nodes reach it now.
        #[arg(long, value_name = "HOST:PORT")]
        address: String,
    },
    /// Makes a private authority and certificates for the links between nodes; asks no server.
    Certificates(CertificatesArgs),
    /// Writes a snapshot of the state.
    Snapshot {
        /// On this node; on all of them when left out.
        node: Option<String>,
    },
    /// Hands leadership over.
    TransferLeader {
        /// To this node; to any other when left out.
        node: Option<String>,
    },
}

/// `tandem device …`
#[derive(Clone, Debug, Subcommand)]
pub enum DeviceVerb {
    /// All devices.
    List(ListArgs),
    /// 系统信息 of one.
    Info {
        /// 接入名称
        name: String,
    },
    /// 同步数据: compares a device's tables with the leader's, and repairs it where it differs.
    ///
    /// All nodes are looked at behind the same entry, so load makes no difference. A device that differs gets the state
    /// of the leader (of the majority, when the leader is the one that differs) while its calls go on. Exit 0: equal,
    /// or repaired; 1: it differs still.
    Sync {
        /// 接入名称
        name: String,
        /// Only compare.
        #[arg(long)]
        check: bool,
    },
    /// 补充设置: changes settings of a device, which act at once.
    ///
    /// log_level (error, warn, info, debug, trace), calls_max (calls at once, no more than the node file allows),
    /// calls_per_s (new calls a second). An empty value takes a setting back.
    Set {
        /// 接入名称
        name: String,
        /// `setting=value`; `setting=` takes it back.
        #[arg(required = true, value_name = "SETTING=VALUE")]
        settings: Vec<String>,
    },
    /// Gives a device its 标识.
    Label {
        /// 接入名称
        name: String,
        /// 标识
        label: String,
    },
}

/// Verbs of the tables that operators edit.
#[derive(Clone, Debug, Subcommand)]
pub enum RowVerb {
    /// Rows that fit.
    List(ListArgs),
    /// One row.
    Show {
        /// Name or id.
        name: String,
    },
    /// Makes a row.
    Add(AddArgs),
    /// Changes fields of a row.
    Set(SetArgs),
    /// Removes a row.
    Remove(RemoveArgs),
}

/// `tandem interface …`
#[derive(Clone, Debug, Subcommand)]
pub enum InterfaceVerb {
    /// What can be done to rows.
    #[command(flatten)]
    Rows(RowVerb),
    /// 类型: what an interface can be; with its parameters and addresses when one is named.
    Types {
        /// Name or number of one type.
        name: Option<String>,
    },
    /// How it does on each node: breaker, clock, requests under way.
    Status {
        /// Name or id.
        name: String,
    },
    /// The last requests to its platform and the answers; secrets and numbers are masked.
    Exchanges(ExchangesArgs),
    /// Binds and unbinds a spare number and shows every request and answer.
    Test(TestArgs),
}

/// `tandem interface exchanges`
#[derive(Clone, Debug, Args)]
pub struct ExchangesArgs {
    /// Name or id.
    pub name: String,
    /// Of this node only; of all when left out.
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Headers and bodies too, in a table; other forms have them anyway.
    #[arg(long)]
    pub full: bool,
}

/// `tandem interface test`
#[derive(Clone, Debug, Args)]
pub struct TestArgs {
    /// Name or id.
    pub name: String,
    /// One of our A numbers; any that fits when left out.
    #[arg(long, value_name = "NUMBER")]
    pub a: Option<String>,
    /// One of its X numbers; any that is free when left out.
    #[arg(long, value_name = "NUMBER")]
    pub x: Option<String>,
    /// The callee as the platform is told it; another of our A numbers when left out.
    #[arg(long, value_name = "NUMBER")]
    pub b: Option<String>,
    /// Longest that it may last.
    #[arg(long, default_value_t = crate::exchange::TRIAL_SECS, value_name = "SECS", value_parser = clap::value_parser!(u32).range(1..=i64::from(crate::exchange::TRIAL_SECS_MAX)))]
    pub within_secs: u32,
}

/// `tandem account …`
#[derive(Clone, Debug, Subcommand)]
pub enum AccountVerb {
    /// Rows that fit.
    List(ListArgs),
    /// One row.
    Show {
        /// Number or id.
        name: String,
    },
    /// Makes a row.
    Add(AddArgs),
    /// Changes fields of a row.
    Set(SetArgs),
    /// Removes a row.
    Remove(RemoveArgs),
    /// 缴费: adds money, or takes it away.
    Pay {
        /// Number of the account.
        account: String,
        /// Amount, such as 100 or -0.5.
        #[arg(allow_hyphen_values = true)]
        amount: String,
        /// 备注
        #[arg(long, default_value = "")]
        memo: String,
        /// Repeating a payment with the same key pays once.
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
}

/// `… list`
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Conditions; a value that ends in `*` fits by its beginning.
    #[arg(value_name = "FIELD=VALUE")]
    pub filters: Vec<String>,
    /// Most rows to print.
    #[arg(long)]
    pub limit: Option<u64>,
    /// In the order of this field, `-FIELD` for the reverse; in the order of their making when left out.
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
    pub sort: Option<String>,
}

/// `… add`
#[derive(Clone, Debug, Args)]
pub struct AddArgs {
    /// Fields of the row; lists are separated by commas, parts of maps are written `params.app_key=…`.
    #[arg(value_name = "FIELD=VALUE", required_unless_present = "json")]
    pub fields: Vec<String>,
    /// Read the row from a JSON file, `-` for standard input; fields given beside it win.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// `… set`
#[derive(Clone, Debug, Args)]
pub struct SetArgs {
    /// Name or id.
    pub name: String,
    /// Fields to change; an empty value gives the default again.
    #[arg(value_name = "FIELD=VALUE", required_unless_present = "json")]
    pub fields: Vec<String>,
    /// Read fields from a JSON file, `-` for standard input; fields given beside it win.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Refuse when the row's version is another.
    #[arg(long)]
    pub version: Option<u32>,
}

/// `… remove`
#[derive(Clone, Debug, Args)]
pub struct RemoveArgs {
    /// Names or ids.
    #[arg(required = true)]
    pub names: Vec<String>,
    /// Refuse when the row's version is another.
    #[arg(long)]
    pub version: Option<u32>,
}

/// `tandem binding …`
#[derive(Clone, Debug, Subcommand)]
pub enum BindingVerb {
    /// Bindings that fit.
    List(ListArgs),
    /// One binding.
    Show {
        /// Its id.
        id: u64,
    },
    /// 解除绑定: the row goes when the platform lets go.
    Unbind {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<u64>,
    },
    /// 强制解绑: the row goes whatever the platform says.
    ForceUnbind {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<u64>,
    },
    /// Asks the platforms what they hold for our X numbers and shows what differs.
    Reconcile(ReconcileArgs),
}

/// `tandem binding reconcile`
#[derive(Clone, Debug, Args)]
pub struct ReconcileArgs {
    /// Only this interface; all of them when left out.
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,
    /// Clear what differs, on the side that is wrong; without it, differences are only shown.
    #[arg(long)]
    pub apply: bool,
}

/// `tandem route …`
#[derive(Clone, Debug, Subcommand)]
pub enum RouteVerb {
    /// Tells every decision about a call without making it.
    Test {
        /// Name of the mapping gateway that it comes from.
        #[arg(long, value_name = "GATEWAY")]
        from: String,
        /// Caller as received.
        #[arg(long, value_name = "NUMBER")]
        caller: String,
        /// Callee as received.
        #[arg(long, value_name = "NUMBER")]
        callee: String,
        /// The dice: one seed, one pair; random when left out.
        #[arg(long, value_name = "N")]
        seed: Option<u64>,
    },
}

/// `tandem ax …`
#[derive(Clone, Debug, Subcommand)]
pub enum AxVerb {
    /// Relations that fit.
    List(ListArgs),
    /// One relation.
    Show {
        /// `A/X`, or its id.
        name: String,
    },
    /// Makes a row; `ax bind` tells the platform.
    Add(AddArgs),
    /// Changes fields of a row.
    Set(SetArgs),
    /// Removes a row that is unbound.
    Remove(RemoveArgs),
    /// AX 绑定
    Bind {
        /// `A/X`, or ids.
        #[arg(required = true)]
        names: Vec<String>,
        /// How long to wait for the platform's answer.
        #[arg(long, default_value_t = 10, value_name = "SECS", value_parser = clap::value_parser!(u64).range(0..=600))]
        wait_secs: u64,
    },
    /// 解除绑定: unbound once the platform says so.
    Unbind {
        /// `A/X`, or ids.
        #[arg(required = true)]
        names: Vec<String>,
        /// How long to wait for the platform's answer.
        #[arg(long, default_value_t = 10, value_name = "SECS", value_parser = clap::value_parser!(u64).range(0..=600))]
        wait_secs: u64,
    },
    /// 强制解绑: unbound at once, whatever the platform says.
    ForceUnbind {
        /// `A/X`, or ids.
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// `tandem call …`
#[derive(Clone, Debug, Subcommand)]
pub enum CallVerb {
    /// Calls that fit.
    List(ListArgs),
    /// One call.
    Show {
        /// Its id.
        id: u64,
    },
    /// Ends calls.
    Hangup {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<u64>,
    },
}

/// `tandem cdr …`, `tandem axb-cdr …`
#[derive(Clone, Debug, Subcommand)]
pub enum RecordVerb {
    /// Some records.
    Query {
        /// Which.
        #[command(flatten)]
        filter: RecordFilter,
        /// Last stored first.
        #[arg(long)]
        newest_first: bool,
        /// Most records to print.
        #[arg(long, default_value_t = 100)]
        limit: u64,
    },
    /// All records that fit, in the order they were stored (alike on every node).
    Export {
        /// Which.
        #[command(flatten)]
        filter: RecordFilter,
    },
}

/// Which records.
#[derive(Clone, Debug, Default, Args)]
pub struct RecordFilter {
    /// Started at this time or later (2025-11-21 or 2025-11-21T08:00:00+08:00).
    #[arg(long)]
    pub since: Option<String>,
    /// Started before this time.
    #[arg(long)]
    pub until: Option<String>,
    /// Number of the customer's account.
    #[arg(long)]
    pub account: Option<String>,
    /// Number of the platform's settlement account.
    #[arg(long)]
    pub axb_account: Option<String>,
    /// Caller, as received or after rules.
    #[arg(long)]
    pub caller: Option<String>,
    /// Callee, as received or after rules.
    #[arg(long)]
    pub callee: Option<String>,
    /// X number.
    #[arg(long)]
    pub x: Option<String>,
    /// A number.
    #[arg(long)]
    pub a: Option<String>,
    /// Mapping or routing gateway.
    #[arg(long)]
    pub gateway: Option<String>,
    /// Why the call ended, such as `normal`.
    #[arg(long)]
    pub end_reason: Option<String>,
    /// The record's own number.
    #[arg(long)]
    pub flow_no: Option<u64>,
}

impl RecordFilter {
    /// The conditions as query parameters.
    pub fn parameters(&self) -> Vec<(String, String)> {
        [
            ("since", self.since.clone()),
            ("until", self.until.clone()),
            ("account", self.account.clone()),
            ("axb_account", self.axb_account.clone()),
            ("caller", self.caller.clone()),
            ("callee", self.callee.clone()),
            ("x", self.x.clone()),
            ("a", self.a.clone()),
            ("gateway", self.gateway.clone()),
            ("end_reason", self.end_reason.clone()),
            ("flow_no", self.flow_no.map(|number| number.to_string())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }
}

/// `tandem report …`
#[derive(Clone, Debug, Subcommand)]
pub enum ReportVerb {
    /// AXB 结算报表
    Axb {
        /// Started at this time or later.
        #[arg(long)]
        since: String,
        /// Started before this time.
        #[arg(long)]
        until: String,
        /// What a line covers: day, week, month or range.
        #[arg(long, default_value = "day")]
        period: String,
        /// Number of one settlement account.
        #[arg(long)]
        account: Option<String>,
        /// How far local business time is ahead of UTC, minutes.
        #[arg(long, default_value_t = 480, allow_hyphen_values = true)]
        offset_min: i32,
    },
    /// What platforms billed against what we rated, differences first.
    PlatformBills(BillArgs),
}

/// `tandem audit …`
#[derive(Clone, Debug, Subcommand)]
pub enum AuditVerb {
    /// Changes that fit, latest last.
    List(ListArgs),
}

/// `tandem seed …`
#[derive(Clone, Debug, Subcommand)]
pub enum SeedVerb {
    /// Makes the cluster hold what the file says; rows that are equal are left alone, rows it does not name too.
    Apply {
        /// The seed file.
        file: PathBuf,
    },
}

/// One kind of row verbs, whatever command they came by.
pub(super) enum Rows<'a> {
    List(&'a ListArgs),
    Show(&'a str),
    Add(&'a AddArgs),
    Set(&'a SetArgs),
    Remove(&'a RemoveArgs),
}

impl RowVerb {
    pub(super) fn rows(&self) -> Rows<'_> {
        match self {
            RowVerb::List(args) => Rows::List(args),
            RowVerb::Show { name } => Rows::Show(name),
            RowVerb::Add(args) => Rows::Add(args),
            RowVerb::Set(args) => Rows::Set(args),
            RowVerb::Remove(args) => Rows::Remove(args),
        }
    }
}

impl AccountVerb {
    pub(super) fn rows(&self) -> Option<Rows<'_>> {
        Some(match self {
            AccountVerb::List(args) => Rows::List(args),
            AccountVerb::Show { name } => Rows::Show(name),
            AccountVerb::Add(args) => Rows::Add(args),
            AccountVerb::Set(args) => Rows::Set(args),
            AccountVerb::Remove(args) => Rows::Remove(args),
            AccountVerb::Pay { .. } => return None,
        })
    }
}

impl ClientCommand {
    /// The table and verb of a command that edits or reads rows.
    pub(super) fn rows(&self) -> Option<(Table, Rows<'_>)> {
        Some(match self {
            ClientCommand::Interface(InterfaceVerb::Rows(verb)) => (Table::Interfaces, verb.rows()),
            ClientCommand::X(XVerb::Rows(verb)) => (Table::XNumbers, verb.rows()),
            ClientCommand::AGroup(verb) => (Table::AGroups, verb.rows()),
            ClientCommand::A(AVerb::Rows(verb)) => (Table::ANumbers, verb.rows()),
            ClientCommand::MappingGateway(verb) => (Table::MappingGateways, verb.rows()),
            ClientCommand::RoutingGateway(verb) => (Table::RoutingGateways, verb.rows()),
            ClientCommand::Rate(verb) => (Table::FeeRates, verb.rows()),
            ClientCommand::Account(verb) => (Table::Accounts, verb.rows()?),
            ClientCommand::Ax(verb) => (Table::AxBindings, verb.rows()?),
            _ => return None,
        })
    }

    /// Whether it writes a file of rows, which may be a workbook.
    pub(super) fn is_sheet(&self) -> bool {
        matches!(
            self,
            ClientCommand::X(XVerb::Export(_))
                | ClientCommand::A(AVerb::Export(_))
                | ClientCommand::Region(RegionVerb::Export { .. })
        )
    }

    /// Whether it sends a file that takes long to be checked.
    pub(super) fn is_upload(&self) -> bool {
        matches!(
            self,
            ClientCommand::X(XVerb::Import { .. })
                | ClientCommand::A(AVerb::Import { .. })
                | ClientCommand::Region(RegionVerb::Import { .. })
        )
    }

    /// Seconds that the server may take for it.
    pub(super) fn takes_secs(&self) -> u64 {
        match self {
            ClientCommand::Interface(InterfaceVerb::Test(args)) => u64::from(args.within_secs) + 10,
            ClientCommand::Backup(_) => 600,
            // A state may have to be copied, and a snapshot written.
            ClientCommand::Device(DeviceVerb::Sync { .. }) => 120,
            _ => 0,
        }
    }

    /// Whether it changes nothing, so that it may be repeated.
    pub(super) fn is_look(&self) -> bool {
        match self {
            ClientCommand::Status { .. }
            | ClientCommand::Interface(
                InterfaceVerb::Types { .. }
                | InterfaceVerb::Status { .. }
                | InterfaceVerb::Exchanges(_),
            )
            | ClientCommand::Cluster(ClusterVerb::Status)
            | ClientCommand::Device(DeviceVerb::List(_) | DeviceVerb::Info { .. })
            | ClientCommand::Binding(BindingVerb::List(_) | BindingVerb::Show { .. })
            | ClientCommand::Call(CallVerb::List(_) | CallVerb::Show { .. })
            | ClientCommand::Cdr(RecordVerb::Query { .. })
            | ClientCommand::AxbCdr(RecordVerb::Query { .. })
            | ClientCommand::Report(_)
            | ClientCommand::PlatformEvent(EventVerb::List { .. })
            | ClientCommand::Region(RegionVerb::List(_) | RegionVerb::Lookup { .. })
            | ClientCommand::Route(_)
            | ClientCommand::Audit(_) => true,
            other => matches!(other.rows(), Some((_, Rows::List(_) | Rows::Show(_)))),
        }
    }
}
