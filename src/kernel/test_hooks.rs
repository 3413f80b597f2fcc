//! What tests of the kernel that ships may set in it. Each hook is off until a test sets
//! it; what sets one is there with the feature `internals` alone, so no program can.
//! Beside these there are two in [`Kernel`](crate::kernel::Kernel), `test_handler` and
//! `test_last_act`, and the limits and injected failures of
//! [`Hotplug`](crate::hotplug::Hotplug).

use core::time::Duration;

use crate::cpu::CpuId;
#[cfg(feature = "internals")]
use crate::kernel::Hw;
use crate::kernel::kernel;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The SGI whose handler a test may set: see
/// [`Kernel::test_handler`](crate::kernel::Kernel::test_handler).
pub const TEST_SGI: u8 = 7;

/// The call by which a CPU goes off: what to do, and with what in x0 and x1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastCall {
    /// How.
    pub how: LastCallBy,
    /// x0.
    pub x0: u64,
    /// x1.
    pub x1: u64,
}

/// How a CPU goes off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastCallBy {
    /// `HVC #0`.
    Hvc,
    /// `SMC #0`.
    Smc,
    /// A branch to this address.
    Branch(u64),
}

/// What a test has set with `Hw::set_patience`, in nanoseconds; 0: nothing. Relaxed: set
/// while nothing waits.
static PATIENCE: AtomicU64 = AtomicU64::new(0);

/// Returns how long a wait is silent, if a test has set that.
#[inline]
pub(super) fn patience() -> Option<Duration> {
    match PATIENCE.load(Ordering::Relaxed) {
        0 => None,
        nanoseconds => Some(Duration::from_nanos(nanoseconds)),
    }
}

/// What the boot record's `hold` asks of a CPU at its entry, for tests: nothing, to stay
/// there until that changes, to panic, to refuse itself once, to panic before its interrupt
/// interface is up, or to stay once it is released, until that changes.
mod hold {
    pub(super) const NOTHING: u32 = 0;
    pub(super) const STAY: u32 = 1;
    pub(super) const PANIC: u32 = 2;
    pub(super) const REFUSE: u32 = 3;
    pub(super) const PANIC_FIRST: u32 = 4;
    pub(super) const STAY_RELEASED: u32 = 5;
}

#[cfg(feature = "internals")]
impl Hw {
    /// Has the log say what is waited for after `patience` instead of ten seconds.
    pub fn set_patience(patience: Duration) {
        let nanoseconds = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        PATIENCE.store(nanoseconds, Ordering::Relaxed);
    }

    /// Has `cpu` panic at its entry when it next comes up, before it says ALIVE; a CPU that
    /// [`Hotplug::hold_at_entry`](crate::hotplug::Hotplug::hold_at_entry) holds panics at
    /// once.
    pub fn panic_at_entry(cpu: CpuId) {
        set_hold(cpu, hold::PANIC);
    }

    /// Has `cpu` panic at its entry when it next comes up, before its interrupt interface
    /// is up.
    pub fn panic_before_interface(cpu: CpuId) {
        set_hold(cpu, hold::PANIC_FIRST);
    }

    /// Has `cpu` wait after its release, before it is online, or go on.
    pub fn hold_when_released(cpu: CpuId, held: bool) {
        let stay = hold::STAY_RELEASED;
        set_hold(cpu, if held { stay } else { hold::NOTHING });
    }

    /// Has `cpu` refuse itself when it next comes up, once.
    pub fn refuse_at_entry(cpu: CpuId) {
        set_hold(cpu, hold::REFUSE);
    }
}

/// Returns the word by which a test holds `cpu` at its entry.
fn hold_word(cpu: CpuId) -> &'static AtomicU32 {
    &kernel().areas.record(cpu).handshake.hold
}

fn set_hold(cpu: CpuId, what: u32) {
    // Pairs with the Acquire in `is_held`, `is_held_when_released` and `takes_refusal`.
    hold_word(cpu).store(what, Ordering::Release);
}

/// Has `cpu` wait at its entry, or go on.
pub(super) fn set_held(cpu: CpuId, held: bool) {
    set_hold(cpu, if held { hold::STAY } else { hold::NOTHING });
}

/// Returns whether `cpu` is to wait at its entry.
///
/// # Panics
/// If `Hw::panic_at_entry` has asked for that.
pub(super) fn is_held(cpu: CpuId) -> bool {
    // Pairs with the Release in `set_hold`.
    let hold = hold_word(cpu).load(Ordering::Acquire);
    assert!(
        hold != hold::PANIC,
        "panics at its entry, as a test wants it"
    );
    hold != hold::NOTHING && hold != hold::STAY_RELEASED
}

/// Returns whether `Hw::hold_when_released` has `cpu` wait.
pub(super) fn is_held_when_released(cpu: CpuId) -> bool {
    // Pairs with the Release in `set_hold`.
    hold_word(cpu).load(Ordering::Acquire) == hold::STAY_RELEASED
}

/// Returns whether `Hw::refuse_at_entry` has asked `cpu` to refuse itself, and takes that
/// back.
///
/// # Panics
/// If `Hw::panic_before_interface` has asked for that.
pub(crate) fn takes_refusal(cpu: CpuId) -> bool {
    // Pairs with the Release in `set_hold`.
    let hold = hold_word(cpu).load(Ordering::Acquire);
    assert!(
        hold != hold::PANIC_FIRST,
        "panics before its interface is up, as a test wants it"
    );
    let asked = hold == hold::REFUSE;
    if asked {
        set_hold(cpu, hold::NOTHING);
    }
    asked
}
