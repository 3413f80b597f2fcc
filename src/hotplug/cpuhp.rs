//! `cpuhp/N`: walks its own CPU through the steps that run in thread context.
//!
//! Control writes a command and wakes the thread; the thread walks and posts the
//! result. A walk that fails is walked back here, on the CPU that it concerns, as far
//! as that goes. Or the thread passes an instance of one step that is installed or removed.

use alloc::sync::Arc;
use core::marker::PhantomData;

use crate::cpu::CpuId;
use crate::hotplug::batch::BatchWalk;
use crate::hotplug::instance::Instance;
use crate::hotplug::{HotplugHost, StepContext, StepError, WalkError};
use crate::sched::lock::Completion;
use crate::sched::patience;
use crate::sched::{SchedHost, Service, Thread};
use crate::sync::{LockMap, SpinLock};
use crate::time::Instant;
use crate::trace::{Direction, Event, Gap};

/// The mailbox between control and `cpuhp/N`. One completion for each
/// direction, so that one left over from the other can't be taken for this one.
pub(super) struct Command<P: SchedHost> {
    slot: SpinLock<Slot, P>,
    done_up: Completion<P>,
    done_down: Completion<P>,
    /// Each direction's walk, as two lock classes for the validator: a lock that a walk down
    /// takes may be held by a thread that waits for a walk up.
    walk_up: LockMap,
    walk_down: LockMap,
}

struct Slot {
    /// Which way. Beside what is wanted and not in it: one byte in front of its words would
    /// have them copied byte by byte.
    direction: Direction,
    wanted: Option<Wanted>,
    /// For a walk in a batch: until when control was at work for others. It doesn't write that
    /// itself, because a CPU that has just come online may still write its last INIT step.
    turned: Instant,
    is_done: bool,
    /// Why it could not be done. An error is many words, and nothing of it is copied while
    /// there is none.
    failed: Option<WalkError>,
}

/// What the thread is to do.
enum Wanted {
    /// Walk until this many steps are up; down before this instant.
    Walk(usize, Instant),
    /// Walk down so, and park then.
    WalkAndPark(usize, Instant),
    /// Walk so, down before this instant, as one of a batch, which counts down when it is done.
    WalkInBatch(BatchWalk, Instant),
    /// Pass this instance, which has this row and number.
    Pass(Arc<Instance>, (usize, usize)),
}

impl<P: HotplugHost> Command<P> {
    pub(super) fn new() -> Self {
        Command {
            slot: SpinLock::new(Slot {
                direction: Direction::Up,
                wanted: None,
                turned: Instant(0),
                is_done: true,
                failed: None,
            }),
            done_up: Completion::new(),
            done_down: Completion::new(),
            walk_up: LockMap::new(),
            walk_down: LockMap::new(),
        }
    }

    fn walk(&self, direction: Direction) -> &LockMap {
        match direction {
            Direction::Up => &self.walk_up,
            Direction::Down => &self.walk_down,
        }
    }

    fn done(&self, direction: Direction) -> &Completion<P> {
        match direction {
            Direction::Up => &self.done_up,
            Direction::Down => &self.done_down,
        }
    }

    /// Has `cpu`'s thread walk `direction` until `target` steps are up, and
    /// waits for it. Unparks it if it is parked, as all that has the thread do something.
    ///
    /// # Errors
    /// The step that failed. The thread has walked back to where the CPU was before; if a
    /// step fails on that way too, the CPU stays there, and [`CpuhpState::state`] says where.
    ///
    /// [`CpuhpState::state`]: crate::hotplug::CpuhpState::state
    pub(super) fn run_on(
        &self,
        cpu: CpuId,
        direction: Direction,
        target: usize,
    ) -> Result<(), WalkError> {
        self.have(cpu, direction, Wanted::Walk(target, Instant::FOREVER))
    }

    /// Has `cpu`'s thread walk down until `target` steps are up, and waits for it. A step that
    /// ends at `until` or later is the last: the thread walks back.
    ///
    /// If the machine is stopped next for the CPU to leave, the thread `parks` when it is there:
    /// control, which has to see it parked, needn't wake it once more for that.
    ///
    /// # Errors
    /// As [`Command::run_on`]. The thread doesn't park then.
    pub(super) fn run_down_until(
        &self,
        cpu: CpuId,
        target: usize,
        until: Instant,
        parks: bool,
    ) -> Result<(), WalkError> {
        let wanted = if parks {
            Wanted::WalkAndPark(target, until)
        } else {
            Wanted::Walk(target, until)
        };
        self.have(cpu, Direction::Down, wanted)
    }

    /// Has `cpu`'s thread pass `instance`, which has the row and number `at`, and waits for it.
    ///
    /// # Errors
    /// What the callback said.
    pub(super) fn pass_on(
        &self,
        cpu: CpuId,
        direction: Direction,
        instance: &Arc<Instance>,
        at: (usize, usize),
    ) -> Result<(), StepError> {
        let passed = self.have(cpu, direction, Wanted::Pass(Arc::clone(instance), at));
        passed.map_err(|failed| failed.error)
    }

    /// Has the thread of the CPU of `walk` walk `direction`, down before `until`, as one of a
    /// batch, and returns at once. If a step fails, it walks back, as far as that goes. When it is
    /// done it counts the batch's [`Countdown`](crate::hotplug::Countdown) down, and
    /// [`Command::result`] has the result. Control was at work for others until now.
    pub(super) fn start_in_batch(&self, walk: BatchWalk, direction: Direction, until: Instant) {
        let wanted = Wanted::WalkInBatch(walk, until);
        self.post(walk.cpu, direction, wanted, P::now());
    }

    /// Returns whether the thread has done all that it was told to.
    pub(super) fn is_done(&self) -> bool {
        self.slot.lock().is_done
    }

    /// Takes the result of what the thread has done: an error as from [`Command::run_on`].
    pub(super) fn result(&self) -> Result<(), WalkError> {
        let mut slot = self.slot.lock();
        assert!(
            slot.is_done,
            "BUG: cpuhp has said that it was done and isn't"
        );
        if slot.failed.is_some() {
            return slot.failed.take().map_or(Ok(()), Err);
        }
        Ok(())
    }

    fn post(&self, cpu: CpuId, direction: Direction, wanted: Wanted, turned: Instant) {
        {
            let mut slot = self.slot.lock();
            slot.is_done = false;
            slot.direction = direction;
            slot.wanted = Some(wanted);
            slot.turned = turned;
        }
        let thread = P::hotplug().thread(cpu);
        // It has what it is to do before it is unparked: it needn't be woken too.
        if thread.should_park() {
            P::sched().unpark(thread);
        } else {
            P::sched().wake(thread);
        }
        self.walk(direction).wait::<P>();
    }

    fn have(&self, cpu: CpuId, direction: Direction, wanted: Wanted) -> Result<(), WalkError> {
        self.post(cpu, direction, wanted, Instant(0));
        let done = self.done(direction);
        let late = || self.warn_of_late(cpu);
        match direction {
            Direction::Up => P::hotplug().wait_walks(done, late),
            // The thread waits for a grace period, which control would hold up if it polled.
            Direction::Down => done.wait_patiently(late),
        }
        self.result()
    }

    /// Logs that the thread, which is `cpu`'s, has not done for long what it was told to: the step
    /// in which it is, and its state.
    pub(super) fn warn_of_late(&self, cpu: CpuId) {
        let hotplug = P::hotplug();
        let thread = hotplug.thread(cpu);
        let direction = self.slot.lock().direction;
        // The step is past already on the way up, and not any more on the way down.
        let up = hotplug.state(cpu).state();
        let row = match direction {
            Direction::Up => up.saturating_sub(1),
            Direction::Down => up.min(hotplug.steps().len() - 1),
        };
        log::warn!(
            "{} has not finished a walk for {} s (it is {:?}, in step {})",
            thread.name(),
            patience::<P>().as_secs(),
            thread.state_racy(),
            hotplug.step_name(row)
        );
    }
}

/// The service that the thread `cpuhp/N` does.
pub(super) struct CpuhpService<P: HotplugHost>(PhantomData<fn() -> P>);

impl<P: HotplugHost> CpuhpService<P> {
    pub(super) const fn new() -> Self {
        CpuhpService(PhantomData)
    }
}

impl<P: HotplugHost> Service<P> for CpuhpService<P> {
    fn made(&self, cpu: CpuId, thread: &Arc<Thread<P>>) {
        P::hotplug()
            .cpus
            .get(cpu)
            .thread
            .call_once(|| Arc::clone(thread));
    }

    fn should_run(&self, cpu: CpuId) -> bool {
        P::hotplug().command(cpu).slot.lock().wanted.is_some()
    }

    fn run(&self, cpu: CpuId) {
        let hotplug = P::hotplug();
        let command = hotplug.command(cpu);
        let (direction, wanted, turned) = {
            let mut slot = command.slot.lock();
            let Some(wanted) = slot.wanted.take() else {
                return;
            };
            (slot.direction, wanted, slot.turned)
        };
        let walk = command.walk(direction).work::<P>();
        let mut context = StepContext::of(cpu);
        let mut counts = false;
        let parks = matches!(wanted, Wanted::WalkAndPark(..));
        let result = match wanted {
            Wanted::Walk(target, until) | Wanted::WalkAndPark(target, until) => {
                context.until = until;
                let origin = hotplug.state(cpu).state();
                walk_here::<P>(&context, direction, target, origin)
            }
            Wanted::WalkInBatch(walk, until) => {
                let was = Gap::Others;
                P::trace_at(turned, Event::Gap { cpu, was });
                context.until = until;
                context.in_batch = direction == Direction::Down;
                counts = true;
                let result = walk_here::<P>(&context, direction, walk.target, walk.origin);
                if walk.is_last && result.is_ok() {
                    P::trace(Event::WalkEnd { cpu });
                }
                result
            }
            // The last reference to it is the installing thread's, which waits.
            Wanted::Pass(instance, at) => hotplug
                .call_instance(&instance, cpu, direction, at)
                .map_err(|error| WalkError { step: at.0, error }),
        };
        drop(walk);
        if parks && result.is_ok() {
            // It parks when it comes back from here. Before control is told: control unparks it if
            // it is to walk again.
            P::sched().ask_to_park(hotplug.thread(cpu));
        }
        {
            let mut slot = command.slot.lock();
            if let Err(failed) = result {
                slot.failed = Some(failed);
            }
            slot.is_done = true;
        }
        if counts {
            hotplug.batch.count_down();
        } else {
            command.done(direction).complete();
        }
    }
}

/// Walks this CPU until `target` steps are up, down before the deadline of `context`, or back
/// until `origin` are.
fn walk_here<P: HotplugHost>(
    context: &StepContext,
    direction: Direction,
    target: usize,
    origin: usize,
) -> Result<(), WalkError> {
    let hotplug = P::hotplug();
    let StepContext { cpu, until, .. } = *context;
    let mut walker = hotplug.walker(context);
    let result = match direction {
        Direction::Up => walker.up(target),
        Direction::Down => walker.down_while(target, || P::now() < until),
    };
    if result.is_err() {
        let back = match direction {
            Direction::Up => walker.down(origin),
            Direction::Down => walker.up(origin),
        };
        if let Err(second) = back {
            // A roll-back is not rolled back: the CPU stays where it is.
            let step = hotplug.step_name(second.step);
            log::error!("CPU{cpu} rollback stopped at step {step}");
        }
    }
    result
}
