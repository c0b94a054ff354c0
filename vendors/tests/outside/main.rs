//! The room from outside: the client against the simulator, the client against servers that
//! misbehave, the simulator's SIP side against plain sockets, and its call-backs against a plain
//! customer.

mod ax;
mod bad_servers;
mod client_and_sim;
mod dialects;
mod error_classes;
mod every_vendor;
mod pushes;
mod sessions;
mod sip_ax;
mod sip_side;
mod tls;
mod traps;
mod world;
