//! E0277: A section is its thread's own.
#![no_std]
#![crate_type = "lib"]

use stillpoint::api::rcu::ReadGuard;

fn needs_sync<T: Sync>() {}

fn shared() {
    needs_sync::<ReadGuard>();
}
