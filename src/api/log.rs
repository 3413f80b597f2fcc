//! The kernel's log: the facade of the crate `log`, whose macros a program may use from
//! here or from that crate itself.
//!
//! ```no_run
#![doc = include_str!("../../examples/api/logging.rs")]
//! ```
//! A line goes to the console, with the time since the system counter started, if the boot
//! argument `loglevel=` lets its level through: `error!` from 4 on, `warn!` from 5 on,
//! `info!` from 6 on, `debug!` with 7, and `trace!` with the boot argument `debug`. Without
//! such an argument the level is 6.
//! [`set_max_level`] changes the level for all that is logged afterwards, by the kernel too.
//!
//! # Context
//! Any; IRQs are masked while a piece of up to 128 bytes goes out.

pub use log::{
    Level, LevelFilter, debug, error, info, log_enabled, max_level, set_max_level, trace, warn,
};
