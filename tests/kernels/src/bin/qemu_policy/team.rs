//! Threads that compute, or compute and sleep, until they are told to end, and what is seen of
//! them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hint::black_box;
use core::time::Duration;

use stillpoint::api::thread::{self, Builder, Class, JoinHandle, Priority, Thread};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use stillpoint::time::Instant;

use kernel_support::turns;

/// No instant is marked.
const NO_MARK: u64 = 0;

/// What a thread of a team shows of itself. All fields are Relaxed: counts for a look.
#[derive(Default)]
struct Seen {
    end: AtomicBool,
    /// How many turns it has made.
    turns: AtomicU64,
    /// For how long it has had a CPU, in ticks.
    time: AtomicU64,
    /// The longest time between two turns, in ticks.
    gap: AtomicU64,
    /// The instant from which the next turn is timed, or [`NO_MARK`].
    mark: AtomicU64,
    /// How long after the mark that turn was, in ticks.
    after_mark: AtomicU64,
}

/// Lets the other CPUs have their turns, if `due` has passed; returns when it is due again.
fn take_turns(now: Instant, due: Instant) -> Instant {
    const TURN: u64 = 40_000;
    if now < due {
        return due;
    }
    turns::next_after(TURN);
    now.after_ticks(TURN)
}

/// For how long a thread computes before it sleeps, and for how long it sleeps then.
pub(crate) type Script = (Duration, Duration);

/// A thread that never sleeps.
const COMPUTES: Script = (Duration::MAX, Duration::ZERO);

impl Seen {
    fn follow(&self, (computes, sleeps): Script) {
        let computes = Hw::frequency().duration_to_ticks(computes);
        let mut computed = 0;
        // Longer than QEMU takes for the turns of all CPUs, and far less than a slice.
        let away = Hw::frequency().duration_to_ticks(ms(1));
        let mut due = Instant(0);
        // In QEMU a read of the time takes long.
        const BETWEEN_LOOKS: u64 = 200;
        let mut last = Hw::now();
        while !self.end.load(Ordering::Relaxed) {
            for count in 0..BETWEEN_LOOKS {
                black_box(count);
            }
            let now = Hw::now();
            let mark = self.mark.load(Ordering::Relaxed);
            if mark != NO_MARK {
                self.after_mark
                    .store(now.0.saturating_sub(mark), Ordering::Relaxed);
                self.mark.store(NO_MARK, Ordering::Relaxed);
            }
            let since = now.ticks_since(last);
            self.gap.fetch_max(since, Ordering::Relaxed);
            if since < away {
                self.time.fetch_add(since, Ordering::Relaxed);
                computed += since;
            }
            self.turns.fetch_add(1, Ordering::Relaxed);
            last = now;
            due = take_turns(now, due);
            if computed >= computes {
                computed = 0;
                thread::sleep(sleeps);
                last = Hw::now();
            }
        }
    }
}

/// A thread that computes.
pub(crate) struct Worker {
    seen: Arc<Seen>,
    handle: JoinHandle<()>,
}

impl Worker {
    /// Starts a thread with the properties of `builder`.
    pub(crate) fn start(builder: Builder) -> Worker {
        Worker::with_script(builder, COMPUTES)
    }

    /// Starts a thread with the properties of `builder` that computes and sleeps by `script`.
    pub(crate) fn with_script(builder: Builder, script: Script) -> Worker {
        let seen = Arc::new(Seen::default());
        let its = Arc::clone(&seen);
        let handle = builder.spawn(move || its.follow(script));
        let handle = handle.expect("a stack is free");
        Worker { seen, handle }
    }

    /// Returns how many turns it has made so far.
    pub(crate) fn turns(&self) -> u64 {
        self.seen.turns.load(Ordering::Relaxed)
    }

    /// Returns for how long it has had a CPU.
    fn time(&self) -> Duration {
        duration(self.seen.time.load(Ordering::Relaxed))
    }

    /// Returns the CPU on which it runs or waits.
    pub(crate) fn cpu(&self) -> CpuId {
        self.thread().inner().cpu()
    }

    pub(crate) fn thread(&self) -> Thread {
        self.handle.thread()
    }

    /// Has the next turn timed, from now on.
    pub(crate) fn mark(&self) {
        self.seen.after_mark.store(u64::MAX, Ordering::Relaxed);
        self.seen.mark.store(Hw::now().0, Ordering::Relaxed);
    }

    /// Returns how long after the mark the next turn was, if it has been made.
    pub(crate) fn after_mark(&self) -> Option<Duration> {
        let ticks = self.seen.after_mark.load(Ordering::Relaxed);
        (ticks != u64::MAX).then(|| duration(ticks))
    }

    /// Forgets the longest time between two turns.
    pub(crate) fn forget_gap(&self) {
        self.seen.gap.store(0, Ordering::Relaxed);
    }

    /// Returns the longest time between two turns.
    pub(crate) fn gap(&self) -> Duration {
        duration(self.seen.gap.load(Ordering::Relaxed))
    }

    /// Tells it to end.
    pub(crate) fn stop(&self) {
        self.seen.end.store(true, Ordering::Relaxed);
    }

    /// Ends it, and waits for that.
    pub(crate) fn end(self) {
        self.stop();
        self.handle.join();
    }
}

fn duration(ticks: u64) -> Duration {
    Duration::from_nanos(Hw::frequency().ticks_to_ns(ticks))
}

/// Several threads that compute.
pub(crate) struct Team(Vec<Worker>);

impl Team {
    /// Starts a thread for each of `builders`.
    pub(crate) fn start(builders: impl IntoIterator<Item = Builder>) -> Team {
        Team(builders.into_iter().map(Worker::start).collect())
    }

    /// Starts `count` threads that compute and sleep by `script`.
    pub(crate) fn sleepers(count: usize, script: Script) -> Team {
        let start = |_| Worker::with_script(Builder::new(), script);
        Team((0..count).map(start).collect())
    }

    /// Starts `count` threads with the properties of `builder`.
    pub(crate) fn equals(count: usize, builder: &Builder) -> Team {
        Team::start((0..count).map(|_| builder.clone()))
    }

    /// Returns `workers` as a team.
    pub(crate) fn of(workers: impl IntoIterator<Item = Worker>) -> Team {
        Team(workers.into_iter().collect())
    }

    /// Starts an ordinary thread on each of `cpus`, which it can't leave.
    pub(crate) fn bound(cpus: impl IntoIterator<Item = CpuId>) -> Team {
        Team::start(cpus.into_iter().map(|cpu| on(cpu).name("bound")))
    }

    pub(crate) fn workers(&self) -> &[Worker] {
        &self.0
    }

    /// Returns for how long each of them has a CPU in `time`, for which the caller sleeps.
    /// QEMU doesn't run all CPUs equally fast, so that turns would say less.
    pub(crate) fn times_in(&self, time: Duration) -> Vec<Duration> {
        let before: Vec<Duration> = self.0.iter().map(Worker::time).collect();
        thread::sleep(time);
        let after = self.0.iter().map(Worker::time);
        after
            .zip(before)
            .map(|(after, before)| after - before)
            .collect()
    }

    /// Returns for how long each of them has had a CPU so far, as the kernel counts it: with
    /// the interrupts that have come meanwhile, and the switches.
    pub(crate) fn used(&self) -> Vec<Duration> {
        let used = |worker: &Worker| worker.thread().usage().run_time;
        self.0.iter().map(used).collect()
    }

    /// Returns how many of them each of `cpus` has.
    pub(crate) fn on_each(&self, cpus: &CpuMask) -> Vec<usize> {
        let places: Vec<CpuId> = self.0.iter().map(Worker::cpu).collect();
        let on = |cpu| places.iter().filter(|place| **place == cpu).count();
        cpus.iter().map(on).collect()
    }

    /// Ends them all.
    pub(crate) fn end(self) {
        self.0.iter().for_each(Worker::stop);
        self.0.into_iter().for_each(Worker::end);
    }
}

/// Returns the properties of a thread that may run on `cpu` only.
pub(crate) fn on(cpu: CpuId) -> Builder {
    Builder::new().affinity(CpuMask::of(cpu))
}

pub(crate) fn fifo(priority: u8) -> Class {
    Class::fifo(Priority::new(priority).expect("1 to 99"))
}

/// Returns all CPUs of the machine.
pub(crate) fn all_cpus() -> CpuMask {
    *kernel().masks.possible()
}

/// Runs `body` in a thread that is more urgent than all others of the test.
pub(crate) fn as_boss<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let boss = Builder::new().name("boss").class(fifo(99)).spawn(body);
    boss.expect("a stack is free").join()
}

pub(crate) fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}
