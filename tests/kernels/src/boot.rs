//! Checks that hold after every boot, for either way to call firmware.

use alloc::vec::Vec;

use smccc::psci;
use stillpoint::cpu::CpuId;
use stillpoint::hotplug::RunsOn;
use stillpoint::kernel::kernel;
use stillpoint::println;
use stillpoint::trace::{Direction, Event, Record};

use crate::ktap::Ktap;
use crate::machine::{masks_say, states_say};

/// Checks a machine that has just booted. `C` is the way to call firmware.
pub fn check<C: smccc::Call>(ktap: &mut Ktap) {
    let masks = &kernel().masks;
    let possible = *masks.possible();
    ktap.check(
        "every CPU that firmware has is in the tree's list, and no other",
        firmware_agrees::<C>(),
    );
    ktap.check(
        "every CPU of the tree is online and active",
        masks_say(&possible),
    );
    ktap.check(
        "possible, present, online, active: each holds the next",
        masks.active().is_subset_of(&masks.online()) && masks.online().is_subset_of(&possible),
    );
    ktap.check(
        "the counters of all CPUs are balanced",
        states_say(&possible),
    );
    ktap.check(
        "every CPU's row, the boot CPU's too: each step passed up once",
        possible.iter().all(rose_once),
    );
    let walks: Vec<_> = possible.iter().map(|cpu| (cpu, walk_of(cpu))).collect();
    ktap.check(
        "every CPU's walk: all steps, one after the other, none failed",
        walks.iter().all(|(cpu, walk)| is_whole(*cpu, walk)),
    );
    ktap.check(
        "PREP ran on the control CPU, INIT and SCHED on the CPU itself",
        walks
            .iter()
            .all(|(cpu, walk)| !walk.is_empty() && walk.iter().all(|r| ran_in_place(*cpu, r))),
    );
}

/// Asks firmware for the CPUs of QEMU's `virt` machine: sixteen in each affinity group,
/// numbered without gaps. For any other affinity it returns `INVALID_PARAMETERS`.
fn firmware_agrees<C: smccc::Call>() -> bool {
    let count = kernel().mpidrs.len() as u64;
    (0..count + 1).all(|number| {
        let mpidr = ((number / 16) << 8) | (number % 16);
        let known = psci::affinity_info::<C>(mpidr, psci::LowestAffinityLevel::All).is_ok();
        let listed = kernel().mpidrs.iter().any(|listed| listed.raw() == mpidr);
        if known != listed || known != (number < count) {
            println!("# MPIDR {mpidr:#x}: known {known}, listed {listed}");
            return false;
        }
        true
    })
}

/// Returns the rows of the table that are no slots: no step is installed yet.
fn fixed() -> impl Iterator<Item = u8> {
    let steps = kernel().hotplug.steps();
    (0u8..)
        .zip(steps)
        .filter_map(|(row, step)| (!step.is_slot()).then_some(row))
}

fn rose_once(cpu: CpuId) -> bool {
    let state = kernel().hotplug.state(cpu);
    fixed().all(|step| state.passages(usize::from(step)) == (1, 0))
}

/// Returns all events of `cpu`'s walk in the trace rings.
fn walk_of(cpu: CpuId) -> Vec<Record> {
    kernel().trace.collect(|record| match record.event {
        Event::StepBegin { cpu: of, .. } | Event::StepEnd { cpu: of, .. } => of == cpu,
        _ => false,
    })
}

fn is_whole(cpu: CpuId, walk: &[Record]) -> bool {
    let direction = Direction::Up;
    let whole = walk.len() == 2 * fixed().count()
        && fixed().zip(walk.chunks(2)).all(|(step, pair)| {
            pair[0].event
                == Event::StepBegin {
                    cpu,
                    step,
                    direction,
                }
                && pair[1].event
                    == Event::StepEnd {
                        cpu,
                        step,
                        direction,
                        ok: true,
                    }
        });
    if !whole {
        println!("# CPU{cpu}: {walk:?}");
    }
    whole
}

fn ran_in_place(cpu: CpuId, record: &Record) -> bool {
    let (Event::StepBegin { step, .. } | Event::StepEnd { step, .. }) = record.event else {
        return false;
    };
    let step = &kernel().hotplug.steps()[usize::from(step)];
    let in_place = match step.group.runs_on() {
        RunsOn::Control => record.on == CpuId::BOOT,
        RunsOn::Ap => record.on == cpu,
        RunsOn::Both => record.on == cpu || record.on == CpuId::BOOT,
    };
    if !in_place {
        println!("# {} of CPU{cpu} ran on CPU{}", step.name, record.on);
    }
    in_place
}
