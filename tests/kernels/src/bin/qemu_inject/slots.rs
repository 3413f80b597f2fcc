//! Failures of steps that a program has installed: each instance, each direction, and one on the
//! way back from another.

use stillpoint::api;
use stillpoint::cpu::CpuId;
use stillpoint::hotplug::{CpuDownError, CpuUpError, Left, Place, StepError};
use stillpoint::trace::Direction::{Down, Up};

use kernel_support::ktap::Ktap;
use kernel_support::unharmed::same;

use crate::program::{Seat, Steps};
use crate::{cycles, hotplug, is_off, is_on, some_secondaries};

/// Fails at each seat of both groups.
pub(crate) fn all(ktap: &mut Ktap) {
    let steps = Steps::install(Place::Prep);
    let up = each(&steps, |cpu, seat| fails_up(&steps, cpu, seat));
    ktap.check("each instance of steps before the CPU's start fails", up);
    ktap.check("all of them are removed", steps.remove());

    let steps = Steps::install(Place::Enable);
    let up = each(&steps, |cpu, seat| fails_up(&steps, cpu, seat));
    ktap.check("each instance of steps on the CPU fails on the way up", up);
    let down = each(&steps, |cpu, seat| fails_down(&steps, cpu, seat));
    ktap.check("and on the way down", down);
    let back = each(&steps, |cpu, seat| {
        let mut below = steps.seats().take(seat.number);
        below.all(|second| fails_on_the_way_back_from_up(&steps, cpu, seat, second))
    });
    ktap.check("and another one on the way back down", back);
    let back = each(&steps, |cpu, seat| {
        let mut above = steps.seats().skip(seat.number + 1);
        above.all(|second| fails_on_the_way_back_from_down(&steps, cpu, seat, second))
    });
    ktap.check("and another one on the way back up", back);
    ktap.check("all of them are removed", steps.remove());
}

/// Calls `fail_fn` with each seat and some CPUs, each followed by a cycle without a failure.
fn each(steps: &Steps, fail_fn: impl Fn(CpuId, Seat) -> bool) -> bool {
    steps.seats().all(|seat| {
        let mut cpus = some_secondaries().into_iter();
        cpus.all(|cpu| fail_fn(cpu, seat) & steps.agrees() && cycles(cpu) & steps.agrees())
    })
}

fn inject(cpu: CpuId, seat: Seat) -> bool {
    let injected = hotplug().inject_instance(cpu, seat.row, seat.instance);
    same("injected", injected, Ok(()))
}

fn fails_up(steps: &Steps, cpu: CpuId, seat: Seat) -> bool {
    let failed = CpuUpError::Step {
        cpu,
        step: hotplug().step_name(seat.row),
        error: StepError::Injected,
    };
    same("down", api::cpu_down(cpu), Ok(()))
        & inject(cpu, seat)
        & same("up", api::cpu_up(cpu), Err(failed))
        & is_off(cpu)
        & steps.agrees()
        & same("up", api::cpu_up(cpu), Ok(()))
        & is_on()
}

fn fails_down(steps: &Steps, cpu: CpuId, seat: Seat) -> bool {
    let failed = CpuDownError::Step {
        cpu,
        step: hotplug().step_name(seat.row),
        error: StepError::Injected,
    };
    inject(cpu, seat) & same("down", api::cpu_down(cpu), Err(failed)) & is_on() & steps.agrees()
}

/// `seat` fails on the way up, and `second` refuses to be taken back: the CPU rests there.
fn fails_on_the_way_back_from_up(steps: &Steps, cpu: CpuId, seat: Seat, second: Seat) -> bool {
    let mut sound = same("down", api::cpu_down(cpu), Ok(())) & inject(cpu, seat);
    steps.refuse(second, Down, cpu);
    let failed = api::cpu_up(cpu);
    let Err(CpuUpError::NotUndone { step, left, .. }) = failed else {
        return same("up", failed, Ok(())) & false;
    };
    sound &= same("failed", step, hotplug().step_name(seat.row));
    sound &= rests(steps, left, second.number + 1);
    goes_on(cpu, second) & sound
}

/// `seat` refuses on the way down, and `second` fails to be started again: the CPU rests before
/// it.
fn fails_on_the_way_back_from_down(steps: &Steps, cpu: CpuId, seat: Seat, second: Seat) -> bool {
    let mut sound = inject(cpu, seat);
    steps.refuse(second, Up, cpu);
    let failed = api::cpu_down(cpu);
    let Err(CpuDownError::NotUndone { step, left, .. }) = failed else {
        return same("down", failed, Ok(())) & false;
    };
    sound &= same("failed", step, hotplug().step_name(seat.row));
    sound &= rests(steps, left, second.number);
    goes_on(cpu, second) & sound
}

/// Returns whether a CPU was left where it is past `number` seats.
fn rests(steps: &Steps, left: Left, number: usize) -> bool {
    let Left::HalfWay(last) = left else {
        return same("half way", false, true);
    };
    same("left at", last.name(), steps.last_below(number))
}

/// Has the CPU go on from where it rests, up or down.
fn goes_on(cpu: CpuId, from: Seat) -> bool {
    if from.number.is_multiple_of(2) {
        return same("up", api::cpu_up(cpu), Ok(())) & is_on();
    }
    same("down", api::cpu_down(cpu), Ok(()))
        & is_off(cpu)
        & same("up", api::cpu_up(cpu), Ok(()))
        & is_on()
}
