//! Watching a machine whose kernel can't leave, through QEMU's monitor.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::elf::Elf;
use crate::machine::Machine;
use crate::monitor::{Monitor, WordSize};
use crate::whereabouts::{Functions, is_image, whereabouts};

/// How often the CPU is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// `boot_halt` is five instructions.
const HALT_SIZE: u64 = 5 * 4;

/// An Image lies on a page boundary at least.
const PAGE: u64 = 4096;

/// Where a kernel halts, and where it leaves why, in its Image.
#[derive(Debug, Clone, Copy)]
pub struct Halt {
    halt: u64,
    reason: u64,
}

impl Halt {
    /// Returns what the file `elf` says.
    ///
    /// # Errors
    ///
    /// It can't be read, or is no kernel of ours.
    pub fn of(elf: &Path) -> Result<Halt> {
        let elf = Elf::read(elf)?;
        Ok(Halt {
            halt: elf.symbol("boot_halt")?,
            reason: elf.symbol("boot_failure_reason")?,
        })
    }

    /// Returns what the first CPU has left in `boot_failure_reason`, if it sleeps in
    /// `boot_halt`, wherever the Image lies.
    ///
    /// # Errors
    ///
    /// QEMU doesn't answer.
    pub fn reason(self, monitor: &mut Monitor) -> std::io::Result<Option<u8>> {
        let all = monitor.registers()?;
        let Some(base) = all.first().and_then(|first| self.base(first.pc)) else {
            return Ok(None);
        };
        // Other code has such addresses too: then no Image is where it would have to lie.
        if !is_image(monitor, base)? {
            return Ok(None);
        }
        let byte = monitor.memory(base + self.reason, WordSize::Byte)?;
        Ok(byte.map(|[byte]| byte as u8))
    }

    /// Returns where the Image lies if `pc` is in `boot_halt`.
    fn base(self, pc: u64) -> Option<u64> {
        let into = pc.wrapping_sub(self.halt) % PAGE;
        if into >= HALT_SIZE {
            return None;
        }
        pc.checked_sub(into)?.checked_sub(self.halt)
    }
}

/// Runs `vm` until its first CPU sleeps in `boot_halt`, then ends it by its monitor.
/// Returns what the CPU has left in `boot_failure_reason`, `None` if it didn't get there
/// within `limit` seconds. The serial port goes to `log`. The symbols of `elf` are looked
/// up, which is what was booted; given `image`, the Image made of it, the log says at its
/// end where the CPUs of a machine are that didn't get there.
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
        // The last instruction lies in the next page.
        assert_eq!(halt.base(0x4020_2008), Some(0x4020_0000));
        assert_eq!(halt.base(0x4020_200c), None);
        assert_eq!(halt.base(0x4020_1ff4), None);
        assert_eq!(halt.base(0xff8), None);
    }
}
