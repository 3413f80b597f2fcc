//! What `boot --help` prints.

use std::ffi::OsString;

/// The text.
pub const BOOT: &str = "\
stillpoint-rig boot [--OPTION VALUE]... ELF [ARGUMENT]...

Boots a program in QEMU and ends with its status. Cargo calls it, by the line
    runner = [\"stillpoint-rig\", \"boot\"]
in the program's .cargo/config.toml. The arguments are the program's (api::args), or select tests.

Each option has a variable of the environment, which counts where the option isn't given:
--smp has STILLPOINT_SMP.

    --smp CPUS          the number of CPUs: 4
    --mem SIZE          the memory: 1G
    --cpu MODEL         the model of the CPUs: max
    --gic VERSION       the interrupt controller: 2, 3 or 4; 3
    --board BOARD       virt, or rpi4 with QEMU 9 or later and dtc
    --virt on           entered at EL2
    --secure on         with a secure world
    --dtb FILE          a device tree, .dts or .dtb, instead of QEMU's own
    --append ARGUMENTS  boot arguments
    --init COMMANDS     commands for the shell of a program that has one
    --tcg single        one host thread for all CPUs
    --icount 1          time is the instruction count
    --timeout SECONDS   when it is ended; each boot of tests: 60
    --qemu ARGUMENTS    further arguments of QEMU

Examples, in the directory of a program:
    cargo run -- an argument
    STILLPOINT_SMP=8 STILLPOINT_GIC=2 cargo run
    STILLPOINT_APPEND=\"maxcpus=2 loglevel=4\" cargo test part_of_a_name
    cargo test -- --list

docs/applications.md of Stillpoint's repository tells more.
";

/// Returns whether `arguments` ask for help instead of naming a program.
pub fn is_wanted(arguments: &[OsString]) -> bool {
    let first = arguments.first();
    first.is_some_and(|first| first == "--help" || first == "-h")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::boot::OPTIONS;

    #[test]
    fn each_option_is_explained() {
        for option in OPTIONS {
            assert!(BOOT.contains(&format!("\n    --{option} ")), "{option}");
        }
        let options = BOOT.lines().filter(|line| line.starts_with("    --"));
        assert_eq!(options.count(), OPTIONS.len());
    }

    #[test]
    fn help_is_no_argument_of_a_program() {
        let words = |words: &[&str]| is_wanted(&words.iter().map(Into::into).collect::<Vec<_>>());
        assert!(words(&["--help"]) && words(&["-h", "a.elf"]));
        assert!(!words(&["a.elf", "--help"]) && !words(&[]));
    }
}
