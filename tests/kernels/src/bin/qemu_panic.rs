//! A panic ends the kernel wherever it happens, even if a CPU has the console, waits with IRQs
//! masked, can't be stopped or is still coming up. Time is virtual, because the other CPUs have
//! 100 ms to stop.

//@ smp: 4
//@ icount: 1
//@ status: 101
//@ cases: console in-interrupt in-still-point in-callback before-online
//@ cases: without-boot-cpu
//@ cases: message-panics message-sleeps message-panics-twice endless-message
//
// One CPU computes, one has the console and interrupts masked for ever, one idles.
// The panic gives up on the CPU that it can't reach, and takes the console from it.
//@ case: console
//@ output: ^panicked at tests/kernels/src/bin/qemu_panic\.rs:[0-9]+:[0-9]+$
//@ output: ^kernel panic on CPU 0, thread main: all is lost$
//@ case: in-interrupt
//@ output: ^panicked at tests/kernels/src/bin/qemu_panic\.rs:[0-9]+:[0-9]+$
//@ output: ^kernel panic on CPU 1, thread [a-z]+/1: not in a handler$
// The CPUs that wait in the still point with their interrupts masked stop too.
//@ case: in-still-point
//@ output: ^panicked at tests/kernels/src/bin/qemu_panic\.rs:[0-9]+:[0-9]+$
//@ output: ^kernel panic on CPU 0, thread stopper/0: nothing else moves$
// The CPU that is to leave panics while it prints a line: it has the console itself, and the
// thread that takes it down has the hotplug lock.
//@ case: in-callback
//@ not-on: 7.2 under icount it runs no vCPU for seconds, until its monitor stops and continues it
//@ output: ^CPU 1 says $
//@ output: ^panicked at tests/kernels/src/bin/qemu_panic\.rs:[0-9]+:[0-9]+$
//@ output: ^kernel panic on CPU 1, thread doomed/1: no last words$
// A CPU panics between its first instruction and its online bit.
//@ case: before-online
//@ output: ^online: 0,2-3$
//@ output: ^panicked at src/kernel/test_hooks\.rs:[0-9]+:[0-9]+$
//@ output: ^kernel panic on CPU 1, thread idle/1: panics at its entry, as a test wants it$
// The boot CPU is off, and so is not waited for.
//@ case: without-boot-cpu
//@ output: ^online: 1-3$
//@ output: ^panicked at tests/kernels/src/bin/qemu_panic\.rs:[0-9]+:[0-9]+$
//@ output: ^kernel panic on CPU 2, thread [a-z]+/2: not in a handler$
//
//@ case: console|in-interrupt|in-still-point|in-callback|before-online|without-boot-cpu
//@ output: ^  #0  0x[0-9a-f]{16}  \+0x[0-9a-f]+  [^ ].*\+0x[0-9a-f]+$
//@ case: console|in-still-point
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  qemu_panic::.*\+0x[0-9a-f]+$
//@ case: in-interrupt|without-boot-cpu
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  stillpoint_irq\+0x[0-9a-f]+$
//@ case: before-online
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  stillpoint_secondary\+0x[0-9a-f]+$
//
//@ case: console
//@ output: ^  CPUs 1,3 have stopped$
//@ output: ^  CPUs 2 did not stop within 100 ms$
//@ case: in-still-point
//@ output: ^  CPUs 1-3 have stopped$
//@ case: in-interrupt|in-callback|before-online
//@ output: ^  CPUs 0,2-3 have stopped$
//@ case: without-boot-cpu
//@ output: ^  CPUs 1,3 have stopped$
//
// A message that panics, or takes a lock that sleeps, costs itself only: the report says
// so, where it was, and how it came there.
//@ case: message-(panics|sleeps)
//@ output: ^panicked at tests/kernels/src/bin/qemu_panic\.rs:[0-9]+:[0-9]+$
//@ output: ^kernel panic on CPU 0, thread main: $
//@ output: ^  \(the report has panicked itself, at (tests/kernels/src/bin/qemu_panic|src/[a-z/_]+)\.rs:[0-9]+:[0-9]+\)$
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  (stillpoint_|qemu_panic::)main\+0x[0-9a-f]+$
//
// The second message is left out: it may panic too.
//@ case: message-panics-twice
//@ output: ^panicked at tests/kernels/src/bin/qemu_panic\.rs:[0-9]+:[0-9]+$
//
// A message that takes a spin lock which a stopped CPU holds costs itself only.
//@ case: endless-message
//@ output: ^panicked at tests/kernels/src/bin/qemu_panic\.rs:[0-9]+:[0-9]+$
//@ output: ^kernel panic on CPU 0, thread main: $
//@ output: ^  \(the report waits for a spin lock of u32 that CPU1 holds\)$
//@ output: ^  #[0-9]+ +0x[0-9a-f]{16}  \+0x[0-9a-f]+  (stillpoint_|qemu_panic::)main\+0x[0-9a-f]+$

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use core::fmt;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::{Hw, TEST_SGI, kernel, with_console_taken};
use stillpoint::sched::Service;
use stillpoint::sched::lock::Mutex;
use stillpoint::sync::atomic::{AtomicU32, Ordering};
use stillpoint::sync::{LocalCpu, SpinLock};
use stillpoint::{api, print, println};

use kernel_support::case::case;
use kernel_support::machine::{eventually, register, send_sgi, stay_on_boot_cpu};

/// How many CPUs have come to their place.
static READY: AtomicU32 = AtomicU32::new(0);

fn cpu(number: usize) -> CpuId {
    CpuId::new(number).expect("a small number")
}

fn loop_for_ever() -> ! {
    READY.fetch_add(1, Ordering::Relaxed);
    loop {
        Hw::relax();
    }
}

fn console() {
    let computes = api::spawn_on(cpu(1), "computes", || loop_for_ever());
    let prints = api::spawn_on(cpu(2), "prints", || {
        with_console_taken(|| -> () {
            assert!(!Hw::irqs_enabled(), "the console masks interrupts");
            loop_for_ever()
        });
    });
    assert!(computes.is_ok() && prints.is_ok(), "no thread");
    while READY.load(Ordering::Relaxed) < 2 {
        api::yield_now();
    }
    panic!("all is lost");
}

fn in_interrupt_of(number: usize) {
    kernel()
        .test_handler
        .call_once(|| || panic!("not in a handler"));
    send_sgi(TEST_SGI, cpu(number));
    eventually(|| false);
}

fn without_boot_cpu() {
    let left = api::cpu_down(cpu(0));
    assert!(left.is_ok(), "it stays: {left:?}");
    println!("online: {}", kernel().masks.online());
    in_interrupt_of(2);
}

fn in_still_point() {
    let stopped = api::stop_machine(|| panic!("nothing else moves"));
    assert!(stopped.is_ok(), "not even stopped");
}

/// A value whose `Display` panics.
struct LastWords;

impl fmt::Display for LastWords {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no last words")
    }
}

/// A value whose `Display` panics with a message that panics too.
struct LastOfAll;

impl fmt::Display for LastOfAll {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("{LastWords}")
    }
}

static MUTEX: Mutex<u32, Hw> = Mutex::new(7);

/// A value whose `Display` takes a lock that sleeps.
struct Locked;

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*MUTEX.lock(), f)
    }
}

static SPIN: SpinLock<u32, Hw> = SpinLock::new(7);

/// A value whose `Display` takes a spin lock.
struct Spins;

impl fmt::Display for Spins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*SPIN.lock_irqsave(), f)
    }
}

fn endless_message() {
    let here = api::thread::current().set_affinity(&CpuMask::of(cpu(0)));
    let holds = api::spawn_on(cpu(1), "holds", || {
        let _held = SPIN.lock();
        loop_for_ever()
    });
    assert!(here.is_ok() && holds.is_ok(), "no thread");
    while READY.load(Ordering::Relaxed) < 1 {
        api::yield_now();
    }
    panic!("{Spins}");
}

/// A service that panics when it is parked.
struct Doomed;

impl Service<Hw> for Doomed {
    fn should_run(&self, _: CpuId) -> bool {
        false
    }

    fn run(&self, _: CpuId) {}

    fn park(&self, cpu: CpuId) {
        print!("CPU {cpu} says ");
        with_console_taken(|| panic!("no last words"));
    }
}

fn in_callback() {
    register("doomed", Doomed);
    let left = api::cpu_down(cpu(1));
    assert!(left.is_ok(), "not even asked");
}

fn before_online() {
    let left = api::cpu_down(cpu(1));
    assert!(left.is_ok(), "it stays: {left:?}");
    println!("online: {}", kernel().masks.online());
    Hw::panic_at_entry(cpu(1));
    let back = api::cpu_up(cpu(1));
    assert!(back.is_ok(), "it refuses: {back:?}");
}

fn main() {
    stay_on_boot_cpu();
    match case() {
        "console" => console(),
        "in-interrupt" => in_interrupt_of(1),
        "without-boot-cpu" => without_boot_cpu(),
        "in-still-point" => in_still_point(),
        "in-callback" => in_callback(),
        "before-online" => before_online(),
        "message-panics" => panic!("{LastWords}"),
        "message-sleeps" => panic!("{Locked}"),
        "message-panics-twice" => panic!("{LastOfAll}"),
        "endless-message" => endless_message(),
        _ => {}
    }
    panic!("no such case, or nothing has happened");
}
