//! The room from outside: the client against the simulator, the client against servers that
//! misbehave, and the simulator's SIP side against plain sockets.

mod ax;
mod bad_servers;
mod client_and_sim;
mod dialects;
mod every_vendor;
mod sip_ax;
mod sip_side;
mod tls;
mod world;
