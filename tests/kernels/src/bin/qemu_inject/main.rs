//! A failure is injected into each step that can fail, in each direction, on each secondary. The
//! walk is reversed, the CPU goes down and up without a failure, and memory use is as before. So
//! also for steps of a program and each of their instances, on the way back from another failure,
//! and for one CPU of a batch.

//@ smp: 2 4 8 20
//@ timeout: 240

#![no_std]
#![no_main]

extern crate alloc;

mod batches;
mod program;
mod slots;

stillpoint::entry!(main);

use alloc::format;
use alloc::vec::Vec;

use stillpoint::api;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::hotplug::{
    CpuDownError, CpuHealth, CpuUpError, FailError, Handshake, Hotplug, HotplugHost, Parked,
    StepError, SyncState,
};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::PowerState;

use kernel_support::ktap::Ktap;
use kernel_support::machine::{masks_say, secondaries, states_say};
use kernel_support::memory::InUse;
use kernel_support::unharmed::same;

/// Steps that can fail on the way up. The list is repeated here, so that a step that loses
/// its ability to fail is noticed. A new step needs no line.
const UP: &[&str] = &[
    "prep:hardware",
    "prep:percpu",
    "prep:threads",
    "sync:alive",
    "sched:threads",
];
/// The steps that can fail on the way down.
const DOWN: &[&str] = &["sched:threads"];

fn main() {
    let table = hotplug().steps();
    let mut ktap = Ktap::new();
    // The first cycle of a CPU allocates memory that it keeps for ever.
    ktap.check(
        "every CPU leaves and comes back",
        secondaries().into_iter().all(cycles),
    );
    // This test's own memory is in use from the start.
    let mut up = Vec::with_capacity(table.len());
    let mut down = Vec::with_capacity(table.len());
    let before = InUse::settled();
    let fixed = table.iter().enumerate().filter(|(_, step)| !step.is_slot());
    for (index, step) in fixed {
        let name = step.name;
        for (way, may_fail, failed, walk_fn) in [
            (
                "up",
                step.startup.may_fail(),
                &mut up,
                walk_up as fn(CpuId, usize) -> bool,
            ),
            ("down", step.teardown.may_fail(), &mut down, walk_down),
        ] {
            let what = if may_fail { "fails" } else { "can't fail" };
            if may_fail {
                failed.push(name);
            }
            let as_told = secondaries()
                .into_iter()
                .all(|cpu| walk_fn(cpu, index) && cycles(cpu));
            ktap.check(&format!("{name} {what} on the way {way}"), as_told);
            let back = before.is_back();
            ktap.check("as much heap and as many stacks in use as before", back);
            if !back {
                // Every later check would wait as long and fail too.
                ktap.bail_out("the rest of a failed operation hides later failures");
            }
        }
    }
    let left_out = |wanted: &[&'static str], failed: &[&str]| -> Vec<&str> {
        let missing = wanted.iter().filter(|name| !failed.contains(name));
        missing.copied().collect()
    };
    ktap.check(
        "all that can fail has failed",
        same("left out on the way up", left_out(UP, &up), Vec::new())
            & same("on the way down", left_out(DOWN, &down), Vec::new()),
    );
    slots::all(&mut ktap);
    batches::all(&mut ktap);
    let back = before.is_back();
    ktap.check("as much heap and as many stacks in use as before", back);
    ktap.finish()
}

/// Returns the secondaries, or three of them if there are many.
fn some_secondaries() -> Vec<CpuId> {
    let all = secondaries();
    match all.len() {
        0..=7 => all,
        many => [0, many / 2, many - 1].map(|at| all[at]).into(),
    }
}

fn hotplug() -> &'static Hotplug<Hw> {
    &kernel().hotplug
}

/// Injects a failure of `cpu` at `step`; returns whether one can be there, on
/// the way up or down.
fn inject(cpu: CpuId, step: usize) -> Option<bool> {
    match hotplug().inject_failure(cpu, Some(step)) {
        Ok(()) => Some(true),
        Err(FailError::CannotFail) => Some(false),
        Err(_) => None,
    }
}

/// Returns whether the injection has the result that the table demands for this side, given the
/// other side.
fn injects(cpu: CpuId, step: usize) -> bool {
    let step_of = &hotplug().steps()[step];
    let wanted = step_of.startup.may_fail() || step_of.teardown.may_fail();
    same("injected", inject(cpu, step), Some(wanted))
}

/// Returns whether a failure that has not happened is still injected (if the side can fail),
/// and can be removed.
fn takes_back(cpu: CpuId, step: usize) -> bool {
    let step_of = &hotplug().steps()[step];
    let waits = step_of.startup.may_fail() || step_of.teardown.may_fail();
    let state = hotplug().state(cpu);
    same("it waits", state.injected(), waits.then_some(step))
        & same("taken back", hotplug().inject_failure(cpu, None), Ok(()))
        & same("injected", state.injected(), None)
}

/// Takes `cpu` down and up again with a failure at `step` on the way up;
/// whether what happens is what should. It is up then.
fn walk_up(cpu: CpuId, step: usize) -> bool {
    let may_fail = hotplug().steps()[step].startup.may_fail();
    let mut sound = same("down", api::cpu_down(cpu), Ok(())) & is_off(cpu);
    sound &= injects(cpu, step);
    if may_fail {
        let error = CpuUpError::Step {
            cpu,
            step: hotplug().step_name(step),
            error: StepError::Injected,
        };
        // The CPU is OFF at once, because control has waited for that.
        sound &= same("up", api::cpu_up(cpu), Err(error)) & is_off(cpu);
        sound &= same("injected", hotplug().state(cpu).injected(), None);
    }
    sound &= same("up", api::cpu_up(cpu), Ok(())) & is_on();
    sound & (may_fail || takes_back(cpu, step))
}

/// As [`walk_up`], with the failure on the way down.
fn walk_down(cpu: CpuId, step: usize) -> bool {
    let mut sound = injects(cpu, step);
    if hotplug().steps()[step].teardown.may_fail() {
        let error = CpuDownError::Step {
            cpu,
            step: hotplug().step_name(step),
            error: StepError::Injected,
        };
        sound &= same("down", api::cpu_down(cpu), Err(error)) & is_on();
        return sound & same("injected", hotplug().state(cpu).injected(), None);
    }
    sound &= same("down", api::cpu_down(cpu), Ok(())) & is_off(cpu);
    sound &= takes_back(cpu, step);
    sound & same("up", api::cpu_up(cpu), Ok(())) & is_on()
}

/// Returns whether `cpu`, without a failure, leaves and comes back.
fn cycles(cpu: CpuId) -> bool {
    same("down", api::cpu_down(cpu), Ok(()))
        & is_off(cpu)
        & same("up", api::cpu_up(cpu), Ok(()))
        & is_on()
}

/// Returns whether `cpu` is offline, for the masks, the counters of every CPU, the
/// handshake and firmware; and all others are online.
fn is_off(cpu: CpuId) -> bool {
    let online = kernel().masks.possible().without(&CpuMask::of(cpu));
    same("steps up", hotplug().state(cpu).state(), 0)
        & at_rest(&online)
        & same(
            "handshake",
            Handshake(Hw::handshake_word(cpu)).state(),
            SyncState::Dead,
        )
        & same("power", Hw::power_state(cpu), Ok(PowerState::Off))
        & same(
            "health",
            matches!(
                hotplug().health(cpu),
                CpuHealth::Off | CpuHealth::Parked(Parked::NoFirmware)
            ),
            true,
        )
}

/// Returns whether all CPUs are online.
fn is_on() -> bool {
    at_rest(kernel().masks.possible())
}

fn at_rest(online: &CpuMask) -> bool {
    same("the masks", masks_say(online), true) & same("the counters", states_say(online), true)
}
