//! future cannot be sent between threads safely: A task moves at an await: what keeps a thread on its CPU doesn't go with it.
#![no_std]
#![crate_type = "lib"]

use core::future::ready;
use stillpoint::api::pool::Pool;
use stillpoint::api::thread;

fn moves(pool: &Pool) {
    pool.spawn_async(async {
        let guard = thread::migrate_disable();
        ready(()).await;
        drop(guard);
    });
}
