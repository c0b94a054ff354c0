//! What a row must be like to be put.

use super::pay::MONEY_MAX;
use super::pools::CallerEntry;
use super::tables::Tabled;
use super::{AxLive, State};
use crate::command::{AxLease, Refusal};
use crate::dial_rules::Rules;
use crate::entity::{
    AGroup, ANumber, Account, AccountKind, AxBinding, Conflict, FeeRate, Interface, MappingGateway,
    Micros, PrefixList, RoutingGateway, Row, XNumber, parse_source,
};
use crate::regions::area_code;
use std::collections::BTreeMap;

const NAME_MAX: usize = 64;
const NUMBER_MAX: usize = 32;
const LIST_MAX: usize = 10_000;
const ENTRIES_MAX: usize = 64;
const VALUE_MAX: usize = 8_192;
const PEM_MAX: usize = 65_536;
/// Bytes of a proxy's address.
const PROXY_MAX: usize = 512;
const LIMIT_MAX: u32 = 1_000_000;

/// A type of rows with its rules.
pub(super) trait Valid: Tabled {
    /// The field that makes [`Tabled::key`], for messages.
    const KEY_FIELD: &'static str;
    /// Whether the row may be put as it is; `old` is the row it replaces.
    fn valid(&self, state: &State, old: Option<&Row<Self>>) -> Result<(), Refusal>;
    /// The entity as it is kept.
    fn kept(&self, _old: Option<&Row<Self>>) -> Self {
        self.clone()
    }
    /// The balance that a new row opens with, for rows that have one.
    fn opening(&self) -> Option<Micros> {
        None
    }
}

type Checked = Result<(), Refusal>;

fn invalid(field: &str, text: impl Into<String>) -> Refusal {
    Refusal::Invalid {
        field: field.to_owned(),
        text: text.into(),
    }
}

fn require(holds: bool, field: &str, text: &str) -> Checked {
    if holds {
        Ok(())
    } else {
        Err(invalid(field, text))
    }
}

fn name(field: &str, text: &str) -> Checked {
    let fits = !text.is_empty()
        && text.len() <= NAME_MAX
        && !text.chars().any(|c| c.is_control() || c == '/');
    require(
        fits,
        field,
        "must have 1 to 64 bytes without control characters or slash",
    )
}

fn number(field: &str, text: &str) -> Checked {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let fits = !digits.is_empty() && text.len() <= NUMBER_MAX && digits.bytes().all(is_digit);
    if fits {
        Ok(())
    } else {
        Err(invalid(
            field,
            format!("`{text}` is no number of 1 to {NUMBER_MAX} digits, `*`, `#`"),
        ))
    }
}

fn is_digit(c: u8) -> bool {
    c.is_ascii_digit() || c == b'*' || c == b'#'
}

/// The head of a number; may be empty.
fn prefix(field: &str, text: &str) -> Checked {
    if text.is_empty() {
        Ok(())
    } else {
        number(field, text)
    }
}

fn limit(field: &str, value: u32) -> Checked {
    require(
        (1..=LIMIT_MAX).contains(&value),
        field,
        "must lie between 1 and 1,000,000",
    )
}

fn lock(value: u8) -> Checked {
    require(
        value == 0 || value == super::route::LOCKED,
        "lock_type",
        "must be 0 or 3",
    )
}

fn rules(field: &str, text: &str) -> Checked {
    Rules::parse(text)
        .map(|_| ())
        .map_err(|error| invalid(field, error.to_string()))
}

fn list<T>(field: &str, items: &[T], check: impl Fn(&T) -> Checked) -> Checked {
    require(
        items.len() <= LIST_MAX,
        field,
        "has more than 10,000 entries",
    )?;
    items.iter().try_for_each(check)
}

fn texts(field: &str, map: &BTreeMap<String, String>) -> Checked {
    require(map.len() <= ENTRIES_MAX, field, "has more than 64 entries")?;
    let fits = map
        .iter()
        .all(|(key, value)| !key.is_empty() && key.len() <= NAME_MAX && value.len() <= VALUE_MAX);
    require(
        fits,
        field,
        "has a name beyond 64 bytes or a value beyond 8,192",
    )
}

fn exists(there: bool, field: &str, id: u32) -> Checked {
    if there {
        Ok(())
    } else {
        Err(invalid(field, format!("no row {id}")))
    }
}

impl Valid for Interface {
    const KEY_FIELD: &'static str = "name";
    fn valid(&self, state: &State, old: Option<&Row<Self>>) -> Checked {
        name("name", &self.name)?;
        name("kind", &self.kind)?;
        if let Some(old) = old {
            self.kept_to_type(state, old)?;
        }
        texts("params", &self.params)?;
        texts("urls", &self.urls)?;
        require(
            self.unbind_delay_secs.unwrap_or(0) <= 86_400,
            "unbind_delay_secs",
            "must not be beyond a day",
        )?;
        require(
            (1..=120_000).contains(&self.timeout_ms),
            "timeout_ms",
            "must lie between 1 and 120,000",
        )?;
        require(
            (1..=120_000).contains(&self.connect_timeout_ms),
            "connect_timeout_ms",
            "must lie between 1 and 120,000",
        )?;
        require(
            self.proxy
                .as_ref()
                .is_none_or(|proxy| proxy.len() <= PROXY_MAX),
            "proxy",
            "must not be beyond 512 bytes",
        )?;
        require(
            self.pair_rest_ms <= 3_600_000,
            "pair_rest_ms",
            "must not be beyond an hour",
        )?;
        require(
            self.rate_per_s != Some(0),
            "rate_per_s",
            "must be at least 1",
        )?;
        require(
            self.ca_pem.as_ref().is_none_or(|pem| pem.len() <= PEM_MAX),
            "ca_pem",
            "must not be beyond 64 KB",
        )
    }
}

impl Interface {
    /// What stands on it was made by the rules of its type and can be released by them alone. Rules that forbid less
    /// may come at any time.
    fn kept_to_type(&self, state: &State, old: &Row<Self>) -> Checked {
        let (new, known) = (self.type_rules.conflict, old.entity.type_rules.conflict);
        let tighter = new != known && new != Conflict::Pair;
        if self.kind == old.entity.kind && !tighter {
            return Ok(());
        }
        let binding = state.bindings().any(|row| row.interface == old.id);
        let relation = state.ax_bindings().any(|row| {
            row.entity.interface == old.id && state.ax_live(row.id).is_some_and(AxLive::takes_pair)
        });
        let on_it = |lease: &AxLease| lease.interface == old.id;
        let call = state.calls().any(|call| {
            let lease = call
                .attempt
                .as_ref()
                .and_then(|attempt| attempt.ax.as_ref());
            call.ax.is_some() && lease.is_some_and(on_it)
        });
        if binding || relation || call {
            return Err(Refusal::InUse {
                by: "a live binding, so the type cannot change".to_owned(),
            });
        }
        Ok(())
    }
}

impl Valid for XNumber {
    const KEY_FIELD: &'static str = "number";
    fn valid(&self, state: &State, old: Option<&Row<Self>>) -> Checked {
        number("number", &self.number)?;
        exists(
            state.interface(self.interface).is_some(),
            "interface",
            self.interface,
        )?;
        limit("line_limit", self.line_limit)?;
        list("callers", &self.callers, |entry| {
            match CallerEntry::read(entry) {
                CallerEntry::Exact(caller) => number("callers", caller),
                CallerEntry::Prefix(head) => number("callers", head),
                CallerEntry::Region(area) => require(
                    area_code(area) == Some(area),
                    "callers",
                    "a region is `@` and an area code of 1 to 8 digits",
                ),
            }
        })?;
        require(
            self.param.len() <= VALUE_MAX,
            "param",
            "must not be beyond 8,192 bytes",
        )?;
        renamed(
            old.is_some_and(|old| old.entity.number != self.number && state.x_use(old.id) > 0),
            "binding",
        )
    }
}

impl Valid for AGroup {
    const KEY_FIELD: &'static str = "name";
    fn valid(&self, _state: &State, _old: Option<&Row<Self>>) -> Checked {
        name("name", &self.name)
    }
}

impl Valid for ANumber {
    const KEY_FIELD: &'static str = "number";
    fn valid(&self, state: &State, old: Option<&Row<Self>>) -> Checked {
        number("number", &self.number)?;
        exists(state.a_group(self.group).is_some(), "group", self.group)?;
        limit("line_limit", self.line_limit)?;
        renamed(
            old.is_some_and(|old| old.entity.number != self.number && state.a_use(old.id) > 0),
            "call",
        )
    }
}

/// A number may not become another one under what stands on it.
fn renamed(in_use: bool, by: &str) -> Checked {
    if in_use {
        Err(Refusal::InUse {
            by: format!("a live {by}, so the number cannot change"),
        })
    } else {
        Ok(())
    }
}

fn prefixes(field: &str, prefixes: &PrefixList) -> Checked {
    list(field, &prefixes.prefixes, |text| prefix(field, text))
}

impl Valid for MappingGateway {
    const KEY_FIELD: &'static str = "name";
    fn valid(&self, state: &State, _old: Option<&Row<Self>>) -> Checked {
        name("name", &self.name)?;
        lock(self.lock_type)?;
        limit("capacity", self.capacity)?;
        list(
            "remote_ips",
            &self.remote_ips,
            |source| match parse_source(source) {
                Some(_) => Ok(()),
                None => Err(invalid(
                    "remote_ips",
                    format!("`{source}` is neither an address nor a network"),
                )),
            },
        )?;
        exists(
            state.account(self.account).is_some(),
            "account",
            self.account,
        )?;
        rules("caller_rules", &self.caller_rules)?;
        rules("callee_rules", &self.callee_rules)?;
        prefixes("caller_prefixes", &self.caller_prefixes)?;
        prefixes("callee_prefixes", &self.callee_prefixes)?;
        list("routing_gateways", &self.routing_gateways, |id| {
            exists(
                state.routing_gateway(*id).is_some(),
                "routing_gateways",
                *id,
            )
        })?;
        require(
            self.max_duration_secs != Some(0),
            "max_duration_secs",
            "must be at least 1",
        )
    }
}

impl Valid for RoutingGateway {
    const KEY_FIELD: &'static str = "name";
    fn valid(&self, state: &State, _old: Option<&Row<Self>>) -> Checked {
        name("name", &self.name)?;
        lock(self.lock_type)?;
        limit("capacity", self.capacity)?;
        list("prefixes", &self.prefixes, |text| prefix("prefixes", text))?;
        require(self.address.port() != 0, "address", "must have a port")?;
        rules("caller_rules", &self.caller_rules)?;
        rules("callee_rules", &self.callee_rules)?;
        let account = |field: &str, id: Option<u32>| match id {
            Some(id) => exists(state.account(id).is_some(), field, id),
            None => Ok(()),
        };
        account("clearing_account", self.clearing_account)?;
        list("switch_on", &self.switch_on, |status| {
            require(
                (300..700).contains(status),
                "switch_on",
                "holds what is no final failure, 300 to 699",
            )
        })?;
        require(
            (1..=600_000).contains(&self.response_timeout_ms),
            "response_timeout_ms",
            "must lie between 1 and 600,000",
        )?;
        let Some(axb) = &self.axb else { return Ok(()) };
        exists(
            state.a_group(axb.a_group).is_some(),
            "axb.a_group",
            axb.a_group,
        )?;
        exists(
            state.interface(axb.interface).is_some(),
            "axb.interface",
            axb.interface,
        )?;
        rules("axb.callee_rules", &axb.callee_rules)?;
        account("axb.account", axb.account)?;
        let settles = axb
            .account
            .and_then(|id| state.account(id))
            .is_none_or(|account| account.entity.kind == AccountKind::Settlement);
        require(settles, "axb.account", "must be a settlement account")
    }
}

impl Valid for Account {
    const KEY_FIELD: &'static str = "account";
    fn valid(&self, state: &State, old: Option<&Row<Self>>) -> Checked {
        name("account", &self.account)?;
        require(
            self.name.len() <= 4 * NAME_MAX,
            "name",
            "must not be beyond 256 bytes",
        )?;
        require(
            (-MONEY_MAX..=MONEY_MAX).contains(&self.money),
            "money",
            "lies beyond a thousand million",
        )?;
        require(
            (0..=MONEY_MAX).contains(&self.limit_money),
            "limit_money",
            "must not be negative",
        )?;
        // Without a group no number is rated: an account that only takes payments.
        if !self.fee_rate_group.is_empty() {
            name("fee_rate_group", &self.fee_rate_group)?;
        }
        lock(self.lock_type)?;
        let settles = old.is_some_and(|old| {
            let id = Some(old.id);
            state
                .routing_gateways()
                .any(|row| row.entity.axb.as_ref().is_some_and(|axb| axb.account == id))
        });
        require(
            !settles || self.kind == AccountKind::Settlement,
            "kind",
            "an AXB gateway settles on this account",
        )
    }

    /// The balance is opened once; afterwards only payments and calls move it.
    fn kept(&self, old: Option<&Row<Self>>) -> Self {
        Account {
            money: old.map_or(self.money, |old| old.entity.money),
            ..self.clone()
        }
    }

    fn opening(&self) -> Option<Micros> {
        Some(self.money)
    }
}

impl Valid for FeeRate {
    const KEY_FIELD: &'static str = "prefix";
    fn valid(&self, _state: &State, _old: Option<&Row<Self>>) -> Checked {
        name("group", &self.group)?;
        prefix("prefix", &self.prefix)?;
        require(
            self.area_code.len() <= NAME_MAX,
            "area_code",
            "must not be beyond 64 bytes",
        )?;
        require(
            self.area_name.len() <= 4 * NAME_MAX,
            "area_name",
            "must not be beyond 256 bytes",
        )?;
        let fee = |field: &str, fee: i64| {
            require(
                (0..=MONEY_MAX).contains(&fee),
                field,
                "must not be negative",
            )
        };
        fee("fee", self.fee)?;
        require(
            (1..=86_400).contains(&self.period),
            "period",
            "must lie between 1 and 86,400",
        )?;
        require(
            self.sections.len() <= ENTRIES_MAX,
            "sections",
            "has more than 64 entries",
        )?;
        self.sections.iter().try_for_each(|section| {
            fee("sections", section.fee)?;
            require(
                (1..=86_400).contains(&section.secs),
                "sections",
                "a section lasts 1 to 86,400 seconds",
            )
        })
    }
}

impl Valid for AxBinding {
    const KEY_FIELD: &'static str = "a_number";
    fn valid(&self, state: &State, old: Option<&Row<Self>>) -> Checked {
        number("a_number", &self.a_number)?;
        number("x_number", &self.x_number)?;
        require(
            self.a_number != self.x_number,
            "x_number",
            "is the A number itself",
        )?;
        texts("params", &self.params)?;
        let interface = state.interface(self.interface);
        exists(interface.is_some(), "interface", self.interface)?;
        require(
            interface.is_some_and(|row| row.entity.type_rules.ax),
            "interface",
            "is of a type without AX relations",
        )?;
        let free = old.is_none_or(|old| {
            let same = old.entity.interface == self.interface
                && old.entity.a_number == self.a_number
                && old.entity.x_number == self.x_number;
            same || !state.ax_live(old.id).is_some_and(AxLive::takes_pair)
        });
        require(
            free,
            "x_number",
            "the pair stays as it is until the platform has released it",
        )
    }
}
