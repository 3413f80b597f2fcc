//! Model of the locks around the slots of the state table: the kernel's `Slots` and `Walker`
//! with an installation or a removal against an operation, and with a callback that runs after a
//! CPU's end. loom's own locks stand for the add/remove lock and the hotplug lock.
//!
//! The slots have no ordering of their own: the locks order all accesses
//! (`slots-change-at-rest` of `src/hotplug/slots.rs`).
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;
#[path = "support/loom_plain_cpu.rs"]
mod loom_plain_cpu;

use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use loom::sync::{Arc, Mutex, Notify, RwLock};
use loom::thread;
use loom_orders::every_order;
use loom_plain_cpu::Cpu;
use stillpoint::cpu::CpuId;
use stillpoint::hotplug::{
    Callbacks, CpuhpState, Group, Installed, Place, Slots, Step, StepContext, Walker,
};
use stillpoint::trace::Direction;

/// The rows of the model: the slots of [`Place::PostDead`].
const ROWS: usize = 4;

struct World {
    add_remove: Mutex<()>,
    cpus: RwLock<()>,
    slots: Slots<Cpu>,
    table: Vec<Step<StepContext>>,
    state: CpuhpState,
    /// How often the callback was called.
    calls: AtomicU32,
    /// Whether the callback is at work.
    inside: AtomicBool,
    /// The reader has read.
    read: Notify,
}

impl World {
    fn new() -> Arc<World> {
        let table = vec![Step::slot("prep:post-dead", Group::Prep); ROWS];
        Arc::new(World {
            add_remove: Mutex::new(()),
            cpus: RwLock::new(()),
            slots: Slots::new(&table),
            state: CpuhpState::new(table.len()),
            table,
            calls: AtomicU32::new(0),
            inside: AtomicBool::new(false),
            read: Notify::new(),
        })
    }

    /// Walks the CPU up or down.
    fn walk(&self, direction: Direction) {
        let context = StepContext::of(CpuId::BOOT);
        let mut walker = Walker {
            steps: &self.table,
            slots: &self.slots,
            state: &self.state,
            context: &context,
            trace_fn: |_, _, _| (),
        };
        let walked = match direction {
            Direction::Up => walker.up(ROWS),
            Direction::Down => walker.down(0),
        };
        assert_eq!(walked, Ok(()));
    }

    /// Installs `step`, with a call for the CPU if that is past it.
    fn install(&self, step: Installed<Cpu>) -> std::sync::Arc<Installed<Cpu>> {
        let step = std::sync::Arc::new(step);
        let row = self.slots.fill(&step, true).expect("a slot is free");
        if self.state.state() > row {
            let passed = step.pass(CpuId::BOOT, Direction::Up, &self.state, row);
            assert_eq!(passed, Ok(()));
        }
        step
    }

    /// Removes `step`, with a call for the CPU if that is past it.
    fn remove(&self, step: &std::sync::Arc<Installed<Cpu>>) {
        // It is the only one, in the first row.
        if self.state.state() > 0 {
            let passed = step.pass(CpuId::BOOT, Direction::Down, &self.state, 0);
            assert_eq!(passed, Ok(()));
        }
        self.slots.empty(step);
    }

    /// Brings the CPU up or down, as an operation does.
    fn operate(&self, direction: Direction) {
        let _add_remove = self.add_remove.lock().expect("never poisoned");
        let cpus = self.cpus.write().expect("never poisoned");
        if direction == Direction::Down {
            drop(cpus);
        }
        self.walk(direction);
    }
}

/// Returns a step that counts its calls up, and notes that it runs.
fn counting(world: &Arc<World>) -> Installed<Cpu> {
    let (up, down) = (Arc::clone(world), Arc::clone(world));
    let start = move |_| {
        up.calls.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let stop = move |_| {
        down.calls.fetch_sub(1, Ordering::Relaxed);
    };
    let callbacks = Callbacks::prep(Some(Box::new(start)), Some(Box::new(stop)));
    Installed::plain("counts", Place::PostDead, callbacks, 1)
}

/// A CPU that comes or goes while a step is installed is called once. The installation takes the
/// locks, or doesn't.
fn install_meets(direction: Direction, locks: bool) {
    every_order(move || {
        let world = World::new();
        if direction == Direction::Down {
            world.walk(Direction::Up);
        }
        let its = Arc::clone(&world);
        let operation = thread::spawn(move || its.operate(direction));
        let step = if locks {
            let _add_remove = world.add_remove.lock().expect("never poisoned");
            let _cpus = world.cpus.read().expect("never poisoned");
            world.install(counting(&world))
        } else {
            world.install(counting(&world))
        };
        operation.join().expect("an operation of the model");
        let up = u32::from(direction == Direction::Up);
        assert_eq!(world.calls.load(Ordering::Relaxed), up, "calls");
        world.slots.empty(&step);
    });
}

#[test]
fn a_cpu_that_comes_meanwhile_is_called_once() {
    install_meets(Direction::Up, true);
}

#[test]
fn a_cpu_that_goes_meanwhile_is_called_once_each_way() {
    install_meets(Direction::Down, true);
}

#[test]
#[should_panic(expected = "calls")]
fn without_the_locks_a_cpu_that_comes_is_missed_or_called_twice() {
    install_meets(Direction::Up, false);
}

/// A CPU that comes or goes while a step is removed is called as often up as down, and not any
/// more afterwards.
fn removal_meets(direction: Direction) {
    every_order(move || {
        let world = World::new();
        let step = world.install(counting(&world));
        if direction == Direction::Down {
            world.walk(Direction::Up);
        }
        let its = Arc::clone(&world);
        let operation = thread::spawn(move || its.operate(direction));
        {
            let _add_remove = world.add_remove.lock().expect("never poisoned");
            let _cpus = world.cpus.read().expect("never poisoned");
            world.remove(&step);
        }
        operation.join().expect("an operation of the model");
        assert_eq!(world.calls.load(Ordering::Relaxed), 0, "calls");
        let back = match direction {
            Direction::Up => Direction::Down,
            Direction::Down => Direction::Up,
        };
        world.walk(back);
        assert_eq!(world.calls.load(Ordering::Relaxed), 0, "calls of none");
    });
}

#[test]
fn a_cpu_that_comes_meanwhile_is_not_past_a_step_that_went() {
    removal_meets(Direction::Up);
}

#[test]
fn a_cpu_that_goes_meanwhile_leaves_a_step_that_went_once() {
    removal_meets(Direction::Down);
}

/// Models a callback after a CPU's end that waits for a reader, and an installation, which
/// `waits` for the add/remove lock or doesn't. If the operation kept the hotplug lock, loom would
/// find a deadlock.
fn callback_waits(waits: bool) {
    every_order(move || {
        let world = World::new();
        let its = Arc::clone(&world);
        let stop = move |_| {
            its.inside.store(true, Ordering::Relaxed);
            its.read.wait();
            its.inside.store(false, Ordering::Relaxed);
        };
        let callbacks = Callbacks::post_dead(Box::new(stop));
        let step = world.install(Installed::plain("waits", Place::PostDead, callbacks, 1));
        world.walk(Direction::Up);

        let its = Arc::clone(&world);
        let operation = thread::spawn(move || {
            let _add_remove = its.add_remove.lock().expect("never poisoned");
            drop(its.cpus.write().expect("never poisoned"));
            its.walk(Direction::Down);
        });
        let its = Arc::clone(&world);
        let reader = thread::spawn(move || {
            let _cpus = its.cpus.read().expect("never poisoned");
            its.read.notify();
        });
        if waits {
            let _add_remove = world.add_remove.lock().expect("never poisoned");
            assert!(!world.inside.load(Ordering::Relaxed), "met the callback");
        } else {
            assert!(!world.inside.load(Ordering::Relaxed), "met the callback");
        }
        operation.join().expect("an operation of the model");
        reader.join().expect("a reader of the model");
        world.slots.empty(&step);
    });
}

#[test]
fn a_callback_after_the_end_may_wait_for_a_reader() {
    callback_waits(true);
}

#[test]
#[should_panic(expected = "met the callback")]
fn without_the_add_remove_lock_an_installation_meets_it() {
    callback_waits(false);
}
