//! The rig's commands, each in a module of its own. A command prints its results and returns
//! the exit status.

use std::ffi::OsString;

use anyhow::Result;

use crate::config::Config;

pub mod app;
pub mod bad_boot;
pub mod bench;
pub mod boot;
pub mod check;
pub mod dtb;
pub mod held;
pub mod host_cost;
pub mod httpd;
pub mod image;
pub mod llvm;
pub mod managed;
pub mod matrix;
pub mod mutants;
pub mod mutants_verdicts;
pub mod nightly;
pub mod parked;
pub mod places;
pub mod run;
pub mod runner;
pub mod sdcard;
pub mod shipped;
pub mod size;
pub mod stage;
pub mod template;
pub mod test_qemu;
pub mod tfa;
pub mod timeline;
pub mod typed;
pub mod uboot;
pub mod xen;

/// A command: its name, its arguments as the usage text shows them, and its function.
pub struct Command {
    pub name: &'static str,
    pub arguments: &'static str,
    pub run: fn(&Config, &[OsString]) -> Result<i32>,
    /// Whether it works in the directory where it is started, and not in the root of the tree.
    pub anywhere: bool,
}

impl Command {
    const fn anywhere(mut self) -> Command {
        self.anywhere = true;
        self
    }
}

/// All commands.
pub const ALL: &[Command] = &[
    command("app", "NAME", app::run),
    command("bad-boot", "ELF IMAGE MUTE_ELF MUTE_IMAGE", bad_boot::run),
    command("bench", "[KERNEL]", bench::run),
    command("boot", "[--OPTION VALUE]... ELF [ARGUMENT]...", boot::run).anywhere(),
    command("check", "[STAGE...]", check::run),
    command("dtb", "FILE.dts...", dtb::run),
    command("held", "ELF", held::run),
    command("host-cost", "IMAGE [SECONDS]", host_cost::run),
    command("image", "ELF IMAGE", image::run),
    command("llvm", "TOOL ARGUMENT...", llvm::run),
    command("managed", "ELF IMAGE [long]", managed::run),
    command("matrix", "IMAGE [all]", matrix::run),
    command("mutants", "[TEXT]", mutants::run),
    command("mutants-verdicts", "", mutants_verdicts::run),
    command("nightly", "[STAGE...]", nightly::run),
    command("parked", "ELF IMAGE", parked::run),
    command("places", "IMAGE", places::run),
    command("run", "[--debug|--net] IMAGE [ELF]", run::run),
    command("runner", "ELF", runner::run),
    command("sdcard", "IMAGE DIRECTORY", sdcard::run),
    command("shipped", "IMAGE", shipped::run),
    command("size", "ELF IMAGE", size::run),
    command("stage", "[NAME]", stage::run),
    command("template", "", template::run),
    command("test-qemu", "", test_qemu::run),
    command("tfa", "IMAGE", tfa::run),
    command(
        "timeline",
        "[--perfetto] (IMAGE | --log FILE)",
        timeline::run,
    ),
    command("typed", "IMAGE", typed::run),
    command("uboot", "IMAGE [all]", uboot::run),
    command("xen", "IMAGE", xen::run),
];

/// Returns the text that names all commands. First comes what the author of a program uses.
#[must_use]
pub fn usage() -> String {
    let mut text = "stillpoint-rig COMMAND ARGUMENT...\n".to_owned();
    for (anywhere, title) in [
        (
            true,
            "\nFor programs (`stillpoint-rig COMMAND --help` tells more):\n",
        ),
        (
            false,
            "\nIn the repository of Stillpoint, for its Makefile:\n",
        ),
    ] {
        text.push_str(title);
        for command in ALL.iter().filter(|command| command.anywhere == anywhere) {
            let line = format!("    {} {}", command.name, command.arguments);
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

const fn command(
    name: &'static str,
    arguments: &'static str,
    run: fn(&Config, &[OsString]) -> Result<i32>,
) -> Command {
    Command {
        name,
        arguments,
        run,
        anywhere: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_need_comes_first() {
        let usage = usage();
        let names = usage.lines().filter_map(|line| line.strip_prefix("    "));
        let names: Vec<&str> = names.filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(names.len(), ALL.len());
        assert_eq!(names[0], "boot");
    }
}
