//! `bench`: measures the kernel, and prints the figures beside Linux's.
//!
//! Boots the bench kernel at each size, in real time at 2, 4, 8 and 16 CPUs and with the
//! instruction count as the clock at 2, 4, 16 and 64. Prints each BENCH line as the kernel
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
x floor      the median in floors: a bare SGI to all other CPUs and their answers, which
             is the least that it takes to reach them all

";

/// A clock, and the sizes at which it is used.
struct Clock {
    name: &'static str,
    icount: &'static str,
    sizes: &'static str,
}

const REAL: Clock = Clock {
    name: "real",
    icount: "",
    sizes: "2 4 8 16",
};
const ICOUNT: Clock = Clock {
    name: "icount",
    icount: "1",
    sizes: "2 4 16 64",
};

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    if !arguments.is_empty() {
        bail!("bench");
    }
    let clocks = match config.icount.as_str() {
        "1" => vec![ICOUNT],
        "0" => vec![REAL],
        _ => vec![REAL, ICOUNT],
    };
    print("Building the bench kernel.\n");
    let image = build(config)?;
    let linux = Linux::parse(&fs::read_to_string("benches/linux.tsv")?);
    let mut lines = Vec::new();
    for clock in clocks {
        let sizes = if config.smp.is_empty() {
            clock.sizes
        } else {
            &config.smp
        };
        for size in sizes.split_whitespace() {
            let load = load()?;
            for line in measure(config, &image, &clock, size)? {
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
    print(&table::table(&figures.collect::<Vec<_>>()));
    Ok(0)
}

/// Builds the bench kernel, and returns its Image.
fn build(config: &Config) -> Result<PathBuf> {
    let mut cargo = cargo(config);
    cargo.args([
        "build",
        "--release",
        "--target",
        TARGET,
        "--bench",
        "kernel",
    ]);
    let programs = built(&mut cargo)?;
    let elf = programs.iter().find(|program| name_of(program) == "kernel");
    let elf = elf.context("cargo names no bench kernel")?;
    let image = target_dir().join("bench-Image");
    image::make(elf, &image)?;
    Ok(image)
}

/// Runs the bench kernel on `size` CPUs, and returns its BENCH lines.
fn measure(config: &Config, image: &Path, clock: &Clock, size: &str) -> Result<Vec<String>> {
    let machine = Config {
        smp: size.into(),
        icount: clock.icount.into(),
        ..config.clone()
    };
    let log = target_dir().join("bench.log");
    let vm = qemu::command(&machine, image)?;
    let (end, printed) = run_to_end(vm, b"", &log, LIMIT)?;
    let ended = end.is(0, LIMIT);
    if ended.is_err() {
        let lines: Vec<&str> = printed.lines().collect();
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        print(&format!("{}\n", last.join("\n")));
        let only = if clock.icount.is_empty() { "0" } else { "1" };
        let repeat = repeat("bench", &[("SMP", size), ("ICOUNT", only)]);
        print(&format!("{repeat}\n"));
    }
    ended.with_context(|| format!("SMP={size} by {}", clock.name))?;
    let lines = printed.lines().filter(|line| line.starts_with("BENCH,"));
    Ok(lines.map(str::to_owned).collect())
}

/// Returns the host's load.
fn load() -> Result<String> {
    let load = fs::read_to_string("/proc/loadavg").context("/proc/loadavg")?;
    let first = load.split_whitespace().next();
    Ok(first.context("/proc/loadavg is empty")?.to_owned())
}
