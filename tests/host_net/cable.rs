//! Two machines, and a cable between them that loses, repeats, delays and damages frames.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use stillpoint::errno::Errno;
use stillpoint::net::smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use stillpoint::net::smoltcp::time::{Duration, Instant};
use stillpoint::net::{Config, Limits, NetPort, PortStatistics, Stack};

use crate::xorshift::Random;

/// How many of 1000 frames suffer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) lost: usize,
    pub(crate) repeated: usize,
    pub(crate) late: usize,
    pub(crate) damaged: usize,
}

/// One direction of the cable: frames and when they arrive.
type Way = Arc<Mutex<VecDeque<(Instant, Vec<u8>)>>>;

/// An end of the cable.
pub(crate) struct Plug {
    mac: [u8; 6],
    out: Way,
    incoming: Way,
    faults: Faults,
    random: Random,
    now: Instant,
    /// How many frames may be on their way; more are not taken.
    pub(crate) room: usize,
}

impl NetPort for Plug {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn arm(&mut self) -> bool {
        true
    }

    fn statistics(&self) -> PortStatistics {
        PortStatistics::default()
    }
}

impl Device for Plug {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Place<'a>;

    fn receive(&mut self, now: Instant) -> Option<(Frame, Place<'_>)> {
        self.now = now;
        let mut incoming = self.incoming.lock().expect("no test panics under it");
        let first = incoming.iter().position(|(at, _)| *at <= now)?;
        let (_, frame) = incoming.remove(first)?;
        drop(incoming);
        Some((Frame(frame), Place(self)))
    }

    fn transmit(&mut self, now: Instant) -> Option<Place<'_>> {
        self.now = now;
        let on_their_way = self.out.lock().expect("no test panics under it").len();
        (on_their_way < self.room).then_some(Place(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

pub(crate) struct Frame(Vec<u8>);

impl RxToken for Frame {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

pub(crate) struct Place<'a>(&'a mut Plug);

impl TxToken for Place<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut frame = vec![0; len];
        let value = write(&mut frame);
        self.0.send(frame);
        value
    }
}

impl Plug {
    fn suffers(&mut self, of_1000: usize) -> bool {
        self.random.below(1000) < of_1000
    }

    fn send(&mut self, mut frame: Vec<u8>) {
        let faults = self.faults;
        if self.suffers(faults.lost) {
            return;
        }
        let copies = if self.suffers(faults.repeated) { 2 } else { 1 };
        for _ in 0..copies {
            if self.suffers(faults.damaged) {
                let place = self.random.below(frame.len());
                frame[place] ^= 1 << self.random.below(8);
            }
            let delay = if self.suffers(faults.late) {
                200 + self.random.below(5000) as u64
            } else {
                100
            };
            let at = self.now + Duration::from_micros(delay);
            self.out
                .lock()
                .expect("no test panics under it")
                .push_back((at, frame.clone()));
        }
    }
}

/// Two machines on a cable.
pub(crate) struct Pair {
    pub(crate) stacks: [Stack<Plug>; 2],
    pub(crate) now: Instant,
    ways: [Way; 2],
}

/// The address of a machine of a [`Pair`].
pub(crate) fn address(of: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, 1 + of.to_le_bytes()[0]).into()
}

impl Pair {
    pub(crate) fn new(faults: Faults, limits: Limits, seed: u64) -> Pair {
        let ways: [Way; 2] = Default::default();
        let stacks = [0_usize, 1].map(|of| {
            let plug = Plug {
                mac: [2, 0, 0, 0, 1, of.to_le_bytes()[0]],
                out: Arc::clone(&ways[of]),
                incoming: Arc::clone(&ways[1 - of]),
                faults,
                random: Random::new(seed * 2 + of as u64 + 1),
                now: Instant::ZERO,
                room: 64,
            };
            let mut stack = Stack::new(Some(plug), limits, seed + of as u64, Instant::ZERO);
            stack.configure(&Config {
                addresses: vec![(address(of), 24)],
                ..Config::default()
            });
            stack
        });
        Pair {
            stacks,
            now: Instant::ZERO,
            ways,
        }
    }

    /// Cuts the cable.
    pub(crate) fn cut(&mut self) {
        for stack in &mut self.stacks {
            stack.port_mut().expect("it has a port").faults.lost = 1000;
        }
    }

    /// Has `frame` arrive at a machine, as if a third one had sent it.
    pub(crate) fn inject(&mut self, at: usize, frame: Vec<u8>) {
        let mut way = self.ways[1 - at].lock().expect("no test panics under it");
        way.push_back((self.now, frame));
    }

    /// Returns the frames that are on their way to a machine.
    pub(crate) fn on_the_way(&self, to: usize) -> Vec<Vec<u8>> {
        let way = self.ways[1 - to].lock().expect("no test panics under it");
        way.iter().map(|(_, frame)| frame.clone()).collect()
    }

    /// Lets `time` pass, in steps.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            // Straight on to what happens next.
            let frames = self.ways.iter().filter_map(|way| {
                let way = way.lock().expect("no test panics under it");
                way.iter().map(|(at, _)| *at).min()
            });
            let deadlines = self.stacks.iter().filter_map(|stack| stack.deadline());
            let next = frames.chain(deadlines).min().unwrap_or(until);
            self.now = self.now.max(next.min(until) - Duration::from_micros(100));
            self.step();
        }
    }

    /// Lets a moment pass.
    pub(crate) fn step(&mut self) {
        self.now += Duration::from_micros(100);
        for stack in &mut self.stacks {
            while stack.advance(self.now) {}
        }
    }

    /// Calls `call` with a machine's stack, as the kernel does, until it is ready.
    pub(crate) fn wait<T>(
        &mut self,
        of: usize,
        mut call: impl FnMut(&mut Stack<Plug>) -> Poll<Result<T, Errno>>,
    ) -> Result<T, Errno> {
        for _ in 0..2_000_000 {
            if let Poll::Ready(value) = self.call(of, &mut call) {
                return value;
            }
            self.step();
        }
        panic!("nothing has come of it by {}", self.now);
    }

    /// Calls `call` with a machine's stack, as the kernel does.
    pub(crate) fn call<T>(&mut self, of: usize, call: impl FnOnce(&mut Stack<Plug>) -> T) -> T {
        let stack = &mut self.stacks[of];
        stack.begin(self.now);
        let value = call(stack);
        while stack.settle() {}
        value
    }

    /// Connects the first machine to a listener of the second.
    pub(crate) fn connect(&mut self) -> (stillpoint::net::SockId, stillpoint::net::SockId) {
        let addr = SocketAddr::new(address(1), 80);
        let listener = self
            .call(1, |stack| stack.tcp_listen(addr, 8))
            .expect("nothing stands against it");
        let client = self
            .call(0, |stack| stack.tcp_connect(addr))
            .expect("nothing stands against it");
        self.wait(0, |stack| stack.tcp_connected(client, None))
            .expect("nothing stands against it");
        let (server, _) = self
            .wait(1, |stack| stack.tcp_accept(listener, None))
            .expect("nothing stands against it");
        (client, server)
    }
}
