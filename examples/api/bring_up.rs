use stillpoint::api::cpu::CpuId;
use stillpoint::api::hotplug::{ApRefusal, CpuUpError, Left, StepError, cpu_up};
use stillpoint::println;

/// Takes `cpu` into use; says what its owner may do if that fails.
pub(crate) fn take(cpu: CpuId) -> Result<(), CpuUpError> {
    let error = match cpu_up(cpu) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    match error {
        CpuUpError::Step { step, error, .. } => match error {
            // The machine stands against it: no second try will help.
            StepError::RefusedItself(ApRefusal::PhysicalRange) => {
                println!("CPU{cpu} can't reach all of the memory");
            }
            StepError::RefusedItself(why) => println!("CPU{cpu} is of no use here: {why:?}"),
            // The host gives it too little time. It is quarantined, and may arrive later.
            StepError::NeverArrived => println!("call CPU{cpu} once more"),
            StepError::OutOfStacks => println!("end some threads first"),
            other => println!("{step} fails with {}", other.errno().name()),
        },
        CpuUpError::NotUndone {
            left: Left::Quarantined(why),
            ..
        } => println!("CPU{cpu} may run or not: {why}"),
        other => println!("{other}: error {}", other.errno().number()),
    }
    Err(error)
}
