//! Watches, through QEMU's monitor, a machine whose kernel can't end it.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::elf::Elf;
use crate::machine::Machine;
use crate::monitor::{Monitor, WordSize};
use crate::whereabouts::{Functions, is_image, whereabouts};

/// How often the CPU's registers are read.
const LOOK: Duration = Duration::from_millis(100);

/// `boot_halt` is five instructions.
const HALT_SIZE: u64 = 5 * 4;

/// An Image begins at a page boundary.
const PAGE: u64 = 4096;

/// The place in an Image where its kernel halts, and the place where it stores the reason.
#[derive(Debug, Clone, Copy)]
pub struct Halt {
    halt: u64,
    reason: u64,
}

impl Halt {
    /// Returns the places from the symbols of the file `elf`.
    ///
    /// # Errors
    ///
    /// The file can't be read, or is no kernel of this project.
    pub fn of(elf: &Path) -> Result<Halt> {
        let elf = Elf::read(elf)?;
        Ok(Halt {
            halt: elf.symbol("boot_halt")?,
            reason: elf.symbol("boot_failure_reason")?,
        })
    }

    /// Returns the value of `boot_failure_reason` if the first CPU sleeps in `boot_halt`, wherever
    /// the Image is in memory.
    ///
    /// # Errors
    ///
    /// QEMU doesn't answer.
    pub fn reason(self, monitor: &mut Monitor) -> std::io::Result<Option<u8>> {
        let all = monitor.registers()?;
        let Some(base) = all.first().and_then(|first| self.base(first.pc)) else {
            return Ok(None);
        };
        // An address in other code may look the same. Then there is no Image at this base.
        if !is_image(monitor, base)? {
            return Ok(None);
        }
        let byte = monitor.memory(base + self.reason, WordSize::Byte)?;
        Ok(byte.map(|[byte]| byte as u8))
    }

    /// Returns the address that the Image must have for `pc` to be in `boot_halt`; `None` if
    /// there is none.
    fn base(self, pc: u64) -> Option<u64> {
        let into = pc.wrapping_sub(self.halt) % PAGE;
        if into >= HALT_SIZE {
            return None;
        }
        pc.checked_sub(into)?.checked_sub(self.halt)
    }
}

/// Runs `vm` until its first CPU sleeps in `boot_halt`, then ends it by its monitor.
/// Returns the value of `boot_failure_reason`, or `None` if the CPU doesn't halt within `limit`
/// seconds. The serial port goes to `log`. `elf` is the kernel that is booted, and has its symbols.
/// With `image`, the Image made of it, the end of the log says where the CPUs are that don't halt.
///
/// # Errors
///
/// QEMU can't be started, or `elf` has no such symbols.
pub fn run_until_halt(
    vm: &Command,
    elf: &Path,
    image: Option<&Path>,
    log: &Path,
    limit: u64,
) -> Result<Option<u8>> {
    let halt = Halt::of(elf)?;
    let deadline = Instant::now() + Duration::from_secs(limit);
    let mut machine = Machine::boot(vm, log, false)?;
    let mut reason = None;
    while reason.is_none() && Instant::now() < deadline && machine.runs()? {
        sleep(LOOK);
        // QEMU may be about to end.
        reason = machine
            .monitor()
            .ok()
            .and_then(|monitor| halt.reason(monitor).ok()?);
    }
    if let Some(image) = image
        && reason.is_none()
        && machine.runs()?
    {
        let functions = Functions::read(elf, image)?;
        let place = whereabouts(machine.monitor()?, &functions);
        machine.session().note(&place);
    }
    machine.quit()?;
    Ok(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_found_by_where_its_cpu_halts() {
        let halt = Halt {
            halt: 0x1ff8,
            reason: 0x3000,
        };
        assert_eq!(halt.base(0x4020_1ff8), Some(0x4020_0000));
        // The last instruction is in the next page.
        assert_eq!(halt.base(0x4020_2008), Some(0x4020_0000));
        assert_eq!(halt.base(0x4020_200c), None);
        assert_eq!(halt.base(0x4020_1ff4), None);
        assert_eq!(halt.base(0xff8), None);
    }
}
