//! What the rings of scheduling events hold: which thread ran, which interrupts were handled, which SGIs were
//! sent, and when the states of stops were published.
//!
//! # What is left out
//! - The run of a thread that began before the ring of its CPU does. One that still goes on ends when
//!   the ring was read, or when recording ended.
//! - An interrupt whose beginning or end isn't recorded.

use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::cpu::CpuId;
use crate::platform::ThreadName;
use crate::stop_machine::MultiStopState;
use crate::time::Instant;
use crate::trace::{Event, Record, SchedEvent, SchedRecord};

/// The time for which a thread had a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedRun {
    /// When it began.
    pub at: Instant,
    /// How long it was.
    pub ticks: u64,
    /// The thread's number.
    pub thread: u32,
    /// The thread's name.
    pub name: ThreadName,
    /// Whether it is the idle thread of the CPU.
    pub is_idle: bool,
    /// Whether it goes on.
    pub goes_on: bool,
}

/// The time of a handler of an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedInterrupt {
    /// When it began.
    pub at: Instant,
    /// How long it was.
    pub ticks: u64,
    /// The interrupt's number.
    pub intid: u32,
    /// When the run began of the thread that the handler has made due.
    pub woken: Option<Instant>,
}

/// What one CPU has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuHistory {
    /// From when on its ring has all that it did.
    pub since: Instant,
    /// What ran there, in its order.
    pub runs: Vec<RecordedRun>,
    /// Which interrupts it handled, in the order in which the handlers began.
    pub interrupts: Vec<RecordedInterrupt>,
}

/// A state of a stop that a CPU has published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedState {
    /// When.
    pub at: Instant,
    /// The CPU that published it.
    pub by: CpuId,
    /// The state's number in `MultiStopState`.
    pub state: u8,
    /// The other CPU, if two CPUs are stopped and not the machine.
    pub with: Option<CpuId>,
}

/// An SGI that a CPU has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentSgi {
    /// When.
    pub at: Instant,
    /// The CPU that sent it.
    pub by: CpuId,
    /// The SGI's number.
    pub number: u8,
    /// The event, which has its targets.
    pub event: SchedEvent,
}

/// What all CPUs have done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchedHistory {
    /// Each CPU.
    pub cpus: Vec<(CpuId, CpuHistory)>,
    /// The states of stops, in the order of time.
    pub states: Vec<PublishedState>,
    /// The SGIs, in the order of time.
    pub sgis: Vec<SentSgi>,
}

impl SchedHistory {
    /// Returns what `rings`, one of each CPU, hold.
    ///
    /// * `stops` — what CPUs did in still points, and when they left through firmware
    /// * `until` — when the rings were read, or when recording ended
    pub fn new(rings: &[(CpuId, Vec<SchedRecord>)], stops: &[Record], until: Instant) -> Self {
        let mut history = SchedHistory::default();
        for (cpu, records) in rings {
            let died = stops
                .iter()
                .filter(|record| record.on == *cpu && record.event == Event::Dead);
            let reading = Reading::new(records, died.map(|record| record.at).collect());
            history.cpus.push((*cpu, reading.read(records, until)));
            for SchedRecord { at, event } in records {
                match *event {
                    SchedEvent::State { state, with } => history.states.push(PublishedState {
                        at: *at,
                        by: *cpu,
                        state,
                        with,
                    }),
                    SchedEvent::Sgi { number, .. } => history.sgis.push(SentSgi {
                        at: *at,
                        by: *cpu,
                        number,
                        event: *event,
                    }),
                    _ => {}
                }
            }
        }
        history.states.sort_by_key(|state| state.at);
        history.sgis.sort_by_key(|sgi| sgi.at);
        history
    }
}

impl PublishedState {
    pub(super) fn is(&self, state: MultiStopState) -> bool {
        self.state == state as u8
    }

    /// Returns whether `cpu` took part in the stop.
    pub(super) fn concerns(&self, cpu: CpuId) -> bool {
        self.with.is_none_or(|with| with == cpu || self.by == cpu)
    }
}

impl CpuHistory {
    /// Returns the run that `at` is in.
    pub(super) fn run_at(&self, at: Instant) -> Option<&RecordedRun> {
        let after = self.runs.partition_point(|run| run.at <= at);
        let run = self.runs[..after].last()?;
        (at.ticks_since(run.at) < run.ticks).then_some(run)
    }
}

/// The ring of one CPU, while it is read.
struct Reading {
    history: CpuHistory,
    /// When the CPU left through firmware, each time.
    died: Vec<Instant>,
    /// The run that goes on, with no end yet.
    run: Option<RecordedRun>,
    /// The handlers that go on: one inside another, if it waited with IRQs masked.
    handlers: Vec<(Instant, u32)>,
    /// The interrupt that has made a thread due since the last switch.
    due: Option<usize>,
}

impl Reading {
    fn new(records: &[SchedRecord], died: Vec<Instant>) -> Self {
        Reading {
            history: CpuHistory {
                since: records.first().map_or(Instant::FOREVER, |record| record.at),
                runs: Vec::new(),
                interrupts: Vec::new(),
            },
            died,
            run: None,
            handlers: Vec::new(),
            due: None,
        }
    }

    fn read(mut self, records: &[SchedRecord], until: Instant) -> CpuHistory {
        for SchedRecord { at, event } in records {
            match *event {
                SchedEvent::Switch {
                    thread,
                    name,
                    is_idle,
                } => {
                    self.end_run(*at, false);
                    self.handlers.clear(); // None switches threads: the end isn't recorded.
                    if let Some(due) = self.due.take().filter(|_| !is_idle) {
                        self.history.interrupts[due].woken = Some(*at);
                    }
                    self.run = Some(RecordedRun {
                        at: *at,
                        ticks: 0,
                        thread,
                        name,
                        is_idle,
                        goes_on: false,
                    });
                }
                SchedEvent::IrqBegin { intid } => self.handlers.push((*at, intid)),
                SchedEvent::IrqEnd { makes_due } => self.end_handler(*at, makes_due),
                SchedEvent::Sgi { .. } | SchedEvent::State { .. } => {}
            }
        }
        self.end_run(until, true);
        // The outer one of two that began together comes first.
        let order = |interrupt: &RecordedInterrupt| (interrupt.at, Reverse(interrupt.ticks));
        self.history.interrupts.sort_by_key(order);
        self.history
    }

    fn end_handler(&mut self, ended: Instant, makes_due: bool) {
        let Some((at, intid)) = self.handlers.pop() else {
            return;
        };
        if makes_due {
            self.due = Some(self.history.interrupts.len());
        }
        self.history.interrupts.push(RecordedInterrupt {
            at,
            ticks: ended.ticks_since(at),
            intid,
            woken: None,
        });
    }

    /// Ends the run that goes on at `end`, or when the CPU left before that.
    fn end_run(&mut self, end: Instant, is_last: bool) {
        let Some(mut run) = self.run.take() else {
            return;
        };
        let died = self.died.iter().find(|died| **died >= run.at);
        let died = died.filter(|died| **died < end);
        run.ticks = died.unwrap_or(&end).ticks_since(run.at);
        run.goes_on = is_last && died.is_none();
        self.history.runs.push(run);
    }
}
