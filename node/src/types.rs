//! The platforms of `tandem-vendors` as the admin API describes and checks them.

use tandem_cluster::entity::{Conflict, Interface};
use tandem_ops::types::{
    Finding, Form, InterfaceType, Severity, TypeParam, TypePolicy, TypeUrl, Types, WarnBelow,
};
use tandem_vendors::{Vendor, description};

use crate::platforms;

/// Every vendor there is. Needs no running node, so that files can be checked as well.
pub struct Vendors;

impl Types for Vendors {
    fn all(&self) -> Vec<InterfaceType> {
        Vendor::all().into_iter().map(described).collect()
    }

    fn check(&self, interface: &Interface) -> Vec<Finding> {
        let configured = match platforms::configured(0, interface) {
            Ok(configured) => configured,
            Err(_) => {
                let known: Vec<&str> = Vendor::all().into_iter().map(Vendor::name).collect();
                let text = format!(
                    "`{}` is no type, there are: {}",
                    interface.kind,
                    known.join(", ")
                );
                return vec![Finding {
                    field: "type".to_owned(),
                    severity: Severity::Error,
                    text,
                }];
            }
        };
        configured.check().into_iter().map(found).collect()
    }
}

/// A finding in terms of the row that operators edit.
fn found(finding: tandem_vendors::Finding) -> Finding {
    let severity = match finding.severity {
        tandem_vendors::Severity::Warning => Severity::Warning,
        tandem_vendors::Severity::Error => Severity::Error,
    };
    let (field, text) = match &*finding.field {
        "base_url" => ("urls.base".to_owned(), finding.text),
        // Of the two the one that operators are surer to have written.
        "connect_timeout_ms" if finding.severity == tandem_vendors::Severity::Warning => (
            "timeout_ms".to_owned(),
            "is no longer than making a connection may take, so a dead platform looks like an unknown outcome"
                .to_owned(),
        ),
        _ => (finding.field, finding.text),
    };
    Finding {
        field,
        severity,
        text,
    }
}

fn described(vendor: Vendor) -> InterfaceType {
    let schema = vendor.schema();
    let policy = schema.policy;
    InterfaceType {
        id: schema.id,
        name: schema.name.to_owned(),
        title: schema.title.to_owned(),
        base_url: schema.base_url.to_owned(),
        urls: schema
            .urls
            .iter()
            .map(|url| TypeUrl {
                name: url.name.to_owned(),
                method: url.method.to_owned(),
                path: url.path.to_owned(),
            })
            .collect(),
        params: schema.params.iter().map(param).collect(),
        policy: TypePolicy {
            ax: policy.ax,
            set_callee: policy.set_callee,
            query: policy.query,
            conflict: match policy.conflict {
                tandem_vendors::Conflict::Pair => Conflict::Pair,
                tandem_vendors::Conflict::XCallee => Conflict::XCallee,
                tandem_vendors::Conflict::XExclusive => Conflict::XExclusive,
            },
            pair_rest_ms: policy.pair_rest_ms,
        },
    }
}

fn param(param: &description::Param) -> TypeParam {
    TypeParam {
        name: param.name.clone(),
        form: match &param.form {
            description::Form::Text { bytes_max } => Form::Text {
                bytes_max: *bytes_max as u64,
            },
            description::Form::Number {
                min,
                max,
                warn_below,
            } => Form::Number {
                min: *min,
                max: *max,
                warn_below: warn_below.as_ref().map(|low| WarnBelow {
                    least: low.least,
                    why: low.why.clone(),
                }),
            },
            description::Form::Choice { words } => Form::Choice {
                words: words.clone(),
            },
        },
        default: param.default.clone(),
        required: param.required,
        secret: param.secret,
        help: param.help.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `field E|W` of what is found in an interface of one line of TOML fields.
    fn check(fields: &str) -> Vec<String> {
        let file = format!("[[interfaces]]\nname = 'hz'\n{fields}\n");
        let seed = tandem_ops::seed::check(&file, &Vendors);
        let lines = |found: &[tandem_ops::seed::Mistake], letter| {
            found
                .iter()
                .map(|found| format!("{}: {} {letter}", found.line, found.text))
                .collect::<Vec<_>>()
        };
        [lines(&seed.mistakes, 'E'), lines(&seed.warnings, 'W')].concat()
    }

    const KEYS: &str = "app_key = 'k', app_secret = 'hush'";

    #[test]
    fn each_type_is_described_with_its_parameters_and_addresses() {
        let huawei = Vendors.find("huawei").expect("built in");
        assert_eq!(Vendors.find(&huawei.id.to_string()), Some(huawei.clone()));
        let param = |name: &str| huawei.params.iter().find(|param| param.name == name);
        let expiration = param("expiration").expect("DOMAIN §3");
        assert!(
            matches!(&expiration.form, Form::Number { warn_below: Some(low), .. } if low.least == 7_200)
        );
        assert!(param("app_secret").is_some_and(|param| param.secret && param.required));
        assert!(huawei.urls.iter().any(|url| url.name == "bind"));
        assert!(huawei.policy.ax && huawei.policy.query);
        // Whatever the type keeps secret must be masked in rows, which know no types.
        for known in Vendors.all() {
            for param in known.params.iter().filter(|param| param.secret) {
                assert!(tandem_ops::dto::is_secret(&param.name), "{}", param.name);
            }
        }
    }

    #[test]
    fn an_interface_that_cannot_work_is_refused_by_field_and_no_secret_is_told() {
        for (fields, said) in [
            (
                "type = 'hauwei'".to_owned(),
                "`type`: `hauwei` is no type, there are: huawei",
            ),
            (
                "type = 'huawei'\nparams = { app_key = 'k' }".to_owned(),
                "`params.app_secret`: is missing",
            ),
            (
                format!("type = 'huawei'\nparams = {{ {KEYS}, app_sekret = 'hush' }}"),
                "`params.app_sekret`: is no parameter of huawei",
            ),
            (
                format!("type = 'huawei'\nparams = {{ {KEYS}, expiration = 'soon' }}"),
                "`params.expiration`: \"soon\" is not a whole number",
            ),
            (
                format!(
                    "type = 'huawei'\nparams = {{ {KEYS} }}\nurls = {{ base = 'https://u:hush@host?t=hush' }}"
                ),
                "`urls.base`: \"https://…@host",
            ),
        ] {
            let found = check(&fields);
            assert!(
                found.iter().any(|found| found.contains(said)),
                "{said}: {found:?}"
            );
            assert!(!format!("{found:?}").contains("hush"), "{found:?}");
        }
    }

    #[test]
    fn what_is_doubtful_is_told_and_taken() {
        for (fields, said) in [
            (
                format!("type = 'huawei'\nparams = {{ {KEYS}, expiration = 7199 }}"),
                "4: `params.expiration` \"7199\" is below 7200",
            ),
            (
                format!(
                    "type = 'huawei'\nparams = {{ {KEYS} }}\nurls = {{ base = 'http://far.invalid' }}"
                ),
                "5: `urls.base` sends credentials unencrypted W",
            ),
            (
                format!("type = 'huawei'\nparams = {{ {KEYS} }}\ntimeout_ms = 500"),
                "5: `timeout_ms` is no longer than making a connection may take",
            ),
        ] {
            let found = check(&fields);
            assert!(
                matches!(&*found, [one] if one.starts_with(said) && one.ends_with('W')),
                "{said}: {found:?}"
            );
        }
        assert_eq!(
            check(&format!(
                "type = 'huawei'\nparams = {{ {KEYS}, expiration = 7200 }}"
            )),
            [""; 0]
        );
    }
}
