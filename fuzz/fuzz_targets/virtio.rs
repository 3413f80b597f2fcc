//! Anything at all as what a network card writes to its queues: errors, and no harm.
//!
//! AddressSanitizer ends an input for which the driver touches memory that isn't its own, and a
//! leak of a buffer is found, too.
#![no_main]

#[path = "../../tests/support/fake_virtio.rs"]
mod fake_virtio;
#[path = "../../tests/support/virtio_script.rs"]
mod virtio_script;

libfuzzer_sys::fuzz_target!(|script: &[u8]| virtio_script::run(script));
