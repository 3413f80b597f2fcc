//! A function of a test kernel that the boot CPU calls before there are threads.

use crate::arch::assembly::global_asm;

// The symbol is weak, so a test kernel may define a function of this name, which is called instead.
global_asm!(
    ".pushsection .text.stillpoint_early_test, \"ax\"",
    ".weak stillpoint_early_test",
    ".type stillpoint_early_test, %function",
    ".balign 4",
    "stillpoint_early_test:",
    "    ret",
    ".size stillpoint_early_test, . - stillpoint_early_test",
    ".popsection",
);

unsafe extern "C" {
    /// Returns at once, unless a test kernel defines it.
    safe fn stillpoint_early_test();
}

/// Calls the test kernel's function, if it has one.
///
/// # Context
/// The boot CPU, IRQs masked, before it has a thread.
pub fn run() {
    stillpoint_early_test();
}
