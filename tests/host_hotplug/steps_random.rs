//! Random installations, removals, instances, ways up, down and to any place of rest, of one
//! CPU or several at once, and failures, on a machine with the engine that ships. The boot CPU
//! goes as any other, and the thread that runs all this moves then. After each operation the results, the calls, the states and the counters are those of the model. The
//! CPUs of a batch walk at the same time, so there the calls are compared CPU by CPU.
//!
//! A failure names its seed: `STEPS_SEED=seed` runs that one alone. `STEPS=number` sets how many
//! operations there are altogether, and `STEPS_FROM=seed` the first seed, so that a million
//! operations can be shared out to processes: a process has no room for the threads of as many.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};

use stillpoint::cpu::CpuId;
use stillpoint::errno::Errno;
use stillpoint::hotplug::HotplugHost;
use stillpoint::hotplug::{
    Callbacks, FallibleFn, Hotplug, InfallibleFn, InstallError, InstanceHandle, NewStep, Passing,
    Place, StepError, StepHandle,
};
use stillpoint::stop_machine::{StopHost, StopRequest};
use stillpoint::trace::Direction::{self, Down, Up};

use crate::sim::Sim;
use crate::steps_model::{Call, Model, ModelInstance, ModelStep};
use crate::xorshift::Random;

#[path = "steps_moves.rs"]
mod moves;
#[path = "steps_together.rs"]
mod together;

/// How many operations there are in `make test-host`.
const STEPS: u64 = 6_000;
/// How many operations one machine sees: its host threads are never freed.
const LIFE: u64 = 100;
const CPUS: usize = 4;

/// What the callbacks share.
#[derive(Default)]
struct Shared {
    /// The calls that fail once.
    fails: Vec<Call>,
    called: Vec<Call>,
}

type Log = Arc<Mutex<Shared>>;

fn call(log: &Log, call: Call) -> Result<(), Errno> {
    let mut log = log.lock().expect("no panic under it");
    if let Some(at) = log.fails.iter().position(|fail| *fail == call) {
        log.fails.remove(at);
        return Err(Errno::Busy);
    }
    log.called.push(call);
    Ok(())
}

fn fallible(log: &Log, id: usize, direction: Direction) -> FallibleFn {
    let log = Arc::clone(log);
    Box::new(move |cpu| call(&log, (id, cpu.index(), direction)))
}

fn infallible(log: &Log, id: usize, direction: Direction) -> InfallibleFn {
    let log = Arc::clone(log);
    Box::new(move |cpu| {
        let called = call(&log, (id, cpu.index(), direction));
        assert_eq!(called, Ok(()), "a call that can't fail was made to");
    })
}

fn callbacks(log: &Log, place: Place, instance: &ModelInstance) -> Callbacks {
    let (id, [startup, teardown]) = (instance.id, instance.has);
    match place {
        Place::PostDead => Callbacks::post_dead(infallible(log, id, Down)),
        Place::Prep => Callbacks::prep(
            startup.then(|| fallible(log, id, Up)),
            teardown.then(|| infallible(log, id, Down)),
        ),
        // Every other one stops the machine.
        Place::Init => Callbacks::init::<Sim>(
            startup.then(|| {
                let start = infallible(log, id, Up);
                let stop: InfallibleFn = Box::new(move |cpu| {
                    start(cpu);
                    if id % 2 == 0 {
                        let request = StopRequest::new();
                        let stopped = Sim::stop_machine().stop_from_inactive(&request, || cpu);
                        assert_eq!(stopped.map(|(value, _)| value), Ok(cpu));
                    }
                });
                stop
            }),
            teardown.then(|| infallible(log, id, Down)),
            id % 2 == 0,
        ),
        Place::Enable => Callbacks::enable(
            startup.then(|| fallible(log, id, Up)),
            teardown.then(|| fallible(log, id, Down)),
        ),
    }
}

fn hotplug() -> &'static Hotplug<Sim> {
    Sim::hotplug()
}

/// A step that is installed.
struct Held {
    id: usize,
    step: StepHandle<Sim>,
    instances: Vec<(usize, InstanceHandle<Sim>)>,
}

struct World {
    random: Random,
    model: Model,
    log: Log,
    held: Vec<Held>,
    next: usize,
    failed: usize,
    half_way: usize,
    moved: usize,
    together: usize,
    up_together: usize,
    stayed: usize,
}

impl World {
    fn new(seed: u64) -> World {
        World {
            random: Random::new(seed),
            model: Model::new(CPUS),
            log: Log::default(),
            held: Vec::new(),
            next: 0,
            failed: 0,
            half_way: 0,
            moved: 0,
            together: 0,
            up_together: 0,
            stayed: 0,
        }
    }

    fn maybe(&mut self, of: usize) -> bool {
        self.random.below(of) == 0
    }

    fn id(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    fn how(&mut self) -> Passing {
        if self.maybe(5) {
            Passing::Skipped
        } else {
            Passing::Called
        }
    }

    fn instance(&mut self, place: Place) -> ModelInstance {
        let has = match place {
            Place::PostDead => [false, true],
            _ => [!self.maybe(5), !self.maybe(5)],
        };
        ModelInstance {
            id: self.id(),
            has,
            passages: vec![(0, 0); CPUS],
        }
    }

    /// Chooses callbacks that fail in the next installation or removal. `new` is an instance
    /// that isn't in the table yet.
    fn choose_failures(&mut self, new: Option<(Place, ModelInstance)>) {
        self.choose_failures_on(None, new);
    }

    /// Chooses callbacks that fail in the next operation: none, one, or two, so that a way
    /// back may fail too; on `cpu`, or on any.
    fn choose_failures_on(&mut self, cpu: Option<CpuId>, new: Option<(Place, ModelInstance)>) {
        let mut all: Vec<(Place, ModelInstance)> = new.into_iter().collect();
        for step in self.model.rows.values() {
            all.extend(step.instances.iter().map(|one| (step.place, one.clone())));
        }
        let mut near: Option<(usize, Direction, usize)> = None;
        // None without an instance.
        for _ in 0..self.random.below(3).min(2 * all.len()) {
            let (at, direction, on) = match near.take() {
                // What is passed next if the first one turns the walk round: often another
                // instance of the same step, so that the CPU is left within it.
                Some((at, Up, on)) if self.maybe(2) => ((at + all.len() - 1) % all.len(), Down, on),
                Some((at, Down, on)) if self.maybe(2) => ((at + 1) % all.len(), Up, on),
                _ => {
                    let on = cpu.map_or_else(|| self.random.below(CPUS), CpuId::index);
                    let at = self.random.below(all.len());
                    (at, [Up, Down][self.random.below(2)], on)
                }
            };
            near = Some((at, direction, on));
            let (place, instance) = &all[at];
            if instance.may_fail(*place, direction) {
                self.fail((instance.id, on, direction));
            }
        }
    }

    fn fail(&mut self, call: Call) {
        if !self.model.fails.contains(&call) {
            self.model.fails.push(call);
            self.log.lock().expect("no panic under it").fails.push(call);
        }
    }

    fn step(&mut self) {
        let mut in_batch = false;
        match self.random.below(27) {
            0 | 1 if self.held.len() < 12 => self.install(),
            2 => self.remove(),
            3 | 4 => self.add_instance(),
            5 => self.remove_instance(),
            6..=14 => self.up(),
            15..=17 => self.down(),
            18..=20 => self.set_target(),
            21..=23 => {
                in_batch = true;
                self.down_together();
            }
            _ => {
                in_batch = true;
                self.up_together();
            }
        }
        self.check(in_batch);
    }

    fn install(&mut self) {
        let place =
            [Place::PostDead, Place::Prep, Place::Init, Place::Enable][self.random.below(4)];
        let is_multi = place != Place::PostDead && self.maybe(2);
        let how = self.how();
        let id = self.id();
        let mut instance = (!is_multi).then(|| self.instance(place));
        let name: &'static str = format!("s{id}").leak();
        self.choose_failures(instance.clone().map(|one| (place, one)));
        let callbacks = instance
            .as_ref()
            .map(|instance| callbacks(&self.log, place, instance));
        let new = NewStep {
            name,
            place,
            callbacks,
        };
        let has_slot = self.model.has_slot(place);
        let installed = hotplug().install(new, how);
        if !has_slot {
            assert_eq!(installed.err(), Some(InstallError::NoFreeSlot));
            return;
        }
        let row = match &installed {
            Ok(step) => step.row(),
            // Where it would have been, all rows of its place count alike for CPUs at rest
            // outside; the model needs one behind the others.
            Err(_) => {
                let last = self.rows().into_iter().filter(|(_, other)| {
                    self.model
                        .rows
                        .values()
                        .any(|step| step.id == *other && step.place == place)
                });
                last.map(|(row, _)| row + 1)
                    .max()
                    .unwrap_or(place.rows().start)
            }
        };
        self.follow_rows();
        let started = match &mut instance {
            Some(instance) => self
                .model
                .start(row, place, instance, how == Passing::Called),
            None => Ok(()),
        };
        match started {
            Ok(()) => {
                let step = installed.expect("the model says so");
                let instances = instance.into_iter().collect();
                let entry = ModelStep {
                    id,
                    place,
                    is_multi,
                    instances,
                };
                assert!(self.model.rows.insert(row, entry).is_none(), "row {row}");
                self.held.push(Held {
                    id,
                    step,
                    instances: Vec::new(),
                });
            }
            Err(cpu) => self.same_refusal(installed.err(), cpu),
        }
    }

    fn same_refusal(&mut self, seen: Option<InstallError>, wanted: usize) {
        self.failed += 1;
        let Some(InstallError::Step { cpu, error, .. }) = seen else {
            panic!("{seen:?}, and the model fails on CPU{wanted}");
        };
        assert_eq!(
            (cpu.index(), error),
            (wanted, StepError::Refused(Errno::Busy))
        );
    }

    /// Returns the rows of the steps, with their identities.
    fn rows(&self) -> Vec<(usize, usize)> {
        let rows = self.held.iter().map(|held| (held.step.row(), held.id));
        rows.collect()
    }

    /// Moves the steps of the model to where they are, in the same order.
    fn follow_rows(&mut self) {
        let rows = self.rows();
        let old: Vec<ModelStep> = std::mem::take(&mut self.model.rows).into_values().collect();
        let mut last = None;
        for step in old {
            let (row, _) = rows
                .iter()
                .find(|(_, id)| *id == step.id)
                .expect("it is held");
            assert!(
                step.place.rows().contains(row) && last < Some(*row),
                "{rows:?}"
            );
            last = Some(*row);
            self.model.rows.insert(*row, step);
        }
    }

    fn remove(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let held = self.held.swap_remove(self.random.below(self.held.len()));
        self.choose_failures(None);
        let how = self.how();
        let row = held.step.row();
        let mut step = self.model.remove(row);
        match (how, self.maybe(2)) {
            (Passing::Called, true) => drop(held.step),
            _ => assert!(held.step.remove(how).is_ok()),
        }
        for instance in step.instances.iter_mut().rev() {
            self.model
                .stop(step.place, instance, how == Passing::Called, CPUS);
        }
        // Its instances went with it.
        for (_, instance) in held.instances {
            assert!(instance.remove(Passing::Called).is_ok());
        }
    }

    fn add_instance(&mut self) {
        let multi = |held: &&mut Held| self.model.rows[&held.step.row()].is_multi;
        let count = self.held.iter_mut().filter(multi).count();
        if count == 0 {
            return;
        }
        let nth = self.random.below(count);
        let how = self.how();
        let at = {
            let rows = &self.model.rows;
            let mut multi =
                (0..self.held.len()).filter(|at| rows[&self.held[*at].step.row()].is_multi);
            multi.nth(nth).expect("there are as many")
        };
        let row = self.held[at].step.row();
        let place = self.model.rows[&row].place;
        let mut instance = self.instance(place);
        self.choose_failures(Some((place, instance.clone())));
        let callbacks = callbacks(&self.log, place, &instance);
        let added = self.held[at].step.add_instance(callbacks, how);
        match self
            .model
            .start(row, place, &mut instance, how == Passing::Called)
        {
            Ok(()) => {
                let handle = added.expect("the model says so");
                self.held[at].instances.push((instance.id, handle));
                let step = self.model.rows.get_mut(&row).expect("it is there");
                step.instances.push(instance);
            }
            Err(cpu) => self.same_refusal(added.err(), cpu),
        }
    }

    fn remove_instance(&mut self) {
        let with: Vec<usize> = (0..self.held.len())
            .filter(|at| !self.held[*at].instances.is_empty())
            .collect();
        if with.is_empty() {
            return;
        }
        let at = with[self.random.below(with.len())];
        let nth = self.random.below(self.held[at].instances.len());
        let (id, handle) = self.held[at].instances.swap_remove(nth);
        self.choose_failures(None);
        let how = self.how();
        let row = self.held[at].step.row();
        assert!(handle.remove(how).is_ok());
        let step = self.model.rows.get_mut(&row).expect("it is there");
        let place = step.place;
        let number = step.instances.iter().position(|one| one.id == id);
        let mut instance = step.instances.remove(number.expect("it is there"));
        self.model
            .stop(place, &mut instance, how == Passing::Called, CPUS);
    }

    fn check(&mut self, in_batch: bool) {
        {
            let mut log = self.log.lock().expect("no panic under it");
            let mut called = std::mem::take(&mut log.called);
            let mut wanted = std::mem::take(&mut self.model.called);
            if in_batch {
                called.sort_by_key(|(_, cpu, _)| *cpu);
                wanted.sort_by_key(|(_, cpu, _)| *cpu);
            }
            assert_eq!(called, wanted, "the calls");
            assert_eq!(log.fails, self.model.fails, "the failures that are left");
            log.fails.clear();
            self.model.fails.clear();
        }
        for (number, wanted) in self.model.cpus.iter().enumerate() {
            let cpu = CpuId::from_index(number);
            let state = hotplug().state(cpu);
            let seen = (state.state(), state.is_within());
            assert_eq!(seen, (wanted.state, wanted.within), "CPU{number}");
            assert!(hotplug().is_balanced(cpu), "CPU{number}");
            self.half_way += usize::from(wanted.within);
        }
        let slots: Vec<_> = hotplug().slots().iter().collect();
        assert_eq!(slots.len(), self.model.rows.len());
        for (row, step) in slots {
            let wanted = &self.model.rows[&row];
            for number in 0..CPUS {
                let (seen, _) = step.passages(CpuId::from_index(number));
                let add = |sum: (u32, u32), one: &ModelInstance| {
                    let (up, down) = one.passages[number];
                    (sum.0 + up, sum.1 + down)
                };
                let sum = wanted.instances.iter().fold((0, 0), add);
                assert_eq!(seen, sum, "row {row} on CPU{number}");
            }
        }
    }

    /// Removes all; no callback is called any more, and nothing is kept.
    fn end(mut self) -> [usize; 6] {
        while !self.held.is_empty() {
            self.remove();
            self.check(false);
        }
        assert_eq!(Arc::strong_count(&self.log), 1, "a callback is left");
        [
            self.failed,
            self.half_way,
            self.moved,
            self.together,
            self.up_together,
            self.stayed,
        ]
    }
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

fn live(seed: u64) -> [usize; 6] {
    let result = Arc::new(Mutex::new([0; 6]));
    let theirs = Arc::clone(&result);
    Sim::run(CPUS, move || {
        let mut world = World::new(seed);
        for _ in 0..LIFE {
            world.step();
        }
        *theirs.lock().expect("no panic under it") = world.end();
    });
    *result.lock().expect("no panic under it")
}

#[test]
fn random_steps_are_passed_as_the_model_says() {
    if let Some(seed) = number_from("STEPS_SEED") {
        live(seed);
        return;
    }
    let steps = number_from("STEPS").unwrap_or(STEPS);
    let mut counts = [0; 6];
    let from = number_from("STEPS_FROM").unwrap_or(1);
    for seed in from..from + (steps / LIFE).max(1) {
        match catch_unwind(AssertUnwindSafe(|| live(seed))) {
            Ok(more) => counts = std::array::from_fn(|at| counts[at] + more[at]),
            Err(panic) => {
                println!("STEPS_SEED={seed}");
                resume_unwind(panic);
            }
        }
    }
    let [failed, within, moved, went, came, stayed] = counts;
    println!("{failed} operations failed, {within} times a CPU was left within a step");
    println!("{moved} times a CPU was moved to rest half way");
    println!("{went} times several CPUs went at once, and {came} times several came");
    println!("{stayed} times the last CPU that takes threads was to go");
    assert!(counts.iter().all(|count| *count > 0));
}
