//! Backtraces of the running CPU, by frame records.
//!
//! [`Frames`] walks the records, and says why a damaged record does no harm. This module
//! knows which stacks there are and formats the lines. An address is printed with its
//! offset from the Image's first byte, because the symbols of the ELF file have the same
//! base, wherever the loader put the Image. The function's name follows if the Image
//! has its symbols.

use core::fmt;
use core::ops::Range;

use super::cpu_local::this_cpu;
use super::exception::ExceptionFrame;
use super::{image, thread_head};
use crate::arch::assembly::asm;
use crate::memory::Frames;
use crate::symbols::{Symbol, Symbols};

/// Writes the chain of calls that led to the exception of `frame`.
///
/// # Errors
/// What `out` returned.
pub fn write(out: &mut dyn fmt::Write, frame: &ExceptionFrame) -> fmt::Result {
    let [pc, link, frame_pointer] = [frame.elr, frame.x[30], frame.x[29]].map(address);
    writeln!(out, "  #0  {pc:#018x}{}", CodeAddress(pc))?;
    // If a function faulted before it made its own record, the chain lacks its caller,
    // whose address is in x30.
    write_chain(out, 1, frame_pointer)?;
    writeln!(out, "  x30 is {link:#018x}{}", ReturnPlace(link))
}

/// Writes the chain of calls that led here.
///
/// # Errors
/// What `out` returned.
#[inline(never)]
pub fn write_here(out: &mut dyn fmt::Write) -> fmt::Result {
    let (frame_pointer, return_address): (usize, usize);
    // This function's own record is gone if the compiler turns the call below
    // into a jump, so it is read here, and the chain starts with the caller's.
    // SAFETY: Every function keeps a frame record at x29 (`.cargo/config.toml`
    // asks the compiler for it), and this one has its own.
    unsafe {
        asm!(
            "ldp {frame_pointer}, {return_address}, [x29]",
            frame_pointer = out(reg) frame_pointer,
            return_address = out(reg) return_address,
            options(nostack, preserves_flags, readonly)
        );
    }
    write_line(out, 0, return_address)?;
    write_chain(out, 1, frame_pointer)
}

/// Writes the return addresses of the frame records from `frame_pointer` on, numbered from
/// `first`.
fn write_chain(out: &mut dyn fmt::Write, first: usize, frame_pointer: usize) -> fmt::Result {
    let stacks = known_stacks();
    let frames = Frames::new(frame_pointer, &stacks, |address| {
        let word = core::ptr::with_exposed_provenance::<usize>(address);
        // SAFETY: `Frames` asks only for aligned words of `stacks`, which are
        // mapped. What they hold may be stale, and is only printed or checked.
        unsafe { word.read_volatile() }
    });
    for (index, return_address) in frames.enumerate() {
        write_line(out, first + index, return_address)?;
    }
    Ok(())
}

/// Returns the stacks that code on the running CPU can use.
fn known_stacks() -> [Range<usize>; 4] {
    let cpu = this_cpu();
    [
        thread_head::current().stack(),
        cpu.irq_stack(),
        cpu.overflow_stack(),
        image::boot_stack(),
    ]
}

/// Writes line `index` of a backtrace, for the return address `address`.
fn write_line(out: &mut dyn fmt::Write, index: usize, address: usize) -> fmt::Result {
    writeln!(out, "  #{index:<2} {address:#018x}{}", ReturnPlace(address))
}

/// Prints the place in the code of an instruction's address.
struct CodeAddress(usize);

/// Prints the place in the code of a return address. The function's name is that of the
/// call before it.
struct ReturnPlace(usize);

impl fmt::Display for CodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(f, self.0, Symbols::find)
    }
}

impl fmt::Display for ReturnPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(f, self.0, Symbols::find_caller)
    }
}

/// Writes the offset of `address` in the Image, and the function that `find_fn` finds
/// there.
fn write_place(
    f: &mut fmt::Formatter<'_>,
    address: usize,
    find_fn: fn(&Symbols<'static>, usize) -> Option<Symbol<'static>>,
) -> fmt::Result {
    if !image::text().contains(&address) {
        return f.write_str("  (not code)");
    }
    let offset = address - image::image().start;
    write!(f, "  +{offset:#x}")?;
    match find_fn(&image::symbols(), offset) {
        Some(symbol) => write!(f, "  {symbol}"),
        None => Ok(()),
    }
}

#[allow(clippy::cast_possible_truncation)] // Addresses are 64 bits here.
const fn address(register: u64) -> usize {
    register as usize
}
