//! The commands of Linux that are a few lines each here: `nproc`, `uptime`, `dmesg`, `sleep`.

use alloc::format;
use alloc::string::String;

use super::affinity::row;
use super::command::{bad_usage, complain};
use super::ctrl_c;
use super::machine::Machine;
use super::numbers::interval;
use super::options::{Opt, Parsed};
use super::status::{Outcome, Status};

/// The options of `nproc`.
pub(super) const NPROC_OPTIONS: [Opt; 2] = [
    Opt {
        short: 'a',
        long: "all",
        value: None,
        help: "print the number of installed processors",
    },
    Opt {
        short: 'i',
        long: "ignore",
        value: Some("N"),
        help: "if possible, exclude N processing units",
    },
];

/// `nproc`: prints how many CPUs are online that the shell's thread may run on, or how many there
/// are.
pub(super) fn nproc<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let masks = machine.masks();
    let cpus = if args.has('a') {
        masks.possible
    } else {
        row(machine, machine.this_thread()).map_or(masks.online, |row| masks.online.and(&row.cpus))
    };
    let ignored = args.value('i').unwrap_or("0");
    let Ok(ignored) = ignored.parse::<usize>() else {
        complain(
            machine,
            "nproc",
            format_args!("invalid number: '{ignored}'"),
        );
        return Outcome::Continue(Status::FAILURE);
    };
    let count = cpus.count().saturating_sub(ignored).max(1);
    machine.write(format_args!("{count}\n"));
    Outcome::Continue(Status::SUCCESS)
}

/// The options of `uptime`.
pub(super) const UPTIME_OPTIONS: [Opt; 1] = [Opt {
    short: 'p',
    long: "pretty",
    value: None,
    help: "show uptime in pretty format",
}];

/// `uptime`: prints for how long the machine has run. There is neither a clock with the time of
/// day nor a load average.
pub(super) fn uptime<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let minutes = machine.now_ns() / 60_000_000_000;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    if args.has('p') {
        let unit = |count: u64, name: &str| match count {
            0 => String::new(),
            1 => format!("1 {name}"),
            _ => format!("{count} {name}s"),
        };
        let units = [
            unit(days, "day"),
            unit(hours, "hour"),
            unit(minutes, "minute"),
        ];
        let text = units
            .into_iter()
            .filter(|unit| !unit.is_empty())
            .reduce(|text, unit| text + ", " + &unit)
            .unwrap_or_else(|| "0 minutes".into());
        machine.write(format_args!("up {text}\n"));
        return Outcome::Continue(Status::SUCCESS);
    }
    let days = match days {
        0 => String::new(),
        1 => "1 day, ".into(),
        _ => format!("{days} days, "),
    };
    let time = match hours {
        0 => format!("{minutes} min"),
        _ => format!("{hours:2}:{minutes:02}"),
    };
    let cpus = machine.masks().online;
    let (count, s) = (cpus.count(), if cpus.count() == 1 { "" } else { "s" });
    machine.write(format_args!(" up {days}{time},  {count} CPU{s} online\n"));
    Outcome::Continue(Status::SUCCESS)
}

/// `dmesg`: prints what the kernel's log still has.
pub(super) fn dmesg<M: Machine>(machine: &M, _: &Parsed<'_>) -> Outcome {
    machine.write(format_args!("{}", machine.log()));
    Outcome::Continue(Status::SUCCESS)
}

/// `sleep`: waits for some seconds, or until Ctrl-C.
pub(super) fn sleep<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let [word] = args.operands.as_slice() else {
        return bad_usage(machine, "sleep");
    };
    match interval(word) {
        Some(time) if ctrl_c::came(machine, time) => ctrl_c::ENDED,
        Some(_) => Outcome::Continue(Status::SUCCESS),
        None => {
            complain(
                machine,
                "sleep",
                format_args!("invalid time interval '{word}'"),
            );
            Outcome::Continue(Status::FAILURE)
        }
    }
}
