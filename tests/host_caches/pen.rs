//! Control and a CPU that parks. There are three rounds, in each of which the CPU refuses
//! itself or comes online and leaves again.

use stillpoint::coherency::pen;
use stillpoint::coherency::steps::{CacheStep, Line};

use crate::memory::{Copy, Memory, Value};
use crate::recorder::steps_of;
use crate::search::{State, search};
use crate::{is_maintenance, without};

const CONTROL: usize = 0;
const CPU: usize = 1;

/// The status of a CPU in the pen.
const PARKED: Value = 9;

const LINES: [Line; 4] = [Line::Command, Line::Status, Line::Handover, Line::Failure];

/// What the CPU does after its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Round {
    /// Comes online, and leaves with its caches on.
    Serves,
    /// Refuses itself before its caches are on.
    Refuses,
    /// Refuses itself after its caches went on, because of an exception.
    RefusesLate,
}

/// The sequences of the protocol. A test may leave a step out of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Protocol {
    sequences: [Vec<CacheStep>; 8],
}

/// The index of each sequence in [`Protocol`].
const PREPARE: usize = 0;
const RELEASE: usize = 1;
const LOOK: usize = 2;
const LOOK_WHY: usize = 3;
const PARK: usize = 4;
const ARRIVE: usize = 5;
const REFUSE: usize = 6;
const MAKE: usize = 7;

impl Protocol {
    fn new() -> Protocol {
        Protocol {
            sequences: [
                steps_of(pen::prepare),
                steps_of(pen::release),
                steps_of(pen::look),
                steps_of(pen::look_why),
                pen::PARK.to_vec(),
                pen::ARRIVE.to_vec(),
                pen::REFUSE.to_vec(),
                steps_of(pen::make),
            ],
        }
    }
}

/// The position of a side: a step of a sequence, or a move between sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    In(usize, usize),
    /// The CPU reads its handover, and then does what its round says.
    Decides,
    /// Control waits for DEAD (hardware keeps that word coherent), or a refusal.
    Waits,
    Over,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Pen<'a> {
    protocol: &'a Protocol,
    rounds: &'a [Round],
    memory: Memory,
    at: [At; 2],
    /// The round of each side, counted from 1.
    round: [usize; 2],
    /// The value that control has read last.
    seen: Value,
    /// Whether control has ever released the CPU.
    called: bool,
    /// Whether the CPU has stored DEAD in this round.
    dead: bool,
    /// Whether the CPU has stored a reason in this round.
    refused: bool,
    /// Whether the CPU has stored that it is parked, in its program order.
    parked: bool,
}

impl<'a> Pen<'a> {
    fn new(protocol: &'a Protocol, rounds: &'a [Round]) -> Pen<'a> {
        let mut memory = Memory::new([true, false]);
        memory.set_memory(Line::Status, PARKED);
        // The record has just been written. Its lines had any values before.
        memory.set_memory(Line::Failure, 8);
        let new = Copy {
            value: 0,
            dirty: true,
        };
        memory.set_copy(CONTROL, Line::Failure, new);
        Pen {
            protocol,
            rounds,
            memory,
            at: [At::In(MAKE, 0), At::In(ARRIVE, 0)],
            round: [1, 0],
            seen: 0,
            called: false,
            dead: false,
            refused: false,
            parked: true,
        }
    }

    fn kind(&self, cpu: usize) -> Round {
        self.rounds[self.round[cpu] - 1]
    }

    /// Returns the value that `cpu` writes to `line`.
    fn value(&self, cpu: usize, line: Line) -> Value {
        let round = Value::try_from(self.round[cpu]).expect("few rounds");
        match (cpu, line) {
            (CONTROL, Line::Command) => 1,
            (CPU, Line::Status) if self.at[CPU] == At::In(ARRIVE, 1) => 0,
            (CPU, Line::Status) => PARKED,
            (CONTROL, Line::Handover) | (CPU, Line::Failure) => round,
            _ => 0,
        }
    }

    fn perform(&mut self, cpu: usize, step: CacheStep) -> Result<bool, String> {
        match step {
            CacheStep::Write(line) => {
                let value = self.value(cpu, line);
                self.memory.write(cpu, line, value);
                if cpu == CPU {
                    match line {
                        Line::Status => self.parked = value == PARKED,
                        Line::Failure => self.refused = true,
                        _ => {}
                    }
                }
            }
            CacheStep::Read(line) => self.seen = self.memory.read(cpu, line),
            CacheStep::Clean(line) => self.memory.clean(line),
            CacheStep::CleanInvalidate(line) => {
                self.memory.clean(line);
                self.memory.invalidate(line);
            }
            CacheStep::Invalidate(line) => self.memory.invalidate(line),
            CacheStep::CachesOff => self.memory.caches_on[cpu] = false,
            CacheStep::Signal => {}
            CacheStep::Await => {
                if self.memory.read(cpu, Line::Command) == 0 {
                    return Ok(false);
                }
                self.round[CPU] += 1;
                if self.round[CPU] > self.round[CONTROL] {
                    return Err("the CPU is released by an old command".into());
                }
                self.dead = false;
                self.refused = false;
            }
            CacheStep::CachesOn => panic!("{step:?} is no step of the pen"),
        }
        Ok(true)
    }

    /// Returns the position of control after the end of a sequence.
    fn control_after(&mut self, sequence: usize) -> Result<At, String> {
        Ok(match sequence {
            // Control asks before it has ever released the CPU.
            MAKE => At::In(LOOK_WHY, 0),
            PREPARE => At::In(RELEASE, 0),
            RELEASE => {
                self.called = true;
                At::Waits
            }
            LOOK_WHY if self.seen == 0 && !self.called => At::In(LOOK, 0),
            LOOK_WHY if self.seen == 0 => At::Waits,
            LOOK_WHY => {
                let came = self.round[CPU] == self.round[CONTROL] && self.refused;
                if !came || usize::from(self.seen) != self.round[CONTROL] {
                    return Err("control reads an old reason".into());
                }
                self.round[CONTROL] += 1;
                At::In(LOOK, 0)
            }
            LOOK if self.seen != PARKED => At::In(LOOK, 0),
            LOOK if !self.parked => return Err("control takes the CPU for parked".into()),
            LOOK if self.round[CONTROL] > self.rounds.len() => At::Over,
            LOOK => At::In(PREPARE, 0),
            other => panic!("{other} is no sequence of control"),
        })
    }

    /// Returns the position of the CPU after the end of a sequence.
    fn cpu_after(&mut self, sequence: usize) -> At {
        match sequence {
            ARRIVE => At::Decides,
            REFUSE => At::In(PARK, 0),
            PARK => At::In(ARRIVE, 0),
            other => panic!("{other} is no sequence of the CPU"),
        }
    }

    fn decide(&mut self) -> Result<At, String> {
        let handover = self.memory.read(CPU, Line::Handover);
        if usize::from(handover) != self.round[CPU] {
            return Err("the CPU reads an old handover".into());
        }
        let kind = self.kind(CPU);
        self.memory.caches_on[CPU] = kind != Round::Refuses;
        if kind == Round::Serves {
            self.dead = true;
            Ok(At::In(PARK, 0))
        } else {
            Ok(At::In(REFUSE, 0))
        }
    }

    fn next(&mut self, cpu: usize) -> Result<bool, String> {
        self.at[cpu] = match self.at[cpu] {
            At::Over => return Ok(false),
            At::Decides => self.decide()?,
            At::Waits if self.round[CPU] == self.round[CONTROL] && self.dead => {
                self.round[CONTROL] += 1;
                At::In(LOOK, 0)
            }
            At::Waits => At::In(LOOK_WHY, 0),
            At::In(sequence, at) => {
                let steps = &self.protocol.sequences[sequence];
                // A sequence is empty if its only step was left out.
                let step = steps.get(at).copied();
                if let Some(step) = step
                    && !self.perform(cpu, step)?
                {
                    return Ok(false);
                }
                let steps = &self.protocol.sequences[sequence];
                match (at + 1 < steps.len(), cpu) {
                    (true, _) => At::In(sequence, at + 1),
                    (false, CONTROL) => self.control_after(sequence)?,
                    (false, _) => self.cpu_after(sequence),
                }
            }
        };
        Ok(true)
    }
}

impl State for Pen<'_> {
    fn step(&self, cpu: usize) -> Result<Option<Self>, String> {
        let mut next = self.clone();
        Ok(next.next(cpu)?.then_some(next))
    }

    fn by_chance(&self) -> Vec<Self> {
        let memories = self.memory.by_chance(&LINES);
        let with = |memory| Pen {
            memory,
            ..self.clone()
        };
        memories.into_iter().map(with).collect()
    }

    fn is_over(&self) -> bool {
        self.at[CONTROL] == At::Over
    }
}

/// Every kind of round follows every kind.
const ROUNDS: [[Round; 3]; 4] = [
    [Round::Refuses, Round::Serves, Round::Refuses],
    [Round::Serves, Round::Serves, Round::RefusesLate],
    [Round::RefusesLate, Round::RefusesLate, Round::Serves],
    [Round::Refuses, Round::Refuses, Round::RefusesLate],
];

fn search_all(protocol: &Protocol) -> Result<usize, String> {
    let mut states = 0;
    for rounds in &ROUNDS {
        states += search(Pen::new(protocol, rounds))?;
    }
    Ok(states)
}

#[test]
fn a_cpu_parks_and_comes_back() {
    let states = search_all(&Protocol::new()).expect("sound");
    assert!(states > 10_000, "only {states} states");
}

#[test]
fn the_pen_needs_each_of_its_cache_operations() {
    let protocol = Protocol::new();
    let mut tried = 0;
    for (name, sequence) in protocol.sequences.iter().enumerate() {
        for (at, step) in sequence.iter().enumerate() {
            if !is_maintenance(step) {
                continue;
            }
            tried += 1;
            let mut broken = protocol.clone();
            broken.sequences[name] = without(sequence, at);
            let wrong = search_all(&broken);
            assert!(wrong.is_err(), "without {step:?} ({name}) nothing fails");
        }
    }
    assert_eq!(tried, 7);
}
