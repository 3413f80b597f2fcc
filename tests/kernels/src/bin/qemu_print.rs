//! Printing a value whose `Display` prints, logs or takes a lock; and lines that two
//! CPUs print at once, each of which stays whole.

//@ smp: 2
//@ output: ^\(a line from inside\)$
//@ output: ^\[ *[0-9.]+\] (warning: )?a log line from inside$
//@ output: ^it talks$
//@ output: ^0{300}$
//@ output: ^all lines are out$

#![no_std]
#![no_main]

stillpoint::entry!(main);

use core::fmt;

use stillpoint::cpu::CpuId;
use stillpoint::kernel::Hw;
use stillpoint::sched::lock::Mutex;
use stillpoint::sync::LocalCpu;
use stillpoint::sync::atomic::{AtomicBool, Ordering};
use stillpoint::{api, println};

use kernel_support::ktap::Ktap;

static MUTEX: Mutex<(), Hw> = Mutex::new(());

/// A value whose `Display` does something that it should not do.
struct Talks;

impl fmt::Display for Talks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        println!("(a line from inside)");
        log::warn!("a log line from inside");
        let _held = MUTEX.lock();
        f.write_str("talks")
    }
}

/// A value whose `Display` stores whether interrupts are on.
struct Looks<'a>(&'a AtomicBool);

impl fmt::Display for Looks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.store(Hw::irqs_enabled(), Ordering::Relaxed);
        f.write_str("looks")
    }
}

/// Prints `number` lines of one letter each, piece by piece.
fn lines(letter: char, number: usize) {
    struct Of(char);
    impl fmt::Display for Of {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            (0..60).try_for_each(|_| write!(f, "{}", self.0))
        }
    }
    for _ in 0..number {
        println!("# {}", Of(letter));
    }
}

fn main() {
    let mut ktap = Ktap::new();
    println!("it {Talks}");
    ktap.check("a value that prints is printed", true);
    let open = AtomicBool::new(false);
    println!("# it {}", Looks(&open));
    let open = open.load(Ordering::Relaxed);
    ktap.check("interrupts are on while a value says what it is", open);
    println!("{:0>300}", 0);
    let other = CpuId::new(1).expect("a small number");
    let there = api::spawn_on(other, "there", || lines('b', 100)).expect("a thread");
    lines('a', 100);
    there.join();
    println!("all lines are out");
    ktap.check("two CPUs print", true);
    ktap.finish()
}
