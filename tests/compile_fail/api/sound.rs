//! ok: What the others come close to.
#![no_std]
#![crate_type = "lib"]

use core::cell::Cell;
use stillpoint::api::pool::{JobHandle, Pool};
use stillpoint::api::rcu::RcuBox;
use stillpoint::api::task::TaskHandle;

fn needs_send_and_sync<T: Send + Sync>() {}

fn sound(pool: &Pool) -> usize {
    needs_send_and_sync::<Pool>();
    needs_send_and_sync::<RcuBox<u32>>();
    needs_send_and_sync::<TaskHandle<Cell<u32>>>();
    needs_send_and_sync::<JobHandle<Cell<u32>>>();
    let words = [1, 2];
    pool.scope(|scope| scope.spawn(|| words[0]).join())
}
