//! `poweroff` takes all other CPUs down first. Neither a thread that keeps one up for ever nor a
//! callback that never returns keeps the machine from its end.

//@ smp: 4
//@ cases: thread enable prepare post-dead spins
//@ plan: none
//@ append: init=greet;poweroff
//@ status: 0
//@ output: ^greetings$
//
//@ case: thread
//@ output: ^\[ *[0-9.]+\] warning: .*CPU2 .*ETIMEDOUT
//@ output: ^\[ *[0-9.]+\] The machine ends, with CPUs 0,2 online$
//
// The step is passed on the CPU that goes, before the stop.
//@ case: enable
//@ output: ^\[ *[0-9.]+\] warning: CPU2 has not gone in 10 s: it is in step enable:stuck$
//@ output: ^\[ *[0-9.]+\] warning: The machine ends all the same, with CPUs 0.* online$
//
// The steps of the others are passed by the thread that ends the machine: when the CPU is off, and
// after the end of the operation.
//@ case: prepare|spins
//@ output: ^\[ *[0-9.]+\] warning: CPU2 has not gone in 10 s: it is in step prep:stuck$
//@ output: ^\[ *[0-9.]+\] warning: The machine ends all the same, with CPUs 0 online$
//@ case: post-dead
//@ output: ^\[ *[0-9.]+\] warning: CPU2 has not gone in 10 s: it is in step prep:stuck$
//@ output: ^\[ *[0-9.]+\] warning: The machine ends all the same, with CPUs 0 online$

#![no_std]
#![no_main]

stillpoint::entry!(main);

use core::fmt::Write;

use stillpoint::api::hotplug::{EnableStep, InstallError, PrepareStep, Step, post_dead};
use stillpoint::api::shell::{self, ShellCommand};
use stillpoint::api::thread;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::Hw;
use stillpoint::sync::LocalCpu;
use stillpoint::sync::atomic::{AtomicBool, Ordering};

use kernel_support::case::case;
use kernel_support::machine::eventually;

static IS_PINNED: AtomicBool = AtomicBool::new(false);

fn main() {
    match case() {
        "thread" => pin_a_thread(),
        "enable" => keep(
            EnableStep::new("stuck")
                .teardown(|cpu| {
                    never_return(cpu);
                    Ok(())
                })
                .install(),
        ),
        "prepare" => keep(PrepareStep::new("stuck").teardown(never_return).install()),
        "post-dead" => keep(post_dead("stuck", never_return)),
        "spins" => keep(PrepareStep::new("stuck").teardown(spin).install()),
        other => panic!("no such case: {other}"),
    }
    shell::run(&COMMANDS)
}

/// A command of the program's own.
static COMMANDS: [ShellCommand; 1] = [ShellCommand::new("greet", "", "greet", |call| {
    Ok(writeln!(call, "greetings")?)
})];

/// Has a thread keep CPU 2.
fn pin_a_thread() {
    let pinned = thread::Builder::new()
        .affinity(CpuMask::of(CpuId::from_index(2)))
        .spawn(|| {
            let _here = thread::migrate_disable();
            IS_PINNED.store(true, Ordering::Relaxed);
            loop {
                thread::park();
            }
        });
    assert!(pinned.is_ok(), "no thread");
    assert!(eventually(|| IS_PINNED.load(Ordering::Relaxed)), "not run");
}

fn keep(step: Result<Step, InstallError>) {
    step.expect("a slot is free").keep();
}

/// Returns for each CPU but CPU 2.
fn never_return(cpu: CpuId) {
    while cpu.index() == 2 {
        thread::park();
    }
}

/// Does as [`never_return`], and gives no other thread the CPU.
fn spin(cpu: CpuId) {
    while cpu.index() == 2 {
        Hw::relax();
    }
}
