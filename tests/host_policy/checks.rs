//! What must be true whenever no CPU has anything left to do.

use std::fmt::Write;

use stillpoint::sched::Class;

use crate::driver::{cpu, sched};
use crate::platform::machine;
use crate::world::{MS, Worker, World};

/// The length of a slice of ordinary threads.
pub(crate) const SLICE: u64 = 4 * MS;

/// By how many slices of its own a thread that comes from another CPU may be behind or
/// before the others: five, and a fifth more because threads move meanwhile.
const CARRIED: f64 = 6.0;

/// Returns what the machine looks like, for a message.
pub(crate) fn picture(world: &World) -> String {
    let mut text = format!(
        "step {}, {} us:{}\n",
        world.steps,
        World::now() / 1000,
        world.last
    );
    for index in 0..world.driver.len() {
        let state = match (world.driver.is_online(index), world.driver.is_active(index)) {
            (false, _) => "off",
            (true, false) => "leaves",
            (true, true) if world.driver.is_idle(index) => "idle",
            (true, true) => "",
        };
        write!(text, "CPU{index} {state}").expect("a string");
        for worker in &world.workers {
            if worker.on == Some(index) || worker.queued_on == Some(index) {
                let how = if worker.on.is_some() { "runs" } else { "waits" };
                write!(
                    text,
                    "\n    {how} {:?} nice {} since {} us on {}",
                    worker.thread,
                    worker.thread.nice(),
                    (World::now() - worker.since) / 1000,
                    worker.thread.affinity(),
                )
                .expect("a string");
            }
        }
        text.push('\n');
    }
    text
}

/// Checks most-urgent-run and none-beside-idle: a thread waits only if no CPU on which it
/// may run is idle or, for a realtime thread, runs something less urgent. While the thread of
/// a CPU forbids preemption, it may be that another thread waits for that CPU.
pub(crate) fn none_waits_in_vain(world: &World) {
    let in_section = |index: usize| machine().cpus[index].is_in_section();
    let waits = |it: &&Worker| it.queued_on.is_some_and(|on| !in_section(on));
    for waiter in world.workers.iter().filter(waits) {
        let level = waiter.thread.class().level();
        let is_realtime = waiter.thread.class() != Class::Normal;
        let affinity = waiter.thread.affinity();
        let may_use =
            |index: &usize| world.driver.is_active(*index) && affinity.contains(cpu(*index));
        for index in (0..world.driver.len()).filter(may_use) {
            if in_section(index) {
                continue;
            }
            if world.driver.is_idle(index) {
                panic!(
                    "none-beside-idle: {:?} waits, CPU{index} is idle\n{}",
                    waiter.thread,
                    picture(world)
                );
            }
            let running = world.workers.iter().find(|it| it.on == Some(index));
            // Where realtime threads have had all that they may have, ordinary ones run.
            let held = sched().holds_realtime_back(cpu(index))
                && running.is_some_and(|it| it.thread.class() == Class::Normal);
            if let Some(running) = running
                && is_realtime
                && !held
                && running.thread.class().level() > level
            {
                panic!(
                    "most-urgent-run: {:?} waits, CPU{index} runs {:?}\n{}",
                    waiter.thread,
                    running.thread,
                    picture(world)
                );
            }
        }
    }
}

/// Checks that `started`, which has got a CPU, waited there for no less long than the others
/// of its realtime level.
pub(crate) fn first_came_first(world: &World, started: usize) {
    let it = &world.workers[started];
    let (Some(on), Class::Realtime(..)) = (it.on, it.thread.class()) else {
        return;
    };
    let mine = if it.queued_on == Some(on) {
        it.order
    } else {
        Some(world.steps)
    };
    let Some(mine) = mine else { return };
    for other in &world.workers {
        let rival = other.queued_on == Some(on)
            && other.waits()
            && other.thread.cpu().index() == on
            && other.thread.class().level() == it.thread.class().level();
        if rival && other.order.is_some_and(|order| order < mine) {
            panic!(
                "first-come-first-served: CPU{on} runs {:?} ({mine}), and {:?} ({:?}) came first\n{}",
                it.thread,
                other.thread,
                other.order,
                picture(world)
            );
        }
    }
}

/// Checks that no ordinary thread of a machine without realtime threads waits for longer
/// than `waits-are-bounded` of `sched::fair` allows.
pub(crate) fn none_starves(world: &World) {
    let weight = |worker: &Worker| 1.25_f64.powi(-i32::from(worker.thread.nice().get()));
    for waiter in world.workers.iter().filter(|it| it.queued_on.is_some()) {
        let behind = CARRIED / weight(waiter).min(1.0);
        let before = |weight: f64| CARRIED * weight.max(1.0);
        let others = world.workers.iter().filter(|it| !std::ptr::eq(*it, waiter));
        let slices = others.map(|other| {
            let weight = weight(other);
            behind * weight + before(weight) + 1.0
        });
        let slices: f64 = slices.sum();
        let waited = World::now() - waiter.since;
        assert!(
            waited as f64 <= slices * SLICE as f64,
            "{:?} has waited for {} us, and {:.0} at most are fair\n{}",
            waiter.thread,
            waited / 1000,
            slices * SLICE as f64 / 1000.0,
            picture(world)
        );
    }
}
