//! `governor`: what decides how many CPUs are online.

use super::command::{complain, fail};
use super::machine::{GovernorReport, Machine};
use super::options::Parsed;
use super::status::{Outcome, Status};
use crate::governor::{Governor, Tunables};

/// The command's name in messages.
const NAME: &str = "governor";

/// The names of the governors, for completion.
pub(super) const NAMES: [&str; 3] = ["performance", "ondemand", "userspace"];

/// `governor`: shows the governor and what it has done, or chooses one, and with `userspace` how many
/// CPUs are online.
pub(super) fn run<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let done = match *args.operands.as_slice() {
        [] => machine.governor().map(|report| show(machine, &report)),
        [name, ref count @ ..] => {
            let Some(governor) = Governor::from_name(name) else {
                complain(machine, NAME, format_args!("no governor '{name}'"));
                return Outcome::Continue(Status::FAILURE);
            };
            let count = match *count {
                [] => None,
                [count, ..] => match count.parse::<usize>() {
                    Ok(count) if governor == Governor::Userspace => Some(count),
                    Ok(_) => {
                        complain(
                            machine,
                            NAME,
                            format_args!("{name} takes no number of CPUs"),
                        );
                        return Outcome::Continue(Status::FAILURE);
                    }
                    Err(_) => {
                        complain(
                            machine,
                            NAME,
                            format_args!("'{count}' is no number of CPUs"),
                        );
                        return Outcome::Continue(Status::FAILURE);
                    }
                },
            };
            let set = machine.set_governor(governor);
            set.and_then(|()| count.map_or(Ok(()), |count| machine.set_governed_cpus(count)))
        }
    };
    match done {
        Ok(()) => Outcome::Continue(Status::SUCCESS),
        Err(error) => fail(machine, NAME, &error),
    }
}

fn show<M: Machine>(machine: &M, report: &GovernorReport) {
    let Tunables {
        min_cpus,
        max_cpus,
        up_wait,
        target_busy,
        ..
    } = report.tunables;
    let masks = machine.masks();
    let name = report.governor.name();
    machine.write(format_args!("Governor:       {name}\n"));
    machine.write(format_args!(
        "CPUs:           {} of {min_cpus} to {max_cpus}\n",
        masks.active.count()
    ));
    if !report.given_back.is_empty() {
        machine.write(format_args!("Given back:     {}\n", report.given_back));
    }
    let done = &report.statistics;
    if report.governor == Governor::Ondemand {
        machine.write(format_args!(
            "CPUs come:      when threads have waited for {} us\n",
            up_wait.as_micros()
        ));
        machine.write(format_args!(
            "CPUs go:        when the others are {target_busy} % busy at most, for {} us\n",
            done.hold.as_micros()
        ));
    }
    machine.write(format_args!(
        "Until now:      {} times up, {} CPUs; {} times down, {} CPUs; {} refused\n",
        done.ups, done.come, done.downs, done.gone, done.refused
    ));
}
