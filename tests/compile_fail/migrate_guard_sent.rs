//! E0277: A thread is kept on its CPU by a guard of its own.

use stillpoint::sched::{SchedHost, MigrateGuard};

fn needs_send<T: Send>(_: T) {}

fn sent<P: SchedHost>(guard: MigrateGuard<P>) {
    needs_send(guard);
}

fn main() {}
