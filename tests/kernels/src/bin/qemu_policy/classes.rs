//! Class and niceness of a thread change while it runs, waits for a CPU, or sleeps; and what
//! it has used is counted.

use core::time::Duration;

use stillpoint::api::thread::{self, Builder, Class, Nice, Thread, Usage};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::kernel::Hw;
use stillpoint::platform::Platform;
use stillpoint::println;

use crate::team::{Team, Worker, all_cpus, as_boss, fifo, ms, on};
use kernel_support::coming::Coming;
use kernel_support::ktap::Ktap;
use kernel_support::machine::{last_cpu, spin_for};

pub(crate) fn classes(ktap: &mut Ktap) {
    ktap.check("main becomes realtime and ordinary again", main_changes());
    ktap.check(
        "a running thread that becomes less urgent loses its CPU at once",
        as_boss(running_falls),
    );
    ktap.check(
        "a waiting thread that becomes more urgent gets a CPU at once",
        as_boss(waiting_rises),
    );
    ktap.check(
        "a sleeping thread wakes with the class that it was given",
        as_boss(sleeping_rises),
    );
    ktap.check("what a thread uses is counted", as_boss(usage));
    let (right, walks) = as_boss(|| {
        let coming = Coming::start();
        let right = (0..10).all(|_| running_falls() && waiting_rises());
        (right, coming.end())
    });
    println!("# {walks:?} walks");
    ktap.check(
        "classes change while CPUs come and go",
        right && walks.is_some(),
    );
}

/// Runs as `main`, an ordinary thread beside realtime threads on all CPUs.
fn main_changes() -> bool {
    let me = thread::current();
    let was_normal = me.class() == Class::Normal;
    me.set_class(fifo(80));
    let hogs = Team::equals(all_cpus().count(), &Builder::new().class(fifo(40)));
    thread::sleep(ms(5));
    let is_urgent = me.class() == fifo(80);
    let before: u64 = hogs.workers().iter().map(Worker::turns).min().unwrap_or(0);
    // Sooner or later a thread above the hogs ends this one's wait.
    let helper_me = me.clone();
    let helper = Builder::new().class(fifo(90)).spawn(move || {
        thread::sleep(ms(20));
        helper_me.set_class(fifo(80));
    });
    let helper = helper.expect("a stack is free");
    let asked = Hw::now();
    me.set_class(Class::Normal);
    let waited = Hw::now().ticks_since(asked);
    let waited = Duration::from_nanos(Hw::frequency().ticks_to_ns(waited));
    helper.join();
    hogs.end();
    me.set_class(Class::Normal);
    me.set_nice(Nice::MAX);
    let nice = me.nice() == Nice::MAX;
    me.set_nice(Nice::default());
    println!("# main was without a CPU for {waited:?}");
    was_normal && is_urgent && nice && before > 0 && waited > ms(15)
}

/// Two realtime threads on the boot CPU, of which the second one waits.
fn one_waits() -> (Worker, Worker) {
    let start = |priority| Worker::start(on(CpuId::BOOT).class(fifo(priority)));
    let both = (start(40), start(30));
    thread::sleep(ms(1));
    both
}

/// Returns whether `change_fn` gives the thread that waits the CPU of the one that runs, at
/// once.
fn changes_places(change_fn: impl FnOnce(&Worker, &Worker)) -> bool {
    let (runs, waits) = one_waits();
    let before = waits.turns();
    waits.mark();
    change_fn(&runs, &waits);
    thread::sleep(ms(1));
    let soon = waits.after_mark();
    let stopped = runs.turns();
    thread::sleep(ms(2));
    let right = before == 0 && soon.is_some_and(|time| time < ms(1)) && runs.turns() == stopped;
    if !right {
        println!("# turns before {before}, it runs after {soon:?}");
    }
    waits.end();
    runs.end();
    right
}

fn running_falls() -> bool {
    changes_places(|runs, _| runs.thread().set_class(fifo(20)))
        && changes_places(|runs, _| runs.thread().set_class(Class::Normal))
}

fn waiting_rises() -> bool {
    changes_places(|_, waits| waits.thread().set_class(fifo(50)))
}

fn sleeping_rises() -> bool {
    let sleeper = on(CpuId::BOOT).spawn(|| {
        thread::park();
        Hw::now()
    });
    let sleeper = sleeper.expect("a stack is free");
    thread::sleep(ms(2));
    let runs = Worker::start(on(CpuId::BOOT).class(fifo(40)));
    thread::sleep(ms(1));
    sleeper.thread().set_class(fifo(50));
    let woken = Hw::now();
    sleeper.thread().unpark();
    thread::sleep(ms(5));
    let in_time = sleeper.is_finished();
    runs.end();
    let late = sleeper.join().ticks_since(woken);
    in_time && late < Hw::frequency().duration_to_ticks(ms(1))
}

fn usage() -> bool {
    let boss = thread::current().set_affinity(&CpuMask::of(CpuId::BOOT));
    boss.expect("it may run there");
    let worker = Worker::start(on(last_cpu()).class(fifo(50)));
    thread::sleep(ms(1));
    let thread = worker.thread();
    let before = thread.usage();
    thread::sleep(ms(20));
    let alone = since(&thread, before);
    let before = thread.usage();
    for _ in 0..5 {
        let above = on(last_cpu()).class(fifo(60));
        let above = above.spawn(|| spin_for(ms(2))).expect("a stack is free");
        above.join();
        thread::sleep(ms(1));
    }
    let disturbed = since(&thread, before);
    let elsewhere = thread.set_affinity(&CpuMask::of(CpuId::BOOT));
    thread::sleep(ms(1));
    let moved = thread.usage().migrations - before.migrations;
    worker.end();
    let sleeper = Builder::new().spawn(|| (0..10).for_each(|_| thread::sleep(ms(1))));
    let sleeper = sleeper.expect("a stack is free");
    let sleeping = sleeper.thread();
    sleeper.join();
    let slept = sleeping.usage();
    println!("# alone {alone:?}");
    println!("# disturbed {disturbed:?}, moved {moved} times");
    println!("# slept {slept:?}");
    (ms(19)..ms(21)).contains(&alone.run_time)
        && alone.preemptions == 0
        && (ms(4)..ms(8)).contains(&disturbed.run_time)
        && disturbed.preemptions == 5
        && disturbed.waits == 0
        && elsewhere.is_ok()
        && moved == 1
        && (10..13).contains(&slept.waits)
        && slept.run_time < ms(3)
}

/// Returns what `thread` has used since it had used `before`.
fn since(thread: &Thread, before: Usage) -> Usage {
    let now = thread.usage();
    Usage {
        run_time: now.run_time - before.run_time,
        waits: now.waits - before.waits,
        preemptions: now.preemptions - before.preemptions,
        migrations: now.migrations - before.migrations,
    }
}
