//! Threads: they run where they are bound, wait for each other across CPUs, free all their memory,
//! and keep their registers whatever interrupts them.

//@ smp: 1 2 4 8 20
//@ timeout: 600
//@ output: [0-9]{4} threads at once

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::thread::{Builder, Priority};
use stillpoint::api::{self, JoinHandle};
use stillpoint::config::{MAX_CPUS, MOST_ORDINARY_STACKS, ORDINARY_STACKS};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, TEST_SGI, kernel};
use stillpoint::platform::Platform;
use stillpoint::println;
use stillpoint::sched::lock::{Completion, Mutex};
use stillpoint::sched::{Class, SpawnError};
use stillpoint::sync::IrqGuard;
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use stillpoint::time::Instant;

use kernel_support::ktap::Ktap;
use kernel_support::machine::{after, eventually, last_cpu, send_sgi};
use kernel_support::registers::{self, Low, Vectors};

fn main() {
    let mut ktap = Ktap::new();
    spawn_and_join(&mut ktap);
    thousands(&mut ktap);
    refusals(&mut ktap);
    bound(&mut ktap);
    sleeping(&mut ktap);
    mutex(&mut ktap);
    completion(&mut ktap);
    registers(&mut ktap);
    ktap.finish()
}

fn cpus() -> Vec<CpuId> {
    kernel().masks.online().iter().collect()
}

fn spawn<T: Send + 'static>(
    cpu: CpuId,
    body: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    api::spawn_on(cpu, "test", body).expect("a stack is free")
}

/// Runs `body_fn` in a thread on each CPU; returns the threads' results.
fn on_each<T: Send + 'static>(body_fn: impl Fn(CpuId) -> T + Clone + Send + 'static) -> Vec<T> {
    let start = |cpu| {
        let body_fn = body_fn.clone();
        spawn(cpu, move || body_fn(cpu))
    };
    let threads: Vec<_> = cpus().into_iter().map(start).collect();
    threads.into_iter().map(JoinHandle::join).collect()
}

/// Returns whether as much heap and as many stacks are in use as before. A thread's CPU frees its
/// memory shortly after the thread was joined.
fn memory_is_back(before: (usize, usize)) -> bool {
    let now = || (api::heap_in_use(), api::stacks_in_use());
    let back = eventually(|| now() == before);
    if !back {
        println!("# heap, stacks: {before:?} before, {:?} now", now());
    }
    back
}

fn spawn_and_join(ktap: &mut Ktap) {
    const ROUNDS: u64 = 20;
    // There are stacks for this many threads at a time.
    let each = 24.min(96 / cpus().len() as u64);
    let before = (api::heap_in_use(), api::stacks_in_use());
    let mut right = true;
    for round in 0..ROUNDS {
        let threads: Vec<_> = cpus()
            .into_iter()
            .flat_map(|cpu| (0..each).map(move |number| (cpu, number)))
            .map(|(cpu, number)| {
                // This thread makes a value on the heap, another changes it, and this one
                // reads it.
                let value = Box::new((round, number));
                let body = move || {
                    if number % 2 == 0 {
                        api::yield_now();
                    }
                    (cpu, Box::new((value.0 + 1, value.1 * 3)))
                };
                (cpu, number, spawn(cpu, body))
            })
            .collect();
        right &= threads
            .into_iter()
            .all(|(cpu, number, thread)| thread.join() == (cpu, Box::new((round + 1, number * 3))));
    }
    ktap.check("what a thread returns is what its joiner gets", right);
    ktap.check(
        "many threads later, heap and stacks are as before",
        memory_is_back(before),
    );
    let unjoined: Vec<_> = cpus().into_iter().map(|cpu| spawn(cpu, || ())).collect();
    drop(unjoined);
    ktap.check(
        "a thread that is not joined leaves nothing behind",
        memory_is_back(before),
    );
}

/// Ten thousand threads that may run anywhere, started and joined by one on each CPU.
fn thousands(ktap: &mut Ktap) {
    const THREADS: usize = 10_000;
    const AT_A_TIME: usize = 4;
    let before = (api::heap_in_use(), api::stacks_in_use());
    let rounds = THREADS.div_ceil(AT_A_TIME * cpus().len());
    let sums = on_each(move |_| {
        let mut sum = 0;
        for _ in 0..rounds {
            let threads = [1, 2, 3, 4].map(|value| api::thread::spawn(move || value));
            sum += threads.into_iter().map(JoinHandle::join).sum::<usize>();
        }
        sum
    });
    let right = sums.into_iter().all(|sum| sum == 10 * rounds);
    ktap.check(
        "ten thousand threads later too",
        right && memory_is_back(before),
    );
}

fn refusals(ktap: &mut Ktap) {
    let before = (api::heap_in_use(), api::stacks_in_use());
    let go = Arc::new(AtomicBool::new(false));
    let mut threads = Vec::with_capacity(MOST_ORDINARY_STACKS);
    let refusal = loop {
        let go = Arc::clone(&go);
        let body = move || {
            while !go.load(Ordering::Relaxed) {
                api::yield_now();
            }
        };
        match api::spawn_on(last_cpu(), "test", body) {
            Ok(thread) => threads.push(thread),
            Err(error) => break error,
        }
    };
    println!("# {} threads at once", threads.len());
    ktap.check(
        "with no stack left a thread is refused",
        refusal == SpawnError::OutOfStacks && threads.len() >= ORDINARY_STACKS / 2,
    );
    go.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(JoinHandle::join);
    drop(go);
    ktap.check(
        "when they have ended all is as before",
        memory_is_back(before),
    );
    let nowhere = CpuId::new(MAX_CPUS - 1).expect("a CPU number");
    let refused = api::spawn_on(nowhere, "test", || ());
    ktap.equal(
        "a CPU that isn't there is refused",
        refused.err(),
        Some(SpawnError::NotActive(nowhere)),
    );
}

fn bound(ktap: &mut Ktap) {
    let stayed = on_each(|cpu| {
        (0..50).all(|turn| {
            let here = Hw::this_cpu() == cpu;
            match turn % 3 {
                0 => api::yield_now(),
                1 => api::sleep(Duration::from_micros(100)),
                _ => {}
            }
            here && Hw::this_cpu() == cpu
        })
    });
    ktap.check(
        "a thread runs on its CPU, before and after every wait",
        stayed.into_iter().all(|stayed| stayed),
    );
}

fn sleeping(ktap: &mut Ktap) {
    let slept = |time: Duration| {
        let began = Hw::now();
        api::sleep(time);
        Hw::now().ticks_since(began) >= Hw::frequency().duration_to_ticks(time)
    };
    let long_enough = on_each(move |cpu| {
        let number = cpu.index() as u64;
        [0, 1, 50, 500, 1_000 + 300 * number, 3_000]
            .into_iter()
            .all(|us| slept(Duration::from_micros(us)))
    });
    ktap.check(
        "no sleep is short",
        long_enough.into_iter().all(|long_enough| long_enough),
    );
    let mut lead = Duration::from_millis(50);
    let mut in_order = None;
    // On a slow host the first may wake before the last has gone to sleep.
    let judged = eventually(|| {
        lead *= 2;
        in_order = wakes_in_order(lead);
        in_order.is_some()
    });
    ktap.check(
        "sleepers of one CPU wake in the order of their times",
        judged && in_order == Some(true),
    );
}

/// Returns whether ten sleepers of one CPU, the first of them due in `lead`, wake in
/// the order of their times and none early; the latest goes to sleep first.
/// `None` if they were not all asleep in time.
fn wakes_in_order(lead: Duration) -> Option<bool> {
    let order = Arc::new(AtomicU32::new(0));
    let first = after(lead);
    let apart = Hw::frequency().duration_to_ticks(Duration::from_millis(1));
    let sleepers: Vec<_> = (0..10u32)
        .rev()
        .map(|number| {
            let order = Arc::clone(&order);
            let until = first.after_ticks(apart * u64::from(number));
            // FIFO, because a slice that ends between waking and counting would swap two threads.
            let sleeper = Builder::new()
                .affinity(CpuMask::of(last_cpu()))
                .class(Class::fifo(Priority::MAX));
            let woken = sleeper.spawn(move || {
                let in_time = Hw::now() < first;
                kernel().sched.sleep_until(until);
                let turn = order.fetch_add(1, Ordering::Relaxed);
                (in_time, turn == number && Hw::now() >= until)
            });
            woken.expect("a stack is free")
        })
        .collect();
    let woken: Vec<_> = sleepers.into_iter().map(JoinHandle::join).collect();
    let all_in_time = woken.iter().all(|(in_time, _)| *in_time);
    all_in_time.then(|| woken.iter().all(|(_, right)| *right))
}

fn mutex(ktap: &mut Ktap) {
    const EACH: u32 = 200;
    // The host may run the CPUs one after another for a while.
    const MOST: u32 = 20_000;
    let shared = Arc::new((
        Mutex::<u32, Hw>::new(0),
        AtomicU32::new(0),
        AtomicU32::new(0),
        AtomicU32::new(0),
    ));
    let counters = Arc::clone(&shared);
    let has_rivals = cpus().len() > 1;
    let alone = on_each(move |_| {
        let (mutex, inside, contended, turns) = &*counters;
        let goes_on =
            |turn: &u32| *turn < EACH || (has_rivals && contended.load(Ordering::Relaxed) == 0);
        (0..MOST).take_while(goes_on).all(|turn| {
            turns.fetch_add(1, Ordering::Relaxed);
            if mutex.try_lock().is_none() {
                contended.fetch_add(1, Ordering::Relaxed);
            }
            let mut value = mutex.lock();
            let alone = inside.fetch_add(1, Ordering::Relaxed) == 0;
            let before = *value;
            // Lets the other threads run and wait, on this CPU and on their own.
            if turn % 4 == 0 {
                api::sleep(Duration::from_micros(20));
            } else {
                api::yield_now();
            }
            *value = before + 1;
            inside.fetch_sub(1, Ordering::Relaxed);
            alone
        })
    });
    let wanted = shared.3.load(Ordering::Relaxed);
    ktap.check(
        "a mutex has one owner at a time",
        alone.into_iter().all(|alone| alone) && *shared.0.lock() == wanted,
    );
    let contended = shared.2.load(Ordering::Relaxed);
    println!("# {contended} of {wanted} found it taken");
    let name = "a mutex is contended between CPUs";
    if cpus().len() > 1 {
        ktap.check(name, contended > 0);
    } else {
        ktap.inapplicable(name, "one CPU");
    }
    ktap.check(
        "a mutex that is taken can't be taken by trying",
        try_lock_of_a_held_mutex(),
    );
}

fn try_lock_of_a_held_mutex() -> bool {
    let mutex = Arc::new(Mutex::<(), Hw>::new(()));
    let held = mutex.lock();
    let other = Arc::clone(&mutex);
    let refused = spawn(last_cpu(), move || other.try_lock().is_none()).join();
    drop(held);
    refused && mutex.try_lock().is_some()
}

fn completion(ktap: &mut Ktap) {
    const ROUNDS: u32 = 300;
    // Ping and pong between the boot CPU and the last one.
    let pair = Arc::new((Completion::<Hw>::new(), Completion::<Hw>::new()));
    let value = Arc::new(AtomicU32::new(0));
    let (far, far_value) = (Arc::clone(&pair), Arc::clone(&value));
    let other = spawn(last_cpu(), move || {
        (0..ROUNDS).all(|round| {
            far.0.wait();
            let right = far_value.swap(2 * round + 1, Ordering::Relaxed) == 2 * round;
            far.1.complete();
            right
        })
    });
    let here = (0..ROUNDS).all(|round| {
        value.store(2 * round, Ordering::Relaxed);
        pair.0.complete();
        pair.1.wait();
        value.load(Ordering::Relaxed) == 2 * round + 1
    });
    ktap.check("completions between two CPUs", here && other.join());

    let never = Completion::<Hw>::new();
    let until = after(Duration::from_millis(2));
    let waited = never.wait_until(until);
    ktap.check(
        "a wait with a limit ends without success, and not early",
        !waited && Hw::now() >= until && !never.try_wait(),
    );

    let all = Arc::new(Completion::<Hw>::new());
    let waiting = Arc::new(AtomicU32::new(0));
    let (gate, arrived) = (Arc::clone(&all), Arc::clone(&waiting));
    let opener = spawn(CpuId::BOOT, move || {
        let everybody = u32::try_from(cpus().len()).expect("few CPUs");
        let came = eventually(|| arrived.load(Ordering::Relaxed) == everybody);
        gate.complete_all();
        came
    });
    let passed = on_each(move |_| {
        waiting.fetch_add(1, Ordering::Relaxed);
        let first = all.wait_until(after(Duration::from_secs(30)));
        first && all.wait_until(Instant(0))
    });
    ktap.check(
        "complete_all lets everyone pass, for ever",
        opener.join() && passed.into_iter().all(|passed| passed),
    );
}

/// Interrupts that [`interrupt`] has handled.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

/// A handler that changes every register that it may.
fn interrupt() {
    registers::scramble();
    INTERRUPTS.fetch_add(1, Ordering::Relaxed);
}

/// What a thread saw that kept values in its registers while others tried to
/// disturb it.
struct Kept {
    all: bool,
    interrupts: u32,
    stops: u32,
}

fn registers(ktap: &mut Ktap) {
    let cpu = last_cpu();
    let several = cpus().len() > 1;
    kernel().test_handler.call_once(|| interrupt);
    let stops = Arc::new(AtomicU32::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let (seen, end) = (Arc::clone(&stops), Arc::clone(&done));
    let holder = spawn(cpu, move || {
        let kept = keep_vectors(cpu, if several { 5 } else { 0 }, &seen);
        end.store(true, Ordering::Relaxed);
        kept
    });
    // On one CPU this runs between two holds.
    while !done.load(Ordering::Relaxed) {
        if several {
            scramble_everywhere();
            stops.fetch_add(1, Ordering::Relaxed);
        }
        api::sleep(Duration::from_millis(1));
    }
    let kept = holder.join();
    println!(
        "# held through {} interrupts and {} stops",
        kept.interrupts, kept.stops
    );
    ktap.check(
        "q0 to q31 survive interrupts",
        kept.all && kept.interrupts >= 20,
    );
    let name = "q0 to q31 survive stops that preempt their thread";
    if several {
        ktap.check(name, kept.all && kept.stops >= 5);
    } else {
        ktap.inapplicable(name, "one CPU: no other CPU could ask for the stop");
    }

    // Two threads on one CPU, which yield to each other.
    let ready = Arc::new(AtomicU32::new(0));
    let pair = [1, 2].map(|seed| {
        let ready = Arc::clone(&ready);
        spawn(cpu, move || {
            ready.fetch_add(1, Ordering::Relaxed);
            eventually(|| ready.load(Ordering::Relaxed) == 2)
                && (0..200).all(|turn| {
                    let values = Low::new(seed * 1000 + turn);
                    registers::keep_over(&values, give_way) == values
                })
        })
    });
    let kept = pair.map(JoinHandle::join);
    ktap.equal(
        "d8 to d15 survive the way to another thread and back",
        kept,
        [true, true],
    );
}

/// Stops the machine, and changes every CPU's registers.
fn scramble_everywhere() {
    let _held = kernel().hotplug.cpus_read_lock();
    let still = kernel().stop_machine.lock();
    let online = kernel().masks.online();
    let stop = &kernel().stop_machine;
    let stopped = stop.stop_all(&still, online, &|_| registers::scramble());
    assert!(stopped.is_ok(), "{stopped:?}");
}

/// It uses no vector register itself, or the compiler would save the registers.
extern "C" fn give_way() {
    api::yield_now();
}

/// Holds values in all vector registers, again and again, until 20 interrupts and
/// `wanted_stops` of `stops` have happened meanwhile.
fn keep_vectors(cpu: CpuId, wanted_stops: u32, stops: &AtomicU32) -> Kept {
    let mut kept = Kept {
        all: true,
        interrupts: 0,
        stops: 0,
    };
    let limit = after(Duration::from_secs(30));
    let mut seed = 0;
    while Hw::now() < limit && (kept.interrupts < 20 || kept.stops < wanted_stops) {
        seed += 1;
        let values = Vectors::new(seed);
        let seen = || {
            let interrupts = INTERRUPTS.load(Ordering::Relaxed);
            (interrupts, stops.load(Ordering::Relaxed))
        };
        let before = seen();
        // The interrupt is pending, and is taken while the registers hold their values.
        let masked = IrqGuard::<Hw>::new();
        send_sgi(TEST_SGI, cpu);
        let found = registers::hold(&values, after(Duration::from_millis(5)));
        drop(masked);
        let now = seen();
        kept.interrupts += now.0 - before.0;
        kept.stops += now.1 - before.1;
        kept.all &= found == values;
        api::yield_now();
    }
    kept
}
