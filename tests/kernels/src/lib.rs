//! The library of the test kernels. Each file of `src/bin` is a kernel, with its own `main` in
//! place of the shell. Its opening comment has the directives for its run, which
//! docs/testing.md lists.
#![no_std]

extern crate alloc;

pub mod boot;
pub mod case;
pub mod coming;
pub mod ktap;
pub mod last_call;
pub mod loops;
pub mod machine;
pub mod memory;
pub mod page;
pub mod registers;
pub mod storm;
pub mod turns;
pub mod unharmed;
pub mod walks;
#[path = "../../support/xorshift.rs"]
pub mod xorshift;
