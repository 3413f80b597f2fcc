//! The figures: what stops and hotplug cost, as `BENCH` lines on the console.
//!
//! A kernel of its own, booted by `tests/bench.sh` at each size. Operations run
//! back to back from one thread on the boot CPU, after unmeasured rounds; times
//! are CNTVCT differences. `floor` is a bare SGI to all other CPUs and their
//! answers, with nothing of the kernel in between but the interrupt handler.
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(target_os = "none", no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod kernel {
    use alloc::sync::Arc;
    use alloc::vec::Vec;
    use core::time::Duration;

    use stillpoint::cpu::{CpuId, CpuMask};
    use stillpoint::platform::Platform;
    use stillpoint::start::{Hw, kernel};
    use stillpoint::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use stillpoint::sync::{Exec, PreemptGuard};
    use stillpoint::{api, println};

    stillpoint::entry!(main);

    /// The SGI that `floor` uses: one that has no handler but the counter.
    const FLOOR_SGI: u8 = 8;

    /// How many operations are measured, and how many before that are not.
    struct Rounds {
        measured: usize,
        warm_up: usize,
    }

    fn rounds(cpus: usize) -> Rounds {
        let measured = match cpus {
            0..=4 => 500,
            5..=16 => 200,
            _ => 50,
        };
        Rounds {
            measured,
            warm_up: measured / 10,
        }
    }

    fn ns(ticks: u64) -> u64 {
        Hw::frequency().ticks_to_ns(ticks)
    }

    /// Prints one operation's line.
    fn print_line(op: &str, mut samples: Vec<u64>, warm_up: usize) {
        samples.sort_unstable();
        let at = |part: usize| samples[(samples.len() - 1) * part / 100];
        let us = |ns: u64| (ns / 1000, ns % 1000);
        let [min, median, p99, max] = [at(0), at(50), at(99), at(100)].map(us);
        println!(
            "BENCH,stillpoint,smp={},op={op},n={},warmup={warm_up},min_us={}.{:03},\
             median_us={}.{:03},p99_us={}.{:03},max_us={}.{:03}",
            kernel().masks.possible().count(),
            samples.len(),
            min.0,
            min.1,
            median.0,
            median.1,
            p99.0,
            p99.1,
            max.0,
            max.1
        );
    }

    fn main() {
        // What is left of the boot settles.
        api::sleep(Duration::from_millis(100));
        let cpus = kernel().masks.possible().count();
        let rounds = rounds(cpus);
        boot(cpus);
        if cpus > 1 {
            floor(&rounds);
            calls(&rounds);
        }
        stops(&rounds);
        if cpus > 1 {
            grace_periods(&rounds);
            hotplug(&rounds);
        }
    }

    /// The boot's own figure, one sample.
    fn boot(cpus: usize) {
        if let Some(whole) = api::boot_bring_up_ticks()
            && cpus > 1
        {
            print_line(
                "boot_per_secondary",
                Vec::from([ns(whole) / (cpus as u64 - 1)]),
                0,
            );
        }
    }

    fn floor(rounds: &Rounds) {
        let mut samples = Vec::with_capacity(rounds.measured);
        let others = kernel().masks.online().without(&CpuMask::of(CpuId::BOOT));
        let answers = || -> u64 {
            others
                .iter()
                .map(|cpu| kernel().interrupts.sgis(cpu, FLOOR_SGI))
                .sum()
        };
        for round in 0..rounds.warm_up + rounds.measured {
            let _here = PreemptGuard::<Hw>::new();
            let wanted = answers() + others.count() as u64;
            let began = Hw::now();
            kernel().irq_chip().send_sgi(FLOOR_SGI, &others);
            while answers() < wanted {
                Hw::relax();
            }
            let took = Hw::now().ticks_since(began);
            if round >= rounds.warm_up {
                samples.push(ns(took));
            }
        }
        print_line("floor", samples, rounds.warm_up);
    }

    /// Cross calls of functions that do nothing, waited for: one other CPU, idle,
    /// and all others.
    fn calls(rounds: &Rounds) {
        let others = kernel().masks.online().without(&CpuMask::of(CpuId::BOOT));
        let one = others.first().expect("more than one CPU");
        let mut single = Vec::with_capacity(rounds.measured);
        let mut many = Vec::with_capacity(rounds.measured);
        for round in 0..rounds.warm_up + rounds.measured {
            let began = Hw::now();
            let called = api::call_on(one, || ());
            let ended = Hw::now();
            assert!(called.is_ok(), "{called:?}");
            let again = Hw::now();
            let all = api::call_on_many(&others, |_| ());
            let over = Hw::now();
            assert!(all == others, "{all} of {others}");
            if round >= rounds.warm_up {
                single.push(ns(ended.ticks_since(began)));
                many.push(ns(over.ticks_since(again)));
            }
        }
        print_line("smp_call_single", single, rounds.warm_up);
        print_line("smp_call_many", many, rounds.warm_up);
    }

    fn stops(rounds: &Rounds) {
        let capacity = rounds.measured;
        let mut whole = Vec::with_capacity(capacity);
        let mut to_fn = Vec::with_capacity(capacity);
        let mut irqs_off = Vec::with_capacity(capacity);
        for round in 0..rounds.warm_up + rounds.measured {
            let began = Hw::now();
            let stopped = api::timed_stop_machine(|| ());
            let ended = Hw::now();
            let ((), report) = stopped.expect("the boot CPU is online");
            if round < rounds.warm_up {
                continue;
            }
            whole.push(ns(ended.ticks_since(began)));
            to_fn.push(ns(report.fn_began.ticks_since(began)));
            let times = kernel().stop_machine.times();
            let longest = kernel()
                .masks
                .online()
                .iter()
                .map(|cpu| times.irqs_off_ticks(cpu))
                .max();
            irqs_off.push(ns(longest.unwrap_or(0)));
        }
        print_line("stop_machine", whole, rounds.warm_up);
        print_line("stop_machine.to_fn", to_fn, rounds.warm_up);
        print_line("stop_machine.irqs_off", irqs_off, rounds.warm_up);
    }

    /// Grace periods with all other CPUs idle, and with a thread on each that computes.
    fn grace_periods(rounds: &Rounds) {
        synchronize("synchronize", rounds);
        let stop = Arc::new(AtomicBool::new(false));
        let others = kernel().masks.online().without(&CpuMask::of(CpuId::BOOT));
        let begun = Arc::new(AtomicUsize::new(0));
        let compute = |cpu| {
            let (stop, begun) = (Arc::clone(&stop), Arc::clone(&begun));
            let body = move || {
                begun.fetch_add(1, Ordering::Relaxed);
                while !stop.load(Ordering::Relaxed) {
                    Hw::relax();
                }
            };
            api::spawn_on(cpu, "computes", body).expect("a stack")
        };
        let threads: Vec<_> = others.iter().map(compute).collect();
        while begun.load(Ordering::Relaxed) < others.count() {
            api::sleep(Duration::from_millis(1));
        }
        synchronize("synchronize.busy", rounds);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(api::JoinHandle::join);
    }

    fn synchronize(op: &str, rounds: &Rounds) {
        let mut samples = Vec::with_capacity(rounds.measured);
        for round in 0..rounds.warm_up + rounds.measured {
            let began = Hw::now();
            api::rcu::synchronize();
            let took = Hw::now().ticks_since(began);
            if round >= rounds.warm_up {
                samples.push(ns(took));
            }
        }
        print_line(op, samples, rounds.warm_up);
    }

    /// One CPU down and up again, round robin over all secondaries.
    fn hotplug(rounds: &Rounds) {
        let mut down = Vec::with_capacity(rounds.measured);
        let mut up = Vec::with_capacity(rounds.measured);
        let mut irqs_off = Vec::with_capacity(rounds.measured);
        let secondaries: Vec<CpuId> = kernel()
            .masks
            .possible()
            .iter()
            .filter(|cpu| *cpu != CpuId::BOOT)
            .collect();
        for round in 0..rounds.warm_up + rounds.measured {
            let cpu = secondaries[round % secondaries.len()];
            let began = Hw::now();
            api::cpu_down(cpu).expect("a secondary leaves");
            let off = Hw::now();
            let longest = kernel()
                .masks
                .online()
                .iter()
                .map(|other| kernel().stop_machine.times().irqs_off_ticks(other))
                .max();
            let again = Hw::now();
            api::cpu_up(cpu).expect("a secondary returns");
            let on = Hw::now();
            if round >= rounds.warm_up {
                down.push(ns(off.ticks_since(began)));
                up.push(ns(on.ticks_since(again)));
                irqs_off.push(ns(longest.unwrap_or(0)));
            }
        }
        print_line("cpu_down", down, rounds.warm_up);
        print_line("cpu_down.irqs_off", irqs_off, rounds.warm_up);
        print_line("cpu_up", up, rounds.warm_up);
    }
}
