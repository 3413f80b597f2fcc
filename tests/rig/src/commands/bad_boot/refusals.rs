//! Valid trees of machines that can't be booted.

use std::fs;
use std::time::Duration;

use anyhow::Result;

use super::{BAD_ADDRESS_MAP, BAD_DEVICE_TREE, Kernel, NO_DEVICE, NO_MEMORY, TREE_AT};
use super::{log_of, prints};
use crate::cases::Cases;
use crate::machine::run_to_end;
use crate::tools::compile_forced;

/// The status with which a refused boot ends if the boot arguments ask for a status.
const REFUSED: i32 = 101;

/// A refusal: its name, the reason, the line of output, and the source text that is appended
/// to dts/virt-small.dtsi.
type Refusal = (&'static str, u8, &'static str, &'static str);

const ALL: &[Refusal] = &[
    (
        "bad_gic",
        NO_DEVICE,
        "no usable interrupt controller: the GIC node has a bad .reg.",
        "&gic { reg = <0 1>; };",
    ),
    (
        "no_timer",
        NO_DEVICE,
        "no usable timer: no usable timer node",
        "/ { timer { compatible = \"none\"; }; };",
    ),
    (
        "bad_psci_method",
        NO_DEVICE,
        "no usable PSCI: the PSCI node has a bad .method.",
        "&psci { method = \"svc\"; };",
    ),
    (
        "memory_over_mmio",
        BAD_ADDRESS_MAP,
        "bad device tree: a device at 0x9000000, where it has memory",
        "/ { memory@9000000 { device_type = \"memory\"; reg = <0 0x9000000 0 0x10000>; }; };",
    ),
    (
        "bad_reservation",
        BAD_DEVICE_TREE,
        "bad device tree: the reserved-memory node has a bad .reg.",
        "/ { reserved-memory { #address-cells = <2>; #size-cells = <2>; ranges; \
         x@0 { reg = <1 2 3>; }; }; };",
    ),
    (
        "no_memory_left",
        NO_MEMORY,
        "no free memory of [0-9]+ bytes for the stacks of 4 CPUs",
        "/ { memory@40000000 { reg = <0 0x40000000 0 0x10000>; }; };",
    ),
    (
        // The line is printed although the tree's console doesn't exist.
        "no_memory_no_console",
        NO_MEMORY,
        "no free memory of [0-9]+ bytes for the stacks of 4 CPUs",
        "/ { memory@40000000 { reg = <0 0x40000000 0 0x10000>; }; }; \
         &absent { status = \"okay\"; }; &chosen { stdout-path = \"/serial@9040000\"; };",
    ),
];

/// Whether the boot arguments ask for an exit status, and whether that reaches QEMU.
#[derive(Clone, Copy)]
enum Asked {
    /// They ask for a status, which reaches QEMU.
    Heard,
    /// They ask for a status, and nothing takes the semihosting call.
    Unheard,
    /// They don't ask for a status.
    Not,
}

/// Boots each tree once for each variant of [`Asked`].
pub fn run(cases: &mut Cases, kernel: &Kernel, limit: u64) -> Result<()> {
    for refusal in ALL {
        for (suffix, asked) in [
            ("", Asked::Heard),
            ("-unheard", Asked::Unheard),
            ("-unasked", Asked::Not),
        ] {
            let name = format!("{}{suffix}", refusal.0);
            let log = log_of(&name)?;
            let line = |took: &str| format!("{name:<24} {took:>13}");
            cases.run(&name, &log, line, || {
                refused(kernel, refusal, asked, &name, limit)
            });
        }
    }
    Ok(())
}

fn refused(kernel: &Kernel, refusal: &Refusal, asked: Asked, name: &str, limit: u64) -> Result<()> {
    let (_, reason, line, source) = refusal;
    let arguments = match asked {
        Asked::Heard | Asked::Unheard => "exit=semihosting",
        Asked::Not => "",
    };
    let tree = format!(
        "/dts-v1/;\n/include/ \"virt-small.dtsi\"\n\
         &chosen {{ bootargs = \"{arguments}\"; }};\n{source}\n"
    );
    let log = log_of(name)?;
    let blob = log.with_extension("dtb");
    compile_forced(tree.as_bytes(), &blob)?;
    let mut vm = kernel.with_tree(&fs::read(blob)?, TREE_AT, &log)?;
    vm.args(["-m", "1G"]);
    match asked {
        Asked::Heard => {
            let limit = Duration::from_secs(limit);
            let (end, _) = run_to_end(vm, b"", &log, limit)?;
            end.is(REFUSED, limit)?;
        }
        Asked::Unheard => {
            vm.args(["-semihosting-config", "enable=off"]);
            kernel.halts(&vm, *reason, &log, limit)?;
        }
        Asked::Not => kernel.halts(&vm, *reason, &log, limit)?,
    }
    prints(Some(line), &log)
}
