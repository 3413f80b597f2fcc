//! Model of `sync::WaitPoint`, from the file that ships: no wake is lost.
//!
//! The broken variants leave out one thing each, and must deadlock: that is how
//! we know that the model bites.
#![cfg(loom)]

#[path = "support/loom_cpu.rs"]
mod loom_cpu;

use loom::sync::Arc;
use loom::thread;
use loom_cpu::Cpu;
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

/// How a CPU of the model waits until the state has come to at least this.
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

/// One CPU publishes the states from 1 to `last`, another one waits for each of them.
fn no_wake_is_lost(last: u32, wait_fn: WaitFn) {
    loom::model(move || {
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

/// The second publication's SGI may merge with the first one's, which no CPU
/// took because the waiter saw state 1 by looking.
#[test]
fn a_stale_wake_sgi_is_not_taken_for_the_new_one() {
    no_wake_is_lost(2, wait_masked);
}

#[test]
fn waiting_with_the_irq_window_open_loses_nothing_either() {
    no_wake_is_lost(1, wait_open);
}

/// The SGI of state 1, which the waiter saw by looking, is still pending when it waits
/// for state 2. Unless it is served it ends each sleep at once, and the waiter turns
/// until the second state comes, if that can come at all.
#[test]
fn a_stale_wake_sgi_is_served_in_the_irq_window() {
    no_wake_is_lost(2, wait_open);
}

/// A wait point and its state by hand, to leave things out of.
struct Broken {
    sleeping: AtomicBool,
    state: AtomicU32,
}

fn broken_model(waiter_fence: bool, publisher_fence: bool, consume_first: bool) {
    let mut model = loom::model::Builder::new();
    // What looking too early loses takes three preemptions to lose.
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

/// Names the variant that a child process runs.
const VARIANT: &str = "STILLPOINT_BROKEN_VARIANT";

/// Runs one broken variant in a process of its own, because loom aborts where it
/// finds a deadlock, and demands that it did find one.
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
        "the broken variant was not found out: {said}"
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
