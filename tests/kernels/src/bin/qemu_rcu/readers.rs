//! Readers, and writers that replace what they read, while CPUs come and go.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::rcu::{self, RcuBox};
use stillpoint::api::{self, thread};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::println;
use stillpoint::sync::LocalCpu;
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::machine::secondaries;

/// The object that readers read. It says so when it is dropped.
struct Object {
    alive: AtomicU64,
}

impl Object {
    fn new() -> Object {
        Object {
            alive: AtomicU64::new(ALIVE),
        }
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        self.alive.store(DEAD, Ordering::Relaxed);
    }
}

const ALIVE: u64 = 0x600d_600d_600d_600d;
const DEAD: u64 = 0xdead_dead_dead_dead;

/// Reads in sections until `stop`; returns how many, and how many found a dead one.
fn read_on(shared: &RcuBox<Object>, stop: &AtomicBool) -> (u64, u64) {
    let (mut sections, mut dead) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        rcu::read(|guard| {
            let object = shared.read(guard);
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
    let shared = Arc::new(RcuBox::new(Object::new()));
    let before = rcu::stats();
    let readers: Vec<_> = (0..cpus)
        .map(|_| {
            let (shared, stop) = (Arc::clone(&shared), Arc::clone(&stop));
            thread::spawn(move || read_on(&shared, &stop))
        })
        .collect();
    let writers: Vec<_> = (0..4)
        .map(|number| {
            let (shared, stop) = (Arc::clone(&shared), Arc::clone(&stop));
            let write = move || {
                let mut written: u64 = 0;
                while !stop.load(Ordering::Relaxed) {
                    if number % 2 == 0 {
                        shared.replace_later(Object::new());
                    } else {
                        drop(shared.replace(Object::new()));
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
}
