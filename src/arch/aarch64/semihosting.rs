//! Ends the emulator, or tells a debugger that the program has ended, with an exit status.
//!
//! A semihosting call is `HLT #0xf000` with the operation in w0 and a parameter
//! in x1. If no host handles it, `HLT` is an undefined instruction. So the kernel has
//! one `HLT`, at a known address, and the exception handler steps over it ([`skip`]). The
//! call then returns like one that the host has refused, and the caller turns the machine
//! off in another way.
//!
//! The kernel makes the call only if `exit=semihosting` asks for it: otherwise a halting
//! debugger might stop there, and a hypervisor might take it for a crash.
//!
//! # Sources
//! Arm, *Semihosting for AArch32 and AArch64*: SYS_EXIT_EXTENDED, the HLT
//! encoding. Arm ARM, HLT: undefined when halting is not allowed.

use crate::arch::assembly::global_asm;

/// SYS_EXIT_EXTENDED.
const EXIT_EXTENDED: u32 = 0x20;

/// ADP_Stopped_ApplicationExit, the reason code of an ordinary exit.
const APPLICATION_EXIT: u64 = 0x2_0026;

/// Length of an instruction, in bytes.
const INSTRUCTION: u64 = 4;

// `extern "C" fn semihosting_call(operation: u32, parameter: *const u64) -> u64`
//
// It is a leaf without a frame. If the handler steps over the HLT, the RET is next, and x0
// still holds the operation.
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
    /// Makes the semihosting call `operation`. Follows the procedure call standard.
    fn semihosting_call(operation: u32, parameter: *const u64) -> u64;

    /// The HLT in `semihosting_call`.
    static semihosting_hlt: u8;
}

/// Ends the emulator, or tells the debugger that the program has ended, with
/// `status`. Returns if no host handles the call.
///
/// # Context
/// Any, if semihosting was asked for.
pub fn exit(status: u32) {
    let block = [APPLICATION_EXIT, u64::from(status)];
    // SAFETY: SYS_EXIT_EXTENDED reads the two words of `block` and writes
    // nothing. The function follows the procedure call standard, even if the handler
    // steps over its HLT.
    unsafe { semihosting_call(EXIT_EXTENDED, block.as_ptr()) };
}

/// Returns the address at which the exception handler has to go on, if the undefined
/// instruction at `address` is the HLT of a semihosting call; otherwise `None`.
///
/// For exceptions of class 0 (Arm ARM, ESR_ELx.EC "Unknown reason"), with the
/// faulting address from ELR.
pub fn skip(address: u64) -> Option<u64> {
    let hlt = (&raw const semihosting_hlt).addr() as u64;
    (address == hlt).then_some(hlt + INSTRUCTION)
}
