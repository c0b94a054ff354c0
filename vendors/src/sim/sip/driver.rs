//! The socket of the SIP side: a thread that receives, asks the proxy and sends. Blocking calls on
//! one thread cost less here than any runtime would.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::proxy::{Out, Proxy};
use super::{Counters, Note, Phones, Route};
use crate::sim::SimError;
use crate::sim::asking::Hold;

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
    /// there is one, hears of every step of every call, on this thread. `hold`, if there is one,
    /// lets calls wait about which somebody has to be asked.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub(in crate::sim) fn spawn(
        address: SocketAddr,
        phones: Phones,
        calls_max: usize,
        counters: Arc<Counters>,
        route: impl Fn(&str, &str) -> Option<Route> + Send + 'static,
        mut told: Option<Listener>,
        mut hold: Option<Hold>,
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
            .spawn(move || {
                let mut relay = Relay {
                    socket,
                    me,
                    proxy,
                    told: told.as_mut(),
                    hold: hold.as_mut(),
                };
                relay.run(&route, &stop);
            })
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

/// What the thread has.
struct Relay<'t> {
    socket: UdpSocket,
    me: SocketAddr,
    proxy: Proxy,
    told: Option<&'t mut Listener>,
    hold: Option<&'t mut Hold>,
}

impl Relay<'_> {
    fn run(&mut self, route: &dyn Fn(&str, &str) -> Option<Route>, stop: &AtomicBool) {
        let born = Instant::now();
        let mut buffer = vec![0; 65_536];
        while !stop.load(Ordering::Relaxed) {
            let received = self.socket.recv_from(&mut buffer);
            let now_ms = u64::try_from(born.elapsed().as_millis()).unwrap_or(u64::MAX);
            match received {
                Ok((length, from)) => {
                    let (proxy, datagram) = (&mut self.proxy, &buffer[..length]);
                    let out = match &mut self.hold {
                        Some(hold) => hold.on(proxy, datagram, from, now_ms, route, self.me),
                        None => proxy.on(datagram, from, now_ms, route),
                    };
                    self.send(out.as_slice());
                }
                Err(error) if is_idle(&error) => self.proxy.tick(now_ms),
                // An earlier datagram met a closed port: the kernel tells it here.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => {
                    tracing::error!(%error, "simulator sip socket failed");
                    std::thread::sleep(IDLE);
                }
            }
            if let Some(hold) = &mut self.hold {
                let outs = hold.decided(&mut self.proxy, now_ms);
                self.send(&outs);
            }
            if let Some(told) = &mut self.told {
                self.proxy.take_notes().into_iter().for_each(told);
            }
        }
    }

    fn send(&self, outs: &[Out]) {
        for out in outs {
            if let Err(error) = self.socket.send_to(&out.bytes, out.to) {
                // Lost like any datagram; the ends will send again.
                tracing::debug!(%error, to = %out.to, "simulator could not send");
            }
        }
    }
}

fn is_idle(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
