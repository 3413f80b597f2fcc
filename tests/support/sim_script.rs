//! The script of a simulated machine: what its CPUs and its firmware do.

use std::collections::VecDeque;

use stillpoint::cpu::CpuId;
use stillpoint::hotplug::ApRefusal;
use stillpoint::platform::{PowerState, PsciError, Sgi};
use stillpoint::trace::Direction;

use super::{MACHINE, Sim, give_turn, state};

/// The behaviour of a call of CPU_ON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct On {
    /// What CPU_ON returns.
    pub(crate) answer: Result<(), PsciError>,
    /// After how many nanoseconds the CPU starts, if it was off; [`NEVER`](super::NEVER) if it doesn't
    /// start.
    pub(crate) starts: u64,
}

/// The behaviour of CPU_OFF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Off {
    /// The CPU is off after this many nanoseconds; [`NEVER`](super::NEVER) if it keeps running.
    After(u64),
    /// CPU_OFF returns this error, and the CPU enters the pen.
    Parks(PsciError),
    /// CPU_OFF returns this error, and the CPU can't enter the pen.
    Halts(PsciError),
}

/// The behaviour of CPUs and firmware. All times are in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// The behaviour of the next calls of CPU_ON, in their order. The last one stays for all
    /// later calls.
    pub(crate) on: VecDeque<On>,
    /// Why a started CPU refuses itself at its entry, if it does.
    pub(crate) refuses: Option<ApRefusal>,
    /// How long a started CPU waits before it stores ALIVE.
    pub(crate) arrives_after: u64,
    /// How long a leaving CPU waits before it stores DEAD.
    pub(crate) dies_after: u64,
    pub(crate) off: Off,
    /// Whether the times until DEAD and OFF are those of CPU 1, and for CPU n n times as long.
    pub(crate) by_number: bool,
    /// What AFFINITY_INFO returns instead of the CPU's real state.
    pub(crate) affinity: Option<Result<PowerState, PsciError>>,
    /// How long the caller of AFFINITY_INFO doesn't run after the next call, once.
    pub(crate) held_after_asking: u64,
    /// Whether AFFINITY_INFO still returns OFF until a started CPU has come to its entry.
    pub(crate) early_off: bool,
    /// Whether a CPU that sends the Reschedule SGI stands still for a moment, in which the CPU that
    /// gets it runs.
    pub(crate) stands_after_sgi: bool,
    /// Of how many times that a CPU masks interrupts one is followed by a moment in which it stands
    /// still and the others run. 0: none.
    pub(crate) stands_each: u64,
    /// How often a CPU has masked interrupts since CPUs stand still then.
    pub(crate) maskings: u64,
    /// Whether the SGIs of cross calls are on their way for longer than the test takes.
    pub(crate) calls_on_their_way: bool,
    /// The steps that fail once, with the direction in which they do.
    pub(crate) fails: Vec<(usize, Direction)>,
    /// How many more stacks there are, if they are counted.
    pub(crate) stacks: Option<u32>,
    /// Is called before each step, by the thread that passes it.
    pub(crate) before_step: Option<fn(usize, Direction)>,
    /// Is called with each line that tells of a stop that takes long.
    pub(crate) reads_line: Option<fn(String)>,
    /// Is called when the heap cache of a CPU is emptied.
    pub(crate) empties: Option<fn(CpuId)>,
}

impl Script {
    /// Returns the script in which every call succeeds.
    pub(crate) fn good() -> Script {
        let on = On {
            answer: Ok(()),
            starts: 2_000,
        };
        Script {
            on: VecDeque::from([on]),
            refuses: None,
            arrives_after: 0,
            dies_after: 0,
            off: Off::After(2_000),
            by_number: false,
            affinity: None,
            held_after_asking: 0,
            early_off: false,
            stands_after_sgi: false,
            stands_each: 0,
            maskings: 0,
            calls_on_their_way: false,
            fails: Vec::new(),
            stacks: None,
            before_step: None,
            reads_line: None,
            empties: None,
        }
    }

    /// Returns how many times the times until DEAD and OFF `cpu` takes.
    pub(crate) fn times(&self, cpu: CpuId) -> u64 {
        if self.by_number {
            cpu.index() as u64
        } else {
            1
        }
    }
}

impl Sim {
    /// Returns whether `cpu` was sent `sgi` and has not taken it.
    pub(crate) fn is_sent(sgi: Sgi, cpu: CpuId) -> bool {
        state().cpus[cpu.index()].pending & 1 << sgi.number() != 0
    }
}

/// Has this CPU, which has just masked interrupts, stand still for a moment, if the script says so.
pub(super) fn stand_at_times() {
    if MACHINE.get().is_none() {
        return; // A test's own thread.
    }
    let mut state = state();
    let each = state.script.stands_each;
    if each > 0 {
        state.script.maskings += 1;
        if state.script.maskings.is_multiple_of(each) {
            give_turn(state);
        }
    }
}
