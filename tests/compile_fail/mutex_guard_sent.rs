//! E0277: A mutex is opened by the thread that took it.

use stillpoint::sched::{SchedHost, lock::MutexGuard};

fn needs_send<T: Send>(_: T) {}

fn sent<P: SchedHost>(guard: MutexGuard<'_, u32, P>) {
    needs_send(guard);
}

fn main() {}
