//! The kernel's walker on a table of the test, whose callbacks record their calls.

use std::cell::{Cell, RefCell};

use stillpoint::hotplug::{
    CpuhpState, Group, Side, SlotError, SlotRows, Step, StepError, WalkError, Walker,
};
use stillpoint::trace::Direction;

use crate::xorshift::Random;

/// The calls that the callbacks of one machine have recorded.
#[derive(Default)]
struct Log {
    /// The steps that were started or torn down, in their order.
    done: RefCell<Vec<(usize, Direction)>>,
    /// The callback that fails.
    broken: Cell<Option<(usize, Direction)>>,
}

impl Log {
    fn call(&self, step: usize, direction: Direction) -> Result<(), StepError> {
        if self.broken.get() == Some((step, direction)) {
            return Err(StepError::OutOfStacks);
        }
        self.done.borrow_mut().push((step, direction));
        Ok(())
    }

    /// Removes and returns the recorded calls.
    fn take(&self) -> Vec<(usize, Direction)> {
        self.done.take()
    }
}

/// A side that may fail.
fn fallible<const STEP: usize, const UP: bool>() -> Side<Log> {
    Side::Fallible(|log| log.call(STEP, direction(UP)))
}

/// A side that can't fail.
fn infallible<const STEP: usize, const UP: bool>() -> Side<Log> {
    Side::Infallible(|log| log.call(STEP, direction(UP)).expect("not broken"))
}

fn direction(up: bool) -> Direction {
    if up { Direction::Up } else { Direction::Down }
}

/// A table with every pair of sides that a step can have.
fn table() -> Vec<Step<Log>> {
    const UP: bool = true;
    const DOWN: bool = false;
    let none = || Side::Nothing("there is nothing to do");
    [
        (fallible::<0, UP>(), fallible::<0, DOWN>()),
        (fallible::<1, UP>(), infallible::<1, DOWN>()),
        (fallible::<2, UP>(), none()),
        (none(), fallible::<3, DOWN>()),
        (infallible::<4, UP>(), infallible::<4, DOWN>()),
        (none(), infallible::<5, DOWN>()),
        (infallible::<6, UP>(), none()),
        (infallible::<7, UP>(), fallible::<7, DOWN>()),
        (none(), none()),
        (fallible::<9, UP>(), fallible::<9, DOWN>()),
    ]
    .into_iter()
    .map(|(startup, teardown)| Step {
        name: "test:step",
        group: Group::Sched,
        startup,
        teardown,
    })
    .collect()
}

/// The slots of a table without slots.
struct NoSlots;

impl SlotRows<Log> for NoSlots {
    fn stop_from(&self, from: usize) -> usize {
        from
    }

    fn stop_below(&self, below: usize) -> Option<usize> {
        below.checked_sub(1)
    }

    fn pass(&self, _: usize, _: Direction, _: &CpuhpState, _: &Log) -> Result<(), SlotError> {
        unreachable!("the table has no slots")
    }
}

/// A CPU that walks along that table.
struct Cpu {
    table: Vec<Step<Log>>,
    state: CpuhpState,
    log: Log,
    /// The passages that the walker has reported.
    told: RefCell<Vec<(usize, Direction, Option<bool>)>>,
}

impl Cpu {
    fn new() -> Cpu {
        let table = table();
        Cpu {
            state: CpuhpState::new(table.len()),
            table,
            log: Log::default(),
            told: RefCell::default(),
        }
    }

    /// Returns a CPU that has walked to `state`, with no calls recorded.
    fn at(state: usize) -> Cpu {
        let cpu = Cpu::new();
        assert_eq!(cpu.go(state), Ok(()));
        cpu.log.take();
        cpu.told.take();
        cpu
    }

    /// Walks to `target`, up or down.
    fn go(&self, target: usize) -> Result<(), WalkError> {
        let mut walker = Walker {
            steps: &self.table,
            slots: &NoSlots,
            state: &self.state,
            context: &self.log,
            trace_fn: |step, direction, done| self.told.borrow_mut().push((step, direction, done)),
        };
        if target >= self.state.state() {
            walker.up(target)
        } else {
            walker.down(target)
        }
    }

    fn side(&self, step: usize, direction: Direction) -> &Side<Log> {
        match direction {
            Direction::Up => &self.table[step].startup,
            Direction::Down => &self.table[step].teardown,
        }
    }

    /// Returns those of `steps` that have a callback in `direction`, with that direction.
    fn with_callback(
        &self,
        steps: impl Iterator<Item = usize>,
        direction: Direction,
    ) -> Vec<(usize, Direction)> {
        steps
            .filter(|step| self.side(*step, direction).reason().is_none())
            .map(|step| (step, direction))
            .collect()
    }

    /// Returns how often each step was passed up and down.
    fn passages(&self) -> Vec<(u32, u32)> {
        let steps = 0..self.table.len();
        steps.map(|step| self.state.passages(step)).collect()
    }

    fn assert_balanced(&self) {
        assert!(self.state.is_balanced(|_| true));
        for (step, (up, down)) in self.passages().into_iter().enumerate() {
            let wanted = u32::from(step < self.state.state());
            assert_eq!(up - down, wanted, "step {step}: {up} up, {down} down");
        }
    }
}

/// Returns the steps between `origin` and `target`, in the order of a walk.
fn way(origin: usize, target: usize) -> (Vec<usize>, Direction) {
    if origin <= target {
        ((origin..target).collect(), Direction::Up)
    } else {
        ((target..origin).rev().collect(), Direction::Down)
    }
}

fn other(direction: Direction) -> Direction {
    match direction {
        Direction::Up => Direction::Down,
        Direction::Down => Direction::Up,
    }
}

#[test]
fn up_takes_the_table_in_order_and_down_in_reverse() {
    let cpu = Cpu::new();
    let all = cpu.table.len();
    assert_eq!(cpu.go(all), Ok(()));
    assert_eq!(cpu.log.take(), cpu.with_callback(0..all, Direction::Up));
    assert_eq!(cpu.state.state(), all);
    cpu.assert_balanced();
    assert_eq!(cpu.go(0), Ok(()));
    let reverse = (0..all).rev();
    assert_eq!(cpu.log.take(), cpu.with_callback(reverse, Direction::Down));
    assert_eq!(cpu.state.state(), 0);
    cpu.assert_balanced();
}

#[test]
fn every_passage_is_told_before_and_after_and_counted_once() {
    // Also if the walk has no steps.
    for (origin, target) in [(0, 10), (10, 0), (3, 7), (7, 3)] {
        let cpu = Cpu::at(origin);
        let before = cpu.passages();
        assert_eq!(cpu.go(target), Ok(()));
        let (steps, direction) = way(origin, target);
        let told: Vec<_> = steps
            .iter()
            .flat_map(|step| [(*step, direction, None), (*step, direction, Some(true))])
            .collect();
        assert_eq!(cpu.told.take(), told);
        for (step, (after, before)) in cpu.passages().into_iter().zip(before).enumerate() {
            let passed = u32::from(steps.contains(&step));
            let wanted = match direction {
                Direction::Up => (before.0 + passed, before.1),
                Direction::Down => (before.0, before.1 + passed),
            };
            assert_eq!(after, wanted, "step {step}");
        }
    }
}

/// The way in which a step is made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    ByItself,
    Injected,
}

/// Walks from `origin` to `target` with a failure at `step`, walks back as an operation does,
/// and then tries again.
fn fail_at(origin: usize, target: usize, step: usize, failure: Failure) {
    let (steps, direction) = way(origin, target);
    let cpu = Cpu::at(origin);
    let before = cpu.passages();
    match failure {
        Failure::ByItself => cpu.log.broken.set(Some((step, direction))),
        Failure::Injected => cpu.state.inject(Some(step)),
    }
    let error = match failure {
        Failure::ByItself => StepError::OutOfStacks,
        Failure::Injected => StepError::Injected,
    };
    assert_eq!(cpu.go(target), Err(WalkError { step, error }));

    // The state is as if that step had never been tried, and all before it were passed.
    let taken = steps.iter().copied().take_while(|taken| *taken != step);
    let taken: Vec<usize> = taken.collect();
    assert_eq!(
        cpu.state.state(),
        match direction {
            Direction::Up => step,
            Direction::Down => step + 1,
        }
    );
    assert_eq!(
        cpu.log.take(),
        cpu.with_callback(taken.iter().copied(), direction)
    );
    assert_eq!(cpu.passages()[step], before[step]);
    assert_eq!(cpu.told.take().pop(), Some((step, direction, Some(false))));
    assert_eq!(cpu.state.injected(), None, "it fires once");
    cpu.assert_balanced();

    // Back to the origin: every step that was done is undone once, in reverse order.
    cpu.log.broken.set(None);
    assert_eq!(cpu.go(origin), Ok(()));
    assert_eq!(cpu.state.state(), origin);
    assert_eq!(
        cpu.log.take(),
        cpu.with_callback(taken.iter().rev().copied(), other(direction))
    );
    cpu.assert_balanced();

    // The CPU is then as if it had not walked.
    assert_eq!(cpu.go(target), Ok(()));
    assert_eq!(
        cpu.log.take(),
        cpu.with_callback(steps.into_iter(), direction)
    );
    cpu.assert_balanced();
}

#[test]
fn a_failure_anywhere_leads_back_to_the_origin() {
    let all = table().len();
    let mut failures = 0;
    for origin in 0..=all {
        for target in 0..=all {
            let (steps, direction) = way(origin, target);
            let cpu = Cpu::new();
            for step in steps {
                if cpu.side(step, direction).may_fail() {
                    fail_at(origin, target, step, Failure::ByItself);
                    fail_at(origin, target, step, Failure::Injected);
                    failures += 1;
                }
            }
        }
    }
    // Each of the 8 sides that may fail, from each origin below it to each
    // target above it.
    let pairs = |step: usize| (step + 1) * (all - step);
    let wanted: usize = [0, 1, 2, 9, 0, 3, 7, 9].into_iter().map(pairs).sum();
    assert_eq!(failures, wanted);
}

#[test]
fn a_failure_waits_for_the_side_that_can_fail() {
    // Step 7 can fail on the way down only, step 1 on the way up only.
    let cpu = Cpu::new();
    cpu.state.inject(Some(7));
    assert_eq!(cpu.go(10), Ok(()));
    assert_eq!(cpu.state.injected(), Some(7));
    let failed = WalkError {
        step: 7,
        error: StepError::Injected,
    };
    assert_eq!(cpu.go(0), Err(failed));
    cpu.state.inject(Some(1));
    assert_eq!(cpu.go(0), Ok(()));
    assert_eq!(cpu.state.injected(), Some(1));
    // The injection can be removed.
    cpu.state.inject(None);
    assert_eq!(cpu.go(10), Ok(()));
}

#[test]
fn an_injected_failure_comes_before_the_callback() {
    let cpu = Cpu::new();
    cpu.log.broken.set(Some((0, Direction::Up)));
    cpu.state.inject(Some(0));
    let failed = |error| Err(WalkError { step: 0, error });
    assert_eq!(cpu.go(1), failed(StepError::Injected));
    assert_eq!(cpu.go(1), failed(StepError::OutOfStacks));
}

#[test]
fn random_walks_end_where_a_model_says() {
    let mut random = Random::new(2);
    let cpu = Cpu::new();
    let all = cpu.table.len();
    // The model: which steps are up, and how often each was passed.
    let mut up = vec![false; all];
    let mut passages = vec![(0, 0); all];
    let mut failed = 0;
    for _ in 0..20_000 {
        let (origin, target) = (cpu.state.state(), random.below(all + 1));
        let (steps, direction) = way(origin, target);
        let broken = random.below(4 * all);
        let may_fail = |step: usize| cpu.side(step, direction).may_fail();
        let is_broken = broken < all && may_fail(broken);
        cpu.log.broken.set(is_broken.then_some((broken, direction)));
        let injected = random.below(4 * all);
        if injected < all {
            cpu.state.inject(Some(injected));
        }
        let injected = cpu.state.injected();
        let mut wanted = Ok(());
        for step in steps {
            assert_eq!(up[step], direction == Direction::Down);
            if injected == Some(step) && may_fail(step) {
                let error = StepError::Injected;
                wanted = Err(WalkError { step, error });
            } else if is_broken && broken == step {
                let error = StepError::OutOfStacks;
                wanted = Err(WalkError { step, error });
            }
            if wanted.is_err() {
                failed += 1;
                break;
            }
            up[step] = direction == Direction::Up;
            match direction {
                Direction::Up => passages[step].0 += 1,
                Direction::Down => passages[step].1 += 1,
            }
        }
        assert_eq!(cpu.go(target), wanted);
        assert_eq!(cpu.state.state(), up.iter().filter(|up| **up).count());
        assert_eq!(cpu.passages(), passages);
        cpu.assert_balanced();
    }
    assert!(failed > 1000, "{failed}");
}

/// The slots of a table whose rows 1 to 3 are slots, all of them empty.
struct EmptySlots;

impl SlotRows<Log> for EmptySlots {
    fn stop_from(&self, from: usize) -> usize {
        if (1..4).contains(&from) { 4 } else { from }
    }

    fn stop_below(&self, below: usize) -> Option<usize> {
        let last = below.checked_sub(1)?;
        Some(if (1..4).contains(&last) { 0 } else { last })
    }

    fn pass(&self, _: usize, _: Direction, _: &CpuhpState, _: &Log) -> Result<(), SlotError> {
        unreachable!("the slots are empty")
    }
}

#[test]
fn a_walk_ends_among_empty_slots() {
    let fixed = |startup, teardown| Step {
        name: "test:step",
        group: Group::Prep,
        startup,
        teardown,
    };
    let slot = || Step::slot("test:slot", Group::Prep);
    let table = [
        fixed(infallible::<0, true>(), infallible::<0, false>()),
        slot(),
        slot(),
        slot(),
        fixed(infallible::<4, true>(), infallible::<4, false>()),
    ];
    for target in 0..=table.len() {
        let (state, log) = (CpuhpState::new(table.len()), Log::default());
        let mut walker = Walker {
            steps: &table,
            slots: &EmptySlots,
            state: &state,
            context: &log,
            trace_fn: |_, _, _| (),
        };
        let below = [0, 4].into_iter().filter(|row| *row < target);
        assert_eq!(walker.up(target), Ok(()));
        assert_eq!(state.state(), target);
        let wanted: Vec<_> = below.map(|row| (row, Direction::Up)).collect();
        assert_eq!(log.take(), wanted);
        assert_eq!(walker.up(table.len()), Ok(()));
        log.take();
        assert_eq!(walker.down(target), Ok(()));
        assert_eq!(state.state(), target);
        let above = [4, 0].into_iter().filter(|row| *row >= target);
        let wanted: Vec<_> = above.map(|row| (row, Direction::Down)).collect();
        assert_eq!(log.take(), wanted);
    }
}
