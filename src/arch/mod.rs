//! The code that depends on the processor architecture; there is one architecture.

pub mod aarch64;
pub(crate) mod assembly;
