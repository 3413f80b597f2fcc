//! The devices that aren't part of every machine: those that the device tree has places for.
//!
//! `boot` lists the places before there are threads, because their registers are part of the
//! address map. The first thread then looks which of them have a device, and starts its driver. A
//! device that can't be used is left out with a warning, and the others are still used.

mod entropy;
mod hal;
mod net;

use alloc::vec::Vec;
use core::time::Duration;

use virtio_drivers::transport::{DeviceType, Transport};

use crate::drivers::virtio::{MmioDevice, mmio_device};
use crate::dt::VirtioMmioDesc;
use crate::kernel::Hw;
use crate::platform::{IrqLine, Platform};
use crate::sync::{LocalCpu, SpinLock};

pub(crate) use entropy::fill;
pub use net::VirtioNet;

/// How long a device may take to reset itself. QEMU's take no time; one of hardware may have
/// transfers under way.
const RESET_LIMIT: Duration = Duration::from_millis(100);

/// The places for devices that the tree names. All their registers are mapped.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Places for virtio devices over MMIO.
    pub(crate) virtio_mmio: Vec<VirtioMmioDesc>,
}

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
pub(crate) fn start(places: &Places) {
    for place in &places.virtio_mmio {
        let base = place.registers.start();
        if let Err(why) = start_mmio(place) {
            log::warn!("virtio@{base:x} is left out: {why}");
        }
    }
}

/// Why a device is left out, which the log says.
type Reason = alloc::string::String;

/// Starts the driver of the device in `place`, if there is one.
fn start_mmio(place: &VirtioMmioDesc) -> Result<(), Reason> {
    let text = |error: &dyn core::fmt::Display| alloc::format!("{error}");
    let (Ok(base), Ok(size)) = (
        usize::try_from(place.registers.start()),
        usize::try_from(place.registers.size()),
    ) else {
        return Ok(());
    };
    // SAFETY: the tree says that the place is there, and `dt` has checked its size and alignment.
    // `boot` mapped it as device memory, for ever, and passes each place once.
    let found = unsafe { mmio_device(base, size) }.map_err(|error| text(&error))?;
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
    let line = place.interrupt.map_err(|error| text(&error));
    let line = line.map(|spec| IrqLine::from_intid(spec.irq.intid(), spec.trigger));
    let line = line.unwrap_or_else(|error| {
        log::warn!("virtio@{base:x}: no interrupt: {error}");
        None
    });
    match transport.device_type() {
        DeviceType::EntropySource => {
            entropy::start(transport, interrupt, line).map_err(|error| text(&error))?;
            log::info!("virtio@{base:x}: source of entropy");
            Ok(())
        }
        DeviceType::Network => {
            let card = VirtioNet::new(transport, interrupt, line).map_err(|error| text(&error))?;
            log::info!("virtio@{base:x}: network card {}", card.name());
            CARDS.lock_irqsave().push(card);
            Ok(())
        }
        // There is no driver for it, and it isn't touched.
        _ => Ok(()),
    }
}

/// Returns a limit for a wait for a device, which begins now.
fn limit(time: Duration) -> impl FnMut() -> bool {
    let end = Hw::deadline(time);
    move || {
        Hw::relax();
        Hw::now() < end
    }
}
