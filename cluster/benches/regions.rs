//! What operators load: the mobile table with 500,000 prefixes (one lookup, and an import from its first part to the
//! last), and 100,000 X numbers in 50 commands.

use criterion::{Criterion, criterion_group, criterion_main};
use std::collections::BTreeMap;
use std::hint::black_box;
use tandem_cluster::command::*;
use tandem_cluster::entity::*;
use tandem_cluster::state::State;
use tandem_cluster::state::testing::PerPeriod;

const PREFIXES: u32 = 500_000;

/// As such tables are: a province's prefixes by tens and hundreds, some 340 areas.
fn parts() -> Vec<Command> {
    let rows: Vec<RegionRow> = (0..PREFIXES)
        .map(|n| RegionRow {
            mobile_prefix: 1_300_000 + n + n / 5 * 2,
            area_code: format!("0{}", 310 + (n / 7 * 31) % 340),
            area_name: format!("浙江省第{}市", (n / 7 * 31) % 340),
        })
        .collect();
    let parts = rows.chunks(REGION_ROWS_MAX);
    let last = parts.len() as u32 - 1;
    (0..)
        .zip(parts)
        .map(|(part, rows)| {
            Command::Regions(RegionEdit {
                request: u64::from(part) + 1,
                actor: "bench".into(),
                import: 1,
                part,
                last: part == last,
                replace: true,
                rows: rows.to_vec(),
            })
        })
        .collect()
}

fn load(parts: &[Command]) -> State {
    let mut state = State::new();
    for part in parts {
        let (reply, _) = state.apply(1, 1, part, &PerPeriod);
        assert_eq!(reply, Reply::Done);
    }
    state
}

fn regions(criterion: &mut Criterion) {
    let parts = parts();
    let state = load(&parts);
    assert_eq!(state.regions().len(), PREFIXES);
    let size = |state: &State| tandem_cluster::codec::encode(state).map(|bytes| bytes.len());
    let largest = parts
        .iter()
        .flat_map(tandem_cluster::codec::encode)
        .map(|bytes| bytes.len());
    println!(
        "snapshot {:?} bytes, largest part {:?}",
        size(&state),
        largest.max()
    );
    let mobiles: Vec<String> = (0..4_096u64)
        .map(|n| format!("1{:010}", 3_000_000_000 + n * 1_708_937 % 7_000_000_000))
        .collect();
    let fixed: Vec<String> = tandem_cluster::regions::Regions::fixed()
        .map(|(code, _)| format!("0{code}88886666"))
        .collect();
    let abroad: Vec<String> = mobiles
        .iter()
        .map(|mobile| format!("+86{mobile}"))
        .collect();
    let mut group = criterion.benchmark_group("region_of");
    for (name, numbers) in [("mobile", &mobiles), ("fixed", &fixed), ("plus86", &abroad)] {
        let mut at = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                at = (at + 1) % numbers.len();
                black_box(state.region_of(black_box(&numbers[at])))
            });
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("import");
    group.sample_size(10);
    group.bench_function("500000", |b| b.iter(|| black_box(load(&parts))));
    group.finish();
}

/// X numbers with two callers each.
fn numbers() -> Vec<Command> {
    let row = |n: u32| PutRow {
        id: None,
        version: None,
        memo: String::new(),
        entity: Entity::XNumber(XNumber {
            interface: 1,
            number: format!("170{n:08}"),
            line_limit: 20,
            callers: vec![format!("057{}*", n % 10), format!("@0{}", 310 + n % 340)],
            allow_other_callers: true,
            param: String::new(),
            disabled: false,
        }),
    };
    (0..50)
        .map(|part| {
            Command::PutMany(PutMany {
                request: u64::from(part) + 10,
                actor: "bench".into(),
                rows: (part * 2_000..(part + 1) * 2_000).map(row).collect(),
            })
        })
        .collect()
}

fn put_many(criterion: &mut Criterion) {
    let mut empty = State::new();
    let interface = Command::Put(Put {
        request: 1,
        actor: "bench".into(),
        id: None,
        version: None,
        memo: String::new(),
        entity: Entity::Interface(Interface {
            name: "hz".into(),
            kind: "huawei".into(),
            params: BTreeMap::new(),
            urls: BTreeMap::new(),
            unbind_delay_secs: None,
            hold_missing: false,
            timeout_ms: 5_000,
            tls_verify: true,
            ca_pem: None,
            pair_rest_ms: 2_000,
            rate_per_s: None,
            connect_timeout_ms: 1_000,
            proxy: None,
            http_version: HttpVersion::Auto,
            type_rules: TypeRules::default(),
        }),
    });
    empty.apply(1, 1, &interface, &PerPeriod);
    let commands = numbers();
    let largest = commands
        .iter()
        .flat_map(tandem_cluster::codec::encode)
        .map(|bytes| bytes.len());
    println!(
        "largest command of 2,000 rows: {} bytes",
        largest.max().unwrap_or(0)
    );
    let mut group = criterion.benchmark_group("put_many");
    group.sample_size(10);
    group.bench_function("100000", |b| {
        b.iter(|| {
            let mut state = empty.clone();
            for command in &commands {
                let (reply, _) = state.apply(1, 1, command, &PerPeriod);
                assert!(matches!(reply, Reply::Rows(_)));
            }
            state
        });
    });
    group.finish();
}

criterion_group!(benches, regions, put_many);
criterion_main!(benches);
