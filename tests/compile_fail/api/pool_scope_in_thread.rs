//! E0521: A thread that outlives a scope gives it no job.
#![no_std]
#![crate_type = "lib"]

use stillpoint::api::pool::Pool;
use stillpoint::api::thread;

fn escapes(pool: &Pool) {
    thread::scope(|threads| {
        pool.scope(|scope| {
            threads.spawn(move || {
                scope.spawn(|| ());
            });
        })
    })
}
