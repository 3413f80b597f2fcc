//! What kept a CPU from a stop, for the error and for messages.
//!
//! A stopper that has work but hasn't begun it tells by its state where its CPU hangs: the
//! handler of the stop SGI makes it runnable, and a preemption point lets it run.
//!
//! ```text
//!   stopper's thread    so on that CPU
//!   ────────────────    ──────────────
//!   blocked             the SGI was not taken: IRQs are masked, or the host doesn't run it
//!   runnable            the SGI was taken: preemption is off, or a handler goes on
//!   running             it does another work
//! ```

#![forbid(unsafe_code)]

use core::fmt;

use crate::cpu::CpuId;
use crate::sched::{FlushHolder, ThreadName, ThreadState};
use crate::stop_machine::StopHost;

/// A CPU that did not come to a stop before it was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotCome {
    /// The CPU.
    pub cpu: CpuId,
    /// What was in its way.
    pub held_up: HeldUp,
}

/// What kept a CPU from a stop, at least since the stop was called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldUp {
    /// The thread that the CPU runs, if that could be read.
    pub thread: Option<ThreadName>,
    /// Why it goes on there.
    pub by: HeldBy,
}

/// Why a CPU went on with what it did when it was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldBy {
    /// It has IRQs masked, or its host doesn't run it.
    IrqsOff,
    /// It has preemption off, or is in a handler that takes long.
    PreemptionOff,
    /// It runs the function of a cross call, of this name.
    Call(&'static str),
    /// It runs the function of a timer, of this name.
    Timer(&'static str),
    /// Its stopper does another work.
    OtherStop,
    /// The thread was preempted, or ran when the flush began, and goes on inside the kernel
    /// without giving its CPU away.
    Unflushed,
}

impl HeldBy {
    /// Returns the function of a timer or of a call that `cpu` runs, if it runs one.
    ///
    /// # Context
    /// Any.
    pub(super) fn function_of<P: StopHost>(cpu: CpuId) -> Option<HeldBy> {
        // On this CPU the timer is the one that gives the stop up.
        let timer = P::sched().running_timer_racy(cpu);
        let timer = timer.filter(|_| cpu != P::this_cpu()).map(HeldBy::Timer);
        timer.or_else(|| P::calls().running_racy(cpu).map(HeldBy::Call))
    }
}

impl HeldUp {
    /// Finds out what keeps `cpu` from its stopper's work. Takes no lock that it would have to
    /// wait for.
    ///
    /// # Context
    /// Any.
    pub(super) fn of<P: StopHost>(cpu: CpuId) -> HeldUp {
        let thread = P::sched().current_name_racy(cpu);
        let by = HeldBy::function_of::<P>(cpu).unwrap_or_else(|| {
            let stopper = P::stop_machine().stopper(cpu).thread();
            match stopper.map(|thread| thread.state_racy()) {
                Some(ThreadState::Running) => HeldBy::OtherStop,
                Some(ThreadState::Runnable) => HeldBy::PreemptionOff,
                _ => HeldBy::IrqsOff,
            }
        });
        HeldUp { thread, by }
    }
}

impl HeldUp {
    /// Returns what keeps the CPU of `holder` from finishing a flush.
    ///
    /// # Context
    /// As for [`HeldUp::of`].
    pub(super) fn by_holder<P: StopHost>(holder: &FlushHolder) -> HeldUp {
        if holder.entered {
            HeldUp {
                thread: holder.thread,
                by: HeldBy::Unflushed,
            }
        } else {
            // It has not taken the SGI that asked it to enter.
            HeldUp::of::<P>(holder.cpu)
        }
    }
}

impl fmt::Display for NotCome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CPU {}", self.cpu)?;
        if let Some(thread) = self.held_up.thread {
            write!(f, " in {thread}")?;
        }
        write!(f, " ({})", self.held_up.by)
    }
}

impl fmt::Display for HeldBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeldBy::IrqsOff => f.write_str("IRQs are masked, or it is not run"),
            HeldBy::PreemptionOff => f.write_str("preemption is off"),
            HeldBy::Call(name) => write!(f, "runs the call {name}"),
            HeldBy::Timer(name) => write!(f, "runs the function of the timer {name}"),
            HeldBy::OtherStop => f.write_str("does another work of its stopper"),
            HeldBy::Unflushed => f.write_str("does not give its CPU away"),
        }
    }
}
