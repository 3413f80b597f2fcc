//! What a simulated machine writes down: a line for each step, and the trace rings.

use std::sync::OnceLock;

use stillpoint::cpu::CpuId;
use stillpoint::hotplug::{
    HotplugHost, RecordedCall, RecordedWalk, pass_a_still_point, recorded_calls, recorded_walks,
};
use stillpoint::platform::Platform;
use stillpoint::stop_machine::LateStop;
use stillpoint::time::Instant;
use stillpoint::trace::{Event, Trace};

use super::{CPU, Sim, machine, state};

/// The rings of a machine, and since when they are written. Most tests need none.
pub(super) type Rings = OnceLock<(Instant, Trace)>;

impl Sim {
    /// Notes `what` as done on this CPU.
    pub(crate) fn note(what: &str) {
        let line = format!("CPU{} {what}", CPU.get());
        state().notes.push(line);
    }

    /// Returns and forgets what was noted: the steps that were passed, and what the test has
    /// noted.
    pub(crate) fn take_notes() -> Vec<String> {
        std::mem::take(&mut state().notes)
    }

    /// Has the trace rings written from now on.
    pub(crate) fn record_walks() {
        let cpus = machine().turns.len();
        let rings = (Sim::now(), Trace::new(cpus));
        assert!(machine().rings.set(rings).is_ok(), "they are written");
    }

    /// Returns the last walk of `cpu` in the rings.
    pub(crate) fn last_walk(cpu: CpuId) -> RecordedWalk {
        let (since, trace) = machine().rings.get().expect("walks are recorded");
        let mut records = trace.walks_of(cpu, *since);
        let stops_from = if pass_a_still_point(&records) {
            trace.add_stops(*since, &mut records)
        } else {
            Instant(0)
        };
        let walks = recorded_walks(cpu, &records, stops_from);
        walks.last().expect("it has walked").clone()
    }

    /// Returns the calls of installations and removals for `cpu` in the rings.
    pub(crate) fn last_calls(cpu: CpuId) -> Vec<RecordedCall> {
        let (since, trace) = machine().rings.get().expect("walks are recorded");
        recorded_calls(cpu, &trace.walks_of(cpu, *since))
    }

    /// Has the script read what is told of a stop that takes long.
    pub(super) fn tell_late(late: &LateStop<'_>) {
        let read_fn = state().script.reads_line;
        if let Some(read_fn) = read_fn {
            read_fn(late.to_string());
            late.each().for_each(|line| read_fn(line.to_string()));
        }
    }

    pub(super) fn write_down(at: Instant, event: Event) {
        match event {
            Event::StepBegin {
                step, direction, ..
            } => {
                let name = Self::hotplug().step_name(step.into());
                Self::note(&format!("{direction:?} {name}"));
            }
            Event::StepEnd {
                step, ok: false, ..
            } => {
                let name = Self::hotplug().step_name(step.into());
                Self::note(&format!("failed {name}"));
            }
            _ => {}
        }
        if let Some((_, trace)) = machine().rings.get() {
            trace.write::<Sim>(|| (Sim::this_cpu(), at), event);
        }
    }
}
