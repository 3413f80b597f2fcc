//! The rows of `/proc/interrupts`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::cpu::{CpuId, CpuMask};
use crate::irq::{IrqAffinityError, Line};
use crate::kernel::{Hw, TIMER_NAME, kernel};
use crate::platform::{Irq, Platform, Sgi, Trigger};
use crate::shell::{InterruptRow, IrqRow};

/// Returns a row for the timer, each line of a device that has a user, and each SGI.
pub(super) fn all() -> Vec<InterruptRow> {
    let kernel = kernel();
    let counts = |count_fn: &dyn Fn(CpuId) -> u64| -> Vec<u64> {
        kernel.masks.possible().iter().map(count_fn).collect()
    };
    let line = |intid: u32, trigger: Trigger, what: &str, counts: Vec<u64>| InterruptRow {
        name: format!("{intid}"),
        counts,
        what: {
            let kind = match trigger {
                Trigger::Level => "Level",
                Trigger::Edge => "Edge",
            };
            format!(
                "{:>8} {intid:>3} {kind:<8}  {what}",
                kernel.irq_chip().name()
            )
        },
    };
    let timers = counts(&|cpu| kernel.interrupts.timers(cpu));
    let mut rows = Vec::from([line(
        kernel.timer_ppi,
        kernel.timer_trigger,
        TIMER_NAME,
        timers,
    )]);
    rows.extend(kernel.irqs.percpu.report().map(|(own, name, own_counts)| {
        let counts = counts(&|cpu| own_counts.part(cpu));
        line(own.intid(), own.trigger(), &name, counts)
    }));
    let mut devices: Vec<_> = kernel.irqs.lines().collect();
    devices.sort_by_key(|device| device.irq().intid());
    rows.extend(devices.into_iter().filter_map(|device| {
        let report = device.report()?;
        let counts = counts(&|cpu| Line::counts(device).part(cpu));
        let (intid, trigger) = (report.line.intid(), report.line.trigger());
        Some(line(intid, trigger, &report.names, counts))
    }));
    rows.extend(Sgi::ALL.iter().map(|sgi| InterruptRow {
        name: format!("IPI{}", sgi.number()),
        counts: counts(&|cpu| kernel.interrupts.sgis(cpu, sgi.number())),
        what: String::from("     ") + sgi.purpose(),
    }));
    rows
}

/// Returns a row for each line of a device that has a user.
pub(super) fn of_devices() -> Vec<IrqRow> {
    let lines = kernel().irqs.lines();
    let mut rows: Vec<_> = lines
        .filter_map(|line| {
            let report = line.report()?;
            let (seen, unhandled, last) = line.spurious().counts_racy();
            Some(IrqRow {
                number: report.line.intid(),
                affinity: report.affinity,
                effective: report.effective,
                seen,
                unhandled,
                last_unhandled_ms: Hw::frequency().ticks_to_ns(last.0) / 1_000_000,
            })
        })
        .collect();
    rows.sort_by_key(|row| row.number);
    rows
}

/// Lets the line `number` go only to `cpus`.
pub(super) fn set_affinity(number: u32, cpus: &CpuMask) -> Result<(), IrqAffinityError> {
    let irq = Irq::from_intid(number);
    let line = irq.and_then(|irq| kernel().irqs.line(irq));
    line.ok_or(IrqAffinityError::Unused(number))?
        .set_affinity(cpus)
}
