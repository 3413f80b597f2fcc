//! `help`, and the texts that end the help of a command: examples, and what its output
//! means.

use alloc::format;
use alloc::string::String;

use super::command::{Command, Takes, commands, complain};
use super::machine::Machine;
use super::options::{HELP, Opt, Parsed};
use super::status::{Outcome, Status};

/// The text that ends the help of `states`.
pub(super) const STATES: &str = "\
One line for each step, in the order in which a CPU passes them on its way up; on
its way down it passes them from the last to the first. The number of a step is how
many steps are up once it is.
 up N, down N                 how often CPUs have passed it, either way
 past LIST                    the CPUs that are beyond it, and not back yet
 rest                         a CPU can be moved there, and stay
";

/// The text that ends the help of `stop`.
pub(super) const STOP: &str = "\
Every CPU comes to a still point, one of them runs a function that does nothing, and
all go on:
 Time to fn                   from the call until the function ran, all CPUs still
 Whole                        from the call until all CPUs had been let go
 SGI writes                   register writes that the interrupts took, of which one
                              may reach many CPUs
 IRQs off                     how long CPUs had their interrupts off

Under an emulator these are the times of the emulator, and of what else its host does.
";

/// The text that ends the help of `free`.
pub(super) const FREE: &str = "\
 Mem                          the heap; cache is what CPUs, and depots between them, keep
                              of it for their next requests
 Stacks                       the pool from which threads get their stacks
";

/// The text that ends the help of `ps`.
pub(super) const PS: &str = "\
One line for each thread, the oldest first:
 PSR                          the CPU that it runs on, or ran on last
 CLS                          FF, RR: realtime, with its priority in RTPRIO; TS: ordinary,
                              with its niceness in NI; STP: a stopper
 S                            R runs or wants to, S waits, P is parked, Z has ended
 TIME                         for how long it has had a CPU, in seconds
 NVCSW, NIVCSW                how often it gave its CPU away, and how often it lost it
 MIGR                         how often it was moved to another CPU
";

/// The text that ends the help of `top`.
pub(super) const TOP: &str = "\
It measures for one second and prints once: the CPUs, and the threads that used most,
in per cent of one CPU.
";

/// The text that ends the help of `sysctl`.
pub(super) const SYSCTL: &str = "\
Keys:
 kernel.cpu_down_timeout_ms   after how many milliseconds taking a CPU down turns back; 0:
                              never
 kernel.sched_rt_runtime_us   for how long of each period realtime threads may have a CPU
                              that ordinary threads want, in microseconds; -1: for all of it
 kernel.sched_rt_period_us    the length of a period, which can't be changed
 kernel.watchdog_thresh       after how many seconds the log says that a wait goes on; 0: never

Examples:
 sysctl -a                                    show all
 sysctl kernel.sched_rt_runtime_us=-1         realtime threads without a bound
";

/// The text that ends the help of `trace`.
pub(super) const TRACE: &str = "\
What the rings still hold of each time that a CPU came or went: a line for each step
and for what lay between the steps, with when it began, the CPU that it ran on, and
how long it took. The lines add up to the whole. With loglevel=7 they are printed
after each command that brings CPUs up or takes them down, and after the boot.

While 0 is in /sys/kernel/tracing/tracing_on nothing is recorded, and the kernel doesn't
even look. The boot argument tracing_on=0 begins so.

Examples:
 echo 0 > /sys/kernel/tracing/tracing_on      record nothing any more
 echo 1 > /sys/kernel/tracing/tracing_on      record again
";

/// The text that ends the help of `cat`.
pub(super) const CAT: &str = "\
These files are in /sys/devices/system/cpu, as in Linux:
 possible, present, online, offline           lists of CPUs
 cpuN/online                                  1 or 0; may be written
 cpuN/hotplug/state, cpuN/hotplug/target      the number of its state; target may be
                                              written, and moves the CPU there
 cpuN/hotplug/fail                            the number of a state whose step is to fail
                                              once, or -1; may be written
 hotplug/states                               the numbers (see also 'states')
There is one more file:
 /sys/kernel/tracing/tracing_on               1 or 0; may be written (see 'help trace')

Examples:
 cat /sys/devices/system/cpu/hotplug/states
 echo 0 > /sys/devices/system/cpu/cpu2/online
";

/// The text that ends the help of `exit` and `poweroff`.
pub(super) const POWEROFF: &str = "\
The emulator exits with this status if the kernel was booted with exit=semihosting.
Without a number it is the status of the command before it in the same line, as in a
script: 0 if there is none.
";

/// The text that ends the help of `reboot`.
pub(super) const REBOOT: &str = "\
The kernel command line stays what it was: commands in init= run again.
";

/// The text that ends the help of `chcpu`.
pub(super) const CHCPU: &str = "\
A CPU list names CPUs by number, from 0 on, without spaces:
 1,4-7                        CPU 1, and CPUs 4 to 7
 0-7:2                        every second one of 0 to 7: CPUs 0, 2, 4, 6
 0-7:2/4                      the first two of every four: CPUs 0, 1, 4, 5

Examples:
 chcpu -d 1,4-7               take them down, all in one operation
 chcpu -e 1-7                 bring them up; those that are up stay so

The status is 0, 1 if no CPU of the list came or went, 64 if some did.
";

/// The text that ends the help of `lscpu`.
pub(super) const LSCPU: &str = "\
Examples:
 lscpu                        how many CPUs there are, which are on, what they are
 lscpu -e                     the state of each: online, offline, or what went wrong
";

/// `help`: prints the command table, or the help of one command.
pub(super) fn run<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let table = commands::<M>();
    let Some(name) = args.operands.first() else {
        for row in &table {
            let usage = format!("{} {}", row.name, row.usage);
            machine.write(format_args!("{usage:18} {}\n", row.help));
        }
        machine.write(format_args!(
            "\nCommands are separated by ';'. A LIST of CPUs: 1,4-7. More: COMMAND --help\n"
        ));
        return Outcome::Continue(Status::SUCCESS);
    };
    let Some(row) = table.iter().find(|row| row.name == *name) else {
        complain(machine, "help", format_args!("no such command: {name}"));
        return Outcome::Continue(Status::FAILURE);
    };
    print_help(machine, row);
    Outcome::Continue(Status::SUCCESS)
}

/// Prints how `command` is used.
pub(super) fn print_help<M: Machine>(machine: &M, command: &Command<M>) {
    let Command {
        name,
        usage,
        help,
        more,
        ..
    } = command;
    machine.write(format_args!("Usage:\n {name} {usage}\n\n{help}\n"));
    if let Takes::Options(options, _) = command.takes {
        machine.write(format_args!("\nOptions:\n"));
        for option in options.iter().chain([&HELP]) {
            let Opt { long, help, .. } = option;
            // If the command itself uses the letter, help has only its long name.
            let taken =
                option.long == HELP.long && options.iter().any(|other| other.short == option.short);
            let short = if taken {
                "    ".into()
            } else {
                format!("-{}, ", option.short)
            };
            let value = option
                .value
                .map_or_else(String::new, |value| format!(" <{value}>"));
            let names = format!("{short}--{long}{value}");
            machine.write(format_args!(" {names:28} {help}\n"));
        }
    }
    if !more.is_empty() {
        machine.write(format_args!("\n{more}"));
    }
}
