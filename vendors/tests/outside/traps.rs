//! The traps that some platforms are known for, walked into with the client.

use tandem_vendors::sim::{Faults, Line, Sim};
use tandem_vendors::{Bind, BindOutcome, Class, Client, Handle, QueryOutcome, UnbindOutcome};
use tempfile::TempDir;

use crate::every_vendor::{ROWS, X, interface, worlds_logged};

/// One vendor with a log.
struct Platform {
    vendor: &'static str,
    sim: Sim,
    client: Client,
    dir: TempDir,
}

impl Platform {
    fn of(vendor: &'static str) -> Platform {
        let dir = TempDir::new().unwrap();
        let sim = worlds_logged([vendor], Some(dir.path().join("log")));
        let row = ROWS.iter().find(|row| row.vendor == vendor).unwrap();
        let client = Client::new(&interface(row, &sim, "test-secret")).unwrap();
        Platform {
            vendor,
            sim,
            client,
            dir,
        }
    }

    async fn bound(&self, numbers: &Bind) -> (Handle, String) {
        match self.client.bind(numbers).await {
            BindOutcome::Bound { handle, x, .. } => (handle, x),
            BindOutcome::Failed(failure) => panic!("{failure}"),
        }
    }

    /// A bind that takes effect and whose answer is lost.
    async fn lost(&self, numbers: &Bind) {
        self.faults(Faults {
            drop_reply_rate: 1.0,
            ..Faults::default()
        });
        match self.client.bind(numbers).await {
            BindOutcome::Failed(failure) => assert_eq!(failure.class, Class::Unknown),
            other => panic!("{other:?}"),
        }
        self.faults(Faults::default());
    }

    fn faults(&self, faults: Faults) {
        self.sim.set_faults(self.vendor, faults);
    }

    /// What was asked so far: operation, HTTP status and code of each line.
    fn asked(&self) -> Vec<(String, u16, String)> {
        let text = std::fs::read_to_string(self.dir.path().join("log")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines
            .map(|line: Line| (line.op, line.status, line.code))
            .collect()
    }

    /// A, X and B of what is bound.
    fn held(&self) -> Vec<String> {
        let held = self.sim.bindings().into_iter();
        held.map(|held| format!("{} {} {}", held.a, held.x, held.b))
            .collect()
    }
}

fn numbers(a: u32, b: u32) -> Bind {
    Bind {
        a: format!("0210000000{a}"),
        x: X[0].into(),
        b: format!("1390000000{b}"),
        own_id: format!("call-{a}-{b}"),
    }
}

#[tokio::test]
async fn tencent_counts_its_binds_and_one_unbind_of_ours_ends_them_all() {
    let tencent = Platform::of("tencent");
    let numbers = numbers(1, 1);
    // Two lost answers and one that came: three references to one binding.
    tencent.lost(&numbers).await;
    tencent.lost(&numbers).await;
    let (handle, x) = tencent.bound(&numbers).await;
    assert_eq!(x, X[0]);
    assert_eq!(tencent.held().len(), 1);
    let unbound = tencent.client.unbind(&handle, &numbers).await;
    assert_eq!(unbound, UnbindOutcome::Released);
    assert_eq!(tencent.held(), [""; 0]);
    let unbinds = tencent.asked();
    let unbinds = unbinds.iter().filter(|(op, ..)| op == "unbind");
    assert_eq!(unbinds.count(), 3);
    // A bind that never was answered is ended by our own id, as often as it was counted.
    tencent.lost(&numbers).await;
    tencent.lost(&numbers).await;
    let unbound = tencent.client.unbind(&Handle::new(), &numbers).await;
    assert_eq!(unbound, UnbindOutcome::Released);
    assert_eq!(tencent.held(), [""; 0]);
}

#[tokio::test]
async fn huawei_would_release_all_of_an_x_so_we_never_unbind_by_x() {
    let huawei = Platform::of("huawei");
    let (mine, others) = (numbers(1, 1), numbers(2, 2));
    huawei.bound(&others).await;
    huawei.lost(&mine).await;
    assert_eq!(huawei.held().len(), 2);
    // Nothing is known of it but its numbers: nothing is sent.
    let before = huawei.asked().len();
    match huawei.client.unbind(&Handle::new(), &mine).await {
        UnbindOutcome::Failed(failure) => assert_eq!(failure.code, "handle"),
        other => panic!("{other:?}"),
    }
    assert_eq!(huawei.asked().len(), before);
    // A query finds its id, and by that it alone ends.
    let handle = match huawei.client.query(&mine).await {
        QueryOutcome::Found(held) => held[0].handle.clone(),
        other => panic!("{other:?}"),
    };
    let unbound = huawei.client.unbind(&handle, &mine).await;
    assert_eq!(unbound, UnbindOutcome::Released);
    let left = format!("{} {} {}", others.a, others.x, others.b);
    assert_eq!(huawei.held(), [left]);
}

#[tokio::test]
async fn volcengine_refuses_with_http_200_and_is_understood() {
    let volcengine = Platform::of("volcengine");
    let numbers = numbers(1, 1);
    let (handle, _) = volcengine.bound(&numbers).await;
    match volcengine.client.bind(&numbers).await {
        BindOutcome::Failed(failure) => assert_eq!(failure.class, Class::XConflict),
        other => panic!("{other:?}"),
    }
    let unbind = || volcengine.client.unbind(&handle, &numbers);
    assert_eq!(unbind().await, UnbindOutcome::Released);
    assert_eq!(unbind().await, UnbindOutcome::AlreadyGone);
    let asked = volcengine.asked();
    let asked: Vec<_> = asked
        .iter()
        .map(|(op, status, code)| (&**op, *status, &**code))
        .collect();
    let expected = [
        ("bind", 200, ""),
        ("bind", 200, "ConflictWithExisting"),
        ("unbind", 200, ""),
        ("unbind", 200, "SubscriptionEmpty"),
    ];
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn broadnet_gives_another_x_and_says_which() {
    let broadnet = Platform::of("china-broadnet");
    let numbers = numbers(1, 1);
    broadnet.faults(Faults {
        other_x: X[2].into(),
        ..Faults::default()
    });
    let (handle, x) = broadnet.bound(&numbers).await;
    assert_eq!(x, X[2]);
    assert_eq!(broadnet.asked().last().unwrap().2, "621");
    assert_eq!(
        broadnet.held(),
        [format!("{} {x} {}", numbers.a, numbers.b)]
    );
    broadnet.faults(Faults::default());
    let numbers = Bind { x, ..numbers };
    let unbound = broadnet.client.unbind(&handle, &numbers).await;
    assert_eq!(unbound, UnbindOutcome::Released);
    assert_eq!(broadnet.held(), [""; 0]);
}
