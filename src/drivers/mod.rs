//! The devices: interrupt controller, serial consoles, what turns a board off.
//!
//! Each driver implements a trait of [`crate::platform`]. Addresses come from
//! the device tree (the early console's from the build); the code that makes a driver
//! promises that they are mapped as device memory and nothing else's.

pub mod bcm_watchdog;
pub mod early;
mod gic;
pub mod gicv2;
pub mod gicv3;
pub mod pl011;
pub mod uart16550;
