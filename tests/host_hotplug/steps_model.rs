//! A small model of a table whose slots are filled and emptied: where each CPU is, which
//! instances it is past, and what was called.

use std::collections::BTreeMap;

use stillpoint::hotplug::{ALL_UP, Place, UP_TO_ALIVE, UP_TO_ONLINE};
use stillpoint::trace::Direction::{self, Down, Up};

/// A callback that was called: the instance, the CPU, the direction.
pub(crate) type Call = (usize, usize, Direction);

/// An instance of a step.
#[derive(Clone, Debug)]
pub(crate) struct ModelInstance {
    pub(crate) id: usize,
    /// Whether it has a startup, and whether it has a teardown.
    pub(crate) has: [bool; 2],
    /// On how many passages up and down each CPU is.
    pub(crate) passages: Vec<(u32, u32)>,
}

/// A step in a slot.
#[derive(Clone, Debug)]
pub(crate) struct ModelStep {
    pub(crate) id: usize,
    pub(crate) place: Place,
    pub(crate) is_multi: bool,
    pub(crate) instances: Vec<ModelInstance>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModelCpu {
    pub(crate) state: usize,
    pub(crate) within: bool,
}

/// Why an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The step in this row fails.
    Step(usize),
    /// No other CPU takes threads.
    LastActive,
}

pub(crate) type Failed = Result<(), Failure>;

pub(crate) struct Model {
    pub(crate) rows: BTreeMap<usize, ModelStep>,
    pub(crate) cpus: Vec<ModelCpu>,
    /// The callbacks that fail once.
    pub(crate) fails: Vec<Call>,
    /// The callbacks that were called and have not failed, in their order.
    pub(crate) called: Vec<Call>,
}

fn side(direction: Direction) -> usize {
    usize::from(direction == Down)
}

/// Returns whether steps of `place` are called only for a CPU that comes or goes.
fn is_for_walks(place: Place) -> bool {
    matches!(place, Place::PostDead | Place::Init)
}

impl ModelInstance {
    fn is_up(&self, cpu: usize) -> bool {
        self.passages[cpu].0 != self.passages[cpu].1
    }

    fn count(&mut self, cpu: usize, direction: Direction) {
        match direction {
            Up => self.passages[cpu].0 += 1,
            Down => self.passages[cpu].1 += 1,
        }
    }

    pub(crate) fn may_fail(&self, place: Place, direction: Direction) -> bool {
        self.has[side(direction)]
            && match place {
                Place::PostDead | Place::Init => false,
                Place::Prep => direction == Up,
                Place::Enable => true,
            }
    }

    /// Has `cpu` pass it.
    fn pass(
        &mut self,
        (cpu, place, direction): (usize, Place, Direction),
        fails: &mut Vec<Call>,
        called: &mut Vec<Call>,
    ) -> Result<(), ()> {
        let call = (self.id, cpu, direction);
        if self.may_fail(place, direction)
            && let Some(at) = fails.iter().position(|fail| *fail == call)
        {
            fails.remove(at);
            return Err(());
        }
        if self.has[side(direction)] {
            called.push(call);
        }
        self.count(cpu, direction);
        Ok(())
    }
}

impl Model {
    pub(crate) fn new(cpus: usize) -> Model {
        let mut model = Model {
            rows: BTreeMap::new(),
            cpus: vec![ModelCpu::default(); cpus],
            fails: Vec::new(),
            called: Vec::new(),
        };
        model.cpus[0].state = ALL_UP;
        model
    }

    /// Has `cpu` pass the instances of `row` that it has not passed.
    fn pass(&mut self, cpu: usize, row: usize, direction: Direction) -> Failed {
        let it = &mut self.cpus[cpu];
        let Some(step) = self.rows.get_mut(&row) else {
            it.state = if direction == Up { row + 1 } else { row };
            return Ok(());
        };
        let place = step.place;
        let all = step.instances.len();
        let order: Vec<usize> = match direction {
            Up => (0..all).collect(),
            Down => (0..all).rev().collect(),
        };
        it.within = false;
        for number in order {
            let instance = &mut step.instances[number];
            if instance.is_up(cpu) == (direction == Up) {
                continue;
            }
            let passed = instance.pass((cpu, place, direction), &mut self.fails, &mut self.called);
            if passed.is_err() {
                let up = step.instances.iter().filter(|one| one.is_up(cpu)).count();
                it.within = 0 < up && up < all;
                it.state = if it.within || direction == Down {
                    row + 1
                } else {
                    row
                };
                return Err(Failure::Step(row));
            }
        }
        it.state = if direction == Up { row + 1 } else { row };
        Ok(())
    }

    fn up(&mut self, cpu: usize, target: usize) -> Failed {
        if self.cpus[cpu].within {
            self.pass(cpu, self.cpus[cpu].state - 1, Up)?;
        }
        while self.cpus[cpu].state < target {
            self.pass(cpu, self.cpus[cpu].state, Up)?;
        }
        Ok(())
    }

    fn down(&mut self, cpu: usize, target: usize) -> Failed {
        while self.cpus[cpu].state > target {
            self.pass(cpu, self.cpus[cpu].state - 1, Down)?;
        }
        Ok(())
    }

    /// Returns whether a step can be installed at `place`: behind the others, which move up to
    /// make room if no CPU rests between them.
    pub(crate) fn has_slot(&self, place: Place) -> bool {
        let rows = place.rows();
        if !self.rows.contains_key(&(rows.end - 1)) {
            return true;
        }
        let between = rows.start + 1..rows.end;
        let mut cpus = self.cpus.iter();
        let may_move = cpus.all(|cpu| !between.contains(&cpu.state) && !cpu.within);
        may_move && self.rows.range(rows.clone()).count() < rows.len()
    }

    /// Returns whether a CPU may rest with `up` rows up.
    pub(crate) fn may_rest(&self, up: usize) -> bool {
        let is_empty = |row| Place::Enable.rows().contains(&row) && !self.rows.contains_key(&row);
        up == 0 || (UP_TO_ONLINE..=ALL_UP).contains(&up) && !is_empty(up - 1)
    }

    /// Moves `cpu` to where it may rest with `target` rows up.
    pub(crate) fn set_target(&mut self, cpu: usize, target: usize) -> Failed {
        let ModelCpu { state, within } = self.cpus[cpu];
        if target < state {
            if !self.may_leave(&[cpu]) {
                return Err(Failure::LastActive);
            }
            self.go_down(cpu, target)
        } else if target > state || within {
            self.go_up(cpu, target)
        } else {
            Ok(())
        }
    }

    /// Brings `cpu` up.
    pub(crate) fn cpu_up(&mut self, cpu: usize) -> Failed {
        self.set_target(cpu, ALL_UP)
    }

    fn go_up(&mut self, cpu: usize, target: usize) -> Failed {
        let origin = self.cpus[cpu].state;
        if origin < UP_TO_ONLINE {
            if let Err(failed) = self.up(cpu, UP_TO_ALIVE) {
                self.down(cpu, 0).expect("no teardown of prep fails");
                return Err(failed);
            }
            self.up(cpu, UP_TO_ONLINE).expect("no step is there");
        }
        let from = self.cpus[cpu].state;
        let walked = self.up(cpu, target);
        if walked.is_err() {
            let undone = self.down(cpu, from);
            if undone.is_ok() && origin < UP_TO_ONLINE {
                self.down(cpu, 0).expect("no teardown of prep fails");
            }
        }
        walked
    }

    /// Takes `cpu` down.
    pub(crate) fn cpu_down(&mut self, cpu: usize) -> Failed {
        self.set_target(cpu, 0)
    }

    /// Takes `cpus` down, and returns the result of each. Each is asked as if those before it
    /// had gone, whatever becomes of their walks.
    pub(crate) fn cpus_down(&mut self, cpus: &[usize]) -> Vec<Failed> {
        let mut going = Vec::new();
        for cpu in cpus {
            let with = [&going[..], &[*cpu]].concat();
            if self.cpus[*cpu].state > 0 && self.may_leave(&with) {
                going = with;
            }
        }
        let walk = |cpu: &usize| match self.cpus[*cpu].state {
            0 => Ok(()),
            _ if !going.contains(cpu) => Err(Failure::LastActive),
            _ => self.go_down(*cpu, 0),
        };
        cpus.iter().map(walk).collect()
    }

    /// Returns whether a CPU takes threads when all of `going` have gone.
    fn may_leave(&self, going: &[usize]) -> bool {
        let mut others = (0..self.cpus.len()).filter(|cpu| !going.contains(cpu));
        others.any(|cpu| self.cpus[cpu].state == ALL_UP)
    }

    fn go_down(&mut self, cpu: usize, target: usize) -> Failed {
        let origin = self.cpus[cpu].state;
        if origin > UP_TO_ONLINE
            && let Err(failed) = self.down(cpu, target.max(UP_TO_ONLINE))
        {
            // If a step fails on this way too, the CPU stays where it is.
            let _ = self.up(cpu, origin);
            return Err(failed);
        }
        self.down(cpu, target).expect("no teardown of prep fails");
        Ok(())
    }

    /// Starts `instance` on the CPUs that are past `row`; returns the CPU that fails.
    pub(crate) fn start(
        &mut self,
        row: usize,
        place: Place,
        instance: &mut ModelInstance,
        calls: bool,
    ) -> Result<(), usize> {
        for cpu in 0..self.cpus.len() {
            if self.cpus[cpu].state <= row {
                continue;
            }
            if !calls || is_for_walks(place) {
                instance.count(cpu, Up);
                continue;
            }
            let at = (cpu, place, Up);
            if instance
                .pass(at, &mut self.fails, &mut self.called)
                .is_err()
            {
                self.stop(place, instance, calls, cpu);
                return Err(cpu);
            }
        }
        Ok(())
    }

    /// Removes the step in `row`. A CPU that was left within it isn't any more.
    pub(crate) fn remove(&mut self, row: usize) -> ModelStep {
        for cpu in &mut self.cpus {
            if cpu.state == row + 1 {
                cpu.within = false;
            }
        }
        self.rows.remove(&row).expect("it is in the model")
    }

    /// Stops `instance` on the CPUs below `below` that are past it.
    pub(crate) fn stop(
        &mut self,
        place: Place,
        instance: &mut ModelInstance,
        calls: bool,
        below: usize,
    ) {
        for cpu in (0..below).rev() {
            if !instance.is_up(cpu) {
                continue;
            }
            let at = (cpu, place, Down);
            if !calls
                || is_for_walks(place)
                || instance
                    .pass(at, &mut self.fails, &mut self.called)
                    .is_err()
            {
                instance.count(cpu, Down);
            }
        }
    }
}
