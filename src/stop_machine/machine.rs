//! The stoppers of the machine, the mutex of stops, and what a CPU does to join and to leave.

#![forbid(unsafe_code)]

use crate::cpu::{CpuId, CpuMask, PerCpu};
use crate::sched::lock::{Mutex, MutexGuard};
use crate::sched::{Service, ThreadName};
use crate::smp::call::CallHost;
use crate::stop_machine::alone::EarlyWorks;
use crate::stop_machine::current::Current;
use crate::stop_machine::spins::StopSpins;
use crate::stop_machine::stopper::StopperService;
use crate::stop_machine::{CpuStopTimes, LateCpu, LateStop, Loan, MultiStopState, Stopper};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{IrqGuard, Resting, SpinLock, WaitPoint};
use crate::time::Instant;

/// What a stop needs of the machine, beyond cross calls.
pub trait StopHost: CallHost {
    /// Returns the one instance.
    fn stop_machine() -> &'static StopMachine<Self>;

    /// Returns whether the states of stops are recorded: whether [`StopHost::trace_state`] is to be
    /// called.
    #[inline]
    fn traces_states() -> bool {
        false
    }

    /// Records that this CPU publishes `state` of a stop: of the machine, or of this CPU and `with`.
    ///
    /// # Context
    /// Any.
    fn trace_state(_state: MultiStopState, _with: Option<CpuId>) {}

    /// Reports that a stop waits for a CPU for a long time.
    ///
    /// # Context
    /// Any; IRQs may be masked.
    fn stop_is_late(late: &LateStop<'_>);

    /// Reports that a caller waits for works of `cpus` for a long time, without a still point.
    /// `lines` has what is known of each.
    ///
    /// # Context
    /// Thread, IRQs on.
    fn works_are_late(cpus: &CpuMask, lines: &dyn Fn(CpuId) -> LateCpu);

    /// Reports that a machine whose CPUs have masked IRQs waits for a CPU for a long time.
    ///
    /// # Context
    /// A stopper, IRQs masked, while the CPUs that it names go on. It takes no lock that
    /// another CPU may hold: that lock might never be opened.
    fn still_point_is_late(late: &LateStop<'_>);
}

/// Holds off every other stop, and every CPU that comes up, until dropped.
pub type StopMutexGuard<'a, P> = MutexGuard<'a, (), P>;

/// The stoppers of all CPUs, and the one stop at a time that they take part in.
pub struct StopMachine<P: StopHost> {
    mutex: Mutex<(), P>,
    pub(super) stoppers: PerCpu<Stopper<P>>,
    /// Whether a stopper was ever enabled. Relaxed: the boot CPU stores it before another CPU runs.
    pub(super) has_begun: AtomicBool,
    /// The works that wait before a stopper was enabled.
    pub(super) early: EarlyWorks<P>,
    /// The work of the stop that has the stop mutex.
    pub(super) current: Current,
    /// To which CPU that isn't online the stop mutex is lent.
    pub(super) loan: Loan,
    /// Held while works that wait for each other are queued (`one-order-of-stops` of
    /// `work_queue`).
    pub(super) queueing: SpinLock<(), P>,
    /// Where the CPUs of a stop wait for its next state. One waiter of each CPU: its
    /// stopper, or what runs before it is online.
    pub(super) point: WaitPoint,
    /// The CPUs that sleep in PREPARE, which need not be woken to mask IRQs. Those that a stop
    /// counts are its participants, and have all come to it.
    pub(super) resting: Resting,
    /// Where the caller waits for the last participant to leave. One waiter in all: it has
    /// the stop mutex, or is lent it.
    pub(super) left: WaitPoint,
    pub(super) times: CpuStopTimes,
    /// How many stops there have been. Relaxed: a counter on which no code synchronises.
    pub(super) stops: AtomicU64,
    /// How long a waiting CPU spins before it sleeps.
    pub(super) spins: StopSpins,
}

impl<P: StopHost> StopMachine<P> {
    /// Makes the stoppers of `cpus` CPUs, disabled.
    pub fn new(cpus: usize) -> Self {
        StopMachine {
            mutex: Mutex::new(()),
            stoppers: PerCpu::new(cpus, |_| Stopper::new()),
            has_begun: AtomicBool::new(false),
            early: EarlyWorks::new(),
            current: Current::new(),
            loan: Loan::new(),
            queueing: SpinLock::new(()),
            point: WaitPoint::new(),
            resting: Resting::new(),
            left: WaitPoint::new(),
            times: CpuStopTimes::new(cpus),
            stops: AtomicU64::new(0),
            spins: StopSpins::new(),
        }
    }

    /// Takes the stop mutex: no stop begins until the guard is dropped.
    /// The order of locks is in `docs/architecture.md`.
    ///
    /// # Context
    /// Thread, preemption on.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock(&self) -> StopMutexGuard<'_, P> {
        self.mutex.lock()
    }

    /// Does as [`StopMachine::lock`], but waits no longer than until `at`. Returns `None` then.
    ///
    /// # Context
    /// As [`StopMachine::lock`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock_until(&self, at: Instant) -> Option<StopMutexGuard<'_, P>> {
        self.mutex.lock_until(at)
    }

    /// Returns the name of the thread that has the stop mutex, or had it a moment ago.
    pub fn owner_racy(&self) -> Option<ThreadName> {
        self.mutex.owner_racy().map(|owner| *owner.name())
    }

    /// Returns the stopper of `cpu`.
    pub fn stopper(&self, cpu: CpuId) -> &Stopper<P> {
        self.stoppers.get(cpu)
    }

    /// Returns the CPUs that slept in a stop a moment ago, also one that an interrupt has
    /// taken out of its sleep: for tests.
    #[cfg(feature = "internals")]
    pub fn sleepers_racy(&self) -> CpuMask {
        CpuMask::from_bits(self.point.sleepers_racy())
    }

    /// Returns for how long each CPU had IRQs off in its last stop.
    pub fn times(&self) -> &CpuStopTimes {
        &self.times
    }

    /// Returns how many stops there have been: how often the machine was brought to a still
    /// point. Exact when no stop is under way.
    pub fn stops(&self) -> u64 {
        self.stops.load(Ordering::Relaxed)
    }

    /// Sets how many turns a CPU spins before it sleeps (`u32::MAX`: it spins for seconds), from
    /// the next stop on. With `None` it is what earlier stops have taught.
    pub fn set_spins(&self, spins: Option<u32>) {
        self.spins.set(spins);
    }

    /// Returns the service of the stoppers' threads, which park by themselves: the still point
    /// of a take-down asks them to ([`StopMachine::disable`]).
    pub fn service() -> alloc::sync::Arc<dyn Service<P>> {
        alloc::sync::Arc::new(StopperService::<P>::new())
    }

    /// `init:stopper`, startup: the stopper accepts work, and its thread is unparked.
    ///
    /// # Context
    /// `cpu` itself, IRQs masked, not online yet: no other CPU takes these locks.
    pub fn enable(&self, cpu: CpuId) {
        let stopper = self.stoppers.get(cpu);
        stopper.enable();
        self.has_begun.store(true, Ordering::Relaxed);
        P::sched().unpark(Self::thread_of(stopper));
    }

    /// `init:stopper`, teardown: the stopper's thread parks after the work that it does. That is the
    /// last one: the stop that takes `cpu` offline has disabled the stopper (`accepted-runs` of
    /// `stopper`).
    ///
    /// # Context
    /// `cpu` itself, in the still point, no longer online.
    ///
    /// # Panics
    /// If the stop was not asked for with [`StopRequest::taking_offline`].
    ///
    /// [`StopRequest::taking_offline`]: crate::stop_machine::StopRequest::taking_offline
    pub fn disable(&self, cpu: CpuId) {
        let stopper = self.stoppers.get(cpu);
        assert!(
            !stopper.is_enabled(),
            "BUG: {cpu:?} goes, and its stopper accepts work"
        );
        P::sched().ask_to_park(Self::thread_of(stopper));
    }

    fn thread_of(stopper: &Stopper<P>) -> &alloc::sync::Arc<crate::sched::Thread<P>> {
        stopper
            .thread()
            .expect("BUG: a stopper is used before prep:threads")
    }

    /// Handles the stop SGI: wakes this CPU's stopper, which has work (`own-cpu-wakes` of
    /// `stopper`).
    ///
    /// # Context
    /// Interrupt handler, or with preemption off: a preemption point follows.
    pub fn stop_interrupt(&self) {
        let stopper = self.stoppers.get(P::this_cpu());
        if let Some(thread) = stopper.thread() {
            let masked = IrqGuard::<P>::new();
            P::sched().wake_masked(thread, &masked);
            masked.end_no_resched();
        }
    }
}
