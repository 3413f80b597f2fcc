//! Each CPU is moved to each place of rest, up and down, and goes on from there. While it rests
//! half way, stops, calls, grace periods and service threads are as its place says.

//@ smp: 1 2 4 8
//@ timeout: 120

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::format;
use alloc::vec::Vec;

use stillpoint::api::hotplug::{
    self, CpuDownError, EnableStep, RestingPlace, TargetError, cpu_set_target, cpu_state_racy,
    cpus_read_lock,
};
use stillpoint::api::thread::spawn_on;
use stillpoint::api::{self, cpu, rcu};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::hotplug::{ALL_UP, ONLINE, UP_TO_ONLINE};
use stillpoint::kernel::kernel;
use stillpoint::sync::atomic::{AtomicU32, Ordering};

use kernel_support::ktap::Ktap;
use kernel_support::machine::{last_cpu, masks_say, secondaries, states_say, stop_takes};
use kernel_support::memory::InUse;
use kernel_support::unharmed::same;

/// On how many CPUs the step of this test is up.
static UP: AtomicU32 = AtomicU32::new(0);

fn main() {
    let mut ktap = Ktap::new();
    let step = EnableStep::new("here")
        .startup(|_| {
            UP.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .teardown(|_| {
            UP.fetch_sub(1, Ordering::Relaxed);
            Ok(())
        })
        .install();
    let step = step.expect("a slot is free");
    let places = hotplug::resting_places();
    let cycled = secondaries().into_iter().all(|cpu| rests(cpu, &places));
    ktap.check("a first time, for memory that is kept", cycled);
    let before = InUse::settled();
    for place in &places {
        let name = place.name;
        let rested = secondaries().into_iter().all(|cpu| {
            // Down to it and up again, up to it and down again, and across it.
            rest_at(cpu, place)
                & same("up", api::cpu_up(cpu), Ok(()))
                & rest_at(cpu, place)
                & same("down", api::cpu_down(cpu), Ok(()))
                & rest_at(cpu, place)
                & places
                    .iter()
                    .all(|other| rest_at(cpu, other) & rest_at(cpu, place))
                & same("up", api::cpu_up(cpu), Ok(()))
        });
        ktap.check(
            &format!("each CPU rests at {name} and goes on from there"),
            rested,
        );
        ktap.check(
            "all are back",
            masks_say(kernel().masks.possible()) & states_say(kernel().masks.possible()),
        );
    }
    ktap.check(
        "as much heap and as many stacks in use as before",
        before.is_back(),
    );
    ktap.check("all rest half way at the same time", all_at_once(&places));
    ktap.check("nothing but a place of rest is taken", refuses(&places));
    let removed = step.remove().is_ok();
    ktap.check(
        "the step was up where CPUs were past it",
        removed && up_on() == 0,
    );
    ktap.finish()
}

fn up_on() -> usize {
    UP.load(Ordering::Relaxed) as usize
}

fn rests(cpu: CpuId, places: &[RestingPlace]) -> bool {
    places.iter().all(|place| rest_at(cpu, place)) & same("up", api::cpu_up(cpu), Ok(()))
}

/// Moves `cpu` to `place`; returns whether all is as it should be there.
fn rest_at(cpu: CpuId, place: &RestingPlace) -> bool {
    let moved = same("moved", cpu_set_target(cpu, place.state), Ok(()));
    let up = place.state.min(ALL_UP);
    let held = cpus_read_lock();
    let is_past = places_past(cpu);
    let others = cpu::possible().without(&CpuMask::of(cpu));
    let mine = |is_in: bool| if is_in { cpu::possible() } else { others };
    let as_told = same("state", cpu_state_racy(cpu), place.state)
        & same("balanced", kernel().hotplug.is_balanced(cpu), true)
        & same("online", held.online(), mine(up >= UP_TO_ONLINE))
        & same("active", held.active(), mine(up == ALL_UP))
        & same("its step", up_on(), others.count() + usize::from(is_past));
    drop(held);
    moved & as_told & works(cpu, up)
}

/// Returns whether `cpu` is past the step of this test.
fn places_past(cpu: CpuId) -> bool {
    let slots = kernel().hotplug.slots();
    let row = slots.iter().find(|(_, step)| step.name().name() == "here");
    row.is_some_and(|(row, _)| kernel().hotplug.state(cpu).state() > row)
}

/// Returns whether stops, calls and grace periods take `cpu`, on which `up` steps are up, if it
/// is online, and threads if it is active.
fn works(cpu: CpuId, up: usize) -> bool {
    let is_online = up >= UP_TO_ONLINE;
    let online = cpu::online_racy();
    rcu::synchronize();
    let here = spawn_on(cpu, "here", cpu::current);
    let ran = here.ok().map(|thread| thread.join());
    same("a stop", stop_takes(&online), true)
        & same(
            "a call",
            cpu::call_on(cpu, cpu::current).ok(),
            is_online.then_some(cpu),
        )
        & same("a thread there", ran, (up == ALL_UP).then_some(cpu))
}

/// Moves the secondaries to different places, runs on, and brings them back.
fn all_at_once(places: &[RestingPlace]) -> bool {
    let mut sound = true;
    for turn in 0..places.len() {
        for (number, cpu) in secondaries().into_iter().enumerate() {
            let place = &places[(turn + number) % places.len()];
            sound &= same("moved", cpu_set_target(cpu, place.state), Ok(()));
            sound &= same("a stop", stop_takes(&cpu::online_racy()), true);
        }
    }
    // With all others half way this is the last CPU that threads are placed on.
    for cpu in secondaries() {
        sound &= same("moved", cpu_set_target(cpu, UP_TO_ONLINE), Ok(()));
    }
    let last = Err(CpuDownError::LastOnline(CpuId::BOOT));
    sound &= same("the last", api::cpu_down(CpuId::BOOT), last);
    for cpu in secondaries() {
        sound &= same("up", api::cpu_up(cpu), Ok(()));
    }
    sound & masks_say(kernel().masks.possible()) & states_say(kernel().masks.possible())
}

/// Returns whether every other state is refused, from both ends, and nothing has changed.
fn refuses(places: &[RestingPlace]) -> bool {
    let is_place = |state: &usize| places.iter().any(|place| place.state == *state);
    let others: Vec<usize> = (0..ONLINE + 2)
        .filter(|state| !is_place(state) && *state != ALL_UP)
        .collect();
    let cpu = last_cpu();
    others.iter().all(|state| {
        let refused = Err(TargetError::NoRestingPlace(*state));
        same("refused", cpu_set_target(cpu, *state), refused)
            & same("state", cpu_state_racy(cpu), ONLINE)
    })
}
