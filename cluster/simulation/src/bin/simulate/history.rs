//! Callers who outlive every node: on a machine of their own that nothing happens to they ask any node, and the next
//! one when it does not answer in time, with the same bytes until there is an answer. When they asked, when they were
//! answered and what with makes a history, which has to be linearizable.

use super::ledger::{Ledger, Phase};
use super::node::ms;
use super::plan::{self, Plan};
use super::pool::{self, Deed, Moment, Op, Pool};
use super::setup;
use rand::Rng;
use rand::rngs::StdRng;
use std::cell::RefCell;
use std::rc::Rc;
use tandem_cluster::command::*;
use tandem_cluster::entity::Id;
use tandem_simulation::{event, world};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

const CALLERS: u64 = 8;
const CALLEES: usize = 5;
/// Of the one tenure that all calls are of; it is renewed three times as often.
const LEASE_MS: u32 = 30_000;

pub struct History {
    plan: Rc<Plan>,
    ledger: Rc<Ledger>,
    rng: RefCell<StdRng>,
    ops: RefCell<Vec<Op>>,
    /// Callers that have not finished.
    busy: RefCell<u64>,
}

impl History {
    pub fn new(plan: Rc<Plan>, ledger: Rc<Ledger>) -> Rc<History> {
        Rc::new(History {
            rng: RefCell::new(plan::rng(plan.seed, 3)),
            plan,
            ledger,
            ops: RefCell::default(),
            busy: RefCell::new(CALLERS),
        })
    }

    pub fn operations(&self) -> usize {
        self.ops.borrow().len()
    }

    /// Whether every caller has all his answers.
    pub fn is_whole(&self) -> bool {
        *self.busy.borrow() == 0
    }

    fn random(&self, from: u64, to: u64) -> u64 {
        self.rng.borrow_mut().random_range(from..to)
    }

    /// What runs on the callers' machine.
    pub async fn run(self: Rc<Self>) {
        while self.ledger.phase() < Phase::Calls {
            sleep(ms(10)).await;
        }
        let Some(rows) = self.ledger.rows() else {
            return;
        };
        let claim = Command::Claim(Claim {
            access_name: "callers".into(),
            node: 1,
            boot: self.ledger.next(),
            address: "10.0.0.100:80".into(),
            version: "simulated".into(),
            lease_ms: LEASE_MS,
        });
        let epoch = match self.ask(1, &claim).await {
            Some(Reply::Claimed { epoch }) => epoch,
            other => return self.ledger.broken(format!("claim is answered {other:?}")),
        };
        for at in 0..CALLERS {
            spawn_local(
                self.clone()
                    .calls(1 + at % self.plan.nodes, epoch, rows.gateway),
            );
        }
        while !self.is_whole() {
            sleep(ms(u64::from(LEASE_MS) / 3)).await;
            self.ask(1, &Command::KeepAlive { epoch }).await;
        }
    }

    /// Asks one node after the other; `None` when the run is over.
    async fn ask(&self, mut at: u64, command: &Command) -> Option<Reply> {
        while self.ledger.phase() < Phase::Quiet {
            if let Some(node) = self.ledger.node(at) {
                let patience = ms(self.random(5, 1_000));
                let proposed = timeout(patience, node.propose_indexed(command.clone())).await;
                if let Ok(Ok((index, reply))) = proposed {
                    // The node may be ahead of this machine by as much as a step.
                    sleep(ms(self.plan.step_ms)).await;
                    self.ledger.answered(index);
                    event!("{command:?} gives {reply:?}");
                    return Some(reply);
                }
                self.ledger.unknown.set(self.ledger.unknown.get() + 1);
            }
            at = self.ledger.roll.after(at);
            sleep(ms(self.random(5, 50))).await;
        }
        None
    }

    fn now() -> Moment {
        world::now_ms() * 1_000_000
    }

    fn enter(&self, invoked: Moment, returned: Option<Moment>, deed: Deed) -> usize {
        let mut ops = self.ops.borrow_mut();
        ops.push(Op {
            invoked,
            returned,
            deed,
        });
        ops.len() - 1
    }

    async fn calls(self: Rc<Self>, at: u64, epoch: Epoch, gateway: Id) {
        while self.ledger.phase() == Phase::Calls {
            self.call(at, epoch, gateway).await;
        }
        *self.busy.borrow_mut() -= 1;
    }

    async fn call(&self, at: u64, epoch: Epoch, gateway: Id) {
        let call = CallId::new(epoch, self.ledger.next() as u32);
        let b = self.random(0, CALLEES as u64) as usize;
        let reserve = Command::Reserve(Reserve {
            call,
            gateway,
            caller_access: "05718512345".into(),
            caller: "05718512345".into(),
            callee_access: format!("138{b}"),
            callee: format!("138{b}"),
            started_at: world::BEGAN_MS,
            remote: "127.0.0.1:5060".parse().expect("an address"),
            sip_call_id: format!("c{}", call.0),
        });
        let end = Command::End(End {
            call,
            epoch,
            ended_at: world::BEGAN_MS,
            answered_at: None,
            pdd_ms: None,
            codec: String::new(),
            reason: EndReason {
                key: "normal".into(),
                sip: None,
                q850: None,
            },
            by: EndedBy::Caller,
        });
        let invoked = History::now();
        let reply = self.ask(at, &reserve).await;
        let returned = Some(History::now());
        let lease = match reply {
            Some(Reply::Reserved(attempt)) => attempt.lease.expect("the gateway is AXB"),
            Some(Reply::Refused(Refusal::NoAxbNumber)) => {
                self.ledger.acknowledged(call);
                self.enter(invoked, returned, Deed::Refused { b });
                // Its record waits for its end; it holds nothing.
                self.ask(at, &end).await;
                return sleep(ms(self.random(0, 8))).await;
            }
            None => return,
            other => {
                return self
                    .ledger
                    .broken(format!("{reserve:?} is answered {other:?}"));
            }
        };
        self.ledger.acknowledged(call);
        let place = |names: u32, name: fn(u32) -> String, found: &str| {
            (0..names)
                .position(|n| name(n) == found)
                .expect("one of ours")
        };
        let a = place(setup::A_NUMBERS, setup::a_name, &lease.a);
        let x = place(setup::X_NUMBERS, setup::x_name, &lease.x);
        let of = self.enter(invoked, returned, Deed::Take { a, x, b });
        sleep(ms(self.random(1, 12))).await;
        let unbound = Command::Unbound(Unbound {
            binding: lease.binding,
            epoch,
            missing: false,
        });
        let end = self.free(at, end, Deed::FreeA { of });
        let unbound = self.free(at, unbound, Deed::FreeX { of });
        match self.random(0, 3) {
            0 => {
                end.await;
                unbound.await;
            }
            1 => {
                unbound.await;
                end.await;
            }
            _ => {
                futures::join!(end, unbound);
            }
        }
    }

    async fn free(&self, at: u64, command: Command, deed: Deed) {
        let invoked = History::now();
        match self.ask(at, &command).await {
            Some(Reply::Done) => {
                self.enter(invoked, Some(History::now()), deed);
            }
            None => {}
            other => self
                .ledger
                .broken(format!("{command:?} is answered {other:?}")),
        }
    }

    /// Whether there is an order of all operations that explains every answer. `wrong` makes one answer wrong before.
    pub fn check(&self, wrong: bool) -> Result<(), String> {
        let mut ops = self.ops.borrow().clone();
        if wrong && let Some(altered) = super::altered::given_twice(&ops) {
            ops = altered;
        }
        let pool = Pool {
            a_lines: vec![setup::LINES as u8; setup::A_NUMBERS as usize],
            x_lines: vec![setup::LINES as u8; setup::X_NUMBERS as usize],
            callees: CALLEES,
            rest: 0,
            slack: 0,
        };
        pool::check(&pool, &ops)
            .map(drop)
            .map_err(|broken| broken.to_string())
    }
}
