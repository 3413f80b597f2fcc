//! The kinds of counts that there are, and no others.

#![forbid(unsafe_code)]

use crate::module::{Atomic, Kind, Plain};

/// How references to a module are counted: [`Plain`] or [`Atomic`]. A count that is wrong would
/// free a value that is in use, so a program can't add one.
pub trait Counting: Kind + sealed::Sealed {}

impl Counting for Plain {}
impl Counting for Atomic {}

mod sealed {
    use super::{Atomic, Plain};

    pub trait Sealed {}

    impl Sealed for Plain {}
    impl Sealed for Atomic {}
}
