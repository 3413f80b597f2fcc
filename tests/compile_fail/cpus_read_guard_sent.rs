//! E0277: Who reads is the thread that took the lock.

use stillpoint::sched::{SchedHost, lock::CpusReadGuard};

fn needs_send<T: Send>(_: T) {}

fn sent<P: SchedHost>(guard: CpusReadGuard<'_, P>) {
    needs_send(guard);
}

fn main() {}
