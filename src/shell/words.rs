//! The word boundaries that the cursor keys use.

/// Returns where the last word of `text` begins, in bytes.
pub(super) fn word_start(text: &str) -> usize {
    let text = text.trim_end();
    let space = text.char_indices().rev().find(|(_, c)| c.is_whitespace());
    space.map_or(0, |(at, c)| at + c.len_utf8())
}

/// Returns where the first word of `text` ends, in bytes.
pub(super) fn word_end(text: &str) -> usize {
    let word = text.trim_start();
    let from = text.len() - word.len();
    from + word.find(char::is_whitespace).unwrap_or(word.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_stands_between_spaces() {
        for (text, start, end) in [
            ("", 0, 0),
            ("ab", 0, 2),
            ("ab cé", 3, 2),
            ("  ab  ", 2, 4),
            ("日本\u{3000}ü ", 9, 6),
            ("  ", 0, 2),
        ] {
            assert_eq!((word_start(text), word_end(text)), (start, end), "{text:?}");
        }
    }
}
