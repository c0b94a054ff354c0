//! What the world knows beside the nodes: what they have acknowledged, and what must therefore be true in the end.

use super::members::Roll;
use super::plan::Plan;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use tandem_cluster::command::{CallId, Reply};
use tandem_cluster::entity::{Id, Micros};
use tandem_cluster::handle::Cluster;
use tandem_cluster::state::State;
use tandem_simulation::event;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The configuration is put in.
    Setup,
    /// Calls, and perhaps faults.
    Calls,
    /// No new calls; those there are end.
    Drain,
    /// Nothing is proposed any more.
    Quiet,
}

/// Rows that calls need.
#[derive(Clone, Debug)]
pub struct Rows {
    pub gateway: Id,
    pub customer: Id,
    /// What each account began with.
    pub opened: BTreeMap<Id, Micros>,
}

/// What a node is told to do by the world.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Hand leadership to that node, if it leads.
    Transfer(u64),
    /// Build a snapshot.
    Snapshot,
}

/// Records by number.
type Records = BTreeMap<u64, Arc<[u8]>>;

/// A payment that somebody proposed.
#[derive(Clone, Copy, Debug)]
struct Payment {
    amount: Micros,
    acknowledged: bool,
}

pub struct Ledger {
    phase: Cell<Phase>,
    count: Cell<u64>,
    rows: RefCell<Option<Rc<Rows>>>,
    nodes: RefCell<BTreeMap<u64, Cluster>>,
    orders: RefCell<BTreeMap<u64, Vec<Order>>>,
    /// Calls with an acknowledged admission or end.
    calls: RefCell<BTreeSet<CallId>>,
    payments: RefCell<BTreeMap<u64, Payment>>,
    /// Records by node and number, as in each node's store.
    stored: RefCell<BTreeMap<u64, Records>>,
    /// Marks, with the index and hash of the state that nodes found there.
    marks: RefCell<BTreeMap<u64, Option<(u64, u64)>>>,
    /// When a node last had something committed, milliseconds of the world.
    probed: RefCell<BTreeMap<u64, u64>>,
    broken: RefCell<Option<String>>,
    /// Who is in service.
    pub roll: Roll,
    /// Entries up to the last one whose reply somebody has, for so long that every machine may know.
    answered: Cell<u64>,
    pub commands: Cell<u64>,
    pub unknown: Cell<u64>,
    pub reads: Cell<u64>,
    pub adopted: Cell<u64>,
    pub compared: Cell<u64>,
}

impl Ledger {
    pub fn new(plan: &Plan) -> Rc<Ledger> {
        Rc::new(Ledger {
            phase: Cell::new(Phase::Setup),
            count: Cell::new(0),
            rows: RefCell::default(),
            nodes: RefCell::default(),
            orders: RefCell::default(),
            calls: RefCell::default(),
            payments: RefCell::default(),
            stored: RefCell::default(),
            marks: RefCell::default(),
            probed: RefCell::default(),
            broken: RefCell::default(),
            roll: Roll::new(plan),
            answered: Cell::new(0),
            commands: Cell::new(0),
            unknown: Cell::new(0),
            reads: Cell::new(0),
            adopted: Cell::new(0),
            compared: Cell::new(0),
        })
    }

    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub fn enter(&self, phase: Phase) {
        event!("phase {phase:?}");
        self.phase.set(phase);
    }

    /// Another number each time.
    pub fn next(&self) -> u64 {
        self.count.set(self.count.get() + 1);
        self.count.get()
    }

    pub fn rows(&self) -> Option<Rc<Rows>> {
        self.rows.borrow().clone()
    }

    pub fn set_rows(&self, rows: Rows) {
        *self.rows.borrow_mut() = Some(Rc::new(rows));
    }

    /// The reply of an entry is known to somebody, and the step in which he got it is over.
    pub fn answered(&self, index: u64) {
        self.answered.set(self.answered.get().max(index + 1));
    }

    /// So many entries a reader must see who asks now.
    pub fn answered_upto(&self) -> u64 {
        self.answered.get()
    }

    /// Something is wrong; the first such word counts.
    pub fn broken(&self, what: String) {
        event!("BROKEN: {what}");
        self.broken.borrow_mut().get_or_insert(what);
    }

    pub fn verdict(&self) -> Result<(), String> {
        match &*self.broken.borrow() {
            Some(what) => Err(what.clone()),
            None => Ok(()),
        }
    }

    pub fn node_up(&self, id: u64, cluster: Cluster) {
        self.nodes.borrow_mut().insert(id, cluster);
    }

    pub fn node_down(&self, id: u64) {
        self.nodes.borrow_mut().remove(&id);
        self.orders.borrow_mut().remove(&id);
    }

    pub fn node(&self, id: u64) -> Option<Cluster> {
        self.nodes.borrow().get(&id).cloned()
    }

    pub fn order(&self, id: u64, order: Order) {
        event!("node {id} is told: {order:?}");
        self.orders.borrow_mut().entry(id).or_default().push(order);
    }

    pub fn orders(&self, id: u64) -> Vec<Order> {
        self.orders.borrow_mut().remove(&id).unwrap_or_default()
    }

    /// An admission or an end of this call was acknowledged.
    pub fn acknowledged(&self, call: CallId) {
        self.calls.borrow_mut().insert(call);
    }

    pub fn calls(&self) -> usize {
        self.calls.borrow().len()
    }

    pub fn pays(&self, request: u64, amount: Micros) {
        let payment = Payment {
            amount,
            acknowledged: false,
        };
        self.payments.borrow_mut().insert(request, payment);
    }

    pub fn paid(&self, request: u64, reply: &Reply) {
        if !matches!(reply, Reply::Balance(_)) {
            return self.broken(format!("payment {request} is answered {reply:?}"));
        }
        if let Some(payment) = self.payments.borrow_mut().get_mut(&request) {
            payment.acknowledged = true;
        }
    }

    /// The last record that a node has stored.
    pub fn stored_upto(&self, node: u64) -> u64 {
        let stored = self.stored.borrow();
        let last = stored.get(&node).and_then(|rows| rows.last_key_value());
        last.map_or(0, |(number, _)| *number)
    }

    /// A node stores a record, which must be what others have under that number.
    pub fn store(&self, node: u64, number: u64, record: Arc<[u8]>) {
        let mut stored = self.stored.borrow_mut();
        let differs = stored
            .values()
            .filter_map(|rows| rows.get(&number))
            .any(|other| *other != record);
        stored.entry(node).or_default().insert(number, record);
        drop(stored);
        if differs {
            self.broken(format!("node {node} has another record {number}"));
        }
    }

    /// A record in the store of any node that is in service.
    pub fn fetch(&self, number: u64) -> Option<Arc<[u8]>> {
        let stored = self.stored.borrow();
        let mut there = stored.iter().filter(|(node, _)| self.roll.serves(**node));
        there.find_map(|(_, rows)| rows.get(&number).cloned())
    }

    /// Nodes shall be compared at a mark.
    pub fn mark(&self, id: u64) {
        self.marks.borrow_mut().insert(id, None);
    }

    /// The latest mark.
    pub fn last_mark(&self) -> Option<u64> {
        let marks = self.marks.borrow();
        marks.last_key_value().map(|(id, _)| *id)
    }

    /// What a node has at a mark.
    pub fn marked(&self, node: u64, id: u64, state: &State, upto: u64) {
        let found = (upto, state.hash());
        let before = self.marks.borrow_mut().insert(id, Some(found)).flatten();
        // A repeated proposal may put the mark into the log twice: then nodes may have kept another state.
        match before {
            Some((index, hash)) if index == upto => {
                self.compared.set(self.compared.get() + 1);
                if hash != found.1 {
                    self.broken(format!("node {node} has another state at entry {upto}"));
                }
            }
            _ => {}
        }
        if let Err(what) = state.check() {
            self.broken(format!("state of node {node} at entry {upto}: {what}"));
        }
    }

    pub fn probed(&self, node: u64, now_ms: u64) {
        self.probed.borrow_mut().insert(node, now_ms);
    }

    pub fn probed_at(&self, node: u64) -> u64 {
        self.probed.borrow().get(&node).copied().unwrap_or(0)
    }

    /// Everything that must be true when nothing is under way any more.
    pub fn check(&self, state: &State) -> Result<(), String> {
        state.check()?;
        let records = self.records(state)?;
        let mut ends: BTreeMap<u64, u32> = BTreeMap::new();
        let mut fees: BTreeMap<Id, Micros> = BTreeMap::new();
        for record in records.values() {
            let text = String::from_utf8_lossy(record);
            let mut words = text.split(' ');
            let call = words.next().and_then(|word| word.parse().ok());
            let call = call.ok_or_else(|| format!("record `{text}` names no call"))?;
            *ends.entry(call).or_default() += 1;
            for word in words.skip(2) {
                let fee = word.split_once(':').and_then(|(account, fee)| {
                    Some((account.parse::<Id>().ok()?, fee.parse::<Micros>().ok()?))
                });
                let (account, fee) = fee.ok_or_else(|| format!("record `{text}` has no fee"))?;
                *fees.entry(account).or_default() += fee;
            }
        }
        if let Some((call, times)) = ends.iter().find(|(_, times)| **times > 1) {
            return Err(format!("call {call} has {times} records"));
        }
        if let Some(call) = self
            .calls
            .borrow()
            .iter()
            .find(|call| !ends.contains_key(&call.0))
        {
            return Err(format!("call {call:?} was acknowledged and has no record"));
        }
        let paid = self.check_payments(state)?;
        let rows = self.rows().ok_or("nothing was configured")?;
        for (account, opened) in &rows.opened {
            let (money, reserved) = state.account_balance(*account);
            let mut wanted = opened - fees.get(account).copied().unwrap_or(0);
            if *account == rows.customer {
                wanted += paid;
            }
            if (money, reserved) != (wanted, 0) {
                return Err(format!(
                    "account {account} has {money} and {reserved} set aside, records and payments say {wanted}"
                ));
            }
        }
        let held = state.calls().len() + state.bindings().len();
        match held {
            0 => Ok(()),
            _ => Err(format!("{held} calls and bindings are left")),
        }
    }

    /// Every record from the first on, each once and alike wherever it is.
    fn records(&self, state: &State) -> Result<Records, String> {
        let mut records: Records = state.outbox_from(1, usize::MAX).into_iter().collect();
        let stored = self.stored.borrow();
        for (node, rows) in stored.iter().filter(|(node, _)| self.roll.serves(**node)) {
            for (number, record) in rows {
                let known = records.entry(*number).or_insert_with(|| record.clone());
                if known != record {
                    return Err(format!("record {number} of node {node} is another one"));
                }
            }
        }
        let last = state.outbox_last();
        match records.keys().copied().eq(1..=last) {
            true => Ok(records),
            false => Err(format!("records are not those from 1 to {last}, each once")),
        }
    }

    /// What payments have added: each acknowledged one is there once, each other one once or not at all.
    fn check_payments(&self, state: &State) -> Result<Micros, String> {
        let mut found: BTreeMap<u64, u32> = BTreeMap::new();
        for row in state.payments() {
            if let Some(request) = row.memo.strip_prefix("request ") {
                let request = request.parse().map_err(|_| "a payment has no request")?;
                *found.entry(request).or_default() += 1;
            }
        }
        let mut sum = 0;
        for (request, payment) in &*self.payments.borrow() {
            let times = found.remove(request).unwrap_or(0);
            if times > 1 || (times == 0 && payment.acknowledged) {
                return Err(format!(
                    "payment {request} is there {times} times: {payment:?}"
                ));
            }
            sum += payment.amount * Micros::from(times);
        }
        match found.is_empty() {
            true => Ok(sum),
            false => Err("there are payments that nobody made".into()),
        }
    }
}
