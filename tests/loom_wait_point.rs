//! Model of the kernel's `sync::WaitPoint`: no wake is lost.
//!
//! Each broken variant leaves out one step and must deadlock, which shows that the model can
//! fail.
#![cfg(loom)]

#[path = "support/loom_cpu.rs"]
mod loom_cpu;
#[path = "support/loom_orders.rs"]
mod loom_orders;

use loom::sync::Arc;
use loom::thread;
use loom_cpu::Cpu;
use loom_orders::every_order;
use stillpoint::config::MASK_WORDS;
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use stillpoint::sync::{Wait, WaitPoint};

const WAITER: usize = 1;

fn participants() -> [u64; MASK_WORDS] {
    let mut bits = [0; MASK_WORDS];
    bits[0] = 0b11;
    bits
}

struct World {
    point: WaitPoint,
    state: AtomicU32,
}

fn world() -> Arc<World> {
    Arc::new(World {
        point: WaitPoint::new(),
        state: AtomicU32::new(0),
    })
}

fn publish(world: &World, state: u32) {
    world.point.publish::<Cpu>(&participants(), || {
        world.state.store(state, Ordering::Release)
    });
}

/// A function by which a CPU of the model waits until the state is at least the given one.
type WaitFn = fn(&World, u32);

fn wait_masked(world: &World, state: u32) {
    world.point.wait_masked::<Cpu, ()>(WAITER, 0, || {
        (world.state.load(Ordering::Acquire) >= state).then_some(())
    });
}

fn wait_open(world: &World, state: u32) {
    world.point.wait_open::<Cpu, ()>(WAITER, 0, || {
        (world.state.load(Ordering::Acquire) >= state).then_some(())
    });
}

/// Models one CPU that publishes the states from 1 to `last`, and another one that waits for
/// each of them.
fn no_wake_is_lost(last: u32, wait_fn: WaitFn) {
    every_order(move || {
        let world = world();
        let other = Arc::clone(&world);
        let waiter = thread::spawn(move || {
            Cpu::become_cpu(WAITER);
            (1..=last).for_each(|state| wait_fn(&other, state));
        });
        Cpu::become_cpu(0);
        (1..=last).for_each(|state| publish(&world, state));
        waiter.join().expect("a CPU of the model");
    });
}

#[test]
fn a_waiter_is_always_woken() {
    no_wake_is_lost(1, wait_masked);
}

/// The SGI of the second state may merge with that of the first, which is still pending
/// because the waiter saw state 1 before it slept.
#[test]
fn a_stale_wake_sgi_is_not_taken_for_the_new_one() {
    no_wake_is_lost(2, wait_masked);
}

#[test]
fn waiting_with_the_irq_window_open_loses_nothing_either() {
    no_wake_is_lost(1, wait_open);
}

/// The waiter saw state 1 before it slept, so the SGI of state 1 is still pending when it
/// waits for state 2. Unless the SGI is served, it ends each sleep at once, and the waiter
/// loops until the second state comes, which may be never.
#[test]
fn a_stale_wake_sgi_is_served_in_the_irq_window() {
    no_wake_is_lost(2, wait_open);
}

/// A wait point and its state written out, so that a variant can leave a step out.
struct Broken {
    sleeping: AtomicBool,
    state: AtomicU32,
}

fn broken_model(waiter_fence: bool, publisher_fence: bool, consume_first: bool) {
    let mut model = loom::model::Builder::new();
    // A wake that is lost because the waiter checks too early needs three preemptions.
    model.preemption_bound = Some(3);
    model.check(move || {
        let world = Arc::new(Broken {
            sleeping: AtomicBool::new(false),
            state: AtomicU32::new(0),
        });
        let other = Arc::clone(&world);
        let waiter = thread::spawn(move || {
            Cpu::become_cpu(WAITER);
            for state in 1..=2 {
                let done = || other.state.load(Ordering::Acquire) >= state;
                other.sleeping.store(true, Ordering::Relaxed);
                if waiter_fence {
                    fence(Ordering::SeqCst);
                }
                if consume_first {
                    while !done() {
                        Cpu::sleep();
                        let _woken = Cpu::take_wake();
                    }
                } else if !done() {
                    loop {
                        Cpu::sleep();
                        let is_done = done();
                        let _woken = Cpu::take_wake();
                        if is_done {
                            break;
                        }
                    }
                }
                other.sleeping.store(false, Ordering::Relaxed);
            }
        });
        Cpu::become_cpu(0);
        for state in 1..=2 {
            world.state.store(state, Ordering::Release);
            if publisher_fence {
                fence(Ordering::SeqCst);
            }
            if world.sleeping.load(Ordering::Relaxed) {
                let mut bits = [0; MASK_WORDS];
                bits[0] = 1 << WAITER;
                Cpu::send_wake(&bits);
            }
        }
        waiter.join().expect("a CPU of the model");
    });
}

#[test]
fn by_hand_with_nothing_left_out_it_holds() {
    broken_model(true, true, true);
}

/// The environment variable that names the variant which a child process runs.
const VARIANT: &str = "STILLPOINT_BROKEN_VARIANT";

/// Runs one broken variant in a process of its own, because loom aborts at a deadlock, and
/// checks that loom did find one.
fn must_deadlock(test: &str, variant: fn()) {
    if std::env::var_os(VARIANT).is_some_and(|name| name == test) {
        return variant();
    }
    let child = std::process::Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", test, "--nocapture"])
        .env(VARIANT, test)
        .output()
        .expect("the child runs");
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(
        !child.status.success() && said.contains("deadlock"),
        "loom found no deadlock in the broken variant: {said}"
    );
}

#[test]
fn without_the_waiters_fence_it_sleeps_for_ever() {
    must_deadlock("without_the_waiters_fence_it_sleeps_for_ever", || {
        broken_model(false, true, true);
    });
}

#[test]
fn without_the_publishers_fence_it_sleeps_for_ever() {
    must_deadlock("without_the_publishers_fence_it_sleeps_for_ever", || {
        broken_model(true, false, true);
    });
}

#[test]
fn looking_before_taking_the_sgi_sleeps_for_ever() {
    must_deadlock("looking_before_taking_the_sgi_sleeps_for_ever", || {
        broken_model(true, true, false);
    });
}
