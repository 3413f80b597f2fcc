//! The case of a test kernel that this run is: see `cases` in docs/testing.md.

use stillpoint::kernel::kernel;

/// Returns the name of the case.
pub fn case() -> &'static str {
    kernel()
        .bootargs
        .split(' ')
        .find_map(|word| word.strip_prefix("case="))
        .expect("the runner names the case")
}
