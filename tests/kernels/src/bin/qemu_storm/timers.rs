//! Timers of one owner and timers that all set: set, set again, cancelled, dropped,
//! periodic; their functions unpark, complete, call, and set others. And sleeps.

use alloc::sync::{Arc, Weak};
use core::fmt;
use core::time::Duration;

use stillpoint::api::thread;
use stillpoint::kernel::Hw;
use stillpoint::platform::Platform;
use stillpoint::sched::Timer;
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::calls::{Calls, Unwaited};
use crate::locks::Locks;
use crate::words;
use crate::world::{Count, World, cpu, cpus, micros, one_in};
use kernel_support::machine::after;
use kernel_support::xorshift::Random;

const SHARED: usize = 4;

/// Timers that every worker sets and cancels, and counters of all timers.
pub(crate) struct SharedTimers {
    timers: [Timer<Hw>; SHARED],
    /// Whether the timers' functions do nothing any more. Relaxed: `end` cancels the timers after
    /// it has set this.
    over: AtomicBool,
    locks: Arc<Locks>,
    calls: Arc<Unwaited>,
    gone_off: Count,
    /// Of timers with one owner: set, taken back before they were due, gone off.
    set: Count,
    cancelled: Count,
    fired: Count,
    periods: Count,
    slept: Count,
}

impl SharedTimers {
    pub(crate) fn new(locks: &Arc<Locks>, calls: &Calls) -> Arc<SharedTimers> {
        Arc::new_cyclic(|all: &Weak<SharedTimers>| SharedTimers {
            timers: core::array::from_fn(|number| {
                let all = Weak::clone(all);
                Timer::new(move || {
                    if let Some(all) = all.upgrade() {
                        all.goes_off(number);
                    }
                })
            }),
            over: AtomicBool::new(false),
            locks: Arc::clone(locks),
            calls: Arc::clone(calls.unwaited()),
            gone_off: Count::default(),
            set: Count::default(),
            cancelled: Count::default(),
            fired: Count::default(),
            periods: Count::default(),
            slept: Count::default(),
        })
    }

    /// Runs the function of timer `number`, in an interrupt handler.
    fn goes_off(&self, number: usize) {
        if self.over.load(Ordering::Relaxed) {
            return;
        }
        self.gone_off.add(1);
        let now = Hw::now();
        let dice = usize::try_from(now.0 % 1000).expect("below 1000");
        match dice % 4 {
            0 => Unwaited::call(&self.calls, cpu(dice / 4 % cpus())),
            1 => self.locks.signal(),
            2 => self.timers[(number + 1) % SHARED].start(now),
            _ => self.locks.try_count(),
        }
    }

    /// Ends the timers: no function is called afterwards.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        // A function that had begun before may have set the next timer, which is cancelled by
        // the second round.
        for _ in 0..2 {
            self.timers.iter().for_each(|timer| {
                timer.cancel();
            });
        }
    }

    pub(crate) fn has_worked(&self) -> bool {
        let all = [
            &self.gone_off,
            &self.cancelled,
            &self.fired,
            &self.periods,
            &self.slept,
        ];
        all.iter().all(|count| count.get() > 0)
    }

    pub(crate) fn add_up(&self) -> bool {
        self.set.get() == self.cancelled.get() + self.fired.get()
    }
}

impl fmt::Display for SharedTimers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "timers={} cancelled={} fired={} periods={} shared={} slept={}",
            self.set, self.cancelled, self.fired, self.periods, self.gone_off, self.slept
        )
    }
}

/// Returns a time that is mostly too short for a CPU to go, or long enough for several.
fn soon_or_later(random: &mut Random) -> Duration {
    if one_in(random, 8) {
        micros(random, 300_000)
    } else {
        micros(random, 3000)
    }
}

/// The state that a timer's function and its owner share.
#[derive(Default)]
struct Fired {
    /// Added to Release by the function, loaded Acquire by the owner.
    times: AtomicU64,
    /// The instant before which it must not be called; stored before the timer is set.
    due: AtomicU64,
    early: AtomicBool,
}

impl Fired {
    fn times(&self) -> u64 {
        self.times.load(Ordering::Acquire)
    }
}

/// Sets its own timer, and waits for it, cancels it or sets it again.
pub(crate) fn own(world: &Arc<World>, random: &mut Random) {
    let fired = Arc::new(Fired::default());
    let (its, owner) = (Arc::clone(&fired), thread::current());
    let timer = Timer::<Hw>::new(move || {
        if Hw::now().0 < its.due.load(Ordering::Relaxed) {
            its.early.store(true, Ordering::Relaxed);
        }
        words::add_in_handler();
        its.times.fetch_add(1, Ordering::Release);
        owner.unpark();
    });
    let (mut set, mut cancelled) = (0, 0);
    for _ in 0..10 {
        let at = after(soon_or_later(random));
        fired.due.store(at.0, Ordering::Relaxed);
        timer.start(at);
        set += 1;
        match random.below(3) {
            0 => {
                thread::sleep(micros(random, 3000));
                cancelled += u64::from(timer.cancel());
            }
            // The function unparks this thread. The watchdog would notice a lost unpark.
            1 => {}
            _ => {
                thread::sleep(micros(random, 2000));
                cancelled += u64::from(timer.try_cancel());
                fired.due.store(0, Ordering::Relaxed);
                timer.start(after(micros(random, 500)));
                set += 1;
            }
        }
        while fired.times() + cancelled < set {
            thread::park();
        }
        let times = fired.times();
        world.must(
            times + cancelled == set,
            format_args!("a timer was set {set} times, cancelled {cancelled}, went off {times}"),
        );
    }
    world.timers.set.add(set);
    world.timers.cancelled.add(cancelled);
    world.timers.fired.add(fired.times());
    fired.due.store(0, Ordering::Relaxed);
    periodic(world, random, &timer, &fired);
    let early = fired.early.load(Ordering::Relaxed);
    world.must(!early, format_args!("a timer went off early"));
    words::add_many(world, fired.times());
}

/// Sets a periodic timer, and checks that it is called no faster than its period and never after
/// its end.
fn periodic(world: &World, random: &mut Random, timer: &Timer<Hw>, fired: &Fired) {
    let micros_each = 100 + random.below(900) as u64;
    let period = Duration::from_micros(micros_each);
    let (began, before) = (Hw::now(), fired.times());
    timer.start_periodic(began, period);
    thread::sleep(micros(random, 5000));
    timer.cancel();
    let times = fired.times() - before;
    let elapsed = Hw::frequency().ticks_to_ns(Hw::now().ticks_since(began));
    let most = elapsed / (micros_each * 1000) + 1;
    world.must(
        times <= most,
        format_args!("{times} periods of {period:?} in {elapsed} ns"),
    );
    thread::sleep(micros(random, 500));
    let later = fired.times() - before;
    world.must(
        later == times,
        format_args!("a timer goes off after its end"),
    );
    world.timers.periods.add(times);
}

/// Sets timers that other workers set too, and drops one that is set or whose function runs.
pub(crate) fn shared(world: &Arc<World>, random: &mut Random) {
    for _ in 0..20 {
        let timer = &world.timers.timers[random.below(SHARED)];
        match random.below(6) {
            0 => timer.start_periodic(after(micros(random, 300)), Duration::from_micros(200)),
            1 => {
                timer.try_cancel();
            }
            2 => {
                timer.cancel();
            }
            3 => drop_one(world, random),
            _ => timer.start(after(micros(random, 1500))),
        }
        if one_in(random, 4) {
            thread::sleep(micros(random, 800));
        }
    }
}

fn drop_one(world: &World, random: &mut Random) {
    let times = Arc::new(Count::default());
    let its = Arc::clone(&times);
    let timer = Timer::<Hw>::new(move || its.add(1));
    if one_in(random, 2) {
        timer.start(after(micros(random, 200)));
    } else {
        timer.start_periodic(Hw::now(), Duration::from_micros(50));
    }
    if one_in(random, 2) {
        thread::sleep(micros(random, 300));
    }
    drop(timer);
    let before = times.get();
    thread::sleep(micros(random, 200));
    let later = times.get();
    world.must(
        later == before,
        format_args!("a timer that was dropped went off {before} times, then {later}"),
    );
}

/// Sleeps, and checks that it doesn't wake early.
pub(crate) fn sleep(world: &Arc<World>, random: &mut Random) {
    let until = after(soon_or_later(random));
    thread::sleep_until(until);
    let now = Hw::now();
    world.must(
        now >= until,
        format_args!("woke at {now:?} instead of {until:?}"),
    );
    world.timers.slept.add(1);
}
