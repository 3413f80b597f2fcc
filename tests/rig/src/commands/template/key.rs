#![no_std]
#![no_main]

use core::time::Duration;
use stillpoint::api::console::{Received, read_byte};
use stillpoint::api::time::deadline;
use stillpoint::println;

/// Prints the first key that is typed.
#[stillpoint::main]
fn main() {
    match read_byte(deadline(Duration::from_secs(10))) {
        Some(Received::Byte(key)) => println!("the key {key}"),
        _ => println!("no key came"),
    }
}
