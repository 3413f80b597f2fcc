//! The program that README.md and the documentation of `stillpoint::api` show
//! (`tests/host_docs.rs` compares them).

//@ smp: 4
//@ plan: none
//@ output: ^42$
//@ output: ^nothing else moves$

#![no_std]
#![no_main]

#[path = "../../../../../examples/api/program.rs"]
mod program;
