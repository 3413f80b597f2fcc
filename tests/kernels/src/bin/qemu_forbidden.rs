//! A release build finds misuse that the documentation forbids at once, whether the misuse has to
//! wait or not. Without the check, each of these cases would hang one time in a thousand.

//@ smp: 2
//@ status: 101
// Functions that may wait, in an interrupt handler. None of them would have to wait here.
//@ cases: sleep yield park mutex rw-read rw-write semaphore completion wait-queue once
//@ cases: join scope spawn set-affinity cpus-read cpu-up cpu-down register stop
//@ cases: synchronize synchronize-tasks barrier timer
// Waits for another CPU's answer, in the function of a timer and in a handler.
//@ cases: call call-many call-each call-own call-in-handler
// Guards that outlive their handler, and would belong to the interrupted thread.
//@ cases: preempt-kept-in-call preempt-kept-in-timer preempt-kept-in-handler
//@ cases: pinned-in-call pinned-in-timer
// A stop in a section of RCU.
//@ cases: stop-in-section
// A timer that waits for itself.
//@ cases: own-timer
// A spin lock on the CPU that holds it, and a value that its own maker needs.
//@ cases: spin-twice spin-in-handler spin-in-call once-in-itself
// A wait in the condition of a wait queue.
//@ cases: yield-in-look lock-in-look
// Hotplug in a callback of hotplug, and with a lock held that hotplug needs.
//@ cases: read-in-park stop-in-run read-twice read-in-operation write-twice
// Hotplug where it is refused with an error.
//@ cases: operations
//
//@ case: sleep|yield|park|mutex|rw-read|rw-write|semaphore|completion|wait-queue|once
//@ output: ^kernel panic on CPU 0, .*: BUG: an interrupt handler calls [a-zA-Z:_]+, which may wait$
//@ case: join|scope|spawn|set-affinity|cpus-read|cpu-up|cpu-down|register|stop
//@ output: ^kernel panic on CPU 0, .*: BUG: an interrupt handler calls [a-zA-Z:_ ]+, which may wait$
//@ case: synchronize-tasks|barrier|timer
//@ output: ^kernel panic on CPU 0, .*: BUG: an interrupt handler calls [a-zA-Z:_]+, which may wait$
//@ case: synchronize
//@ output: ^kernel panic on CPU 0, .*: BUG: synchronize inside a read-side section$
//@ case: call|call-many|call-each|call-own|call-in-handler
//@ output: ^kernel panic on CPU 0, .*: BUG: an interrupt handler waits for another CPU's answer$
//@ case: preempt-kept-in-call
//@ output: ^kernel panic on CPU 1, .*: BUG: the function of a call has left the preempt count at [0-9]+, which was [0-9]+$
//@ case: preempt-kept-in-timer
//@ output: ^kernel panic on CPU 0, .*: BUG: the function of a timer has left the preempt count at [0-9]+, which was [0-9]+$
//@ case: preempt-kept-in-handler
//@ output: ^kernel panic on CPU 0, .*: BUG: an interrupt handler has left the preempt count at [0-9]+, which was [0-9]+$
//@ case: pinned-in-call
//@ output: ^kernel panic on CPU 1, .*: BUG: migrate_disable with IRQs masked$
//@ case: pinned-in-timer
//@ output: ^kernel panic on CPU 0, .*: BUG: migrate_disable with IRQs masked$
//@ case: stop-in-section
//@ output: ^kernel panic on CPU [01], thread main: BUG: stop_machine with preemption off \(count 1\)$
//@ case: yield-in-look|lock-in-look
//@ output: ^kernel panic on CPU [01], thread main: BUG: (yield_now|Mutex::lock) with preemption off \(count 1\)$
//@ case: own-timer
//@ output: ^kernel panic on CPU [01], .*: BUG: the function of the timer qemu_forbidden::.* waits for its own end$
//@ case: spin-twice
//@ output: ^panicked at tests/kernels/src/bin/qemu_forbidden.rs:[0-9]+:[0-9]+$
//@ output: ^kernel panic on CPU [01], thread main: BUG: this CPU takes a spin lock of qemu_forbidden::.*Taken that it holds$
//@ case: spin-in-handler
//@ output: ^kernel panic on CPU 0, .*: BUG: this CPU takes a spin lock of qemu_forbidden::.*Taken that it holds$
//@ case: spin-in-call
//@ output: ^kernel panic on CPU 1, .*: BUG: this CPU takes a spin lock of qemu_forbidden::.*Taken that it holds$
//@ case: once-in-itself
//@ output: ^kernel panic on CPU [01], thread main: BUG: .*main.* takes a mutex that it holds$
//@ case: read-in-park
//@ output: ^kernel panic on CPU 1, thread doomed/1: BUG: .*doomed/1.* takes the lock of the CPUs, and the holder waits for this thread to park$
//@ case: stop-in-run
//@ output: ^kernel panic on CPU [01], thread doomed/[01]: BUG: .*doomed/[01].* takes the lock of the CPUs, and the holder waits for this thread to park$
//@ case: read-twice|read-in-operation|write-twice
//@ output: ^kernel panic on CPU [01], thread main: BUG: .*main.* takes the lock of the CPUs, and holds it$
//@ case: operations
//@ status: 0

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::time::Duration;

use stillpoint::api::{self, JoinHandle, thread};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::errno::Errno;
use stillpoint::hotplug::NewService;
use stillpoint::kernel::{Hw, TEST_SGI, kernel};
use stillpoint::platform::Platform;
use stillpoint::println;
use stillpoint::sched::lock::{Completion, Mutex, Once, RwLock, Semaphore, WaitQueue};
use stillpoint::sched::{Class, Service, Timer};
use stillpoint::sync::atomic::{AtomicBool, Ordering};
use stillpoint::sync::{PreemptGuard, SpinLock};
use stillpoint::time::Instant;

use kernel_support::case::case;
use kernel_support::ktap::Ktap;
use kernel_support::machine::{self, eventually, send_sgi, spin_for, stay_on_boot_cpu};

static MUTEX: Mutex<(), Hw> = Mutex::new(());
static RW: RwLock<(), Hw> = RwLock::new(());
static SEMAPHORE: Semaphore<Hw> = Semaphore::new(1);
static COMPLETION: Completion<Hw> = Completion::new();
static QUEUE: WaitQueue<Hw> = WaitQueue::new();
static ONCE: Once<(), Hw> = Once::new();
static UNMADE: Once<(), Hw> = Once::new();
static TAKEN: SpinLock<Taken, Hw> = SpinLock::new(Taken);
static HELD: AtomicBool = AtomicBool::new(false);
static ENDED: SpinLock<Option<JoinHandle<()>>, Hw> = SpinLock::new(None);
static TIMER: SpinLock<Option<Timer<Hw>>, Hw> = SpinLock::new(None);

/// The value behind the lock that is taken twice.
struct Taken;

fn other() -> CpuId {
    CpuId::new(1).expect("a small number")
}

/// Prepares everything that a misuse needs, so that it doesn't have to wait.
fn prepare() {
    COMPLETION.complete();
    ONCE.call_once(|| ());
    thread::current().unpark();
    let ended = thread::spawn(|| ());
    assert!(eventually(|| ended.is_finished()), "it doesn't end");
    *ENDED.lock_irqsave() = Some(ended);
    *TIMER.lock_irqsave() = Some(Timer::new(|| ()));
}

fn keep_preempt_off() {
    core::mem::forget(PreemptGuard::<Hw>::new());
}

fn keep_pinned() {
    core::mem::forget(thread::migrate_disable());
}

/// Does what the case is named after. None of it has to wait.
fn misuse(case: &str) {
    match case {
        "sleep" => api::sleep(Duration::ZERO),
        "yield" => api::yield_now(),
        "park" => drop(thread::park_timeout(Duration::ZERO)),
        "mutex" => drop(MUTEX.lock()),
        "rw-read" => drop(RW.read()),
        "rw-write" => drop(RW.write()),
        "semaphore" => SEMAPHORE.acquire(),
        "completion" => COMPLETION.wait(),
        "wait-queue" => drop(QUEUE.wait_until(Instant::FOREVER, || true)),
        "once" => drop(ONCE.call_once(|| ())),
        "join" => {
            let ended = ENDED.lock_irqsave().take();
            ended.expect("it was prepared").join();
        }
        "scope" => thread::scope(|_| ()),
        "spawn" => drop(thread::spawn(|| ())),
        "set-affinity" => {
            let moved = thread::current().set_affinity(kernel().masks.possible());
            println!("{moved:?}");
        }
        "cpus-read" => drop(api::cpus_read_lock()),
        "cpu-up" => println!("{:?}", api::cpu_up(CpuId::BOOT)),
        "cpu-down" => println!("{:?}", api::cpu_down(CpuId::BOOT)),
        "register" => register(Box::new(|_| ()), Box::new(|_| ())),
        "stop" => println!("{:?}", api::stop_machine(|| ())),
        "synchronize" => api::rcu::synchronize(),
        "synchronize-tasks" => api::rcu::synchronize_tasks(),
        "barrier" => api::rcu::barrier(),
        "timer" => {
            let timer = TIMER.lock_irqsave().take();
            drop(timer);
        }
        "call" | "call-in-handler" => {
            println!("{:?}", api::call_on(other(), Hw::this_cpu));
        }
        "preempt-kept-in-timer" => keep_preempt_off(),
        "pinned-in-timer" => keep_pinned(),
        "call-many" => println!("{}", api::call_on_many(&CpuMask::of(other()), |_| ())),
        "call-each" => println!("{}", api::on_each_cpu(|_| ())),
        "call-own" => println!("{:?}", api::call_on(CpuId::BOOT, Hw::this_cpu)),
        _ => println!("there is no such misuse"),
    }
}

/// Does `run_fn` in a timer's function on the boot CPU.
fn in_timer(run_fn: impl Fn() + Send + Sync + 'static) {
    let main = thread::current();
    let moved = main.set_affinity(&CpuMask::of(CpuId::BOOT));
    assert!(moved.is_ok(), "the boot CPU is there");
    let timer = Timer::<Hw>::new(run_fn);
    timer.start(Hw::now());
    api::sleep(Duration::from_millis(100));
}

/// A service that does one thing in each of its functions.
struct Doomed {
    run_fn: Box<dyn Fn(CpuId) + Send + Sync>,
    park_fn: Box<dyn Fn(CpuId) + Send + Sync>,
    once: SpinLock<CpuMask, Hw>,
}

impl Service<Hw> for Doomed {
    fn should_run(&self, cpu: CpuId) -> bool {
        !self.once.lock_irqsave().contains(cpu)
    }

    fn run(&self, cpu: CpuId) {
        (self.run_fn)(cpu);
        self.once.lock_irqsave().insert(cpu);
    }

    fn park(&self, cpu: CpuId) {
        (self.park_fn)(cpu);
    }
}

type Call = Box<dyn Fn(CpuId) + Send + Sync>;

fn register(run_fn: Call, park_fn: Call) {
    let doomed = Doomed {
        run_fn,
        park_fn,
        once: SpinLock::new(CpuMask::EMPTY),
    };
    machine::register("doomed", doomed);
}

/// Returns the results of the operations of hotplug: up, down, and registering a service.
fn operations() -> [Option<Errno>; 3] {
    let nothing = Doomed {
        run_fn: Box::new(|_| ()),
        park_fn: Box::new(|_| ()),
        once: SpinLock::new(CpuMask::EMPTY),
    };
    let hotplug = &kernel().hotplug;
    [
        api::cpu_up(other()).err().map(|error| error.errno()),
        api::cpu_down(other()).err().map(|error| error.errno()),
        hotplug
            .register_service(NewService {
                name: "nothing",
                class: Class::Normal,
                service: Arc::new(nothing),
            })
            .err()
            .map(|error| error.errno()),
    ]
}

static FOUND: SpinLock<[[Option<Errno>; 3]; 2], Hw> = SpinLock::new([[None; 3]; 2]);

/// Tries each operation at each place that the operation would wait for.
fn refused() -> ! {
    const REFUSED: [Option<Errno>; 3] = [Some(Errno::Deadlock); 3];
    let mut ktap = Ktap::new();
    register(
        Box::new(|_| {
            let found = operations();
            FOUND.lock_irqsave()[0] = found;
        }),
        Box::new(|_| {
            let found = operations();
            FOUND.lock_irqsave()[1] = found;
        }),
    );
    let run = || FOUND.lock_irqsave()[0];
    eventually(|| run()[2].is_some());
    ktap.equal("while a service runs", run(), REFUSED);
    ktap.equal("the CPU goes", api::cpu_down(other()), Ok(()));
    let park = FOUND.lock_irqsave()[1];
    ktap.equal("while a service parks", park, REFUSED);
    ktap.equal("the CPU comes back", api::cpu_up(other()), Ok(()));
    let reading = api::cpus_read_lock();
    ktap.equal("under cpus_read_lock", operations(), REFUSED);
    drop(reading);
    let writing = kernel().hotplug.cpus_write_lock();
    ktap.equal("under the hotplug lock", operations(), REFUSED);
    drop(writing);
    ktap.finish()
}

fn main() {
    stay_on_boot_cpu();
    prepare();
    let case = case();
    let cpus = &kernel().hotplug;
    match case {
        "stop-in-section" => {
            let still = kernel().stop_machine.lock();
            let _section = PreemptGuard::<Hw>::new();
            let stopped = kernel().stop_machine.stop_on(&still, CpuId::BOOT, || ());
            println!("{:?}", stopped.is_ok());
        }
        "yield-in-look" | "lock-in-look" => {
            let misused = if case == "yield-in-look" {
                "yield"
            } else {
                "mutex"
            };
            let look = || {
                misuse(misused);
                true
            };
            println!("{}", QUEUE.wait_until(Instant::FOREVER, look));
        }
        "own-timer" => {
            let own = Timer::new(|| {
                let own = TIMER.lock_irqsave().take();
                drop(own);
            });
            let mut slot = TIMER.lock_irqsave();
            own.start(Hw::deadline(Duration::from_millis(10)));
            let before = slot.replace(own);
            drop(slot);
            drop(before);
            api::sleep(Duration::from_millis(100));
        }
        "preempt-kept-in-call" => {
            println!("{:?}", api::call_on(other(), keep_preempt_off));
            // The other CPU answers first, and panics as its handler ends.
            api::sleep(Duration::from_secs(10));
        }
        "pinned-in-call" => println!("{:?}", api::call_on(other(), keep_pinned)),
        "preempt-kept-in-handler" => {
            kernel().test_handler.call_once(|| keep_preempt_off);
            send_sgi(TEST_SGI, CpuId::BOOT);
            api::sleep(Duration::from_millis(100));
        }
        "call-in-handler" => {
            kernel().test_handler.call_once(|| || misuse("call"));
            send_sgi(TEST_SGI, CpuId::BOOT);
            api::sleep(Duration::from_millis(100));
        }
        "read-in-park" => {
            register(
                Box::new(|_| ()),
                Box::new(|_| drop(kernel().hotplug.cpus_read_lock())),
            );
            println!("{:?}", api::cpu_down(other()));
        }
        "spin-twice" => {
            let _outer = TAKEN.lock_irqsave();
            drop(TAKEN.lock_irqsave());
        }
        "spin-in-handler" => {
            let moved = thread::current().set_affinity(&CpuMask::of(CpuId::BOOT));
            assert!(moved.is_ok(), "the boot CPU is there");
            kernel()
                .test_handler
                .call_once(|| || drop(TAKEN.lock_irqsave()));
            let _interrupted = TAKEN.lock();
            send_sgi(TEST_SGI, CpuId::BOOT);
            spin_for(Duration::from_millis(100));
        }
        "spin-in-call" => {
            let holder = api::spawn_on(other(), "holder", || {
                let _interrupted = TAKEN.lock();
                HELD.store(true, Ordering::Relaxed);
                spin_for(Duration::from_secs(1));
            });
            assert!(eventually(|| HELD.load(Ordering::Relaxed)), "it begins");
            let called = api::call_on(other(), || drop(TAKEN.lock_irqsave()));
            println!("{called:?} {}", holder.is_ok());
        }
        "once-in-itself" => {
            UNMADE.call_once(|| {
                UNMADE.call_once(|| ());
            });
        }
        "stop-in-run" => {
            register(
                Box::new(|_| println!("{:?}", api::stop_machine(|| ()))),
                Box::new(|_| ()),
            );
            api::sleep(Duration::from_millis(100));
        }
        "read-twice" => {
            let _outer = cpus.cpus_read_lock();
            drop(cpus.cpus_read_lock());
        }
        "read-in-operation" => {
            let _outer = cpus.cpus_write_lock();
            drop(cpus.cpus_read_lock());
        }
        "write-twice" => {
            let _outer = cpus.cpus_write_lock();
            drop(cpus.cpus_write_lock());
        }
        "operations" => refused(),
        _ => in_timer(move || misuse(case)),
    }
    println!("the misuse was not found");
}
