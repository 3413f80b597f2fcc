use core::time::Duration;

use alloc::string::String;

use stillpoint::api::console::{InputLost, LineError, Received};
use stillpoint::api::console::{read_byte, read_line, read_line_until};
use stillpoint::api::time::deadline;
use stillpoint::{print, println};

/// Asks until there is a name. A line that was damaged on its way is asked for again.
pub(crate) fn name() -> String {
    loop {
        print!("your name: ");
        match read_line() {
            Ok(name) if !name.is_empty() => return name,
            Ok(_) => {}
            Err(InputLost) => println!("once more, please"),
        }
    }
}

/// Asks for a boot entry, and takes the first if nothing is typed for five seconds.
pub(crate) fn entry() -> Option<usize> {
    print!("boot entry [0]: ");
    match read_line_until(deadline(Duration::from_secs(5))) {
        Ok(line) => line.trim().parse().ok(),
        Err(LineError::TimedOut(typed)) if typed.is_empty() => Some(0),
        Err(error) => {
            println!("\n{error}");
            None
        }
    }
}

/// Shows `progress` each second, until the key q is pressed. No Enter is needed, and nothing is
/// echoed.
pub(crate) fn watch(progress: impl Fn() -> u32) {
    loop {
        println!("{} %", progress());
        match read_byte(deadline(Duration::from_secs(1))) {
            Some(Received::Byte(b'q')) => return,
            // Another key; a key that was lost; none.
            Some(Received::Byte(_) | Received::Lost) | None => {}
        }
    }
}
