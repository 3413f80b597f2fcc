//! E0277: IRQs are masked on the CPU that made the guard, not where it is sent.

use stillpoint::sync::{LocalCpu, IrqGuard};

fn needs_send<T: Send>(_: T) {}

fn sent<E: LocalCpu>(guard: IrqGuard<E>) {
    needs_send(guard);
}

fn main() {}
