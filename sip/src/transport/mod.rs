//! Transports: framing and flows are pure; `udp` and `tcp` are thin drivers above them.

mod flow;

pub use flow::{ConnectionId, Flow, Protocol};
