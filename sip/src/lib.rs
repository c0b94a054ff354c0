//! The signalling room: datagrams, stream bytes and timeouts in; leg events, datagrams and the
//! next deadline out.
//!
//! [`message`] reads and writes messages. [`transport`] holds framing and flows (pure) and the
//! tokio drivers for UDP and TCP. [`sdp`] looks into session descriptions as far as a switch that
//! passes media by needs it. What lies between, transactions and dialogs, is plain data with
//! time passed in.
//!
//! This room never decides what becomes of a call, knows no number and no money, and logs no
//! message: headers and bodies stay out of logs. Start reading at [`message::Message`], then
//! [`transport::Flow`].

pub mod dialog;
pub mod endpoint;
pub mod leg;
pub mod message;
pub mod metrics;
pub mod sdp;
pub mod timer;
pub mod transaction;
pub mod transport;
