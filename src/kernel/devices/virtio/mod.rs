//! Virtio devices: those over MMIO, and those on a PCI bus.

mod entropy;
mod hal;
mod net;
mod pci;

use alloc::vec::Vec;
use core::time::Duration;

use virtio_drivers::transport::{DeviceType, Transport};

use super::Places;
use crate::drivers::virtio::{MmioDevice, VirtioInterrupt, VirtioTransport, mmio_device};
use crate::dt::{DtError, InterruptSpec, VirtioMmioDesc};
use crate::kernel::Hw;
use crate::platform::{IrqLine, Platform};
use crate::sync::{LocalCpu, SpinLock};

pub(crate) use entropy::fill;
pub use net::VirtioNet;

/// How long a device may take to reset itself. QEMU's take no time; one of hardware may have
/// transfers under way.
const RESET_LIMIT: Duration = Duration::from_millis(100);

/// How much of a PCI host's window is mapped and given out, in bytes. A virtio device takes 20 KiB.
pub(crate) const PCI_WINDOW: u64 = 16 << 20;

/// The network cards that were found and that the network hasn't taken yet, in the tree's order.
static CARDS: SpinLock<Vec<VirtioNet>, Hw> = SpinLock::new(Vec::new());

/// Returns the network cards that were found. Each is returned once.
///
/// # Context
/// Thread.
pub fn take_cards() -> Vec<VirtioNet> {
    core::mem::take(&mut *CARDS.lock_irqsave())
}

/// Starts the drivers of the devices in `places`.
///
/// # Context
/// The first thread, once.
pub(super) fn start(places: &Places) {
    for place in &places.virtio_mmio {
        let base = place.registers.start();
        if let Err(why) = start_mmio(place) {
            log::warn!("virtio@{base:x} is left out: {why}");
        }
    }
    if let Some(host) = &places.pci_host {
        pci::start(host);
    }
}

/// Why a device is left out, which the log says.
type Reason = alloc::string::String;

/// Returns the reason that `error` is.
fn reason(error: impl core::fmt::Display) -> Reason {
    alloc::format!("{error}")
}

/// Starts the driver of the device in `place`, if there is one.
fn start_mmio(place: &VirtioMmioDesc) -> Result<(), Reason> {
    let (Ok(base), Ok(size)) = (
        usize::try_from(place.registers.start()),
        usize::try_from(place.registers.size()),
    ) else {
        return Ok(());
    };
    // SAFETY: the tree says that the place is there, and `dt` has checked its size and alignment.
    // `boot` mapped it as device memory, for ever, and passes each place once.
    let found = unsafe { mmio_device(base, size) }.map_err(reason)?;
    let Some(MmioDevice {
        transport,
        interrupt,
    }) = found
    else {
        return Ok(());
    };
    if !place.coherent {
        return Err("it is not coherent with the caches".into());
    }
    start_virtio(
        format_args!("virtio@{base:x}"),
        VirtioTransport::Mmio(transport),
        VirtioInterrupt::Mmio(interrupt),
        place.interrupt,
    )
}

/// Starts the driver of the device behind `transport`, if there is one for its kind.
///
/// * `name` — what the log calls it.
/// * `interrupt` — the registers of its interrupt, whose line is `line`.
fn start_virtio(
    name: core::fmt::Arguments<'_>,
    transport: VirtioTransport,
    interrupt: VirtioInterrupt,
    line: Result<InterruptSpec, DtError>,
) -> Result<(), Reason> {
    let line = match line {
        Ok(spec) => IrqLine::from_intid(spec.irq.intid(), spec.trigger),
        Err(error) => {
            log::warn!("{name}: no interrupt: {error}");
            None
        }
    };
    match transport.device_type() {
        DeviceType::EntropySource => {
            entropy::start(transport, interrupt, line).map_err(reason)?;
            log::info!("{name}: source of entropy");
        }
        DeviceType::Network => {
            let card = VirtioNet::new(transport, interrupt, line).map_err(reason)?;
            log::info!("{name}: network card {}", card.name());
            CARDS.lock_irqsave().push(card);
        }
        // There is no driver for it, and it isn't touched.
        _ => {}
    }
    Ok(())
}

/// Returns a limit for a wait for a device, which begins now.
fn limit(time: Duration) -> impl FnMut() -> bool {
    let end = Hw::deadline(time);
    move || {
        Hw::relax();
        Hw::now() < end
    }
}
