//! E0277: A mutex is opened by the thread that took it.

use stillpoint::sched::{Host, lock::MutexGuard};

fn needs_send<T: Send>(_: T) {}

fn sent<P: Host>(guard: MutexGuard<'_, u32, P>) {
    needs_send(guard);
}

fn main() {}
