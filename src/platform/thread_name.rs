//! The name of a thread.

#![forbid(unsafe_code)]

use core::{array, fmt};

use crate::config::MAX_CPUS;
use crate::cpu::CpuId;

/// A thread's name, cut to [`ThreadName::MAX`] bytes at the end of a character. The text is
/// in the value itself, so that a fault report follows no pointer.
#[derive(Clone, Copy, PartialEq, Eq)]
// It is a field of the thread's head, whose layout assembly uses. Aligned, it is copied word by
// word.
#[repr(C, align(8))]
pub struct ThreadName {
    /// The text in UTF-8, then zeros.
    bytes: [u8; ThreadName::MAX],
    /// The length of the text in bytes.
    len: u8,
}

impl ThreadName {
    /// The longest name, in bytes (Linux keeps 15).
    pub const MAX: usize = 23;

    /// How many words of 64 bits a name takes.
    pub const WORDS: usize = size_of::<ThreadName>() / 8;

    /// Returns the name as words.
    pub fn to_words(&self) -> [u64; Self::WORDS] {
        let byte = |at: usize| self.bytes.get(at).copied().unwrap_or(self.len);
        let word = |word: usize| u64::from_le_bytes(array::from_fn(|at| byte(word * 8 + at)));
        array::from_fn(word)
    }

    /// Returns the name of which [`ThreadName::to_words`] returned `words`; other words make a name
    /// that no thread has, and do no harm.
    pub fn from_words(words: [u64; Self::WORDS]) -> ThreadName {
        let byte = |at: usize| words[at / 8].to_le_bytes()[at % 8];
        ThreadName {
            bytes: array::from_fn(byte),
            len: byte(Self::MAX),
        }
    }

    /// Returns the name that `args` format to, cut if it is too long.
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

    /// Returns the name `name/N` for CPU N's thread of that name; `name` is cut so that the
    /// number fits. It is what [`ThreadName::new`] makes of that, for a fifth of the
    /// instructions: a CPU that comes up for the first time has five such names made.
    pub fn of_cpu(name: &str, cpu: CpuId) -> ThreadName {
        let mut digits = [b'/'; 1 + MAX_DIGITS];
        let mut from = digits.len();
        let mut rest = cpu.as_u32();
        loop {
            from -= 1;
            digits[from] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let number = &digits[from - 1..]; // With the slash.
        let mut end = name.len().min(Self::MAX - number.len());
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let mut bytes = [0; Self::MAX];
        let text = name[..end].bytes().chain(number.iter().copied());
        for (byte, from) in bytes.iter_mut().zip(text) {
            *byte = from;
        }
        ThreadName {
            bytes,
            len: length(end + number.len()),
        }
    }

    /// Returns the name `text`, for a static.
    ///
    /// # Panics
    /// If `text` is longer than [`ThreadName::MAX`].
    pub const fn literal(text: &str) -> ThreadName {
        assert!(text.len() <= Self::MAX, "BUG: a name that is too long");
        let mut bytes = [0; Self::MAX];
        let (whole, _) = bytes.split_at_mut(text.len());
        whole.copy_from_slice(text.as_bytes());
        ThreadName {
            bytes,
            len: length(text.len()),
        }
    }

    /// Returns the text, or "?" if a fault has overwritten the name with bytes that are none.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.len));
        let text = bytes.and_then(|bytes| core::str::from_utf8(bytes).ok());
        text.unwrap_or("?")
    }
}

/// The most digits that the number of a CPU has.
const MAX_DIGITS: usize = 3;
const _: () = assert!(MAX_CPUS <= 1000);

/// Returns `len`, which is at most [`ThreadName::MAX`], as a name holds it.
#[allow(clippy::cast_possible_truncation, reason = "it is at most `MAX`")]
const fn length(len: usize) -> u8 {
    len as u8
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

    #[test]
    fn a_cpus_name_is_what_it_would_format_to() {
        for number in [0, 9, 10, 99, 100, MAX_CPUS - 1] {
            let cpu = CpuId::from_index(number);
            let name = ThreadName::of_cpu("cpuhp", cpu);
            assert_eq!(name, ThreadName::new(format_args!("cpuhp/{number}")));
        }
    }

    #[test]
    fn a_cpus_name_is_cut_before_its_number() {
        let cpu = CpuId::from_index(511);
        let long = ThreadName::of_cpu("a thread's longest name", cpu);
        assert_eq!(long.as_str(), "a thread's longest /511");
        let uneven = ThreadName::of_cpu(&"ä".repeat(20), cpu);
        assert_eq!(uneven.as_str(), "äääääääää/511");
        assert_eq!(ThreadName::of_cpu("", cpu).as_str(), "/511");
    }

    #[test]
    fn a_name_comes_back_from_its_words() {
        for text in ["", "idle/0", "a thread's longest name", "ä"] {
            let name = ThreadName::new(format_args!("{text}"));
            assert_eq!(ThreadName::from_words(name.to_words()), name);
        }
        assert_eq!(ThreadName::from_words([u64::MAX; 3]).as_str(), "?");
    }

    #[test]
    fn a_literal_is_the_name_that_it_would_format_to() {
        let name = ThreadName::literal("idle/0");
        assert_eq!(name, ThreadName::new(format_args!("idle/0")));
        let longest = ThreadName::literal("a thread's longest name");
        assert_eq!(longest.as_str().len(), ThreadName::MAX);
    }

    #[test]
    fn a_name_that_was_written_over_does_no_harm() {
        let mut name = ThreadName::literal("worker");
        name.len = u8::MAX;
        assert_eq!(name.as_str(), "?");
        name.len = 6;
        name.bytes[2] = 0xff;
        assert_eq!(name.as_str(), "?");
    }
}
