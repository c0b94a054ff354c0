//! The path of commands into the log: one task gathers what waits into batches, keeps a few of them on their way, and
//! puts back what came to nothing.
//!
//! On the leader a batch becomes an entry; on another node it is forwarded, and the leader's proposer joins it with
//! what it has itself. A batch holds at most [`BATCH_COMMANDS`] commands. Commands somebody waits for leave at once;
//! submitted ones ride along, or leave alone after the linger.
//!
//! An entry costs three syncs and some forty wake-ups over the cluster, whatever it holds, and a forwarded batch four.
//! So a node that has sent more than [`Config::entries_per_s`](super::Config::entries_per_s) batches of late lets
//! commands gather for the few milliseconds until the next is due; below that rate, and with some company at hand
//! ([`COMPANY`], [`COMPANY_FORWARDED`]), nothing waits. Nor does a command that would wait alone: where waiting brought
//! no company of late, as with a single caller who asks one thing after the other, it is tried now and then only.
//!
//! Submitted commands keep their order because at most one batch that carries any is on its way.

use super::core::{Shared, Standing};
use super::{Config, ProposeError, Role, serve};
use crate::link::ANSWER_LIMIT;
use crate::raft::{Payload, Raft, batch};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// Commands in one entry, at most.
const BATCH_COMMANDS: usize = 256;
/// Room of an entry that submitted commands have for themselves, so that no rush of waited ones starves them: they give
/// back the numbers that the others wait for.
const BATCH_SUBMITTED: usize = 64;
/// Bytes of commands in one entry, about: one command more may pass it.
const BATCH_BYTES: usize = 1 << 20;
/// Batches on their way.
const IN_FLIGHT: usize = 4;
/// Largest command.
const COMMAND_BYTES: usize = 1 << 20;
/// Commands that may wait with somebody waiting for them.
const WAITED_MAX: usize = 65_536;
/// Submitted commands that may wait.
const SUBMITTED_MAX: usize = 1_000_000;
/// So many submitted commands do not linger.
const SUBMITTED_FULL: usize = 128;
/// So many commands do not wait for more company on the leader, however many entries there were.
const COMPANY: usize = 8;
/// The same on another node.
const COMPANY_FORWARDED: usize = 4;
/// Batches that may leave at once after a quiet time, whatever the pace.
const BURST: f64 = 32.0;
/// So many waits in a row without company, and the next batches do not wait.
const LONELY: u32 = 2;
/// How many batches then leave without a wait; doubles with each further wait in vain up to the most.
const UNPACED_FEWEST: u32 = 8;
const UNPACED_MOST: u32 = 64;
/// Rest after a batch that came to nothing; doubles up to the longest.
const REST_SHORTEST: Duration = Duration::from_millis(20);
const REST_LONGEST: Duration = Duration::from_millis(500);

/// Index of the entry and the encoded reply.
type Reply = (u64, Bytes);
/// Index of the entry and the replies to a forwarded batch; an error when the sender must try again.
pub(crate) type Forwarded = Result<(u64, Vec<Bytes>), &'static str>;

enum Waiter {
    One(oneshot::Sender<Reply>),
    Forwarded(oneshot::Sender<Forwarded>),
}

/// Commands that must share an entry, and who waits for them.
struct Group {
    commands: Vec<Bytes>,
    waiter: Waiter,
}

impl Group {
    /// Nobody waits any more.
    fn is_abandoned(&self) -> bool {
        match &self.waiter {
            Waiter::One(waiter) => waiter.is_closed(),
            Waiter::Forwarded(waiter) => waiter.is_closed(),
        }
    }
}

#[derive(Default)]
struct Waiting {
    groups: VecDeque<Group>,
    /// Commands in `groups`.
    commands: usize,
    submitted: VecDeque<(Bytes, Instant)>,
    /// The first so many of `submitted` are on their way.
    submitted_out: usize,
    closed: bool,
}

/// What waits to be proposed.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting
            .lock()
            .expect("no code panics while it holds the queue")
    }

    /// Queues a command that is waited for.
    pub(crate) fn propose(&self, command: Bytes) -> Result<oneshot::Receiver<Reply>, ProposeError> {
        if command.len() > COMMAND_BYTES {
            return Err(ProposeError::TooLarge(command.len()));
        }
        let (waiter, reply) = oneshot::channel();
        self.push(vec![command], Waiter::One(waiter))?;
        Ok(reply)
    }

    /// Queues another node's batch.
    pub(crate) fn forwarded(
        &self,
        commands: Vec<Bytes>,
    ) -> Result<oneshot::Receiver<Forwarded>, ProposeError> {
        let (waiter, replies) = oneshot::channel();
        self.push(commands, Waiter::Forwarded(waiter))?;
        Ok(replies)
    }

    fn push(&self, commands: Vec<Bytes>, waiter: Waiter) -> Result<(), ProposeError> {
        {
            let mut waiting = self.waiting();
            if waiting.closed {
                return Err(ProposeError::Stopped);
            }
            if waiting.commands >= WAITED_MAX {
                return Err(ProposeError::Overloaded(waiting.commands));
            }
            waiting.commands += commands.len();
            waiting.groups.push_back(Group { commands, waiter });
        }
        self.wake.notify_one();
        Ok(())
    }

    /// Queues a command nobody waits for; false when it was not taken.
    pub(crate) fn submit(&self, command: Bytes) -> bool {
        {
            let mut waiting = self.waiting();
            if waiting.closed
                || waiting.submitted.len() >= SUBMITTED_MAX
                || command.len() > COMMAND_BYTES
            {
                crate::metrics::submit_refused();
                return false;
            }
            waiting.submitted.push_back((command, Instant::now()));
            // The proposer sleeps until the first one's linger is over; it needs no word of the ones between.
            let fresh = waiting.submitted.len() - waiting.submitted_out;
            if fresh != 1 && fresh != SUBMITTED_FULL {
                return true;
            }
        }
        self.wake.notify_one();
        true
    }

    /// Submitted commands not committed yet.
    pub(crate) fn submitted(&self) -> usize {
        self.waiting().submitted.len()
    }

    /// Commands that somebody waits for.
    pub(crate) fn waited(&self) -> usize {
        self.waiting().commands
    }

    /// Takes no more and drops what waits: everyone waiting learns that the node has stopped.
    pub(crate) fn close(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        waiting.groups.clear();
        waiting.commands = 0;
    }
}

/// Commands on their way.
struct Carried {
    groups: Vec<Group>,
    submitted: usize,
    outcome: Result<(u64, Vec<Bytes>), &'static str>,
}

/// The task.
pub(crate) struct Proposer {
    queue: Arc<Queue>,
    raft: Raft,
    shared: Arc<Shared>,
    standing: watch::Receiver<Standing>,
    linger: Duration,
    wall: fn() -> u64,
    pace: Pace,
    seeds: RandomState,
    count: u64,
    rest: Option<Duration>,
    rest_until: Option<Instant>,
}

/// A bucket of batches that fills at a steady rate, and whether it pays to wait for it.
struct Pace {
    per_s: f64,
    left: f64,
    filled: Instant,
    /// Commands there were when the present wait began.
    waits_from: Option<usize>,
    /// Waits in a row that brought no company.
    lonely: u32,
    /// Batches still to leave without a wait.
    unpaced: u32,
}

impl Pace {
    fn new(per_s: u32, now: Instant) -> Self {
        Pace {
            per_s: f64::from(per_s),
            left: BURST,
            filled: now,
            waits_from: None,
            lonely: 0,
            unpaced: 0,
        }
    }

    /// When a batch of so many commands may leave; `None`: now.
    fn due(&mut self, now: Instant, commands: usize) -> Option<Instant> {
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        self.left = (self.left + since * self.per_s).min(BURST);
        self.filled = now;
        if self.left >= 1.0 || self.unpaced > 0 {
            return None;
        }
        // Less than a clock can tell is no wait: it would be over at once, and asked for again at the same moment.
        let wait = Duration::from_secs_f64((1.0 - self.left) / self.per_s);
        if wait.is_zero() {
            return None;
        }
        self.waits_from.get_or_insert(commands);
        Some(now + wait)
    }

    /// A batch leaves, with so many commands that are waited for.
    fn spend(&mut self, commands: usize) {
        self.unpaced = self.unpaced.saturating_sub(u32::from(self.left < 1.0));
        self.left = (self.left - 1.0).max(0.0);
        match self.waits_from.take() {
            Some(from) if commands > from => self.lonely = 0,
            Some(_) => {
                self.lonely += 1;
                if let Some(more) = self.lonely.checked_sub(LONELY) {
                    self.unpaced = UNPACED_MOST.min(UNPACED_FEWEST << more.min(8));
                }
            }
            None => {}
        }
    }
}

enum Next {
    Batch(Vec<Group>, Vec<Bytes>),
    At(Instant),
    Nothing,
}

impl Proposer {
    pub(crate) fn new(
        raft: Raft,
        shared: Arc<Shared>,
        standing: watch::Receiver<Standing>,
        config: &Config,
    ) -> Self {
        Proposer {
            queue: shared.queue.clone(),
            raft,
            shared,
            standing,
            linger: config.linger,
            wall: config.wall,
            pace: Pace::new(config.entries_per_s, Instant::now()),
            seeds: RandomState::new(),
            count: 0,
            rest: None,
            rest_until: None,
        }
    }

    /// Runs until the node stops.
    pub(crate) async fn run(mut self) {
        let mut flying: FuturesUnordered<BoxFuture<'static, Carried>> = FuturesUnordered::new();
        loop {
            let mut wake_at = None;
            while flying.len() < IN_FLIGHT {
                match self.next() {
                    Next::Batch(groups, submitted) => {
                        let carried = self.carry(groups, submitted);
                        flying.push(carried);
                    }
                    Next::At(at) => {
                        wake_at = Some(at);
                        break;
                    }
                    Next::Nothing => break,
                }
            }
            let alarm = async {
                match wake_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(carried) = flying.next() => self.settle(carried),
                () = self.queue.wake.notified() => {}
                changed = self.standing.changed() => {
                    if changed.is_err() || self.standing.borrow().role == Role::Stopped {
                        self.queue.close();
                        return;
                    }
                    (self.rest, self.rest_until) = (None, None);
                    if self.standing.borrow().role != Role::Leader {
                        self.shared.progress.time().leave();
                    }
                }
                () = alarm => {}
            }
        }
    }

    /// What leaves next, if anything may.
    fn next(&mut self) -> Next {
        let standing = *self.standing.borrow();
        let here = standing.role == Role::Leader;
        let mut waiting = self.queue.waiting();
        if !here {
            bounce(&mut waiting);
        }
        if standing.leader.is_none() {
            return Next::Nothing;
        }
        let now = Instant::now();
        if let Some(until) = self.rest_until.filter(|until| *until > now) {
            return Next::At(until);
        }
        let company = if here { COMPANY } else { COMPANY_FORWARDED };
        if (1..company).contains(&waiting.commands)
            && let Some(due) = self.pace.due(now, waiting.commands)
        {
            return Next::At(due);
        }
        let mut groups = Vec::new();
        let (mut commands, mut bytes) = (0, 0);
        let kept = match waiting.submitted_out {
            0 => waiting.submitted.len().min(BATCH_SUBMITTED),
            _ => 0,
        };
        let room = BATCH_COMMANDS - kept;
        while let Some(group) = waiting.groups.front() {
            let full = commands + group.commands.len() > room || bytes > BATCH_BYTES;
            if full && commands > 0 {
                break;
            }
            let Some(group) = waiting.groups.pop_front() else {
                break;
            };
            waiting.commands -= group.commands.len();
            if group.is_abandoned() {
                continue;
            }
            commands += group.commands.len();
            bytes += group.commands.iter().map(Bytes::len).sum::<usize>();
            groups.push(group);
        }
        let mut submitted = Vec::new();
        if waiting.submitted_out == 0
            && let Some((_, since)) = waiting.submitted.front()
        {
            let due = *since + self.linger;
            if groups.is_empty() && due > now && waiting.submitted.len() < SUBMITTED_FULL {
                return Next::At(due);
            }
            for (command, _) in &waiting.submitted {
                if commands >= BATCH_COMMANDS || bytes > BATCH_BYTES {
                    break;
                }
                commands += 1;
                bytes += command.len();
                submitted.push(command.clone());
            }
            waiting.submitted_out = submitted.len();
        }
        match commands {
            0 => Next::Nothing,
            _ => Next::Batch(groups, submitted),
        }
    }

    /// Proposes or forwards a batch.
    fn carry(&mut self, groups: Vec<Group>, submitted: Vec<Bytes>) -> BoxFuture<'static, Carried> {
        let standing = *self.standing.borrow();
        let begun = Instant::now();
        let count = submitted.len();
        self.pace
            .spend(groups.iter().map(|group| group.commands.len()).sum());
        let commands = groups
            .iter()
            .flat_map(|group| &group.commands)
            .chain(&submitted);
        let now_us = self.shared.progress.now_us();
        if standing.role == Role::Leader {
            self.count += 1;
            let seed = self.seeds.hash_one(self.count);
            let total = commands.clone().count();
            let majority = self.shared.majority();
            let at = self
                .shared
                .progress
                .time()
                .stamp((self.wall)(), majority, now_us);
            let payload = batch::encode(
                self.shared.dialect.needs_all(commands.clone()),
                at,
                seed,
                commands,
            );
            let raft = self.raft.clone();
            Box::pin(async move {
                let outcome = match timeout(ANSWER_LIMIT, raft.client_write(Payload(payload))).await
                {
                    Ok(Ok(written)) => {
                        crate::metrics::committed(begun.elapsed(), total);
                        Ok((written.log_id.index, written.data.0))
                    }
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "entry was not committed");
                        Err("not leader")
                    }
                    Err(_) => Err("no quorum"),
                };
                Carried {
                    groups,
                    submitted: count,
                    outcome,
                }
            })
        } else {
            let question = serve::forward(commands);
            let peer = standing.leader.and_then(|leader| self.shared.peer(leader));
            let others = self.standing.clone();
            crate::metrics::forwarded();
            Box::pin(async move {
                let outcome = match peer {
                    None => Err("leader is not known"),
                    Some(peer) => tokio::select! {
                        biased;
                        answer = peer.ask(question, ANSWER_LIMIT) => match answer {
                            Ok(answer) => serve::take_forwarded(&answer)
                                .ok_or("leader's answer cannot be read"),
                            Err(error) => {
                                tracing::debug!(%error, "batch was not forwarded");
                                Err("leader cannot be reached")
                            }
                        },
                        () = standing.succeeded(others) => Err("another leader was elected"),
                    },
                };
                Carried {
                    groups,
                    submitted: count,
                    outcome,
                }
            })
        }
    }

    /// Hands out the replies, or puts the commands back.
    fn settle(&mut self, carried: Carried) {
        let Carried {
            groups,
            submitted,
            outcome,
        } = carried;
        let total = groups
            .iter()
            .map(|group| group.commands.len())
            .sum::<usize>()
            + submitted;
        let outcome = outcome.and_then(|(index, replies)| match replies.len() == total {
            true => Ok((index, replies)),
            false => Err("not as many replies as commands"),
        });
        let mut waiting = self.queue.waiting();
        if submitted > 0 {
            waiting.submitted_out = 0;
        }
        match outcome {
            Ok((index, replies)) => {
                (self.rest, self.rest_until) = (None, None);
                waiting.submitted.drain(..submitted);
                drop(waiting);
                let mut replies = replies.into_iter();
                for group in groups {
                    // A waiter that has gone does not mind.
                    match group.waiter {
                        Waiter::One(waiter) => {
                            if let Some(reply) = replies.next() {
                                let _ = waiter.send((index, reply));
                            }
                        }
                        Waiter::Forwarded(waiter) => {
                            let part = replies.by_ref().take(group.commands.len()).collect();
                            let _ = waiter.send(Ok((index, part)));
                        }
                    }
                }
            }
            Err(reason) => {
                crate::metrics::retried(total);
                tracing::debug!(reason, commands = total, "commands are proposed again");
                let rest = self
                    .rest
                    .map_or(REST_SHORTEST, |rest| (rest * 2).min(REST_LONGEST));
                self.rest = Some(rest);
                self.rest_until = Some(Instant::now() + rest);
                for group in groups.into_iter().rev() {
                    match group.waiter {
                        // The node it came from tries again itself: it may know of another leader by now.
                        Waiter::Forwarded(waiter) => drop(waiter.send(Err(reason))),
                        Waiter::One(_) if !waiting.closed => {
                            waiting.commands += group.commands.len();
                            waiting.groups.push_front(group);
                        }
                        Waiter::One(_) => {}
                    }
                }
            }
        }
    }
}

/// Sends forwarded batches back that reached a node which does not lead.
fn bounce(waiting: &mut Waiting) {
    if !waiting
        .groups
        .iter()
        .any(|group| matches!(group.waiter, Waiter::Forwarded(_)))
    {
        return;
    }
    for group in std::mem::take(&mut waiting.groups) {
        match group.waiter {
            Waiter::One(_) => waiting.groups.push_back(group),
            Waiter::Forwarded(waiter) => {
                waiting.commands -= group.commands.len();
                let _ = waiter.send(Err("not leader"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_leaves_at_once_and_then_the_pace_holds() {
        let begun = Instant::now();
        let mut pace = Pace::new(100, begun);
        for _ in 0..BURST as usize {
            assert_eq!(pace.due(begun, 1), None);
            pace.spend(1);
        }
        let due = pace.due(begun, 1).expect("has to wait");
        assert_eq!(due - begun, Duration::from_millis(10));
        assert_eq!(pace.due(due, 2), None);
        pace.spend(2);
        assert!(pace.due(due, 1).is_some());
        // A quiet second fills it again, no further than the burst.
        let later = due + Duration::from_secs(1);
        assert_eq!(pace.due(later, 1), None);
        assert_eq!(pace.left, BURST);
    }

    #[test]
    fn a_wait_that_no_clock_can_tell_is_none() {
        let now = Instant::now();
        let mut pace = Pace::new(1_000_000, now);
        pace.left = 0.9999;
        assert_eq!(pace.due(now, 1), None);
    }

    /// One batch after the other from a spent bucket, each with so many commands after its wait: which of them waited.
    fn waits(commands: &[usize]) -> Vec<bool> {
        let mut now = Instant::now();
        let mut pace = Pace::new(100, now);
        pace.left = 0.0;
        let waited = commands.iter().map(|with| {
            let due = pace.due(now, 1);
            now = due.unwrap_or(now);
            assert_eq!(pace.due(now, *with), None);
            pace.spend(*with);
            due.is_some()
        });
        waited.collect()
    }

    #[test]
    fn a_lone_caller_waits_now_and_then_only() {
        let waited = waits(&[1; 150]);
        let count = waited.iter().filter(|waited| **waited).count();
        assert!(waited[0] && waited[1] && !waited[2], "{waited:?}");
        assert_eq!(count, 6, "two, then one after 8, 16, 32 and 64: {waited:?}");
    }

    #[test]
    fn with_company_each_batch_waits() {
        assert!(waits(&[3; 100]).iter().all(|waited| *waited));
    }

    #[test]
    fn company_that_comes_again_is_waited_for_again() {
        // Two lonely waits, eight without, one that finds company: the pace holds from there.
        let mut commands = vec![1; 10];
        commands.extend([2; 10]);
        assert!(waits(&commands)[10..].iter().all(|waited| *waited));
    }
}
