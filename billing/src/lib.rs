//! Charging and call records.
//!
//! **In** go the facts of an ended call ([`usage::Usage`]) with the rates that were chosen when it
//! was admitted. **Out** come the charges for the accounts and a [`record::Record`]
//! ([`usage::close`]), its bytes for the replicated outbox ([`codec`]), and its row in SQL
//! ([`store::Store`]), from which rows, pages, exports and settlement reports are read.
//!
//! What platforms push of calls and bills ([`event`]) lies in the same outbox and the same store,
//! once, and [`matching`] tells which call it is about.
//!
//! Everything but [`store`] and [`pump`] is pure: equal facts give equal bytes on every node.
//!
//! This room never decides whether a call may be set up, never holds a balance, and knows neither
//! the cluster nor SIP: accounts and credit are replicated state, of which it sees ids and rates.
//! There is no floating point anywhere in it. Packages are not priced yet; their columns are 0.
//!
//! Start reading at [`usage::close`]; the price itself is [`rating`].

pub mod bills;
mod cell;
pub mod codec;
pub mod event;
pub mod matching;
pub mod metrics;
pub mod money;
pub mod pump;
pub mod rating;
pub mod record;
pub mod store;
pub mod time;
pub mod usage;

pub use event::{EventKind, PlatformEvent};
pub use money::Money;
pub use rating::Rate;
pub use record::{AxbCdr, Cdr, Record, Row};
pub use store::{Filter, Store, StoreError};
pub use time::Time;
pub use usage::{Closing, Usage, close};
