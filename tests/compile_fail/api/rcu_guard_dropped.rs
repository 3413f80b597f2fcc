//! E0505: What is read is gone with the guard.
#![no_std]
#![crate_type = "lib"]

use stillpoint::api::rcu::{RcuBox, ReadGuard};

fn reads(shared: &RcuBox<u32>) -> u32 {
    let guard = ReadGuard::new();
    let value = shared.read(&guard);
    drop(guard);
    *value
}
