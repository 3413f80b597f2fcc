//! E0603 / E0624: A lock is left locked by the switch of threads alone, which opens it.
#![no_std]
#![no_main]

use stillpoint::kernel::Hw;
use stillpoint::sync::{SpinLock, SpinLockGuard};

static WORD: SpinLock<u64, Hw> = SpinLock::new(0);

stillpoint::entry!(main);

fn main() {
    SpinLockGuard::leave_locked(WORD.lock());
}
