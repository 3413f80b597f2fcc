//! The devices that aren't part of every machine: those that the device tree has places for.
//!
//! `boot` lists the places before there are threads, because their registers are part of the
//! address map. The first thread then looks which of them have a device, and starts its driver. A
//! device that can't be used is left out with a warning, and the others are still used.

#[cfg(feature = "pl031")]
mod clock;
#[cfg(feature = "gpio-keys")]
mod power_key;
#[cfg(feature = "virtio")]
mod virtio;

#[cfg(feature = "virtio")]
use alloc::vec::Vec;

#[cfg(feature = "pl031")]
use crate::dt::PhysRange;
#[cfg(feature = "gpio-keys")]
use crate::dt::PowerKeyDesc;
#[cfg(feature = "virtio")]
use crate::dt::{PciHostDesc, VirtioMmioDesc};

#[cfg(feature = "virtio")]
pub(crate) use virtio::{PCI_WINDOW, fill};
#[cfg(feature = "virtio")]
pub use virtio::{VirtioNet, take_cards};

/// The places for devices that the tree names. All their registers are mapped.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// The clock with the time of day.
    #[cfg(feature = "pl031")]
    pub(crate) rtc: Option<PhysRange>,
    /// The key that turns the machine off.
    #[cfg(feature = "gpio-keys")]
    pub(crate) power_key: Option<PowerKeyDesc>,
    /// Places for virtio devices over MMIO.
    #[cfg(feature = "virtio")]
    pub(crate) virtio_mmio: Vec<VirtioMmioDesc>,
    /// A PCI host. Of its window the first [`PCI_WINDOW`] bytes are mapped.
    #[cfg(feature = "virtio")]
    pub(crate) pci_host: Option<PciHostDesc>,
}

/// Starts the drivers of the devices in `places`.
///
/// # Context
/// The first thread, once.
#[cfg_attr(
    // Without these features there is nothing to look for.
    not(any(feature = "pl031", feature = "gpio-keys", feature = "virtio")),
    allow(unused_variables)
)]
pub(crate) fn start(places: &Places) {
    #[cfg(feature = "pl031")]
    if let Some(registers) = places.rtc {
        clock::start(registers);
    }
    #[cfg(feature = "gpio-keys")]
    if let Some(key) = &places.power_key {
        power_key::start(key);
    }
    #[cfg(feature = "virtio")]
    virtio::start(places);
}

/// Returns the time since the beginning of 1970, UTC; `None` if the machine has no clock, or the
/// program was built without its driver.
///
/// # Context
/// Any.
pub(crate) fn unix_time() -> Option<core::time::Duration> {
    #[cfg(feature = "pl031")]
    return clock::unix_time();
    #[cfg(not(feature = "pl031"))]
    None
}
