//! Telling a debugger or emulator how it went: exit with a status.
//!
//! A semihosting call is `HLT #0xf000` with the operation in w0 and a parameter
//! in x1. Where no host listens, `HLT` is an undefined instruction. So there is
//! one `HLT` in the kernel, at a known address, and the exception handler steps
//! over it ([`skip`]): the call then returns as if refused, and the caller turns
//! the machine off in another way.
//!
//! On a machine whose owner didn't ask for it the call isn't made at all: a
//! halting debugger may stop there, and a hypervisor may take it for a crash.
//!
//! # Sources
//! Arm, *Semihosting for AArch32 and AArch64*: SYS_EXIT_EXTENDED, the HLT
//! encoding. Arm ARM, HLT: undefined when halting is not allowed.

use core::arch::global_asm;

/// SYS_EXIT_EXTENDED.
const EXIT_EXTENDED: u32 = 0x20;

/// ADP_Stopped_ApplicationExit: the reason for an ordinary exit.
const APPLICATION_EXIT: u64 = 0x2_0026;

/// Length of an instruction.
const INSTRUCTION: u64 = 4;

// `extern "C" fn semihosting_call(operation: u32, parameter: *const u64) -> u64`
//
// A leaf without a frame: stepping over the HLT lands on the RET, with x0 still
// holding the operation.
global_asm!(
    ".pushsection .text.semihosting_call, \"ax\"",
    ".global semihosting_call",
    ".type semihosting_call, %function",
    ".balign 4",
    "semihosting_call:",
    ".global semihosting_hlt",
    "semihosting_hlt:",
    "    hlt #0xf000",
    "    ret",
    ".size semihosting_call, . - semihosting_call",
    ".popsection",
);

unsafe extern "C" {
    /// Makes the call. Follows the procedure call standard.
    fn semihosting_call(operation: u32, parameter: *const u64) -> u64;

    /// The HLT in it.
    static semihosting_hlt: u8;
}

/// Ends the emulator or tells the debugger that the program has ended, with
/// `status`. Returns if no host listens.
///
/// # Context
/// Any; only where semihosting was asked for.
pub fn exit(status: u32) {
    let block = [APPLICATION_EXIT, u64::from(status)];
    // SAFETY: SYS_EXIT_EXTENDED reads the two words of `block` and writes
    // nothing; the function keeps to the procedure call standard, also when the
    // handler steps over its HLT.
    unsafe { semihosting_call(EXIT_EXTENDED, block.as_ptr()) };
}

/// Returns where the exception handler goes on, if the undefined instruction at `address`
/// is the HLT of a semihosting call to which no host listens.
///
/// For exceptions of class 0 (Arm ARM, ESR_ELx.EC "Unknown reason"), with the
/// faulting address from ELR.
pub fn skip(address: u64) -> Option<u64> {
    let hlt = (&raw const semihosting_hlt).addr() as u64;
    (address == hlt).then_some(hlt + INSTRUCTION)
}
