//! Who would sleep in a still point is told so at once: nobody could wake it.
//!
//! SMP: 1 4
//! STATUS: 101
//! OUTPUT: ^kernel panic on CPU 0, thread stopper/0: BUG: schedule with IRQs masked$
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
fn main() {
    // The stop holds the lock that this takes.
    let result = stillpoint::api::stop_machine(|| {
        drop(stillpoint::start::kernel().hotplug.cpus_write_lock())
    });
    stillpoint::println!("slept in a still point: {result:?}");
}

#[cfg(target_os = "none")]
stillpoint::entry!(main);

#[cfg(not(target_os = "none"))]
fn main() {}
