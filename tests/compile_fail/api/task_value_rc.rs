//! E0277: The value of a task is sent back.
#![no_std]
#![crate_type = "lib"]

extern crate alloc;

use alloc::rc::Rc;
use stillpoint::api::pool::Pool;

fn sent(pool: &Pool) {
    pool.spawn_async(async { Rc::new(1) });
}
