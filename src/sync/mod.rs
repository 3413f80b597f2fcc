//! The only door to atomics, cells, locks and waiting for a CPU.
//!
//! Nothing in here sleeps: locks that sleep need a scheduler and live in
//! `sched::lock`. Under `--cfg loom` the primitives of this module are loom's,
//! so the protocols that ship are the protocols that are model-checked.
//!
//! # Orderings
//! Each atomic of a protocol names, at its declaration, the access it pairs
//! with. Counters that order nothing are `Relaxed` and say so.

/// A constructor that is `const`, except in a model: loom's types know the
/// execution that they belong to, so they can't be made before it begins.
macro_rules! const_unless_loom {
    ($(#[$meta:meta])* $vis:vis const fn $name:ident($($args:tt)*) -> $result:ty $body:block) => {
        $(#[$meta])*
        #[cfg(not(loom))]
        $vis const fn $name($($args)*) -> $result $body

        $(#[$meta])*
        #[cfg(loom)]
        $vis fn $name($($args)*) -> $result $body
    };
}
pub(crate) use const_unless_loom;

mod bits;
#[cfg(all(debug_assertions, not(loom)))]
mod held_cell;
mod local_cpu;
mod lock_map;
#[cfg(feature = "internals")]
pub mod lockdep;
#[cfg(not(feature = "internals"))]
pub(crate) mod lockdep;
#[cfg_attr(not(all(debug_assertions, not(loom))), path = "lockdep_no_key.rs")]
mod lockdep_key;
#[cfg(all(test, not(loom)))]
pub(crate) mod nowhere;
mod posted;
mod resting;
mod running;
mod sleep_cost;
#[cfg(not(loom))]
mod spin_cell;
mod spin_lock;
mod spin_word;
mod spins;
mod wait_point;

pub use bits::Bits;
pub use local_cpu::{IrqGuard, PreemptGuard};
pub use spin_lock::{SpinLock, SpinLockGuard};

internal!(bits::AtomicBits);
internal!(local_cpu::{LocalCpu, IrqFlags, PinnedCpu, SpinLooks, Wait, Woken, assert_may_schedule});
#[cfg(all(debug_assertions, not(loom)))]
internal!(held_cell::HeldCell);
internal!(posted::Posted);
internal!(resting::Resting);
internal!(running::{CallName, Running});
internal!(lock_map::{LockMap, LockMapGuard});
internal!(lockdep_key::{LockHeld, LockKey, assert_no_spin_lock, might_sleep, might_sleep_in});
internal!(sleep_cost::{SLICE, SleepCost});
internal!(spin_word::SpinWord);
internal!(spins::{SpinBudget, Spins});
internal!(wait_point::WaitPoint);

/// Atomic types: core's, or loom's when a model is being checked.
pub mod atomic {
    #[cfg(not(loom))]
    pub use core::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
    #[cfg(loom)]
    pub use loom::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
}

/// A cell with interior mutability: each access says why it is sound.
pub use core::cell::UnsafeCell;

// A cell that is set once. A call that meets another call's maker spins until that maker
// has returned: for ever where the interrupted maker is on the same CPU, and nothing finds
// that. So only the kernel uses this cell, at boot or under a lock, where no two calls
// meet; programs have `sched::lock::Once`, which sleeps, and panics if it is called from
// its own maker.
internal!(spin::Once);

/// Keeps its content in cache lines of its own.
///
/// The size is `CACHE_LINE` of `config`.
///
/// ```no_run
/// use core::sync::atomic::AtomicU64;
/// use stillpoint::api::sync::CachePadded;
///
/// // Different CPUs write to the two. On one line they would take it from each other each time.
/// static SENT: CachePadded<AtomicU64> = CachePadded(AtomicU64::new(0));
/// static RECEIVED: CachePadded<AtomicU64> = CachePadded(AtomicU64::new(0));
/// ```
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct CachePadded<T>(pub T);

impl<T> core::ops::Deref for CachePadded<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

const _: () = assert!(align_of::<CachePadded<u8>>() == crate::config::CACHE_LINE);
