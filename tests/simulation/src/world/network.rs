//! What happens on the networks: datagrams between far ends and nodes, requests to the platform, connections between
//! nodes.

use std::net::SocketAddr;

use bytes::Bytes;
use tandem_simulation::event;
use tandem_sip::message::{Framing, Message as Parsed};
use tandem_sip::transport::{Flow, Inbound, Received, shard_of};
use tandem_vendors::client::Lost;
use tokio::sync::oneshot;

use super::{Connection, Event, World};
use crate::links::{Dialled, End, Stream};
use crate::outlet::Out;
use crate::platform;

/// Making a connection to the platform is given up after so long.
const CONNECT_MS: u64 = 500;
/// Held bytes are looked at this often.
const RETRY_MS: u64 = 50;

impl World {
    /// Puts a datagram on its way.
    pub(super) fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        for ms in self.net.datagram(from.ip(), to.ip()) {
            let bytes = bytes.clone();
            self.after(ms, Event::Datagram { from, to, bytes });
        }
    }

    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Datagram { from, to, bytes } => self.arrive(from, to, bytes),
            Event::Leg(leg, timer) => self.leg_due(leg, timer),
            Event::Try(caller) => self.attempt(caller),
            Event::Ask {
                machine,
                request,
                tell,
            } => {
                let rolls = [self.net.roll(), self.net.roll()];
                let peer = self.machines[machine].sip.ip();
                let (after_ms, result) = self.platform.ask(&request, peer, self.now, rolls);
                let (method, url, body) = (request.method.word(), &request.url, &request.body);
                event!(
                    "{} node {} asks {method} {url} {body}: {result:?}",
                    self.now,
                    machine + 1
                );
                let ms = after_ms + self.net.stream();
                self.after(
                    ms,
                    Event::Tell {
                        machine,
                        result,
                        tell,
                    },
                );
            }
            Event::Tell {
                machine,
                result,
                tell,
            } => {
                if self.away[machine] && result != Err(Lost::NotSent) {
                    self.unheard.push(tell);
                } else {
                    // The node may have given it up, or be dead.
                    let _ = tell.send(result);
                }
            }
            Event::Dial {
                from,
                run,
                to,
                tell,
            } => self.dial(from, run, to, tell),
            Event::Bytes {
                connection,
                side,
                bytes,
            } => self.bring(connection, side, bytes),
            Event::Retry { connection, side } => self.retry(connection, side),
            Event::Finish { connection, side } => {
                if let Some(found) = self.connections.get(&connection) {
                    found.ends[side].finish();
                }
            }
            Event::Break { connection, side } => {
                if let Some(found) = self.connections.get(&connection) {
                    found.ends[side].break_off();
                }
            }
        }
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        if self.mute && to == platform::phone() && bytes.starts_with(b"BYE ") {
            return;
        }
        let text = String::from_utf8_lossy(&bytes).replace("\r\n", "~");
        event!("{} {from} to {to}: {text}", self.now);
        if to == platform::sip() {
            if let Some(out) = self.platform.relay(&bytes, from, self.now) {
                self.send(to, out.to, Bytes::from(out.bytes));
            }
            return;
        }
        let Some(machine) = self.machines.iter().find(|machine| machine.sip == to) else {
            return self.person_hears(from, to, &bytes);
        };
        let Some(process) = &machine.process else {
            return;
        };
        let Ok(mut message) = Parsed::parse(bytes, Framing::Datagram) else {
            self.platform
                .wrongs
                .push(format!("a node got what is no message from {from}"));
            return;
        };
        message.set_source(from);
        let flow = Flow::udp(to, from);
        process.up(|up| {
            let shard = shard_of(message.call_id(), up.feeds.len());
            let inbound = Inbound::Received(Received { flow, message });
            // A full queue loses it, as a socket does.
            let _ = up.feeds[shard].try_send(vec![inbound]);
        });
    }

    /// Puts on its way what a node has said.
    pub(super) fn carry_out(&mut self, at: usize, out: Out) {
        match out {
            Out::Say { from, to, bytes } => {
                let from = if from.ip().is_unspecified() {
                    self.machines[at].sip
                } else {
                    from
                };
                self.send(from, to, bytes);
            }
            Out::Ask { request, tell } => {
                if self.away[at] {
                    let result = Err(Lost::NotSent);
                    let machine = at;
                    return self.after(
                        CONNECT_MS,
                        Event::Tell {
                            machine,
                            result,
                            tell,
                        },
                    );
                }
                let ms = self.net.stream();
                let (machine, request) = (at, Box::new(request));
                self.after(
                    ms,
                    Event::Ask {
                        machine,
                        request,
                        tell,
                    },
                );
            }
            Out::Dial { address, tell } => {
                let to = self
                    .machines
                    .iter()
                    .position(|one| one.link.to_string() == address);
                let Some(to) = to else {
                    return drop(tell.send(Err(std::io::ErrorKind::AddrNotAvailable.into())));
                };
                let ms = self.net.stream();
                let run = self.machines[at].runs;
                self.after(
                    ms,
                    Event::Dial {
                        from: at,
                        run,
                        to,
                        tell,
                    },
                );
            }
            Out::Listen { connections } => self.machines[at].listening = Some(connections),
            Out::Bytes {
                connection,
                side,
                bytes,
            } => {
                let ms = self.net.stream();
                let now = self.now;
                let Some(found) = self.connections.get_mut(&connection) else {
                    return;
                };
                let due = (now + ms).max(found.last[side]);
                found.last[side] = due;
                self.at(
                    due,
                    Event::Bytes {
                        connection,
                        side,
                        bytes,
                    },
                );
            }
            Out::Closed { connection, side } => {
                let Some(found) = self.connections.get_mut(&connection) else {
                    return;
                };
                found.closed[side] = true;
                let due = found.last[side].max(self.now + 1);
                let both = found.closed == [true; 2];
                self.at(
                    due,
                    Event::Finish {
                        connection,
                        side: 1 - side,
                    },
                );
                if both {
                    self.connections.remove(&connection);
                }
            }
        }
    }

    fn dial(&mut self, from: usize, run: u64, to: usize, tell: oneshot::Sender<Dialled>) {
        let (here, there) = (self.machines[from].link, self.machines[to].link);
        let cut = self.net.is_cut(here.ip(), there.ip()) || self.net.is_cut(there.ip(), here.ip());
        let alive = self.machines[from].runs == run && self.machines[from].process.is_some();
        if cut || !alive {
            // Nothing comes back: whoever dials gives up by himself.
            return;
        }
        let Some(listening) = self.machines[to].listening.clone() else {
            return drop(tell.send(Err(std::io::ErrorKind::ConnectionRefused.into())));
        };
        self.last_connection += 1;
        let connection = self.last_connection;
        let ends = [End::default(), End::default()];
        let stream = |side: usize, outlet| Stream {
            end: ends[side].clone(),
            connection,
            side,
            outlet,
        };
        let outlet = |at: usize| {
            let process = self.machines[at].process.as_ref();
            process
                .map(|process| process.outlet.clone())
                .unwrap_or_default()
        };
        let (near, far) = (stream(0, outlet(from)), stream(1, outlet(to)));
        let runs = [self.machines[from].runs, self.machines[to].runs];
        self.connections.insert(
            connection,
            Connection {
                machines: [from, to],
                runs,
                ends: ends.clone(),
                held: Default::default(),
                last: [self.now; 2],
                closed: [false; 2],
            },
        );
        if listening.send((Box::new(far), here)).is_err() {
            return drop(tell.send(Err(std::io::ErrorKind::ConnectionRefused.into())));
        }
        drop(tell.send(Ok(Box::new(near))));
    }

    fn bring(&mut self, connection: u64, side: usize, bytes: Vec<u8>) {
        let Some(found) = self.connections.get_mut(&connection) else {
            return;
        };
        let ip = |side: usize| self.machines[found.machines[side]].link.ip();
        let first = found.held[side].is_empty();
        if !first || self.net.is_cut(ip(side), ip(1 - side)) {
            found.held[side].push(bytes);
            if first {
                self.after(RETRY_MS, Event::Retry { connection, side });
            }
            return;
        }
        self.deliver(connection, side, &[bytes]);
    }

    fn retry(&mut self, connection: u64, side: usize) {
        let Some(found) = self.connections.get_mut(&connection) else {
            return;
        };
        let ip = |side: usize| self.machines[found.machines[side]].link.ip();
        if self.net.is_cut(ip(side), ip(1 - side)) {
            return self.after(RETRY_MS, Event::Retry { connection, side });
        }
        let held = std::mem::take(&mut found.held[side]);
        self.deliver(connection, side, &held);
    }

    fn deliver(&mut self, connection: u64, side: usize, pieces: &[Vec<u8>]) {
        let Some(found) = self.connections.get(&connection) else {
            return;
        };
        let there = 1 - side;
        if !found.closed[there] {
            pieces
                .iter()
                .for_each(|bytes| found.ends[there].bring(bytes));
            return;
        }
        // Nobody has this connection there any more: a machine that lives says so.
        if self.machines[found.machines[there]].process.is_some() {
            let ms = self.net.stream();
            self.after(ms, Event::Break { connection, side });
        }
    }
}
