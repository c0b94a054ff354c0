//! Between socket and proxy: what belongs to calls that are asked about is held back, and let go
//! when it is known where they go.

use std::net::SocketAddr;

use super::driver::Ear;
use super::switchboard::{Held, Switchboard};
use crate::sim::sip::proxy::{Out, Proxy, Routes};

/// The calls that wait, and the way to ask about more.
#[derive(Debug)]
pub(in crate::sim) struct Hold {
    board: Switchboard,
    ear: Ear,
}

impl Hold {
    pub(super) fn new(ear: Ear) -> Hold {
        Hold {
            board: Switchboard::default(),
            ear,
        }
    }

    /// Takes one datagram, as [`Proxy::on`] does; `me` is where the SIP side listens.
    pub(in crate::sim) fn on(
        &mut self,
        proxy: &mut Proxy,
        datagram: &[u8],
        from: SocketAddr,
        now_ms: u64,
        routes: Routes,
        me: SocketAddr,
    ) -> Option<Out> {
        let ear = &self.ear;
        match self.board.on(datagram, from, now_ms, |a, x| ear.asks(a, x)) {
            Held::No => proxy.on(datagram, from, now_ms, routes),
            Held::Yes(out) => out,
            Held::Ask {
                call,
                from: a,
                x,
                trying,
            } => {
                if self.ear.ask(&call, &a, &x, me) {
                    return trying;
                }
                self.board.release(&call);
                proxy.on(datagram, from, now_ms, routes)
            }
        }
    }

    /// What is to be sent for the calls of which it is known now where they go.
    pub(in crate::sim) fn decided(&mut self, proxy: &mut Proxy, now_ms: u64) -> Vec<Out> {
        let mut outs = Vec::new();
        while let Some((call, route)) = self.ear.decided() {
            for (datagram, from) in self.board.release(&call) {
                // Only the INVITE, the first of them, asks for a route.
                outs.extend(proxy.on(&datagram, from, now_ms, &|_, _| route.clone()));
            }
        }
        outs
    }
}
