//! E0373: A job of a scope borrows nothing that goes before the scope ends.
#![no_std]
#![crate_type = "lib"]

use stillpoint::api::pool::Pool;

fn borrows(pool: &Pool) {
    pool.scope(|scope| {
        let local = 1;
        scope.spawn(|| local + 1).join()
    });
}
