//! Which threads run where: the scheduler that ships, on a machine of up to 20 CPUs under
//! random loads and a recorded one, in virtual time.
//!
//! After each event, when all CPUs have done what they had to, the threads that run must be
//! those that `sched::balance` promises. A failure names its seed: `POLICY_SEED=seed` runs
//! that one alone, and `POLICY_STEPS=number` sets how many events there are altogether.

#[path = "host_policy/actions.rs"]
mod actions;
#[path = "host_policy/among.rs"]
mod among;
#[path = "host_policy/bound.rs"]
mod bound;
#[path = "host_policy/checks.rs"]
mod checks;
#[path = "host_policy/classes.rs"]
mod classes;
#[path = "host_policy/driver.rs"]
mod driver;
#[path = "host_policy/flush.rs"]
mod flush;
#[path = "host_policy/platform.rs"]
mod platform;
#[path = "host_policy/races.rs"]
mod races;
#[path = "host_policy/recorded.rs"]
mod recorded;
#[path = "host_policy/shares.rs"]
mod shares;
#[path = "host_policy/stops.rs"]
mod stops;
#[path = "host_policy/world.rs"]
mod world;
#[path = "support/xorshift.rs"]
mod xorshift;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use stillpoint::sched::Nice;
use world::{Habits, World};
use xorshift::Random;

/// How many events there are in `make test-host`.
const STEPS: u64 = 100_000;
/// How many events one machine sees.
const LIFE: u64 = 2_500;

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

/// Calls `test_fn` with seeds, until as many events have happened as there should.
fn with_seeds(share: u64, test_fn: impl Fn(u64)) {
    let test_fn = |seed| {
        platform::set_seed(seed);
        test_fn(seed);
    };
    if let Some(seed) = number_from("POLICY_SEED") {
        return test_fn(seed);
    }
    let steps = number_from("POLICY_STEPS").unwrap_or(STEPS);
    for seed in 1..=(steps / LIFE / share).max(1) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test_fn(seed))) {
            println!("POLICY_SEED={seed}");
            resume_unwind(panic);
        }
    }
}

/// Runs a random load on a random machine. After each event the most urgent threads must run,
/// and none wait beside an idle CPU.
fn none_waits_in_vain(seed: u64, sections: bool) {
    let mut random = Random::new(seed);
    let mut maybe = |of| random.below(of) == 0;
    let habits = Habits {
        realtime: !maybe(4),
        sleeps: !maybe(8),
        affinity: maybe(2),
        nice: maybe(2),
        changes: maybe(2),
        hotplug: maybe(2),
        late: maybe(2),
        // No thread makes room for a stopper while it forbids preemption.
        stops: maybe(2) && !sections,
        sections,
    };
    let (cpus, most) = (1 + random.below(20), 1 + random.below(40));
    let mut world = World::new(seed, cpus, most, habits);
    for _ in 0..LIFE {
        if world.step() {
            checks::none_waits_in_vain(&world);
        }
    }
}

#[test]
fn the_most_urgent_run_and_none_waits_beside_an_idle_cpu() {
    // A CPU that is called for a thread gets another one, and there is another idle CPU.
    none_waits_in_vain(780, false);
    with_seeds(1, |seed| none_waits_in_vain(seed, false));
}

#[test]
fn the_most_urgent_run_when_preemption_is_allowed_again() {
    with_seeds(2, |seed| none_waits_in_vain(seed, true));
}

#[test]
fn a_flush_ends_when_no_thread_is_marked() {
    with_seeds(2, flush::random_loads_are_flushed);
}

#[test]
fn a_flush_runs_stoppers_and_marked_threads_only() {
    flush::only_marked_threads_run();
}

#[test]
fn a_flush_does_not_wait_for_application_code() {
    flush::application_code_holds_nothing_up();
}

#[test]
fn a_thread_that_says_it_is_quiescent_is_not_waited_for() {
    flush::quiescent_threads_give_way();
}

#[test]
fn a_holdout_that_says_it_is_quiescent_is_none() {
    flush::quiescent_holdouts_are_done();
}

#[test]
fn what_holds_a_flush_up_is_named() {
    flush::holders_are_named();
}

#[test]
fn what_holds_a_flush_up_is_named_though_its_queue_is_locked() {
    flush::a_locked_queue_hides_no_holder();
}

#[test]
fn a_thread_that_becomes_urgent_where_it_waits_goes_where_it_may_run() {
    classes::one_that_waits_becomes_as_urgent_as_the_first();
}

#[test]
fn a_thread_that_is_next_and_becomes_less_urgent_makes_way() {
    classes::one_that_is_next_becomes_less_urgent();
}

#[test]
fn a_thread_that_waits_and_may_use_an_idle_cpu_goes_there() {
    classes::one_that_waits_may_use_an_idle_cpu();
}

#[test]
fn a_cpu_that_goes_idle_in_the_midst_of_a_wake_is_called() {
    races::a_cpu_goes_idle_in_the_midst_of_a_wake();
}

#[test]
fn a_cpu_whose_next_thread_is_taken_looks_for_another() {
    races::the_next_thread_is_taken();
}

#[test]
fn a_thread_that_has_made_room_isnt_left_when_another_is_taken() {
    races::one_is_taken_in_a_stop();
}

#[test]
fn a_cpu_that_is_called_for_one_thread_and_takes_another_calls_another_cpu() {
    races::a_call_serves_another();
}

#[test]
fn a_cpu_that_pulls_a_thread_looks_for_a_more_urgent_one() {
    races::one_behind_the_most_urgent_is_pulled();
}

#[test]
fn all_that_wait_where_a_realtime_thread_was_pushed_from_are_pushed() {
    races::several_wait_where_one_is_pushed_from();
}

#[test]
fn a_stop_of_the_machine_moves_nothing() {
    stops::all_run_on_where_they_were();
}

#[test]
fn no_ordinary_thread_starves() {
    with_seeds(1, |seed| {
        let mut random = Random::new(seed);
        let mut maybe = |of| random.below(of) == 0;
        let habits = Habits {
            realtime: false,
            sleeps: !maybe(4),
            affinity: maybe(2),
            nice: maybe(2),
            changes: false,
            hotplug: false,
            late: maybe(2),
            sections: false,
            stops: maybe(2),
        };
        let (cpus, most) = (1 + random.below(4), 1 + random.below(40));
        let mut world = World::new(seed, cpus, most, habits);
        for _ in 0..LIFE {
            if world.step() {
                checks::none_starves(&world);
            }
        }
    });
}

/// Returns a niceness by chance.
fn any_nice(random: &mut Random) -> i8 {
    i8::try_from(random.below(40)).expect("below 40") - 20
}

/// Does as [`with_seeds`], with a niceness by chance for each.
fn with_nices(share: u64, test_fn: impl Fn(u64, i8)) {
    with_seeds(share, |seed| {
        test_fn(seed, any_nice(&mut Random::new(seed)))
    });
}

#[test]
fn equal_threads_get_equal_time() {
    with_seeds(1, |seed| {
        let mut random = Random::new(seed);
        let (cpus, threads) = (1 + random.below(20), 1 + random.below(40));
        shares::equals_get_equal_time(seed, cpus, threads, any_nice(&mut random));
    });
}

#[test]
fn equal_threads_get_equal_time_if_slices_end_anywhere() {
    with_seeds(1, |seed| {
        let mut random = Random::new(seed);
        let (cpus, threads) = (1 + random.below(20), 1 + random.below(40));
        shares::equals_get_equal_time_if_late(seed, cpus, threads, any_nice(&mut random));
    });
}

#[test]
fn equal_threads_get_equal_time_if_one_cpu_has_one_more() {
    let crowded = [
        (2, 25),
        (3, 34),
        (8, 38),
        (12, 37),
        (13, 27),
        (16, 40),
        (18, 37),
        (19, 39),
    ];
    for (cpus, threads) in crowded {
        for nice in [-20, 0, 10, 19] {
            shares::equals_get_equal_time(1, cpus, threads, nice);
        }
    }
}

#[test]
fn equal_threads_get_equal_time_however_heavy_they_are() {
    for nice in Nice::MIN.get()..=Nice::MAX.get() {
        for (cpus, threads) in [(2, 3), (3, 5), (4, 9), (4, 33), (16, 40)] {
            shares::equals_get_equal_time(1, cpus, threads, nice);
        }
    }
}

#[test]
fn equal_threads_share_the_cpus_that_they_may_use() {
    with_nices(1, among::equals_share_what_they_may_use);
}

#[test]
fn equal_threads_share_what_realtime_threads_leave() {
    with_nices(1, among::equals_share_what_is_left);
}

#[test]
fn equal_threads_share_what_realtime_threads_leave_if_each_has_a_cpu() {
    among::equals_share_a_cpu_each();
}

#[test]
fn equal_threads_share_what_several_realtime_threads_leave() {
    with_nices(1, among::equals_share_what_several_leave);
}

#[test]
fn equal_threads_share_what_realtime_threads_leave_if_one_cpu_is_free() {
    among::equals_share_with_one_cpu_free();
}

#[test]
fn a_thread_that_is_ahead_stays_behind_a_realtime_thread() {
    among::one_that_is_ahead_stays_behind_a_realtime_thread();
}

#[test]
fn equal_threads_that_sleep_before_their_slices_end_get_equal_time() {
    among::sleepers_share_if_one_cpu_has_one_more();
    with_nices(1, among::equals_that_sleep_share);
}

#[test]
fn equal_threads_that_sleep_get_equal_time_if_they_are_few() {
    with_nices(2, among::few_equals_that_sleep_share);
}

#[test]
fn weights_hold() {
    with_seeds(1, |seed| {
        let mut random = Random::new(seed);
        let (cpus, threads) = (1 + random.below(20), 1 + random.below(40));
        let reach: i8 = [5, 10, 20][random.below(3)];
        let mut nice = || {
            let above = random.below(2 * reach.unsigned_abs() as usize);
            i8::try_from(above).expect("below 40") - reach
        };
        let nices: Vec<i8> = (0..threads).map(|_| nice()).collect();
        shares::weights_hold(seed, cpus, &nices);
    });
}

#[test]
fn weights_hold_beside_heavy_threads_that_are_behind() {
    let nices = [
        7, 19, 3, 17, -17, -14, 1, -8, -17, 1, 17, 15, -1, -3, -18, 0, -4,
    ];
    shares::weights_hold(98, 4, &nices);
}

#[test]
fn weights_hold_if_some_begin_alone_and_others_beside_light_threads() {
    let nices = [
        -20, 15, 18, 14, 16, -7, -19, -12, -20, -13, 8, -20, 2, 17, -20, -5,
    ];
    shares::weights_hold(724, 7, &nices);
    let nices = [
        9, -5, -12, -12, -17, -17, 19, 14, 10, 2, 13, -13, -20, -17, 11, -20, 9, 6, -17, 0,
    ];
    shares::weights_hold(722, 6, &nices);
}

#[test]
fn a_yield_waits_for_equals() {
    shares::a_yield_waits_for_equals();
}

#[test]
fn a_recorded_build_has_its_cpus() {
    for cpus in 1..=4 {
        let waits = recorded::a_build_runs(cpus, 2 * LIFE);
        assert!(
            cpus > 2 || waits > LIFE / 4,
            "threads waited after {waits} events only"
        );
    }
}

#[test]
fn a_heavy_sleeper_has_no_long_turn() {
    shares::a_heavy_sleeper_has_no_long_turn();
}

#[test]
fn short_sleeps_gain_nothing() {
    for nice in [-10, -5, 0, 5, 10, 19] {
        shares::short_sleeps_gain_nothing(nice);
    }
}

#[test]
fn realtime_threads_leave_the_rest_to_ordinary_ones() {
    bound::the_rest_is_left();
}

#[test]
fn a_realtime_thread_that_is_held_back_runs_on_another_cpu() {
    bound::held_back_here_they_run_there();
}

#[test]
fn a_cpu_that_no_ordinary_thread_wants_is_left_to_realtime_threads() {
    bound::an_idle_cpu_is_not_taken();
}

#[test]
fn a_realtime_thread_that_is_held_back_everywhere_stays() {
    bound::held_back_everywhere_they_stay();
}

#[test]
fn a_cpu_that_comes_back_holds_no_realtime_thread_back() {
    bound::a_cpu_that_comes_back_begins_anew();
}

#[test]
fn a_cpu_may_go_while_realtime_threads_are_held_back() {
    bound::a_cpu_may_go_meanwhile();
}

#[test]
fn a_pause_of_the_machine_costs_no_long_wait() {
    shares::a_pause_costs_no_long_wait();
}

#[test]
fn newcomers_are_owed_nothing() {
    shares::newcomers_are_owed_nothing();
}

#[test]
fn a_newcomer_has_no_long_turn() {
    shares::a_newcomer_has_no_long_turn();
}
