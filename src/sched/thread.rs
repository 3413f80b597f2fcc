//! A thread: class, CPU, what it runs, and what the scheduler keeps of it.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use intrusive_collections::LinkedListAtomicLink;

use crate::cpu::{CpuId, CpuMask};
use crate::sched::due::{Due, DueLink, HasDue};
use crate::sched::lock::{Completion, HeldCpusLock, HeldRwLocks};
use crate::sched::permit::Permit;
use crate::sched::{Affinity, BlockState, Class, SchedHost, ThreadName, ThreadState};
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::sync::{LockMap, Once, SpinLock};

/// Bits of what a thread has not finished.
const MARKED: u32 = 1;
const HOLDOUT: u32 = 2;

/// What a thread runs.
pub(crate) type Body = Box<dyn FnOnce() + Send>;

/// Where a thread may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// One CPU's own thread (or idle): there, and nowhere else, ever.
    PerCpu(CpuId),
    /// Any of these CPUs.
    Among(CpuMask),
}

/// A thread. Shared by its run queue, by who waits for it, and by itself.
pub struct Thread<P: SchedHost> {
    /// In the run queue of `cpu` (`queued-if-ready` of [`sched`](crate::sched)).
    pub(crate) run_link: LinkedListAtomicLink,
    /// Among those who wait for what it waits for: one thing at a time.
    pub(crate) wait_link: LinkedListAtomicLink,
    /// Among all that have not ended.
    pub(crate) all_link: LinkedListAtomicLink,
    /// Among those that wake at an instant.
    pub(crate) sleep_link: DueLink,
    due: Due,
    name: ThreadName,
    class: Class,
    /// Its class's, at hand.
    level: u8,
    sliced: bool,
    per_cpu: bool,
    /// The CPU whose run queue is its own. Relaxed: written under the lock of the
    /// queue that it names before (`moved-off-queue` of `migrate`), and looked at again
    /// under that lock.
    cpu: AtomicU32,
    /// Where it may run, and whether it stays on its CPU.
    pub(crate) affinity: Affinity,
    /// What is left of its slice, in ticks; 0: a whole one. Relaxed: run-queue lock.
    slice_left: AtomicU64,
    /// Lets it go on, if it waits for that.
    pub(super) permit: Permit,
    /// As long as it lives no CPU that it may run on can go.
    holds_cpus: AtomicBool,
    /// How it holds the lock of the CPUs. Relaxed: the thread's own.
    pub(crate) cpus_lock: HeldCpusLock,
    /// The locks that it reads under. Relaxed: the thread's own.
    pub(crate) rw_locks: HeldRwLocks,
    /// [`MARKED`]: it lost the CPU other than by its own sleep, park, yield or exit,
    /// and has not done one of those since. [`HOLDOUT`]: somebody waits
    /// until it has, see `holdouts`. One word, so that it is cleared by one store.
    /// Relaxed: run-queue lock.
    unfinished: AtomicU32,
    /// Its state, and whether it has been asked to park.
    pub(crate) block_state: BlockState,
    /// Set once, before the thread runs for the first time.
    context: Once<P::Context>,
    body: SpinLock<Option<Body>, P>,
    /// Complete each time it has parked, and for ever once it is dead (`after-the-switch` of
    /// [`sched`](crate::sched)).
    pub(crate) stopped: Completion<P>,
    /// What a per-CPU thread does between two parks, for the validator.
    pub(crate) work: LockMap,
}

impl<P: SchedHost> Thread<P> {
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn new(
        name: ThreadName,
        class: Class,
        place: Placement,
        state: ThreadState,
        body: Option<Body>,
    ) -> Arc<Thread<P>> {
        let (cpu, cpus) = match place {
            Placement::PerCpu(cpu) => (cpu, CpuMask::of(cpu)),
            Placement::Among(cpus) => (cpus.first().unwrap_or(CpuId::BOOT), cpus),
        };
        let thread = Thread {
            run_link: LinkedListAtomicLink::new(),
            wait_link: LinkedListAtomicLink::new(),
            all_link: LinkedListAtomicLink::new(),
            sleep_link: DueLink::new(),
            due: Due::new(),
            name,
            class,
            level: u8::try_from(class.level()).expect("BUG: levels fit a byte"),
            sliced: class.slice().is_some(),
            per_cpu: matches!(place, Placement::PerCpu(_)),
            cpu: AtomicU32::new(0),
            affinity: Affinity::new(&cpus),
            slice_left: AtomicU64::new(0),
            permit: Permit::new(),
            holds_cpus: AtomicBool::new(false),
            cpus_lock: HeldCpusLock::new(),
            rw_locks: HeldRwLocks::new(),
            unfinished: AtomicU32::new(0),
            block_state: BlockState::new(state),
            context: Once::new(),
            body: SpinLock::new(body),
            stopped: Completion::new(),
            work: LockMap::new(),
        };
        thread.set_cpu(cpu);
        Arc::new(thread)
    }

    /// Its name, such as `cpuhp/3`.
    pub fn name(&self) -> &ThreadName {
        &self.name
    }

    /// Its class.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Its class's level.
    #[inline]
    pub(crate) fn level(&self) -> usize {
        usize::from(self.level)
    }

    /// Whether its class takes turns.
    #[inline]
    pub(crate) fn takes_turns(&self) -> bool {
        self.sliced
    }

    /// The CPU that it runs on, or ran on last. Unless it is a per-CPU thread, or
    /// pinned, another one a moment later.
    #[inline]
    pub fn cpu(&self) -> CpuId {
        let index = self.cpu.load(Ordering::Relaxed) as usize;
        CpuId::new(index).expect("BUG: a thread is on no CPU of ours")
    }

    /// Under the lock of the queue that [`Thread::cpu`] names, or before any other thread can
    /// find it.
    pub(crate) fn set_cpu(&self, cpu: CpuId) {
        self.cpu.store(cpu.as_u32(), Ordering::Relaxed);
    }

    /// Whether it is one CPU's own, which runs nowhere else.
    #[inline]
    pub fn is_per_cpu(&self) -> bool {
        self.per_cpu
    }

    /// Where it may run, a moment ago.
    pub fn affinity(&self) -> CpuMask {
        self.affinity.cpus()
    }

    /// Whether it may run on `cpu`.
    #[inline]
    pub fn may_run_on(&self, cpu: CpuId) -> bool {
        self.affinity.allows(cpu)
    }

    /// Whether it stays on its CPU for now.
    #[inline]
    pub(crate) fn is_pinned(&self) -> bool {
        self.affinity.is_pinned()
    }

    /// Whether it may be taken to another CPU.
    #[inline]
    pub(crate) fn is_movable(&self) -> bool {
        !self.per_cpu && !self.is_pinned()
    }

    /// Whether no CPU that it may run on can go as long as it lives. Relaxed: set before
    /// it runs.
    pub(super) fn holds_cpus(&self) -> bool {
        self.holds_cpus.load(Ordering::Relaxed)
    }

    pub(super) fn set_holds_cpus(&self) {
        self.holds_cpus.store(true, Ordering::Relaxed);
    }

    /// What is left of its slice, in ticks; the next time it is a whole one. Under
    /// the run-queue lock.
    pub(crate) fn take_slice_left(&self) -> Option<u64> {
        let left = self.slice_left.load(Ordering::Relaxed);
        if left != 0 {
            self.slice_left.store(0, Ordering::Relaxed);
        }
        (left != 0).then_some(left)
    }

    pub(crate) fn set_slice_left(&self, ticks: u64) {
        self.slice_left.store(ticks, Ordering::Relaxed);
    }

    /// Whether it left its CPU in the middle of something, a moment ago.
    #[inline]
    pub fn is_marked_racy(&self) -> bool {
        self.unfinished.load(Ordering::Relaxed) & MARKED != 0
    }

    /// It leaves its CPU, by itself or in the middle of something. Under the run-queue
    /// lock.
    #[inline]
    pub(crate) fn leaves_cpu(&self, preempted: bool) {
        let unfinished = if preempted {
            self.unfinished.load(Ordering::Relaxed) | MARKED
        } else {
            0
        };
        self.unfinished.store(unfinished, Ordering::Relaxed);
    }

    /// Under the run-queue lock.
    pub(super) fn is_holdout(&self) -> bool {
        self.unfinished.load(Ordering::Relaxed) & HOLDOUT != 0
    }

    /// Under the run-queue lock.
    pub(super) fn set_holdout(&self, holdout: bool) {
        let others = self.unfinished.load(Ordering::Relaxed) & !HOLDOUT;
        let bit = if holdout { HOLDOUT } else { 0 };
        self.unfinished.store(others | bit, Ordering::Relaxed);
    }

    /// Its state a moment ago: for display.
    pub fn state_racy(&self) -> ThreadState {
        self.state()
    }

    /// Returns whether it has ended and is off its CPU: [`Thread::wait_until_dead`] would
    /// not wait. What it did is visible to the caller then.
    ///
    /// # Context
    /// Any.
    pub fn has_ended(&self) -> bool {
        self.block_state.has_ended()
    }

    /// Waits until it has ended and is off its CPU.
    ///
    /// # Context
    /// Another thread, preemption on.
    ///
    /// # Panics
    /// If it is the running thread: it would wait for itself.
    pub fn wait_until_dead(&self) {
        P::sched().with_current(|me| {
            assert!(
                !core::ptr::eq(self, me),
                "BUG: {me:?} waits for its own end"
            );
        });
        self.stopped.wait();
    }

    pub(crate) fn state(&self) -> ThreadState {
        self.block_state.state()
    }

    pub(crate) fn set_state(&self, state: ThreadState) {
        self.block_state.set_state(state);
    }

    pub(crate) fn context(&self) -> &P::Context {
        self.context
            .get()
            .expect("BUG: a thread runs before it has a context")
    }

    pub(crate) fn set_context(&self, context: P::Context) {
        self.context.call_once(|| context);
    }

    pub(crate) fn take_body(&self) -> Option<Body> {
        self.body.lock_irqsave().take()
    }
}

impl<P: SchedHost> HasDue for Thread<P> {
    fn due(&self) -> &Due {
        &self.due
    }
}

impl<P: SchedHost> fmt::Debug for Thread<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}, {:?})", self.name, self.class, self.state())
    }
}
