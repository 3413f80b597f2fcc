//! future cannot be sent between threads safely: A task moves at an await, with all that it has.
#![no_std]
#![crate_type = "lib"]

extern crate alloc;

use alloc::rc::Rc;
use core::future::ready;
use stillpoint::api::pool::Pool;

fn moves(pool: &Pool) {
    pool.spawn_async(async {
        let shared = Rc::new(1);
        ready(()).await;
        drop(shared);
    });
}
