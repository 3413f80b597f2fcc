//! Shows what each CPU of a hanging machine executes. The state comes from QEMU's monitor,
//! because the kernel may not run any more.

use std::fmt::Write;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};

use crate::elf::Elf;
use crate::monitor::{Monitor, Registers, WordSize};

/// The most frame records that are followed.
const MOST_FRAMES: usize = 32;

/// The alignment of an Image in memory, in bytes.
const ALIGNMENT: u64 = 0x20_0000;

/// The magic number of an Image at byte 56, "ARM\x64" (Linux,
/// Documentation/arch/arm64/booting.rst).
const MAGIC: u64 = 0x644d_5241;
const MAGIC_AT: u64 = 56;

/// The I bit of PSTATE.
const MASKED: u64 = 1 << 7;

/// The size of a call instruction, in bytes. A return address may already lie in the next
/// function; the call before it lies in the caller.
const CALL: u64 = 4;

/// The functions of an Image, sorted by their offsets in it.
pub struct Functions {
    starts: Vec<(u64, String)>,
}

impl Functions {
    /// Reads the symbols in the file `image`, which was made of the file `elf`. src/symbols.rs
    /// describes their format.
    ///
    /// # Errors
    ///
    /// A file can't be read, or has no symbols.
    pub fn read(elf: &Path, image: &Path) -> Result<Functions> {
        let bytes = std::fs::read(image).with_context(|| image.display().to_string())?;
        let section = Elf::read(elf)?.section_in(".symbols", &bytes)?.to_vec();
        Ok(Functions::parse(&String::from_utf8_lossy(&section)))
    }

    fn parse(text: &str) -> Functions {
        let text = text.split('\0').next().unwrap_or_default();
        let starts = text.lines().filter_map(|line| {
            let (offset, name) = line.split_once(' ').unwrap_or((line, ""));
            Some((u64::from_str_radix(offset, 16).ok()?, name.to_owned()))
        });
        Functions {
            starts: starts.collect(),
        }
    }

    /// Returns the function of `address` in the Image at `base`, in the format of the kernel's
    /// own backtraces. `behind` is [`CALL`] for a return address, else 0.
    fn place(&self, base: u64, address: u64, behind: u64) -> String {
        let found = address.checked_sub(base).and_then(|offset| {
            let inside = offset.checked_sub(behind)?;
            let count = self.starts.partition_point(|(start, _)| *start <= inside);
            let (start, name) = self.starts.get(count.checked_sub(1)?)?;
            Some(format!("  +{offset:#x}  {name}+{:#x}", offset - start))
        });
        found.unwrap_or_else(|| "  (not code)".into())
    }
}

/// Stops the machine and returns a backtrace of each CPU: whether its interrupts are masked,
/// then a line for each call, in the format of the kernel's own backtraces.
#[must_use]
pub fn whereabouts(monitor: &mut Monitor, functions: &Functions) -> String {
    tell(monitor, functions)
        .unwrap_or_else(|error| format!("where: QEMU does not answer: {error}\n"))
}

fn tell(monitor: &mut Monitor, functions: &Functions) -> io::Result<String> {
    monitor.stop()?;
    let all = monitor.registers()?;
    let Some(base) = image_base(monitor, &all)? else {
        return Ok("where: no CPU is in the Image\n".into());
    };
    let mut text = String::new();
    for registers in &all {
        text += &chain(*registers, base, functions, |address| {
            monitor.memory(address, WordSize::Eight)
        })?;
    }
    Ok(text)
}

/// Returns the address of the Image that a CPU executes; `None` if no CPU executes one.
///
/// # Errors
///
/// QEMU doesn't answer.
pub fn image_base(monitor: &mut Monitor, all: &[Registers]) -> io::Result<Option<u64>> {
    for registers in all {
        let near = registers.pc & !(ALIGNMENT - 1);
        for base in [Some(near), near.checked_sub(ALIGNMENT)]
            .into_iter()
            .flatten()
        {
            if is_image(monitor, base)? {
                return Ok(Some(base));
            }
        }
    }
    Ok(None)
}

/// Returns whether an Image lies at `base`.
///
/// # Errors
///
/// QEMU doesn't answer.
pub fn is_image(monitor: &mut Monitor, base: u64) -> io::Result<bool> {
    let Some(at) = base.checked_add(MAGIC_AT) else {
        return Ok(false);
    };
    Ok(monitor.memory(at, WordSize::Four)? == Some([MAGIC]))
}

/// Returns the backtrace of a CPU. `read_fn` reads two words of the guest's memory.
fn chain(
    registers: Registers,
    base: u64,
    functions: &Functions,
    mut read_fn: impl FnMut(u64) -> io::Result<Option<[u64; 2]>>,
) -> io::Result<String> {
    let Registers {
        cpu,
        pc,
        x29,
        x30,
        pstate,
    } = registers;
    let interrupts = if pstate & MASKED == 0 { "on" } else { "masked" };
    let mut text = format!("where: CPU {cpu}, interrupts {interrupts}\n");
    let mut call = |number: usize, address: u64, behind: u64| {
        let place = functions.place(base, address, behind);
        let _never = writeln!(text, "  #{number:<2} {address:#018x}{place}");
        if number == 0 {
            // A function without a frame record of its own is missing from the chain; x30 may
            // still show its caller.
            let place = functions.place(base, x30, CALL);
            let _never = writeln!(text, "  x30 is {x30:#018x}{place}");
        }
    };
    call(0, pc, 0);
    let mut frame = x29;
    for number in 1..=MOST_FRAMES {
        // A frame record has the address of the caller's record and the return address
        // (AAPCS64). The Image is mapped at its physical address, and stacks lie above it.
        if frame <= base || frame % 8 != 0 {
            break;
        }
        match read_fn(frame)? {
            Some([next, link]) if link != 0 => {
                call(number, link, CALL);
                frame = next;
            }
            _ => break,
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0x4020_0000;

    fn functions() -> Functions {
        Functions::parse("100 one\n200\n300 stillpoint::three\n\0\0left over")
    }

    #[test]
    fn an_address_is_in_the_function_that_begins_before_it() {
        let place = |offset, behind| functions().place(BASE, BASE + offset, behind);
        assert_eq!(place(0x104, 0), "  +0x104  one+0x4");
        assert_eq!(place(0x200, 0), "  +0x200  +0x0");
        assert_eq!(place(0x200, CALL), "  +0x200  one+0x100");
        assert_eq!(place(0x99, 0), "  (not code)");
        assert_eq!(functions().place(BASE, 0x10, CALL), "  (not code)");
    }

    #[test]
    fn a_chain_ends_where_no_record_is() {
        let at = BASE + 0x10_0000;
        let registers = Registers {
            cpu: 2,
            pc: BASE + 0x304,
            x29: at,
            x30: BASE + 0x108,
            pstate: 0x3c5,
        };
        let text = chain(registers, BASE, &functions(), |address| {
            Ok((address == at).then_some([at + 0x10, BASE + 0x108]))
        });
        assert_eq!(
            text.expect("no error"),
            "where: CPU 2, interrupts masked\n\
             \x20 #0  0x0000000040200304  +0x304  stillpoint::three+0x4\n\
             \x20 x30 is 0x0000000040200108  +0x108  one+0x8\n\
             \x20 #1  0x0000000040200108  +0x108  one+0x8\n"
        );
    }

    #[test]
    fn a_chain_that_goes_round_has_an_end() {
        let registers = Registers {
            cpu: 0,
            pc: BASE,
            x29: BASE + 16,
            x30: 0,
            pstate: 0,
        };
        let text = chain(registers, BASE, &functions(), |at| {
            Ok(Some([at, BASE + 0x104]))
        });
        let text = text.expect("no error");
        assert_eq!(text.lines().count(), MOST_FRAMES + 3, "{text}");
        assert!(text.starts_with("where: CPU 0, interrupts on\n"), "{text}");
    }
}
