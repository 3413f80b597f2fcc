//! Timers: their functions are called neither early nor twice, and each call comes, even if their
//! CPU goes. After a cancel the function isn't called again.

//@ smp: 1 2 4 20
//@ timeout: 240

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api;
use stillpoint::api::thread::{self, Builder, JoinHandle};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::println;
use stillpoint::sync::Once;
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use stillpoint::time::Instant;

use kernel_support::ktap::Ktap;
use kernel_support::machine::{after, eventually, last_cpu, spin_for, spin_until};

type Timer = stillpoint::sched::Timer<Hw>;

fn main() {
    let mut ktap = Ktap::new();
    once(&mut ktap);
    periodic(&mut ktap);
    too_often(&mut ktap);
    cancelled(&mut ktap);
    running(&mut ktap);
    going(&mut ktap);
    ktap.finish()
}

fn on<T: Send + 'static>(cpu: CpuId, body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new()
        .affinity(CpuMask::of(cpu))
        .spawn(body)
        .expect("a stack is free")
}

/// The record of the calls of a timer's function.
struct Calls {
    count: AtomicU32,
    early: AtomicBool,
    /// The instant before which the function must not be called.
    due: AtomicU64,
    /// The place of the last call among all of a test's.
    place: AtomicU32,
    /// The CPU of the last call.
    cpu: AtomicU32,
}

impl Calls {
    fn new(due: Instant) -> Arc<Calls> {
        Arc::new(Calls {
            count: AtomicU32::new(0),
            early: AtomicBool::new(false),
            due: AtomicU64::new(due.0),
            place: AtomicU32::new(0),
            cpu: AtomicU32::new(0),
        })
    }

    fn called(&self, place: u32) {
        if Hw::now().0 < self.due.load(Ordering::Relaxed) {
            self.early.store(true, Ordering::Relaxed);
        }
        let cpu = u32::try_from(Hw::this_cpu().index()).expect("a small number");
        self.cpu.store(cpu, Ordering::Relaxed);
        self.place.store(place, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Release);
    }

    fn count(&self) -> u32 {
        self.count.load(Ordering::Acquire)
    }

    fn is_early(&self) -> bool {
        self.early.load(Ordering::Relaxed)
    }
}

fn timer(calls: &Arc<Calls>) -> Timer {
    let calls = Arc::clone(calls);
    Timer::new(move || calls.called(0))
}

fn once(ktap: &mut Ktap) {
    let right = (0..20_u64).all(|turn| {
        let at = after(Duration::from_micros(turn * 100));
        let calls = Calls::new(at);
        let timer = timer(&calls);
        timer.start(at);
        let called = eventually(|| calls.count() == 1);
        thread::sleep(Duration::from_micros(500));
        called && calls.count() == 1 && !calls.is_early() && !timer.is_set()
    });
    ktap.check("a timer is called once, and not early", right);

    let late = after(Duration::from_secs(3600));
    let soon = after(Duration::from_millis(2));
    let calls = Calls::new(soon);
    let timer = timer(&calls);
    timer.start(late);
    timer.start(soon);
    let called = eventually(|| calls.count() == 1) && !timer.is_set();
    timer.start(after(Duration::from_micros(500)));
    timer.start(late);
    thread::sleep(Duration::from_millis(2));
    // The host may have slept in between: then it was called once more, in time.
    let most_once = calls.count() <= 2 && timer.is_set();
    let was_set = timer.cancel();
    ktap.check(
        "one that is set anew is called at the new instant alone",
        called && !calls.is_early() && most_once && was_set,
    );
}

fn periodic(ktap: &mut Ktap) {
    const TIMES: u32 = 20;
    let period = Duration::from_millis(1);
    let ticks = Hw::frequency().duration_to_ticks(period);
    let first = after(period);
    let calls = Arc::new((AtomicU32::new(0), AtomicBool::new(false)));
    let own = Arc::clone(&calls);
    let timer = Timer::new(move || {
        let (count, early) = &*own;
        let before = count.fetch_add(1, Ordering::Release);
        // A call may be late, by more than a period too; never before its own time.
        if Hw::now() < first.after_ticks(ticks * u64::from(before)) {
            early.store(true, Ordering::Relaxed);
        }
    });
    timer.start_periodic(first, period);
    let came = eventually(|| calls.0.load(Ordering::Acquire) >= TIMES) && timer.is_set();
    let was_set = timer.cancel();
    let count = calls.0.load(Ordering::Acquire);
    thread::sleep(4 * period);
    ktap.check(
        "a periodic timer is called once in each of its periods",
        came && was_set && !calls.1.load(Ordering::Relaxed),
    );
    ktap.check(
        "and no more when it is cancelled",
        !timer.is_set() && calls.0.load(Ordering::Acquire) == count,
    );
}

/// Timers whose function takes longer than their period.
fn too_often(ktap: &mut Ktap) {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let timer = Timer::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    timer.start_periodic(Hw::now(), Duration::from_nanos(100));
    let called = eventually(|| calls.load(Ordering::Relaxed) > 10);
    timer.cancel();
    ktap.check(
        "a timer that is always due leaves the CPU to others",
        called,
    );
}

fn cancelled(ktap: &mut Ktap) {
    let far = after(Duration::from_secs(3600));
    let calls = Calls::new(far);
    let timers: Vec<_> = (0..100).map(|_| timer(&calls)).collect();
    for (timer, turn) in timers.iter().zip(0..) {
        timer.start(after(Duration::from_millis(20 + turn % 7)));
    }
    // A timer that was cancelled in time is never called.
    let cancelled = timers.iter().filter(|timer| timer.cancel()).count();
    let not_set = timers.iter().all(|timer| !timer.is_set());
    thread::sleep(Duration::from_millis(40));
    println!("# {cancelled} cancelled in time");
    ktap.check(
        "a cancelled timer is not called",
        not_set && calls.count() as usize + cancelled == timers.len(),
    );
    let before = calls.count();
    let timer = timer(&calls);
    timer.start(after(Duration::from_secs(10)));
    drop(timer);
    let weak = Arc::downgrade(&calls);
    ktap.check(
        "one that is dropped is gone, with what its function held",
        calls.count() == before && weak.strong_count() == 1 + timers.len(),
    );
}

/// Cancels timers while their functions run.
fn running(ktap: &mut Ktap) {
    let names = [
        "cancel waits for the function to end",
        "also if the timer was set again elsewhere meanwhile",
    ];
    if last_cpu() == CpuId::BOOT {
        for name in names {
            ktap.inapplicable(name, "one CPU");
        }
    } else {
        ktap.check(names[0], cancel_waits(1));
        ktap.check(names[1], cancel_waits(2));
    }
    ktap.check(
        "one that sets itself again stays cancelled",
        (0..20).all(|_| cancels_one_that_goes_on()),
    );
}

/// Returns whether a cancel waits for a call on the last CPU, the first of `calls` of the same
/// timer. The others begin and end meanwhile.
fn cancel_waits(calls: u32) -> bool {
    let begun = Arc::new(AtomicU32::new(0));
    let go = Arc::new(AtomicBool::new(false));
    let ended = Arc::new(AtomicBool::new(false));
    let timer = {
        let (begun, go, ended) = (Arc::clone(&begun), Arc::clone(&go), Arc::clone(&ended));
        Arc::new(Timer::new(move || {
            // The first call is the one that lasts.
            if begun.fetch_add(1, Ordering::AcqRel) == 0 {
                spin_until(|| go.load(Ordering::Acquire));
                spin_for(Duration::from_millis(5));
                ended.store(true, Ordering::Release);
            }
        }))
    };
    let me = thread::current();
    let anywhere = me.affinity();
    // Not on the CPU where the function runs, because this thread has to end the function.
    let here = CpuMask::of(CpuId::BOOT);
    me.set_affinity(&here).expect("the boot CPU is active");
    let far = Arc::clone(&timer);
    let starter = on(last_cpu(), move || far.start(Instant(0)));
    let began = spin_until(|| begun.load(Ordering::Acquire) == 1);
    let again = (2..=calls).all(|call| {
        timer.start(Instant(0));
        spin_until(|| begun.load(Ordering::Acquire) == call)
    });
    let stays = ended.load(Ordering::Acquire);
    go.store(true, Ordering::Release);
    let was_set = timer.cancel();
    let waited = ended.load(Ordering::Acquire);
    starter.join();
    me.set_affinity(&anywhere).expect("all are active");
    began && again && !stays && !was_set && waited
}

/// Returns whether a timer whose function sets it again stays unset after a cancel.
fn cancels_one_that_goes_on() -> bool {
    let count = Arc::new(AtomicU32::new(0));
    let itself = Arc::new(Once::<Weak<Timer>>::new());
    let timer = {
        let (count, itself) = (Arc::clone(&count), Arc::clone(&itself));
        Arc::new(Timer::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            if let Some(timer) = itself.get().and_then(Weak::upgrade) {
                timer.start(after(Duration::from_micros(20)));
            }
        }))
    };
    itself.call_once(|| Arc::downgrade(&timer));
    timer.start(Instant(0));
    let goes_on = eventually(|| count.load(Ordering::Relaxed) >= 5);
    timer.cancel();
    let after_cancel = count.load(Ordering::Relaxed);
    thread::sleep(Duration::from_millis(1));
    goes_on && !timer.is_set() && count.load(Ordering::Relaxed) == after_cancel
}

fn going(ktap: &mut Ktap) {
    let names = [
        "timers of a CPU that goes are called once, none early, in their order",
        "and its sleepers wake elsewhere",
    ];
    if last_cpu() == CpuId::BOOT {
        for name in names {
            ktap.inapplicable(name, "one CPU");
        }
        return;
    }
    let mut lead = Duration::from_millis(100);
    let mut right = None;
    // On a slow host all may be due before the CPU is off.
    let judged = eventually(|| {
        lead *= 2;
        right = outlive_their_cpu(lead);
        right.is_some()
    });
    let right = right.unwrap_or_default();
    ktap.check(names[0], judged && right.timers);
    ktap.check(names[1], judged && right.sleepers);
}

#[derive(Default)]
struct Outlived {
    timers: bool,
    sleepers: bool,
}

/// Thousands of timers and some sleepers of the last CPU, the first of them due in
/// `lead`, and the CPU goes. `None` if too few of them outlived it.
fn outlive_their_cpu(lead: Duration) -> Option<Outlived> {
    const TIMERS: u64 = 3000;
    const SLEEPERS: u32 = 20;
    let cpu = last_cpu();
    let places = Arc::new(AtomicU32::new(0));
    let first = after(lead);
    let apart = Hw::frequency().duration_to_ticks(Duration::from_micros(20));
    // Not in the order in which they are set, and two at each instant.
    let order = |number: u64| (number * 1009) % TIMERS / 2;
    let armed = on(cpu, move || {
        let arm = |number| {
            let at = first.after_ticks(apart * order(number));
            let calls = Calls::new(at);
            let (own, places) = (Arc::clone(&calls), Arc::clone(&places));
            let timer = Timer::new(move || {
                own.called(places.fetch_add(1, Ordering::Relaxed));
            });
            timer.start(at);
            (calls, timer)
        };
        (0..TIMERS).map(arm).collect::<Vec<_>>()
    });
    let asleep = Arc::new(AtomicU32::new(0));
    let anywhere = kernel().masks.online();
    let sleepers: Vec<_> = (0..SLEEPERS)
        .map(|number| {
            let asleep = Arc::clone(&asleep);
            let until = first.after_ticks(apart * u64::from(number) * 50);
            on(cpu, move || {
                let free = thread::current().set_affinity(&anywhere).is_ok();
                asleep.fetch_add(1, Ordering::Release);
                thread::sleep_until(until);
                (free && Hw::now() >= until, thread::current_cpu_racy())
            })
        })
        .collect();
    let all_sleep = eventually(|| asleep.load(Ordering::Acquire) == SLEEPERS);
    let armed = armed.join();
    let gone = api::cpu_down(cpu).is_ok();
    let called = eventually(|| armed.iter().all(|(calls, _)| calls.count() >= 1));
    let woken: Vec<_> = sleepers.into_iter().map(JoinHandle::join).collect();
    let back = api::cpu_up(cpu).is_ok();
    let elsewhere =
        |calls: &&(Arc<Calls>, Timer)| calls.0.cpu.load(Ordering::Relaxed) as usize != cpu.index();
    let moved = armed.iter().filter(elsewhere).count();
    println!("# {moved} of {TIMERS} timers outlived their CPU");
    // By instant, then by which was set first: the order of the calls.
    let mut due: Vec<_> = armed
        .iter()
        .enumerate()
        .map(|(number, (calls, _))| {
            let at = calls.due.load(Ordering::Relaxed);
            (at, number, calls.place.load(Ordering::Relaxed))
        })
        .collect();
    due.sort_unstable();
    let in_order = due.is_sorted_by(|a, b| a.2 < b.2);
    let each = armed
        .iter()
        .all(|(calls, timer)| calls.count() == 1 && !calls.is_early() && !timer.is_set());
    let slept = woken.iter().all(|(slept, _)| *slept);
    let woke_elsewhere = woken.iter().any(|(_, woke)| *woke != cpu);
    (moved * 2 > armed.len()).then_some(Outlived {
        timers: gone && back && called && each && in_order,
        sleepers: all_sleep && slept && woke_elsewhere,
    })
}
