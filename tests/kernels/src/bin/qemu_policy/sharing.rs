//! Ordinary threads share their CPUs also if they sleep now and then, or if a realtime thread
//! takes a part of one.

use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::thread::{self, Builder, Nice};
use stillpoint::config::NORMAL_SLICE;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::println;

use crate::team::{Script, Team, Worker, all_cpus, as_boss, fifo, ms, on};
use kernel_support::coming::Coming;
use kernel_support::ktap::Ktap;
use kernel_support::machine::last_cpu;

/// For how long most are looked at: less than the second for which shares are promised, and
/// enough for what was wrong with them.
const WINDOW: Duration = Duration::from_millis(240);

/// For how long threads that sleep are looked at: they drift apart slowly.
const SECOND: Duration = Duration::from_secs(1);

/// Returns for how long each thread of `team` has a CPU in `window`, as the kernel counts it.
fn times(team: &Team, window: Duration) -> Vec<Duration> {
    thread::sleep(ms(20));
    let before = team.used();
    thread::sleep(window);
    let used = team.used().into_iter().zip(before);
    used.map(|(after, before)| after - before).collect()
}

/// Returns whether the times of `team` in `window` differ by less than `bound_fn` returns for
/// their mean.
fn are_equal(team: &Team, window: Duration, bound_fn: impl Fn(Duration) -> Duration) -> bool {
    let times = times(team, window);
    let most = times.iter().max().copied().unwrap_or_default();
    let least = times.iter().min().copied().unwrap_or_default();
    let count = u32::try_from(times.len()).expect("a team is small");
    let bound = bound_fn(times.iter().sum::<Duration>() / count);
    println!("# {least:?} to {most:?}, and they may differ by {bound:?}");
    least > Duration::ZERO && most - least < bound
}

pub(crate) fn sleepers(ktap: &mut Ktap) {
    // Where waking doesn't end a turn, these run in step on four CPUs.
    let often = (ms(1), Duration::from_micros(100));
    ktap.check(
        "equal threads that sleep before their slices end have equal time",
        as_boss(move || sleepers_are_equal(often)),
    );
    let (equal, walks) = as_boss(|| {
        let coming = Coming::start();
        (sleepers_are_equal((ms(3), ms(1))), coming.end())
    });
    println!("# {walks:?} walks");
    ktap.check(
        "so they have while CPUs come and go",
        equal && walks.is_some(),
    );
}

/// Returns whether half as many threads again as there are CPUs, and one or two more, have equal
/// time if they compute and sleep by `script`. They are an odd number, so that the CPUs can't
/// have equally many.
fn sleepers_are_equal(script: Script) -> bool {
    let cpus = all_cpus().count();
    let team = Team::sleepers((cpus + cpus / 2 + 1) | 1, script);
    let equal = are_equal(&team, SECOND, |mean| NORMAL_SLICE + mean / 20);
    team.end();
    equal
}

/// A thread for each of two CPUs, one of which a realtime thread takes for less than a slice
/// at a time.
pub(crate) fn beside(ktap: &mut Ktap) {
    let right = as_boss(|| {
        let pair = CpuMask::of(CpuId::BOOT).or(&CpuMask::of(last_cpu()));
        let realtime = Worker::with_script(on(last_cpu()).class(fifo(10)), (ms(3), ms(2)));
        let team = Team::equals(2, &Builder::new().affinity(pair));
        let equal = are_equal(&team, WINDOW, |mean| 2 * NORMAL_SLICE + mean / 10);
        team.end();
        realtime.end();
        equal
    });
    ktap.check(
        "equal threads have equal time if a realtime thread takes a part of a CPU",
        right,
    );
}

/// A thread of niceness 19, whose weight is 15, beside one of 1024: its share is 1.4 %.
pub(crate) fn light(ktap: &mut Ktap) {
    let part = as_boss(|| {
        let busy = Worker::start(on(last_cpu()));
        let light = Builder::new()
            .affinity(CpuMask::of(last_cpu()))
            .nice(Nice::MAX);
        let light = Worker::with_script(light, (ms(1), Duration::from_micros(100)));
        let team = Team::of([busy, light]);
        let times = times(&team, WINDOW);
        println!("# {times:?}");
        team.end();
        times[1]
    });
    ktap.check(
        "a nice thread gains nothing by sleeping now and then",
        Duration::ZERO < part && part < WINDOW / 30,
    );
}
