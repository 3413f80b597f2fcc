//! What is different on each processor architecture. There is one.

pub mod aarch64;
