//! `ps` and `top`: the threads, and what they and the CPUs have used.
//!
//! The columns have the names of Linux's `ps -eLo psr,cls,rtprio,ni,s,time,…` and of
//! `/proc/PID/status`. `top` measures for some time and shows that on a screen, again and again
//! until `q` or another key is pressed; `top -bn1` prints once.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::command::bad_usage;
use super::ctrl_c;
use super::keys::Key;
use super::machine::{Machine, Masks, ThreadRow};
use super::numbers::{number, seconds};
use super::options::{Opt, Parsed};
use super::painter::CLEAR;
use super::status::{Outcome, Status};
use super::typing::Typing;
use crate::cpu::CpuId;
use crate::time::Thousandths;

/// The options of `top`.
pub(super) const TOP_OPTIONS: [Opt; 3] = [
    Opt {
        short: 'b',
        long: "batch",
        value: None,
        help: "don't clear the screen, and ask for no key",
    },
    Opt {
        short: 'd',
        long: "delay",
        value: Some("secs"),
        help: "measure for so long, instead of a second",
    },
    Opt {
        short: 'n',
        long: "iterations",
        value: Some("count"),
        help: "end after so many screens",
    },
];

/// How many threads `top` shows: those that used most.
const SHOWN: usize = 20;

/// A time in seconds with three places.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Thousandths(self.0 / 1_000_000).fmt(f)
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
        "  PID PSR CLS RTPRIO  NI S         TIME    NVCSW   NIVCSW     MIGR COMMAND\n"
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

/// Returns the columns that both tables begin with: number, CPU, class, priority, niceness, state.
fn head(row: &ThreadRow) -> String {
    let priority = row
        .priority
        .map_or_else(|| "-".into(), |it| format!("{it}"));
    let nice = row.nice.map_or_else(|| "-".into(), |it| format!("{it}"));
    let cpu = row.cpu.index();
    format!(
        "{:>5} {cpu:>3} {:<3} {priority:>6} {nice:>3} {}",
        row.id, row.class, row.state
    )
}

/// `top`: shows how busy each CPU was, and which threads used it, until a key is pressed.
pub(super) fn top<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let delay = seconds(args.value('d').unwrap_or("1"));
    let count = match args.value('n') {
        None => Some(usize::MAX),
        Some(word) => number(word),
    };
    let (Some(delay), Some(mut left)) = (delay, count) else {
        return bad_usage(machine, "top");
    };
    let is_batch = args.has('b');
    let mut typing = Typing::new();
    let mut before = Sample::take(machine);
    while left > 0 {
        left -= 1;
        if is_batch {
            if ctrl_c::came(machine, delay) {
                return ctrl_c::ENDED;
            }
        } else {
            match typing.key(machine, delay) {
                Some(Key::Interrupt) => {
                    machine.write(format_args!("^C\n"));
                    typing.tell(machine, "top");
                    return ctrl_c::ENDED;
                }
                Some(_) => break,
                None => machine.write(format_args!("{CLEAR}")),
            }
        }
        let after = Sample::take(machine);
        after.print_since(machine, &before);
        before = after;
    }
    typing.tell(machine, "top");
    Outcome::Continue(Status::SUCCESS)
}

/// What CPUs and threads had used at a moment.
struct Sample {
    now_ns: u64,
    /// Each CPU's idle time, if it is online.
    idle: Vec<(CpuId, Option<u64>)>,
    threads: Vec<ThreadRow>,
}

impl Sample {
    fn take<M: Machine>(machine: &M) -> Sample {
        let Masks {
            possible, online, ..
        } = machine.masks();
        let of = |cpu| machine.idle_ns(cpu).filter(|_| online.contains(cpu));
        let idle = possible.iter().map(|cpu| (cpu, of(cpu)));
        Sample {
            now_ns: machine.now_ns(),
            idle: idle.collect(),
            threads: machine.threads(),
        }
    }

    /// Prints what was used between `before` and this.
    fn print_since<M: Machine>(&self, machine: &M, before: &Sample) {
        let whole = self.now_ns.saturating_sub(before.now_ns);
        for ((cpu, before), (_, after)) in before.idle.iter().zip(&self.idle) {
            let cpu = cpu.index();
            if let (Some(before), Some(after)) = (before, after) {
                let idle = after.saturating_sub(*before).min(whole);
                let [busy, idle] = [whole - idle, idle].map(|part| Percent { part, whole });
                machine.write(format_args!("%Cpu{cpu:<3}: {busy:>5} busy, {idle:>5} id\n"));
            } else {
                machine.write(format_args!("%Cpu{cpu:<3}: off\n"));
            }
        }
        let mut threads = self.threads.clone();
        for row in &mut threads {
            let same = before.threads.iter().find(|other| other.id == row.id);
            row.run_ns -= same.map_or(0, |other| other.run_ns.min(row.run_ns));
        }
        threads.sort_by_key(|row| core::cmp::Reverse(row.run_ns));
        machine.write(format_args!("\n  PID PSR CLS RTPRIO  NI S  %CPU COMMAND\n"));
        for row in threads.iter().take(SHOWN) {
            let part = row.run_ns;
            machine.write(format_args!(
                "{} {:>5} {}\n",
                head(row),
                Percent { part, whole },
                row.name
            ));
        }
    }
}
