//! Flushes of preempted threads: Keith Owens' race with the classic stop and with a flush; that
//! neither sleepers nor applications hold a flush up; and that what does is named.

//@ smp: 1 2 4
//@ gic: 3
//@ timeout: 240
// The bound on realtime threads would let the reader go on before the writer has seen it.
//@ append: sched_rt_runtime_us=-1

#![no_std]
#![no_main]

extern crate alloc;

mod flush;
mod holders;
mod leaves;
mod race;

use alloc::sync::Arc;
use alloc::vec::Vec;

use stillpoint::api;
use stillpoint::api::stop::StopMode;
use stillpoint::api::thread::{self, JoinHandle};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::sync::LocalCpu;
use stillpoint::sync::atomic::{AtomicBool, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::machine::last_cpu;

use race::{Reader, Seen, race};

stillpoint::entry!(main);

/// How often each race is run; `tries=` says another number.
const TRIES: u32 = 300;

fn main() {
    let mut ktap = Ktap::new();
    kernel().test_handler.call_once(|| race::interrupted);
    let tries = api::args::var("tries").and_then(|tries| tries.parse().ok());
    let tries = tries.unwrap_or(TRIES);
    let noise = Noise::begin();
    races(&mut ktap, tries);
    ktap.check(
        "the last CPU to finish is told when all have",
        flush::too_early() == 0,
    );
    holders::storm(&mut ktap, 100);
    noise.end();
    holders::named(&mut ktap);
    holders::affinity_waits(&mut ktap);
    leaves::check(&mut ktap);
    ktap.finish()
}

fn races(ktap: &mut Ktap, tries: u32) {
    let all = u64::from(tries);
    // Under a guard the reader is preempted, and marked, when it drops the guard.
    let expect = |stale, marked| Seen {
        stale,
        marked,
        there: tries,
        changed: all,
    };
    let cases = [
        (
            "a classic stop changes what a preempted thread has read",
            Reader::Kernel,
            StopMode::Classic,
            expect(tries, tries),
        ),
        (
            "but nothing under a PreemptGuard",
            Reader::Guarded,
            StopMode::Classic,
            expect(0, tries),
        ),
        (
            "a flush waits for the preempted thread",
            Reader::Kernel,
            StopMode::FlushPreempted,
            expect(0, tries),
        ),
        (
            "and for a PreemptGuard",
            Reader::Guarded,
            StopMode::FlushPreempted,
            expect(0, tries),
        ),
        (
            "but not for an application's own code",
            Reader::App,
            StopMode::FlushPreempted,
            expect(tries, 0),
        ),
        (
            "unless that asks for it",
            Reader::NoFlush,
            StopMode::FlushPreempted,
            expect(0, tries),
        ),
    ];
    for (name, reader, mode, expected) in cases {
        let seen = race(reader, mode, last_cpu(), tries);
        if seen != expected {
            stillpoint::println!("# {seen:?}, not {expected:?}");
        }
        ktap.check(name, seen == expected);
    }
}

/// A thread of the application that computes on the boot CPU, unless the races are there, and
/// one that sleeps.
struct Noise {
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Noise {
    fn begin() -> Noise {
        let end = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::from([thread::spawn(thread::park)]);
        if last_cpu() != CpuId::BOOT {
            let end = Arc::clone(&end);
            let builder = thread::Builder::new().name("computes");
            let builder = builder.affinity(CpuMask::of(CpuId::BOOT));
            let body = move || {
                while !end.load(Ordering::Relaxed) {
                    Hw::relax();
                }
            };
            threads.push(builder.spawn(body).expect("a stack is left"));
        }
        Noise { end, threads }
    }

    fn end(self) {
        self.end.store(true, Ordering::Relaxed);
        for it in self.threads {
            it.thread().unpark();
            it.join();
        }
    }
}
