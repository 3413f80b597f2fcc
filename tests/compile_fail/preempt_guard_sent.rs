//! E0277: Preemption is off on the CPU that made the guard, not where it is sent.

use stillpoint::sync::{LocalCpu, PreemptGuard};

fn needs_send<T: Send>(_: T) {}

fn sent<E: LocalCpu>(guard: PreemptGuard<E>) {
    needs_send(guard);
}

fn main() {}
