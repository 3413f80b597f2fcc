//! Each refusal and each failure is a typed error with Linux's errno name, and leaves the machine
//! unharmed.

//@ smp: 1 2 4 8

#![no_std]
#![no_main]

stillpoint::entry!(main);

extern crate alloc;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use kernel_support::ktap::Ktap;
use kernel_support::unharmed::{cpu, same, unharmed};
use stillpoint::api;
use stillpoint::config::MAX_CPUS;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::hotplug::{
    ALL_UP, CpuDownError, CpuHealth, CpuUpError, FailError, Handshake, Hotplug, HotplugHost,
    Parked, Quarantine, StepError, SyncState,
};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::{Platform, PowerState};
use stillpoint::sync::atomic::{AtomicBool, Ordering};
use stillpoint::time::Instant;

/// The name of a check, and its function, which returns whether it passes.
type Case = (&'static str, fn() -> bool);

/// The checks for any machine.
const ALONE: &[Case] = &[
    ("a CPU that does not exist: EINVAL", no_such_cpu),
    ("the boot CPU leaves, unless it is alone: EBUSY", boot_cpu),
    ("a failure where none can be: refused", no_injection),
];

/// The checks with a second CPU. Their order matters: some continue where the last one ended.
const TOGETHER: &[Case] = &[
    ("up again, down again: nothing happens", twice_is_once),
    ("a thread is bound to it: EBUSY", bound_thread),
    ("a step fails on the way up: EAGAIN", fails_on_the_way_up),
    (
        "a step fails on the way down: EAGAIN",
        fails_on_the_way_down,
    ),
    ("a failure waits for a side that can fail", failure_waits),
    (
        "dismissed before it arrived: it is OFF",
        dismissed_on_its_way,
    ),
    ("a CPU never arrives: EIO, twice", never_arrives),
    ("it arrives after that: off by itself", arrives_late),
    ("it arrives within a retry: it comes up", arrives_in_a_retry),
    ("all others gone: the last one stays, EBUSY", last_one_stays),
];

/// The CPU whose operations fail.
fn victim() -> CpuId {
    cpu(1)
}

fn main() {
    let together: &[Case] = if kernel().masks.possible().count() > 1 {
        TOGETHER
    } else {
        &[]
    };
    let mut ktap = Ktap::new();
    for (name, case_fn) in ALONE.iter().chain(together) {
        let sound = case_fn();
        ktap.check(name, sound & same("unharmed", unharmed(victim()), true));
    }
    ktap.finish();
}

fn hotplug() -> &'static Hotplug<Hw> {
    &kernel().hotplug
}

/// The index of the step `name`.
fn step(name: &str) -> Option<usize> {
    hotplug().steps().iter().position(|step| step.name == name)
}

fn handshake() -> SyncState {
    Handshake(Hw::handshake_word(victim())).state()
}

/// Returns whether `check_fn` returns true within a minute, which is enough for slow hosts.
fn soon(check_fn: impl Fn() -> bool) -> bool {
    let minute = Hw::frequency().duration_to_ticks(Duration::from_secs(60));
    let limit: Instant = Hw::now().after_ticks(minute);
    while Hw::now() < limit {
        if check_fn() {
            return true;
        }
        api::sleep(Duration::from_millis(1));
    }
    false
}

/// Returns whether the victim is offline, and also off for firmware and dead in the handshake.
fn is_off() -> bool {
    same("steps up", hotplug().state(victim()).state(), 0)
        & same("handshake", handshake(), SyncState::Dead)
        & same("power", Hw::power_state(victim()), Ok(PowerState::Off))
        & same("health", is_well(hotplug().health(victim())), true)
}

/// Returns whether a CPU has gone off as it should: by firmware, or into the pen on a machine
/// without firmware.
fn is_well(health: CpuHealth) -> bool {
    matches!(
        health,
        CpuHealth::Off | CpuHealth::Parked(Parked::NoFirmware)
    )
}

/// Returns whether the victim leaves and comes back.
fn cycles() -> bool {
    same("down", api::cpu_down(victim()), Ok(()))
        & is_off()
        & same("up", api::cpu_up(victim()), Ok(()))
        & same("steps up", hotplug().state(victim()).state(), ALL_UP)
}

fn no_such_cpu() -> bool {
    let first = kernel().masks.possible().count();
    [first, MAX_CPUS - 1].into_iter().all(|number| {
        let up = CpuUpError::NoSuchCpu(number);
        let down = CpuDownError::NoSuchCpu(number);
        same("up", api::cpu_up(cpu(number)), Err(up))
            & same("errno", up.errno().name(), "EINVAL")
            & same("down", api::cpu_down(cpu(number)), Err(down))
            & same("errno", down.errno().name(), "EINVAL")
            & same("possible", hotplug().possible(number), None)
    }) & same("possible", hotplug().possible(MAX_CPUS), None)
}

fn boot_cpu() -> bool {
    let alone = kernel().masks.online().count() == 1;
    let refused = CpuDownError::LastOnline(CpuId::BOOT);
    let wanted = if alone { Err(refused) } else { Ok(()) };
    same("down", api::cpu_down(CpuId::BOOT), wanted)
        & same("errno", refused.errno().name(), "EBUSY")
        & same("up", api::cpu_up(CpuId::BOOT), Ok(()))
}

fn no_injection() -> bool {
    let steps = hotplug().steps();
    let refused: Vec<&str> = steps
        .iter()
        .enumerate()
        .filter(|(step, _)| {
            let answer = hotplug().inject_failure(CpuId::BOOT, Some(*step));
            let taken_back = hotplug().inject_failure(CpuId::BOOT, None);
            assert!(taken_back.is_ok(), "BUG: {taken_back:?}");
            answer == Err(FailError::CannotFail)
        })
        .map(|(_, step)| step.name)
        .collect();
    let wanted: Vec<&str> = steps
        .iter()
        .filter(|step| !step.is_slot() && !step.startup.may_fail() && !step.teardown.may_fail())
        .map(|step| step.name)
        .collect();
    same("refused", &refused, &wanted)
        & same(
            "beyond the table",
            hotplug().inject_failure(CpuId::BOOT, Some(steps.len())),
            Err(FailError::NoSuchStep),
        )
        & same("injected", hotplug().state(CpuId::BOOT).injected(), None)
}

fn twice_is_once() -> bool {
    let passed = || {
        let state = hotplug().state(victim());
        (0..ALL_UP).map(|step| state.passages(step)).collect()
    };
    let before: Vec<_> = passed();
    let mut sound = same("up", api::cpu_up(victim()), Ok(()));
    sound &= same("passages", passed(), before);
    sound &= same("down", api::cpu_down(victim()), Ok(()));
    let before = passed();
    sound &= same("down again", api::cpu_down(victim()), Ok(()));
    sound &= same("passages", passed(), before);
    sound & is_off() & same("up", api::cpu_up(victim()), Ok(()))
}

fn bound_thread() -> bool {
    let end = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&end);
    let bound = api::spawn_on(victim(), "bound", move || {
        while !ended.load(Ordering::Relaxed) {
            api::sleep(Duration::from_millis(1));
        }
        Hw::this_cpu()
    });
    let Ok(bound) = bound else {
        return false;
    };
    let wanted = CpuDownError::BoundThreads {
        cpu: victim(),
        threads: 1,
    };
    let mut sound = same("down", api::cpu_down(victim()), Err(wanted))
        & same("errno", wanted.errno().name(), "EBUSY")
        & same("online", kernel().masks.is_online(victim()), true)
        & same("active", kernel().masks.is_active(victim()), true);
    end.store(true, Ordering::Relaxed);
    sound &= same("it ran on", bound.join(), victim());
    sound & cycles()
}

/// Returns whether the victim fails with an injected error at `step`, as `EAGAIN`.
fn up_fails_at(step: &'static str) -> bool {
    let wanted = CpuUpError::Step {
        cpu: victim(),
        step: step.into(),
        error: StepError::Injected,
    };
    same("up", api::cpu_up(victim()), Err(wanted))
        & same("errno", wanted.errno().name(), "EAGAIN")
        & same("injected", hotplug().state(victim()).injected(), None)
}

fn fails_on_the_way_up() -> bool {
    let mut sound = same("down", api::cpu_down(victim()), Ok(()));
    let mut tried = Vec::new();
    for (index, step) in hotplug().steps().iter().enumerate() {
        if step.startup.may_fail() {
            sound &= same(
                step.name,
                hotplug().inject_failure(victim(), Some(index)),
                Ok(()),
            );
            // The victim is OFF at once, because control has waited for that.
            sound &= up_fails_at(step.name) & is_off();
            sound &= unharmed(victim());
            sound &= same("up", api::cpu_up(victim()), Ok(())) & cycles();
            sound &= same("down", api::cpu_down(victim()), Ok(()));
            tried.push(step.name);
        }
    }
    // Both ends of the way up are tried, whatever lies between.
    sound &= same("prep:percpu", tried.contains(&"prep:percpu"), true);
    sound &= same("sched:threads", tried.contains(&"sched:threads"), true);
    sound & same("up", api::cpu_up(victim()), Ok(()))
}

fn fails_on_the_way_down() -> bool {
    let mut sound = true;
    let mut tried = Vec::new();
    for (index, step) in hotplug().steps().iter().enumerate() {
        if step.teardown.may_fail() {
            let wanted = CpuDownError::Step {
                cpu: victim(),
                step: step.name.into(),
                error: StepError::Injected,
            };
            sound &= same(
                step.name,
                hotplug().inject_failure(victim(), Some(index)),
                Ok(()),
            );
            sound &= same("down", api::cpu_down(victim()), Err(wanted));
            sound &= same("errno", wanted.errno().name(), "EAGAIN");
            sound &= same("steps up", hotplug().state(victim()).state(), ALL_UP);
            sound &= same("active", kernel().masks.is_active(victim()), true);
            sound &= unharmed(victim()) & cycles();
            tried.push(step.name);
        }
    }
    sound & same("sched:threads", tried.contains(&"sched:threads"), true)
}

fn failure_waits() -> bool {
    // prep:percpu can fail on the way up only.
    let injected = hotplug().inject_failure(victim(), step("prep:percpu"));
    let mut sound = same("injected", injected, Ok(()));
    sound &= same("down", api::cpu_down(victim()), Ok(()));
    sound &= up_fails_at("prep:percpu") & is_off();
    sound & same("up", api::cpu_up(victim()), Ok(()))
}

/// Starts a thread that lets the victim go on once its handshake is `state`; the thread returns
/// whether it was.
fn let_go_at(state: SyncState) -> Option<api::JoinHandle<bool>> {
    api::spawn_on(CpuId::BOOT, "lets go", move || {
        let seen = soon(|| handshake() == state);
        hotplug().hold_at_entry(victim(), false);
        seen
    })
    .ok()
}

fn dismissed_on_its_way() -> bool {
    let mut sound = same("down", api::cpu_down(victim()), Ok(()));
    hotplug().hold_at_entry(victim(), true);
    let Some(lets_go) = let_go_at(SyncState::Cancelled) else {
        return false;
    };
    let injected = hotplug().inject_failure(victim(), step("prep:percpu"));
    sound &= same("injected", injected, Ok(()));
    sound &= up_fails_at("prep:percpu") & is_off();
    sound &= same("it was CANCELLED", lets_go.join(), true);
    sound & same("up", api::cpu_up(victim()), Ok(()))
}

/// Returns whether control gives up a CPU that is held.
fn is_given_up() -> bool {
    let wanted = CpuUpError::Step {
        cpu: victim(),
        step: "sync:alive".into(),
        error: StepError::NeverArrived,
    };
    same("up", api::cpu_up(victim()), Err(wanted))
        & same("errno", wanted.errno().name(), "EIO")
        & same("steps up", hotplug().state(victim()).state(), 0)
        & (Hw::power_state(victim()) != Ok(PowerState::Off))
        & same(
            "health",
            hotplug().health(victim()),
            CpuHealth::Unknown(Quarantine::NeverArrived),
        )
}

/// Leaves the victim held.
fn never_arrives() -> bool {
    let mut sound = same("down", api::cpu_down(victim()), Ok(()));
    hotplug().hold_at_entry(victim(), true);
    hotplug().set_arrival_limit(Duration::from_millis(100));
    sound &= is_given_up();
    let quarantined = same("online", kernel().masks.is_online(victim()), false);
    let wanted = CpuDownError::Quarantined {
        cpu: victim(),
        quarantine: Quarantine::NeverArrived,
    };
    sound &= same("down", api::cpu_down(victim()), Err(wanted));
    sound &= same("errno", wanted.errno().name(), "EBUSY");
    sound & quarantined & is_given_up()
}

/// Finds the victim held, and given up.
fn arrives_late() -> bool {
    hotplug().set_arrival_limit(Duration::from_secs(60));
    hotplug().hold_at_entry(victim(), false);
    let off = || handshake() == SyncState::Dead && Hw::power_state(victim()) == Ok(PowerState::Off);
    same("it turns itself off", soon(off), true)
        & is_off()
        & same("up", api::cpu_up(victim()), Ok(()))
        & cycles()
}

fn arrives_in_a_retry() -> bool {
    let mut sound = same("down", api::cpu_down(victim()), Ok(()));
    hotplug().hold_at_entry(victim(), true);
    hotplug().set_arrival_limit(Duration::from_millis(100));
    sound &= is_given_up();
    hotplug().set_arrival_limit(Duration::from_secs(60));
    let Some(lets_go) = let_go_at(SyncState::Kicked) else {
        return false;
    };
    sound &= same("up", api::cpu_up(victim()), Ok(()));
    sound &= same("it was KICKED", lets_go.join(), true);
    sound & cycles()
}

fn last_one_stays() -> bool {
    let others: Vec<CpuId> = kernel()
        .masks
        .online()
        .iter()
        .filter(|other| *other != CpuId::BOOT)
        .collect();
    let mut sound = true;
    for other in &others {
        sound &= same("down", api::cpu_down(*other), Ok(()));
    }
    let alone = CpuMask::of(CpuId::BOOT);
    sound &= same("online", kernel().masks.online(), alone);
    let wanted = CpuDownError::LastOnline(CpuId::BOOT);
    sound &= same("down", api::cpu_down(CpuId::BOOT), Err(wanted));
    sound &= same("errno", wanted.errno().name(), "EBUSY");
    sound &= unharmed(victim());
    for other in &others {
        sound &= same("up", api::cpu_up(*other), Ok(()));
    }
    sound
}
