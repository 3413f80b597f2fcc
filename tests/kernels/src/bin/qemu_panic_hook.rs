//! The program's panic hook: called once, with the facts of the panic, after the report and
//! before the end. Whatever the hook does, the machine ends.

//@ smp: 4
//@ icount: 1
//@ status: 101
//@ cases: tells once on-fault after-bad-message leaves
//@ cases: panics faults sleeps locks spins calls panics-after-bad-message
//
//@ case: tells
//@ output: ^  CPUs 0,2-3 have stopped$
//@ output: ^hook: 1: CPU 1, thread doomed, at tests/kernels/src/bin/qemu_panic_hook\.rs:[0-9]+: all is lost$
// Two CPUs panic, and one of them reports it.
//@ case: once
//@ output: ^hook: 1: CPU [01], thread [a-z]+, at tests/kernels/src/bin/qemu_panic_hook\.rs:[0-9]+: one of two$
//@ case: on-fault
//@ output: ^hook: 1: CPU 0, thread main, at no place: no message$
//@ case: after-bad-message
//@ output: ^  \(the report has panicked itself, at tests/kernels/src/bin/qemu_panic_hook\.rs:[0-9]+:[0-9]+\)$
//@ output: ^hook: 1: CPU 0, thread main, at no place: no message$
//@ case: leaves
//@ output: ^hook: 1: CPU 0, thread main, at .*: all is lost$
//@ status: 7
//
//@ case: panics|faults|sleeps|locks|calls|spins|panics-after-bad-message
//@ output: ^hook: 1: CPU 0, thread main, at .*$
//@ case: panics|panics-after-bad-message
//@ output: ^  \(the panic hook has panicked itself, at tests/kernels/src/bin/qemu_panic_hook\.rs:[0-9]+:[0-9]+\)$
//@ case: faults
//@ output: ^  \(the panic hook has faulted itself\)$
//@ case: sleeps|locks|calls
//@ output: ^  \(the panic hook has panicked itself, at src/[a-z/_]+\.rs:[0-9]+:[0-9]+\)$
//@ case: spins
//@ output: ^  \(the panic hook waits for a spin lock of u32 that CPU1 holds\)$
//@ case: panics|faults|sleeps|locks|calls|spins|panics-after-bad-message
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  .*qemu_panic_hook::.*\+0x[0-9a-f]+$

#![no_std]
#![no_main]

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use stillpoint::api::cpu::{self, CpuId, CpuMask};
use stillpoint::api::panic::{self, HookIsSet, PanicReport};
use stillpoint::api::sync::{Mutex, SpinLock};
use stillpoint::api::{self, thread};
use stillpoint::kernel::Hw;
use stillpoint::sync::LocalCpu;
use stillpoint::{print, println};

use kernel_support::case::case;

stillpoint::entry!(main);

static CALLED: AtomicU32 = AtomicU32::new(0);
static HELD: AtomicU32 = AtomicU32::new(0);
static MUTEX: Mutex<u32> = Mutex::new(0);
static SPIN: SpinLock<u32> = SpinLock::new(0);

/// Can't be printed.
struct LastWords;

impl fmt::Display for LastWords {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no last words")
    }
}

/// Prints the line that shows that the hook ran, and then does what its case needs.
fn hook(report: &PanicReport<'_>) {
    let called = CALLED.fetch_add(1, Ordering::Relaxed) + 1;
    if called > 1 {
        // No case has this status.
        api::exit(99);
    }
    print!(
        "hook: {called}: CPU {}, thread {}, at ",
        report.cpu(),
        report.thread()
    );
    match report.location() {
        Some(place) => print!("{}:{}: ", place.file(), place.line()),
        None => print!("no place: "),
    }
    match report.message() {
        Some(message) => println!("{message}"),
        None => println!("no message"),
    }
    match case() {
        "leaves" => api::exit(7),
        "panics" | "panics-after-bad-message" => panic!("a mistake"),
        "faults" => fault(),
        "sleeps" => thread::sleep(Duration::from_millis(1)),
        "locks" => *MUTEX.lock() += 1,
        "spins" => *SPIN.lock() += 1,
        "calls" => println!("{:?}", cpu::call_on(secondary(), || ())),
        _ => {}
    }
}

fn other_hook(_: &PanicReport<'_>) {
    println!("hook: the wrong one");
}

fn secondary() -> CpuId {
    CpuId::from_index(1)
}

fn fault() {
    // SAFETY: Nothing is read: nothing is mapped there, and the fault ends the kernel.
    let read = unsafe { (8 as *const u32).read_volatile() };
    println!("there is {read}");
}

/// Stays with `SPIN` locked on the secondary.
fn hold_spin_lock() {
    let here = thread::current().set_affinity(&CpuMask::of(CpuId::BOOT));
    let holds = thread::spawn_on(secondary(), "holds", || {
        let _held = SPIN.lock();
        HELD.fetch_add(1, Ordering::Relaxed);
        loop {
            Hw::relax();
        }
    });
    assert!(here.is_ok() && holds.is_ok(), "no thread");
    while HELD.load(Ordering::Relaxed) == 0 {
        thread::yield_now();
    }
}

/// Panics on two CPUs, as near to each other as can be.
fn two_panic() {
    let meet = || {
        HELD.fetch_add(1, Ordering::Relaxed);
        while HELD.load(Ordering::Relaxed) < 2 {
            Hw::relax();
        }
        panic!("one of two")
    };
    let other = thread::spawn_on(secondary(), "other", meet);
    assert!(other.is_ok(), "no thread");
    meet()
}

fn main() {
    assert_eq!(panic::set_hook(hook), Ok(()));
    assert_eq!(panic::set_hook(other_hook), Err(HookIsSet));
    let here = thread::current().set_affinity(&CpuMask::of(CpuId::BOOT));
    assert!(here.is_ok());
    match case() {
        "tells" => {
            let doomed = thread::spawn_on(secondary(), "doomed", || panic!("all is lost"));
            doomed.expect("a stack is free").join()
        }
        "once" => two_panic(),
        "on-fault" => fault(),
        "after-bad-message" | "panics-after-bad-message" => panic!("{LastWords}"),
        "spins" => {
            hold_spin_lock();
            panic!("all is lost")
        }
        _ => panic!("all is lost"),
    }
}
