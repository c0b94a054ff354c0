//! Interfaces, X numbers, A groups and A numbers.

use super::{Fault, MASK, Names, bounded, named, one, reference, yes};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use tandem_cluster::entity::{self, Table};
use utoipa::ToSchema;

/// AXB 接口管理: one configured connection to an X platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// 接口名称, unique.
    pub name: String,
    /// 类型: the platform's protocol, such as `huawei`.
    #[serde(rename = "type", alias = "kind")]
    pub kind: String,
    /// 参数设置. Secrets read as `***`; written so, they stay. Numbers and booleans may be written as such.
    #[serde(default, deserialize_with = "texts")]
    pub params: BTreeMap<String, String>,
    /// 接口地址: named endpoints.
    #[serde(default)]
    pub urls: BTreeMap<String, String>,
    /// 解绑延迟（秒）: null at call end, 0 at the answer, n seconds after it.
    #[serde(default)]
    pub unbind_delay_secs: Option<u32>,
    /// Keep the binding when the platform says that it is gone.
    #[serde(default)]
    pub hold_missing: bool,
    /// Bound of one HTTP exchange, 100 to 60,000 ms.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u32,
    /// Verify the platform's certificate.
    #[serde(default = "yes")]
    pub tls_verify: bool,
    /// Own authority for it, PEM.
    #[serde(default)]
    pub ca_pem: Option<String>,
    /// How long a released pair (A,X) rests, milliseconds.
    #[serde(default = "pair_rest_ms")]
    pub pair_rest_ms: u32,
    /// Requests a second towards the platform, of all nodes together, each of which keeps to its share; null is as the
    /// type has it. Never as much as the platform's own limit, where that is known.
    #[serde(default)]
    pub rate_per_s: Option<u32>,
    /// Bound of making a connection, TCP and TLS together, 10 to 60,000 ms. Keep it well below `timeout_ms`: a
    /// connection that was not made surely carried nothing.
    #[serde(default = "connect_timeout_ms")]
    pub connect_timeout_ms: u32,
    /// Forward proxy, `http://[user:password@]host[:port]`. The password reads as `***`; written so, it stays.
    #[serde(default)]
    pub proxy: Option<String>,
    /// Versions of HTTP: `auto` is 2 where the platform offers it over TLS, else 1.1; `2` without TLS needs a platform
    /// that expects it.
    #[serde(default)]
    pub http_version: HttpVersion,
    /// 备注
    #[serde(default)]
    pub memo: String,
}

/// Versions of HTTP towards a platform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum HttpVersion {
    /// 2 where it is offered, else 1.1.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// 1.1 only.
    #[serde(rename = "1")]
    One,
    /// 2 only.
    #[serde(rename = "2")]
    Two,
}

/// A proxy's address in three parts: up to the password, the password, and from the `@` on. `None`: it has none.
fn with_password(proxy: &str) -> Option<(&str, &str, &str)> {
    let begin = proxy.find("://").map_or(0, |at| at + 3);
    let end = proxy.rfind('@')?;
    let colon = begin + proxy.get(begin..end)?.find(':')? + 1;
    Some((&proxy[..colon], &proxy[colon..end], &proxy[end..]))
}

fn shown_proxy(proxy: &str) -> String {
    match with_password(proxy) {
        Some((user, _, host)) => format!("{user}{MASK}{host}"),
        None => proxy.to_owned(),
    }
}

/// Reads a map of texts in which numbers and booleans need no quotes: `expiration = 7200`.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text, a whole number or a boolean")]
    enum Plain {
        Text(String),
        Number(i64),
        Flag(bool),
    }
    let read = BTreeMap::<String, Plain>::deserialize(deserializer)?;
    let text = |plain| match plain {
        Plain::Text(text) => text,
        Plain::Number(number) => number.to_string(),
        Plain::Flag(flag) => flag.to_string(),
    };
    Ok(read
        .into_iter()
        .map(|(name, plain)| (name, text(plain)))
        .collect())
}

fn timeout_ms() -> u32 {
    5_000
}

fn connect_timeout_ms() -> u32 {
    1_000
}

fn pair_rest_ms() -> u32 {
    2_000
}

/// Whether a parameter's value must not be shown. Judged by name, so that a type added later hides its secrets too.
pub fn is_secret(param: &str) -> bool {
    let param = param.to_ascii_lowercase();
    ["secret", "password", "passwd", "private", "token", "sk"]
        .iter()
        .any(|word| {
            param == *word || (word.len() > 2 && param.contains(word)) || param.ends_with("_sk")
        })
}

impl Interface {
    pub(super) fn of(row: &entity::Interface, memo: &str) -> Interface {
        let shown = |(name, value): (&String, &String)| {
            let value = if is_secret(name) && !value.is_empty() {
                MASK.into()
            } else {
                value.clone()
            };
            (name.clone(), value)
        };
        Interface {
            name: row.name.clone(),
            kind: row.kind.clone(),
            params: row.params.iter().map(shown).collect(),
            urls: row.urls.clone(),
            unbind_delay_secs: row.unbind_delay_secs,
            hold_missing: row.hold_missing,
            timeout_ms: row.timeout_ms,
            tls_verify: row.tls_verify,
            ca_pem: row.ca_pem.clone(),
            pair_rest_ms: row.pair_rest_ms,
            rate_per_s: row.rate_per_s,
            connect_timeout_ms: row.connect_timeout_ms,
            proxy: row.proxy.as_deref().map(shown_proxy),
            http_version: match row.http_version {
                entity::HttpVersion::Auto => HttpVersion::Auto,
                entity::HttpVersion::One => HttpVersion::One,
                entity::HttpVersion::Two => HttpVersion::Two,
            },
            memo: memo.into(),
        }
    }

    pub(super) fn entity(
        &self,
        old: Option<&entity::Interface>,
    ) -> Result<entity::Interface, Fault> {
        let mut params = self.params.clone();
        for (name, value) in params
            .iter_mut()
            .filter(|(name, value)| is_secret(name) && *value == MASK)
        {
            *value = old
                .and_then(|old| old.params.get(name).cloned())
                .ok_or_else(|| {
                    Fault::new(
                        format!("params.{name}"),
                        "`***` keeps a secret, and there is none",
                    )
                })?;
        }
        let proxy = match self.proxy.as_deref().and_then(with_password) {
            // Who may change the host without knowing the password could have it sent to a host of their own.
            Some((user, MASK, host)) => {
                let kept = old.and_then(|old| old.proxy.clone()).filter(|old| {
                    with_password(old).is_some_and(|old| (old.0, old.2) == (user, host))
                });
                Some(kept.ok_or_else(|| {
                    Fault::new(
                        "proxy",
                        "`***` keeps the password of the same user and host only",
                    )
                })?)
            }
            _ => self.proxy.clone(),
        };
        Ok(entity::Interface {
            name: self.name.clone(),
            kind: self.kind.clone(),
            params,
            urls: self.urls.clone(),
            unbind_delay_secs: self.unbind_delay_secs,
            hold_missing: self.hold_missing,
            timeout_ms: bounded("timeout_ms", self.timeout_ms, 100, 60_000)?,
            tls_verify: self.tls_verify,
            ca_pem: self.ca_pem.clone(),
            pair_rest_ms: self.pair_rest_ms,
            rate_per_s: self.rate_per_s,
            connect_timeout_ms: bounded("connect_timeout_ms", self.connect_timeout_ms, 10, 60_000)?,
            proxy,
            http_version: match self.http_version {
                HttpVersion::Auto => entity::HttpVersion::Auto,
                HttpVersion::One => entity::HttpVersion::One,
                HttpVersion::Two => entity::HttpVersion::Two,
            },
            // Filled from the type by the process that proposes the row; kept, so that an equal row is seen to be equal.
            type_rules: old.map(|old| old.type_rules).unwrap_or_default(),
        })
    }
}

/// States of an X number that people set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum XState {
    /// In use.
    #[default]
    Active,
    /// Shown only: it waits for the outcome of a bind or unbind. Written, it means `active`.
    Quarantined,
    /// Out of use.
    Disabled,
}

/// X 号码管理.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct XNumber {
    /// Name of the interface that it belongs to.
    pub interface: String,
    /// 电话号码, unique over all interfaces.
    pub number: String,
    /// 线路上限, at least 1.
    #[serde(default = "one")]
    pub line_limit: u32,
    /// 主叫号码: exact numbers, prefixes `0571*`, regions `@0571`.
    #[serde(default)]
    pub callers: Vec<String>,
    /// 允许其他主叫
    #[serde(default = "yes")]
    pub allow_other_callers: bool,
    /// 参数
    #[serde(default)]
    pub param: String,
    /// Whether it may be taken.
    #[serde(default)]
    pub state: XState,
    /// 备注
    #[serde(default)]
    pub memo: String,
}

impl XNumber {
    pub(super) fn of(row: &entity::XNumber, memo: &str, names: &dyn Names) -> XNumber {
        XNumber {
            interface: named(names, Table::Interfaces, row.interface),
            number: row.number.clone(),
            line_limit: row.line_limit,
            callers: row.callers.clone(),
            allow_other_callers: row.allow_other_callers,
            param: row.param.clone(),
            state: if row.disabled {
                XState::Disabled
            } else {
                XState::Active
            },
            memo: memo.into(),
        }
    }

    pub(super) fn entity(&self, names: &dyn Names) -> Result<entity::XNumber, Fault> {
        Ok(entity::XNumber {
            interface: reference(names, Table::Interfaces, "interface", &self.interface)?,
            number: self.number.clone(),
            line_limit: bounded("line_limit", self.line_limit, 1, u32::MAX)?,
            callers: self.callers.clone(),
            allow_other_callers: self.allow_other_callers,
            param: self.param.clone(),
            disabled: self.state == XState::Disabled,
        })
    }
}

/// AXB 号码组 A.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AGroup {
    /// A 号码组, unique.
    pub name: String,
    /// 备注
    #[serde(default)]
    pub memo: String,
}

/// A 号码管理.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ANumber {
    /// Name of its A group.
    #[serde(alias = "a_group")]
    pub group: String,
    /// Unique within the group.
    pub number: String,
    /// 线路上限, at least 1.
    #[serde(default = "one")]
    pub line_limit: u32,
    /// 备注
    #[serde(default)]
    pub memo: String,
}

impl ANumber {
    pub(super) fn of(row: &entity::ANumber, memo: &str, names: &dyn Names) -> ANumber {
        ANumber {
            group: named(names, Table::AGroups, row.group),
            number: row.number.clone(),
            line_limit: row.line_limit,
            memo: memo.into(),
        }
    }

    pub(super) fn entity(&self, names: &dyn Names) -> Result<entity::ANumber, Fault> {
        Ok(entity::ANumber {
            group: reference(names, Table::AGroups, "group", &self.group)?,
            number: self.number.clone(),
            line_limit: bounded("line_limit", self.line_limit, 1, u32::MAX)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(params: serde_json::Value) -> Result<BTreeMap<String, String>, String> {
        let row = json!({"name": "hz", "type": "huawei", "params": params});
        serde_json::from_value::<Interface>(row)
            .map(|row| row.params)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn plain_values_of_params_need_no_quotes() {
        let params = read(json!({"app_key": "k", "expiration": 7200, "record": false}))
            .expect("plain values");
        let expected = [
            ("app_key", "k"),
            ("expiration", "7200"),
            ("record", "false"),
        ];
        assert_eq!(
            params,
            expected
                .map(|(name, text)| (name.to_owned(), text.to_owned()))
                .into()
        );
        assert!(
            read(json!({"nested": {}}))
                .is_err_and(|error| error.contains("a text, a whole number or a boolean"))
        );
    }

    #[test]
    fn secrets_are_known_by_their_names() {
        for (param, secret) in [
            ("app_secret", true),
            ("AppSecret", true),
            ("password", true),
            ("access_token", true),
            ("sk", true),
            ("aliyun_sk", true),
            ("private_key", true),
            ("app_key", false),
            ("task", false),
            ("expiration", false),
        ] {
            assert_eq!(is_secret(param), secret, "{param}");
        }
    }
}

/// AX 绑定管理: a static relation of an A and an X.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AxBinding {
    /// Name of the interface whose platform knows it.
    pub interface: String,
    /// X.
    pub x_number: String,
    /// A.
    pub a_number: String,
    /// 参数设置. Numbers and booleans may be written as such.
    #[serde(default, deserialize_with = "texts")]
    pub params: BTreeMap<String, String>,
    /// When the relation is to end; null: it stays.
    #[serde(default, with = "super::moment")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<u64>,
    /// 备注
    #[serde(default)]
    pub memo: String,
}

impl AxBinding {
    pub(super) fn of(row: &entity::AxBinding, memo: &str, names: &dyn Names) -> AxBinding {
        AxBinding {
            interface: named(names, Table::Interfaces, row.interface),
            x_number: row.x_number.clone(),
            a_number: row.a_number.clone(),
            params: row.params.clone(),
            expires_at: row.expires_at,
            memo: memo.into(),
        }
    }

    pub(super) fn entity(&self, names: &dyn Names) -> Result<entity::AxBinding, Fault> {
        Ok(entity::AxBinding {
            interface: reference(names, Table::Interfaces, "interface", &self.interface)?,
            x_number: self.x_number.clone(),
            a_number: self.a_number.clone(),
            params: self.params.clone(),
            expires_at: self.expires_at,
        })
    }
}
