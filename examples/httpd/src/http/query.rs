//! The query of a target: `ms=5&name=a%20b`.

use percent_encoding::percent_decode_str;

/// A query, as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'b>(pub &'b str);

/// The query isn't what a resource takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadQuery;

impl Query<'_> {
    /// Returns the number of the parameter `name`, the only one that the resource takes; `None`
    /// without a query.
    ///
    /// # Errors
    /// [`BadQuery`]: another parameter, the same once more, or no decimal number that fits.
    pub fn only_number(&self, name: &str) -> Result<Option<u32>, BadQuery> {
        let mut found = None;
        for pair in self.0.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !percent_decode_str(key).eq(name.bytes()) || found.is_some() {
                return Err(BadQuery);
            }
            found = Some(number(value).ok_or(BadQuery)?);
        }
        Ok(found)
    }
}

/// Returns the number whose decimal digits are `value`, with escapes.
fn number(value: &str) -> Option<u32> {
    let mut digits = percent_decode_str(value).peekable();
    digits.peek()?;
    digits.try_fold(0_u32, |number, digit| {
        let digit = char::from(digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::{BadQuery, Query};

    #[test]
    fn one_number_is_taken_and_nothing_else() {
        let of = |query| Query(query).only_number("ms");
        assert_eq!(of(""), Ok(None));
        assert_eq!(of("ms=5"), Ok(Some(5)));
        assert_eq!(of("&%6ds=%35&"), Ok(Some(5)));
        assert_eq!(of("ms=4294967295"), Ok(Some(u32::MAX)));
        for wrong in [
            "ms",
            "ms=",
            "ms=-1",
            "ms=+1",
            "ms=1&ms=1",
            "s=1",
            "ms=4294967296",
            "ms=1.5",
        ] {
            assert_eq!(of(wrong), Err(BadQuery), "{wrong}");
        }
    }
}
