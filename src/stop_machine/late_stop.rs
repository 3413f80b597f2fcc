//! A stop that takes long, as the log tells of it: one line says what it waits for, and then there
//! is one for each CPU.
//!
//! What a line says is read without a lock that could be held for ever, a moment ago.
//!
//! # Invariants
//! - **first-look**: the first CPUs that come to a stop look at the time until it is over, one
//!   more than run the function. So if any CPU has come it tells of those that haven't, whichever
//!   it is; one looks that doesn't run the function; and where one is stuck in an interrupt
//!   another one tells.

#![forbid(unsafe_code)]

use core::fmt;
use core::time::Duration;

use crate::cpu::{CpuId, CpuMask};
use crate::sched::{ThreadName, ThreadState};
use crate::stop_machine::job::{End, Job};
use crate::stop_machine::{HeldBy, HeldUp, MultiStopState, StopHost};
use crate::sync::atomic::Ordering;

/// A stop that takes long, for a message.
pub struct LateStop<'a> {
    /// The state that was published last.
    pub state: MultiStopState,
    /// The CPUs that the others wait for.
    pub cpus: CpuMask,
    /// The name of the stop's function.
    pub name: &'static str,
    /// The thread that called for the stop.
    pub caller: &'a ThreadName,
    /// After how long a wait of this stop is reported.
    patience: Duration,
    participants: &'a CpuMask,
    look_fn: &'a dyn Fn(CpuId) -> LateCpu,
}

impl LateStop<'_> {
    /// Returns what is known of each CPU that takes part.
    pub fn each(&self) -> impl Iterator<Item = LateCpu> {
        self.participants.iter().map(self.look_fn)
    }
}

impl fmt::Display for LateStop<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LateStop {
            cpus, name, caller, ..
        } = self;
        let time = self.patience.as_secs();
        match self.state {
            MultiStopState::DisableIrq => write!(
                f,
                "CPUs {cpus} have not come to a stop for {time} s, which {caller} has asked for, \
                 and the machine waits"
            ),
            MultiStopState::Run => write!(
                f,
                "CPUs {cpus} have run {name} for {time} s, as {caller} has asked, and the machine \
                 waits"
            ),
            MultiStopState::Flush => write!(
                f,
                "CPUs {cpus} have not given preempted threads their time yet, for the stop that \
                 {caller} has asked for"
            ),
            MultiStopState::Exit | MultiStopState::Abort => {
                write!(
                    f,
                    "CPUs {cpus} have not left the stop yet that {caller} has asked for"
                )
            }
            _ => write!(
                f,
                "CPUs {cpus} have not come yet to the stop that {caller} has asked for"
            ),
        }
    }
}

/// One CPU in a stop that takes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateCpu {
    /// The CPU.
    pub cpu: CpuId,
    /// How far it has come.
    pub seen: Seen,
    /// The thread that it runs, if the others wait for it and that could be read.
    pub thread: Option<ThreadName>,
    /// What is in its way, if the others wait for it and that is known.
    pub by: Option<HeldBy>,
}

/// How far a CPU has come in a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Its stopper has not begun.
    NotCome,
    /// It has acknowledged the states before this one, and is in it.
    In(MultiStopState),
    /// It has left.
    Left,
}

impl LateCpu {
    /// Returns a line for a CPU whose stopper has not begun a work.
    ///
    /// # Context
    /// Any.
    pub fn not_come<P: StopHost>(cpu: CpuId) -> LateCpu {
        LateCpu::held_up(cpu, Seen::NotCome, HeldUp::of::<P>(cpu))
    }

    fn held_up(cpu: CpuId, seen: Seen, HeldUp { thread, by }: HeldUp) -> LateCpu {
        LateCpu {
            cpu,
            seen,
            thread,
            by: Some(by),
        }
    }

    /// Returns a line for a CPU whose stopper has begun its work, and not ended it.
    ///
    /// # Context
    /// Any.
    pub fn begun<P: StopHost>(cpu: CpuId) -> LateCpu {
        LateCpu::inside::<P>(cpu, Seen::In(MultiStopState::Run))
    }

    /// Returns a line for a CPU whose stopper has come as far as `seen`.
    fn inside<P: StopHost>(cpu: CpuId, seen: Seen) -> LateCpu {
        LateCpu {
            cpu,
            seen,
            thread: P::sched().current_name_racy(cpu),
            by: HeldBy::function_of::<P>(cpu),
        }
    }
}

impl fmt::Display for LateCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CPU{} ", self.cpu)?;
        match self.seen {
            Seen::NotCome => f.write_str("has not come")?,
            Seen::In(state) => write!(f, "is in {state}")?,
            Seen::Left => f.write_str("has left")?,
        }
        if let Some(thread) = self.thread {
            write!(f, ": {thread}")?;
        }
        match self.by {
            Some(by) => write!(f, " ({by})"),
            None => Ok(()),
        }
    }
}

impl<P: StopHost> Job<'_, P> {
    /// Does as [`Job::tell_late`], once in each state.
    pub(super) fn tell_late_once(&self, tell_fn: impl FnOnce(&LateStop<'_>)) {
        self.tell_late(|late| {
            let state = 1 << late.state as u32;
            if self.notes.told.fetch_or(state, Ordering::Relaxed) & state == 0 {
                tell_fn(late);
            }
        });
    }

    /// Calls `tell_fn` with the stop as it is now, if it waits for some other CPU.
    pub(super) fn tell_late(&self, tell_fn: impl FnOnce(&LateStop<'_>)) {
        let state = self.stop.state();
        let here = P::this_cpu();
        let participants = self.participants.iter();
        // In a flush this is a handler, and its CPU may be the one that is waited for.
        let elsewhere = |cpu: CpuId| cpu != here || state == MultiStopState::Flush;
        let cpus: CpuMask = participants
            .filter(|cpu| elsewhere(*cpu) && self.is_waited_for(*cpu, state))
            .collect();
        if cpus.is_empty() {
            return;
        }
        let look = |cpu: CpuId| self.line(cpu, state, cpus.contains(cpu));
        tell_fn(&LateStop {
            state,
            cpus,
            name: self.name,
            caller: self.caller_name,
            // Not that of now: another may have been chosen meanwhile.
            patience: Duration::from_nanos(P::frequency().ticks_to_ns(self.patience.ticks())),
            participants: self.participants,
            look_fn: &look,
        });
    }

    /// Returns whether the stopper of `cpu` has begun its part, once all are queued.
    pub(super) fn has_come(&self, cpu: CpuId) -> bool {
        match self.end {
            End::Pair(pair) => pair.come.get(cpu.index(), Ordering::Relaxed),
            _ => !self.machine.stoppers.get(cpu).own.is_queued_racy(),
        }
    }

    fn is_waited_for(&self, cpu: CpuId, state: MultiStopState) -> bool {
        let seen = self.seen(cpu, state);
        match state {
            MultiStopState::Flush => self.unflushed(cpu).is_some(),
            MultiStopState::Prepare => seen == Seen::NotCome,
            MultiStopState::DisableIrq => seen != Seen::In(state),
            MultiStopState::Run | MultiStopState::Exit | MultiStopState::Abort => {
                seen == Seen::In(state)
            }
        }
    }

    fn seen(&self, cpu: CpuId, state: MultiStopState) -> Seen {
        if state != MultiStopState::Flush && !self.has_come(cpu) {
            return Seen::NotCome;
        }
        let is_still = self.machine.stoppers.get(cpu).is_still_racy();
        match state {
            MultiStopState::DisableIrq if !is_still => Seen::In(MultiStopState::Prepare),
            // The patience is far longer than the spin, so a runner that is awake runs.
            MultiStopState::Run if !self.runners.contains(cpu) || self.is_asleep(cpu) => {
                Seen::In(MultiStopState::DisableIrq)
            }
            MultiStopState::Exit if !is_still => Seen::Left,
            MultiStopState::Abort if !self.is_awake(cpu) => Seen::Left,
            _ => Seen::In(state),
        }
    }

    /// Returns whether the stopper of `cpu`, whose work was not taken back, runs or will.
    fn is_awake(&self, cpu: CpuId) -> bool {
        let stopper = self.machine.stopper(cpu).thread();
        let state = stopper.map(|thread| thread.state_racy());
        let awake = matches!(state, Some(ThreadState::Running | ThreadState::Runnable));
        awake && !self.notes.not_come.get(cpu.index(), Ordering::Relaxed)
    }

    fn is_asleep(&self, cpu: CpuId) -> bool {
        CpuMask::from_bits(self.machine.point.sleepers_racy()).contains(cpu)
    }

    fn line(&self, cpu: CpuId, state: MultiStopState, is_waited_for: bool) -> LateCpu {
        let seen = self.seen(cpu, state);
        if seen == Seen::NotCome {
            return LateCpu::not_come::<P>(cpu);
        }
        if !is_waited_for {
            return LateCpu {
                cpu,
                seen,
                thread: None,
                by: None,
            };
        }
        let unflushed = (state == MultiStopState::Flush).then(|| self.unflushed(cpu));
        match unflushed.flatten() {
            Some(held_up) => LateCpu::held_up(cpu, seen, held_up),
            None => LateCpu::inside::<P>(cpu, seen),
        }
    }
}
