//! `stop_machine` itself: queueing, fan-out, the walk through the states.

use core::fmt;

use crate::cpu::{CpuId, CpuMask, PerCpu};
use crate::platform::Sgi;
use crate::sched::Service;
use crate::sched::ThreadName;
use crate::sched::late_at;
use crate::sched::lock::{Mutex, MutexGuard};
use crate::smp::call::CallHost;
use crate::stop_machine::job::Job;
use crate::stop_machine::stopper::StopperService;
use crate::stop_machine::{
    CpuStopTimes, LateStillPoint, MultiStop, MultiStopState, StopReport, Stopper, Work,
};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{IrqGuard, PreemptGuard, SpinLock, WaitPoint, might_sleep};
use crate::time::Instant;

/// Turns that a CPU spins before it sleeps in a wait of a stop, by `make bench`: a
/// turn costs a virtual CPU a microsecond that its host could give to the one it
/// waits for. A test may set another.
const SPINS: u32 = 6;

/// The same in a stop of two CPUs: the other one is all there is to wait for, and
/// is on its way.
const SPINS_OF_TWO: u32 = 100;

/// What a stop needs of the machine, beyond cross calls.
pub trait StopHost: CallHost {
    /// Returns the one instance.
    fn stop_machine() -> &'static StopMachine<Self>;

    /// Reports that a stop has been in `state` for a long time and waits for some of
    /// `cpus`; in PREPARE it waits for all of them to arrive.
    ///
    /// # Context
    /// Thread, IRQs on.
    fn stop_is_late(cpus: &CpuMask, state: MultiStopState);

    /// Names the CPUs that keep a machine whose CPUs have masked IRQs so for a long time.
    ///
    /// # Context
    /// A stopper, IRQs masked, while the CPUs that it names go on. It takes no lock that
    /// another CPU may hold: that lock might never be opened.
    fn still_point_is_late(late: &LateStillPoint<'_>);
}

/// Why a stop did not happen. `fn` has not run then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopError {
    /// The CPU that should run `fn` is not online.
    NotOnline(CpuId),
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopError::NotOnline(cpu) => write!(f, "CPU {cpu} is not online"),
        }
    }
}

/// Holds off every other stop, and every CPU that comes up, until dropped.
pub type StopMutexGuard<'a, P> = MutexGuard<'a, (), P>;

/// The stoppers of all CPUs, and the one stop at a time that they take part in.
pub struct StopMachine<P: StopHost> {
    mutex: Mutex<(), P>,
    pub(super) stoppers: PerCpu<Stopper<P>>,
    /// Where the CPUs of a stop wait for its next state. One waiter of each CPU: its
    /// stopper.
    pub(super) point: WaitPoint,
    /// Where the caller waits for the last participant to leave. One waiter in all: it has
    /// the stop mutex.
    pub(super) left: WaitPoint,
    pub(super) times: CpuStopTimes,
    /// How many stops there have been. Relaxed: a counter on which no code synchronises.
    stops: AtomicU64,
    /// How many turns a waiting CPU spins, where a test has set it.
    spins: SpinLock<Option<u32>, P>,
}

impl<P: StopHost> StopMachine<P> {
    /// Makes the stoppers of `cpus` CPUs, disabled.
    pub fn new(cpus: usize) -> Self {
        StopMachine {
            mutex: Mutex::new(()),
            stoppers: PerCpu::new(cpus, |_| Stopper::new()),
            point: WaitPoint::new(),
            left: WaitPoint::new(),
            times: CpuStopTimes::new(cpus),
            stops: AtomicU64::new(0),
            spins: SpinLock::new(None),
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

    /// Sets how many turns a CPU spins before it sleeps (`u32::MAX`: it never does), from
    /// the next stop on. `None` restores the default.
    pub fn set_spins(&self, spins: Option<u32>) {
        *self.spins.lock() = spins;
    }

    /// Returns the service of the stoppers' threads, which park by themselves: the still point
    /// of a take-down asks them to ([`StopMachine::disable`]).
    pub fn service() -> alloc::sync::Arc<dyn Service<P>> {
        alloc::sync::Arc::new(StopperService::<P>::new())
    }

    /// `init:stopper`, startup: accepts work, and its thread is unparked.
    ///
    /// # Context
    /// `cpu` itself, IRQs masked, not online yet: no other CPU takes these locks.
    pub fn enable(&self, cpu: CpuId) {
        let stopper = self.stoppers.get(cpu);
        stopper.set_enabled(true);
        P::sched().unpark(Self::thread_of(stopper));
    }

    /// `init:stopper`, teardown: accepts no more work; what it had accepted
    /// still runs before its thread parks (`accepted-runs` of `stopper`).
    ///
    /// # Context
    /// `cpu` itself, in the still point, no longer online.
    pub fn disable(&self, cpu: CpuId) {
        let stopper = self.stoppers.get(cpu);
        stopper.set_enabled(false);
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

    /// Stops all online CPUs and runs `call_fn` on `cpu` while nothing moves.
    /// Returns its value and what the stop cost.
    ///
    /// All that any CPU did before is visible to `call_fn`, and what it did is
    /// visible to every CPU afterwards. It must not sleep, wait, or take a
    /// sleeping lock. If it takes long, a CPU that waits for it says so
    /// ([`StopHost::still_point_is_late`]).
    ///
    /// # Context
    /// Thread, preemption on; `_still` is the stop mutex.
    ///
    /// # Errors
    /// [`StopError::NotOnline`]; nothing has happened then.
    ///
    /// # Panics
    /// With preemption off; if `call_fn` may wait.
    pub fn stop_on<R: Send>(
        &'static self,
        _still: &StopMutexGuard<'_, P>,
        cpu: CpuId,
        call_fn: impl FnOnce() -> R + Send,
    ) -> Result<(R, StopReport), StopError> {
        // With preemption off this CPU's own stopper would never run.
        might_sleep::<P>();
        if !P::masks().is_online(cpu) {
            return Err(StopError::NotOnline(cpu));
        }
        // Only the runner opens this cell, and the caller after the stop.
        let name = core::any::type_name_of_val(&call_fn);
        let cell = SpinLock::<_, P>::new((Some(call_fn), None));
        let run_fn = |_on: CpuId| {
            let call_fn = cell.lock().0.take();
            let value = call_fn.map(|call_fn| call_fn());
            cell.lock().1 = value;
        };
        let report = self.stop(CpuMask::of(cpu), name, &run_fn);
        let value = cell.lock().1.take();
        // (fn-before-exit)
        let value = value.expect("BUG: a stop ended without its function having run");
        Ok((value, report))
    }

    /// Does as [`StopMachine::stop_on`], on the online CPU of the lowest number: for a
    /// function that may run on any.
    ///
    /// # Context
    /// As for [`StopMachine::stop_on`].
    ///
    /// # Errors
    /// As for [`StopMachine::stop_on`].
    ///
    /// # Panics
    /// As for [`StopMachine::stop_on`].
    pub fn stop_once<R: Send>(
        &'static self,
        still: &StopMutexGuard<'_, P>,
        call_fn: impl FnOnce() -> R + Send,
    ) -> Result<(R, StopReport), StopError> {
        // The stop mutex keeps the mask still.
        let first = P::masks().online().first();
        self.stop_on(still, first.unwrap_or_else(P::this_cpu), call_fn)
    }

    /// Stops all online CPUs and runs `call_fn` on each of `runners`.
    ///
    /// As [`StopMachine::stop_on`] otherwise.
    ///
    /// # Errors
    /// [`StopError::NotOnline`] if one of `runners` isn't.
    ///
    /// # Panics
    /// If `runners` is empty: the still point would have no end. As
    /// [`StopMachine::stop_on`] otherwise.
    pub fn stop_all(
        &'static self,
        _still: &StopMutexGuard<'_, P>,
        runners: CpuMask,
        call_fn: &(impl Fn(CpuId) + Sync),
    ) -> Result<StopReport, StopError> {
        might_sleep::<P>(); // As `stop_on`.
        if let Some(cpu) = runners.without(&P::masks().online()).first() {
            return Err(StopError::NotOnline(cpu));
        }
        Ok(self.stop(runners, core::any::type_name_of_val(call_fn), call_fn))
    }

    /// Runs one stop. It can't fail: a `Result` would have the report copied byte by byte.
    ///
    /// * `runners` — CPUs that are online, as they stay under the stop mutex
    /// * `name` — the name of `call_fn` in messages
    fn stop(
        &'static self,
        runners: CpuMask,
        name: &'static str,
        call_fn: &(dyn Fn(CpuId) + Sync),
    ) -> StopReport {
        let called = P::now();
        // The stop mutex keeps the mask still (participants-are-fixed).
        let participants = P::masks().online();
        let count = participants.count();
        // The caller waits on this CPU, and this CPU's timer ends its sleep.
        let here = P::sched().migrate_disable();
        let caller = here.cpu();
        let me = P::sched().current();
        let late = late_at::<P>();
        let job = Job {
            machine: self,
            calls: P::calls(),
            stop: MultiStop::new(as_u32(count), as_u32(runners.count())),
            participants: &participants,
            runners: &runners,
            call_fn,
            name,
            caller,
            watcher: participants.iter().find(|cpu| *cpu != caller),
            caller_name: me.name(),
            spins: (*self.spins.lock()).unwrap_or(if count == 2 { SPINS_OF_TWO } else { SPINS }),
            late_at: late,
            patience: late.ticks_since(called),
            told: AtomicBool::new(false),
            fn_began: AtomicU64::new(0),
            fn_ended: AtomicU64::new(0),
        };
        // Its interrupt has this CPU's stopper look which CPUs are late.
        let watch = P::sched().watch(caller);
        self.stops.fetch_add(1, Ordering::Relaxed);
        self.queue_everywhere(&job);
        // This CPU's own stopper has left, so fn is over, however long it took.
        let mut late = late_at::<P>();
        self.left.wait_open::<P, ()>(caller.index(), job.spins, || {
            if job.stop.is_over() {
                return Some(());
            }
            // `watch` ends the sleep, so that this is reached.
            if P::now() >= late {
                late = Instant::FOREVER;
                P::stop_is_late(job.participants, job.stop.state());
            }
            None
        });
        drop(watch);
        StopReport {
            called,
            // Relaxed: `is_over` has ordered them.
            fn_began: Instant(job.fn_began.load(Ordering::Relaxed)),
            fn_ended: Instant(job.fn_ended.load(Ordering::Relaxed)),
            ended: P::now(),
        }
    }

    /// Queues `job` on every participant's stopper and starts them all (`queued-unpreempted` of
    /// [`stop_machine`](crate::stop_machine)). The caller must wait until the
    /// stop is over before its frame goes.
    fn queue_everywhere<'a>(&'static self, job: &'a Job<'a, P>) {
        let work: &'a dyn Work = job;
        // SAFETY: only the lifetime changes. Only the participants use the
        // borrow; each leaves as its last access to it, and `stop`
        // doesn't return before the last one has (frame-outlives-stop, leave-is-last).
        // A participant can't go away with the work pending: it is online and enabled, and
        // what a stopper has accepted runs (accepted-runs, online-enabled); the stop
        // mutex keeps CPUs from leaving.
        let work: &'static dyn Work = unsafe { core::mem::transmute(work) };
        let here = PreemptGuard::<P>::new();
        for cpu in job.participants.iter() {
            if !self.stoppers.get(cpu).queue(work) {
                is_disabled(cpu);
            }
        }
        let mut others = *job.participants;
        others.remove(P::this_cpu());
        if !others.is_empty() {
            P::send_sgi(Sgi::Stop, &others);
        }
        self.stop_interrupt(); // Wakes this CPU's own stopper, as the handler would.
        drop(here); // The stopper takes the CPU here.
    }
}

/// Takes the number by value: a message that borrowed it would have it stored for each CPU.
#[cold]
#[inline(never)]
fn is_disabled(cpu: CpuId) -> ! {
    panic!("BUG: {cpu:?} is online and its stopper is disabled");
}

fn as_u32(count: usize) -> u32 {
    u32::try_from(count).expect("BUG: CPU counts fit 32 bits")
}
