//! The way of effects from applied entries to whoever acts on them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Applied entries whose effects may wait for their receiver.
const EFFECTS_MAX: usize = 4096;
/// How long effects of which only the latest counts wait for a later one.
const LAG: Duration = Duration::from_millis(20);

/// Effects of one entry; of several, where only the latest counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied<E> {
    /// The entry.
    pub index: u64,
    /// The leader's clock in it.
    pub at: u64,
    /// The leader that appended it.
    pub leader: u64,
    /// In the order of its commands.
    pub effects: Vec<E>,
}

/// Makes the state show an entry.
pub(crate) type Show = Arc<dyn Fn(u64) + Send + Sync>;

/// Receives the effects of applied entries.
pub struct EffectReceiver<E> {
    receiver: mpsc::Receiver<Applied<E>>,
    show: Show,
}

impl<E> EffectReceiver<E> {
    /// The next entry's effects; `None` when the node has stopped. A state read from now on has that entry.
    pub async fn recv(&mut self) -> Option<Applied<E>> {
        self.receiver
            .recv()
            .await
            .map(|applied| self.shown(applied))
    }

    /// The next entry's effects, if they are there.
    pub fn try_recv(&mut self) -> Option<Applied<E>> {
        let applied = self.receiver.try_recv().ok()?;
        Some(self.shown(applied))
    }

    fn shown(&self, applied: Applied<E>) -> Applied<E> {
        (self.show)(applied.index);
        applied
    }
}

#[derive(Default)]
struct Flags {
    /// The restart's replay is over.
    live: AtomicBool,
    /// Somebody receives.
    taken: AtomicBool,
}

/// The receiving end, until it is taken.
pub(crate) struct Outlet<E> {
    receiver: Mutex<Option<EffectReceiver<E>>>,
    flags: Arc<Flags>,
}

impl<E> Outlet<E> {
    pub(crate) fn take(&self) -> Option<EffectReceiver<E>> {
        let receiver = self
            .receiver
            .lock()
            .expect("no code panics while it holds this")
            .take()?;
        self.flags.taken.store(true, Ordering::Release);
        Some(receiver)
    }

    /// Called when the replay is over.
    pub(crate) fn live(&self) -> Box<dyn FnOnce() + Send> {
        let flags = self.flags.clone();
        Box::new(move || flags.live.store(true, Ordering::Release))
    }
}

/// What waits for a later one of its kind.
struct Held<E> {
    latest: Option<Applied<E>>,
    /// Somebody sends it when its time has come.
    timed: bool,
}

/// The sending end.
pub(crate) struct Inlet<E> {
    sender: mpsc::Sender<Applied<E>>,
    held: Arc<Mutex<Held<E>>>,
    flags: Arc<Flags>,
}

pub(crate) fn channel<E>(show: Show) -> (Inlet<E>, Outlet<E>) {
    let (sender, receiver) = mpsc::channel(EFFECTS_MAX);
    let flags = Arc::new(Flags::default());
    let held = Held {
        latest: None,
        timed: false,
    };
    let outlet = Outlet {
        receiver: Mutex::new(Some(EffectReceiver { receiver, show })),
        flags: flags.clone(),
    };
    let inlet = Inlet {
        sender,
        held: Arc::new(Mutex::new(held)),
        flags,
    };
    (inlet, outlet)
}

impl<E: Send + 'static> Inlet<E> {
    /// Whether effects are wanted: those of the restart's replay are not.
    pub(crate) fn is_live(&self) -> bool {
        self.flags.live.load(Ordering::Acquire)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held<E>> {
        self.held
            .lock()
            .expect("no code panics while it holds this")
    }

    /// Hands an entry's effects on, after those held back; waits while the receiver is behind.
    pub(crate) async fn send(&self, applied: Applied<E>) {
        let held = self.held().latest.take();
        for applied in held.into_iter().chain([applied]) {
            if !self.flags.taken.load(Ordering::Acquire) {
                if self.sender.try_send(applied).is_err() {
                    crate::metrics::effects_dropped();
                }
            } else if self.sender.send(applied).await.is_err() {
                // The receiver is gone: the process is stopping.
            }
        }
    }

    /// Holds effects back for a moment, in place of earlier ones. Called on a runtime.
    pub(crate) fn hold(&self, applied: Applied<E>) {
        let mut held = self.held();
        held.latest = Some(applied);
        if !std::mem::replace(&mut held.timed, true) {
            let (held, sender) = (self.held.clone(), self.sender.clone());
            tokio::spawn(release(held, sender));
        }
    }
}

/// Sends what is held back once its time has come. A receiver that is behind is asked again later.
async fn release<E>(held: Arc<Mutex<Held<E>>>, sender: mpsc::Sender<Applied<E>>) {
    loop {
        tokio::time::sleep(LAG).await;
        // Sent under the lock, so that nothing later overtakes it.
        let mut held = held.lock().expect("no code panics while it holds this");
        match held.latest.take().map(|applied| sender.try_send(applied)) {
            Some(Err(TrySendError::Full(applied))) => held.latest = Some(applied),
            _ => {
                held.timed = false;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(index: u64) -> Applied<u64> {
        Applied {
            index,
            at: 0,
            leader: 1,
            effects: vec![index],
        }
    }

    #[tokio::test]
    async fn what_is_held_back_comes_late_once_and_in_its_place() {
        let (inlet, outlet) = channel(Arc::new(|_| ()));
        let mut receiver = outlet.take().expect("first");
        inlet.hold(applied(1));
        inlet.hold(applied(2));
        assert_eq!(receiver.try_recv(), None);
        assert_eq!(
            receiver.recv().await,
            Some(applied(2)),
            "the latest, by itself"
        );
        inlet.hold(applied(3));
        inlet.send(applied(4)).await;
        assert_eq!(receiver.try_recv(), Some(applied(3)));
        assert_eq!(receiver.try_recv(), Some(applied(4)));
        inlet.hold(applied(5));
        assert_eq!(receiver.recv().await, Some(applied(5)));
        tokio::time::sleep(LAG * 3).await;
        assert_eq!(receiver.try_recv(), None);
    }
}
