//! Prints the thread and the chain of calls of every CPU, for a watchdog that finds the
//! machine stuck.
//!
//! The asking CPU sends the panic SGI to one CPU after the other. That SGI gets through a
//! closed priority mask, so a CPU that waits in a still point answers, too. A CPU that has
//! masked its interrupts in another way can't answer: only its name and its thread's are
//! printed. A debugger can tell more of it; `tests/rig/src/whereabouts.rs` does.

use core::fmt::{self, Write};
use core::time::Duration;

use crate::arch::aarch64::{backtrace, thread_head};
use crate::cpu::CpuId;
use crate::kernel::kernel;
use crate::kernel::{Hw, console};
use crate::platform::{Platform, Sgi};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{AtomicBits, IrqGuard, LocalCpu};

/// How long a CPU may take to answer. An emulator's host may take long to run it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether a CPU asks, so that only one CPU asks at a time. Swapped with Acquire at the
/// beginning, stored with Release at the end.
static ASKS: AtomicBool = AtomicBool::new(false);
/// The CPUs that have been asked and have not answered. The asking CPU sets a bit before it
/// sends the SGI, and the CPU that takes the SGI loads it: ordered as `panic::FIRST` is. That
/// CPU clears the bit with Release after its answer, and the asking CPU loads it with
/// Acquire: so the next output comes after the answer.
static ASKED: AtomicBits = AtomicBits::new();

/// Prints the thread and the chain of calls of every online CPU. Returns whether all of
/// them have answered; false, and prints nothing, if another CPU does this already.
///
/// It waits for no lock, not even the console's, because a stuck CPU may hold it. So the
/// output of other CPUs may mix with this one.
///
/// # Context
/// Any, also the function of a timer or of a still point. Waits up to a second for each CPU
/// that doesn't answer.
pub fn print_whereabouts() -> bool {
    let _stay = IrqGuard::<Hw>::new();
    // Pairs with the Release at the end: this output comes after that of the last caller.
    if ASKS.swap(true, Ordering::Acquire) {
        return false;
    }
    let me = Hw::this_cpu();
    let mut all = true;
    for cpu in kernel().masks.online().iter() {
        if cpu == me {
            say();
        } else if !asked(cpu) {
            all = false;
            // The console never fails.
            let _said = match kernel().sched.current_name_racy(cpu) {
                Some(name) => writeln!(
                    console::panic_writer(),
                    "CPU {cpu}, thread {name}: does not answer: interrupts are masked, or it is not run"
                ),
                None => writeln!(
                    console::panic_writer(),
                    "CPU {cpu} does not answer, and its run queue is locked"
                ),
            };
        }
    }
    // Pairs with the Acquire at the beginning.
    ASKS.store(false, Ordering::Release);
    all
}

/// Asks `cpu`, which isn't this one, and waits for its answer; returns whether it came.
fn asked(cpu: CpuId) -> bool {
    // Pairs with the Acquire in `interrupt`, in addition to the order that the SGI gives.
    ASKED.set(cpu.index(), Ordering::Release);
    Hw::send_sgi_to(Sgi::Panic, Hw::this_cpu(), cpu);
    let limit = Hw::deadline(PATIENCE);
    // Pairs with the Release in `interrupt`: later output comes after the answer.
    while ASKED.get(cpu.index(), Ordering::Acquire) {
        if Hw::now() >= limit {
            // If `cpu` takes the SGI later, it finds its bit cleared and prints nothing. Pairs
            // with the Release in `interrupt`, where `cpu` may have answered just now.
            return !ASKED.clear(cpu.index(), Ordering::Acquire);
        }
        Hw::relax();
    }
    true
}

/// Handles the panic SGI: answers if another CPU has asked this one.
///
/// # Context
/// Any, IRQs masked, the SGI acknowledged and ended; takes no lock.
pub(super) fn interrupt() {
    let me = Hw::this_cpu().index();
    // Pairs with the Release in `asked`.
    if ASKED.get(me, Ordering::Acquire) {
        say();
        // Pairs with the Acquires in `asked`.
        ASKED.clear(me, Ordering::Release);
    }
}

/// Prints this CPU's thread and chain of calls.
fn say() {
    // The console never fails, and a failure could not be reported anywhere.
    match write(&mut console::panic_writer()) {
        Ok(()) | Err(fmt::Error) => {}
    }
}

fn write(out: &mut dyn Write) -> fmt::Result {
    let thread = thread_head::current();
    writeln!(out, "CPU {}, thread {}:", Hw::this_cpu(), thread.name())?;
    backtrace::write_here(out)
}
