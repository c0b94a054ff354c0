//! Every vendor's definition against its simulator, whose signatures, notations and codes are
//! written apart from the definitions: bound, found, refused, released, gone, and nothing left.

use std::path::PathBuf;

use tandem_vendors::exchange::Op;
use tandem_vendors::sim::{self, Config, Credentials, Faults, Sim};
use tandem_vendors::{
    AxBind, Bind, BindOutcome, Class, Client, Handle, Interface, QueryOutcome, SetCalleeOutcome,
    UnbindOutcome, Vendor,
};

pub(crate) const X: [&str; 3] = ["17000000000", "17000000001", "17000000002"];

/// One vendor: its parameters beside key and secret, and what a second bind of the same numbers
/// comes to.
pub(crate) struct Row {
    pub(crate) vendor: &'static str,
    pub(crate) params: &'static [(&'static str, &'static str)],
    again: Again,
}

/// What binding A, X and B once more means.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Again {
    Refused(Class),
    /// The same binding again; released as often, or counted.
    Same,
    /// Another binding, with another X.
    Another,
}

pub(crate) const ROWS: &[Row] = &[
    Row {
        vendor: "huawei",
        params: &[],
        again: Again::Refused(Class::XConflict),
    },
    Row {
        vendor: "aliyun",
        params: &[("pool_key", "pool")],
        again: Again::Refused(Class::XConflict),
    },
    Row {
        vendor: "aliyun",
        params: &[("pool_key", "pool"), ("signature", "HMAC-SHA1")],
        again: Again::Refused(Class::XConflict),
    },
    Row {
        vendor: "aliyun",
        params: &[("pool_key", "pool"), ("signature", "ACS3-HMAC-SM3")],
        again: Again::Refused(Class::XConflict),
    },
    Row {
        vendor: "tencent",
        params: &[
            ("biz_app_id", "app"),
            ("gone_code", "103"),
            ("busy_code", "106"),
        ],
        again: Again::Same,
    },
    Row {
        vendor: "tencent",
        params: &[
            ("biz_app_id", "app"),
            ("gone_code", "103"),
            ("signature", "HmacSHA1"),
        ],
        again: Again::Same,
    },
    Row {
        vendor: "volcengine",
        params: &[("number_pool_no", "pool")],
        again: Again::Refused(Class::XConflict),
    },
    Row {
        vendor: "mode101",
        params: &[],
        again: Again::Refused(Class::XConflict),
    },
    Row {
        vendor: "vcc",
        params: &[("vcc_id", "vcc")],
        again: Again::Same,
    },
    Row {
        vendor: "nxcloud",
        params: &[
            ("gone_code", "1005"),
            ("exhausted_code", "1006"),
            ("throttled_code", "1007"),
            ("auth_code", "1002"),
            ("failed_code", "1008"),
        ],
        again: Again::Another,
    },
    Row {
        vendor: "nxcloud",
        params: &[("algorithm", "sha256"), ("gone_code", "1005")],
        again: Again::Another,
    },
    Row {
        vendor: "china-broadnet",
        params: &[("biz_id", "biz"), ("area_code", "21")],
        again: Again::Refused(Class::XConflict),
    },
    Row {
        vendor: "china-mobile-hdh",
        params: &[
            ("app_id", "app"),
            ("gone_code", "1003"),
            ("busy_code", "1004"),
            ("exhausted_code", "1005"),
            ("x_unknown_code", "1006"),
            ("throttled_code", "1007"),
            ("failed_code", "9999"),
        ],
        again: Again::Same,
    },
    Row {
        vendor: "winnerlook",
        params: &[
            ("gone_code", "000003"),
            ("busy_code", "000004"),
            ("exhausted_code", "000005"),
            ("x_unknown_code", "000006"),
            ("throttled_code", "000007"),
            ("auth_code", "000002"),
            ("failed_code", "999999"),
        ],
        again: Again::Refused(Class::XConflict),
    },
    Row {
        vendor: "cloopen",
        params: &[
            ("app_id", "app"),
            ("operator", "cu01"),
            ("gone_code", "112003"),
            ("busy_code", "112004"),
            ("exhausted_code", "112005"),
            ("x_unknown_code", "112006"),
            ("throttled_code", "112007"),
            ("auth_code", "112002"),
            ("failed_code", "112099"),
        ],
        again: Again::Refused(Class::XConflict),
    },
    Row {
        vendor: "baidu",
        params: &[
            ("area_code", "021"),
            ("gone_code", "1005"),
            ("busy_code", "1002"),
            ("exhausted_code", "1003"),
            ("x_unknown_code", "1004"),
        ],
        again: Again::Refused(Class::XConflict),
    },
    Row {
        vendor: "twilio",
        params: &[("service_sid", "KS1")],
        again: Again::Refused(Class::Permanent),
    },
    Row {
        vendor: "plivo",
        params: &[],
        again: Again::Another,
    },
    Row {
        vendor: "mixcom",
        params: &[
            ("busy_code", "E300208"),
            ("exhausted_code", "E300210"),
            ("throttled_code", "E300102"),
            ("auth_code", "E300101"),
        ],
        again: Again::Refused(Class::XConflict),
    },
    Row {
        vendor: "mixcom",
        params: &[("busy_code", "E300208"), ("send", "form")],
        again: Again::Refused(Class::XConflict),
    },
    Row {
        vendor: "ungcloud",
        params: &[("company_id", "700000")],
        again: Again::Refused(Class::XConflict),
    },
    Row {
        vendor: "jumdata",
        params: &[
            ("gone_code", "1003"),
            ("busy_code", "1004"),
            ("exhausted_code", "1005"),
            ("x_unknown_code", "1006"),
            ("throttled_code", "1007"),
            ("auth_code", "1002"),
            ("failed_code", "1008"),
        ],
        again: Again::Refused(Class::XConflict),
    },
    Row {
        vendor: "itniotech",
        params: &[
            ("app_id", "app"),
            ("busy_code", "-25"),
            ("exhausted_code", "-26"),
            ("x_unknown_code", "-27"),
            ("throttled_code", "-19"),
        ],
        again: Again::Refused(Class::XConflict),
    },
    Row {
        vendor: "yiketong",
        params: &[
            ("area_code", "021"),
            ("gone_code", "1003"),
            ("exhausted_code", "1005"),
            ("throttled_code", "1007"),
            ("auth_code", "1002"),
            ("failed_code", "1008"),
        ],
        again: Again::Another,
    },
];

fn world(vendor: &'static str) -> Sim {
    worlds([vendor])
}

/// A simulator of several vendors, each of which has [`X`] and nothing else.
pub(crate) fn worlds(vendors: impl IntoIterator<Item = &'static str>) -> Sim {
    worlds_logged(vendors, None)
}

/// The same, with a log.
pub(crate) fn worlds_logged(
    vendors: impl IntoIterator<Item = &'static str>,
    log: Option<PathBuf>,
) -> Sim {
    let any = "127.0.0.1:0".parse().unwrap();
    let mut credentials = Credentials::new("test-key", "test-secret");
    credentials.x_numbers = X.iter().map(|x| (*x).to_owned()).collect();
    let phone = "127.0.0.1:9".parse().unwrap();
    let mut config = Config::of(any, any, phone, vendors, &credentials);
    config.log = log;
    if let Some(ungcloud) = config.vendors.get_mut("ungcloud") {
        ungcloud.company = "700000".to_owned();
    }
    sim::spawn(&config).unwrap()
}

pub(crate) fn interface(row: &Row, sim: &Sim, secret: &str) -> Interface {
    let vendor = Vendor::named(row.vendor).unwrap();
    let mut interface = Interface::new(1, row.vendor, vendor, &sim.base_url(row.vendor));
    let params = &vendor.describe().params;
    // The key is the first parameter, whatever the vendor calls it.
    interface = interface.with(&params[0].name, "test-key");
    let secret_name = &params.iter().find(|param| param.secret).unwrap().name;
    interface = interface.with(secret_name, secret);
    for (name, value) in row.params {
        interface = interface.with(name, value);
    }
    interface
}

fn numbers() -> Bind {
    Bind {
        a: "02100000001".into(),
        x: X[0].into(),
        b: "13900000001".into(),
        own_id: "call-1".into(),
    }
}

async fn bound(client: &Client, numbers: &Bind, who: &str) -> (Handle, String) {
    match client.bind(numbers).await {
        BindOutcome::Bound { handle, x, .. } => (handle, x),
        BindOutcome::Failed(failure) => panic!("{who}: {failure}"),
    }
}

#[tokio::test]
async fn a_binding_lives_and_dies_at_every_vendor() {
    for row in ROWS {
        let who = format!("{} {:?}", row.vendor, row.params);
        let sim = world(row.vendor);
        let client = Client::new(&interface(row, &sim, "test-secret")).unwrap();
        let numbers = numbers();
        let (handle, x) = bound(&client, &numbers, &who).await;
        assert!(X.contains(&&*x), "{who}: {x}");
        assert_eq!(sim.bindings().len(), 1, "{who}");
        let numbers = Bind { x, ..numbers };
        if Vendor::named(row.vendor).unwrap().policy().query {
            match client.query(&numbers).await {
                QueryOutcome::Found(held) => {
                    assert_eq!(held.len(), 1, "{who}");
                    let held = &held[0];
                    assert_eq!(held.handle, handle, "{who}");
                    let found = [&held.a, &held.x, &held.b];
                    assert_eq!(found, [&numbers.a, &numbers.x, &numbers.b], "{who}");
                }
                other => panic!("{who}: {other:?}"),
            }
        }
        again(row, &client, &numbers, &handle, &who).await;
        let unbound = client.unbind(&handle, &numbers).await;
        assert_eq!(unbound, UnbindOutcome::Released, "{who}");
        assert_eq!(sim.bindings(), [], "{who}");
        let unbound = client.unbind(&handle, &numbers).await;
        assert_eq!(unbound, UnbindOutcome::AlreadyGone, "{who}");
        sim.stop();
    }
}

/// A second bind of the same numbers; what it made is released again.
async fn again(row: &Row, client: &Client, numbers: &Bind, first: &Handle, who: &str) {
    let mut second = numbers.clone();
    if row.again == Again::Another {
        second.own_id = "call-2".to_owned();
    }
    match (client.bind(&second).await, row.again) {
        (BindOutcome::Failed(failure), Again::Refused(class)) => {
            assert_eq!(failure.class, class, "{who}: {failure}");
        }
        (BindOutcome::Bound { handle, .. }, Again::Same) => assert_eq!(handle, *first, "{who}"),
        (BindOutcome::Bound { handle, x, .. }, Again::Another) => {
            assert_ne!(handle, *first, "{who}");
            let numbers = Bind { x, ..second };
            let unbound = client.unbind(&handle, &numbers).await;
            assert_eq!(unbound, UnbindOutcome::Released, "{who}");
        }
        (outcome, again) => panic!("{who}: {outcome:?}, not {again:?}"),
    }
}

#[tokio::test]
async fn one_bit_of_the_secret_is_refused_by_every_vendor() {
    for row in ROWS {
        let sim = world(row.vendor);
        let client = Client::new(&interface(row, &sim, "test-secres")).unwrap();
        match client.bind(&numbers()).await {
            BindOutcome::Failed(failure) => {
                assert!(!failure.class.may_hold(), "{}: {failure}", row.vendor);
            }
            other => panic!("{}: {other:?}", row.vendor),
        }
        assert_eq!(sim.bindings(), [], "{}", row.vendor);
        sim.stop();
    }
}

#[tokio::test]
async fn a_cut_reply_leaves_a_binding_that_our_own_id_or_the_numbers_clear() {
    for row in ROWS {
        let vendor = Vendor::named(row.vendor).unwrap();
        let clears = vendor.handling().recover.iter().any(|way| {
            matches!(
                way,
                tandem_vendors::Recovery::OwnId | tandem_vendors::Recovery::Numbers
            )
        });
        if !clears {
            continue;
        }
        let sim = world(row.vendor);
        let client = Client::new(&interface(row, &sim, "test-secret")).unwrap();
        sim.set_faults(
            row.vendor,
            Faults {
                drop_reply_rate: 1.0,
                ..Faults::default()
            },
        );
        match client.bind(&numbers()).await {
            BindOutcome::Failed(failure) => assert!(failure.class.may_hold(), "{failure}"),
            other => panic!("{}: {other:?}", row.vendor),
        }
        sim.set_faults(row.vendor, Faults::default());
        assert_eq!(sim.bindings().len(), 1, "{}", row.vendor);
        let unbound = client.unbind(&Handle::new(), &numbers()).await;
        assert_eq!(unbound, UnbindOutcome::Released, "{}", row.vendor);
        assert_eq!(sim.bindings(), [], "{}", row.vendor);
        sim.stop();
    }
}

#[tokio::test]
async fn a_relation_lives_calls_out_and_dies_at_every_vendor_that_has_them() {
    for row in ROWS {
        let vendor = Vendor::named(row.vendor).unwrap();
        if vendor
            .describe()
            .operation(tandem_vendors::exchange::Op::AxBind)
            .is_none()
        {
            continue;
        }
        let who = row.vendor;
        let sim = world(row.vendor);
        let client = Client::new(&interface(row, &sim, "test-secret")).unwrap();
        let numbers = AxBind {
            a: "02100000001".into(),
            x: X[0].into(),
            own_id: "ax-1".into(),
        };
        let handle = match client.ax_bind(&numbers).await {
            BindOutcome::Bound { handle, x, .. } => {
                assert_eq!(x, numbers.x, "{who}");
                handle
            }
            BindOutcome::Failed(failure) => panic!("{who}: {failure}"),
        };
        if vendor.policy().ax {
            match client.ax_query(&numbers).await {
                QueryOutcome::Found(held) => assert_eq!(held[0].handle, handle, "{who}"),
                other => panic!("{who}: {other:?}"),
            }
        }
        let set = client.set_callee(&handle, &numbers, "13900000002").await;
        assert_eq!(set, SetCalleeOutcome::Set, "{who}");
        let unbound = client.ax_unbind(&handle, &numbers).await;
        assert_eq!(unbound, UnbindOutcome::Released, "{who}");
        let unbound = client.ax_unbind(&handle, &numbers).await;
        assert_eq!(unbound, UnbindOutcome::AlreadyGone, "{who}");
        sim.stop();
    }
}

/// Where a platform lets a binding be kept for longer, it is; and one that is gone is not.
#[tokio::test]
async fn a_binding_is_kept_for_longer_where_the_vendor_lets_it() {
    let mut asked = Vec::new();
    for row in ROWS {
        let sim = world(row.vendor);
        let client = Client::new(&interface(row, &sim, "test-secret")).unwrap();
        if !client.can(Op::Modify) || asked.contains(&row.vendor) {
            continue;
        }
        asked.push(row.vendor);
        let numbers = numbers();
        let (handle, x) = bound(&client, &numbers, row.vendor).await;
        let numbers = Bind { x, ..numbers };
        let longer = client.modify(&handle, &numbers).await;
        assert_eq!(longer, Ok(()), "{}", row.vendor);
        let released = client.unbind(&handle, &numbers).await;
        assert_eq!(released, UnbindOutcome::Released, "{}", row.vendor);
        let gone = client.modify(&handle, &numbers).await;
        let class = gone.map_err(|failure| failure.class);
        assert_eq!(class, Err(Class::NotFound), "{}", row.vendor);
        sim.stop();
    }
    assert_eq!(asked, ["aliyun", "volcengine", "vcc", "twilio", "plivo"]);
}

/// What a vendor has no operation for is refused before anything is sent.
#[tokio::test]
async fn a_callee_is_not_cleared_where_the_vendor_has_no_way() {
    let row = &ROWS[0];
    let sim = world(row.vendor);
    let client = Client::new(&interface(row, &sim, "test-secret")).unwrap();
    assert!(!client.can(Op::ClearCallee));
    let numbers = AxBind {
        a: "02100000001".into(),
        x: X[0].into(),
        own_id: "call-1".into(),
    };
    let refused = client.clear_callee(&Handle::new(), &numbers).await;
    let failure = refused.expect_err("huawei's callees end by themselves");
    assert_eq!(
        (failure.class, &*failure.code),
        (Class::Permanent, "operation")
    );
    assert!(client.exchanges(false).is_empty());
}
