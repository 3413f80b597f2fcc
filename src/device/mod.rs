//! What is known of devices that takes no device to try: what goes into which
//! register, and when.
//!
//! A driver in `drivers` is the rest: the pointer to the registers, and the clock.
//! What is here reaches both through a small trait, so a fake on the host shows
//! whether it is right.
#![forbid(unsafe_code)]

mod bcm_watchdog;
mod earlycon;
pub mod gic;
mod ns16550;
mod patience;
mod typed_ahead;

pub use bcm_watchdog::{
    Ending, LastWrites, REGISTERS_SIZE as BCM_WATCHDOG_SIZE, RSTC, RSTS, WDOG, last_writes,
};
pub use earlycon::{EarlyCon, EarlyConError, EarlyConKind};
pub use ns16550::{Layout, Model, Ns16550, Port, RegisterWidth};
pub use patience::{Patience, ROOM_LIMIT};
pub use typed_ahead::TypedAhead;
