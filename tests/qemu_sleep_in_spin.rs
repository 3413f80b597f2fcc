//! Who would sleep with a spin lock held is told so, in any build.
//!
//! SMP: 1 4
//! STATUS: 101
//! OUTPUT: ^kernel panic on CPU 0, thread main: BUG: schedule with preemption off \(count 1\)$
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
fn main() {
    use stillpoint::{api, start::Hw, sync::SpinLock};
    let lock = SpinLock::<u32, Hw>::new(0);
    let held = lock.lock();
    // Told though it would be over before it began: no matter how fast the machine.
    api::sleep(core::time::Duration::ZERO);
    stillpoint::println!("slept with a spin lock held: {}", *held);
}

#[cfg(target_os = "none")]
stillpoint::entry!(main);

#[cfg(not(target_os = "none"))]
fn main() {}
