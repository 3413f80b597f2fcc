//! Input from the console. Output is printed by the macros `print!` and `println!`.
//!
//! Up to 4096 bytes are kept that have been typed and not yet read. Each byte goes to one
//! reader; the shell ([`run_shell`](crate::api::run_shell)) is a reader, too.
//!
//! ```no_run
#![doc = include_str!("../../examples/api/console.rs")]
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::kernel::entry::enter;
use crate::kernel::{console, print};
use crate::time::Instant;

pub use crate::platform::Received;

/// Input bytes were lost or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputLost;

impl fmt::Display for InputLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("input was lost")
    }
}

impl core::error::Error for InputLost {}

/// Returns the next typed byte, or that bytes were lost there; `None` if there is no input by
/// `until`. Echoes nothing.
///
/// # Context
/// Thread, preemption on.
pub fn read_byte(until: Instant) -> Option<Received> {
    let _in_kernel = enter();
    console::read_until(until)
}

/// Why there is no line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineError {
    /// Bytes were lost or damaged on their way, so what was typed isn't known.
    InputLost,
    /// The line has no end yet; this is what has been typed of it.
    TimedOut(String),
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineError::InputLost => InputLost.fmt(f),
            LineError::TimedOut(_) => f.write_str("no line was typed in time"),
        }
    }
}

impl core::error::Error for LineError {}

/// Returns the next typed line, without its end, which is a carriage return or a line feed.
/// Echoes the typed characters. Backspace removes the last character; other control
/// characters are ignored. Bytes that aren't UTF-8 are replaced by U+FFFD.
///
/// A serial line has no end of input: Ctrl-D is passed over, as any control character. On a
/// machine without a console, or with one that has no input, which the log says at boot,
/// nothing ever comes; [`read_line_until`] returns then.
///
/// # Context
/// Thread, preemption on; waits without limit. [`read_line_until`] has a limit.
///
/// # Errors
/// [`InputLost`] if input was lost. The part of the line before that is dropped; the next
/// call returns the part after it.
pub fn read_line() -> Result<String, InputLost> {
    loop {
        match read_line_until(Instant::FOREVER) {
            Ok(line) => return Ok(line),
            Err(LineError::InputLost) => return Err(InputLost),
            // Nothing is later than for ever.
            Err(LineError::TimedOut(_)) => {}
        }
    }
}

/// Returns the line that is typed, as [`read_line`] does, if its end comes by `until`.
///
/// # Context
/// Thread, preemption on.
///
/// # Errors
/// [`LineError`]. After [`LineError::TimedOut`] the next call begins a new line: what was
/// typed of this one is in the error.
pub fn read_line_until(until: Instant) -> Result<String, LineError> {
    let _in_kernel = enter();
    let mut line = Vec::new();
    // How many bytes of the line have been echoed; they end at a character.
    let mut shown = 0;
    loop {
        let byte = match console::read_until(until) {
            Some(Received::Byte(byte)) => byte,
            Some(Received::Lost) => return Err(LineError::InputLost),
            None => {
                let typed = String::from_utf8_lossy(&line).into_owned();
                return Err(LineError::TimedOut(typed));
            }
        };
        match byte {
            b'\r' | b'\n' => {
                print(format_args!("\n"));
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            // Backspace and delete: for the same key some terminals send the one, some the other.
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
