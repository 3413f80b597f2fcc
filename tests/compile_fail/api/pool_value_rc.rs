//! E0277: The value of a job is sent back.
#![no_std]
#![crate_type = "lib"]

extern crate alloc;

use alloc::rc::Rc;
use stillpoint::api::pool::Pool;

fn sent(pool: &Pool) {
    pool.spawn(|| Rc::new(1));
}
