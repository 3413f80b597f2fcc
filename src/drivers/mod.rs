//! Drivers for interrupt controllers, serial consoles and a watchdog that turns a board
//! off, and the registers of virtio devices.
//!
//! A driver of an interrupt controller or a console implements a trait of
//! [`crate::platform`]. Addresses come from the device tree; that of the early console
//! comes from the build or the command line. The code that makes a driver promises that
//! they are mapped as device memory and used by nothing else.

pub mod bcm_watchdog;
pub mod early;
mod gic;
#[cfg(not(any(feature = "gicv2", feature = "gicv3")))]
compile_error!("a program needs the feature gicv2 or gicv3, or both");

#[cfg(feature = "gicv2")]
pub mod gicv2;
#[cfg(feature = "gicv3")]
pub mod gicv3;
#[cfg(feature = "virtio")]
pub mod pci;
#[cfg(feature = "pl011")]
pub mod pl011;
#[cfg(feature = "pl031")]
pub mod pl031;
#[cfg(feature = "gpio-keys")]
pub mod pl061;
#[cfg(feature = "ns16550")]
pub mod uart16550;
#[cfg(feature = "virtio")]
pub mod virtio;
