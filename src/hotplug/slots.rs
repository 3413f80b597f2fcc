//! The slots of the table: rows for the steps that are installed while the machine runs.
//!
//! # Invariants
//! - **slots-change-at-rest**: what is in a slot changes only while the add/remove lock is
//!   held and no walk is under way. A walk needs no lock for the table.
//! - **order-of-installation**: of two steps in one place, the one that was installed
//!   earlier has the lower row.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::cpu::CpuId;
use crate::hotplug::instance::Instance;
use crate::hotplug::{
    Callbacks, CpuhpState, Place, SlotError, SlotRows, Step, StepContext, StepName,
};
use crate::sync::atomic::Ordering;
use crate::sync::{AtomicBits, LocalCpu, SpinLock};
use crate::trace::Direction;

/// A step that is installed.
pub struct Installed<P: LocalCpu> {
    name: StepName,
    place: Place,
    /// Whether instances come and go.
    pub(super) is_multi: bool,
    /// Replaced as a whole (`slots-change-at-rest`), so that a walk holds the lock for a moment
    /// only, and nothing is allocated or freed under it.
    instances: SpinLock<Arc<[Arc<Instance>]>, P>,
}

impl<P: LocalCpu> Installed<P> {
    /// Returns a step `name` in `place` with `instances`.
    pub(super) fn new(
        name: &'static str,
        place: Place,
        is_multi: bool,
        instances: Vec<Arc<Instance>>,
    ) -> Installed<P> {
        let name = place.name_of(name);
        Installed::of(name, place, is_multi, instances)
    }

    /// Returns the step of the fixed row `row`, whose instances are called as those of `place`.
    pub(super) fn fixed(
        row: &'static str,
        place: Place,
        instances: Vec<Arc<Instance>>,
    ) -> Installed<P> {
        Installed::of(StepName::from(row), place, true, instances)
    }

    fn of(
        name: StepName,
        place: Place,
        is_multi: bool,
        instances: Vec<Arc<Instance>>,
    ) -> Installed<P> {
        Installed {
            name,
            place,
            is_multi,
            instances: SpinLock::new(instances.into()),
        }
    }

    /// Returns a plain step, on a machine of `cpus` CPUs that are not past it.
    pub fn plain(
        name: &'static str,
        place: Place,
        callbacks: Callbacks,
        cpus: usize,
    ) -> Installed<P> {
        let instance = Arc::new(Instance::new(callbacks, cpus));
        Installed::new(name, place, false, vec![instance])
    }

    /// Returns its name.
    pub fn name(&self) -> StepName {
        self.name
    }

    /// Returns where it is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Returns how often `cpu` has passed its instances, up and down, and how many of them
    /// are up there, of how many.
    pub fn passages(&self, cpu: CpuId) -> ((u32, u32), (usize, usize)) {
        let instances = self.instances();
        let add = |(up, down), (ups, downs)| (up + ups, down + downs);
        let passages = instances.iter().map(|instance| instance.passages(cpu));
        let up = instances.iter().filter(|instance| instance.is_up(cpu));
        (passages.fold((0, 0), add), (up.count(), instances.len()))
    }

    /// Returns whether one of its instances may fail in `direction`.
    pub fn may_fail(&self, direction: Direction) -> bool {
        let instances = self.instances();
        instances
            .iter()
            .any(|instance| instance.may_fail(direction))
    }

    /// Returns whether its startup stops the machine.
    pub(super) fn stops_machine(&self) -> bool {
        let instances = self.instances();
        instances.iter().any(|instance| instance.stops_machine())
    }

    pub(super) fn instances(&self) -> Arc<[Arc<Instance>]> {
        Arc::clone(&self.instances.lock())
    }

    /// Replaces the instances; returns the former ones, for the caller to drop.
    pub(super) fn replace(&self, instances: Vec<Arc<Instance>>) -> Arc<[Arc<Instance>]> {
        let new = instances.into();
        core::mem::replace(&mut self.instances.lock(), new)
    }

    /// Has `cpu` pass all instances that are not where `direction` leads yet. The way down is
    /// the way up in reverse.
    ///
    /// # Errors
    /// The first instance that failed; those after it were not asked.
    pub fn pass(
        &self,
        cpu: CpuId,
        direction: Direction,
        state: &CpuhpState,
        row: usize,
    ) -> Result<(), SlotError> {
        let instances = self.instances();
        let is_up = direction == Direction::Up;
        for turn in 0..instances.len() {
            let number = if is_up {
                turn
            } else {
                instances.len() - 1 - turn
            };
            let instance = &instances[number];
            if instance.is_up(cpu) == is_up {
                continue;
            }
            if let Err(error) = instance.pass(cpu, direction, state, (row, number)) {
                let left = instances.iter().filter(|it| it.is_up(cpu)).count();
                let is_half = 0 < left && left < instances.len();
                return Err(SlotError { error, is_half });
            }
        }
        Ok(())
    }
}

/// The step in a slot, if it isn't empty.
type Slot<P> = SpinLock<Option<Arc<Installed<P>>>, P>;

/// What is in the slots of the table.
pub struct Slots<P: LocalCpu> {
    /// The rows at which a walk stops: all but the empty slots. Relaxed: what hands a walk
    /// over, and the locks of an installation, order it (`slots-change-at-rest`).
    stops: AtomicBits,
    /// By row; rows that are no slots stay empty.
    rows: Box<[Slot<P>]>,
    /// By row: the name of the step that is in the slot, or was the last one there.
    names: Box<[SpinLock<Option<StepName>, P>]>,
}

impl<P: LocalCpu> Slots<P> {
    /// Returns the empty slots of `table`.
    pub fn new<C>(table: &[Step<C>]) -> Slots<P> {
        let slots = Slots {
            stops: AtomicBits::new(),
            rows: table.iter().map(|_| SpinLock::new(None)).collect(),
            names: table.iter().map(|_| SpinLock::new(None)).collect(),
        };
        for (row, step) in table.iter().enumerate() {
            if !step.is_slot() {
                slots.stops.set(row, Ordering::Relaxed);
            }
        }
        slots
    }

    /// Returns the step in slot `row`; `None` if the slot is empty, or `row` isn't a slot.
    pub fn get(&self, row: usize) -> Option<Arc<Installed<P>>> {
        self.rows[row].lock().clone()
    }

    /// Returns the name of the step that is in slot `row`, or was the last one there; `None` if
    /// there was none, or `row` isn't a slot.
    pub fn last_name(&self, row: usize) -> Option<StepName> {
        *self.names[row].lock()
    }

    /// Returns whether the startup of an INIT step that is installed stops the machine. The caller
    /// has the hotplug lock (`slots-change-at-rest`).
    pub(super) fn stop_the_machine(&self) -> bool {
        // The search for them is long.
        let rows = const { Place::Init.rows() };
        if self.stop_from(rows.start) >= rows.end {
            return false; // As nearly always.
        }
        let mut steps = rows.filter_map(|row| self.get(row));
        steps.any(|step| step.stops_machine())
    }

    /// Returns the steps that are installed, with their rows.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Arc<Installed<P>>)> + '_ {
        (0..self.rows.len()).filter_map(|row| Some((row, self.get(row)?)))
    }

    /// Puts `step` into a slot behind all others of its place; returns the row, or `None`
    /// without a free slot. With `may_move` those in front of it move up where slots in between
    /// are empty.
    pub fn fill(&self, step: &Arc<Installed<P>>, may_move: bool) -> Option<usize> {
        let rows = step.place.rows();
        let free = |rows: &Range<usize>| {
            let last = rows.clone().rev().find(|row| self.get(*row).is_some());
            let row = last.map_or(rows.start, |last| last + 1);
            rows.contains(&row).then_some(row)
        };
        let row = free(&rows).or_else(|| {
            if may_move {
                self.close_gaps(rows.clone());
            }
            free(&rows)
        })?;
        self.put(row, Some(Arc::clone(step)));
        Some(row)
    }

    /// Moves the steps in `rows` up to their beginning (order-of-installation).
    fn close_gaps(&self, rows: Range<usize>) {
        let mut to = rows.start;
        for row in rows {
            if let Some(step) = self.put(row, None) {
                self.put(to, Some(step));
                to += 1;
            }
        }
    }

    /// Empties the slot of `step`; does nothing if it has none.
    pub fn empty(&self, step: &Arc<Installed<P>>) {
        if let Some(row) = self.row_of(step) {
            self.put(row, None);
        }
    }

    /// Returns the row of `step`, unless it was removed.
    pub(super) fn row_of(&self, step: &Arc<Installed<P>>) -> Option<usize> {
        let mut rows = step.place.rows();
        rows.find(|row| self.get(*row).is_some_and(|it| Arc::ptr_eq(&it, step)))
    }

    /// Replaces what is in slot `row`; returns what was.
    fn put(&self, row: usize, step: Option<Arc<Installed<P>>>) -> Option<Arc<Installed<P>>> {
        if let Some(step) = &step {
            *self.names[row].lock() = Some(step.name());
        }
        match step {
            Some(_) => self.stops.set(row, Ordering::Relaxed),
            None => self.stops.clear(row, Ordering::Relaxed),
        };
        core::mem::replace(&mut self.rows[row].lock(), step)
    }
}

impl<P: LocalCpu> SlotRows<StepContext> for Slots<P> {
    fn stop_from(&self, from: usize) -> usize {
        let mut word = from / 64;
        let mut bits = self.stops.word(word, Ordering::Relaxed) & (u64::MAX << (from % 64));
        while bits == 0 {
            word += 1;
            if 64 * word >= self.rows.len() {
                return self.rows.len();
            }
            bits = self.stops.word(word, Ordering::Relaxed);
        }
        64 * word + bits.trailing_zeros() as usize
    }

    fn stop_below(&self, below: usize) -> Option<usize> {
        let mut word = below / 64;
        let mut bits = self.stops.word(word, Ordering::Relaxed) & !(u64::MAX << (below % 64));
        while bits == 0 {
            word = word.checked_sub(1)?;
            bits = self.stops.word(word, Ordering::Relaxed);
        }
        Some(64 * word + 63 - bits.leading_zeros() as usize)
    }

    #[inline(never)] // Few rows are slots: the walk past the others stays small.
    fn pass(
        &self,
        row: usize,
        direction: Direction,
        state: &CpuhpState,
        context: &StepContext,
    ) -> Result<(), SlotError> {
        // Between the bitmap and here no slot changes (slots-change-at-rest).
        let step = self
            .get(row)
            .expect("BUG: a walk has come to an empty slot");
        step.pass(context.cpu, direction, state, row)
    }
}
