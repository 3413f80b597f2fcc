//! The rows of `/proc/interrupts`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::cpu::CpuId;
use crate::irq::Line;
use crate::kernel::{TIMER_NAME, kernel};
use crate::platform::{Sgi, Trigger};
use crate::shell::InterruptRow;

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
