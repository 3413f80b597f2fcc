//! What the test kernels share. Each file of `src/bin` is a kernel, with `main` in place
//! of the shell, that says how it is to be run in its opening comment; docs/testing.md
//! has the words.
#![no_std]

extern crate alloc;

pub mod boot;
pub mod case;
pub mod ktap;
pub mod last_call;
pub mod loops;
pub mod machine;
pub mod memory;
pub mod page;
pub mod registers;
pub mod unharmed;
#[path = "../../support/xorshift.rs"]
pub mod xorshift;
