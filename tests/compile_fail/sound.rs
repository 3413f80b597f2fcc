//! ok: The same without a mistake: it compiles, so the others fail for theirs.

use stillpoint::sched::{SchedHost, JoinHandle, MigrateGuard, lock::MutexGuard};
use stillpoint::sync::{LocalCpu, PreemptGuard};

fn needs_send<T: Send>(_: T) {}

fn once<P: SchedHost>(thread: JoinHandle<u32, P>, mutex: MutexGuard<'_, u32, P>) -> u32 {
    thread.join() + *mutex
}

fn stays<E: LocalCpu, P: SchedHost>(preempt: PreemptGuard<E>, migrate: MigrateGuard<P>) {
    needs_send(migrate.cpu());
    drop((preempt, migrate));
}

fn main() {}
