//! Hooks by which tests change the behaviour of the kernel that ships.
//!
//! Each hook is off until a test sets it. The functions that set hooks exist only with the
//! feature `internals`, so no program can call them. There are more hooks elsewhere:
//! `test_handler` and `test_last_act` of [`Kernel`](crate::kernel::Kernel), the limits and
//! injected failures of [`Hotplug`](crate::hotplug::Hotplug), and a function that a test kernel may
//! define to be called before there are threads (`src/arch/aarch64/early_test.rs`).

#[cfg(feature = "internals")]
use core::time::Duration;

use crate::cpu::CpuId;
use crate::kernel::kernel;
#[cfg(feature = "internals")]
use crate::kernel::{Hw, watchdog};
use crate::sync::atomic::{AtomicU32, Ordering};

/// The SGI whose handler a test may set: see
/// [`Kernel::test_handler`](crate::kernel::Kernel::test_handler).
pub const TEST_SGI: u8 = 7;

/// The call by which a CPU goes off, with its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastCall {
    /// The instruction of the call.
    pub how: LastCallBy,
    /// The value of x0.
    pub x0: u64,
    /// The value of x1.
    pub x1: u64,
}

/// The instruction by which a CPU goes off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastCallBy {
    /// `HVC #0`.
    Hvc,
    /// `SMC #0`.
    Smc,
    /// A branch to this address.
    Branch(u64),
}

/// The values of the boot record's `hold`, by which a test changes how a CPU comes up.
mod hold {
    /// The CPU comes up as usual.
    pub(super) const NOTHING: u32 = 0;
    /// The CPU waits at its entry while the value is this.
    pub(super) const STAY: u32 = 1;
    /// The CPU panics at its entry, once its interrupt interface is up.
    pub(super) const PANIC: u32 = 2;
    /// The CPU refuses to come up, once.
    pub(super) const REFUSE: u32 = 3;
    /// The CPU panics at its entry, before its interrupt interface is up.
    pub(super) const PANIC_FIRST: u32 = 4;
    /// The CPU waits after its release while the value is this.
    pub(super) const STAY_RELEASED: u32 = 5;
}

#[cfg(feature = "internals")]
impl Hw {
    /// Has the log report a wait after `patience` instead of ten seconds.
    pub fn set_patience(patience: Duration) {
        watchdog::set(patience);
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

    /// Has `cpu` wait after its release, before it is online, or lets it go on.
    pub fn hold_when_released(cpu: CpuId, held: bool) {
        let stay = hold::STAY_RELEASED;
        set_hold(cpu, if held { stay } else { hold::NOTHING });
    }

    /// Has `cpu` refuse to come up the next time that it is started.
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

/// Has `cpu` wait at its entry, or lets it go on.
pub(super) fn set_held(cpu: CpuId, held: bool) {
    set_hold(cpu, if held { hold::STAY } else { hold::NOTHING });
}

/// Returns whether a test has `cpu` wait at its entry.
///
/// # Panics
/// If a test has asked for a panic by `Hw::panic_at_entry`.
pub(super) fn is_held(cpu: CpuId) -> bool {
    // Pairs with the Release in `set_hold`.
    let hold = hold_word(cpu).load(Ordering::Acquire);
    assert!(
        hold != hold::PANIC,
        "panics at its entry, as a test wants it"
    );
    hold != hold::NOTHING && hold != hold::STAY_RELEASED
}

/// Returns whether a test has `cpu` wait after its release.
pub(super) fn is_held_when_released(cpu: CpuId) -> bool {
    // Pairs with the Release in `set_hold`.
    hold_word(cpu).load(Ordering::Acquire) == hold::STAY_RELEASED
}

/// Returns whether a test has `cpu` refuse to come up, and clears that.
///
/// # Panics
/// If a test has asked for a panic by `Hw::panic_before_interface`.
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
