//! Random configurations and what happens in them, with a platform that answers. Everything follows from one seed.

use crate::ledger::Ledger;
use crate::random::*;
use crate::world::*;
use std::collections::{BTreeMap, BTreeSet};
use tandem_cluster::command::*;
use tandem_cluster::entity::*;
use tandem_cluster::state::{AxPhase, XState};

const CALLERS: [&str; 4] = ["05718512345", "05719", "13900000001", "02100000"];
const CALLEES: [&str; 5] = ["138001", "138002", "139", "02100001", "9"];
pub const LISTS: [&[&str]; 6] = [
    &["@571", "1*"],
    &[],
    &["0571*", "05718512345"],
    &["1*"],
    &["139*", "05719"],
    &["05718512345"],
];

/// A state on its way, the numbers that are out, and the platform's own truth about relations.
#[derive(Clone, Debug)]
pub struct History {
    pub w: World,
    pub rows: Rows,
    pub ledger: Ledger,
    pub epochs: BTreeMap<u64, Epoch>,
    pub boots: u64,
    pub paid: BTreeMap<Id, Micros>,
    pub calls: BTreeSet<CallId>,
    pub requests: u64,
    /// Relations that the platform has, and those of them that an operator has given up.
    pub held: BTreeSet<(String, String)>,
    pub disowned: BTreeSet<(String, String)>,
    /// Answers of the platform that have not arrived.
    pub late: Vec<AxOutcome>,
}

pub type Checked = Result<(), String>;

impl History {
    /// One command, and everything that has to hold after it.
    pub fn apply(&mut self, command: Command) -> Result<Reply, String> {
        let relations = self.taken();
        let before = self.attempts_of(&command);
        let reply = self.w.apply(command.clone());
        let after = self.taken();
        for (a, x) in relations.difference(&after) {
            // A bind that surely failed never reached the platform's tables.
            let name = format!("{a}/{x}");
            let row = self.w.state.find(Table::AxBindings, &name);
            if row.is_some_and(|row| self.w.ax_phase(row) == AxPhase::Error) {
                continue;
            }
            if let Some(id) = self.w.state.find(Table::XNumbers, x) {
                self.ledger.rest(&self.w.state, self.rows.interface, a, id);
            }
        }
        self.ledger
            .learn(&self.w.state, &command, &reply, &self.w.effects)?;
        self.ledger.compare(&self.w.state)?;
        if let Reply::Reserved(attempt) = &reply
            && self.attempts_of(&command) > before
        {
            self.against_platform(attempt)?;
        }
        Ok(reply)
    }

    /// How many attempts the call has had that a command is about.
    fn attempts_of(&self, command: &Command) -> u16 {
        let call = match command {
            Command::Reserve(asked) => asked.call,
            Command::Next(next) => next.call,
            _ => return 0,
        };
        let attempt = self
            .w
            .state
            .call(call)
            .and_then(|call| call.attempt.as_ref());
        attempt.map_or(0, |attempt| attempt.number)
    }

    fn taken(&self) -> BTreeSet<(String, String)> {
        let takes = |row: &&Row<AxBinding>| {
            self.w
                .state
                .ax_live(row.id)
                .is_some_and(|live| live.takes_pair())
        };
        let rows = self.w.state.ax_bindings().filter(takes);
        rows.map(|row| pair(&row.entity)).collect()
    }

    /// What the platform has decides how it understands the call.
    fn against_platform(&self, attempt: &Attempt) -> Checked {
        if let Some(lease) = &attempt.lease {
            let pair = (lease.a.clone(), lease.x.clone());
            if self.held.contains(&pair) && !self.disowned.contains(&pair) {
                return Err(format!("I3: the platform has {pair:?} as a relation"));
            }
        }
        if let Some(lease) = &attempt.ax
            && !self.held.contains(&(lease.a.clone(), lease.x.clone()))
        {
            return Err(format!(
                "the platform has no relation {}/{}",
                lease.a, lease.x
            ));
        }
        Ok(())
    }

    pub fn step(&mut self, (what, seed): Step) -> Checked {
        let mut dice = Dice::new(seed);
        let dice = &mut dice;
        let state = &self.w.state;
        let calls: Vec<CallId> = state.calls().map(|call| call.id()).collect();
        let call = dice.of(&calls);
        let bindings: Vec<BindingId> = state.bindings().map(|row| row.id).collect();
        let binding = dice.of(&bindings);
        let owner = binding
            .and_then(|id| state.binding(id))
            .map_or(1, |row| row.owner);
        let owner = self.or_another(owner, dice);
        let runs = call
            .and_then(|id| state.call(id))
            .map_or(1, |call| call.owner);
        let runs = self.or_another(runs, dice);
        let relations: Vec<Id> = state.ax_bindings().map(|row| row.id).collect();
        let ax = dice.of(&relations);
        self.requests += 1;
        match (what, call, binding, ax) {
            (Call, ..) => self.call(dice)?,
            (Fail, Some(call), ..) => self.fail(call, runs, dice)?,
            (Confirm, _, Some(binding), _) => {
                let row = self.w.binding(binding);
                let xs: Vec<&str> = self
                    .w
                    .state
                    .x_numbers()
                    .map(|x| &*x.entity.number)
                    .collect();
                let other = dice.of(&xs).unwrap_or("1");
                let x = if dice.one_in(3) { other } else { &*row.x }.to_owned();
                let bound = Bound {
                    binding,
                    epoch: owner,
                    handle: BTreeMap::new(),
                    x,
                    expires_at: None,
                    raw: String::new(),
                };
                self.apply(Command::Bound(bound))?;
            }
            (Answer, Some(call), ..) => {
                let dialogs = vec![7; if dice.one_in(6) { 0 } else { 3 }];
                if dice.one_in(6) {
                    let keep = Keep {
                        call,
                        epoch: runs,
                        dialogs,
                    };
                    self.apply(Command::Keep(keep))?;
                    return Ok(());
                }
                let answered = Answered {
                    call,
                    epoch: runs,
                    answered_at: self.w.now,
                    pdd_ms: 1,
                    dialogs,
                    codec: "PCMA".into(),
                };
                self.apply(Command::Answered(answered))?;
            }
            (Accept, Some(call), ..) => {
                let attempt = self.attempt(call).saturating_sub(u16::from(dice.one_in(5)));
                self.apply(Command::AxAccepted {
                    call,
                    epoch: runs,
                    attempt,
                })?;
            }
            (Renew, Some(call), ..) => {
                let credit = self.w.state.call(call).and_then(|call| call.credit);
                let upto_secs = credit.map_or(60, |credit| credit.upto_secs);
                self.apply(Command::Renew(tandem_cluster::command::Renew {
                    call,
                    epoch: runs,
                    upto_secs,
                }))?;
            }
            (Unbind, _, Some(binding), _) => {
                let missing = dice.one_in(4);
                self.apply(Command::Unbound(Unbound {
                    binding,
                    epoch: owner,
                    missing,
                }))?;
            }
            (FailUnbind, _, Some(binding), _) => {
                let error = "e".into();
                self.apply(Command::UnbindFailed(UnbindFailed {
                    binding,
                    epoch: owner,
                    error,
                }))?;
            }
            (HangUp, Some(call), ..) => self.hang_up(call, runs)?,
            (AskUnbind, _, Some(binding), _) => {
                let actor = "op".to_owned();
                self.apply(match dice.one_in(2) {
                    true => Command::AskUnbind { binding, actor },
                    false => Command::ForceUnbind { binding, actor },
                })?;
            }
            (AskAx, .., Some(ax)) => self.ask_ax(ax, dice)?,
            (RunAx, ..) => {
                let tasks: Vec<Id> = relations
                    .into_iter()
                    .filter(|ax| {
                        self.w
                            .state
                            .ax_live(*ax)
                            .is_some_and(|live| live.owner.is_some())
                    })
                    .collect();
                if let Some(ax) = dice.of(&tasks) {
                    self.run_ax(ax, dice)?;
                }
            }
            (Deliver, ..) if !self.late.is_empty() => {
                let n = dice.below(self.late.len() as u64) as usize;
                let outcome = self.late.swap_remove(n);
                self.deliver(outcome)?;
            }
            (Wait, ..) => {
                // Now and then a clock goes back.
                if dice.one_in(6) {
                    self.w.now -= dice.below(2_000);
                } else {
                    self.w.wait(dice.below(2_500));
                }
            }
            (Claim, ..) => self.claim(dice)?,
            (LoseNode, ..) => self.lose(dice)?,
            (EditX, ..) => self.edit_x(dice)?,
            (EditA, ..) => self.edit_a(dice)?,
            (EditAx, ..) => self.edit_ax(ax, dice)?,
            (EditGateway, ..) => self.edit_gateway(dice)?,
            (EditInterface, ..) => self.edit_interface(dice)?,
            (Pay, ..) => {
                let account = dice
                    .of(&[self.rows.customer, self.rows.landing])
                    .expect("two");
                let amount = dice.below(200) as i64 * UNIT / 100 - UNIT;
                let (request, actor, memo) = (self.requests, "op".into(), String::new());
                let payment = Payment {
                    request,
                    actor,
                    account,
                    amount,
                    memo,
                };
                if let Reply::Balance(_) = self.apply(Command::Pay(payment))? {
                    *self.paid.entry(account).or_insert(0) += amount;
                }
            }
            (Store, ..) => {
                let (node, upto) = (dice.below(4), dice.below(20));
                self.apply(Command::Stored { node, upto })?;
            }
            (Repeat, ..) => self.repeat(dice)?,
            // There is nothing to which this could happen.
            _ => {}
        }
        Ok(())
    }

    /// A tenure, which may be over.
    fn some_epoch(&self, dice: &mut Dice) -> Option<Epoch> {
        let over = dice.one_in(12);
        let epochs = self.epochs.values().copied();
        let epochs: Vec<Epoch> = epochs
            .filter(|epoch| over || self.w.state.tenure(*epoch).is_some())
            .collect();
        dice.of(&epochs)
    }

    /// Whose word it is; now and then somebody speaks whose it is not.
    fn or_another(&self, owner: Epoch, dice: &mut Dice) -> Epoch {
        let epochs: Vec<Epoch> = self.epochs.values().copied().collect();
        match dice.one_in(16) {
            true => dice.of(&epochs).unwrap_or(owner),
            false => owner,
        }
    }

    fn attempt(&self, call: CallId) -> u16 {
        let call = self.w.state.call(call);
        call.and_then(|call| call.attempt.as_ref())
            .map_or(1, |attempt| attempt.number)
    }

    fn call(&mut self, dice: &mut Dice) -> Checked {
        let Some(epoch) = self.some_epoch(dice) else {
            return Ok(());
        };
        self.w.epoch = epoch;
        let (caller, callee) = (
            dice.of(&CALLERS).expect("four"),
            dice.of(&CALLEES).expect("five"),
        );
        let ask = self.w.ask(self.rows.mapping, caller, callee);
        let call = ask.call;
        self.apply(Command::Reserve(ask))?;
        if self.w.state.call(call).is_some() {
            self.calls.insert(call);
        }
        Ok(())
    }

    fn fail(&mut self, call: CallId, epoch: Epoch, dice: &mut Dice) -> Checked {
        let failure = match dice.below(4) {
            0 => Failure::NumberRefused { code: "n".into() },
            1 => Failure::PlatformRefused { code: "p".into() },
            2 => Failure::BindUnknown { code: "u".into() },
            _ => Failure::Gateway {
                status: dice.of(&[503, 486, 408]).expect("three"),
            },
        };
        let attempt = self.attempt(call);
        self.apply(Command::Next(Next {
            call,
            epoch,
            attempt,
            failure,
        }))?;
        Ok(())
    }

    fn hang_up(&mut self, call: CallId, epoch: Epoch) -> Checked {
        self.apply(Command::End(End {
            call,
            epoch,
            ended_at: self.w.now,
            answered_at: None,
            pdd_ms: None,
            codec: String::new(),
            reason: EndReason {
                key: "normal".into(),
                sip: None,
                q850: None,
            },
            by: EndedBy::Caller,
        }))?;
        Ok(())
    }

    fn ask_ax(&mut self, ax: Id, dice: &mut Dice) -> Checked {
        let Some(owner) = self.some_epoch(dice) else {
            return Ok(());
        };
        let deed = dice
            .of(&[
                AxDeed::Bind,
                AxDeed::Bind,
                AxDeed::Unbind,
                AxDeed::ForceUnbind,
            ])
            .expect("four");
        let actor = "op".into();
        let row = self.w.state.ax_row(ax).expect("row");
        let forced = deed == AxDeed::ForceUnbind && row.live.takes_pair();
        let reply = self.apply(Command::AskAx(tandem_cluster::command::AskAx {
            ax,
            deed,
            owner,
            actor,
        }))?;
        if forced && reply == Reply::Done {
            self.disowned.insert(pair(&row.entity));
        }
        Ok(())
    }

    /// The owner's node asks the platform, which does it or not; the answer arrives now, later, or twice.
    fn run_ax(&mut self, ax: Id, dice: &mut Dice) -> Checked {
        let row = self.w.state.ax_row(ax).expect("row");
        let Some(epoch) = row
            .live
            .owner
            .filter(|owner| self.w.state.tenure(*owner).is_some())
        else {
            return Ok(());
        };
        // A node has one exchange a row under way.
        if self
            .late
            .iter()
            .any(|late| (late.ax, late.epoch) == (ax, epoch))
        {
            return Ok(());
        }
        let pair = pair(&row.entity);
        let was = self.held.contains(&pair);
        let error = || "e".to_owned();
        let result = match (row.live.phase, dice.below(5)) {
            (AxPhase::Binding, 0..=2) => {
                self.held.insert(pair.clone());
                self.disowned.remove(&pair);
                let expires_at = dice.one_in(5).then(|| self.w.now + dice.below(6_000));
                AxResult::Bound {
                    handle: BTreeMap::new(),
                    expires_at,
                    raw: String::new(),
                }
            }
            (AxPhase::Binding, 3) if !was => AxResult::Failed {
                error: error(),
                unknown: false,
            },
            (AxPhase::Binding, _) => {
                if dice.one_in(2) {
                    self.held.insert(pair.clone());
                    self.disowned.remove(&pair);
                }
                AxResult::Failed {
                    error: error(),
                    unknown: true,
                }
            }
            (AxPhase::Unbinding, 0..=2) => {
                self.held.remove(&pair);
                AxResult::Unbound { missing: !was }
            }
            (AxPhase::Unbinding, _) => AxResult::Failed {
                error: error(),
                unknown: dice.one_in(2),
            },
            _ => return Ok(()),
        };
        let outcome = AxOutcome {
            ax,
            epoch,
            asked: row.live.asked,
            result,
        };
        match dice.below(4) {
            0 => self.late.push(outcome),
            1 => {
                self.deliver(outcome.clone())?;
                self.late.push(outcome);
            }
            _ => self.deliver(outcome)?,
        }
        Ok(())
    }

    fn deliver(&mut self, outcome: AxOutcome) -> Checked {
        self.apply(Command::AxOutcome(outcome))?;
        Ok(())
    }

    fn claim(&mut self, dice: &mut Dice) -> Checked {
        let node = 1 + dice.below(3);
        if dice.one_in(2) {
            if let Some(epoch) = self.epochs.get(&node).copied() {
                self.apply(Command::KeepAlive { epoch })?;
            }
            return Ok(());
        }
        self.boots += 1;
        self.claim_for(node)
    }

    fn claim_for(&mut self, node: u64) -> Checked {
        let claim = tandem_cluster::command::Claim {
            access_name: format!("n{node}"),
            node,
            boot: self.boots,
            address: format!("10.0.0.{node}:80"),
            version: "1".into(),
            lease_ms: 3_000,
        };
        if let Reply::Claimed { epoch } = self.apply(Command::Claim(claim))? {
            self.epochs.insert(node, epoch);
        }
        Ok(())
    }

    fn lose(&mut self, dice: &mut Dice) -> Checked {
        let nodes: Vec<Epoch> = self.epochs.values().copied().collect();
        let Some(epoch) = dice.of(&nodes) else {
            return Ok(());
        };
        if dice.one_in(3) {
            self.apply(Command::Resign { epoch })?;
        } else {
            self.w.wait(3_000);
            self.apply(Command::NodeDown { epoch })?;
        }
        Ok(())
    }

    /// The same words again, late: nothing may happen twice.
    fn repeat(&mut self, dice: &mut Dice) -> Checked {
        let log = &self.w.log;
        let Some((.., command)) = log.get(dice.below(log.len().max(1) as u64) as usize) else {
            return Ok(());
        };
        let once = matches!(
            command,
            Command::Claim(_)
                | Command::AskAx(_)
                | Command::AskUnbind { .. }
                | Command::ForceUnbind { .. }
        );
        if once {
            return Ok(());
        }
        let command = command.clone();
        self.apply(command)?;
        Ok(())
    }

    /// Everybody hangs up and the platform lets everything go; then nothing may be held.
    pub fn finish(&mut self) -> Checked {
        self.boots += 1;
        self.w.wait(60_000);
        self.claim_for(1)?;
        let calls = self.w.state.calls();
        let calls: Vec<(CallId, Epoch)> = calls.map(|call| (call.id(), call.owner)).collect();
        for (call, owner) in calls {
            self.hang_up(call, owner)?;
        }
        let bindings: Vec<(BindingId, Epoch)> = self
            .w
            .state
            .bindings()
            .map(|row| (row.id, row.owner))
            .collect();
        for (binding, epoch) in bindings {
            self.apply(Command::Unbound(Unbound {
                binding,
                epoch,
                missing: false,
            }))?;
        }
        let counts = self.w.state.counts();
        let left = (
            counts.calls,
            counts.answered,
            counts.bindings,
            counts.x_in_use,
            counts.a_in_use,
        );
        if left != (0, 0, 0, 0, 0) || counts.reserved_money != 0 {
            return Err(format!("I6: left behind {counts:?}"));
        }
        for x in self.w.state.x_numbers() {
            if self.w.state.x_state(x.id) == XState::Quarantined {
                return Err(format!("X {} stays quarantined", x.entity.number));
            }
        }
        self.w.state.check()?;
        self.check_money()
    }

    /// What a plain walk over the records says about every balance.
    fn check_money(&self) -> Checked {
        let mut expected = self.paid.clone();
        let mut ended = BTreeSet::new();
        for record in self.w.records(1) {
            let mut words = record.split(' ');
            let call = words.next().and_then(|word| word.parse().ok()).map(CallId);
            let call = call.ok_or("a record without its call")?;
            if !ended.insert(call) {
                return Err(format!("call {call:?} has two records"));
            }
            for (account, fee) in words.skip(2).filter_map(|word| word.split_once(':')) {
                let (account, fee): (Id, Micros) =
                    (account.parse().expect("id"), fee.parse().expect("fee"));
                *expected.entry(account).or_insert(0) -= fee;
            }
        }
        if ended != self.calls {
            return Err("calls and records do not match".to_owned());
        }
        for (account, money) in expected {
            if self.w.state.account_balance(account) != (money, 0) {
                return Err(format!("account {account} should have {money}"));
            }
        }
        Ok(())
    }
}

pub fn pair(entity: &AxBinding) -> (String, String) {
    (entity.a_number.clone(), entity.x_number.clone())
}
