//! E0277: The thread that reads is the one that took the lock.

use stillpoint::sched::{SchedHost, lock::CpusReadGuard};

fn needs_send<T: Send>(_: T) {}

fn sent<P: SchedHost>(guard: CpusReadGuard<'_, P>) {
    needs_send(guard);
}

fn main() {}
