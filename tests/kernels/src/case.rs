//! What the boot arguments say to a test kernel: its case (`cases` in docs/testing.md), and numbers.

use stillpoint::kernel::kernel;

/// Returns the name of the case.
pub fn case() -> &'static str {
    kernel()
        .bootargs
        .split(' ')
        .find_map(|word| word.strip_prefix("case="))
        .expect("the runner names the case")
}

/// Returns the number that the boot arguments have as `word=number`.
pub fn told(word: &str) -> Option<u64> {
    let mut words = kernel().bootargs.split(' ');
    words.find_map(|found| found.strip_prefix(word)?.strip_prefix('=')?.parse().ok())
}
