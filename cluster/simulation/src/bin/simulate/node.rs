//! What runs on a node's machine: the cluster's node, and beside it what the switch does with it. Access names are
//! claimed and renewed, calls come and go, calls and bindings of dead nodes are carried on, records are stored.

use super::ledger::{Ledger, Order, Phase};
use super::plan::{self, Plan};
use super::setup;
use rand::Rng;
use rand::rngs::StdRng;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tandem_cluster::command::*;
use tandem_cluster::handle::{Cluster, Config, ProposeError, Role, StartError};
use tandem_cluster::state::testing::PerPeriod;
use tandem_cluster::wal::{AnyDisk, SimDisk};
use tandem_simulation::{World, event, world};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A node that runs.
pub struct Node {
    pub id: u64,
    pub cluster: Cluster,
    pub plan: Rc<Plan>,
    pub ledger: Rc<Ledger>,
    /// The tenure it serves.
    pub epoch: Cell<Option<Epoch>>,
    /// Calls and bindings that somebody here looks after.
    pub calls: RefCell<BTreeSet<CallId>>,
    pub bindings: RefCell<BTreeSet<BindingId>>,
    rng: RefCell<StdRng>,
}

/// Sets a machine up and switches it on.
pub fn install(world: &mut World, plan: &Rc<Plan>, ledger: &Rc<Ledger>, id: u64) {
    let config = plan.config(id, world, AnyDisk::default());
    let (plan, ledger) = (plan.clone(), ledger.clone());
    world.add(id, move |disk: SimDisk| {
        let mut config = config.clone();
        config.disk = AnyDisk(Arc::new(disk.clone()));
        run(id, plan.clone(), config, disk, ledger.clone())
    });
    world.start(id);
}

/// Runs until the node stops by itself or its machine does.
async fn run(id: u64, plan: Rc<Plan>, config: Config, disk: SimDisk, ledger: Rc<Ledger>) {
    let boot = ledger.next();
    let cluster = match Cluster::start(config, Arc::new(PerPeriod)).await {
        Ok(cluster) => cluster,
        Err(StartError::Expelled(why)) if ledger.roll.may_go(id) => {
            event!("does not start: {why}");
            return ledger.roll.retire(id);
        }
        Err(error) => {
            event!("does not start: {error}");
            if !may_fail(&error, &disk) {
                ledger.broken(format!("node {id} does not start: {error}"));
            }
            return;
        }
    };
    ledger.node_up(id, cluster.clone());
    let node = Rc::new(Node {
        id,
        cluster,
        plan: plan.clone(),
        ledger: ledger.clone(),
        epoch: Cell::new(None),
        calls: RefCell::default(),
        bindings: RefCell::default(),
        rng: RefCell::new(plan::rng(plan.seed, boot << 8 | id)),
    });
    spawn_local(node.clone().follow_effects());
    spawn_local(node.clone().follow_time());
    spawn_local(node.clone().store_records());
    spawn_local(node.clone().compare());
    spawn_local(node.clone().probe());
    spawn_local(node.clone().read());
    spawn_local(node.clone().change_members());
    if id == 1 && ledger.rows().is_none() {
        spawn_local(setup::configure(node.clone()));
    }
    if !plan.history {
        spawn_local(node.clone().serve(plan.lease_ms));
        spawn_local(node.clone().adopt());
        for _ in 0..plan.callers {
            spawn_local(node.clone().callers());
        }
    }
    let mut standing = node.cluster.standing();
    let expelled = node.cluster.expelled();
    loop {
        if let Some(why) = &*expelled.borrow() {
            match ledger.roll.may_go(id) {
                true => return ledger.roll.retire(id),
                false => ledger.broken(format!("node {id} is expelled: {why}")),
            }
        }
        let role = standing.borrow().role;
        if role == Role::Stopped {
            let why = node.cluster.status().stopped;
            event!("node stops: {why:?}");
            if !disk.is_off() {
                ledger.broken(format!("node {id} stops: {why:?}"));
            }
            return;
        }
        // The world's orders are looked for often enough.
        if let Ok(Err(_)) = timeout(ms(20), standing.changed()).await {
            return;
        }
        if standing.borrow().role != role {
            event!("is {}", standing.borrow().role.name());
        }
        for order in ledger.orders(id) {
            // A node that has stopped takes no orders.
            let _ = match order {
                Order::Snapshot => node.cluster.trigger_snapshot().await,
                Order::Transfer(to) if role == Role::Leader && to != id => {
                    node.cluster.transfer_leader(to).await
                }
                Order::Transfer(_) => Ok(()),
            };
        }
    }
}

/// Whether a node need not start on such a disk.
fn may_fail(error: &StartError, disk: &SimDisk) -> bool {
    let text = error.to_string();
    disk.is_off() || text.contains("disk is full")
}

impl Node {
    pub fn random(&self, from: u64, to: u64) -> u64 {
        self.rng.borrow_mut().random_range(from..to)
    }

    pub async fn rest(&self, from_ms: u64, to_ms: u64) {
        sleep(ms(self.random(from_ms, to_ms))).await;
    }

    /// Of a thousand times so many.
    pub fn chance(&self, per_mille: u64) -> bool {
        self.random(0, 1_000) < per_mille
    }

    /// Proposes the same bytes again and again until there is a reply, impatient between; `None` when the node has
    /// stopped or `still` no longer holds.
    pub async fn ask(&self, command: &Command, still: impl Fn() -> bool) -> Option<(u64, Reply)> {
        self.ledger.commands.set(self.ledger.commands.get() + 1);
        while still() {
            let patience = ms(self.random(100, 1_500));
            match timeout(patience, self.cluster.propose_indexed(command.clone())).await {
                Ok(Ok((index, reply))) => {
                    event!("{index}: {command:?} gives {reply:?}");
                    let (ledger, step) = (self.ledger.clone(), ms(self.plan.step_ms));
                    spawn_local(async move {
                        // Machines that run later in this step may have earlier moments of it before them.
                        sleep(step).await;
                        ledger.answered(index);
                    });
                    return Some((index, reply));
                }
                Ok(Err(ProposeError::Stopped)) => return None,
                Ok(Err(error)) => self
                    .ledger
                    .broken(format!("{command:?} is not taken: {error}")),
                Err(_) => self.ledger.unknown.set(self.ledger.unknown.get() + 1),
            }
        }
        None
    }

    /// While this tenure lasts and somebody still asks.
    pub fn serves(&self, epoch: Epoch) -> bool {
        self.epoch.get() == Some(epoch) && self.ledger.phase() < Phase::Quiet
    }

    /// A tenure turned out to be over.
    pub fn lost(&self, epoch: Epoch) {
        if self.epoch.get() == Some(epoch) {
            event!("tenure {epoch} is over");
            self.epoch.set(None);
        }
    }

    /// Claims the access name, renews the claim, and begins anew when that is over.
    async fn serve(self: Rc<Self>, lease_ms: u32) {
        while self.ledger.phase() < Phase::Quiet {
            let claim = Command::Claim(Claim {
                access_name: format!("device-{}", self.id),
                node: self.id,
                boot: self.ledger.next(),
                address: format!("10.0.0.{}:80", self.id),
                version: "simulated".into(),
                lease_ms,
            });
            let claimed = self
                .ask(&claim, || self.ledger.phase() < Phase::Quiet)
                .await;
            let epoch = match claimed {
                Some((_, Reply::Claimed { epoch })) => epoch,
                // A word of an earlier process may come late; the next boot is heard.
                Some((_, Reply::Refused(Refusal::StaleEpoch))) => continue,
                Some((_, reply)) => {
                    return self.ledger.broken(format!("claim is answered {reply:?}"));
                }
                None => return,
            };
            self.epoch.set(Some(epoch));
            while self.serves(epoch) {
                sleep(ms(u64::from(lease_ms) / 3)).await;
                let renewed = self
                    .ask(&Command::KeepAlive { epoch }, || self.serves(epoch))
                    .await;
                if let Some((_, Reply::Refused(_))) = renewed {
                    self.lost(epoch);
                }
            }
        }
    }

    /// Reads effects, in order, once.
    async fn follow_effects(self: Rc<Self>) {
        let mut effects = self.cluster.effects().expect("nobody else takes them");
        let mut last = None;
        while let Some(applied) = effects.recv().await {
            if last >= Some(applied.index) {
                self.ledger.broken(format!(
                    "effects of entry {} come after those of {last:?}",
                    applied.index
                ));
            }
            last = Some(applied.index);
            for effect in applied.effects {
                if let Effect::Fenced { epoch } = effect {
                    self.lost(epoch);
                }
            }
        }
    }

    /// The log's time goes on and never back; expired claims are reported by the leader.
    async fn follow_time(self: Rc<Self>) {
        let mut before = 0;
        loop {
            self.rest(50, 200).await;
            let Some(now) = self.cluster.log_time() else {
                continue;
            };
            if now < before {
                self.ledger.broken(format!(
                    "the log's time on node {} steps from {before} to {now}",
                    self.id
                ));
            }
            before = now;
            if self.cluster.standing().borrow().role != Role::Leader
                || self.ledger.phase() == Phase::Quiet
            {
                continue;
            }
            for epoch in self.cluster.state().expired_claims(now) {
                let leads = || self.cluster.standing().borrow().role == Role::Leader;
                self.ask(&Command::NodeDown { epoch }, leads).await;
            }
        }
    }

    /// Stores records as they come, and fetches those that it missed from the others' stores.
    async fn store_records(self: Rc<Self>) {
        loop {
            self.rest(50, 400).await;
            let state = self.cluster.state();
            let mut next = self.ledger.stored_upto(self.id) + 1;
            for (number, record) in state.outbox_from(next, 100) {
                while next < number {
                    match self.ledger.fetch(next) {
                        Some(record) => self.ledger.store(self.id, next, record),
                        None => return self.ledger.broken(format!("nobody has record {next}")),
                    }
                    next += 1;
                }
                self.ledger.store(self.id, number, record);
                next = number + 1;
            }
            if next > 1
                && next - 1 > state.outbox_stored(self.id)
                && self.ledger.phase() < Phase::Quiet
            {
                self.cluster.submit(Command::Stored {
                    node: self.id,
                    upto: next - 1,
                });
            }
        }
    }

    /// Now and then all nodes are compared at the same entry.
    async fn compare(self: Rc<Self>) {
        let mut seen = None;
        loop {
            self.rest(100, 500).await;
            if self.chance(50) && self.ledger.phase() == Phase::Calls {
                let id = self.ledger.next();
                self.ledger.mark(id);
                self.cluster.submit(Command::Mark { id });
            }
            let mark = self.ledger.last_mark();
            if mark == seen {
                continue;
            }
            seen = mark;
            let Some(id) = mark else { continue };
            if let Ok((state, upto)) = self.cluster.marked(id, ms(1_000)).await {
                self.ledger.marked(self.id, id, &state, upto);
            }
        }
    }

    /// Whoever reads here sees what anybody was answered before he asked.
    async fn read(self: Rc<Self>) {
        while self.ledger.phase() < Phase::Quiet {
            self.rest(2, 100).await;
            let least = self.ledger.answered_upto();
            let Ok(upto) = self.cluster.caught_up(ms(500)).await else {
                continue;
            };
            self.ledger.reads.set(self.ledger.reads.get() + 1);
            if upto < least {
                self.ledger.broken(format!(
                    "node {} reads what was so after {upto} entries, and {least} were answered before",
                    self.id
                ));
            }
        }
    }

    /// Shows that this node gets something committed, and reads it back.
    async fn probe(self: Rc<Self>) {
        loop {
            self.rest(100, 400).await;
            if self.ledger.phase() == Phase::Quiet {
                return;
            }
            let Some(rows) = self.ledger.rows() else {
                continue;
            };
            let request = self.ledger.next();
            let amount = self.random(1, 1_000) as i64;
            let pay = Command::Pay(Payment {
                request,
                actor: "probe".into(),
                account: rows.customer,
                amount,
                memo: format!("request {request}"),
            });
            self.ledger.pays(request, amount);
            let Some((index, reply)) = self.ask(&pay, || self.ledger.phase() < Phase::Quiet).await
            else {
                continue;
            };
            self.ledger.paid(request, &reply);
            let memo = format!("request {request}");
            match self.cluster.state_at_least(index, ms(500)).await {
                Ok(state) if !state.payments().rev().any(|row| row.memo == memo) => {
                    self.ledger.broken(format!(
                        "node {} does not see payment {request} of entry {index}",
                        self.id
                    ));
                }
                _ => {}
            }
            self.ledger.probed(self.id, world::now_ms());
        }
    }
}
