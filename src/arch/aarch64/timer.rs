//! The generic timer: the counter that all CPUs share, and each CPU's one-shot
//! virtual timer.
//!
//! The *virtual* timer is used at every exception level of the boot: it needs no
//! rights from a hypervisor, and where we are entered at EL2 the entry code sets
//! CNTVOFF_EL2 to 0, which makes both counters the same.
//!
//! # Context
//! What arms or turns off a timer touches only the CPU that it runs on, and is
//! called there with IRQs masked. Reading is allowed anywhere, MMU off included.
//!
//! # Sources
//! Arm ARM (DDI 0487), the Generic Timer: CNTFRQ_EL0, CNTVCT_EL0, CNTV_CTL_EL0,
//! CNTV_CVAL_EL0.

use core::fmt;
use core::time::Duration;

use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{
    CNTFRQ_EL0, CNTV_CTL_EL0, CNTV_CVAL_EL0, CNTVCT_EL0, Readable, Writeable,
};

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::time::{Frequency, Instant};

/// The frequency that [`init_frequency`] found, in Hz; 0 before. Written once,
/// on the boot CPU, before there is another one: nothing pairs with it.
static FREQUENCY_HZ: AtomicU64 = AtomicU64::new(0);

/// What [`frequency`] says before anything is known: as fast as a counter of
/// the architecture gets (from Armv8.6 on it is always this), so that a time
/// limit comes out too long and never too short.
const UNKNOWN_HZ: u64 = 1_000_000_000;

/// Why the counter can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerError {
    /// Firmware left CNTFRQ_EL0 at 0 and the device tree has no
    /// `clock-frequency`: a tick has no length.
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

/// Finds the counter's frequency and keeps it for [`frequency`].
///
/// * `from_tree` — the timer node's `clock-frequency`, which is there to correct
///   a CNTFRQ_EL0 that firmware got wrong
///
/// # Context
/// Boot CPU, once, before another CPU is started.
///
/// # Errors
/// [`TimerError::NoFrequency`] if neither has one.
pub fn init_frequency(from_tree: Option<Frequency>) -> Result<Frequency, TimerError> {
    let found = from_tree
        .or_else(|| Frequency::new(CNTFRQ_EL0.get()))
        .ok_or(TimerError::NoFrequency)?;
    FREQUENCY_HZ.store(found.hz(), Ordering::Relaxed);
    Ok(found)
}

/// Returns the counter's frequency. Before [`init_frequency`] it is what CNTFRQ_EL0 says,
/// or 1 GHz if that says nothing.
pub fn frequency() -> Frequency {
    Frequency::new(FREQUENCY_HZ.load(Ordering::Relaxed))
        .or_else(|| Frequency::new(CNTFRQ_EL0.get()))
        .or(const { Frequency::new(UNKNOWN_HZ) })
        .expect("BUG: the fallback frequency is not 0")
}

/// Returns the counter, now. Not read before what comes earlier in the program: the core
/// may otherwise read it ahead of time (Arm ARM, CNTVCT_EL0).
#[inline]
pub fn now() -> Instant {
    barrier::isb(barrier::SY);
    Instant(CNTVCT_EL0.get())
}

/// Arms this CPU's timer to fire at `at`, or turns it off with `None`. A moment
/// that has passed fires at once. The timer has changed on return (the ISB is for
/// the writes to its registers); its line changes in the interrupt controller a
/// moment later, so one more interrupt may come of what was armed before. The
/// handler looks at what is due, and finds nothing then.
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

/// Has this CPU's timer fire at `at` at the latest: leaves it alone if it is armed for that
/// or an earlier moment.
#[inline]
pub fn arm_by(at: Instant) {
    let is_armed = CNTV_CTL_EL0.is_set(CNTV_CTL_EL0::ENABLE);
    if !is_armed || CNTV_CVAL_EL0.get() > at.0 {
        arm(Some(at));
    }
}

/// Puts this CPU's timer into a known state: off, its interrupt masked, the
/// moment it waits for at the end of time. Its reset state is unknown.
pub fn init_cpu() {
    CNTV_CVAL_EL0.set(Instant::FOREVER.0);
    arm(None);
}

/// Turns this CPU's timer off for good: a CPU that is turned off must leave no
/// line raised behind.
pub fn teardown_cpu() {
    arm(None);
}

/// Polls `done` until it is true or `limit` has passed; returns whether it
/// became true. For devices that answer in microseconds, before there is a
/// scheduler to sleep in: never for another CPU.
///
/// `done` is asked once more after the limit has passed, so a virtual CPU that
/// was not running meanwhile doesn't mistake its own absence for a time-out.
pub fn poll(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    if done() {
        return true;
    }
    let end = now().after_ticks(frequency().duration_to_ticks(limit));
    while now() < end {
        if done() {
            return true;
        }
        relax();
    }
    done()
}

/// One turn of a loop that waits: `YIELD` (see `sync::LocalCpu::relax`, which drivers
/// are below).
pub fn relax() {
    // SAFETY: a hint; it touches no memory and no register.
    unsafe { core::arch::asm!("yield", options(nomem, nostack, preserves_flags)) };
}
