use core::num::ParseIntError;

use stillpoint::api::args::{args, var};
use stillpoint::api::{ExitStatus, Termination};
use stillpoint::println;

/// How many of a program's checks have failed. A script reads it off the status of the machine.
pub(crate) struct Failures(pub(crate) usize);

impl Termination for Failures {
    fn report(self) -> ExitStatus {
        match u8::try_from(self.0) {
            Ok(0) => ExitStatus::SUCCESS,
            // More than 100 would look like the 101 of a panic.
            Ok(failures @ 1..=100) => ExitStatus::from(failures),
            _ => ExitStatus::FAILURE,
        }
    }
}

/// The boot arguments `rounds=3 memory timers` ask for three rounds of two checks.
#[stillpoint::main]
fn main() -> Result<Failures, ParseIntError> {
    let rounds: usize = var("rounds").unwrap_or("1").parse()?;
    let mut failures = 0;
    for _ in 0..rounds {
        failures += args().iter().filter(|name| !check(name)).count();
    }
    Ok(Failures(failures))
}

/// Does the check `name`; returns whether it is passed.
fn check(name: &str) -> bool {
    let status = match name {
        "memory" | "timers" => ExitStatus::SUCCESS,
        _ => ExitStatus::FAILURE,
    };
    println!("{name} ends with {}", status.code());
    status == ExitStatus::SUCCESS
}
