//! The life of calls as a node proposes it.

use super::ledger::Phase;
use super::node::Node;
use std::collections::BTreeMap;
use std::rc::Rc;
use tandem_cluster::command::*;
use tandem_cluster::entity::Id;
use tokio::task::spawn_local;

/// Callees.
const CALLEES: u64 = 6;

impl Node {
    /// One call after the other, while there is a tenure to take them in.
    pub async fn callers(self: Rc<Self>) {
        loop {
            self.rest(5, 150).await;
            if self.ledger.phase() > Phase::Calls {
                return;
            }
            if let (Phase::Calls, Some(epoch), Some(rows)) =
                (self.ledger.phase(), self.epoch.get(), self.ledger.rows())
            {
                let call = CallId::new(epoch, self.ledger.next() as u32);
                self.calls.borrow_mut().insert(call);
                self.call(epoch, call, rows.gateway).await;
                self.calls.borrow_mut().remove(&call);
            }
        }
    }

    async fn call(&self, epoch: Epoch, call: CallId, gateway: Id) {
        let still = || self.serves(epoch);
        let b = self.random(0, CALLEES);
        let reserve = Command::Reserve(Reserve {
            call,
            gateway,
            caller_access: "05718512345".into(),
            caller: "05718512345".into(),
            callee_access: format!("1380000{b}"),
            callee: format!("1380000{b}"),
            started_at: self.cluster.log_time().unwrap_or(0),
            remote: "127.0.0.1:5060".parse().expect("an address"),
            sip_call_id: format!("c{}", call.0),
        });
        let Some((index, reply)) = self.ask(&reserve, still).await else {
            return;
        };
        let mut attempt = match reply {
            Reply::Reserved(attempt) => attempt,
            Reply::Refused(Refusal::StaleEpoch) => return self.lost(epoch),
            Reply::Refused(_) => {
                self.ledger.acknowledged(call);
                return self.end(epoch, call, "no_number", None).await;
            }
            other => return self.ledger.broken(format!("reserve is answered {other:?}")),
        };
        self.ledger.acknowledged(call);
        self.look_for(epoch, call, index).await;
        loop {
            if let Some(lease) = &attempt.lease
                && self.chance(700)
            {
                let bound = Command::Bound(Bound {
                    binding: lease.binding,
                    epoch,
                    handle: BTreeMap::from([("id".into(), format!("h{}", lease.binding))]),
                    x: lease.x.clone(),
                    expires_at: None,
                    raw: "{}".into(),
                });
                self.cluster.submit(bound);
            }
            self.rest(1, 100).await;
            if !self.chance(150) {
                break;
            }
            let code = "1012".to_owned();
            let failure = match self.random(0, 4) {
                0 => Failure::NumberRefused { code },
                1 => Failure::PlatformRefused { code },
                2 => Failure::BindUnknown { code },
                _ => Failure::Gateway { status: 503 },
            };
            let lease = attempt.lease.take();
            let next = Command::Next(Next {
                call,
                epoch,
                attempt: attempt.number,
                failure,
            });
            let reply = self.ask(&next, still).await;
            // What became of its binding the platform says sooner or later.
            if let Some(lease) = lease {
                self.let_go(epoch, lease.binding);
            }
            match reply {
                None => return,
                Some((_, Reply::Reserved(another))) => attempt = another,
                Some((_, Reply::Refused(Refusal::StaleEpoch))) => return self.lost(epoch),
                Some((_, Reply::Refused(_))) => {
                    return self.end(epoch, call, "bind_failed", None).await;
                }
                Some((_, other)) => {
                    return self.ledger.broken(format!("next is answered {other:?}"));
                }
            }
        }
        let mut answered_at = None;
        if self.chance(700) {
            answered_at = self.cluster.log_time();
            let answered = Command::Answered(Answered {
                call,
                epoch,
                answered_at: answered_at.unwrap_or(0),
                pdd_ms: 900,
                dialogs: if self.chance(800) {
                    vec![1, 2, 3]
                } else {
                    vec![]
                },
                codec: "PCMA".into(),
            });
            match self.ask(&answered, still).await {
                Some((_, Reply::Answered { .. })) => {}
                Some((_, Reply::Refused(Refusal::StaleEpoch))) => return self.lost(epoch),
                Some((index, reply)) => {
                    self.ledger.broken(format!(
                        "answer of {call:?} in entry {index} gives {reply:?}"
                    ));
                }
                None => return,
            }
            self.talk(epoch, call, attempt.credit).await;
        }
        let lease = attempt.lease.take();
        if self.chance(300)
            && let Some(lease) = &lease
        {
            self.unbind(epoch, lease.binding).await;
        } else if let Some(lease) = lease {
            self.let_go(epoch, lease.binding);
        }
        self.end(epoch, call, "normal", answered_at).await;
    }

    /// Who was told that a call is admitted finds it.
    async fn look_for(&self, epoch: Epoch, call: CallId, index: u64) {
        let limit = super::node::ms(500);
        if let Ok(state) = self.cluster.state_at_least(index, limit).await
            && state.tenure(epoch).is_some()
            && state.call(call).is_none()
        {
            self.ledger.broken(format!(
                "call {call:?} of entry {index} is not there on node {}",
                self.id
            ));
        }
    }

    async fn talk(&self, epoch: Epoch, call: CallId, credit: Option<Credit>) {
        let mut upto_secs = credit.map(|credit| credit.upto_secs);
        for _ in 0..self.random(0, 3) {
            self.rest(10, 600).await;
            let command = match upto_secs {
                Some(upto_secs) if self.chance(500) => Command::Renew(Renew {
                    call,
                    epoch,
                    upto_secs,
                }),
                _ => Command::Keep(Keep {
                    call,
                    epoch,
                    dialogs: vec![4, 5, 6],
                }),
            };
            match self.ask(&command, || self.serves(epoch)).await {
                Some((_, Reply::Renewed(credit))) => upto_secs = Some(credit.upto_secs),
                Some((_, Reply::Done)) => {}
                Some((_, Reply::Refused(Refusal::StaleEpoch))) => return self.lost(epoch),
                Some((index, reply)) => {
                    self.ledger
                        .broken(format!("{command:?} in entry {index} gives {reply:?}"));
                }
                None => return,
            }
        }
    }

    async fn end(&self, epoch: Epoch, call: CallId, key: &str, answered_at: Option<u64>) {
        let end = Command::End(End {
            call,
            epoch,
            ended_at: self.cluster.log_time().unwrap_or(0),
            answered_at,
            pdd_ms: None,
            codec: String::new(),
            reason: EndReason {
                key: key.into(),
                sip: None,
                q850: None,
            },
            by: EndedBy::Caller,
        });
        match self.ask(&end, || self.serves(epoch)).await {
            Some((_, Reply::Done)) => self.ledger.acknowledged(call),
            Some((_, Reply::Refused(_))) => self.lost(epoch),
            Some((index, reply)) => {
                self.ledger
                    .broken(format!("end of {call:?} in entry {index} gives {reply:?}"));
            }
            None => {}
        }
    }

    async fn unbind(&self, epoch: Epoch, binding: BindingId) {
        let unbound = Command::Unbound(Unbound {
            binding,
            epoch,
            missing: false,
        });
        if let Some((_, Reply::Refused(Refusal::StaleEpoch))) =
            self.ask(&unbound, || self.serves(epoch)).await
        {
            self.lost(epoch);
        }
    }

    /// Releases a binding beside whatever else is done, after a while; [`Node::adopt`] does it.
    fn let_go(&self, epoch: Epoch, binding: BindingId) {
        if self.chance(500) {
            // Nobody waits for it.
            self.cluster.submit(Command::Unbound(Unbound {
                binding,
                epoch,
                missing: false,
            }));
        }
    }

    /// Carries on what is this node's and nobody here looks after: calls of dead nodes, bindings whose calls are over.
    pub async fn adopt(self: Rc<Self>) {
        loop {
            self.rest(100, 300).await;
            let Some(epoch) = self.epoch.get() else {
                continue;
            };
            let state = self.cluster.state();
            for call in state.calls_of(epoch) {
                let (id, answered_at) = (call.id(), call.answered_at);
                if self.calls.borrow_mut().insert(id) {
                    self.ledger.adopted.set(self.ledger.adopted.get() + 1);
                    let node = self.clone();
                    spawn_local(async move {
                        node.rest(10, 800).await;
                        node.end(epoch, id, "normal", answered_at).await;
                        node.calls.borrow_mut().remove(&id);
                    });
                }
            }
            for binding in state.bindings_of(epoch) {
                let (id, of_call) = (binding.id, binding.call);
                let over = !self.calls.borrow().contains(&of_call) || binding.unbind_at.is_some();
                if over && self.bindings.borrow_mut().insert(id) {
                    let node = self.clone();
                    spawn_local(async move {
                        node.rest(1, 200).await;
                        node.unbind(epoch, id).await;
                        node.bindings.borrow_mut().remove(&id);
                    });
                }
            }
        }
    }
}
