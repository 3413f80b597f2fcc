//! Random bytes.

use core::fmt;

use crate::errno::Errno;

/// Why there are no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RandomError {
    /// The machine has no source of entropy, or the program was built without the feature
    /// `virtio`.
    NoSource,
    /// The source didn't answer within a second.
    Late,
    /// The source answered with what can't be.
    Broken,
}

impl RandomError {
    /// Returns the error that Linux would have returned.
    ///
    /// # Context
    /// Any.
    pub const fn errno(&self) -> Errno {
        match self {
            Self::NoSource => Errno::NoDevice,
            Self::Late => Errno::TimedOut,
            Self::Broken => Errno::Io,
        }
    }
}

impl fmt::Display for RandomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSource => "there is no source of entropy",
            Self::Late => "the source of entropy does not answer",
            Self::Broken => "the source of entropy is broken",
        })
    }
}

impl core::error::Error for RandomError {}

/// Fills `bytes` with random ones.
///
/// # Context
/// Thread, preemption on.
///
/// # Errors
/// [`RandomError`]; `bytes` may have been written in part.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), RandomError> {
    crate::sync::might_sleep_in::<crate::kernel::Hw>("random::fill");
    #[cfg(feature = "virtio")]
    return super::devices::fill(bytes);
    #[cfg(not(feature = "virtio"))]
    match bytes {
        [] => Ok(()),
        _ => Err(RandomError::NoSource),
    }
}
