//! Waits of a machine that is made up: when that comes which they wait for, and what a sleep costs
//! there.

use super::*;

/// A tick is a nanosecond here, and a turn takes 20.
const TURN: u64 = 20;
const SLICE: u64 = 4_000_000;

fn machine(sleep: u64) -> SleepCost {
    let cost = SleepCost::new();
    cost.set(sleep, TURN * u64::from(TIMED_TURNS), SLICE);
    cost
}

fn budget(turns: u32, sleeps: u32) -> SpinBudget {
    SpinBudget::with(turns, FEW_TURNS, Worth::Sleeps(sleeps))
}

/// One wait at `now` for what comes after `event` ticks; returns whether it ended in the spin.
fn wait_at(now: u64, budget: &SpinBudget, cost: &SleepCost, event: u64) -> bool {
    let spun = u64::from(budget.turns()) * TURN;
    if event <= spun {
        budget.note_spin();
        return true;
    }
    budget.note_sleep(event - spun, now, cost);
    false
}

fn wait(budget: &SpinBudget, cost: &SleepCost, event: u64) -> bool {
    wait_at(0, budget, cost, event)
}

fn waits(count: u32, budget: &SpinBudget, cost: &SleepCost, event: u64) {
    for _ in 0..count {
        wait(budget, cost, event);
    }
}

/// As many waits for a CPU that runs when this one sleeps, from `now` on: each turn is in vain.
/// Returns how many ticks they have spun, and the time after them.
fn waits_in_vain(count: u32, now: u64, budget: &SpinBudget, cost: &SleepCost) -> (u64, u64) {
    waits_for_work(1000, count, now, budget, cost)
}

/// As [`waits_in_vain`]; the other CPU needs the core for `work` ticks.
fn waits_for_work(
    work: u64,
    count: u32,
    mut now: u64,
    budget: &SpinBudget,
    cost: &SleepCost,
) -> (u64, u64) {
    let mut spun = 0;
    for _ in 0..count {
        let turns = u64::from(budget.turns()) * TURN;
        spun += turns;
        now += turns + work + 9000;
        budget.note_sleep(work, now, cost);
    }
    (spun, now)
}

/// Numbers without an order, always the same (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[test]
fn with_a_core_for_each_cpu_waits_end_in_the_spin_after_a_few_sleeps() {
    for event in [100, 1000, 5000, 9000] {
        let (cost, budget) = (machine(10_000), budget(FEW_TURNS, 1));
        let sleeps = (0..100).filter(|_| !wait(&budget, &cost, event));
        assert!(sleeps.count() <= 7, "{event}");
        assert!(wait(&budget, &cost, event), "{event}");
    }
}

#[test]
fn where_waits_are_long_no_wait_spins_after_a_few() {
    let (cost, budget) = (machine(10_000), budget(500, 1));
    for nth in 0..4 {
        assert!(!wait(&budget, &cost, 4_000_000));
        assert!(nth < 3 || budget.turns() == FEW_TURNS);
    }
}

/// What comes a little later than a sleep costs would be spun for in vain for ever.
#[test]
fn a_wait_that_spins_for_all_it_may_and_sleeps_spins_less_next() {
    let (cost, budget) = (machine(10_000), budget(500, 1));
    assert!(!wait(&budget, &cost, 10_100));
    assert_eq!(budget.turns(), 125);
}

#[test]
fn a_pair_that_sleeps_through_two_wake_ups_gets_out_of_that() {
    let (cost, budget) = (machine(10_000), SpinBudget::of_pair());
    // Both sleep: the answer comes after the other CPU's wake-up.
    waits(8, &budget, &cost, 12_000);
    assert!(wait(&budget, &cost, 12_000), "{}", budget.turns());
}

#[test]
fn it_comes_back_when_waits_are_short_again() {
    let (cost, budget) = (machine(10_000), budget(FEW_TURNS, 1));
    for _ in 0..3 {
        waits(10, &budget, &cost, 4_000_000);
        assert_eq!(budget.turns(), FEW_TURNS);
        waits(10, &budget, &cost, 5000);
        assert!(wait(&budget, &cost, 5000));
    }
}

#[test]
fn an_idle_cpu_does_not_poll_until_it_helps_and_stops_when_it_does_not() {
    let (cost, budget) = (machine(10_000), SpinBudget::of_idle());
    assert_eq!(budget.turns(), 0);
    wait(&budget, &cost, 1_000_000);
    assert_eq!(budget.turns(), 0);
    waits(10, &budget, &cost, 3000);
    assert!(wait(&budget, &cost, 3000));
    waits(4, &budget, &cost, 1_000_000);
    assert_eq!(budget.turns(), 0);
}

#[test]
fn whatever_happens_no_wait_spins_for_longer_than_its_sleep_is_worth() {
    let mut random = Random(0x5711_1901);
    for _ in 0..200 {
        let sleep = 100 + random.below(50_000);
        let sleeps = 1 + u32::try_from(random.below(16)).expect("small");
        let (cost, budget) = (machine(sleep), budget(FEW_TURNS, sleeps));
        let most = (u64::from(sleeps) * sleep / TURN).max(FEW_TURNS.into());
        let mut now = 0;
        for _ in 0..200 {
            now += random.below(SLICE);
            wait_at(now, &budget, &cost, random.below(4 * sleep));
            assert!((u64::from(FEW_TURNS)..=most).contains(&budget.turns().into()));
        }
    }
}

#[test]
fn on_one_core_spins_are_in_vain_some_hundred_times_and_then_rarely() {
    let (cost, budget) = (machine(10_000), budget(FEW_TURNS, 2));
    let (spun, now) = waits_in_vain(1000, 0, &budget, &cost);
    let each = 20_000;
    let full = u64::from(VAIN_SPINS) * each;
    // Each has shorter ones before it.
    assert!((full / 2..full).contains(&spun), "{spun}");
    assert_eq!(budget.turns(), FEW_TURNS);
    // Less than two in a hundred, in the long run.
    let (spun, later) = waits_in_vain(2_000_000, now, &budget, &cost);
    assert!(50 * spun < later - now, "{spun} of {}", later - now);
    assert!(spun > full, "it never tries again");
}

/// The longer the other CPU works, the less a spin may take: it never reaches all that a sleep is
/// worth, and is in vain all the same.
#[test]
fn on_one_core_spins_are_rare_however_long_the_other_cpu_works() {
    for work in [0, 2000, 5000, 8000, 12_000, 16_000, 18_000, 25_000] {
        let (cost, budget) = (machine(10_000), budget(FEW_TURNS, 2));
        let (_, now) = waits_for_work(work, 2000, 0, &budget, &cost);
        let (spun, later) = waits_for_work(work, 2_000_000, now, &budget, &cost);
        assert!(50 * spun < later - now, "{work}: {spun} of {}", later - now);
    }
}

#[test]
fn spins_that_end_waits_again_are_believed() {
    let (cost, budget) = (machine(10_000), budget(FEW_TURNS, 2));
    let (_, now) = waits_in_vain(1000, 0, &budget, &cost);
    assert!(budget.is_held_back(now, &cost));
    let later = now + u64::from(HOLDS_BACK.0) * SLICE;
    for _ in 0..20 {
        wait_at(later, &budget, &cost, 5000);
    }
    assert!(wait_at(later, &budget, &cost, 5000));
    assert_eq!(budget.holds_back.load(Ordering::Relaxed), 0);
    // And it holds back no longer than at first.
    let (_, now) = waits_in_vain(1000, later, &budget, &cost);
    assert!(budget.is_held_back(now, &cost));
    assert_eq!(budget.holds_back.load(Ordering::Relaxed), HOLDS_BACK.0);
}

#[test]
fn how_long_turns_take_is_learnt_by_each_kind_of_wait() {
    let (cost, budget) = (machine(10_000), budget(FEW_TURNS, 1));
    assert_eq!(budget.most_turns(&cost), 500);
    for _ in 0..20 {
        budget.note_turns(1000, 2000, &cost);
    }
    assert!(budget.most_turns(&cost) > 4500);
    // A spin that a host interrupts hardly counts.
    budget.note_turns(1000, SLICE, &cost);
    assert!(budget.most_turns(&cost) > 4000);
}

#[test]
fn the_first_spin_tells_how_long_turns_of_its_kind_take() {
    let (cost, budget) = (machine(10_000), budget(FEW_TURNS, 1));
    budget.note_turns(1000, 5 * TURN * 1000, &cost);
    assert_eq!(budget.most_turns(&cost), 100);
    // And one that a host interrupts isn't believed for long.
    budget.timed_turns.store(0, Ordering::Relaxed);
    budget.note_turns(1000, SLICE, &cost);
    budget.note_turns(1000, TURN * 1000, &cost);
    budget.note_turns(1000, TURN * 1000, &cost);
    assert!(budget.most_turns(&cost) > 150);
}

/// Most spins are too short for a clock of 1 MHz: they seem to take no time, or twice as long as
/// they do.
#[test]
fn a_clock_that_cannot_tell_teaches_nothing_about_turns() {
    let cost = SleepCost::new();
    cost.set(10, 20, 4000); // As `machine(10_000)`, in microseconds.
    let budget = budget(FEW_TURNS, 2);
    let most = budget.most_turns(&cost);
    for nth in 0..100 {
        budget.note_turns(50, nth % 2, &cost);
    }
    assert_eq!(budget.most_turns(&cost), most);
}

#[test]
fn turns_that_take_longer_again_are_fewer_on_every_clock() {
    let cost = SleepCost::new();
    cost.set(10, 2, 4000);
    let budget = budget(FEW_TURNS, 2);
    assert_eq!(budget.most_turns(&cost), 10_240);
    for _ in 0..40 {
        budget.note_turns(10_240, 200, &cost);
    }
    assert_eq!(budget.most_turns(&cost), 1024);
}

#[test]
fn on_a_machine_of_which_nothing_is_known_nothing_is_learnt() {
    let (cost, budget) = (SleepCost::new(), SpinBudget::new());
    waits(10, &budget, &cost, 5000);
    assert_eq!(budget.turns(), FEW_TURNS);
}
