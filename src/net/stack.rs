//! The stack: one interface, its sockets, and what has to be done when.
//!
//! # How a frame finds its socket
//! `smoltcp` offers a frame to each socket of a set, and looks at each socket of a set for something
//! to send. So each TCP connection has a set of its own here: the headers of a frame say which
//! connection it is for, and only that one is touched. All other sockets share one set, which also
//! gets what is for none, to be answered with a reset or an ICMP error.
//!
//! ```text
//!              ┌── headers ──► a connection's set ──┐
//!   frame ─────┤                                    ├──► touched ──► frames, wakes, deadline
//!              └── the rest ─► the common set ──────┘
//! ```
//!
//! # Invariants
//! - **touched-settled**: what has touched a socket (a frame, a call, an instant) puts it among the
//!   touched, and [`Stack::settle`] leaves none there: what it has to send is handed to the port,
//!   what waits for it is among the wakes, and its deadline is known. If the port is full, the
//!   socket is among the blocked instead, until there is room.
//! - **no-lost-wake**: a call that can't go on registers its waker under the same lock under which
//!   it has looked.
//!
//! What a peer can make grow has a limit in [`Limits`].

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::mem::take;
use core::net::{IpAddr, SocketAddr};
use core::task::Waker;

use smoltcp::iface::{self, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, RxToken, TxToken};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, HardwareAddress};

use super::headers::Headers;
use super::link::Link;
use super::listener::Listener;
use super::one_frame::OneFrame;
use super::ping::Ping;
use super::table::{SockId, Table};
use super::tcp::{Tcp, duration};
use super::udp::Udp;
use super::waits::Waits;
use super::{Counters, Limits, NetPort, PortStatistics};

/// How many frames one call of [`Stack::advance`] receives, so that others get the lock.
const BUDGET: usize = 64;
/// How many frames a socket sends before the next one may.
const BURST: usize = 64;
/// How often [`Stack::settle`] receives what the machine has sent to itself before it leaves the
/// rest to the network's thread.
const ROUNDS: usize = 16;
/// When a socket is looked at again for which `smoltcp` names an instant that is over.
const SOON: Duration = Duration::from_millis(20);
/// How long the fragments of a datagram may take. RFC 1122, section 3.3.2, wants a minute at least,
/// from the days of slow links; Linux has half of it.
const REASSEMBLY: Duration = Duration::from_secs(15);

/// A connection: this machine's end, and the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ends {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

/// What an id names.
#[derive(Debug)]
pub(super) enum Sock {
    Tcp(Tcp),
    Listener(Listener),
    Udp(Udp),
    Ping(Ping),
}

/// What may have changed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// A frame for it.
    Frame,
    /// A call, or an instant.
    Us,
}

/// The network of a machine.
pub struct Stack<P: NetPort> {
    pub(super) link: Link<P>,
    pub(super) core: Core,
}

/// All but the port.
pub(super) struct Core {
    /// Boxed, because it is too large to be moved about on a thread's stack.
    pub(super) iface: Box<Interface>,
    capabilities: DeviceCapabilities,
    pub(super) now: Instant,
    pub(super) limits: Limits,
    pub(super) counters: Counters,
    pub(super) socks: Table<Sock>,
    pub(super) connections: BTreeMap<Ends, SockId>,
    /// The bytes of all connections' buffers.
    pub(super) bytes: usize,
    /// What is half-open, the oldest first.
    pub(super) half_open: VecDeque<SockId>,
    /// What no program holds and is not over, the oldest first.
    pub(super) orphans: VecDeque<SockId>,
    /// What no program holds and is in TIME-WAIT, the oldest first.
    pub(super) time_wait: VecDeque<SockId>,
    /// UDP, ICMP and DHCP.
    pub(super) common: SocketSet<'static>,
    common_touched: bool,
    common_deadline: Option<Instant>,
    pub(super) dhcp: Option<SocketHandle>,
    touched: VecDeque<SockId>,
    blocked: Vec<SockId>,
    is_blocked: bool,
    /// A frame has said where a neighbor is.
    neighbors_changed: bool,
    deadlines: BTreeSet<(Instant, SockId)>,
    /// What is to be woken when the stack's lock is open again.
    pub(super) wakes: Vec<Waker>,
    /// The interface's addresses.
    pub(super) own: Vec<IpAddr>,
    pub(super) name_servers: Vec<IpAddr>,
    /// What waits until the machine has an address.
    pub(super) for_address: Waits,
    random: u64,
}

impl<P: NetPort> Stack<P> {
    /// Returns a stack that sends by `port`, if there is one, without an address but those of
    /// loopback. `seed` makes its sequence numbers and ports hard to guess.
    pub fn new(port: Option<P>, limits: Limits, seed: u64, now: Instant) -> Stack<P> {
        let mut link = Link::new(port);
        let iface = interface(&mut link, seed, now);
        let core = Core {
            iface,
            capabilities: link.capabilities(),
            now,
            limits,
            counters: Counters::default(),
            socks: Table::new(),
            connections: BTreeMap::new(),
            bytes: 0,
            half_open: VecDeque::new(),
            orphans: VecDeque::new(),
            time_wait: VecDeque::new(),
            common: SocketSet::new(Vec::new()),
            common_touched: false,
            common_deadline: None,
            dhcp: None,
            touched: VecDeque::new(),
            blocked: Vec::new(),
            is_blocked: false,
            neighbors_changed: false,
            deadlines: BTreeSet::new(),
            wakes: Vec::new(),
            own: Vec::new(),
            name_servers: Vec::new(),
            for_address: Waits::default(),
            random: seed,
        };
        let mut stack = Stack { link, core };
        stack.set_addresses(Vec::new());
        stack
    }

    /// Receives and sends what there is, at the instant `now`. Returns whether it may have left
    /// something, so that it should be called again soon.
    pub fn advance(&mut self, now: Instant) -> bool {
        self.core.now = now;
        self.core.iface.poll_maintenance(now);
        self.core.expire();
        self.core.unblock();
        let mut left = BUDGET;
        while left > 0 && self.receive() {
            left -= 1;
        }
        self.settle() || left == 0
    }

    /// Says that it is `now`, before a call.
    pub fn begin(&mut self, now: Instant) {
        self.core.now = now;
    }

    /// Does what calls, frames and instants have left to be done (touched-settled). Returns
    /// whether it has left frames that the machine has sent to itself.
    pub fn settle(&mut self) -> bool {
        for _ in 0..ROUNDS {
            if take(&mut self.core.neighbors_changed) {
                self.core.touch_all();
            }
            while let Some(id) = self.core.touched.pop_front() {
                self.send(id);
            }
            if take(&mut self.core.common_touched) {
                self.send_common();
            }
            let mut left = BUDGET;
            while left > 0 && self.link.has_back() && self.receive() {
                left -= 1;
            }
            if self.core.touched.is_empty() && !self.core.common_touched {
                return self.link.has_back();
            }
        }
        true
    }

    /// Returns what is to be woken, without holding the stack's lock.
    pub fn take_wakes(&mut self) -> Vec<Waker> {
        take(&mut self.core.wakes)
    }

    /// Returns when [`Stack::advance`] has something to do without a frame or a call.
    pub fn deadline(&self) -> Option<Instant> {
        let first = self.core.deadlines.first().map(|(at, _)| *at);
        [first, self.core.common_deadline]
            .into_iter()
            .flatten()
            .min()
    }

    /// As [`NetPort::arm`]; true if there is no port and nothing to receive.
    pub fn arm(&mut self) -> bool {
        self.link.arm()
    }

    /// Returns the hardware address of the port; `None` if there is no port.
    pub fn mac(&self) -> Option<[u8; 6]> {
        self.link.has_port().then(|| self.link.mac())
    }

    /// Returns the port, for tests.
    #[cfg(feature = "internals")]
    pub fn port_mut(&mut self) -> Option<&mut P> {
        self.link.port_mut()
    }

    /// Returns what was refused, and what has happened.
    pub fn counters(&self) -> Counters {
        self.core.counters
    }

    /// Returns what the port has carried, if there is one, and what the machine has sent to itself.
    pub fn statistics(&self) -> (Option<PortStatistics>, PortStatistics) {
        (self.link.port_statistics(), self.link.back_statistics())
    }

    /// Returns how many TCP connections there are, with those that are on their way to their end.
    pub fn connections(&self) -> usize {
        self.core.connections.len()
    }

    /// Receives a frame. Returns whether there was one.
    fn receive(&mut self) -> bool {
        let Stack { link, core } = self;
        let Some((frame, answer)) = link.receive(core.now) else {
            return false;
        };
        let foreign = frame.is_foreign();
        frame.consume(|bytes| core.deliver(bytes, foreign, answer));
        true
    }

    /// Has the connection `id` send what it has to, and looks at what it has become.
    fn send(&mut self, id: SockId) {
        let Stack { link, core } = self;
        let Some(Sock::Tcp(tcp)) = core.socks.get_mut(id) else {
            return;
        };
        tcp.touched = false;
        let gives_up = tcp.give_up_at.is_some_and(|at| core.now >= at);
        if gives_up && !tcp.give_up() {
            core.half_open_ends(id);
            return;
        }
        let answer_time = duration(core.limits.answer_time);
        let mut due = tcp.answer_due(core.now, answer_time);
        if due.is_some_and(|due| core.now >= due) {
            tcp.socket().abort(); // `look` finds out why.
            due = None;
        }
        let mut watched = Watched::new(link);
        let mut left = BURST;
        while left > 0
            && core.iface.poll_egress(core.now, &mut watched, &mut tcp.set) != PollResult::None
        {
            left -= 1;
        }
        let refused = watched.refused;
        core.look(id, By::Us);
        if gives_up {
            core.discard(id);
        }
        let Some(Sock::Tcp(tcp)) = core.socks.get_mut(id) else {
            return;
        };
        let mut at = core.iface.poll_at(core.now, &tcp.set);
        if refused {
            core.blocked.push(id);
            at = None;
        } else if left == 0 {
            tcp.touched = true;
            core.touched.push_back(id);
        }
        let at = at.map(|at| if at <= core.now { core.now + SOON } else { at });
        let at = [at, due, tcp.give_up_at].into_iter().flatten().min();
        if at != tcp.deadline {
            if let Some(before) = tcp.deadline {
                core.deadlines.remove(&(before, id));
            }
            if let Some(at) = at {
                core.deadlines.insert((at, id));
            }
            tcp.deadline = at;
        }
    }

    /// Has the sockets of the common set send what they have to.
    fn send_common(&mut self) {
        let Stack { link, core } = self;
        let nothing = SocketSet::new(Vec::new());
        let mut watched = Watched::new(link);
        for _ in 0..BURST {
            let sent = core
                .iface
                .poll_egress(core.now, &mut watched, &mut core.common);
            // A datagram may be on its way in fragments, one for each call.
            let whole = core.iface.poll_at(core.now, &nothing) != Some(Instant::ZERO);
            if watched.refused || sent == PollResult::None && whole {
                break;
            }
        }
        core.is_blocked |= watched.refused;
        core.common_deadline = core.iface.poll_at(core.now, &core.common);
        if core.common_deadline.is_some_and(|at| at <= core.now) {
            core.common_deadline = (!watched.refused).then(|| core.now + SOON);
        }
        core.look_common();
        self.look_dhcp();
    }
}

/// Makes the interface. Not inlined, so that its stack is free again afterwards.
#[inline(never)]
fn interface<P: NetPort>(link: &mut Link<P>, seed: u64, now: Instant) -> Box<Interface> {
    let mac = HardwareAddress::Ethernet(EthernetAddress(link.mac()));
    let mut config = iface::Config::new(mac);
    config.random_seed = seed;
    let mut iface = Box::new(Interface::new(config, link, now));
    iface.set_reassembly_timeout(REASSEMBLY);
    iface
}

impl Core {
    /// Delivers `frame` to the sockets that it is for. `answer` is a place for one frame.
    fn deliver(&mut self, frame: &[u8], foreign: bool, answer: impl TxToken) {
        let headers = Headers::of(frame, foreign, &self.own);
        let id = match headers {
            Headers::Bad => {
                self.counters.bad_frames += 1;
                return;
            }
            Headers::Tcp {
                local,
                remote,
                opens,
            } => match self.connection(Ends { local, remote }, opens) {
                Ok(id) => id,
                Err(Dropped) => return,
            },
            Headers::Neighbor => {
                self.neighbors_changed = true;
                None
            }
            Headers::Other => None,
        };
        let mut device = OneFrame::new(frame, answer, self.capabilities.clone());
        let tcp = id.and_then(|id| match self.socks.get_mut(id) {
            Some(Sock::Tcp(tcp)) => Some((id, tcp)),
            _ => None,
        });
        match tcp {
            Some((id, tcp)) => {
                self.iface
                    .poll_ingress_single(self.now, &mut device, &mut tcp.set);
                self.look(id, By::Frame);
                self.touch(id);
            }
            None => {
                self.iface
                    .poll_ingress_single(self.now, &mut device, &mut self.common);
                self.common_touched = true;
            }
        }
    }

    /// Puts the connection `id` among the touched.
    pub(super) fn touch(&mut self, id: SockId) {
        if let Some(Sock::Tcp(tcp)) = self.socks.get_mut(id)
            && !tcp.touched
        {
            tcp.touched = true;
            self.touched.push_back(id);
        }
    }

    /// Puts the common set among the touched.
    pub(super) fn touch_common(&mut self) {
        self.common_touched = true;
    }

    /// Puts everything among the touched: what waits for a neighbor's address doesn't say so.
    pub(super) fn touch_all(&mut self) {
        let all: Vec<SockId> = self.socks.ids().collect();
        for id in all {
            self.touch(id);
        }
        self.common_touched = true;
    }

    /// Touches what was blocked: there may be room again.
    fn unblock(&mut self) {
        for id in take(&mut self.blocked) {
            self.touch(id);
        }
        self.common_touched |= take(&mut self.is_blocked);
    }

    /// Touches what has a deadline that has come.
    fn expire(&mut self) {
        while let Some((at, id)) = self.deadlines.first().copied()
            && at <= self.now
        {
            self.deadlines.pop_first();
            if let Some(Sock::Tcp(tcp)) = self.socks.get_mut(id) {
                tcp.deadline = None;
            }
            self.touch(id);
        }
        if self.common_deadline.is_some_and(|at| at <= self.now) {
            self.common_deadline = None;
            self.common_touched = true;
        }
    }

    /// Forgets the deadline of a connection that is no more.
    pub(super) fn forget_deadline(&mut self, id: SockId, at: Option<Instant>) {
        if let Some(at) = at {
            self.deadlines.remove(&(at, id));
        }
    }

    /// Returns a number that a peer can't guess easily: the generator is SplitMix64.
    pub(super) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The frame is dropped, and counted.
pub(super) struct Dropped;

/// The link, and whether it has refused a place.
struct Watched<'a, P> {
    link: &'a mut Link<P>,
    refused: bool,
}

impl<'a, P: NetPort> Watched<'a, P> {
    fn new(link: &'a mut Link<P>) -> Self {
        let refused = false;
        Watched { link, refused }
    }
}

impl<P: NetPort> Device for Watched<'_, P> {
    type RxToken<'b>
        = <Link<P> as Device>::RxToken<'b>
    where
        Self: 'b;
    type TxToken<'b>
        = <Link<P> as Device>::TxToken<'b>
    where
        Self: 'b;

    fn receive(&mut self, now: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        self.link.receive(now)
    }

    fn transmit(&mut self, now: Instant) -> Option<Self::TxToken<'_>> {
        let token = self.link.transmit(now);
        self.refused |= token.is_none();
        token
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.link.capabilities()
    }
}
