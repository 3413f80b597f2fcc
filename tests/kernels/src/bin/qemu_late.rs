//! Each wait that lasts too long is logged: after ten seconds in general, and after one second
//! here. Every wait ends.

//@ smp: 2
//@ timeout: 120
//@ cases: fn own-fn unwaited prepare call call-behind-timer mutex reader walk grace barrier tasks timer spin operators
//@ cases: not-come disable-irq leave one-cpu cpus one-long cpus-long flush pinned online rw-read rw-write semaphore
//
// The function of a still point, on a CPU that is not the caller's, and on the caller's.
//@ case: fn
//@ output: warning: stop_machine: CPUs 1 have run qemu_late::.* for 1 s, as main has asked, and the machine waits$
//@ output: warning:   CPU0 is in DISABLE_IRQ$
//@ output: warning:   CPU1 is in RUN: stopper/1$
//@ case: own-fn
//@ output: warning: stop_machine: CPUs 0 have run qemu_late::.* for 1 s, as main has asked, and the machine waits$
// A call without a waiting caller delays a stop.
//@ case: unwaited
//@ output: warning: stop_machine: CPUs 1 have not come yet to the stop that main has asked for:$
//@ output: warning:   CPU0 is in PREPARE$
//@ output: warning:   CPU1 has not come: .+ \(runs the call qemu_late::.*\)$
// The time is that of the boot argument.
//@ case: prepare
//@ append: watchdog_thresh=1
//@ output: warning: stop_machine: CPUs 1 have not come yet to the stop that main has asked for:$
//@ output: warning:   CPU0 is in PREPARE$
//@ output: warning:   CPU1 has not come: holder \(preemption is off\)$
// A CPU has IRQs masked, and then it does another work of its stopper.
//@ case: not-come
//@ output: warning: stop_machine: CPUs 1 have not come yet to the stop that main has asked for:$
//@ output: warning:   CPU0 is in PREPARE$
//@ output: warning:   CPU1 has not come: holder \(IRQs are masked, or it is not run\)$
//@ output: warning: stop_machine: CPUs 1 have not come yet to the stop that main has asked for:$
//@ output: warning:   CPU0 is in PREPARE$
//@ output: warning:   CPU1 has not come: stopper/1 \(does another work of its stopper\)$
// A thread of the kernel computes, and a stop waits for preempted threads.
//@ case: flush
//@ output: warning: stop_machine: CPUs 1 have not given preempted threads their time yet, for the stop that main has asked for:$
//@ output: warning:   CPU0 is in FLUSH$
//@ output: warning:   CPU1 is in FLUSH: holder \(does not give its CPU away\)$
// The works of a single CPU and of several.
//@ case: one-cpu|cpus
//@ output: warning: stop_machine: the stoppers of CPUs 1 have not done their works yet:$
//@ output: warning:   CPU1 has not come: holder \(preemption is off\)$
//@ case: one-long|cpus-long
//@ output: warning: stop_machine: the stoppers of CPUs 1 have not done their works yet:$
//@ output: warning:   CPU1 is in RUN: stopper/1$
//@ case: call
//@ output: warning: CPU0 called, and CPUs 1 have not answered for 1 s$
//@ output: warning:   CPU1 runs the call qemu_late::.*$
//@ case: call-behind-timer
//@ output: warning: CPU0 called, and CPUs 1 have not answered for 1 s$
//@ output: warning:   CPU1 runs the function of the timer qemu_late::.*$
//@ case: mutex
//@ output: warning: main has waited 1 s for a mutex that holder on CPU1 holds
//@ case: spin
//@ output: warning: CPU0 has waited 1 s for a spin lock of qemu_late::.*Held that CPU1 holds$
//@ case: reader
//@ output: warning: main has waited 1 s for cpus_write_lock: a thread holds cpus_read_lock$
//@ case: walk
//@ output: warning: cpuhp/1 has not finished a walk for 1 s
//@ case: grace
//@ output: warning: rcu: CPUs 1 hold up a grace period$
//@ case: barrier
//@ output: warning: rcu: a barrier has waited 1 s; [0-9]+ of [0-9]+ callbacks have run$
//@ case: tasks
//@ output: warning: rcu: 1 threads have run for 1 s without a rest$
// A CPU has come to the still point, and takes a long interrupt before all others have come.
//@ case: disable-irq
//@ output: warning: stop_machine: CPUs 0 have not come to a stop for 1 s, which main has asked for, and the machine waits$
//@ output: warning:   CPU0 is in PREPARE: stopper/0 \(runs the call qemu_late::.*\)$
//@ output: warning:   CPU1 is in DISABLE_IRQ$
// A CPU takes a long interrupt on its way out of the still point.
//@ case: leave
//@ output: warning: stop_machine: CPUs 1 have not left the stop yet that main has asked for:$
//@ output: warning:   CPU0 has left$
//@ output: warning:   CPU1 is in EXIT: stopper/1 \(runs the function of the timer qemu_late::.*\)$
//@ case: pinned
//@ output: warning: CPU1 has waited 1 s for 1 threads that are pinned to it: .+$
//@ case: online
//@ output: warning: CPU1 was released 1 s ago and is not online; it is at step [0-9]+$
//@ case: rw-read
//@ output: warning: main has waited 1 s for its turn to read$
//@ case: rw-write
//@ output: warning: main has waited 1 s for its turn to write$
//@ case: semaphore
//@ output: warning: main has waited 1 s for a semaphore$
//@ case: timer
//@ output: warning: the function of the timer qemu_late::.* has been running for 1 s$

#![no_std]
#![no_main]

stillpoint::entry!(main);

use core::time::Duration;

use stillpoint::api::stop::{
    Stop, StopMode, StopWork, stop_cpus, stop_one_cpu, stop_one_cpu_nowait,
};
use stillpoint::api::{self, JoinHandle, thread};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::sched::lock::{Mutex, RwLock, Semaphore};
use stillpoint::sched::{Service, Timer};
use stillpoint::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use stillpoint::sync::{IrqGuard, PreemptGuard, SpinLock};

use kernel_support::case::case;
use kernel_support::ktap::Ktap;
use kernel_support::machine::{after, eventually, register, spin_for, spin_until};

/// Far longer than the second after which a wait is logged.
const LONG: Duration = Duration::from_secs(3);

static BEGUN: AtomicBool = AtomicBool::new(false);
static MUTEX: Mutex<(), Hw> = Mutex::new(());
static SPIN: SpinLock<Held, Hw> = SpinLock::new(Held);
static RW_LOCK: RwLock<(), Hw> = RwLock::new(());
static SEMAPHORE: Semaphore<Hw> = Semaphore::new(0);
static TIMER: SpinLock<Option<Timer<Hw>>, Hw> = SpinLock::new(None);

/// The value behind the spin lock that is held for long.
struct Held;

fn other() -> CpuId {
    CpuId::new(1).expect("a small number")
}

/// Tells that it has begun, and takes long.
fn take_long() {
    BEGUN.store(true, Ordering::Relaxed);
    spin_for(LONG);
}

/// Has a timer's function take long on this CPU.
fn time_long() {
    let timer = Timer::<Hw>::new(take_long);
    timer.start(after(Duration::from_millis(10)));
    *TIMER.lock_irqsave() = Some(timer);
    api::sleep(LONG);
}

/// Returns a thread of CPU 1 that runs `body`, once that has begun.
fn holder(body: fn()) -> JoinHandle<()> {
    let holder = api::spawn_on(other(), "holder", body).expect("a thread is started");
    assert!(eventually(|| BEGUN.load(Ordering::Relaxed)), "it begins");
    holder
}

fn stop_on(cpu: CpuId, call_fn: impl FnOnce() + Send) -> bool {
    let _held = api::cpus_read_lock();
    let still = kernel().stop_machine.lock();
    kernel().stop_machine.stop_on(&still, cpu, call_fn).is_ok()
}

/// A service that takes long to park.
struct Slow;

impl Service<Hw> for Slow {
    fn should_run(&self, _: CpuId) -> bool {
        false
    }

    fn run(&self, _: CpuId) {}

    fn park(&self, _: CpuId) {
        spin_for(LONG);
    }
}

fn walk() -> bool {
    register("slow", Slow);
    api::cpu_down(other()).is_ok() && api::cpu_up(other()).is_ok()
}

/// A call without a waiting caller keeps CPU 1 from a stop.
fn unwaited() -> bool {
    let queued = api::call_on_nowait(other(), take_long);
    queued.is_ok() && api::stop_machine(|| ()).is_ok()
}

/// CPU 1 doesn't come to a stop for long, for two reasons, one after the other.
fn not_come() -> bool {
    let holder = holder(|| {
        let _masked = IrqGuard::<Hw>::new();
        take_long();
    });
    let first = api::stop_machine(|| ());
    holder.join();
    BEGUN.store(false, Ordering::Relaxed);
    let queued = stop_one_cpu_nowait(other(), StopWork::leak(|_| take_long()));
    let begun = eventually(|| BEGUN.load(Ordering::Relaxed));
    first.is_ok() && begun && queued.is_ok() && api::stop_machine(|| ()).is_ok()
}

/// The caller's CPU is in PREPARE when CPU 1 sends it a call that takes long. CPU 1 comes to
/// the stop only after that.
fn disable_irq() -> bool {
    static COMES: AtomicBool = AtomicBool::new(false);
    static SENT: AtomicBool = AtomicBool::new(false);
    let queued = api::call_on_nowait(other(), || {
        COMES.store(true, Ordering::Relaxed);
        let waits = || {
            let sleepers = kernel().stop_machine.sleepers_racy();
            sleepers.contains(CpuId::BOOT)
        };
        let stopped = spin_until(waits);
        let called = api::call_on_nowait(CpuId::BOOT, take_long);
        let begun = spin_until(|| BEGUN.load(Ordering::Relaxed));
        SENT.store(stopped && called.is_ok() && begun, Ordering::Relaxed);
    });
    let comes = eventually(|| COMES.load(Ordering::Relaxed));
    let stopped = api::stop_machine(|| ());
    comes && queued.is_ok() && stopped.is_ok() && SENT.load(Ordering::Relaxed)
}

/// Two threads bring CPU 1 up and take it down, one of them sometimes from CPU 1 itself.
/// Services are registered and removed meanwhile.
fn operators() -> bool {
    static UP: AtomicU32 = AtomicU32::new(0);
    static DOWN: AtomicU32 = AtomicU32::new(0);
    struct Counts;
    impl Service<Hw> for Counts {
        fn should_run(&self, _: CpuId) -> bool {
            false
        }
        fn run(&self, _: CpuId) {}
        fn park(&self, _: CpuId) {
            DOWN.fetch_add(1, Ordering::Relaxed);
        }
        fn unpark(&self, _: CpuId) {
            UP.fetch_add(1, Ordering::Relaxed);
        }
    }
    // The thread runs on the CPU that goes, unless the other thread has just taken it offline.
    let cycles = || {
        (0..20).all(|_| {
            let _there = thread::current().set_affinity(&CpuMask::of(other()));
            api::cpu_down(other()).is_ok() && api::cpu_up(other()).is_ok()
        })
    };
    register("counts", Counts);
    let both = [0, 1].map(|_| thread::spawn(cycles));
    let done = both.map(JoinHandle::join);
    let up = api::cpu_up(other());
    // There are two CPUs. At the boot, the step came up once on each.
    let balanced = || UP.load(Ordering::Relaxed) == DOWN.load(Ordering::Relaxed) + 2;
    done == [true, true] && up.is_ok() && eventually(balanced)
}

fn run(case: &str) -> bool {
    match case {
        "fn" => stop_on(other(), take_long),
        "own-fn" => stop_on(CpuId::BOOT, take_long),
        "unwaited" => unwaited(),
        "prepare" => {
            let holder = holder(|| {
                let _here = PreemptGuard::<Hw>::new();
                take_long();
            });
            let stopped = api::stop_machine(|| ());
            holder.join();
            stopped.is_ok()
        }
        "not-come" => not_come(),
        "one-cpu" | "cpus" => {
            let holder = holder(|| {
                let _here = PreemptGuard::<Hw>::new();
                take_long();
            });
            let stopped = if case == "cpus" {
                let both: CpuMask = [CpuId::BOOT, other()].into_iter().collect();
                stop_cpus(&both, |_| ()) == both
            } else {
                stop_one_cpu(other(), || ()).is_ok()
            };
            holder.join();
            stopped
        }
        "flush" => {
            let holder = holder(|| thread::no_flush(take_long));
            let stop = Stop::new().mode(StopMode::FlushPreempted);
            let stopped = stop.before(after(Duration::from_secs(60))).run(|| ());
            holder.join();
            stopped.is_ok()
        }
        "one-long" => stop_one_cpu(other(), take_long).is_ok(),
        "cpus-long" => {
            let both: CpuMask = [CpuId::BOOT, other()].into_iter().collect();
            let done = stop_cpus(&both, |cpu| {
                if cpu == other() {
                    take_long();
                }
            });
            done == both
        }
        "spin" => {
            let moved = thread::current().set_affinity(&CpuMask::of(CpuId::BOOT));
            let holder = holder(|| {
                let _held = SPIN.lock();
                take_long();
            });
            drop(SPIN.lock());
            holder.join();
            moved.is_ok()
        }
        "disable-irq" => disable_irq(),
        "leave" => {
            let timer = Timer::<Hw>::new(take_long);
            // CPU 1 runs it as soon as it takes interrupts, before it leaves the stop.
            let stopped = stop_on(other(), || timer.start(api::now()));
            stopped && BEGUN.load(Ordering::Relaxed)
        }
        "pinned" => {
            // The holder is no thread of `spawn_on`, because the CPU of such a thread can't go
            // while the thread lives.
            let pinned = thread::spawn(|| {
                let there = thread::current().set_affinity(&CpuMask::of(other()));
                let _here = thread::migrate_disable();
                BEGUN.store(true, Ordering::Relaxed);
                api::sleep(LONG);
                there.is_ok()
            });
            let begun = eventually(|| BEGUN.load(Ordering::Relaxed));
            let went = api::cpu_down(other());
            pinned.join() && begun && went.is_ok()
        }
        "online" => {
            let went = api::cpu_down(other());
            Hw::hold_when_released(other(), true);
            let releaser = thread::spawn(|| {
                api::sleep(LONG);
                Hw::hold_when_released(other(), false);
            });
            let came = api::cpu_up(other());
            releaser.join();
            went.is_ok() && came.is_ok()
        }
        "rw-read" => {
            let holder = holder(|| {
                let _held = RW_LOCK.write();
                take_long();
            });
            drop(RW_LOCK.read());
            holder.join();
            true
        }
        "rw-write" => {
            let holder = holder(|| {
                let _held = RW_LOCK.read();
                take_long();
            });
            drop(RW_LOCK.write());
            holder.join();
            true
        }
        "semaphore" => {
            let holder = holder(|| {
                take_long();
                SEMAPHORE.release();
            });
            SEMAPHORE.acquire();
            holder.join();
            true
        }
        "mutex" => {
            let holder = holder(|| {
                let _held = MUTEX.lock();
                take_long();
            });
            drop(MUTEX.lock());
            holder.join();
            true
        }
        "call" => {
            let queued = api::call_on_nowait(other(), take_long);
            let begun = eventually(|| BEGUN.load(Ordering::Relaxed));
            begun && queued.is_ok() && api::call_on(other(), || ()).is_ok()
        }
        "call-behind-timer" => {
            let holder = holder(time_long);
            let called = api::call_on(other(), || ());
            holder.join();
            called.is_ok()
        }
        "reader" => {
            let holder = holder(|| {
                let _held = api::cpus_read_lock();
                BEGUN.store(true, Ordering::Relaxed);
                api::sleep(LONG);
            });
            let came = api::cpu_up(other());
            holder.join();
            came.is_ok()
        }
        "walk" => walk(),
        "grace" => {
            let holder = holder(|| {
                let _section = PreemptGuard::<Hw>::new();
                take_long();
            });
            api::rcu::synchronize();
            holder.join();
            true
        }
        "barrier" => {
            api::rcu::call_rcu(|| api::sleep(LONG));
            api::rcu::barrier();
            true
        }
        "tasks" => {
            let holder = holder(take_long);
            api::rcu::synchronize_tasks();
            holder.join();
            true
        }
        "timer" => {
            let holder = holder(time_long);
            let timer = TIMER.lock_irqsave().take();
            drop(timer);
            holder.join();
            true
        }
        "operators" => operators(),
        _ => false,
    }
}

fn main() {
    if case() != "prepare" {
        Hw::set_patience(Duration::from_secs(1));
    }
    let mut ktap = Ktap::new();
    // The waiter is here, and the other CPU delays it.
    let here = thread::current().set_affinity(&CpuMask::of(CpuId::BOOT));
    let went_on = here.is_ok() && run(case());
    ktap.check("it goes on in the end", went_on);
    ktap.finish()
}
