use super::*;

fn good() -> Interface {
    Interface::new(1, "hz-1", Vendor::huawei(), "http://127.0.0.1:15080/huawei")
        .with("app_key", "key")
        .with("app_secret", "hush-hush")
}

/// `field severity-letter` of every finding.
fn found(interface: &Interface) -> Vec<String> {
    interface
        .check()
        .iter()
        .map(|f| match f.severity {
            Severity::Error => format!("{} E", f.field),
            Severity::Warning => format!("{} W", f.field),
        })
        .collect()
}

#[test]
fn a_sound_interface_has_no_findings() {
    assert_eq!(found(&good()), [""; 0]);
}

#[test]
fn each_mistake_is_found_and_named() {
    type Change = fn(&mut Interface);
    let cases: &[(&str, Change)] = &[
        ("params.app_key E", |i| {
            i.params.remove("app_key");
        }),
        ("params.app_secret E", |i| {
            i.params.insert("app_secret".into(), String::new());
        }),
        ("params.app_sekret E", |i| {
            i.params.insert("app_sekret".into(), "x".into());
        }),
        ("params.expiration W", |i| {
            i.params.insert("expiration".into(), "7199".into());
        }),
        ("params.expiration E", |i| {
            i.params.insert("expiration".into(), "7776001".into());
        }),
        ("params.expiration E", |i| {
            i.params.insert("expiration".into(), "soon".into());
        }),
        ("params.scheme E", |i| {
            i.params.insert("scheme".into(), "basic".into());
        }),
        ("params.last_min_voice E", |i| {
            i.params.insert("last_min_voice".into(), "hint.wav".into());
        }),
        ("params.ax_last_min_voice E", |i| {
            i.params.insert("ax_last_min_voice".into(), "x".into());
        }),
        ("params.ax_call_direction E", |i| {
            i.params.insert("ax_call_direction".into(), "3".into());
        }),
        ("params.ax_call_direction W", |i| {
            i.params.insert("ax_call_direction".into(), "2".into());
        }),
        ("params.callee_duration E", |i| {
            i.params.insert("callee_duration".into(), "0".into());
        }),
        ("params.callee_duration W", |i| {
            i.params.insert("callee_duration".into(), "9".into());
        }),
        ("urls.x_query E", |i| {
            i.urls.insert("x_query".into(), "/x".into());
        }),
        ("urls.set_callee E", |i| {
            i.urls.insert("set_callee".into(), "host/x".into());
        }),
        ("urls.rebind E", |i| {
            i.urls.insert("rebind".into(), "/x".into());
        }),
        ("urls.bind E", |i| {
            i.urls.insert("bind".into(), "ftp://x".into());
        }),
        ("base_url E", |i| i.base_url = "127.0.0.1:80".into()),
        ("base_url E", |i| i.base_url = "http://u:p@host".into()),
        ("base_url W", |i| i.base_url = "http://example.net".into()),
        ("timeout_ms E", |i| {
            i.timeout_ms = 60_001;
        }),
        ("connect_timeout_ms W", |i| i.connect_timeout_ms = 3_000),
        ("rate_per_s E", |i| i.rate_per_s = Some(0)),
        ("in_flight_max E", |i| i.in_flight_max = 0),
        ("tls_verify W", |i| i.tls_verify = false),
        ("proxy E", |i| i.proxy = Some("10.0.0.1:3128".into())),
        ("proxy E", |i| i.proxy = Some("https://10.0.0.1".into())),
        ("proxy E", |i| i.proxy = Some("http://".into())),
        ("proxy E", |i| i.proxy = Some("http://u@10.0.0.1".into())),
        ("proxy E", |i| {
            i.proxy = Some("http://u:p/w@10.0.0.1".into())
        }),
        ("proxy E", |i| i.proxy = Some("http://10.0.0.1/path".into())),
        ("proxy E", |i| i.proxy = Some("http://10.0.0.1 ".into())),
        ("ca_pem E", |i| i.ca_pem = Some("no".into())),
        ("name E", |i| i.name = String::new()),
    ];
    for (expected, change) in cases {
        let mut interface = good();
        change(&mut interface);
        assert_eq!(found(&interface), [*expected]);
    }
}

#[test]
fn no_secret_is_shown_by_debug_or_by_a_finding() {
    let interface = good().with("app_sekret", "hush-hush");
    assert!(!format!("{interface:?}").contains("hush"));
    assert!(!format!("{:?}", interface.check()).contains("hush"));
    for base in ["http://u:hush@host", "http://host?token=hush", "u:hush@h/x"] {
        let mut interface = good();
        interface.base_url = base.to_owned();
        let found = format!("{:?}", interface.check());
        assert!(
            found.contains("base_url") && !found.contains("hush"),
            "{found}"
        );
    }
}

#[test]
fn a_proxy_is_shown_without_its_password() {
    let mut interface = good();
    for (proxy, shown) in [
        ("http://10.0.0.1:3128", "http://10.0.0.1:3128"),
        ("http://u:hush@10.0.0.1:3128", "http://…@10.0.0.1:3128"),
        ("http://u:hu%40sh@proxy/", "http://…@proxy/"),
    ] {
        interface.proxy = Some(proxy.to_owned());
        assert_eq!(found(&interface), [""; 0], "{proxy}");
        assert_eq!(interface.proxy_shown().as_deref(), Some(shown));
        let debug = format!("{interface:?}");
        assert!(
            !debug.contains("hush") && !debug.contains("hu%40sh"),
            "{debug}"
        );
    }
    interface.proxy = Some("socks://u:hush@10.0.0.1".to_owned());
    assert!(!format!("{:?}", interface.check()).contains("hush"));
}

#[test]
fn the_rate_stays_below_the_vendors_own_limit() {
    // Alibaba's is 5,000 an account.
    let mut interface = Interface::new(1, "ali", Vendor::named("aliyun").unwrap(), "");
    for (configured, kept) in [
        (None, Some(4_500)),
        (Some(10), Some(10)),
        (Some(4_500), Some(4_500)),
        (Some(6_000), Some(4_500)),
    ] {
        interface.rate_per_s = configured;
        assert_eq!(interface.rate_limit(), kept, "{configured:?}");
        let warned = found(&interface).contains(&"rate_per_s W".to_owned());
        assert_eq!(warned, configured > kept, "{configured:?}");
    }
    assert_eq!(good().rate_limit(), None);
}

#[test]
fn operations_go_to_the_vendor_the_base_url_or_their_own_url() {
    let path = "/rest/caas/relationnumber/partners/v1.0";
    let mut interface = good();
    assert_eq!(
        interface.url(Op::Bind),
        format!("http://127.0.0.1:15080/huawei{path}")
    );
    interface.urls.insert("unbind".into(), "/other".into());
    assert_eq!(
        interface.url(Op::Unbind),
        "http://127.0.0.1:15080/huawei/other"
    );
    interface.urls.insert("query".into(), "https://h/q".into());
    assert_eq!(interface.url(Op::Query), "https://h/q");
    assert_eq!(interface.url(Op::XQuery), "https://h/q");
    interface.urls.insert("ax_bind".into(), "/ax".into());
    assert_eq!(
        interface.url(Op::AxBind),
        "http://127.0.0.1:15080/huawei/ax"
    );
    assert_eq!(
        interface.url(Op::AxUnbind),
        "http://127.0.0.1:15080/huawei/rest/provision/caas/privatenumber/v1.0"
    );
    interface.base_url = String::new();
    assert_eq!(
        interface.url(Op::Bind),
        format!("https://rtcpns.cn-north-1.myhuaweicloud.com{path}")
    );
}

#[test]
fn expiration_has_a_default_and_zero_means_for_ever() {
    assert_eq!(good().expiration_s(), Some(7200));
    assert_eq!(good().with("expiration", "0").expiration_s(), None);
    assert_eq!(good().with("expiration", "90").expiration_s(), Some(90));
}
