//! E0603 / ok: A room of the kernel is no address for a program: `api` has what it needs.
#![no_std]
#![no_main]

use stillpoint::kernel::Hw;
use stillpoint::sched::lock::Mutex;

stillpoint::entry!(main);

fn main() {
    drop(Mutex::<u32, Hw>::new(1).try_lock());
}
