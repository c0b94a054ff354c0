//! What happened: a hash of every event with its moment, and the events as lines for people.

use crate::world;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::hash::{DefaultHasher, Hasher};

thread_local! {
    static HASH: RefCell<DefaultHasher> = RefCell::new(DefaultHasher::new());
    static EVENTS: Cell<u64> = const { Cell::new(0) };
    static LOUD: Cell<bool> = const { Cell::new(false) };
}

/// Events are printed from now on.
pub fn print() {
    LOUD.set(true);
}

/// Notes an event of the machine that runs just now, or of the world.
pub fn note(event: fmt::Arguments<'_>) {
    let text = event.to_string();
    let host = world::current().unwrap_or(0);
    let now_ms = world::now_ms();
    HASH.with_borrow_mut(|hash| {
        hash.write_u64(now_ms);
        hash.write_u64(host);
        hash.write(text.as_bytes());
    });
    EVENTS.set(EVENTS.get() + 1);
    if LOUD.get() {
        match host {
            0 => println!("{:>9.3} world  {text}", now_ms as f64 / 1000.0),
            host => println!("{:>9.3} node {host} {text}", now_ms as f64 / 1000.0),
        }
    }
}

/// Notes an event that people need not see.
pub(crate) fn note_quietly(parts: [u64; 4], bytes: &[u8]) {
    HASH.with_borrow_mut(|hash| {
        hash.write_u64(world::now_ms());
        parts.into_iter().for_each(|part| hash.write_u64(part));
        hash.write(bytes);
    });
    EVENTS.set(EVENTS.get() + 1);
}

/// How many events there were, and the hash of all of them.
pub fn digest() -> (u64, u64) {
    (EVENTS.get(), HASH.with_borrow(|hash| hash.finish()))
}

/// Notes an event: the arguments are those of `format!`.
#[macro_export]
macro_rules! event {
    ($($part:tt)*) => {
        $crate::trace::note(format_args!($($part)*))
    };
}
