//! `run [--debug|--net] IMAGE [ELF]`: boots an Image with the console on this terminal.
//!
//! With the option `--net` the machine has a network card, on QEMU's user network, and a port of the
//! host, PORT or a free one, leads to its port 80.
//!
//! TIMEOUT, in seconds, ends it early. The exit status is the kernel's, or 124 on time-out.
//!
//! QEMU's escape key is Ctrl-], not its usual Ctrl-A: in the shell's line editor Ctrl-A goes
//! to the beginning of the line. Ctrl-] X ends the machine, Ctrl-] C switches to QEMU's
//! monitor, and Ctrl-] Ctrl-] sends a Ctrl-] to the kernel.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::config::Config;
use crate::process::{Running, code};
use crate::qemu::{self, card};
use crate::report::print;

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    let option = |name: &str| arguments.first().is_some_and(|first| first == name);
    let (debug, net) = (option("--debug"), option("--net"));
    let [image, elf @ ..] = &arguments[usize::from(debug || net)..] else {
        bail!("run [--debug|--net] IMAGE [ELF]");
    };
    let mut config = config.clone();
    // Without commands the machine shows the tour, and then a prompt.
    if config.init.is_empty() && !debug && !net {
        config.init = tour(config.cpus()?).into();
    }
    let mut vm = qemu::command(&config, Path::new(image))?;
    vm.args(["-serial", "mon:stdio", "-echr", "0x1d"]);
    if net {
        let port = card::free_port(&config.port)?;
        vm.args(card::forwarding(port));
        print(&format!("http://127.0.0.1:{port}/ when it has booted\n"));
    }
    print("Ctrl-] X ends the machine, whatever it does.\n");
    if debug {
        vm.args(["-S", "-gdb", "tcp::1234"]);
        let elf = elf.first().context("run --debug IMAGE ELF")?;
        // The ELF is linked at 0; QEMU loads an Image at the start of memory plus its
        // text_offset of 2 MiB.
        print(&format!(
            "Halted before its first instruction. In another terminal:\n  gdb-multiarch \
             -ex 'target remote :1234' -ex 'add-symbol-file {} -o 0x40200000'\n",
            elf.display()
        ));
    }
    if config.timeout.is_empty() {
        return Err(vm.exec()).context(qemu::PROGRAM);
    }
    let limit = Instant::now() + Duration::from_secs(config.timeout_or(0)?);
    let mut running = Running::start_in_front(&mut vm)?;
    match running.wait_until(limit)? {
        Some(status) => Ok(code(status)),
        None => {
            running.end()?;
            Ok(124)
        }
    }
}

/// Returns the commands that show what a machine of `cpus` CPUs can do.
fn tour(cpus: u32) -> String {
    match cpus {
        0 | 1 => "stop; lscpu".to_owned(),
        2 => "trace 1; stop; chcpu -d 1; lscpu; chcpu -e 1".to_owned(),
        // More, or `lscpu` too, would not fit on a screen.
        more => {
            let last = more - 1;
            format!("trace {last}; stop; chcpu -d {last}; chcpu -e {last}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tour_sends_a_cpu_away() {
        assert_eq!(tour(1), "stop; lscpu");
        assert_eq!(tour(2), "trace 1; stop; chcpu -d 1; lscpu; chcpu -e 1");
        assert_eq!(tour(3), "trace 2; stop; chcpu -d 2; chcpu -e 2");
        assert_eq!(tour(4), "trace 3; stop; chcpu -d 3; chcpu -e 3");
    }
}
