//! A thread that may wait while it holds what other threads wait for panics, whether it
//! would have to wait or not, in any build.

//@ smp: 1 4
//@ status: 101
//@ cases: spin pinned
//
//@ case: spin
//@ output: ^kernel panic on CPU 0, thread main: BUG: sleep with preemption off \(count 1\)$
//@ case: pinned
//@ output: ^kernel panic on CPU 0, thread main: BUG: .*main.* takes the lock of the CPUs while it keeps one from going$

#![no_std]
#![no_main]

use kernel_support::case::case;
use kernel_support::machine::stay_on_boot_cpu;

fn main() {
    use core::time::Duration;

    use stillpoint::api::{self, thread};
    use stillpoint::{kernel::Hw, sync::SpinLock};

    stay_on_boot_cpu();
    match case() {
        "spin" => {
            let lock = SpinLock::<u32, Hw>::new(0);
            let held = lock.lock();
            api::sleep(Duration::ZERO);
            stillpoint::println!("slept with a spin lock held: {}", *held);
        }
        "pinned" => {
            let here = thread::migrate_disable();
            drop(api::cpus_read_lock());
            stillpoint::println!("took it on {:?}", here.cpu());
        }
        other => stillpoint::println!("there is no case {other}"),
    }
}

stillpoint::entry!(main);
