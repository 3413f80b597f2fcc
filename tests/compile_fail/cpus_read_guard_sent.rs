//! E0277: Who reads is the thread that took the lock.

use stillpoint::sched::{Host, lock::CpusReadGuard};

fn needs_send<T: Send>(_: T) {}

fn sent<P: Host>(guard: CpusReadGuard<'_, P>) {
    needs_send(guard);
}

fn main() {}
