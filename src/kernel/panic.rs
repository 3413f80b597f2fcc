//! The end of a kernel that can't go on: a panic, or an exception that nothing
//! expects.
//!
//! The CPU that panics first reports; a CPU that panics later only stops. The first CPU does
//! this:
//!
//! 1. It stops the other CPUs with an SGI that gets through a closed priority mask, and
//!    waits for them for a limited time. A CPU whose interrupt interface isn't up yet can't
//!    send an SGI: its report says so, and the other CPUs run on until the machine ends.
//! 2. It takes the console, without the lock if another CPU holds that.
//! 3. It prints the report and calls the program's hook (`panic_hook`).
//! 4. It ends the machine with the exit status of a panic.
//!
//! The place of a panic is printed before its message, because formatting the message runs
//! a program's code. If that code panics, or waits for a spin lock that a stopped CPU holds,
//! only the message is lost. If it runs for ever for another reason, the report never
//! ends: interrupts are masked. The same holds for the hook.

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

/// How long the other CPUs may take to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long the report waits for a spin lock. The other CPUs have had time to stop before.
pub(super) const LOCK_PATIENCE: Duration = Duration::from_millis(10);

/// The value of [`FIRST`] while no CPU has panicked.
const NO_CPU: u32 = u32::MAX;

/// The number of the CPU that panicked first. Exchanged Relaxed: it decides which CPU
/// reports, and guards no data. A CPU that takes the panic SGI sees the exchange:
/// `IrqChip::send_sgi` makes earlier stores visible before the SGI, and the load in
/// [`interrupt`] can't be done before `IrqChip::acknowledge`, which comes before it.
static FIRST: AtomicU32 = AtomicU32::new(NO_CPU);
/// The CPUs that have stopped. Each sets its bit with Release as its last act; the CPU that
/// panicked first loads the bits with Acquire.
static STOPPED: AtomicBits = AtomicBits::new();
/// Whether the report itself has panicked or faulted. Relaxed: only the CPU that panicked
/// first uses it.
static AGAIN: AtomicBool = AtomicBool::new(false);
/// Whether the program's hook has panicked or faulted. Relaxed: as [`AGAIN`].
static HOOK_FAILED: AtomicBool = AtomicBool::new(false);
/// Where the stacks are, to tell an overflow from another fault.
static STACKS: Once<StackLayout> = Once::new();

/// Returns whether some CPU has panicked.
pub(super) fn has_begun() -> bool {
    FIRST.load(Ordering::Relaxed) != NO_CPU
}

/// Records where the stacks are, so that a report can name a fault in a guard page.
pub(crate) fn set_stacks(stacks: StackLayout) {
    STACKS.call_once(|| stacks);
}

/// Returns whether this CPU, which is `me`, is the one that reports a panic.
pub(super) fn reports_here(me: CpuId) -> bool {
    FIRST.load(Ordering::Relaxed) == me.as_u32()
}

#[cfg_attr(target_os = "none", panic_handler)]
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

/// Handles every exception but an interrupt. The vectors call it with everything masked.
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
/// The CPU that had panicked before.
fn claim(me: u32) -> Result<u32, u32> {
    if try_kernel().is_some() {
        return FIRST.compare_exchange(NO_CPU, me, Ordering::Relaxed, Ordering::Relaxed);
    }
    // Only the boot CPU runs, perhaps with its MMU off. Exclusive accesses don't work then: a
    // compare-exchange could fault, or never succeed.
    match FIRST.load(Ordering::Relaxed) {
        NO_CPU => {
            FIRST.store(me, Ordering::Relaxed);
            Ok(NO_CPU)
        }
        first => Err(first),
    }
}

/// The other online CPUs, by what has become of them.
struct Others {
    /// CPUs that have stopped.
    stopped: CpuMask,
    /// CPUs that have not stopped within [`PATIENCE`].
    running: CpuMask,
    /// CPUs that run on, because this CPU can't send SGIs.
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

/// Stops the other CPUs, if this CPU is the first to panic. Otherwise it doesn't return: it
/// ends the report if that has panicked itself, or stops this CPU.
///
/// * `place` — the source location of the panic; `None` for an exception
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
        // An access to its registers could cause an exception, and end the report.
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

/// Ends a report that has itself panicked, at `place`, or faulted: a panic's message and the
/// hook run a program's code.
fn end_again(place: Option<&Location<'_>>) -> ! {
    end_report(|out| match place {
        Some(place) => writeln!(out, "\n  ({} has panicked itself, at {place})", culprit()),
        None => writeln!(out, "\n  ({} has faulted itself)", culprit()),
    })
}

/// Ends a report that has waited for [`LOCK_PATIENCE`] for a spin lock of the class `lock`,
/// which `holder` holds.
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

/// Ends a report or a hook that can't go on: prints why, and the chain of calls. The place of
/// the panic has been printed before.
///
/// If this fails, too, it halts the CPU, with the reason left in `boot_failure_reason`.
fn end_report(say_why_fn: impl FnOnce(&mut dyn Write) -> fmt::Result) -> ! {
    // The report and the hook may each fail once: so the hook also runs after a message that
    // has failed.
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

/// Returns the name of the part of a panic that has failed.
fn culprit() -> &'static str {
    if panic_hook::has_begun() {
        "the panic hook"
    } else {
        "the report"
    }
}

/// Prints what `say_fn` writes and what has become of `others`, calls the program's hook
/// with `report`, and ends the machine.
fn end(
    others: &Others,
    report: &PanicReport<'_>,
    say_fn: impl FnOnce(&mut dyn Write) -> fmt::Result,
) -> ! {
    console::break_lock();
    let mut out = console::panic_writer();
    let said = say_fn(&mut out).and_then(|()| write!(out, "{others}"));
    // The console never fails, and a failure could not be reported anywhere.
    match said {
        Ok(()) | Err(fmt::Error) => {}
    }
    panic_hook::run(report);
    exit::exit(exit::FAILED)
}

/// Handles the panic SGI: stops this CPU if another CPU has panicked; prints where this CPU
/// is if another CPU asks ([`whereabouts`]). Otherwise it does nothing: a test or a faulty
/// device has sent the SGI.
///
/// Such a stray SGI can't hide that of a panic. If the two share the pending bit, the
/// panicking CPU set the bit before this CPU's acknowledge cleared it. Its store of
/// [`FIRST`] was visible before that, so the load here sees it. If the bit is set after the
/// acknowledge, it raises an interrupt of its own.
///
/// # Context
/// Any, IRQs masked, the SGI acknowledged and ended; takes no lock.
pub(super) fn interrupt() {
    if FIRST.load(Ordering::Relaxed) != NO_CPU {
        stop_this_cpu();
    }
    whereabouts::interrupt();
}

/// Stops this CPU for good, because another CPU has panicked.
///
/// # Context
/// Any; takes no lock.
fn stop_this_cpu() -> ! {
    let _masked = Hw::irq_save();
    let cpu = Hw::this_cpu().index();
    if cpu < MAX_CPUS && CpuId::new(cpu).is_some() {
        // Pairs with the Acquire in `begin`: the report comes after this CPU's output.
        STOPPED.set(cpu, Ordering::Release);
    }
    halt()
}
