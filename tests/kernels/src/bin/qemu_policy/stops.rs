//! A stop of the machine moves no realtime thread, though each makes room for a stopper.

use core::time::Duration;

use stillpoint::api::stop_machine;
use stillpoint::api::thread::{self, Builder};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::println;

use crate::team::{Team, Worker, all_cpus, as_boss, fifo, ms};
use kernel_support::ktap::Ktap;

/// How often the machine is stopped.
const STOPS: u32 = 20;

/// How long a stop may keep a thread from its CPU.
const GAP: Duration = Duration::from_millis(1);

pub(crate) fn stops(ktap: &mut Ktap) {
    let name = "a stop moves no realtime thread";
    let others = all_cpus().without(&CpuMask::of(CpuId::BOOT));
    if others.count() < 2 {
        ktap.inapplicable(name, "no other CPU for a thread to go to");
        return;
    }
    let right = as_boss(move || {
        let me = thread::current().set_affinity(&CpuMask::of(CpuId::BOOT));
        me.expect("it may run there");
        let builder = Builder::new().affinity(others);
        let ladder = (10..).take(others.count());
        let team = Team::start(ladder.map(|priority| builder.clone().class(fifo(priority))));
        let right = stay(&team);
        team.end();
        right
    });
    ktap.check(name, right);
}

/// Returns whether all threads of `team`, each of which has a CPU, keep it in many stops.
fn stay(team: &Team) -> bool {
    thread::sleep(ms(20));
    let moves = |worker: &Worker| worker.thread().usage().migrations;
    let moves = || team.workers().iter().map(moves).sum::<u64>();
    let before = moves();
    team.workers().iter().for_each(Worker::forget_gap);
    let stopped = (0..STOPS).all(|_| {
        thread::sleep(Duration::from_micros(500));
        stop_machine(|| ()).is_ok()
    });
    let gap = team.workers().iter().map(Worker::gap).max();
    let moved = moves() - before;
    println!("# moved {moved} times, longest gap {gap:?}");
    stopped && moved == 0 && gap.is_some_and(|gap| gap < GAP)
}
