#![cfg_attr(target_os = "none", no_std, no_main)]
//! The service on the machine.

#[stillpoint::main]
fn main() {}
