//! The registers of a virtio device on a PCI bus.
//!
//! The transport of `virtio-drivers` trusts the device where a queue is notified, waits for it
//! without a limit, and has no message-signalled interrupts. So this is the kernel's own.

use core::ptr::{self, NonNull};

use safe_mmio::UniqueMmioPointer;
use safe_mmio::fields::ReadPureWrite;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PhysAddr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::device::pci::{Region, VirtioRegions};

/// The fields of the common configuration (Virtio 1.2, 4.1.4.3).
const DEVICE_FEATURE_SELECT: usize = 0x00;
const DEVICE_FEATURE: usize = 0x04;
const DRIVER_FEATURE_SELECT: usize = 0x08;
const DRIVER_FEATURE: usize = 0x0c;
const DEVICE_STATUS: usize = 0x14;
const CONFIG_GENERATION: usize = 0x15;
const QUEUE_SELECT: usize = 0x16;
const QUEUE_SIZE: usize = 0x18;
const QUEUE_ENABLE: usize = 0x1c;
const QUEUE_NOTIFY_OFF: usize = 0x1e;
const QUEUE_DESC: usize = 0x20;
const QUEUE_DRIVER: usize = 0x28;
const QUEUE_DEVICE: usize = 0x30;

/// How many queues a device may have that a driver here uses.
const QUEUES: usize = 4;

/// Registers at an address.
#[derive(Clone, Copy, Debug)]
struct Registers {
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: the pointer is to device registers, which any CPU may use.
unsafe impl Send for Registers {}
// SAFETY: as for `Send`. Each access is a single load or store.
unsafe impl Sync for Registers {}

impl Registers {
    fn new(region: Region) -> Option<Registers> {
        let address = usize::try_from(region.start).ok()?;
        Some(Registers {
            start: NonNull::new(ptr::with_exposed_provenance_mut(address))?,
            size: usize::try_from(region.size).ok()?,
        })
    }

    /// Returns the register at `offset`, if it lies within these.
    fn at<T>(&self, offset: usize) -> Option<UniqueMmioPointer<'_, ReadPureWrite<T>>> {
        if offset.checked_add(size_of::<T>())? > self.size || !offset.is_multiple_of(size_of::<T>())
        {
            return None;
        }
        // SAFETY: the caller of `PciTransport::new` promised that the registers are there.
        let register = unsafe { self.start.byte_add(offset) }.cast::<ReadPureWrite<T>>();
        // SAFETY: as above; it is aligned where the registers are, and the pointer makes one
        // access.
        register
            .is_aligned()
            .then(|| unsafe { UniqueMmioPointer::new(register) })
    }
}

/// A virtio device on a PCI bus.
#[derive(Debug)]
pub struct PciTransport {
    kind: DeviceType,
    common: Registers,
    notify: Registers,
    multiplier: usize,
    device: Option<Registers>,
    /// Where each queue is notified.
    doorbells: [usize; QUEUES],
}

/// The status of a device's interrupt.
#[derive(Debug)]
pub struct PciInterrupt(Registers);

impl PciInterrupt {
    /// Acknowledges what the device has raised, and returns that: bit 0 for a buffer that is given
    /// back, bit 1 for a configuration that has changed; 0 if the interrupt isn't the device's.
    ///
    /// # Context
    /// Any.
    pub fn acknowledge(&self) -> u32 {
        // Reading it clears it.
        self.0.at::<u8>(0).map_or(0, |status| status.read().into())
    }
}

/// Returns the kind of the virtio device with this number, a transitional one's too (4.1.2).
pub fn kind_of(device: u16) -> Option<DeviceType> {
    match device {
        0x1000 => Some(DeviceType::Network),
        0x1003 => Some(DeviceType::Console),
        0x1005 => Some(DeviceType::EntropySource),
        0x1040..=0x107f => DeviceType::try_from(device - 0x1040).ok(),
        _ => None,
    }
}

impl PciTransport {
    /// Returns the device of this kind with its interrupt; `None` if its registers can't be where
    /// they are said to be. Touches no register.
    ///
    /// # Safety
    /// The regions are the registers of such a device, mapped as device memory for as long as the
    /// results are used. Nothing else uses them.
    pub unsafe fn new(
        kind: DeviceType,
        regions: &VirtioRegions,
    ) -> Option<(PciTransport, PciInterrupt)> {
        let transport = PciTransport {
            kind,
            common: Registers::new(regions.common)?,
            notify: Registers::new(regions.notify)?,
            multiplier: usize::try_from(regions.notify_multiplier).ok()?,
            device: regions.device.and_then(Registers::new),
            doorbells: [0; QUEUES],
        };
        let interrupt = PciInterrupt(Registers::new(regions.isr)?);
        Some((transport, interrupt))
    }

    // All fields of the common configuration lie within it, as `device::pci` has checked.
    fn read8(&self, offset: usize) -> u8 {
        self.common.at(offset).map_or(0, |field| field.read())
    }

    fn read16(&self, offset: usize) -> u16 {
        self.common.at(offset).map_or(0, |field| field.read())
    }

    fn read32(&self, offset: usize) -> u32 {
        self.common.at(offset).map_or(0, |field| field.read())
    }

    fn write8(&self, offset: usize, value: u8) {
        if let Some(mut field) = self.common.at(offset) {
            field.write(value);
        }
    }

    fn write16(&self, offset: usize, value: u16) {
        if let Some(mut field) = self.common.at(offset) {
            field.write(value);
        }
    }

    fn write32(&self, offset: usize, value: u32) {
        if let Some(mut field) = self.common.at(offset) {
            field.write(value);
        }
    }

    /// Writes a field of 64 bits as two words, as any device takes it (4.1.3.1).
    fn write64(&self, offset: usize, value: u64) {
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        self.write32(offset, u32::from_le_bytes([a, b, c, d]));
        self.write32(offset + 4, u32::from_le_bytes([e, f, g, h]));
    }
}

impl Transport for PciTransport {
    fn device_type(&self) -> DeviceType {
        self.kind
    }

    fn read_device_features(&mut self) -> u64 {
        self.write32(DEVICE_FEATURE_SELECT, 0);
        let low = self.read32(DEVICE_FEATURE);
        self.write32(DEVICE_FEATURE_SELECT, 1);
        u64::from(self.read32(DEVICE_FEATURE)) << 32 | u64::from(low)
    }

    fn write_driver_features(&mut self, features: u64) {
        let [a, b, c, d, e, f, g, h] = features.to_le_bytes();
        self.write32(DRIVER_FEATURE_SELECT, 0);
        self.write32(DRIVER_FEATURE, u32::from_le_bytes([a, b, c, d]));
        self.write32(DRIVER_FEATURE_SELECT, 1);
        self.write32(DRIVER_FEATURE, u32::from_le_bytes([e, f, g, h]));
    }

    /// Returns 0 for a queue that can't be notified, too.
    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.write16(QUEUE_SELECT, queue);
        let place = usize::from(self.read16(QUEUE_NOTIFY_OFF)).checked_mul(self.multiplier);
        let place = place.filter(|place| self.notify.at::<u16>(*place).is_some());
        match (self.doorbells.get_mut(usize::from(queue)), place) {
            (Some(doorbell), Some(place)) => {
                *doorbell = place;
                self.read16(QUEUE_SIZE).into()
            }
            _ => 0,
        }
    }

    fn notify(&mut self, queue: u16) {
        let place = self.doorbells.get(usize::from(queue));
        if let Some(mut doorbell) = place.and_then(|place| self.notify.at(*place)) {
            doorbell.write(queue);
        }
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.read8(DEVICE_STATUS).into())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        let [status, ..] = status.bits().to_le_bytes();
        self.write8(DEVICE_STATUS, status);
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.write16(QUEUE_SELECT, queue);
        self.write16(QUEUE_SIZE, u16::try_from(size).unwrap_or(0));
        self.write64(QUEUE_DESC, descriptors);
        self.write64(QUEUE_DRIVER, driver_area);
        self.write64(QUEUE_DEVICE, device_area);
        self.write16(QUEUE_ENABLE, 1);
    }

    fn queue_unset(&mut self, _: u16) {
        // Only a reset of the device ends the use of a queue.
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.write16(QUEUE_SELECT, queue);
        self.read16(QUEUE_ENABLE) == 1
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        // The handler has the register: see `PciInterrupt`.
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        self.read8(CONFIG_GENERATION).into()
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T, Error> {
        let device = self.device.as_ref().ok_or(Error::ConfigSpaceMissing)?;
        let mut value = T::new_zeroed();
        for (at, byte) in value.as_mut_bytes().iter_mut().enumerate() {
            let register = device.at::<u8>(offset + at);
            *byte = register.ok_or(Error::ConfigSpaceTooSmall)?.read();
        }
        Ok(value)
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        _: usize,
        _: T,
    ) -> Result<(), Error> {
        Err(Error::Unsupported)
    }
}
