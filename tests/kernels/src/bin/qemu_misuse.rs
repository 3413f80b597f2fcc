//! Misuse of locks in a debug build. Each misuse is reported, with both places, before anything
//! hangs. None of these would hang here, because no two threads run at once.

//@ smp: 2 4
//@ profile: dev
//@ status: 101
//@ cases: sleep-in-spin mutex-in-spin mutex-in-handler
//@ cases: mutexes spins three recursive descending cpus-read handler-spin inversion join
//@ cases: scope fork-join park callback-read spin-in-stop
//
//@ case: sleep-in-spin|mutex-in-spin
//@ output: ^kernel panic on CPU 0, thread main: BUG: sleeping function called from invalid context:$
//@ output: ^  at tests/kernels/src/bin/qemu_misuse\.rs:[0-9]+:[0-9]+$
//@ output: ^  preempt count 1, IRQs on: yes, in an interrupt handler: no$
//@ output: ^  holds spin lock of \(\) \(tests/kernels/src/bin/qemu_misuse\.rs:[0-9]+:[0-9]+\)$
//@ output: ^    since tests/kernels/src/bin/qemu_misuse\.rs:[0-9]+:[0-9]+$
//@ case: mutex-in-handler
//@ output: BUG: an interrupt handler calls Mutex::lock, which may wait: sleeping function called from invalid context:$
//@ output: ^  preempt count 0, IRQs on: no, in an interrupt handler: yes$
//
//@ case: mutexes
//@ output: ^kernel panic on CPU 0, thread second: BUG: possible circular locking dependency:$
//@ output: ^  second is about to take mutex of \(\) \(tests/kernels/src/bin/qemu_misuse\.rs:[0-9]+:[0-9]+\)$
//@ output: ^  and holds mutex of \(\) \(tests/kernels/src/bin/qemu_misuse\.rs:[0-9]+:[0-9]+\)$
//@ output: ^  but the other way round there has been:$
//@ output: ^  first took mutex of \(\) \(tests/kernels/src/bin/qemu_misuse\.rs:[0-9]+:[0-9]+\)$
//@ output: ^    while it held mutex of \(\) \(tests/kernels/src/bin/qemu_misuse\.rs:[0-9]+:[0-9]+\)$
//@ case: spins
//@ output: ^kernel panic on CPU 0, thread second: BUG: possible circular locking dependency:$
//@ output: ^  second is about to take spin lock of \(\) \(tests/kernels/src/bin/qemu_misuse\.rs:[0-9]+:[0-9]+\)$
//@ output: ^  first took spin lock of \(\) \(tests/kernels/src/bin/qemu_misuse\.rs:[0-9]+:[0-9]+\)$
//@ case: three
//@ output: ^kernel panic on CPU 0, thread third: BUG: possible circular locking dependency:$
//@ output: ^  first took mutex
//@ output: ^  second took mutex
//@ case: recursive
//@ output: BUG: possible recursive locking:$
//@ case: descending
//@ output: BUG: locks of one class are not taken in ascending order:$
//@ case: cpus-read
//@ output: BUG: possible recursive locking:$
//@ output: rw lock of \(\) \(src/hotplug/core\.rs:[0-9]+:[0-9]+\)$
//@ case: handler-spin
//@ output: BUG: inconsistent lock state: spin lock of \(\) \(tests/kernels/src/bin/qemu_misuse\.rs:[0-9]+:[0-9]+\)$
//@ output: ^  is taken in an interrupt handler$
//@ output: ^    at tests/kernels/src/bin/qemu_misuse\.rs:[0-9]+:[0-9]+$
//@ output: ^  and with IRQs on, when the handler may come in,$
//@ case: inversion
//@ output: BUG: possible irq lock inversion dependency:$
//@ case: join
//@ output: BUG: possible circular locking dependency:$
//@ output: ^  main is about to take work of .* \(tests/kernels/src/bin/qemu_misuse\.rs:[0-9]+:[0-9]+\)$
//@ output: ^  worker took mutex of \(\) \(tests/kernels/src/bin/qemu_misuse\.rs:[0-9]+:[0-9]+\)$
//@ case: scope
//@ output: BUG: possible circular locking dependency:$
//@ output: ^  main is about to take work of .* \(tests/kernels/src/bin/qemu_misuse\.rs:[0-9]+:[0-9]+\)$
//@ output: ^    at tests/kernels/src/bin/qemu_misuse\.rs:[0-9]+:[0-9]+$
//@ case: fork-join
//@ output: BUG: possible circular locking dependency:$
//@ output: took mutex of \(\) \(tests/kernels/src/bin/qemu_misuse\.rs:[0-9]+:[0-9]+\)$
// A service that takes a mutex when its CPU leaves: cpuhp/1 waits for it, and a
// thread that waits for cpuhp/1 holds it. The second of the two is told.
//@ case: park
//@ output: ^kernel panic on CPU (1, thread doomed/1|0, thread main): BUG: possible circular locking dependency:$
//@ output: ^  (doomed/1 is about to take mutex of \(\) \(tests/kernels/src/bin/qemu_misuse|main is about to take work of \(\) \(src/hotplug/cpuhp)\.rs:[0-9]+:[0-9]+\)$
//@ output: ^  (main took (work|rw lock) of \(\) \(src/hotplug/|cpuhp/1 took work of \(\) \(tests/kernels/src/bin/qemu_misuse)
//@ output: ^  (cpuhp/1 took work of \(\) \(tests/kernels/src/bin/qemu_misuse|doomed/1 took mutex of \(\) \(tests/kernels/src/bin/qemu_misuse)\.rs:[0-9]+:[0-9]+\)$
//@ case: callback-read
// A callback of a step waits for a thread that sits in cpus_read_lock. After the CPU's end,
// without the lock of the CPUs, it may; as an ordinary step it closes a circle.
//@ output: ^in its place it ends: Ok\(\(\)\)$
//@ output: ^kernel panic on CPU 0, thread (main|reader): BUG: possible circular locking dependency:$
//@ output: ^  (main is about to take work of .*qemu_misuse.* \(tests/kernels/src/bin/qemu_misuse|reader is about to take rw lock of \(\) \(src/hotplug/core)\.rs:[0-9]+:[0-9]+\)$
//@ output: ^  (reader took rw lock of \(\) \(src/hotplug/core|main took work of .*qemu_misuse.* \(tests/kernels/src/bin/qemu_misuse)\.rs:[0-9]+:[0-9]+\)$
// A CPU that comes stops the machine, first without the lock.
//@ case: spin-in-stop
//@ output: ^without it the stop ends: 1$
//@ output: ^kernel panic on CPU 1, .*: BUG: stop_machine_from_inactive_cpu with a spin lock held:$
//@ output: ^  holds spin lock of \(\) \(tests/kernels/src/bin/qemu_misuse\.rs:[0-9]+:[0-9]+\)$
//@ output: ^    since tests/kernels/src/bin/qemu_misuse\.rs:[0-9]+:[0-9]+$

#![no_std]
#![no_main]

stillpoint::entry!(main);

use core::time::Duration;

use stillpoint::api::hotplug;
use stillpoint::api::stop::stop_machine_from_inactive_cpu;
use stillpoint::api::thread::Builder;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, TEST_SGI, kernel};
use stillpoint::sched::Service;
use stillpoint::sched::lock::{Completion, Mutex, Nesting};
use stillpoint::sync::{IrqGuard, SpinLock};
use stillpoint::{api, println};

use kernel_support::case::case;
use kernel_support::machine::{register, stay_on_boot_cpu};

type M = Mutex<(), Hw>;
type S = SpinLock<(), Hw>;

static MUTEX_A: M = Mutex::new(());
static MUTEX_B: M = Mutex::new(());
static MUTEX_C: M = Mutex::new(());
static SPIN_A: S = SpinLock::new(());
static SPIN_B: S = SpinLock::new(());

/// Runs `body` in a thread called `name`, and joins it.
fn thread(name: &str, body: fn()) {
    let thread = api::spawn_on(CpuId::BOOT, name, body);
    thread.expect("a thread is started").join();
}

/// Has this CPU run `handler` in an interrupt.
fn interrupt(handler: fn()) {
    kernel().test_handler.call_once(|| handler);
    let masked = IrqGuard::<Hw>::new();
    let here = CpuMask::of(CpuId::BOOT);
    kernel().irq_chip().send_sgi(TEST_SGI, &here);
    drop(masked);
    api::sleep(Duration::from_millis(1));
}

fn mutexes(outer: &M, inner: &M) {
    let _outer = outer.lock();
    let _inner = inner.lock();
}

fn spins(outer: &S, inner: &S) {
    let _outer = outer.lock_irqsave();
    let _inner = inner.lock_irqsave();
}

/// A thread of a scope takes a mutex; the caller holds it at the end of the scope, and
/// hasn't joined the thread.
fn scope() {
    let taken = Completion::<Hw>::new();
    let mut held = None;
    api::thread::scope(|scope| {
        let _worker = scope.spawn(|| {
            drop(MUTEX_A.lock());
            taken.complete();
        });
        taken.wait();
        held = Some(MUTEX_A.lock());
    });
}

/// Threads of two kinds that start and join each other; the last takes a mutex.
fn even(depth: u32) {
    match depth {
        0 => drop(MUTEX_A.lock()),
        _ => api::thread::spawn(move || odd(depth - 1)).join(),
    }
}

fn odd(depth: u32) {
    match depth {
        0 => {}
        _ => api::thread::spawn(move || even(depth - 1)).join(),
    }
}

struct Doomed;

impl Service<Hw> for Doomed {
    fn should_run(&self, _: CpuId) -> bool {
        false
    }

    fn run(&self, _: CpuId) {}

    fn park(&self, _: CpuId) {
        drop(MUTEX_A.lock());
    }
}

fn park() {
    register("doomed", Doomed);
    let _held = MUTEX_A.lock();
    let left = api::cpu_down(CpuId::new(1).expect("a small number"));
    println!("it left: {left:?}");
}

/// Waits for a thread that takes the lock of the CPUs, as a callback of hotplug.
fn wait_for_reader() {
    let reader = Builder::new()
        .name("reader")
        .affinity(CpuMask::of(CpuId::BOOT))
        .spawn(|| drop(api::cpus_read_lock()));
    reader.expect("a thread is started").join();
}

fn callback_read() {
    let cpu = CpuId::new(1).expect("a small number");
    let step = hotplug::post_dead("reads", |_| wait_for_reader());
    println!("in its place it ends: {:?}", api::cpu_down(cpu));
    assert!(step.is_ok() && api::cpu_up(cpu).is_ok(), "it comes back");
    drop(step);
    let step = hotplug::PrepareStep::new("reads")
        .teardown(|_| wait_for_reader())
        .install_nocalls();
    println!("it left: {:?}, {:?}", api::cpu_down(cpu), step.is_ok());
}

/// A CPU stops the machine as it comes.
fn spin_in_stop() {
    let cpu = CpuId::new(1).expect("a small number");
    assert_eq!(api::cpu_down(cpu), Ok(()));
    let step = hotplug::InitStep::new("stops").startup(|_| {
        let stop = || stop_machine_from_inactive_cpu(|| 1);
        drop(SPIN_A.lock_irqsave());
        println!("without it the stop ends: {:?}", stop());
        let _held = SPIN_A.lock_irqsave();
        println!("with it: {:?}", stop());
    });
    let step = step.stops_machine().install_nocalls();
    println!("it came: {:?}, {:?}", api::cpu_up(cpu), step.is_ok());
}

fn main() {
    stay_on_boot_cpu();
    match case() {
        "sleep-in-spin" => {
            let _held = SPIN_A.lock();
            // The program's own wait. The report must name its place.
            kernel()
                .sched
                .sleep_until(stillpoint::time::Instant::FOREVER);
        }
        "mutex-in-spin" => {
            let _held = SPIN_A.lock();
            drop(MUTEX_A.lock());
        }
        "mutex-in-handler" => interrupt(|| drop(MUTEX_A.lock())),
        "mutexes" => {
            thread("first", || mutexes(&MUTEX_A, &MUTEX_B));
            thread("second", || mutexes(&MUTEX_B, &MUTEX_A));
        }
        "spins" => {
            thread("first", || spins(&SPIN_A, &SPIN_B));
            thread("second", || spins(&SPIN_B, &SPIN_A));
        }
        "three" => {
            thread("first", || mutexes(&MUTEX_A, &MUTEX_B));
            thread("second", || mutexes(&MUTEX_B, &MUTEX_C));
            thread("third", || mutexes(&MUTEX_C, &MUTEX_A));
        }
        "recursive" => mutexes(&MUTEX_A, &MUTEX_A),
        "descending" => {
            let locks = [const { M::new(()) }; 2];
            let _high = locks[1].lock();
            let _low = locks[0].lock_nested(Nesting::Ascending);
        }
        "cpus-read" => {
            let _outer = api::cpus_read_lock();
            let _inner = api::cpus_read_lock();
        }
        "handler-spin" => {
            drop(SPIN_A.lock());
            interrupt(|| drop(SPIN_A.lock_irqsave()));
        }
        "inversion" => {
            drop(SPIN_B.lock());
            spins(&SPIN_A, &SPIN_B);
            interrupt(|| drop(SPIN_A.lock_irqsave()));
        }
        "join" => {
            let worker = api::spawn_on(CpuId::BOOT, "worker", || drop(MUTEX_A.lock()));
            let worker = worker.expect("a thread is started");
            while !worker.is_finished() {
                api::yield_now();
            }
            let _held = MUTEX_A.lock();
            worker.join();
        }
        "scope" => scope(),
        "fork-join" => {
            even(4);
            let _held = MUTEX_A.lock();
            // `even(1)` starts `odd(0)`, which takes no lock. But some `odd` have waited for
            // some `even`, and these for the mutex.
            even(1);
        }
        "park" => park(),
        "callback-read" => callback_read(),
        "spin-in-stop" => spin_in_stop(),
        other => println!("there is no case {other}"),
    }
    println!("the misuse was not found");
}
