//! Realtime threads, each more urgent than the next: the first n run on n CPUs, all the time.

use core::ops::Range;
use core::time::Duration;

use stillpoint::api::thread::{self, Builder};
use stillpoint::println;

use crate::team::{Team, Worker, all_cpus, as_boss, fifo, ms};
use kernel_support::coming::Coming;
use kernel_support::ktap::Ktap;

/// The longest time for which a thread that should run doesn't: less than an ordinary slice.
const GAP: Duration = Duration::from_millis(3);

/// For how long one that should not run may have a CPU, all in all: while a CPU comes or goes
/// it may be next for as long as an interrupt and a switch take.
const AT_MOST: Duration = Duration::from_micros(400);

pub(crate) fn ladder(ktap: &mut Ktap) {
    let [all, fewer, coming] = as_boss(steps);
    ktap.check(
        "of 2n realtime threads the n most urgent run, no other",
        all,
    );
    ktap.check("when the most urgent ones have ended, the next run", fewer);
    ktap.check("all that holds while CPUs come and go", coming);
}

fn steps() -> [bool; 3] {
    let count = all_cpus().count();
    // Ordinary threads are there too, and are never in the way.
    let ordinary = Team::equals(count, &Builder::new().name("ordinary"));
    // The least urgent comes first, so that each that comes has to find its CPU.
    let ladder = Team::start((0..2 * count).map(|step| {
        let priority = u8::try_from(step).expect("a small machine") + 10;
        Builder::new().name(priority).class(fifo(priority))
    }));
    thread::sleep(ms(5));
    let all = only(&ladder, count..2 * count, count..2 * count);
    let half = count / 2;
    ladder.workers()[2 * count - half..]
        .iter()
        .for_each(Worker::stop);
    thread::sleep(ms(2));
    let fewer = only(
        &ladder,
        count - half..2 * count - half,
        count - half..2 * count - half,
    );
    let coming = Coming::start();
    let run = count - half..2 * count - half;
    let certain = only(&ladder, run.start + 1..run.end, run);
    let walks = coming.end();
    println!("# {walks:?} walks");
    ladder.end();
    ordinary.end();
    [all, fewer, certain && walks.is_some()]
}

/// Returns whether those of `ladder` that are in `run` run all the time, and those below
/// `may` don't run at all.
fn only(ladder: &Team, run: Range<usize>, may: Range<usize>) -> bool {
    let workers = ladder.workers();
    workers.iter().for_each(Worker::forget_gap);
    let times = ladder.times_in(ms(40));
    let gap = workers[run.clone()].iter().map(Worker::gap).max();
    let right = times[run].iter().all(|time| *time > ms(30))
        && times[..may.start].iter().all(|time| *time < AT_MOST)
        && gap.is_some_and(|gap| gap < GAP);
    let below = times[..may.start].iter().max();
    println!("# longest gap {gap:?}, below they ran for {below:?}");
    if !right {
        println!("# {times:?}");
    }
    right
}
