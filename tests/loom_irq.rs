//! Models of the kernel's `irq`. `LineWord`: one CPU at a time has the handlers of a line, no
//! interrupt is without a run, and the list is changed while nothing runs. `Serving` and `Route`: a
//! line whose affinity is set, or that is requested, while its CPU leaves or comes ends on a CPU that
//! serves interrupts.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;
use loom_orders::every_order;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::irq::{Begin, Candidates, End, LineWord, Owner, Route, Serving};
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

/// The lines of a machine of three CPUs, and which of these serve interrupts. A mutex stands for the
/// lock of a line.
struct Routes {
    serving: Serving,
    lines: [Mutex<Option<Route>>; 2],
}

fn cpu(number: usize) -> CpuId {
    CpuId::new(number).expect("a small number")
}

impl Routes {
    /// Returns lines without a user, on CPUs `serving`.
    fn new(serving: &[usize]) -> Routes {
        let routes = Routes {
            serving: Serving::new(),
            lines: [Mutex::new(None), Mutex::new(None)],
        };
        serving
            .iter()
            .for_each(|number| routes.serving.come(cpu(*number)));
        routes
    }

    /// Calls `call_fn` with line `at` under its lock, and the CPUs that may be chosen then.
    fn with<R>(&self, at: usize, call_fn: impl FnOnce(&mut Option<Route>, &Candidates) -> R) -> R {
        let mut line = self.lines[at]
            .lock()
            .expect("a failed model runs no further");
        let cpus = Candidates {
            serving: self.serving.cpus(),
            active: CpuMask::first_n(3),
        };
        call_fn(&mut line, &cpus)
    }

    fn request(&self, at: usize, affinity: CpuMask, owner: Owner) {
        self.with(at, |line, cpus| *line = Route::new(affinity, owner, cpus));
    }

    fn set(&self, at: usize, affinity: CpuMask) -> bool {
        self.with(at, |line, cpus| {
            let line = line.as_mut().expect("it was requested");
            line.set(affinity, cpus).is_ok()
        })
    }

    fn leave(&self, number: usize) {
        self.serving.leave(cpu(number));
        for at in 0..self.lines.len() {
            self.with(at, |line, cpus| {
                if let Some(line) = line {
                    line.leave(cpu(number), cpus, &CpuMask::first_n(3));
                }
            });
        }
    }

    fn come(&self, number: usize) {
        self.serving.come(cpu(number));
        for at in 0..self.lines.len() {
            self.with(at, |line, _| {
                line.as_mut().map(|line| line.come(cpu(number)))
            });
        }
    }

    /// Returns the CPU of line `at`, and whether that serves.
    fn end(&self, at: usize) -> (Option<CpuId>, bool) {
        self.with(at, |line, cpus| {
            let effective = line.as_ref().and_then(|line| line.effective);
            (
                effective,
                effective.is_some_and(|cpu| cpus.serving.contains(cpu)),
            )
        })
    }
}

#[test]
fn an_affinity_that_is_set_while_its_cpu_leaves_ends_on_one_that_serves() {
    every_order(|| {
        let routes = Arc::new(Routes::new(&[0, 1]));
        (0..2).for_each(|at| routes.request(at, CpuMask::of(cpu(0)), Owner::User));
        let its = Arc::clone(&routes);
        let leaves = thread::spawn(move || its.leave(1));
        for at in 0..2 {
            routes.set(at, CpuMask::of(cpu(1)));
        }
        leaves.join().expect("no panic");
        assert!(
            (0..2).all(|at| routes.end(at).1),
            "a line goes to a CPU that has gone"
        );
    });
}

#[test]
fn two_cpus_that_leave_at_once_leave_no_line_behind() {
    every_order(|| {
        let routes = Arc::new(Routes::new(&[0, 1, 2]));
        routes.request(0, CpuMask::of(cpu(1)), Owner::User);
        routes.request(1, CpuMask::of(cpu(2)), Owner::User);
        let its = Arc::clone(&routes);
        let leaves = thread::spawn(move || its.leave(1));
        routes.leave(2);
        leaves.join().expect("no panic");
        let home = (Some(cpu(0)), true);
        assert_eq!((routes.end(0), routes.end(1)), (home, home));
    });
}

#[test]
fn a_managed_line_that_is_requested_while_its_cpu_comes_goes_there() {
    every_order(|| {
        let routes = Arc::new(Routes::new(&[0]));
        let its = Arc::clone(&routes);
        let comes = thread::spawn(move || its.come(1));
        routes.request(0, CpuMask::of(cpu(1)), Owner::Managed);
        comes.join().expect("no panic");
        assert_eq!(routes.end(0), (Some(cpu(1)), true), "it rests for ever");
    });
}

#[test]
fn a_managed_line_rests_when_it_was_requested_while_its_cpu_left() {
    every_order(|| {
        let routes = Arc::new(Routes::new(&[0, 1]));
        let its = Arc::clone(&routes);
        let leaves = thread::spawn(move || its.leave(1));
        routes.request(0, CpuMask::of(cpu(1)), Owner::Managed);
        leaves.join().expect("no panic");
        assert_eq!(routes.end(0), (None, false));
    });
}
