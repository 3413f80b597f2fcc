//! The way up of a batch: see also [`batch`](crate::hotplug::batch).
//!
//! The CPUs come in *windows* of [`WINDOW`] at most:
//!
//! ```text
//!   control                                each CPU of a window
//!   ───────                                ────────────────────
//!   for each: its PREP steps,
//!   the first of which calls it     ─────► comes up, says ALIVE, sleeps
//!   sees them ALIVE, or late
//!   ONE hold of the stop mutex:
//!     releases all that have come   ─────► init:cpu … init:online, IRQs off
//!     waits until all are online    ◄─────
//!   starts each `cpuhp` thread      ─────► sched:drain … sched:active
//!   the next window, meanwhile             │
//!   …                                      │
//!   takes back what failed in PREP         │
//!   waits for all                   ◄───── one counter
//!   takes down what failed in a thread: ONE still point
//!   for those: prep:post-dead, without the hotplug lock
//! ```
//!
//! # The four ways
//! | `cpuhp.parallel=` | CPUs are called | come online | walk SCHED and ENABLE |
//! |---|---|---|---|
//! | `off` | each when the one before is up | one by one | one by one |
//! | `split` | those of a window, as the first PREP step | one by one | one by one |
//! | `on` | the same | those of a window, together | all together |
//! | `late` | those of a window, after the PREP steps of all of them | as with `on` | as with `on` |
//!
//! Linux calls CPUs after their PREP steps, and then goes on as `split` does. One CPU comes up in
//! the same way with all of them. While an INIT step is installed that stops the machine, the CPUs
//! of a window come online one by one with all of them, under the one hold.
//!
//! # Invariants
//! - **failed-stays-behind**: a CPU that fails before its release stays where it failed until
//!   all others are on their way. One that doesn't come delays its window by the limit for
//!   arrivals, and not by those for its end.
//! - **one-hold-a-window**: control holds the stop mutex once for each window, from its first
//!   SHOULD_ONLINE to its last online bit, when all have arrived, have failed or are late
//!   (`online-under-one-hold` of `src/hotplug/control_start.rs`). A stop waits for one window.
//! - **steps-in-order**: each CPU passes its steps in the order of the table. Callbacks for
//!   different CPUs run at the same time: those of PREP on control, one CPU after the other, those
//!   of ENABLE each on its CPU.
//! - **walk-ends-with-its-cpu**: the trace has the end of a CPU's walk when that CPU is up, and of
//!   one that failed when all others are up and it is taken back. So it says how long each took.

use alloc::vec::Vec;

use crate::cpu::{CpuId, CpuMask};
use crate::hotplug::batch::BatchWalk;
use crate::hotplug::batch_error::Failures;
use crate::hotplug::history::{trace_begin, trace_gap};
use crate::hotplug::registration::Operation;
use crate::hotplug::{
    ALL_UP, BatchError, CpuUpError, Hotplug, HotplugHost, Parallel, Quarantine, StepContext,
    UP_TO_ALIVE, UP_TO_ONLINE, UP_TO_PREPARED, WalkError,
};
use crate::sync::atomic::Ordering;
use crate::time::Instant;
use crate::trace::{Direction, Event, Gap};

/// How many CPUs control has called at most that it has not released yet.
const WINDOW: usize = 32;

/// A CPU of the batch.
struct Comer {
    cpu: CpuId,
    /// How many steps were up before.
    origin: usize,
    /// How many are to be.
    target: usize,
    /// Its quarantine before.
    quarantine: Option<Quarantine>,
    /// Whether its thread has been told to walk.
    walks: bool,
    failed: Option<WalkError>,
}

impl Comer {
    /// Returns whether control brings it through its steps now, or would if it had not failed.
    fn is_off(&self) -> bool {
        self.origin < UP_TO_ONLINE
    }

    /// Returns whether control is to release it.
    fn comes(&self) -> bool {
        self.is_off() && self.failed.is_none()
    }
}

/// Writes that control was at work for others.
fn trace_others<P: HotplugHost>(cpu: CpuId) {
    trace_gap::<P>(cpu, Gap::Others);
}

/// Returns the CPUs of `comers` that control is to release.
fn coming(comers: &[Comer]) -> impl Iterator<Item = CpuId> + Clone {
    comers.iter().filter(|it| it.comes()).map(|it| it.cpu)
}

impl<P: HotplugHost> Hotplug<P> {
    /// Sets how several CPUs come up from now on.
    pub fn set_parallel(&self, how: Parallel) {
        self.parallel.store(how as u8, Ordering::Relaxed);
    }

    /// Returns how several CPUs come up.
    pub fn parallel(&self) -> Parallel {
        let number = self.parallel.load(Ordering::Relaxed);
        Parallel::ALL[usize::from(number)]
    }

    /// Brings `cpus` online, as [`Hotplug::cpu_up`] brings one, at the same time as far as
    /// [`Hotplug::parallel`] says. The callbacks of steps run at the same time for several CPUs.
    ///
    /// # Context
    /// As [`Hotplug::cpu_up`].
    ///
    /// # Errors
    /// [`BatchError`]: a [`CpuUpError`] for each CPU that did not come. All others have come.
    pub fn cpus_up(&'static self, cpus: &CpuMask) -> Result<(), BatchError<CpuUpError>> {
        let mut failures = Failures::new();
        if let (Some(cpu), 1) = (cpus.first(), cpus.count()) {
            if let Err(error) = self.cpu_up(cpu) {
                failures.add(cpu, error);
            }
            return failures.into_result();
        }
        let held = self.begin_operation().map_err(CpuUpError::from);
        let held = held.and_then(|held| {
            self.refuse_if_disabled()?;
            Ok(held)
        });
        match held {
            Err(why) => failures.add_all(cpus, |_| why),
            Ok(mut held) => {
                let there = cpus.and(P::masks().possible());
                self.governed.claim(&there);
                let missing = cpus.without(&there);
                failures.add_all(&missing, |cpu| CpuUpError::NoSuchCpu(cpu.index()));
                let is_wanted = |cpu: &CpuId| self.state(*cpu).state() < ALL_UP;
                let wanted = there.iter().filter(is_wanted).map(|cpu| (cpu, ALL_UP));
                let wanted: Vec<_> = wanted.collect();
                self.go_up_together(&wanted, &mut failures, &mut held);
            }
        }
        failures.into_result()
    }

    /// Brings each CPU of `wanted` up until the number of rows beside it are, where it may rest
    /// and which is above where it is. At the end it may have released the hotplug lock.
    pub(super) fn go_up_together<'a>(
        &'static self,
        wanted: &[(CpuId, usize)],
        failures: &mut Failures<CpuUpError>,
        held: &mut Operation<'a, P>,
    ) where
        P: 'a,
    {
        let how = self.parallel();
        if how == Parallel::Off || wanted.len() == 1 {
            for &(cpu, target) in wanted {
                held.take_cpus_again(&self.lock);
                if let Err(error) = self.go_up_to(cpu, target, held) {
                    failures.add(cpu, error);
                }
            }
            return;
        }
        let here = P::sched().migrate_disable();
        let mut comers: Vec<Comer> = wanted
            .iter()
            .map(|&(cpu, target)| {
                self.route_events_here(cpu);
                Comer {
                    cpu,
                    origin: self.state(cpu).state(),
                    target,
                    quarantine: self.settle(cpu),
                    walks: false,
                    failed: None,
                }
            })
            .collect();
        self.batch.begin();
        for window in comers.chunks_mut(WINDOW) {
            self.call_window(window, how);
            if how == Parallel::Split {
                self.walk_one_by_one(window);
            } else {
                self.release_window(window);
            }
        }
        self.take_back_failed(&comers);
        let walking = comers.iter().filter(|it| it.walks).map(|it| it.cpu);
        self.wait_together(&walking.collect(), |cpu, failed| {
            let comer = comers.iter_mut().find(|it| it.cpu == cpu);
            comer
                .expect("BUG: a CPU walks that is not in the batch")
                .failed = Some(failed);
        });
        self.take_down_failed(&comers);
        drop(here);
        for comer in &comers {
            if let Some(failed) = comer.failed {
                trace_others::<P>(comer.cpu);
                self.finish_down(comer.cpu, held);
                let error = self.up_error(comer.cpu, comer.origin, comer.quarantine, failed);
                failures.add(comer.cpu, error);
                P::trace(Event::WalkEnd { cpu: comer.cpu });
            }
        }
    }

    /// Walks the PREP steps of each CPU of `window` (steps-in-order), in which it is called. Has
    /// those walk on that rest half way, unless each CPU is to walk alone.
    fn call_window(&self, window: &mut [Comer], how: Parallel) {
        for comer in window.iter_mut() {
            let cpu = comer.cpu;
            if !comer.is_off() && how == Parallel::Split {
                continue;
            }
            trace_begin::<P>(cpu, Direction::Up);
            if !comer.is_off() {
                self.start_walk(comer);
                continue;
            }
            let mut context = StepContext::of(cpu);
            context.called_late = how == Parallel::Late;
            comer.failed = self.walker(&context).up(UP_TO_PREPARED).err();
            P::sched().give_way(); // (`gives-way-between-parts` of `operation`)
        }
        if how == Parallel::Late {
            for comer in window.iter_mut().filter(|it| it.comes()) {
                trace_others::<P>(comer.cpu);
                comer.failed = self.call_late(comer.cpu).err();
            }
        }
    }

    /// Sees the CPUs of `window` ALIVE, releases them and has each walk on.
    fn release_window(&self, window: &mut [Comer]) {
        coming(window).for_each(trace_others::<P>);
        let cpus = coming(window).collect();
        let seen = |cpu| trace_gap::<P>(cpu, Gap::Arrival);
        let late_from = self.wait_arrivals(&cpus, seen);
        for comer in window.iter_mut().filter(|it| it.comes()) {
            trace_others::<P>(comer.cpu);
            let mut context = StepContext::of(comer.cpu);
            context.until = late_from;
            comer.failed = self.walker(&context).up(UP_TO_ALIVE).err();
        }
        if coming(window).next().is_none() {
            return;
        }
        coming(window).for_each(trace_others::<P>);
        P::sched().give_way(); // (`gives-way-between-parts` of `operation`)
        self.release(coming(window)); // (one-hold-a-window)
        P::sched().give_way();
        for comer in window.iter_mut().filter(|it| it.comes()) {
            self.start_walk(comer);
        }
    }

    /// Has the thread of a CPU that is online walk on.
    fn start_walk(&self, comer: &mut Comer) {
        let walk = BatchWalk {
            cpu: comer.cpu,
            target: comer.target,
            origin: comer.origin.max(UP_TO_ONLINE),
            is_last: true,
        };
        self.start_in_batch(walk, Direction::Up, Instant::FOREVER);
        comer.walks = true;
    }

    /// Sees the CPUs of `window` ALIVE that were off, and brings each up, one after the other.
    fn walk_one_by_one(&'static self, window: &mut [Comer]) {
        let mut late_from = self.arrival_limit().end();
        for comer in window.iter_mut().filter(|it| it.failed.is_none()) {
            let cpu = comer.cpu;
            if comer.is_off() {
                trace_others::<P>(cpu);
                let mut context = StepContext::of(cpu);
                context.until = late_from;
                comer.failed = self.walker(&context).up(UP_TO_ALIVE).err();
                if comer.failed.is_some() {
                    continue;
                }
                late_from = self.arrival_limit().end();
            } else {
                trace_begin::<P>(cpu, Direction::Up);
            }
            comer.failed = self.walk_on(cpu, comer.origin, comer.target).err();
            // (walk-ends-with-its-cpu)
            if comer.failed.is_none() {
                P::trace(Event::WalkEnd { cpu });
            }
        }
    }

    /// Takes back the steps of those that failed before their release (failed-stays-behind).
    fn take_back_failed(&self, comers: &[Comer]) {
        let failed = comers.iter().filter(|it| it.failed.is_some());
        for comer in failed {
            if self.state(comer.cpu).state() <= UP_TO_ALIVE {
                trace_others::<P>(comer.cpu);
                self.undo_prep(comer.cpu);
            }
        }
    }

    /// Takes down those whose threads have failed and walked back to where control released them.
    fn take_down_failed(&'static self, comers: &[Comer]) {
        let failed = comers
            .iter()
            .filter(|it| it.failed.is_some() && it.is_off());
        let undone = failed.filter(|it| self.state(it.cpu).state() == UP_TO_ONLINE);
        self.take_down_again(&undone.map(|it| it.cpu).collect());
    }
}
