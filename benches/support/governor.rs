//! The governor: how soon after the beginning of a burst CPUs are taken, and after its end given back.
//!
//! The times are from the governor's own trace. A burst is one thread more than there are CPUs, all
//! of which compute; before it the machine has rested with one CPU.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::governor::{Governor, set_governor};
use stillpoint::api::{self, JoinHandle, thread};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::shell::Machine;
use stillpoint::shell_program::KernelMachine;
use stillpoint::sync::LocalCpu;
use stillpoint::sync::atomic::{AtomicBool, Ordering};
use stillpoint::time::Instant;
use stillpoint::trace::{Reason, RecordedDecision, recorded_decisions};

use crate::support::lines::print_line;
use crate::support::rounds::ns;

/// How many bursts are measured.
const BURSTS: usize = 20;
/// How many come before.
const WARM_UP: usize = 2;
/// How long the machine rests before a burst, and how long a burst is. After such a rest the hold is
/// the shortest one.
const REST: Duration = Duration::from_millis(250);
const BURST: Duration = Duration::from_millis(50);
/// How long is waited for CPUs that don't come or go.
const LIMIT: Duration = Duration::from_secs(5);

/// Measures bursts.
pub(crate) fn governor() {
    set_governor(Governor::Ondemand).expect("ondemand begins");
    let all = kernel().masks.possible().count();
    let (mut decided, mut taken) = (Vec::new(), Vec::new());
    let (mut seen_idle, mut given_back) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + BURSTS {
        wait_for(1);
        api::sleep(REST);
        let began = Hw::now();
        let burst = Burst::of(all + 1);
        wait_for(all);
        api::sleep(BURST);
        let ended = burst.end();
        wait_for(1);
        if round < WARM_UP {
            continue;
        }
        let made = decisions(began);
        let mut ups = made.iter().filter(|it| it.reason == Reason::Waiting);
        let first = ups.clone().next().expect("CPUs were taken");
        let last = ups.next_back().expect("CPUs were taken");
        decided.push(ns(first.at.ticks_since(began)));
        taken.push(ns(done(last).ticks_since(began)));
        let idle = |it: &&RecordedDecision| it.reason == Reason::Idle && it.at >= ended;
        let mut downs = made.iter().filter(idle);
        let first = downs.clone().next().expect("CPUs were given back");
        let last = downs.next_back().expect("CPUs were given back");
        seen_idle.push(ns(first.at.ticks_since(ended)));
        given_back.push(ns(done(last).ticks_since(ended)));
    }
    print_line("governor.decides_up", decided, WARM_UP);
    print_line("governor.cpus_taken", taken, WARM_UP);
    print_line("governor.decides_down", seen_idle, WARM_UP);
    print_line("governor.cpus_given_back", given_back, WARM_UP);
}

/// One burst, and what the trace has of it, for a picture.
pub(crate) fn burst() {
    set_governor(Governor::Ondemand).expect("ondemand begins");
    wait_for(1);
    api::sleep(REST);
    let burst = Burst::of(kernel().masks.possible().count() + 1);
    api::sleep(BURST / 2);
    let _ended = burst.end();
    wait_for(1);
    api::sleep(REST);
    KernelMachine::default().export_trace();
}

/// Waits, asleep, until `count` CPUs are online, and what has led to that is recorded.
fn wait_for(count: usize) {
    let limit = Hw::deadline(LIMIT);
    let is_over = || {
        let all = decisions(Instant(0));
        all.last().is_some_and(|last| last.done.is_some())
    };
    while kernel().masks.active().count() != count || !is_over() {
        assert!(Hw::now() < limit, "there are not {count} CPUs");
        api::sleep(Duration::from_micros(500));
    }
}

/// Returns the decisions from `since` on.
fn decisions(since: Instant) -> Vec<RecordedDecision> {
    let (records, _) = kernel().trace.governor();
    let mut made = recorded_decisions(&records);
    made.retain(|it| it.at >= since);
    made
}

/// Returns when `decision` was carried out.
fn done(decision: &RecordedDecision) -> Instant {
    let (ticks, _) = decision.done.expect("it is carried out");
    decision.at.after_ticks(ticks)
}

/// Threads that compute.
struct Burst {
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Burst {
    fn of(threads: usize) -> Burst {
        let end = Arc::new(AtomicBool::new(false));
        let spawn = |_| {
            let end = Arc::clone(&end);
            thread::spawn(move || compute(&end))
        };
        let threads = (0..threads).map(spawn).collect();
        Burst { end, threads }
    }

    /// Ends all threads. Returns when they were told.
    fn end(self) -> Instant {
        // Before they know: this thread may lose its CPU behind that.
        let ended = Hw::now();
        self.end.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(JoinHandle::join);
        ended
    }
}

/// Computes until `end`. By instruction count another virtual CPU has the host's CPU now and then.
fn compute(end: &AtomicBool) {
    let mut nth = 0_u32;
    while !end.load(Ordering::Relaxed) {
        nth = nth.wrapping_add(1);
        if nth.is_multiple_of(10_000) {
            Hw::relax();
        }
    }
}
