//! Times as people read them: with three places.

use alloc::format;
use core::fmt;

/// So many thousandths, displayed with three places: nanoseconds as microseconds, microseconds as
/// milliseconds, and so on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thousandths(pub(crate) u64);

impl fmt::Display for Thousandths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        if f.width().is_none() {
            return write!(f, "{whole}.{rest:03}");
        }
        f.pad(&format!("{whole}.{rest:03}"))
    }
}

#[cfg(test)]
mod tests {
    use super::Thousandths;

    #[test]
    fn it_has_three_places_and_can_be_a_column() {
        for (number, text) in [(0, "0.000"), (7, "0.007"), (999, "0.999"), (1000, "1.000")] {
            assert_eq!(format!("{}", Thousandths(number)), text);
        }
        let number = Thousandths(12_345);
        assert_eq!(format!("{number:>8}|{number:<8}|"), "  12.345|12.345  |");
    }
}
