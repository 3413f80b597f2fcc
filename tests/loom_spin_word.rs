//! Model of the word of a spin lock, from the kernel's own file. One CPU at a time holds the
//! lock and sees the stores of earlier holders, and a CPU that reads its own mark holds it. A CPU
//! that sleeps until the word is opened is always woken; a wake that is lost is a deadlock here,
//! because the model has no event stream.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;
#[path = "support/loom_word.rs"]
mod loom_word;

use std::cell::Cell;
use std::num::NonZeroUsize;

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use loom_orders::every_order;
use loom_word::Word;
use stillpoint::sync::atomic::{AtomicUsize, Ordering};
use stillpoint::sync::{IrqFlags, LocalCpu, SpinWord};

/// How many CPUs a model has at most.
const CPUS: usize = 3;

/// What a CPU has of each: its exclusive monitor and its event register.
#[derive(Clone, Copy)]
struct Events {
    watches: bool,
    came: bool,
}

loom::lazy_static! {
    static ref EVENTS: (Mutex<[Events; CPUS]>, Condvar) = {
        let none = Events { watches: false, came: false };
        (Mutex::new([none; CPUS]), Condvar::new())
    };
}

loom::thread_local! {
    static THIS: Cell<usize> = Cell::new(0);
}

/// A CPU that watches words. There is one word in the model.
struct Cpu;

impl Cpu {
    /// Makes the calling thread of the model CPU `cpu`.
    fn become_cpu(cpu: usize) {
        THIS.with(|this| this.set(cpu));
    }

    /// Tells the CPUs of a store to the word, as the interconnect does after it.
    fn tell_of_store() {
        let mut cpus = EVENTS.0.lock().expect("never poisoned");
        for cpu in cpus.iter_mut() {
            cpu.came |= cpu.watches;
            cpu.watches = false;
        }
        EVENTS.1.notify_all();
    }
}

impl LocalCpu for Cpu {
    fn irq_save() -> IrqFlags {
        IrqFlags(0)
    }
    unsafe fn irq_restore(_: IrqFlags) {}
    unsafe fn irq_enable() {}
    fn irqs_enabled() -> bool {
        false
    }
    fn preempt_disable() {}
    unsafe fn preempt_enable_no_resched() {}
    fn preempt_count() -> u32 {
        1
    }
    fn preempt_point() {}
    fn relax() {
        thread::yield_now();
    }
    fn load_watched(word: &AtomicUsize) -> usize {
        EVENTS.0.lock().expect("never poisoned")[THIS.with(Cell::get)].watches = true;
        word.load(Ordering::Relaxed)
    }
    fn sleep_until_event() {
        let this = THIS.with(Cell::get);
        let mut cpus = EVENTS.0.lock().expect("never poisoned");
        while !cpus[this].came {
            cpus = EVENTS.1.wait(cpus).expect("never poisoned");
        }
        cpus[this].came = false;
    }
}

struct World {
    lock: SpinWord,
    /// The word that the lock guards.
    value: Word,
}

fn mark(cpu: u32) -> NonZeroUsize {
    let cpu = usize::try_from(cpu).expect("a small number");
    NonZeroUsize::MIN.saturating_add(cpu)
}

fn world() -> Arc<World> {
    Arc::new(World {
        lock: SpinWord::new(),
        value: Word::new(0),
    })
}

/// Adds one under the lock, if it is free; returns how many were added.
fn try_add(world: &World, cpu: u32) -> u32 {
    assert_ne!(world.lock.holder(), Some(mark(cpu)), "it holds nothing");
    if !world.lock.try_take(mark(cpu)) {
        return 0;
    }
    assert_eq!(world.lock.holder(), Some(mark(cpu)), "it holds the word");
    world.value.set(world.value.get() + 1);
    world.lock.open();
    1
}

/// Adds one under the lock, `times` times.
fn add(world: &World, cpu: u32, times: u32) {
    for _ in 0..times {
        while try_add(world, cpu) == 0 {
            thread::yield_now();
        }
    }
}

#[test]
fn two_cpus_that_come_again() {
    every_order(|| {
        let world = world();
        let other = Arc::clone(&world);
        let cpu = thread::spawn(move || add(&other, 1, 2));
        add(&world, 0, 2);
        cpu.join().expect("a CPU of the model");
        assert!(world.lock.try_take(mark(0)), "both have opened it");
        assert_eq!(world.value.get(), 4);
    });
}

/// Three CPUs that only try the lock. A model of three CPUs that wait is too large.
#[test]
fn three_cpus_that_try() {
    every_order(|| {
        let world = world();
        let others = [1, 2].map(|cpu| {
            let world = Arc::clone(&world);
            thread::spawn(move || try_add(&world, cpu))
        });
        let mut added = try_add(&world, 0) + try_add(&world, 0);
        for other in others {
            added += other.join().expect("a CPU of the model");
        }
        assert!(world.lock.try_take(mark(0)), "all have opened it");
        assert_eq!(world.value.get(), added);
    });
}

/// Adds one under the lock, `times` times, and sleeps while another CPU holds it.
fn add_or_sleep(world: &World, cpu: u32, times: u32) {
    Cpu::become_cpu(usize::try_from(cpu).expect("a small number"));
    for _ in 0..times {
        while !world.lock.try_take(mark(cpu)) {
            world.lock.sleep_while_held::<Cpu>();
        }
        world.value.set(world.value.get() + 1);
        world.lock.open();
        Cpu::tell_of_store();
    }
}

fn cpus_that_sleep(times: &'static [u32]) {
    every_order(move || {
        let world = world();
        let others: Vec<_> = (1..)
            .zip(&times[1..])
            .map(|(cpu, times)| {
                let world = Arc::clone(&world);
                thread::spawn(move || add_or_sleep(&world, cpu, *times))
            })
            .collect();
        add_or_sleep(&world, 0, times[0]);
        for other in others {
            other.join().expect("a CPU of the model");
        }
        assert!(world.lock.try_take(mark(0)), "all have opened it");
        assert_eq!(world.value.get(), times.iter().sum::<u32>());
    });
}

#[test]
fn two_cpus_that_sleep_are_woken() {
    cpus_that_sleep(&[2, 2]);
}

#[test]
fn three_cpus_that_sleep_are_woken() {
    cpus_that_sleep(&[1, 1, 1]);
}
