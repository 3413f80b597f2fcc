//! Lines that no device is at, which software raises.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use stillpoint::api;
use stillpoint::api::cpu::{CpuId, possible};
use stillpoint::api::irq::{Builder, Irq, IrqLine, IrqReturn, Trigger};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::FIRST_SPI;
use stillpoint::sync::atomic::{AtomicU64, Ordering};

/// How many lines the test uses.
pub(crate) const COUNT: usize = 8;

pub(crate) fn cpus() -> usize {
    kernel().masks.possible().count()
}

/// Returns the number of line `at`: one of the last of the controller.
pub(crate) fn intid(at: usize) -> u32 {
    let spis = kernel().irq_chip().spi_count();
    FIRST_SPI + u32::try_from(spis - COUNT + at).expect("a number of an interrupt")
}

/// Returns line `at`.
pub(crate) fn line(at: usize) -> IrqLine {
    IrqLine::from_intid(intid(at), Trigger::Edge).expect("a shared interrupt")
}

/// Raises the interrupt `intid` from its own handler.
pub(crate) fn raise_intid(intid: u32) {
    let irq = stillpoint::platform::Irq::from_intid(intid).expect("an interrupt");
    kernel()
        .irqs
        .line(irq)
        .expect("it was requested before")
        .raise();
}

/// Raises line `at`, which was requested before.
pub(crate) fn raise(at: usize) {
    record(at).raise();
}

fn record(at: usize) -> &'static stillpoint::irq::Line<Hw> {
    let line = kernel().irqs.line(line(at).into());
    line.expect("it was requested before")
}

/// Makes the records of all lines.
pub(crate) fn touch() {
    for at in 0..COUNT {
        drop(Counted::request(at, Builder::new("touch")));
    }
}

/// Takes what line `at` was raised for while it had no user.
pub(crate) fn drain(at: usize) {
    let counted = Counted::request(at, Builder::new("drain"));
    api::sleep(Duration::from_millis(2));
    drop(counted);
}

/// A line whose handler counts.
pub(crate) struct Counted {
    pub(crate) irq: Irq,
    pub(crate) taken: Arc<AtomicU64>,
    /// The counts of the line when it was requested, which earlier users have left.
    before: Vec<u64>,
}

impl Counted {
    /// Requests line `at` as `wishes` say.
    pub(crate) fn request(at: usize, wishes: Builder) -> Counted {
        let taken = Arc::new(AtomicU64::new(0));
        let its = Arc::clone(&taken);
        let irq = wishes.request(line(at), move || {
            its.fetch_add(1, Ordering::Relaxed);
            IrqReturn::Handled
        });
        let irq = irq.expect("the line is free");
        let before = possible().iter().map(|cpu| irq.count_on(cpu)).collect();
        Counted { irq, taken, before }
    }

    /// Returns how often it has come on `cpu`, as the line says.
    pub(crate) fn on(&self, cpu: CpuId) -> u64 {
        self.irq.count_on(cpu) - self.before[cpu.index()]
    }

    /// Returns how often it has come, as the line says.
    pub(crate) fn counted(&self) -> u64 {
        self.irq.count() - self.before.iter().sum::<u64>()
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}
