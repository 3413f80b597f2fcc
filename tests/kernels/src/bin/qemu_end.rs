//! `poweroff` takes all other CPUs down first. A thread that keeps one up for ever doesn't keep
//! the machine from its end.

//@ smp: 4
//@ plan: none
//@ append: init=poweroff
//@ output: ^\[ *[0-9.]+\] warning: .*CPU2 .*ETIMEDOUT
//@ output: ^\[ *[0-9.]+\] The machine ends, with CPUs 0,2 online$
//@ status: 0

#![no_std]
#![no_main]

stillpoint::entry!(main);

use stillpoint::api;
use stillpoint::api::thread;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::sync::atomic::{AtomicBool, Ordering};

use kernel_support::machine::eventually;

static IS_PINNED: AtomicBool = AtomicBool::new(false);

fn main() {
    let pinned = thread::Builder::new()
        .affinity(CpuMask::of(CpuId::from_index(2)))
        .spawn(|| {
            let _here = thread::migrate_disable();
            IS_PINNED.store(true, Ordering::Relaxed);
            loop {
                thread::park();
            }
        });
    assert!(pinned.is_ok(), "no thread");
    assert!(eventually(|| IS_PINNED.load(Ordering::Relaxed)), "not run");
    api::run_shell()
}
