//! `xen IMAGE`: boots the Image as a guest of Xen.
//!
//! Debian's Xen runs without a Dom0: the Image is its only domain, started by Xen itself from
//! the device tree. QEMU emulates the board, with EL2. The guest's console is Xen's emulated
//! PL011. Xen prints each whole line of it, with a mark in front. Xen keeps running when its
//! guest has turned itself off. Xen's key `q` then lists the guest's virtual CPUs as paused,
//! and the rig ends QEMU.
//!
//! It ends with status 77 if something that it needs can't be had; the last line names it.

mod console;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cases::Cases;
use crate::config::Config;
use crate::debian::Packages;
use crate::guest::{COMMANDS, judge_guest, or_skip};
use crate::loader::put;
use crate::paths::log_dir;
use crate::process::{output_of, succeed};
use crate::qemu::{PROGRAM, dump_tree};
use crate::session::Session;

use console::Console;

/// The address of the Image in the board's memory, from which Xen copies it for its guest.
const IMAGE_AT: u64 = 0x6000_0000;

/// Seconds that a machine may take.
const LIMIT: u64 = 180;

/// How long Xen may print nothing before the rig asks it for the state of its guest.
const SILENCE: Duration = Duration::from_secs(2);

/// The machines: the GIC's version, and the number of the guest's CPUs.
const MACHINES: [(u32, u32); 4] = [(3, 4), (2, 4), (3, 8), (2, 8)];

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    let [image] = arguments else {
        bail!("xen IMAGE");
    };
    let image = Path::new(image);
    or_skip(Packages::open().and_then(|packages| {
        let package = packages.newest("xen-hypervisor-[0-9.]*-arm64")?;
        let xen = hypervisor(&packages.unpack(&package)?.join("boot"))?;
        packages.needs_command("dtc", "device-tree-compiler")?;
        let limit = Duration::from_secs(config.timeout_or(LIMIT)?);
        let mut cases = Cases::new("xen", arguments, config);
        for (gic, cpus) in MACHINES {
            let name = format!("gicv{gic}-{cpus}");
            let log = log_dir()?.join(format!("xen-{name}.log"));
            let tree = packages.root().join(format!("xen-{name}.dtb"));
            let line = |took: &str| format!("{package}, GICv{gic}, {cpus} virtual CPUs  {took}");
            cases.run(&name, &log, line, || {
                write_tree(&board(gic), image, cpus, &tree)?;
                let mut vm = board(gic);
                vm.args(["-serial", "stdio"]);
                vm.arg("-kernel").arg(&xen).arg("-dtb").arg(&tree);
                put(&mut vm, image, IMAGE_AT);
                judge(vm, &log, limit)
            });
        }
        Ok(cases.finish())
    }))
}

/// Returns the path of the hypervisor in `boot`, a directory of its package.
fn hypervisor(boot: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(boot)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.starts_with("xen-") && name.ends_with("-arm64")) {
            return Ok(path);
        }
    }
    bail!("{} has no Xen", boot.display())
}

fn board(gic: u32) -> Command {
    let mut board = Command::new(PROGRAM);
    board.args(["-M", &format!("virt,virtualization=on,gic-version={gic}")]);
    board.args(["-cpu", "cortex-a72", "-smp", "4", "-m", "2G", "-nodefaults"]);
    board.args(["-display", "none", "-monitor", "none", "-no-reboot"]);
    board
}

/// Writes the board's device tree, with a domain of `cpus` CPUs added, to the file `tree`.
fn write_tree(board: &Command, image: &Path, cpus: u32, tree: &Path) -> Result<()> {
    let own = tree.with_extension("board");
    let mut dump = Command::new(board.get_program());
    dump.args(board.get_args());
    dump_tree(dump, &own)?;
    let mut text = output_of(
        Command::new("dtc")
            .args(["-q", "-I", "dtb", "-O", "dts"])
            .arg(own),
    )?;
    text.extend(domain(fs::metadata(image)?.len(), cpus).into_bytes());
    let source = tree.with_extension("dts");
    fs::write(&source, text)?;
    let mut dtc = Command::new("dtc");
    succeed(
        dtc.args(["-q", "-I", "dts", "-O", "dtb", "-o"])
            .arg(tree)
            .arg(source),
    )
}

fn domain(size: u64, cpus: u32) -> String {
    let memory = 256 * 1024;
    format!(
        r#"/ {{ chosen {{
    #address-cells = <2>;
    #size-cells = <2>;
    xen,xen-bootargs = "console=dtuart dtuart=/pl011@9000000 conswitch=ax guest_loglvl=all noreboot";
    guest {{
        compatible = "xen,domain";
        #address-cells = <2>;
        #size-cells = <2>;
        memory = <0 {memory}>;
        cpus = <{cpus}>;
        vpl011;
        module@60000000 {{
            compatible = "multiboot,kernel", "multiboot,module";
            reg = <0 {IMAGE_AT:#x} 0 {size}>;
            bootargs = "init=\"{COMMANDS}\"";
        }};
    }};
}}; }};
"#
    )
}

/// Runs a machine until its guest has turned itself off, and judges the guest's output. That
/// goes to `log`; Xen's own output goes to a file beside it.
fn judge(mut vm: Command, log: &Path, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    let mut session = Session::start(&mut vm, &log.with_extension("log.raw"), false)?;
    let mut console = Console::default();
    while !console.is_off() && Instant::now() < deadline {
        if let Some(line) = session.next_line(Instant::now() + SILENCE) {
            console.take(&line);
        } else if session.is_whole() {
            break;
        } else if console.has_said_its_last() {
            session.type_in("q").context("Xen's console")?;
        }
    }
    drop(session);
    fs::write(log, console.of_guest())?;
    judge_guest(console.of_guest())?;
    ensure!(console.is_off(), "the guest has not turned itself off");
    Ok(())
}
