//! What platforms told, and their bills beside ours.
use super::*;
use tandem_billing::codec::Entry;
use tandem_billing::record::Handle;
use tandem_billing::usage::{AxbUsage, Usage};
use tandem_billing::{EventKind, Money, PlatformEvent, Time, close};

const MINUTE: u64 = 60_000;

/// Call `n` began `n` minutes after the fake's now, and talked for a minute.
fn call(n: u64) -> Entry {
    let started_ms = crate::fake::NOW + n * MINUTE;
    let usage = Usage {
        call: n,
        flow_no: n,
        started_ms,
        answered_ms: Some(started_ms + 1_000),
        ended_ms: started_ms + 61_000,
        axb: Some(AxbUsage {
            a: format!("0210000000{n}"),
            x: "17000000001".into(),
            b: format!("1380000000{n}"),
            interface: "huawei-sim".into(),
            binding_id: Some(n),
            handle: Handle::new([("subscriptionId", &*format!("s{n}"))]),
            ..AxbUsage::default()
        }),
        ..Usage::default()
    };
    Entry::Call(Box::new(close(&usage).record))
}

fn bill(n: u64, secs: u64) -> Entry {
    Entry::Event(Box::new(PlatformEvent {
        received_at: Time::from_ms(crate::fake::NOW + (n + 2) * MINUTE),
        interface_name: "huawei-sim".into(),
        kind: EventKind::Bill,
        handle: Handle::new([("subscriptionId", &*format!("s{n}"))]),
        started_at: Some(Time::from_ms(crate::fake::NOW + n * MINUTE)),
        duration_ms: Some(secs * 1_000),
        cost: Some(Money::from_micros(1_500_000)),
        recording: format!("https://r.invalid/{n}"),
        callback: "bills".into(),
        key: format!("bill\n{n}"),
        ..PlatformEvent::default()
    }))
}

async fn world() -> World {
    let world = World::sample().await;
    let entries = [
        call(1),
        call(2),
        call(3),
        bill(1, 60),
        bill(2, 90),
        bill(7, 5),
    ];
    let rows: Vec<_> = (1..).zip(entries).collect();
    let store = world.fake.store();
    store.append_entries(&rows).await.expect("stored");
    world
}

#[tokio::test]
async fn what_platforms_told_is_listed_with_its_calls() {
    let world = world().await;
    let all = world.get("/platform-events").await;
    let items = all["items"].as_array().expect("a list");
    let flows: Vec<_> = items.iter().map(|item| item["flow_no"].clone()).collect();
    assert_eq!(flows, [json!("1"), json!("2"), Value::Null]);
    assert_eq!(items[0]["matched_by"], "handle");
    assert_eq!(items[0]["kind"], "bill");
    assert_eq!(items[0]["recording"], "https://r.invalid/1");
    assert_eq!(items[0]["handle"], "subscriptionId=s1");
    assert_eq!(items[0]["cost"], "1.5");
    let page = world.get("/platform-events?limit=2").await;
    let cursor = page["next_cursor"].as_str().expect("another page");
    let rest = world
        .get(&format!("/platform-events?limit=2&cursor={cursor}"))
        .await;
    assert_eq!(rest["items"], json!([items[2]]));
    assert_eq!(rest["next_cursor"], Value::Null);
    for (query, found) in [
        ("matched=false", 1),
        ("matched=true&kind=bill", 2),
        ("kind=ended", 0),
        ("interface=huawei-sim", 3),
        ("interface=other", 0),
        ("flow_no=2", 1),
        ("flow_no=99", 0),
        ("since=2025-11-21T22:04:00Z", 2),
        ("until=2025-11-21T22:04:00Z", 1),
    ] {
        let page = world.get(&format!("/platform-events?{query}")).await;
        let items = page["items"].as_array().expect("a list");
        assert_eq!(items.len(), found, "{query}");
    }
    for query in ["kind=hung", "matched=perhaps", "nothing=1", "limit=0"] {
        let path = format!("/platform-events?{query}");
        let (status, code, _) = world.refusal(Method::GET, &path, Value::Null).await;
        assert_eq!((status, &*code), (400, "bad_request"), "{query}");
    }
}

#[tokio::test]
async fn the_report_shows_differences_first_and_sums_of_all() {
    let world = world().await;
    let range = "since=2025-11-21T22:00:00Z&until=2025-11-21T23:00:00Z";
    let report = world.get(&format!("/reports/platform-bills?{range}")).await;
    let items = report["items"].as_array().expect("a list");
    let verdicts: Vec<_> = items.iter().map(|item| item["verdict"].clone()).collect();
    // The costs differ, for the sample platform charges and our rate is nothing here.
    assert_eq!(verdicts, ["only_ours", "only_theirs", "differs", "differs"]);
    assert_eq!(items[3]["diff_secs"], 30);
    assert_eq!(items[3]["diff_cost"], "1.5");
    assert_eq!(items[0]["platform_secs"], Value::Null);
    assert_eq!(report["totals"]["calls"], 3);
    assert_eq!(report["totals"]["platform_secs"], 155);
    let wide = format!("/reports/platform-bills?{range}&tolerance_cost=1.5&differences=true");
    let report = world.get(&wide).await;
    assert_eq!(report["items"].as_array().expect("a list").len(), 3);
    assert_eq!(report["totals"]["equal"], 1);
    let page = world.get(&format!("{wide}&limit=2")).await;
    let cursor = page["next_cursor"].as_str().expect("another page");
    let rest = world.get(&format!("{wide}&limit=2&cursor={cursor}")).await;
    assert_eq!(rest["items"], json!([report["items"][2]]));
    for query in [
        "since=2025-11-21",
        "since=2025-11-22&until=2025-11-21",
        "since=2025-11-21&until=2025-11-22&tolerance_cost=much",
    ] {
        let path = format!("/reports/platform-bills?{query}");
        let (status, _, _) = world.refusal(Method::GET, &path, Value::Null).await;
        assert_eq!(status, 400, "{query}");
    }
}
