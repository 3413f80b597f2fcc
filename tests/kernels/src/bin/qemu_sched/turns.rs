//! In virtual time: how fairly equal threads share a CPU, and how soon an urgent one runs.

use core::hint::black_box;
use core::time::Duration;

use stillpoint::api::thread::{self, JoinHandle};
use stillpoint::config::NORMAL_SLICE;
use stillpoint::kernel::Hw;
use stillpoint::platform::Platform;
use stillpoint::println;
use stillpoint::sched::Class;
use stillpoint::time::Instant;

use crate::start::{Flag, fifo, spawn};
use kernel_support::ktap::Ktap;
use kernel_support::machine::{after, last_cpu, spin_until};

/// Runs the case `time`, in which time is the number of instructions.
pub(crate) fn time() -> ! {
    let mut ktap = Ktap::new();
    ktap.check("equal threads have equal shares", fair_shares());
    let late = (0..10).filter_map(|_| latency()).max();
    println!("# realtime thread late by {late:?} at most");
    ktap.check(
        "a sleeper of realtime priority has the CPU long before a slice ends",
        late.is_some_and(|late| late < NORMAL_SLICE / 20),
    );
    ktap.check(
        "a thread that was preempted keeps its slice",
        slice_is_kept(),
    );
    ktap.finish()
}

/// Returns how far the thread counts until `until`.
fn count_until(until: Instant) -> u64 {
    // In QEMU a read of the time takes long.
    const BETWEEN_LOOKS: u64 = 200;
    let mut count = 0;
    while Hw::now() < until {
        for _ in 0..BETWEEN_LOOKS {
            count = black_box(count + 1);
        }
    }
    count
}

/// Returns whether three threads of one CPU count equally far, within a tenth.
fn fair_shares() -> bool {
    let until = after(Duration::from_millis(200));
    let threads = [(); 3].map(|()| spawn(last_cpu(), Class::Normal, move || count_until(until)));
    let counts = threads.map(JoinHandle::join);
    println!("# {counts:?}");
    let most = counts.iter().max().copied().unwrap_or(0);
    let least = counts.iter().min().copied().unwrap_or(0);
    least * 11 >= most * 10
}

/// Returns how late a realtime thread wakes on a CPU that an ordinary thread has.
fn latency() -> Option<Duration> {
    let cpu = last_cpu();
    let end = Flag::default();
    let hog_end = end.clone();
    let hog = spawn(cpu, Class::Normal, move || spin_until(|| hog_end.is_set()));
    let late = spawn(cpu, fifo(1), move || {
        let at = after(Duration::from_millis(1));
        thread::sleep_until(at);
        Hw::now().ticks_since(at)
    });
    let late = late.join();
    end.set();
    hog.join()
        .then(|| Duration::from_nanos(Hw::frequency().ticks_to_ns(late)))
}

/// Returns whether two threads take equal turns while a third one preempts them often, for a
/// moment each time.
fn slice_is_kept() -> bool {
    let cpu = last_cpu();
    let until = after(Duration::from_millis(120));
    let pair = [(); 2].map(|()| spawn(cpu, Class::Normal, move || count_until(until)));
    let nuisance = spawn(cpu, fifo(1), move || {
        while Hw::now() < until {
            thread::sleep(Duration::from_micros(700));
        }
    });
    let [one, other] = pair.map(JoinHandle::join);
    nuisance.join();
    println!("# {one} and {other}");
    one.min(other) * 11 >= one.max(other) * 10
}
