//! E0505: A guard that is forgotten protects nothing.
#![no_std]
#![crate_type = "lib"]

use stillpoint::api::rcu::{RcuBox, ReadGuard};

fn reads(shared: &RcuBox<u32>) -> u32 {
    let guard = ReadGuard::new();
    let value = shared.read(&guard);
    core::mem::forget(guard);
    *value
}
