#![no_std]
#![no_main]

use stillpoint::api::{ExitStatus, args};

#[stillpoint::main]
fn main() -> Result<ExitStatus, &'static str> {
    match args::args().as_slice() {
        [status] => status.parse().map(u8::into).map_err(|_| "that is no status"),
        _ => Err("one argument is needed"),
    }
}
