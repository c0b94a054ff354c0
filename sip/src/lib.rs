//! The signalling room: datagrams, stream bytes and timeouts in; leg events, datagrams and the
//! next deadline out.
//!
//! [`message`] reads and writes messages. [`transport`] holds framing and flows (pure) and the
//! tokio drivers for UDP and TCP. [`sdp`] looks into session descriptions as far as a switch that
//! passes media by needs it. What lies between is plain data with time passed in: the
//! machines of [`transaction`], [`dialog::Dialog`], the words of [`leg`], and [`endpoint::Endpoint`],
//! which keeps all of a shard over one timing wheel.
//!
//! This room never decides what becomes of a call, knows no number and no money, and logs no
//! message: headers and bodies stay out of logs. Start reading at [`endpoint::Endpoint`], then
//! [`message::Message`] and [`transport::Flow`].

pub mod dialog;
pub mod endpoint;
pub mod leg;
pub mod message;
pub mod metrics;
pub mod sdp;
pub mod timer;
pub mod transaction;
pub mod transport;
