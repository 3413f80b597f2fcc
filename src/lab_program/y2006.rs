//! Plays [`crate::lab::y2006`]: a reader that is preempted, and a stop.

use alloc::sync::Arc;

use crate::api::cpu;
use crate::api::stop::{Stop, StopMode};
use crate::api::sync::PreemptGuard;
use crate::api::thread::{self, Class, Priority};
use crate::lab::y2006::{Cast, SLOTS, Section};
use crate::lab::{Act, Protocol};
use crate::lab_program::stage::Stage;
use crate::lab_program::trouble::Trouble;
use crate::lab_program::turns::{GivenUp, Signal, Turns};
use crate::lab_program::{Console, Show};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The keeper is to take the CPU.
const GO: Signal = Signal(0);
/// The writer is about to stop the machine.
const CALLED: Signal = Signal(1);
/// The writer has freed the old slot.
const FREED: Signal = Signal(2);

/// What the reader reads without a lock, and the writer changes. Relaxed: the still point, where
/// it excludes the reader, orders the two; where it doesn't, that is what the lab shows.
struct Slots {
    in_use: AtomicUsize,
    freed: [AtomicBool; SLOTS],
    /// Whether the reader has found its slot freed.
    was_stale: AtomicBool,
}

/// Plays the three acts.
///
/// # Errors
/// [`Trouble`].
pub(super) fn run(seed: u64, console: &mut dyn Console, show: Show<'_>) -> Result<(), Trouble> {
    let online = cpu::online_racy();
    let cast = Cast::choose(seed, &online).ok_or(Trouble::FewCpus(online))?;
    let _unbounded = Unbounded::begin();
    for (protocol, section) in [
        (Protocol::Old, Section::Open),
        (Protocol::Ours, Section::PreemptOff),
        (Protocol::Ours, Section::NoFlush),
    ] {
        let act = play(cast, protocol, section, console)?;
        show(console, act)?;
    }
    Ok(())
}

/// Realtime threads are not held back while this exists: the keeper has to keep its CPU.
struct Unbounded(Option<core::time::Duration>);

impl Unbounded {
    fn begin() -> Unbounded {
        let before = thread::realtime_runtime();
        thread::set_realtime_runtime(None);
        Unbounded(before)
    }
}

impl Drop for Unbounded {
    fn drop(&mut self) {
        thread::set_realtime_runtime(self.0);
    }
}

/// Plays one act.
fn play(
    cast: Cast,
    protocol: Protocol,
    section: Section,
    console: &dyn Console,
) -> Result<Act, Trouble> {
    let slots = Arc::new(Slots {
        in_use: AtomicUsize::new(cast.slot),
        freed: [const { AtomicBool::new(false) }; SLOTS],
        was_stale: AtomicBool::new(false),
    });
    let online = cpu::online_racy();
    let mut stage = Stage::new();
    let urgent = Class::fifo(Priority::MAX);
    stage.cast("keeper", cast.reader, urgent, move |turns| {
        keep(&cast, turns)
    })?;
    let theirs = Arc::clone(&slots);
    stage.cast("reader", cast.reader, Class::Normal, move |turns| {
        read(&cast, section, &theirs, turns)
    })?;
    let theirs = Arc::clone(&slots);
    stage.cast("writer", cast.writer, Class::Normal, move |turns| {
        write(&cast, section, &theirs, turns)
    })?;
    let events = stage.play(console)?;
    let was_stale = slots.was_stale.load(Ordering::Relaxed);
    Ok(Act {
        title: section.title(),
        protocol,
        cpus: online,
        away: cpu::CpuMask::EMPTY,
        events,
        found: Default::default(),
        outcome: cast.outcome(section, was_stale),
    })
}

/// The reader: reads, wakes the keeper, and uses what it has read.
fn read(cast: &Cast, section: Section, slots: &Slots, turns: &Turns) -> Result<(), GivenUp> {
    turns.after("reader", 0)?;
    let in_between = || {
        let slot = slots.in_use.load(Ordering::Relaxed);
        turns.say(cast.reads(section));
        turns.signal(GO); // The keeper takes the CPU here, if it may.
        if turns.steps() == 1 {
            turns.say(cast.keeps());
        }
        // After the keeper that is so at once.
        turns.look_for("reader", CALLED, || ())?;
        let freed = slots.freed[slot].load(Ordering::Relaxed);
        turns.say(cast.uses(slot, freed));
        slots.was_stale.store(freed, Ordering::Relaxed);
        Ok(())
    };
    match section {
        Section::Open => in_between(),
        Section::PreemptOff => {
            let _guard = PreemptGuard::new();
            in_between()
        }
        Section::NoFlush => thread::no_flush(in_between),
    }
}

/// The keeper: has the CPU until the slot is freed, as a realtime thread that computes.
fn keep(cast: &Cast, turns: &Turns) -> Result<(), GivenUp> {
    turns.wait_for("keeper", GO)?;
    if turns.steps() == 1 {
        turns.say(cast.takes());
    }
    turns.look_for("keeper", FREED, thread::yield_now)?;
    turns.say(cast.sleeps());
    Ok(())
}

/// The writer: changes which slot is in use, in a still point, and frees the other one.
fn write(cast: &Cast, section: Section, slots: &Slots, turns: &Turns) -> Result<(), GivenUp> {
    turns.after("writer", 2)?;
    let mut line = Some(cast.changes());
    turns.say_and_signal(cast.calls(section), CALLED);
    let mode = match section {
        Section::Open | Section::PreemptOff => StopMode::Classic,
        Section::NoFlush => StopMode::FlushPreempted,
    };
    let stop = Stop::new().mode(mode).before(turns.limit());
    let stopped = stop.run(|| {
        slots.in_use.store(cast.next, Ordering::Relaxed);
        if let Some(line) = line.take() {
            turns.say_still(line);
        }
    });
    if let Err(error) = stopped {
        turns.give_up(Trouble::Stop(error));
        return Err(GivenUp);
    }
    slots.freed[cast.slot].store(true, Ordering::Relaxed);
    turns.say_and_signal(cast.frees(), FREED);
    Ok(())
}
