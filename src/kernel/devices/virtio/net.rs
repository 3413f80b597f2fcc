//! Virtio's network card, as the network uses it.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

#[cfg(feature = "net")]
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
#[cfg(feature = "net")]
use smoltcp::time::Instant;

use super::hal::DeviceMemory;
use super::{RESET_LIMIT, limit};
use crate::drivers::virtio::{VirtioInterrupt, VirtioTransport};
use crate::irq::{IrqHandle, IrqReturn};
use crate::kernel::Hw;
use crate::kernel::irqs::IrqBuilder;
#[cfg(feature = "net")]
use crate::net::{NetPort, PortStatistics};
use crate::platform::IrqLine;
use crate::virtio::{MAX_FRAME, Net, NetStatistics, Received, Room, VirtioError};

/// How many frames each of the two queues has.
const FRAMES: usize = 64;

type Card = Net<DeviceMemory, VirtioTransport, FRAMES>;

/// A network card.
pub struct VirtioNet {
    card: Box<Card>,
    mac: [u8; 6],
    /// What becomes of its interrupt.
    interrupt: CardInterrupt,
}

/// A card's interrupt.
enum CardInterrupt {
    /// Nothing serves it.
    Free(VirtioInterrupt, Option<IrqLine>),
    /// It is served as long as this lives; or there is none.
    Served(Option<IrqHandle<Hw>>),
}

impl VirtioNet {
    /// Starts the card.
    ///
    /// # Errors
    /// It can't be used.
    pub(super) fn new(
        transport: VirtioTransport,
        interrupt: VirtioInterrupt,
        line: Option<IrqLine>,
    ) -> Result<VirtioNet, VirtioError> {
        let card = Box::new(Card::new(transport, limit(RESET_LIMIT))?);
        // An address that is local and of one station, where the device gives none.
        let mac = card.mac().unwrap_or([0x02, b's', b't', b'i', b'l', b'l']);
        Ok(VirtioNet {
            card,
            mac,
            interrupt: CardInterrupt::Free(interrupt, line),
        })
    }

    /// Has `wake_fn` called in the handler of the card's interrupt from now on. Returns whether the
    /// card has an interrupt; if not, only a look at it tells that a frame has arrived.
    ///
    /// # Context
    /// Thread, preemption on; allocates. Once for each card: the second call changes nothing.
    pub fn request_interrupt(&mut self, mut wake_fn: impl FnMut() + Send + 'static) -> bool {
        let free = core::mem::replace(&mut self.interrupt, CardInterrupt::Served(None));
        let (interrupt, line) = match free {
            CardInterrupt::Free(interrupt, Some(line)) => (interrupt, line),
            CardInterrupt::Free(_, None) => return false,
            served @ CardInterrupt::Served(_) => {
                let is_served = matches!(served, CardInterrupt::Served(Some(_)));
                self.interrupt = served;
                return is_served;
            }
        };
        let is_shared = matches!(interrupt, VirtioInterrupt::Pci(_));
        let handler = move || match interrupt.acknowledge() {
            0 => IrqReturn::None,
            _ => {
                wake_fn();
                IrqReturn::Handled
            }
        };
        let wishes = IrqBuilder::new("virtio-net");
        let wishes = if is_shared { wishes.shared() } else { wishes };
        match wishes.request(line, handler) {
            Ok(irq) => {
                self.interrupt = CardInterrupt::Served(Some(irq));
                true
            }
            Err(error) => {
                log::warn!("virtio-net: {error}");
                false
            }
        }
    }

    /// Returns the card's address.
    pub fn address(&self) -> [u8; 6] {
        self.mac
    }

    /// Sends a copy of `frame`. Returns whether there was room for it.
    ///
    /// # Context
    /// Thread.
    pub fn send(&mut self, frame: &[u8]) -> bool {
        let room = self.card.room();
        room.map(|room| room.send(frame.len(), |bytes| bytes.copy_from_slice(frame)))
            .is_some()
    }

    /// Calls `read_fn` with the next frame that has arrived, and returns what that returns; `None`
    /// if there is none.
    ///
    /// # Context
    /// Thread.
    pub fn receive_with<R>(&mut self, read_fn: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let (received, _) = self.card.receive()?;
        Some(read_fn(received.frame()))
    }

    /// Returns what the card has done so far.
    pub fn counts(&self) -> NetStatistics {
        self.card.statistics()
    }

    /// Returns the card's address as text.
    pub fn name(&self) -> String {
        let [a, b, c, d, e, f] = self.mac;
        format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

#[cfg(feature = "net")]
impl Device for VirtioNet {
    type RxToken<'a> = Frame<'a>;
    type TxToken<'a> = Place<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Frame<'_>, Place<'_>)> {
        let (received, room) = self.card.receive()?;
        Some((Frame(received), Place(room)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Place<'_>> {
        self.card.room().map(Place)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MAX_FRAME;
        capabilities
    }
}

/// A frame that has arrived.
#[cfg(feature = "net")]
pub struct Frame<'a>(Received<'a>);

#[cfg(feature = "net")]
impl RxToken for Frame<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read_fn: F) -> R {
        read_fn(self.0.frame())
    }
}

/// Room for a frame to send.
#[cfg(feature = "net")]
pub struct Place<'a>(Room<'a, DeviceMemory, VirtioTransport, FRAMES>);

#[cfg(feature = "net")]
impl TxToken for Place<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write_fn: F) -> R {
        self.0.send(length, write_fn)
    }
}

#[cfg(feature = "net")]
impl NetPort for VirtioNet {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn arm(&mut self) -> bool {
        self.card.arm()
    }

    fn statistics(&self) -> PortStatistics {
        let of = self.card.statistics();
        PortStatistics {
            rx_packets: of.received,
            rx_bytes: of.received_bytes,
            rx_errors: of.bad,
            rx_dropped: 0,
            tx_packets: of.sent,
            tx_bytes: of.sent_bytes,
            tx_errors: 0,
            tx_dropped: of.dropped,
        }
    }
}
