//! The registers of virtio devices in memory.
//!
//! The transport is that of `virtio-drivers`. The two registers by which an interrupt is
//! acknowledged are a value of their own, because a handler uses them while a thread has the
//! transport.

use core::ptr::{self, NonNull};

use safe_mmio::UniqueMmioPointer;
use safe_mmio::fields::{ReadPure, WriteOnly};
use virtio_drivers::transport::mmio::{MmioError, MmioTransport, VirtIOHeader};

/// The offset of the field DeviceID (Virtio 1.2, 4.2.2).
const DEVICE_ID: usize = 0x08;
/// The offset of InterruptStatus, behind which InterruptACK lies.
const INTERRUPT_STATUS: usize = 0x60;
const INTERRUPT_ACK: usize = 0x64;

/// A device over MMIO.
#[derive(Debug)]
pub struct MmioDevice {
    /// All registers but those of the interrupt.
    pub transport: MmioTransport<'static>,
    /// The registers of the interrupt.
    pub interrupt: MmioInterrupt,
}

/// Returns the device whose registers lie at `base`; `None` if there is none. Resets nothing.
///
/// # Errors
/// What is there isn't a virtio device, or one of an unknown version or kind.
///
/// # Safety
/// `base` is the address of `size` bytes of registers, at least 0x100, of a virtio device or of a
/// place for one. It is a multiple of 4, not 0, and mapped as device memory for ever; nothing else
/// uses them.
pub unsafe fn mmio_device(base: usize, size: usize) -> Result<Option<MmioDevice>, MmioError> {
    let Some(start) = NonNull::new(ptr::with_exposed_provenance_mut::<u8>(base)) else {
        return Ok(None);
    };
    // SAFETY: the caller promises that these registers are there.
    let id = unsafe { start.byte_add(DEVICE_ID) }.cast::<ReadPure<u32>>();
    // SAFETY: as above. Reading it has no effect.
    let id = unsafe { UniqueMmioPointer::new(id) }.read();
    if id == 0 {
        return Ok(None);
    }
    // SAFETY: the caller's promise. The transport reads the status of the interrupt and writes
    // its acknowledgement only in a method that the kernel never calls.
    let transport = unsafe { MmioTransport::new(start.cast::<VirtIOHeader>(), size) }?;
    Ok(Some(MmioDevice {
        transport,
        interrupt: MmioInterrupt { start },
    }))
}

/// The two registers by which a device's interrupt is acknowledged.
#[derive(Debug)]
pub struct MmioInterrupt {
    start: NonNull<u8>,
}

// SAFETY: the pointer is to device registers, which any CPU may use.
unsafe impl Send for MmioInterrupt {}
// SAFETY: as for `Send`. Each access is a single load or store, and to acknowledge twice is
// harmless.
unsafe impl Sync for MmioInterrupt {}

impl MmioInterrupt {
    /// Acknowledges what the device has raised, and returns that: bit 0 for a buffer that is given
    /// back, bit 1 for a configuration that has changed; 0 if the interrupt isn't the device's.
    ///
    /// # Context
    /// Any.
    pub fn acknowledge(&self) -> u32 {
        // SAFETY: the caller of `mmio_device` promised that the register is there.
        let status = unsafe { self.start.byte_add(INTERRUPT_STATUS) }.cast::<ReadPure<u32>>();
        // SAFETY: as above; the pointer makes one access.
        let raised = unsafe { UniqueMmioPointer::new(status) }.read();
        if raised != 0 {
            // SAFETY: as above.
            let ack = unsafe { self.start.byte_add(INTERRUPT_ACK) }.cast::<WriteOnly<u32>>();
            // SAFETY: as above.
            unsafe { UniqueMmioPointer::new(ack) }.write(raised);
        }
        raised
    }
}
