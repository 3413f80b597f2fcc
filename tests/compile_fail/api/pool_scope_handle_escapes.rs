//! lifetime may not live long enough: A handle doesn't outlive its scope.
#![no_std]
#![crate_type = "lib"]

use stillpoint::api::pool::Pool;

fn escapes(pool: &Pool) {
    let words = [1, 2];
    let handle = pool.scope(|scope| scope.spawn(|| &words));
    handle.join();
}
