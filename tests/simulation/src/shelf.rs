//! Records in memory, where a node's own store would be: what is committed outlives the process, what is synced
//! outlives the power.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tandem_billing::pump::Keep;
use tandem_billing::store::StoreError;
use tokio::sync::watch;

use crate::draw::Draw;

/// One node's records, over all its processes.
#[derive(Debug, Default)]
pub struct Shelf(Mutex<Rows>);

/// What lies on it.
#[derive(Debug, Default)]
pub struct Rows {
    /// From number 1 on, without a gap.
    pub rows: Vec<Bytes>,
    synced: usize,
    /// The disk is full.
    pub full: bool,
    /// Some records are stored twice, each in the place of another.
    pub muddled: bool,
}

impl Shelf {
    /// What lies there.
    pub fn look(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine has lost its power.
    pub fn lose_power(&self) {
        let rows = &mut *self.look();
        rows.rows.truncate(rows.synced);
    }
}

/// The records as one process has them open.
pub struct Keeper {
    shelf: Arc<Shelf>,
    last: watch::Sender<u64>,
    draw: Draw,
}

impl Keeper {
    pub fn open(shelf: Arc<Shelf>, draw: Draw) -> Keeper {
        let last = shelf.look().rows.len() as u64;
        Keeper {
            shelf,
            last: watch::Sender::new(last),
            draw,
        }
    }

    async fn disk_works(&self) {
        tokio::time::sleep(Duration::from_millis(self.draw.below(15))).await;
    }
}

impl Keep for Keeper {
    fn last(&self) -> u64 {
        *self.last.borrow()
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    async fn append_encoded(&self, rows: &[(u64, Bytes)]) -> Result<u64, StoreError> {
        self.disk_works().await;
        let last = {
            let there = &mut *self.shelf.look();
            if there.full {
                return Err(StoreError::Full("records".into()));
            }
            let last = there.rows.len() as u64;
            let news = rows.iter().filter(|(seq, _)| *seq > last);
            for (expected, (got, _)) in (last + 1..).zip(news.clone()) {
                if expected != *got {
                    let got = *got;
                    return Err(StoreError::Gap { expected, got });
                }
            }
            for (seq, row) in news {
                let before = there.rows.last().filter(|_| there.muddled && seq % 5 == 0);
                let stored = before.unwrap_or(row).clone();
                there.rows.push(stored);
            }
            there.rows.len() as u64
        };
        self.last.send_replace(last);
        Ok(last)
    }

    async fn sync(&self) -> Result<u64, StoreError> {
        let last = self.last();
        self.disk_works().await;
        let there = &mut *self.shelf.look();
        there.synced = there.synced.max(last as usize);
        Ok(last)
    }

    async fn records(&self, from: u64, to: u64) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let there = self.shelf.look();
        let numbered = (1..).zip(&there.rows);
        let wanted = numbered.filter(|(seq, _)| (from..=to).contains(seq));
        Ok(wanted
            .take(1_000)
            .map(|(seq, row)| (seq, row.clone()))
            .collect())
    }
}
