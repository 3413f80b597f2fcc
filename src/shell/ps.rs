//! `ps` and `top`: the threads, and what they and the CPUs have used.
//!
//! The columns have the names of Linux's `ps -eLo psr,cls,rtprio,ni,s,time,…` and of
//! `/proc/PID/status`. `top` measures for one second and prints once, as `top -bn1`
//! does.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::machine::{Machine, ThreadRow};
use super::options::Parsed;
use super::status::{Outcome, Status};
use crate::cpu::CpuId;

/// For how long `top` measures.
const SAMPLE: Duration = Duration::from_secs(1);
/// How many threads `top` shows: those that used most.
const SHOWN: usize = 20;

/// A time in seconds with three places.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0 / 1_000_000;
        f.pad(&format!("{}.{:03}", ms / 1000, ms % 1000))
    }
}

/// A share in per cent with one place.
struct Percent {
    part: u64,
    whole: u64,
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = u128::from(self.part) * 1000 / u128::from(self.whole.max(1));
        f.pad(&format!("{}.{}", tenths / 10, tenths % 10))
    }
}

/// `ps`: prints a line for each thread.
pub(super) fn ps<M: Machine>(machine: &M, _: &Parsed<'_>) -> Outcome {
    machine.write(format_args!(
        "PSR CLS RTPRIO  NI S         TIME    NVCSW   NIVCSW     MIGR COMMAND\n"
    ));
    for row in machine.threads() {
        machine.write(format_args!(
            "{} {:>12} {:>8} {:>8} {:>8} {}\n",
            head(&row),
            Seconds(row.run_ns),
            row.waits,
            row.preemptions,
            row.migrations,
            row.name
        ));
    }
    Outcome::Continue(Status::SUCCESS)
}

/// Returns the columns that both tables begin with: CPU, class, priority, niceness, state.
fn head(row: &ThreadRow) -> String {
    let priority = row
        .priority
        .map_or_else(|| "-".into(), |it| format!("{it}"));
    let nice = row.nice.map_or_else(|| "-".into(), |it| format!("{it}"));
    let cpu = row.cpu.index();
    format!(
        "{cpu:>3} {:<3} {priority:>6} {nice:>3} {}",
        row.class, row.state
    )
}

/// `top`: prints how busy each CPU was for a second, and which threads used it.
pub(super) fn top<M: Machine>(machine: &M, _: &Parsed<'_>) -> Outcome {
    let busy = |machine: &M| -> Vec<(CpuId, Option<u64>)> {
        let possible = machine.masks().possible;
        let idle = possible.iter().map(|cpu| (cpu, machine.idle_ns(cpu)));
        idle.collect()
    };
    let began = machine.now_ns();
    let (idle_before, before) = (busy(machine), machine.threads());
    machine.sleep(SAMPLE);
    let (idle_after, mut after) = (busy(machine), machine.threads());
    let whole = machine.now_ns().saturating_sub(began);

    for ((cpu, before), (_, after)) in idle_before.into_iter().zip(idle_after) {
        let cpu = cpu.index();
        if let (Some(before), Some(after)) = (before, after) {
            let idle = after.saturating_sub(before).min(whole);
            let [busy, idle] = [whole - idle, idle].map(|part| Percent { part, whole });
            machine.write(format_args!("%Cpu{cpu:<3}: {busy:>5} busy, {idle:>5} id\n"));
        } else {
            machine.write(format_args!("%Cpu{cpu:<3}: off\n"));
        }
    }
    for row in &mut after {
        let same = before.iter().find(|other| other.id == row.id);
        row.run_ns -= same.map_or(0, |other| other.run_ns.min(row.run_ns));
    }
    after.sort_by_key(|row| core::cmp::Reverse(row.run_ns));
    machine.write(format_args!("\nPSR CLS RTPRIO  NI S  %CPU COMMAND\n"));
    for row in after.iter().take(SHOWN) {
        let part = row.run_ns;
        machine.write(format_args!(
            "{} {:>5} {}\n",
            head(row),
            Percent { part, whole },
            row.name
        ));
    }
    Outcome::Continue(Status::SUCCESS)
}
