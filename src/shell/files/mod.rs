//! `cat`, `ls` and `echo … >`: Linux's files of CPUs, of the scheduler and of the machine.
//!
//! There is no file system. These paths are known, and read and written as Linux does; a
//! directory is what stands before a slash in one of them. A path without a slash in front is
//! meant from `/` on.
//!
//! | Path in `/sys/devices/system/cpu` | Read | Written |
//! |---|---|---|
//! | `possible`, `present`, `online`, `offline` | a list of CPUs | |
//! | `kernel_max` | the highest number that a CPU can have | |
//! | `cpuN/online` | whether CPU N is online | 1 and 0 bring it up and take it down |
//! | `cpuN/hotplug/state` | the number of the state that it is in | |
//! | `cpuN/hotplug/target` | the same | moves it to the state of this number |
//! | `cpuN/hotplug/fail` | the state whose step fails next, or -1 | has it fail once; -1 takes that back |
//! | `hotplug/states` | numbers and names | |
//! | `hotplug/history` | the recorded walks, as `trace` prints them | |
//! | `governor/…` | see `governor` | |
//!
//! | Other path | Read | Written |
//! |---|---|---|
//! | `/proc/cpuinfo`, `interrupts`, `meminfo`, `uptime`, `cmdline`, `schedstat` | as in Linux, see `proc` | |
//! | `/proc/irq/N/…` | where interrupt N goes, see `irq` | the affinity |
//! | `/proc/sys/…` | the settings of `sysctl` | changes them |
//! | `/sys/kernel/tracing/tracing_on` | whether events are recorded | 1 and 0 switch that |
//! | `/sys/kernel/tracing/events/enable` | whether scheduling events are, too | 1 and 0 switch that |
//!
//! Linux has all of them but `hotplug/history` and those of the governor, which are like those of
//! its cpufreq.
//!
//! # Sources
//! Linux `Documentation/core-api/cpu_hotplug.rst`, and `kernel/cpu.c` for what is written;
//! `Documentation/ABI/testing/sysfs-devices-system-cpu`; `Documentation/trace/ftrace.rst`.

mod governor;
mod irq;
mod list;
mod proc;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

use super::command::{Explained, complain, try_help};
use super::machine::{Failure, Machine};
use super::options::Parsed;
use super::status::{Outcome, Status};
use super::sysctl::{self, Refusal};
use crate::config::MAX_CPUS;
use crate::cpu::{CpuId, CpuMask};
use crate::errno::Errno;

use governor::GovernorFile;
use irq::IrqFile;

pub(super) use list::{LS_OPTIONS, ls};
pub(super) use proc::interrupts;

/// How many files `cat` and `ls` take: as many as a line has room for.
pub(super) const WORDS: usize = usize::MAX;

/// A file that is known.
#[derive(Clone, Copy)]
enum File {
    Possible,
    Present,
    Online,
    Offline,
    KernelMax,
    States,
    History,
    CpuOnline(CpuId),
    State(CpuId),
    Target(CpuId),
    Fail(CpuId),
    TracingOn,
    TracingEvents,
    CpuInfo,
    Interrupts,
    MemInfo,
    Uptime,
    CommandLine,
    SchedStat,
    Irq(u32, IrqFile),
    Setting(&'static str),
    Governor(GovernorFile),
}

/// The directory of the files of CPUs, without the slash in front.
const CPUS: &str = "sys/devices/system/cpu";

/// The files that there is one of.
const SINGLE: [(&str, File); 15] = [
    ("proc/cmdline", File::CommandLine),
    ("proc/cpuinfo", File::CpuInfo),
    ("proc/interrupts", File::Interrupts),
    ("proc/meminfo", File::MemInfo),
    ("proc/schedstat", File::SchedStat),
    ("proc/uptime", File::Uptime),
    ("sys/devices/system/cpu/hotplug/history", File::History),
    ("sys/devices/system/cpu/hotplug/states", File::States),
    ("sys/devices/system/cpu/kernel_max", File::KernelMax),
    ("sys/devices/system/cpu/offline", File::Offline),
    ("sys/devices/system/cpu/online", File::Online),
    ("sys/devices/system/cpu/possible", File::Possible),
    ("sys/devices/system/cpu/present", File::Present),
    ("sys/kernel/tracing/events/enable", File::TracingEvents),
    ("sys/kernel/tracing/tracing_on", File::TracingOn),
];

/// What a path stands for.
enum Node {
    File(File),
    /// The directory of this path, as [`all`] has paths; empty for `/`.
    Directory(String),
}

/// Returns all files with their paths, without the slash in front.
fn all<M: Machine>(machine: &M) -> Vec<(String, File)> {
    let mut files: Vec<_> = SINGLE.map(|(path, file)| (path.into(), file)).into();
    for key in sysctl::KEYS {
        let path = key.replace('.', "/");
        files.push((format!("proc/sys/{path}"), File::Setting(key)));
    }
    for row in machine.irqs() {
        let of = |(name, file)| {
            (
                format!("proc/irq/{}/{name}", row.number),
                File::Irq(row.number, file),
            )
        };
        files.extend(IrqFile::ALL.map(of));
    }
    for (name, file) in governor::ALL {
        let path = format!("{}/{name}", governor::DIRECTORY);
        files.push((path, File::Governor(file)));
    }
    for cpu in machine.masks().possible.iter() {
        let of = |name: &str| format!("{CPUS}/cpu{cpu}/{name}");
        files.extend([
            (of("hotplug/fail"), File::Fail(cpu)),
            (of("hotplug/state"), File::State(cpu)),
            (of("hotplug/target"), File::Target(cpu)),
            (of("online"), File::CpuOnline(cpu)),
        ]);
    }
    files
}

/// Returns what `path` stands for.
///
/// # Errors
/// [`Errno::NoEntry`] if there is nothing, [`Errno::NotDirectory`] if it is below a file.
fn find<M: Machine>(machine: &M, path: &str) -> Result<Node, Errno> {
    if path.is_empty() {
        return Err(Errno::NoEntry);
    }
    let known = all(machine);
    let mut at = String::new();
    let mut file = None;
    for part in path.split('/') {
        // A file has nothing below it, not even behind a slash at the end.
        if file.is_some() {
            return Err(Errno::NotDirectory);
        }
        match part {
            "" | "." => {}
            ".." => at.truncate(at.rfind('/').unwrap_or(0)),
            name => {
                let slash = if at.is_empty() { "" } else { "/" };
                at = at + slash + name;
                let below = at.clone() + "/";
                let of_it = |(path, _): &&(String, File)| *path == at || path.starts_with(&below);
                let (found, its) = known.iter().find(of_it).ok_or(Errno::NoEntry)?;
                file = (*found == at).then_some(*its);
            }
        }
    }
    Ok(file.map_or(Node::Directory(at), Node::File))
}

/// Returns the paths that begin with `begun`, up to the slash behind that, each once.
pub(super) fn names_from<M: Machine>(machine: &M, begun: &str) -> Vec<String> {
    let root = if begun.starts_with('/') { "/" } else { "" };
    let mut names: Vec<String> = Vec::new();
    for (path, _) in all(machine) {
        let path = String::from(root) + &path;
        if let Some(rest) = path.strip_prefix(begun) {
            let end = rest.find('/').map_or(path.len(), |at| begun.len() + at + 1);
            names.push(path[..end].into());
        }
    }
    names.sort();
    names.dedup();
    names
}

impl File {
    /// Prints the content.
    fn print<M: Machine>(self, machine: &M) {
        if let File::History = self {
            machine.trace(None);
        } else {
            machine.write(format_args!("{}", self.read(machine)));
        }
    }

    /// Returns the content, with the end of its last line.
    fn read<M: Machine>(self, machine: &M) -> String {
        let masks = machine.masks();
        match self {
            File::Possible => format!("{}\n", masks.possible),
            File::Present => format!("{}\n", masks.present),
            File::Online => format!("{}\n", masks.online),
            File::Offline => format!("{}\n", masks.possible.without(&masks.online)),
            File::KernelMax => format!("{}\n", MAX_CPUS - 1),
            File::States => states(machine),
            File::History => String::new(),
            File::CpuOnline(cpu) => format!("{}\n", u8::from(masks.online.contains(cpu))),
            File::State(cpu) | File::Target(cpu) => format!("{}\n", machine.cpu_state(cpu)),
            File::TracingOn => format!("{}\n", u8::from(machine.is_tracing())),
            File::TracingEvents => format!("{}\n", u8::from(machine.is_tracing_sched())),
            File::Fail(cpu) => match machine.failure(cpu) {
                None => "-1\n".into(),
                Some(state) => format!("{state}\n"),
            },
            File::CpuInfo => proc::cpuinfo(machine),
            File::Interrupts => proc::interrupt_table(machine),
            File::MemInfo => proc::meminfo(machine),
            File::Uptime => proc::uptime(machine),
            File::CommandLine => format!("{}\n", machine.boot_line()),
            File::SchedStat => proc::schedstat(machine),
            File::Irq(number, file) => file.read(machine, number),
            File::Setting(key) => sysctl::value(machine, key) + "\n",
            File::Governor(file) => file.read(machine),
        }
    }

    /// Writes `value`.
    fn write<M: Machine>(self, machine: &M, value: &str) -> Written<M::Error> {
        let number = value.parse::<usize>().map_err(|_| Errno::Invalid);
        let done = match (self, value) {
            (File::CpuOnline(cpu), "0") => only(machine.cpus_down(&CpuMask::of(cpu))),
            (File::CpuOnline(cpu), "1") => only(machine.cpus_up(&CpuMask::of(cpu))),
            (File::Target(cpu), _) => match number {
                Ok(state) => machine.set_target(cpu, state),
                Err(errno) => return Written::Wrong(errno),
            },
            (File::Fail(cpu), "-1") => machine.set_failure(cpu, None),
            (File::Fail(cpu), _) => match number {
                Ok(state) => machine.set_failure(cpu, Some(state)),
                Err(errno) => return Written::Wrong(errno),
            },
            (File::TracingOn, "0") => machine.set_tracing(false),
            (File::TracingOn, "1") => machine.set_tracing(true),
            (File::TracingEvents, "0") => machine.set_tracing_sched(false),
            (File::TracingEvents, "1") => machine.set_tracing_sched(true),
            (File::CpuOnline(_) | File::TracingOn | File::TracingEvents, _) => {
                return Written::Wrong(Errno::Invalid);
            }
            (File::Irq(number, file), _) => match file.cpus(value) {
                Some(Ok(cpus)) => machine.set_irq_affinity(number, &cpus),
                Some(Err(errno)) => return Written::Wrong(errno),
                None => return Written::Denied,
            },
            (File::Governor(file), _) => return file.write(machine, value),
            (File::Setting(key), _) => match sysctl::set(machine, key, value) {
                Ok(()) => Ok(()),
                Err(Refusal::ReadOnly(_)) => return Written::Denied,
                Err(_) => return Written::Wrong(Errno::Invalid),
            },
            _ => return Written::Denied,
        };
        match done {
            Ok(()) => Written::Done,
            Err(error) => Written::Refused(error),
        }
    }
}

/// What became of a write.
enum Written<E> {
    Done,
    /// The file may not be written.
    Denied,
    /// There is no such file.
    Unopened(Errno),
    /// The value makes no sense.
    Wrong(Errno),
    /// The kernel did not do it.
    Refused(E),
}

/// Returns numbers and names of all states, as Linux lists them.
fn states<M: Machine>(machine: &M) -> String {
    let mut text = String::new();
    for row in machine.steps() {
        let written = writeln!(text, "{:3}: {}", row.number, row.full_name());
        assert!(written.is_ok(), "BUG: a string takes all text");
    }
    text
}

/// `cat`: prints files.
pub(super) fn cat<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    if args.operands.is_empty() {
        complain(machine, "cat", format_args!("missing file operand"));
        return try_help(machine, "cat");
    }
    let mut status = Status::SUCCESS;
    for path in &args.operands {
        let errno = match find(machine, path) {
            Ok(Node::File(file)) => {
                file.print(machine);
                continue;
            }
            Ok(Node::Directory(_)) => Errno::IsDirectory,
            Err(errno) => errno,
        };
        complain(machine, "cat", format_args!("{path}: {errno}"));
        status = Status::FAILURE;
    }
    Outcome::Continue(status)
}

/// Returns the outcome of an operation on one CPU.
fn only<E>(failed: Vec<(CpuId, E)>) -> Result<(), E> {
    match failed.into_iter().next() {
        None => Ok(()),
        Some((_, error)) => Err(error),
    }
}

/// `echo TEXT > PATH`: writes a file.
pub(super) fn write<M: Machine>(machine: &M, path: &str, text: &str) -> Outcome {
    let written = match find(machine, path) {
        Ok(Node::File(file)) => file.write(machine, text.trim()),
        Ok(Node::Directory(_)) => Written::Unopened(Errno::IsDirectory),
        // A shell says so that may not make files there.
        Err(Errno::NoEntry) if !path.is_empty() => Written::Denied,
        Err(errno) => Written::Unopened(errno),
    };
    let message = match written {
        Written::Done => return Outcome::Continue(Status::SUCCESS),
        Written::Denied => return unopened(machine, path, Errno::Access),
        Written::Unopened(errno) => return unopened(machine, path, errno),
        Written::Wrong(errno) => errno.to_string(),
        Written::Refused(error) => explained(&error),
    };
    complain(machine, "echo", format_args!("write error: {message}"));
    Outcome::Continue(Status::FAILURE)
}

/// Prints why the file of `path` was not opened. Returns the failure.
fn unopened<M: Machine>(machine: &M, path: &str, errno: Errno) -> Outcome {
    complain(machine, "sh", format_args!("{path}: {errno}"));
    Outcome::Continue(Status::FAILURE)
}

/// Returns an error as the shell prints it.
fn explained(error: &impl Failure) -> String {
    Explained(error).to_string()
}
