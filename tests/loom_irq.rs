//! Model of the kernel's `irq::LineWord`: one CPU at a time has the handlers of a line, no
//! interrupt is without a run, and the list is changed while nothing runs.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use loom_orders::every_order;
use stillpoint::irq::{Begin, End, LineWord};
use stillpoint::sync::atomic::{AtomicU32, Ordering};

/// A line, its device, and what its handler has.
struct World {
    word: LineWord,
    /// What the device has signalled. Relaxed: the word orders it.
    signalled: AtomicU32,
    /// What the handler has served, and how often the list was changed.
    handlers: UnsafeCell<(u32, u32)>,
}

impl World {
    fn new() -> World {
        World {
            word: LineWord::new(),
            signalled: AtomicU32::new(0),
            handlers: UnsafeCell::new((0, 0)),
        }
    }

    /// The handler: it serves all that the device has signalled.
    fn serve(&self) {
        // loom sees two CPUs that are in here at once, or that aren't ordered.
        self.handlers.with_mut(|handlers| {
            // SAFETY: the word lets one in at a time, which is what loom checks.
            unsafe { (*handlers).0 = self.signalled.load(Ordering::Relaxed) };
        });
    }

    /// A CPU that takes the interrupt.
    fn take(&self) {
        if self.word.begin() == Begin::Run {
            loop {
                self.serve();
                if self.word.end() == End::Over {
                    break;
                }
            }
        }
    }

    /// The device signals, and a CPU takes the interrupt.
    fn interrupt(&self) {
        self.signalled.fetch_add(1, Ordering::Relaxed);
        self.take();
    }

    /// A thread changes the list of handlers.
    fn change(&self) {
        self.word.shut();
        while self.word.is_running() {
            thread::yield_now();
        }
        self.handlers.with_mut(|handlers| {
            // SAFETY: it is shut and nothing runs, which is what loom checks.
            unsafe { (*handlers).1 += 1 };
        });
        if self.word.open() {
            self.take(); // It is made pending again.
        }
    }

    fn found(&self) -> (u32, u32) {
        // SAFETY: all threads have been joined.
        self.handlers.with(|handlers| unsafe { *handlers })
    }
}

/// Each of `interrupts` CPUs takes an interrupt; with `changes` a thread changes the list.
fn model(interrupts: usize, changes: u32) {
    every_order(move || {
        let world = Arc::new(World::new());
        assert!(!world.word.open());
        let threads: Vec<_> = (0..interrupts)
            .map(|_| {
                let world = Arc::clone(&world);
                thread::spawn(move || world.interrupt())
            })
            .collect();
        for _ in 0..changes {
            world.change();
        }
        for thread in threads {
            thread.join().expect("no panic");
        }
        let wanted = u32::try_from(interrupts).expect("a small number");
        assert_eq!(world.found(), (wanted, changes), "served, changed");
        assert!(!world.word.is_running());
    });
}

#[test]
fn interrupts_of_two_cpus_are_served_one_after_the_other() {
    model(2, 0);
}

#[test]
fn interrupts_of_three_cpus_are_served_one_after_the_other() {
    model(3, 0);
}

#[test]
fn the_handlers_are_changed_while_none_runs() {
    model(1, 2);
}

#[test]
fn what_comes_meanwhile_is_served_when_the_line_is_open() {
    model(2, 1);
}
