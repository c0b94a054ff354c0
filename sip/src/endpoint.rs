//! One shard of the signalling core: transactions, dialogs and legs over one timing wheel.
//!
//! What goes in: received messages ([`Endpoint::receive`]), the node's wishes ([`Endpoint::dial`],
//! [`Endpoint::command`]), broken flows, and the time with each of them. What comes out: bytes to send and leg events,
//! drained by [`Endpoint::poll_output`] after every call, and the moment to call [`Endpoint::advance`] again. No
//! socket, no clock, no randomness but a seed; an `Endpoint` is run by one task and knows only its own Call-IDs.
//!
//! Requests outside dialogs that are refused on the spot are answered without a transaction (RFC 3261 §8.2.7), so a
//! flood of them leaves nothing behind.

mod command;
mod config;
mod due;
mod inside;
mod keys;
mod outside;
mod read;
mod response;
mod slab;
mod state;
mod stray;
mod write;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;

pub use config::{Admission, Advertised, Config, Counts, Output};
pub use stray::{Refusal, Stray};

use crate::dialog::Dialog;
use crate::leg::{Cause, Ended, EndedBy, LegEvent, LegId, Sent};
use crate::message::{Message, Method, Writer};
use crate::timer::{Millis, Wheel};
use crate::transaction::{Act, Client, ClientInvite, Machine, Server, ServerInvite, Timing};
use crate::transport::Flow;

use keys::{Secret, Table};
use slab::{Slab, Slot};
use state::{Due, Leg, Role, State, Transaction};
use write::{Answer, Faces};

/// Everything of one shard. See the [module](self).
#[derive(Debug)]
pub struct Endpoint {
    config: Config,
    timing: Timing,
    admission: Admission,
    secret: Secret,
    faces: Faces,
    writer: Writer,
    wheel: Wheel<Due>,
    transactions: Slab<Transaction>,
    client_transactions: usize,
    clients: Table<Slot>,
    servers: Table<Slot>,
    merged: Table<Slot>,
    legs: Slab<Box<Leg>>,
    dialogs: Table<Slot>,
    outputs: VecDeque<Output>,
}

impl Endpoint {
    /// An empty shard. `seed` makes every tag, branch and Call-ID: it must differ between shards and starts, and be
    /// kept from peers.
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            timing: config.timing(),
            faces: Faces::new(&config),
            config,
            admission: Admission::Open,
            secret: Secret::new(seed),
            writer: Writer::new(),
            wheel: Wheel::default(),
            transactions: Slab::default(),
            client_transactions: 0,
            clients: Table::default(),
            servers: Table::default(),
            merged: Table::default(),
            legs: Slab::default(),
            dialogs: Table::default(),
            outputs: VecDeque::new(),
        }
    }

    /// A message has arrived by `flow`. It comes back when it belongs to a dialog that is not here but bears our tag
    /// with a token: the node finds out whose it is, or has it [refused](Endpoint::refuse).
    #[must_use = "nobody has answered a stray"]
    pub fn receive(&mut self, mut message: Message, flow: Flow, now: Millis) -> Option<Box<Stray>> {
        message.set_source(flow.remote);
        if message.is_request() {
            return self.on_request(message, flow, now);
        }
        if self.on_response(&message, flow, now) {
            return None;
        }
        // What answers a dialog that is here comes too late, and is dropped like all that matches nothing (RFC 6026).
        let tag = message.from().tag()?;
        let dialog = self.secret.dialog_key(message.call_id(), tag);
        let astray = stray::token_in(&message).is_some() && !self.dialogs.contains_key(&dialog);
        astray.then(|| Stray::new(message, flow))
    }

    /// Fires what is due.
    pub fn advance(&mut self, now: Millis) {
        while let Some(due) = self.wheel.pop(now) {
            match due {
                Due::Transaction(slot) => {
                    if let Some(transaction) = self.transactions.get_mut(slot) {
                        transaction.timer = None;
                        self.transaction_due(slot, now);
                    }
                }
                Due::Leg(slot) => {
                    self.with_leg(slot, now, |this, leg| {
                        leg.timer = None;
                        this.leg_due(leg, now);
                    });
                }
            }
        }
    }

    /// The moment by which [`Endpoint::advance`] wants to be called; nothing fires before it.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.wheel.next_deadline()
    }

    /// The next thing to carry out, in the order it was decided.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether INVITEs outside dialogs are taken. OPTIONS tells the same to peers that ask.
    pub fn set_admission(&mut self, admission: Admission) {
        self.admission = admission;
    }

    /// The leg's dialog as data: of an inbound leg from the start, so that it can be stored before the answer goes
    /// out; of an outbound leg once it is answered; of either until it has ended.
    pub fn dialog(&self, leg: LegId) -> Option<Dialog> {
        let leg = self
            .legs
            .get(Slot::from_u64(leg.0))
            .filter(|leg| !leg.ended)?;
        let complete = matches!(
            leg.state,
            State::Invited(_) | State::Talking | State::Acknowledging { .. }
        );
        complete.then(|| leg.dialog.clone())
    }

    /// Makes a leg of another node's dialog; its flow's local address must be one of ours. The local sequence number
    /// jumps ahead. A dialog that is here already is the same leg.
    pub fn adopt(&mut self, mut dialog: Dialog, now: Millis) -> LegId {
        let key = self.secret.dialog_key(&dialog.call_id, &dialog.local_tag);
        if let Some(slot) = self.dialogs.get(&key) {
            return LegId(slot.to_u64());
        }
        dialog.adopt();
        let slot = self
            .legs
            .insert_with(|slot| Leg::new(slot, key, dialog, State::Talking));
        self.dialogs.insert(key, slot);
        self.with_leg(slot, now, |_, _| ());
        LegId(slot.to_u64())
    }

    /// Lets go of a leg whose dialog is another node's from now on: nothing is said to the far end or to the node, and
    /// no request or answer is sent again.
    pub fn forget(&mut self, leg: LegId) {
        let slot = Slot::from_u64(leg.0);
        let Some(leg) = self.legs.remove(slot) else {
            return;
        };
        if let Some(timer) = leg.timer {
            self.wheel.cancel(timer);
        }
        if self.dialogs.get(&leg.key) == Some(&slot) {
            self.dialogs.remove(&leg.key);
        }
        let belong = self.transactions.slots();
        let belong: Vec<Slot> = belong
            .filter(|(_, transaction)| transaction.leg == Some(slot))
            .map(|(slot, _)| slot)
            .collect();
        for slot in belong {
            match self.transactions.get_mut(slot) {
                // What is answered still absorbs its copies.
                Some(answered) if !answered.is_client() && !answered.pending() => {
                    answered.leg = None
                }
                _ => drop(self.close(slot)),
            }
        }
    }

    /// What is alive.
    pub fn counts(&self) -> Counts {
        Counts {
            client_transactions: self.client_transactions,
            server_transactions: self.transactions.len() - self.client_transactions,
            legs: self.legs.len(),
            timers: self.wheel.len(),
        }
    }

    fn emit(&mut self, leg: LegId, event: LegEvent) {
        self.outputs.push_back(Output::Event { leg, event });
    }

    fn send(&mut self, flow: Flow, bytes: Bytes, kind: Sent) {
        self.outputs.push_back(Output::Send { flow, bytes, kind });
    }

    /// Works on a leg outside its table, then puts it back with its timer set, or lets it go.
    fn with_leg<R>(
        &mut self,
        slot: Slot,
        now: Millis,
        work: impl FnOnce(&mut Self, &mut Leg) -> R,
    ) -> Option<R> {
        let mut leg = self.legs.take(slot)?;
        let result = work(self, &mut leg);
        if let Some(timer) = leg.timer.take() {
            self.wheel.cancel(timer);
        }
        if leg.gone {
            self.dialogs.remove(&leg.key);
            self.legs.free(slot);
        } else {
            leg.timer = leg
                .next()
                .map(|at| self.wheel.arm(at.max(now + 1), Due::Leg(slot)));
            self.legs.put_back(slot, leg);
        }
        Some(result)
    }

    /// Tells the node that the leg has ended, once.
    fn end(&mut self, leg: &mut Leg, by: EndedBy, cause: Option<Cause>) {
        if !leg.ended {
            leg.ended = true;
            self.emit(leg.id(), LegEvent::Ended(Ended { by, cause }));
        }
    }

    // ── transactions ────────────────────────────────────────────────────────────────────────────────────────────

    /// Sends a request and keeps it until it is answered.
    #[allow(clippy::too_many_arguments)]
    fn open_client(
        &mut self,
        key: u64,
        role: Role,
        method: Method,
        flow: Flow,
        bytes: Bytes,
        leg: Option<Slot>,
        now: Millis,
    ) -> Slot {
        let reliable = reliable(&flow);
        let machine = match method {
            Method::Invite => Machine::ClientInvite(ClientInvite::new(reliable, &self.timing, now)),
            _ => Machine::Client(Client::new(reliable, &self.timing, now)),
        };
        self.send(
            flow,
            bytes.clone(),
            Sent::Request {
                method,
                retransmission: false,
            },
        );
        let slot = self.open(machine, key, role, flow, leg);
        if let Some(transaction) = self.transactions.get_mut(slot) {
            transaction.bytes = bytes;
        }
        self.clients.insert(key, slot);
        self.client_transactions += 1;
        self.rearm(slot, now);
        slot
    }

    /// Keeps a received request until it is answered and its copies have died out.
    fn open_server(
        &mut self,
        key: u64,
        role: Role,
        flow: Flow,
        request: Message,
        leg: Option<Slot>,
        now: Millis,
    ) -> Slot {
        let reliable = reliable(&flow);
        let machine = match request.method() {
            Method::Invite => Machine::ServerInvite(ServerInvite::new(reliable)),
            _ => Machine::Server(Server::new(reliable, &self.timing, now)),
        };
        let back = way_back(&request, flow);
        let slot = self.open(machine, key, role, back, leg);
        if let Some(transaction) = self.transactions.get_mut(slot) {
            transaction.request = Some(Box::new(request));
        }
        self.servers.insert(key, slot);
        self.rearm(slot, now);
        slot
    }

    fn open(
        &mut self,
        machine: Machine,
        key: u64,
        role: Role,
        flow: Flow,
        leg: Option<Slot>,
    ) -> Slot {
        self.transactions.insert_with(|_| Transaction {
            machine,
            role,
            status: 0,
            acked: false,
            key,
            merged: None,
            timer: None,
            leg,
            flow,
            bytes: Bytes::new(),
            request: None,
            acks: Vec::new(),
        })
    }

    /// Sets a transaction's timer after its machine has moved.
    fn rearm(&mut self, slot: Slot, now: Millis) {
        let Some(transaction) = self.transactions.get_mut(slot) else {
            return;
        };
        if let Some(timer) = transaction.timer.take() {
            self.wheel.cancel(timer);
        }
        match transaction.machine.next() {
            // Over a stream D, I, J and K are zero.
            Some(at) if at <= now => self.transaction_due(slot, now),
            Some(at) => transaction.timer = Some(self.wheel.arm(at, Due::Transaction(slot))),
            None => {}
        }
    }

    fn transaction_due(&mut self, slot: Slot, now: Millis) {
        let Some(transaction) = self.transactions.get_mut(slot) else {
            return;
        };
        match transaction.machine.due(&self.timing, now) {
            Act::Resend => {
                self.resend(slot);
                self.rearm(slot, now);
            }
            // The machine of a received request asks for a 100 (RFC 4320).
            Act::Pass => self.respond(slot, &[], &Answer::of(100), now),
            Act::Nothing | Act::PassAndAck => self.rearm(slot, now),
            Act::Over => {
                self.close(slot);
            }
            Act::TimedOut => {
                if let Some(transaction) = self.close(slot) {
                    self.timed_out(slot, &transaction, now);
                }
            }
        }
    }

    /// Forgets a transaction.
    fn close(&mut self, slot: Slot) -> Option<Transaction> {
        let transaction = self.transactions.remove(slot)?;
        if let Some(timer) = transaction.timer {
            self.wheel.cancel(timer);
        }
        let table = if transaction.is_client() {
            self.client_transactions -= 1;
            &mut self.clients
        } else {
            &mut self.servers
        };
        if table.get(&transaction.key) == Some(&slot) {
            table.remove(&transaction.key);
        }
        if let Some(merged) = transaction.merged {
            self.merged.remove(&merged);
        }
        Some(transaction)
    }

    /// Sends a transaction's last bytes once more.
    fn resend(&mut self, slot: Slot) {
        if let Some(transaction) = self.transactions.get(slot)
            && !transaction.bytes.is_empty()
        {
            let (flow, bytes, kind) = (
                transaction.flow,
                transaction.bytes.clone(),
                transaction.again(),
            );
            self.send(flow, bytes, kind);
        }
    }

    /// Answers a received request. After its final response the request itself is let go.
    fn respond(&mut self, slot: Slot, tag: &[u8], answer: &Answer<'_>, now: Millis) {
        let Some(transaction) = self.transactions.get_mut(slot) else {
            return;
        };
        let Some(request) = &transaction.request else {
            return;
        };
        let face = self.faces.of(&transaction.flow);
        let bytes = write::response(
            &mut self.writer,
            &self.config.server_name,
            &face,
            request,
            tag,
            answer,
        );
        match &mut transaction.machine {
            Machine::ServerInvite(machine) => machine.respond(answer.status, &self.timing, now),
            Machine::Server(machine) => machine.respond(answer.status, &self.timing, now),
            Machine::ClientInvite(_) | Machine::Client(_) => return,
        }
        transaction.status = answer.status;
        transaction.bytes = bytes.clone();
        if answer.status >= 200 {
            transaction.request = None;
        }
        let flow = transaction.flow;
        self.send(
            flow,
            bytes,
            Sent::Response {
                status: answer.status,
                retransmission: false,
            },
        );
        self.rearm(slot, now);
    }

    /// Answers a request without keeping anything of it. The tag is the same for every copy.
    fn respond_stateless(&mut self, request: &Message, flow: &Flow, key: u64, answer: &Answer<'_>) {
        let face = self.faces.of(flow);
        let bytes = write::response(
            &mut self.writer,
            &self.config.server_name,
            &face,
            request,
            &keys::hex(key),
            answer,
        );
        let back = way_back(request, *flow);
        self.send(
            back,
            bytes,
            Sent::Response {
                status: answer.status,
                retransmission: false,
            },
        );
    }
}

fn reliable(flow: &Flow) -> bool {
    flow.transport != crate::message::Transport::Udp
}

/// Where a response goes: back over the connection, or for a datagram where RFC 3581 says.
fn way_back(request: &Message, flow: Flow) -> Flow {
    match (reliable(&flow), request.reply_address()) {
        (false, Some(remote)) => Flow { remote, ..flow },
        _ => flow,
    }
}
