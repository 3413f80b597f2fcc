//! The verdict "go on" for CPUs that have arrived: for several at once, with one wake for all.
//!
//! ```text
//!   control, with the stop mutex             each CPU, IRQs masked
//!   ────────────────────────────             ─────────────────────
//!   for each: SHOULD_ONLINE                  sets its sleeper bit
//!             asleep?  (after the store)     no verdict? WFI
//!   one SGI to those that sleep       ─────► looks again
//!   all online?                       ◄───── ONLINE, its bit in `online`
//! ```
//!
//! # Invariants
//! - **look-after-store**: control looks for each CPU after its own store, as
//!   `sleeper-or-state` of [`wait_point`](crate::sync::WaitPoint) demands. One look after all
//!   stores would do too, one before them not.
//!
//! `tests/loom_window.rs` model-checks this file.

use crate::cpu::{CpuId, CpuMask};
use crate::hotplug::Handshake;
use crate::sync::WaitPoint;

/// Releases CPUs that are ALIVE: a CPU, its handshake, and where it waits for the verdict.
/// Returns those to which the wake SGI is to be sent.
///
/// # Context
/// Control, with the stop mutex until all of them are online.
///
/// # Panics
/// If one of them is not ALIVE: from there only control may move the word.
#[inline]
#[must_use = "those that sleep would sleep for ever"]
pub fn release_all<'a>(
    cpus: impl Iterator<Item = (CpuId, Handshake<'a>, &'a WaitPoint)>,
) -> CpuMask {
    let mut asleep = CpuMask::EMPTY;
    for (cpu, handshake, point) in cpus {
        let released = handshake.release();
        assert!(released.is_ok(), "BUG: ALIVE became {released:?}");
        if point.sleeps_after_store(cpu.index()) {
            asleep.insert(cpu); // (look-after-store)
        }
    }
    asleep
}
