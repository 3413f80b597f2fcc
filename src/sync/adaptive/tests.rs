//! Waits of a machine that is made up: how long each takes, and what a sleep costs there.

use super::*;

/// A tick is a nanosecond here, and a turn takes 20.
const TURN: u64 = 20;

fn machine(sleep: u64) -> SleepCost {
    let cost = SleepCost::new();
    cost.set(sleep, TURN * u64::from(TIMED_TURNS));
    cost
}

/// One wait for what comes after `event` ticks, where a wake-up takes `wake`; returns whether it
/// ended in the spin.
fn wait(budget: &SpinBudget, cost: &SleepCost, event: u64, wake: u64) -> bool {
    let spun = u64::from(budget.turns()) * TURN;
    if event <= spun {
        return true;
    }
    budget.note_sleep(event - spun + wake, cost);
    false
}

/// As many waits, where a wake-up takes 10,000.
fn waits(count: u32, budget: &SpinBudget, cost: &SleepCost, event: u64) {
    for _ in 0..count {
        wait(budget, cost, event, 10_000);
    }
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
        let (cost, budget) = (machine(10_000), SpinBudget::new());
        let sleeps = (0..100).filter(|_| !wait(&budget, &cost, event, 10_000));
        assert!(sleeps.count() <= 7, "{event}");
        assert!(wait(&budget, &cost, event, 10_000), "{event}");
    }
}

#[test]
fn where_waits_are_long_no_wait_spins_after_a_few() {
    let cost = machine(10_000);
    let budget = SpinBudget::with(500, FEW_TURNS, 1);
    for nth in 0..4 {
        assert!(!wait(&budget, &cost, 4_000_000, 10_000));
        assert!(nth < 3 || budget.turns() == FEW_TURNS);
    }
}

/// What comes a little later than a sleep costs would be spun for in vain for ever.
#[test]
fn a_wait_that_spins_for_all_it_may_and_sleeps_spins_less_next() {
    let cost = machine(10_000);
    let budget = SpinBudget::with(500, FEW_TURNS, 1);
    assert!(!wait(&budget, &cost, 10_100, 9000));
    assert_eq!(budget.turns(), 125);
}

#[test]
fn a_pair_that_sleeps_through_two_wake_ups_gets_out_of_that() {
    let (cost, budget) = (machine(10_000), SpinBudget::of_pair());
    // Both sleep: the answer comes after the other CPU's wake-up.
    waits(7, &budget, &cost, 12_000);
    assert!(budget.turns() >= 300, "{}", budget.turns());
    // Now it polls, because this one spins.
    assert!(wait(&budget, &cost, 2000, 10_000));
}

#[test]
fn it_comes_back_when_waits_are_short_again() {
    let (cost, budget) = (machine(10_000), SpinBudget::new());
    for _ in 0..3 {
        waits(10, &budget, &cost, 4_000_000);
        assert_eq!(budget.turns(), FEW_TURNS);
        waits(10, &budget, &cost, 5000);
        assert!(wait(&budget, &cost, 5000, 10_000));
    }
}

#[test]
fn an_idle_cpu_does_not_poll_until_it_helps_and_stops_when_it_does_not() {
    let (cost, budget) = (machine(10_000), SpinBudget::of_idle());
    assert_eq!(budget.turns(), 0);
    wait(&budget, &cost, 1_000_000, 10_000);
    assert_eq!(budget.turns(), 0);
    waits(10, &budget, &cost, 3000);
    assert!(wait(&budget, &cost, 3000, 10_000));
    waits(4, &budget, &cost, 1_000_000);
    assert_eq!(budget.turns(), 0);
}

#[test]
fn whatever_happens_no_wait_spins_for_longer_than_a_sleep_costs() {
    let mut random = Random(0x5711_1901);
    for _ in 0..200 {
        let sleep = 100 + random.below(50_000);
        let sleeps = 1 + u32::try_from(random.below(16)).expect("small");
        let (cost, budget) = (
            machine(sleep),
            SpinBudget::with(FEW_TURNS, FEW_TURNS, sleeps),
        );
        let most = (u64::from(sleeps) * sleep / TURN).max(FEW_TURNS.into());
        for _ in 0..200 {
            let event = random.below(4 * sleep);
            let late = random.below(3 * sleep);
            wait(&budget, &cost, event, sleep + late);
            assert!((u64::from(FEW_TURNS)..=most).contains(&budget.turns().into()));
        }
    }
}

#[test]
fn on_a_machine_of_which_nothing_is_known_nothing_is_learnt() {
    let (cost, budget) = (SleepCost::new(), SpinBudget::new());
    waits(10, &budget, &cost, 5000);
    assert_eq!(budget.turns(), FEW_TURNS);
    cost.note_sent(5);
    cost.note_sleep(1, 9);
    assert_eq!(cost.ticks(), 0);
}

/// Has `count` sleeps end `woken_in` ticks after the SGI.
fn sleeps(cost: &SleepCost, count: u64, woken_in: u64) {
    for nth in 1..=count {
        let began = nth * 1_000_000_000;
        cost.note_sent(began + 1000);
        cost.note_sleep(began, began + 1000 + woken_in);
    }
}

#[test]
fn the_cost_of_a_sleep_follows_the_machine() {
    let cost = machine(2000);
    sleeps(&cost, 60, 10_000);
    assert!((8_000..=10_000).contains(&cost.ticks()), "{}", cost.ticks());
    sleeps(&cost, 30, 3000);
    assert!((2900..=3500).contains(&cost.ticks()), "{}", cost.ticks());
}

#[test]
fn wake_ups_that_a_host_delays_hardly_count() {
    let cost = machine(5000);
    for _ in 0..100 {
        sleeps(&cost, 3, 6000);
        sleeps(&cost, 1, 4_000_000);
        assert!(cost.ticks() < 10_000, "{}", cost.ticks());
    }
}

#[test]
fn the_cost_stays_near_what_was_measured_at_boot() {
    let cost = machine(1000);
    sleeps(&cost, 10_000, 4_000_000);
    assert_eq!(cost.ticks(), 16_000);
    sleeps(&cost, 100, 1);
    assert_eq!(cost.ticks(), 1000);
}

#[test]
fn an_sgi_of_another_wait_is_not_this_sleeps() {
    let cost = machine(1000);
    cost.note_sent(500);
    cost.note_sleep(500, 90_000);
    cost.note_sleep(100, 400);
    assert_eq!(cost.ticks(), 1000);
}

#[test]
fn a_wait_may_have_its_turns_from_a_test() {
    let budget = SpinBudget::new();
    assert_eq!(Spins::from(3).turns(), 3);
    assert_eq!(Spins::from(&budget).turns(), FEW_TURNS);
    assert_eq!(Spins::Spent(&budget).turns(), 0);
}
