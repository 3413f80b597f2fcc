//! The boot arguments of the program, which Linux would pass to `init`.
//!
//! The line `maxcpus=2 verbose mode=fast -- loglevel=7 a.txt` has the arguments `verbose`,
//! `loglevel=7` and `a.txt`, and the variable `mode` with the value `fast`.
//!
//! Every word after `--` is an argument of the program. Before `--` the kernel takes the words
//! that it knows. Of the other words there, a word without a value is an argument of the
//! program, and a word with a value is a variable. A word with a dot in its name is neither,
//! because Linux uses such names for its modules. The boot logs the words before `--` that
//! the kernel doesn't know.
//!
//! ```no_run
#![doc = include_str!("../../examples/api/status.rs")]
//! ```

use alloc::string::String;
use alloc::vec::Vec;

use crate::bootargs::BootArgs;
use crate::kernel::kernel;

/// Returns the arguments of the program, in their order, without quotes around them.
///
/// # Context
/// Any; allocates.
pub fn args() -> Vec<String> {
    BootArgs::parse(kernel().bootargs).program_args()
}

/// Returns the value of the variable `name`, or `None` if the line doesn't have it. If it has
/// the variable more than once, the last one wins.
///
/// # Context
/// Any.
pub fn var(name: &str) -> Option<&'static str> {
    BootArgs::parse(kernel().bootargs).program_var(name)
}
