//! E0277: A lock is opened by the thread that took it, for reading too.

use stillpoint::sched::{
    SchedHost,
    lock::{ReadGuard, WriteGuard},
};

fn needs_send<T: Send>(_: T) {}

fn sent<P: SchedHost>(reads: ReadGuard<'_, u32, P>, writes: WriteGuard<'_, u32, P>) {
    needs_send(reads);
    needs_send(writes);
}

fn main() {}
