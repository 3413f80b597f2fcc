//! What the network needs of a device: [`NetPort`].

use smoltcp::phy::Device;

/// A device that carries Ethernet frames.
///
/// Sending and receiving is [`Device`], whose tokens stand for one frame each. What `capabilities`
/// says never changes: the medium is Ethernet, and the largest frame has 14 bytes more than the MTU
/// that the interface shows.
///
/// # Interrupts
/// The network's thread takes frames until there is none, and only then asks for an interrupt, with
/// [`NetPort::arm`]. So a port under load raises none. The handler of its interrupt does nothing but
/// call the kernel's `net::wake`, from interrupt context; the thread looks at the port then. An
/// interrupt too many does no harm.
pub trait NetPort: Device + Send {
    /// Returns the port's hardware address. It is unicast and never changes.
    fn mac(&self) -> [u8; 6];

    /// Asks for one interrupt when a frame is there to be received. If [`Device::transmit`] has
    /// returned nothing since the last call of this function, also when there is room for a frame
    /// to be sent. Returns `false` if either is so now: then no interrupt comes for it, and the
    /// caller looks again.
    ///
    /// Called in a thread, with preemption on and IRQs on.
    fn arm(&mut self) -> bool;

    /// Returns what the port has carried and lost so far.
    fn statistics(&self) -> PortStatistics;
}

/// What a port has carried since it was made: the columns of Linux's `/proc/net/dev`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStatistics {
    /// Frames that were handed to the network.
    pub rx_packets: u64,
    /// The bytes in them, with their Ethernet headers.
    pub rx_bytes: u64,
    /// Frames that the device reports as wrong, such as one whose length can't be.
    pub rx_errors: u64,
    /// Frames that had to be dropped for want of memory or room.
    pub rx_dropped: u64,
    /// Frames that were handed to the device.
    pub tx_packets: u64,
    /// The bytes in them, with their Ethernet headers.
    pub tx_bytes: u64,
    /// Frames that the device has refused, or never gave back.
    pub tx_errors: u64,
    /// Frames that were dropped because the queue was full. A frame that is not asked for, since
    /// [`Device::transmit`] returned nothing, isn't one.
    pub tx_dropped: u64,
}
