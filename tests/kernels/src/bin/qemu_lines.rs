//! The console returns typed text as whole lines. If the end of a line doesn't come in time,
//! the console returns the part that has come.

//@ smp: 1 4
//@ plan: none
//@ types: first
//@ types:  a second line, ☃ 日本
//@ types: half
//@ output: ^first$
//@ output: ^ ?a second line, ☃ 日本$
//@ output: ^half$
//@ output: ^all lines are there$

#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::String;
use core::time::Duration;

use stillpoint::api::console::{self, LineError};
use stillpoint::api::time;
use stillpoint::println;

stillpoint::entry!(main);

fn main() -> Result<(), LineError> {
    // The host decides when input comes, so no verdict depends on that.
    let first = console::read_line().map_err(|_| LineError::InputLost)?;
    assert_eq!(first, "first");
    let second = console::read_line_until(time::now() + Duration::MAX)?;
    assert_eq!(second.trim_start(), "a second line, ☃ 日本");
    let mut typed = String::new();
    while typed != "half" {
        let until = time::now() + Duration::from_millis(2);
        match console::read_line_until(until) {
            Err(LineError::TimedOut(more)) => typed += &more,
            other => panic!("{other:?} after {typed:?}"),
        }
        assert!(
            time::now() >= until && "half".starts_with(&typed),
            "{typed:?}"
        );
    }
    println!();
    let nothing = LineError::TimedOut(String::new());
    assert_eq!(console::read_line_until(time::now()), Err(nothing));
    println!("all lines are there");
    Ok(())
}
