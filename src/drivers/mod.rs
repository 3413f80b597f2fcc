//! Drivers for interrupt controllers, serial consoles and a watchdog that turns a board
//! off.
//!
//! A driver of an interrupt controller or a console implements a trait of
//! [`crate::platform`]. Addresses come from the device tree; that of the early console
//! comes from the build or the command line. The code that makes a driver promises that
//! they are mapped as device memory and used by nothing else.

pub mod bcm_watchdog;
pub mod early;
mod gic;
pub mod gicv2;
pub mod gicv3;
pub mod pl011;
pub mod uart16550;
