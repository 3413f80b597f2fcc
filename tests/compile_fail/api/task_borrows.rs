//! E0373: A task outlives the frame that has given it.
#![no_std]
#![crate_type = "lib"]

use stillpoint::api::pool::Pool;

fn borrows(pool: &Pool) {
    let local = 1;
    pool.spawn_async(async {
        &local;
    });
}
