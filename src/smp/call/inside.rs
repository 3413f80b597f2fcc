//! What a CPU is inside of that may not wait for another CPU: each such wait is found at once,
//! whether it would have an end or not.
//!
//! In a still point and in an INIT step an allocation is found, too. While its function runs, the
//! CPU has work for a preemption point, which nothing ever does; so an allocation, which has a
//! preemption point behind it, costs no more for being checked.

#![forbid(unsafe_code)]

use crate::cpu::CpuId;
use crate::platform::PreemptWork;
use crate::smp::call::{CallHost, Calls};
use crate::sync::atomic::Ordering;

/// The code inside which a CPU may not wait for another CPU's answer: the other CPU may
/// be waiting for this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Inside {
    /// No such code: the CPU may wait.
    Nothing,
    /// The function of a call that no sender waits for (`call-before-stop` of
    /// [`call`](crate::smp::call)).
    UnwaitedCall,
    /// An interrupt handler that runs a program's function: it may have interrupted a
    /// stopper that other CPUs wait for.
    Handler,
    /// The function of a stop: all other CPUs have masked IRQs, so none answers.
    Stop,
    /// The program's function that a panic calls: the other CPUs have stopped for good.
    PanicHook,
    /// The startup of a program's INIT step: the CPU isn't online, and others must not wait for a
    /// lock that it holds.
    InitStep,
}

impl Inside {
    /// Returns the name of the code that may not wait, for the panic message.
    fn fault(word: u32) -> &'static str {
        const FAULTS: [(Inside, &str); 5] = [
            (
                Inside::UnwaitedCall,
                "the function of a call that no sender waits for",
            ),
            (Inside::Handler, "an interrupt handler"),
            (Inside::Stop, "the function of a stop"),
            (Inside::PanicHook, "the panic hook"),
            (Inside::InitStep, "the startup of an INIT step"),
        ];
        let fault = FAULTS.iter().find(|(inside, _)| *inside as u32 == word);
        fault.map_or("nothing", |(_, what)| what)
    }
}

impl<P: CallHost> Calls<P> {
    /// Calls `run_fn` on `cpu`. Meanwhile a wait for another CPU's answer panics there; inside
    /// a stop and an INIT step an allocation, too.
    ///
    /// # Context
    /// `cpu` itself, IRQs masked.
    ///
    /// # Panics
    /// Inside a stop or an INIT step, if `run_fn` leaves another preempt count: it has forgotten a
    /// guard.
    #[inline]
    pub fn run_inside(&self, cpu: CpuId, inside: Inside, run_fn: impl FnOnce()) {
        let word = &self.cpus.get(cpu).inside;
        let before = word.load(Ordering::Relaxed);
        word.store(inside as u32, Ordering::Relaxed);
        if matches!(inside, Inside::Stop | Inside::InitStep) {
            let count = P::preempt_count();
            P::set_preempt_work(PreemptWork::Still, true);
            run_fn();
            // An INIT step may have a stop in it.
            P::set_preempt_work(PreemptWork::Still, before == Inside::InitStep as u32);
            if P::preempt_count() != count {
                count_changed(inside, P::preempt_count(), count);
            }
        } else {
            run_fn();
        }
        word.store(before, Ordering::Relaxed);
    }

    /// Returns the name of the code that `cpu` is inside of and that may not wait.
    ///
    /// # Context
    /// `cpu` itself, IRQs masked or preemption off.
    pub fn no_wait_place(&self, cpu: CpuId) -> Option<&'static str> {
        let inside = self.cpus.get(cpu).inside.load(Ordering::Relaxed);
        (inside != Inside::Nothing as u32).then(|| Inside::fault(inside))
    }

    /// Returns whether `cpu` is inside of `what`, and of nothing else within that.
    ///
    /// # Context
    /// As [`Calls::no_wait_place`].
    pub fn is_inside(&self, cpu: CpuId, what: Inside) -> bool {
        self.cpus.get(cpu).inside.load(Ordering::Relaxed) == what as u32
    }

    /// Checks that this CPU, which has IRQs masked, may wait for another CPU's answer.
    #[cold]
    pub(super) fn check_may_wait(&self, me: CpuId) {
        let inside = self.cpus.get(me).inside.load(Ordering::Relaxed);
        assert!(
            inside == Inside::Nothing as u32,
            "BUG: {} waits for another CPU's answer",
            Inside::fault(inside)
        );
    }
}

/// Panics because code has changed the preempt count.
#[cold]
#[inline(never)]
fn count_changed(inside: Inside, count: u32, before: u32) -> ! {
    let place = Inside::fault(inside as u32);
    panic!("BUG: {place} has left the preempt count at {count}, which was {before}");
}
