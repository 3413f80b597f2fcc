//! E0277: The value of a box is read by several threads at once.
#![no_std]
#![crate_type = "lib"]

use core::cell::Cell;
use stillpoint::api::rcu::RcuBox;

fn shared() {
    RcuBox::new(Cell::new(1));
}
