//! The world around a client, where it is not this machine's: simulations bring their own.

use std::pin::Pin;

use bytes::Bytes;

use crate::exchange::Request;

/// Clock, chance and network of a client that has been lent them
/// ([`Client::through`](super::Client::through)).
pub trait Outside: Send + Sync {
    /// The node's wall clock, milliseconds since 1970.
    fn wall_ms(&self) -> u64;

    /// What makes a nonce, never the same twice.
    fn nonce(&self) -> [u8; 16];

    /// Carries one request to the platform and its answer back. The client gives it up after its
    /// `timeout_ms`; the request may have its effect all the same.
    fn carry(&self, request: &Request) -> Carrying;
}

/// An exchange under way.
pub type Carrying = Pin<Box<dyn Future<Output = Result<Carried, Lost>> + Send>>;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// HTTP status.
    pub status: u16,
    /// Its headers; those that could not stand in HTTP are left out.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The platform was not reached, so nothing has happened there.
    NotSent,
    /// The connection was cut before an answer came.
    Cut,
}
