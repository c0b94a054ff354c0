//! A network between the machines of a world. Connections are like those of TCP: bytes arrive once and in order, late,
//! or the connection is reset. What is lost on the way costs its sender time, as a repeated packet would.
//!
//! Machine N has the addresses `10.0.0.N:PORT`.

use crate::{entropy, event, trace, world};
use futures::FutureExt;
use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use tandem_cluster::link::{AnyNet, Incoming, Net, Wire};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that may be on their way to one end, or wait there to be read.
const WINDOW: usize = 256 << 10;

/// How messages between machines fare.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// A message takes so much longer than a step, at most.
    pub jitter_ms: u64,
    /// Of a thousand messages so many are lost once or more often, and come after a repeat.
    pub lost_per_mille: u32,
    /// Of a thousand messages so many break their connection.
    pub broken_per_mille: u32,
}

impl Default for Weather {
    fn default() -> Self {
        Weather {
            jitter_ms: 1,
            lost_per_mille: 0,
            broken_per_mille: 0,
        }
    }
}

enum Event {
    /// Somebody dials.
    Dial,
    /// The answer to that.
    Dialled(bool),
    Data(Vec<u8>),
    /// No more follows.
    End,
    Reset,
}

/// What one end of a connection has got.
struct End {
    host: u64,
    /// Somebody holds it.
    held: bool,
    dialled: Option<bool>,
    inbox: VecDeque<u8>,
    ended: bool,
    reset: bool,
    /// Bytes on their way here or in `inbox`.
    window: usize,
    /// The last event on its way here arrives then.
    last_ms: u64,
    /// What a cut holds up.
    stuck: VecDeque<Event>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl End {
    fn new(host: u64) -> End {
        End {
            host,
            held: false,
            dialled: None,
            inbox: VecDeque::new(),
            ended: false,
            reset: false,
            window: 0,
            last_ms: 0,
            stuck: VecDeque::new(),
            reader: None,
            writer: None,
        }
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }
}

#[derive(Default)]
struct Listening {
    waiting: VecDeque<u64>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Machine {
    on: bool,
    listening: BTreeMap<SocketAddr, Listening>,
    /// By moment and order: what arrives, at which end of which connection.
    due: BTreeMap<(u64, u64), (u64, usize, Event)>,
}

struct Wires {
    rng: StdRng,
    least_ms: u64,
    weather: Weather,
    machines: BTreeMap<u64, Machine>,
    /// Between whom nothing passes, from and to.
    cuts: BTreeSet<(u64, u64)>,
    /// The end that dialled, and the other.
    connections: BTreeMap<u64, (SocketAddr, [End; 2])>,
    count: u64,
}

impl Wires {
    fn end(&mut self, connection: u64, side: usize) -> Option<&mut End> {
        let (_, ends) = self.connections.get_mut(&connection)?;
        Some(&mut ends[side])
    }

    /// Puts an event on its way to one end of a connection.
    fn send(&mut self, connection: u64, to: usize, event: Event) {
        let Some((_, ends)) = self.connections.get_mut(&connection) else {
            return;
        };
        let (from_host, to_host) = (ends[1 - to].host, ends[to].host);
        if !ends[to].stuck.is_empty() || self.cuts.contains(&(from_host, to_host)) {
            ends[to].stuck.push_back(event);
            return;
        }
        self.schedule(connection, to, event, 0);
    }

    fn schedule(&mut self, connection: u64, to: usize, event: Event, late_ms: u64) {
        let Weather {
            jitter_ms,
            lost_per_mille,
            broken_per_mille,
        } = self.weather;
        let mut takes_ms = self.least_ms + self.rng.random_range(0..=jitter_ms) + late_ms;
        if self.rng.random_range(0..1000) < lost_per_mille {
            // Repeated after longer and longer waits.
            takes_ms += 20 << self.rng.random_range(0..5u32);
        }
        let breaks =
            matches!(event, Event::Data(_)) && self.rng.random_range(0..1000) < broken_per_mille;
        self.count += 1;
        let count = self.count;
        let Some((_, ends)) = self.connections.get_mut(&connection) else {
            return;
        };
        let at_ms = (world::now_ms() + takes_ms).max(ends[to].last_ms);
        ends[to].last_ms = at_ms;
        let event = match breaks {
            true => Event::Reset,
            false => event,
        };
        let bytes: &[u8] = match &event {
            Event::Data(bytes) => bytes,
            _ => &[],
        };
        let host = ends[to].host;
        trace::note_quietly([at_ms, connection, to as u64, host], bytes);
        if let Some(machine) = self.machines.get_mut(&host).filter(|machine| machine.on) {
            machine.due.insert((at_ms, count), (connection, to, event));
        }
        if breaks {
            self.reset(connection, 1 - to);
        }
    }

    /// One end finds its connection broken, now.
    fn reset(&mut self, connection: u64, side: usize) {
        if let Some(end) = self.end(connection, side) {
            end.reset = true;
            end.inbox.clear();
            end.wake();
        }
    }

    fn arrive(&mut self, connection: u64, side: usize, event: Event) {
        let Some((address, ends)) = self.connections.get_mut(&connection) else {
            return;
        };
        let (from_host, host) = (ends[1 - side].host, ends[side].host);
        if !ends[side].stuck.is_empty() || self.cuts.contains(&(from_host, host)) {
            // The cut came while it was on its way.
            ends[side].stuck.push_back(event);
            return;
        }
        let address = *address;
        let end = &mut ends[side];
        match event {
            Event::Dial => {
                let machine = self.machines.entry(host).or_default();
                let taken = match machine.listening.get_mut(&address) {
                    Some(listening) => {
                        end.held = true;
                        listening.waiting.push_back(connection);
                        if let Some(waker) = listening.waker.take() {
                            waker.wake();
                        }
                        true
                    }
                    None => false,
                };
                self.send(connection, 1 - side, Event::Dialled(taken));
            }
            Event::Dialled(taken) => {
                end.dialled = Some(taken);
                end.wake();
            }
            Event::Data(_) | Event::End if !end.held => {
                // Nobody is there any more, and the other end is told so.
                self.send(connection, 1 - side, Event::Reset);
            }
            Event::Data(bytes) => {
                if !end.reset {
                    end.inbox.extend(bytes);
                    end.wake();
                }
            }
            Event::End => {
                end.ended = true;
                end.wake();
            }
            Event::Reset => self.reset(connection, side),
        }
    }

    /// An end is let go.
    fn leave(&mut self, connection: u64, side: usize) {
        let Some((_, ends)) = self.connections.get_mut(&connection) else {
            return;
        };
        if !std::mem::take(&mut ends[side].held) {
            return;
        }
        ends[side].reader = None;
        ends[side].writer = None;
        match ends[1 - side].held {
            true => self.send(connection, 1 - side, Event::End),
            false => drop(self.connections.remove(&connection)),
        }
    }
}

/// The network; clones share it.
#[derive(Clone)]
pub struct SimNet(Arc<Mutex<Wires>>);

impl SimNet {
    pub(crate) fn new(seed: u64, least_ms: u64) -> SimNet {
        SimNet(Arc::new(Mutex::new(Wires {
            rng: StdRng::seed_from_u64(entropy::mix(seed ^ 0x6e65_7477_6f72_6b00)),
            least_ms,
            weather: Weather::default(),
            machines: BTreeMap::new(),
            cuts: BTreeSet::new(),
            connections: BTreeMap::new(),
            count: 0,
        })))
    }

    fn wires(&self) -> MutexGuard<'_, Wires> {
        self.0.lock().expect("no code panics while it holds this")
    }

    /// The address of a machine's port.
    pub fn address(host: u64, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, host as u8)), port)
    }

    /// The network as a machine's software has it, to be given to
    /// [`Config::net`](tandem_cluster::handle::Config::net).
    pub fn of(&self, host: u64) -> AnyNet {
        AnyNet(Some(Arc::new(Port {
            net: self.clone(),
            host,
        })))
    }

    /// How messages fare from now on.
    pub fn set_weather(&self, weather: Weather) {
        event!("weather: {weather:?}");
        self.wires().weather = weather;
    }

    /// Lets nothing pass from one machine to another.
    pub fn cut(&self, from: u64, to: u64) {
        event!("cut from node {from} to node {to}");
        self.wires().cuts.insert((from, to));
    }

    /// Lets messages pass again everywhere. What was held up comes late, or finds its connection given up: of a
    /// thousand so many.
    pub fn heal(&self, given_up_per_mille: u32) {
        event!("all cuts heal");
        let wires = &mut *self.wires();
        wires.cuts.clear();
        let stuck: Vec<u64> = wires
            .connections
            .iter()
            .filter(|(_, (_, ends))| ends.iter().any(|end| !end.stuck.is_empty()))
            .map(|(connection, _)| *connection)
            .collect();
        for connection in stuck {
            let given_up = wires.rng.random_range(0..1000) < given_up_per_mille;
            for side in [0, 1] {
                let Some(end) = wires.end(connection, side) else {
                    continue;
                };
                let events = std::mem::take(&mut end.stuck);
                if given_up {
                    wires.reset(connection, side);
                    continue;
                }
                // A sender that got no answer waits longer and longer before it repeats.
                let late_ms = wires.rng.random_range(0..200);
                for event in events {
                    wires.schedule(connection, side, event, late_ms);
                }
            }
        }
    }

    /// Switches a machine's network card on or off.
    pub(crate) fn machine_is(&self, host: u64, on: bool) {
        let wires = &mut *self.wires();
        let machine = wires.machines.entry(host).or_default();
        machine.on = on;
        if !on {
            machine.due.clear();
        }
    }

    /// A process ends, and with it its ends of connections. `told`: the other ends are reset by the machine.
    pub(crate) fn process_ends(&self, host: u64, told: bool) {
        let wires = &mut *self.wires();
        if let Some(machine) = wires.machines.get_mut(&host) {
            machine.listening.clear();
        }
        let ends: Vec<(u64, usize)> = wires
            .connections
            .iter()
            .flat_map(|(connection, (_, ends))| {
                [
                    (*connection, 0, ends[0].host),
                    (*connection, 1, ends[1].host),
                ]
            })
            .filter(|(_, _, of)| *of == host)
            .map(|(connection, side, _)| (connection, side))
            .collect();
        for (connection, side) in ends {
            let Some(end) = wires.end(connection, side) else {
                continue;
            };
            let held = std::mem::take(&mut end.held);
            (end.reader, end.writer) = (None, None);
            end.inbox.clear();
            if told && held {
                wires.send(connection, 1 - side, Event::Reset);
            }
        }
        wires
            .connections
            .retain(|_, (_, ends)| ends.iter().any(|end| end.held));
    }

    /// When the next event arrives at a machine.
    pub(crate) fn next_due(&self, host: u64) -> Option<u64> {
        let wires = self.wires();
        let machine = wires.machines.get(&host)?;
        machine.due.first_key_value().map(|((at_ms, _), _)| *at_ms)
    }

    /// Lets events arrive at a machine that are due by then.
    pub(crate) fn deliver(&self, host: u64, upto_ms: u64) {
        let wires = &mut *self.wires();
        while let Some(machine) = wires.machines.get_mut(&host)
            && let Some(first) = machine.due.first_entry()
            && first.key().0 <= upto_ms
        {
            let (connection, side, event) = first.remove();
            wires.arrive(connection, side, event);
        }
    }
}

struct Port {
    net: SimNet,
    host: u64,
}

impl Net for Port {
    fn dial(&self, address: &str) -> BoxFuture<'static, io::Result<Box<dyn Wire>>> {
        let Ok(address) = address.parse::<SocketAddr>() else {
            return async { Err(io::ErrorKind::AddrNotAvailable.into()) }.boxed();
        };
        let IpAddr::V4(ip) = address.ip() else {
            return async { Err(io::ErrorKind::AddrNotAvailable.into()) }.boxed();
        };
        let there = u64::from(ip.octets()[3]);
        let wires = &mut *self.net.wires();
        wires.count += 1;
        let connection = wires.count;
        let mut ends = [End::new(self.host), End::new(there)];
        ends[0].held = true;
        wires.connections.insert(connection, (address, ends));
        let wire = SimWire {
            net: self.net.clone(),
            connection,
            side: 0,
        };
        wires.send(connection, 1, Event::Dial);
        async move {
            let dialled = poll_fn(|cx| {
                let wires = &mut *wire.net.wires();
                let Some(end) = wires.end(wire.connection, 0) else {
                    return Poll::Ready(false);
                };
                match end.dialled {
                    Some(taken) => Poll::Ready(taken && !end.reset),
                    None => {
                        end.reader = Some(cx.waker().clone());
                        Poll::Pending
                    }
                }
            });
            match dialled.await {
                true => Ok(Box::new(wire) as Box<dyn Wire>),
                false => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        }
        .boxed()
    }

    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Incoming>> {
        let wires = &mut *self.net.wires();
        let machine = wires.machines.entry(self.host).or_default();
        if machine.listening.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        machine.listening.insert(address, Listening::default());
        Ok(Box::new(Listener {
            net: self.net.clone(),
            host: self.host,
            address,
        }))
    }
}

struct Listener {
    net: SimNet,
    host: u64,
    address: SocketAddr,
}

impl Incoming for Listener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Wire>, SocketAddr)>> {
        poll_fn(|cx| {
            let wires = &mut *self.net.wires();
            let machine = wires.machines.entry(self.host).or_default();
            let Some(listening) = machine.listening.get_mut(&self.address) else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            let Some(connection) = listening.waiting.pop_front() else {
                listening.waker = Some(cx.waker().clone());
                return Poll::Pending;
            };
            let from = wires.end(connection, 0).map_or(0, |end| end.host);
            let wire = SimWire {
                net: self.net.clone(),
                connection,
                side: 1,
            };
            let from = SimNet::address(from, 40_000);
            Poll::Ready(Ok((Box::new(wire) as Box<dyn Wire>, from)))
        })
        .boxed()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(machine) = self.net.wires().machines.get_mut(&self.host) {
            machine.listening.remove(&self.address);
        }
    }
}

/// One end of a connection.
struct SimWire {
    net: SimNet,
    connection: u64,
    side: usize,
}

impl Drop for SimWire {
    fn drop(&mut self) {
        self.net.wires().leave(self.connection, self.side);
    }
}

impl AsyncRead for SimWire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wires = &mut *self.net.wires();
        let Some(end) = wires.end(self.connection, self.side) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        if !end.inbox.is_empty() {
            let (first, _) = end.inbox.as_slices();
            let taken = first.len().min(buf.remaining());
            buf.put_slice(&first[..taken]);
            end.inbox.drain(..taken);
            end.window = end.window.saturating_sub(taken);
            if let Some(other) = wires.end(self.connection, 1 - self.side)
                && let Some(waker) = other.writer.take()
            {
                waker.wake();
            }
            return Poll::Ready(Ok(()));
        }
        if end.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if end.ended {
            return Poll::Ready(Ok(()));
        }
        end.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for SimWire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wires = &mut *self.net.wires();
        let Some((_, ends)) = wires.connections.get_mut(&self.connection) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        if ends[self.side].reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let room = WINDOW.saturating_sub(ends[1 - self.side].window);
        let taken = room.min(buf.len());
        if taken == 0 && !buf.is_empty() {
            ends[self.side].writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        ends[1 - self.side].window += taken;
        wires.send(
            self.connection,
            1 - self.side,
            Event::Data(buf[..taken].to_vec()),
        );
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.net
            .wires()
            .send(self.connection, 1 - self.side, Event::End);
        Poll::Ready(Ok(()))
    }
}
