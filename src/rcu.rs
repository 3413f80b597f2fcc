//! Grace periods by SGI: waits until every CPU has left the read-side section
//! that it may have been in.
//!
//! A read-side section is a region with preemption off (or IRQs masked). The
//! waiter sends each CPU an SGI; one that finds the preempt count at 0 is a
//! quiescent state, otherwise it leaves a note that the drop of the outermost
//! guard reports. Microseconds, where waiting for ticks takes milliseconds. A CPU
//! that is idle is in no section and isn't woken ([`Quiet`]).
//!
//! This is the small form that `sync:active` needs: one waiter at a time, no
//! callbacks.
//!
//! # Invariants
//! - R1: a CPU in `pending` has been sent the SGI after the bit was set, and
//!   reports exactly once: whoever clears its bit counts `left` down. A stale or
//!   repeated SGI finds the bit clear, or is as good as the real one.
//! - R2: the note is written and read by its own CPU only.
//! - R3: a CPU can't leave while it is pending: the waiter holds the hotplug
//!   lock.
//!
//! # Memory ordering
//! What the waiter stored before [`GracePeriods::synchronize`] is visible to
//! every section that begins after that CPU's report: the SGI carries it there
//! (DSB before the register write). What a section did before it ended is
//! visible after `synchronize`: `left` counts down with AcqRel, and the
//! completion's lock carries it on. `tests/loom_rcu.rs` model-checks [`Pending`];
//! the SGI and the completion are not in it. An idle CPU is [`Quiet`]'s part, with
//! fences of its own.

#![forbid(unsafe_code)]

mod quiet;

use crate::cpu::{CpuId, CpuMask, PerCpu};
use crate::platform::{PreemptWork, Sgi};
use crate::sched::Host;
use crate::sched::lock::{Completion, Mutex};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{AtomicBits, IrqGuard, PreemptGuard};

pub use quiet::Quiet;

/// What grace periods need from their right.
pub trait GraceHost: Host {
    /// The one instance.
    fn grace_periods() -> &'static GracePeriods<Self>;
}

/// The CPUs that have not reported in a grace period.
#[derive(Debug)]
pub struct Pending {
    /// Who they are. Stored Release in [`Pending::begin`], cleared Acquire in
    /// [`Pending::report`]: who finds its bit finds the count.
    cpus: AtomicBits,
    /// How many they are. Counted down AcqRel: the last one has seen what all the
    /// others did before they reported.
    left: AtomicUsize,
}

impl Pending {
    /// No grace period.
    pub fn new() -> Pending {
        Pending {
            cpus: AtomicBits::new(),
            left: AtomicUsize::new(0),
        }
    }

    /// A grace period begins, in which all of `cpus` have to report. Only when the
    /// one before is over.
    #[inline]
    pub fn begin(&self, cpus: &CpuMask) {
        // Relaxed: the store of the bits orders it.
        self.left.store(cpus.count(), Ordering::Relaxed);
        self.cpus.store(cpus.bits(), Ordering::Release);
    }

    /// `cpu` is quiescent; returns whether it was the last that had to be. A
    /// second report, or one that nobody waits for, is none (R1).
    #[inline]
    #[must_use]
    pub fn report(&self, cpu: CpuId) -> bool {
        self.cpus.clear(cpu.index(), Ordering::Acquire)
            && self.left.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Who has not reported, a moment ago: for diagnosis.
    pub fn cpus_racy(&self) -> CpuMask {
        CpuMask::from_bits(self.cpus.snapshot(Ordering::Relaxed))
    }
}

impl Default for Pending {
    fn default() -> Self {
        Self::new()
    }
}

/// Waits for grace periods.
pub struct GracePeriods<P: Host> {
    /// One waiter at a time.
    waiter: Mutex<(), P>,
    pending: Pending,
    done: Completion<P>,
    quiet: PerCpu<Quiet>,
}

impl<P: Host> GracePeriods<P> {
    /// Nobody waits; for `cpus` CPUs.
    pub fn new(cpus: usize) -> Self {
        GracePeriods {
            waiter: Mutex::new(()),
            pending: Pending::new(),
            done: Completion::new(),
            quiet: PerCpu::new(cpus, |_| Quiet::new()),
        }
    }

    /// Sleeps until an interrupt is pending; meanwhile no grace period waits for
    /// this CPU.
    ///
    /// # Context
    /// The idle thread, IRQs masked.
    pub fn idle(&self) {
        let quiet = self.quiet.get(P::this_cpu());
        quiet.begin();
        P::sleep();
        quiet.end();
    }

    /// Whether `cpu` sleeps for want of work, a moment ago.
    #[inline]
    pub fn is_idle(&self, cpu: CpuId) -> bool {
        self.quiet.get(cpu).is_quiet()
    }

    /// Waits until every CPU that is online has left the read-side section that
    /// it may be in now. After ten seconds it calls `late_fn` with those that
    /// hold it up, and waits on.
    ///
    /// # Context
    /// Thread, preemption on; the hotplug lock is held by this operation.
    pub fn synchronize(&self, mut late_fn: impl FnMut(&CpuMask)) {
        let _one = self.waiter.lock();
        {
            let _here = PreemptGuard::<P>::new();
            // This CPU runs us, with preemption on a moment ago: quiescent.
            let others = P::masks().online().without(&CpuMask::of(P::this_cpu()));
            Quiet::before_asking();
            let mut busy = others;
            for cpu in others.iter() {
                if self.quiet.get(cpu).is_quiet() {
                    busy.remove(cpu);
                }
            }
            if busy.is_empty() {
                return;
            }
            self.done.reset();
            self.pending.begin(&busy);
            P::send_sgi(Sgi::GracePeriod, &busy);
        }
        self.done
            .wait_patiently(|| late_fn(&self.pending.cpus_racy()));
    }

    /// The SGI has arrived on this CPU.
    ///
    /// # Context
    /// Interrupt handler, before it has taken any guard: the preempt count is
    /// that of the interrupted thread.
    pub fn interrupt(&self) {
        let cpu = P::this_cpu();
        if P::preempt_count() == 0 {
            self.report(cpu);
        } else {
            P::set_preempt_work(PreemptWork::GracePeriod, true);
        }
    }

    /// The outermost guard of this CPU has been dropped: reports, if a grace
    /// period waits for that. Called from every preemption point.
    pub fn preempt_point(&self) {
        if P::has_preempt_work(PreemptWork::GracePeriod) {
            let _still = IrqGuard::<P>::new();
            P::set_preempt_work(PreemptWork::GracePeriod, false);
            self.report(P::this_cpu());
        }
    }

    fn report(&self, cpu: CpuId) {
        if self.pending.report(cpu) {
            self.done.complete();
        }
    }
}
