//! E0603 / ok: A room of the kernel is no address for a program: `api` has what it needs.
#![no_std]
#![no_main]

use stillpoint::sched::lock::Mutex;

stillpoint::entry!(main);

fn main() {
    drop(Mutex::<u32, _>::try_lock(&stillpoint::api::sync::Mutex::new(1)));
}
