//! Random bytes, of the machine's source of entropy: a `virtio-rng` device.
//!
//! ```no_run
#![doc = include_str!("../../examples/api/random.rs")]
//! ```

use crate::kernel::entry::enter;

pub use crate::kernel::random::RandomError;

/// Fills `bytes` with random ones. They come from the device and not from a generator that it
/// seeds, so many of them take their time: the device answers in pieces of up to 256.
///
/// # Context
/// Thread, preemption on.
///
/// # Errors
/// [`RandomError`]; `bytes` may have been written in part.
#[cfg_attr(debug_assertions, track_caller)]
pub fn fill(bytes: &mut [u8]) -> Result<(), RandomError> {
    let _in_kernel = enter();
    crate::kernel::random::fill(bytes)
}
