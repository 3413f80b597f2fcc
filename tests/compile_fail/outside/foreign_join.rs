//! E0624 / E0624: A handle is of the thread that leaves its value there.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::sync::Arc;
use stillpoint::api::thread::{self, JoinHandle};

stillpoint::entry!(main);

fn main() {
    let other = thread::spawn(|| ());
    let handle = JoinHandle::<u32>::start(|| 1, |_| Ok(Arc::clone(other.thread())));
    if let Ok(handle) = handle {
        handle.join();
    }
}
