//! The client and the simulator over real sockets in AX mode: the life of a relation, the callees
//! named for it, and each fault as its class.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tandem_vendors::sim::{Credentials, Faults, Mode};
use tandem_vendors::{
    AxBind, BindOutcome, Class, Client, Failure, Handle, Held, QueryOutcome, SetCalleeOutcome,
    UnbindOutcome,
};

use crate::world::{World, bound, control, numbers};

const B: &str = "13900000001";

fn relation(n: u32) -> AxBind {
    AxBind {
        a: format!("0210000{n:04}"),
        x: format!("1700000{n:04}"),
        own_id: format!("ax-{n}"),
    }
}

async fn given(client: &Client, relation: &AxBind) -> Handle {
    match client.ax_bind(relation).await {
        BindOutcome::Bound { handle, x, .. } => {
            assert_eq!(x, relation.x);
            handle
        }
        other => panic!("not given: {other:?}"),
    }
}

async fn refused(client: &Client, relation: &AxBind) -> Failure {
    match client.ax_bind(relation).await {
        BindOutcome::Failed(failure) => failure,
        other => panic!("not refused: {other:?}"),
    }
}

async fn unset(client: &Client, handle: &Handle, relation: &AxBind) -> Failure {
    match client.set_callee(handle, relation, B).await {
        SetCalleeOutcome::Failed(failure) => failure,
        SetCalleeOutcome::Set => panic!("set"),
    }
}

#[tokio::test]
async fn a_relation_is_made_called_over_taken_away_and_then_not_found() {
    let world = World::new();
    let client = world.client();
    let one = relation(1);
    assert_eq!(client.ax_query(&one).await, QueryOutcome::None);
    let handle = given(&client, &one).await;
    let held = Held {
        handle: handle.clone(),
        a: one.a.clone(),
        x: one.x.clone(),
        b: String::new(),
    };
    assert_eq!(
        client.ax_query(&one).await,
        QueryOutcome::Found(vec![held.clone()])
    );
    assert_eq!(
        client.set_callee(&handle, &one, B).await,
        SetCalleeOutcome::Set
    );
    // Without a handle the X says which.
    assert_eq!(
        client.set_callee(&Handle::new(), &one, "13900000002").await,
        SetCalleeOutcome::Set
    );
    let row = &world.sim.bindings()[0];
    assert_eq!((row.mode, row.b.as_str()), (Mode::Ax, "13900000002"));
    assert_eq!(
        client.ax_unbind(&handle, &one).await,
        UnbindOutcome::Released
    );
    assert_eq!(
        client.ax_unbind(&handle, &one).await,
        UnbindOutcome::AlreadyGone
    );
    assert_eq!(
        client.ax_unbind(&Handle::new(), &one).await,
        UnbindOutcome::AlreadyGone
    );
    assert_eq!(client.ax_query(&one).await, QueryOutcome::None);
    let failure = unset(&client, &handle, &one).await;
    assert_eq!(
        (failure.class, failure.class.kind().word()),
        (Class::NotFound, "not_found")
    );
    assert_eq!(world.sim.bindings(), []);

    let log: Vec<_> = world
        .log()
        .into_iter()
        .map(|l| (l.op, l.b, l.applied, l.code))
        .collect();
    let line = |op: &str, b: &str, applied, code: &str| (op.into(), b.into(), applied, code.into());
    assert_eq!(
        log,
        [
            line("query", "", false, "1016001"),
            line("ax_bind", "", true, "0"),
            line("query", "", false, "0"),
            line("set_callee", B, true, "0"),
            line("set_callee", "13900000002", true, "0"),
            line("ax_unbind", "", true, "0"),
            line("ax_unbind", "", false, "1016001"),
            line("ax_unbind", "", false, "1016001"),
            line("query", "", false, "1016001"),
            line("set_callee", B, false, "1016001"),
        ]
    );
}

#[tokio::test]
async fn the_log_names_a_x_and_b_of_a_callee() {
    let world = World::new();
    let client = world.client();
    let handle = given(&client, &relation(1)).await;
    client.set_callee(&handle, &relation(1), B).await;
    let text = std::fs::read_to_string(world.dir.path().join("vendor-sim.jsonl")).unwrap();
    let mut line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    line["t"] = json!(0);
    assert_eq!(
        line,
        json!({
            "t": 0, "vendor": "huawei", "op": "set_callee",
            "A": "02100000001", "X": "17000000001", "B": B,
            "bind_id": handle["subscriptionId"],
            "applied": true, "answered": true, "status": 200, "code": "0",
        })
    );
}

#[tokio::test]
async fn relations_are_listed_over_http_beside_bindings() {
    let world = World::new();
    let client = world.client();
    given(&client, &relation(1)).await;
    bound(&client, &numbers(2)).await;
    let (_, list) = control(&world, reqwest::Method::GET, "/_sim/bindings", "").await;
    let row = list
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["mode"] == "ax");
    let row = row.unwrap();
    assert_eq!(
        (&row["A"], &row["X"], &row["B"], &row["expires"]),
        (
            &json!("02100000001"),
            &json!("17000000001"),
            &json!(""),
            &Value::Null
        )
    );
    assert!(row.get("callee_until").is_none());
    assert_eq!(list.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_exists_already_is_adopted_and_what_another_has_is_busy() {
    let world = World::new();
    let client = world.client();
    let handle = given(&client, &relation(1)).await;
    assert_eq!(given(&client, &relation(1)).await, handle);
    let other = AxBind {
        a: relation(2).a,
        ..relation(1)
    };
    let failure = refused(&client, &other).await;
    assert_eq!(
        (failure.class, failure.code.as_str()),
        (Class::XConflict, "1011005")
    );
    assert_eq!(client.ax_query(&other).await, QueryOutcome::None);
    let whose = AxBind {
        a: String::new(),
        ..relation(1)
    };
    let QueryOutcome::Found(held) = client.ax_query(&whose).await else {
        panic!("nobody's");
    };
    assert_eq!(held[0].a, relation(1).a);
    // The other way round: what A has.
    let second = AxBind {
        x: "17000000009".into(),
        ..relation(1)
    };
    given(&client, &second).await;
    let whats = AxBind {
        x: String::new(),
        ..relation(1)
    };
    let QueryOutcome::Found(held) = client.ax_query(&whats).await else {
        panic!("nothing");
    };
    assert_eq!(held.len(), 2);
    assert_eq!(world.sim.bindings().len(), 2);
}

#[tokio::test]
async fn every_optional_parameter_is_accepted_by_the_strict_platform() {
    let world = World::new();
    for scheme in ["AKSK", "WSSE"] {
        let interface = world
            .interface()
            .with("scheme", scheme)
            .with("ax_callee_num_display", "1")
            .with("ax_call_direction", "1")
            .with("ax_record_flag", "true")
            .with("ax_record_hint_tone", "hint.wav")
            .with("ax_max_duration", "60")
            .with("ax_last_min_voice", "last.wav")
            .with("ax_private_sms", "false")
            .with("ax_caller_hint_tone", "a.wav")
            .with("ax_callee_hint_tone", "b.wav")
            .with("callee_duration", "90")
            .with("user_data", "true");
        assert_eq!(interface.check().len(), 0, "{:?}", interface.check());
        let client = Client::new(&interface).unwrap();
        let handle = given(&client, &relation(1)).await;
        let outcome = client.set_callee(&handle, &relation(1), B).await;
        assert_eq!(outcome, SetCalleeOutcome::Set);
        let until = world.sim.bindings()[0].callee_until.unwrap();
        assert!(until - world.sim.bindings()[0].since > 80.0);
        let outcome = client.ax_unbind(&handle, &relation(1)).await;
        assert_eq!(outcome, UnbindOutcome::Released);
    }
}

#[tokio::test]
async fn each_vendor_code_comes_out_as_its_class_from_every_operation() {
    let world = World::new();
    let handle = given(&world.client(), &relation(1)).await;
    for (code, class) in [
        ("1010002", Class::Permanent),
        ("1010010", Class::Throttled),
        ("1010001", Class::Unknown),
        ("1010029", Class::VendorDown),
        ("1010040", Class::Config),
        ("1011001", Class::XUnusable),
        ("1011005", Class::XConflict),
        ("1012008", Class::PoolExhausted),
        ("1016001", Class::NotFound),
        ("1020150", Class::Config),
        ("1020176", Class::VendorDown),
        ("9999999", Class::Permanent),
    ] {
        world.faults(Faults {
            error_rate: 1.0,
            error_code: code.into(),
            ..Faults::default()
        });
        // A client each, since some of them open the breaker.
        let failure = refused(&world.client(), &relation(2)).await;
        assert_eq!((failure.class, failure.code.as_str()), (class, code));
        let failure = unset(&world.client(), &handle, &relation(1)).await;
        assert_eq!((failure.class, failure.code.as_str()), (class, code));
        let outcome = world.client().ax_unbind(&handle, &relation(1)).await;
        match outcome {
            UnbindOutcome::Failed(failure) => assert_eq!(failure.class, class),
            other => assert_eq!((other, code), (UnbindOutcome::AlreadyGone, "1016001")),
        }
        match world.client().ax_query(&relation(1)).await {
            QueryOutcome::Failed(failure) => assert_eq!(failure.class, class),
            other => assert_eq!((other, code), (QueryOutcome::None, "1016001")),
        }
    }
    assert_eq!(world.sim.bindings().len(), 1);
}

#[tokio::test]
async fn an_application_without_ax_is_a_mistake_of_the_configuration() {
    let mut credentials = Credentials::new("dev-key", "dev-secret");
    credentials.modes = [Mode::Axb].into();
    let world = World::with(credentials);
    let client = world.client();
    let failure = refused(&client, &relation(1)).await;
    assert_eq!(
        (failure.class, failure.code.as_str()),
        (Class::Config, "1010040")
    );
    bound(&client, &numbers(1)).await;
}

#[tokio::test]
async fn another_x_than_asked_for_is_told() {
    let world = World::new();
    world.faults(Faults {
        other_x: "+8617000000077".into(),
        ..Faults::default()
    });
    let client = world.client();
    let BindOutcome::Bound { x, handle, .. } = client.ax_bind(&relation(1)).await else {
        panic!("not given");
    };
    assert_eq!(x, "17000000077");
    let told = AxBind { x, ..relation(1) };
    assert!(matches!(
        client.ax_query(&told).await,
        QueryOutcome::Found(_)
    ));
    assert_eq!(
        client.ax_unbind(&handle, &told).await,
        UnbindOutcome::Released
    );
}

#[tokio::test]
async fn a_cut_reply_is_unknown_and_a_query_finds_the_relation() {
    let world = World::new();
    let client = world.client();
    world.faults(Faults {
        drop_reply_rate: 1.0,
        ..Faults::default()
    });
    let failure = refused(&client, &relation(1)).await;
    assert_eq!(
        (failure.class, failure.code.as_str()),
        (Class::Unknown, "reset")
    );
    let failure = unset(&client, &Handle::new(), &relation(1)).await;
    assert!(failure.class.may_hold());
    assert_eq!(world.sim.bindings()[0].b, B);
    world.sim.clear_faults();
    let QueryOutcome::Found(held) = client.ax_query(&relation(1)).await else {
        panic!("not found");
    };
    // Asking for it again is as good.
    assert_eq!(given(&client, &relation(1)).await, held[0].handle);
}

#[tokio::test]
async fn a_slow_platform_is_unknown_after_the_time_out() {
    let world = World::new();
    let mut interface = world.interface();
    interface.timeout_ms = 200;
    interface.connect_timeout_ms = 100;
    let client = Client::new(&interface).unwrap();
    let handle = given(&client, &relation(1)).await;
    world.faults(Faults {
        latency_ms: 5_000,
        ops: vec!["set_callee".into()],
        ..Faults::default()
    });
    let started = Instant::now();
    let failure = unset(&client, &handle, &relation(1)).await;
    assert_eq!(
        (failure.class, failure.code.as_str()),
        (Class::Unknown, "timeout")
    );
    assert!(started.elapsed() < Duration::from_secs(2));
    // Another operation is as quick as ever.
    assert_eq!(
        client.ax_unbind(&handle, &relation(1)).await,
        UnbindOutcome::Released
    );
}

#[tokio::test]
async fn a_throttling_platform_says_so_and_applies_nothing() {
    let world = World::new();
    let client = world.client();
    world.faults(Faults {
        throttle_per_s: 1,
        ..Faults::default()
    });
    let mut throttled = 0;
    for n in 0..5 {
        if let BindOutcome::Failed(failure) = client.ax_bind(&relation(n)).await {
            assert_eq!(failure.class, Class::Throttled);
            throttled += 1;
        }
    }
    assert!(throttled >= 3, "{throttled}");
    assert_eq!(world.sim.bindings().len(), 5 - throttled);
}
