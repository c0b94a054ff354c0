//! What each vendor's refusals become at the client: every situation is played against the running
//! simulator, and the class that comes out is a cell of [`TABLE`].
//!
//! The table is whole: a vendor without a row, or a class that some definition can give and no cell
//! shows, fails the test.

use std::collections::{BTreeMap, BTreeSet};

use tandem_vendors::exchange::Op;
use tandem_vendors::sim::{self, Faults, Sim};
use tandem_vendors::{
    AxBind, Bind, BindOutcome, Class, Client, Failure, Handle, Interface, UnbindOutcome, Vendor,
};

use crate::every_vendor::{ROWS, Row, X, interface, worlds};

/// Columns: what happened. Cells: the class; behind a slash the seconds that the platform asks to
/// wait. `bound` and `other-x` are binds that worked, `adopted` one that was refused as there
/// already and then found by a query; `-` is a situation that the vendor does not have.
/// `permanent` under `foreign`, `none` and `often` says that it has no word of its own for that.
///
/// | column | what is played |
/// |---|---|
/// | `taken` | A is bound on X with another B |
/// | `again` | the same A, X and B are bound, by another request |
/// | `foreign` | X is not the application's |
/// | `none` | the platform has no X left: A has all of them, or the vendor's code says so |
/// | `alike` | A and B are one number: refused for its content |
/// | `often` | too many requests |
/// | `inside` | the platform failed inside |
/// | `cut` | the connection is cut instead of an answer |
/// | `secret` | one bit of the secret is wrong; `!` behind: nothing more is sent |
/// | `frozen` | the account is frozen or the interface closed |
/// | `nobody` | nobody listens |
/// | `gone` `u-often` `u-inside` `u-cut` `u-secret` | an unbind: of what is not there, and as above |
/// | `ax` | the relation of A and X exists already |
const TABLE: &str = "
vendor            taken       again          foreign     none            alike      often          inside   cut      secret   frozen       nobody    gone  u-often        u-inside  u-cut    u-secret  ax
aliyun            x_conflict  x_conflict     x_unusable  pool_exhausted  permanent  throttled/1s   unknown  unknown  config!  vendor_down  not_sent  gone  throttled/1s   unknown   unknown  config    x_conflict
baidu             x_conflict  x_conflict     x_unusable  pool_exhausted  permanent  throttled      unknown  unknown  config!  -            not_sent  gone  throttled      unknown   unknown  config    -
china-broadnet    x_conflict  x_conflict     x_unusable  pool_exhausted  permanent  unknown        unknown  unknown  config!  -            not_sent  gone  unknown        unknown   unknown  released  -
china-mobile-hdh  x_conflict  x_conflict     x_unusable  pool_exhausted  permanent  throttled      unknown  unknown  config!  -            not_sent  gone  throttled      unknown   unknown  config    -
cloopen           x_conflict  x_conflict     x_unusable  pool_exhausted  permanent  throttled      unknown  unknown  config!  -            not_sent  gone  throttled      unknown   unknown  config    -
huawei            x_conflict  x_conflict     x_unusable  pool_exhausted  permanent  throttled/60s  unknown  unknown  config!  vendor_down  not_sent  gone  throttled/60s  unknown   unknown  config    adopted
itniotech         x_conflict  x_conflict     x_unusable  pool_exhausted  permanent  throttled      unknown  unknown  config!  vendor_down  not_sent  gone  throttled      unknown   unknown  config    -
jumdata           x_conflict  x_conflict     x_unusable  pool_exhausted  permanent  throttled      unknown  unknown  config!  -            not_sent  gone  throttled      unknown   unknown  config    x_conflict
mixcom            x_conflict  x_conflict     x_unusable  pool_exhausted  permanent  throttled      unknown  unknown  config!  -            not_sent  gone  throttled      unknown   unknown  config    -
mode101           x_conflict  x_conflict     x_unusable  pool_exhausted  permanent  throttled      unknown  unknown  config!  vendor_down  not_sent  gone  throttled      unknown   unknown  config    x_conflict
nxcloud           other-x     other-x        other-x     pool_exhausted  permanent  throttled      unknown  unknown  config!  -            not_sent  gone  throttled      unknown   unknown  config    -
plivo             other-x     other-x        other-x     permanent       permanent  throttled      unknown  unknown  config!  -            not_sent  gone  throttled      unknown   unknown  config    -
tencent           x_conflict  bound          permanent   pool_exhausted  permanent  throttled      unknown  unknown  config!  -            not_sent  gone  throttled      unknown   unknown  config    -
twilio            x_conflict  x_conflict     x_unusable  pool_exhausted  permanent  throttled      unknown  unknown  config!  -            not_sent  gone  throttled      unknown   unknown  config    -
ungcloud          x_conflict  x_conflict     x_unusable  pool_exhausted  permanent  throttled      unknown  unknown  config!  vendor_down  not_sent  gone  throttled      unknown   unknown  config    -
vcc               x_conflict  already_bound  x_unusable  pool_exhausted  permanent  unknown        unknown  unknown  config!  -            not_sent  gone  unknown        unknown   unknown  config    -
volcengine        x_conflict  x_conflict     x_unusable  pool_exhausted  permanent  throttled      unknown  unknown  config!  vendor_down  not_sent  gone  throttled      unknown   unknown  config    x_conflict
winnerlook        x_conflict  x_conflict     x_unusable  pool_exhausted  permanent  throttled      unknown  unknown  config!  -            not_sent  gone  throttled      unknown   unknown  config    -
yiketong          other-x     other-x        other-x     pool_exhausted  permanent  throttled      unknown  unknown  config!  -            not_sent  gone  throttled      unknown   unknown  config    -
";

/// Codes that no situation of the simulator leads to of itself, by column.
const CODES: &[(&str, &str, &str)] = &[
    ("huawei", "none", "1012006"),
    ("aliyun", "none", "isv.NO_AVAILABLE_NUMBER"),
    ("tencent", "none", "107"),
    ("volcengine", "none", "NumberNotEnough"),
    ("china-broadnet", "none", "622"),
    ("twilio", "none", "80207"),
    ("huawei", "frozen", "1010029"),
    ("aliyun", "frozen", "isv.ACCOUNT_ABNORMAL"),
    ("volcengine", "frozen", "AccountFrozen"),
    ("mode101", "frozen", "503"),
    ("ungcloud", "frozen", "503"),
    ("itniotech", "frozen", "-29"),
    ("china-mobile-hdh", "none", "1005"),
    ("itniotech", "none", "-26"),
    ("jumdata", "none", "1005"),
    ("mixcom", "none", "E300210"),
];

fn code(vendor: &str, column: &str) -> Option<&'static str> {
    let found = CODES
        .iter()
        .find(|(who, what, _)| (*who, *what) == (vendor, column));
    found.map(|(_, _, code)| *code)
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// A vendor's cells by column.
fn expected() -> BTreeMap<&'static str, BTreeMap<&'static str, &'static str>> {
    let mut lines = TABLE.trim().lines();
    let columns = words(lines.next().unwrap());
    lines
        .map(|line| {
            let cells = words(line);
            assert_eq!(cells.len(), columns.len(), "{line}");
            let row = columns.iter().copied().zip(cells.iter().copied()).skip(1);
            (cells[0], row.collect())
        })
        .collect()
}

/// The class with the time to wait.
fn class(failure: &Failure) -> String {
    match failure.wait_ms {
        Some(ms) => format!("{}/{}s", failure.class, ms / 1000),
        None => failure.class.to_string(),
    }
}

/// One vendor in one situation.
struct Scene<'a> {
    row: &'a Row,
    sim: &'a Sim,
    column: &'static str,
}

fn numbers(b: u32, x: &str) -> Bind {
    Bind {
        a: "02100000001".into(),
        x: x.to_owned(),
        b: format!("1390000000{b}"),
        own_id: format!("call-{b}"),
    }
}

impl Scene<'_> {
    fn client(&self) -> Client {
        Client::new(&interface(self.row, self.sim, "test-secret")).unwrap()
    }

    fn faults(&self, faults: Faults) {
        self.sim.set_faults(self.row.vendor, faults);
    }

    /// Every request is answered with this code; empty: that of a failure inside.
    fn refuses(&self, code: &str) {
        self.faults(Faults {
            error_rate: 1.0,
            error_code: code.to_owned(),
            ..Faults::default()
        });
    }

    fn cuts(&self) {
        self.faults(Faults {
            drop_reply_rate: 1.0,
            ..Faults::default()
        });
    }

    async fn bound(&self, client: &Client, numbers: &Bind) -> (Handle, String) {
        match client.bind(numbers).await {
            BindOutcome::Bound { handle, x, .. } => (handle, x),
            BindOutcome::Failed(failure) => {
                panic!("{}/{}: {failure}", self.row.vendor, self.column)
            }
        }
    }

    async fn bind(&self, client: &Client, numbers: &Bind) -> String {
        match client.bind(numbers).await {
            BindOutcome::Bound { x, .. } if x == numbers.x => "bound".to_owned(),
            BindOutcome::Bound { .. } => "other-x".to_owned(),
            BindOutcome::Failed(failure) => class(&failure),
        }
    }

    async fn unbind(&self, client: &Client, handle: &Handle, numbers: &Bind) -> String {
        match client.unbind(handle, numbers).await {
            UnbindOutcome::Released => "released".to_owned(),
            UnbindOutcome::AlreadyGone => "gone".to_owned(),
            UnbindOutcome::Failed(failure) => class(&failure),
        }
    }

    /// The cell that comes out.
    async fn play(&self) -> String {
        let client = self.client();
        let code = code(self.row.vendor, self.column);
        match self.column {
            "taken" | "again" | "foreign" | "alike" => self.numbers_clash(&client).await,
            "none" => self.exhausted(&client).await,
            "often" => self.too_often(&client).await,
            "inside" => {
                self.refuses("");
                self.bind(&client, &numbers(1, X[0])).await
            }
            "cut" => {
                self.cuts();
                self.bind(&client, &numbers(1, X[0])).await
            }
            "secret" => self.wrong_secret().await,
            "frozen" => {
                let Some(code) = code else {
                    return "-".to_owned();
                };
                self.refuses(code);
                self.bind(&client, &numbers(1, X[0])).await
            }
            "nobody" => self.nobody().await,
            "ax" => self.relation(&client).await,
            _ => self.unbinds(&client).await,
        }
    }

    async fn numbers_clash(&self, client: &Client) -> String {
        let (_, x) = self.bound(client, &numbers(1, X[0])).await;
        let second = match self.column {
            "taken" => numbers(2, &x),
            "again" => Bind {
                own_id: "call-2".to_owned(),
                ..numbers(1, &x)
            },
            "foreign" => numbers(2, "17099999999"),
            _ => Bind {
                b: "02100000001".to_owned(),
                ..numbers(2, X[1])
            },
        };
        self.bind(client, &second).await
    }

    /// Where the platform chooses X, A takes one after the other; else the code is said.
    async fn exhausted(&self, client: &Client) -> String {
        let vendor = Vendor::named(self.row.vendor).unwrap();
        if let Some(code) = code(self.row.vendor, "none") {
            self.refuses(code);
            return self.bind(client, &numbers(1, X[0])).await;
        }
        let mut chooses = interface(self.row, self.sim, "test-secret");
        if vendor.describe().param("x_from").is_some() {
            chooses = chooses.with("x_from", "platform");
        }
        if vendor.describe().param("area_code").is_some() {
            chooses = chooses.with("area_code", "021");
        }
        let client = Client::new(&chooses).unwrap();
        let mut last = String::new();
        for b in 1..=4 {
            last = self.bind(&client, &numbers(b, X[0])).await;
        }
        last
    }

    /// More than one request a second; the seconds may change in between once.
    async fn too_often(&self, client: &Client) -> String {
        self.faults(Faults {
            throttle_per_s: 1,
            ..Faults::default()
        });
        let mut last = String::new();
        for (b, x) in (1..).zip(X) {
            last = self.bind(client, &numbers(b, x)).await;
            if last != "bound" && last != "other-x" {
                break;
            }
        }
        last
    }

    async fn wrong_secret(&self) -> String {
        let client = Client::new(&interface(self.row, self.sim, "test-secres")).unwrap();
        let first = self.bind(&client, &numbers(1, X[0])).await;
        let silent = match client.bind(&numbers(2, X[0])).await {
            BindOutcome::Failed(failure) => failure.code == "breaker",
            BindOutcome::Bound { .. } => false,
        };
        format!("{first}{}", if silent { "!" } else { "" })
    }

    async fn nobody(&self) -> String {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr();
        let there = interface(self.row, self.sim, "test-secret");
        let elsewhere = Interface {
            base_url: format!("http://{}", port.unwrap()),
            ..there
        };
        let client = Client::new(&elsewhere).unwrap();
        self.bind(&client, &numbers(1, X[0])).await
    }

    async fn relation(&self, client: &Client) -> String {
        let vendor = Vendor::named(self.row.vendor).unwrap();
        if vendor.describe().operation(Op::AxBind).is_none() {
            return "-".to_owned();
        }
        let numbers = AxBind {
            a: "02100000001".into(),
            x: X[0].into(),
            own_id: "ax-1".into(),
        };
        let first = match client.ax_bind(&numbers).await {
            BindOutcome::Bound { handle, .. } => handle,
            BindOutcome::Failed(failure) => panic!("{}: {failure}", self.row.vendor),
        };
        match client.ax_bind(&numbers).await {
            BindOutcome::Bound { handle, .. } if handle == first => "adopted".to_owned(),
            BindOutcome::Bound { .. } => "bound".to_owned(),
            BindOutcome::Failed(failure) => class(&failure),
        }
    }

    async fn unbinds(&self, client: &Client) -> String {
        let mut numbers = numbers(1, X[0]);
        let (handle, x) = self.bound(client, &numbers).await;
        numbers.x = x;
        match self.column {
            "gone" => {
                let first = self.unbind(client, &handle, &numbers).await;
                assert_eq!(first, "released", "{}", self.row.vendor);
                self.unbind(client, &handle, &numbers).await
            }
            "u-often" => {
                self.faults(Faults {
                    throttle_per_s: 1,
                    ..Faults::default()
                });
                let mut last = String::new();
                for _ in 0..3 {
                    last = self.unbind(client, &handle, &numbers).await;
                    if last != "released" && last != "gone" {
                        break;
                    }
                }
                last
            }
            "u-inside" => {
                self.refuses("");
                self.unbind(client, &handle, &numbers).await
            }
            "u-cut" => {
                self.cuts();
                self.unbind(client, &handle, &numbers).await
            }
            "u-secret" => {
                let client = Client::new(&interface(self.row, self.sim, "test-secres")).unwrap();
                self.unbind(&client, &handle, &numbers).await
            }
            other => panic!("no column `{other}`"),
        }
    }
}

/// A vendor's first row holds for it.
fn rows() -> Vec<&'static Row> {
    let mut rows: Vec<&Row> = ROWS.iter().collect();
    rows.dedup_by_key(|row| row.vendor);
    rows
}

#[tokio::test]
async fn every_refusal_of_every_vendor_has_its_class() {
    let table = expected();
    let columns = words(TABLE.trim().lines().next().unwrap());
    let mut wrong = Vec::new();
    let mut seen: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for column in columns.into_iter().skip(1) {
        let sim = worlds(sim::vendors());
        for row in rows() {
            let (vendor, sim) = (row.vendor, &sim);
            let scene = Scene { row, sim, column };
            let cell = scene.play().await;
            let expected = table.get(vendor).and_then(|row| row.get(column));
            if expected != Some(&&*cell) {
                wrong.push(format!("{vendor} {column}: {cell}, not {expected:?}"));
            }
            seen.entry(vendor).or_default().push(cell);
        }
        sim.stop();
    }
    let seen: Vec<String> = seen
        .iter()
        .map(|(vendor, cells)| format!("{vendor} {}", cells.join(" ")))
        .collect();
    assert!(
        wrong.is_empty(),
        "{}\n\n{}",
        wrong.join("\n"),
        seen.join("\n")
    );
}

#[test]
fn the_table_of_classes_is_whole() {
    let table = expected();
    let named: BTreeSet<&str> = table.keys().copied().collect();
    let simulated: BTreeSet<&str> = sim::vendors().collect();
    assert_eq!(named, simulated);
    assert_eq!(
        rows().iter().map(|row| row.vendor).collect::<BTreeSet<_>>(),
        simulated
    );
    // `adopted` is what the client makes of `already_bound`.
    let class = |cell: &&str| match cell.trim_end_matches('!').split_once('/') {
        Some((class, _)) => class.to_owned(),
        None if *cell == "adopted" => Class::AlreadyBound.to_string(),
        None => cell.trim_end_matches('!').to_owned(),
    };
    for (vendor, row) in &table {
        let shown: BTreeSet<String> = row.values().map(class).collect();
        for rule in Vendor::named(vendor).unwrap().describe().rules() {
            let known = rule.class == "ok" || shown.contains(rule.class);
            assert!(
                known,
                "{vendor}: no cell shows {} ({})",
                rule.class, rule.means
            );
        }
    }
    let shown: BTreeSet<String> = table
        .values()
        .flat_map(|row| row.values().map(class))
        .collect();
    // A bind is told so by no platform: it is what an unbind calls `gone`.
    let all = Class::ALL.iter().filter(|class| **class != Class::NotFound);
    for class in all {
        assert!(shown.contains(class.word()), "no cell shows {class}");
    }
}
