//! E0277: The turns of a loop are taken by several threads at once.
#![no_std]
#![crate_type = "lib"]

use core::cell::Cell;
use stillpoint::api::pool::Pool;

fn shared(pool: &Pool) {
    let cell = Cell::new(1);
    pool.par_for(0..3, 1, |_| cell.set(2));
}
