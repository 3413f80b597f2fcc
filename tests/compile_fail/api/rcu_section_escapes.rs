//! lifetime may not live long enough: What is read in a section is gone after it.
#![no_std]
#![crate_type = "lib"]

use stillpoint::api::rcu::{self, RcuBox};

fn reads(shared: &RcuBox<u32>) -> u32 {
    *rcu::read(|guard| shared.read(guard))
}
