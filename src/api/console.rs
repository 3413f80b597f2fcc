//! What is typed on the console. What goes there is the macros `print!` and `println!`.
//!
//! What is typed before it is asked for is kept, 4096 bytes of it. Each byte goes to one
//! reader; the shell ([`run_shell`](crate::api::run_shell)) is one.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::kernel::{console, print};
use crate::time::Instant;

pub use crate::platform::Received;

/// Bytes were lost or damaged on their way, so what was typed isn't known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputLost;

impl fmt::Display for InputLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("input was lost")
    }
}

impl core::error::Error for InputLost {}

/// Returns the next byte that is typed, or that some are missing; `None` if nothing has
/// come by `until`. Nothing is echoed.
///
/// # Context
/// Thread, preemption on.
pub fn read_byte(until: Instant) -> Option<Received> {
    console::read_until(until)
}

/// Returns the line that is typed, without its end, which is a carriage return or a line
/// feed. Echoes what is typed; backspace takes a character back. Other control characters
/// are passed over, and what isn't UTF-8 is replaced by U+FFFD.
///
/// # Context
/// Thread, preemption on; waits without limit. [`read_byte`] has a limit.
///
/// # Errors
/// [`InputLost`]; the rest of the line is still to be read then.
pub fn read_line() -> Result<String, InputLost> {
    let mut line = Vec::new();
    // How much of it has been echoed: whole characters.
    let mut shown = 0;
    loop {
        let byte = match console::read() {
            Received::Byte(byte) => byte,
            Received::Lost => return Err(InputLost),
        };
        match byte {
            b'\r' | b'\n' => {
                print(format_args!("\n"));
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            // Backspace and delete: terminals send the one or the other.
            8 | 0x7f => {
                let last = line.iter().rposition(|byte| byte & 0xc0 != 0x80);
                if let Some(last) = last {
                    line.truncate(last);
                    if shown > last {
                        print(format_args!("\u{8} \u{8}"));
                        shown = last;
                    }
                }
            }
            0..b' ' => {}
            _ => {
                line.push(byte);
                if let Ok(text) = core::str::from_utf8(&line[shown..]) {
                    print(format_args!("{text}"));
                    shown = line.len();
                }
            }
        }
    }
}
