//! `places IMAGE`: boots the Image with Image and device tree at every place where a loader
//! may put them, and with unusual trees as people and firmware write them.
//!
//! The kernel runs `selftest; poweroff`, from its boot arguments, or typed if the tree has
//! none. All checks must be ok, and the status must be 0.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cases::{Cases, find_lines, judge_selftest};
use crate::config::Config;
use crate::loader::{RAM, enter, put};
use crate::machine::run_to_end;
use crate::paths::log_dir;
use crate::qemu::{PROGRAM, dump_tree};
use crate::tools::compile_forced;

/// Seconds that a machine may take.
const LIMIT: u64 = 60;

const MACHINE: &str = "virt,gic-version=3";

/// The addresses of Image and tree for [`HABITS`].
const HABIT_IMAGE_AT: u64 = RAM + 0x20_0000;
const HABIT_TREE_AT: u64 = RAM + 0x400_0000;

/// A place: its name, the size of the memory, the Image's address, and the tree's address.
type Place = (&'static str, &'static str, u64, u64);

/// A tree of `dts`, and patterns that must each match a line of the console.
type Habit = (&'static str, &'static [&'static str]);

/// The unusual trees. The kernel leaves out what it can't use, and says so in its log.
const HABITS: &[Habit] = &[
    (
        "habits-texts",
        &[
            "on Stillpoint .*: 3 CPUs",
            "CPU 0x3 is left alone: it has failed",
            "boot arguments: the text has no end",
            "'user=J.*rg' ignored: not UTF-8",
            "console: ./serial@9000001., which /chosen names, is none",
            "^CPU 1 disabled",
            "^CPU 1 enabled",
        ],
    ),
    (
        "habits-memory",
        &[
            ": 2 CPUs",
            "memory is left out: the memory node has a bad .reg.",
            "1048576 KiB of memory are left out: their addresses are too large for this CPU",
            "KiB of memory are left out: it is in more than 64 pieces",
            "CPU 0x2 stays off: its release word is in no memory that is reserved",
            "CPU 0x3 stays off: its release word is in no memory that is reserved",
        ],
    ),
    (
        "habits-redistributors",
        &[
            ": 4 CPUs, GICv3",
            "1 regions of redistributors are left out",
            "Brought up 4 of 4 CPUs",
            "^CPU 3 disabled",
            "^CPU 3 enabled",
        ],
    ),
    (
        // The log escapes the control characters in the tree's texts.
        "habits-alone",
        &[
            r" on Red.u\{1b\}\[31m.nboard: 1 CPU, GICv3, nothing that starts CPUs, no power-off$",
            "warning: CPU 0x0, which boots, is not in the device tree",
            "CPU 0x1 stays off: nothing starts it",
            r"boot arguments: unknown red=.u\{1b\}\[31m$",
            r"'loglevel=.u\{7\}' ignored: not a number",
            r"^stillpoint# nosuch.u\{1b\}\[2J$",
            r"^nosuch.u\{1b\}\[2J: command not found$",
            r"^trace: Invalid argument \(EINVAL: '.u\{1b\}\[2J' is not a CPU number\)",
        ],
    ),
];

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    let [image] = arguments else {
        bail!("places IMAGE");
    };
    let image = Path::new(image);
    let logs = log_dir()?;
    let limit = Duration::from_secs(config.timeout_or(LIMIT)?);
    let mut cases = Cases::new("places", arguments, config);
    for place in places(size_of(image)?) {
        let (name, _, image_at, tree_at) = place;
        let log = logs.join(format!("place-{name}.log"));
        let line = |took: &str| {
            format!("{name:<24} {took:>13}  Image at {image_at:#x}, tree at {tree_at:#x}")
        };
        cases.run(name, &log, line, || boot_at(place, image, &log, limit));
    }
    for (name, lines) in HABITS {
        let log = logs.join(format!("place-{name}.log"));
        let line = |took: &str| format!("{name:<24} {took:>13}");
        cases.run(name, &log, line, || {
            let tree = log.with_extension("dtb");
            compile_forced(
                &fs::read(Path::new("dts").join(format!("{name}.dts")))?,
                &tree,
            )?;
            let mut vm = machine("1G");
            vm.args(["-M", MACHINE]);
            put(&mut vm, &tree, HABIT_TREE_AT);
            put(&mut vm, image, HABIT_IMAGE_AT);
            enter(&mut vm, HABIT_IMAGE_AT, HABIT_TREE_AT);
            let printed = selftest(vm, b"", &log, limit)?;
            let mut lines = lines.iter();
            lines.try_for_each(|line| find_lines(&printed, &[line]))
        });
    }
    Ok(cases.finish())
}

fn places(image_size: u64) -> [Place; 5] {
    const AT: u64 = RAM + 0x20_0000;
    const END: u64 = RAM + 0x3ff0_0000;
    [
        // QEMU's own loader puts a tree at the first byte of RAM too.
        ("tree_first", "1G", AT, RAM),
        ("tree_behind_image", "1G", AT, AT + image_size),
        ("tree_at_the_end", "1G", (END - image_size) & !0xfff, END),
        ("tree_above_4g", "8G", RAM + 0x10_1000, 0x1_4000_0000),
        ("both_above_4g", "8G", 0x1_8000_1000, 0x2_3ff0_0000),
    ]
}

/// Returns the size in memory that the header of the file `image` has (Linux,
/// Documentation/arch/arm64/booting.rst).
fn size_of(image: &Path) -> Result<u64> {
    let bytes = fs::read(image).with_context(|| image.display().to_string())?;
    let size = bytes.get(16..24).and_then(|size| size.try_into().ok());
    Ok(u64::from_le_bytes(size.context("the Image has no header")?))
}

fn machine(memory: &str) -> Command {
    let mut vm = Command::new(PROGRAM);
    vm.args(["-cpu", "max", "-smp", "4", "-m", memory, "-nic", "none"]);
    vm.args([
        "-display",
        "none",
        "-semihosting-config",
        "enable=on,target=native",
    ]);
    vm
}

fn boot_at(place: Place, image: &Path, log: &Path, limit: Duration) -> Result<()> {
    let (_, memory, image_at, tree_at) = place;
    let mut vm = machine(memory);
    vm.args(["-M", MACHINE]);
    put(&mut vm, image, image_at);
    enter(&mut vm, image_at, tree_at);
    if tree_at != RAM {
        let tree = log.with_extension("dtb");
        let mut dump = machine(memory);
        dump.args(["-M", MACHINE]);
        dump.arg("-kernel").arg(image);
        dump.args(["-append", "exit=semihosting init=\"selftest; poweroff\""]);
        dump_tree(dump, &tree)?;
        put(&mut vm, &tree, tree_at);
    }
    selftest(vm, b"\n\nselftest; poweroff\n", log, limit).map(drop)
}

/// Runs a machine, checks that all checks of `selftest` are ok, and returns the console's
/// output.
fn selftest(vm: Command, typed: &[u8], log: &Path, limit: Duration) -> Result<String> {
    let (end, printed) = run_to_end(vm, typed, log, limit)?;
    end.is(0, limit)?;
    judge_selftest(&printed)?;
    Ok(printed)
}
