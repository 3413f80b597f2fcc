//! Static keys: the word at a site is a NOP or the one branch, before and after; text is never
//! writable where it runs; and after a change no CPU has the old value, whatever runs and
//! whichever CPUs come and go.

//@ smp: 1 2 4
//@ timeout: 300
//@ cases: keys storm
// After a change: the site can't be written, and the alias is gone.
//@ cases: write-site read-alias
// While the alias is there: the site can't be written, nor the alias executed.
//@ cases: write-site-meanwhile execute-alias
// A change where the caller may not wait.
//@ cases: in-timer in-call in-stop preempt-off
//
//@ case: write-site|read-alias|write-site-meanwhile|execute-alias|in-.*|preempt-off
//@ status: 101
//@ case: write-site|write-site-meanwhile
//@ output: ^  data abort on a write, permission denied, level [23], address 0x[0-9a-f]+ \(code \+0x[0-9a-f]+\)$
//@ case: read-alias
//@ output: ^  data abort on a read, not mapped, level 3, address 0x[0-9a-f]+ \(data \+0x[0-9a-f]+\)$
//@ case: execute-alias
//@ output: ^  instruction abort, permission denied, level 3, address 0x[0-9a-f]+ \(data \+0x[0-9a-f]+\)$
//@ case: in-timer
//@ output: ^kernel panic on CPU 0, .*: BUG: an interrupt handler calls cpus_read_lock, which may wait
//@ case: in-call
//@ output: ^kernel panic on CPU 0, .*: BUG: cpus_read_lock with (IRQs masked|preemption off \(count 1\))$
//@ case: in-stop
//@ output: ^kernel panic on CPU [0-9]+, thread stopper/[0-9]+: BUG: the function of a stop calls cpus_read_lock, which may wait
//@ case: preempt-off
//@ output: ^kernel panic on CPU [0-9]+, thread main: BUG: cpus_read_lock with preemption off \(count 1\)$

#![no_std]
#![no_main]

extern crate alloc;

#[path = "../../../../../examples/api/static_key.rs"]
mod example;
mod faults;
mod keys;
mod storm;

stillpoint::entry!(main);

use core::time::Duration;

use alloc::vec::Vec;

use stillpoint::api::cpu::CpuId;
use stillpoint::api::static_key::StaticKey;
use stillpoint::api::sync::PreemptGuard;
use stillpoint::api::thread::{self, JoinHandle};
use stillpoint::api::time::Timer;
use stillpoint::arch::aarch64::{image, text};
use stillpoint::patch::Site;
use stillpoint::{api, println, static_branch_unlikely};

use kernel_support::case::case;
use kernel_support::machine::{eventually, last_cpu, stay_on_boot_cpu};

/// A key that is off at first.
pub(crate) static KEY: StaticKey = StaticKey::new();

/// Returns whether the key is on: a site that is compiled once.
#[inline(never)]
pub(crate) fn is_on() -> bool {
    static_branch_unlikely!(KEY)
}

/// Returns the sites of `key`.
pub(crate) fn sites<const ON: bool>(key: &'static StaticKey<ON>) -> Vec<Site> {
    let address = (&raw const *key).addr();
    let sites = image::static_keys().iter().map(|entry| entry.site());
    sites.filter(|site| site.key == address).collect()
}

/// Returns the instruction at `site`.
pub(crate) fn word(site: &Site) -> u32 {
    // SAFETY: the table has addresses of instructions.
    unsafe { text::read(site.at) }
}

/// Changes the key where that is forbidden.
fn misuse() {
    let changed = KEY.enable();
    println!("it was changed: {changed:?}");
}

fn main() {
    match case() {
        "keys" => keys::test(),
        "storm" => storm::test(),
        "in-timer" => {
            stay_on_boot_cpu();
            let timer = Timer::new(misuse);
            timer.start(api::deadline(Duration::from_millis(1)));
            eventually(|| false);
        }
        "in-call" => {
            // The own CPU is called where the caller is, another one interrupts.
            let called =
                thread::spawn_on(last_cpu(), "caller", || api::call_on(CpuId::BOOT, misuse));
            let called = called.map(JoinHandle::join);
            println!("{called:?}");
        }
        "in-stop" => {
            let stopped = api::stop_machine(misuse);
            println!("{stopped:?}");
        }
        "preempt-off" => {
            let _off = PreemptGuard::new();
            misuse();
        }
        what => faults::test(what),
    }
    panic!("nothing has happened");
}
