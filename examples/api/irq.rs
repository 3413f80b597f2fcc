use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use stillpoint::api::cpu::{CpuId, CpuMask};
use stillpoint::api::irq::{
    Builder, Irq, IrqAffinityError, IrqLine, IrqReturn, PerCpuIrq, RequestIrqError, Trigger,
    request, request_percpu,
};
use stillpoint::api::sync::Completion;
use stillpoint::println;

/// A device whose registers say whether it has raised its line.
#[derive(Default)]
pub(crate) struct Sensor {
    pub(crate) raised: AtomicU32,
    pub(crate) served: Completion,
}

impl Sensor {
    /// The handler: it serves the device, so that it doesn't raise the line any more, and wakes the
    /// thread that waits. The rest is that thread's.
    fn on_interrupt(&self) -> IrqReturn {
        if self.raised.swap(0, Ordering::Relaxed) == 0 {
            return IrqReturn::None; // Another device of this line.
        }
        self.served.complete();
        IrqReturn::Handled
    }
}

/// Has `sensor` served on whatever CPU its line goes to, until the value is dropped.
pub(crate) fn attach(sensor: &Arc<Sensor>, intid: u32) -> Result<Irq, RequestIrqError> {
    let line = IrqLine::from_intid(intid, Trigger::Edge);
    let line = line.ok_or(RequestIrqError::NoLine(intid))?;
    let its = Arc::clone(sensor);
    request(line, "sensor", move || its.on_interrupt())
        .inspect_err(|error| println!("no sensor: {error} ({})", error.errno().name()))
}

/// Two sensors of one line, which stays masked until both are there.
pub(crate) fn attach_two(
    sensors: &[Arc<Sensor>; 2],
    line: IrqLine,
) -> Result<[Irq; 2], RequestIrqError> {
    assert_eq!(
        line.trigger(),
        Trigger::Level,
        "an edge of one would hide that of the other"
    );
    let attach = |number: usize, sensor: &Arc<Sensor>| {
        let its = Arc::clone(sensor);
        let wishes = Builder::new(format_args!("sensor-{number}")).shared();
        wishes
            .no_autoenable()
            .request(line, move || its.on_interrupt())
    };
    let irqs = [attach(0, &sensors[0])?, attach(1, &sensors[1])?];
    irqs.iter().for_each(Irq::enable);
    Ok(irqs)
}

/// A sensor behind a slow bus: its handler can't ask it, and leaves that to a thread. The line stays
/// masked until the thread has asked.
pub(crate) fn attach_slow(
    line: IrqLine,
    ask_fn: impl FnMut() + Send + 'static,
) -> Result<Irq, RequestIrqError> {
    let wishes = Builder::new("slow").threaded(ask_fn);
    wishes.request(line, || IrqReturn::WakeThread)
}

/// The queue of a network card that belongs to `cpu`: it rests while that is offline.
pub(crate) fn attach_queue(line: IrqLine, cpu: CpuId) -> Result<Irq, RequestIrqError> {
    let wishes = Builder::new(format_args!("queue-{cpu}"));
    wishes
        .managed(CpuMask::of(cpu))
        .request(line, || IrqReturn::Handled)
}

/// One that is to go to `cpus`, as long as one of them is online.
pub(crate) fn attach_near(line: IrqLine, cpus: CpuMask) -> Result<Irq, RequestIrqError> {
    let wishes = Builder::new("near").affinity(cpus);
    wishes.request(line, || IrqReturn::Handled)
}

/// Changes what the handler uses, while it doesn't run.
pub(crate) fn reset(irq: &Irq, sensor: &Sensor) {
    irq.disable();
    sensor.raised.store(0, Ordering::Relaxed);
    irq.enable();
}

/// As [`reset`], where no thread may wait; the handler may still run once.
pub(crate) fn mute(irq: &Irq) {
    irq.disable_nosync();
}

/// Has the interrupt go to `cpu`, and waits until the one it went to is done with it.
pub(crate) fn move_to(irq: &Irq, cpu: CpuId) -> Result<(), IrqAffinityError> {
    let moved = irq.set_affinity(&CpuMask::of(cpu));
    if let Err(error) = moved {
        println!(
            "IRQ {} stays: {error} ({})",
            irq.intid(),
            error.errno().name()
        );
        return moved;
    }
    irq.synchronize();
    assert!(irq.affinity().contains(cpu));
    Ok(())
}

/// Counts what the performance monitor of each CPU says, those that come later included. `overflow`
/// runs on the CPU whose monitor it is.
pub(crate) fn watch_monitors(
    line: IrqLine,
    overflow: impl Fn() + Send + Sync + 'static,
) -> Result<PerCpuIrq, RequestIrqError> {
    let irq = request_percpu(line, "arm-pmu", move || {
        overflow();
        IrqReturn::Handled
    })?;
    println!("{}: {} so far", irq.intid(), irq.count());
    Ok(irq)
}

/// Returns how often the monitor of `cpu` has overflowed; a CPU that is off keeps its count.
pub(crate) fn overflows(irq: &PerCpuIrq, cpu: CpuId) -> u64 {
    irq.count_on(cpu)
}

/// Prints how often it has come, in all and where it goes to now.
pub(crate) fn show(irq: &Irq) {
    match irq.effective_affinity() {
        Some(cpu) => println!(
            "{}: {} times, {} of them on CPU{cpu}",
            irq.intid(),
            irq.count(),
            irq.count_on(cpu)
        ),
        None => println!("{}: {} times, and rests", irq.intid(), irq.count()),
    }
}
