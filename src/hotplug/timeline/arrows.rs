//! Arrows: from a thread that sends an SGI to the handler on the receiver, and from a handler to the
//! thread that it has made due.
//!
//! The next interrupt of an SGI's number on its receiver is the one that it has raised: several SGIs
//! of one number may raise one interrupt, and have an arrow each. An SGI that was sent before the
//! receiver's ring begins is left out. So is an arrow to or from a slice that isn't there, or that
//! takes no time, which no reader would find.

use alloc::vec::Vec;

use super::events::{Group, Place};
use super::sched_history::{CpuHistory, SchedHistory, SentSgi};
use crate::cpu::CpuId;
use crate::platform::SGI_COUNT;
use crate::time::Instant;

/// The name of the arrow of an SGI.
const SENT: &str = "sgi";
/// The name of the arrow to a thread.
const WOKEN: &str = "woken";

/// An arrow between two slices.
pub(super) struct Arrow {
    pub(super) from: Place,
    pub(super) to: Place,
    pub(super) name: &'static str,
}

impl SchedHistory {
    /// Calls `each_fn` with each arrow.
    ///
    /// # Errors
    /// What `each_fn` returned.
    pub(super) fn for_each_arrow<E>(
        &self,
        mut each_fn: impl FnMut(Arrow) -> Result<(), E>,
    ) -> Result<(), E> {
        for (cpu, history) in &self.cpus {
            self.for_each_sgi_to(*cpu, history, &mut each_fn)?;
            for interrupt in &history.interrupts {
                let run = interrupt.woken.and_then(|at| history.run_at(at));
                if let Some(run) = run.filter(|_| interrupt.ticks > 0) {
                    each_fn(Arrow {
                        from: place(Group::Interrupts, *cpu, interrupt.at),
                        to: place(Group::Threads, *cpu, run.at),
                        name: WOKEN,
                    })?;
                }
            }
        }
        Ok(())
    }

    fn for_each_sgi_to<E>(
        &self,
        cpu: CpuId,
        history: &CpuHistory,
        each_fn: &mut impl FnMut(Arrow) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.sgis.partition_point(|sgi| sgi.at < history.since);
        let mut sgis = self.sgis[before..].iter().peekable();
        let mut pending: [Vec<&SentSgi>; SGI_COUNT] = Default::default();
        for interrupt in &history.interrupts {
            while let Some(sgi) = sgis.next_if(|sgi| sgi.at <= interrupt.at) {
                if sgi.event.is_sgi_to(sgi.number, cpu) {
                    pending[usize::from(sgi.number)].push(sgi);
                }
            }
            let number = usize::try_from(interrupt.intid).ok();
            let raised = number.and_then(|number| pending.get_mut(number));
            for sgi in raised.into_iter().flat_map(|raised| raised.drain(..)) {
                let by = self.cpus.iter().find(|(by, _)| *by == sgi.by);
                let runs = by.is_some_and(|(_, by)| by.run_at(sgi.at).is_some());
                if runs && interrupt.ticks > 0 {
                    each_fn(Arrow {
                        from: place(Group::Threads, sgi.by, sgi.at),
                        to: place(Group::Interrupts, cpu, interrupt.at),
                        name: SENT,
                    })?;
                }
            }
        }
        Ok(())
    }
}

fn place(group: Group, cpu: CpuId, at: Instant) -> Place {
    Place { group, cpu, at }
}
