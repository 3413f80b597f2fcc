//! A read of a register that may not be there.
//!
//! Where no device answers, the interconnect does, with an error: a data abort. The two
//! loads here are at known addresses, and the exception handler steps over one that
//! aborts ([`recover`]).
//!
//! A machine may answer with zeroes or ones instead, or with an SError later on. What a
//! device can't say is for the caller to know; an SError ends the machine, as it would
//! with any other access.
//!
//! # Sources
//! Arm ARM, ESR_ELx.EC 0x25, Data Abort taken without a change in Exception level; a
//! synchronous External abort.

use core::arch::global_asm;

use super::exception::ExceptionFrame;
use crate::device::RegisterWidth;
use crate::fault::Class;

/// What a load that has aborted returns: no value of 32 bits.
const ABORTED: u64 = u64::MAX;

/// Length of an instruction.
const INSTRUCTION: u64 = 4;

// `extern "C" fn probe_word(address: u64) -> u64`, and `probe_byte`
//
// Leaves without a frame: stepping over the load lands on the RET.
global_asm!(
    ".pushsection .text.probe, \"ax\"",
    ".global probe_word",
    ".type probe_word, %function",
    ".balign 4",
    "probe_word:",
    "    ldr w0, [x0]",
    "    ret",
    ".size probe_word, . - probe_word",
    ".global probe_byte",
    ".type probe_byte, %function",
    "probe_byte:",
    "    ldrb w0, [x0]",
    "    ret",
    ".size probe_byte, . - probe_byte",
    ".popsection",
);

unsafe extern "C" {
    /// Loads a word. Follows the procedure call standard.
    fn probe_word(address: u64) -> u64;

    /// Loads a byte. Follows the procedure call standard.
    fn probe_byte(address: u64) -> u64;
}

/// Returns what is at `address`, or `None` if the access is answered with an error.
///
/// # Context
/// Any, once this CPU has its vectors; MMU on or off.
///
/// # Safety
/// `address` is a multiple of `width`, and is a device's register to read which changes
/// nothing, or nothing at all. With the MMU on it is mapped as device memory, or not
/// mapped.
pub unsafe fn read(address: u64, width: RegisterWidth) -> Option<u32> {
    let probe_fn = match width {
        RegisterWidth::Byte => probe_byte,
        RegisterWidth::Word => probe_word,
    };
    // SAFETY: both load and do nothing else, also where the handler steps over the load;
    // that the load itself is harmless is promised by the caller.
    let value = unsafe { probe_fn(address) };
    u32::try_from(value).ok()
}

/// Steps over the load of a [`read`], if `frame` is that of its data abort; returns
/// whether it is.
///
/// # Context
/// The exception handler, before it reports.
pub fn recover(frame: &mut ExceptionFrame) -> bool {
    let loads = [probe_word as *const u8, probe_byte as *const u8];
    let is_load = loads.iter().any(|load| load.addr() as u64 == frame.elr);
    let aborted = matches!(frame.syndrome().class(), Class::DataAbort(_));
    if is_load && aborted {
        frame.x[0] = ABORTED;
        frame.elr += INSTRUCTION;
    }
    is_load && aborted
}
