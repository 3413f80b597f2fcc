//! What the scenes have in common: threads that compute, and CPUs that come and go beside
//! them.

use alloc::sync::Arc;
use core::hint::black_box;
use core::time::Duration;

use stillpoint::api::thread::{self, Builder, Class, JoinHandle, Priority};
use stillpoint::api::{cpu_down, cpu_up};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::println;
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use stillpoint::time::Instant;

use kernel_support::machine::last_cpu;
use kernel_support::turns;

/// How long a thread in the middle computes: far longer than a lock is held, and less than
/// what the bound lets it have.
const MIDDLE: Duration = ms(300);

/// How long an urgent thread may wait for a lock that is held for [`HELD`].
const SOON: Duration = ms(30);

/// For how long locks are held.
pub(crate) const HELD: Duration = ms(4);

pub(crate) const fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

pub(crate) fn fifo(priority: u8) -> Class {
    Class::fifo(Priority::new(priority).expect("1 to 99"))
}

/// Returns the properties of a thread that runs on `cpu` only.
pub(crate) fn on(cpu: CpuId) -> Builder {
    Builder::new().affinity(CpuMask::of(cpu))
}

/// Returns another CPU than the boot CPU that stays, if there is one, else the boot CPU.
pub(crate) fn elsewhere() -> CpuId {
    let second = CpuId::new(1).filter(|cpu| *cpu < last_cpu());
    second.unwrap_or(CpuId::BOOT)
}

pub(crate) fn start<T: Send + 'static>(
    builder: Builder,
    body: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    builder.spawn(body).expect("a stack is free")
}

/// Runs `body` in a thread on the boot CPU that is more urgent than all others of the test.
pub(crate) fn as_boss<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    start(on(CpuId::BOOT).name("boss").class(fifo(98)), body).join()
}

/// A word that says how far a thread has come. Relaxed: a note.
#[derive(Clone, Default)]
pub(crate) struct Stage(Arc<AtomicU64>);

impl Stage {
    pub(crate) fn new() -> Stage {
        Stage::default()
    }

    pub(crate) fn say(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sleeps until another thread has said it.
    pub(crate) fn wait(&self) {
        while self.count() == 0 {
            thread::sleep(Duration::from_micros(200));
        }
    }
}

/// Computes for about `time`, if the thread isn't kept from its CPU meanwhile, and says each
/// step.
pub(crate) fn compute(time: Duration, steps: &Stage) {
    for _ in 0..time.as_micros().div_ceil(STEP.as_micros()) {
        step();
        steps.say();
    }
}

/// How long a step takes, about.
const STEP: Duration = Duration::from_micros(20);

/// Computes for a step. Then it lets the other CPUs have their turns.
fn step() {
    const TURN: u64 = 20_000;
    // An instruction takes a nanosecond, and a turn of the loop four.
    for count in 0..STEP.as_nanos() / 4 {
        black_box(count);
    }
    turns::next_after(TURN);
}

/// A thread of middle urgency that computes on the boot CPU and waits for nothing.
pub(crate) struct Middle {
    end: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Middle {
    pub(crate) fn start() -> Middle {
        let end = Arc::new(AtomicBool::new(false));
        let its_end = Arc::clone(&end);
        let thread = start(on(CpuId::BOOT).name("middle").class(fifo(40)), move || {
            let until = Hw::deadline(MIDDLE);
            while Hw::now() < until && !its_end.load(Ordering::Relaxed) {
                step();
            }
        });
        Middle { end, thread }
    }

    pub(crate) fn end(self) {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join();
    }
}

/// Returns whether the time since `began` is short, and prints it.
pub(crate) fn is_soon(what: &str, began: Instant) -> bool {
    let ticks = Hw::now().ticks_since(began);
    let took = Duration::from_nanos(Hw::frequency().ticks_to_ns(ticks));
    println!("# {what}: {took:?}");
    took < SOON
}

/// A thread that takes the last CPU down and up again, until it is told to end. On a machine
/// of one CPU there is none.
pub(crate) struct Coming(Option<(Arc<AtomicBool>, JoinHandle<bool>)>);

impl Coming {
    pub(crate) fn start() -> Coming {
        if kernel().masks.possible().count() == 1 {
            return Coming(None);
        }
        let end = Arc::new(AtomicBool::new(false));
        let its_end = Arc::clone(&end);
        let thread = start(on(CpuId::BOOT).name("coming").class(fifo(97)), move || {
            let mut good = true;
            while !its_end.load(Ordering::Relaxed) {
                good &= cpu_down(last_cpu()).is_ok();
                thread::sleep(ms(1));
                good &= cpu_up(last_cpu()).is_ok();
                thread::sleep(ms(1));
            }
            good
        });
        Coming(Some((end, thread)))
    }

    /// Ends it, with all CPUs up. Returns whether all walks succeeded.
    pub(crate) fn end(self) -> bool {
        self.0.is_none_or(|(end, thread)| {
            end.store(true, Ordering::Relaxed);
            thread.join()
        })
    }
}
