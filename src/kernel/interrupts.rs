//! Interrupts: from the vector to their handlers.

use crate::kernel::Hw;
#[cfg(debug_assertions)]
use crate::kernel::hw::lockdep;
use crate::kernel::{Kernel, TEST_SGI, kernel};
use crate::kernel::{console, panic};
use crate::platform::{Irq, Platform, Sgi};
use crate::smp::call::Inside;
use crate::sync::LocalCpu;

/// An interrupt was taken. Called by the vector on this CPU's IRQ stack.
///
/// One is handled: a second one that is pending is rare, and asking for it would
/// cost every interrupt what it costs that one to come in anew.
///
/// # Panics
/// If what the interrupt ran has changed the preempt count: that is the interrupted
/// thread's, whose CPU would never switch again.
#[unsafe(no_mangle)]
extern "C" fn stillpoint_irq() {
    #[cfg(debug_assertions)]
    lockdep::set_in_irq(true);
    let kernel = kernel();
    let before = Hw::preempt_count();
    if let Some((token, irq)) = kernel.irq_chip.acknowledge() {
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
            Irq::Spi(spi) if Some(spi) == kernel.console_spi => console::receive_interrupt(),
            Irq::Ppi(_) | Irq::Spi(_) => {
                log::warn!("CPU{}: unexpected {irq:?}", Hw::this_cpu());
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

/// The end of a kernel whose handler of `irq` has changed the preempt count, which was
/// `before`.
#[cold]
fn count_changed(kernel: &'static Kernel, irq: Irq, before: u32) -> ! {
    let what = match irq {
        Irq::Sgi(Sgi::Call) => "the function of a call",
        Irq::Ppi(ppi) if ppi == kernel.timer_ppi => "the function of a timer",
        Irq::Sgi(_) | Irq::UnknownSgi(_) | Irq::Ppi(_) | Irq::Spi(_) => "an interrupt handler",
    };
    panic!(
        "BUG: {what} has left the preempt count at {}, which was {before}",
        Hw::preempt_count()
    );
}

fn handle_sgi(kernel: &'static Kernel, sgi: Sgi) {
    kernel.interrupts.count_sgi(Hw::this_cpu(), sgi.number());
    match sgi {
        // The preempt count is still the interrupted thread's.
        Sgi::GracePeriod => kernel.grace_periods.interrupt(),
        Sgi::Call => kernel.calls.interrupt(Hw::this_cpu()),
        Sgi::Stop => kernel.stop_machine.stop_interrupt(),
        Sgi::Reschedule => kernel.sched.reschedule_interrupt(),
        Sgi::Event => kernel.hotplug.event_interrupt(),
        // Wake has done its work by arriving; `stillpoint_irq` ends the interrupt first
        // where it is Panic.
        Sgi::Wake | Sgi::Panic => {}
    }
}

/// Handles the SGI that only tests send, and says that any other has come: none is on.
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

/// The way back from an interrupt, on the interrupted thread's stack, IRQs
/// masked: a preemption point.
#[unsafe(no_mangle)]
extern "C" fn stillpoint_irq_exit() {
    if Hw::preempt_count() == 0 {
        let kernel = kernel();
        // What was interrupted had IRQs on, so it is no read-side section.
        kernel.grace_periods.preempt_point();
        kernel.sched.preempt_from_irq();
    }
}
