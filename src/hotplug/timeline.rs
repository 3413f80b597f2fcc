//! Recorded walks and still points as a timeline: the JSON that Perfetto and `chrome://tracing` open.
//!
//! ```text
//!   walks          CPU 3  │ down ──────────────────────────────────────────┐
//!                         │ call│sched:active│sync:active│ … │prep:heap│return
//!   still points   CPU 0  │                        stop
//!                  CPU 1  │                        stop
//! ```
//! Each CPU has two tracks. In the first, its walks, a slice is a walk, and the slices in it are its
//! parts, one after the other. A call of an installation or a removal is a slice by
//! itself. In the second, a slice is the time from the CPU's arrival in a stop until it left it.
//!
//! # Sources
//! The Chrome project's "Trace Event Format": complete events (`X`), instant events (`i`), names of
//! processes and threads (`M`); times in microseconds.

use alloc::vec::Vec;
use core::fmt::{self, Display, Write};

use crate::config::MAX_CPUS;
use crate::cpu::CpuId;
use crate::hotplug::{Part, PartKind, RecordedCall, RecordedWalk, StepName, part_name, way};
use crate::stop_machine::MultiStopState;
use crate::time::{Frequency, Instant, Thousandths};
use crate::trace::{Event, Record};

/// The group of tracks for walks, as the format numbers it.
const WALKS: u32 = 1;
/// The group of tracks for still points.
const STOPS: u32 = 2;

/// How far the numbers of the tracks of two groups are apart.
const TRACKS: u32 = 1000;

const _: () = assert!(MAX_CPUS < TRACKS as usize);

/// Returns the number of the track of `cpu` in `group`, which no other track has. Perfetto takes 0
/// for no number, and a track of the group's own number for that of the whole group.
fn track(group: u32, cpu: CpuId) -> usize {
    (group * TRACKS) as usize + cpu.index()
}

/// The time of one CPU in one stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedStay {
    /// The CPU.
    pub on: CpuId,
    /// When it arrived.
    pub at: Instant,
    /// How long it stayed.
    pub ticks: u64,
    /// Whether the stop was given up.
    pub given_up: bool,
}

/// Returns the stays in `records`, which are in the order of their time. One whose beginning or end
/// isn't recorded is left out.
pub fn recorded_stays(records: &[Record]) -> Vec<RecordedStay> {
    const ARRIVED: u8 = MultiStopState::Prepare as u8;
    const LEFT: u8 = MultiStopState::Exit as u8;
    const GIVEN_UP: u8 = MultiStopState::Abort as u8;
    let mut arrived: Vec<&Record> = Vec::new();
    let mut stays = Vec::new();
    for record in records {
        let Event::Stop { state } = record.event else {
            continue;
        };
        let before = arrived.iter().position(|other| other.on == record.on);
        let before = before.map(|place| arrived.swap_remove(place));
        match (state, before) {
            (ARRIVED, _) => arrived.push(record),
            (LEFT | GIVEN_UP, Some(before)) => stays.push(RecordedStay {
                on: record.on,
                at: before.at,
                ticks: record.at.ticks_since(before.at),
                given_up: state == GIVEN_UP,
            }),
            _ => (),
        }
    }
    stays
}

/// What the rings hold of all CPUs. Displays the JSON, and last in it how many slices it has.
pub struct Timeline<'a, N> {
    /// Each CPU with its walks, and with the calls of installations and removals for it.
    pub cpus: &'a [(CpuId, Vec<RecordedWalk>, Vec<RecordedCall>)],
    /// What CPUs did in still points.
    pub stays: &'a [RecordedStay],
    /// Ticks in a second.
    pub frequency: Frequency,
    /// Returns the name of a step of the table.
    pub step_name_fn: N,
}

impl<N: Fn(usize) -> StepName> Display for Timeline<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n")?;
        let mut events = Events {
            out: f,
            frequency: self.frequency,
            slices: 0,
            separator: "",
        };
        for (group, name) in [(WALKS, "walks"), (STOPS, "still points")] {
            events.name_group(group, name)?;
            for (cpu, ..) in self.cpus {
                events.name_track(group, *cpu)?;
            }
        }
        for (cpu, walks, calls) in self.cpus {
            for walk in walks {
                self.walk(&mut events, walk)?;
            }
            for call in calls {
                let name = (self.step_name_fn)(call.step);
                let slice = Slice::new(WALKS, *cpu, call.at, call.ticks);
                events.slice(&slice, &name, Some(call.on), call.done != Some(false))?;
            }
        }
        for stay in self.stays {
            let slice = Slice::new(STOPS, stay.on, stay.at, stay.ticks);
            events.slice(&slice, &"stop", None, !stay.given_up)?;
        }
        let slices = events.slices;
        write!(f, "\n],\"otherData\":{{\"slices\":\"{slices}\"}}}}")
    }
}

impl<N: Fn(usize) -> StepName> Timeline<'_, N> {
    fn walk(&self, events: &mut Events<'_, '_>, walk: &RecordedWalk) -> fmt::Result {
        let ticks = walk.ended.ticks_since(walk.began);
        let whole = Slice::new(WALKS, walk.cpu, walk.began, ticks);
        let is_ok = walk.failed.is_none();
        events.slice(&whole, &way(walk.direction), None, is_ok)?;
        for part in &walk.parts {
            let name = part_name(part.kind, &self.step_name_fn);
            let slice = Slice::new(WALKS, walk.cpu, part.at, part.ticks);
            match part.kind {
                // It is a sum, and has no place: what is free between slices is it.
                PartKind::Between => (),
                PartKind::Dead => events.instant(&slice, &name)?,
                _ => events.slice(&slice, &name, Some(part.on), part_is_ok(part))?,
            }
        }
        Ok(())
    }
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

/// Where and when a slice is.
struct Slice {
    group: u32,
    cpu: CpuId,
    at: Instant,
    ticks: u64,
}

impl Slice {
    fn new(group: u32, cpu: CpuId, at: Instant, ticks: u64) -> Slice {
        Slice {
            group,
            cpu,
            at,
            ticks,
        }
    }
}

/// The events, as they are written: a line each.
struct Events<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    frequency: Frequency,
    slices: u32,
    /// What goes before the next event.
    separator: &'static str,
}

impl Events<'_, '_> {
    /// Writes what separates the next event from the one before.
    fn next(&mut self) -> fmt::Result {
        self.out
            .write_str(core::mem::replace(&mut self.separator, ",\n"))
    }

    fn name_group(&mut self, group: u32, name: &str) -> fmt::Result {
        self.next()?;
        write!(
            self.out,
            "{{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":{group},\
             \"args\":{{\"name\":\"{name}\"}}}}"
        )
    }

    fn name_track(&mut self, group: u32, cpu: CpuId) -> fmt::Result {
        self.next()?;
        let track = track(group, cpu);
        write!(
            self.out,
            "{{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":{group},\"tid\":{track},\
             \"args\":{{\"name\":\"CPU {cpu}\"}}}}"
        )
    }

    fn slice(
        &mut self,
        slice: &Slice,
        name: &dyn Display,
        on: Option<CpuId>,
        is_ok: bool,
    ) -> fmt::Result {
        self.slices += 1;
        // Both ends are rounded alike, so what is inside another slice stays inside.
        let began = self.frequency.ticks_to_ns(slice.at.0);
        let ended = self.frequency.ticks_to_ns(slice.at.0 + slice.ticks);
        self.begin("X", slice, name, began)?;
        write!(self.out, ",\"dur\":{}", Thousandths(ended - began))?;
        write!(self.out, ",\"args\":{{\"ok\":{is_ok}")?;
        if let Some(on) = on {
            write!(self.out, ",\"on\":{on}")?;
        }
        self.out.write_str("}}")
    }

    fn instant(&mut self, slice: &Slice, name: &dyn Display) -> fmt::Result {
        let at = self.frequency.ticks_to_ns(slice.at.0);
        self.begin("i", slice, name, at)?;
        self.out.write_str(",\"s\":\"t\"}")
    }

    fn begin(&mut self, kind: &str, slice: &Slice, name: &dyn Display, at: u64) -> fmt::Result {
        self.next()?;
        write!(self.out, "{{\"ph\":\"{kind}\",\"name\":\"")?;
        write!(Escaped(&mut *self.out), "{name}")?;
        let (group, track) = (slice.group, track(slice.group, slice.cpu));
        write!(
            self.out,
            "\",\"pid\":{group},\"tid\":{track},\"ts\":{}",
            Thousandths(at)
        )
    }
}

/// Writes text as the inside of a string of JSON: a program chooses the names of its steps.
struct Escaped<'a, W>(&'a mut W);

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            match letter {
                '"' | '\\' => {
                    self.0.write_char('\\')?;
                    self.0.write_char(letter)?;
                }
                '\0'..' ' => write!(self.0, "\\u{:04x}", u32::from(letter))?,
                _ => self.0.write_char(letter)?,
            }
        }
        Ok(())
    }
}
