//! A thread: its class, its CPU, its body, and the scheduler's records of it.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use intrusive_collections::{LinkedListAtomicLink, RBTreeAtomicLink};

use crate::cpu::{CpuId, CpuMask};
use crate::sched::due::{Due, DueLink, HasDue};
use crate::sched::lock::{
    Completion, HeldAddRemoveLock, HeldCpusLock, HeldRwLocks, Lenders, Place,
};
use crate::sched::marks::Marks;
use crate::sched::permit::Permit;
use crate::sched::share::Share;
use crate::sched::urgency::Urgency;
use crate::sched::usage::{Counters, Usage};
use crate::sched::{Affinity, BlockState, Class, Nice, SchedHost, ThreadName, ThreadState};
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use crate::sync::{LockMap, Once, SpinLock, might_sleep_in};

/// Bits of `Thread::queued`: the thread is in a run queue, and was movable when it came.
const QUEUED: u8 = 1;
const MOVABLE: u8 = 2;

/// The function that a thread runs.
pub(crate) type Body = Box<dyn FnOnce() + Send>;

/// Where a thread may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On this CPU only: a per-CPU thread, or the idle thread.
    PerCpu(CpuId),
    /// On any of these CPUs.
    Among(CpuMask),
}

/// A thread. Shared by its run queue, by the threads that wait for it, and by itself.
pub struct Thread<P: SchedHost> {
    /// Link in the run queue of `cpu` at a level above the ordinary one
    /// (`queued-if-ready` of [`sched`](crate::sched)).
    pub(crate) run_link: LinkedListAtomicLink,
    /// Link among the ordinary threads in the run queue of `cpu`.
    pub(crate) fair_link: RBTreeAtomicLink,
    /// Link in the list of threads that wait for the same object. A thread waits for
    /// one object at a time.
    pub(crate) wait_link: LinkedListAtomicLink,
    /// Link among the threads that lend to the same thread.
    pub(crate) lend_link: LinkedListAtomicLink,
    /// Link in the list of all threads that have not ended.
    pub(crate) all_link: LinkedListAtomicLink,
    /// Link in the queue of threads that wake at an instant.
    pub(crate) sleep_link: DueLink,
    due: Due,
    name: ThreadName,
    /// The thread's number; 0 until it is in the list of all threads. Relaxed: for display.
    number: AtomicU32,
    /// [`QUEUED`] and [`MOVABLE`]. Relaxed: run-queue lock.
    queued: AtomicU8,
    /// The thread's class, and how urgent it is.
    pub(crate) urgency: Urgency,
    /// The thread's share as an ordinary thread.
    pub(crate) share: Share,
    /// What the thread has used so far.
    pub(crate) counters: Counters,
    per_cpu: bool,
    /// The CPU to whose run queue the thread belongs. Relaxed: written under the lock
    /// of the queue that it named before (`moved-off-queue` of `migrate`), and read
    /// again under that lock.
    cpu: AtomicU32,
    /// The CPUs on which the thread may run, and its pins.
    pub(crate) affinity: Affinity,
    /// The rest of the thread's slice, in ticks; 0: a whole slice. Relaxed: run-queue lock.
    slice_left: AtomicU64,
    /// Whether the next wait for a permit returns at once, as after `unpark` in `std`.
    pub(super) permit: Permit,
    /// Whether every CPU in the thread's affinity is kept from going down while the
    /// thread lives. Relaxed: set before the thread runs.
    holds_cpus: AtomicBool,
    /// Whether the log says nothing when all CPUs of the thread's affinity have gone.
    /// Relaxed: for the log alone.
    moves_silently: AtomicBool,
    /// Whether the thread waits for a mutex, and at which level.
    pub(crate) place: Place,
    /// The threads that lend to this one.
    pub(super) lenders: SpinLock<Lenders<Self>, P>,
    /// How the thread holds the lock of the CPUs. Relaxed: only the thread uses it.
    pub(crate) cpus_lock: HeldCpusLock,
    /// Whether the thread holds the add/remove lock. Relaxed: only the thread uses it.
    pub(crate) add_remove_lock: HeldAddRemoveLock,
    /// The `RwLock`s that the thread holds for reading. Relaxed: only the thread uses
    /// it.
    pub(crate) rw_locks: HeldRwLocks,
    /// How the thread left its CPU last, and whether it runs the application's own code.
    pub(super) marks: Marks,
    /// The thread's state, and whether it has been asked to park.
    pub(crate) block_state: BlockState,
    /// The saved registers. Set once, before the thread runs for the first time.
    context: Once<P::Context>,
    body: SpinLock<Option<Body>, P>,
    /// Completed each time that the thread has parked, and for ever once it is dead
    /// (`after-the-switch` of [`sched`](crate::sched)).
    pub(crate) stopped: Completion<P>,
    /// The work of a per-CPU thread between two parks, for the lock validator.
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
        work: LockMap,
    ) -> Arc<Thread<P>> {
        let (cpu, cpus) = match place {
            Placement::PerCpu(cpu) => (cpu, CpuMask::of(cpu)),
            // A thread that may run nowhere is not started.
            Placement::Among(cpus) => (cpus.first().unwrap_or_else(P::this_cpu), cpus),
        };
        let thread = Thread {
            run_link: LinkedListAtomicLink::new(),
            fair_link: RBTreeAtomicLink::new(),
            wait_link: LinkedListAtomicLink::new(),
            lend_link: LinkedListAtomicLink::new(),
            all_link: LinkedListAtomicLink::new(),
            sleep_link: DueLink::new(),
            due: Due::new(),
            name,
            number: AtomicU32::new(0),
            queued: AtomicU8::new(0),
            urgency: Urgency::new(class),
            share: Share::new(Nice::default()),
            counters: Counters::new(),
            per_cpu: matches!(place, Placement::PerCpu(_)),
            cpu: AtomicU32::new(0),
            affinity: Affinity::new(&cpus),
            slice_left: AtomicU64::new(0),
            permit: Permit::new(),
            holds_cpus: AtomicBool::new(false),
            moves_silently: AtomicBool::new(false),
            place: Place::new(),
            lenders: SpinLock::new(Lenders::new()),
            cpus_lock: HeldCpusLock::new(),
            add_remove_lock: HeldAddRemoveLock::new(),
            rw_locks: HeldRwLocks::new(),
            marks: Marks::new(),
            block_state: BlockState::new(state),
            context: Once::new(),
            body: SpinLock::new(body),
            stopped: Completion::new(),
            work,
        };
        thread.set_cpu(cpu);
        Arc::new(thread)
    }

    /// Returns the thread's name, such as `cpuhp/3`.
    pub fn name(&self) -> &ThreadName {
        &self.name
    }

    /// Returns the thread's number, by which people name it. Each thread that is started has a
    /// greater one.
    pub fn number(&self) -> u32 {
        self.number.load(Ordering::Relaxed)
    }

    /// Sets what [`Thread::number`] returns.
    pub(super) fn set_number(&self, number: u32) {
        self.number.store(number, Ordering::Relaxed);
    }

    /// Returns the thread's class, as of a moment ago.
    pub fn class(&self) -> Class {
        self.urgency.class()
    }

    /// Returns the thread's niceness, as of a moment ago.
    pub fn nice(&self) -> Nice {
        self.share.nice()
    }

    /// Returns what the thread has used so far.
    pub fn usage(&self) -> Usage {
        self.counters.get()
    }

    /// Returns the level at which the thread queues: that of its class, or of a more
    /// urgent thread that waits for it.
    #[inline]
    pub(crate) fn level(&self) -> usize {
        self.urgency.level()
    }

    /// Returns whether a thread that waits for this one lends to it.
    #[inline]
    pub(crate) fn inherits(&self) -> bool {
        self.urgency.inherits()
    }

    /// Returns whether the thread takes turns with others of its level.
    #[inline]
    pub(crate) fn takes_turns(&self) -> bool {
        self.urgency.takes_turns()
    }

    /// Returns the thread's weight if it is an ordinary thread, else 0.
    #[inline]
    pub(crate) fn ordinary_weight(&self) -> u64 {
        if self.urgency.is_ordinary() {
            u64::from(self.share.weight())
        } else {
            0
        }
    }

    /// Returns whether the thread is in a run queue.
    ///
    /// # Context
    /// Under the run-queue lock.
    #[inline]
    pub(crate) fn is_queued(&self) -> bool {
        self.queued.load(Ordering::Relaxed) != 0
    }

    /// Records that the thread is in a run queue. Returns whether it is movable.
    ///
    /// # Context
    /// Under the run-queue lock.
    #[inline]
    pub(crate) fn note_queued(&self) -> bool {
        let movable = self.is_movable();
        let queued = QUEUED | if movable { MOVABLE } else { 0 };
        self.queued.store(queued, Ordering::Relaxed);
        movable
    }

    /// Records that the thread is in no run queue any more. Returns what
    /// [`Thread::note_queued`] has returned.
    ///
    /// # Context
    /// Under the run-queue lock.
    #[inline]
    pub(crate) fn note_dequeued(&self) -> bool {
        let movable = self.queued.load(Ordering::Relaxed) & MOVABLE != 0;
        self.queued.store(0, Ordering::Relaxed);
        movable
    }

    /// Returns the CPU on which the thread runs, or ran last. Unless the thread is
    /// pinned or a per-CPU thread, it may be another CPU a moment later.
    #[inline]
    pub fn cpu(&self) -> CpuId {
        let index = self.cpu.load(Ordering::Relaxed) as usize;
        CpuId::new(index).expect("BUG: a thread is on no CPU of ours")
    }

    /// Sets the CPU to whose run queue the thread belongs.
    ///
    /// # Context
    /// Under the lock of the queue that [`Thread::cpu`] names, or before any other
    /// thread can find this one.
    pub(crate) fn set_cpu(&self, cpu: CpuId) {
        self.cpu.store(cpu.as_u32(), Ordering::Relaxed);
    }

    /// Returns whether the thread is a per-CPU thread, which never moves.
    #[inline]
    pub fn is_per_cpu(&self) -> bool {
        self.per_cpu
    }

    /// Returns the CPUs on which the thread could run a moment ago.
    pub fn affinity(&self) -> CpuMask {
        self.affinity.cpus()
    }

    /// Returns whether the thread may run on `cpu`.
    #[inline]
    pub fn may_run_on(&self, cpu: CpuId) -> bool {
        self.affinity.allows(cpu)
    }

    /// Returns whether the thread is pinned to its CPU.
    #[inline]
    pub(crate) fn is_pinned(&self) -> bool {
        self.affinity.is_pinned()
    }

    /// Returns whether the thread may be taken off its CPU when that goes offline.
    #[inline]
    pub(crate) fn may_leave(&self) -> bool {
        !self.per_cpu && !self.is_pinned()
    }

    /// Returns whether the thread may be moved to another CPU, so that it runs earlier:
    /// it may leave its CPU, and may run on others.
    #[inline]
    pub(crate) fn is_movable(&self) -> bool {
        // A per-CPU thread has no choice.
        self.affinity.has_choice() && !self.is_pinned()
    }

    /// Returns whether the thread keeps the CPUs in its affinity from going down.
    /// Relaxed: set before the thread runs.
    pub(super) fn holds_cpus(&self) -> bool {
        self.holds_cpus.load(Ordering::Relaxed)
    }

    pub(super) fn set_holds_cpus(&self) {
        self.holds_cpus.store(true, Ordering::Relaxed);
    }

    /// Returns whether the thread loses its affinity without a line in the log.
    pub(super) fn moves_silently(&self) -> bool {
        self.moves_silently.load(Ordering::Relaxed)
    }

    /// Has the thread lose its affinity without a line in the log when its CPUs go down: the
    /// kernel gives it back itself.
    pub(crate) fn set_moves_silently(&self) {
        self.moves_silently.store(true, Ordering::Relaxed);
    }

    /// Takes the rest of the thread's slice, in ticks, if there is one. The slice after
    /// that is a whole one.
    ///
    /// # Context
    /// Under the run-queue lock.
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

    /// Returns the thread's state a moment ago, for display.
    pub fn state_racy(&self) -> ThreadState {
        self.state()
    }

    /// Returns whether the thread holds the lock of the CPUs, for reading or writing.
    ///
    /// # Context
    /// The thread itself.
    pub(crate) fn holds_cpus_lock(&self) -> bool {
        self.cpus_lock.is_held()
    }

    /// Returns whether the thread has ended and is off its CPU.
    /// [`Thread::wait_until_dead`] would not wait then, and what the thread did is
    /// visible to the caller.
    ///
    /// # Context
    /// Any.
    pub fn has_ended(&self) -> bool {
        self.block_state.has_ended()
    }

    /// Waits until the thread has ended and is off its CPU.
    ///
    /// # Context
    /// Another thread, preemption on.
    ///
    /// # Panics
    /// If the running thread waits for itself: the wait would never end.
    pub fn wait_until_dead(&self) {
        P::sched().with_current(|me| {
            assert!(
                !core::ptr::eq(self, me),
                "BUG: {me:?} waits for its own end"
            );
        });
        might_sleep_in::<P>("join");
        self.stopped.wait();
    }

    /// Returns whether the thread has been asked to park, and not been unparked since.
    pub(crate) fn should_park(&self) -> bool {
        self.block_state.should_park()
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

    /// Has `make_fn` make the thread's context, in its place: by value it would be copied twice
    /// on its way there.
    ///
    /// # Errors
    /// That of `make_fn`.
    pub(crate) fn make_context<E>(
        &self,
        make_fn: impl FnOnce() -> Result<P::Context, E>,
    ) -> Result<(), E> {
        self.context.try_call_once(make_fn).map(|_| ())
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
        write!(f, "{} ({:?}, {:?})", self.name, self.class(), self.state())
    }
}
