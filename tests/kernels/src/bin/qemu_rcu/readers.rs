//! Readers, and writers that replace what they read, while CPUs come and go.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ptr;
use core::time::Duration;

use stillpoint::api::{self, rcu, thread};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::println;
use stillpoint::sync::LocalCpu;
use stillpoint::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::machine::secondaries;

/// The object that readers read.
struct Object {
    alive: AtomicU64,
}

impl Object {
    fn publish() -> *mut Object {
        Box::into_raw(Box::new(Object {
            alive: AtomicU64::new(ALIVE),
        }))
    }
}

const ALIVE: u64 = 0x600d_600d_600d_600d;
const DEAD: u64 = 0xdead_dead_dead_dead;

/// An object that no reader finds any more.
struct Retired(*mut Object);

impl Retired {
    /// Frees the object; the caller has waited for a grace period.
    fn free(self) {
        // SAFETY: from `publish`, retired by one swap; no reader has it any more, or
        // this test has found what it looks for.
        let object = unsafe { Box::from_raw(self.0) };
        object.alive.store(DEAD, Ordering::Relaxed);
    }
}

// SAFETY: it is handed to the code that frees it.
unsafe impl Send for Retired {}

static SHARED: AtomicPtr<Object> = AtomicPtr::new(ptr::null_mut());

fn replace() -> Retired {
    Retired(SHARED.swap(Object::publish(), Ordering::AcqRel))
}

/// Reads in sections until `stop`; returns how many, and how many found a dead one.
fn read_on(stop: &AtomicBool) -> (u64, u64) {
    let (mut sections, mut dead) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        rcu::read(|_| {
            // SAFETY: published, and not freed before this section ends: what the
            // test is about.
            let object = unsafe { &*SHARED.load(Ordering::Acquire) };
            for _ in 0..20 {
                dead += u64::from(object.alive.load(Ordering::Relaxed) != ALIVE);
                // Sections nest.
                rcu::read(|_| Hw::relax());
            }
        });
        sections += 1;
    }
    (sections, dead)
}

pub(crate) fn readers(ktap: &mut Ktap) {
    let cpus = kernel().masks.possible().count();
    let stop = Arc::new(AtomicBool::new(false));
    SHARED.store(Object::publish(), Ordering::Release);
    let before = rcu::stats();
    let readers: Vec<_> = (0..cpus)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || read_on(&stop))
        })
        .collect();
    let writers: Vec<_> = (0..4)
        .map(|number| {
            let stop = Arc::clone(&stop);
            let write = move || {
                let mut written: u64 = 0;
                while !stop.load(Ordering::Relaxed) {
                    let retired = replace();
                    if number % 2 == 0 {
                        rcu::call_rcu(move || retired.free());
                    } else {
                        rcu::synchronize();
                        retired.free();
                    }
                    written += 1;
                    if written.is_multiple_of(64) {
                        rcu::barrier();
                    }
                }
                written
            };
            thread::spawn(write)
        })
        .collect();
    let mut moved = true;
    for _ in 0..3 {
        for cpu in secondaries().into_iter().take(4) {
            moved &= api::cpu_down(cpu).is_ok();
            api::sleep(Duration::from_millis(2));
            moved &= api::cpu_up(cpu).is_ok();
        }
        api::sleep(Duration::from_millis(50));
    }
    stop.store(true, Ordering::Relaxed);
    let read: Vec<_> = readers.into_iter().map(thread::JoinHandle::join).collect();
    let written: u64 = writers.into_iter().map(thread::JoinHandle::join).sum();
    rcu::barrier();
    let after = rcu::stats();
    let sections: u64 = read.iter().map(|(sections, _)| sections).sum();
    println!("# {sections} sections, {written} replaced, {before:?} to {after:?}");
    ktap.check("CPUs come and go under readers and writers", moved);
    ktap.check(
        "all readers read, and writers write",
        read.iter().all(|(sections, _)| *sections > 0) && written > 0,
    );
    ktap.check(
        "no reader sees what was freed",
        read.iter().all(|(_, dead)| *dead == 0),
    );
    ktap.equal(
        "as many callbacks run as were queued",
        after.ran,
        after.queued,
    );
    Retired(SHARED.swap(ptr::null_mut(), Ordering::AcqRel)).free();
}
