//! E0277 / E0277: A guard of `api` ends in the thread that made it.
#![no_std]
#![no_main]

use stillpoint::api::sync::MutexGuard;

stillpoint::entry!(main);

fn needs_send<T: Send>(_: T) {}

fn sent(guard: MutexGuard<'_, u32>) {
    needs_send(guard);
}

fn main() {}
