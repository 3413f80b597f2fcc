//! Memory with a write-back cache for each of two CPUs.
//!
//! A CPU whose caches are on sees the copies in all caches, which hardware keeps coherent. A
//! CPU whose caches are off reads and writes memory, and bypasses all caches. Maintenance by
//! address reaches all caches, whichever CPU does it (Arm ARM: to the point of coherency,
//! inner shareable). At any moment hardware may write a line back and drop it, or fetch one.
//! Firmware at a higher exception level may fetch lines too.

use stillpoint::coherency::steps::Line;

pub(crate) const LINES: [Line; 8] = [
    Line::Command,
    Line::Status,
    Line::Handover,
    Line::Failure,
    Line::Tree,
    Line::Bss,
    Line::Relocated,
    Line::Tables,
];

/// The value of a line. It is 0 at first.
pub(crate) type Value = u8;

/// A cached copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Copy {
    pub(crate) value: Value,
    pub(crate) dirty: bool,
}

/// Memory and caches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Memory {
    memory: [Value; LINES.len()],
    caches: [[Option<Copy>; LINES.len()]; 2],
    /// Whether each CPU has its caches on.
    pub(crate) caches_on: [bool; 2],
}

fn index(line: Line) -> usize {
    let found = LINES.iter().position(|other| *other == line);
    found.expect("every line is listed")
}

impl Memory {
    /// Returns memory of zeros, with nothing cached.
    pub(crate) fn new(caches_on: [bool; 2]) -> Memory {
        Memory {
            memory: [0; LINES.len()],
            caches: [[None; LINES.len()]; 2],
            caches_on,
        }
    }

    /// Stores `value` in memory, as it was there before the protocol began.
    pub(crate) fn set_memory(&mut self, line: Line, value: Value) {
        self.memory[index(line)] = value;
    }

    /// Puts a copy into `cpu`'s cache, as it was there before the protocol began.
    pub(crate) fn set_copy(&mut self, cpu: usize, line: Line, copy: Copy) {
        self.caches[cpu][index(line)] = Some(copy);
    }

    pub(crate) fn read(&mut self, cpu: usize, line: Line) -> Value {
        if !self.caches_on[cpu] {
            return self.memory[index(line)];
        }
        self.fetch(cpu, line);
        let copy = self.caches[cpu][index(line)];
        copy.expect("just fetched").value
    }

    pub(crate) fn write(&mut self, cpu: usize, line: Line, value: Value) {
        let at = index(line);
        if self.caches_on[cpu] {
            for cache in &mut self.caches {
                cache[at] = None;
            }
            self.caches[cpu][at] = Some(Copy { value, dirty: true });
        } else {
            self.memory[at] = value;
        }
    }

    pub(crate) fn clean(&mut self, line: Line) {
        let at = index(line);
        for cache in &mut self.caches {
            if let Some(copy) = &mut cache[at]
                && copy.dirty
            {
                copy.dirty = false;
                self.memory[at] = copy.value;
            }
        }
    }

    pub(crate) fn invalidate(&mut self, line: Line) {
        for cache in &mut self.caches {
            cache[index(line)] = None;
        }
    }

    /// Fetches a copy into `cpu`'s cache, from another cache or from memory.
    fn fetch(&mut self, cpu: usize, line: Line) {
        let at = index(line);
        if self.caches[cpu][at].is_some() {
            return;
        }
        let elsewhere = self.caches.iter().find_map(|cache| cache[at]);
        let value = elsewhere.map_or(self.memory[at], |copy| copy.value);
        self.caches[cpu][at] = Some(Copy {
            value,
            dirty: false,
        });
    }

    /// Returns the states after each event that may happen by itself to one of `lines`.
    pub(crate) fn by_chance(&self, lines: &[Line]) -> Vec<Memory> {
        let mut all = Vec::new();
        for cpu in 0..2 {
            for line in lines {
                let mut next = self.clone();
                match next.caches[cpu][index(*line)].take() {
                    Some(copy) if copy.dirty => next.memory[index(*line)] = copy.value,
                    Some(_) => {}
                    None => next.fetch(cpu, *line),
                }
                all.push(next);
            }
        }
        all
    }
}
