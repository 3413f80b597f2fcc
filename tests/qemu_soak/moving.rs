//! Workers that move CPUs, move between them, or call them.

use alloc::sync::Arc;
use core::time::Duration;

use stillpoint::api;
use stillpoint::api::thread;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::platform::Platform;
use stillpoint::start::{Hw, kernel};
use stillpoint::sync::atomic::{AtomicU64, Ordering};

use crate::machine::{secondaries, spin_for};
use crate::world::World;
use crate::xorshift::Random;

fn any_cpu(random: &mut Random) -> CpuId {
    let number = random.below(kernel().masks.possible().count());
    CpuId::new(number).expect("a CPU of this machine")
}

/// Takes CPUs down and brings them up, and stops the machine.
pub(crate) fn hotplug(world: &World, mut random: Random) {
    let others = secondaries();
    while world.goes_on() {
        if !others.is_empty() {
            let cpu = others[random.below(others.len())];
            if kernel().masks.is_online(cpu) {
                let left = api::cpu_down(cpu);
                world.must(left.is_ok(), format_args!("CPU{cpu} down: {left:?}"));
                world.downs.add(1);
            } else {
                let came = api::cpu_up(cpu);
                world.must(came.is_ok(), format_args!("CPU{cpu} up: {came:?}"));
                world.ups.add(1);
            }
        }
        if random.below(4) == 0 {
            let stopped = api::stop_machine(|| kernel().masks.online().count());
            let online = kernel().masks.online().count();
            world.must(
                stopped == Ok(online),
                format_args!("a stop of {stopped:?} CPUs, {online} are online"),
            );
            world.stops.add(1);
        }
        thread::sleep(Duration::from_micros(random.below(3000) as u64));
    }
}

/// Computes without ever giving its CPU away, between moves of its own.
pub(crate) fn compute(world: &World, mut random: Random) {
    while world.goes_on() {
        match random.below(4) {
            0 => {
                let kept = thread::migrate_disable();
                let here = thread::current_cpu_racy();
                thread::sleep(Duration::from_micros(random.below(300) as u64));
                let now = thread::current_cpu_racy();
                world.must(
                    here == kept.cpu() && now == here,
                    format_args!("kept on {here:?}, found on {now:?}"),
                );
            }
            1 => {
                let mut cpus = CpuMask::of(CpuId::BOOT);
                cpus.insert(any_cpu(&mut random));
                let moved = thread::current().set_affinity(&cpus);
                world.must(moved.is_ok(), format_args!("affinity {cpus}: {moved:?}"));
            }
            2 => {
                let anywhere = kernel().masks.possible();
                let moved = thread::current().set_affinity(anywhere);
                world.must(moved.is_ok(), format_args!("affinity: {moved:?}"));
            }
            _ => {
                let mut sum = 0_u64;
                for number in 0..20_000 + random.below(40_000) as u64 {
                    sum = core::hint::black_box(sum.wrapping_mul(31).wrapping_add(number));
                }
                spin_for(Duration::from_micros(random.below(500) as u64));
            }
        }
        world.computed.add(1);
    }
}

/// Calls CPUs, some of which are not there.
pub(crate) fn call(world: &World, mut random: Random) {
    let ran = Arc::new(AtomicU64::new(0));
    let mut accepted = 0;
    while world.goes_on() {
        let cpu = any_cpu(&mut random);
        match random.below(3) {
            0 => match api::call_on(cpu, Hw::this_cpu) {
                Ok(on) => {
                    world.must(on == cpu, format_args!("called {cpu:?}, ran on {on:?}"));
                    world.called.add(1);
                    world.executed.add(1);
                }
                Err(_) => world.refused.add(1),
            },
            1 => {
                let ran = Arc::clone(&ran);
                let counts = move || {
                    ran.fetch_add(1, Ordering::Relaxed);
                };
                match api::call_on_nowait(cpu, counts) {
                    Ok(()) => accepted += 1,
                    Err(_) => world.refused.add(1),
                }
            }
            _ => {
                let runs = AtomicU64::new(0);
                let called = api::on_each_cpu(|_| {
                    runs.fetch_add(1, Ordering::Relaxed);
                });
                let runs = runs.load(Ordering::Relaxed);
                world.called.add(called.count() as u64);
                world.executed.add(runs);
            }
        }
        if random.below(8) == 0 {
            thread::yield_now();
        }
    }
    let all_ran = crate::machine::eventually(|| ran.load(Ordering::Relaxed) == accepted);
    world.must(
        all_ran,
        format_args!("{accepted} calls accepted, {ran:?} have run"),
    );
    world.called.add(accepted);
    world.executed.add(ran.load(Ordering::Relaxed));
}
