//! E0277: A job of a scope is sent to another thread.
#![no_std]
#![crate_type = "lib"]

extern crate alloc;

use alloc::rc::Rc;
use stillpoint::api::pool::Pool;

fn sent(pool: &Pool) {
    let shared = Rc::new(1);
    pool.scope(|scope| {
        scope.spawn(|| *shared);
    });
}
