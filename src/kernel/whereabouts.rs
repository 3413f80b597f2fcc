//! Where every CPU is: what a watchdog prints when the machine no longer moves.
//!
//! The CPU that asks sends the panic SGI to one CPU after the other. That SGI gets
//! through a closed priority mask, so a CPU that waits in a still point answers as
//! one that computes does. A CPU that has masked its interrupts in any other way
//! can't: it is named, and what it does is for a debugger to say
//! (`tests/rig/src/whereabouts.rs` is one).

use core::fmt::{self, Write};
use core::time::Duration;

use crate::arch::aarch64::{backtrace, thread_head};
use crate::cpu::CpuId;
use crate::kernel::kernel;
use crate::kernel::{Hw, console};
use crate::platform::{Platform, Sgi};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{AtomicBits, IrqGuard, LocalCpu};

/// How long a CPU may take to answer: time for a host to run it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether a CPU asks. Exchanged Acquire when it begins, stored Release when it has
/// ended: one CPU prints at a time.
static ASKS: AtomicBool = AtomicBool::new(false);
/// CPUs that are to say where they are. The CPU that asks sets a bit before it
/// sends the SGI, whose taker loads it: ordered as `panic::FIRST` is. The answer
/// ends in a Release clear, which the CPU that asks loads Acquire: what is printed
/// next comes after it.
static ASKED: AtomicBits = AtomicBits::new();

/// Prints where every online CPU is: its thread and the chain of calls. Returns
/// whether all of them have answered.
///
/// It waits for no lock, the console's included, so that a CPU that hangs with it
/// holds nothing up; what other CPUs print at the same time mixes with it.
///
/// # Context
/// Any, also the function of a timer or of a still point. A CPU that doesn't answer
/// costs a second. If another CPU is at it already nothing is printed and the answer
/// is no.
pub fn print_whereabouts() -> bool {
    let _stay = IrqGuard::<Hw>::new();
    // Pairs with the Release at the end: what the one before printed comes before.
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

/// Asks `cpu`, another one; returns whether it has answered.
fn asked(cpu: CpuId) -> bool {
    // Pairs with the Acquire in `interrupt`, beside what the SGI orders.
    ASKED.set(cpu.index(), Ordering::Release);
    Hw::send_sgi_to(Sgi::Panic, Hw::this_cpu(), cpu);
    let limit = Hw::deadline(PATIENCE);
    // Pairs, as the clear below, with the Release in `interrupt`: its answer comes before.
    while ASKED.get(cpu.index(), Ordering::Acquire) {
        if Hw::now() >= limit {
            // An SGI that is taken later finds nothing to say.
            return !ASKED.clear(cpu.index(), Ordering::Acquire);
        }
        Hw::relax();
    }
    true
}

/// The panic SGI has been taken: answers, if this CPU is asked.
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

/// Says where this CPU is.
fn say() {
    // The console never fails, and nothing is left to report a failure to.
    match write(&mut console::panic_writer()) {
        Ok(()) | Err(fmt::Error) => {}
    }
}

fn write(out: &mut dyn Write) -> fmt::Result {
    let thread = thread_head::current();
    writeln!(out, "CPU {}, thread {}:", Hw::this_cpu(), thread.name())?;
    backtrace::write_here(out)
}
