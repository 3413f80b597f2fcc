//! E0603 / E0624: A handle is of the thread that leaves its value there.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::sync::Arc;
use stillpoint::api::thread;
use stillpoint::sched::JoinHandle;

stillpoint::entry!(main);

fn main() {
    let other = thread::spawn(|| ()).thread();
    let handle = JoinHandle::<u32, _>::start(|| 1, |_| Ok(Arc::clone(other.inner())));
    if let Ok(handle) = handle {
        handle.join();
    }
}
