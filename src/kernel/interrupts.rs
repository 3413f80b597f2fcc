//! Passes interrupts from the vector on to their handlers.

use core::fmt;

use crate::irq::Line;
use crate::kernel::Hw;
#[cfg(debug_assertions)]
use crate::kernel::hw::lockdep;
use crate::kernel::panic;
use crate::kernel::static_key::static_branch_unlikely;
use crate::kernel::tracing::{IrqSpan, SCHED_TRACING};
use crate::kernel::{Kernel, TEST_SGI, kernel};
use crate::platform::{Irq, Platform, Sgi};
use crate::smp::call::Inside;
use crate::sync::LocalCpu;

/// What `/proc/interrupts` calls the timer's interrupt.
pub const TIMER_NAME: &str = "arch_timer";

/// Displays what `/proc/interrupts` calls an interrupt, by its number.
pub(super) struct InterruptName(pub(super) u32);

impl fmt::Display for InterruptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(intid) = *self;
        let kernel = kernel();
        let sgi = u8::try_from(intid).ok().and_then(Sgi::from_number);
        match sgi {
            Some(sgi) => f.write_str(sgi.purpose()),
            None if intid == kernel.timer_ppi => f.write_str(TIMER_NAME),
            None => {
                let line = Irq::from_intid(intid).and_then(|irq| kernel.irqs.line(irq));
                match line.and_then(Line::report) {
                    Some(report) => f.write_str(&report.names),
                    None => write!(f, "interrupt {intid}"),
                }
            }
        }
    }
}

/// Handles one interrupt. The vector calls it on this CPU's IRQ stack.
///
/// It handles only one, because a second pending interrupt is rare: to ask the controller
/// for one would cost every interrupt as much as a second entry costs the rare one.
///
/// # Panics
/// If a handler has changed the preempt count. The count belongs to the interrupted thread,
/// and the CPU would never switch threads again.
#[unsafe(no_mangle)]
extern "C" fn stillpoint_irq() {
    handle_one(|_| {});
}

/// Does as [`stillpoint_irq`], which it takes the place of while scheduling events are recorded.
#[unsafe(no_mangle)]
extern "C" fn stillpoint_irq_traced() {
    let span = IrqSpan::new();
    let mut taken = None;
    handle_one(|irq| {
        span.begins(irq);
        taken = Some(irq);
    });
    if taken.is_some() {
        span.ends();
    }
}

/// Handles one interrupt; calls `taken_fn` with it first.
#[inline(always)] // Into both, so that the one that doesn't record costs what it did.
fn handle_one(taken_fn: impl FnOnce(Irq)) {
    #[cfg(debug_assertions)]
    lockdep::set_in_irq(true);
    let kernel = kernel();
    let before = Hw::preempt_count();
    if let Some((token, irq)) = kernel.irq_chip.acknowledge() {
        taken_fn(irq);
        match irq {
            Irq::Sgi(sgi) => handle_sgi(kernel, sgi),
            Irq::UnknownSgi(number) => handle_unknown_sgi(kernel, number),
            Irq::Ppi(ppi) if ppi == kernel.timer_ppi => {
                kernel.interrupts.count_timer(Hw::this_cpu());
                let handler = || kernel.sched.timer_interrupt();
                kernel
                    .calls
                    .run_inside(Hw::this_cpu(), Inside::Handler, handler);
            }
            Irq::Ppi(_) | Irq::Spi(_) | Irq::Lpi(_) => {
                if !kernel.irqs.interrupt(irq, Hw::this_cpu()) {
                    came_unasked(kernel, irq);
                }
            }
        }
        kernel.irq_chip.end(token);
        if irq == Irq::Sgi(Sgi::Panic) {
            panic::interrupt();
        }
        if Hw::preempt_count() != before {
            count_changed(kernel, irq, before);
        }
    }
    #[cfg(debug_assertions)]
    lockdep::set_in_irq(false);
}

/// Masks an interrupt that no handler is for.
#[cold]
#[inline(never)]
fn came_unasked(kernel: &'static Kernel, irq: Irq) {
    if let Irq::Ppi(ppi) = irq {
        kernel.irq_chip.disable_private(Hw::this_cpu(), ppi);
    } else if kernel.irq_chip.has_line(irq) {
        kernel.irq_chip.mask(irq);
    }
    log::warn!(
        "CPU{}: unexpected {irq:?}: it has no handler, and is masked",
        Hw::this_cpu()
    );
}

/// Handles the SGIs that other CPUs have posted to this one while it was idle, a bit of `posted`
/// for each: as if it had taken each as an interrupt.
///
/// # Context
/// The idle thread, IRQs masked: nothing is interrupted.
pub(super) fn handle_posted(posted: u32) {
    if static_branch_unlikely!(SCHED_TRACING) {
        return handle_posted_traced(posted);
    }
    handle_each(posted, handle_sgi);
}

#[cold]
#[inline(never)]
fn handle_posted_traced(posted: u32) {
    handle_each(posted, |kernel, sgi| {
        let span = IrqSpan::new();
        span.begins(Irq::Sgi(sgi));
        handle_sgi(kernel, sgi);
        span.ends();
    });
}

/// Handles each SGI of `posted` with `handle_fn`.
#[inline(always)] // As `handle_one`.
fn handle_each(mut posted: u32, handle_fn: impl Fn(&'static Kernel, Sgi)) {
    #[cfg(debug_assertions)]
    lockdep::set_in_irq(true);
    let kernel = kernel();
    let before = Hw::preempt_count();
    while let Some(number) = posted.checked_ilog2() {
        posted ^= 1 << number;
        let sgi = Sgi::ALL[number as usize];
        handle_fn(kernel, sgi);
        if sgi == Sgi::Panic {
            panic::interrupt();
        }
        if Hw::preempt_count() != before {
            count_changed(kernel, Irq::Sgi(sgi), before);
        }
    }
    #[cfg(debug_assertions)]
    lockdep::set_in_irq(false);
}

/// Panics because the handler of `irq` has changed the preempt count, which was `before`.
#[cold]
fn count_changed(kernel: &'static Kernel, irq: Irq, before: u32) -> ! {
    let what = match irq {
        Irq::Sgi(Sgi::Call) => "the function of a call",
        Irq::Ppi(ppi) if ppi == kernel.timer_ppi => "the function of a timer",
        _ => "an interrupt handler",
    };
    panic!(
        "BUG: {what} has left the preempt count at {}, which was {before}",
        Hw::preempt_count()
    );
}

/// Counts the SGI, and calls its handler.
fn handle_sgi(kernel: &'static Kernel, sgi: Sgi) {
    kernel.interrupts.count_sgi(Hw::this_cpu(), sgi.number());
    match sgi {
        // It reads the preempt count, which is the interrupted thread's here.
        Sgi::GracePeriod => kernel.grace_periods.interrupt(),
        Sgi::Call => kernel.calls.interrupt(Hw::this_cpu()),
        Sgi::Stop => kernel.stop_machine.stop_interrupt(),
        Sgi::Reschedule => kernel.sched.reschedule_interrupt(),
        Sgi::Event => kernel.hotplug.event_interrupt(),
        // Wake has ended a sleep by its arrival. `stillpoint_irq` handles Panic after it has
        // ended the interrupt.
        Sgi::Wake | Sgi::Panic => {}
    }
}

/// Runs the test's handler for the SGI that only tests send. Logs a warning for any other
/// SGI, because none of those is turned on.
#[inline]
fn handle_unknown_sgi(kernel: &'static Kernel, number: u8) {
    kernel.interrupts.count_sgi(Hw::this_cpu(), number);
    if number != TEST_SGI {
        warn_of_sgi(number);
    } else if let Some(handler) = kernel.test_handler.get() {
        kernel
            .calls
            .run_inside(Hw::this_cpu(), Inside::Handler, handler);
    }
}

#[cold]
fn warn_of_sgi(number: u8) {
    log::warn!(
        "CPU{}: unexpected SGI {number}: it has no meaning here",
        Hw::this_cpu()
    );
}

/// The preemption point at the end of an interrupt. The vector calls it on the interrupted
/// thread's stack, with IRQs masked.
#[unsafe(no_mangle)]
extern "C" fn stillpoint_irq_exit() {
    if Hw::preempt_count() == 0 {
        let kernel = kernel();
        // The interrupted code had IRQs on and a preempt count of 0, so it is in no read-side
        // section.
        kernel.grace_periods.preempt_point();
        kernel.sched.preempt_point();
    }
}
