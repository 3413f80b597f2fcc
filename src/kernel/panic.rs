//! The end of a kernel that can't go on: a panic, or an exception that nothing
//! expects.
//!
//! The first CPU wins. It stops the others by an SGI that gets through a closed
//! priority mask, waits for them, but not for ever (a CPU whose interrupt interface
//! isn't up yet can't send one, and says so: the others run on until the end); takes the console, by force
//! if need be; says what it knows; and leaves with a status of its own.
//!
//! The place of a panic comes before its message, which is a program's code. A message that
//! panics, or waits for a spin lock that a stopped CPU holds, costs itself only. Nothing
//! ends a message that runs for ever for another reason: interrupts are masked.
//!
//! Behind the report comes the program's hook (`panic_hook`), under the same rules.

use core::fmt::{self, Write};
use core::panic::{Location, PanicInfo};
use core::time::Duration;

use crate::arch::aarch64::boot::{halt, halt_with_reason};
use crate::arch::aarch64::exception::{self, ExceptionFrame, Kind};
use crate::arch::aarch64::failure::BootFailure;
use crate::arch::aarch64::{backtrace, probe, semihosting, thread_head};
use crate::config::{MAX_CPUS, PMR_CLOSED};
use crate::cpu::{CpuId, CpuMask};
use crate::kernel::panic_hook::{self, PanicReport};
use crate::kernel::try_kernel;
use crate::kernel::{Hw, console, exit, whereabouts};
use crate::memory::StackLayout;
use crate::platform::{Platform, Sgi};
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::sync::{AtomicBits, LocalCpu, Once};

/// How long the others may take to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long the report waits for a spin lock. By then the other CPUs have had time to stop.
pub(super) const LOCK_PATIENCE: Duration = Duration::from_millis(10);

/// No CPU has panicked.
const NOBODY: u32 = u32::MAX;

/// The CPU that panicked first. Exchanged Relaxed: it decides which CPU goes on, and
/// guards no data. A CPU that takes the panic SGI sees it: `IrqChip::send_sgi`
/// makes the stores before it visible first, and the load comes after
/// `IrqChip::acknowledge`, behind which nothing is read ahead (see
/// [`interrupt`]).
static FIRST: AtomicU32 = AtomicU32::new(NOBODY);
/// CPUs that have stopped. Set Release as their last act, read Acquire.
static STOPPED: AtomicBits = AtomicBits::new();
/// Whether the report has panicked or faulted itself. Relaxed: the CPU's alone that
/// panicked first.
static AGAIN: AtomicBool = AtomicBool::new(false);
/// Whether the program's hook has panicked or faulted. Relaxed: as [`AGAIN`].
static HOOK_FAILED: AtomicBool = AtomicBool::new(false);
static STACKS: Once<StackLayout> = Once::new();

/// Returns whether some CPU has panicked.
#[cfg(debug_assertions)]
pub(super) fn has_begun() -> bool {
    FIRST.load(Ordering::Relaxed) != NOBODY
}

/// Says where the stacks are, so that a fault in a guard page is called that.
pub(crate) fn set_stacks(stacks: StackLayout) {
    STACKS.call_once(|| stacks);
}

/// Returns whether this CPU, which is `me`, reports a panic.
pub(super) fn reports_here(me: CpuId) -> bool {
    FIRST.load(Ordering::Relaxed) == me.as_u32()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _masked = Hw::irq_save();
    let others = begin(info.location());
    end(&others, &PanicReport::new(Some(info)), |out| {
        writeln!(out)?;
        if let Some(place) = info.location() {
            writeln!(out, "panicked at {place}")?;
        }
        writeln!(
            out,
            "kernel panic on CPU {}, thread {}: {}",
            Hw::this_cpu(),
            thread_head::current().name(),
            info.message()
        )?;
        backtrace::write_here(out)
    })
}

/// Every exception but an interrupt. Called by the vectors, everything masked.
#[unsafe(no_mangle)]
extern "C" fn stillpoint_exception(frame: &mut ExceptionFrame, kind: u64) {
    if let Some(next) = semihosting::skip(frame.elr) {
        frame.elr = next;
        return;
    }
    if probe::recover(frame) {
        return;
    }
    let others = begin(None);
    end(&others, &PanicReport::new(None), |out| {
        writeln!(out)?;
        exception::report(out, frame, Kind::from_vector(kind), STACKS.get())
    })
}

/// Makes `me` the CPU that panicked first.
///
/// # Errors
/// The one that was faster.
fn claim(me: u32) -> Result<u32, u32> {
    if try_kernel().is_some() {
        return FIRST.compare_exchange(NOBODY, me, Ordering::Relaxed, Ordering::Relaxed);
    }
    // One CPU runs, perhaps with its MMU off, where memory takes no exclusive
    // access: a compare-exchange could fault, or never succeed.
    match FIRST.load(Ordering::Relaxed) {
        NOBODY => {
            FIRST.store(me, Ordering::Relaxed);
            Ok(NOBODY)
        }
        first => Err(first),
    }
}

/// What became of the other CPUs.
struct Others {
    stopped: CpuMask,
    running: CpuMask,
    /// This CPU could not send them the SGI.
    untold: CpuMask,
}

impl Others {
    const NONE: Others = Others {
        stopped: CpuMask::EMPTY,
        running: CpuMask::EMPTY,
        untold: CpuMask::EMPTY,
    };
}

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.stopped.is_empty() {
            writeln!(f, "  CPUs {} have stopped", self.stopped)?;
        }
        if !self.running.is_empty() {
            writeln!(f, "  CPUs {} did not stop within 100 ms", self.running)?;
        }
        if !self.untold.is_empty() {
            writeln!(
                f,
                "  CPUs {} run on: this CPU can't send SGIs yet",
                self.untold
            )?;
        }
        Ok(())
    }
}

/// Claims the panic, and stops the other CPUs.
///
/// * `place` — where it is, unless it is an exception
fn begin(place: Option<&Location<'_>>) -> Others {
    let me = Hw::this_cpu().as_u32();
    match claim(me) {
        Ok(_) => {}
        Err(first) if first == me => end_again(place),
        Err(_) => stop_this_cpu(),
    }
    let Some(kernel) = try_kernel() else {
        return Others::NONE;
    };
    let others = kernel.masks.online().without(&CpuMask::of(Hw::this_cpu()));
    if others.is_empty() {
        return Others::NONE;
    }
    if !kernel.irq_chip.can_send(Hw::this_cpu()) {
        // An access to its registers could be the next exception, and end the report.
        return Others {
            untold: others,
            ..Others::NONE
        };
    }
    kernel.irq_chip.set_priority_mask(PMR_CLOSED);
    kernel.irq_chip.send_sgi(Sgi::Panic.number(), &others);
    let limit = Hw::deadline(PATIENCE);
    loop {
        // Pairs with the Release in `stop_this_cpu`.
        let stopped = others.and(&CpuMask::from_bits(STOPPED.snapshot(Ordering::Acquire)));
        if stopped == others || Hw::now() >= limit {
            let running = others.without(&stopped);
            return Others {
                stopped,
                running,
                ..Others::NONE
            };
        }
        Hw::relax();
    }
}

/// Ends the report of a panic that has itself panicked, at `place`, or faulted: a panic's
/// message is a program's code.
fn end_again(place: Option<&Location<'_>>) -> ! {
    end_report(|out| match place {
        Some(place) => writeln!(out, "\n  ({} has panicked itself, at {place})", culprit()),
        None => writeln!(out, "\n  ({} has faulted itself)", culprit()),
    })
}

/// Ends the report of a panic that waits for a spin lock of `lock`, which the CPU `holder`
/// keeps: it has stopped, or has not let the lock go for [`LOCK_PATIENCE`].
///
/// # Context
/// The CPU that reports the panic.
pub(super) fn end_waiting(lock: &str, holder: CpuId) -> ! {
    end_report(|out| {
        writeln!(
            out,
            "\n  ({} waits for a spin lock of {lock} that CPU{holder} holds)",
            culprit()
        )
    })
}

/// Ends a report that can't go on: says why, and how it came there. The place of the panic
/// has been said.
///
/// A report that doesn't get through this either halts this CPU: what is left is the
/// reason.
fn end_report(say_why_fn: impl FnOnce(&mut dyn Write) -> fmt::Result) -> ! {
    // The hook has a chance of its own, also after a message that has failed.
    let failed = match panic_hook::has_begun() {
        false => &AGAIN,
        true => &HOOK_FAILED,
    };
    if failed.load(Ordering::Relaxed) {
        halt_with_reason(BootFailure::NestedFault);
    }
    failed.store(true, Ordering::Relaxed);
    // The other CPUs have been stopped by the first report, or don't stop.
    end(&Others::NONE, &PanicReport::new(None), |out| {
        say_why_fn(out)?;
        backtrace::write_here(out)
    })
}

/// Returns what it is that fails in the course of a panic.
fn culprit() -> &'static str {
    if panic_hook::has_begun() {
        "the panic hook"
    } else {
        "the report"
    }
}

/// Says what `say_fn` has to say, calls the program's hook with `report`, and leaves.
fn end(
    others: &Others,
    report: &PanicReport<'_>,
    say_fn: impl FnOnce(&mut dyn Write) -> fmt::Result,
) -> ! {
    console::break_lock();
    let mut out = console::panic_writer();
    let said = say_fn(&mut out).and_then(|()| write!(out, "{others}"));
    // The console never fails; and nothing is left to report a failure to.
    match said {
        Ok(()) | Err(fmt::Error) => {}
    }
    panic_hook::run(report);
    exit::exit(exit::FAILED)
}

/// The panic SGI has been taken: stops this CPU if another one has panicked, and has
/// it say where it is if another one asks ([`whereabouts`]). Otherwise it means
/// nothing; a test or a confused device has sent it.
///
/// An SGI that means nothing can't swallow one that does. The two may share the
/// pending bit, but then the panicking CPU's store of [`FIRST`] was visible before
/// it set that bit, which was before our acknowledge cleared it; and what sets the
/// bit later comes as an interrupt of its own.
///
/// # Context
/// Any, IRQs masked, the SGI acknowledged and ended; takes no lock.
pub(super) fn interrupt() {
    if FIRST.load(Ordering::Relaxed) != NOBODY {
        stop_this_cpu();
    }
    whereabouts::interrupt();
}

/// Stops this CPU for good, because another one has panicked.
///
/// # Context
/// Any; takes no lock.
fn stop_this_cpu() -> ! {
    let _masked = Hw::irq_save();
    let cpu = Hw::this_cpu().index();
    if cpu < MAX_CPUS && CpuId::new(cpu).is_some() {
        // Pairs with the Acquire in `begin`: what this CPU printed comes before.
        STOPPED.set(cpu, Ordering::Release);
    }
    halt()
}
