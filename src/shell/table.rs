//! The shell's own commands.

use alloc::vec;
use alloc::vec::Vec;

use super::command::{Command, Takes, Word};
use super::machine::Machine;
use super::{
    affinity, again, builtin, chcpu, date, faults, files, governor, help, lscpu, ps, small, stress,
    sysctl, texts,
};

/// Returns the shell's own commands, as the help lists them.
pub(super) fn built_in<M: Machine>() -> Vec<Command<M>> {
    let mut table = cpus();
    table.extend(machine());
    table.extend(ends());
    table
}

/// The commands that show CPUs, and bring them up and take them down.
fn cpus<M: Machine>() -> Vec<Command<M>> {
    use Takes::Options;
    vec![
        Command::new(
            "help",
            "[COMMAND]",
            "show the commands, or how one is used",
            help::run,
        )
        .operands(1)
        .words(&[Word::Command]),
        Command::new(
            "lscpu",
            "[-e]",
            "display information about the CPUs",
            lscpu::run,
        )
        .takes(Options(&lscpu::OPTIONS, 0))
        .more(texts::LSCPU),
        Command::new("chcpu", "-e|-d LIST", "enable or disable CPUs", chcpu::run)
            .takes(Options(&chcpu::OPTIONS, 0))
            .more(texts::CHCPU),
        Command::new(
            "governor",
            "[NAME [CPUS]]",
            "show or choose what decides how many CPUs are online",
            governor::run,
        )
        .operands(2)
        .words(&[Word::OneOf(&governor::NAMES), Word::Any])
        .more(texts::GOVERNOR),
        Command::new("nproc", "[--all]", "print the number of CPUs", small::nproc)
            .takes(Options(&small::NPROC_OPTIONS, 0)),
        Command::new(
            "states",
            "",
            "show the hotplug state table and its counters",
            builtin::states,
        )
        .more(texts::STATES),
        Command::new(
            "trace",
            "[CPU|export]",
            "show the recorded hotplug walks",
            builtin::trace,
        )
        .operands(1)
        .words(&[Word::CpuOr(&[builtin::EXPORT]), Word::Any])
        .more(texts::TRACE),
        Command::new(
            "fail",
            "[CPU [STEP|off]]",
            "have a step of a CPU fail once, and see it roll back",
            faults::fail,
        )
        .operands(2)
        .words(&[Word::CpuOr(&[]), Word::StepOr(&["off"]), Word::Any])
        .more(texts::FAIL),
        Command::new(
            "target",
            "CPU STEP",
            "move a CPU to a state, and leave it there",
            faults::target,
        )
        .operands(2)
        .words(&[Word::CpuOr(&[]), Word::StepOr(&[]), Word::Any])
        .more(texts::TARGET),
        Command::new(
            "hold",
            "CPU [off]",
            "have a CPU say nothing the next time it comes",
            faults::hold,
        )
        .operands(2)
        .words(&[Word::CpuOr(&[]), Word::OneOf(&["on", "off"]), Word::Any])
        .more(texts::HOLD),
        Command::new("psci", "CALL [ARG]", "ask firmware", faults::psci)
            .operands(2)
            .words(&[
                Word::OneOf(&faults::CALLS),
                Word::After(faults::argument),
                Word::Any,
            ])
            .more(texts::PSCI),
        Command::new(
            "stress",
            "[-s SEED] N",
            "CPUs up and down at random, with failures",
            stress::run,
        )
        .takes(Options(&stress::OPTIONS, 1))
        .more(texts::STRESS),
        Command::new(
            "stop",
            "[-v]",
            "stop all CPUs once and show how long it took",
            builtin::stop,
        )
        .takes(Options(&builtin::STOP_OPTIONS, 0))
        .more(texts::STOP),
        Command::new(
            "selftest",
            "",
            "check that everything works on this machine",
            builtin::selftest,
        ),
    ]
}

/// The commands that show and set what else there is.
fn machine<M: Machine>() -> Vec<Command<M>> {
    use Takes::Options;
    vec![
        Command::new(
            "free",
            "[-h]",
            "display the amount of free and used memory, in KiB",
            builtin::free,
        )
        .takes(Options(&builtin::FREE_OPTIONS, 0))
        .more(texts::FREE),
        Command::new("ps", "", "show the threads and what they have used", ps::ps).more(texts::PS),
        Command::new(
            "top",
            "[-b] [-d SECS] [-n COUNT]",
            "show which CPUs and threads are busy, until a key",
            ps::top,
        )
        .takes(Options(&ps::TOP_OPTIONS, 0))
        .more(texts::TOP),
        Command::wrapper(
            "taskset",
            "[-pc] LIST PID|COMMAND",
            "show or set the CPUs of a thread or a command",
            (&affinity::OPTIONS, 1),
            affinity::run,
        )
        .alone_with('p')
        .words(&[Word::CpuList, Word::Pid, Word::Any])
        .more(texts::TASKSET),
        Command::new(
            "interrupts",
            "",
            "show how often each interrupt was taken",
            files::interrupts,
        ),
        Command::new(
            "dmesg",
            "",
            "print what the kernel's log still has",
            small::dmesg,
        ),
        Command::new(
            "uptime",
            "[-p]",
            "tell how long the machine has run",
            small::uptime,
        )
        .takes(Options(&small::UPTIME_OPTIONS, 0)),
        Command::new(
            "date",
            "[-u] [+FORMAT]",
            "print the time of day, in UTC",
            date::date,
        )
        .takes(Options(&date::OPTIONS, date::WORDS))
        .more(texts::DATE),
        Command::new(
            "sysctl",
            "KEY[=VALUE]...",
            "show or change settings of scheduler and hotplug",
            sysctl::run,
        )
        .takes(Options(&sysctl::OPTIONS, sysctl::WORDS))
        .words(&[Word::OneOf(&sysctl::KEYS)])
        .more(texts::SYSCTL),
        Command::new(
            "cat",
            "FILE...",
            "print files, which Linux has too",
            files::cat,
        )
        .operands(files::WORDS)
        .words(&[Word::Path])
        .more(texts::FILES),
        Command::new(
            "ls",
            "[-1] [FILE]...",
            "list the files that there are",
            files::ls,
        )
        .takes(Options(&files::LS_OPTIONS, files::WORDS))
        .words(&[Word::Path])
        .more(texts::FILES),
        Command::new(
            "echo",
            "[-n] [WORD]... [> FILE]",
            "print the words, or write them to a file",
            builtin::echo,
        )
        .takes(Takes::Words),
        Command::wrapper(
            "time",
            "COMMAND",
            "run a command and tell how long it took",
            (&[], 0),
            again::time,
        )
        .words(&[Word::Command]),
        Command::wrapper(
            "repeat",
            "N COMMAND",
            "run a command N times",
            (&[], 1),
            again::repeat,
        )
        .words(&[Word::Any, Word::Command]),
        Command::wrapper(
            "watch",
            "[-n SECS] COMMAND",
            "run a command again and again, full screen",
            (&again::WATCH_OPTIONS, 0),
            again::watch,
        )
        .words(&[Word::Command])
        .more(texts::WATCH),
        Command::new(
            "sleep",
            "SECS",
            "wait; SECS may have a unit: s, m, h, d",
            small::sleep,
        )
        .operands(1),
    ]
}

/// The commands that end the machine.
fn ends<M: Machine>() -> Vec<Command<M>> {
    vec![
        Command::new(
            "exit",
            "[N]",
            "turn the machine off, with exit status N",
            builtin::exit,
        )
        .operands(1)
        .more(texts::POWEROFF),
        Command::new("poweroff", "", "turn the machine off", builtin::poweroff)
            .more(texts::POWEROFF),
        Command::new("reboot", "", "reset the machine", builtin::reboot).more(texts::REBOOT),
    ]
}
