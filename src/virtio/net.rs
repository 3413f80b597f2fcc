//! A network card.
//!
//! Frames aren't copied: the device writes a frame into a buffer which the network reads in
//! place, and reads one which the network has written in place. Each buffer begins with the
//! header of virtio-net, which is all zeros here, because no offload is chosen.
//!
//! Nothing here waits. Buffers that were read are lent again in one go, when the next frame is
//! asked for; those that were sent are taken back when there is something to send.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::vec::Vec;

use virtio_drivers::Hal;
use virtio_drivers::transport::Transport;

use super::device::{Device, Features, Limit};
use super::error::VirtioError;
use super::queue::{Queue, Returned};

/// The largest Ethernet frame, without its checksum: a header of 14 bytes and 1500 of data.
pub const MAX_FRAME: usize = 1514;

/// The queue of received frames, and that of frames to send (Virtio 1.2, 5.1.2).
const RECEIVE: u16 = 0;
const SEND: u16 = 1;

/// The configuration has the address (VIRTIO_NET_F_MAC).
const HAS_MAC: Features = Features::bit(5);

/// The size of the header without the field `num_buffers`, which only a device of Virtio 1.0
/// has, and with it (5.1.6).
const LEGACY_HEADER: usize = 10;
const HEADER: usize = 12;

/// What a card has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetStatistics {
    /// Frames received.
    pub received: u64,
    /// Bytes of those.
    pub received_bytes: u64,
    /// Frames that were dropped because the device says an impossible length of them.
    pub bad: u64,
    /// Frames sent.
    pub sent: u64,
    /// Bytes of those.
    pub sent_bytes: u64,
    /// Frames that were dropped because they were too long, or there was no memory.
    pub dropped: u64,
}

/// A network card with queues of `N` frames.
pub struct Net<H: Hal, T: Transport, const N: usize> {
    device: Device<T>,
    receive: Queue<H, N>,
    send: Queue<H, N>,
    /// The size of the header in front of a frame.
    header: usize,
    mac: Option<[u8; 6]>,
    /// Buffers that go back to the receive queue.
    refill: Vec<Box<[u8]>>,
    /// Buffers to send that are owned.
    spare: Vec<Box<[u8]>>,
    /// Whether the last frame found no room.
    full: bool,
    statistics: NetStatistics,
    failure: Option<VirtioError>,
}

/// Returns a buffer of `size` zeros, or `None` if there is no memory.
fn buffer(size: usize) -> Option<Box<[u8]>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).ok()?;
    bytes.resize(size, 0);
    Some(bytes.into_boxed_slice())
}

/// Returns an empty list with room for `size` buffers.
fn list(size: usize) -> Result<Vec<Box<[u8]>>, VirtioError> {
    let mut list = Vec::new();
    list.try_reserve_exact(size)
        .map_err(|_| VirtioError::NoMemory)?;
    Ok(list)
}

impl<H: Hal, T: Transport, const N: usize> Net<H, T, N> {
    /// Starts the card behind `transport`, with interrupts off.
    ///
    /// # Errors
    /// The device can't be used; it has been reset or told that its driver has given up.
    pub fn new(transport: T, limit: impl Limit) -> Result<Self, VirtioError> {
        let (refill, spare) = (list(N)?, list(N)?);
        let mut device = Device::new(transport, HAS_MAC, limit)?;
        let (receive, send, mac) = match Self::start(&mut device) {
            Ok(parts) => parts,
            Err(error) => {
                device.fail();
                return Err(error);
            }
        };
        let modern = device.features().has(Features::VERSION_1);
        let mut net = Net {
            device,
            receive,
            send,
            header: if modern { HEADER } else { LEGACY_HEADER },
            mac,
            refill,
            spare,
            full: false,
            statistics: NetStatistics::default(),
            failure: None,
        };
        if let Err(error) = net.fill() {
            net.device.fail();
            return Err(error);
        }
        Ok(net)
    }

    /// Makes the queues of `device`, reads its address, and starts it.
    #[expect(clippy::type_complexity, reason = "it is used once, here")]
    fn start(
        device: &mut Device<T>,
    ) -> Result<(Queue<H, N>, Queue<H, N>, Option<[u8; 6]>), VirtioError> {
        let mac = if device.features().has(HAS_MAC) {
            let mac = device.config(|transport| transport.read_config_space::<[u8; 6]>(0))?;
            // A card's own address is that of one station, and not of nobody.
            (mac[0] & 1 == 0 && mac != [0; 6]).then_some(mac)
        } else {
            None
        };
        let mut receive = Queue::new(device, RECEIVE)?;
        let mut send = Queue::new(device, SEND)?;
        receive.set_interrupt(false);
        send.set_interrupt(false);
        device.start();
        Ok((receive, send, mac))
    }

    /// Gives the device all its buffers for received frames.
    fn fill(&mut self) -> Result<(), VirtioError> {
        for _ in 0..N {
            let buffer = buffer(self.header + MAX_FRAME).ok_or(VirtioError::NoMemory)?;
            self.refill.push(buffer);
        }
        self.lend_again();
        self.failure.map_or(Ok(()), Err)
    }

    /// Returns the card's address, if the device gives it a possible one.
    pub fn mac(&self) -> Option<[u8; 6]> {
        self.mac
    }

    /// Returns what the card has done so far.
    pub fn statistics(&self) -> NetStatistics {
        self.statistics
    }

    /// Returns what the device did wrong, after which nothing is received or sent any more.
    pub fn failure(&self) -> Option<VirtioError> {
        self.failure
    }

    /// Lends the device the buffers that were read.
    fn lend_again(&mut self) {
        let mut any = false;
        while let Some(buffer) = self.refill.pop() {
            match self.receive.lend_to_write(buffer) {
                Ok(()) => any = true,
                Err((buffer, error)) => {
                    self.refill.push(buffer);
                    self.failure.get_or_insert(error);
                    break;
                }
            }
        }
        if any {
            self.receive.notify(&mut self.device);
        }
    }

    /// Takes back the buffers that the device has sent.
    fn take_sent(&mut self) {
        while let Some(returned) = self.look(false) {
            self.spare.push(returned.buffer);
        }
    }

    /// Takes the next buffer back that the device has received or sent, and its length.
    fn look(&mut self, received: bool) -> Option<Returned> {
        let queue = if received {
            &mut self.receive
        } else {
            &mut self.send
        };
        match queue.take_back() {
            Ok(returned) => returned,
            Err(VirtioError::Broken) => None,
            Err(error) => {
                self.failure.get_or_insert(error);
                None
            }
        }
    }

    /// Returns the next frame that has arrived, and room to answer it; `None` if there is none,
    /// or no room.
    pub fn receive(&mut self) -> Option<(Received<'_>, Room<'_, H, T, N>)> {
        self.lend_again();
        if !self.has_room() {
            return None;
        }
        // Each round takes a buffer back, so there are `N` of them at most.
        loop {
            let Returned { buffer, length } = self.look(true)?;
            match length {
                Ok(length) if length > self.header => {
                    let header = self.header;
                    self.statistics.received += 1;
                    self.statistics.received_bytes += (length - header) as u64;
                    let received = Received {
                        frame: header..length,
                        buffer: Some(buffer),
                        refill: &mut self.refill,
                    };
                    let room = Room {
                        device: &mut self.device,
                        queue: &mut self.send,
                        spare: &mut self.spare,
                        header,
                        statistics: &mut self.statistics,
                    };
                    return Some((received, room));
                }
                _ => {
                    self.statistics.bad += 1;
                    self.refill.push(buffer);
                }
            }
        }
    }

    /// Returns room for a frame, or `None` if the device has all buffers.
    pub fn room(&mut self) -> Option<Room<'_, H, T, N>> {
        if !self.has_room() {
            return None;
        }
        Some(Room {
            device: &mut self.device,
            queue: &mut self.send,
            spare: &mut self.spare,
            header: self.header,
            statistics: &mut self.statistics,
        })
    }

    /// Returns whether a frame can be sent. Makes sure that there is a buffer for it.
    fn has_room(&mut self) -> bool {
        if self.send.has_returned() {
            self.take_sent();
        }
        let mut room = self.failure.is_none() && !self.send.is_broken() && self.send.lent() < N;
        if room && self.spare.is_empty() {
            match buffer(self.header + MAX_FRAME) {
                Some(buffer) => self.spare.push(buffer),
                None => room = false,
            }
        }
        self.full = !room;
        room
    }

    /// Asks for no interrupts while the caller looks for frames by itself.
    pub fn disarm(&mut self) {
        self.receive.set_interrupt(false);
        self.send.set_interrupt(false);
    }

    /// Asks for an interrupt when the next frame arrives, and, if there was no room for the last
    /// frame, when there is. Returns `false` if the caller needs no interrupt, because one of the
    /// two has happened already.
    pub fn arm(&mut self) -> bool {
        self.lend_again();
        // A frame that has arrived waits for room too, because it may be answered.
        let queue = if self.full {
            &mut self.send
        } else {
            &mut self.receive
        };
        queue.set_interrupt(true);
        let waits = queue.has_returned();
        if waits {
            queue.set_interrupt(false);
        }
        !waits
    }

    /// Resets the card, and frees its memory.
    ///
    /// # Errors
    /// [`VirtioError::NoReset`]: the memory of the card is lost.
    pub fn stop(self, limit: impl Limit) -> Result<(), VirtioError> {
        let Net {
            mut device,
            receive,
            send,
            ..
        } = self;
        Queue::free([receive, send], &mut device, limit)
    }
}

/// A frame that has arrived. Dropping it gives the buffer back to the card.
#[derive(Debug)]
pub struct Received<'a> {
    /// The buffer; `None` only while this is dropped.
    buffer: Option<Box<[u8]>>,
    /// Where in the buffer the frame is.
    frame: core::ops::Range<usize>,
    refill: &'a mut Vec<Box<[u8]>>,
}

impl Received<'_> {
    /// Returns the frame.
    pub fn frame(&self) -> &[u8] {
        let buffer = self.buffer.as_deref().unwrap_or_default();
        buffer.get(self.frame.clone()).unwrap_or_default()
    }
}

impl Drop for Received<'_> {
    fn drop(&mut self) {
        self.refill.extend(self.buffer.take());
    }
}

/// Room for a frame to send.
pub struct Room<'a, H: Hal, T: Transport, const N: usize> {
    device: &'a mut Device<T>,
    queue: &'a mut Queue<H, N>,
    /// At least one buffer.
    spare: &'a mut Vec<Box<[u8]>>,
    header: usize,
    statistics: &'a mut NetStatistics,
}

impl<H: Hal, T: Transport, const N: usize> Room<'_, H, T, N> {
    /// Sends a frame of `length` bytes that `write_fn` writes, and returns what that returns. A
    /// frame that is too long is written and dropped. The frame isn't all zeros before: it may
    /// have bytes of an earlier one.
    pub fn send<R>(self, length: usize, write_fn: impl FnOnce(&mut [u8]) -> R) -> R {
        let end = self.header + length;
        let fits = self
            .spare
            .last()
            .is_some_and(|buffer| end <= buffer.len() && length != 0);
        let buffer = if fits { self.spare.pop() } else { None };
        let Some(mut buffer) = buffer else {
            self.statistics.dropped += 1;
            return write_fn(&mut alloc::vec![0; length]);
        };
        let (header, rest) = buffer.split_at_mut(self.header);
        header.fill(0);
        let result = write_fn(rest.get_mut(..length).unwrap_or_default());
        match self.queue.lend_to_read(buffer, end) {
            Ok(()) => {
                self.statistics.sent += 1;
                self.statistics.sent_bytes += length as u64;
                self.queue.notify(self.device);
            }
            Err((buffer, _)) => {
                self.statistics.dropped += 1;
                self.spare.push(buffer);
            }
        }
        result
    }
}
