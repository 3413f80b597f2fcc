//! A release build finds at once a thread that would wait for itself, a thread that ends while
//! it holds a lock or CPU that other threads wait for, and what a CPU that comes up may not do,
//! whether there is a wait or not.

//@ smp: 2
//@ status: 101
// A lock for readers or a writer, inside its own guard.
//@ cases: write-in-write read-in-write write-in-read read-in-read
// The end of a thread that waits for it.
//@ cases: join-own end-own
// A wait for a grace period inside a section that the grace period waits for.
//@ cases: synchronize-in-section barrier-in-callback
// The lock of the CPUs on a thread that is pinned, and a thread that ends with it or pinned.
//@ cases: read-while-pinned ends-pinned ends-reading
// A function that may wait, in a call.
//@ cases: stop-in-call
// A class that is the kernel's, and the class of a thread of the kernel's.
//@ cases: kernel-class kernel-class-at-start class-of-stopper
// What the startup of an INIT step may not do, and a stop in one that doesn't say so.
//@ cases: init-allocates init-sleeps init-stops
// Locks inside each other that are not forbidden, and what is, and gets an error.
//@ cases: others
//
//@ case: write-in-write|read-in-write
//@ output: ^kernel panic on CPU [01], thread main: BUG: .*main.* takes an RwLock that it writes under$
//@ case: write-in-read|read-in-read
//@ output: ^kernel panic on CPU [01], thread main: BUG: .*main.* takes an RwLock that it reads under$
//@ case: join-own|end-own
//@ output: ^kernel panic on CPU [01], thread own: BUG: .*own.* waits for its own end$
//@ case: synchronize-in-section
//@ output: ^kernel panic on CPU [01], thread main: BUG: synchronize inside a read-side section$
//@ case: barrier-in-callback
//@ output: ^kernel panic on CPU [01], thread rcuc/[01]: BUG: a callback waits for all callbacks$
//@ case: read-while-pinned
//@ output: ^kernel panic on CPU [01], thread main: BUG: .*main.* takes the lock of the CPUs while it keeps one from going$
//@ case: ends-pinned
//@ output: ^kernel panic on CPU [01], thread own: BUG: .*own.* ends while it is pinned$
//@ case: ends-reading
//@ output: ^kernel panic on CPU [01], thread own: BUG: .*own.* ends with the lock of the CPUs$
//@ case: kernel-class|kernel-class-at-start
//@ output: ^kernel panic on CPU [01], thread main: BUG: a program's thread of class Realtime\(Priority\(100\), Fifo\)$
//@ case: class-of-stopper
//@ output: ^kernel panic on CPU 0, thread stopper/0: BUG: the class of stopper/0 is the kernel's$
// Either CPU may be first: the caller has preemption off, and the other CPU is in a handler.
//@ case: stop-in-call
//@ output: ^kernel panic on CPU [01], .*: BUG: stop_machine with (IRQs masked|preemption off \(count [0-9]+\))$
//@ case: init-allocates
//@ output: ^kernel panic on CPU 1, thread idle/1: BUG: the startup of an INIT step allocates$
//@ case: init-sleeps
//@ output: ^kernel panic on CPU 1, thread idle/1: BUG: the startup of an INIT step calls sleep, which may wait$
//@ case: init-stops
//@ output: ^kernel panic on CPU 1, thread idle/1: BUG: stop_machine_from_inactive_cpu in a step that does not say that it stops the machine$
//@ case: others
//@ status: 0

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::boxed::Box;
use core::hint::black_box;
use core::mem::forget;
use core::time::Duration;

use stillpoint::api::hotplug::{CpuDownError, InitStep, WouldDeadlock};
use stillpoint::api::stop::stop_machine_from_inactive_cpu;
use stillpoint::api::{self, JoinHandle, rcu, thread};
use stillpoint::cpu::CpuId;
use stillpoint::kernel::Hw;
use stillpoint::println;
use stillpoint::sched::lock::{ReadGuard, RwLock};
use stillpoint::sched::{Class, kernel_class};
use stillpoint::sync::SpinLock;

use kernel_support::case::case;
use kernel_support::ktap::Ktap;
use kernel_support::machine::stay_on_boot_cpu;

static RW: RwLock<u32, Hw> = RwLock::new(0);
static OWN: SpinLock<Option<JoinHandle<()>>, Hw> = SpinLock::new(None);

/// Runs `misuse_fn` in a thread, with the thread's own handle.
fn with_own_handle(misuse_fn: fn(JoinHandle<()>)) {
    let handle = own(move || {
        let mut own = None;
        while own.is_none() {
            api::yield_now();
            own = OWN.lock_irqsave().take();
        }
        own.map(misuse_fn);
    });
    *OWN.lock_irqsave() = Some(handle);
    api::sleep(Duration::from_millis(500));
}

/// Has `misuse_fn` called on a CPU that comes up.
fn in_init_step(misuse_fn: fn()) {
    let step = InitStep::new("misuse").startup(move |_| misuse_fn());
    let _installed = step.install_nocalls().expect("there is a slot");
    let other = CpuId::from_index(1);
    let cycled = api::cpu_down(other).is_ok() && api::cpu_up(other).is_ok();
    println!("{cycled}");
}

fn own(body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let started = thread::Builder::new().name("own").spawn(body);
    started.expect("there is a stack")
}

/// Locks of one kind inside each other, in any order, and again after their guards; and an
/// operation of a pinned thread, which gets an error.
fn others() -> ! {
    const HELD: usize = 12;
    let mut ktap = Ktap::new();
    let locks: [RwLock<usize, Hw>; HELD] = core::array::from_fn(RwLock::new);
    let reads = || -> [ReadGuard<'_, usize, Hw>; HELD] {
        core::array::from_fn(|index| locks[index].read())
    };
    let sum = |guards: &[ReadGuard<'_, usize, Hw>]| guards.iter().map(|guard| **guard).sum();
    let guards = reads();
    ktap.equal("many are read under", sum(&guards), 66_usize);
    for guard in guards.into_iter().rev() {
        drop(guard);
    }
    let guards = reads();
    ktap.equal("and once more", sum(&guards), 66_usize);
    drop(guards);
    for lock in &locks {
        *lock.write() += 1;
    }
    ktap.equal("and are written", sum(&reads()), 78_usize);
    let pinned = thread::migrate_disable();
    let refused = Err(CpuDownError::WouldDeadlock(WouldDeadlock::Pinned));
    let down = api::cpu_down(CpuId::BOOT);
    ktap.check("a pinned thread takes no CPU down", down == refused);
    drop(pinned);
    ktap.finish()
}

fn main() {
    stay_on_boot_cpu();
    match case() {
        "write-in-write" => {
            let mut outer = RW.write();
            *outer += *RW.write();
        }
        "read-in-write" => {
            let mut outer = RW.write();
            *outer += *RW.read();
        }
        "write-in-read" => {
            let outer = RW.read();
            *RW.write() += *outer;
        }
        "read-in-read" => {
            let outer = RW.read();
            println!("{}", *outer + *RW.read());
        }
        "join-own" => with_own_handle(JoinHandle::join),
        "end-own" => with_own_handle(|own| own.thread().inner().wait_until_dead()),
        "synchronize-in-section" => rcu::read(|_| rcu::synchronize()),
        "barrier-in-callback" => {
            rcu::call_rcu(rcu::barrier);
            rcu::barrier();
        }
        "read-while-pinned" => {
            let _pinned = thread::migrate_disable();
            drop(api::cpus_read_lock());
        }
        "ends-pinned" => own(|| forget(thread::migrate_disable())).join(),
        "ends-reading" => own(|| forget(api::cpus_read_lock())).join(),
        // A program gets this class from a thread of the kernel's in whose interrupt it runs.
        "kernel-class" => thread::current().set_class(kernel_class()),
        "kernel-class-at-start" => {
            let started = thread::Builder::new().class(kernel_class()).spawn(|| ());
            println!("{}", started.is_ok());
        }
        "class-of-stopper" => {
            let set = || thread::current().set_class(Class::Normal);
            println!("{:?}", api::stop_machine(set));
        }
        "stop-in-call" => {
            let called = api::on_each_cpu(|_| println!("{:?}", api::stop_machine(|| ())));
            println!("{called}");
        }
        "init-allocates" => in_init_step(|| drop(black_box(Box::new(1_u8)))),
        "init-sleeps" => in_init_step(|| api::sleep(Duration::ZERO)),
        "init-stops" => in_init_step(|| stop_machine_from_inactive_cpu(|| ())),
        _ => others(),
    }
    println!("the misuse was not found");
}
