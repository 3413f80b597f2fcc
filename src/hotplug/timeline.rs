//! What the rings have recorded as a timeline: the JSON that Perfetto and `chrome://tracing` open.
//!
//! ```text
//!   1 walks          CPU 3  │ down ──────────────────────────────────────────┐
//!                           │ call│sched:active│sync:active│ … │prep:heap│return
//!   2 still points   CPU 0  │      stop ────────────────────────┐
//!                           │      prepare │disable_irq│run│exit│
//!                    CPU 3  │            stop ──────────────────┐
//!   3 threads        CPU 0  │ main │stopper/0                   │main
//!                    CPU 3  │ idle     ┌►│stopper/3            │idle
//!                           │   └ sgi ┐│ woken
//!   4 interrupts     CPU 3  │         └►Stop machine interrupts
//! ```
//! Each CPU has a track in each group. In the first, its walks, a slice is a walk, and the slices in
//! it are its parts, one after the other. A call of an installation or a removal is a slice by
//! itself. In the second, a slice is the time from the CPU's arrival in a stop until it left it; in
//! it are the states of the stop. In the third, a slice is the time for which a thread had the CPU,
//! and in the fourth that of a handler. An arrow leads from the thread that sends an SGI to the
//! handler on the receiver, and from a handler to the thread that it has made due.
//!
//! The governor, if it has done anything, has a fifth group: a slice for each decision, on the track
//! of the CPU where it was made, until it was carried out; and two counters, of the CPUs online and
//! of the load.
//!
//! States, the third and the fourth group, and arrows need the rings of scheduling events: while
//! there are none, nothing of them is written.
//!
//! # Sources
//! The Chrome project's "Trace Event Format": complete events (`X`), instant events (`i`), flow
//! events (`s`, `f`, bound to the slice around them), counters (`C`), names of processes and threads
//! (`M`); times in microseconds.

mod arrows;
mod events;
mod governor;
mod sched_history;
mod stays;

use alloc::vec::Vec;
use core::fmt::{self, Display};

use crate::cpu::CpuId;
use crate::hotplug::{Part, PartKind, RecordedCall, RecordedWalk, StepName, part_name, way};
use crate::time::{Frequency, Instant};
use crate::trace::{GovernorRecord, Missing};
use arrows::Arrow;
use events::{Events, Group, Place};

pub use sched_history::{
    CpuHistory, PublishedState, RecordedInterrupt, RecordedRun, SchedHistory, SentSgi,
};
pub use stays::{RecordedStay, recorded_stays};

/// What the rings hold of all CPUs. Displays the JSON, and last in it how many events it has of each
/// kind, and how many the rings had besides.
pub struct Timeline<'a, N, I> {
    /// Each CPU with its walks, and with the calls of installations and removals for it.
    pub cpus: &'a [(CpuId, Vec<RecordedWalk>, Vec<RecordedCall>)],
    /// What CPUs did in still points.
    pub stays: &'a [RecordedStay],
    /// What they ran, and which interrupts they took, if that was ever recorded.
    pub sched: Option<&'a SchedHistory>,
    /// What the governor has measured and decided, in the order of time.
    pub governor: &'a [GovernorRecord],
    /// How many events are in none of them.
    pub missing: Missing,
    /// Ticks in a second.
    pub frequency: Frequency,
    /// Returns the name of a step of the table.
    pub step_name_fn: N,
    /// Returns what `/proc/interrupts` calls an interrupt, by its number.
    pub interrupt_name_fn: I,
}

impl<N, I, D> Display for Timeline<'_, N, I>
where
    N: Fn(usize) -> StepName,
    I: Fn(u32) -> D,
    D: Display,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n")?;
        let mut events = Events::new(f, self.frequency);
        let groups = [
            Group::Walks,
            Group::Stops,
            Group::Threads,
            Group::Interrupts,
        ];
        let groups = &groups[..if self.sched.is_some() { 4 } else { 2 }];
        for group in groups {
            events.name(*group, self.cpus.iter().map(|(cpu, ..)| *cpu))?;
        }
        if !self.governor.is_empty() {
            events.name(Group::Governor, self.cpus.iter().map(|(cpu, ..)| *cpu))?;
        }
        for (cpu, walks, calls) in self.cpus {
            for walk in walks {
                self.walk(&mut events, walk)?;
            }
            for call in calls {
                let name = (self.step_name_fn)(call.step);
                let (ok, on) = (call.done != Some(false), call.on);
                let args = format_args!("\"ok\":{ok},\"on\":{on}");
                events.slice(walks_at(*cpu, call.at), call.ticks, &name, args)?;
            }
        }
        for stay in self.stays {
            self.stay(&mut events, stay)?;
        }
        if let Some(sched) = self.sched {
            self.sched(&mut events, sched)?;
        }
        governor::write(&mut events, self.governor)?;
        let written = events.written;
        let Missing { lost, torn } = self.missing;
        write!(
            f,
            "\n],\"otherData\":{{\"slices\":\"{}\",\"flows\":\"{}\",\"instants\":\"{}\",\"counters\":\"{}\",\
             \"lost\":\"{lost}\",\"torn\":\"{torn}\"}}}}",
            written.slices, written.flows, written.instants, written.counters
        )
    }
}

impl<N, I, D> Timeline<'_, N, I>
where
    N: Fn(usize) -> StepName,
    I: Fn(u32) -> D,
    D: Display,
{
    fn walk(&self, events: &mut Events<'_, '_>, walk: &RecordedWalk) -> fmt::Result {
        let ticks = walk.ended.ticks_since(walk.began);
        let ok = walk.failed.is_none();
        let name = way(walk.direction);
        let whole = walks_at(walk.cpu, walk.began);
        events.slice(whole, ticks, &name, format_args!("\"ok\":{ok}"))?;
        for part in &walk.parts {
            let name = part_name(part.kind, &self.step_name_fn);
            let place = walks_at(walk.cpu, part.at);
            match part.kind {
                // It is a sum, and has no place: what is free between slices is it.
                PartKind::Between => (),
                PartKind::Dead => events.instant(place, &name)?,
                _ => {
                    let (ok, on) = (part_is_ok(part), part.on);
                    let args = format_args!("\"ok\":{ok},\"on\":{on}");
                    events.slice(place, part.ticks, &name, args)?;
                }
            }
        }
        Ok(())
    }

    fn stay(&self, events: &mut Events<'_, '_>, stay: &RecordedStay) -> fmt::Result {
        let place = |at| Place {
            group: Group::Stops,
            cpu: stay.on,
            at,
        };
        let ok = !stay.given_up;
        let args = format_args!("\"ok\":{ok}");
        events.slice(place(stay.at), stay.ticks, &"stop", args)?;
        let published = self.sched.map_or(&[][..], |sched| &sched.states);
        for state in stay.states(published) {
            let args = format_args!("\"ok\":true");
            events.slice(place(state.at), state.ticks, &state.name, args)?;
        }
        Ok(())
    }

    fn sched(&self, events: &mut Events<'_, '_>, sched: &SchedHistory) -> fmt::Result {
        for (cpu, history) in &sched.cpus {
            let cpu = *cpu;
            for run in &history.runs {
                let (group, at) = (Group::Threads, run.at);
                let name: &dyn Display = if run.is_idle { &"idle" } else { &run.name };
                let (number, goes_on) = (run.thread, run.goes_on);
                let args = format_args!("\"ok\":true,\"thread\":{number},\"goes_on\":{goes_on}");
                events.slice(Place { group, cpu, at }, run.ticks, name, args)?;
            }
            for interrupt in &history.interrupts {
                let (group, at) = (Group::Interrupts, interrupt.at);
                let name = (self.interrupt_name_fn)(interrupt.intid);
                let args = format_args!("\"ok\":true,\"intid\":{}", interrupt.intid);
                events.slice(Place { group, cpu, at }, interrupt.ticks, &name, args)?;
            }
        }
        sched.for_each_arrow(|Arrow { from, to, name }| events.flow(from, to, name))
    }
}

fn walks_at(cpu: CpuId, at: Instant) -> Place {
    let group = Group::Walks;
    Place { group, cpu, at }
}

fn part_is_ok(part: &Part) -> bool {
    !matches!(
        part.kind,
        PartKind::Step {
            done: Some(false),
            ..
        }
    )
}
