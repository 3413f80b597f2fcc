//! E0521: Nothing is given to a scope that is over.
#![no_std]
#![crate_type = "lib"]

use stillpoint::api::pool::Pool;

fn escapes(pool: &Pool) {
    let mut kept = None;
    pool.scope(|scope| kept = Some(scope));
    kept.unwrap().spawn(|| ());
}
