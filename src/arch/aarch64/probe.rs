//! Reads a device register that may not exist.
//!
//! If no device answers, the interconnect answers with an error, which is a data abort.
//! The two loads here are at known addresses, and the exception handler steps over one
//! that aborts ([`recover`]).
//!
//! Instead a machine may answer with zeroes or ones, or with an SError later on. The
//! caller has to know which values the device can't return. An SError ends the machine,
//! as it would with any other access.
//!
//! # Sources
//! Arm ARM, ESR_ELx.EC 0x25, Data Abort taken without a change in Exception level; a
//! synchronous External abort.

use super::exception::ExceptionFrame;
use crate::arch::assembly::global_asm;
use crate::device::RegisterWidth;
use crate::fault::Class;

/// The result of a load that has aborted. It is no value of 32 bits.
const ABORTED: u64 = u64::MAX;

/// Length of an instruction, in bytes.
const INSTRUCTION: u64 = 4;

// `extern "C" fn probe_word(address: u64) -> u64`, and `probe_byte`
//
// They are leaves without a frame. If the handler steps over the load, the RET is next.
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

/// Returns the value at `address`, or `None` if the access is answered with an error.
///
/// # Context
/// Any, once this CPU has its vectors; MMU on or off.
///
/// # Safety
/// `address` is a multiple of `width`. It is that of a device register whose read has no
/// side effects, or no device is there. With the MMU on it is mapped as device memory, or
/// not mapped.
pub unsafe fn read(address: u64, width: RegisterWidth) -> Option<u32> {
    let probe_fn = match width {
        RegisterWidth::Byte => probe_byte,
        RegisterWidth::Word => probe_word,
    };
    // SAFETY: both functions load and do nothing else, even if the handler steps over the
    // load. The caller promises that the load itself is harmless.
    let value = unsafe { probe_fn(address) };
    u32::try_from(value).ok()
}

/// Makes [`read`] return `None` if `frame` is that of the data abort of its load. Returns
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
