//! Ordinary threads get time in the ratio of their weights.

use core::time::Duration;

use stillpoint::api::thread::{self, Builder, Nice};
use stillpoint::config::NORMAL_SLICE;
use stillpoint::println;

use crate::team::{Team, Worker, all_cpus, as_boss, ms, on};
use kernel_support::coming::Coming;
use kernel_support::ktap::Ktap;
use kernel_support::machine::last_cpu;

/// For how long they are looked at.
const WINDOW: Duration = Duration::from_millis(600);

/// The weights of niceness 0, 5 and -5, as Linux has them.
const WEIGHTS: [(i8, u32); 3] = [(0, 1024), (5, 335), (-5, 3121)];

pub(crate) fn weights(ktap: &mut Ktap) {
    let one = as_boss(|| {
        let team = Team::start(WEIGHTS.map(|(nice, _)| on(last_cpu()).nice(niceness(nice))));
        thread::sleep(ms(20));
        let holds = ratios_hold("one CPU", &team);
        team.end();
        holds
    });
    ktap.check("three threads of one CPU have time by their weights", one);
    let [all, changed, coming] = as_boss(on_all);
    ktap.check("three for each CPU have time by their weights", all);
    ktap.check("so they have when their niceness was changed", changed);
    ktap.check("so they have while CPUs come and go", coming);
}

fn on_all() -> [bool; 3] {
    let count = all_cpus().count();
    let team = Team::start((0..3 * count).map(|_| Builder::new()));
    let set = |shift: usize| {
        for (worker, at) in team.workers().iter().zip(shift..) {
            worker.thread().set_nice(niceness(WEIGHTS[at % 3].0));
        }
        thread::sleep(ms(50));
    };
    set(0);
    let all = ratios_hold("all CPUs", &team);
    set(1);
    let changed = ratios_hold("changed", &team);
    let coming = Coming::start();
    let held = ratios_hold("they come and go", &team);
    let walks = coming.end();
    println!("# {walks:?} walks");
    team.end();
    [all, changed, held && walks.is_some()]
}

/// Returns whether each thread of `team` has a CPU for as long as its weight says, within
/// 10 % and a slice (`weights-hold` of `sched::fair`).
fn ratios_hold(when: &str, team: &Team) -> bool {
    let times = team.times_in(WINDOW);
    let weight_of = |worker: &Worker| {
        let nice = worker.thread().nice().get();
        let found = WEIGHTS.iter().find(|(other, _)| *other == nice);
        found.map_or(0, |(_, weight)| *weight)
    };
    let weights = || team.workers().iter().map(weight_of);
    let sum: Duration = times.iter().sum();
    let all: u32 = weights().sum();
    let off = times.iter().zip(weights()).map(|(time, weight)| {
        let due = sum * weight / all;
        let beyond = time.abs_diff(due).saturating_sub(NORMAL_SLICE);
        beyond.as_micros() * 100 / due.as_micros().max(1)
    });
    let worst = off.max().unwrap_or(100);
    println!("# {when}: a slice and {worst} % off at most");
    if worst > 10 {
        println!("# {times:?}");
    }
    worst <= 10
}

fn niceness(value: i8) -> Nice {
    Nice::new(value).expect("-20 to 19")
}
