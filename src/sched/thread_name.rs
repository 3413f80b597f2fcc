//! The name of a thread.

#![forbid(unsafe_code)]

use core::fmt;

/// A thread's name, cut to [`ThreadName::MAX`] bytes at a character.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ThreadName {
    bytes: [u8; ThreadName::MAX],
    len: u8,
}

impl ThreadName {
    /// The longest name, in bytes (Linux keeps 15).
    pub const MAX: usize = 23;

    /// Returns the name that `args` format to.
    pub fn new(args: fmt::Arguments<'_>) -> ThreadName {
        let mut name = ThreadName {
            bytes: [0; Self::MAX],
            len: 0,
        };
        // Writing to a name can't fail: a text that is too long is cut.
        match fmt::write(&mut name, args) {
            Ok(()) | Err(fmt::Error) => name,
        }
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        let bytes = &self.bytes[..usize::from(self.len)];
        core::str::from_utf8(bytes).expect("BUG: a name is cut at a character")
    }
}

impl fmt::Write for ThreadName {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for ch in text.chars() {
            let from = usize::from(self.len);
            let to = from + ch.len_utf8();
            if to > Self::MAX {
                break;
            }
            ch.encode_utf8(&mut self.bytes[from..to]);
            self.len = u8::try_from(to).expect("BUG: MAX fits a byte");
        }
        Ok(())
    }
}

impl fmt::Display for ThreadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for ThreadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_at_a_character() {
        assert_eq!(
            ThreadName::new(format_args!("cpuhp/{}", 3)).as_str(),
            "cpuhp/3"
        );
        let long = ThreadName::new(format_args!("{}", "ä".repeat(20)));
        assert_eq!(long.as_str(), "ä".repeat(11));
    }
}
