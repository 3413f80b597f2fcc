//! Ports without a device: one that carries its frames back, and one that carries none.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use super::{NetPort, PortStatistics};

/// The largest frame: an MTU of 1500 bytes and the Ethernet header.
const FRAME: usize = 1514;
/// How many frames a [`LoopPort`] holds. It takes no more from the sender until some are received.
const QUEUE: usize = 256;

/// Returns what a port says that does nothing for the stack.
fn capabilities() -> DeviceCapabilities {
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ethernet;
    capabilities.max_transmission_unit = FRAME;
    capabilities
}

/// A port whose frames come back to it.
#[derive(Debug, Default)]
pub struct LoopPort {
    queue: VecDeque<Vec<u8>>,
    statistics: PortStatistics,
}

impl LoopPort {
    /// Returns a port that holds no frame.
    pub fn new() -> LoopPort {
        LoopPort::default()
    }
}

impl NetPort for LoopPort {
    fn mac(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, 1] // Locally administered.
    }

    fn arm(&mut self) -> bool {
        self.queue.is_empty()
    }

    fn statistics(&self) -> PortStatistics {
        self.statistics
    }
}

impl Device for LoopPort {
    type RxToken<'a> = Frame;
    type TxToken<'a> = LoopTx<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Frame, LoopTx<'_>)> {
        let frame = self.queue.pop_front()?;
        self.statistics.rx_packets += 1;
        self.statistics.rx_bytes += frame.len() as u64;
        Some((Frame(frame), LoopTx(self)))
    }

    fn transmit(&mut self, _: Instant) -> Option<LoopTx<'_>> {
        (self.queue.len() < QUEUE).then_some(LoopTx(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities()
    }
}

/// A frame that was received.
#[derive(Debug)]
pub struct Frame(Vec<u8>);

impl RxToken for Frame {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read_fn: F) -> R {
        read_fn(&self.0)
    }
}

/// A place in the queue of a [`LoopPort`].
#[derive(Debug)]
pub struct LoopTx<'a>(&'a mut LoopPort);

impl TxToken for LoopTx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write_fn: F) -> R {
        let mut frame = vec![0; len];
        let written = write_fn(&mut frame);
        self.0.statistics.tx_packets += 1;
        self.0.statistics.tx_bytes += len as u64;
        self.0.queue.push_back(frame);
        written
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
    type RxToken<'a> = Frame;
    type TxToken<'a> = NoTx;

    fn receive(&mut self, _: Instant) -> Option<(Frame, NoTx)> {
        match *self {}
    }

    fn transmit(&mut self, _: Instant) -> Option<NoTx> {
        match *self {}
    }

    fn capabilities(&self) -> DeviceCapabilities {
        match *self {}
    }
}

/// The token that [`NoPort`] never gives.
#[derive(Clone, Copy, Debug)]
pub enum NoTx {}

impl TxToken for NoTx {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, _: usize, _: F) -> R {
        match self {}
    }
}
