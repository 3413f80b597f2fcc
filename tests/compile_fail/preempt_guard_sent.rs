//! E0277: Preemption is off on the CPU that made the guard, not where it is sent.

use stillpoint::sync::{Exec, PreemptGuard};

fn needs_send<T: Send>(_: T) {}

fn sent<E: Exec>(guard: PreemptGuard<E>) {
    needs_send(guard);
}

fn main() {}
