//! The world: machines with their nodes, customers, phones and the platform, on one clock and one seed.
//!
//! Time goes in steps of [`STEP_MS`]. In each, what is due happens first, in the order of its time; then every node that
//! runs is run to the end of the step; then what the nodes have said is put on its way. So nothing is nearer than a step,
//! and no order is left to chance.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tandem_cluster::wal::{AnyDisk, SimDisk};
use tandem_simulation::event;
use tandem_vendors::client::{Carried, Lost};
use tandem_vendors::exchange::Request;
use tokio::sync::{mpsc, oneshot};

use crate::callee;
use crate::caller::{self, Caller, Next, Outcome};
use crate::draw::seed_for;
use crate::leg::{Leg, Say, Timer};
use crate::links::{Dialled, End, Taken};
use crate::message::{Message, user_of};
use crate::net::Net;
use crate::platform::{self, Platform};
use crate::process::{Build, Process, link_of, sip_of};
use crate::setup::{self, Setup};
use crate::shelf::Shelf;

mod network;

/// Length of a step.
pub const STEP_MS: u64 = 4;

/// A machine, and the node that runs on it.
pub struct Machine {
    pub node: u64,
    pub sip: SocketAddr,
    pub link: SocketAddr,
    pub skew_ms: i64,
    pub shelf: Arc<Shelf>,
    pub disk: SimDisk,
    pub shards: usize,
    /// Counts its processes.
    pub runs: u64,
    pub process: Option<Process>,
    pub paused: bool,
    listening: Option<mpsc::UnboundedSender<Taken>>,
}

/// A connection between two nodes; of each pair the maker of the connection comes first.
struct Connection {
    machines: [usize; 2],
    runs: [u64; 2],
    ends: [End; 2],
    /// Bytes that wait until the network carries them, by who sent them.
    held: [Vec<Vec<u8>>; 2],
    /// Nothing overtakes.
    last: [u64; 2],
    closed: [bool; 2],
}

enum Event {
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Bytes,
    },
    Leg(usize, Timer),
    Try(usize),
    Ask {
        machine: usize,
        request: Box<Request>,
        tell: oneshot::Sender<Result<Carried, Lost>>,
    },
    Tell {
        machine: usize,
        result: Result<Carried, Lost>,
        tell: oneshot::Sender<Result<Carried, Lost>>,
    },
    Dial {
        from: usize,
        run: u64,
        to: usize,
        tell: oneshot::Sender<Dialled>,
    },
    Bytes {
        connection: u64,
        side: usize,
        bytes: Vec<u8>,
    },
    Retry {
        connection: u64,
        side: usize,
    },
    Finish {
        connection: u64,
        side: usize,
    },
    Break {
        connection: u64,
        side: usize,
    },
}

/// The world.
pub struct World {
    pub seed: u64,
    pub now: u64,
    pub machines: Vec<Machine>,
    pub net: Net,
    pub platform: Platform,
    pub callers: Vec<Caller>,
    /// What the callee of each call is going to do.
    pub callees: Vec<callee::Plan>,
    pub legs: Vec<Leg>,
    /// Which call a callee's leg is of.
    pub called: BTreeMap<usize, usize>,
    /// By address and Call-ID.
    by_call_id: HashMap<(IpAddr, String), usize>,
    queue: BTreeMap<(u64, u64), Event>,
    serial: u64,
    connections: BTreeMap<u64, Connection>,
    last_connection: u64,
    /// Machines whose requests to the platform, or its answers, do not arrive. Datagrams of calls go another way.
    pub away: Vec<bool>,
    /// No BYE reaches a phone.
    pub mute: bool,
    /// Answers that never arrive.
    unheard: Vec<oneshot::Sender<Result<Carried, Lost>>>,
}

impl World {
    /// With a wrong clock on one machine, if `off` says by how much.
    pub fn new(seed: u64, nodes: u64, x_limit: usize, off: Option<(u64, i64)>) -> World {
        let mut rng = StdRng::seed_from_u64(seed_for(seed, 1));
        let machine = |node: u64| Machine {
            node,
            sip: sip_of(node),
            link: link_of(node),
            skew_ms: match off {
                Some((wrong, ms)) if wrong == node => ms,
                _ => rng.random_range(-20..=20),
            },
            shelf: Arc::default(),
            disk: SimDisk::default(),
            shards: 1 + (seed as usize + node as usize) % 2,
            runs: 0,
            process: None,
            paused: false,
            listening: None,
        };
        World {
            seed,
            now: 0,
            machines: (1..=nodes).map(machine).collect(),
            net: Net::new(seed_for(seed, 2)),
            platform: Platform::new(seed as u32, x_limit),
            callers: Vec::new(),
            callees: Vec::new(),
            legs: Vec::new(),
            called: BTreeMap::new(),
            by_call_id: HashMap::new(),
            queue: BTreeMap::new(),
            serial: 0,
            connections: BTreeMap::new(),
            last_connection: 0,
            away: vec![false; nodes as usize],
            mute: false,
            unheard: Vec::new(),
        }
    }

    // ---- time ----

    fn at(&mut self, at: u64, event: Event) {
        self.serial += 1;
        self.queue.insert((at.max(self.now), self.serial), event);
    }

    fn after(&mut self, ms: u64, event: Event) {
        self.at(self.now + ms, event);
    }

    /// One step.
    pub fn step(&mut self) {
        let end = self.now + STEP_MS;
        while let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= end
        {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.happen(event);
        }
        self.now = end;
        for at in 0..self.machines.len() {
            let machine = &mut self.machines[at];
            if machine.paused {
                continue;
            }
            let Some(process) = &mut machine.process else {
                continue;
            };
            process.run_until(end);
            for out in process.outlet.take() {
                self.carry_out(at, out);
            }
        }
    }

    /// Steps until a moment.
    pub fn run_until(&mut self, until: u64) {
        while self.now < until {
            self.step();
        }
    }

    /// Steps until something is so, at most until a moment; tells whether it is.
    pub fn run_till(&mut self, until: u64, is: impl Fn(&World) -> bool) -> bool {
        while self.now < until {
            if is(self) {
                return true;
            }
            self.step();
        }
        is(self)
    }

    // ---- nodes ----

    /// Starts a machine's node.
    pub fn start(&mut self, at: usize) {
        let nodes = self.machines.len() as u64;
        let machine = &mut self.machines[at];
        machine.runs += 1;
        let build = Build {
            node: machine.node,
            nodes,
            seed: seed_for(self.seed, 1_000 * machine.node + machine.runs),
            sip: machine.sip,
            skew_ms: machine.skew_ms,
            shelf: Arc::clone(&machine.shelf),
            disk: AnyDisk(Arc::new(machine.disk.clone())),
            shards: machine.shards,
        };
        machine.process = Some(Process::start(build, self.now));
        machine.paused = false;
        event!("{} node {} starts", self.now, machine.node);
    }

    /// Kills a machine's node. The machine lives on and resets the node's connections, unless it is `silent`.
    pub fn kill(&mut self, at: usize, silent: bool) {
        let machine = &mut self.machines[at];
        machine.paused = false;
        machine.listening = None;
        let Some(process) = machine.process.take() else {
            return;
        };
        event!("{} node {} is killed", self.now, machine.node);
        drop(process.kill());
        let runs = machine.runs;
        let mut resets = Vec::new();
        for (id, connection) in &mut self.connections {
            for side in [0, 1] {
                if connection.machines[side] == at && connection.runs[side] == runs {
                    connection.closed[side] = true;
                    if !silent {
                        resets.push((*id, 1 - side));
                    }
                }
            }
        }
        for (connection, side) in resets {
            let ms = self.net.stream();
            self.after(ms, Event::Break { connection, side });
        }
    }

    /// What a machine, whose node is dead, had not synced is lost, each piece by chance.
    pub fn lose_power(&mut self, at: usize) {
        let machine = &self.machines[at];
        machine.shelf.lose_power();
        machine.disk.crash(|| self.net.roll() < 0.5);
    }

    /// Stops a machine's node where it stands.
    pub fn pause(&mut self, at: usize) {
        self.machines[at].paused = true;
        event!("{} node {} stands still", self.now, self.machines[at].node);
    }

    /// Lets it go on.
    pub fn resume(&mut self, at: usize) {
        let now = self.now;
        let machine = &mut self.machines[at];
        if std::mem::replace(&mut machine.paused, false)
            && let Some(process) = &mut machine.process
        {
            process.wake_at(now);
            event!("{now} node {} goes on", machine.node);
        }
    }

    /// Cuts the links from one node to another, or mends them.
    pub fn cut_links(&mut self, from: usize, to: usize, cut: bool) {
        let (from, to) = (self.machines[from].link.ip(), self.machines[to].link.ip());
        self.net.set_cut(from, to, cut);
    }

    /// Does for operators what they do before the first call; `Err` says what failed.
    pub fn set_up(&mut self, setup: Setup) -> Result<(), String> {
        let up = |world: &World| world.machines.iter().all(|machine| machine.is_up());
        if !self.run_till(self.now + 10_000, up) {
            let failed = self
                .machines
                .iter()
                .filter_map(|machine| machine.process.as_ref()?.failed());
            return Err(format!(
                "nodes do not start: {:?}",
                failed.collect::<Vec<_>>()
            ));
        }
        let process = self.machines[0]
            .process
            .as_ref()
            .expect("it has just started");
        let core = process
            .up(|up| Arc::clone(&up.core))
            .expect("it has just started");
        let done = Rc::new(RefCell::new(None));
        let tell = Rc::clone(&done);
        process.within(async move {
            let outcome = setup::put(&core, setup).await;
            *tell.borrow_mut() = Some(outcome);
        });
        let told = |_: &World| done.borrow().is_some();
        if !self.run_till(self.now + 20_000, told) {
            return Err("the set-up does not end".to_owned());
        }
        done.take().unwrap_or(Ok(()))
    }

    // ---- people ----

    /// A customer will begin at a moment.
    pub fn expect_call(&mut self, at: u64, plan: caller::Plan, callee: callee::Plan) {
        let me = self.callers.len();
        debug_assert_eq!(plan.key, me);
        self.callers.push(Caller {
            plan,
            outcome: Outcome::Open,
            tries: 0,
            legs: Vec::new(),
        });
        self.callees.push(callee);
        self.at(at, Event::Try(me));
    }

    fn attempt(&mut self, me: usize) {
        let leg = self.legs.len();
        let mut say = Vec::new();
        let caller = &mut self.callers[me];
        if !caller.has_more() {
            return;
        }
        let mut made = caller.attempt(me, leg, &mut say);
        if caller.plan.turns_to_others {
            made.others = caller.plan.nodes.clone();
        }
        let key = (caller.plan.at.ip(), made.dialog.call_id.clone());
        self.legs.push(made);
        self.by_call_id.insert(key, leg);
        self.say(leg, say);
    }

    fn say(&mut self, leg: usize, say: Vec<Say>) {
        let from = self.legs[leg].dialog.at;
        for one in say {
            match one {
                Say::To(to, text) => self.send(from, to, Bytes::from(text)),
                Say::After(ms, timer) => self.after(ms, Event::Leg(leg, timer)),
            }
        }
    }

    fn next(&mut self, leg: usize, next: Next) {
        let Some(me) = self.legs[leg]
            .attempt
            .as_ref()
            .map(|attempt| attempt.caller)
        else {
            return;
        };
        let more = self.callers[me].has_more();
        let outcome = match next {
            Next::Nothing => return,
            Next::TryAgain(ms, _) if more => return self.after(ms, Event::Try(me)),
            Next::TryAgain(_, 0) => Outcome::Silent,
            Next::TryAgain(_, status) => Outcome::Refused(status),
            Next::Over(outcome) => outcome,
        };
        let caller = &mut self.callers[me];
        if caller.outcome == Outcome::Open {
            caller.outcome = outcome;
        }
    }

    fn leg_due(&mut self, leg: usize, timer: Timer) {
        let (now, mut say) = (self.now, Vec::new());
        let one = &mut self.legs[leg];
        match timer {
            Timer::Invite | Timer::Silence | Timer::Patience | Timer::Cancel => {
                let next = one.try_due(timer, now, &mut say);
                self.say(leg, say);
                self.next(leg, next);
            }
            Timer::Ring | Timer::Decide => {
                one.rung(timer, now, &mut say);
                self.say(leg, say);
            }
            _ => {
                one.due(timer, now, &mut say);
                self.say(leg, say);
            }
        }
    }

    /// A datagram reaches a customer or a phone.
    fn person_hears(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let Some(message) = Message::read(bytes) else {
            self.platform
                .wrongs
                .push("a far end got what is no message".to_owned());
            return;
        };
        let (now, mut say) = (self.now, Vec::new());
        let key = (to.ip(), message.get("call-id").to_owned());
        let known = self.by_call_id.get(&key).copied();
        let leg = match known {
            Some(leg) => leg,
            None if message.method() == "INVITE"
                && message.status().is_none()
                && to == platform::phone() =>
            {
                return self.ring(key, &message, from);
            }
            None => {
                if message.status().is_none() && message.method() != "ACK" {
                    let text =
                        message.answer("481 Call/Transaction Does Not Exist", "none", "", "");
                    self.send(to, from, Bytes::from(text));
                }
                return;
            }
        };
        let one = &mut self.legs[leg];
        match message.status() {
            Some(_) if matches!(message.method(), "INVITE" | "CANCEL") => {
                let next = one.try_answered(&message, now, &mut say);
                self.say(leg, say);
                self.next(leg, next);
            }
            Some(_) => one.answered(&message),
            None => {
                one.requested(&message, from, now, &mut say);
                self.say(leg, say);
            }
        }
    }

    fn ring(&mut self, key: (IpAddr, String), invite: &Message, from: SocketAddr) {
        let number = user_of(invite.uri());
        let call = number
            .get(3..)
            .and_then(|digits| digits.parse::<usize>().ok());
        let Some(call) = call.filter(|call| *call < self.callees.len()) else {
            self.platform.wrongs.push(format!("nobody called {number}"));
            return;
        };
        let marked = invite
            .mark()
            .and_then(|mark| mark.split('-').next()?.parse().ok());
        if marked != Some(call) {
            let wrong = format!("the phone of call {call} rings for call {marked:?}");
            self.platform.wrongs.push(wrong);
        }
        let (leg, mut say) = (self.legs.len(), Vec::new());
        let made = callee::ring(
            &self.callees[call],
            platform::phone(),
            leg,
            invite,
            from,
            &mut say,
        );
        self.legs.push(made);
        self.called.insert(leg, call);
        self.by_call_id.insert(key, leg);
        self.say(leg, say);
    }
}

impl Machine {
    /// Its node has started.
    pub fn is_up(&self) -> bool {
        let process = self.process.as_ref();
        process.is_some_and(|process| process.up(|_| ()).is_some())
    }
}
