use stillpoint::api::cpu::CpuId;
use stillpoint::api::hotplug::{InstallError, MultiStep, MultiStepBuilder};
use stillpoint::println;

/// A queue of a device, which serves one CPU.
pub(crate) struct Queue {
    pub(crate) number: usize,
}

impl Queue {
    fn serve(&self, cpu: CpuId) {
        println!("queue {} serves CPU{cpu}", self.number);
    }
}

/// Returns a step to which each device adds its queues.
pub(crate) fn queues() -> Result<MultiStep<Queue>, InstallError> {
    MultiStepBuilder::new("queues")
        .startup(|cpu, queue: &Queue| {
            queue.serve(cpu);
            Ok(())
        })
        .teardown(|cpu, queue: &Queue| {
            println!("queue {} leaves CPU{cpu}", queue.number);
            Ok(())
        })
        .install()
}

pub(crate) fn device() -> Result<(), InstallError> {
    let queues = queues()?;
    let first = queues.add(Queue { number: 1 })?;
    let second = queues.add(Queue { number: 2 })?;
    drop(first);
    println!("queue {} is left", second.number);
    Ok(())
}
