//! The figures: what threads, stops and hotplug cost, as `BENCH` lines on the console.
//!
//! A kernel of its own, booted by `make bench` at each size. Operations run
//! back to back from one thread on the boot CPU, after unmeasured rounds; times
//! are CNTVCT differences. `floor` is a bare SGI to all other CPUs and their
//! answers, with nothing of the kernel in between but the interrupt handler.
//! With the boot argument `case=stop` it measures nothing but stops and calls, with `case=hotplug`
//! nothing but hotplug, with `case=governor` how soon CPUs follow the load, with `case=burst` it
//! exports the trace of one burst, with `case=traps` it only
//! counts what traps to a hypervisor, and with `maxcpus=1` and `case=first` or `case=first-floor` it
//! measures the first time that the other CPUs come.
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(target_os = "none", no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod support {
    pub(crate) mod first;
    pub(crate) mod floors;
    pub(crate) mod governor;
    pub(crate) mod heap;
    pub(crate) mod hotplug;
    pub(crate) mod lines;
    pub(crate) mod phases;
    pub(crate) mod rounds;
    pub(crate) mod traps;
}

#[cfg(target_os = "none")]
mod kernel {
    use alloc::boxed::Box;
    use alloc::sync::Arc;
    use alloc::vec::Vec;
    use core::hint::black_box;
    use core::time::Duration;

    use stillpoint::api;
    use stillpoint::api::args::var;
    use stillpoint::api::stop::{Stop, StopMode};
    use stillpoint::api::thread::{self, Builder};
    use stillpoint::cpu::{CpuId, CpuMask};
    use stillpoint::kernel::{Hw, TEST_SGI, kernel};
    use stillpoint::platform::Platform;
    use stillpoint::sched::lock::Mutex;
    use stillpoint::sched::{Class, Priority, ThreadState};
    use stillpoint::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    use stillpoint::sync::{LocalCpu, PreemptGuard};
    use stillpoint::time::Instant;

    use crate::support::first;
    use crate::support::governor::{burst, governor};
    use crate::support::heap::bursts;
    use crate::support::hotplug::{hotplug, longest_irqs_off};
    use crate::support::lines::print_line;
    use crate::support::rounds::{Rounds, ns};
    use crate::support::traps::traps;

    stillpoint::entry!(main);

    /// The SGI that `floor` uses: one that has no handler but the counter.
    const FLOOR_SGI: u8 = TEST_SGI;

    /// With how many CPUs at most all others compute: with more, a host of two cores takes
    /// seconds to run each of them once, and nothing else is measured then.
    const MOST_BUSY: usize = 64;

    fn rounds(cpus: usize) -> Rounds {
        let measured = match cpus {
            0..=4 => 500,
            5..=16 => 200,
            17..=64 => 50,
            _ => 10,
        };
        Rounds {
            measured,
            warm_up: measured / 10,
        }
    }

    /// Returns the nanoseconds of `time`.
    fn ns_of(time: Duration) -> u64 {
        u64::try_from(time.as_nanos()).expect("a boot is shorter than centuries")
    }

    fn main() {
        // What is left of the boot settles.
        api::sleep(Duration::from_millis(100));
        let cpus = kernel().masks.possible().count();
        let rounds = rounds(cpus);
        match var("case") {
            Some(_) if cpus == 1 => panic!("there is no CPU that could go, or be called"),
            Some("first") => return first::walks(),
            Some("first-floor") => return first::floors(),
            _ => boot(cpus),
        }
        match var("case") {
            Some("hotplug") => return hotplug(&rounds),
            Some("traps") => return traps(&rounds),
            Some("governor") => return governor(),
            Some("burst") => return burst(),
            Some("stop") => return calls_and_stops(&rounds, cpus),
            _ => {}
        }
        if cpus > 1 {
            floor(&rounds);
            calls(&rounds);
        }
        threads(&rounds, cpus);
        heap(&rounds, cpus);
        stops(&rounds);
        if cpus > 1 {
            grace_periods(&rounds);
            hotplug(&rounds);
            traps(&rounds);
        }
    }

    /// What stops and calls other CPUs, and nothing else.
    fn calls_and_stops(rounds: &Rounds, cpus: usize) {
        if cpus > 1 {
            floor(rounds);
            calls(rounds);
        }
        stops(rounds);
    }

    /// The boot's own figure, one sample.
    fn boot(cpus: usize) {
        if let Some(whole) = api::boot_bring_up_time()
            && cpus > 1
        {
            print_line(
                "boot_per_secondary",
                Vec::from([ns_of(whole) / (cpus as u64 - 1)]),
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

    /// Cross calls of functions that do nothing, waited for: one other CPU, idle, and all others.
    /// Then the stopper of that one CPU. Each by itself, one after another without a pause, and as
    /// often as the module that measures Linux does it.
    fn calls(rounds: &Rounds) {
        let rounds = &Rounds {
            measured: 4 * rounds.measured,
            warm_up: 4 * rounds.warm_up,
        };
        let others = kernel().masks.online().without(&CpuMask::of(CpuId::BOOT));
        let one = others.first().expect("more than one CPU");
        one_by_one(rounds, "smp_call_single", || {
            let called = api::call_on(one, || ());
            assert!(called.is_ok(), "{called:?}");
        });
        one_by_one(rounds, "smp_call_many", || {
            let all = api::call_on_many(&others, |_| ());
            assert!(all == others, "{all} of {others}");
        });
        one_by_one(rounds, "stop_one_cpu", || {
            let stopped = api::stop::stop_one_cpu(one, || ());
            assert!(stopped.is_ok(), "{stopped:?}");
        });
    }

    /// Measures each call of `op_fn`.
    fn one_by_one(rounds: &Rounds, op: &str, op_fn: impl Fn()) {
        let mut samples = Vec::with_capacity(rounds.measured);
        for round in 0..rounds.warm_up + rounds.measured {
            let began = Hw::now();
            op_fn();
            let ended = Hw::now();
            if round >= rounds.warm_up {
                samples.push(ns(ended.ticks_since(began)));
            }
        }
        print_line(op, samples, rounds.warm_up);
    }

    /// Threads and what they wait by. All on the boot CPU, or it and the last one.
    fn threads(rounds: &Rounds, cpus: usize) {
        let me = thread::current();
        let anywhere = me.affinity();
        let here = CpuMask::of(CpuId::BOOT);
        me.set_affinity(&here).expect("the boot CPU is active");
        context_switch(rounds);
        wake(rounds, "wake_same_cpu", CpuId::BOOT);
        let last = CpuId::new(cpus - 1).expect("a CPU number");
        if last != CpuId::BOOT {
            wake(rounds, "wake_other_cpu", last);
        }
        mutex_uncontended(rounds);
        if last != CpuId::BOOT {
            mutex_contended(rounds, last);
        }
        me.set_affinity(&anywhere).expect("all CPUs are active");
    }

    fn on(cpu: CpuId) -> Builder {
        Builder::new().name("bench").affinity(CpuMask::of(cpu))
    }

    /// What `BATCH` operations took, for each of them: one is too short for the counter.
    fn batches(rounds: &Rounds, mut op_fn: impl FnMut()) -> Vec<u64> {
        const BATCH: u64 = 100;
        let mut samples = Vec::with_capacity(rounds.measured);
        for round in 0..rounds.warm_up + rounds.measured {
            let began = Hw::now();
            for _ in 0..BATCH {
                op_fn();
            }
            let took = Hw::now().ticks_since(began);
            if round >= rounds.warm_up {
                samples.push(ns(took) / BATCH);
            }
        }
        samples
    }

    /// Two threads of one CPU that yield to each other; a yield here is two switches.
    fn context_switch(rounds: &Rounds) {
        let end = Arc::new(AtomicBool::new(false));
        let own_end = Arc::clone(&end);
        let other = on(CpuId::BOOT).spawn(move || {
            while !own_end.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        });
        let other = other.expect("a stack is free");
        let there_and_back = batches(rounds, thread::yield_now);
        end.store(true, Ordering::Relaxed);
        other.join();
        let each = there_and_back.into_iter().map(|both| both / 2).collect();
        print_line("context_switch", each, rounds.warm_up);
    }

    /// From the wake of a thread that sleeps on `cpu` until it runs. It is realtime, so
    /// that on this CPU it doesn't wait for the end of a slice.
    fn wake(rounds: &Rounds, op: &str, cpu: CpuId) {
        let ran_at = Arc::new(AtomicU64::new(0));
        let (own_ran_at, turns) = (Arc::clone(&ran_at), rounds.warm_up + rounds.measured);
        let sleeper = on(cpu).class(Class::fifo(Priority::MIN)).spawn(move || {
            for _ in 0..turns {
                thread::park();
                own_ran_at.store(Hw::now().0, Ordering::Release);
            }
        });
        let sleeper = sleeper.expect("a stack is free");
        let handle = sleeper.thread();
        let mut samples = Vec::with_capacity(rounds.measured);
        for round in 0..turns {
            // It is asleep, and its CPU too.
            while handle.inner().state_racy() != ThreadState::Blocked {
                thread::yield_now();
            }
            api::sleep(Duration::from_micros(100));
            let began = Hw::now();
            handle.unpark();
            let ran = loop {
                match ran_at.swap(0, Ordering::Acquire) {
                    0 => Hw::relax(),
                    ran => break Instant(ran),
                }
            };
            if round >= rounds.warm_up {
                samples.push(ns(ran.ticks_since(began)));
            }
        }
        sleeper.join();
        print_line(op, samples, rounds.warm_up);
    }

    /// Lock and unlock of a mutex that no other thread wants.
    fn mutex_uncontended(rounds: &Rounds) {
        let mutex = Mutex::<u64, Hw>::new(0);
        let samples = batches(rounds, || *mutex.lock() += 1);
        print_line("mutex_uncontended", samples, rounds.warm_up);
    }

    /// The same while a thread of another CPU does nothing else either. The thread that has
    /// just let go often has it again before the other one wakes: the worst are the waits.
    fn mutex_contended(rounds: &Rounds, cpu: CpuId) {
        let mutex = Arc::new(Mutex::<u64, Hw>::new(0));
        let end = Arc::new(AtomicBool::new(false));
        let (own_mutex, own_end) = (Arc::clone(&mutex), Arc::clone(&end));
        let other = on(cpu).spawn(move || {
            while !own_end.load(Ordering::Relaxed) {
                *own_mutex.lock() += 1;
            }
        });
        let other = other.expect("a stack is free");
        while *mutex.lock() == 0 {
            thread::yield_now();
        }
        let samples = batches(rounds, || *mutex.lock() += 1);
        end.store(true, Ordering::Relaxed);
        other.join();
        print_line("mutex_contended", samples, rounds.warm_up);
    }

    /// An allocation and a free of one block by one CPU, and bursts between all CPUs.
    fn heap(rounds: &Rounds, cpus: usize) {
        let pair = batches(rounds, || drop(black_box(Box::new([0u64; 8]))));
        print_line("heap_pair", pair, rounds.warm_up);
        if cpus > 1 {
            bursts(cpus, rounds.measured, rounds.warm_up);
        }
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
            irqs_off.push(longest_irqs_off());
        }
        print_line("stop_machine", whole, rounds.warm_up);
        print_line("stop_machine.to_fn", to_fn, rounds.warm_up);
        print_line("stop_machine.irqs_off", irqs_off, rounds.warm_up);
        let mut flush = Vec::with_capacity(capacity);
        for round in 0..rounds.warm_up + rounds.measured {
            let began = Hw::now();
            let flushed = Stop::new().mode(StopMode::FlushPreempted).run(|| ());
            let ended = Hw::now();
            assert!(flushed.is_ok(), "{flushed:?}");
            if round >= rounds.warm_up {
                flush.push(ns(ended.ticks_since(began)));
            }
        }
        print_line("stop_machine.flush", flush, rounds.warm_up);
    }

    /// Grace periods with all other CPUs idle, and with a thread on each that computes.
    fn grace_periods(rounds: &Rounds) {
        synchronize("synchronize", rounds);
        if kernel().masks.online().count() > MOST_BUSY {
            return;
        }
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
}
