//! `bench`: measures the kernel, and prints the figures beside Linux's.
//!
//! `bench`, `bench cyclic` and `bench ring` boot the kernel of that name in benches/ (without
//! a name it is `kernel`) at each size, in real time and with the instruction count as the
//! clock: `kernel` in real time at 2, 4, 8 and 16 CPUs and by instruction count at 2, 4, 16
//! and 64, the others at 4. Prints each BENCH and TRAPS line as the kernel
//! printed it, with the clock and the host's load; by instruction count also with Linux's
//! figure (benches/linux.tsv) and the ratio. Then it prints a table. In real time it makes no
//! comparison, because Linux's figures were measured under another load of the host.
//!
//! `SMP` selects sizes. `ICOUNT` selects a clock: `1` is the instruction count, `0` is real
//! time.

mod table;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cargo::{built, cargo, name_of};
use crate::config::Config;
use crate::machine::run_to_end;
use crate::paths::{TARGET, target_dir};
use crate::report::{print, repeat};
use crate::{image, qemu};

use table::{Figures, Linux};

/// How long a machine may take.
const LIMIT: Duration = Duration::from_secs(300);

/// How many of the last lines are shown if a machine fails.
const LAST_LINES: usize = 20;

const LEGEND: &str = "
median, p99  microseconds; by icount: thousands of instructions of all CPUs
Linux        Linux's median; ratio: Linux's over ours, more is better. By icount only:
             real times are comparable within one run, and Linux is not in this one
x floor      the median in floors, the least that it can take. For what brings CPUs up that
             is a bare CPU_ON of the same CPUs, for what takes them down a bare CPU_OFF, and
             for all else a bare SGI to all other CPUs and their answers

";

const TRAPS_LEGEND: &str = "
What traps to a hypervisor, on all CPUs together, for each operation: sleeps (WFI), register
writes that send SGIs, calls of firmware, and accesses to the GIC in memory

";

/// A kernel that measures, and the sizes at which it does so by each clock.
struct Bench {
    name: &'static str,
    real_sizes: &'static str,
    icount_sizes: &'static str,
    /// Whether CPUs take turns that are short beside what is measured, by instruction count.
    short_turns: bool,
}

const BENCHES: [Bench; 3] = [
    Bench {
        name: "kernel",
        real_sizes: "2 4 8 16",
        icount_sizes: "2 4 16 64",
        short_turns: false,
    },
    Bench {
        name: "cyclic",
        real_sizes: "4",
        icount_sizes: "4",
        short_turns: true,
    },
    Bench {
        name: "ring",
        real_sizes: "4",
        icount_sizes: "4",
        short_turns: true,
    },
];

/// With the instruction count as the clock QEMU runs the CPUs one after the other, each until
/// the next timer, divided by the number of CPUs; that may be milliseconds, during which the
/// others stand still. This is a network without a card or a packet, whose filter has a timer
/// every 10 us. It costs the guest no instruction.
const SHORT_TURNS: &str = "-netdev hubport,id=turns,hubid=0 \
     -object filter-buffer,id=turn,netdev=turns,interval=10";

/// A clock.
struct Clock {
    name: &'static str,
    icount: &'static str,
}

const REAL: Clock = Clock {
    name: "real",
    icount: "",
};
const ICOUNT: Clock = Clock {
    name: "icount",
    icount: "1",
};

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    let name = match arguments {
        [] => "kernel".as_ref(),
        [name] => name.as_os_str(),
        _ => bail!("bench [KERNEL]"),
    };
    let bench = BENCHES.iter().find(|bench| bench.name == name);
    let bench = bench.context("bench [kernel|cyclic|ring]")?;
    let clocks = match config.icount.as_str() {
        "1" => vec![ICOUNT],
        "0" => vec![REAL],
        _ => vec![REAL, ICOUNT],
    };
    print("Building the bench kernel.\n");
    let image = build(bench)?;
    let linux = Linux::parse(&fs::read_to_string("benches/linux.tsv")?);
    let mut lines = Vec::new();
    for clock in clocks {
        let sizes = match config.smp.as_str() {
            "" if clock.icount.is_empty() => bench.real_sizes,
            "" => bench.icount_sizes,
            sizes => sizes,
        };
        for size in sizes.split_whitespace() {
            let load = load()?;
            for line in measure(config, bench, &image, &clock, size)? {
                let line = linux.beside(&line, clock.name, &load);
                print(&format!("{line}\n"));
                lines.push(line);
            }
        }
    }
    let kept = target_dir().join("bench.txt");
    fs::write(&kept, lines.join("\n") + "\n").with_context(|| kept.display().to_string())?;
    print(LEGEND);
    let figures = lines.iter().map(|line| Figures::parse(line));
    let (times, traps): (Vec<_>, Vec<_>) = figures.partition(|line| !line.counts_traps());
    print(&table::table(&times));
    print(TRAPS_LEGEND);
    print(&table::traps_table(&traps));
    Ok(0)
}

/// Builds the kernel of `bench`, and returns its Image.
fn build(bench: &Bench) -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args([
        "build",
        "--release",
        "--target",
        TARGET,
        "--bench",
        bench.name,
    ]);
    let programs = built(&mut cargo)?;
    let elf = programs
        .iter()
        .find(|program| name_of(program) == bench.name);
    let elf = elf.context("cargo names no bench kernel")?;
    // Of its own name: an Image that is newer than its ELF file is taken as it is.
    let image = target_dir().join(format!("bench-{}-Image", bench.name));
    image::make(elf, &image)?;
    Ok(image)
}

/// Runs the kernel of `bench` on `size` CPUs, and returns its BENCH and TRAPS lines.
fn measure(
    config: &Config,
    bench: &Bench,
    image: &Path,
    clock: &Clock,
    size: &str,
) -> Result<Vec<String>> {
    let mut machine = Config {
        smp: size.into(),
        icount: clock.icount.into(),
        ..config.clone()
    };
    if bench.short_turns && !clock.icount.is_empty() {
        machine.qemu = format!("{SHORT_TURNS} {}", config.qemu);
    }
    let log = target_dir().join("bench.log");
    let vm = qemu::command(&machine, image)?;
    let (end, printed) = run_to_end(vm, b"", &log, LIMIT)?;
    let ended = end.is(0, LIMIT);
    if ended.is_err() {
        let lines: Vec<&str> = printed.lines().collect();
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        print(&format!("{}\n", last.join("\n")));
        let only = if clock.icount.is_empty() { "0" } else { "1" };
        let target = if bench.name == "kernel" {
            "bench"
        } else {
            bench.name
        };
        let repeat = repeat(target, &[("SMP", size), ("ICOUNT", only)]);
        print(&format!("repeat: {repeat}\n"));
    }
    ended.with_context(|| format!("SMP={size} by {}", clock.name))?;
    let is_figure = |line: &&str| line.starts_with("BENCH,") || line.starts_with("TRAPS,");
    Ok(printed
        .lines()
        .filter(is_figure)
        .map(str::to_owned)
        .collect())
}

/// Returns the host's load.
fn load() -> Result<String> {
    let load = fs::read_to_string("/proc/loadavg").context("/proc/loadavg")?;
    let first = load.split_whitespace().next();
    Ok(first.context("/proc/loadavg is empty")?.to_owned())
}
