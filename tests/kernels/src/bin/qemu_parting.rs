//! What is seen of the end of a thread, of a timer and of a CPU in the few instructions that
//! it takes. In virtual time: each round lets another CPU have its turn, or an urgent thread
//! the CPU, a few instructions later than the one before. CPUs come and go.

//@ smp: 2 4 20
//@ icount: 1
//@ timeout: 120
//@ cases: named bound woken dropped finished
//@ case: named
//@ output: thread sleeper no longer affine to cpu1$

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::thread::{self, Builder, Class, JoinHandle, Priority};
use stillpoint::api::{cpu_down, cpu_up};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::println;
use stillpoint::sync::LocalCpu;
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kernel_support::case::case;
use kernel_support::coming::Coming;
use kernel_support::ktap::Ktap;
use kernel_support::machine::{eventually, last_cpu, spin_until};
use kernel_support::turns;

type Timer = stillpoint::sched::Timer<Hw>;

fn main() {
    let mut ktap = Ktap::new();
    match case() {
        "named" => named(&mut ktap),
        "bound" => bound(&mut ktap),
        "woken" => woken(&mut ktap),
        "dropped" => dropped(&mut ktap),
        _ => finished(&mut ktap),
    }
    ktap.finish()
}

fn us(time: u64) -> Duration {
    Duration::from_micros(time)
}

fn fifo(priority: u8) -> Class {
    Class::fifo(Priority::new(priority).expect("1 to 99"))
}

fn on(cpu: CpuId) -> Builder {
    Builder::new().affinity(CpuMask::of(cpu))
}

/// Runs `body` in an urgent thread on the boot CPU, which stays.
fn on_boot<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let boss = on(CpuId::BOOT).name("boss").class(fifo(60)).spawn(body);
    boss.expect("a stack is free").join()
}

/// Starts a thread on a CPU that may go, as soon as there is one.
fn elsewhere<T: Send + 'static>(body: impl Fn() -> T + Clone + Send + 'static) -> JoinHandle<T> {
    let cpus = kernel().masks.possible().without(&CpuMask::of(CpuId::BOOT));
    loop {
        if let Ok(handle) = Builder::new().affinity(cpus).spawn(body.clone()) {
            return handle;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs `rounds_fn` with CPUs that stay and with CPUs that come and go, and checks that it
/// returns true.
fn check_both(ktap: &mut Ktap, what: &str, rounds_fn: fn() -> bool) {
    let quiet = on_boot(rounds_fn);
    ktap.check(what, quiet);
    let (right, walks) = on_boot(move || {
        let coming = Coming::start();
        (rounds_fn(), coming.end())
    });
    println!("# {walks:?} walks");
    ktap.check(
        "so it is while CPUs come and go",
        right && walks.is_some_and(|walks| walks > 0),
    );
}

/// A thread that ran last on the boot CPU, and may run on CPU 1 only, wakes when that is away:
/// the log names CPU 1.
fn named(ktap: &mut Ktap) {
    let second = CpuId::new(1).expect("a CPU");
    let (right, walks) = on_boot(move || {
        let coming = Coming::start();
        let right = (0..5).all(|_| {
            let sleeper = on(CpuId::BOOT).name("sleeper").spawn(thread::park);
            let sleeper = sleeper.expect("a stack is free");
            thread::sleep(us(500));
            let told = eventually(|| {
                let only = CpuMask::of(second);
                sleeper.thread().set_affinity(&only).is_ok()
            });
            let away = eventually(|| {
                thread::sleep(us(200));
                !kernel().masks.is_active(second)
            });
            sleeper.thread().unpark();
            let thread = sleeper.thread();
            sleeper.join();
            told && away && thread.affinity() == *kernel().masks.possible()
        });
        (right, coming.end())
    });
    println!("# {walks:?} walks");
    ktap.check(
        "a thread whose only CPU is away runs elsewhere",
        right && walks.is_some(),
    );
}

/// A thread that keeps its CPU from going loses it to an urgent one, a little later after its
/// body in each round; meanwhile the CPU is to go. It may go once the thread has ended, and
/// not before: then the thread would have to end elsewhere, and could run anywhere.
fn bound(ktap: &mut Ktap) {
    const ROUNDS: u32 = 100;
    const STEP: Duration = Duration::from_nanos(20);
    let (stayed, went, right) = on_boot(|| {
        let (mut stayed, mut went, mut right) = (0, 0, true);
        for round in 0..ROUNDS {
            let (ended, goes) = ends_beside_urgent(STEP * round);
            if goes {
                right &= cpu_up(last_cpu()).is_ok();
                went += 1;
            } else {
                stayed += 1;
            }
            right &= ended;
        }
        (stayed, went, right)
    });
    println!("# the CPU stayed {stayed} times and went {went} times");
    ktap.check("a thread that keeps its CPU ends there", right);
    ktap.check("its CPU stays before that", stayed > 0);
    ktap.check("its CPU may go after that", went > 0);
}

/// Has a thread end on the last CPU, which it keeps, and one that is more urgent run there
/// from `after` on, while the CPU is to go. Returns whether the first one ended there, and
/// whether the CPU has gone.
fn ends_beside_urgent(after: Duration) -> (bool, bool) {
    let last = last_cpu();
    let (runs, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (its_runs, its_done) = (Arc::clone(&runs), Arc::clone(&done));
    let urgent = on(last).name("urgent").class(fifo(50)).spawn(move || {
        thread::park();
        its_runs.store(true, Ordering::Relaxed);
        spin_until(|| {
            turns::next_after(20_000);
            its_done.load(Ordering::Relaxed)
        });
    });
    let urgent = urgent.expect("a stack is free");
    // It parks there. It may run nowhere else, so that it leaves with the CPU and not before.
    thread::sleep(us(200));
    let wakes = urgent.thread();
    let timer = Arc::new(Timer::new(move || wakes.unpark()));
    let sets = Arc::clone(&timer);
    let bound = thread::spawn_on(last, "bound", move || sets.start(Hw::deadline(after)));
    let bound = bound.expect("the CPU is there");
    let thread = bound.thread();
    // A sleep leaves all turns to that CPU.
    let began = eventually(|| {
        thread::sleep(us(20));
        runs.load(Ordering::Relaxed)
    });
    let goes = cpu_down(last).is_ok();
    done.store(true, Ordering::Relaxed);
    urgent.join();
    bound.join();
    let ended = thread.affinity() == CpuMask::of(last);
    if !ended {
        println!("# urgent after {after:?}: the thread was moved");
    }
    (began && ended, goes)
}

/// Threads that slept on a CPU when it went are woken by another one while the CPU comes: they
/// run elsewhere before it is there.
fn woken(ktap: &mut Ktap) {
    let right = on_boot(|| (0..4).all(|_| wake_while_coming(last_cpu())));
    ktap.check(
        "threads that slept on a CPU that went are woken while it comes",
        right,
    );
}

fn wake_while_coming(cpu: CpuId) -> bool {
    const SLEEPERS: u64 = 12;
    let start = |_| on(cpu).name("slept").spawn(thread::park);
    let sleepers: Result<Vec<JoinHandle<()>>, _> = (0..SLEEPERS).map(start).collect();
    let sleepers = sleepers.expect("stacks are free");
    thread::sleep(us(500));
    let free = sleepers.iter().all(|sleeper| {
        let anywhere = *kernel().masks.possible();
        sleeper.thread().set_affinity(&anywhere).is_ok()
    });
    let down = cpu_down(cpu).is_ok();
    kernel().hotplug.hold_at_entry(cpu, true);
    let waker = on(CpuId::BOOT).class(fifo(70)).spawn(move || {
        thread::sleep(us(50));
        for sleeper in &sleepers {
            sleeper.thread().unpark();
            thread::sleep(us(20));
        }
        let ended = eventually(|| {
            thread::sleep(us(20));
            sleepers.iter().all(JoinHandle::is_finished)
        });
        let early = ended && !kernel().masks.is_online(cpu);
        kernel().hotplug.hold_at_entry(cpu, false);
        early
    });
    let up = cpu_up(cpu).is_ok();
    let early = waker.expect("a stack is free").join();
    free && down && up && early
}

/// What a timer's function owns. Drops in a handler are counted.
struct Owned(Arc<AtomicU32>);

impl Drop for Owned {
    fn drop(&mut self) {
        if !Hw::irqs_enabled() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A timer is dropped as soon as its function says that it is done, when the handler that
/// calls it has come a little further in each round.
fn dropped(ktap: &mut Ktap) {
    check_both(
        ktap,
        "what a timer's function owns is dropped by the thread that drops the timer",
        || {
            let in_handler = Arc::new(AtomicU32::new(0));
            let all = (0..ROUNDS).all(|round| drops_after(STEP * round, &in_handler));
            let in_handler = in_handler.load(Ordering::Relaxed);
            println!("# {in_handler} drops in a handler");
            all && in_handler == 0
        },
    );
}

/// How many rounds there are, and by how much a turn is longer in each.
const ROUNDS: u32 = 150;
const STEP: Duration = Duration::from_nanos(20);

/// Has the next CPU run `after` from now.
fn pass_on_after(after: Duration) {
    let cpus = kernel().masks.possible().count();
    let ticks = Hw::frequency().duration_to_ticks(after);
    turns::next_after(ticks * u64::try_from(cpus).expect("a small number"));
}

fn drops_after(after: Duration, in_handler: &Arc<AtomicU32>) -> bool {
    let owned = Owned(Arc::clone(in_handler));
    let called = Arc::new(AtomicBool::new(false));
    let says = Arc::clone(&called);
    let timer = Arc::new(Timer::new(move || {
        let _owns = &owned;
        says.store(true, Ordering::Release);
        pass_on_after(after);
    }));
    let sets = Arc::downgrade(&timer);
    let starter = elsewhere(move || {
        let timer = sets.upgrade()?;
        timer.start(Hw::deadline(us(60)));
        Some(())
    });
    let set = starter.join().is_some();
    let came = spin_until(|| called.load(Ordering::Acquire));
    drop(timer);
    set && came
}

/// Asks whether a thread has finished, when the thread has come a little further at its end in
/// each round. Once it has, a join doesn't wait.
fn finished(ktap: &mut Ktap) {
    check_both(
        ktap,
        "the join of a thread that has finished doesn't wait",
        || {
            (0..2 * ROUNDS).all(|round| {
                let ends = elsewhere(move || pass_on_after(STEP * round));
                let came = spin_until(|| ends.is_finished());
                let before = thread::current().usage().waits;
                ends.join();
                let waits = thread::current().usage().waits - before;
                if waits > 0 {
                    println!("# round {round}: the join waited");
                }
                came && waits == 0
            })
        },
    );
}
