//! The generic timer: the counter that all CPUs share, and each CPU's one-shot
//! virtual timer and event stream.
//!
//! The kernel uses the *virtual* timer, whether it was entered at EL1 or EL2: it needs no
//! permission from a hypervisor, and after an entry at EL2 the entry code sets
//! CNTVOFF_EL2 to 0, which makes both counters the same.
//!
//! # Context
//! The functions that arm a timer or turn it off act only on the running CPU, and are
//! called with IRQs masked. Those that read are allowed anywhere, MMU off included.
//!
//! # The event stream
//! A CPU that sleeps in WFE is woken by the event that it waits for, and by nothing else: a
//! masked interrupt doesn't wake it. So the counter sends each online CPU an event at least every
//! 100 us, by which a CPU that waits in vain can look at the time now and then. EL1 may set that
//! up for itself, in CNTKCTL_EL1. QEMU has the register and no stream; no CPU sleeps in WFE there.
//!
//! # Sources
//! Arm ARM (DDI 0487), the Generic Timer: CNTFRQ_EL0, CNTVCT_EL0, CNTV_CTL_EL0,
//! CNTV_CVAL_EL0; CNTKCTL_EL1 and "Event streams". Linux's period is the same,
//! `ARCH_TIMER_EVT_STREAM_PERIOD_US`.

use core::fmt;
use core::time::Duration;

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{
    CNTFRQ_EL0, CNTKCTL_EL1, CNTV_CTL_EL0, CNTV_CVAL_EL0, CNTVCT_EL0, Readable, Writeable,
};

use super::hint;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::time::{Frequency, Instant};

/// The frequency that [`init_frequency`] found, in Hz; 0 before. Written once,
/// on the boot CPU, before another CPU runs. Relaxed: nothing pairs with it.
static FREQUENCY_HZ: AtomicU64 = AtomicU64::new(0);

/// The frequency that [`frequency`] returns before one is known, in Hz. It is the highest
/// that a counter of the architecture has (the only one from Armv8.6 on), so that a time
/// limit is too long rather than too short.
const UNKNOWN_HZ: u64 = 1_000_000_000;

/// How many events of the stream there are in a second, at least.
const EVENTS_PER_SECOND: u64 = 10_000;

/// Why the counter can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerError {
    /// Firmware left CNTFRQ_EL0 at 0 and the device tree has no `clock-frequency`, so the
    /// length of a tick is unknown.
    NoFrequency,
}

impl fmt::Display for TimerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFrequency => f.write_str(
                "CNTFRQ_EL0 is 0 and the device tree's timer node has no clock-frequency",
            ),
        }
    }
}

impl core::error::Error for TimerError {}

/// Finds the counter's frequency, stores it for [`frequency`] and returns it.
///
/// * `from_tree` — the timer node's `clock-frequency`. A device tree has one to correct a
///   wrong CNTFRQ_EL0
///
/// # Context
/// Boot CPU, once, before another CPU is started.
///
/// # Errors
/// [`TimerError::NoFrequency`] if neither the tree nor CNTFRQ_EL0 has one.
pub fn init_frequency(from_tree: Option<Frequency>) -> Result<Frequency, TimerError> {
    let found = from_tree
        .or_else(|| Frequency::new(CNTFRQ_EL0.get()))
        .ok_or(TimerError::NoFrequency)?;
    FREQUENCY_HZ.store(found.hz(), Ordering::Relaxed);
    Ok(found)
}

/// Returns the counter's frequency. Before [`init_frequency`] that is the value of
/// CNTFRQ_EL0, or 1 GHz if the register is 0.
pub fn frequency() -> Frequency {
    Frequency::new(FREQUENCY_HZ.load(Ordering::Relaxed))
        .or_else(|| Frequency::new(CNTFRQ_EL0.get()))
        .or(const { Frequency::new(UNKNOWN_HZ) })
        .expect("BUG: the fallback frequency is not 0")
}

/// Returns the present time of the counter. The ISB keeps the core from reading the counter
/// before it has executed earlier instructions (Arm ARM, CNTVCT_EL0).
#[inline]
pub fn now() -> Instant {
    barrier::isb(barrier::SY);
    Instant(CNTVCT_EL0.get())
}

/// Arms this CPU's timer to fire at `at`, or turns it off with `None`. A timer armed for a
/// moment in the past fires at once. The timer has changed on return, because the ISB
/// completes the writes to its registers. Its line in the interrupt controller changes a
/// little later, so one more interrupt may come for the earlier setting. The handler
/// then finds that no timer is due.
pub fn arm(at: Option<Instant>) {
    match at {
        Some(Instant(ticks)) => {
            CNTV_CVAL_EL0.set(ticks);
            CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET + CNTV_CTL_EL0::IMASK::CLEAR);
        }
        None => CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::CLEAR + CNTV_CTL_EL0::IMASK::SET),
    }
    barrier::isb(barrier::SY);
}

/// Makes this CPU's timer fire no later than `at`. Changes nothing if the timer is armed
/// for that moment or an earlier one.
#[inline]
pub fn arm_by(at: Instant) {
    let is_armed = CNTV_CTL_EL0.is_set(CNTV_CTL_EL0::ENABLE);
    if !is_armed || CNTV_CVAL_EL0.get() > at.0 {
        arm(Some(at));
    }
}

/// Returns the highest of the counter's bits that turns from 0 to 1 once in `ticks` or more often,
/// and that CNTKCTL_EL1.EVNTI, of four bits, can name. Bit n turns to 1 once in 2^(n + 1) ticks.
const fn event_bit(ticks: u64) -> u32 {
    let bits = u64::BITS - ticks.leading_zeros(); // 2^bits is more than `ticks`.
    let bit = bits.saturating_sub(2);
    if bit < 15 { bit } else { 15 }
}

// At 54 MHz (a Pi 4), 62.5 MHz and 1 GHz; exactly, and at the ends.
const _: () = assert!(event_bit(5400) == 11 && event_bit(6250) == 11 && event_bit(100_000) == 15);
const _: () = assert!(event_bit(4096) == 11 && event_bit(4095) == 10);
const _: () = assert!(event_bit(1) == 0 && event_bit(0) == 0 && event_bit(u64::MAX) == 15);

/// Puts this CPU's timer into a known state, because its state after a reset is unknown:
/// off, its interrupt masked, and set to [`Instant::FOREVER`]. Turns the event stream on, which
/// the entry code and the pen turn off.
pub fn init_cpu() {
    CNTV_CVAL_EL0.set(Instant::FOREVER.0);
    let bit = event_bit(frequency().hz() / EVENTS_PER_SECOND);
    CNTKCTL_EL1.write(CNTKCTL_EL1::EVNTI.val(bit.into()) + CNTKCTL_EL1::EVNTEN::Enable);
    arm(None);
}

/// Turns this CPU's timer off before the CPU itself is turned off, so that the timer's
/// line doesn't stay raised.
pub fn teardown_cpu() {
    arm(None);
}

/// Calls `done` until it returns true or `limit` has passed. Returns whether it returned
/// true. Use it for devices that answer within microseconds, or before there is a
/// scheduler; never to wait for another CPU.
///
/// It calls `done` once more after the limit has passed. So if a hypervisor didn't run this
/// virtual CPU for a while, that doesn't count as a time-out of the device.
pub fn poll(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    if done() {
        return true;
    }
    let end = now().after_ticks(frequency().duration_to_ticks(limit));
    while now() < end {
        if done() {
            return true;
        }
        hint::relax();
    }
    done()
}
