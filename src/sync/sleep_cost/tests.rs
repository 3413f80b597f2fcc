//! What wake-ups of a machine that is made up teach.

use super::*;

fn machine(sleep: u64) -> SleepCost {
    let cost = SleepCost::new();
    cost.set(sleep, 1000, 4_000_000);
    cost
}

/// Has `count` sleeps end `woken_in` ticks after the SGI.
fn sleeps(cost: &SleepCost, count: u64, woken_in: u64) {
    for _ in 0..count {
        cost.note_wake(woken_in);
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
fn one_that_a_host_delays_is_soon_forgotten_even_after_the_shortest() {
    let cost = machine(1000);
    for _ in 0..20 {
        sleeps(&cost, 1, 4_000_000);
        assert!(cost.ticks() <= 4000, "{}", cost.ticks());
        sleeps(&cost, 10, 900);
        assert!(cost.ticks() < 1300, "{}", cost.ticks());
    }
}

#[test]
fn the_cost_stays_near_what_was_measured_at_boot() {
    let cost = machine(1000);
    sleeps(&cost, 10_000, 4_000_000);
    assert_eq!(cost.ticks(), u64::from(1000 * MOST));
    sleeps(&cost, 100, 1);
    assert_eq!(cost.ticks(), 1000);
}

#[test]
fn an_sgi_before_a_sleep_or_after_it_did_not_end_it() {
    let cost = machine(1000);
    cost.note_sent(500);
    assert_eq!(cost.sent_within(500, 90_000), None);
    assert_eq!(cost.sent_within(100, 400), None);
    assert_eq!(cost.sent_within(100, 500), Some(500));
}

#[test]
fn on_a_machine_of_which_nothing_is_known_nothing_is_learnt() {
    let cost = SleepCost::new();
    sleeps(&cost, 10, 5000);
    assert_eq!(cost.ticks(), 0);
}
