//! The boot arguments of the program, which Linux would pass to `init`.
//!
//! The line `maxcpus=2 verbose mode=fast -- loglevel=7 a.txt` has the arguments `verbose`,
//! `loglevel=7` and `a.txt`, and the variable `mode` with the value `fast`. What the kernel
//! knows is the kernel's, up to a `--`; all that stands behind is the program's. Of the rest
//! a word without a value is an argument, and one with a value a variable, but for words
//! with a dot in their names, which belong to modules of Linux. The log names at boot the
//! words in front of `--` that the kernel doesn't know.

use alloc::string::String;
use alloc::vec::Vec;

use crate::bootargs::BootArgs;
use crate::kernel::kernel;

/// Returns the arguments of the program, in their order; quotes are taken off.
///
/// # Context
/// Any; allocates.
pub fn args() -> Vec<String> {
    BootArgs::parse(kernel().bootargs).program_args()
}

/// Returns the value of the variable `name`, or `None` if there is none. The last one on
/// the line wins.
///
/// # Context
/// Any.
pub fn var(name: &str) -> Option<&'static str> {
    BootArgs::parse(kernel().bootargs).program_var(name)
}
