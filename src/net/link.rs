//! What the interface sends by: the port of the machine, if it has one, and a way back for frames
//! that the machine sends to itself.
//!
//! A frame for the machine's own hardware address goes to a queue, from which it is received like
//! any other. That is decided when the frame has been written: a short frame, and every frame once
//! a frame has gone that way, is written aside first. So a machine that never talks to itself copies
//! no long frame.
//!
//! # Invariants
//! - **loopback-inside**: no frame that the machine sends to one of its own addresses leaves by the
//!   port, the questions for its hardware address neither.
//! - **queue-bounded**: the queue holds [`QUEUE`] frames at most. Senders wait, as for a port that is
//!   full.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use super::own_answer::answer;
use super::{NetPort, PortStatistics};

/// The largest frame without a port: an MTU of 1500 bytes and the Ethernet header.
const FRAME: usize = 1514;
/// How many frames wait to be received by the machine that has sent them.
const QUEUE: usize = 256;
/// The largest question for a hardware address: Neighbor Solicitation is the longer one.
const QUESTION: usize = 128;

/// The hardware address of a machine without a port. It is locally administered.
const NO_PORT: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// The port, and the way back.
#[derive(Debug)]
pub(super) struct Link<P> {
    port: Option<P>,
    back: Back,
}

/// The frames that the machine has sent to itself.
#[derive(Debug)]
struct Back {
    mac: [u8; 6],
    /// The machine's addresses.
    own: Vec<IpAddr>,
    queue: VecDeque<Vec<u8>>,
    /// Whether a frame has ever gone this way.
    used: bool,
    statistics: PortStatistics,
}

impl<P: NetPort> Link<P> {
    pub(super) fn new(port: Option<P>) -> Link<P> {
        let back = Back {
            mac: port.as_ref().map_or(NO_PORT, NetPort::mac),
            own: Vec::new(),
            queue: VecDeque::new(),
            used: false,
            statistics: PortStatistics::default(),
        };
        Link { port, back }
    }

    pub(super) fn mac(&self) -> [u8; 6] {
        self.back.mac
    }

    #[cfg(feature = "internals")]
    pub(super) fn port_mut(&mut self) -> Option<&mut P> {
        self.port.as_mut()
    }

    pub(super) fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// Says which addresses are the machine's.
    pub(super) fn set_own(&mut self, own: Vec<IpAddr>) {
        self.back.own = own;
    }

    /// Returns whether frames wait that the machine has sent to itself.
    pub(super) fn has_back(&self) -> bool {
        !self.back.queue.is_empty()
    }

    /// As [`NetPort::arm`].
    pub(super) fn arm(&mut self) -> bool {
        !self.has_back() && self.port.as_mut().is_none_or(NetPort::arm)
    }

    /// Returns what the port has carried, if there is one.
    pub(super) fn port_statistics(&self) -> Option<PortStatistics> {
        self.port.as_ref().map(NetPort::statistics)
    }

    /// Returns what the machine has sent to itself.
    pub(super) fn back_statistics(&self) -> PortStatistics {
        self.back.statistics
    }
}

impl<P: NetPort> Device for Link<P> {
    type RxToken<'a>
        = LinkRx<P::RxToken<'a>>
    where
        P: 'a;
    type TxToken<'a>
        = LinkTx<'a, P::TxToken<'a>>
    where
        P: 'a;

    fn receive(&mut self, now: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let Link { port, back } = self;
        if let Some(frame) = back.queue.pop_front() {
            back.statistics.rx_packets += 1;
            back.statistics.rx_bytes += frame.len() as u64;
            let port = port.as_mut().and_then(|port| port.transmit(now));
            return Some((LinkRx::Back(frame), LinkTx { port, back }));
        }
        let (rx, tx) = port.as_mut()?.receive(now)?;
        let port = Some(tx);
        Some((LinkRx::Port(rx), LinkTx { port, back }))
    }

    fn transmit(&mut self, now: Instant) -> Option<Self::TxToken<'_>> {
        let Link { port, back } = self;
        if back.queue.len() >= QUEUE {
            return None; // (queue-bounded)
        }
        let port = match port {
            Some(port) => Some(port.transmit(now)?),
            None => None,
        };
        Some(LinkTx { port, back })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        if let Some(port) = &self.port {
            return port.capabilities();
        }
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }
}

/// A frame that has come.
pub(super) enum LinkRx<R> {
    /// From the machine itself.
    Back(Vec<u8>),
    /// By the port.
    Port(R),
}

impl<R> LinkRx<R> {
    /// Returns whether the frame has come by the port.
    pub(super) fn is_foreign(&self) -> bool {
        matches!(self, LinkRx::Port(_))
    }
}

impl<R: RxToken> RxToken for LinkRx<R> {
    fn consume<T, F: FnOnce(&[u8]) -> T>(self, read_fn: F) -> T {
        match self {
            LinkRx::Back(frame) => read_fn(&frame),
            LinkRx::Port(token) => token.consume(read_fn),
        }
    }
}

/// A place for a frame.
pub(super) struct LinkTx<'a, T> {
    /// The place in the port's queue; none if there is no port or no room, and then a frame for
    /// another machine is dropped.
    port: Option<T>,
    back: &'a mut Back,
}

impl<T: TxToken> TxToken for LinkTx<'_, T> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write_fn: F) -> R {
        let LinkTx { port, back } = self;
        let aside = back.used || len <= QUESTION;
        match port {
            Some(port) if !aside => port.consume(len, write_fn),
            port => {
                let mut frame = vec![0; len];
                let written = write_fn(&mut frame);
                if frame.get(..6) == Some(&back.mac) {
                    back.push(frame);
                    return written;
                }
                if let Some(answer) = answer(&frame, &back.own, back.mac) {
                    back.push(answer); // The question stays here (loopback-inside).
                    return written;
                }
                match port {
                    Some(port) => port.consume(len, |buffer| buffer.copy_from_slice(&frame)),
                    None => back.statistics.tx_dropped += 1,
                }
                written
            }
        }
    }
}

impl Back {
    fn push(&mut self, frame: Vec<u8>) {
        if self.queue.len() >= QUEUE {
            self.statistics.tx_dropped += 1;
            return;
        }
        self.used = true;
        self.statistics.tx_packets += 1;
        self.statistics.tx_bytes += frame.len() as u64;
        self.queue.push_back(frame);
    }
}

/// The port of a machine that has none: no frame comes, and none can be sent.
#[derive(Clone, Copy, Debug)]
pub enum NoPort {}

impl NetPort for NoPort {
    fn mac(&self) -> [u8; 6] {
        match *self {}
    }

    fn arm(&mut self) -> bool {
        match *self {}
    }

    fn statistics(&self) -> PortStatistics {
        match *self {}
    }
}

impl Device for NoPort {
    type RxToken<'a> = NoToken;
    type TxToken<'a> = NoToken;

    fn receive(&mut self, _: Instant) -> Option<(NoToken, NoToken)> {
        match *self {}
    }

    fn transmit(&mut self, _: Instant) -> Option<NoToken> {
        match *self {}
    }

    fn capabilities(&self) -> DeviceCapabilities {
        match *self {}
    }
}

/// The token that [`NoPort`] never gives.
#[derive(Clone, Copy, Debug)]
pub enum NoToken {}

impl RxToken for NoToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, _: F) -> R {
        match self {}
    }
}

impl TxToken for NoToken {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, _: usize, _: F) -> R {
        match self {}
    }
}
