//! DISABLE_IRQ: every CPU of a stop masks IRQs, and those that sleep needn't be woken for it.
//!
//! ```text
//!   the last CPU to come                       a CPU that sleeps in PREPARE
//!   ────────────────────                       ────────────────────────────
//!   PREPARE → DISABLE_IRQ, or it is given up
//!   which CPUs sleep?
//!     called before it came ──── wake SGI ───► masks IRQs, runs the calls, acknowledges
//!     else: counts it as still                 sleeps on, and takes no interrupt
//!           acknowledges for it
//!   masks IRQs, acknowledges for itself
//! ```
//! So a stop wakes each of its CPUs twice, to come and to leave, and not a third time in between.
//! [`Resting`] has how a CPU is counted.
//!
//! # Invariants
//! - **called-is-woken**: a CPU that has been called before all came is not counted as still. It runs
//!   the calls before it acknowledges. A call is in its queue before its sender comes, and the last
//!   CPU to come has synchronised with each.
//! - **asleep-or-awake**: a CPU that sleeps in PREPARE is counted as still, or it is woken.
//!
//! `tests/loom_multi_stop.rs` and `tests/loom_abort.rs` model-check this file.

#![forbid(unsafe_code)]

use crate::cpu::{CpuId, CpuMask};
use crate::stop_machine::MultiStop;
use crate::stop_machine::stop::as_u32;
use crate::sync::{Resting, Wait, WaitPoint};

/// Publishes DISABLE_IRQ, unless `stop` has been given up, and acknowledges it for those of
/// `participants` that rest in `resting` as they sleep at `point`. Wakes those that sleep and can't be
/// counted.
///
/// * `now_fn` — returns the time in ticks
/// * `is_called_fn` — returns whether calls wait for a CPU
/// * `counted_fn` — is called with each CPU that is counted
///
/// # Context
/// The last CPU to acknowledge PREPARE.
#[inline]
pub fn publish_disable_irq<W: Wait>(
    stop: &MultiStop,
    (point, resting): (&WaitPoint, &Resting),
    participants: &CpuMask,
    now_fn: impl Fn() -> u64,
    is_called_fn: impl Fn(CpuId) -> bool,
    counted_fn: impl FnMut(CpuId),
) {
    if !stop.disable_irq() {
        // It stays in ABORT (one-way-out-of-prepare): no CPU acknowledges DISABLE_IRQ, so RUN never
        // comes. Each CPU that has come finds that as it waits.
        return;
    }
    let Some(sleepers) = point.sleepers_after_store(participants.bits()) else {
        return;
    };
    let sleepers = CpuMask::from_bits(sleepers);
    let called: CpuMask = sleepers.iter().filter(|cpu| is_called_fn(*cpu)).collect();
    let may_rest = sleepers.without(&called); // (called-is-woken)
    let counted = CpuMask::from_bits(resting.count(may_rest.bits(), now_fn()));
    counted.iter().for_each(counted_fn);
    stop.ack_for(as_u32(counted.count()));
    let awaited = sleepers.without(&counted); // (asleep-or-awake)
    if !awaited.is_empty() {
        W::send_wake(awaited.bits());
    }
}
