//! The socket of the SIP side: a thread that receives, asks the proxy and sends. Blocking calls on
//! one thread cost less here than any runtime would.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::proxy::Proxy;
use super::{Counters, Note, Phones, Route};
use crate::sim::SimError;

/// Asked of the kernel for both directions; it gives what it allows.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// How often an idle thread looks at the clock and at its stop mark.
const IDLE: Duration = Duration::from_millis(200);

/// Hears of the steps of calls; must not wait.
pub type Listener = Box<dyn FnMut(Note) + Send>;

/// The running thread.
#[derive(Debug)]
pub struct Driver {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Driver {
    /// Listens and relays. `route` says where a call from one number to another goes; `told`, if
    /// there is one, hears of every step of every call, on this thread.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn spawn(
        address: SocketAddr,
        phones: Phones,
        calls_max: usize,
        counters: Arc<Counters>,
        route: impl Fn(&str, &str) -> Option<Route> + Send + 'static,
        mut told: Option<Listener>,
    ) -> Result<Driver, SimError> {
        let listen = |source| SimError::Listen {
            what: "sip",
            address,
            source,
        };
        let socket = UdpSocket::bind(address).map_err(listen)?;
        let address = socket.local_addr().map_err(listen)?;
        socket.set_read_timeout(Some(IDLE)).map_err(listen)?;
        let options = SockRef::from(&socket);
        // Smaller buffers work too, with more losses under load.
        let _ = options.set_recv_buffer_size(BUFFER_BYTES);
        let _ = options.set_send_buffer_size(BUFFER_BYTES);
        let mut me = address;
        if me.ip().is_unspecified() {
            // The phone and the switch of a simulation are on this machine.
            me.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let mut proxy = Proxy::new(me, phones, calls_max, counters);
        if told.is_some() {
            proxy = proxy.noting();
        }
        let thread = std::thread::Builder::new()
            .name("sim-sip".into())
            .spawn(move || relay(&socket, &mut proxy, &route, &mut told, &stop))
            .map_err(SimError::Thread)?;
        Ok(Driver {
            address,
            stopping,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops within a quarter of a second and closes the socket.
    pub fn stop(mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("simulator sip thread panicked");
        }
    }
}

fn relay(
    socket: &UdpSocket,
    proxy: &mut Proxy,
    route: &dyn Fn(&str, &str) -> Option<Route>,
    told: &mut Option<Listener>,
    stop: &AtomicBool,
) {
    let born = Instant::now();
    let mut datagram = vec![0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        let received = socket.recv_from(&mut datagram);
        let now_ms = u64::try_from(born.elapsed().as_millis()).unwrap_or(u64::MAX);
        match received {
            Ok((length, from)) => {
                if let Some(out) = proxy.on(&datagram[..length], from, now_ms, route)
                    && let Err(error) = socket.send_to(&out.bytes, out.to)
                {
                    // Lost like any datagram; the ends will send again.
                    tracing::debug!(%error, to = %out.to, "simulator could not send");
                }
            }
            Err(error) if is_idle(&error) => proxy.tick(now_ms),
            // An earlier datagram met a closed port: the kernel tells it here.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => {
                tracing::error!(%error, "simulator sip socket failed");
                std::thread::sleep(IDLE);
            }
        }
        if let Some(told) = told {
            proxy.take_notes().into_iter().for_each(told);
        }
    }
}

fn is_idle(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
