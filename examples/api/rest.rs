use stillpoint::api::cpu::CpuId;
use stillpoint::api::hotplug::{
    RestingPlace, StepName, TargetError, cpu_set_target, cpu_state_racy, resting_places,
};
use stillpoint::println;

/// Moves `cpu` to `step` of a program and leaves it there: the CPU is online, has passed the steps
/// up to this one, and gets no threads. For a look at one step of many.
pub(crate) fn rest_at(cpu: CpuId, step: StepName) -> Result<(), TargetError> {
    let before = cpu_state_racy(cpu);
    let places = resting_places();
    let Some(place) = places.iter().find(|place| place.name == step) else {
        println!("no CPU may rest at {step}, but at");
        for RestingPlace { state, name } in places {
            println!("{state:3} {} of {}", name.name(), name.group());
        }
        return Ok(());
    };
    match cpu_set_target(cpu, place.state) {
        Ok(()) => println!("CPU{cpu} went from state {before} to {}", place.state),
        Err(TargetError::Up(error)) => println!("on its way up: {error}"),
        Err(TargetError::Down(error)) => println!("on its way down: {error}"),
        // It has not moved: there is no such CPU, or this is no time for it.
        Err(error) => {
            println!("{error} ({})", error.errno().name());
            return Err(error);
        }
    }
    Ok(())
}
