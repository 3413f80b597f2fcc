//! The logic of devices without the access to them: which value goes into which
//! register, and when.
//!
//! A driver in `drivers` adds the pointer to the registers, and the clock. The code
//! here reaches both through a small trait, so host tests run it on a fake device.
#![forbid(unsafe_code)]

mod bcm_watchdog;
mod earlycon;
pub mod gic;
mod log_ring;
mod ns16550;
mod patience;
#[cfg(feature = "virtio")]
pub mod pci;
mod typed_ahead;

pub use bcm_watchdog::{
    Ending, LastWrites, REGISTERS_SIZE as BCM_WATCHDOG_SIZE, RSTC, RSTS, WDOG, last_writes,
};
pub use earlycon::{EarlyCon, EarlyConError, EarlyConKind};
pub use log_ring::LogRing;
pub use ns16550::{Layout, Model, Ns16550, Port, RegisterWidth};
pub use patience::{Patience, ROOM_LIMIT};
pub use typed_ahead::TypedAhead;
