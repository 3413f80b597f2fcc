//! The rig: builds the kernel's Image, boots it in QEMU, and judges what it prints.
//!
//! `make` calls the rig, and so does cargo, as its runner for the target. The variables of
//! the Makefile describe the machine and the selection (`config`). `commands` has the rig's
//! commands.

mod cargo;
mod cases;
mod commands;
mod config;
mod counts;
mod debian;
mod directives;
mod driver;
mod elf;
mod events;
mod gdb;
mod guest;
mod halt;
mod image;
mod interrupt;
mod kernels;
mod ktap;
mod loader;
mod machine;
mod monitor;
mod one_check;
mod paths;
mod process;
mod programs;
mod qemu;
mod report;
mod screen;
mod session;
mod stages;
mod summary;
mod symbols;
mod timeline;
mod times;
mod tools;
mod uboot_prompt;
mod view;
mod watch;
mod whereabouts;

use std::env;
use std::ffi::OsString;
use std::process::exit;

use anyhow::Result;

fn main() {
    let arguments = env::args_os().skip(1).collect();
    match rig(arguments) {
        Ok(status) => exit(status),
        Err(error) => {
            eprintln!("{error:#}");
            exit(1);
        }
    }
}

/// Runs the command that `arguments` name, and returns the exit status.
fn rig(arguments: Vec<OsString>) -> Result<i32> {
    let name = arguments
        .first()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    match name {
        "--help" | "-h" | "help" => {
            report::print(&commands::usage());
            return Ok(0);
        }
        "--version" | "-V" => {
            report::print(concat!("stillpoint-rig ", env!("CARGO_PKG_VERSION"), "\n"));
            return Ok(0);
        }
        _ => {}
    }
    let Some(command) = commands::ALL.iter().find(|command| command.name == name) else {
        if !name.is_empty() {
            eprintln!("no command {name}");
        }
        eprint!("{}", commands::usage());
        return Ok(2);
    };
    if command.anywhere {
        return (command.run)(&config::Config::default(), &arguments[1..]);
    }
    let arguments = paths::enter_root(arguments)?;
    let config = config::Config::from_env()?;
    (command.run)(&config, &arguments[1..])
}
