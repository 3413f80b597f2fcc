//! The events of a timeline, as JSON: a line each.

use core::fmt::{self, Display, Write};

use crate::config::MAX_CPUS;
use crate::cpu::CpuId;
use crate::time::{Frequency, Instant, Thousandths};

/// A group of tracks, as the format numbers it: a process there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Group {
    /// Walks.
    Walks = 1,
    /// Still points.
    Stops = 2,
    /// What threads run.
    Threads = 3,
    /// The handlers of interrupts.
    Interrupts = 4,
    /// The governor.
    Governor = 5,
}

impl Group {
    const fn name(self) -> &'static str {
        match self {
            Group::Walks => "walks",
            Group::Stops => "still points",
            Group::Threads => "threads",
            Group::Interrupts => "interrupts",
            Group::Governor => "governor",
        }
    }

    /// Returns the number of the track of `cpu` in the group, which no other track has. Perfetto
    /// takes 0 for no number, and a track of the group's own number for that of the whole group.
    const fn track(self, cpu: CpuId) -> usize {
        self as usize * TRACKS + cpu.index()
    }
}

/// How far the numbers of the tracks of two groups are apart.
const TRACKS: usize = 1000;

const _: () = assert!(MAX_CPUS < TRACKS);

/// A point of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) group: Group,
    pub(super) cpu: CpuId,
    pub(super) at: Instant,
}

/// How many events were written of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    pub(super) slices: u32,
    pub(super) instants: u32,
    pub(super) flows: u32,
    pub(super) counters: u32,
}

/// The events, as they are written.
pub(super) struct Events<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    frequency: Frequency,
    pub(super) written: Written,
    /// What goes before the next event.
    separator: &'static str,
}

impl<'a, 'f> Events<'a, 'f> {
    pub(super) fn new(out: &'a mut fmt::Formatter<'f>, frequency: Frequency) -> Self {
        Events {
            out,
            frequency,
            written: Written::default(),
            separator: "",
        }
    }

    /// Writes what separates the next event from the one before.
    fn next(&mut self) -> fmt::Result {
        self.out
            .write_str(core::mem::replace(&mut self.separator, ",\n"))
    }

    /// Names a group, and its track of each CPU.
    pub(super) fn name(&mut self, group: Group, cpus: impl Iterator<Item = CpuId>) -> fmt::Result {
        let (pid, name) = (group as u8, group.name());
        self.next()?;
        write!(
            self.out,
            "{{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":{pid},\
             \"args\":{{\"name\":\"{name}\"}}}}"
        )?;
        for cpu in cpus {
            self.next()?;
            let tid = group.track(cpu);
            write!(
                self.out,
                "{{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":{pid},\"tid\":{tid},\
                 \"args\":{{\"name\":\"CPU {cpu}\"}}}}"
            )?;
        }
        Ok(())
    }

    /// Writes a slice that begins at `place` and takes `ticks`; `args` is the inside of an object of
    /// JSON.
    pub(super) fn slice(
        &mut self,
        place: Place,
        ticks: u64,
        name: &dyn Display,
        args: fmt::Arguments<'_>,
    ) -> fmt::Result {
        self.written.slices += 1;
        // Both ends are rounded alike, so what is inside another slice stays inside.
        let began = self.frequency.ticks_to_ns(place.at.0);
        let ended = self.frequency.ticks_to_ns(place.at.0 + ticks);
        self.begin("X", place, name)?;
        let dur = Thousandths(ended - began);
        write!(self.out, ",\"dur\":{dur},\"args\":{{{args}}}}}")
    }

    pub(super) fn instant(&mut self, place: Place, name: &dyn Display) -> fmt::Result {
        self.written.instants += 1;
        self.begin("i", place, name)?;
        self.out.write_str(",\"s\":\"t\"}")
    }

    /// Writes the values of a counter of `group` from `at` on; `args` is the inside of an object of
    /// JSON, with a number for each name.
    pub(super) fn counter(
        &mut self,
        group: Group,
        at: Instant,
        name: &'static str,
        args: fmt::Arguments<'_>,
    ) -> fmt::Result {
        self.written.counters += 1;
        self.next()?;
        let (pid, ts) = (group as u8, Thousandths(self.frequency.ticks_to_ns(at.0)));
        write!(
            self.out,
            "{{\"ph\":\"C\",\"name\":\"{name}\",\"pid\":{pid},\"ts\":{ts},\"args\":{{{args}}}}}"
        )
    }

    /// Writes an arrow between two slices, each of which there is at its place.
    pub(super) fn flow(&mut self, from: Place, to: Place, name: &'static str) -> fmt::Result {
        self.written.flows += 1;
        let id = self.written.flows;
        self.begin("s", from, &name)?;
        write!(self.out, ",\"cat\":\"{name}\",\"id\":{id}}}")?;
        self.begin("f", to, &name)?;
        write!(self.out, ",\"cat\":\"{name}\",\"id\":{id},\"bp\":\"e\"}}")
    }

    fn begin(&mut self, kind: &str, place: Place, name: &dyn Display) -> fmt::Result {
        self.next()?;
        write!(self.out, "{{\"ph\":\"{kind}\",\"name\":\"")?;
        write!(Escaped(&mut *self.out), "{name}")?;
        let (pid, tid) = (place.group as u8, place.group.track(place.cpu));
        let ts = Thousandths(self.frequency.ticks_to_ns(place.at.0));
        write!(self.out, "\",\"pid\":{pid},\"tid\":{tid},\"ts\":{ts}")
    }
}

/// Writes text as the inside of a string of JSON: a program chooses the names of its steps and
/// threads.
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
