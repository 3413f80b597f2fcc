//! Anything at all as a device tree: an error or a sane view.
//!
//! libFuzzer ends an input that takes longer than `-timeout`, AddressSanitizer
//! one that reads outside its allocation.
#![no_main]

#[path = "../../tests/support/dt_view.rs"]
mod dt_view;

libfuzzer_sys::fuzz_target!(|blob: &[u8]| {
    let _ = dt_view::examine(blob);
});
