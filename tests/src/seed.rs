//! Configurations of a test's own, as the seed file that an operator would write.
//!
//! Ports are written as for a cluster whose ports begin at 15000, as in the sample, and moved to the test's own.

use std::fmt::Write;

/// Accounts and rates of the sample: what calls cost is not what these tests are about.
const MONEY: &str = r#"
[[fee_rates]]
group = "customers"
fee = "0.10"
period = 60

[[fee_rates]]
group = "landing"
fee = "0.03"
period = 60

[[fee_rates]]
group = "axb"
fee = "0.006"
period = 6

[[accounts]]
account = "c1"
name = "Customer"
money = "1000000"
fee_rate_group = "customers"

[[accounts]]
account = "landing"
name = "Carrier"
type = "settlement"
money = "1000000"
fee_rate_group = "landing"

[[accounts]]
account = "axb"
name = "Platform"
type = "settlement"
money = "1000000"
fee_rate_group = "axb"
"#;

/// A configuration being written.
#[derive(Clone, Debug)]
pub struct Seed(String);

impl Default for Seed {
    fn default() -> Self {
        Seed::new()
    }
}

impl Seed {
    /// Accounts and rates, nothing else.
    pub fn new() -> Seed {
        Seed(MONEY.to_owned())
    }

    /// An interface to the simulated Huawei platform; `fields` are further lines of TOML. Pairs do not rest unless they
    /// say so.
    pub fn interface(self, name: &str, fields: &str) -> Seed {
        let params = r#"app_key = "sample-app-key", app_secret = "sample-app-secret""#;
        self.interface_of("huawei", name, params, fields)
    }

    /// The same for another type; `params` are its credentials as TOML, their values those of the sample.
    pub fn interface_of(self, kind: &str, name: &str, params: &str, fields: &str) -> Seed {
        let rest = if fields.contains("pair_rest_ms") {
            ""
        } else {
            "pair_rest_ms = 0"
        };
        self.table(
            "interfaces",
            &format!(
                r#"name = "{name}"
type = "{kind}"
params = {{ {params}, expiration = "7200" }}
urls = {{ base = "http://127.0.0.1:15080/{kind}" }}
{rest}
{fields}"#
            ),
        )
    }

    /// X numbers: one number, or a range `first..last`.
    pub fn x(self, interface: &str, numbers: &str, fields: &str) -> Seed {
        let numbers = span(numbers);
        self.table(
            "x_numbers",
            &format!("interface = \"{interface}\"\n{numbers}\n{fields}"),
        )
    }

    /// A group with its A numbers: one number, or a range `first..last`.
    pub fn a(self, group: &str, numbers: &str, fields: &str) -> Seed {
        let numbers = span(numbers);
        self.table("a_groups", &format!("name = \"{group}\""))
            .table(
                "a_numbers",
                &format!("group = \"{group}\"\n{numbers}\n{fields}"),
            )
    }

    /// A routing gateway to the platform's SIP side for callees with this prefix.
    pub fn axb_gateway(
        self,
        name: &str,
        prefix: &str,
        group: &str,
        interface: &str,
        fields: &str,
    ) -> Seed {
        self.table(
            "routing_gateways",
            &format!(
                r#"name = "{name}"
prefixes = ["{prefix}"]
remote_ip = "127.0.0.1"
signal_port = 15060
capacity = 100000
clearing_account = "landing"
axb_enabled = true
a_group = "{group}"
interface = "{interface}"
axb_account = "axb"
{fields}"#
            ),
        )
    }

    /// A routing gateway without AXB to the plain carrier's phone.
    pub fn plain_gateway(self, name: &str, prefix: &str, fields: &str) -> Seed {
        self.table(
            "routing_gateways",
            &format!(
                r#"name = "{name}"
prefixes = ["{prefix}"]
remote_ip = "127.0.0.1"
signal_port = 15050
capacity = 100000
{fields}"#
            ),
        )
    }

    /// A mapping gateway known by a loopback address, AXB allowed unless `fields` say otherwise.
    pub fn customer(self, name: &str, ip: &str, fields: &str) -> Seed {
        let axb = if fields.contains("allow_axb") {
            ""
        } else {
            "allow_axb = true"
        };
        self.table(
            "mapping_gateways",
            &format!(
                r#"name = "{name}"
remote_ips = ["{ip}"]
account = "c1"
capacity = 100000
{axb}
{fields}"#
            ),
        )
    }

    /// A row of any table.
    pub fn table(mut self, table: &str, fields: &str) -> Seed {
        writeln!(self.0, "\n[[{table}]]\n{fields}").expect("a string takes everything");
        self
    }

    /// The file for a cluster whose ports begin at `base`.
    pub fn text(&self, base: u16) -> String {
        [40, 50, 60, 80]
            .iter()
            .fold(self.0.clone(), |text, offset| {
                text.replace(&(15_000 + offset).to_string(), &(base + offset).to_string())
            })
    }
}

fn span(numbers: &str) -> String {
    let key = if numbers.contains("..") {
        "numbers"
    } else {
        "number"
    };
    format!("{key} = \"{numbers}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_move_with_the_cluster_and_numbers_stay() {
        let seed = Seed::new()
            .interface("i", "unbind_delay_secs = 0")
            .x("i", "17000000001..17000000009", "line_limit = 2")
            .axb_gateway("g", "138", "ga", "i", "");
        let text = seed.text(20_000);
        assert!(text.contains("127.0.0.1:20080/huawei") && text.contains("signal_port = 20060"));
        assert!(text.contains("numbers = \"17000000001..17000000009\"\nline_limit = 2"));
        assert!(text.contains("pair_rest_ms = 0\nunbind_delay_secs = 0"));
    }
}
