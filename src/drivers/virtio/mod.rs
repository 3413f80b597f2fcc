//! The registers of virtio devices, over MMIO and on a PCI bus.

mod mmio;
mod pci;

use virtio_drivers::transport::mmio::MmioTransport;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

pub use mmio::{MmioDevice, MmioInterrupt, mmio_device};
pub use pci::{PciInterrupt, PciTransport, kind_of};

/// What the handler of a device's interrupt acknowledges it with.
#[derive(Debug)]
pub enum VirtioInterrupt {
    /// Over MMIO.
    Mmio(MmioInterrupt),
    /// On a PCI bus, by its pin.
    Pci(PciInterrupt),
}

impl VirtioInterrupt {
    /// Acknowledges what the device has raised, and returns that: bit 0 for a buffer that is given
    /// back, bit 1 for a configuration that has changed; 0 if the interrupt isn't the device's.
    ///
    /// # Context
    /// Any.
    pub fn acknowledge(&self) -> u32 {
        match self {
            Self::Mmio(interrupt) => interrupt.acknowledge(),
            Self::Pci(interrupt) => interrupt.acknowledge(),
        }
    }
}

/// The transport of a device.
#[derive(Debug)]
pub enum VirtioTransport {
    /// Over MMIO.
    Mmio(MmioTransport<'static>),
    /// On a PCI bus.
    Pci(PciTransport),
}

/// Calls a method of the transport that there is.
macro_rules! either {
    ($this:ident, $transport:ident => $call:expr) => {
        match $this {
            VirtioTransport::Mmio($transport) => $call,
            VirtioTransport::Pci($transport) => $call,
        }
    };
}

impl Transport for VirtioTransport {
    fn device_type(&self) -> DeviceType {
        either!(self, transport => transport.device_type())
    }

    fn read_device_features(&mut self) -> u64 {
        either!(self, transport => transport.read_device_features())
    }

    fn write_driver_features(&mut self, features: u64) {
        either!(self, transport => transport.write_driver_features(features));
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        either!(self, transport => transport.max_queue_size(queue))
    }

    fn notify(&mut self, queue: u16) {
        either!(self, transport => transport.notify(queue));
    }

    fn get_status(&self) -> DeviceStatus {
        either!(self, transport => transport.get_status())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        either!(self, transport => transport.set_status(status));
    }

    fn set_guest_page_size(&mut self, size: u32) {
        either!(self, transport => transport.set_guest_page_size(size));
    }

    fn requires_legacy_layout(&self) -> bool {
        either!(self, transport => transport.requires_legacy_layout())
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        either!(self, transport => {
            transport.queue_set(queue, size, descriptors, driver_area, device_area);
        });
    }

    fn queue_unset(&mut self, queue: u16) {
        either!(self, transport => transport.queue_unset(queue));
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        either!(self, transport => transport.queue_used(queue))
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        either!(self, transport => transport.ack_interrupt())
    }

    fn read_config_generation(&self) -> u32 {
        either!(self, transport => transport.read_config_generation())
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        either!(self, transport => transport.read_config_space(offset))
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: T,
    ) -> Result<()> {
        either!(self, transport => transport.write_config_space(offset, value))
    }
}
