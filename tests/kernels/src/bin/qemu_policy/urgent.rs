//! A realtime thread that loses its CPU runs at once where something less urgent runs.

use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api::cpus_read_lock;
use stillpoint::api::thread::{self, Builder};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::kernel;
use stillpoint::println;

use crate::team::{Team, Worker, all_cpus, as_boss, fifo, ms, on};
use kernel_support::coming::Coming;
use kernel_support::ktap::Ktap;

/// Within this time a thread is to run elsewhere. An ordinary slice is eight times as long.
const AT_ONCE: Duration = Duration::from_micros(500);

/// How often it is looked at while CPUs come and go.
const ROUNDS: usize = 3;

pub(crate) fn urgent(ktap: &mut Ktap) {
    ktap.check(
        "a realtime thread that is preempted runs at once beside an ordinary thread",
        as_boss(|| pushed(&all_cpus())),
    );
    ktap.check(
        "a CPU that turns to something less urgent pulls one that waits",
        as_boss(|| pulled(&all_cpus())),
    );
    ktap.check(
        "so they do on the CPUs that are there when others come and go",
        as_boss(between_walks),
    );
    ktap.check(
        "a CPU that comes pulls it too, and it is pushed off when the CPU goes",
        as_boss(where_cpus_come),
    );
}

/// Starts a thread of FIFO priority 40 on the boot CPU, and lets it go anywhere.
fn movable() -> Worker {
    let movable = Worker::start(on(CpuId::BOOT).name("fifo40").class(fifo(40)));
    thread::sleep(ms(2));
    let anywhere = movable.thread().set_affinity(&all_cpus());
    anywhere.expect("it may run there");
    movable
}

/// Returns whether `worker` makes a turn at once after the mark.
fn runs_at_once(worker: &Worker) -> bool {
    thread::sleep(ms(5));
    let soon = worker.after_mark().is_some_and(|time| time < AT_ONCE);
    if !soon {
        println!("# it runs after {:?}", worker.after_mark());
    }
    soon
}

/// Returns whether a thread that loses the boot CPU goes on elsewhere, beside an ordinary
/// thread on each of `cpus`.
fn pushed(cpus: &CpuMask) -> bool {
    // On the boot CPU the caller would push the thread away before the other one does.
    let last = cpus.iter().last().expect("the boot CPU is there");
    let me = thread::current().set_affinity(&CpuMask::of(last));
    me.expect("it may run there");
    let ordinary = Team::bound(cpus.iter());
    let low = movable();
    let at_first = low.cpu();
    low.mark();
    let high = Worker::start(on(CpuId::BOOT).name("fifo50").class(fifo(50)));
    let soon = runs_at_once(&low);
    let turns = low.turns();
    thread::sleep(ms(20));
    let goes_on = low.turns() > turns && at_first == CpuId::BOOT && low.cpu() != at_first;
    high.end();
    low.end();
    ordinary.end();
    soon && goes_on
}

/// Returns whether each of `cpus` but the boot CPU takes a thread that waits when it turns to an
/// ordinary thread.
fn pulled(cpus: &CpuMask) -> bool {
    let ordinary = Team::bound(cpus.iter());
    let low = movable();
    let above = |cpu| Worker::start(on(cpu).name("fifo60").class(fifo(60)));
    let boot = above(CpuId::BOOT);
    let mut others: Vec<(CpuId, Worker)> = cpus
        .without(&CpuMask::of(CpuId::BOOT))
        .iter()
        .map(|cpu| (cpu, above(cpu)))
        .collect();
    let mut right = true;
    for (cpu, other) in &mut others {
        thread::sleep(ms(2));
        let turns = low.turns();
        thread::sleep(ms(5));
        right &= low.turns() == turns;
        low.mark();
        other.stop();
        right &= runs_at_once(&low) && low.cpu() == *cpu;
        core::mem::replace(other, above(*cpu)).end();
    }
    others.into_iter().for_each(|(_, other)| other.end());
    boot.end();
    low.end();
    ordinary.end();
    right
}

/// Both, on the CPUs that are online, again and again while CPUs come and go in between.
fn between_walks() -> bool {
    let coming = Coming::start();
    let (mut rounds, mut right) = (0, true);
    while right && rounds < ROUNDS {
        let held = cpus_read_lock();
        let online = kernel().masks.online();
        if online.count() > 1 {
            rounds += 1;
            right = pushed(&online) && pulled(&online);
        }
        let anywhere = thread::current().set_affinity(&all_cpus());
        anywhere.expect("it may run there");
        drop(held);
        thread::sleep(ms(2));
    }
    let walks = coming.end();
    println!("# {walks:?} walks in {rounds} rounds");
    right && walks.is_some_and(|walks| walks > 0)
}

/// As many threads as there are CPUs, the least urgent of which waits whenever a CPU is away.
fn where_cpus_come() -> bool {
    let ordinary = Team::bound([CpuId::BOOT]);
    let count = all_cpus().count();
    let others = Team::equals(count - 1, &Builder::new().name("fifo60").class(fifo(60)));
    let low = Worker::start(Builder::new().name("fifo40").class(fifo(40)));
    thread::sleep(ms(5));
    others.workers().iter().for_each(Worker::forget_gap);
    let turns = low.turns();
    let coming = Coming::start();
    thread::sleep(ms(100));
    let walks = coming.end();
    let gap = others.workers().iter().map(Worker::gap).max();
    let low_turns = low.turns() - turns;
    println!("# {walks:?} walks: longest gap {gap:?}, the last one made {low_turns} turns");
    low.mark();
    let runs = runs_at_once(&low);
    others.end();
    low.end();
    ordinary.end();
    walks.is_some() && runs && low_turns > 0 && gap.is_some_and(|gap| gap < ms(4))
}
