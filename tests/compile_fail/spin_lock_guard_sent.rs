//! E0277: A spin lock is opened on the CPU that took it.

use stillpoint::sync::{LocalCpu, SpinLockGuard};

fn needs_send<T: Send>(_: T) {}

fn sent<E: LocalCpu>(guard: SpinLockGuard<'_, u32, E>) {
    needs_send(guard);
}

fn main() {}
