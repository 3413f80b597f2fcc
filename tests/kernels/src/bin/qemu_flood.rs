//! Callbacks of RCU that come faster than they run, or compute for long: memory stays
//! bounded, and no thread is kept from its CPU. No memory is needed to run them. In virtual
//! time, with CPUs that come and go.

//@ smp: 1 2 4 20
//@ icount: 1
//@ timeout: 240
//@ cases: flood section leaves full computes urgent
//@ case: flood|section|leaves
//@ append: rcutree.qhimark=500
//@ case: urgent
//@ append: rcutree.kthread_prio=99

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hint::black_box;
use core::time::Duration;

use stillpoint::api::{self, heap_stats, rcu, thread};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::println;
use stillpoint::sched::lock::Completion;
use stillpoint::sched::{Class, Priority};
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kernel_support::case::case;
use kernel_support::coming::Coming;
use kernel_support::ktap::Ktap;
use kernel_support::machine::{last_cpu, leave_and_return, spin_until};
use kernel_support::memory::WholeHeap;
use kernel_support::turns;

/// How many threads queue callbacks as fast as they can.
const PRODUCERS: usize = 3;
/// The mark of the cases, for each CPU: `rcutree.qhimark`.
const MARK: u64 = 500;
/// How often the thread `main` wakes during the flood.
const TURNS: u32 = 20;
/// How long `main` sleeps each time.
const SLEEP: Duration = Duration::from_millis(5);
/// How late `main` may be. It shares the CPUs with the producers, the threads of RCU and
/// nothing else, so it waits for a few slices of 4 ms.
const LATE: Duration = Duration::from_millis(50);

fn main() {
    let mut ktap = Ktap::new();
    match case() {
        "flood" => flood(&mut ktap),
        "section" => section(&mut ktap),
        "leaves" => leaves(&mut ktap),
        "full" => full(&mut ktap),
        "computes" => computes(&mut ktap),
        "urgent" => urgent(&mut ktap),
        other => panic!("no case {other}"),
    }
    ktap.finish()
}

fn priority(value: u8) -> Class {
    Class::fifo(Priority::new(value).expect("1 to 99"))
}

fn us(ticks: u64) -> u64 {
    Hw::frequency().ticks_to_ns(ticks) / 1000
}

/// Sleeps for `time`, and returns how many microseconds too long that took.
fn sleep_late(time: Duration) -> u64 {
    let at = Hw::deadline(time);
    thread::sleep_until(at);
    us(Hw::now().ticks_since(at))
}

fn produce(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let block = Box::new([0_u8; 400]);
        rcu::call_rcu(move || drop(block));
    }
}

fn start_producers(stop: &Arc<AtomicBool>) -> Vec<thread::JoinHandle<()>> {
    let start = |_| {
        let stop = Arc::clone(stop);
        thread::spawn(move || produce(&stop))
    };
    (0..PRODUCERS).map(start).collect()
}

/// The flood goes on while CPUs stay, and then while they come and go.
fn flood(ktap: &mut Ktap) {
    flood_on(ktap, "CPUs stay");
    let coming = Coming::start();
    flood_on(ktap, "CPUs come and go");
    let walks = coming.end();
    println!("# {walks:?} walks");
    ktap.check("CPUs came and went", walks.is_some());
}

fn flood_on(ktap: &mut Ktap, when: &str) {
    let before = rcu::stats();
    let stop = Arc::new(AtomicBool::new(false));
    let producers = start_producers(&stop);
    let (mut most, mut latest, mut waits) = (0, 0, [0; 2]);
    for _ in 0..TURNS {
        latest = latest.max(sleep_late(SLEEP));
        let stats = rcu::stats();
        most = most.max(stats.queued.saturating_sub(stats.ran));
        let began = Hw::now();
        rcu::synchronize();
        waits[0] = waits[0].max(us(Hw::now().ticks_since(began)));
        let began = Hw::now();
        rcu::barrier();
        waits[1] = waits[1].max(us(Hw::now().ticks_since(began)));
    }
    stop.store(true, Ordering::Relaxed);
    producers.into_iter().for_each(thread::JoinHandle::join);
    rcu::barrier();
    let after = rcu::stats();
    println!(
        "# {after:?}, most {most}, main {latest} us late, synchronize and barrier {waits:?} us"
    );
    let ran = after.ran - before.ran;
    let cpus = kernel().masks.possible().count() as u64;
    let late = u64::try_from(LATE.as_micros()).expect("small");
    for (what, right) in [
        ("callbacks are queued and run", ran > 10 * MARK),
        (
            "few more wait than the marks of all CPUs",
            most <= 2 * cpus * MARK,
        ),
        ("main has its turns on a CPU", latest < late),
        ("synchronize is not held up", waits[0] < late),
        (
            "a barrier is not held up by what comes later",
            waits[1] < 4 * late,
        ),
        ("all callbacks run", after.ran == after.queued),
    ] {
        ktap.check(&alloc::format!("{when}: {what}"), right);
    }
}

/// A caller that may not wait queues as many as it likes.
fn section(ktap: &mut Ktap) {
    let count = u32::try_from(4 * MARK).expect("small");
    let ran = Arc::new(AtomicU32::new(0));
    let queue = || {
        let ran = Arc::clone(&ran);
        rcu::call_rcu(move || {
            ran.fetch_add(1, Ordering::Relaxed);
        });
    };
    let early = rcu::read(|_| {
        (0..count).for_each(|_| queue());
        ran.load(Ordering::Relaxed)
    });
    rcu::barrier();
    ktap.equal("a section is not held up at the mark", early, 0);
    ktap.equal("and its callbacks run", ran.load(Ordering::Relaxed), count);
    let end = Arc::clone(&ran);
    rcu::call_rcu(move || {
        for _ in 0..count {
            let ran = Arc::clone(&end);
            rcu::call_rcu(move || {
                ran.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    rcu::barrier();
    rcu::barrier();
    ktap.equal("nor is a callback", ran.load(Ordering::Relaxed), 2 * count);
}

/// CPUs leave with more callbacks than the mark, and come back, while the flood goes on.
fn leaves(ktap: &mut Ktap) {
    let count = u32::try_from(4 * MARK).expect("small");
    let stop = Arc::new(AtomicBool::new(false));
    let producers = start_producers(&stop);
    let (mut moved, mut in_order, mut late) = (true, true, 0);
    for _ in 0..3 {
        let cpus: Vec<_> = kernel().masks.online().iter().collect();
        let queued: Vec<_> = cpus.iter().map(|cpu| queue_many(*cpu, count)).collect();
        moved &= leave_and_return(|| {
            let began = Hw::now();
            rcu::barrier();
            late = late.max(us(Hw::now().ticks_since(began)));
            in_order &= queued
                .iter()
                .all(|next| next.load(Ordering::Relaxed) == count);
            true
        });
    }
    stop.store(true, Ordering::Relaxed);
    producers.into_iter().for_each(thread::JoinHandle::join);
    rcu::barrier();
    let after = rcu::stats();
    println!("# {after:?}, a barrier took {late} us");
    ktap.check("CPUs leave and come back during a flood", moved);
    ktap.check("what they leave behind runs in order", in_order);
    ktap.equal("all callbacks run", after.ran, after.queued);
}

/// Queues `count` callbacks on `cpu`, and doesn't wait at the mark. Returns how many have run
/// in order so far.
fn queue_many(cpu: CpuId, count: u32) -> Arc<AtomicU32> {
    let next = Arc::new(AtomicU32::new(0));
    let of_callbacks = Arc::clone(&next);
    let queue = move || {
        rcu::read(|_| {
            for number in 0..count {
                let next = Arc::clone(&of_callbacks);
                rcu::call_rcu(move || {
                    let is_next = next.load(Ordering::Relaxed) == number;
                    next.fetch_add(u32::from(is_next), Ordering::Relaxed);
                });
            }
        });
    };
    thread::spawn_on(cpu, "queues", queue)
        .expect("a stack")
        .join();
    next
}

/// Callbacks free memory when there is none, also those of a CPU that is about to go.
fn full(ktap: &mut Ktap) {
    let (used_up, freed, _) = free_when_full(|| true);
    ktap.check("the heap is used up", used_up);
    ktap.check("callbacks run and free memory", freed);
    if last_cpu() == CpuId::BOOT {
        return;
    }
    let (used_up, freed, walked) = free_when_full(|| api::cpu_down(last_cpu()).is_ok());
    let back = api::cpu_up(last_cpu()).is_ok();
    ktap.check("the heap is used up again", used_up);
    ktap.check("callbacks of a CPU that goes run and free memory", freed);
    ktap.check("the CPU goes and comes", walked && back);
}

/// Adds to `all` what has become free, and what each CPU keeps for itself.
fn take_more(all: &mut WholeHeap) {
    let me = thread::current();
    for cpu in kernel().masks.online().iter() {
        // A CPU that goes meanwhile keeps nothing.
        if me.set_affinity(&CpuMask::of(cpu)).is_ok() {
            all.take_more();
        }
    }
    let anywhere = me.set_affinity(kernel().masks.possible());
    anywhere.expect("a CPU is active");
}

/// Queues callbacks on the last CPU that free memory, uses the heap up, and lets the
/// callbacks run while another thread calls `walk_fn`. One that was made before is queued when
/// nothing is left. Returns whether the heap was used up, whether all callbacks have freed their
/// memory, and what `walk_fn` has returned.
fn free_when_full(walk_fn: impl FnOnce() -> bool + Send + 'static) -> (bool, bool, bool) {
    const BLOCK: usize = 1 << 16;
    let go = Arc::new(Completion::<Hw>::new());
    let full = Arc::new(Completion::<Hw>::new());
    let last = last_cpu();
    let held = Arc::clone(&go);
    let queue = move || {
        let begun = Arc::new(Completion::<Hw>::new());
        let begins = Arc::clone(&begun);
        rcu::call_rcu(move || {
            begins.complete();
            held.wait();
        });
        begun.wait();
        // The grace period of these comes when the callback above has returned.
        for _ in 0..100 {
            let block = Box::<[u8]>::new_uninit_slice(BLOCK);
            rcu::call_rcu(move || drop(block));
        }
    };
    thread::spawn_on(last, "queues", queue)
        .expect("a stack")
        .join();
    let begins = Arc::clone(&full);
    let walker = thread::spawn(move || {
        begins.wait();
        walk_fn()
    });
    thread::sleep(Duration::from_millis(5)); // It waits.
    let block = Box::<[u8]>::new_uninit_slice(BLOCK);
    let made_before = rcu::Callback::new(move || drop(block));
    let mut all = WholeHeap::take();
    take_more(&mut all);
    let before = heap_stats().free;
    // Not what is free: of what is taken in small blocks the heap keeps a part for itself.
    let others = |all: &WholeHeap| heap_stats().in_use - all.bytes();
    let others_before = others(&all);
    made_before.queue();
    full.complete();
    // The walk has begun, and waits for the callback.
    thread::sleep(Duration::from_millis(5));
    go.complete();
    // What the pass of that callback has used is free now. The next one finds nothing, or what
    // its callbacks have freed.
    take_more(&mut all);
    rcu::barrier();
    let freed = others_before.saturating_sub(others(&all));
    let walked = walker.join();
    let taken = all.give_back();
    println!("# {taken} bytes taken, {before} bytes were free, {freed} were freed");
    (before < BLOCK, freed >= 101 * BLOCK, walked)
}

/// A callback computes for half a second while a realtime thread of the same CPU sleeps a
/// millisecond at a time.
fn computes(ktap: &mut Ktap) {
    // The callback is queued on the boot CPU, which stays, and runs there.
    let bound = thread::current().set_affinity(&CpuMask::of(CpuId::BOOT));
    let mut latest = 0;
    let moved = leave_and_return(|| {
        latest = compute();
        true
    });
    println!("# the realtime thread was {latest} us late");
    ktap.check("CPUs leave and come back", moved);
    ktap.check("a realtime thread is not held up", latest < 1000);
    let coming = Coming::start();
    let latest = compute();
    let walks = coming.end();
    println!("# the realtime thread was {latest} us late, {walks:?} walks");
    ktap.check("CPUs come and go", bound.is_ok() && walks.is_some());
    ktap.check("a realtime thread is not held up then", latest < 1000);
}

/// Returns how late the realtime thread was at most, in microseconds.
fn compute() -> u64 {
    let stop = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&stop);
    let urgent = thread::Builder::new()
        .class(Class::fifo(Priority::MAX))
        .affinity(CpuMask::of(CpuId::BOOT))
        .spawn(move || {
            let mut latest = 0;
            while !ends.load(Ordering::Relaxed) {
                latest = latest.max(sleep_late(Duration::from_millis(1)));
            }
            latest
        })
        .expect("a stack");
    thread::sleep(Duration::from_millis(5));
    rcu::call_rcu(|| {
        let end = Hw::deadline(Duration::from_millis(500));
        while Hw::now() < end {
            // Reading the counter is dear under emulation.
            (0..10_000_u32).for_each(|number| _ = black_box(number));
            turns::next_after(20_000);
        }
    });
    rcu::barrier();
    stop.store(true, Ordering::Relaxed);
    urgent.join()
}

/// Threads of a lower realtime priority compute on all CPUs; callbacks run all the same,
/// because their thread has a higher one.
fn urgent(ktap: &mut Ktap) {
    let ran = Arc::new(AtomicBool::new(false));
    let cpus = kernel().masks.online();
    let end = Arc::clone(&ran);
    rcu::read(|_| rcu::call_rcu(move || end.store(true, Ordering::Release)));
    let busy: Vec<_> = cpus
        .iter()
        .map(|cpu| {
            let ran = Arc::clone(&ran);
            thread::Builder::new()
                .class(priority(50))
                .affinity(CpuMask::of(cpu))
                .spawn(move || spin_until(|| ran.load(Ordering::Acquire)))
                .expect("a stack")
        })
        .collect();
    ktap.check(
        "callbacks run in threads of the class that the boot argument sets",
        busy.into_iter().fold(true, |all, one| one.join() & all),
    );
}
