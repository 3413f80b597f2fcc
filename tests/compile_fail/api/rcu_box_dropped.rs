//! E0505: A box lives as long as what is read in it.
#![no_std]
#![crate_type = "lib"]

use stillpoint::api::rcu::{RcuBox, ReadGuard};

fn reads(shared: RcuBox<u32>) -> u32 {
    let guard = ReadGuard::new();
    let value = shared.read(&guard);
    drop(shared);
    *value
}
