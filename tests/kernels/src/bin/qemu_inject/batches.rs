//! A failure on one CPU of a batch that goes: it stays, and the others go.

use stillpoint::api;
use stillpoint::api::hotplug::cpus_down;
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::hotplug::{CpuDownError, Place, StepError};
use stillpoint::kernel::kernel;

use kernel_support::ktap::Ktap;
use kernel_support::machine::secondaries;
use kernel_support::unharmed::same;

use crate::program::Steps;
use crate::{at_rest, hotplug, is_on, some_secondaries};

/// Fails at each step that can fail on the way down, and at each instance of a program's steps.
pub(crate) fn all(ktap: &mut Ktap) {
    let steps = Steps::install(Place::Enable);
    let table = hotplug().steps();
    let fixed = (0..table.len()).filter(|row| table[*row].teardown.may_fail());
    let fixed = fixed.map(|row| (row, 0));
    let seats = steps.seats().map(|seat| (seat.row, seat.instance));
    let sound = fixed.chain(seats).all(|(row, instance)| {
        let mut cpus = some_secondaries().into_iter();
        cpus.all(|cpu| one_fails(cpu, row, instance) & steps.agrees() && cycle() & steps.agrees())
    });
    ktap.check(
        "one that fails stays, and all others of its batch go",
        sound,
    );
    ktap.check("the steps are removed", steps.remove());
}

fn one_fails(cpu: CpuId, row: usize, instance: usize) -> bool {
    let injected = match hotplug().steps()[row].is_slot() {
        true => hotplug().inject_instance(cpu, row, instance),
        false => hotplug().inject_failure(cpu, Some(row)),
    };
    let failed = CpuDownError::Step {
        cpu,
        step: hotplug().step_name(row),
        error: StepError::Injected,
    };
    let batch: CpuMask = secondaries().into_iter().collect();
    let gone = cpus_down(&batch);
    let error = gone.as_ref().err();
    let stays: CpuMask = [CpuId::BOOT, cpu].into_iter().collect();
    same("injected", injected, Ok(()))
        & same(
            "failed",
            error.map(|error| error.cpus()),
            Some(CpuMask::of(cpu)),
        )
        & same("why", error.and_then(|error| error.of(cpu)), Some(&failed))
        & at_rest(&stays)
}

/// Takes all secondaries down at once, and brings all up.
fn cycle() -> bool {
    let batch: CpuMask = secondaries().into_iter().collect();
    let down = same("down", cpus_down(&batch), Ok(())) & at_rest(&CpuMask::of(CpuId::BOOT));
    let mut all = kernel().masks.possible().iter();
    down & all.all(|cpu| same("up", api::cpu_up(cpu), Ok(()))) & is_on()
}
