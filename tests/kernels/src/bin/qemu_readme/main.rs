//! The program that README.md and the documentation of `stillpoint::api` show, as it
//! stands there (`tests/host_docs.rs` compares them).
//!
//! SMP: 4
//! PLAN: none
//! OUTPUT: ^42$
//! OUTPUT: ^nothing else moves$
#![no_std]
#![no_main]

mod program;
