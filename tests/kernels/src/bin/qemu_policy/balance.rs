//! Equal threads have equal time, however many there are for however many CPUs.

use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::thread::{self, Builder};
use stillpoint::config::NORMAL_SLICE;
use stillpoint::println;

use crate::team::{Team, all_cpus, as_boss, ms};
use kernel_support::coming::Coming;
use kernel_support::ktap::Ktap;
use kernel_support::machine::leave_and_return;

/// For how long they are looked at.
const WINDOW: Duration = Duration::from_secs(1);

/// What a thread may be owed when it comes from another CPU (`credit-is-bounded` of
/// `sched::fair`). The boot CPU, on which all were, hands over one at the end of each slice:
/// on 20 CPUs the last ones leave it 80 ms after the first, and have the time that they have
/// waited meanwhile in the same second.
const OWED: Duration = NORMAL_SLICE.saturating_mul(5);

/// Two threads for each CPU.
pub(crate) fn even(ktap: &mut Ktap) {
    let [started, repaid, back, coming] = as_boss(|| {
        let count = all_cpus().count();
        let team = Team::equals(2 * count, &Builder::new());
        let started = is_fair("started", &team);
        let left = leave_and_return(|| {
            thread::sleep(ms(20));
            true
        });
        let repaid = left && is_fair_but_for("all came back", &team, OWED);
        let back = is_fair("they are spread", &team) && is_spread(&team);
        let coming = Coming::start();
        let fair = is_fair("they come and go", &team);
        let walks = coming.end();
        println!("# {walks:?} walks");
        team.end();
        [started, repaid, back, fair && walks.is_some()]
    });
    ktap.check(
        "twice as many equal threads as CPUs have equal time",
        started,
    );
    ktap.check(
        "but for what they are owed, so they have when all other CPUs come back",
        repaid,
    );
    ktap.check("so they have after all other CPUs were away", back);
    ktap.check("so they have while CPUs come and go", coming);
}

/// One thread more than there are CPUs.
pub(crate) fn odd(ktap: &mut Ktap) {
    let [started, coming] = as_boss(|| {
        let team = Team::equals(all_cpus().count() + 1, &Builder::new());
        let started = is_fair("started", &team);
        let coming = Coming::start();
        let fair = is_fair("they come and go", &team);
        let walks = coming.end();
        println!("# {walks:?} walks");
        team.end();
        [started, fair && walks.is_some()]
    });
    ktap.check("one thread more than CPUs: all have equal time", started);
    ktap.check("so they have while CPUs come and go", coming);
}

/// Returns [`is_fair_but_for`] nothing.
fn is_fair(when: &str, team: &Team) -> bool {
    is_fair_but_for(when, team, Duration::ZERO)
}

/// Returns whether the threads of `team` have a CPU in [`WINDOW`] for times that differ by
/// less than a slice, 5 % and `owed`. The kernel has counted the times; they must be what the
/// threads have seen themselves, but for what interrupts and switches took: where QEMU runs
/// 20 CPUs in turn that is several percent, and not the same on all CPUs.
fn is_fair_but_for(when: &str, team: &Team, owed: Duration) -> bool {
    let before = team.used();
    let seen = team.times_in(WINDOW);
    let used = team.used().into_iter().zip(before);
    let times: Vec<Duration> = used.map(|(after, before)| after - before).collect();
    let sum: Duration = times.iter().sum();
    let most = times.iter().max().copied().unwrap_or_default();
    let least = times.iter().min().copied().unwrap_or_default();
    let count = u32::try_from(times.len()).expect("a team is small");
    let bound = NORMAL_SLICE + sum / count / 20 + owed;
    let is_seen = |(seen, time): (&Duration, &Duration)| seen.abs_diff(*time) < *time / 10;
    let fair = least > Duration::ZERO && most - least < bound;
    println!("# {when}: {least:?} to {most:?}, and they may differ by {bound:?}");
    if !fair {
        println!("# {times:?}");
    }
    let all_seen = seen.iter().zip(&times).all(is_seen);
    if !all_seen {
        println!("# the threads have seen {seen:?}");
    }
    fair && all_seen
}

/// Returns whether every CPU has two of the threads, give or take one that moves just now.
fn is_spread(team: &Team) -> bool {
    let on_each = team.on_each(&all_cpus());
    println!("# threads on each CPU: {on_each:?}");
    on_each.iter().all(|count| (1..=3).contains(count))
}
