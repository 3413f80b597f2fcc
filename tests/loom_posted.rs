//! Model of the kernel's `sync::Posted`: what is posted to an idle CPU is neither lost nor early.
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
use stillpoint::sync::atomic::{AtomicU32, Ordering};
use stillpoint::sync::{Posted, Wait};

const IDLE: usize = 0;
const CALL: u8 = 1;
const EVENT: u8 = 4;

/// An idle CPU, and the work that others have for it.
struct World {
    posted: Posted,
    /// Relaxed: a post, or an SGI, orders it.
    work: [AtomicU32; 2],
}

/// What another CPU does: it stores the work, and posts or sends the SGI.
fn send(world: &World, which: usize, number: u8) {
    world.work[which].store(1, Ordering::Relaxed);
    if !world.posted.post(number) {
        let mut bits = [0; MASK_WORDS];
        bits[0] = 1 << IDLE;
        Cpu::send_wake(&bits);
    }
}

/// One turn of the idle CPU, which polls for `turns`; returns what was posted, and whether an SGI
/// has come.
fn idle(world: &World, turns: u32) -> (u32, bool) {
    match world.posted.poll::<Cpu>(turns) {
        Some(posted) if !Cpu::interrupt_is_pending() => (posted, false),
        posted => {
            Cpu::sleep();
            let _woken = Cpu::take_wake();
            (posted.unwrap_or(0), true)
        }
    }
}

/// The idle CPU sleeps until it has found the work of all `senders`: if one is lost, it sleeps for
/// ever, which loom finds.
fn model(senders: usize, turns: u32) {
    every_order(move || {
        let world = Arc::new(World {
            posted: Posted::new(),
            work: [AtomicU32::new(0), AtomicU32::new(0)],
        });
        let numbers = [CALL, EVENT];
        let threads: Vec<_> = (0..senders)
            .map(|which| {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    Cpu::become_cpu(which + 1);
                    send(&world, which, numbers[which]);
                })
            })
            .collect();
        Cpu::become_cpu(IDLE);
        let mut found = 0;
        while found != (1 << senders) - 1 {
            let (posted, woken) = idle(&world, turns);
            for (which, number) in numbers.iter().enumerate().take(senders) {
                let has_work = world.work[which].load(Ordering::Relaxed) == 1;
                let is_posted = posted & (1 << number) != 0;
                assert!(has_work || !is_posted, "its handler finds no work");
                if is_posted || (woken && has_work) {
                    found |= 1 << which;
                }
            }
        }
        threads
            .into_iter()
            .for_each(|thread| thread.join().expect("a CPU of the model"));
    });
}

#[test]
fn what_is_posted_to_a_polling_cpu_is_found() {
    model(1, 1);
}

#[test]
fn a_cpu_that_ends_its_polling_is_sent_the_sgi() {
    model(1, 0);
}

#[test]
fn two_senders_do_not_hide_each_other() {
    model(2, 0);
}
