//! What hotplug keeps: the lock, and a record for each CPU.

use alloc::sync::Arc;

use crate::cpu::{CpuId, PerCpu};
use crate::hotplug::batch::BatchWait;
use crate::hotplug::control_steps::Limits;
use crate::hotplug::cpuhp::Command;
use crate::hotplug::governed::Governed;
use crate::hotplug::services::Services;
use crate::hotplug::talk::Talk;
use crate::hotplug::{
    ALL_UP, CpuhpState, FailError, Handshake, HotplugHost, Life, Parallel, Quarantine, SlotRows,
    Slots, Step, StepContext, StepName, Walker,
};
use crate::platform::PsciError;
use crate::sched::lock::{
    AddRemoveLock, Completion, CpusLock, CpusReadGuard, CpusWriteGuard, WouldDeadlock,
};
use crate::sched::{Thread, ThreadName};
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU32};
use crate::sync::{Once, SpinLock, WaitPoint};
use crate::time::Instant;
use crate::trace::{Direction, Event};

/// The hotplug core.
pub struct Hotplug<P: HotplugHost> {
    /// What is held around the hotplug lock: see [`registration`](crate::hotplug).
    pub(super) add_remove: AddRemoveLock<P>,
    /// The hotplug lock. The order of locks is in `docs/architecture.md`.
    pub(super) lock: CpusLock<P>,
    pub(super) slots: Slots<P>,
    pub(super) cpus: PerCpu<HotplugRecord<P>>,
    /// For each CPU, what a control thread there waits on. The event SGI posts it. It is a
    /// hint: the waiter looks at the handshake word again.
    pub(super) events: PerCpu<Completion<P>>,
    /// Where control sleeps for such an event. One thread does at a time, under the hotplug lock.
    pub(super) asleep: WaitPoint,
    pub(super) services: Services<P>,
    pub(super) limits: Limits,
    /// How many guards disable hotplug: see [`freeze`](crate::hotplug).
    pub(super) disabled: AtomicU32,
    /// The CPUs that the governor has taken down.
    pub(super) governed: Governed,
    /// How long control and a CPU wait for each other before they sleep.
    pub(super) talk: Talk,
    /// How several CPUs come up: [`Parallel`], as a number. Relaxed: it orders nothing.
    pub(super) parallel: AtomicU8,
    /// Whether the stop of a way down flushes preempted threads. Relaxed: it orders nothing.
    pub(super) down_flushes: AtomicBool,
    /// The CPUs that still walk for the operation on several CPUs that is under way.
    pub(super) batch: BatchWait<P>,
}

/// The record of one CPU; never freed (`cpu-memory-stays` of [`hotplug`](crate::hotplug)).
pub(super) struct HotplugRecord<P: HotplugHost> {
    pub(super) state: CpuhpState,
    /// Where the AP waits for its verdict.
    pub(super) arrival: WaitPoint,
    pub(super) idle: Once<Arc<Thread<P>>>,
    pub(super) thread: Once<Arc<Thread<P>>>,
    pub(super) command: Command<P>,
    /// The CPU that runs the operation on this one, to which the AP sends the event
    /// SGI. Relaxed: written before CPU_ON or the stop, which order it.
    pub(super) control: AtomicU32,
    /// Why the CPU isn't known to be off, if it isn't: kept from one operation to the next.
    pub(super) quarantine: SpinLock<Option<Quarantine>, P>,
    /// With what firmware refused the last CPU_ON, if it did.
    pub(super) on_refused: SpinLock<Option<PsciError>, P>,
    /// The life for which the CPU was last started: [`Life::number`]. Relaxed: written by the
    /// holder of the hotplug lock.
    pub(super) life: AtomicU32,
}

impl<P: HotplugHost> Hotplug<P> {
    /// Makes the records of `cpus` CPUs, all offline.
    pub fn new(cpus: usize) -> Self {
        Hotplug {
            add_remove: AddRemoveLock::new(),
            lock: CpusLock::new(cpus),
            slots: Slots::new(P::steps()),
            cpus: PerCpu::new(cpus, |_| HotplugRecord {
                state: CpuhpState::new(ALL_UP),
                arrival: WaitPoint::new(),
                idle: Once::new(),
                thread: Once::new(),
                command: Command::new(),
                control: AtomicU32::new(0),
                quarantine: SpinLock::new(None),
                on_refused: SpinLock::new(None),
                life: AtomicU32::new(Life::NONE.number()),
            }),
            events: PerCpu::new(cpus, |_| Completion::new()),
            asleep: WaitPoint::new(),
            services: Services::new(cpus),
            limits: Limits::new::<P>(),
            governed: Governed::new(),
            talk: Talk::new(),
            disabled: AtomicU32::new(0),
            parallel: AtomicU8::new(Parallel::default() as u8),
            down_flushes: AtomicBool::new(false),
            batch: BatchWait::new(),
        }
    }

    /// Keeps CPUs from coming and going until it is dropped: see [`CpusLock::read`].
    ///
    /// # Context
    /// Thread, preemption on; not inside another one, and neither in a callback of hotplug,
    /// which has the lock already, nor in a service, which hotplug waits for.
    ///
    /// # Panics
    /// There, and in a pinned thread, whether it would have to wait or not.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn cpus_read_lock(&self) -> CpusReadGuard<'_, P> {
        self.lock.read()
    }

    /// As [`Hotplug::cpus_read_lock`], but returns an error where that panics because the wait
    /// would never end, such as in a callback of hotplug and in a pinned thread.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// [`WouldDeadlock`], whether it would have to wait or not.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn cpus_read_lock_checked(&self) -> Result<CpusReadGuard<'_, P>, WouldDeadlock> {
        self.lock.read_if_it_may()
    }

    /// As [`Hotplug::cpus_read_lock_checked`], but waits no longer than until `at`. Then it
    /// returns the name of the thread that has CPUs come or go, if there is one still.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// [`WouldDeadlock`], whether it would have to wait or not.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn cpus_read_lock_until(
        &self,
        at: Instant,
    ) -> Result<Result<CpusReadGuard<'_, P>, Option<ThreadName>>, WouldDeadlock> {
        self.lock.read_until_if_it_may(at)
    }

    /// Returns whether CPUs can't come or go because of the running thread: it holds the
    /// hotplug lock, or it is a `cpuhp`, which runs while control holds it.
    ///
    /// # Context
    /// Thread.
    pub fn holds_cpus_lock(&self) -> bool {
        P::sched().with_current(|me| {
            let cpu = P::this_cpu();
            let cpuhp = self.cpus.get(cpu).thread.get();
            me.holds_cpus_lock() || cpuhp.is_some_and(|cpuhp| core::ptr::eq(&**cpuhp, me))
        })
    }

    /// As [`Hotplug::cpus_read_lock`], if no CPU is about to come or go.
    ///
    /// # Context
    /// Thread; doesn't sleep.
    pub fn try_cpus_read_lock(&self) -> Option<CpusReadGuard<'_, P>> {
        self.lock.try_read()
    }

    /// Takes the hotplug lock for writing: no other thread holds it, for reading or
    /// writing, until the guard is dropped.
    ///
    /// # Context
    /// As [`Hotplug::cpus_read_lock`].
    ///
    /// # Panics
    /// As [`Hotplug::cpus_read_lock`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn cpus_write_lock(&self) -> CpusWriteGuard<'_, P> {
        self.lock.write()
    }

    /// Returns the state table.
    pub fn steps(&self) -> &'static [Step<StepContext>] {
        P::steps()
    }

    /// Returns what is in the slots of the table.
    pub fn slots(&self) -> &Slots<P> {
        &self.slots
    }

    /// Returns how many CPUs the machine has room for.
    pub(super) fn count(&self) -> usize {
        self.cpus.iter().count()
    }

    /// Returns the name of the last step that is up when `up` rows are.
    pub fn last_up(&self, up: usize) -> Option<StepName> {
        let row = self.slots.stop_below(up)?;
        Some(self.step_name(row))
    }

    /// Returns whether the counters of `cpu` agree with its state (`passages-balance` and
    /// `up-as-far-as-past` of [`hotplug`](crate::hotplug)). For the owner of the walk, at rest.
    pub fn is_balanced(&self, cpu: CpuId) -> bool {
        let state = self.state(cpu);
        let fixed = |row: usize| !self.steps()[row].is_slot();
        let mut slots = self.slots.iter();
        state.is_balanced(fixed)
            && slots.all(|(row, step)| {
                let (_, (up, all)) = step.passages(cpu);
                let wanted = if row < state.state() { all } else { 0 };
                up == wanted || state.is_within() && row + 1 == state.state()
            })
            && self.services.are_balanced(cpu, state.state())
    }

    /// Returns how many steps of `cpu` are up, and its counters.
    pub fn state(&self, cpu: CpuId) -> &CpuhpState {
        &self.cpus.get(cpu).state
    }

    /// Makes the next passage of step number `step` by `cpu` fail once; `None`
    /// takes that back.
    ///
    /// # Context
    /// Any; doesn't wait. Without the hotplug lock an operation that is under way may have
    /// passed the step already.
    ///
    /// # Errors
    /// [`FailError`]; nothing has changed then.
    pub fn inject_failure(&self, cpu: CpuId, step: Option<usize>) -> Result<(), FailError> {
        if let Some(row) = step {
            let step = self.steps().get(row).ok_or(FailError::NoSuchStep)?;
            if step.is_slot() {
                return self.inject_instance(cpu, row, 0);
            }
            if !step.startup.may_fail() && !step.teardown.may_fail() {
                return Err(FailError::CannotFail);
            }
        }
        self.cpus.get(cpu).state.inject(step);
        Ok(())
    }

    /// Has `cpu` wait at its entry the next time it is started, before it says ALIVE, or
    /// lets it go on. For tests of a late CPU: while held it does nothing that control
    /// could see, whatever becomes of the operation meanwhile.
    pub fn hold_at_entry(&self, cpu: CpuId, held: bool) {
        P::set_held(cpu, held);
    }

    pub(super) fn handshake(&self, cpu: CpuId) -> Handshake<'static> {
        Handshake(P::handshake_word(cpu))
    }

    /// Returns a walker for `cpu`, which writes each passage into the trace ring of that CPU's
    /// walks.
    pub(super) fn walker<'a>(
        &'a self,
        context: &'a StepContext,
    ) -> Walker<'a, StepContext, Slots<P>, impl FnMut(usize, Direction, Option<bool>) + use<'a, P>>
    {
        let cpu = context.cpu;
        Walker {
            steps: self.steps(),
            slots: &self.slots,
            state: &self.cpus.get(cpu).state,
            context,
            trace_fn: move |step, direction, done| {
                let step = u8::try_from(step).expect("BUG: the table has under 256 steps");
                P::trace(match done {
                    None => Event::StepBegin {
                        cpu,
                        step,
                        direction,
                    },
                    Some(ok) => Event::StepEnd {
                        cpu,
                        step,
                        direction,
                        ok,
                    },
                });
            },
        }
    }
}
