//! What a program may not do in the function of a still point is found at once, in any build,
//! whether it would have to wait or not. `tests/in_still_point.txt` has each function of the
//! `api` and the case here that shows what becomes of it.

//@ smp: 2
//@ status: 101
//@ append: a-word
// Functions that may wait. None of them would have to wait here.
//@ cases: sleep sleep-until yield quiescent park park-timeout
//@ cases: mutex mutex-nested mutex-until rw-read rw-read-nested rw-write rw-write-nested
//@ cases: semaphore completion completion-patient completion-until once
//@ cases: condvar condvar-until condvar-while wait-queue
//@ cases: join join-scoped join-job scope scope-of-jobs block-on spawn spawn-on spawn-scoped spawn-in-scope builder-spawn
//@ cases: set-affinity read-byte read-line read-line-until shell random
//@ cases: cpus-read cpus-read-checked stop stop-cpuslocked timed-stop stop-one stop-two stop-cpus stop-inactive
//@ cases: tasks barrier timer-cancel timer-drop net
//@ cases: irq-request irq-request-percpu irq-disable irq-synchronize irq-drop
//@ cases: module-load module-try-unload module-unload module-unload-before
// Functions of hotplug, which wait for others of their kind.
//@ cases: cpu-up cpu-down cpu-down-before cpus-up cpus-down cpus-down-before set-target
//@ cases: freeze thaw disable registration
//@ cases: governor set-governor tunables set-tunables set-cpus statistics
//@ cases: on-cpus post-dead enable enable-nocalls prepare prepare-nocalls init-nocalls
//@ cases: multi multi-prepare add add-nocalls remove-instance remove-instance-nocalls
//@ cases: remove-multi remove-step remove-step-nocalls register remove-service remove-residents
// Waits for what only other CPUs do.
//@ cases: synchronize call call-own call-many call-each
// Allocations, and what allocates.
//@ cases: box large grow text call-nowait args call-rcu callback timer-new
//@ cases: places in-all
// What belongs to the thread, which is the kernel's here.
//@ cases: pinned set-class preempt-kept
// What the function of a still point may do.
//@ cases: allowed
//
//@ case: sleep|sleep-until
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls sleep, which may wait
//@ case: random
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls random::fill, which may wait
//@ case: yield
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls yield_now, which may wait
//@ case: quiescent
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls quiescent, which may wait
//@ case: park.*
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls park, which may wait
//@ case: mutex
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls Mutex::lock, which may wait
//@ case: mutex-nested
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls Mutex::lock_nested, which may wait
//@ case: mutex-until
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls Mutex::lock_until, which may wait
//@ case: rw-read
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls RwLock::read, which may wait
//@ case: rw-read-nested
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls RwLock::read_nested, which may wait
//@ case: rw-write
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls RwLock::write, which may wait
//@ case: rw-write-nested
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls RwLock::write_nested, which may wait
//@ case: semaphore
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls Semaphore::acquire, which may wait
//@ case: completion.*
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls Completion::wait, which may wait
//@ case: once
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls Once::call_once, which may wait
//@ case: net
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls api::net, which may wait
//@ case: condvar.*
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls Condvar::wait, which may wait
//@ case: wait-queue
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls WaitQueue::wait_until, which may wait
//@ case: join.*
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls join, which may wait
//@ case: scope.*
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls scope, which may wait
//@ case: block-on
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls block_on, which may wait
//@ case: spawn.*|builder-spawn
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls spawn, which may wait
//@ case: set-affinity
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls set_affinity, which may wait
//@ case: shell
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: (the function of a stop calls console::read_byte, which may wait|a function allocates in a still point)
//@ case: read-.*
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls console::read_byte, which may wait
//@ case: stop|stop-cpuslocked|timed-stop
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls stop_machine, which may wait
//@ case: stop-one
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls stop_one_cpu, which may wait
//@ case: stop-two
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls stop_two_cpus, which may wait
//@ case: stop-cpus
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls stop_cpus, which may wait
//@ case: stop-inactive
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls stop_machine_from_inactive_cpu on CPU 0, which is online$
//@ case: cpus-read.*
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls cpus_read_lock, which may wait
//@ case: module-load
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls Module::load, which may wait
//@ case: module-.*unload.*
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls Module::unload, which may wait
//@ case: tasks
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls rcu::synchronize_tasks, which may wait
//@ case: barrier
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls rcu::barrier, which may wait
//@ case: timer-cancel|timer-drop
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls Timer::cancel, which may wait
//@ case: cpu-.*|cpus-up|cpus-down.*|set-target|freeze|thaw|disable|registration
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls a function of hotplug, which may wait
//@ case: governor|set-governor|tunables|set-tunables|set-cpus|statistics
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls a function of hotplug, which may wait
//@ case: on-cpus|post-dead|enable.*|prepare.*|init-.*|multi.*|add.*|remove-.*|register
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: (the function of a stop calls a function of hotplug, which may wait|a function allocates in a still point)
//@ case: synchronize
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: synchronize inside a read-side section$
//@ case: call|call-own|call-many|call-each
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop waits for another CPU's answer$
//@ case: irq-request.*
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls irq::request, which may wait
//@ case: irq-disable
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls irq::disable, which may wait
//@ case: irq-synchronize
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls irq::synchronize, which may wait
//@ case: irq-drop
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop calls the drop of an Irq, which may wait
//@ case: box|large|grow|text|call-nowait|args|call-rcu|callback|timer-new|places
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: a function allocates in a still point$
//@ case: in-all
//@ output: ^kernel panic on CPU 1, thread stopper/1: BUG: a function allocates in a still point$
//@ case: pinned
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: migrate_disable with IRQs masked$
//@ case: set-class
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the class of stopper/0 is the kernel's$
//@ case: preempt-kept
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the function of a stop has left the preempt count at [0-9]+, which was [0-9]+$
//@ case: allowed
//@ status: 0

#![no_std]
#![no_main]

extern crate alloc;

mod allowed;

stillpoint::entry!(main);

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::hint::black_box;
use core::mem::forget;
use core::net::SocketAddr;
use core::time::Duration;

use stillpoint::api::governor::{Governor, Tunables};
use stillpoint::api::hotplug::{
    EnableStep, InitStep, MultiPrepareStepBuilder, MultiStepBuilder, PrepareStep, Service,
};
use stillpoint::api::irq::{self, Irq, IrqLine, IrqReturn, Trigger};
use stillpoint::api::module::Module;
use stillpoint::api::net::UdpSocket;
use stillpoint::api::pool::Pool;
use stillpoint::api::sync::{
    Completion, Condvar, Mutex, Nesting, Once, PreemptGuard, RwLock, Semaphore, WaitQueue,
};
use stillpoint::api::thread::{Builder, Class};
use stillpoint::api::time::{Instant, Timer};
use stillpoint::api::{
    args, console, cpu, governor, hotplug, random, rcu, stop, task, thread, time,
};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::kernel;
use stillpoint::println;

use kernel_support::case::case;
use kernel_support::machine::{eventually, stay_on_boot_cpu};

static MUTEX: Mutex<()> = Mutex::new(());
static RW: RwLock<()> = RwLock::new(());
static SEMAPHORE: Semaphore = Semaphore::new(1);
static COMPLETION: Completion = Completion::new();
static CONDVAR: Condvar = Condvar::new();
static QUEUE: WaitQueue = WaitQueue::new();
static ONCE: Once<()> = Once::new();
static MODULE: Module<()> = Module::new();

/// Returns a line that no device is at.
fn own_line() -> IrqLine {
    IrqLine::from_intid(250, Trigger::Edge).expect("a shared interrupt")
}

fn own_irq() -> Irq {
    irq::request(own_line(), "own", || IrqReturn::Handled).expect("the line is free")
}

fn other() -> CpuId {
    CpuId::from_index(1)
}

fn pool() -> Pool {
    Pool::new().expect("there is a slot")
}

/// Returns an instant that is over: what waits until then need not wait.
fn over() -> Instant {
    Instant(0)
}

/// Calls `run_fn` in a still point, on the boot CPU, and prints what it has returned.
fn still<R: Debug + Send>(run_fn: impl FnOnce() -> R + Send) {
    println!("{:?}", stop::stop_machine(run_fn));
}

struct Nothing;

impl Service for Nothing {
    fn should_run(&self, _: CpuId) -> bool {
        false
    }

    fn run(&self, _: CpuId) {}
}

/// Does one of the misuses that need nothing, in the function of a still point.
fn misuse(case: &str) {
    match case {
        "sleep" => thread::sleep(Duration::ZERO),
        "sleep-until" => thread::sleep_until(over()),
        "yield" => thread::yield_now(),
        "quiescent" => thread::quiescent(),
        "park" => thread::park(),
        "park-timeout" => drop(thread::park_timeout(Duration::ZERO)),
        "mutex" => drop(MUTEX.lock()),
        "mutex-nested" => drop(MUTEX.lock_nested(Nesting::Level(1))),
        "mutex-until" => drop(MUTEX.lock_until(over())),
        "rw-read" => drop(RW.read()),
        "rw-read-nested" => drop(RW.read_nested(Nesting::Level(1))),
        "rw-write" => drop(RW.write()),
        "rw-write-nested" => drop(RW.write_nested(Nesting::Level(1))),
        "semaphore" => SEMAPHORE.acquire(),
        "completion" => COMPLETION.wait(),
        "completion-patient" => COMPLETION.wait_patiently(|| ()),
        "completion-until" => drop(COMPLETION.wait_until(over())),
        "once" => drop(ONCE.call_once(|| ())),
        "condvar" => drop(MUTEX.try_lock().map(|held| CONDVAR.wait(held))),
        "condvar-until" => drop(
            MUTEX
                .try_lock()
                .map(|held| CONDVAR.wait_until(held, over())),
        ),
        "condvar-while" => drop(
            MUTEX
                .try_lock()
                .map(|held| CONDVAR.wait_while(held, |()| true)),
        ),
        // What it would return is of no use: the call panics.
        "wait-queue" => drop(QUEUE.wait_until(over(), || true)),
        "scope" => thread::scope(|_| ()),
        "block-on" => task::block_on(async {}),
        "spawn" => drop(thread::spawn(|| ())),
        "spawn-on" => drop(thread::spawn_on(CpuId::BOOT, "never", || ())),
        "builder-spawn" => drop(Builder::new().spawn(|| ())),
        "set-affinity" => drop(thread::current().set_affinity(&cpu::possible())),
        "read-byte" => drop(console::read_byte(over())),
        "read-line" => drop(console::read_line()),
        "read-line-until" => drop(console::read_line_until(over())),
        "random" => drop(random::fill(&mut [0])),
        "shell" => stillpoint::api::run_shell(),
        "cpus-read" => drop(hotplug::cpus_read_lock()),
        "cpus-read-checked" => drop(hotplug::cpus_read_lock_checked()),
        "stop" => drop(stop::stop_machine(|| ())),
        "stop-cpuslocked" => drop(stop::stop_machine_cpuslocked(|| ())),
        "stop-one" => drop(stop::stop_one_cpu(other(), || ())),
        "stop-two" => drop(stop::stop_two_cpus(CpuId::BOOT, other(), || ())),
        "stop-cpus" => println!("{}", stop::stop_cpus(&cpu::possible(), |_| ())),
        "stop-inactive" => stop::stop_machine_from_inactive_cpu(|| ()),
        "timed-stop" => drop(stop::timed_stop_machine(|| ())),
        "module-load" => drop(MODULE.load((), |_| Ok::<(), ()>(()))),
        "module-try-unload" => drop(MODULE.try_unload()),
        "module-unload" => drop(MODULE.unload()),
        "module-unload-before" => drop(MODULE.unload_before(over())),
        "net" => drop(UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0)))),
        "tasks" => rcu::synchronize_tasks(),
        "barrier" => rcu::barrier(),
        "synchronize" => rcu::synchronize(),
        _ => of_hotplug(case),
    }
}

/// Does one of the misuses of hotplug and of cross calls.
fn of_hotplug(case: &str) {
    let late = Instant::FOREVER;
    match case {
        "cpu-up" => drop(hotplug::cpu_up(CpuId::BOOT)),
        "cpu-down" => drop(hotplug::cpu_down(other())),
        "cpu-down-before" => drop(hotplug::cpu_down_before(other(), late)),
        "cpus-up" => drop(hotplug::cpus_up(&cpu::possible())),
        "cpus-down" => drop(hotplug::cpus_down(&CpuMask::of(other()))),
        "cpus-down-before" => drop(hotplug::cpus_down_before(&CpuMask::of(other()), late)),
        "set-target" => drop(hotplug::cpu_set_target(other(), 0)),
        "freeze" => drop(hotplug::freeze(CpuId::BOOT)),
        "disable" => drop(hotplug::disable()),
        "governor" => drop(governor::governor()),
        "set-governor" => drop(governor::set_governor(Governor::Ondemand)),
        "tunables" => drop(governor::tunables()),
        "set-tunables" => drop(governor::set_tunables(Tunables::new(1))),
        "set-cpus" => drop(governor::set_cpus(1)),
        "statistics" => drop(governor::statistics()),
        "registration" => drop(hotplug::registration_lock()),
        "on-cpus" => drop(hotplug::on_cpus(|_| (), |_| ())),
        "post-dead" => drop(hotplug::post_dead("never", |_| ())),
        "enable" => drop(EnableStep::new("never").install()),
        "enable-nocalls" => drop(EnableStep::new("never").install_nocalls()),
        "prepare" => drop(PrepareStep::new("never").install()),
        "prepare-nocalls" => drop(PrepareStep::new("never").install_nocalls()),
        "init-nocalls" => drop(InitStep::new("never").install_nocalls()),
        "multi" => drop(MultiStepBuilder::<()>::new("never").install()),
        "multi-prepare" => drop(MultiPrepareStepBuilder::<()>::new("never").install()),
        "register" => drop(hotplug::register_service("never", Nothing)),
        "call" => drop(cpu::call_on(other(), || ())),
        "call-own" => drop(cpu::call_on(CpuId::BOOT, || ())),
        "call-many" => drop(cpu::call_on_many(&CpuMask::of(other()), |_| ())),
        "call-each" => drop(cpu::on_each_cpu(|_| ())),
        _ => allocation(case),
    }
}

/// Does one of the misuses that allocate, or that belong to the thread.
fn allocation(case: &str) {
    match case {
        "box" => drop(black_box(Box::new(1_u8))),
        "large" => drop(black_box(Vec::<u8>::with_capacity(100_000))),
        "text" => drop(format!("{case} is a text")),
        "call-nowait" => drop(cpu::call_on_nowait(other(), || ())),
        "args" => drop(args::args()),
        "call-rcu" => rcu::call_rcu(|| ()),
        "callback" => drop(rcu::Callback::new(|| ())),
        "timer-new" => forget(black_box(Timer::new(|| ()))),
        "places" => drop(hotplug::resting_places()),
        "pinned" => drop(thread::migrate_disable()),
        "set-class" => thread::current().set_class(Class::Normal),
        "preempt-kept" => forget(PreemptGuard::new()),
        _ => println!("there is no such misuse"),
    }
}

fn main() {
    stay_on_boot_cpu();
    COMPLETION.complete_all();
    ONCE.call_once(|| ());
    let case = case();
    match case {
        "join" => {
            let ended = thread::spawn(|| ());
            assert!(eventually(|| ended.is_finished()), "it doesn't end");
            still(|| ended.join());
        }
        "join-scoped" => thread::scope(|scope| {
            let ended = scope.spawn(|| ());
            assert!(eventually(|| ended.is_finished()), "it doesn't end");
            still(|| ended.join());
        }),
        "join-job" => {
            let done = pool().spawn(|| ());
            assert!(eventually(|| done.is_finished()), "it isn't done");
            still(|| done.join());
        }
        "scope-of-jobs" => {
            let pool = pool();
            still(|| pool.scope(|_| ()));
        }
        "spawn-scoped" => thread::scope(|scope| {
            still(|| drop(Builder::new().spawn_scoped(scope, || ())));
        }),
        "spawn-in-scope" => thread::scope(|scope| still(|| drop(scope.spawn(|| ())))),
        "timer-cancel" => {
            let timer = Timer::new(|| ());
            still(|| timer.cancel());
        }
        "irq-request" => {
            let wishes = irq::Builder::new("own");
            still(|| wishes.request(own_line(), || IrqReturn::Handled));
        }
        "irq-request-percpu" => {
            let private = IrqLine::from_intid(31, Trigger::Level).expect("a private interrupt");
            still(|| irq::request_percpu(private, "own", || IrqReturn::Handled));
        }
        "irq-disable" => {
            let own = own_irq();
            still(|| own.disable());
        }
        "irq-synchronize" => {
            let own = own_irq();
            still(|| own.synchronize());
        }
        "irq-drop" => {
            let own = own_irq();
            still(|| drop(own));
        }
        "timer-drop" => {
            let timer = Timer::new(|| ());
            still(|| drop(timer));
        }
        "thaw" => {
            let frozen = hotplug::freeze(CpuId::BOOT);
            let mut frozen = frozen.expect("the other CPU goes");
            still(|| frozen.thaw().is_ok());
        }
        "remove-step" | "remove-step-nocalls" => {
            let step = EnableStep::new("step").install().expect("there is a slot");
            if case == "remove-step" {
                still(|| step.remove().is_ok());
            } else {
                still(|| step.remove_nocalls().is_ok());
            }
        }
        "add" | "add-nocalls" | "remove-instance" | "remove-instance-nocalls" | "remove-multi" => {
            of_instances(case);
        }
        "remove-service" => {
            let service = hotplug::register_service("service", Nothing);
            let service = service.expect("it is registered");
            still(|| service.remove().is_ok());
        }
        "remove-residents" => {
            let residents = hotplug::spawn_on_each_cpu("residents", |_| ());
            let residents = residents.expect("they are made");
            still(|| residents.remove().is_ok());
        }
        "grow" => {
            let mut list: Vec<u8> = Vec::with_capacity(8);
            still(|| list.extend_from_slice(&[0; 64]));
        }
        "in-all" => {
            let held = hotplug::cpus_read_lock();
            let mutex = kernel().stop_machine.lock();
            let all = kernel()
                .stop_machine
                .stop_all(&mutex, cpu::possible(), &|on| {
                    if on == other() {
                        drop(black_box(String::from("a text")));
                    }
                });
            println!("{} {}", all.is_ok(), held.online());
        }
        "allowed" => allowed::check(),
        _ => still(|| misuse(case)),
    }
    println!("the misuse was not found at {:?}", time::now());
}

/// Does one of the misuses of a step with instances.
fn of_instances(case: &str) {
    let step = MultiStepBuilder::<u8>::new("step").install();
    let step = step.expect("there is a slot");
    let instance = step.add(1).expect("it is added");
    match case {
        "add" => still(|| step.add(2).is_ok()),
        "add-nocalls" => still(|| step.add_nocalls(2).is_ok()),
        "remove-instance" => still(|| instance.remove().is_ok()),
        "remove-instance-nocalls" => still(|| instance.remove_nocalls().is_ok()),
        _ => still(|| step.remove().is_ok()),
    }
}
