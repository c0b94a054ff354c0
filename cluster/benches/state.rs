//! The replicated state's own cost: one whole AXB call (reserve, bound, answered, unbound, end) by the number of
//! numbers and of live bindings. It must not grow with either. `kept` clones the state after every command and keeps
//! the clone until the next, as the adapter does for its readers: the worst case for shared maps.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use tandem_cluster::command::*;
use tandem_cluster::entity::*;
use tandem_cluster::state::State;
use tandem_cluster::state::testing::PerPeriod;

struct Bench {
    state: State,
    kept: Option<State>,
    keep: bool,
    at: Millis,
    calls: u32,
    seed: u64,
}

impl Bench {
    fn new(numbers: u32, live: u32) -> Self {
        let state = State::new();
        let mut bench = Bench {
            state,
            kept: None,
            keep: false,
            at: 1_700_000_000_000,
            calls: 0,
            seed: 1,
        };
        bench.apply(&Command::Claim(Claim {
            access_name: "n1".into(),
            node: 1,
            boot: 1,
            address: "10.0.0.1:80".into(),
            version: "1".into(),
            lease_ms: 60_000,
        }));
        bench.state.set_voters(BTreeSet::from([1]));
        bench.put(Entity::Account(Account {
            account: "c1".into(),
            name: "customer".into(),
            money: 1_000_000_000_000,
            limit_money: 0,
            fee_rate_group: "g".into(),
            kind: AccountKind::Settlement,
            lock_type: 0,
            valid_until: None,
            check_balance: false,
        }));
        for prefix in ["", "1", "13", "138", "0", "00"] {
            bench.put(Entity::FeeRate(FeeRate {
                group: "g".into(),
                prefix: prefix.into(),
                area_code: String::new(),
                area_name: String::new(),
                level: 4,
                fee: 100,
                period: 60,
                locked: false,
                sections: Vec::new(),
            }));
        }
        bench.put(Entity::Interface(Interface {
            name: "hz".into(),
            kind: "huawei".into(),
            params: BTreeMap::new(),
            urls: BTreeMap::new(),
            unbind_delay_secs: Some(5),
            hold_missing: false,
            timeout_ms: 5_000,
            tls_verify: true,
            ca_pem: None,
            pair_rest_ms: 2_000,
            rate_per_s: None,
            type_rules: TypeRules::default(),
        }));
        bench.put(Entity::AGroup(AGroup { name: "ga".into() }));
        for n in 0..numbers {
            let number = format!("021{n:08}");
            bench.put(Entity::ANumber(ANumber {
                group: 1,
                number,
                line_limit: 1 + live / numbers,
            }));
            bench.put(Entity::XNumber(XNumber {
                interface: 1,
                number: format!("170{n:08}"),
                line_limit: 1 + 2 * live / numbers,
                callers: Vec::new(),
                allow_other_callers: true,
                param: String::new(),
                disabled: false,
            }));
        }
        bench.put(Entity::RoutingGateway(RoutingGateway {
            name: "platform".into(),
            lock_type: 0,
            prefixes: vec![String::new()],
            prefix_style: PrefixStyle::Terminate,
            address: "10.1.0.1:5060".parse().expect("address"),
            transport: Transport::Udp,
            capacity: 1_000_000,
            priority: 1,
            caller_rules: String::new(),
            callee_rules: String::new(),
            clearing_account: Some(1),
            switch_on: Vec::new(),
            response_timeout_ms: 5_000,
            send_identity: false,
            axb: Some(AxbRoute {
                a_group: 1,
                interface: 1,
                callee_rules: String::new(),
                account: Some(1),
                rate_on_submitted: false,
            }),
        }));
        bench.put(Entity::MappingGateway(MappingGateway {
            name: "customer".into(),
            lock_type: 0,
            capacity: 1_000_000,
            remote_ips: Vec::new(),
            account: 1,
            caller_rules: String::new(),
            callee_rules: String::new(),
            caller_source: CallerSource::From,
            callee_source: CalleeSource::RequestUri,
            caller_prefixes: PrefixList::default(),
            callee_prefixes: PrefixList::default(),
            routing_gateways: Vec::new(),
            max_duration_secs: None,
            x_select_mode: XSelect::Prefer,
            allow_axb: true,
            allow_ax: false,
        }));
        for _ in 0..live {
            bench.reserve();
        }
        bench
    }

    fn apply(&mut self, command: &Command) -> Reply {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let (reply, effects) = self.state.apply(self.at, self.seed, command, &PerPeriod);
        black_box(effects);
        if self.keep {
            self.kept = Some(self.state.clone());
        }
        reply
    }

    fn put(&mut self, entity: Entity) {
        self.seed += 1;
        let request = self.seed;
        let put = Put {
            request,
            actor: "op".into(),
            id: None,
            version: None,
            memo: String::new(),
            entity,
        };
        let reply = self.apply(&Command::Put(put));
        assert!(matches!(reply, Reply::Row { .. }), "{reply:?}");
    }

    fn reserve(&mut self) -> (CallId, Lease) {
        self.calls += 1;
        let call = CallId::new(1, self.calls);
        let callee = format!("138{:08}", self.calls);
        let reply = self.apply(&Command::Reserve(Reserve {
            call,
            gateway: 1,
            caller_access: "05718512345".into(),
            caller: "05718512345".into(),
            callee_access: callee.clone(),
            callee,
            started_at: self.at,
            remote: "10.2.0.1:5060".parse().expect("address"),
            sip_call_id: "3848276298220188511@atlanta.example.com".into(),
        }));
        match reply {
            Reply::Reserved(attempt) => (call, attempt.lease.expect("AXB")),
            other => panic!("{other:?}"),
        }
    }

    /// One call from admission to its record.
    fn cycle(&mut self) {
        self.at += 2;
        let (call, lease) = self.reserve();
        let binding = lease.binding;
        self.apply(&Command::Bound(Bound {
            binding,
            epoch: 1,
            handle: BTreeMap::from([("subscriptionId".into(), "efw89efwf7fea9f7e9f".into())]),
            x: lease.x,
            expires_at: None,
            raw: String::new(),
        }));
        self.apply(&Command::Answered(Answered {
            call,
            answered_at: self.at,
            pdd_ms: 900,
            dialogs: vec![7; 2_000],
            codec: "PCMA".into(),
        }));
        self.apply(&Command::Unbound(Unbound {
            binding,
            epoch: 1,
            missing: false,
        }));
        self.apply(&Command::End(End {
            call,
            ended_at: self.at + 1_000,
            answered_at: None,
            pdd_ms: None,
            codec: String::new(),
            reason: EndReason {
                key: "normal".into(),
                sip: None,
                q850: None,
            },
            by: EndedBy::Caller,
        }));
        if self.calls.is_multiple_of(64) {
            self.apply(&Command::Stored {
                node: 1,
                upto: self.state.outbox_last(),
            });
        }
    }
}

fn calls(c: &mut Criterion) {
    let mut group = c.benchmark_group("state");
    group
        .sample_size(20)
        .measurement_time(std::time::Duration::from_secs(2));
    for (numbers, live) in [(100, 0), (10_000, 0), (100_000, 0), (100_000, 50_000)] {
        let mut bench = Bench::new(numbers, live);
        for keep in [false, true] {
            bench.keep = keep;
            let name = if keep { "call, kept" } else { "call" };
            let id = BenchmarkId::new(name, format!("{numbers} numbers, {live} bindings"));
            group.bench_function(id, |b| b.iter(|| bench.cycle()));
        }
        bench.keep = false;
        let id = BenchmarkId::new("hash", format!("{numbers} numbers, {live} bindings"));
        group.bench_function(id, |b| b.iter(|| bench.state.hash()));
    }
    group.finish();
}

criterion_group!(benches, calls);
criterion_main!(benches);
